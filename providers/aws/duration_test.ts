import assert from "node:assert/strict";
import * as fc from "fast-check";
import {
  formatDuration,
  MAX_DURATION_SECONDS,
  MIN_DURATION_SECONDS,
  parseDuration,
} from "./duration.ts";

const GOOD: [string, number][] = [
  ["15m", 900],
  ["1h30m", 5400],
  ["900s", 900],
  ["3600", 3600],
  ["12h", 43_200],
  ["1h0m1s", 3601],
  ["0h20m", 1200],
];
for (const [text, seconds] of GOOD) {
  Deno.test(`parseDuration() reads ${text} as ${seconds} s`, () => {
    assert.equal(parseDuration(text), seconds);
  });
}

const BAD = [
  "",
  "m",
  "14m59s",
  "899",
  "12h1s",
  "43201",
  "1.5h",
  "-15m",
  "15 m",
  "15M",
  "30m1h",
  "1h1h",
  "15m\n",
  "0x1000",
  "1e4",
  "9999999999h",
  "PT15M",
];
for (const text of BAD) {
  Deno.test(`parseDuration() refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseDuration(text), { code: "usage" });
  });
}

Deno.test("parseDuration() names the accepted forms", () => {
  assert.throws(() => parseDuration("soon"), /15m, 1h30m, 900s or 3600/);
});

Deno.test("formatDuration() writes what parseDuration() reads", () => {
  const range = { min: MIN_DURATION_SECONDS, max: MAX_DURATION_SECONDS };
  fc.assert(fc.property(fc.integer(range), (seconds) => {
    assert.equal(parseDuration(formatDuration(seconds)), seconds);
  }));
});
