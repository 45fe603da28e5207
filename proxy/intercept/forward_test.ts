import assert from "node:assert/strict";
import type { Policy } from "$core/policy.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import { FakeConn, turns } from "../../tests/support/fake_conn.ts";
import {
  FakePool,
  get,
  liveBinding,
  tokenOf,
} from "../../tests/support/session_bed.ts";
import { BindingTable } from "../bindings/binding_table.ts";
import { HttpError, RequestHead } from "../http1/head.ts";
import type { Peer, Reply, Takeover } from "../http1/server.ts";
import type { Duplex, Wire } from "../http1/wire.ts";
import type { TraceRecord } from "./trace_record.ts";
import { Egress } from "./egress.ts";
import { ProxyFailure } from "./failure.ts";
import { ForwardProxy } from "./forward.ts";
import type { TerminatedClient, TlsTerminator } from "./terminator.ts";

const PEER: Peer = {
  localPort: 19080,
  localHostname: "127.0.0.1",
  remoteHostname: "127.0.0.1",
};

const POLICY: Partial<Policy> = {
  rules: [
    { action: "deny", host: "evil.test" },
    { action: "allow", host: "tunnel.test" },
    { action: "allow", host: "tunnel.test:22" },
  ],
};

/** Connects to what is the test itself. */
class FakeEgress extends Egress {
  readonly dialled: string[] = [];
  readonly conns: FakeConn[] = [];
  /** What the next attempt waits for, or fails with. */
  next: Error | Promise<void> | undefined;

  constructor(clock: FakeClock) {
    super({ isOurs: () => false, clock });
  }

  override async connect(
    ...[{ host, port }, _, signal]: Parameters<Egress["connect"]>
  ): Promise<Deno.TcpConn> {
    this.dialled.push(`${host}:${port}`);
    const { next } = this;
    if (next instanceof Error) throw next;
    await next;
    signal?.throwIfAborted();
    const conn = new FakeConn();
    this.conns.push(conn);
    return conn as Duplex as Deno.TcpConn;
  }
}

/** Shakes no hands: what the client sends is what it says. */
class FakeTerminator implements TlsTerminator {
  readonly ports = [];
  /** What getting ready and shaking hands wait for or fail with. */
  preparing: Promise<void> = Promise.resolve();
  accepting: Promise<void> = Promise.resolve();
  isClosed = false;

  async prepare(): Promise<void> {
    await this.preparing;
  }

  async accept(client: Wire): Promise<TerminatedClient> {
    await this.accepting;
    const done = Promise.withResolvers<void>();
    const conn: Duplex = {
      async read(into) {
        if (client.available === 0 && !await client.fill()) return null;
        const bytes = client.received.subarray(0, into.length);
        into.set(bytes);
        client.consume(bytes.length);
        return bytes.length;
      },
      write: (bytes) => client.conn.write(bytes),
      closeWrite: () => client.conn.closeWrite(),
      close() {
        client.close();
        done.resolve();
      },
    };
    return { conn, done: done.promise };
  }

  close(): void {
    this.isClosed = true;
  }
}

class Bed {
  readonly clock = new FakeClock();
  readonly table = new BindingTable();
  readonly egress: FakeEgress = new FakeEgress(this.clock);
  readonly pool: FakePool = new FakePool(this.clock);
  readonly terminator = new FakeTerminator();
  readonly records: TraceRecord[] = [];
  readonly failures: [string, string, string][] = [];
  readonly errors: unknown[] = [];
  descriptors = 10;
  readonly proxy: ForwardProxy;
  readonly #served: Promise<void>[] = [];

  constructor() {
    this.table.set("web", [liveBinding("web", { policy: POLICY })]);
    this.proxy = new ForwardProxy({
      clock: this.clock,
      table: this.table,
      egress: this.egress,
      upstreams: this.pool,
      terminator: this.terminator,
      descriptors: {
        take: (count) => {
          if (count > this.descriptors) return false;
          this.descriptors -= count;
          return true;
        },
        give: (count) => this.descriptors += count,
      },
      onUnknown: () => {},
      isOurs: ({ host }) => host === "moat.test",
      onRecord: (record) => this.records.push(record),
      onTlsFailure: (binding, host, { code }) =>
        this.failures.push([binding, host, code]),
      onError: (error) => this.errors.push(error),
    });
  }

  /** Asks as a client with a token; default: that of `web`. */
  async ask(
    method: string,
    target: string,
    { token = tokenOf("web"), fields = [], peer = PEER }: {
      token?: string;
      fields?: readonly (readonly [string, string])[];
      peer?: Peer;
    } = {},
  ): Promise<Reply | Takeover> {
    const host = target.replace(/^http:\/\//, "").replace(/\/.*/, "");
    const head = new RequestHead(method, target, "1.1", [
      ["Host", host],
      ...token
        ? [["Proxy-Authorization", `Bearer ${token}`]] as [string, string][]
        : [],
      ...fields,
    ]);
    return await this.proxy.handle(head, peer);
  }

  /** The status that a client is answered, and the word of Proxy-Status. */
  async status(
    ...args: Parameters<Bed["ask"]>
  ): Promise<[number, ...string[]]> {
    const reply = await this.ask(...args);
    if ("serve" in reply) throw new Error("it was taken over");
    const { status, headers } = reply.answer;
    const [, value] = headers.find(([name]) => name === "Proxy-Status") ?? [];
    return [status, ...value ? [value.replace("moat; error=", "")] : []];
  }

  /** Takes a connection over, and serves it. */
  async take(
    ...args: Parameters<Bed["ask"]>
  ): Promise<{ client: FakeConn; takeover: Takeover }> {
    const takeover = await this.ask(...args);
    if (!("serve" in takeover)) throw new Error("it was answered");
    const client = new FakeConn();
    this.#served.push(
      takeover.serve(client as Duplex as Deno.Conn, new Uint8Array()),
    );
    await turns();
    return { client, takeover };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.proxy.close();
    await Promise.all(this.#served);
    assert.equal(this.descriptors, 10, "descriptors were not given back");
  }
}

function test(name: string, use: (bed: Bed) => Promise<void>): void {
  Deno.test(name, async () => {
    await using bed = new Bed();
    await use(bed);
  });
}

const ESTABLISHED = "HTTP/1.1 200 Connection established\r\n\r\n";

// Who asks

for (
  const [name, options] of [
    ["no token", { token: "" }],
    ["a token that does not count", { token: tokenOf("job") }],
    [
      "a token elsewhere",
      { peer: { ...PEER, localHostname: "10.0.0.1" } },
    ],
  ] as const
) {
  for (
    const [method, target] of [
      ["CONNECT", "api.test:443"],
      ["GET", "http://api.test/"],
      ["CONNECT", "moat.test:443"],
    ] as const
  ) {
    test(`${method} ${target} with ${name} is answered 407`, async (bed) => {
      const reply = await bed.ask(method, target, options);
      assert("answer" in reply);
      assert.deepEqual(
        [
          reply.answer.status,
          reply.isKnown,
          reply.answer.headers.some(([name]) => name === "Proxy-Authenticate"),
          bed.egress.dialled.length + bed.pool.given.length,
        ],
        [407, undefined, true, 0],
      );
    });
  }
}

// Where to

for (
  const [method, target, status, error] of [
    ["CONNECT", "evil.test:443", 403, "http_request_denied"],
    ["CONNECT", "unknown.test:443", 403, "http_request_denied"],
    ["CONNECT", "api.test", 400, "http_request_error"],
    ["CONNECT", "api.test:0", 400, "http_request_error"],
    ["CONNECT", "moat.test:443", 400, "proxy_loop_detected"],
  ] as const
) {
  test(`${method} ${target} is answered ${status}, and nobody is dialled`, async (bed) => {
    assert.deepEqual(await bed.status(method, target), [status, error]);
    assert.deepEqual([bed.egress.dialled, bed.pool.given], [[], []]);
  });
}

test("an http URL that names us is answered 400, and nobody is dialled", async (bed) => {
  const { client } = await bed.take("GET", "http://moat.test/");
  assert.match(client.written, /^HTTP\/1\.1 400 [^]*proxy_loop_detected\r$/m);
  assert.deepEqual(bed.pool.given, []);
});

test("CONNECT with a body is answered 400", async (bed) => {
  const fields = [["Content-Length", "1"]] as const;
  assert.deepEqual(
    await bed.status("CONNECT", "api.test:443", { fields }),
    [400, "http_request_error"],
  );
});

test("a connection that policy denies is recorded with its rule", async (bed) => {
  await bed.ask("CONNECT", "evil.test:443");
  assert.deepEqual(bed.records, [{
    time: bed.clock.now(),
    binding: "web",
    kind: "tunnel",
    method: "CONNECT",
    host: "evil.test",
    status: 403,
    failure: "policy-denied",
    decision: "deny",
    rule: "rule 1: deny evil.test",
    grants: [],
    sent: 0,
    received: 0,
    totalMs: 0,
  }]);
});

test("a client that is denied is known, and keeps its connection", async (bed) => {
  const reply = await bed.ask("CONNECT", "evil.test:443");
  assert("answer" in reply && reply.isKnown);
});

for (const target of ["api.test:443", "tunnel.test:443"]) {
  test(`${target} is answered 503 while descriptors are few`, async (bed) => {
    bed.descriptors = 0;
    assert.deepEqual(
      await bed.status("CONNECT", target),
      [503, "connection_limit_reached"],
    );
    bed.descriptors = 10;
  });
}

// Tunnels

test("a tunnel relays both ways", async (bed) => {
  const { client } = await bed.take("CONNECT", "tunnel.test:22");
  client.send("ping");
  bed.egress.conns[0]?.send("pong");
  await turns();
  assert.deepEqual(
    [client.written, bed.egress.conns[0]?.written, bed.descriptors],
    [`${ESTABLISHED}pong`, "ping", 9],
  );
});

test("a tunnel is recorded with what went through", async (bed) => {
  const { client } = await bed.take("CONNECT", "tunnel.test:22");
  client.send("ping");
  bed.egress.conns[0]?.send("longer pong");
  await bed.clock.advance(70);
  client.end();
  bed.egress.conns[0]?.end();
  await turns();
  const [{ kind, host, status, sent, received, totalMs, rule } = {}] = bed
    .records as Partial<TraceRecord>[];
  assert.deepEqual(
    [kind, host, status, sent, received, totalMs, rule],
    [
      "tunnel",
      "tunnel.test:22",
      200,
      4,
      11,
      70,
      "rule 3: allow tunnel.test:22",
    ],
  );
});

test("a tunnel to nobody is told and recorded", async (bed) => {
  bed.egress.next = new ProxyFailure(
    502,
    "connection-refused",
    "connection_refused",
    "No",
  );
  const { client } = await bed.take("CONNECT", "tunnel.test:22");
  assert.match(client.written, /^HTTP\/1\.1 502 [^]*connection_refused\r$/m);
  assert.deepEqual(
    [client.isClosed, bed.records[0]?.failure],
    [true, "connection-refused"],
  );
});

test("a mistake of ours is told as that, without a word", async (bed) => {
  bed.egress.next = new TypeError("secret");
  const { client } = await bed.take("CONNECT", "tunnel.test:22");
  assert.deepEqual(
    [
      client.written.slice(0, 12),
      client.written.includes("secret"),
      bed.errors.length,
    ],
    ["HTTP/1.1 500", false, 1],
  );
});

test("a tunnel ends with its binding", async (bed) => {
  const { client } = await bed.take("CONNECT", "tunnel.test:22");
  bed.table.remove("web");
  await turns();
  assert.deepEqual(
    [client.isClosed, bed.egress.conns[0]?.isClosed],
    [true, true],
  );
});

test("a tunnel goes on if its binding may still have it", async (bed) => {
  const { client } = await bed.take("CONNECT", "tunnel.test:22");
  for (let i = 0; i < 2; i++) {
    bed.table.set("web", [liveBinding("web", { policy: POLICY })]);
    await turns();
  }
  assert.equal(client.isClosed, false);
});

test("a tunnel ends if its binding may not have it any more", async (bed) => {
  const { client } = await bed.take("CONNECT", "tunnel.test:22");
  bed.table.set("web", [liveBinding("web", { policy: POLICY })]);
  await turns();
  bed.table.set("web", [liveBinding("web")]);
  await turns();
  assert.equal(client.isClosed, true);
});

test("a tunnel outlives a retirement, and ends when it is closed", async (bed) => {
  const { client, takeover } = await bed.take("CONNECT", "tunnel.test:22");
  takeover.retire();
  await turns();
  const before = client.isClosed;
  takeover.close();
  await turns();
  assert.deepEqual([before, client.isClosed], [false, true]);
});

test("a tunnel that is closed while it is dialled leaves nothing", async (bed) => {
  const dialled = Promise.withResolvers<void>();
  bed.egress.next = dialled.promise;
  const { takeover } = await bed.take("CONNECT", "tunnel.test:22");
  takeover.close();
  dialled.resolve();
  await turns();
  assert.deepEqual(bed.egress.conns, []);
});

/** What curl sent to `localhost`, and to an address. */
const [HELLO, NAMELESS] = ["curl", "curl-address"].map((name) => {
  const path = `../../tests/testdata/client_hello/${name}.json`;
  const text = Deno.readTextFileSync(new URL(path, import.meta.url));
  return atob(JSON.parse(text).bytes);
});

for (
  const [name, said, passes] of [
    ["another name", HELLO, false],
    ["no name", NAMELESS, true],
    ["no TLS", "GET / HTTP/1.1\r\n\r\n", true],
  ] as const
) {
  const does = passes ? "lets" : "does not let";
  test(`a tunnel to port 443 ${does} ${name} pass`, async (bed) => {
    const { client } = await bed.take("CONNECT", "tunnel.test:443");
    client.send(said ?? "");
    await turns();
    const [upstream] = bed.egress.conns;
    assert.deepEqual(
      [upstream?.written, client.isClosed, upstream?.isClosed],
      passes ? [said, false, false] : ["", true, true],
    );
  });
}

test("a tunnel that names another host is recorded", async (bed) => {
  const { client } = await bed.take("CONNECT", "tunnel.test:443");
  client.send(HELLO ?? "");
  await turns();
  assert.equal(bed.records[0]?.failure, "sni-mismatch");
});

test("a tunnel to another port may speak what it likes", async (bed) => {
  const { client } = await bed.take("CONNECT", "tunnel.test:22");
  client.send(HELLO ?? "");
  await turns();
  assert.equal(bed.egress.conns[0]?.written, HELLO);
});

// What is read

test("an intercepted client is told 200 once its upstream is there", async (bed) => {
  const there = Promise.withResolvers<void>();
  bed.pool.next.push(there.promise);
  const { client } = await bed.take("CONNECT", "api.test:443");
  const before = client.written;
  there.resolve();
  await turns();
  assert.deepEqual([before, client.written], ["", ESTABLISHED]);
});

test("the upstream that was opened for CONNECT waits for a request", async (bed) => {
  await bed.take("CONNECT", "api.test:443");
  assert.equal(bed.pool.released[0], bed.pool.given[0]?.upstream);
});

test("an intercepted client's requests are served", async (bed) => {
  const { client } = await bed.take("CONNECT", "api.test:443");
  client.send(get());
  await turns();
  bed.pool.given[1]?.conn.send("HTTP/1.1 204 No Content\r\n\r\n");
  await turns();
  assert.deepEqual(
    [client.written, bed.descriptors],
    [`${ESTABLISHED}HTTP/1.1 204 No Content\r\n\r\n`, 7],
  );
});

test("an intercepted client is told why there is no upstream", async (bed) => {
  bed.pool.next.push(
    new ProxyFailure(502, "upstream-certificate", "tls_certificate_error", "X"),
  );
  const { client } = await bed.take("CONNECT", "api.test:443");
  assert.match(client.written, /^HTTP\/1\.1 502 [^]*tls_certificate_error\r$/m);
  assert.deepEqual(
    [bed.records[0]?.failure, bed.records[0]?.status],
    ["upstream-certificate", 502],
  );
});

test("without a certificate an intercepted client is told 500", async (bed) => {
  bed.terminator.preparing = Promise.reject(new TypeError("secret"));
  const { client } = await bed.take("CONNECT", "api.test:443");
  assert.deepEqual(
    [
      client.written.slice(0, 12),
      client.written.includes("secret"),
      bed.errors.length,
    ],
    ["HTTP/1.1 500", false, 1],
  );
});

test("without a certificate no upstream stays open", async (bed) => {
  const ready = Promise.withResolvers<void>();
  bed.terminator.preparing = ready.promise;
  await bed.take("CONNECT", "api.test:443");
  ready.reject(new TypeError());
  await turns();
  const [given] = bed.pool.given;
  assert(
    given?.conn.isClosed || bed.pool.released.includes(given!.upstream),
    "it is neither closed nor given back",
  );
});

test("a client whose handshake fails is told of, and recorded", async (bed) => {
  bed.terminator.accepting = Promise.reject(
    new ProxyFailure(
      400,
      "client-rejected-certificate",
      "tls_alert_received",
      "",
    ),
  );
  const { client } = await bed.take("CONNECT", "api.test:443");
  assert.deepEqual(
    [bed.failures, bed.records[0]?.failure, client.isClosed],
    [
      [["web", "api.test", "client-rejected-certificate"]],
      "client-rejected-certificate",
      true,
    ],
  );
});

test("a handshake that we end is not told of", async (bed) => {
  const shaken = Promise.withResolvers<void>();
  bed.terminator.accepting = shaken.promise;
  const { takeover } = await bed.take("CONNECT", "api.test:443");
  takeover.close();
  shaken.reject(new Error("closed"));
  await turns();
  assert.deepEqual([bed.failures, bed.records], [[], []]);
});

test("a client that goes while its upstream is awaited takes it along", async (bed) => {
  const there = Promise.withResolvers<void>();
  bed.pool.next.push(there.promise);
  const { client } = await bed.take("CONNECT", "api.test:443");
  client.end();
  await turns();
  await bed.clock.advance(1_000);
  there.resolve();
  await turns();
  assert.deepEqual([client.isClosed, bed.pool.released], [true, []]);
});

test("an intercepted client that retires ends between requests", async (bed) => {
  const { client, takeover } = await bed.take("CONNECT", "api.test:443");
  takeover.retire();
  await turns();
  assert.equal(client.isClosed, true);
});

test("an intercepted client that retires in its handshake ends after it", async (bed) => {
  const shaken = Promise.withResolvers<void>();
  bed.terminator.accepting = shaken.promise;
  const { client, takeover } = await bed.take("CONNECT", "api.test:443");
  takeover.retire();
  shaken.resolve();
  await turns();
  assert.equal(client.isClosed, true);
});

test("an intercepted client that is closed is closed at once", async (bed) => {
  const { client, takeover } = await bed.take("CONNECT", "api.test:443");
  client.send(get());
  await turns();
  takeover.close();
  await turns();
  assert.deepEqual(
    [client.isClosed, bed.pool.given[1]?.conn.isClosed],
    [true, true],
  );
});

test("time passes for intercepted clients, and for nobody afterwards", async (bed) => {
  const { client } = await bed.take("CONNECT", "api.test:443");
  await bed.clock.advance(119_000);
  const before = client.isClosed;
  await bed.clock.advance(1_000);
  await turns();
  assert.deepEqual([before, client.isClosed], [false, true]);
});

// http URLs

const ALLOW_HTTP: Partial<Policy> = {
  rules: [
    { action: "allow", host: "api.test" },
    { action: "allow", host: "moat.test" },
  ],
};

test("a request by http URL is served with those that follow", async (bed) => {
  bed.table.set("web", [liveBinding("web", { policy: ALLOW_HTTP })]);
  const { client } = await bed.take("GET", "http://api.test/1");
  bed.pool.given[0]?.conn.send("HTTP/1.1 204 No Content\r\n\r\n");
  await turns();
  client.send(
    get("http://api.test/2", [`Proxy-Authorization: Bearer ${tokenOf("web")}`]),
  );
  await turns();
  assert.deepEqual(
    bed.pool.given.map(({ conn }) => conn.written.slice(0, 6)),
    ["GET /1", "GET /2"],
  );
});

test("a request that follows needs a token of its own", async (bed) => {
  bed.table.set("web", [liveBinding("web", { policy: ALLOW_HTTP })]);
  const { client } = await bed.take("GET", "http://api.test/1");
  bed.pool.given[0]?.conn.send("HTTP/1.1 204 No Content\r\n\r\n");
  await turns();
  client.send(get("http://api.test/2"));
  await turns();
  assert.equal(bed.pool.given.length, 1);
});

test("a request that follows may be another binding's", async (bed) => {
  for (const name of ["web", "job"]) {
    bed.table.set(name, [liveBinding(name, { policy: ALLOW_HTTP })]);
  }
  const { client } = await bed.take("GET", "http://api.test/1");
  bed.pool.given[0]?.conn.send("HTTP/1.1 204 No Content\r\n\r\n");
  await turns();
  client.send(
    get("http://api.test/2", [`Proxy-Authorization: Bearer ${tokenOf("job")}`]),
  );
  await turns();
  assert.deepEqual(
    bed.pool.given.map(({ target }) => target.binding),
    ["web", "job"],
  );
});

test("close() ends everything", async (bed) => {
  const tunnel = await bed.take("CONNECT", "tunnel.test:22");
  const read = await bed.take("CONNECT", "api.test:443");
  bed.proxy.close();
  await turns();
  assert.deepEqual(
    [tunnel.client.isClosed, read.client.isClosed, bed.terminator.isClosed],
    [true, true, true],
  );
});

test("retire() ends what waits for a request", async (bed) => {
  const read = await bed.take("CONNECT", "api.test:443");
  bed.proxy.retire();
  await turns();
  assert.equal(read.client.isClosed, true);
});

test("a head that cannot be served is thrown, as a service does", async (bed) => {
  const fields = [["Content-Length", "x"]] as const;
  await assert.rejects(
    bed.ask("CONNECT", "api.test:443", { fields }),
    HttpError,
  );
});
