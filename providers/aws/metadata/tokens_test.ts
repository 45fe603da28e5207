import assert from "node:assert/strict";
import * as fc from "fast-check";
import { TokenModel } from "../../../scripts/fuzz/metadata_models.ts";
import { FakeClock } from "../../../tests/support/fake_clock.ts";
import { MAX_TOKENS, readTtl, SessionTokens } from "./tokens.ts";

/** Tokens with both clocks in hand. */
function bed() {
  const times = new TokenModel();
  return { times, tokens: times.tokens, pass: times.pass.bind(times) };
}

const TTLS: { values: string[]; ttl: number | undefined }[] = [
  { values: ["1"], ttl: 1 },
  { values: ["60"], ttl: 60 },
  { values: ["21600"], ttl: 21_600 },
  { values: ["00300"], ttl: 300 },
  { values: [], ttl: undefined },
  { values: [""], ttl: undefined },
  { values: ["0"], ttl: undefined },
  { values: ["00000"], ttl: undefined },
  { values: ["21601"], ttl: undefined },
  { values: ["99999999999"], ttl: undefined },
  { values: ["-1"], ttl: undefined },
  { values: ["+60"], ttl: undefined },
  { values: ["60.0"], ttl: undefined },
  { values: ["6e1"], ttl: undefined },
  { values: ["0x3c"], ttl: undefined },
  { values: ["60s"], ttl: undefined },
  { values: [" 60"], ttl: undefined },
  { values: ["٦٠"], ttl: undefined },
  { values: ["60, 60"], ttl: undefined },
  { values: ["60", "60"], ttl: undefined },
];
for (const { values, ttl } of TTLS) {
  Deno.test(`readTtl() takes ${JSON.stringify(values)} for ${ttl}`, () => {
    assert.equal(readTtl(values), ttl);
  });
}

Deno.test("mint() gives 256 random bits in base64url", () => {
  const { tokens } = bed();
  assert.match(tokens.mint(60), /^[\w-]{43}$/);
});

Deno.test("mint() gives another token each time", () => {
  const { tokens } = bed();
  assert.notEqual(tokens.mint(60), tokens.mint(60));
});

Deno.test("find() finds a token that was just made, with its whole life", () => {
  const { tokens } = bed();
  assert.equal(tokens.find(tokens.mint(21_600))?.secondsLeft(), 21_600);
});

Deno.test("find() does not find another client's token", () => {
  assert.equal(bed().tokens.find(bed().tokens.mint(60)), undefined);
});

Deno.test("find() does not find a token in another spelling of the same bits", () => {
  const { tokens } = bed();
  const token = tokens.mint(60);
  assert.equal(tokens.find(`${token}=`), undefined);
});

Deno.test("secondsLeft() counts down in whole seconds", () => {
  const { tokens, pass } = bed();
  const token = tokens.find(tokens.mint(60));
  const seen = [0, 1, 999, 1000].map((ms) => {
    pass(ms);
    return token?.secondsLeft();
  });
  assert.deepEqual(seen, [60, 60, 59, 58]);
});

Deno.test("find() does not find a token that has ended", () => {
  const { tokens, pass } = bed();
  const token = tokens.mint(60);
  pass(60_000);
  assert.equal(tokens.find(token), undefined);
});

Deno.test("a token lasts no longer for a clock that is set back", () => {
  const { times, tokens, pass } = bed();
  const token = tokens.mint(60);
  times.wall -= 3_600_000;
  pass(60_000);
  assert.equal(tokens.find(token), undefined);
});

Deno.test("a token that has ended does not come back with the clock", () => {
  const { times, tokens } = bed();
  const live = tokens.find(tokens.mint(60));
  times.wall += 60_000;
  live?.secondsLeft();
  times.wall -= 60_000;
  assert.equal(live?.secondsLeft(), 0);
});

Deno.test("a token ends while the machine sleeps", () => {
  const { times, tokens } = bed();
  const token = tokens.mint(60);
  times.wall += 60_000;
  assert.equal(tokens.find(token), undefined);
});

Deno.test("mint() keeps 32 tokens", () => {
  const { tokens } = bed();
  const made = Array.from({ length: 32 }, () => tokens.mint(60));
  assert(made.every((token) => tokens.find(token)));
});

Deno.test("mint() ends the oldest of 33 tokens, and only that", () => {
  const { tokens } = bed();
  const made = Array.from({ length: 32 }, () => tokens.mint(60));
  assert.equal(tokens.hasPushedOut, false);
  made.push(tokens.mint(60));
  assert.equal(tokens.hasPushedOut, true);
  const found = made.map((token) => tokens.find(token) !== undefined);
  assert.deepEqual(found, [false, ...Array(32).fill(true)]);
});

Deno.test("a token that was found before it was pushed out ends, too", () => {
  const { tokens } = bed();
  const live = tokens.find(tokens.mint(60));
  for (let i = 0; i < MAX_TOKENS; i++) tokens.mint(60);
  assert.equal(live?.secondsLeft(), 0);
});

Deno.test("mint() forgets ended tokens before it ends a live one", () => {
  const { tokens, pass } = bed();
  const long = tokens.mint(3600);
  for (let i = 1; i < MAX_TOKENS; i++) tokens.mint(1);
  pass(1000);
  tokens.mint(60);
  assert.deepEqual([tokens.find(long) !== undefined, tokens.size], [true, 2]);
});

Deno.test("a flood of tokens stays within its bound", () => {
  const { tokens } = bed();
  for (let i = 0; i < 10_000; i++) tokens.mint(21_600);
  assert.equal(tokens.size, MAX_TOKENS);
});

Deno.test("tokens go by performance.now unless told otherwise", () => {
  const tokens = new SessionTokens({ clock: new FakeClock() });
  assert.equal(tokens.find(tokens.mint(60))?.secondsLeft(), 60);
});

const steps = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant("mint" as const),
      ttl: fc.integer({ min: 1, max: 30 }),
    }),
    fc.record({
      kind: fc.constant("pass" as const),
      ms: fc.integer({ min: 0, max: 20_000 }),
    }),
    fc.record({
      kind: fc.constant("set" as const),
      ms: fc.integer({ min: -30_000, max: 30_000 }),
    }),
  ),
  { maxLength: 120, size: "max" },
);

Deno.test("tokens do what a list of them would, whatever happens", () => {
  fc.assert(fc.property(steps, (steps) => {
    const model = new TokenModel();
    for (const step of steps) {
      if (step.kind === "pass") model.pass(step.ms);
      if (step.kind === "set") model.wall += step.ms;
      model.check();
      if (step.kind !== "mint") continue;
      model.mint(step.ttl);
      model.check();
    }
  }));
});
