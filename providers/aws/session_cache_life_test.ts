/** Sessions of which clients want much life left, as with ROLE_CACHE_OFFSET. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { Secret } from "$core/secret.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { failure } from "./errors.ts";
import type { Session } from "./session.ts";
import { SessionCache } from "./session_cache.ts";

const MINUTE = 60_000;

/** A session cache of one session, and what was asked of it. */
class Bed {
  readonly clock = new FakeClock();
  /** Calls of STS. */
  calls = 0;
  lifeMs = 60 * MINUTE;
  fails = false;
  readonly #cache: SessionCache<Session>;
  readonly #offsetMs: number;

  constructor(offsetMs: number) {
    const { log, metrics } = fakePlatform();
    this.#offsetMs = offsetMs;
    this.#cache = new SessionCache({
      clock: this.clock,
      log,
      metrics,
      random: () => 1,
      elapsed: () => this.clock.now(),
    });
  }

  get(): Session | Promise<Session> {
    const id = { key: "key", grant: "aws", owner: null };
    return this.#cache.get(
      id,
      () => this.#fetch(),
      900,
      undefined,
      this.#offsetMs,
    );
  }

  #fetch(): Promise<Session> {
    this.calls++;
    if (this.fails) return Promise.reject(failure("access-denied", "Cannot"));
    return Promise.resolve({
      accessKeyId: `ASIA${this.calls}`,
      secretAccessKey: new Secret("secret"),
      sessionToken: new Secret("token"),
      expiresAt: this.clock.now() + this.lifeMs,
      assumedRoleArn: "",
    });
  }

  async left(): Promise<number> {
    const { expiresAt } = await this.get();
    return (expiresAt - this.clock.now()) / MINUTE;
  }
}

Deno.test("SessionCache.get() with a wanted life gives the same session as long as enough is left", async () => {
  const bed = new Bed(15 * MINUTE);
  await bed.get();
  await bed.clock.advance(39 * MINUTE);
  assert.deepEqual([await bed.left(), bed.calls], [21, 1]);
});

Deno.test("SessionCache.get() with a wanted life gives it at once", async () => {
  const bed = new Bed(15 * MINUTE);
  await bed.get();
  assert(!(bed.get() instanceof Promise));
});

Deno.test("SessionCache.get() with a wanted life renews a session with less left before it gives it", async () => {
  const bed = new Bed(15 * MINUTE);
  await bed.get();
  await bed.clock.advance(45 * MINUTE + 1);
  assert.deepEqual([await bed.left(), bed.calls], [60, 2]);
});

Deno.test("SessionCache.get() with a wanted life makes one call for all that wait", async () => {
  const bed = new Bed(15 * MINUTE);
  await bed.get();
  await bed.clock.advance(50 * MINUTE);
  await Promise.all([bed.left(), bed.left(), bed.left()]);
  assert.equal(bed.calls, 2);
});

Deno.test("SessionCache.get() with a wanted life honours an offset close to the session's life", async () => {
  const bed = new Bed(55 * MINUTE);
  await bed.get();
  await bed.clock.advance(6 * MINUTE);
  assert.equal(await bed.left(), 60);
});

Deno.test("SessionCache.get() with a wanted life asks once a minute where sessions are shorter than that", async () => {
  const bed = new Bed(15 * MINUTE);
  bed.lifeMs = 10 * MINUTE;
  await bed.get();
  for (let i = 0; i < 12; i++) {
    await bed.get();
    await bed.clock.advance(10_000);
  }
  assert.equal(bed.calls, 2);
});

Deno.test("SessionCache.get() with a wanted life gives the session before while there is no other", async () => {
  const bed = new Bed(15 * MINUTE);
  await bed.get();
  await bed.clock.advance(50 * MINUTE);
  bed.fails = true;
  const left = [await bed.left(), await bed.left()];
  assert.deepEqual(left, [10, 10]);
});

Deno.test("SessionCache.get() with a wanted life gives no session that is about to end", async () => {
  const bed = new Bed(15 * MINUTE);
  await bed.get();
  await bed.clock.advance(59 * MINUTE);
  bed.fails = true;
  await assert.rejects(bed.left(), { code: "access-denied" });
});

Deno.test("SessionCache.get() with a wanted life recovers", async () => {
  const bed = new Bed(15 * MINUTE);
  await bed.get();
  await bed.clock.advance(50 * MINUTE);
  bed.fails = true;
  await bed.get();
  bed.fails = false;
  await bed.clock.advance(30_000);
  assert.equal(await bed.left(), 60);
});

Deno.test("SessionCache.get() with a wanted life never gives a session that has ended, whatever is wanted", async () => {
  await fc.assert(fc.asyncProperty(
    fc.integer({ min: 0, max: 60 * MINUTE - 1 }),
    fc.integer({ min: 2 * MINUTE, max: 60 * MINUTE }),
    fc.array(
      fc.record({
        ms: fc.integer({ min: 0, max: 40 * MINUTE }),
        fails: fc.boolean(),
      }),
      { maxLength: 20 },
    ),
    async (offsetMs, lifeMs, steps) => {
      const bed = new Bed(offsetMs);
      bed.lifeMs = lifeMs;
      for (const { ms, fails } of steps) {
        bed.fails = fails;
        const left = await bed.left().catch(() => undefined);
        assert(left === undefined || left > 0);
        await bed.clock.advance(ms);
      }
    },
  ));
});
