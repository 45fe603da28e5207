import assert from "node:assert/strict";
import { join } from "node:path";
import { type Binding, digestToken, mintToken } from "$core/binding.ts";
import {
  BindingStore,
  type NewBinding,
  type StoredBinding,
} from "$core/binding_store.ts";
import { MoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import { openOwnBindings } from "$core/own_bindings.ts";
import {
  Answer,
  createRegistry,
  type Mode,
  type Provider,
  type ProviderRegistry,
} from "$core/provider.ts";
import type { Reach } from "$core/reach.ts";
import { createMemoryStore } from "$core/store/memory.ts";
import type { Store } from "$core/store/store.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { eventually } from "../../tests/support/eventually.ts";
import { containerFacts } from "../../tests/support/fake_containers.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import { exchange } from "../../tests/support/raw_http.ts";
import { type TempHome, tempHome } from "../../tests/support/temp_home.ts";
import { Binder } from "./binder.ts";
import { BindingTable, type LiveBinding } from "./binding_table.ts";
import { Listeners, type OnLost } from "../listeners.ts";
import { createService } from "../service.ts";
import {
  StoredBindings,
  type StoredBindingsOptions,
} from "./stored_bindings.ts";

type Unwritten = NewBinding;

function mode(name: string, access: Mode["access"]): Mode {
  return { name, summary: "x", access, needsFiles: false, reach: "any" };
}

function grant(name: string, settings: Grant["settings"] = {}): Grant {
  const [provider = ""] = name.split(":");
  return { provider, name, createdAt: 0, settings };
}

/** A provider whose endpoint `/NAME` answers with the grant's settings. */
function provider(name: string, more: Partial<Provider> = {}): Provider {
  return {
    ...headerProvider({ name }),
    modes: [
      mode("header", "header"),
      mode("query", "query"),
      mode("tokenless", "container"),
    ],
    registerEndpoints(endpoints, { settings }) {
      if (settings["strict"]) throw new MoatError("misfit", "it is strict");
      const answer = new Answer(200, JSON.stringify(settings));
      endpoints.get(`/${name}`, () => answer);
    },
    ...more,
  };
}

/** Counts how often a binding is read. */
class CountingStore extends BindingStore {
  readonly read: string[] = [];

  override get(name: string): Promise<readonly StoredBinding[]> {
    this.read.push(name);
    return super.get(name);
  }
}

const GATEWAY: Reach = { by: "gateway", address: "172.17.0.1", port: 19080 };

/** What a bed has instead of its own. */
type More = Partial<StoredBindingsOptions> & {
  readonly registry?: ProviderRegistry;
};

/** Stored bindings with everything that they need. */
class Bed implements AsyncDisposable {
  readonly #home: TempHome;
  readonly platform;
  readonly table = new BindingTable();
  readonly store = createMemoryStore([
    grant("alpha", { n: 1 }),
    grant("beta"),
  ]);
  /** As a command has them, without a word to the proxy. */
  readonly disk: BindingStore;
  readonly bindings: CountingStore;
  readonly stored: StoredBindings;
  /** Listeners that are open, by the address of their gateway. */
  readonly open: string[] = [];
  /** Addresses at which another program listens. */
  readonly squatted: string[] = [];
  /** Takes the last listener away. */
  lose: OnLost = () => {};
  /** Bindings whose sessions were released. */
  readonly released: string[] = [];

  private constructor(home: TempHome, more: More) {
    this.#home = home;
    this.platform = fakePlatform({ paths: home.paths });
    this.disk = openOwnBindings(this.platform);
    const { paths, format } = this.disk;
    this.bindings = new CountingStore(paths, format, this.platform.clock);
    const registry = more.registry ?? createRegistry([
      provider("alpha", {
        cleanup: ({ name }) => void this.released.push(name),
      }),
      provider("beta"),
    ]);
    this.stored = new StoredBindings({
      platform: this.platform,
      binder: new Binder(registry, this.platform),
      store: this.store,
      bindings: this.bindings,
      table: this.table,
      listeners: {
        isPermanent: (local) => local === "127.0.0.1",
        reach: (reach, onLost) => this.#reach(reach, onLost),
      },
      ...more,
    });
  }

  static async open(more: More = {}): Promise<Bed> {
    return new Bed(await tempHome(), more);
  }

  #reach(reach: Reach, onLost: OnLost) {
    assert(reach.by === "gateway");
    const { address } = reach;
    if (this.squatted.includes(address)) {
      throw new MoatError("address-in-use", "another program does");
    }
    this.open.push(address);
    this.lose = onLost;
    return {
      url: "http://x:1",
      admits: (local: string) => local === address,
      release: () => void this.open.splice(this.open.indexOf(address), 1),
    };
  }

  /** Binds on disk; gives the token. */
  async bind(name = "web", more: Partial<Unwritten> = {}): Promise<string> {
    const token = mintToken(name);
    if (more.reach) {
      await Deno.mkdir(join(this.disk.paths.bound, name), { recursive: true });
    }
    await this.disk.put(
      {
        binding: { name, grants: ["alpha"] },
        createdAt: 0,
        url: "http://127.0.0.1:19080",
        tokenFile: false,
        ...(more.reach && { directory: "/moat" }),
        ...more,
      },
      token,
      {},
    );
    return token.reveal();
  }

  /** Writes what nobody can read into a binding's file. */
  async damage(name: string, text = "{"): Promise<void> {
    await Deno.writeTextFile(
      join(this.disk.paths.bindings, `${name}.json`),
      text,
    );
  }

  /** Tells of a change, and waits until the first answer is prepared. */
  async changed(name: string): Promise<void> {
    await this.stored.changed(name);
    await this.stored.find(name);
  }

  async find(token: string): Promise<LiveBinding | undefined> {
    return await this.table.find(token);
  }

  /** What a token's holder gets. */
  async get(
    token: string,
    path = "/alpha",
    local = "127.0.0.1",
  ): Promise<string> {
    const live = await this.find(token);
    if (!live?.entry.admits(local)) return "unauthorized";
    const { routes, otherwise } = live.served;
    const answer = routes.get(path)?.({ binding: live.binding }) ?? otherwise;
    assert(answer instanceof Answer);
    return answer.status === 200 ? answer.body : JSON.parse(answer.body).code;
  }

  /** Log lines of one kind, without those of others. */
  logged(event: string) {
    return this.platform.lines.filter((line) => line.event === event)
      .map(({ fields }) => fields);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#home[Symbol.asyncDispose]();
  }
}

Deno.test("a stored binding is served to the holder of its token", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind();
  assert.deepEqual(
    [await bed.get(token), await bed.get(token, "/other"), bed.stored.names],
    ['{"n":1}', "not-found", ["web"]],
  );
});

Deno.test("a stored binding is served to nobody else", async () => {
  await using bed = await Bed.open();
  await bed.bind();
  assert.equal(await bed.get(mintToken("web").reveal()), "unauthorized");
});

Deno.test("a stored binding is read when a client first asks, and only then", async () => {
  await using bed = await Bed.open();
  const [one] = [await bed.bind("one"), await bed.bind("two")];
  await bed.stored.start();
  assert.deepEqual(bed.bindings.read, []);
  await bed.get(one);
  await bed.get(one);
  assert.deepEqual(bed.bindings.read, ["one"]);
});

Deno.test("a stored binding is read once for many clients at once", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind();
  const found = await Promise.all(
    Array.from({ length: 50 }, () => bed.get(token)),
  );
  assert.deepEqual([new Set(found).size, bed.bindings.read], [1, ["web"]]);
});

for (const name of ["nobody", "run-abcdefghij", "web.json", "a..b", "@"]) {
  Deno.test(`a token of ${name}, which is not bound, is refused without a read or a word`, async () => {
    await using bed = await Bed.open();
    await bed.bind();
    const token = `moat.${name}.${"A".repeat(43)}`;
    assert.equal(await bed.get(token), "unauthorized");
    assert.deepEqual([bed.bindings.read, bed.platform.lines], [[], []]);
  });
}

Deno.test("a token is refused before there is any binding", async () => {
  await using bed = await Bed.open();
  await bed.stored.start();
  assert.equal(await bed.get(mintToken("web").reveal()), "unauthorized");
  assert.deepEqual(bed.platform.lines, []);
});

Deno.test("a binding that appears later is served at once", async () => {
  await using bed = await Bed.open();
  await bed.get(mintToken("web").reveal());
  assert.equal(await bed.get(await bed.bind()), '{"n":1}');
});

Deno.test("a damaged binding is refused, and told of once", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind();
  await bed.damage("web", `{"secret": "${CANARY}"}`);
  for (let i = 0; i < 3; i++) {
    assert.equal(await bed.get(token), "unauthorized");
    await bed.platform.clock.advance(1000);
  }
  const told = bed.logged("binding-unusable");
  assert.deepEqual(
    told.map(({ binding, code }) => [binding, code]),
    [["web", "binding-damaged"]],
  );
  assertNoCanary(JSON.stringify(bed.platform.lines));
});

Deno.test("a damaged binding is told of again when it is damaged anew", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind();
  for (const text of ["{", "{{"]) {
    await bed.damage("web", text);
    await bed.get(token);
  }
  assert.equal(bed.logged("binding-unusable").length, 2);
});

Deno.test("a damaged binding is in no other's way", async () => {
  await using bed = await Bed.open();
  const [bad, good] = [await bed.bind("bad"), await bed.bind("good")];
  await bed.damage("bad");
  await bed.stored.start();
  assert.deepEqual(
    [await bed.get(bad), await bed.get(good)],
    ["unauthorized", '{"n":1}'],
  );
});

Deno.test("a binding that is damaged while it is used stops", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind();
  await bed.get(token);
  await bed.damage("web");
  await bed.platform.clock.advance(10);
  assert.equal(await bed.get(token), "unauthorized");
});

Deno.test("a damaged binding is served once it is bound again", async () => {
  await using bed = await Bed.open();
  await bed.get(await bed.bind());
  await bed.damage("web");
  await bed.platform.clock.advance(10);
  assert.equal(await bed.get(await bed.bind()), '{"n":1}');
});

Deno.test("a change on disk counts within ten milliseconds", async () => {
  await using bed = await Bed.open();
  const old = await bed.bind();
  const live = await bed.find(old);
  const token = await bed.bind();
  await bed.platform.clock.advance(9);
  assert.deepEqual([live?.isLive, await bed.get(old)], [true, '{"n":1}']);
  await bed.platform.clock.advance(1);
  assert.deepEqual(
    [live?.isLive, await bed.get(old), await bed.get(token)],
    [false, "unauthorized", '{"n":1}'],
  );
});

Deno.test("a removal on disk counts within ten milliseconds", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind();
  const live = await bed.find(token);
  await bed.disk.delete("web");
  await bed.platform.clock.advance(10);
  assert.deepEqual(
    [live?.isLive, await bed.get(token), bed.stored.names],
    [false, "unauthorized", []],
  );
});

Deno.test("a clock that is set back hides no change", async () => {
  let now = 1_000_000;
  await using home = await tempHome();
  const platform = fakePlatform({ paths: home.paths });
  const clock = { now: () => now, after: () => () => {} };
  await using bed = await Bed.open({ platform: { ...platform, clock } });
  const token = await bed.bind();
  const live = await bed.find(token);
  await bed.disk.delete("web");
  now -= 500_000;
  assert.equal(live?.isLive, false);
});

Deno.test("a form that was once out of date stays so", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind();
  const live = await bed.find(token);
  const path = join(bed.disk.paths.bindings, "web.json");
  await Deno.rename(path, `${path}.away`);
  await bed.platform.clock.advance(10);
  assert.equal(live?.isLive, false);
  await Deno.rename(`${path}.away`, path);
  await bed.platform.clock.advance(10);
  assert.equal(live?.isLive, false);
  assert.equal(await bed.get(token), '{"n":1}');
});

Deno.test("changed() makes a new token count at once, and ends the old one", async () => {
  await using bed = await Bed.open();
  const old = await bed.bind();
  const live = await bed.find(old);
  const token = await bed.bind();
  await bed.changed("web");
  assert.deepEqual(
    [live?.isLive, await bed.get(old), await bed.get(token)],
    [false, "unauthorized", '{"n":1}'],
  );
});

Deno.test("changed() ends a binding that was removed at once", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind();
  const live = await bed.find(token);
  await bed.disk.delete("web");
  await bed.changed("web");
  assert.deepEqual(
    [live?.isLive, await bed.get(token), bed.stored.names],
    [false, "unauthorized", []],
  );
});

Deno.test("changed() leaves other bindings alone", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind("other");
  const live = await bed.find(token);
  await bed.bind();
  await bed.changed("web");
  assert.equal(await bed.find(token), live);
});

Deno.test("changed() takes a name that nobody has", async () => {
  await using bed = await Bed.open();
  await bed.changed("nobody");
  assert.deepEqual(bed.platform.lines, []);
});

Deno.test("changed() prepares the first answer of each grant", async () => {
  const prefetched: unknown[] = [];
  const prefetch = (grant: Grant, binding?: Binding) =>
    Promise.resolve(void prefetched.push([grant.name, binding?.name]));
  const registry = createRegistry([
    provider("alpha", { prefetch }),
    provider("beta"),
  ]);
  await using bed = await Bed.open({ registry });
  const binding = { name: "web", grants: ["alpha", "beta"] };
  await bed.bind("web", { binding });
  await bed.changed("web");
  await eventually("a first answer", () => prefetched.length > 0);
  assert.deepEqual(prefetched, [["alpha", "web"]]);
});

Deno.test("changed() succeeds although the first answer cannot be prepared", async () => {
  const failure = new MoatError("denied", "no");
  const prefetch = () => Promise.reject(failure);
  const registry = createRegistry([provider("alpha", { prefetch })]);
  await using bed = await Bed.open({ registry });
  const token = await bed.bind();
  await bed.changed("web");
  await eventually(
    "a log line",
    () => bed.logged("prefetch-failed").length > 0,
  );
  assert.deepEqual(
    [await bed.get(token), bed.logged("prefetch-failed")],
    ['{"n":1}', [{ binding: "web", grant: "alpha", code: "denied" }]],
  );
});

Deno.test("changed() audits what was done", async () => {
  await using bed = await Bed.open();
  await bed.bind();
  await bed.changed("web");
  await bed.disk.delete("web");
  await bed.changed("web");
  assert.deepEqual(bed.platform.events, [
    { event: "bound", fields: { binding: "web", grants: ["alpha"] } },
    { event: "unbound", fields: { binding: "web" } },
  ]);
});

Deno.test("changed() releases what providers hold for the binding", async () => {
  await using bed = await Bed.open();
  await bed.get(await bed.bind());
  await bed.changed("web");
  assert.deepEqual(bed.released, ["web"]);
});

Deno.test("both tokens count while one takes the other's place", async () => {
  await using bed = await Bed.open();
  const old = await bed.bind();
  const [stored] = await bed.disk.get("web");
  assert(stored);
  const token = mintToken("web").reveal();
  const next = { ...stored, tokenDigest: digestToken(token) };
  await bed.damage("web", bed.disk.format.encode(stored, next));
  assert.deepEqual(
    [await bed.get(old), await bed.get(token), bed.stored.names],
    ['{"n":1}', '{"n":1}', ["web"]],
  );
});

Deno.test("each of two tokens has what its own form permits", async () => {
  await using bed = await Bed.open();
  const old = await bed.bind();
  const [stored] = await bed.disk.get("web");
  assert(stored);
  const token = mintToken("web").reveal();
  const next = {
    ...stored,
    binding: { name: "web", grants: ["beta"], mode: "query" },
    tokenDigest: digestToken(token),
  };
  await bed.damage("web", bed.disk.format.encode(stored, next));
  const [before, after] = [await bed.find(old), await bed.find(token)];
  assert.deepEqual(
    [before, after].map((live) => [
      live?.entry.access,
      [...live?.served.routes.keys() ?? []],
    ]),
    [["header", ["/alpha"]], ["query", ["/beta"]]],
  );
});

Deno.test("find() finds a binding by name, whether a client has used it or not", async () => {
  await using bed = await Bed.open();
  await bed.bind();
  const names = ["web", "other", "run-x", "../web"];
  const found = await Promise.all(names.map((name) => bed.stored.find(name)));
  assert.deepEqual(found.map((binding) => binding?.grants), [
    ["alpha"],
    undefined,
    undefined,
    undefined,
  ]);
});

Deno.test("grantChanged() makes the new settings count at once", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind();
  const live = await bed.find(token);
  await bed.store.put(grant("alpha", { n: 2 }));
  bed.stored.grantChanged("alpha");
  assert.deepEqual([live?.isLive, await bed.get(token)], [false, '{"n":2}']);
});

Deno.test("grantChanged() leaves bindings without that grant alone", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind();
  const live = await bed.find(token);
  bed.stored.grantChanged("beta");
  bed.stored.grantChanged("alpha:prod");
  assert.equal(await bed.find(token), live);
});

Deno.test("grantChanged() keeps the listener of a binding", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind("web", { reach: GATEWAY });
  await bed.stored.start();
  bed.stored.grantChanged("alpha");
  assert.deepEqual(
    [await bed.get(token, "/alpha", "172.17.0.1"), bed.open],
    ['{"n":1}', ["172.17.0.1"]],
  );
});

Deno.test("a client of a revoked grant is told so, and has its other ones", async () => {
  await using bed = await Bed.open();
  const binding = { name: "web", grants: ["alpha", "beta"] };
  const token = await bed.bind("web", { binding });
  await bed.get(token);
  await bed.store.delete("alpha");
  bed.stored.grantChanged("alpha");
  assert.deepEqual(
    [
      await bed.get(token, "/alpha"),
      await bed.get(token, "/x"),
      await bed.get(token, "/beta"),
    ],
    ["grant-gone", "grant-gone", "{}"],
  );
});

Deno.test("a client whose grant was never there is told so", async () => {
  await using bed = await Bed.open();
  const binding = { name: "web", grants: ["alpha:x"] };
  const token = await bed.bind("web", { binding });
  assert.equal(await bed.get(token), "grant-gone");
  assert.deepEqual(bed.logged("grant-gone"), [
    { binding: "web", name: "alpha:x", code: "grant-not-found" },
  ]);
});

/** A store that cannot be read, as of a keyring that is locked. */
function lockedStore() {
  const memory = createMemoryStore([grant("alpha", { n: 1 }), grant("beta")]);
  let isLocked = true;
  const store: Store = {
    ...memory,
    get: (name) =>
      isLocked && name === "alpha"
        ? Promise.reject(new MoatError("key-locked", "no"))
        : memory.get(name),
  };
  return { store, unlock: () => void (isLocked = false) };
}

Deno.test("a client whose grant cannot be read is told so, and has its other ones", async () => {
  await using bed = await Bed.open({ store: lockedStore().store });
  const binding = { name: "web", grants: ["alpha", "beta"] };
  const token = await bed.bind("web", { binding });
  assert.deepEqual(
    [await bed.get(token, "/alpha"), await bed.get(token, "/beta")],
    ["grant-unreadable", "{}"],
  );
  assert.equal(bed.logged("grant-gone")[0]?.["code"], "key-locked");
});

Deno.test("a grant that cannot be read is tried again a second later", async () => {
  const locked = lockedStore();
  await using bed = await Bed.open({ store: locked.store });
  const token = await bed.bind();
  await bed.get(token);
  locked.unlock();
  await bed.platform.clock.advance(999);
  assert.equal(await bed.get(token), "grant-unreadable");
  await bed.platform.clock.advance(10);
  assert.equal(await bed.get(token), '{"n":1}');
});

Deno.test("a grant that cannot be read is not asked for by each request", async () => {
  await using bed = await Bed.open({ store: lockedStore().store });
  const token = await bed.bind();
  for (let i = 0; i < 99; i++) {
    await bed.get(token);
    await bed.platform.clock.advance(10);
  }
  assert.equal(bed.logged("grant-gone").length, 1);
});

Deno.test("a client whose grant it does not fit any more is told that it is gone", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind();
  await bed.store.put(grant("alpha", { strict: true }));
  bed.stored.grantChanged("alpha");
  assert.equal(await bed.get(token), "grant-gone");
  assert.deepEqual(bed.logged("binding-misfit"), [
    { binding: "web", grant: "alpha", code: "misfit" },
  ]);
});

Deno.test("a grant that changes while a binding is read is read again", async () => {
  const memory = createMemoryStore([grant("alpha", { n: 1 })]);
  const reading = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const store: Store = {
    ...memory,
    async get(name) {
      const read = await memory.get(name);
      reading.resolve();
      await go.promise;
      return read;
    },
  };
  await using bed = await Bed.open({ store });
  const answer = bed.get(await bed.bind());
  await reading.promise;
  await memory.put(grant("alpha", { n: 2 }));
  bed.stored.grantChanged("alpha");
  go.resolve();
  assert.equal(await answer, '{"n":2}');
});

Deno.test("a binding that changes while it is read is read again", async () => {
  const memory = createMemoryStore([grant("alpha", { n: 1 })]);
  const reading = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const store: Store = {
    ...memory,
    async get(name) {
      reading.resolve();
      await go.promise;
      return await memory.get(name);
    },
  };
  await using bed = await Bed.open({ store });
  const old = await bed.bind();
  const answer = bed.get(old);
  await reading.promise;
  const token = await bed.bind();
  go.resolve();
  assert.deepEqual(
    [await answer, await bed.get(token)],
    ["unauthorized", '{"n":1}'],
  );
});

Deno.test("grants that are kept with a binding need no store", async () => {
  await using bed = await Bed.open();
  const token = mintToken("web");
  const own: StoredBinding = {
    binding: { name: "web", grants: ["alpha:own"] },
    tokenDigest: digestToken(token.reveal()),
    createdAt: 0,
    url: "",
    tokenFile: false,
    ownGrants: [grant("alpha:own", { n: 7 })],
  };
  await bed.bind();
  bed.bindings.get = () => Promise.resolve([own]);
  assert.equal(await bed.get(token.reveal()), '{"n":7}');
});

for (const mode of ["header", "query"]) {
  Deno.test(`a binding in mode ${mode} takes its token from there`, async () => {
    await using bed = await Bed.open();
    const binding = { name: "web", grants: ["alpha"], mode };
    const live = await bed.find(await bed.bind("web", { binding }));
    assert.equal(live?.entry.access, mode);
  });
}

Deno.test("a binding without a mode is in its provider's first", async () => {
  await using bed = await Bed.open();
  const live = await bed.find(await bed.bind());
  assert.equal(live?.entry.access, "header");
});

Deno.test("a binding in a mode that there is not is refused, and told of", async () => {
  await using bed = await Bed.open();
  const binding = { name: "web", grants: ["alpha"], mode: "imds" };
  const token = await bed.bind("web", { binding });
  assert.equal(await bed.get(token), "unauthorized");
  assert.equal(bed.logged("binding-unusable")[0]?.["code"], "usage");
});

Deno.test("a binding without a listener of its own is reached by those of the proxy", async () => {
  await using bed = await Bed.open();
  const live = await bed.find(await bed.bind());
  const all = ["127.0.0.1", "172.17.0.1", "/run/s"];
  assert.deepEqual(all.filter((at) => live?.entry.admits(at)), ["127.0.0.1"]);
});

/** Where a client can ask that has no listener of its own. */
const SHARED: [reach: Reach, at: string[]][] = [
  [{ by: "loopback" }, ["127.0.0.1", "::1"]],
  [{ by: "name", name: "host.docker.internal" }, ["127.0.0.1", "::1"]],
  [
    { by: "address", address: "169.254.170.2", port: 80 },
    ["169.254.170.2"],
  ],
];
for (const [reach, at] of SHARED) {
  Deno.test(`a binding whose client asks by ${reach.by} is reached there alone, without a listener of its own`, async () => {
    const listeners = {
      isPermanent: (local: string) => !local.startsWith("/"),
      reach: () => assert.fail("opened a listener"),
    };
    await using bed = await Bed.open({ listeners });
    const token = await bed.bind("web", { reach });
    await bed.stored.start();
    const live = await bed.find(token);
    const all = ["127.0.0.1", "::1", "172.17.0.1", "169.254.170.2", "/run/s"];
    assert.deepEqual(all.filter((local) => live?.entry.admits(local)), at);
  });
}

Deno.test("a binding with a listener of its own is reached there alone", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind("web", { reach: GATEWAY });
  await bed.stored.start();
  const live = await bed.find(token);
  const all = ["127.0.0.1", "172.17.0.1", "172.17.0.2"];
  assert.deepEqual(all.filter((at) => live?.entry.admits(at)), ["172.17.0.1"]);
});

Deno.test("a binding with a listener of its own is reached nowhere before that is open", async () => {
  await using bed = await Bed.open();
  const live = await bed.find(await bed.bind("web", { reach: GATEWAY }));
  const all = ["127.0.0.1", "172.17.0.1"];
  assert.deepEqual(all.filter((at) => live?.entry.admits(at)), []);
});

function gatewayAt(address: string): Partial<Unwritten> {
  return { reach: { by: "gateway", address, port: 19080 } };
}

Deno.test("start() opens the listeners of all bindings that have one of their own", async () => {
  await using bed = await Bed.open();
  await bed.bind("one", gatewayAt("172.17.0.1"));
  await bed.bind("two", gatewayAt("172.18.0.1"));
  await bed.bind("three");
  await bed.stored.start();
  assert.deepEqual(
    [bed.open.sort(), bed.stored.names],
    [["172.17.0.1", "172.18.0.1"], ["one", "two"]],
  );
});

Deno.test("start() tells of a listener that cannot be had, and opens the others", async () => {
  await using bed = await Bed.open();
  await bed.bind("one", gatewayAt("172.17.0.1"));
  await bed.bind("two", gatewayAt("172.18.0.1"));
  bed.squatted.push("172.17.0.1");
  await bed.stored.start();
  assert.deepEqual(
    [
      bed.open,
      bed.logged("binding-unusable").map((
        { binding, code },
      ) => [binding, code]),
    ],
    [["172.18.0.1"], [["one", "address-in-use"]]],
  );
});

Deno.test("a token whose listener another program has at the start never counts", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind("web", { reach: GATEWAY });
  bed.squatted.push("172.17.0.1");
  await bed.stored.start();
  await new Promise((resolve) => setTimeout(resolve, 20));
  bed.squatted.pop();
  await bed.changed("web");
  assert.equal(await bed.get(token, "/alpha", "172.17.0.1"), "unauthorized");
});

Deno.test("a binding whose listener cannot be had is reached nowhere", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind("web", { reach: GATEWAY });
  bed.squatted.push("172.17.0.1");
  await bed.stored.start();
  const found = ["172.17.0.1", "127.0.0.1"].map((local) =>
    bed.get(token, "/alpha", local)
  );
  assert.deepEqual(await Promise.all(found), ["unauthorized", "unauthorized"]);
});

Deno.test("start() tells of a damaged binding, and opens the others' listeners", async () => {
  await using bed = await Bed.open();
  await bed.bind("bad", gatewayAt("172.17.0.1"));
  await bed.bind("good", gatewayAt("172.18.0.1"));
  await bed.damage("bad");
  await bed.stored.start();
  assert.deepEqual(
    [bed.open, bed.logged("binding-unusable").length],
    [["172.18.0.1"], 1],
  );
});

Deno.test("start() takes files whose binding is gone, and what is no binding", async () => {
  await using bed = await Bed.open();
  for (const name of ["gone", ".hidden", "run-x", "a b"]) {
    await Deno.mkdir(join(bed.disk.paths.bound, name), { recursive: true });
  }
  await bed.stored.start();
  assert.deepEqual([bed.open, bed.platform.lines], [[], []]);
});

Deno.test("start() tells that the bindings cannot be listed", async () => {
  await using bed = await Bed.open();
  await Deno.writeTextFile(bed.disk.paths.bound, "a file");
  await bed.stored.start();
  assert.equal(bed.logged("bindings-unread").length, 1);
});

Deno.test("changed() opens the listener of a new binding", async () => {
  await using bed = await Bed.open();
  await bed.stored.start();
  const token = await bed.bind("web", { reach: GATEWAY });
  await bed.changed("web");
  assert.equal(await bed.get(token, "/alpha", "172.17.0.1"), '{"n":1}');
});

Deno.test("changed() gives the old listener back when there is another one", async () => {
  await using bed = await Bed.open();
  await bed.bind("web", gatewayAt("172.17.0.1"));
  await bed.stored.start();
  await bed.bind("web", gatewayAt("172.18.0.1"));
  await bed.changed("web");
  assert.deepEqual(bed.open, ["172.18.0.1"]);
});

for (
  const [what, change] of Object.entries({
    removed: (bed: Bed) => bed.disk.delete("web"),
    "bound without one": (bed: Bed) => bed.bind("web"),
    damaged: (bed: Bed) => bed.damage("web"),
  })
) {
  Deno.test(`changed() gives the listener of a binding back that is ${what}`, async () => {
    await using bed = await Bed.open();
    await bed.bind("web", { reach: GATEWAY });
    await bed.stored.start();
    await change(bed);
    await bed.changed("web").catch(() => {});
    assert.deepEqual(bed.open, []);
  });
}

Deno.test("changed() keeps one listener when it is called several times at once", async () => {
  await using bed = await Bed.open();
  await bed.bind("web", { reach: GATEWAY });
  await Promise.all([1, 2, 3].map(() => bed.changed("web")));
  assert.deepEqual(bed.open, ["172.17.0.1"]);
});

Deno.test("changed() fails when the listener cannot be had", async () => {
  await using bed = await Bed.open();
  await bed.bind("web", { reach: GATEWAY });
  bed.squatted.push("172.17.0.1");
  await assert.rejects(bed.changed("web"), { code: "address-in-use" });
});

Deno.test("changed() opens a listener that could not be had before", async () => {
  await using bed = await Bed.open();
  await bed.bind("web", { reach: GATEWAY });
  bed.squatted.push("172.17.0.1");
  await bed.changed("web").catch(() => {});
  bed.squatted.pop();
  await bed.changed("web");
  assert.deepEqual(bed.open, ["172.17.0.1"]);
});

Deno.test("changed() fails for a damaged binding", async () => {
  await using bed = await Bed.open();
  await bed.bind();
  await bed.damage("web");
  await assert.rejects(bed.changed("web"), { code: "binding-damaged" });
});

const SQUATTED = new MoatError("address-in-use", "another program does");

Deno.test("a binding that loses its listener is reached nowhere, and told of", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind("web", { reach: GATEWAY });
  await bed.stored.start();
  await bed.get(token);
  bed.lose(SQUATTED);
  assert.deepEqual(
    [await bed.get(token, "/alpha", "172.17.0.1"), bed.open],
    ["unauthorized", []],
  );
  const [{ binding, code } = {}] = bed.logged("binding-lost");
  assert.deepEqual([binding, code], ["web", "address-in-use"]);
});

Deno.test("the token of a binding that lost its listener never counts again", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind("web", { reach: GATEWAY });
  await bed.stored.start();
  bed.lose(SQUATTED);
  await new Promise((resolve) => setTimeout(resolve, 20));
  await bed.changed("web");
  assert.deepEqual(
    [await bed.get(token, "/alpha", "172.17.0.1"), bed.open],
    ["unauthorized", ["172.17.0.1"]],
  );
});

Deno.test("a binding that lost its listener works again with a new token", async () => {
  await using bed = await Bed.open();
  await bed.bind("web", { reach: GATEWAY });
  await bed.stored.start();
  bed.lose(SQUATTED);
  await new Promise((resolve) => setTimeout(resolve, 20));
  const token = await bed.bind("web", { reach: GATEWAY });
  await bed.changed("web");
  assert.equal(await bed.get(token, "/alpha", "172.17.0.1"), '{"n":1}');
});

Deno.test("a token that was made before its listener was lost may be known, too", async () => {
  await using bed = await Bed.open();
  await bed.bind("web", { reach: GATEWAY });
  await bed.stored.start();
  // Its client may have started already, although nobody told us.
  const token = await bed.bind("web", { reach: GATEWAY });
  bed.lose(SQUATTED);
  await new Promise((resolve) => setTimeout(resolve, 20));
  await bed.changed("web");
  assert.equal(await bed.get(token, "/alpha", "172.17.0.1"), "unauthorized");
});

/** Bindings without a file system. */
function countless(platform: ReturnType<typeof fakePlatform>): BindingStore {
  const { paths, format } = openOwnBindings(platform);
  const store = new BindingStore(paths, format, platform.clock);
  store.stamp = () => "1";
  store.get = (name) =>
    Promise.resolve([{
      binding: { name, grants: ["alpha"] },
      tokenDigest: digestToken(tokenOf(name)),
      createdAt: 0,
      url: "",
      tokenFile: false,
    }]);
  return store;
}

function tokenOf(name: string): string {
  return `moat.${name}.${"A".repeat(43)}`;
}

Deno.test("no more than ten thousand bindings are kept, and all are served", async () => {
  const bindings = countless(fakePlatform());
  await using bed = await Bed.open({ bindings });
  const first = await bed.find(tokenOf("b0"));
  for (let i = 1; i < 10_000; i++) await bed.find(tokenOf(`b${i}`));
  assert.deepEqual([bed.table.names.length, first?.isLive], [10_000, true]);
  await bed.find(tokenOf("one-more"));
  assert.deepEqual(
    [bed.table.names.length, first?.isLive, bed.released],
    [10_000, false, ["b0"]],
  );
  assert.equal(await bed.get(tokenOf("b0")), '{"n":1}');
});

/** Real listeners, of which clients ask for a stored binding. */
async function served(more: (directory: string) => Partial<Unwritten>) {
  const stack = new AsyncDisposableStack();
  const home = stack.use(await tempHome());
  const table = new BindingTable();
  const platform = fakePlatform({ paths: home.paths });
  const listeners = new Listeners(
    platform,
    createService(table),
    Deno.listen,
    1000,
  );
  stack.defer(() => listeners.drain(0));
  const registry = createRegistry([provider("alpha")]);
  const bindings = openOwnBindings(platform);
  const stored = new StoredBindings({
    platform,
    binder: new Binder(registry, platform),
    store: createMemoryStore([grant("alpha", { n: 1 })]),
    bindings,
    table,
    listeners,
  });
  const files = join(bindings.paths.bound, "web", "files");
  await Deno.mkdir(files, { recursive: true });
  const token = mintToken("web");
  await bindings.put(
    {
      binding: { name: "web", grants: ["alpha"] },
      createdAt: 0,
      url: "",
      tokenFile: false,
      directory: "/moat",
      ...more(files),
    },
    token,
    {},
  );
  const ask = async (address: Deno.Addr, host: string) => {
    const field = `Authorization: Bearer ${token.reveal()}`;
    const text = `GET /alpha HTTP/1.1\r\nHost: ${host}\r\n${field}\r\n\r\n`;
    return (await exchange(address, text))[0]?.status;
  };
  return {
    listeners,
    stored,
    files,
    ask,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

Deno.test("start() serves a binding at its gateway, and nowhere else", async () => {
  using free = Deno.listen({ hostname: "127.0.0.2", port: 0 });
  const { port } = free.addr as Deno.NetAddr;
  free.close();
  await using bed = await served(() => ({
    reach: { by: "gateway", address: "127.0.0.2", port },
  }));
  const url = bed.listeners.listen({ hostname: "127.0.0.1", port: 0 });
  const own = Number(new URL(url).port);
  await bed.stored.start();
  const found = [
    bed.ask(
      { transport: "tcp", hostname: "127.0.0.2", port },
      `moat-proxy:${port}`,
    ),
    bed.ask(
      { transport: "tcp", hostname: "127.0.0.1", port: own },
      `127.0.0.1:${own}`,
    ),
  ];
  assert.deepEqual(await Promise.all(found), [200, 401]);
});

Deno.test("start() serves a binding on its socket, and nowhere else", async () => {
  await using bed = await served((files) => ({
    reach: { by: "socket", path: join(files, "endpoint.sock"), port: 24711 },
  }));
  const url = bed.listeners.listen({ hostname: "127.0.0.1", port: 0 });
  const port = Number(new URL(url).port);
  await bed.stored.start();
  const path = join(bed.files, "endpoint.sock");
  const found = [
    bed.ask({ transport: "unix", path }, "127.0.0.1:24711"),
    bed.ask({ transport: "unix", path }, "evil.example"),
    bed.ask(
      { transport: "tcp", hostname: "127.0.0.1", port },
      `127.0.0.1:${port}`,
    ),
  ];
  assert.deepEqual(await Promise.all(found), [200, 403, 401]);
});

Deno.test("changed() gives a binding its socket anew", async () => {
  await using bed = await served((files) => ({
    reach: { by: "socket", path: join(files, "endpoint.sock"), port: 24711 },
  }));
  await bed.stored.start();
  for (let i = 0; i < 3; i++) await bed.stored.changed("web");
  const path = join(bed.files, "endpoint.sock");
  const found = await bed.ask({ transport: "unix", path }, "127.0.0.1");
  assert.equal(found, 200);
});

const WEB = containerFacts();

/** What `bind()` writes for the container `web` without a token. */
function tokenless(
  name: string,
  more: Partial<Binding> = {},
): Partial<Unwritten> {
  const container = { name: "web" };
  return {
    binding: { name, grants: ["alpha"], mode: "tokenless", container, ...more },
  };
}

/** The bindings of the container `web`, with the settings of their grants. */
async function ofWeb(bed: Bed): Promise<string[]> {
  const found = await bed.table.ofContainer(WEB);
  return found.filter(({ isLive }) => isLive).map(({ binding, served }) =>
    [binding.name, ...served.grants.map(({ settings }) => settings["n"])]
      .join(" ")
  );
}

Deno.test("start() makes bindings without a token live", async () => {
  await using bed = await Bed.open();
  await bed.bind("own", tokenless("own"));
  assert.deepEqual(await ofWeb(bed), []);
  await bed.stored.start();
  assert.deepEqual(await ofWeb(bed), ["own 1"]);
});

Deno.test("start() reads no binding of clients with a token alone", async () => {
  await using bed = await Bed.open();
  await bed.bind("own", tokenless("own"));
  await bed.bind("other");
  await bed.stored.start();
  assert.deepEqual([...new Set(bed.bindings.read)], ["own"]);
});

Deno.test("start() goes on behind a damaged binding without a token", async () => {
  await using bed = await Bed.open();
  await bed.bind("bad", tokenless("bad"));
  await bed.bind("own", tokenless("own"));
  await bed.damage("bad");
  await bed.stored.start();
  assert.deepEqual(await ofWeb(bed), ["own 1"]);
});

Deno.test("a container without a binding waits while one cannot be read", async () => {
  await using bed = await Bed.open();
  await bed.bind("bad", tokenless("bad"));
  await bed.damage("bad");
  await bed.stored.start();
  assert.throws(() => bed.table.ofContainer(WEB), { code: "binding-unusable" });
  await bed.bind("bad", tokenless("bad", { container: { name: "db" } }));
  await bed.stored.changed("bad");
  assert.deepEqual(await ofWeb(bed), []);
});

Deno.test("changed() makes a new binding without a token live", async () => {
  await using bed = await Bed.open();
  await bed.bind("own", tokenless("own"));
  await bed.stored.changed("own");
  assert.deepEqual(await ofWeb(bed), ["own 1"]);
});

Deno.test("changed() ends a binding without a token that was removed", async () => {
  await using bed = await Bed.open();
  await bed.bind("own", tokenless("own"));
  await bed.stored.start();
  const [live] = await bed.table.ofContainer(WEB);
  await bed.disk.delete("own");
  await bed.stored.changed("own");
  assert.deepEqual([live?.isLive, await ofWeb(bed)], [false, []]);
});

Deno.test("a binding without a token that is removed behind our back ends", async () => {
  await using bed = await Bed.open();
  await bed.bind("own", tokenless("own"));
  await bed.stored.start();
  await bed.disk.delete("own");
  await bed.platform.clock.advance(10);
  assert.deepEqual(await ofWeb(bed), []);
});

Deno.test("changed() leaves no moment without a binding to a container", async () => {
  await using bed = await Bed.open();
  await bed.bind("own", tokenless("own"));
  await bed.stored.start();
  await bed.bind("own", tokenless("own", { settings: { alpha: 2 } }));
  const changing = bed.stored.changed("own");
  const [live] = await bed.table.ofContainer(WEB);
  assert.deepEqual(live?.binding.settings, { alpha: 2 });
  await changing;
});

Deno.test("changed() lets a binding that got a token be found at once", async () => {
  await using bed = await Bed.open();
  await bed.bind("own", tokenless("own"));
  await bed.stored.start();
  const token = await bed.bind("own");
  const changing = bed.stored.changed("own");
  assert.equal(await bed.get(token), '{"n":1}');
  assert.deepEqual(await ofWeb(bed), []);
  await changing;
});

Deno.test("grantChanged() leaves no moment without a binding to a container", async () => {
  await using bed = await Bed.open();
  await bed.bind("own", tokenless("own"));
  await bed.stored.start();
  await bed.store.put(grant("alpha", { n: 2 }));
  bed.stored.grantChanged("alpha");
  assert.deepEqual(await ofWeb(bed), ["own 2"]);
});

Deno.test("a container whose binding's grant was revoked still has a binding", async () => {
  await using bed = await Bed.open();
  await bed.bind("own", tokenless("own"));
  await bed.stored.start();
  await bed.store.delete("alpha");
  bed.stored.grantChanged("alpha");
  assert.deepEqual(await ofWeb(bed), ["own"]);
});

Deno.test("a token of a binding without one is worth nothing", async () => {
  await using bed = await Bed.open();
  const token = await bed.bind("own", tokenless("own"));
  await bed.stored.start();
  assert.equal(await bed.get(token), "unauthorized");
});

Deno.test("a binding that is restricted to a container keeps it over a restart", async () => {
  await using bed = await Bed.open();
  const container = { label: { key: "app", value: "web" } };
  const binding = { name: "own", grants: ["alpha"], container };
  const token = await bed.bind("own", { binding });
  assert.deepEqual((await bed.find(token))?.binding.container, container);
});

Deno.test("bindings of containers are never dropped for others", async () => {
  const platform = fakePlatform();
  const bindings = countless(platform);
  const { get } = bindings;
  bindings.get = async (name) => {
    const [stored] = await get(name);
    assert(stored);
    return name === "own" ? [{ ...stored, ...tokenless("own") }] : [stored];
  };
  await using bed = await Bed.open({ bindings });
  await bed.stored.changed("own");
  for (let i = 0; i <= 10_000; i++) await bed.find(tokenOf(`b${i}`));
  assert.deepEqual(
    [bed.table.names.length, await ofWeb(bed), bed.released],
    [10_001, ["own 1"], ["b0"]],
  );
});
