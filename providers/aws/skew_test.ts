import assert from "node:assert/strict";
import fc from "fast-check";
import { ClockSkew } from "./skew.ts";

const NOW = Date.UTC(2026, 0, 1, 12);
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** A `Date` header as a server with that clock writes it. */
function dateOf(ms: number): string {
  return new Date(ms).toUTCString();
}

/** [the server is ahead by, what is corrected] */
const DIFFERENCES: readonly [name: string, ahead: number, offset: number][] = [
  ["the same time", 0, 0],
  ["29 s ahead", 29 * SECOND, 0],
  ["29 s behind", -29 * SECOND, 0],
  ["31 s ahead", 31 * SECOND, 31 * SECOND],
  ["31 s behind", -31 * SECOND, -31 * SECOND],
  ["20 minutes ahead", 20 * MINUTE, 20 * MINUTE],
  ["20 minutes behind", -20 * MINUTE, -20 * MINUTE],
  ["23 hours ahead", 23 * HOUR, 23 * HOUR],
  ["25 hours ahead", 25 * HOUR, 0],
  ["25 hours behind", -25 * HOUR, 0],
  ["30 years behind", -30 * 365 * 24 * HOUR, 0],
];

for (const [name, ahead, offset] of DIFFERENCES) {
  Deno.test(`offset() after a server that is ${name}`, () => {
    const skew = new ClockSkew();
    skew.learn("sts", dateOf(NOW + ahead), NOW);
    assert.ok(Math.abs(skew.offset("sts") - offset) <= 500);
  });
}

for (const date of [null, "", "yesterday", "Thu, 99 Foo 2026", "\0"]) {
  Deno.test(`learn() ignores the date ${JSON.stringify(date)}`, () => {
    const skew = new ClockSkew();
    skew.learn("sts", dateOf(NOW + HOUR), NOW);
    const before = skew.offset("sts");
    skew.learn("sts", date, NOW);
    assert.equal(skew.offset("sts"), before);
  });
}

Deno.test("learn() keeps what is known when a date is absurd", () => {
  const skew = new ClockSkew();
  skew.learn("sts", dateOf(NOW + HOUR), NOW);
  skew.learn("sts", dateOf(0), NOW);
  assert.ok(skew.offset("sts") >= HOUR);
});

Deno.test("learn() notices that the clock was set right", () => {
  const skew = new ClockSkew();
  skew.learn("sts", dateOf(NOW + HOUR), NOW);
  skew.learn("sts", dateOf(NOW + HOUR), NOW + HOUR);
  assert.equal(skew.offset("sts"), 0);
});

Deno.test("offset() is of one endpoint alone", () => {
  const skew = new ClockSkew();
  skew.learn("a", dateOf(NOW + HOUR), NOW);
  assert.equal(skew.offset("b"), 0);
});

Deno.test("learn() forgets the endpoint that was not heard of for longest", () => {
  const skew = new ClockSkew();
  for (let i = 0; i < 300; i++) skew.learn(`${i}`, dateOf(NOW + HOUR), NOW);
  const known = [...Array(300).keys()].filter((i) => skew.offset(`${i}`) > 0);
  assert.deepEqual([known.length, known[0]], [256, 44]);
});

Deno.test("offset() brings a server's instant to this host's clock within a second", () => {
  fc.assert(fc.property(
    fc.integer({ min: -23 * HOUR, max: 23 * HOUR }),
    fc.integer({ min: 0, max: HOUR }),
    (ahead, life) => {
      const skew = new ClockSkew();
      skew.learn("sts", dateOf(NOW + ahead), NOW);
      if (Math.abs(ahead) < 31 * SECOND) return;
      const local = NOW + ahead + life - skew.offset("sts");
      assert.ok(Math.abs(local - (NOW + life)) <= SECOND);
    },
  ));
});
