import assert from "node:assert/strict";
import { join } from "node:path";
import { type Binding, digestToken } from "$core/binding.ts";
import { ControlClient, readLines } from "$core/control.ts";
import { MoatError } from "$core/errors.ts";
import { createRegistry } from "$core/provider.ts";
import { createMemoryStore } from "$core/store/memory.ts";
import { assertNoCanary, CANARY } from "../tests/support/canary.ts";
import { eventually } from "../tests/support/eventually.ts";
import { fakePlatform } from "../tests/support/fake_platform.ts";
import { headerProvider } from "../tests/support/header_provider.ts";
import {
  modeOf,
  namesIn,
  type TempHome,
  tempHome,
} from "../tests/support/temp_home.ts";
import { Binder } from "./bindings/binder.ts";
import { BindingTable } from "./bindings/binding_table.ts";
import { type ControlServer, serveControl } from "./control.ts";
import { Runs } from "./runs/runs.ts";

const STATUS = {
  pid: 7,
  version: "1",
  listeners: ["http://x:1"],
  runs: [],
  bindings: ["web"],
  expiries: [
    { grant: "a", what: "b", expiresAt: "2026-01-01T00:00:00.000Z", hint: "c" },
  ],
};

const TOKEN = `moat.run-abcdefghij.${"A".repeat(43)}`;
const OPEN = {
  run: "abcdefghij",
  grants: ["example"],
  tokenDigest: digestToken(TOKEN),
  directory: "/moat",
  reach: { by: "loopback" },
} as const;

/** A served control socket, and what it acts on. */
class Bed implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly home: TempHome;
  readonly platform;
  readonly bindings = new BindingTable();
  readonly runs: Runs;
  /** Names that `grant-changed` was called with. */
  readonly changed: string[] = [];
  /** Names that `binding-changed` was called with. */
  readonly rebound: string[] = [];
  /** What `provider` was called with. */
  readonly called: unknown[] = [];
  /** How runs wanted to be reached. */
  readonly reached: unknown[] = [];
  server: ControlServer | undefined;

  private constructor(stack: AsyncDisposableStack, home: TempHome) {
    this.#stack = stack;
    this.home = home;
    this.platform = fakePlatform({ paths: home.paths });
    const registry = createRegistry([headerProvider()]);
    this.runs = new Runs({
      platform: this.platform,
      registry,
      binder: new Binder(registry, this.platform),
      store: createMemoryStore([
        { provider: "example", name: "example", createdAt: 0, settings: {} },
      ]),
      bindings: this.bindings,
      listeners: {
        reach: (reach) => {
          this.reached.push(reach);
          return {
            url: "http://127.0.0.1:1",
            admits: () => true,
            release() {},
          };
        },
      },
      endsWhenIdle: false,
      onIdle() {},
    });
  }

  static async open(): Promise<Bed> {
    const stack = new AsyncDisposableStack();
    const bed = new Bed(stack, stack.use(await tempHome()));
    stack.defer(() => bed.stop());
    await bed.serve();
    return bed;
  }

  get path(): string {
    return this.home.paths.controlSocket;
  }

  async serve(): Promise<void> {
    this.server = await serveControl(this.path, {
      runs: this.runs,
      status: () => STATUS,
      grantChanged: (name) => {
        this.changed.push(name);
        if (name === "fail") throw new TypeError(`no ${CANARY}`);
        return Promise.resolve([`changed ${name}`]);
      },
      bindingChanged: (name) => {
        this.rebound.push(name);
        if (name === "fail") throw new TypeError(`no ${CANARY}`);
        return Promise.resolve();
      },
      callProvider: (...call) => {
        this.called.push(call);
        if (call[1] === "fail") throw new TypeError(`no ${CANARY}`);
        return Promise.resolve({ secret: CANARY });
      },
    });
  }

  async stop(): Promise<void> {
    await this.server?.close();
    this.server = undefined;
  }

  /** A client that is closed at the end. */
  async client(): Promise<ControlClient> {
    const client = await ControlClient.connect(this.path, this.platform.clock);
    assert(client);
    this.#stack.defer(() => {
      client.close();
      return client.closed;
    });
    return client;
  }

  /** Sends text, ends our side, and reads all replies. */
  async exchange(text: string | Uint8Array<ArrayBuffer>): Promise<string[]> {
    using conn = await Deno.connect({ transport: "unix", path: this.path });
    const lines = Array.fromAsync(readLines(conn)).catch(() => []);
    let rest = typeof text === "string" ? new TextEncoder().encode(text) : text;
    try {
      while (rest.length > 0) rest = rest.subarray(await conn.write(rest));
      await conn.closeWrite();
    } catch {
      // The server closed it first.
    }
    return await lines;
  }

  /** The bindings of live runs. */
  get bound(): (Binding | undefined)[] {
    return this.runs.names.map((name) => this.bindings.get(`run-${name}`));
  }

  /** Whether the run's token is known. */
  get isBound(): boolean {
    return this.bindings.find(TOKEN) !== undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

for (const mask of [0o000, 0o022, 0o777]) {
  const name = mask.toString(8);
  Deno.test(`serveControl() makes a socket for its owner alone with umask ${name}`, async () => {
    const before = Deno.umask(mask);
    try {
      await using bed = await Bed.open();
      assert.equal(await modeOf(bed.path), 0o600);
      assert.equal(Deno.umask(), mask);
    } finally {
      Deno.umask(before);
    }
  });
}

Deno.test("serveControl() refuses a directory that others can enter", async () => {
  await using bed = await Bed.open();
  await bed.stop();
  await Deno.chmod(bed.home.directory, 0o755);
  await assert.rejects(bed.serve(), { code: "insecure-directory" });
});

Deno.test("serveControl() refuses a path that no socket can have", async () => {
  await using home = await tempHome();
  const path = join(home.directory, "x".repeat(108));
  await assert.rejects(
    serveControl(path, {} as Parameters<typeof serveControl>[1]),
    { code: "path-too-long" },
  );
});

Deno.test("serveControl() takes the place of a socket that was left over", async () => {
  await using bed = await Bed.open();
  await bed.stop();
  Deno.listen({ transport: "unix", path: bed.path }).close();
  await Deno.writeTextFile(bed.path, "").catch(() => {});
  await bed.serve();
  const client = await bed.client();
  assert.deepEqual(await client.call("status", {}), STATUS);
});

Deno.test("close() removes the socket", async () => {
  await using bed = await Bed.open();
  await bed.stop();
  assert.deepEqual(await namesIn(bed.home.directory), []);
});

Deno.test("close() ends open connections", async () => {
  await using bed = await Bed.open();
  const client = await bed.client();
  await client.call("status", {});
  await bed.stop();
  await client.closed;
  await assert.rejects(client.call("status", {}), { code: "control-lost" });
});

Deno.test("close() takes it when the socket was removed by hand", async () => {
  await using bed = await Bed.open();
  await Deno.remove(bed.path);
  await bed.stop();
});

Deno.test("run-open binds a run to its connection", async () => {
  await using bed = await Bed.open();
  const client = await bed.client();
  const opened = await client.call("run-open", OPEN);
  assert.deepEqual(opened, {
    endpointUrl: "http://127.0.0.1:1",
    env: { EXAMPLE_TOKEN: "placeholder" },
    files: [],
    conflictingEnv: [],
    endsWhenIdle: false,
    environment: {},
  });
  assert(bed.isBound);
});

Deno.test("run-close ends a run at once", async () => {
  await using bed = await Bed.open();
  const client = await bed.client();
  await client.call("run-open", OPEN);
  assert.deepEqual(await client.call("run-close", { run: OPEN.run }), {});
  assert(!bed.isBound);
});

Deno.test("run-close ends no run of another connection", async () => {
  await using bed = await Bed.open();
  const [client, other] = [await bed.client(), await bed.client()];
  await client.call("run-open", OPEN);
  await other.call("run-close", { run: OPEN.run });
  assert(bed.isBound);
});

Deno.test("a connection that ends leaves its runs the grace", async () => {
  await using bed = await Bed.open();
  const client = await bed.client();
  await client.call("run-open", OPEN);
  client.close();
  const { clock } = bed.platform;
  await eventually("the end of the run", async () => {
    await clock.advance(1);
    assert(clock.now() < Date.UTC(2026, 0, 1, 0, 0, 30));
    if (bed.isBound) await clock.advance(100);
    return !bed.isBound;
  });
  assert(clock.now() >= Date.UTC(2026, 0, 1, 0, 0, 5));
});

Deno.test("a new connection saves the runs of one that ended", async () => {
  await using bed = await Bed.open();
  const client = await bed.client();
  await client.call("run-open", OPEN);
  client.close();
  await client.closed;
  await (await bed.client()).call("run-open", OPEN);
  await bed.platform.clock.advance(60_000);
  assert(bed.isBound);
});

Deno.test("a command that is killed while its run opens leaves no token behind", async () => {
  await using bed = await Bed.open();
  const line = { id: 1, method: "run-open", params: OPEN };
  using conn = await Deno.connect({ transport: "unix", path: bed.path });
  await conn.write(new TextEncoder().encode(JSON.stringify(line) + "\n"));
  conn.close();
  await eventually("the run", () => bed.runs.names.length > 0);
  await eventually("the end of the run", async () => {
    await bed.platform.clock.advance(5000);
    return !bed.isBound;
  });
});

Deno.test("grant-changed passes the name on, and the warnings back", async () => {
  await using bed = await Bed.open();
  const client = await bed.client();
  const result = await client.call("grant-changed", { name: "a:b" });
  assert.deepEqual([bed.changed, result], [["a:b"], {
    warnings: ["changed a:b"],
  }]);
});

Deno.test("binding-changed passes the name on", async () => {
  await using bed = await Bed.open();
  const client = await bed.client();
  const result = await client.call("binding-changed", { name: "web@1" });
  assert.deepEqual([bed.rebound, result], [["web@1"], {}]);
});

Deno.test("binding-changed hides the text of a mistake", async () => {
  await using bed = await Bed.open();
  const client = await bed.client();
  const error = await client.call("binding-changed", { name: "fail" })
    .catch((error) => error);
  assert.equal(error.code, "internal");
  assertNoCanary(`${error.message} ${error.hint}`);
});

const CALL = {
  provider: "example",
  method: "do",
  params: { grant: "example", deep: { list: [1, null] } },
};

Deno.test("provider passes the call on, and the result back", async () => {
  await using bed = await Bed.open();
  const client = await bed.client();
  assert.deepEqual(await client.call("provider", CALL), { secret: CANARY });
  assert.deepEqual(bed.called, [["example", "do", CALL.params]]);
});

Deno.test("provider hides the text of a mistake", async () => {
  await using bed = await Bed.open();
  const client = await bed.client();
  const error = await client.call("provider", { ...CALL, method: "fail" })
    .catch((error) => error);
  assert.equal(error.code, "internal");
  assertNoCanary(`${error.message} ${error.hint}`);
});

const POLICY = {
  default: "deny",
  rules: [{ action: "allow", host: "*.a.test", methods: ["GET"], path: "/v1" }],
  allowHosts: ["b.test:4873"],
  plainHttp: [],
};

const WISHES: { name: string; params: Record<string, unknown> }[] = [
  { name: "settings", params: { settings: { a: { b: [1, "c", null] } } } },
  { name: "a policy", params: { policy: POLICY } },
  { name: "an empty subject", params: { subject: {} } },
  {
    name: "a whole subject",
    params: {
      subject: { run: "x", container: "y", user: "z", labels: { a: "b" } },
    },
  },
];

for (const { name, params } of WISHES) {
  Deno.test(`run-open takes ${name}`, async () => {
    await using bed = await Bed.open();
    const line = { id: 1, method: "run-open", params: { ...OPEN, ...params } };
    const [reply = ""] = await bed.exchange(JSON.stringify(line) + "\n");
    assert.equal(JSON.parse(reply).error, undefined);
    const [owned] = bed.bound;
    assert.deepEqual(
      [owned?.settings, owned?.policy, owned?.subject],
      [
        params["settings"],
        params["policy"],
        { ...params["subject"] as object, run: OPEN.run },
      ],
    );
  });
}

Deno.test("a refusal reaches the client with code, message and hint", async () => {
  await using bed = await Bed.open();
  const client = await bed.client();
  const grants = ["example:x"];
  const error = await client.call("run-open", { ...OPEN, grants })
    .catch((error) => error);
  assert(error instanceof MoatError);
  assert.deepEqual([error.code, error.message, error.hint], [
    "grant-not-found",
    'Cannot find grant "example:x"',
    "moat grant example --name x; moat grant list shows those there are",
  ]);
});

Deno.test("a mistake of ours reaches the client without its text", async () => {
  await using bed = await Bed.open();
  const client = await bed.client();
  const error = await client.call("grant-changed", { name: "fail" })
    .catch((error) => error);
  assert.equal(error.code, "internal");
  assertNoCanary(`${error.message} ${error.hint} ${error.stack}`);
});

Deno.test("a client gets each answer to its own question", async () => {
  await using bed = await Bed.open();
  const client = await bed.client();
  const names = ["a", "b", "c", "d"];
  const answers = await Promise.all(
    names.map((name) => client.call("grant-changed", { name })),
  );
  assert.deepEqual(
    answers.map(({ warnings }) => warnings[0]),
    names.map((name) => `changed ${name}`),
  );
});

const GATEWAY = { by: "gateway", address: "172.17.0.1" };
const ADDRESS = { by: "address", address: "169.254.170.2", port: 80 };
const SOCKET = { by: "socket", path: "/runs/x/s.sock", port: 19080 };

const TAKEN: { name: string; params: Record<string, unknown> }[] = [
  { name: "a gateway", params: { reach: GATEWAY } },
  { name: "a gateway's port", params: { reach: { ...GATEWAY, port: 65535 } } },
  {
    name: "an IPv6 gateway",
    params: { reach: { by: "gateway", address: "fd00::1" } },
  },
  { name: "a name", params: { reach: { by: "name", name: "host.x" } } },
  { name: "an address", params: { reach: ADDRESS } },
  { name: "a socket", params: { reach: SOCKET } },
];

for (const { name, params } of TAKEN) {
  Deno.test(`run-open takes ${name}`, async () => {
    await using bed = await Bed.open();
    const line = { id: 1, method: "run-open", params: { ...OPEN, ...params } };
    const [reply = ""] = await bed.exchange(JSON.stringify(line) + "\n");
    assert.equal(JSON.parse(reply).error, undefined);
    assert.deepEqual(bed.reached, [params["reach"]]);
  });
}

const status = { id: 5, method: "status", params: {} };
const open = (more: Record<string, unknown>) => ({
  id: 5,
  method: "run-open",
  params: { ...OPEN, ...more },
});
const reach = (more: Record<string, unknown>) => open({ reach: more });

const call = (more: Record<string, unknown>) => ({
  id: 5,
  method: "provider",
  params: { ...CALL, ...more },
});

const GARBAGE: { name: string; line: unknown; id?: number }[] = [
  { name: "no JSON", line: "hello", id: 0 },
  { name: "half a JSON", line: '{"id":1', id: 0 },
  { name: "an empty line", line: "", id: 0 },
  { name: "null", line: null, id: 0 },
  { name: "a list", line: [], id: 0 },
  { name: "a number", line: 7, id: 0 },
  { name: "no id", line: { method: "status", params: {} }, id: 0 },
  { name: "a text as id", line: { ...status, id: "1" }, id: 0 },
  { name: "no method", line: { id: 1, params: {} }, id: 0 },
  { name: "no params", line: { id: 1, method: "status" }, id: 0 },
  { name: "a further member", line: { ...status, x: 1 }, id: 0 },
  { name: "an unknown method", line: { ...status, method: "reboot" } },
  { name: "a method of objects", line: { ...status, method: "toString" } },
  { name: "the method __proto__", line: { ...status, method: "__proto__" } },
  { name: "an empty method", line: { ...status, method: "" } },
  { name: "a run name of another shape", line: open({ run: "../../../x" }) },
  { name: "a run name with a newline", line: open({ run: "abcdefghi\n" }) },
  { name: "no grant", line: open({ grants: [] }) },
  { name: "a number as grant", line: open({ grants: [7] }) },
  { name: "a text as grants", line: open({ grants: "example" }) },
  { name: "the token itself", line: open({ tokenDigest: TOKEN }) },
  { name: "a further token", line: open({ token: TOKEN }) },
  { name: "a relative directory", line: open({ directory: "moat" }) },
  { name: "an unknown way", line: reach({ by: "magic" }) },
  { name: "no way", line: reach({}) },
  { name: "a name as gateway", line: reach({ by: "gateway", address: "x" }) },
  { name: "no gateway", line: reach({ by: "gateway" }) },
  { name: "port 0 of a gateway", line: reach({ ...GATEWAY, port: 0 }) },
  { name: "a port below 0", line: reach({ ...GATEWAY, port: -1 }) },
  { name: "a port above 65535", line: reach({ ...GATEWAY, port: 65536 }) },
  { name: "half a port", line: reach({ ...GATEWAY, port: 0.5 }) },
  { name: "no address", line: reach({ ...ADDRESS, address: undefined }) },
  { name: "a name as address", line: reach({ ...ADDRESS, address: "x" }) },
  { name: "no port of an address", line: reach({ ...ADDRESS, port: null }) },
  { name: "port 0 of an address", line: reach({ ...ADDRESS, port: 0 }) },
  { name: "no path of a socket", line: reach({ ...SOCKET, path: undefined }) },
  { name: "a relative socket", line: reach({ ...SOCKET, path: "s.sock" }) },
  { name: "no port of a socket", line: reach({ ...SOCKET, port: undefined }) },
  { name: "a further member of a socket", line: reach({ ...SOCKET, x: 1 }) },
  { name: "a number as mode", line: open({ mode: 7 }) },
  {
    name: "a URL as name",
    line: reach({ by: "name", name: "evil.example/x?" }),
  },
  {
    name: "a number as run to close",
    line: { id: 5, method: "run-close", params: { run: 7 } },
  },
  { name: "a text as settings", line: open({ settings: "x" }) },
  { name: "a text as policy", line: open({ policy: "allow" }) },
  {
    name: "a policy without rules",
    line: open({ policy: { default: "deny" } }),
  },
  {
    name: "a further member of a policy",
    line: open({ policy: { ...POLICY, trust: true } }),
  },
  {
    name: "a policy with a host that is none",
    line: open({ policy: { ...POLICY, allowHosts: ["b.test"] } }),
  },
  { name: "a list as subject", line: open({ subject: ["x"] }) },
  {
    name: "a further member of the subject",
    line: open({ subject: { x: "" } }),
  },
  { name: "a number as user", line: open({ subject: { user: 7 } }) },
  { name: "a number as label", line: open({ subject: { labels: { a: 7 } } }) },
  { name: "no provider to call", line: call({ provider: undefined }) },
  { name: "a number as provider", line: call({ provider: 7 }) },
  { name: "no method of a provider", line: call({ method: undefined }) },
  { name: "no parameters of a method", line: call({ params: undefined }) },
  { name: "a text as parameters", line: call({ params: "x" }) },
  { name: "a further member of a call", line: call({ more: 1 }) },
  {
    name: "no name of a changed grant",
    line: { id: 5, method: "grant-changed", params: {} },
  },
  {
    name: "no name of a changed binding",
    line: { id: 5, method: "binding-changed", params: {} },
  },
  {
    name: "a number as changed binding",
    line: { id: 5, method: "binding-changed", params: { name: 7 } },
  },
];

for (const { name, line, id = 5 } of GARBAGE) {
  Deno.test(`the control socket refuses ${name}, and goes on`, async () => {
    await using bed = await Bed.open();
    const text = typeof line === "string" ? line : JSON.stringify(line);
    const lines = [text, JSON.stringify({ ...status, id: 9 })];
    const replies = (await bed.exchange(lines.join("\n") + "\n"))
      .map((reply) => JSON.parse(reply));
    assert.deepEqual(
      [replies[0].id, replies[0].error?.code, replies[1]],
      [id, "usage", { id: 9, result: STATUS }],
    );
    const done = [bed.runs.names, bed.changed, bed.rebound, bed.called];
    assert.deepEqual(done.flat(), []);
  });
}

Deno.test("the control socket echoes nothing that it cannot read", async () => {
  await using bed = await Bed.open();
  const lines = [
    CANARY,
    JSON.stringify({ ...status, secret: CANARY }),
    JSON.stringify(open({ run: CANARY })),
  ];
  assertNoCanary(...await bed.exchange(lines.join("\n") + "\n"));
});

Deno.test("the control socket answers lines that come in pieces", async () => {
  await using bed = await Bed.open();
  using conn = await Deno.connect({ transport: "unix", path: bed.path });
  const replies = Array.fromAsync(readLines(conn));
  for (const byte of new TextEncoder().encode(JSON.stringify(status) + "\n")) {
    await conn.write(Uint8Array.of(byte));
  }
  await conn.closeWrite();
  assert.deepEqual((await replies).map((reply) => JSON.parse(reply)), [
    { id: 5, result: STATUS },
  ]);
});

Deno.test("the control socket answers lines that come together", async () => {
  await using bed = await Bed.open();
  const lines = [1, 2, 3].map((id) => JSON.stringify({ ...status, id }) + "\n");
  const replies = await bed.exchange(lines.join(""));
  assert.deepEqual(replies.map((reply) => JSON.parse(reply).id), [1, 2, 3]);
});

Deno.test("the control socket answers no line without an end", async () => {
  await using bed = await Bed.open();
  assert.deepEqual(await bed.exchange(JSON.stringify(status)), []);
});

Deno.test("the control socket closes a connection with an endless line", async () => {
  await using bed = await Bed.open();
  const endless = new Uint8Array(3 << 20).fill(0x78);
  assert.deepEqual(await bed.exchange(endless), []);
  const client = await bed.client();
  assert.deepEqual(await client.call("status", {}), STATUS);
});

Deno.test("the control socket takes bytes that are no UTF-8", async () => {
  await using bed = await Bed.open();
  const [reply = ""] = await bed.exchange(Uint8Array.of(0xff, 0xfe, 0, 0x0a));
  assert.equal(JSON.parse(reply).error.code, "usage");
});

Deno.test("the control socket outlives a client that does not read", async () => {
  await using bed = await Bed.open();
  const conn = await Deno.connect({ transport: "unix", path: bed.path });
  await conn.write(
    new TextEncoder().encode((JSON.stringify(status) + "\n").repeat(1000)),
  );
  conn.close();
  const client = await bed.client();
  assert.deepEqual(await client.call("status", {}), STATUS);
});
