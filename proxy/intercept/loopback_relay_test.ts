import assert from "node:assert/strict";
import fc from "fast-check";
import { FakeClock, settle } from "../../tests/support/fake_clock.ts";
import { type Duplex, Wire } from "../http1/wire.ts";
import { LoopbackRelay } from "./loopback_relay.ts";

/** A connection whose other side is the test. */
class Pipe implements Duplex {
  /** What was written to it. */
  written: number[] = [];
  /** What it writes at most at once. */
  maxWrite = Infinity;
  /** What it gives at most at once, and how often it gave something. */
  maxRead = Infinity;
  reads = 0;
  hasEnded = false;
  isClosed = false;
  #received: number[] = [];
  #isAtEnd = false;
  #wake = Promise.withResolvers<void>();

  /** Lets it be read. */
  push(...bytes: number[]): Promise<void> {
    this.#received = this.#received.concat(bytes);
    return this.#ring();
  }

  /** Ends what can be read. */
  end(): Promise<void> {
    this.#isAtEnd = true;
    return this.#ring();
  }

  async read(into: Uint8Array): Promise<number | null> {
    while (this.#received.length === 0) {
      if (this.isClosed) throw new Deno.errors.BadResource("closed");
      if (this.#isAtEnd) return null;
      await this.#wake.promise;
    }
    this.reads++;
    const bytes = this.#received.splice(0, Math.min(into.length, this.maxRead));
    into.set(bytes);
    return bytes.length;
  }

  async write(bytes: Uint8Array): Promise<number> {
    if (this.isClosed) throw new Deno.errors.BrokenPipe("closed");
    const count = Math.min(this.maxWrite, bytes.length);
    this.written.push(...bytes.subarray(0, count));
    return await Promise.resolve(count);
  }

  closeWrite(): Promise<void> {
    this.hasEnded = true;
    return Promise.resolve();
  }

  close(): void {
    if (this.isClosed) throw new Deno.errors.BadResource("closed");
    this.isClosed = true;
    this.#ring();
  }

  #ring(): Promise<void> {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
    return settle();
  }
}

/** A relay that has just begun. */
function begin(received: number[] = []) {
  const client = new Pipe();
  const loopback = new Pipe();
  const clock = new FakeClock();
  const relay = new LoopbackRelay(
    new Wire(client, Uint8Array.from(received)),
    new Wire(loopback),
    clock,
  );
  return { client, loopback, clock, relay };
}

/** A relay whose handshake is over. */
async function started({ hasTickets = false, received = DATA } = {}) {
  const bed = begin(received);
  await settle();
  bed.relay.start(hasTickets);
  bed.loopback.written = [];
  return bed;
}

/** Ends a relay that is still open. */
async function finish({ relay }: { relay: LoopbackRelay }): Promise<void> {
  relay.close();
  await relay.done;
}

const record = (type: number, content: number[]) => [
  ...[type, 3, 3, content.length >> 8, content.length & 255],
  ...content,
];
const DATA = record(23, [7, 7, 7]);
const CHANGE = record(20, [1]);
const HANDSHAKE = record(22, [8, 8]);

Deno.test("LoopbackRelay passes on what was received before it", async () => {
  const bed = begin(HANDSHAKE);
  await settle();
  await finish(bed);
  assert.deepEqual(bed.loopback.written, HANDSHAKE);
});

Deno.test("LoopbackRelay passes on what the server says", async () => {
  const bed = begin();
  await bed.loopback.push(1, 2, 3);
  await finish(bed);
  assert.deepEqual(bed.client.written, [1, 2, 3]);
});

Deno.test("LoopbackRelay writes all of a chunk in several writes", async () => {
  const bed = begin();
  bed.client.maxWrite = 2;
  await bed.loopback.push(1, 2, 3, 4, 5);
  await finish(bed);
  assert.deepEqual(bed.client.written, [1, 2, 3, 4, 5]);
});

Deno.test("LoopbackRelay passes on bulk that exceeds its buffers", async () => {
  const bulk = Array.from({ length: 200_000 }, (_, i) => i % 251);
  const bed = begin();
  for (let at = 0; at < bulk.length;) {
    await bed.loopback.push(...bulk.slice(at, at += 50_000));
  }
  await finish(bed);
  assert.deepEqual(bed.client.written, bulk);
});

Deno.test("LoopbackRelay reads whole records of bulk, not parts", async () => {
  const { client, loopback, relay } = begin();
  loopback.maxRead = 16_384;
  await loopback.push(...new Uint8Array(96 * 1024));
  await Promise.all([loopback.end(), client.end(), relay.done]);
  // 4 KiB to begin with, then five times 16, and the rest.
  assert.equal(loopback.reads, 7);
});

// What is sent ahead, and when

Deno.test("LoopbackRelay sends nothing ahead of a first response", async () => {
  const bed = await started();
  bed.relay.beforeWrite();
  await finish(bed);
  assert.deepEqual(bed.loopback.written, []);
});

Deno.test("LoopbackRelay sends a byte ahead of the first response after tickets", async () => {
  const bed = await started({ hasTickets: true });
  bed.relay.beforeWrite();
  await finish(bed);
  assert.deepEqual(bed.loopback.written, [23]);
});

Deno.test("LoopbackRelay sends a byte ahead of each further write, three at most", async () => {
  const bed = await started();
  for (let i = 0; i < 6; i++) bed.relay.beforeWrite();
  await finish(bed);
  assert.deepEqual(bed.loopback.written, [23, 3, 3]);
});

Deno.test("LoopbackRelay leaves out what it sent ahead", async () => {
  const bed = await started();
  for (let i = 0; i < 3; i++) bed.relay.beforeWrite();
  await bed.client.push(...DATA);
  await finish(bed);
  assert.deepEqual(bed.loopback.written, DATA);
});

Deno.test("LoopbackRelay sends ahead anew after the client's next record", async () => {
  const bed = await started();
  for (let i = 0; i < 6; i++) bed.relay.beforeWrite();
  await bed.client.push(...DATA);
  bed.relay.beforeWrite();
  bed.relay.beforeWrite();
  await finish(bed);
  assert.deepEqual(bed.loopback.written, [...DATA, 23]);
});

Deno.test("LoopbackRelay sends nothing ahead inside a record of the client", async () => {
  const bed = await started();
  await bed.client.push(...DATA.slice(0, 6));
  bed.relay.beforeWrite();
  bed.relay.beforeWrite();
  await finish(bed);
  assert.deepEqual(bed.loopback.written, DATA.slice(0, 6));
});

Deno.test("LoopbackRelay sends nothing ahead once the kernel acknowledges by itself", async () => {
  const bed = await started();
  bed.relay.beforeWrite();
  await bed.clock.advance(60);
  bed.relay.beforeWrite();
  bed.relay.beforeWrite();
  await finish(bed);
  assert.deepEqual(bed.loopback.written, []);
});

Deno.test("LoopbackRelay sends ahead again once the client has spoken at once", async () => {
  const bed = await started();
  bed.relay.beforeWrite();
  await bed.clock.advance(60);
  bed.relay.beforeWrite();
  await bed.client.push(...DATA);
  bed.relay.beforeWrite();
  bed.relay.beforeWrite();
  await finish(bed);
  assert.deepEqual(bed.loopback.written, [...DATA, 23]);
});

Deno.test("LoopbackRelay sends nothing ahead for a request after a pause", async () => {
  const bed = await started();
  bed.relay.beforeWrite();
  await bed.clock.advance(60);
  await bed.client.push(...DATA);
  bed.relay.beforeWrite();
  bed.relay.beforeWrite();
  await finish(bed);
  assert.deepEqual(bed.loopback.written, DATA);
});

Deno.test("LoopbackRelay sends a byte ahead of the server's Finished in TLS 1.2", async () => {
  const bed = begin([...HANDSHAKE, ...CHANGE, ...HANDSHAKE]);
  await bed.loopback.push(...CHANGE);
  await finish(bed);
  assert.deepEqual(bed.loopback.written, [
    ...[...HANDSHAKE, ...CHANGE, ...HANDSHAKE],
    23,
  ]);
});

Deno.test("LoopbackRelay sends nothing ahead while a handshake's next record is open", async () => {
  const bed = begin(HANDSHAKE);
  await bed.loopback.push(...HANDSHAKE);
  await finish(bed);
  assert.deepEqual(bed.loopback.written, HANDSHAKE);
});

Deno.test("LoopbackRelay ends the client's direction when that sends an alert instead", async () => {
  const bed = await started();
  bed.relay.beforeWrite();
  bed.relay.beforeWrite();
  await bed.client.push(...record(21, [1, 0]));
  const { written, hasEnded } = bed.loopback;
  await finish(bed);
  assert.deepEqual([written, hasEnded], [[23], true]);
});

Deno.test("LoopbackRelay changes no byte of the client, whatever is sent ahead", () =>
  fc.assert(fc.asyncProperty(
    fc.array(fc.array(fc.nat(255), { maxLength: 40 }), { minLength: 1 }),
    fc.array(
      fc.record({ size: fc.integer({ min: 1, max: 60 }), writes: fc.nat(5) }),
      { minLength: 1 },
    ),
    async (contents, steps) => {
      const bytes = contents.flatMap((content) => record(23, content));
      const bed = await started();
      let turn = 0;
      for (let at = 0; at < bytes.length;) {
        const step = steps[turn++ % steps.length] ?? { size: 1, writes: 0 };
        for (let i = 0; i < step.writes; i++) bed.relay.beforeWrite();
        await bed.client.push(...bytes.slice(at, at += step.size));
      }
      await finish(bed);
      assert.deepEqual(bed.loopback.written, bytes);
    },
  )));

// Ends

Deno.test("LoopbackRelay passes on that the client ended its direction, and goes on", async () => {
  const bed = begin();
  await bed.client.end();
  await bed.loopback.push(1);
  const { hasEnded } = bed.loopback;
  await finish(bed);
  assert.deepEqual([hasEnded, bed.client.written], [true, [1]]);
});

Deno.test("LoopbackRelay passes on that the server ended its direction, and goes on", async () => {
  const bed = begin();
  await bed.loopback.end();
  await bed.client.push(...DATA);
  const { hasEnded } = bed.client;
  await finish(bed);
  assert.deepEqual([hasEnded, bed.loopback.written], [true, DATA]);
});

Deno.test("LoopbackRelay closes both connections when both directions ended", async () => {
  const { client, loopback, relay } = begin();
  await client.end();
  await loopback.end();
  await relay.done;
  assert.deepEqual([client.isClosed, loopback.isClosed], [true, true]);
});

for (const side of ["client", "loopback"] as const) {
  Deno.test(`LoopbackRelay closes both connections when that of the ${side} fails`, async () => {
    const bed = begin();
    bed[side].close();
    await bed.relay.done;
    assert.deepEqual(
      [bed.client.isClosed, bed.loopback.isClosed],
      [true, true],
    );
  });
}

Deno.test("LoopbackRelay.end() waits for what the server wrote", async () => {
  const { client, loopback, relay } = begin();
  relay.end();
  await loopback.push(1, 2);
  await loopback.end();
  await relay.done;
  assert.deepEqual([client.written, client.hasEnded, client.isClosed], [
    [1, 2],
    true,
    true,
  ]);
});

Deno.test("LoopbackRelay.end() closes at once after the server's end", async () => {
  const { client, loopback, relay } = begin();
  await loopback.end();
  relay.end();
  await relay.done;
  assert(client.isClosed);
});

Deno.test("LoopbackRelay.end() waits 5 s for a client that does not read", async () => {
  const { client, clock, relay } = begin();
  relay.end();
  await clock.advance(4_999);
  const early = client.isClosed;
  await clock.advance(1);
  await relay.done;
  assert.deepEqual([early, client.isClosed], [false, true]);
});
