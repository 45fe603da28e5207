import assert from "node:assert/strict";
import * as fc from "fast-check";
import { FakeClock, settle } from "../../tests/support/fake_clock.ts";
import { MoatError } from "$core/errors.ts";
import { silentLog } from "$core/log.ts";
import { Secret } from "$core/secret.ts";
import type { Session } from "./session.ts";
import { SessionCache } from "./session_cache.ts";

const MINUTE = 60_000;
const HOLD = 8000;

function setUp() {
  const clock = new FakeClock();
  const cache = new SessionCache({ clock, log: silentLog, random: () => 0 });
  let calls = 0;
  const issue = (lifeMs: number): Session => ({
    accessKeyId: `ASIA${++calls}`,
    secretAccessKey: new Secret("secret"),
    sessionToken: new Secret("token"),
    expiresAt: clock.now() + lifeMs,
    assumedRoleArn: "arn:aws:sts::123456789012:assumed-role/Deploy/test",
  });
  const fetchFor = (lifeMs: number) => () => Promise.resolve(issue(lifeMs));
  return { clock, cache, issue, fetchFor, calls: () => calls };
}

const soft = () => Promise.reject(new MoatError("sts-unreachable", "down"));
const denied = () => Promise.reject(new MoatError("access-denied", "no"));

Deno.test("get() makes one call for 5,000 concurrent first requests", async () => {
  const { cache, fetchFor, calls } = setUp();
  const fetch = fetchFor(15 * MINUTE);
  const all = Array.from({ length: 5000 }, () => cache.get("k", fetch, HOLD));
  const sessions = await Promise.all(all);
  assert.equal(calls(), 1);
  assert.equal(new Set(sessions).size, 1);
});

Deno.test("get() answers without a promise once a session is cached", async () => {
  const { cache, fetchFor } = setUp();
  await cache.get("k", fetchFor(15 * MINUTE), HOLD);
  assert.ok(!(cache.get("k", fetchFor(15 * MINUTE), HOLD) instanceof Promise));
});

const REFRESH_CASES = [
  { life: 15, refreshAt: 7.5, why: "never more than half of the life" },
  { life: 60, refreshAt: 40, why: "20 minutes ahead" },
  { life: 720, refreshAt: 480, why: "a third of a long life ahead" },
];
for (const { life, refreshAt, why } of REFRESH_CASES) {
  Deno.test(`get() refreshes a ${life}-minute session after ${refreshAt}: ${why}`, async () => {
    const { clock, cache, fetchFor, calls } = setUp();
    const fetch = fetchFor(life * MINUTE);
    await cache.get("k", fetch, HOLD);
    await clock.advance(refreshAt * MINUTE - 1);
    cache.get("k", fetch, HOLD);
    await settle();
    const before = calls();
    await clock.advance(1);
    cache.get("k", fetch, HOLD);
    await settle();
    assert.deepEqual([before, calls()], [1, 2]);
  });
}

Deno.test("get() serves the valid session while a refresh hangs", async () => {
  const { clock, cache, issue } = setUp();
  const first = issue(60 * MINUTE);
  let answers: Promise<Session>[] = [Promise.resolve(first)];
  const fetch = () => answers.shift() ?? new Promise<Session>(() => {});
  await cache.get("k", fetch, HOLD);
  answers = [];
  await clock.advance(58 * MINUTE);
  assert.equal(cache.get("k", fetch, HOLD), first);
  assert.equal(cache.get("k", fetch, HOLD), first);
});

Deno.test("get() goes on serving while every refresh fails, until the last minute", async () => {
  const { clock, cache, issue } = setUp();
  const first = issue(60 * MINUTE);
  let isDown = false;
  const fetch = () => isDown ? soft() : Promise.resolve(first);
  await cache.get("k", fetch, HOLD);
  isDown = true;
  for (let minute = 1; minute < 59; minute++) {
    await clock.advance(MINUTE - (minute === 58 ? 1 : 0));
    assert.equal(await cache.get("k", fetch, HOLD), first, `minute ${minute}`);
  }
  await clock.advance(MINUTE + 1);
  const late = assert.rejects(async () => await cache.get("k", fetch, HOLD), {
    code: "sts-unreachable",
  });
  await clock.advance(HOLD);
  await late;
});

Deno.test("get() retries a soft failure within the hold", async () => {
  const { clock, cache, fetchFor, calls } = setUp();
  let isDown = true;
  const fetch = () => isDown ? soft() : fetchFor(15 * MINUTE)();
  const waiting = cache.get("k", fetch, HOLD);
  await settle();
  isDown = false;
  await clock.advance(250);
  assert.equal((await waiting).accessKeyId, "ASIA1");
  assert.equal(calls(), 1);
});

Deno.test("get() gives up after the hold when the call hangs", async () => {
  const { clock, cache } = setUp();
  const failed = assert.rejects(
    async () => await cache.get("k", () => new Promise(() => {}), 900),
    { code: "sts-timeout" },
  );
  await clock.advance(900);
  await failed;
});

Deno.test("get() answers a hard failure at once, and does not ask again soon", async () => {
  const { cache } = setUp();
  let calls = 0;
  const fetch = () => (calls++, denied());
  for (let i = 0; i < 3; i++) {
    await assert.rejects(async () => await cache.get("k", fetch, HOLD), {
      code: "access-denied",
    });
  }
  assert.equal(calls, 1);
});

Deno.test("get() asks again once the back-off of a hard failure is over", async () => {
  const { clock, cache, fetchFor } = setUp();
  await assert.rejects(async () => await cache.get("k", denied, HOLD));
  cache.drop(() => true);
  await assert.rejects(async () => await cache.get("k", denied, HOLD));
  await clock.advance(2000);
  cache.drop(() => true);
  const session = await cache.get("k", fetchFor(15 * MINUTE), HOLD);
  assert.equal(session.accessKeyId, "ASIA1");
});

Deno.test("drop() makes the next request a new call, even with one in flight", async () => {
  const { cache, issue } = setUp();
  const old = Promise.withResolvers<Session>();
  const waiting = cache.get("k", () => old.promise, HOLD);
  cache.drop((key) => key === "k");
  const fresh = await cache.get(
    "k",
    () => Promise.resolve(issue(15 * MINUTE)),
    HOLD,
  );
  old.resolve(issue(15 * MINUTE));
  assert.notEqual(await waiting, fresh);
  assert.equal(await cache.get("k", () => old.promise, HOLD), fresh);
});

Deno.test("get() never serves expired, never mixes keys, never has two calls in flight", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          key: fc.constantFrom("a", "b"),
          waitMs: fc.integer({ min: 0, max: 20 * MINUTE }),
          fails: fc.boolean(),
        }),
        { maxLength: 40 },
      ),
      async (steps) => {
        const { clock, cache, issue } = setUp();
        const owner = new Map<Session, string>();
        const inFlight = new Map<string, number>();
        for (const { key, waitMs, fails } of steps) {
          await clock.advance(waitMs);
          const fetch = async () => {
            const running = (inFlight.get(key) ?? 0) + 1;
            assert.equal(running, 1);
            inFlight.set(key, running);
            await Promise.resolve();
            inFlight.set(key, 0);
            if (fails) throw new MoatError("sts-unavailable", "down");
            const session = issue(15 * MINUTE);
            owner.set(session, key);
            return session;
          };
          cache.drop((k) => k === key && cache.size > 1 && fails);
          const answer = Promise.resolve(cache.get(key, fetch, 0))
            .catch(() => undefined);
          await clock.advance(0);
          const session = await answer;
          if (!session) continue;
          assert.ok(session.expiresAt > clock.now());
          assert.equal(owner.get(session), key);
        }
      },
    ),
    { numRuns: 200 },
  );
});

/** A clock that can also be set back. */
class SteppedClock extends FakeClock {
  behindMs = 0;

  override now(): number {
    return super.now() - this.behindMs;
  }
}

function stepBack() {
  const clock = new SteppedClock();
  const cache = new SessionCache({ clock, log: silentLog, random: () => 0 });
  let calls = 0;
  const fetch = (): Promise<Session> =>
    Promise.resolve({
      accessKeyId: `ASIA${++calls}`,
      secretAccessKey: new Secret("secret"),
      sessionToken: new Secret("token"),
      expiresAt: clock.now() + 15 * MINUTE,
      assumedRoleArn: "arn:aws:sts::123456789012:assumed-role/Deploy/test",
    });
  return { clock, cache, fetch };
}

const STEPS = [
  { back: 3600_000, key: "ASIA2", what: "fetches anew after an hour back" },
  { back: MINUTE + 1, key: "ASIA2", what: "fetches anew after over a minute" },
  { back: MINUTE, key: "ASIA1", what: "bears a clock set back by a minute" },
];
for (const { back, key, what } of STEPS) {
  Deno.test(`get() ${what}`, async () => {
    const { clock, cache, fetch } = stepBack();
    await cache.get("k", fetch, HOLD);
    clock.behindMs = back;
    assert.equal((await cache.get("k", fetch, HOLD)).accessKeyId, key);
  });
}

Deno.test("get() forgets a back-off when the clock was set back", async () => {
  const { clock, cache, fetch } = stepBack();
  let isDown = true;
  const ask = () => isDown ? denied() : fetch();
  await assert.rejects(async () => await cache.get("k", ask, HOLD));
  isDown = false;
  clock.behindMs = 3600_000;
  assert.equal((await cache.get("k", ask, HOLD)).accessKeyId, "ASIA1");
});
