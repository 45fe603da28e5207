import assert from "node:assert/strict";
import * as fc from "fast-check";
import { readCacheOffset } from "./cache_offset.ts";

const MINUTE = 60_000;

const GOOD = [
  { text: undefined, ms: 15 * MINUTE },
  { text: "", ms: 15 * MINUTE },
  { text: "0", ms: 0 },
  { text: "0s", ms: 0 },
  { text: "60s", ms: MINUTE },
  { text: "15m", ms: 15 * MINUTE },
  { text: "5m30s", ms: 330_000 },
  { text: "0h15m", ms: 15 * MINUTE },
  { text: "0.5h", ms: 30 * MINUTE },
  { text: "1.5m", ms: 90_000 },
  { text: ".5m", ms: 30_000 },
  { text: "500ms", ms: 500 },
  { text: "2h", ms: 120 * MINUTE },
  { text: "1000000us", ms: 1000 },
  { text: "1000000µs", ms: 1000 },
  { text: "1000000000ns", ms: 1000 },
  { text: "59m59s", ms: 3_599_000 },
];
for (const { text, ms } of GOOD) {
  Deno.test(`readCacheOffset() takes ${text} for ${ms} ms`, () => {
    assert(Math.abs(readCacheOffset(text) - ms) < 1e-6);
  });
}

const BAD = [
  ...["15", "-15m", "+15m", "15 m", "15min", "m", "1d", "15m-1s"],
  ...["NaN", "Infinity", "1e3s", "s15", "15m\n", "１５m"],
];
for (const text of BAD) {
  Deno.test(`readCacheOffset() refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => readCacheOffset(text), { code: "bad-environment" });
  });
}

Deno.test("readCacheOffset() gives a length or an error, whatever the text", () => {
  fc.assert(fc.property(
    fc.oneof(
      fc.string(),
      fc.stringMatching(/^(\d{1,4}(ms|s|m|h)){1,3}$/),
    ),
    (text) => {
      try {
        const ms = readCacheOffset(text);
        assert(ms >= 0 && Number.isFinite(ms));
      } catch (error) {
        assert.equal((error as { code?: string }).code, "bad-environment");
      }
    },
  ));
});
