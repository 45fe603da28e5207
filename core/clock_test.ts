import assert from "node:assert/strict";
import { FakeClock } from "../tests/support/fake_clock.ts";
import { formatTime, sleep, systemClock } from "./clock.ts";

Deno.test("sleep() lasts until the clock says so", async () => {
  const clock = new FakeClock();
  let over = false;
  const sleeping = sleep(clock, 100).then(() => over = true);
  await clock.advance(99);
  const early = over;
  await clock.advance(1);
  await sleeping;
  assert.deepEqual([early, over], [false, true]);
});

Deno.test("systemClock.after() calls back once", async () => {
  let calls = 0;
  systemClock.after(1, () => calls++);
  await sleep(systemClock, 20);
  assert.equal(calls, 1);
});

Deno.test("systemClock.after() can be cancelled", async () => {
  let calls = 0;
  const cancel = systemClock.after(1, () => calls++);
  cancel();
  await sleep(systemClock, 20);
  assert.equal(calls, 0);
});

Deno.test("formatTime() leaves fractions of a second out", () =>
  assert.equal(formatTime(1_999), "1970-01-01T00:00:01Z"));
