import assert from "node:assert/strict";
import { type Binding, digestToken } from "$core/binding.ts";
import type { ContainerMatch } from "$core/container.ts";
import { Answer } from "$core/provider.ts";
import { DEFAULT_POLICY } from "$core/policy.ts";
import { containerFacts } from "../../tests/support/fake_containers.ts";
import { Outbound } from "../intercept/outbound.ts";
import { BindingTable, type Entry, LiveBinding } from "./binding_table.ts";
import { NOT_FOUND } from "../answers.ts";

/** A token of a binding, one of each letter. */
const NOWHERE = new Outbound(DEFAULT_POLICY, []);

function tokenOf(name: string, letter = "A"): string {
  return `moat.${name}.${letter.repeat(42)}A`;
}

/** A live form of a binding, for the token of a letter. */
function live(
  name: string,
  letter = "A",
  more: Partial<Entry> = {},
): LiveBinding {
  const binding: Binding = { name, grants: ["a"] };
  return new LiveBinding({
    binding,
    tokenDigest: digestToken(tokenOf(name, letter)),
    access: "header",
    admits: () => true,
    ...more,
  }, {
    routes: new Map(),
    otherwise: NOT_FOUND,
    outbound: NOWHERE,
    grants: [],
  });
}

Deno.test("find() knows a binding by its token", () => {
  const table = new BindingTable();
  const [one, two] = [live("one", "A"), live("two", "B")];
  table.set("one", [one]);
  table.set("two", [two]);
  assert.deepEqual(
    [table.find(tokenOf("one", "A")), table.find(tokenOf("two", "B"))],
    [one, two],
  );
});

const UNKNOWN: Record<string, string> = {
  "no token": "",
  "a name alone": "one",
  "a binding that there is not": tokenOf("three"),
  "another secret": tokenOf("one", "B"),
  "another binding's secret": tokenOf("two", "A"),
  "a digest": digestToken(tokenOf("one")),
  "a digest as secret": `moat.one.${digestToken(tokenOf("one"))}`,
  "another prefix": tokenOf("one").replace("moat", "needroleshere"),
  "a method of objects": tokenOf("constructor"),
  "__proto__": tokenOf("__proto__"),
};
for (const [name, token] of Object.entries(UNKNOWN)) {
  Deno.test(`find() finds nothing for ${name}`, () => {
    const table = new BindingTable();
    table.set("one", [live("one", "A")]);
    table.set("two", [live("two", "C")]);
    assert.equal(table.find(token), undefined);
  });
}

Deno.test("find() knows the prefix of its table only", () => {
  const table = new BindingTable("needroleshere");
  const one = live("one");
  table.set("one", [one]);
  const foreign = tokenOf("one").replace("moat", "needroleshere");
  assert.deepEqual(
    [table.find(foreign), table.find(tokenOf("one"))],
    [one, undefined],
  );
});

Deno.test("find() knows both tokens while one takes the other's place", () => {
  const table = new BindingTable();
  const forms = [live("one", "A"), live("one", "B")];
  table.set("one", forms);
  assert.deepEqual(
    ["A", "B", "C"].map((letter) => table.find(tokenOf("one", letter))),
    [...forms, undefined],
  );
});

Deno.test("set() takes the place of the binding of that name", () => {
  const table = new BindingTable();
  const [old, next] = [live("one"), live("one")];
  table.set("one", [old]);
  table.set("one", [next]);
  assert.deepEqual(
    [table.find(tokenOf("one")) === next, old.isLive, next.isLive],
    [true, false, true],
  );
});

Deno.test("set() ends the old token", () => {
  const table = new BindingTable();
  table.set("one", [live("one", "A")]);
  table.set("one", [live("one", "B")]);
  assert.equal(table.find(tokenOf("one", "A")), undefined);
});

Deno.test("remove() ends a binding in all its forms, also for who remembers it", () => {
  const table = new BindingTable();
  const forms = [live("one", "A"), live("one", "B")];
  table.set("one", forms);
  assert.equal(table.remove("one"), true);
  assert.deepEqual(
    [
      table.find(tokenOf("one", "A")),
      table.get("one"),
      ...forms.map(({ isLive }) => isLive),
    ],
    [undefined, undefined, false, false],
  );
});

Deno.test("remove() leaves other bindings alone, and takes an unknown one", () => {
  const table = new BindingTable();
  const one = live("one");
  table.set("one", [one]);
  assert.equal(table.remove("two"), false);
  assert.deepEqual([table.find(tokenOf("one")), one.isLive], [one, true]);
});

Deno.test("get() finds a binding by its name", () => {
  const table = new BindingTable();
  const one = live("one");
  table.set("one", [one]);
  assert.deepEqual(
    [table.get("one"), table.get("two"), table.names],
    [one.binding, undefined, ["one"]],
  );
});

/** A table that loads what a map says, and counts it. */
function loading(stored: Record<string, readonly LiveBinding[]>) {
  const table = new BindingTable();
  const loaded: string[] = [];
  table.load = async (name) => {
    loaded.push(name);
    await Promise.resolve();
    const forms = stored[name];
    if (forms) table.set(name, forms);
  };
  return { table, loaded };
}

Deno.test("find() loads a binding that is not there yet", async () => {
  const one = live("one");
  const { table, loaded } = loading({ one: [one] });
  assert.deepEqual([await table.find(tokenOf("one")), loaded], [one, ["one"]]);
});

Deno.test("find() loads a binding once", async () => {
  const one = live("one");
  const { table, loaded } = loading({ one: [one] });
  await table.find(tokenOf("one"));
  assert.deepEqual([table.find(tokenOf("one")), loaded], [one, ["one"]]);
});

Deno.test("find() answers at once for a wrong secret of one that is there", async () => {
  const { table, loaded } = loading({ one: [live("one")] });
  await table.find(tokenOf("one"));
  assert.deepEqual(
    [table.find(tokenOf("one", "B")), loaded],
    [undefined, ["one"]],
  );
});

Deno.test("find() checks the secret of a binding that it has loaded", async () => {
  const { table } = loading({ one: [live("one", "B")] });
  assert.equal(await table.find(tokenOf("one", "A")), undefined);
});

Deno.test("find() loads nothing for what is no token", () => {
  const { table, loaded } = loading({});
  for (const text of ["", "one", "moat.one.short", "Basic x"]) {
    assert.equal(table.find(text), undefined);
  }
  assert.deepEqual(loaded, []);
});

Deno.test("find() finds nothing where there is nothing to load", async () => {
  const { table } = loading({});
  assert.equal(await table.find(tokenOf("one")), undefined);
});

Deno.test("find() loads a binding anew that is not what is stored any more", async () => {
  let isCurrent = true;
  const old = live("one", "A", { isCurrent: () => isCurrent });
  const next = live("one", "B");
  const { table } = loading({ one: [next] });
  table.set("one", [old]);
  assert.equal(table.find(tokenOf("one", "A")), old);
  isCurrent = false;
  const found = [
    await table.find(tokenOf("one", "A")),
    await table.find(tokenOf("one", "B")),
  ];
  assert.deepEqual([...found, old.isLive], [undefined, next, false]);
});

Deno.test("find() serves no form that is not what is stored any more", () => {
  const table = new BindingTable();
  table.set("one", [live("one", "A", { isCurrent: () => false })]);
  assert.deepEqual(
    [table.find(tokenOf("one", "A")), table.get("one")],
    [undefined, undefined],
  );
});

Deno.test("a live binding gives its permission and what it is served", () => {
  const served = {
    routes: new Map([["/a", () => new Answer(200, "")]]),
    otherwise: NOT_FOUND,
    outbound: NOWHERE,
    grants: [],
  };
  const one = new LiveBinding(live("one").entry, served);
  assert.deepEqual([one.binding, one.served], [live("one").binding, served]);
});

Deno.test("a live binding tells of its end once, also if it is ended again meanwhile", () => {
  const binding = live("one");
  let count = 0;
  binding.onEnd(() => {
    count++;
    binding.end();
  });
  binding.end();
  assert.equal(count, 1);
});

Deno.test("find() gives the new binding to who is told that the old one ended", () => {
  const table = new BindingTable();
  const [old, renewed] = [live("one"), live("one")];
  table.set("one", [old]);
  let found: unknown;
  old.onEnd(() => found = table.find(tokenOf("one")));
  table.set("one", [renewed]);
  assert.equal(found, renewed);
});

Deno.test("find() waits for the renewal when told that the old binding ended", async () => {
  const table = new BindingTable();
  const [old, renewed] = [live("one"), live("one")];
  table.set("one", [old]);
  let found: unknown;
  old.onEnd(() => found = table.find(tokenOf("one")));
  const renewal = Promise.withResolvers<void>();
  table.renew("one", renewal.promise);
  table.set("one", [renewed]);
  renewal.resolve();
  assert.equal(await found, renewed);
});

/** A binding of a container without a token. */
function ofContainer(
  name: string,
  container: ContainerMatch = { name: "web" },
  more: Partial<Entry> = {},
): LiveBinding {
  const binding: Binding = { name, grants: ["a"], container };
  return live(name, "A", { binding, access: "container", ...more });
}

const WEB = containerFacts({ labels: { app: "web" } });

Deno.test("ofContainer() finds all bindings of a container", () => {
  const table = new BindingTable();
  const [one, two] = [
    ofContainer("one"),
    ofContainer("two", { label: { key: "app", value: "web" } }),
  ];
  table.set("one", [one]);
  table.set("two", [two]);
  table.set("other", [ofContainer("other", { name: "db" })]);
  assert.deepEqual(table.ofContainer(WEB), [one, two]);
});

Deno.test("ofContainer() finds no binding that has a token", () => {
  const table = new BindingTable();
  table.set("one", [ofContainer("one", { name: "web" }, { access: "header" })]);
  assert.deepEqual(table.ofContainer(WEB), []);
});

Deno.test("ofContainer() finds no binding that names no container", () => {
  const table = new BindingTable();
  table.set("one", [live("one", "A", { access: "container" })]);
  assert.deepEqual(table.ofContainer(WEB), []);
});

Deno.test("ofContainer() finds no binding that was removed", () => {
  const table = new BindingTable();
  table.set("one", [ofContainer("one")]);
  table.remove("one");
  assert.deepEqual(table.ofContainer(WEB), []);
});

Deno.test("ofContainer() finds what a binding becomes", () => {
  const table = new BindingTable();
  const next = ofContainer("one", { name: "db" });
  table.set("one", [ofContainer("one"), next]);
  assert.deepEqual(table.ofContainer(WEB), []);
  assert.deepEqual(table.ofContainer({ ...WEB, name: "db" }), [next]);
});

Deno.test("ofContainer() waits for a binding that is entered anew", async () => {
  const table = new BindingTable();
  table.set("one", [ofContainer("one")]);
  const renewal = Promise.withResolvers<void>();
  table.renew("one", renewal.promise);
  const found = table.ofContainer(WEB);
  const next = ofContainer("one");
  table.set("one", [next]);
  renewal.resolve();
  assert.deepEqual(await found, [next]);
});

Deno.test("ofContainer() loads a binding that is not current", async () => {
  const table = new BindingTable();
  const next = ofContainer("one");
  table.set("one", [
    ofContainer("one", { name: "web" }, { isCurrent: () => false }),
  ]);
  table.load = (name) => Promise.resolve(table.set(name, [next]));
  assert.deepEqual(await table.ofContainer(WEB), [next]);
});

Deno.test("ofContainer() gives a binding that cannot be loaded, which is not live", async () => {
  const table = new BindingTable();
  table.set("one", [
    ofContainer("one", { name: "web" }, { isCurrent: () => false }),
  ]);
  table.load = () => Promise.reject(new Error("unreadable"));
  const found = await table.ofContainer(WEB);
  assert.deepEqual(found.map(({ isLive }) => isLive), [false]);
});

Deno.test("find() finds no binding whose client has no token", () => {
  const table = new BindingTable();
  table.set("one", [ofContainer("one")]);
  assert.equal(table.find(tokenOf("one")), undefined);
});

Deno.test("onTokenless is told of bindings without a token alone", () => {
  const table = new BindingTable();
  let told = 0;
  table.onTokenless = () => void told++;
  table.set("one", [live("one")]);
  table.remove("one");
  assert.equal(told, 0);
  table.set("one", [ofContainer("one")]);
  table.set("one", [live("one")]);
  assert.equal(told, 2);
});
