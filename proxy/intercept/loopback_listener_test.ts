import assert from "node:assert/strict";
import { systemClock } from "$core/clock.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import { tempHome } from "../../tests/support/temp_home.ts";
import { LeafMinter } from "./leaf.ts";
import { LoopbackListener, type LoopbackPair } from "./loopback_listener.ts";
import { RootStore } from "./root.ts";

const never = new AbortController().signal;

/** A leaf for `localhost`, made once. */
const leaf = await (async () => {
  await using home = await tempHome();
  const roots = new RootStore(home.paths, systemClock);
  return await new LeafMinter(roots, systemClock).mint("localhost");
})();

function open(): LoopbackListener {
  return new LoopbackListener(leaf, new FakeClock());
}

function closePair({ records, tls }: LoopbackPair): void {
  records.close();
  tls.close();
}

/** Connects as another program could, asks something, and tells how much it is answered. */
async function intrude({ port }: LoopbackListener): Promise<number> {
  const conn = await Deno.connectTls({
    hostname: "localhost",
    port,
    caCerts: [leaf.cert],
  });
  const buffer = new Uint8Array(1024);
  try {
    await conn.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
    return await conn.read(buffer) ?? 0;
  } catch {
    return 0; // Reset: as good as closed.
  } finally {
    conn.close();
  }
}

Deno.test("LoopbackListener.connect() gives both ends of one connection", async () => {
  const listener = open();
  const pair = await listener.connect(never);
  const { records, tls } = pair;
  closePair(pair);
  listener.close();
  assert.deepEqual(tls.remoteAddr, records.localAddr);
});

Deno.test("LoopbackListener.connect() tells many connections at once apart", async () => {
  const listener = open();
  const pairs = await Promise.all(
    Array.from({ length: 50 }, () => listener.connect(never)),
  );
  const isRight = ({ records, tls }: LoopbackPair) =>
    tls.remoteAddr.port === records.localAddr.port;
  pairs.forEach(closePair);
  listener.close();
  assert(pairs.every(isRight));
});

Deno.test("LoopbackListener gives a stranger nothing", async () => {
  const listener = open();
  const received = await intrude(listener);
  listener.close();
  assert.equal(received, 0);
});

Deno.test("LoopbackListener gives strangers nothing while it connects", async () => {
  const listener = open();
  const strangers = Array.from({ length: 20 }, () => intrude(listener));
  const pairs = await Promise.all(
    Array.from({ length: 20 }, () => listener.connect(never)),
  );
  const received = await Promise.all(strangers);
  pairs.forEach(closePair);
  listener.close();
  assert.deepEqual(received, strangers.map(() => 0));
});

Deno.test("LoopbackListener.connect() is not misled by strangers", async () => {
  const listener = open();
  const strangers = Array.from({ length: 20 }, () => intrude(listener));
  const pair = await listener.connect(never);
  await Promise.all(strangers);
  const { records, tls } = pair;
  closePair(pair);
  listener.close();
  assert.equal(tls.remoteAddr.port, records.localAddr.port);
});

Deno.test("LoopbackListener.close() lets attempts under way succeed", async () => {
  const listener = open();
  const connecting = listener.connect(never);
  listener.close();
  closePair(await connecting);
  await assert.rejects(intrude(listener), Deno.errors.ConnectionRefused);
});

Deno.test("LoopbackListener.close() may be called again", () => {
  const listener = open();
  listener.close();
  listener.close();
});

Deno.test("LoopbackListener.connect() ends with its signal", async () => {
  const listener = open();
  const reason = new Error("enough");
  const ended = listener.connect(AbortSignal.abort(reason)).then(closePair);
  await ended.catch((error) => assert.equal(error, reason));
  listener.close();
});
