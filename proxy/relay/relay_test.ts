/** The relay itself, compiled as the build does it, over real sockets. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { compileRelay } from "../../scripts/relay.ts";
import { ROOT } from "../../scripts/process.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { eventually } from "../../tests/support/eventually.ts";
import {
  run,
  type Server,
  startServer,
  which,
} from "../../tests/support/run.ts";
import { Workspace } from "../../tests/support/workspace.ts";
import { loadRelay } from "./relay.ts";

const reason = Deno.build.os !== "linux"
  ? "the relay is for Linux"
  : which("cc")
  ? undefined
  : "not installed: gcc";

/** As many connections as it serves at once. */
const MOST = 256;

/** Descriptors of an idle server: three to /dev/null, listener, COMMAND. */
const IDLE_FILES = 5;

const MB = 1_000_000;

const programs = new Map<string, Promise<string>>();

/** Compiled once for all tests, removed with the test process. */
function program(): Promise<string> {
  const compiled = programs.get("relay") ?? compile();
  programs.set("relay", compiled);
  return compiled;
}

async function compile(): Promise<string> {
  const directory = await Deno.makeTempDir({ prefix: "moat-relay-" });
  globalThis.addEventListener(
    "unload",
    () => Deno.removeSync(directory, { recursive: true }),
  );
  const strict = join(directory, "cc");
  await Deno.writeTextFile(strict, '#!/bin/sh\nexec cc -Werror "$@"\n', {
    mode: 0o755,
  });
  const path = join(directory, "relay");
  assert.equal(await compileRelay(ROOT, path, strict), true);
  return path;
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Serves a connection, which is closed after; `over` comes with the test's end. */
type Handler = (
  connection: Deno.Conn,
  over: Promise<void>,
) => Promise<unknown>;

/** A relay in front of a command that does nothing, and what it leads to. */
class Bench implements AsyncDisposable {
  readonly port = freePort();
  readonly #open = new Set<Deno.Conn>();
  readonly #tasks = new Set<Promise<unknown>>();
  #listener: Deno.Listener | undefined;
  readonly #over = Promise.withResolvers<void>();
  #accepting: Promise<void> | undefined;
  #relay: Server | undefined;
  /** How many connections came through. */
  accepted = 0;

  private constructor(readonly workspace: Workspace) {}

  /** Starts relay and socket; `limits` are commands of the shell before. */
  static async open(handler?: Handler, limits = ":"): Promise<Bench> {
    const bench = new Bench(await Workspace.open());
    if (handler) bench.listen(handler);
    const words = [bench.port, bench.socket, "--", "sh", "-c"];
    bench.#relay = await startServer(
      [
        ...["sh", "-c", `${limits}; exec "$@"`, "sh"],
        ...[await program(), ...words.map(String)],
        "echo ready; exec sleep 60",
      ],
      { ready: /ready/g },
    );
    return bench;
  }

  get socket(): string {
    return this.workspace.path("s");
  }

  get relay(): Server {
    assert(this.#relay);
    return this.#relay;
  }

  /** Makes the socket. */
  listen(handler: Handler): void {
    const listener = Deno.listen({ transport: "unix", path: this.socket });
    this.#listener = listener;
    this.#accepting = (async () => {
      for await (const connection of listener) {
        this.accepted++;
        this.#open.add(connection);
        const served = handler(connection, this.#over.promise);
        this.track(served.finally(() => this.close(connection)));
      }
    })();
  }

  /** Takes the socket away. */
  async unlisten(): Promise<void> {
    this.#listener?.close();
    this.#listener = undefined;
    // Deno removes the file when accept() has ended, even that of a successor.
    await this.#accepting;
    await Deno.remove(this.socket).catch(() => {});
  }

  /** Connects as a program in the container does. */
  async connect(): Promise<Deno.TcpConn> {
    const connection = await Deno.connect({ port: this.port });
    this.#open.add(connection);
    return connection;
  }

  close(connection: Deno.Conn): void {
    if (this.#open.delete(connection)) connection.close();
  }

  /** The server that the relay has left behind. */
  async server(): Promise<number> {
    const path = await program();
    for (const { name } of Deno.readDirSync("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      const [exe, line] = await Promise.all([
        Deno.readLink(`/proc/${name}/exe`).catch(() => ""),
        Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => ""),
      ]);
      if (exe === path && line.includes(this.socket)) return Number(name);
    }
    throw new Error("no server");
  }

  /** What the server has open. */
  async files(): Promise<string[]> {
    const directory = `/proc/${await this.server()}/fd`;
    const names = [...Deno.readDirSync(directory)].map(({ name }) => name);
    return names.map((name) => Deno.readLinkSync(`${directory}/${name}`));
  }

  /** Makes the end wait for what fails or succeeds when all is closed. */
  track(task: Promise<unknown>): void {
    const settled: Promise<unknown> = task.catch(() => {})
      .finally(() => this.#tasks.delete(settled));
    this.#tasks.add(settled);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#relay?.stop();
    await this.unlisten();
    this.#over.resolve();
    for (const connection of [...this.#open]) this.close(connection);
    await Promise.all([...this.#tasks]);
    await this.workspace[Symbol.asyncDispose]();
  }
}

/** Registers a test with a bench whose socket is served by `handler`. */
function test(
  name: string,
  handler: Handler | undefined,
  fn: (bench: Bench) => Promise<void>,
): void {
  testUnless(reason, `relay ${name}`, async () => {
    await using bench = await Bench.open(handler);
    await fn(bench);
  });
}

const echo: Handler = async (connection) => {
  const buffer = new Uint8Array(65_536);
  for (let n; (n = await connection.read(buffer)) !== null;) {
    await writeAll(connection, buffer.subarray(0, n));
  }
};

/** Reads all until the end. */
async function readAll(connection: Deno.Conn): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const buffer = new Uint8Array(65_536);
  for (let n; (n = await connection.read(buffer)) !== null;) {
    chunks.push(buffer.slice(0, n));
  }
  return new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer());
}

async function writeAll(
  connection: Deno.Conn,
  bytes: Uint8Array,
  chunk = bytes.length,
): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    at += await connection.write(bytes.subarray(at, at + chunk));
  }
}

async function exchange(bench: Bench, text: string): Promise<string> {
  const connection = await bench.connect();
  await writeAll(connection, encode(text));
  await connection.closeWrite();
  const answer = await readAll(connection);
  bench.close(connection);
  return new TextDecoder().decode(answer);
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const encode = (text: string) => new TextEncoder().encode(text);

/** Bytes without a pattern that a shifted copy would repeat. */
function noise(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  }
  return bytes;
}

const fingerprint = async (bytes: Uint8Array) =>
  new Uint8Array(
    await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>),
  ).toHex();

for (const chunk of [777, 16_384, 16_385, 70_001]) {
  testUnless(
    reason,
    `relay carries 5 MB to moat unchanged, ${chunk} bytes at a time`,
    async () => {
      const arrived = Promise.withResolvers<Uint8Array>();
      await using bench = await Bench.open(async (connection) =>
        arrived.resolve(await readAll(connection))
      );
      const sent = noise(5 * MB);
      const client = await bench.connect();
      await writeAll(client, sent, chunk);
      await client.closeWrite();
      assert.equal(
        await fingerprint(await arrived.promise),
        await fingerprint(sent),
      );
    },
  );

  testUnless(
    reason,
    `relay carries 5 MB back unchanged, ${chunk} bytes at a time`,
    async () => {
      const sent = noise(5 * MB);
      await using bench = await Bench.open((connection) =>
        writeAll(connection, sent, chunk)
      );
      const arrived = await readAll(await bench.connect());
      assert.equal(await fingerprint(arrived), await fingerprint(sent));
    },
  );
}

test("carries both ways at once", echo, async (bench) => {
  const sent = noise(5 * MB);
  const client = await bench.connect();
  const writing = writeAll(client, sent, 12_345).then(() =>
    client.closeWrite()
  );
  const arrived = await readAll(client);
  await writing;
  assert.equal(await fingerprint(arrived), await fingerprint(sent));
});

test(
  "lets a client that has sent all wait for its answer",
  async (connection) => {
    const question = await readAll(connection);
    await writeAll(connection, encode(`${question.length} bytes`));
  },
  async (bench) => assert.equal(await exchange(bench, "question"), "8 bytes"),
);

testUnless(
  reason,
  "relay lets moat go on reading when it has said all",
  async () => {
    const heard = Promise.withResolvers<string>();
    await using bench = await Bench.open(async (connection) => {
      await (connection as Deno.UnixConn).closeWrite();
      heard.resolve(new TextDecoder().decode(await readAll(connection)));
    });
    const client = await bench.connect();
    assert.equal((await readAll(client)).length, 0);
    await writeAll(client, encode("later"));
    await client.closeWrite();
    assert.equal(await heard.promise, "later");
  },
);

test(
  "lets go of a client that stays when moat has closed",
  (connection) => writeAll(connection, encode("bye")),
  async (bench) => {
    const client = await bench.connect();
    assert.equal((await readAll(client)).length, 3);
    await eventually(
      "only the server's own files",
      async () => (await bench.files()).length === IDLE_FILES,
    );
  },
);

test(
  "delivers an answer that comes before the question's end",
  async (connection) => {
    await connection.read(new Uint8Array(10));
    await writeAll(connection, encode("too long"));
  },
  async (bench) => {
    const client = await bench.connect();
    const writing = writeAll(client, noise(5 * MB)).catch(() => {});
    // What follows may be a reset, as it is without a relay.
    const answer = new Uint8Array(100);
    const length = await client.read(answer) ?? 0;
    await writing;
    const text = new TextDecoder().decode(answer.subarray(0, length));
    assert.equal(text, "too long");
  },
);

testUnless(reason, "relay tells moat of a client that is gone", async () => {
  const ended = Promise.withResolvers<void>();
  await using bench = await Bench.open(async (connection) => {
    // More than all queues hold: the client is gone before it has read it.
    await writeAll(connection, noise(5 * MB)).catch(() => {});
    ended.resolve();
  });
  const client = await bench.connect();
  await client.read(new Uint8Array(10));
  bench.close(client);
  await ended.promise;
  await eventually(
    "only the server's own files",
    async () => (await bench.files()).length === IDLE_FILES,
  );
});

test("serves 100 connections at once", echo, async (bench) => {
  const texts = Array.from({ length: 100 }, (_, i) => `connection ${i}`);
  const answers = await Promise.all(texts.map((text) => exchange(bench, text)));
  assert.deepEqual(answers, texts);
});

test("lets connections beyond the bound wait", echo, async (bench) => {
  const clients: Deno.TcpConn[] = [];
  for (let i = 0; i < MOST + 20; i++) clients.push(await bench.connect());
  await eventually("a full relay", () => bench.accepted >= MOST);
  assert.equal(bench.accepted, MOST);
});

test("serves those that waited as others end", echo, async (bench) => {
  const clients: Deno.TcpConn[] = [];
  for (let i = 0; i < MOST + 20; i++) clients.push(await bench.connect());
  await eventually("a full relay", () => bench.accepted >= MOST);
  for (const client of clients.splice(0, 20)) bench.close(client);
  await eventually("all", () => bench.accepted === MOST + 20);
});

testUnless(reason, "relay serves many with few files to open", async () => {
  await using bench = await Bench.open(echo, "ulimit -n 20");
  const texts = Array.from({ length: 50 }, (_, i) => `connection ${i}`);
  const answers = await Promise.all(texts.map((text) => exchange(bench, text)));
  assert.deepEqual(answers, texts);
});

test("leaks no file over 1000 connections", echo, async (bench) => {
  for (let round = 0; round < 50; round++) {
    await Promise.all(Array.from({ length: 20 }, () => exchange(bench, "x")));
  }
  await eventually(
    "only the server's own files",
    async () => (await bench.files()).length === IDLE_FILES,
  );
});

test(
  "closes a connection when there is no socket",
  undefined,
  async (bench) => {
    const client = await bench.connect();
    assert.equal(await client.read(new Uint8Array(1)), null);
  },
);

test("serves when the socket appears", undefined, async (bench) => {
  await exchange(bench, "");
  bench.listen(echo);
  assert.equal(await exchange(bench, "now"), "now");
});

test("serves when the socket is another one", echo, async (bench) => {
  await exchange(bench, "before");
  await bench.unlisten();
  bench.listen(echo);
  assert.equal(await exchange(bench, "after"), "after");
});

test("leaks no file over missing sockets", undefined, async (bench) => {
  for (let i = 0; i < 100; i++) {
    const client = await bench.connect();
    await client.read(new Uint8Array(1));
    bench.close(client);
  }
  assert.equal((await bench.files()).length, IDLE_FILES);
});

interface State {
  readonly name: string;
  readonly handler: Handler;
  enter(bench: Bench): unknown;
}

/** States in which a careless poll loop never sleeps. */
const STATES: State[] = [
  { name: "no connection", handler: echo, enter: () => {} },
  {
    name: "a silent connection",
    handler: echo,
    enter: (bench) => bench.connect(),
  },
  {
    name: "a client that has sent all",
    handler: async (connection, over) => {
      await readAll(connection);
      await over;
    },
    enter: async (bench) => await (await bench.connect()).closeWrite(),
  },
  {
    name: "moat that has said all",
    handler: async (connection) => {
      await (connection as Deno.UnixConn).closeWrite();
      await readAll(connection);
    },
    enter: async (bench) => await readAll(await bench.connect()),
  },
  {
    name: "a client that does not read",
    handler: (connection) => writeAll(connection, noise(20 * MB)),
    enter: (bench) => bench.connect(),
  },
  {
    name: "moat that does not read",
    handler: (_connection, over) => over,
    enter: async (bench) => {
      const client = await bench.connect();
      bench.track(writeAll(client, noise(20 * MB)));
    },
  },
  {
    name: "more connections than it serves",
    handler: echo,
    enter: async (bench) => {
      for (let i = 0; i < MOST + 5; i++) await bench.connect();
      await eventually("a full relay", () => bench.accepted >= MOST);
    },
  },
];

for (const { name, handler, enter } of STATES) {
  testUnless(reason, `relay takes no processor time with ${name}`, async () => {
    await using bench = await Bench.open(handler);
    await enter(bench);
    const server = await bench.server();
    await eventually("silence", async () => await busyMs(server, 50) < 1);
    assert(await busyMs(server, 100) < 5);
  });
}

/** Both ends of a connection: one fills all queues and goes, the other reads nothing. */
const GONE_BEHIND_FULL_QUEUES = `
import socket, sys, time
path, port = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
client = socket.socket()
# Else the kernel may hold all of it for the client.
client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
client.connect(("127.0.0.1", int(port)))
moat = listener.accept()[0]
moat.setblocking(False)
# More than what the kernel may still take from the relay.
moat.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_000_000)
stalls = 0
while stalls < 20:
    try:
        moat.send(b"x" * 65536)
        stalls = 0
    except BlockingIOError:
        stalls += 1
        time.sleep(0.02)
moat.close()
print("gone", flush=True)
time.sleep(60)
`;

testUnless(
  reason ?? (which("python3") ? undefined : "not installed: python3"),
  "relay takes no processor time with a client that does not read from moat that is gone",
  async () => {
    await using bench = await Bench.open();
    const port = String(bench.port);
    await using _both = await startServer(
      ["python3", "-c", GONE_BEHIND_FULL_QUEUES, bench.socket, port],
      { ready: /gone/g },
    );
    assert(await busyMs(await bench.server(), 100) < 5);
  },
);

/** How long a process ran on a processor during a while. */
async function busyMs(pid: number, whileMs: number): Promise<number> {
  const total = async () => {
    const text = await Deno.readTextFile(`/proc/${pid}/schedstat`);
    return Number(text.split(" ")[0]) / 1e6;
  };
  const before = await total();
  await pause(whileMs);
  return await total() - before;
}

/** Command lines and what comes of them; PORT, SOCKET and TAKEN stand for real ones. */
const ENDS: { argv: string[]; code: number; stderr: RegExp }[] = [
  { argv: ["PORT", "SOCKET", "--", "true"], code: 0, stderr: /^$/ },
  {
    argv: ["PORT", "SOCKET", "--", "sh", "-c", "exit 7"],
    code: 7,
    stderr: /^$/,
  },
  {
    argv: ["PORT", "SOCKET", "--", "sh", "-c", "kill -TERM $$"],
    code: 143,
    stderr: /^$/,
  },
  { argv: ["PORT", "SOCKET", "--", "/bin/true"], code: 0, stderr: /^$/ },
  {
    argv: ["PORT", "SOCKET", "--", "no-such-program"],
    code: 127,
    stderr: /^moat relay: Cannot run "no-such-program": No such file .*\n$/,
  },
  {
    argv: ["PORT", "SOCKET", "--", "/no/such/program"],
    code: 127,
    stderr: /^moat relay: Cannot run "\/no\/such\/program": No such .*\n$/,
  },
  {
    argv: ["PORT", "SOCKET", "--", "/etc/passwd"],
    code: 126,
    stderr: /^moat relay: Cannot run "\/etc\/passwd": Permission denied\n$/,
  },
  {
    argv: ["PORT", "SOCKET", "--", "/tmp"],
    code: 126,
    stderr: /^moat relay: Cannot run "\/tmp": Permission denied\n$/,
  },
  {
    argv: ["TAKEN", "SOCKET", "--", "true"],
    code: 125,
    stderr:
      /^moat relay: Cannot listen on 127\.0\.0\.1:\d+: wanted a free port, found one in use in this network\n$/,
  },
  ...["", "0", "65536", "-1", "+1", " 1", "1x", "99999999999999999999"].map((
    port,
  ) => ({
    argv: [port, "SOCKET", "--", "true"],
    code: 125,
    stderr: /^moat relay: Cannot listen: wanted a port from 1 to 65535, found /,
  })),
  {
    argv: ["PORT", `/${"s".repeat(107)}`, "--", "true"],
    code: 125,
    stderr: /: wanted a path of at most 107 bytes\n$/,
  },
  {
    argv: [],
    code: 125,
    stderr:
      /^moat relay: Cannot start: wanted relay \[PORT SOCKET --\] COMMAND /,
  },
];

for (const { argv, code, stderr } of ENDS) {
  const line = argv.join(" ").slice(0, 60);
  testUnless(reason, `relay ends "${line}" with ${code}`, async () => {
    using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const values: Record<string, string> = {
      PORT: String(freePort()),
      SOCKET: "/nonexistent/socket",
      TAKEN: String(taken.addr.port),
    };
    const words = argv.map((word) => values[word] ?? word);
    const result = await run([await program(), ...words]);
    assert.equal(result.code, code);
    assert.match(result.stderr, stderr);
  });
}

/** Runs a script of the shell behind the relay. */
async function behindRelay(script: string): Promise<string> {
  const words = [freePort(), "/nonexistent/socket", "--", "sh", "-c", script];
  const relay = [await program(), ...words.map(String)];
  return (await run(relay)).stdout;
}

const INHERITED = [
  "grep ^Sig[BIC] /proc/self/status",
  "ls /proc/self/fd",
  "pwd; umask; ulimit -a; env | grep -v ^_=",
];

for (const script of INHERITED) {
  testUnless(
    reason,
    `relay gives COMMAND what it was given: ${script}`,
    async () => {
      const plain = await run(["sh", "-c", script]);
      assert.equal(await behindRelay(script), plain.stdout);
    },
  );
}

test("has its port open before COMMAND starts", undefined, async (bench) => {
  const script = `printf 1 | ${which("busybox") ?? "busybox"} nc -w 1 ` +
    `127.0.0.1 $PORT && echo open`;
  const port = freePort();
  const words = [port, bench.socket, "--", "env", `PORT=${port}`];
  const { stdout, stderr } = await run([
    ...[await program(), ...words.map(String)],
    ...["sh", "-c", script],
  ]);
  assert.equal(stdout, "open\n", stderr);
});

test(
  "becomes COMMAND, with the same process number",
  undefined,
  async (bench) => {
    const { pid } = bench.relay;
    await eventually("sleep 60", async () => {
      const line = await Deno.readTextFile(`/proc/${pid}/cmdline`);
      return line === "sleep\x0060\0";
    });
  },
);

test("leaves COMMAND no child", undefined, async (bench) => {
  const { pid } = bench.relay;
  const path = `/proc/${pid}/task/${pid}/children`;
  assert.equal(await Deno.readTextFile(path), "");
});

test("puts its server into a session of its own", undefined, async (bench) => {
  const sessionOf = async (pid: number) =>
    (await Deno.readTextFile(`/proc/${pid}/stat`)).split(") ")[1]
      ?.split(" ")[3];
  assert.notEqual(
    await sessionOf(await bench.server()),
    await sessionOf(bench.relay.pid),
  );
});

test("has nothing of COMMAND's open", undefined, async (bench) => {
  const files = await bench.files();
  const kinds = files.map((file) => file.replace(/:\[\d+\]$/, "")).sort();
  assert.deepEqual(kinds, [
    ...Array(3).fill("/dev/null"),
    ...["anon_inode:[pidfd]", "socket"],
  ]);
});

test("stays in no directory of COMMAND's", undefined, async (bench) => {
  const cwd = await Deno.readLink(`/proc/${await bench.server()}/cwd`);
  assert.equal(cwd, "/");
});

test("serves on after the signals of a shutdown", echo, async (bench) => {
  const server = await bench.server();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.kill(server, signal);
  }
  assert.equal(await exchange(bench, "still"), "still");
});

for (const signal of ["SIGTERM", "SIGKILL"] as const) {
  test(`ends with COMMAND, on ${signal}`, echo, async (bench) => {
    const server = await bench.server();
    await bench.relay.stop(signal);
    await eventually("the server's end", async () => {
      const stat = await Deno.readTextFile(`/proc/${server}/stat`)
        .catch(() => ") Z");
      // Dead, even if nobody has asked how it ended.
      return stat.split(") ")[1]?.startsWith("Z");
    });
  });
}

testUnless(reason, "relay needs no shared library", async () => {
  const bytes = await Deno.readFile(await program());
  assert.doesNotMatch(
    new TextDecoder("latin1").decode(bytes),
    /\/ld-linux|\/ld-musl/,
  );
});

Deno.test("loadRelay() says why there is none when moat runs from its sources", async () => {
  await assert.rejects(loadRelay(), {
    code: "no-relay",
    message: /^Cannot give this container a way to moat: wanted /,
  });
});
