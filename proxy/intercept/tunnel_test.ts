import assert from "node:assert/strict";
import { settle } from "../../tests/support/fake_clock.ts";
import { type Duplex, Wire } from "../http1/wire.ts";
import { relay, type Relayed } from "./tunnel.ts";

/** A client, an upstream, and a relay between them, over sockets. */
interface Bed {
  readonly client: Deno.TcpConn;
  readonly upstream: Deno.TcpConn;
  /** Our end of the client's connection. */
  readonly ours: Wire;
  readonly done: Promise<Relayed>;
}

interface BedOptions {
  readonly clientSent?: Uint8Array;
  readonly upstreamSent?: Uint8Array;
}

async function connected(): Promise<[Deno.TcpConn, Deno.TcpConn]> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  return await Promise.all([
    Deno.connect({ hostname: "127.0.0.1", port }),
    listener.accept(),
  ]);
}

/** Relays until the test is done, and looks for what is left open. */
async function withRelay(
  use: (bed: Bed) => Promise<void>,
  { clientSent, upstreamSent }: BedOptions = {},
): Promise<void> {
  const [client, ourClient] = await connected();
  const [upstream, ourUpstream] = await connected();
  const ours = new Wire(ourClient, clientSent);
  const done = relay(ours, new Wire(ourUpstream, upstreamSent));
  try {
    await use({ client, upstream, ours, done });
  } finally {
    closeQuietly(client);
    closeQuietly(upstream);
    await done;
  }
  assert.throws(() => ourClient.close(), Deno.errors.BadResource);
  assert.throws(() => ourUpstream.close(), Deno.errors.BadResource);
}

function closeQuietly(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // It is closed.
  }
}

const encode = (text: string) => new TextEncoder().encode(text);

async function send(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) {
    sent += await conn.write(bytes.subarray(sent));
  }
}

async function readAll(conn: Deno.Conn): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (;;) {
    const buffer = new Uint8Array(65_536);
    const count = await conn.read(buffer);
    if (count === null) break;
    chunks.push(buffer.subarray(0, count));
  }
  return new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer());
}

async function readText(conn: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(100);
  const count = await conn.read(buffer);
  return new TextDecoder().decode(buffer.subarray(0, count ?? 0));
}

Deno.test("relay() passes on what each side sends", async () => {
  await withRelay(async ({ client, upstream }) => {
    await send(client, encode("ping"));
    const ping = await readText(upstream);
    await send(upstream, encode("pong"));
    assert.deepEqual([ping, await readText(client)], ["ping", "pong"]);
  });
});

Deno.test("relay() passes on first what was received before", async () => {
  await withRelay(async ({ client, upstream }) => {
    await send(client, encode(", and more"));
    await client.closeWrite();
    await upstream.closeWrite();
    const [got, sent] = [await readAll(upstream), await readAll(client)];
    assert.deepEqual([got, sent], [encode("early, and more"), encode("head")]);
  }, { clientSent: encode("early"), upstreamSent: encode("head") });
});

Deno.test("relay() counts both ways", async () => {
  await withRelay(async ({ client, upstream, done }) => {
    await send(client, new Uint8Array(10));
    await client.closeWrite();
    await readAll(upstream);
    await send(upstream, new Uint8Array(200));
    upstream.close();
    await readAll(client);
    assert.deepEqual(await done, { sent: 15, received: 200 });
  }, { clientSent: encode("early") });
});

Deno.test("relay() lets an upstream answer a client that has ended its side", async () => {
  await withRelay(async ({ client, upstream }) => {
    await send(client, encode("question"));
    await client.closeWrite();
    const question = await readAll(upstream);
    await send(upstream, encode("answer"));
    await upstream.closeWrite();
    assert.deepEqual(
      [question, await readAll(client)],
      [encode("question"), encode("answer")],
    );
  });
});

Deno.test("relay() lets a client go on when the upstream has ended its side", async () => {
  await withRelay(async ({ client, upstream }) => {
    await upstream.closeWrite();
    const end = await client.read(new Uint8Array(1));
    await send(client, encode("late"));
    await client.closeWrite();
    assert.deepEqual([end, await readAll(upstream)], [null, encode("late")]);
  });
});

Deno.test("relay() keeps bulk as it is, both ways at once", async () => {
  const bytes = new Uint8Array(8 * 1024 * 1024);
  for (let i = 0; i < bytes.length; i += 65_536) {
    crypto.getRandomValues(bytes.subarray(i, i + 65_536));
  }
  const digest = async (
    data: Uint8Array,
  ) => [
    ...new Uint8Array(
      await crypto.subtle.digest("SHA-256", data as BufferSource),
    ),
  ];
  await withRelay(async ({ client, upstream, done }) => {
    const sending = [client, upstream].map(async (conn) => {
      await send(conn, bytes);
      await conn.closeWrite();
    });
    const received = await Promise.all([readAll(client), readAll(upstream)]);
    await Promise.all(sending);
    const size = bytes.length;
    assert.deepEqual(await done, { sent: size, received: size });
    const wanted = await digest(bytes);
    assert.deepEqual(await Promise.all(received.map(digest)), [wanted, wanted]);
  });
});

Deno.test("relay() ends when the client closes while the upstream sends", async () => {
  await withRelay(async ({ client, upstream, done }) => {
    client.close();
    const sending = send(upstream, new Uint8Array(32 * 1024 * 1024));
    await assert.rejects(sending);
    await done;
  });
});

Deno.test("relay() ends when the upstream closes while the client sends", async () => {
  await withRelay(async ({ client, upstream, done }) => {
    upstream.close();
    const sending = send(client, new Uint8Array(32 * 1024 * 1024));
    await assert.rejects(sending);
    await done;
  });
});

Deno.test("relay() ends when one of its connections is closed", async () => {
  await withRelay(async ({ client, upstream, ours, done }) => {
    await send(client, encode("ping"));
    await readText(upstream);
    ours.close();
    assert.deepEqual(await done, { sent: 4, received: 0 });
  });
});

/** A side whose reads and writes the test counts and ends. */
function fakeSide(chunks: number, writable: () => Promise<number>): {
  side: Duplex;
  reads: () => number;
} {
  let reads = 0;
  return {
    reads: () => reads,
    side: {
      read: (into) => Promise.resolve(reads++ < chunks ? into.length : null),
      write: writable,
      closeWrite: () => Promise.resolve(),
      close() {},
    },
  };
}

Deno.test("relay() reads no more while the other side takes nothing", async () => {
  const taken = Promise.withResolvers<number>();
  const fast = fakeSide(1_000, () => Promise.resolve(0));
  const slow = fakeSide(0, () => taken.promise);
  const done = relay(new Wire(fast.side), new Wire(slow.side));
  await settle();
  const reads = fast.reads();
  taken.reject(new Error("gone"));
  await done;
  assert.equal(reads, 1);
});

Deno.test("relay() passes on all of a chunk that is taken in parts", async () => {
  const written: number[] = [];
  const source = fakeSide(1, () => Promise.resolve(0));
  const sink: Duplex = {
    ...fakeSide(0, () => Promise.resolve(0)).side,
    write(bytes) {
      written.push(bytes.length);
      return Promise.resolve(Math.min(bytes.length, 1_500));
    },
  };
  await relay(new Wire(source.side), new Wire(sink));
  assert.deepEqual(written, [4_096, 2_596, 1_096]);
});
