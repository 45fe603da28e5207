import assert from "node:assert/strict";
import { MoatError } from "$core/errors.ts";
import { Secret } from "$core/secret.ts";
import type { Credentials } from "./session.ts";
import {
  isUsable,
  learnFailure,
  learnSession,
  nothingKnown,
} from "./session_known.ts";

const NOW = Date.UTC(2026, 0, 1);
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const DENIED = new MoatError("access-denied", "no");
const DOWN = new MoatError("sts-unreachable", "down");

function lasting(lifeMs: number, accessKeyId = "ASIA1"): Credentials {
  return {
    accessKeyId,
    secretAccessKey: new Secret("secret"),
    expiresAt: NOW + lifeMs,
  };
}

function knowing(session: Credentials, random = 0) {
  const known = nothingKnown<Credentials>();
  const fault = learnSession(known, session, NOW, random);
  return { known, fault };
}

const LIVES: {
  life: number;
  refresh: number;
  late: number;
  end: number;
  why: string;
}[] = [
  {
    ...{ life: 15 * MINUTE, refresh: 7.5 * MINUTE, late: 8.25 * MINUTE },
    ...{ end: 14 * MINUTE, why: "never more than half of the life" },
  },
  {
    ...{ life: 60 * MINUTE, refresh: 40 * MINUTE, late: 42 * MINUTE },
    ...{ end: 59 * MINUTE, why: "20 minutes ahead" },
  },
  {
    ...{ life: 720 * MINUTE, refresh: 480 * MINUTE, late: 504 * MINUTE },
    ...{ end: 719 * MINUTE, why: "a third of a long life ahead" },
  },
  {
    ...{ life: 10 * MINUTE, refresh: 5 * MINUTE, late: 5.5 * MINUTE },
    ...{ end: 9 * MINUTE, why: "long-lived keys are looked for again" },
  },
  {
    ...{ life: 2 * MINUTE, refresh: MINUTE, late: 66 * SECOND },
    ...{ end: MINUTE, why: "the last minute is the second half" },
  },
  {
    ...{ life: 10 * SECOND, refresh: 5 * SECOND, late: 5.5 * SECOND },
    ...{ end: 5 * SECOND, why: "half of a short life may be used" },
  },
];
for (const { life, refresh, late, end, why } of LIVES) {
  const name = `learnSession() of ${life / SECOND} s`;
  Deno.test(`${name} is refreshed after ${refresh / SECOND}: ${why}`, () =>
    assert.equal(knowing(lasting(life)).known.refreshAt, NOW + refresh));

  Deno.test(`${name} is refreshed after ${late / SECOND} at most`, () =>
    assert.equal(knowing(lasting(life), 1).known.refreshAt, NOW + late));

  Deno.test(`${name} is usable for ${end / SECOND}`, () => {
    const { known } = knowing(lasting(life));
    const usable = [end - 1, end].map((ms) => isUsable(known, NOW + ms));
    assert.deepEqual(usable, [true, false]);
  });
}

Deno.test("learnSession() never refreshes what never ends", () => {
  const { known } = knowing(lasting(Infinity));
  assert.deepEqual(
    [isUsable(known, NOW + 1e15), NOW + 1e15 >= known.refreshAt],
    [true, false],
  );
});

const USELESS = { "has ended": -1, "ends now": 0, "has no time": NaN };
for (const [what, life] of Object.entries(USELESS)) {
  Deno.test(`learnSession() takes none that ${what}`, () => {
    const { known, fault } = knowing(lasting(life));
    assert.deepEqual([fault?.code, known.session], ["sts-garbage", undefined]);
  });
}

Deno.test("learnSession() does not take a session's last minute for a new short life", () => {
  const { known } = knowing(lasting(15 * MINUTE));
  const at = NOW + 14 * MINUTE + 1;
  const fault = learnSession(known, lasting(15 * MINUTE), at, 0);
  assert.equal(fault?.code, "sts-garbage");
});

Deno.test("learnSession() takes another session that ends at the same time", () => {
  const { known } = knowing(lasting(15 * MINUTE));
  const other = lasting(15 * MINUTE, "ASIA2");
  learnSession(known, other, NOW + 14 * MINUTE + 1, 0);
  assert.equal(known.session, other);
});

Deno.test("learnSession() ends a back-off", () => {
  const known = nothingKnown<Credentials>();
  learnFailure(known, DENIED, NOW);
  learnSession(known, lasting(15 * MINUTE), NOW, 0);
  const { failure, failures, retryAt } = known;
  assert.deepEqual([failure, failures, retryAt], [undefined, 0, -Infinity]);
});

const LADDERS = [
  { what: "soft", failures: [DOWN, DOWN, DOWN, DOWN, DOWN] },
  { what: "hard", failures: [DENIED, DENIED, DENIED, DENIED, DENIED] },
  { what: "mixed", failures: [DOWN, DOWN, DENIED, DENIED, DOWN] },
];
const DELAYS: Record<string, number[]> = {
  soft: [250, 500, 1000, 2000, 2000],
  hard: [2000, 5000, 10_000, 30_000, 30_000],
  mixed: [250, 500, 2000, 5000, 250],
};
for (const { what, failures } of LADDERS) {
  Deno.test(`learnFailure() backs off after ${what} failures`, () => {
    const known = nothingKnown<Credentials>();
    const delays = failures.map((f) => learnFailure(known, f, NOW));
    assert.deepEqual(delays, DELAYS[what]);
  });
}

Deno.test("learnFailure() asks not again before the end for what was denied", () => {
  const { known } = knowing(lasting(15 * MINUTE));
  const retry = learnFailure(known, DENIED, NOW);
  assert.deepEqual([retry, known.refreshAt], [undefined, Infinity]);
});

Deno.test("learnFailure() leaves the session as valid as it was", () => {
  const session = lasting(15 * MINUTE);
  const { known } = knowing(session);
  learnFailure(known, DOWN, NOW);
  assert.deepEqual(
    [known.session, known.usableUntil],
    [session, NOW + 14 * MINUTE],
  );
});
