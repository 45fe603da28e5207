import assert from "node:assert/strict";
import { join } from "node:path";
import { FakeClock } from "../tests/support/fake_clock.ts";
import { testUnless } from "../tests/support/conditional.ts";
import { modeOf, namesIn, tempHome } from "../tests/support/temp_home.ts";
import { assertNoCanary, CANARY } from "../tests/support/canary.ts";
import { digestToken, mintToken } from "./binding.ts";
import {
  type BindingStore,
  type NewBinding,
  OWN_FORMAT,
} from "./binding_store.ts";
import { systemClock } from "./clock.ts";
import { openOwnBindings } from "./own_bindings.ts";
import type { Policy } from "./policy.ts";
import { Secret } from "./secret.ts";

type Unwritten = NewBinding;

function binding(name = "web", more: Partial<Unwritten> = {}): Unwritten {
  return {
    binding: { name, grants: ["aws:prod"], mode: "ecs-full" },
    createdAt: 1_767_225_600_000,
    url: "http://127.0.0.1:19080",
    tokenFile: false,
    ...more,
  };
}

/** A home with stored bindings. */
async function openBed() {
  const home = await tempHome();
  const clock = new FakeClock();
  const { paths } = home;
  const store = openOwnBindings({ paths, clock });
  const fileOf = (name: string) => join(store.paths.bindings, `${name}.json`);
  return {
    home,
    clock,
    store,
    fileOf,
    /** Binds; gives the token. */
    async put(name = "web", more: Partial<Unwritten> = {}): Promise<string> {
      const token = mintToken(name);
      const stored = binding(name, more);
      await store.put(stored, token, environmentOf(store, stored, token));
      return token.reveal();
    },
    /** The digests that count. */
    async digests(name = "web"): Promise<string[]> {
      return (await store.get(name)).map(({ tokenDigest }) => tokenDigest);
    },
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

/** What the client finds in its environment: a token, or the file that holds it. */
function environmentOf(
  store: BindingStore,
  { binding: { name }, tokenFile, directory }: Unwritten,
  token: Secret,
): Record<string, string> {
  if (!tokenFile) return { TOKEN: `Bearer ${token.reveal()}` };
  return {
    TOKEN_FILE: directory === undefined
      ? store.tokenPath(name, false)
      : `${directory}/token`,
  };
}

/** The token that a client sends, as its environment says; none without one. */
async function sentBy(store: BindingStore, name = "web") {
  const file = join(store.paths.environments, name);
  const environment = await readIfAny(file);
  if (environment === undefined) return undefined;
  const [, kind, value = ""] =
    /^(TOKEN|TOKEN_FILE)=(.*)\n$/.exec(environment) ?? assert.fail(environment);
  const path = value === "/moat/token" ? store.tokenPath(name, true) : value;
  const text = kind === "TOKEN" ? value : await readIfAny(path);
  return text?.replace(/^Bearer /, "");
}

async function readIfAny(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    assert(error instanceof Deno.errors.NotFound);
    return undefined;
  }
}

const POLICY: Policy = {
  default: "deny",
  rules: [
    { action: "deny", host: "*.a.test:8443", methods: ["PUT"], path: "/v1/**" },
    { action: "allow", host: "*" },
  ],
  allowHosts: ["registry.internal:4873"],
  plainHttp: ["registry.internal:4873"],
};

const ROUNDS: Record<string, Partial<Unwritten>> = {
  "the least": {},
  "a mode and settings": {
    binding: {
      name: "web",
      grants: ["aws", "github"],
      mode: "process",
      settings: { aws: { duration: 900, tags: ["a", null] } },
    },
  },
  "no mode": { binding: { name: "web", grants: ["aws"] } },
  "a policy": {
    binding: { name: "web", grants: ["aws"], policy: POLICY },
  },
  "a container by its name": {
    binding: { name: "web", grants: ["aws"], container: { name: "web" } },
  },
  "a container by its label": {
    binding: {
      name: "web",
      grants: ["aws"],
      container: { label: { key: "app", value: "web" } },
    },
  },
  "a token file": { tokenFile: true },
  "files of a service": {
    directory: "/home/ana/.local/share/moat/bound/web/files",
    tokenFile: true,
  },
  "a gateway": {
    directory: "/moat",
    tokenFile: true,
    reach: { by: "gateway", address: "172.17.0.1", port: 19080 },
  },
  "a socket": {
    directory: "/moat",
    reach: { by: "socket", path: "/x/endpoint.sock", port: 19080 },
  },
  "an address": {
    reach: { by: "address", address: "169.254.170.2", port: 80 },
  },
};
for (const [name, more] of Object.entries(ROUNDS)) {
  Deno.test(`get() gives what put() was given: ${name}`, async () => {
    await using bed = await openBed();
    const token = await bed.put("web", more);
    assert.deepEqual(await bed.store.get("web"), [
      { ...binding("web", more), tokenDigest: digestToken(token) },
    ]);
  });
}

const BAD_POLICIES: Record<string, unknown> = {
  "null": null,
  "a word": "allow",
  "no default": { rules: [], allowHosts: [], plainHttp: [] },
  "an unknown default": { ...POLICY, default: "ask" },
  "a member that it has not": { ...POLICY, trusted: true },
  "a rule with a member that it has not": {
    ...POLICY,
    rules: [{ action: "deny", host: "a.test", port: 443 }],
  },
  "a host that is none": {
    ...POLICY,
    rules: [{ action: "deny", host: "a b" }],
  },
};
for (const [name, policy] of Object.entries(BAD_POLICIES)) {
  Deno.test(`get() refuses a binding whose policy is ${name}`, async () => {
    await using bed = await openBed();
    await bed.put("web");
    const file = JSON.parse(await Deno.readTextFile(bed.fileOf("web")));
    await Deno.writeTextFile(
      bed.fileOf("web"),
      JSON.stringify({ ...file, policy }),
    );
    await assert.rejects(bed.store.get("web"), { code: "binding-damaged" });
  });
}

for (const container of [null, {}, "web", { name: "web", more: 1 }]) {
  Deno.test(`get() refuses a binding whose container is ${JSON.stringify(container)}`, async () => {
    await using bed = await openBed();
    await bed.put("web");
    const file = JSON.parse(await Deno.readTextFile(bed.fileOf("web")));
    await Deno.writeTextFile(
      bed.fileOf("web"),
      JSON.stringify({ ...file, container }),
    );
    await assert.rejects(bed.store.get("web"), { code: "binding-damaged" });
  });
}

/** For one container alone. */
const CONTAINED: Partial<Unwritten> = {
  binding: { name: "web", grants: ["aws"], container: { name: "web" } },
};

Deno.test("put() marks a binding of a container for whoever starts", async () => {
  await using bed = await openBed();
  await bed.put("other");
  await bed.put("web", CONTAINED);
  assert.deepEqual(await namesIn(bed.store.paths.bound), ["web"]);
});

Deno.test("put() takes the mark away with the container", async () => {
  await using bed = await openBed();
  await bed.put("web", CONTAINED);
  await bed.put("web");
  assert.deepEqual(await namesIn(bed.store.paths.bound), []);
});

Deno.test("put() keeps the mark when files go", async () => {
  await using bed = await openBed();
  await bed.put("web", { ...CONTAINED, directory: "/moat", tokenFile: true });
  await bed.put("web", CONTAINED);
  const { bound } = bed.store.paths;
  assert.deepEqual(
    [await namesIn(bound), await namesIn(join(bound, "web"))],
    [["web"], []],
  );
});

Deno.test("delete() takes the mark away", async () => {
  await using bed = await openBed();
  await bed.put("web", CONTAINED);
  await bed.store.delete("web");
  assert.deepEqual(await namesIn(bed.store.paths.bound), []);
});

Deno.test("get() finds no policy in a file without one", async () => {
  await using bed = await openBed();
  await bed.put("web");
  const [stored] = await bed.store.get("web");
  assert.equal(Object.hasOwn(stored?.binding ?? {}, "policy"), false);
});

for (const name of ["a.b", "a@b", "-", "_x", "x".repeat(64)]) {
  Deno.test(`put() keeps a binding called ${name}`, async () => {
    await using bed = await openBed();
    await bed.put(name);
    assert.deepEqual(
      [(await bed.store.get(name))[0]?.binding.name, await bed.store.names()],
      [name, [name]],
    );
  });
}

for (const name of ["", "a/b", "../x", ".hidden", "run-x", "x".repeat(65)]) {
  Deno.test(`put() refuses a binding called ${JSON.stringify(name)}, and writes nothing`, async () => {
    await using bed = await openBed();
    await assert.rejects(bed.put(name), { code: "usage" });
    assert.deepEqual(await namesIn(bed.home.directory), []);
  });
}

Deno.test("put() keeps the token in the environment file alone", async () => {
  await using bed = await openBed();
  const token = new Secret(`moat.web.${CANARY}AAA`);
  await bed.store.put(binding(), token, { A: token.reveal() });
  const { bindings, environments } = bed.store.paths;
  assertNoCanary(await Deno.readTextFile(bed.fileOf("web")));
  assert.equal(
    await Deno.readTextFile(join(environments, "web")),
    `A=${token.reveal()}\n`,
  );
  assert.deepEqual(await namesIn(bindings), [".lock", "web.json"]);
});

Deno.test("put() writes a token file as the header's value, without a newline", async () => {
  await using bed = await openBed();
  const token = await bed.put("web", { tokenFile: true });
  const path = bed.store.tokenPath("web", false);
  assert.equal(path, join(bed.store.paths.tokens, "web"));
  assert.equal(await Deno.readTextFile(path), `Bearer ${token}`);
});

Deno.test("put() writes the token among the files of a client that has some", async () => {
  await using bed = await openBed();
  const token = await bed.put("web", { tokenFile: true, directory: "/moat" });
  const path = bed.store.tokenPath("web", true);
  assert.equal(path, join(bed.store.paths.bound, "web", "files", "token"));
  assert.deepEqual(
    [await Deno.readTextFile(path), await modeOf(path)],
    [`Bearer ${token}`, 0o444],
  );
});

for (const mask of [0o000, 0o022, 0o077]) {
  const name = mask.toString(8).padStart(3, "0");
  Deno.test(`put() lets nobody else in with umask ${name}`, async () => {
    const before = Deno.umask(mask);
    try {
      await using bed = await openBed();
      await bed.put("web", { tokenFile: true });
      const { bindings, environments, tokens } = bed.store.paths;
      const paths = [
        ...[bindings, environments, tokens],
        ...[bed.fileOf("web"), join(environments, "web"), join(tokens, "web")],
      ];
      assert.deepEqual(
        await Promise.all(paths.map(modeOf)),
        [0o700, 0o700, 0o700, 0o600, 0o600, 0o600],
      );
    } finally {
      Deno.umask(before);
    }
  });
}

Deno.test("put() takes the place of a binding: the old token stops", async () => {
  await using bed = await openBed();
  const old = await bed.put();
  const token = await bed.put();
  assert.notEqual(old, token);
  assert.deepEqual(
    [await bed.digests(), await sentBy(bed.store)],
    [[digestToken(token)], token],
  );
});

for (const mode of [0o600, 0o640, 0o644, 0o400]) {
  Deno.test(`put() keeps the mode ${mode.toString(8)} of an environment file`, async () => {
    await using bed = await openBed();
    await bed.put("web", { tokenFile: true });
    const paths = [
      join(bed.store.paths.environments, "web"),
      bed.store.tokenPath("web", false),
    ];
    for (const path of paths) await Deno.chmod(path, mode);
    await bed.put("web", { tokenFile: true });
    const kept = await Promise.all(paths.map(modeOf));
    assert.deepEqual(kept, [mode, mode]);
  });
}

const notRoot = Deno.uid() === 0 ? undefined : "only root may give files away";

testUnless(
  notRoot,
  "put() keeps the owner of an environment file",
  async () => {
    await using bed = await openBed();
    await bed.put("web", { tokenFile: true });
    const paths = [
      join(bed.store.paths.environments, "web"),
      bed.store.tokenPath("web", false),
    ];
    for (const path of paths) await Deno.chown(path, 1234, 2345);
    await bed.put("web", { tokenFile: true });
    for (const path of paths) {
      const { uid, gid, mode = 0 } = await Deno.stat(path);
      assert.deepEqual([uid, gid, (mode ?? 0) & 0o777], [1234, 2345, 0o600]);
    }
  },
);

Deno.test("put() follows no link at the place of the environment file", async () => {
  await using bed = await openBed();
  await bed.put();
  const path = join(bed.store.paths.environments, "web");
  const target = join(bed.home.directory, "precious");
  await Deno.writeTextFile(target, "precious");
  await Deno.remove(path);
  await Deno.symlink(target, path);
  const token = await bed.put();
  assert.deepEqual(
    [await Deno.readTextFile(target), await sentBy(bed.store)],
    ["precious", token],
  );
});

Deno.test("put() removes a token file that the client has no more", async () => {
  await using bed = await openBed();
  await bed.put("web", { tokenFile: true });
  await bed.put("web");
  assert.deepEqual(await namesIn(bed.store.paths.tokens), []);
});

Deno.test("put() removes files that the client has no more", async () => {
  await using bed = await openBed();
  await bed.put("web", { tokenFile: true, directory: "/moat" });
  await bed.put("web", { tokenFile: true });
  assert.deepEqual(await namesIn(bed.store.paths.bound), []);
});

Deno.test("put() writes the client's files before its token counts", async () => {
  await using bed = await openBed();
  const seen: (string | undefined)[] = [];
  await bed.store.put(binding(), mintToken("web"), {}, () => {
    seen.push(bed.store.stamp("web"));
    return Promise.resolve();
  });
  assert.deepEqual(seen, [undefined]);
});

Deno.test("put() keeps the old token when the client's files cannot be written", async () => {
  await using bed = await openBed();
  const token = await bed.put();
  const failure = new TypeError("x");
  await assert.rejects(
    bed.store.put(binding(), mintToken("web"), {}, () => {
      throw failure;
    }),
    failure,
  );
  assert.deepEqual(
    [await bed.digests(), await sentBy(bed.store)],
    [[digestToken(token)], token],
  );
});

Deno.test("put() leaves nothing of a new binding that cannot be written", async () => {
  await using bed = await openBed();
  const stored = binding("web", { tokenFile: true, directory: "/moat" });
  const files = join(bed.store.paths.bound, "web", "files");
  const putting = bed.store.put(stored, mintToken("web"), {}, async () => {
    await Deno.mkdir(files, { recursive: true });
    throw new TypeError("x");
  });
  await assert.rejects(putting, TypeError);
  const { bindings, environments, bound } = bed.store.paths;
  assert.deepEqual(
    await Promise.all([bindings, environments, bound].map(namesIn)),
    [[".lock"], [], []],
  );
});

Deno.test("put() takes the place of a damaged binding", async () => {
  await using bed = await openBed();
  await bed.put();
  await Deno.writeTextFile(bed.fileOf("web"), "{");
  const token = await bed.put();
  assert.deepEqual(await bed.digests(), [digestToken(token)]);
});

/** What others, or a command that was killed, may have left behind. */
const LEFT = [
  ".web.json.0123456789abcdef.tmp",
  ".other.json.0123456789abcdef.tmp",
  ".wip.web",
  "README",
  "web.json~",
];

Deno.test("put() is not in the way of what others left behind", async () => {
  await using bed = await openBed();
  const { bindings, environments } = bed.store.paths;
  await Deno.mkdir(bindings, { mode: 0o700 });
  await Deno.mkdir(environments, { mode: 0o700 });
  for (const name of LEFT) await Deno.writeTextFile(join(bindings, name), "{");
  await Deno.writeTextFile(
    join(environments, ".web.0123456789abcdef.tmp"),
    "x",
  );
  const token = await bed.put();
  assert.deepEqual(
    [await bed.digests(), await bed.store.names()],
    [[digestToken(token)], ["web"]],
  );
});

Deno.test("put() clears away what a command left that was killed, and nothing else", async () => {
  await using bed = await openBed();
  const { bindings, environments } = bed.store.paths;
  await Deno.mkdir(bindings, { mode: 0o700 });
  await Deno.mkdir(environments, { mode: 0o700 });
  for (const name of LEFT) await Deno.writeTextFile(join(bindings, name), "{");
  await Deno.writeTextFile(
    join(environments, ".web.0123456789abcdef.tmp"),
    "x",
  );
  await bed.put();
  assert.deepEqual(
    [await namesIn(bindings), await namesIn(environments)],
    [[".lock", ".wip.web", "README", "web.json", "web.json~"], ["web"]],
  );
});

Deno.test("two puts of one name at once leave one token, which counts", async () => {
  await using bed = await openBed();
  const tokens = await Promise.all(
    Array.from({ length: 5 }, () => bedOf(bed).put()),
  );
  const sent = await sentBy(bed.store) ?? assert.fail();
  assert(tokens.includes(sent));
  assert.deepEqual(await bed.digests(), [digestToken(sent)]);
});

/** The same home as another process has it, with a real clock to wait by. */
function bedOf(
  { home }: { home: { paths: Parameters<typeof openOwnBindings>[0]["paths"] } },
) {
  const store = openOwnBindings({ paths: home.paths, clock: systemClock });
  return {
    async put(name = "web", more: Partial<Unwritten> = {}): Promise<string> {
      const token = mintToken(name);
      const stored = binding(name, more);
      await store.put(stored, token, environmentOf(store, stored, token));
      return token.reveal();
    },
  };
}

Deno.test("puts of several names at once keep each other's", async () => {
  await using bed = await openBed();
  const names = ["a", "b", "c", "d", "e"];
  const tokens = await Promise.all(names.map((name) => bedOf(bed).put(name)));
  assert.deepEqual(await bed.store.names(), names);
  for (const [index, name] of names.entries()) {
    assert.deepEqual(
      await bed.digests(name),
      [digestToken(tokens[index] ?? "")],
    );
  }
});

Deno.test("put() gives up when another command holds the lock for ten seconds", async () => {
  await using bed = await openBed();
  const token = await bed.put();
  using lock = await Deno.open(join(bed.store.paths.bindings, ".lock"), {
    write: true,
  });
  await lock.lock(true);
  const putting = assert.rejects(bed.put(), { code: "locked" });
  let isOver = false;
  void putting.finally(() => isOver = true);
  for (let turn = 0; !isOver && turn < 2000; turn++) {
    await bed.clock.advance(25);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  await putting;
  assert.deepEqual(await bed.digests(), [digestToken(token)]);
});

Deno.test("put() tells that a directory cannot be made, and where", async () => {
  await using bed = await openBed();
  await Deno.writeTextFile(bed.store.paths.bindings, "a file");
  await assert.rejects(bed.put(), (error: Error) => {
    assert(["cannot-write", "insecure-directory"].includes(Object(error).code));
    assert.match(error.message, /bindings"/);
    return true;
  });
});

Deno.test("put() tells that a directory is not writable, and keeps the old token", async () => {
  await using bed = await openBed();
  const token = await bed.put();
  {
    using _disk = new FaultyDisk(0, "kills");
    await assert.rejects(bed.put(), {
      code: "cannot-write",
      message: /permission denied$/,
    });
  }
  assert.deepEqual(
    [await bed.digests(), await sentBy(bed.store)],
    [[digestToken(token)], token],
  );
});

Deno.test("put() refuses a directory that others can enter", async () => {
  await using bed = await openBed();
  await bed.put();
  await Deno.chmod(bed.store.paths.bindings, 0o755);
  await assert.rejects(bed.put(), { code: "insecure-directory" });
});

Deno.test("get() refuses a directory that others can enter", async () => {
  await using bed = await openBed();
  await bed.put();
  await Deno.chmod(bed.store.paths.bindings, 0o777);
  await assert.rejects(bed.store.get("web"), { code: "insecure-directory" });
});

Deno.test("put() writes nothing for an environment that no file can hold", async () => {
  await using bed = await openBed();
  const more = { tokenFile: true };
  const token = await bed.put("web", more);
  await assert.rejects(
    bed.store.put(binding("web", more), mintToken("web"), { A: "a\nB=b" }),
    { code: "bad-value" },
  );
  assert.deepEqual(
    [await bed.digests(), await sentBy(bed.store)],
    [[digestToken(token)], token],
  );
});

Deno.test("get() tells that there is no binding, nor a directory", async () => {
  await using bed = await openBed();
  await assert.rejects(bed.store.get("web"), { code: "binding-not-found" });
  assert.deepEqual(
    [await bed.store.names(), bed.store.stamp("web")],
    [[], undefined],
  );
});

const WHOLE = JSON.parse(
  OWN_FORMAT.encode({ ...binding(), tokenDigest: "A".repeat(64) }),
);

const DAMAGED: Record<string, unknown> = {
  "an empty file": "",
  "half of it": JSON.stringify(WHOLE).slice(0, 40),
  "no JSON": "hello",
  "null": null,
  "a list": [],
  "a number": 7,
  "nothing in it": {},
  "another version": { ...WHOLE, version: 2 },
  "another binding's name": { ...WHOLE, name: "other" },
  "no digest": { ...WHOLE, tokenDigest: undefined },
  "a token for a digest": { ...WHOLE, tokenDigest: `moat.web.${CANARY}` },
  "a short digest": { ...WHOLE, tokenDigest: "A".repeat(63) },
  "a text as grants": { ...WHOLE, grants: "aws" },
  "a number as mode": { ...WHOLE, mode: 7 },
  "a text as time": { ...WHOLE, createdAt: "2026-01-01" },
  "a text as way": { ...WHOLE, reach: "loopback" },
  "a further member": { ...WHOLE, secret: CANARY },
  "a next one of another name": {
    ...WHOLE,
    next: { ...WHOLE, name: "other" },
  },
  "a next one that is damaged": { ...WHOLE, next: {} },
  "a next one of a next one": {
    ...WHOLE,
    next: { ...WHOLE, next: WHOLE },
  },
};
for (const [name, content] of Object.entries(DAMAGED)) {
  Deno.test(`get() refuses a file with ${name}, and shows nothing of it`, async () => {
    await using bed = await openBed();
    await bed.put();
    await Deno.writeTextFile(
      bed.fileOf("web"),
      typeof content === "string" ? content : JSON.stringify(content),
    );
    const error = await bed.store.get("web").catch((error) => error);
    assert.equal(error.code, "binding-damaged");
    assertNoCanary(`${error.message} ${error.hint}`);
  });
}

Deno.test("get() refuses a file that is no UTF-8", async () => {
  await using bed = await openBed();
  await bed.put();
  await Deno.writeFile(bed.fileOf("web"), Uint8Array.of(0xff, 0x7b));
  await assert.rejects(bed.store.get("web"), { code: "binding-damaged" });
});

Deno.test("names() names damaged bindings, and no other files", async () => {
  await using bed = await openBed();
  await bed.put("b");
  await bed.put("a");
  for (const name of ["c.json", ".d.json", ".wip.e", "f", "g.json.bak"]) {
    await Deno.writeTextFile(join(bed.store.paths.bindings, name), "{");
  }
  assert.deepEqual(await bed.store.names(), ["a", "b", "c"]);
});

Deno.test("stamp() changes with each put, and not meanwhile", async () => {
  await using bed = await openBed();
  const stamps: (string | undefined)[] = [];
  for (let i = 0; i < 5; i++) {
    await bed.put();
    stamps.push(bed.store.stamp("web"));
    assert.equal(bed.store.stamp("web"), stamps[i]);
  }
  assert.equal(new Set(stamps).size, 5);
  await bed.store.delete("web");
  assert.equal(bed.store.stamp("web"), undefined);
});

for (const name of ["run-x", "../web", ".", ""]) {
  Deno.test(`stamp() finds nothing called ${JSON.stringify(name)}`, async () => {
    await using bed = await openBed();
    await bed.put();
    assert.equal(bed.store.stamp(name), undefined);
  });
}

Deno.test("delete() removes all that a binding has", async () => {
  await using bed = await openBed();
  await bed.put("web", { tokenFile: true });
  await bed.put("web", { tokenFile: true, directory: "/moat" });
  await bed.put("other");
  assert.equal(await bed.store.delete("web"), true);
  const { bindings, environments, tokens, bound } = bed.store.paths;
  const left = [bindings, environments, tokens, bound].map(namesIn);
  assert.deepEqual(await Promise.all(left), [
    [".lock", "other.json"],
    ["other"],
    [],
    [],
  ]);
});

Deno.test("delete() removes a damaged binding", async () => {
  await using bed = await openBed();
  await bed.put();
  await Deno.writeTextFile(bed.fileOf("web"), "{");
  assert.equal(await bed.store.delete("web"), true);
  assert.deepEqual(await bed.store.names(), []);
});

Deno.test("delete() tells that there was none", async () => {
  await using bed = await openBed();
  assert.equal(await bed.store.delete("web"), false);
  assert.deepEqual(await namesIn(bed.home.directory), []);
});

/** Functions of the runtime that change a file system. */
const CHANGING = [
  "open",
  "mkdir",
  "rename",
  "remove",
  "chmod",
  "chown",
] as const;

/** What happens at one of the changes. */
type Fault = "fails" | "kills";

/**
 * Counts what changes the file system, and lets one of these changes fail; all
 * after it, too, when the process was killed.
 */
class FaultyDisk implements Disposable {
  readonly #stack = new DisposableStack();
  readonly #at: number;
  readonly #fault: Fault;
  /** How many changes were tried. */
  changes = 0;

  /** Counts all changes, or only those by which a file takes its place. */
  constructor(at: number, fault: Fault, counted: "all" | "rename" = "all") {
    this.#at = at;
    this.#fault = fault;
    const names = counted === "all" ? CHANGING : ["rename"];
    for (const name of names) this.#wrap(Deno, name);
    if (counted === "rename") return;
    this.#wrap(Deno.FsFile.prototype, "write");
    this.#wrap(Deno.FsFile.prototype, "sync");
  }

  // deno-lint-ignore no-explicit-any -- functions of many shapes
  #wrap(owner: any, name: string): void {
    const original = owner[name];
    const step = () => this.#step();
    owner[name] = async function (this: unknown, ...args: unknown[]) {
      step();
      return await original.apply(this, args);
    };
    this.#stack.defer(() => void (owner[name] = original));
  }

  #step(): void {
    const at = this.changes++;
    const isOver = this.#fault === "kills" ? at >= this.#at : at === this.#at;
    if (isOver) throw new Deno.errors.PermissionDenied("fault");
  }

  /** Whether it came so far. */
  get hasHappened(): boolean {
    return this.changes > this.#at;
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

/** Nobody pulls the plug here, and thousands of syncs take a minute. */
function withoutSync(): Disposable {
  const { prototype } = Deno.FsFile;
  const { sync } = prototype;
  prototype.sync = () => Promise.resolve();
  return { [Symbol.dispose]: () => void (prototype.sync = sync) };
}

/** Fails if the client's token does not count; gives which one it is. */
async function assertCounts(
  store: BindingStore,
  what: string,
): Promise<string | undefined> {
  const sent = await sentBy(store);
  if (sent === undefined) return undefined;
  const forms = await store.get("web").catch(() => []);
  const digests = forms.map(({ tokenDigest }) => tokenDigest);
  assert(digests.includes(digestToken(sent)), what);
  return sent;
}

/** Where a token is before and after it is changed. */
const IN_ENVIRONMENT = {};
const IN_FILE = { tokenFile: true };
const AMONG_FILES = { tokenFile: true, directory: "/moat" };
const PLACES: Record<string, Partial<Unwritten>> = {
  "its environment": IN_ENVIRONMENT,
  "a file": IN_FILE,
  "the files of a container": AMONG_FILES,
};

const CHANGES = Object.entries(PLACES).flatMap(([from, before]) =>
  Object.entries(PLACES).map(([to, after]) => ({ from, to, before, after }))
);

/** Rotates a token with a fault at one change; false when it came to its end. */
async function rotate(
  at: number,
  fault: Fault,
  before: Partial<Unwritten> | undefined,
  after: Partial<Unwritten>,
): Promise<boolean> {
  using _fast = withoutSync();
  await using bed = await openBed();
  const old = before && await bed.put("web", before);
  let hasHappened: boolean;
  let result: PromiseSettledResult<string>;
  {
    using disk = new FaultyDisk(at, fault);
    [result] = await Promise.allSettled([bed.put("web", after)]);
    hasHappened = disk.hasHappened;
  }
  const sent = await assertCounts(bed.store, `${fault} at change ${at}`);
  if (old !== undefined) assert.notEqual(sent, undefined);
  if (result.status === "fulfilled") assert.equal(sent, result.value);
  const next = await bed.put("web", after);
  assert.equal(await assertCounts(bed.store, `after ${at}`), next);
  assert.deepEqual(await bed.digests(), [digestToken(next)]);
  const { bindings, environments } = bed.store.paths;
  assert.deepEqual(
    [await namesIn(bindings), await namesIn(environments)],
    [[".lock", "web.json"], ["web"]],
  );
  return hasHappened;
}

for (const fault of ["fails", "kills"] as const) {
  const how = fault === "fails" ? "one change fails" : "the process is killed";
  for (const { from, to, before, after } of CHANGES) {
    Deno.test(`put() from ${from} to ${to}: whenever ${how}, the client's token counts`, async () => {
      let at = 0;
      while (await rotate(at, fault, before, after)) at++;
      assert(at > 10, `only ${at} changes`);
    });
  }

  for (const [to, after] of Object.entries(PLACES)) {
    Deno.test(`put() of a new binding in ${to}: whenever ${how}, a token that is there counts`, async () => {
      let at = 0;
      while (await rotate(at, fault, undefined, after)) at++;
      assert(at > 10, `only ${at} changes`);
    });
  }
}

/** Rotates again and again, and is killed each time after some files. */
async function killEach(
  points: readonly number[],
  [before = {}, ...steps]: readonly Partial<Unwritten>[],
): Promise<void> {
  using _fast = withoutSync();
  await using bed = await openBed();
  await bed.put("web", before);
  for (const [index, step] of steps.entries()) {
    using _disk = new FaultyDisk(points[index] ?? 0, "kills", "rename");
    await Promise.allSettled([bed.put("web", step)]);
  }
  await assertCounts(bed.store, `killed after ${points.join(" and ")}`);
}

for (const { from, to, before, after } of CHANGES) {
  for (const [last, then] of Object.entries(PLACES)) {
    Deno.test(`put() from ${from} to ${to}, then to ${last}: killed both times, the client's token counts`, async () => {
      // Binding, token, environment, binding: more files there are not.
      for (let point = 0; point < 16; point++) {
        const points = [Math.floor(point / 4), point % 4];
        await killEach(points, [before, after, then]);
      }
    });
  }
}
