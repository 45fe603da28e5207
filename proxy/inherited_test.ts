import assert from "node:assert/strict";
import fc from "fast-check";
import { fileURLToPath } from "node:url";
import { MoatError } from "$core/errors.ts";
import { testUnless } from "../tests/support/conditional.ts";
import { eventually } from "../tests/support/eventually.ts";
import {
  childrenOf,
  descriptorsOf,
  isRunning,
} from "../tests/support/processes.ts";
import { isThere, startServer, which } from "../tests/support/run.ts";
import {
  findSocket,
  inheritedDescriptors,
  openInherited,
} from "./inherited.ts";

const PID = 4242;

function refused(env: Record<string, string>): MoatError {
  try {
    inheritedDescriptors(env, PID);
  } catch (error) {
    if (error instanceof MoatError) return error;
    throw error;
  }
  throw new Error("was not refused");
}

Deno.test("inheritedDescriptors() finds none without LISTEN_FDS", () => {
  assert.deepEqual(inheritedDescriptors({ LISTEN_PID: "1" }, PID), []);
});

Deno.test("inheritedDescriptors() counts from 3", () => {
  const env = { LISTEN_FDS: "3", LISTEN_PID: "4242" };
  assert.deepEqual(inheritedDescriptors(env, PID), [3, 4, 5]);
});

Deno.test("inheritedDescriptors() takes a name for each", () => {
  const env = { LISTEN_FDS: "2", LISTEN_PID: "4242", LISTEN_FDNAMES: "a:" };
  assert.deepEqual(inheritedDescriptors(env, PID), [3, 4]);
});

const REFUSED: { name: string; env: Record<string, string>; says: RegExp }[] = [
  { name: "an empty count", env: { LISTEN_FDS: "" }, says: /found ""/ },
  { name: "no sockets", env: { LISTEN_FDS: "0" }, says: /found "0"/ },
  { name: "a negative count", env: { LISTEN_FDS: "-1" }, says: /found "-1"/ },
  { name: "a sign", env: { LISTEN_FDS: "+1" }, says: /found "\+1"/ },
  {
    name: "a count with a space",
    env: { LISTEN_FDS: "1 " },
    says: /found "1 "/,
  },
  { name: "eight sockets", env: { LISTEN_FDS: "8" }, says: /at most 7/ },
  {
    name: "a count beyond all bounds",
    env: { LISTEN_FDS: "999999999" },
    says: /at most 7/,
  },
  {
    name: "another process's sockets",
    env: { LISTEN_FDS: "1", LISTEN_PID: "4243" },
    says: /process 4242 in LISTEN_PID, found "4243"/,
  },
  {
    name: "our process id in another spelling",
    env: { LISTEN_FDS: "1", LISTEN_PID: "04242" },
    says: /found "04242"/,
  },
  {
    name: "too few names",
    env: { LISTEN_FDS: "2", LISTEN_FDNAMES: "a" },
    says: /each of 2 sockets in LISTEN_FDNAMES, found 1/,
  },
];
for (const { name, env, says } of REFUSED) {
  Deno.test(`inheritedDescriptors() refuses ${name}`, () => {
    const { code, message } = refused({ LISTEN_PID: "4242", ...env });
    assert.equal(code, "bad-inheritance");
    assert.match(message, says);
  });
}

Deno.test("inheritedDescriptors() refuses a missing LISTEN_PID", () => {
  assert.match(refused({ LISTEN_FDS: "1" }).message, /found nothing$/);
});

Deno.test("inheritedDescriptors() never gives what is not an inherited descriptor", () => {
  fc.assert(fc.property(fc.string(), fc.string(), (count, names) => {
    const env = {
      LISTEN_FDS: count,
      LISTEN_PID: "4242",
      LISTEN_FDNAMES: names,
    };
    try {
      const found = inheritedDescriptors(env, PID);
      assert.equal(String(found.length), count);
      assert(found.every((descriptor) => descriptor >= 3 && descriptor <= 9));
    } catch (error) {
      assert(error instanceof MoatError && error.code === "bad-inheritance");
    }
  }));
});

/** As Linux prints them, of sockets with the inodes 101 to 107. */
const TABLES = `\
tcp:   0: 0100007F:1C38 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1 0000000000000000 100 0 0 10 0
tcp:   1: 0100007F:1C38 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 102 1 0000000000000000 20 4 30 10 -1
tcp6:   0: 00000000000000000000000001000000:1C38 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 103 1 0000000000000000 100 0 0 10 0
tcp6:   1: C20E00FD000000000000000023000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 104 1 0000000000000000 100 0 0 10 0
udp: 1011: 0100007F:0143 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 105 2 0000000000000000 0
unix: 0000000000000000: 00000002 00000000 00010000 0001 01   106 /run/a.sock
tcp:   2: 0100007F:1C39 00000000:0000 0A 00000000:00000000 00:00000000 00000000   107        0 108 1 0000000000000000 100 0 0 10 0
`;

const SOCKETS: { inode: string; found: ReturnType<typeof findSocket> }[] = [
  { inode: "101", found: { hostname: "127.0.0.1", port: 7224 } },
  { inode: "102", found: "a TCP socket that does not listen" },
  { inode: "103", found: { hostname: "::1", port: 7224 } },
  { inode: "104", found: { hostname: "fd00:ec2::23", port: 80 } },
  { inode: "105", found: "a UDP socket" },
  { inode: "106", found: "a unix socket" },
  // The user id 107 is in the line of another socket.
  {
    inode: "107",
    found: "a socket of another kind, or of another network namespace",
  },
];
for (const { inode, found } of SOCKETS) {
  Deno.test(`findSocket() finds ${JSON.stringify(found)} for ${inode}`, () => {
    assert.deepEqual(findSocket(TABLES, inode), found);
  });
}

Deno.test("openInherited() opens nothing without LISTEN_FDS", async () => {
  const onLost = () => assert.fail();
  assert.deepEqual(await openInherited({ env: {}, onLost }), []);
});

const ACTIVATE = which("systemd-socket-activate");
const reason = Deno.build.os !== "linux"
  ? "not Linux"
  : ACTIVATE === undefined || !isThere("/lib/systemd/systemd-socket-proxyd")
  ? "no systemd"
  : undefined;

const CHILD = fileURLToPath(
  new URL("../tests/support/inherited_child.ts", import.meta.url),
);
const CONFIG = fileURLToPath(new URL("../deno.json", import.meta.url));

/** Two ports that were free a moment ago. */
function freePorts(): [number, number] {
  using one = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using other = Deno.listen({ hostname: "::1", port: 0 });
  return [one.addr.port, other.addr.port];
}

interface Activated extends AsyncDisposable {
  readonly pid: number;
  readonly ports: readonly [number, number];
  readonly directory: string;
  stdout(): string;
  stop(signal?: Deno.Signal): Promise<{ code: number; stdout: string }>;
}

/** Starts the child by its first connection, on an IPv4 and an IPv6 socket. */
async function activate(): Promise<Activated> {
  const ports = freePorts();
  const directory = await Deno.makeTempDir({ prefix: "moat-test-" });
  const server = await startServer([
    ...[
      ACTIVATE ?? "",
      "-l",
      `127.0.0.1:${ports[0]}`,
      "-l",
      `[::1]:${ports[1]}`,
    ],
    ...["-E", "CANARY", "-E", "RUNTIME_DIRECTORY", "-E", "PATH", "-E", "HOME"],
    ...[
      Deno.execPath(),
      "run",
      "-A",
      "--no-check",
      `--config=${CONFIG}`,
      CHILD,
    ],
  ], {
    env: { CANARY: "hush", RUNTIME_DIRECTORY: directory },
    ready: /^Listening on .*$/gm,
    on: "stderr",
    count: 2,
  });
  return {
    pid: server.pid,
    ports,
    directory,
    stdout: server.stdout,
    stop: server.stop,
    async [Symbol.asyncDispose]() {
      await server.stop();
      await Deno.remove(directory, { recursive: true });
    },
  };
}

async function ask(hostname: string, port: number): Promise<unknown> {
  const response = await fetch(`http://${hostname}:${port}/`);
  return await response.json();
}

const helpersOf = (pid: number) => childrenOf(pid, "systemd-socket-");

function test(name: string, fn: (child: Activated) => Promise<void>): void {
  testUnless(reason, `openInherited() ${name}`, async () => {
    await using child = await activate();
    await fn(child);
  });
}

test("serves the connection that started the program", async ({ ports }) => {
  assert.deepEqual(await ask("127.0.0.1", ports[0]), {
    localPort: ports[0],
    localHostname: "127.0.0.1",
    remoteHostname: "",
  });
});

test("serves a second socket, of IPv6", async ({ ports }) => {
  assert.deepEqual(await ask("[::1]", ports[1]), {
    localPort: ports[1],
    localHostname: "::1",
    remoteHostname: "",
  });
});

test("tells the addresses of the sockets", async ({ ports, stdout }) => {
  await ask("127.0.0.1", ports[0]);
  assert.equal(
    stdout(),
    `ready 127.0.0.1 ${ports[0]}\nready ::1 ${ports[1]}\n`,
  );
});

test("gives each helper one socket and nothing else of ours", async ({ pid, ports }) => {
  await ask("127.0.0.1", ports[0]);
  await ask("[::1]", ports[1]);
  const helpers = helpersOf(pid);
  assert.equal(helpers.length, 2);
  for (const helper of helpers) {
    const environ = await Deno.readTextFile(`/proc/${helper}/environ`);
    assert.doesNotMatch(environ, /CANARY|HOME/);
    const inherited = await Deno.readLink(`/proc/${helper}/fd/3`);
    const ours = await Promise.all(
      [3, 4].map((fd) => Deno.readLink(`/proc/${pid}/fd/${fd}`)),
    );
    const other = ours.find((link) => link !== inherited) ?? "";
    assert(ours.includes(inherited));
    assert(!descriptorsOf(helper).includes(other));
  }
});

test("keeps its ends private", async ({ ports, directory }) => {
  await ask("127.0.0.1", ports[0]);
  const [entry] = [...Deno.readDirSync(directory)];
  const own = `${directory}/${entry?.name}`;
  const paths = [own, `${own}/3.sock`, `${own}/4.sock`];
  const modes = paths.map((path) => (Deno.statSync(path).mode ?? 0) & 0o777);
  assert.deepEqual(modes, [0o700, 0o600, 0o600]);
});

test("tells of a helper that ends", async ({ pid, ports, stdout }) => {
  await ask("127.0.0.1", ports[0]);
  const [helper] = helpersOf(pid);
  Deno.kill(helper ?? 0, "SIGKILL");
  await eventually(
    "the report",
    () => stdout().includes("lost inheritance-lost"),
  );
});

test("leaves no helper and no file behind", async (child) => {
  await ask("127.0.0.1", child.ports[0]);
  const helpers = helpersOf(child.pid);
  const { code } = await child.stop("SIGTERM");
  assert.equal(code, 0);
  assert.deepEqual(helpers.filter(isRunning), []);
  assert.deepEqual([...Deno.readDirSync(child.directory)], []);
});

test("leaves no helper behind when the program is killed", async (child) => {
  await ask("127.0.0.1", child.ports[0]);
  const helpers = helpersOf(child.pid);
  assert.equal(helpers.length, 2);
  await child.stop("SIGKILL");
  await eventually(
    "the helpers' end",
    () => !helpers.some(isRunning),
    1_000,
  );
});

test("goes on when its process group is told to end", async (child) => {
  await ask("127.0.0.1", child.ports[0]);
  // A helper that took the signal would be told of as lost.
  for (const helper of helpersOf(child.pid)) Deno.kill(helper, "SIGTERM");
  await ask("127.0.0.1", child.ports[0]);
  assert.doesNotMatch(child.stdout(), /lost/);
});

/** Starts the child with one inherited socket of another kind, which it refuses. */
async function refusal(listen: readonly string[], wake: () => Promise<void>) {
  const server = await startServer([
    ...[ACTIVATE ?? "", ...listen, "-E", "PATH", "-E", "HOME"],
    ...[
      Deno.execPath(),
      "run",
      "-A",
      "--no-check",
      `--config=${CONFIG}`,
      CHILD,
    ],
  ], { ready: /^Listening on .*$/gm, on: "stderr" });
  await wake();
  const { stdout } = await server.ended();
  return stdout;
}

testUnless(reason, "openInherited() refuses a unix socket", async () => {
  const directory = await Deno.makeTempDir({ prefix: "moat-test-" });
  const path = `${directory}/a.sock`;
  const stdout = await refusal(["-l", path], async () => {
    (await Deno.connect({ transport: "unix", path })).close();
  });
  await Deno.remove(directory, { recursive: true });
  assert.equal(
    stdout,
    "error bad-inheritance Cannot use the inherited sockets: wanted a listening TCP socket as descriptor 3, found a unix socket\n",
  );
});

testUnless(
  reason,
  "openInherited() refuses a descriptor that is not a socket",
  async () => {
    const script = 'exec 3</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"';
    const output = await new Deno.Command("/bin/sh", {
      args: [
        ...["-c", script, "sh", Deno.execPath(), "run", "-A", "--no-check"],
        ...[`--config=${CONFIG}`, CHILD],
      ],
      stderr: "null",
    }).output();
    assert.equal(
      new TextDecoder().decode(output.stdout),
      "error bad-inheritance Cannot use the inherited sockets: descriptor 3 is not a socket\n",
    );
  },
);
