import assert from "node:assert/strict";
import { systemClock } from "$core/clock.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { eventually } from "../../tests/support/eventually.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import { run, which } from "../../tests/support/run.ts";
import { tempHome } from "../../tests/support/temp_home.ts";
import type { Duplex } from "../http1/wire.ts";
import { Wire } from "../http1/wire.ts";
import { ProxyFailure } from "./failure.ts";
import { type Leaf, LeafMinter } from "./leaf.ts";
import { RootStore } from "./root.ts";
import {
  createTerminator,
  type TerminatedClient,
  type TerminatorOptions,
} from "./terminator.ts";

const DAY_MS = 24 * 60 * 60_000;

/** Leaves of a root that lasts as long as the process. */
const minter = await (async () => {
  await using home = await tempHome();
  const roots = new RootStore(home.paths, systemClock);
  const root = await roots.loadOrCreate();
  return new LeafMinter({
    loadOrCreate: () => Promise.resolve(root),
    stamp: () => Promise.resolve(root.stamp),
  }, systemClock);
})();
const { cert: chain } = await minter.mint("localhost");

/** A terminator, a listener before it, and who connects to that. */
class Bed {
  readonly clock = new FakeClock(Date.now());
  readonly mints: string[] = [];
  stamp = "first";
  readonly terminator;
  readonly #front = Deno.listen({ hostname: "127.0.0.1", port: 0 });

  constructor(options: Partial<TerminatorOptions> = {}) {
    this.terminator = createTerminator({
      clock: this.clock,
      minter: {
        checkRoot: () => Promise.resolve(this.stamp),
        mint: (host) => this.#mint(host),
      },
      ...options,
    });
  }

  /** Where clients connect. */
  get port(): number {
    return this.#front.addr.port;
  }

  /** Ports that the terminator listens on. */
  get ports(): number[] {
    return [...this.terminator.ports];
  }

  /** A client's connection, and our end of it. */
  async dial(): Promise<{ tcp: Deno.TcpConn; wire: Wire }> {
    const [tcp, conn] = await Promise.all([
      Deno.connect({ hostname: "127.0.0.1", port: this.port }),
      this.#front.accept(),
    ]);
    conn.setNoDelay(true);
    return { tcp, wire: new Wire(conn) };
  }

  /** A client that trusts us, and what the terminator makes of it. */
  async connect(
    host = "localhost",
    hostname = host,
  ): Promise<{ client: Deno.TlsConn; server: TerminatedClient }> {
    const { tcp, wire } = await this.dial();
    const [client, server] = await Promise.all([
      startTls(tcp, { hostname, caCerts: [chain] }),
      this.terminator.accept(wire, host),
    ]);
    return { client, server };
  }

  /** Takes the next client of another program. */
  async answer(host = "localhost"): Promise<TerminatedClient> {
    const conn = await this.#front.accept();
    conn.setNoDelay(true);
    return await this.terminator.accept(new Wire(conn), host);
  }

  [Symbol.dispose](): void {
    this.terminator.close();
    this.#front.close();
  }

  async #mint(host: string): Promise<Leaf> {
    this.mints.push(host);
    return await minter.mint(host);
  }
}

/** With its handshake. */
async function startTls(
  tcp: Deno.TcpConn,
  options: Deno.StartTlsOptions,
): Promise<Deno.TlsConn> {
  const tls = await Deno.startTls(tcp, options);
  try {
    await tls.handshake();
    return tls;
  } catch (error) {
    tls.close();
    throw error;
  }
}

async function send(conn: Duplex, text: string): Promise<void> {
  await new Wire(conn).write(new TextEncoder().encode(text));
}

/** One read as text; null at the end. */
async function receive(conn: Duplex): Promise<string | null> {
  const buffer = new Uint8Array(64 * 1024);
  const count = await conn.read(buffer);
  return count === null
    ? null
    : new TextDecoder().decode(buffer.subarray(0, count));
}

/** All bytes to the end. */
async function count(conn: Duplex): Promise<number> {
  const wire = new Wire(conn);
  let total = 0;
  while (await wire.fill()) {
    total += wire.available;
    wire.consume(wire.available);
  }
  return total;
}

/** Closes both sides and waits until nothing is left. */
async function finish(
  { client, server }: { client: Deno.Conn; server: TerminatedClient },
): Promise<void> {
  client.close();
  server.conn.close();
  await server.done;
}

/** What an attempt fails with. */
async function failureOf(attempt: Promise<unknown>): Promise<ProxyFailure> {
  const error = await attempt.then(() => undefined, (error) => error);
  assert(error instanceof ProxyFailure, `wanted a failure, found ${error}`);
  return error;
}

/** What becomes of a client that sends these bytes first, and what it gets. */
async function refusalOf(
  bytes: number[],
  ends = false,
): Promise<{ code: string; received: number[]; isClosed: boolean }> {
  using bed = new Bed();
  const { tcp, wire } = await bed.dial();
  const refused = failureOf(bed.terminator.accept(wire, "localhost"));
  await tcp.write(Uint8Array.from(bytes));
  if (ends) await tcp.closeWrite();
  const { code } = await refused;
  const buffer = new Uint8Array(100);
  const length = await tcp.read(buffer).catch(() => null) ?? 0;
  tcp.close();
  const received = [...buffer.subarray(0, length)];
  return { code, received, isClosed: wire.isClosed };
}

function vector(name: string): number[] {
  const file = new URL(
    `../../tests/testdata/client_hello/${name}.json`,
    import.meta.url,
  );
  const { bytes } = JSON.parse(Deno.readTextFileSync(file));
  return Array.from(atob(bytes), (character) => character.charCodeAt(0));
}

// Handshakes

Deno.test("TlsTerminator.accept() lets both sides talk", async () => {
  using bed = new Bed();
  const { client, server } = await bed.connect();
  await send(client, "question");
  const question = await receive(server.conn);
  await send(server.conn, "answer");
  const answer = await receive(client);
  await finish({ client, server });
  assert.deepEqual([question, answer], ["question", "answer"]);
});

Deno.test("TlsTerminator.accept() takes a client that names no host", async () => {
  using bed = new Bed();
  await finish(await bed.connect("127.0.0.1"));
  assert.deepEqual(bed.mints, ["127.0.0.1"]);
});

Deno.test("TlsTerminator.accept() takes a name in another case", async () => {
  using bed = new Bed();
  await finish(await bed.connect("localhost", "LocalHost"));
});

Deno.test("TlsTerminator.accept() takes what the wire holds already", async () => {
  using bed = new Bed();
  const { tcp, wire } = await bed.dial();
  const starting = startTls(tcp, { hostname: "localhost", caCerts: [chain] });
  await wire.fill();
  const server = await bed.terminator.accept(wire, "localhost");
  await finish({ client: await starting, server });
});

Deno.test("TlsTerminator.accept() refuses a client that names another host", async () => {
  using bed = new Bed();
  const { tcp, wire } = await bed.dial();
  const refused = failureOf(bed.terminator.accept(wire, "localhost"));
  await assert.rejects(
    startTls(tcp, { hostname: "other.example", caCerts: [chain] }),
    /UnrecognisedName/,
  );
  const { status, code, error } = await refused;
  assert.deepEqual([status, code, error], [
    421,
    "sni-mismatch",
    "tls_alert_received",
  ]);
});

Deno.test("TlsTerminator.accept() does not listen for a host that a client does not name", async () => {
  using bed = new Bed();
  const { tcp, wire } = await bed.dial();
  const refused = failureOf(bed.terminator.accept(wire, "other.example"));
  await tcp.write(Uint8Array.from(vector("curl")));
  await refused;
  tcp.close();
  assert.deepEqual([bed.mints, bed.ports], [[], []]);
});

const NO_APPLICATION_PROTOCOL = [21, 3, 3, 0, 2, 2, 120];

const REFUSED: {
  name: string;
  send: number[];
  ends?: boolean;
  code: string;
  receive?: number[];
}[] = [
  { name: "HTTP", send: [71, 69, 84, 32], code: "not-tls" },
  {
    name: "an end before any byte",
    send: [],
    ends: true,
    code: "client-closed-handshake",
  },
  {
    name: "an end inside the hello",
    send: vector("curl").slice(0, 100),
    ends: true,
    code: "client-closed-handshake",
  },
  {
    name: "a client that offers h2 alone",
    send: vector("openssl-h2-only"),
    code: "client-needs-h2",
    receive: NO_APPLICATION_PROTOCOL,
  },
  {
    name: "a client that offers an unknown protocol alone",
    // "h2" becomes "zz".
    send: vector("openssl-h2-only").map((byte, i, all) =>
      (byte === 104 && all[i + 1] === 50) || (byte === 50 && all[i - 1] === 104)
        ? 122
        : byte
    ),
    code: "no-common-protocol",
    receive: NO_APPLICATION_PROTOCOL,
  },
];
for (const { name, send, ends, code, receive = [] } of REFUSED) {
  Deno.test(`TlsTerminator.accept() gives ${code} for ${name}`, async () =>
    assert.deepEqual(
      await refusalOf(send, ends),
      { code, received: receive, isClosed: true },
    ));
}

Deno.test("TlsTerminator.accept() tells that a client does not trust the certificate", async () => {
  using bed = new Bed();
  const { tcp, wire } = await bed.dial();
  const refused = failureOf(bed.terminator.accept(wire, "localhost"));
  await assert.rejects(startTls(tcp, { hostname: "localhost" }));
  const { code, message } = await refused;
  assert.deepEqual(
    [code, /unknown_ca/.test(message)],
    ["client-rejected-certificate", true],
  );
});

Deno.test("TlsTerminator.accept() tells that a client left after the certificate", async () => {
  using bed = new Bed();
  const { tcp, wire } = await bed.dial();
  const refused = failureOf(bed.terminator.accept(wire, "localhost"));
  await tcp.write(Uint8Array.from(vector("curl")));
  await receive(tcp);
  tcp.close();
  assert.equal((await refused).code, "client-closed-handshake");
});

Deno.test("TlsTerminator.accept() passes on the alert that says why no handshake is possible", async () => {
  using bed = new Bed();
  const { tcp, wire } = await bed.dial();
  const refused = failureOf(bed.terminator.accept(wire, "localhost"));
  // All cipher suites become unknown ones.
  const hello = vector("curl-tls12");
  const at = 5 + 4 + 2 + 32 + 1 + (hello[43] ?? 0);
  const length = (hello[at] ?? 0) << 8 | (hello[at + 1] ?? 0);
  await tcp.write(
    Uint8Array.from(hello).fill(0x99, at + 2, at + 2 + length),
  );
  const buffer = new Uint8Array(100);
  await tcp.read(buffer);
  tcp.close();
  assert.deepEqual([(await refused).code, buffer[0]], ["tls-failed", 21]);
});

for (const begin of ["", "hello"]) {
  const name = begin ? "after its hello" : "from the begin";
  Deno.test(`TlsTerminator.accept() waits 10 s for a client that is silent ${name}`, async () => {
    using bed = new Bed();
    const { tcp, wire } = await bed.dial();
    const refused = failureOf(bed.terminator.accept(wire, "localhost"));
    if (begin) {
      await tcp.write(Uint8Array.from(vector("curl")));
      await receive(tcp);
    }
    await bed.clock.advance(9_999);
    const early = wire.isClosed;
    await bed.clock.advance(1);
    const { code } = await refused;
    tcp.close();
    assert.deepEqual([early, code], [false, "tls-handshake-timeout"]);
  });
}

Deno.test("TlsTerminator.accept() leaves no timer behind", async () => {
  using bed = new Bed();
  const { client, server } = await bed.connect();
  await bed.clock.advance(60_000);
  await send(client, "still there");
  const heard = await receive(server.conn);
  await finish({ client, server });
  assert.equal(heard, "still there");
});

Deno.test("TlsTerminator.accept() ends with its signal", async () => {
  using bed = new Bed();
  const { tcp, wire } = await bed.dial();
  const ending = new AbortController();
  const reason = new Error("enough");
  const accepting = bed.terminator.accept(wire, "localhost", ending.signal);
  ending.abort(reason);
  await assert.rejects(accepting, reason);
  tcp.close();
});

Deno.test("TlsTerminator.accept() does not begin under an aborted signal", async () => {
  using bed = new Bed();
  const { tcp, wire } = await bed.dial();
  const reason = new Error("enough");
  await assert.rejects(
    bed.terminator.accept(wire, "localhost", AbortSignal.abort(reason)),
    reason,
  );
  tcp.close();
});

Deno.test("TlsTerminator.accept() fails as the minter does, and tries again", async () => {
  let fails = true;
  using bed = new Bed({
    minter: {
      checkRoot: () => Promise.resolve(""),
      mint: (host) =>
        fails ? Promise.reject(new Error("no")) : minter.mint(host),
    },
  });
  await assert.rejects(bed.terminator.prepare("localhost"), /no/);
  fails = false;
  await finish(await bed.connect());
});

// Listeners

Deno.test("TlsTerminator makes one leaf for concurrent first clients", async () => {
  using bed = new Bed();
  const { terminator } = bed;
  await Promise.all([1, 2, 3].map(() => terminator.prepare("localhost")));
  assert.deepEqual([bed.mints, bed.ports.length], [["localhost"], 1]);
});

Deno.test("TlsTerminator.accept() uses what was prepared", async () => {
  using bed = new Bed();
  await bed.terminator.prepare("localhost");
  await finish(await bed.connect());
  assert.deepEqual(bed.mints, ["localhost"]);
});

Deno.test("TlsTerminator drops the host unused for longest", async () => {
  using bed = new Bed({ maxHosts: 2 });
  for (const host of ["a.test", "b.test", "a.test", "c.test", "a.test"]) {
    await bed.terminator.prepare(host);
  }
  await bed.terminator.prepare("b.test");
  assert.deepEqual(bed.mints, ["a.test", "b.test", "c.test", "b.test"]);
});

Deno.test("TlsTerminator listens no more for a dropped host", async () => {
  using bed = new Bed({ maxHosts: 1 });
  await bed.terminator.prepare("a.test");
  const [port = 0] = bed.ports;
  await bed.terminator.prepare("b.test");
  await eventually(
    "refused",
    () =>
      Deno.connect({ hostname: "127.0.0.1", port }).then(
        (conn) => conn.close(),
        (error) => error instanceof Deno.errors.ConnectionRefused,
      ),
  );
});

Deno.test("TlsTerminator lets connections to a dropped host go on", async () => {
  using bed = new Bed({ maxHosts: 1 });
  const { client, server } = await bed.connect();
  await bed.terminator.prepare("b.test");
  await send(client, "still there");
  const heard = await receive(server.conn);
  await finish({ client, server });
  assert.equal(heard, "still there");
});

Deno.test("TlsTerminator makes a new leaf before the old one ends", async () => {
  using bed = new Bed();
  await bed.terminator.prepare("localhost");
  await bed.clock.advance(3 * DAY_MS);
  await bed.terminator.prepare("localhost");
  const kept = bed.mints.length;
  await bed.clock.advance(2 * DAY_MS);
  await bed.terminator.prepare("localhost");
  assert.deepEqual([kept, bed.mints.length, bed.ports.length], [1, 2, 1]);
});

Deno.test("TlsTerminator makes a new leaf under a new root", async () => {
  using bed = new Bed();
  await bed.terminator.prepare("localhost");
  bed.stamp = "second";
  await finish(await bed.connect());
  assert.deepEqual([bed.mints.length, bed.ports.length], [2, 1]);
});

Deno.test("TlsTerminator.close() ends all listeners, not the connections", async () => {
  using bed = new Bed();
  const { client, server } = await bed.connect();
  bed.terminator.close();
  await send(client, "still there");
  const heard = await receive(server.conn);
  await finish({ client, server });
  assert.deepEqual([heard, bed.ports], ["still there", []]);
});

Deno.test("TlsTerminator.accept() fails once closed", async () => {
  using bed = new Bed();
  bed.terminator.close();
  await assert.rejects(bed.terminator.prepare("localhost"));
});

// Ends, in any order; the sanitizers of the runner see what is left

Deno.test("TerminatedClient.conn ends when the client says goodbye", async () => {
  using bed = new Bed();
  const { client, server } = await bed.connect();
  client.close();
  const end = await receive(server.conn);
  await finish({ client: { close() {} } as Deno.Conn, server });
  assert.equal(end, null);
});

Deno.test("TerminatedClient.conn ends when the client leaves without goodbye", async () => {
  using bed = new Bed();
  const { client, server } = await bed.connect();
  await send(server.conn, "head");
  await send(server.conn, "body");
  await client.closeWrite();
  const end = await receive(server.conn);
  await finish({ client, server });
  assert.equal(end, null);
});

Deno.test("TerminatedClient.conn goes on after the client ended its direction", async () => {
  using bed = new Bed();
  const { client, server } = await bed.connect();
  await client.closeWrite();
  await receive(server.conn);
  await send(server.conn, "answer");
  const answer = await receive(client);
  await finish({ client, server });
  assert.equal(answer, "answer");
});

Deno.test("TerminatedClient.conn.closeWrite() ends what the client reads", async () => {
  using bed = new Bed();
  const { client, server } = await bed.connect();
  await server.conn.closeWrite();
  const end = await receive(client);
  await send(client, "still heard");
  const heard = await receive(server.conn);
  await finish({ client, server });
  assert.deepEqual([end, heard], [null, "still heard"]);
});

for (const unread of ["", "x".repeat(20_000)]) {
  const name = unread ? "that nobody read" : "";
  Deno.test(`TerminatedClient.conn.close() keeps what was written, with input ${name}`, async () => {
    using bed = new Bed();
    const { client, server } = await bed.connect();
    await send(client, unread);
    for (let i = 0; i < 20; i++) {
      await new Wire(server.conn).write(new Uint8Array(100_000));
    }
    server.conn.close();
    const received = await count(client);
    await server.done;
    client.close();
    assert.equal(received, 2_000_000);
  });
}

Deno.test("TerminatedClient.conn.close() gives a client that does not read 5 s", async () => {
  using bed = new Bed();
  const { client, server } = await bed.connect();
  const writing = new Wire(server.conn).write(new Uint8Array(64_000_000))
    .catch(() => "failed");
  server.conn.close();
  await bed.clock.advance(5_000);
  await server.done;
  client.close();
  assert.equal(await writing, "failed");
});

Deno.test("TerminatedClient.conn.close() may be called again, and after the client's end", async () => {
  using bed = new Bed();
  const { client, server } = await bed.connect();
  client.close();
  await receive(server.conn);
  server.conn.close();
  server.conn.close();
  await server.done;
});

Deno.test("TerminatedClient.done settles when the client's connection is closed under it", async () => {
  using bed = new Bed();
  const { tcp, wire } = await bed.dial();
  const [client, server] = await Promise.all([
    startTls(tcp, { hostname: "localhost", caCerts: [chain] }),
    bed.terminator.accept(wire, "localhost"),
  ]);
  wire.close();
  await server.done;
  server.conn.close();
  client.close();
});

// Time: where the kernel delays an acknowledgement, each attempt takes 40 ms

/** The fastest of some attempts, in ms: another program may disturb one. */
async function fastest(attempt: () => Promise<number>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 5; i++) times.push(await attempt());
  return Math.min(...times);
}

Deno.test("TerminatedClient.conn sends the first response at once", async () => {
  using bed = new Bed();
  const ms = await fastest(async () => {
    const { client, server } = await bed.connect();
    await send(client, "question");
    await receive(server.conn);
    const startedAt = performance.now();
    await send(server.conn, "answer");
    await receive(client);
    const taken = performance.now() - startedAt;
    await finish({ client, server });
    return taken;
  });
  assert(ms < 20, `took ${ms} ms`);
});

Deno.test("TerminatedClient.conn sends a head and the first events at once", async () => {
  using bed = new Bed();
  const ms = await fastest(async () => {
    const { client, server } = await bed.connect();
    await send(client, "question");
    await receive(server.conn);
    const startedAt = performance.now();
    for (const part of ["head", "first event", "second event"]) {
      await send(server.conn, part);
      await receive(client);
    }
    const taken = performance.now() - startedAt;
    await finish({ client, server });
    return taken;
  });
  assert(ms < 20, `took ${ms} ms`);
});

const noCurl = which("curl") ? undefined : "not installed: curl";

for (const version of ["1.2", "1.3"]) {
  testUnless(
    noCurl,
    `TlsTerminator.accept() shakes hands at once in TLS ${version}`,
    async () => {
      using bed = new Bed();
      await bed.terminator.prepare("localhost");
      const ms = await fastest(() => handshakeMs(bed, version));
      assert(ms < 30, `took ${ms} ms`);
    },
  );
}

/** How long curl's handshake takes. */
async function handshakeMs(bed: Bed, version: string): Promise<number> {
  await using home = await tempHome();
  const root = `${home.directory}/root.pem`;
  await Deno.writeTextFile(root, chain);
  const curl = run([
    "curl",
    ...["--silent", "--tls-max", version, "--cacert", root],
    ...["--write-out", "%{time_connect} %{time_appconnect}"],
    ...["--noproxy", "*", `https://localhost:${bed.port}/`],
  ]);
  const { conn, done } = await bed.answer();
  await receive(conn);
  await send(conn, "HTTP/1.1 204 No Content\r\n\r\n");
  conn.close();
  const { stdout } = await curl;
  await done;
  const [connected = 0, shook = 0] = stdout.split(" ").map(Number);
  return (shook - connected) * 1_000;
}
