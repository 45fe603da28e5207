import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type Fault,
  FAULTS,
  Faults,
  parseDelay,
  parseFault,
  readPlan,
} from "./faults.ts";

const KINDS = Object.keys(FAULTS) as Fault["kind"][];
const kinds = fc.constantFrom(...KINDS);

Deno.test("parseFault() reads every kind and count", () => {
  const counts = fc.option(fc.integer({ min: 1, max: 999_999_999 }), {
    nil: undefined,
  });
  fc.assert(fc.property(kinds, counts, (kind, count) => {
    const text = count === undefined ? kind : `${kind}:${count}`;
    const wanted = count === undefined ? { kind } : { kind, count };
    assert.deepEqual(parseFault(text), wanted);
  }));
});

for (
  const text of ["", "501", "hang:0", "hang:-1", "hang:1.5", "hang:", "HANG"]
) {
  Deno.test(`parseFault() refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseFault(text), { code: "usage" });
  });
}

const DELAYS: [string, number][] = [
  ["0ms", 0],
  ["250ms", 250],
  ["2s", 2000],
  ["10m", 600_000],
];
for (const [text, delayMs] of DELAYS) {
  Deno.test(`parseDelay() reads ${text}`, () => {
    assert.equal(parseDelay(text), delayMs);
  });
}

for (const text of ["", "5", "11m", "-1s", "1h", "1.5s", "s"]) {
  Deno.test(`parseDelay() refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseDelay(text), { code: "usage" });
  });
}

const ACTIONS = ["AssumeRole", "GetCallerIdentity", "CreateSession", "other"];

/** The kinds that a plan makes of calls, one after another. */
function kindsOf(faults: Fault[], ...actions: string[]) {
  const state = new Faults({ faults, delayMs: 0 });
  return actions.map((action) => state.next(action).kind);
}

const PLANS: [string, Fault[], string[], (string | undefined)[]][] = [
  ["nothing", [], ["AssumeRole"], [undefined]],
  ["one kind for ever", [{ kind: "500" }], ["a", "b", "c"], [
    "500",
    "500",
    "500",
  ]],
  [
    "so many, then the next, then nothing",
    [{ kind: "500", count: 2 }, { kind: "hang", count: 1 }],
    ["a", "a", "a", "a"],
    ["500", "500", "hang", undefined],
  ],
  [
    "a fault of one action",
    [{ kind: "503", action: "AssumeRole", count: 1 }],
    ["GetCallerIdentity", "AssumeRole", "AssumeRole"],
    [undefined, "503", undefined],
  ],
  [
    "expired sessions where there are sessions",
    [{ kind: "expired", count: 2 }],
    ["GetCallerIdentity", "CreateSession", "GetSessionToken", "AssumeRole"],
    [undefined, "expired", "expired", undefined],
  ],
  [
    "identity provider's errors where there is one",
    [{ kind: "idp-error" }],
    ["AssumeRole", "AssumeRoleWithWebIdentity"],
    [undefined, "idp-error"],
  ],
];
for (const [what, faults, actions, wanted] of PLANS) {
  Deno.test(`Faults make ${what}`, () => {
    assert.deepEqual(kindsOf(faults, ...actions), wanted);
  });
}

Deno.test("Faults count each action", () => {
  const state = new Faults({ faults: [{ kind: "500", count: 1 }], delayMs: 0 });
  ["AssumeRole", "other", "AssumeRole"].forEach((name) => state.next(name));
  assert.deepEqual(state.calls, { AssumeRole: 2, other: 1 });
});

Deno.test("Faults are made exactly as often as they are planned", () => {
  const fault = fc.record({
    kind: kinds,
    count: fc.integer({ min: 1, max: 4 }),
  });
  fc.assert(fc.property(fc.array(fault, { maxLength: 6 }), (faults) => {
    const state = new Faults({ faults, delayMs: 0 });
    const made = Array.from(
      { length: 30 },
      () => state.next("AssumeRoleWithWebIdentity").kind,
    );
    const wanted = faults.flatMap(({ kind, count }) =>
      Array<string>(count).fill(kind)
    );
    assert.deepEqual(made.filter((kind) => kind !== undefined), wanted);
    assert.deepEqual(state.plan.faults, []);
  }));
});

Deno.test("readPlan() takes what it gives", () => {
  const faults = fc.array(fc.record({
    kind: kinds,
    count: fc.integer({ min: 1 }),
    action: fc.constantFrom(...ACTIONS),
  }, { requiredKeys: ["kind"], noNullPrototype: true }));
  fc.assert(
    fc.property(faults, fc.nat({ max: 600_000 }), (faults, delayMs) => {
      const plan = { faults, delayMs };
      const read = readPlan(JSON.parse(JSON.stringify(plan)));
      assert.deepEqual(read, plan);
    }),
  );
});

Deno.test("readPlan() takes nothing as no faults", () => {
  assert.deepEqual(readPlan({}), { faults: [], delayMs: 0 });
});

const BAD_PLANS: [unknown, RegExp][] = [
  [undefined, /^The body: /],
  [{ fault: [] }, /^fault: /],
  [{ faults: [{ kind: "501" }] }, /^faults\.0\.kind: /],
  [{ faults: [{ kind: "500", count: 0 }] }, /^faults\.0\.count: /],
  [{ delayMs: -1 }, /^delayMs: /],
  [{ delayMs: 600_001 }, /^delayMs: /],
];
for (const [plan, message] of BAD_PLANS) {
  Deno.test(`readPlan() refuses ${JSON.stringify(plan)}`, () => {
    assert.match(String(readPlan(plan)), message);
  });
}
