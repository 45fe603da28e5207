/**
 * What clients of the built `moat proxy` are told when an upstream dies, what
 * upstreams see when a client vanishes, and what is left behind: nothing.
 */

import assert from "node:assert/strict";
import { noOpenssl } from "./support/anywhere_pki.ts";
import {
  assertNoCanary,
  assertNoCanaryBelow,
  CANARY,
} from "./support/canary.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import {
  answer,
  ask,
  type Certificate,
  certificateOf,
  closeQuietly,
  cutting,
  descriptorsBack,
  descriptorsOf,
  type FaultBed,
  openFaultBed,
  proofOf,
  request,
  reset,
  ScriptedUpstream,
  untilGone,
} from "./support/fault_bed.ts";
import {
  readAll,
  readHead,
  readMessage,
  type UpstreamHandler,
  writeText,
} from "./support/intercept_bed.ts";
import { moatReason, runMoat } from "./support/moat.ts";
import { connectTo } from "./support/raw_http.ts";
import { which } from "./support/run.ts";

const reason = moatReason() ?? noOpenssl;

/** Tries a case, and looks for what it left: descriptors, secrets, a proxy that does not serve. */
async function leavesNothing(
  bed: FaultBed,
  fn: () => Promise<void>,
): Promise<void> {
  await fn();
  bed.upstream.hangUp();
  await descriptorsBack(bed);
  assert.equal(await bed.works(), "HTTP/1.1 200 OK");
  await descriptorsBack(bed);
  assertNoCanary(bed.proxy.stdout(), bed.proxy.stderr());
  // The trace and the audit log, among others.
  await assertNoCanaryBelow(bed.workspace.moatHome);
}

/** Opens a bed that has served already, so that what it keeps is there. */
async function warmBed(
  ...options: Parameters<typeof openFaultBed>
): Promise<FaultBed> {
  const bed = await openFaultBed(...options);
  try {
    assert.equal(await bed.works(), "HTTP/1.1 200 OK");
  } catch (error) {
    await bed[Symbol.asyncDispose]();
    throw error;
  }
  return bed;
}

// An upstream that does not come about.

/** What a client is told of it. */
interface Refused {
  readonly name: string;
  /** TLS with this; absent: plain TCP. */
  readonly tls?: () => Promise<Certificate>;
  /** What a connection meets. Default: it is read to its end. */
  readonly meets?: UpstreamHandler | "nothing";
  /** Of Proxy-Status. */
  readonly error: string;
  /** Of the sentence. */
  readonly says: RegExp;
}

const REFUSED: readonly Refused[] = [
  {
    name: "does not listen",
    meets: "nothing",
    error: "connection_refused",
    says: /it refused the connection/,
  },
  {
    name: "accepts and closes",
    meets: (conn) => conn.close(),
    error: "tls_protocol_error",
    says: /the TLS handshake failed/,
  },
  {
    name: "accepts and resets",
    meets: reset,
    error: "tls_protocol_error",
    says: /the TLS handshake failed/,
  },
  {
    name: "closes within its ServerHello",
    meets: async (conn) => {
      await conn.read(new Uint8Array(2_000));
      await conn.write(Uint8Array.of(22, 3, 3, 0, 90, 2, 0, 0, 86, 3, 3));
    },
    error: "tls_protocol_error",
    says: /the TLS handshake failed/,
  },
  {
    name: "speaks no TLS",
    meets: (conn) => writeText(conn, answer("plain")),
    error: "tls_protocol_error",
    says: /the TLS handshake failed/,
  },
  {
    name: "has another name's certificate",
    tls: () => certificateOf("fault-other", { names: "DNS:other.test" }),
    error: "tls_certificate_error",
    says: /its certificate is for another name/,
  },
  {
    name: "has an expired certificate",
    tls: () => certificateOf("fault-expired", { isExpired: true }),
    error: "tls_certificate_error",
    says: /its certificate has expired/,
  },
  {
    name: "has a certificate of nobody",
    tls: () => certificateOf("fault-strange", { isStrange: true }),
    error: "tls_certificate_error",
    says: /issued by an authority that moat does not trust/,
  },
  {
    name: "speaks HTTP/2 only",
    meets: async (conn) => {
      await conn.read(new Uint8Array(2_000));
      // A fatal alert, no_application_protocol (RFC 7301 section 3.2).
      await conn.write(Uint8Array.of(21, 3, 3, 0, 2, 2, 120));
    },
    error: "tls_alert_received",
    says: /it does not speak HTTP\/1.1/,
  },
];

testUnless(
  reason,
  "a client is told why there is no connection to its upstream",
  async (t) => {
    await using stack = new AsyncDisposableStack();
    const upstreams: ScriptedUpstream[] = [];
    for (const { tls } of REFUSED) {
      upstreams.push(stack.use(new ScriptedUpstream(await tls?.())));
    }
    const hosts = upstreams.map(({ authority }) => authority);
    const bed = stack.use(await warmBed({ hosts }));
    for (const [index, refused] of REFUSED.entries()) {
      const upstream = upstreams[index]!;
      await t.step(
        `an upstream that ${refused.name}: ${refused.error}`,
        () => leavesNothing(bed, () => checkRefused(bed, upstream, refused)),
      );
    }
  },
);

async function checkRefused(
  bed: FaultBed,
  upstream: ScriptedUpstream,
  { meets, error, says }: Refused,
): Promise<void> {
  if (meets === "nothing") await upstream[Symbol.asyncDispose]();
  else upstream.script(meets ?? ((conn) => upstream.receive(conn)));
  const { authority } = upstream;
  using conn = await connectTo(bed.address);
  const { head, body } = await ask(
    conn,
    request(authority, `CONNECT ${authority}`, `${proofOf(bed)}\r\n`),
  );
  assert.match(head, /^HTTP\/1\.1 502 /);
  assert.match(head, new RegExp(`^Proxy-Status: moat; error=${error}\r$`, "m"));
  assert.match(body, says);
  assertNoCanary(head, body);
  assert.equal(upstream.received, "", "something was sent");
}

// An upstream that dies with a request under way.

/** What a client is told of it. */
interface Broken {
  readonly name: string;
  readonly meets: (
    conn: Deno.Conn,
    upstream: ScriptedUpstream,
  ) => Promise<void>;
  /** The request. Default: GET. */
  readonly request?: (authority: string) => string;
  /** What the client sees. */
  readonly sees: RegExp;
  /** How often the upstream gets the request; a second time on another connection. */
  readonly times: 1 | 2;
}

const TOLD =
  /^HTTP\/1\.1 502 [^]*^Proxy-Status: moat; error=connection_terminated\r$[^]*the upstream ended the connection before its answer was whole/m;

const POST = (authority: string) =>
  request(authority, "POST /", "Content-Length: 4\r\n\r\nbody");

const BROKEN: readonly Broken[] = [
  {
    name: "closes after the head of a GET",
    meets: (conn, upstream) => upstream.receive(conn),
    // The connection was made for CONNECT, and might have grown old since.
    times: 2,
    sees: TOLD,
  },
  {
    name: "closes after a POST",
    meets: (conn, upstream) =>
      upstream.receive(conn, (text) => text.endsWith("body")),
    request: POST,
    times: 1,
    sees: TOLD,
  },
  {
    name: "closes within the head of its answer",
    meets: says("HTTP/1.1 200 OK\r\nContent-Le"),
    times: 1,
    sees: TOLD,
  },
  {
    name: "closes after one byte",
    meets: says("H"),
    times: 1,
    sees: TOLD,
  },
  {
    name: "closes after 103",
    meets: says("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    times: 1,
    sees: new RegExp(
      `^HTTP/1\\.1 103 [^]*\r\n\r\n${TOLD.source.slice(1)}`,
      "m",
    ),
  },
  {
    name: "closes within a body with a length",
    meets: says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"),
    times: 1,
    sees: /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\npart$/,
  },
  {
    name: "closes between chunks",
    meets: says(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
    ),
    times: 1,
    sees: /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n4\r\npart\r\n$/,
  },
  {
    name: "closes within a chunk",
    meets: says(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\npart",
    ),
    times: 1,
    sees: /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n9\r\npart$/,
  },
  {
    name: "closes before the trailer section's end",
    meets: says(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n",
    ),
    times: 1,
    sees: /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n4\r\npart\r\n(?:0\r\n)?$/,
  },
  {
    name: "ends a body without a length",
    meets: says("HTTP/1.1 200 OK\r\n\r\nall of it"),
    times: 1,
    sees: /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nall of it$/,
  },
  {
    name: "says something that is no HTTP",
    meets: says("SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    times: 1,
    sees:
      /^HTTP\/1\.1 502 [^]*^Proxy-Status: moat; error=http_protocol_error\r$/m,
  },
  {
    name: "closes while the body is sent",
    meets: async (conn, upstream) => {
      await upstream.receive(conn);
      await conn.read(new Uint8Array(10_000));
    },
    request: (authority) =>
      request(
        authority,
        "PUT /",
        `Content-Length: 3000000\r\n\r\n${"x".repeat(3_000_000)}`,
      ),
    times: 1,
    sees: TOLD,
  },
  {
    name: "answers and closes while the body is sent",
    meets: async (conn, upstream) => {
      await upstream.receive(conn);
      await writeText(conn, answer("too much", "413 Content Too Large"));
    },
    request: (authority) =>
      request(
        authority,
        "PUT /",
        `Content-Length: 3000000\r\n\r\n${"x".repeat(3_000_000)}`,
      ),
    times: 1,
    sees: /^HTTP\/1\.1 413 [^]*\r\n\r\ntoo much$/,
  },
];

/** Reads a head, says something, and ends. */
function says(text: string): Broken["meets"] {
  return async (conn, upstream) => {
    await upstream.receive(conn);
    await writeText(conn, text);
  };
}

testUnless(
  reason,
  "a client is told that its upstream died, or its connection is cut",
  async (t) => {
    await using bed = await warmBed();
    for (const broken of BROKEN) {
      await t.step(
        `an upstream that ${broken.name}`,
        () => leavesNothing(bed, () => checkBroken(bed, broken)),
      );
    }
  },
);

async function checkBroken(
  bed: FaultBed,
  { meets, request: text = request, sees, times }: Broken,
): Promise<void> {
  const { upstream } = bed;
  const { authority } = upstream;
  upstream.script((conn) => meets(conn, upstream));
  using conn = await bed.connectTls(authority);
  const sent = writeText(conn, text(authority)).catch(() => {
    // It was not read to its end.
  });
  const seen = await readAll(conn);
  await sent;
  assert.match(seen, sees);
  assertNoCanary(seen);
  assert.equal(upstream.connections, times, "connections");
  if (!upstream.received) return;
  assert.equal(upstream.received.split(CANARY).length - 1, times, "requests");
}

// A client that vanishes.

/** What a client does before it is gone. */
interface Vanishing {
  readonly name: string;
  /** What a connection meets at the upstream. Default: it is read to its end. */
  readonly meets?: UpstreamHandler;
  /** Does it, and gives what is to be closed without a word. */
  readonly goes: (bed: FaultBed) => Promise<{ close(): void }>;
  /** Whether the upstream's connection ends with it; else it waits for another request. Default: yes. */
  readonly frees?: boolean;
  /** Whether the upstream hears of it at all. Default: yes. */
  readonly isHeard?: boolean;
}

/** What of a ClientHello is sent that breaks off. */
const HELLO_PART = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

const EVENT_STREAM =
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";

const SWITCH =
  "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

const UPGRADE = "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n";

const VANISHING: readonly Vanishing[] = [
  {
    name: "within the head of CONNECT",
    async goes({ address, upstream }) {
      const conn = await connectTo(address);
      await writeText(conn, `CONNECT ${upstream.authority} HTTP/1.1\r\nHo`);
      return conn;
    },
    isHeard: false,
  },
  {
    name: "before the answer to CONNECT",
    async goes(bed) {
      const { authority } = bed.upstream;
      const conn = await connectTo(bed.address);
      await writeText(
        conn,
        request(authority, `CONNECT ${authority}`, `${proofOf(bed)}\r\n`),
      );
      return conn;
    },
    frees: false,
  },
  {
    name: "after the answer to CONNECT",
    goes: ({ connect, upstream }) => connect(upstream.authority),
    frees: false,
  },
  {
    name: "within its ClientHello",
    async goes({ connect, upstream }) {
      const conn = await connect(upstream.authority);
      await writeText(conn, HELLO_PART);
      return conn;
    },
    frees: false,
  },
  {
    name: "after the handshake",
    goes: (bed) => handshaken(bed),
    frees: false,
  },
  {
    name: "within the head of a request",
    goes: (bed) => sent(bed, "GET / HTTP/1.1\r\nHost: loc"),
    frees: false,
  },
  {
    name: "while it waits for its answer",
    goes: (bed) => sent(bed, request(bed.upstream.authority)),
  },
  {
    name: "while a POST waits for its answer",
    goes: (bed) => sent(bed, POST(bed.upstream.authority)),
  },
  {
    name: "within the body of its request",
    goes: (bed) =>
      sent(
        bed,
        request(
          bed.upstream.authority,
          "PUT /",
          "Content-Length: 100000\r\n\r\nbegun",
        ),
      ),
  },
  {
    name: "within a chunk of its request",
    goes: (bed) =>
      sent(
        bed,
        request(
          bed.upstream.authority,
          "PUT /",
          "Transfer-Encoding: chunked\r\n\r\n9\r\nbegun",
        ),
      ),
  },
  {
    name: "before it goes on after 100",
    meets: async (conn) => {
      await conn.read(new Uint8Array(2_000));
      await writeText(conn, "HTTP/1.1 100 Continue\r\n\r\n");
      await untilGone(conn);
    },
    async goes(bed) {
      const conn = await sent(
        bed,
        request(
          bed.upstream.authority,
          "PUT /",
          "Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        ),
      );
      await readHead(conn);
      return conn;
    },
  },
  {
    name: "while nothing comes of its answer",
    meets: async (conn) => {
      await conn.read(new Uint8Array(2_000));
      await writeText(conn, EVENT_STREAM);
      await untilGone(conn);
    },
    async goes(bed) {
      const conn = await sent(bed, request(bed.upstream.authority));
      await readHead(conn);
      return conn;
    },
  },
  {
    name: "in the middle of a long answer",
    meets: async (conn) => {
      await conn.read(new Uint8Array(2_000));
      await writeText(conn, "HTTP/1.1 200 OK\r\n\r\n");
      await pour(conn);
    },
    async goes(bed) {
      const conn = await sent(bed, request(bed.upstream.authority));
      await conn.read(new Uint8Array(100_000));
      return conn;
    },
  },
  {
    name: "in a WebSocket",
    meets: async (conn) => {
      await conn.read(new Uint8Array(2_000));
      await writeText(conn, SWITCH);
      await untilGone(conn);
    },
    goes: (bed) => upgraded(bed),
  },
  {
    name: "in a WebSocket whose upstream pours",
    meets: async (conn) => {
      await conn.read(new Uint8Array(2_000));
      await writeText(conn, SWITCH);
      await pour(conn);
    },
    goes: (bed) => upgraded(bed),
  },
];

async function handshaken(bed: FaultBed): Promise<Deno.TlsConn> {
  const conn = await bed.connectTls(bed.upstream.authority);
  await conn.handshake();
  return conn;
}

/** A connection on which something was sent that the upstream has seen, if it is to. */
async function sent(bed: FaultBed, text: string): Promise<Deno.TlsConn> {
  const conn = await handshaken(bed);
  await writeText(conn, text);
  return conn;
}

async function upgraded(bed: FaultBed): Promise<Deno.TlsConn> {
  const { authority } = bed.upstream;
  const conn = await sent(bed, request(authority, "GET /", UPGRADE));
  await readHead(conn);
  return conn;
}

/** Writes until that fails. */
async function pour(conn: Deno.Conn): Promise<void> {
  const bytes = new Uint8Array(64 * 1024).fill(0x78);
  try {
    for (;;) await conn.write(bytes);
  } catch {
    // Nobody reads.
  }
}

testUnless(
  reason,
  "what is done for a client that vanishes ends with it",
  async (t) => {
    await using bed = await warmBed();
    for (const vanishing of VANISHING) {
      await t.step(
        `a client that vanishes ${vanishing.name}`,
        () => leavesNothing(bed, () => checkVanishing(bed, vanishing)),
      );
    }
  },
);

async function checkVanishing(
  bed: FaultBed,
  { meets = untilGone, goes, frees = true, isHeard = true }: Vanishing,
): Promise<void> {
  let ended = 0;
  bed.upstream.script(async (conn, index) => {
    await meets(conn, index);
    ended++;
  });
  const log = bed.proxy.stderr().length;
  const conn = await goes(bed);
  if (isHeard) {
    await eventually("the upstream has it", () => bed.upstream.connections > 0);
  }
  conn.close();
  if (!isHeard || !frees) return;
  await eventually("the upstream is left alone", () => ended > 0, 3_000);
  // It went in the middle of its work, not for a certificate.
  assert.doesNotMatch(bed.proxy.stderr().slice(log), /client-tls-failed/);
}

testUnless(
  reason,
  "a client that vanishes while its upstream is awaited leaves it alone",
  async () => {
    await using silent = new ScriptedUpstream();
    silent.script(untilGone);
    await using bed = await warmBed({ hosts: [silent.authority] });
    const conn = await connectTo(bed.address);
    const line = `CONNECT ${silent.authority}`;
    await writeText(
      conn,
      request(silent.authority, line, `${proofOf(bed)}\r\n`),
    );
    await eventually("it is awaited", () => silent.connections > 0);
    conn.close();
    // The runtime keeps a connection whose handshake was given up until its
    // other side says something, or ends.
    await eventually(
      "only that is left",
      () => descriptorsOf(bed.proxy.pid) <= bed.idleDescriptors + 1,
      3_000,
    );
    silent.hangUp();
    await descriptorsBack(bed);
  },
);

// Connections that wait for the next request.

/** Serves requests of a connection in turn, each with the next answer; then it ends. */
function serving(
  upstream: ScriptedUpstream,
  answers: (index: number) => readonly string[],
): UpstreamHandler {
  return async (conn, index) => {
    for (const text of answers(index)) {
      await upstream.receive(conn, isWhole);
      if (text) await writeText(conn, text);
    }
  };
}

/** Of the requests of these tests. */
function isWhole(text: string): boolean {
  return text.startsWith("POST")
    ? text.endsWith("body")
    : text.endsWith("\r\n\r\n");
}

const KEPT = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nkept";

/** What the second request on a connection meets. */
interface Second {
  readonly name: string;
  readonly text: (authority: string) => string;
  /** What each connection answers before it ends; empty: nothing. */
  readonly answers: (index: number) => readonly string[];
  /** Of the second answer. */
  readonly status: number;
  /** How many requests the upstream gets, the first among them. */
  readonly requests: number;
}

const SECOND: readonly Second[] = [
  {
    name: "a GET is repeated once",
    text: request,
    answers: (index) => index === 0 ? [KEPT, ""] : [answer("new")],
    status: 200,
    requests: 3,
  },
  {
    name: "a GET is not repeated twice",
    text: request,
    answers: (index) => index === 0 ? [KEPT, ""] : [""],
    status: 502,
    requests: 3,
  },
  {
    name: "a GET is not repeated after a part of its answer",
    text: request,
    answers: (index) => index === 0 ? [KEPT, "HTTP/1.1 2"] : [answer("new")],
    status: 502,
    requests: 2,
  },
  {
    name: "a GET is not repeated after 103",
    text: request,
    answers: (index) =>
      index === 0
        ? [KEPT, "HTTP/1.1 103 Early Hints\r\n\r\n"]
        : [answer("new")],
    status: 103,
    requests: 2,
  },
  {
    name: "a POST is not repeated",
    text: POST,
    answers: (index) => index === 0 ? [KEPT, ""] : [answer("new")],
    status: 502,
    requests: 2,
  },
  {
    name: "a DELETE is not repeated",
    text: (authority) => request(authority, "DELETE /"),
    answers: (index) => index === 0 ? [KEPT, ""] : [answer("new")],
    status: 502,
    requests: 2,
  },
];

testUnless(
  reason,
  "an upstream that ends a connection when it is used again gets nothing twice that counts",
  async (t) => {
    await using bed = await warmBed();
    for (const second of SECOND) {
      await t.step(
        second.name,
        () => leavesNothing(bed, () => checkSecond(bed, second)),
      );
    }
  },
);

async function checkSecond(
  bed: FaultBed,
  { text, answers, status, requests }: Second,
): Promise<void> {
  const { upstream } = bed;
  const { authority } = upstream;
  upstream.script(serving(upstream, answers));
  using conn = await bed.connectTls(authority);
  assert.equal((await ask(conn, request(authority))).body, "kept");
  const { head } = await ask(conn, text(authority));
  assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} `));
  await eventually(
    `${requests} requests`,
    () => upstream.received.split(" HTTP/1.1\r\n").length - 1 === requests,
    1_000,
  );
}

testUnless(
  reason,
  "no POST is lost or doubled where its upstream ends each connection after an answer",
  async () => {
    const posts = 50;
    await using bed = await warmBed();
    const { upstream } = bed;
    const { authority } = upstream;
    upstream.script(serving(upstream, () => [KEPT]));
    using conn = await bed.connectTls(authority);
    const statuses: string[] = [];
    for (let i = 0; i < posts; i++) {
      const line = `POST /${i}`;
      const { head } = await ask(
        conn,
        request(authority, line, "Content-Length: 4\r\n\r\nbody"),
      );
      statuses.push(head.slice(9, 12));
    }
    const came = [...upstream.received.matchAll(/POST \/(\d+) /g)];
    assert.deepEqual(
      [new Set(statuses), came.map(([, index]) => Number(index))],
      [new Set(["200"]), Array.from({ length: posts }, (_, i) => i)],
    );
  },
);

testUnless(
  reason,
  "a connection that its upstream ended while it waited is not used",
  async () => {
    await using bed = await warmBed();
    const { upstream } = bed;
    const { authority } = upstream;
    const kept = Promise.withResolvers<void>();
    upstream.script(async (conn, index) => {
      await serving(upstream, () => [KEPT])(conn, index);
      if (index === 0) await kept.promise;
    });
    const conn = await bed.connectTls(authority);
    await ask(conn, request(authority));
    const open = descriptorsOf(bed.proxy.pid);
    kept.resolve();
    await eventually("it is closed", () => descriptorsOf(bed.proxy.pid) < open);
    const { head } = await ask(conn, POST(authority));
    conn.close();
    await descriptorsBack(bed);
    assert.match(head, /^HTTP\/1\.1 200 /);
  },
);

testUnless(
  reason,
  "an answer that is cut off where only its end tells looks cut off",
  async () => {
    await using front = new ScriptedUpstream();
    await using bed = await warmBed({ hosts: [front.authority] });
    const { upstream } = bed;
    const cue = Promise.withResolvers<void>();
    front.script(cutting(upstream.port, cue.promise));
    upstream.script(async (conn) => {
      await upstream.receive(conn);
      await writeText(conn, "HTTP/1.1 200 OK\r\n\r\npart");
      await untilGone(conn);
    });
    using conn = await bed.connectTls(front.authority);
    await writeText(conn, request(front.authority));
    await readHead(conn);
    const buffer = new Uint8Array(100);
    for (let count = 0; count < 4;) count += await conn.read(buffer) ?? 4;
    cue.resolve();
    // An end by close_notify would say that this was all (RFC 9112 section 9.8).
    await assert.rejects(conn.read(buffer), Deno.errors.UnexpectedEof);
  },
);

// Without TLS.

/** Opens a bed that may reach an upstream without TLS, by tunnel or by http URL. */
async function plainBed(
  plain: ScriptedUpstream,
): Promise<FaultBed> {
  const { authority } = plain;
  return await warmBed({
    bindFlags: ["--allow", authority, "--allow-private", authority],
  });
}

/** Asks by http URL. */
async function sentPlain(
  bed: FaultBed,
  { authority }: ScriptedUpstream,
  method = "GET",
  rest = "\r\n",
): Promise<Deno.Conn> {
  const conn = await connectTo(bed.address);
  await writeText(
    conn,
    request(
      authority,
      `${method} http://${authority}/`,
      `${proofOf(bed)}${rest}`,
    ),
  );
  return conn;
}

testUnless(reason, "an upstream without TLS may die, too", async (t) => {
  await using plain = new ScriptedUpstream();
  await using bed = await plainBed(plain);
  const step = (
    name: string,
    meets: UpstreamHandler,
    sees: RegExp,
    method?: string,
  ) =>
    t.step(name, () =>
      leavesNothing(bed, async () => {
        plain.script(meets);
        using conn = await sentPlain(bed, plain, method);
        assert.match(await readAll(conn), sees);
        plain.hangUp();
        assert.equal(plain.connections, 1);
      }));
  const broken = /^HTTP\/1\.1 502 [^]*error=connection_terminated\r$/m;
  await step("it resets after a GET", reset, broken);
  await step("it resets after a DELETE", reset, broken, "DELETE");
  await step("it closes at once", (conn) => conn.close(), broken);
  await step("it resets within its body", async (conn) => {
    await writeText(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart");
    await reset(conn);
  }, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n(?:part)?$/);
  await t.step("it does not listen", async () => {
    await plain[Symbol.asyncDispose]();
    using conn = await sentPlain(bed, plain);
    const seen = await readAll(conn);
    assert.match(seen, /^HTTP\/1\.1 502 [^]*error=connection_refused\r$/m);
  });
});

/** What a client does without TLS before it is gone. */
const VANISHING_PLAIN: readonly {
  readonly name: string;
  readonly meets?: UpstreamHandler;
  readonly goes: (
    bed: FaultBed,
    plain: ScriptedUpstream,
  ) => Promise<Deno.Conn>;
}[] = [
  {
    name: "in a tunnel",
    goes: ({ connect }, { authority }) => connect(authority),
  },
  {
    name: "in a tunnel whose upstream pours",
    meets: pour,
    goes: ({ connect }, { authority }) => connect(authority),
  },
  {
    name: "within the body of a request by http URL",
    goes: (bed, plain) =>
      sentPlain(bed, plain, "PUT", "Content-Length: 9\r\n\r\nbegun"),
  },
  {
    name: "in the middle of a long answer by http URL",
    meets: async (conn) => {
      await conn.read(new Uint8Array(2_000));
      await writeText(conn, "HTTP/1.1 200 OK\r\n\r\n");
      await pour(conn);
    },
    goes: sentPlain,
  },
];

testUnless(
  reason,
  "what is done for a client without TLS that vanishes ends with it",
  async (t) => {
    await using plain = new ScriptedUpstream();
    await using bed = await plainBed(plain);
    for (const { name, meets = untilGone, goes } of VANISHING_PLAIN) {
      await t.step(
        `a client that vanishes ${name}`,
        () =>
          leavesNothing(bed, async () => {
            let ended = 0;
            plain.script(async (conn, index) => {
              await meets(conn, index);
              ended++;
            });
            const conn = await goes(bed, plain);
            await eventually("it is served", () => plain.connections > 0);
            conn.close();
            await eventually("the upstream is free", () => ended > 0, 3_000);
          }),
      );
    }
  },
);

testUnless(
  reason,
  "a tunnel to an upstream that resets ends for its client",
  async () => {
    await using plain = new ScriptedUpstream();
    await using bed = await plainBed(plain);
    await leavesNothing(bed, async () => {
      plain.script(reset);
      using conn = await bed.connect(plain.authority);
      await writeText(conn, "something");
      assert.equal(await readAll(conn), "");
    });
  },
);

testUnless(
  reason,
  "a client that has sent all of a tunnel still gets the answer",
  async () => {
    await using plain = new ScriptedUpstream();
    await using bed = await plainBed(plain);
    plain.script(async (conn) => {
      await untilGone(conn);
      await writeText(conn, "to the end");
    });
    using conn = await bed.connect(plain.authority);
    await conn.closeWrite();
    assert.equal(await readAll(conn), "to the end");
  },
);

// A client that does not trust moat.

testUnless(
  reason,
  "a client that rejects the certificate is told of in the log",
  async () => {
    await using bed = await warmBed();
    await leavesNothing(bed, async () => {
      const conn = await bed.connect(bed.upstream.authority);
      const tls = await Deno.startTls(conn, { hostname: "localhost" });
      await assert.rejects(tls.handshake(), /UnknownIssuer/);
      closeQuietly(tls);
      const line = await eventually(
        "a warning",
        () => /^.*client-tls-failed.*$/m.exec(bed.proxy.stderr())?.[0],
      );
      const told = [
        /"binding":"client"/,
        /"host":"localhost"/,
        /"code":"client-rejected-certificate"/,
      ].map((what) => what.test(line));
      assert.deepEqual(told, [true, true, true], line);
    });
  },
);

testUnless(
  reason,
  "a root key that others can read serves nobody, and nothing is left open",
  async () => {
    await using bed = await openFaultBed();
    const { upstream } = bed;
    upstream.script(untilGone);
    const key = bed.workspace.path("moat/ca/root.key");
    await Deno.chmod(key, 0o644);
    const { authority } = upstream;
    const line = `CONNECT ${authority}`;
    for (let i = 0; i < 5; i++) {
      using conn = await connectTo(bed.address);
      await writeText(conn, request(authority, line, `${proofOf(bed)}\r\n`));
      const { head } = await readMessage(conn);
      assert.match(head, /^HTTP\/1\.1 500 /);
    }
    await descriptorsBack(bed, 3_000);
  },
);

/** Programs that do not trust moat, and how they ask. */
const DISTRUSTING: readonly {
  readonly program: string;
  readonly args: (url: string) => readonly string[];
}[] = [
  { program: "curl", args: (url) => ["-s", url] },
  {
    program: "python3",
    args: (url) => [
      "-c",
      `import urllib.request as r; r.urlopen("${url}", timeout=5)`,
    ],
  },
  {
    program: "node",
    args: (url) => [
      "-e",
      `const { connect } = require("node:tls"), { request } = require("node:http");
      const proxy = new URL(process.env.HTTPS_PROXY), to = new URL("${url}");
      request({
        host: proxy.hostname, port: proxy.port, method: "CONNECT", path: to.host,
        headers: { host: to.host, "proxy-authorization": "Basic " + btoa(
          decodeURIComponent(proxy.username + ":" + proxy.password)) },
      }).on("connect", (_, socket) =>
        connect({ socket, servername: to.hostname }).on("error", () => {})
      ).end();`,
    ],
  },
];

for (const { program, args } of DISTRUSTING) {
  testUnless(
    reason ?? (which(program) ? undefined : `not installed: ${program}`),
    `moat run warns of ${program} that does not trust moat, and names the variables`,
    async () => {
      await using bed = await warmBed();
      const { authority } = bed.upstream;
      const { stderr } = await runMoat([
        ..."run --grant testapi --allow-private".split(" "),
        authority,
        "--",
        // The upstream of the test has a name that goes past every proxy.
        ..."env -u NO_PROXY -u no_proxy -u SSL_CERT_FILE".split(" "),
        ..."-u CURL_CA_BUNDLE -u NODE_EXTRA_CA_CERTS".split(" "),
        program,
        ...args(`https://${authority}/`),
      ], { workspace: bed.workspace, env: bed.moatEnv });
      assert.match(
        stderr,
        /^warning: A client does not trust moat's certificate for localhost[^]*SSL_CERT_FILE, NODE_EXTRA_CA_CERTS/m,
      );
    },
  );
}
