import assert from "node:assert/strict";
import { fuzz, Random, type Target } from "./fuzz/engine.ts";
import { TARGETS } from "./fuzz.ts";

for (const target of TARGETS) {
  Deno.test(`fuzzing ${target.name} 2,000 times breaks no promise`, () => {
    const { crashes, failure } = fuzz(target, { executions: 2000, seed: 1 });
    assert.equal(crashes, 0, `${failure?.error}: ${failure?.hex}`);
  });
}

/** Fails on a CR that is followed by something else than LF. */
const FRAGILE: Target = {
  name: "fragile",
  seeds: ["a\r\nb"],
  dictionary: ["x"],
  run(input) {
    const at = input.indexOf(0x0d);
    const next = input[at + 1];
    if (at !== -1 && next === 0x78) throw new Error("bare CR");
    return String(next);
  },
};

Deno.test("fuzz() finds an input that breaks a promise", () => {
  const { crashes, failure } = fuzz(FRAGILE, { executions: 2000, seed: 1 });
  assert(crashes > 0);
  assert.match(failure?.hex ?? "", /0d78/);
});

Deno.test("fuzz() does the same again with the same seed", () => {
  const options = { executions: 500, seed: 7 };
  const { failure, ...counts } = fuzz(FRAGILE, options);
  const { failure: again, ...others } = fuzz(FRAGILE, options);
  assert.deepEqual([others, again?.hex], [counts, failure?.hex]);
});

Deno.test("fuzz() does something else with another seed", () => {
  const hexOf = (seed: number) =>
    fuzz(FRAGILE, { executions: 2000, seed }).failure?.hex;
  assert.notEqual(hexOf(1), hexOf(2));
});

Deno.test("fuzz() ends when its time is over", () => {
  const { executions } = fuzz(FRAGILE, {
    executions: 1e9,
    seed: 1,
    seconds: 0,
  });
  assert(executions < 1000);
});

Deno.test("Random gives every number below its limit", () => {
  const random = new Random(1);
  const seen = new Set(Array.from({ length: 500 }, () => random.below(10)));
  assert.equal(seen.size, 10);
});
