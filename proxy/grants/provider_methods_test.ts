import assert from "node:assert/strict";
import type { Grant } from "$core/grant.ts";
import {
  type ControlMethod,
  createRegistry,
  type Provider,
} from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { createMemoryStore } from "$core/store/memory.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import { ProviderMethods } from "./provider_methods.ts";

function grant(name: string, more: Partial<Grant> = {}): Grant {
  const [provider = ""] = name.split(":");
  return { provider, name, createdAt: 1, settings: { n: 1 }, ...more };
}

/** A provider `alpha` with one method of its own, and its grants. */
class Bed {
  readonly store = createMemoryStore([
    grant("alpha", { credential: new Secret("old") }),
    grant("beta"),
  ]);
  /** Grants that were made to count. */
  readonly changed: string[] = [];
  readonly methods: ProviderMethods;

  constructor(method: ControlMethod, more: Partial<Provider> = {}) {
    this.methods = new ProviderMethods({
      registry: createRegistry([
        {
          ...headerProvider({ name: "alpha", aliases: ["a1"] }),
          controlMethods: { own: method },
          ...more,
        },
        headerProvider({ name: "beta" }),
      ]),
      store: this.store,
      binding: (name) =>
        Promise.resolve(
          name === "run-x" ? { name, grants: [] } : undefined,
        ),
      grantChanged: async (name) => {
        this.changed.push(name);
        await Promise.resolve();
      },
    });
  }

  call() {
    return this.methods.call("alpha", "own", {});
  }
}

Deno.test("call() passes parameters on, and the result back", async () => {
  const { methods } = new Bed((params) => Promise.resolve({ got: params }));
  assert.deepEqual(await methods.call("a1", "own", { x: [1] }), {
    got: { x: [1] },
  });
});

const UNKNOWN: { name: string; provider: string; method: string }[] = [
  { name: "an unknown provider", provider: "gamma", method: "own" },
  { name: "an unknown method", provider: "alpha", method: "other" },
  { name: "a method of another provider", provider: "beta", method: "own" },
  { name: "a method of objects", provider: "alpha", method: "toString" },
  { name: "__proto__", provider: "alpha", method: "__proto__" },
  {
    name: "an explanation that there is not",
    provider: "alpha",
    method: "explain",
  },
];

for (const { name, provider, method } of UNKNOWN) {
  Deno.test(`call() refuses ${name}`, async () => {
    const { methods } = new Bed(() => Promise.resolve({}));
    const call = methods.call(provider, method, { grant: "alpha" });
    await assert.rejects(call, { code: "usage" });
  });
}

const EXPLAINING: Partial<Provider> = {
  explain: ({ name }) => Promise.resolve([["file", `of ${name}`]]),
};

Deno.test("call() explains by every provider that can", async () => {
  const { methods } = new Bed(() => Promise.resolve({}), EXPLAINING);
  const result = await methods.call("alpha", "explain", { grant: "alpha" });
  assert.deepEqual(result, { lines: [["file", "of alpha"]] });
});

Deno.test("call() explains by a provider's own method if it has one", async () => {
  const { methods } = new Bed(() => Promise.resolve({}), {
    ...EXPLAINING,
    controlMethods: { explain: () => Promise.resolve({ own: true }) },
  });
  const result = await methods.call("alpha", "explain", { grant: "alpha" });
  assert.deepEqual(result, { own: true });
});

Deno.test("call() explains no grant of another provider", async () => {
  const { methods } = new Bed(() => Promise.resolve({}), EXPLAINING);
  const call = methods.call("alpha", "explain", { grant: "beta" });
  await assert.rejects(call, {
    code: "usage",
    message: /"beta" here: it is of provider "beta", not "alpha"/,
  });
});

Deno.test("grant() tells that there is none", async () => {
  const bed = new Bed(async (_params, proxy) => {
    await proxy.grant("alpha:x");
    return {};
  });
  await assert.rejects(bed.call(), { code: "grant-not-found" });
});

Deno.test("binding() finds live bindings by name", async () => {
  const bed = new Bed(async (_params, proxy) => {
    const found = await Promise.all(
      ["run-x", "run-y"].map((name) => proxy.binding(name)),
    );
    return { found: found.map((binding) => binding?.name ?? null) };
  });
  assert.deepEqual(await bed.call(), { found: ["run-x", null] });
});

/** Reads a grant, lets something happen, and stores another credential. */
function updating(
  meanwhile: (bed: Bed) => Promise<unknown> = () => Promise.resolve(),
): Bed {
  const bed: Bed = new Bed(async (_params, proxy) => {
    const old = await proxy.grant("alpha");
    await meanwhile(bed);
    await proxy.update({ ...old, credential: new Secret("new") });
    return {};
  });
  return bed;
}

async function credentialIn(bed: Bed): Promise<string | undefined> {
  return (await bed.store.get("alpha")).credential?.reveal();
}

Deno.test("update() stores the grant and makes it count", async () => {
  const bed = updating();
  await bed.call();
  assert.deepEqual([await credentialIn(bed), bed.changed], ["new", ["alpha"]]);
});

Deno.test("update() revives no grant that was revoked meanwhile", async () => {
  const bed = updating(({ store }) => store.delete("alpha"));
  await assert.rejects(bed.call(), { code: "grant-not-found" });
  await assert.rejects(bed.store.get("alpha"), { code: "grant-not-found" });
  assert.deepEqual(bed.changed, []);
});

const CHANGES: Record<string, Partial<Grant>> = {
  settings: { settings: { n: 2 } },
  credential: { credential: new Secret("other") },
  "time of granting": { createdAt: 2 },
  end: { expiresAt: 3 },
};

for (const [name, more] of Object.entries(CHANGES)) {
  Deno.test(`update() leaves a grant whose ${name} changed meanwhile`, async () => {
    const changed = grant("alpha", { credential: new Secret("old"), ...more });
    const bed = updating(({ store }) => store.put(changed));
    await assert.rejects(bed.call(), { code: "grant-changed" });
    assert.equal(await bed.store.get("alpha"), changed);
    assert.deepEqual(bed.changed, []);
  });
}

Deno.test("update() takes a grant that was read anew after a change", async () => {
  const bed = new Bed(async (_params, proxy) => {
    await proxy.grant("alpha");
    await bed.store.put(grant("alpha", { createdAt: 2 }));
    const fresh = await proxy.grant("alpha");
    await proxy.update({ ...fresh, credential: new Secret("new") });
    return {};
  });
  await bed.call();
  assert.equal(await credentialIn(bed), "new");
});

Deno.test("update() takes no grant that was not read", async () => {
  const bed = new Bed(async (_params, proxy) => {
    await proxy.update(grant("beta"));
    return {};
  });
  await assert.rejects(bed.call(), TypeError);
});
