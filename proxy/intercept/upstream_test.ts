import assert from "node:assert/strict";
import {
  makeCertificate,
  noOpenssl,
  pkiPath,
} from "../../tests/support/anywhere_pki.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { eventually } from "../../tests/support/eventually.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import { Egress } from "./egress.ts";
import {
  type Upstream,
  UpstreamPool,
  type UpstreamTarget,
} from "./upstream.ts";

/** A pool with a server on loopback, whose connections it keeps. */
class Bed {
  readonly clock = new FakeClock();
  readonly served: Deno.Conn[] = [];
  readonly pool: UpstreamPool;
  readonly #listener: Deno.Listener;
  readonly #serving: Promise<void>;

  constructor(
    { listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }), ...options }:
      {
        listener?: Deno.Listener;
        maxIdle?: number;
        certificates?: string[];
      } = {},
  ) {
    const { certificates = [], ...limits } = options;
    const { clock } = this;
    const egress = new Egress({ isOurs: () => false, clock });
    const roots = { certificates };
    this.pool = new UpstreamPool({ egress, roots, clock, ...limits });
    this.#listener = listener;
    this.#serving = this.#serve();
  }

  target(binding = "agent", tls = false): UpstreamTarget {
    const { port } = this.#listener.addr as Deno.NetAddr;
    const authority = { host: "127.0.0.1", port };
    return { binding, authority, tls, opensPrivate: true };
  }

  /** Connections that the pool opened so far, and that were accepted. */
  async opened(count: number): Promise<Deno.Conn[]> {
    await eventually(
      "connections are accepted",
      () => this.served.length >= count,
    );
    return this.served;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.pool.close();
    this.#listener.close();
    await this.#serving;
    for (const conn of this.served) closeQuietly(conn);
  }

  async #serve(): Promise<void> {
    for await (const conn of this.#listener) this.served.push(conn);
  }
}

function closeQuietly(conn: { close(): void }): void {
  try {
    conn.close();
  } catch {
    // It is closed.
  }
}

const HELLO = new TextEncoder().encode("hello");

Deno.test("acquire() opens a connection", async () => {
  await using bed = new Bed();
  const upstream = await bed.pool.acquire(bed.target());
  upstream.wire.close();
  assert.deepEqual([upstream.isReused, bed.pool.size], [false, 0]);
});

Deno.test("acquire() gives a released connection again", async () => {
  await using bed = new Bed();
  const first = await bed.pool.acquire(bed.target());
  bed.pool.release(first);
  const second = await bed.pool.acquire(bed.target());
  assert.deepEqual([second.wire === first.wire, second.isReused], [true, true]);
  second.wire.close();
});

Deno.test("acquire() does not give a connection twice", async () => {
  await using bed = new Bed();
  bed.pool.release(await bed.pool.acquire(bed.target()));
  const [one, two] = [
    await bed.pool.acquire(bed.target()),
    await bed.pool.acquire(bed.target()),
  ];
  assert.notEqual(one.wire, two.wire);
  for (const { wire } of [one, two]) wire.close();
});

Deno.test("acquire() gives the connection that was released last", async () => {
  await using bed = new Bed();
  const target = bed.target();
  const [one, two] = [
    await bed.pool.acquire(target),
    await bed.pool.acquire(target),
  ];
  bed.pool.release(two);
  bed.pool.release(one);
  const next = await bed.pool.acquire(target);
  assert.equal(next.wire, one.wire);
  next.wire.close();
});

Deno.test("a reused connection gives what the upstream sends next", async () => {
  await using bed = new Bed();
  bed.pool.release(await bed.pool.acquire(bed.target()));
  const { wire } = await bed.pool.acquire(bed.target());
  const [conn] = await bed.opened(1);
  await conn?.write(HELLO);
  await wire.fill();
  assert.deepEqual([...wire.received], [...HELLO]);
  wire.close();
});

Deno.test("acquire() gives no connection of another binding", async () => {
  await using bed = new Bed();
  bed.pool.release(await bed.pool.acquire(bed.target("other")));
  const { isReused, wire } = await bed.pool.acquire(bed.target());
  wire.close();
  assert.deepEqual([isReused, bed.pool.size], [false, 1]);
});

Deno.test("acquire() gives no connection to a host that is not open any more", async () => {
  await using bed = new Bed();
  bed.pool.release(await bed.pool.acquire(bed.target()));
  const closed = { ...bed.target(), opensPrivate: false };
  await assert.rejects(bed.pool.acquire(closed), { code: "private-address" });
});

Deno.test("release() closes a connection that has unread bytes", async () => {
  await using bed = new Bed();
  const upstream = await bed.pool.acquire(bed.target());
  const [conn] = await bed.opened(1);
  await conn?.write(HELLO);
  await upstream.wire.fill();
  bed.pool.release(upstream);
  assert.deepEqual([upstream.wire.isClosed, bed.pool.size], [true, 0]);
});

Deno.test("release() keeps no connection that was closed", async () => {
  await using bed = new Bed();
  const upstream = await bed.pool.acquire(bed.target());
  upstream.wire.close();
  bed.pool.release(upstream);
  assert.equal(bed.pool.size, 0);
});

const ACTIVITY: readonly (readonly [
  what: string,
  act: (conn: Deno.Conn) => void | Promise<unknown>,
])[] = [
  ["that the upstream closes", (conn) => conn.close()],
  ["that the upstream ends", (conn) => conn.closeWrite()],
  ["on which the upstream speaks unasked", (conn) => conn.write(HELLO)],
];
for (const [what, act] of ACTIVITY) {
  Deno.test(`an idle connection ${what} is closed at once`, async () => {
    await using bed = new Bed();
    const { wire, ...upstream } = await bed.pool.acquire(bed.target());
    const [conn] = await bed.opened(1);
    bed.pool.release({ wire, ...upstream });
    if (conn) await act(conn);
    await eventually("it is closed", () => wire.isClosed);
    assert.equal(bed.pool.size, 0);
  });

  Deno.test(`an idle connection ${what} is closed at once, also if it was not used since it was idle before`, async () => {
    await using bed = new Bed();
    bed.pool.release(await bed.pool.acquire(bed.target()));
    const upstream = await bed.pool.acquire(bed.target());
    const [conn] = await bed.opened(1);
    bed.pool.release(upstream);
    if (conn) await act(conn);
    await eventually("it is closed", () => upstream.wire.isClosed);
    assert.equal(bed.pool.size, 0);
  });
}

Deno.test("a reused connection that ends before it is read is closed", async () => {
  await using bed = new Bed();
  bed.pool.release(await bed.pool.acquire(bed.target()));
  const { wire } = await bed.pool.acquire(bed.target());
  const [conn] = await bed.opened(1);
  conn?.close();
  await eventually("it is closed", () => wire.isClosed);
  assert.equal(await wire.fill(), false);
});

Deno.test("a reused connection that is answered before it is read stays open", async () => {
  await using bed = new Bed();
  bed.pool.release(await bed.pool.acquire(bed.target()));
  const { wire } = await bed.pool.acquire(bed.target());
  const [conn] = await bed.opened(1);
  await conn?.write(HELLO);
  await eventually("bytes are there", () => wire.available > 0);
  assert.deepEqual([wire.isClosed, await wire.fill()], [false, true]);
  wire.close();
});

Deno.test("idle connections are closed after 60 s, each in its turn", async () => {
  await using bed = new Bed();
  const target = bed.target();
  const [one, two] = [
    await bed.pool.acquire(target),
    await bed.pool.acquire(target),
  ];
  bed.pool.release(one);
  await bed.clock.advance(30_000);
  bed.pool.release(two);
  const states: boolean[][] = [];
  for (const ms of [29_999, 1, 29_999, 1]) {
    await bed.clock.advance(ms);
    states.push([one.wire.isClosed, two.wire.isClosed]);
  }
  assert.deepEqual(states, [
    [false, false],
    [true, false],
    [true, false],
    [true, true],
  ]);
});

Deno.test("time counts anew for a connection that was used", async () => {
  await using bed = new Bed();
  bed.pool.release(await bed.pool.acquire(bed.target()));
  await bed.clock.advance(50_000);
  bed.pool.release(await bed.pool.acquire(bed.target()));
  await bed.clock.advance(59_999);
  assert.equal(bed.pool.size, 1);
});

Deno.test("release() closes the oldest idle connection beyond the limit", async () => {
  await using bed = new Bed({ maxIdle: 2 });
  const upstreams: Upstream[] = [];
  for (const binding of ["a", "b", "c"]) {
    upstreams.push(await bed.pool.acquire(bed.target(binding)));
  }
  for (const upstream of upstreams) bed.pool.release(upstream);
  assert.deepEqual(
    upstreams.map(({ wire }) => wire.isClosed),
    [true, false, false],
  );
});

Deno.test("128 requests at once use 128 connections, and the next 128 the same", async () => {
  await using bed = new Bed();
  const target = bed.target();
  for (let round = 0; round < 3; round++) {
    const upstreams = await Promise.all(
      Array.from({ length: 128 }, () => bed.pool.acquire(target)),
    );
    for (const upstream of upstreams) bed.pool.release(upstream);
  }
  assert.deepEqual([bed.pool.size, (await bed.opened(128)).length], [128, 128]);
});

Deno.test("dropBinding() closes the idle connections of one binding", async () => {
  await using bed = new Bed();
  const [one, other] = [
    await bed.pool.acquire(bed.target("one")),
    await bed.pool.acquire(bed.target("other")),
  ];
  bed.pool.release(one);
  bed.pool.release(other);
  bed.pool.dropBinding("one");
  assert.deepEqual([one.wire.isClosed, other.wire.isClosed], [true, false]);
});

Deno.test("dropBinding() leaves no connection to a later binding of the name", async () => {
  await using bed = new Bed();
  const used = await bed.pool.acquire(bed.target());
  bed.pool.dropBinding("agent");
  const later = await bed.pool.acquire(bed.target());
  bed.pool.release(used);
  bed.pool.release(later);
  assert.deepEqual([used.wire.isClosed, later.wire.isClosed], [true, false]);
});

Deno.test("close() closes idle connections, and those released later", async () => {
  await using bed = new Bed();
  const [idle, used] = [
    await bed.pool.acquire(bed.target()),
    await bed.pool.acquire(bed.target()),
  ];
  bed.pool.release(idle);
  bed.pool.close();
  bed.pool.release(used);
  assert.deepEqual([idle.wire.isClosed, used.wire.isClosed], [true, true]);
});

Deno.test("acquire() passes on why there is no connection", async () => {
  await using bed = new Bed();
  const target = { ...bed.target(), opensPrivate: false };
  await assert.rejects(bed.pool.acquire(target), { code: "private-address" });
});

Deno.test("open() ends with its client's reason", async () => {
  await using bed = new Bed();
  const work = bed.pool.open(bed.target(), AbortSignal.abort("gone"));
  assert.equal(await work.catch((error) => error), "gone");
});

async function tlsBed(): Promise<Bed> {
  await makeCertificate("upstreams", { isAuthority: true });
  await makeCertificate("right", {
    issuer: "upstreams",
    names: "DNS:localhost,IP:127.0.0.1,IP:::1",
  });
  const read = (name: string) => Deno.readTextFile(pkiPath(name));
  return new Bed({
    listener: Deno.listenTls({
      hostname: "127.0.0.1",
      port: 0,
      cert: await read("right.crt"),
      key: await read("right.key"),
    }),
    certificates: [await read("upstreams.crt")],
  });
}

/** Reads in the background, so that handshakes and ends are answered. */
async function answerOne(bed: Bed): Promise<void> {
  const conn = (await bed.opened(1)).at(-1);
  const buffer = new Uint8Array(64);
  const count = await conn?.read(buffer);
  await conn?.write(buffer.subarray(0, count ?? 0));
}

testUnless(noOpenssl, "a connection over TLS serves twice", async () => {
  await using bed = await tlsBed();
  const target = bed.target("agent", true);
  const answers: string[] = [];
  for (let i = 0; i < 2; i++) {
    const opening = bed.pool.acquire(target);
    const answered = answerOne(bed);
    const upstream = await opening;
    await upstream.wire.write(HELLO);
    await upstream.wire.fill();
    answers.push(new TextDecoder().decode(upstream.wire.received));
    upstream.wire.consume(upstream.wire.available);
    bed.pool.release(upstream);
    await answered;
  }
  assert.deepEqual([answers, bed.served.length], [["hello", "hello"], 1]);
});

testUnless(
  noOpenssl,
  "an idle connection over TLS that the upstream closes is closed",
  async () => {
    await using bed = await tlsBed();
    const opening = bed.pool.acquire(bed.target("agent", true));
    const [conn] = await bed.opened(1);
    await (conn as Deno.TlsConn).handshake();
    const upstream = await opening;
    bed.pool.release(upstream);
    conn?.close();
    await eventually("it is closed", () => upstream.wire.isClosed);
    assert.equal(bed.pool.size, 0);
  },
);
