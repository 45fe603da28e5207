import assert from "node:assert/strict";
import { settle } from "../../tests/support/fake_clock.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { type Collector, LineSender } from "./line_sender.ts";

/** A collector that fails as long as it is told to. */
class FakeCollector implements Collector {
  isDown = false;
  isClosed = false;
  /** Settles deliveries, if there is one. */
  gate: Promise<void> | undefined;
  readonly lines: string[] = [];
  deliveries = 0;

  async deliver(lines: readonly string[]): Promise<void> {
    this.deliveries++;
    await this.gate;
    if (this.isDown) throw new Deno.errors.ConnectionRefused();
    this.lines.push(...lines);
  }

  close(): void {
    this.isClosed = true;
  }
}

function sender() {
  const platform = fakePlatform();
  const collector = new FakeCollector();
  const sender = new LineSender({ platform, name: "statsd", collector });
  return { platform, collector, sender };
}

Deno.test("LineSender sends together what comes within 100 ms", async () => {
  const { platform, collector, sender: it } = sender();
  it.send("a");
  await platform.clock.advance(60);
  it.send("b");
  await platform.clock.advance(39);
  assert.deepEqual(collector.lines, []);
  await platform.clock.advance(1);
  assert.deepEqual([collector.lines, collector.deliveries], [
    ["a\n", "b\n"],
    1,
  ]);
});

Deno.test("LineSender says once that a collector cannot be reached, and again after it could", async () => {
  const { platform, collector, sender: it } = sender();
  const rounds = async (count: number) => {
    for (let round = 0; round < count; round++) {
      it.send("a");
      await platform.clock.advance(6000);
    }
    return platform.lines.filter(({ event }) => event === "telemetry-failed")
      .length;
  };
  collector.isDown = true;
  const first = await rounds(5);
  collector.isDown = false;
  await rounds(1);
  collector.isDown = true;
  assert.deepEqual([first, await rounds(5)], [1, 2]);
});

Deno.test("LineSender leaves a collector alone for a while that cannot be reached", async () => {
  const { platform, collector, sender: it } = sender();
  collector.isDown = true;
  for (let ms = 0; ms < 10_000; ms += 100) {
    it.send("a");
    await platform.clock.advance(100);
  }
  assert.equal(collector.deliveries, 2);
});

Deno.test("LineSender drops and counts lines that are too many", async () => {
  const { platform, collector, sender: it } = sender();
  const gate = Promise.withResolvers<void>();
  collector.gate = gate.promise;
  for (let line = 0; line < 5000; line++) it.send(String(line));
  await platform.clock.advance(100);
  gate.resolve();
  await settle();
  const dropped = platform.measured.reduce(
    (sum, { name, value = 0 }) =>
      sum + (name === "telemetry_dropped_total" ? value : 0),
    0,
  );
  assert.deepEqual([collector.lines.length, dropped], [4096, 904]);
});

Deno.test("LineSender.close() waits no longer than 500 ms for a collector that hangs", async () => {
  const { platform, collector, sender: it } = sender();
  collector.gate = new Promise(() => {});
  it.send("a");
  const closed = it.close();
  await platform.clock.advance(499);
  assert.equal(collector.isClosed, false);
  await platform.clock.advance(1);
  await closed;
  assert.equal(collector.isClosed, true);
});

Deno.test("LineSender sends nothing after close()", async () => {
  const { platform, collector, sender: it } = sender();
  await it.close();
  it.send("late");
  await platform.clock.advance(10_000);
  assert.deepEqual(collector.lines, []);
});
