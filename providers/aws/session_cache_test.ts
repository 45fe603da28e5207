import assert from "node:assert/strict";
import { FakeClock, settle } from "../../tests/support/fake_clock.ts";
import { systemClock } from "$core/clock.ts";
import { MoatError } from "$core/errors.ts";
import { noMetrics } from "$core/metrics.ts";
import { type LogFields, silentLog } from "$core/log.ts";
import { Secret } from "$core/secret.ts";
import type { Credentials } from "./session.ts";
import {
  type CacheFilter,
  type CacheId,
  SessionCache,
} from "./session_cache.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const HOLD = 8 * SECOND;
const LIFE = 15 * MINUTE;

const DOWN = new MoatError("sts-unreachable", "down");
const DENIED = new MoatError("access-denied", "no");

/** A clock that can also be set, beside the time that passes. */
class SteppedClock extends FakeClock {
  stepMs = 0;

  override now(): number {
    return super.now() + this.stepMs;
  }

  elapsed(): number {
    return super.now();
  }
}

/** A cache before an upstream that does what it is told. */
class Scene {
  readonly clock = new SteppedClock();
  readonly logged: [event: string, fields: LogFields][] = [];
  readonly counted: [name: string, labels: unknown, by: number][] = [];
  readonly cache: SessionCache<Credentials>;
  /** When each call was made, in ms since the start. */
  readonly calls: number[] = [];
  /** What calls give: a session of that life, a failure, or none ever. */
  next: number | MoatError | "hang" = LIFE;
  version = "v1";
  readonly #startedAt = this.clock.elapsed();

  constructor(maxEntries = 10_000) {
    const { clock, logged, counted } = this;
    const note = (event: string, fields: LogFields = {}) => {
      logged.push([event, fields]);
    };
    this.cache = new SessionCache({
      clock,
      log: { ...silentLog, debug: note, info: note, warn: note },
      metrics: {
        count: (name, labels, by = 1) => counted.push([name, labels, by]),
        gauge() {},
        observe() {},
      },
      random: () => 0,
      elapsed: () => clock.elapsed(),
      maxEntries,
    });
  }

  readonly fetch = (): Promise<Credentials> => {
    this.calls.push(this.clock.elapsed() - this.#startedAt);
    const { next } = this;
    if (next === "hang") return new Promise(() => {});
    return next instanceof MoatError
      ? Promise.reject(next)
      : Promise.resolve(this.issue(next));
  };

  issue(lifeMs: number): Credentials {
    return {
      accessKeyId: `ASIA${this.calls.length}`,
      secretAccessKey: new Secret("secret"),
      expiresAt: this.clock.now() + lifeMs,
    };
  }

  /** Lets what goes on come to rest, then time pass. */
  async advance(ms: number): Promise<void> {
    await settle();
    await this.clock.advance(ms);
  }

  ask(id = ID, holdMs = HOLD): Credentials | Promise<Credentials> {
    return this.cache.get(id, this.fetch, holdMs);
  }

  /** The access key that a client gets, or the code of its failure. */
  async key(id = ID, holdMs = HOLD): Promise<string> {
    return await outcome(async () => await this.ask(id, holdMs));
  }

  /** As {@link Scene.key}, with a version. */
  async versionedKey(read = () => Promise.resolve(this.version)) {
    return await outcome(async () =>
      await this.cache.get(ID, this.fetch, HOLD, read)
    );
  }

  /** The key, or "waits" if there is none at once. */
  now(id = ID): string {
    const answer = this.ask(id);
    if (!(answer instanceof Promise)) return answer.accessKeyId;
    answer.catch(() => {});
    return "waits";
  }
}

const ID: CacheId = { key: "k", grant: "aws", owner: "run-1" };

async function outcome(get: () => Promise<Credentials>): Promise<string> {
  try {
    return (await get()).accessKeyId;
  } catch (error) {
    return (error as MoatError).code;
  }
}

/** What a promise came to, or "waits". */
function watch(promise: Promise<string>): () => string {
  let state = "waits";
  promise.then((value) => state = value);
  return () => state;
}

// One call for all who ask.

Deno.test("get() makes 100 calls for 10,000 concurrent first requests over 100 keys", async () => {
  const cache = new SessionCache<Credentials>({
    ...{ clock: systemClock, log: silentLog, metrics: noMetrics },
  });
  let calls = 0;
  const fetch = () =>
    Promise.resolve({
      accessKeyId: `ASIA${++calls}`,
      secretAccessKey: new Secret("secret"),
      expiresAt: systemClock.now() + LIFE,
    });
  const sessions = await Promise.all(Array.from(
    { length: 10_000 },
    (_, i) => cache.get({ ...ID, key: `k${i % 100}` }, fetch, MINUTE),
  ));
  assert.deepEqual([calls, new Set(sessions).size], [100, 100]);
});

Deno.test("get() answers without a promise once a session is cached", async () => {
  const scene = new Scene();
  await scene.key();
  assert.equal(scene.now(), "ASIA1");
});

const OTHERS: CacheId[] = [
  { ...ID, key: "other" },
  { ...ID, grant: "aws:other" },
  { ...ID, owner: "run-2" },
  { ...ID, owner: null },
];
for (const other of OTHERS) {
  Deno.test(`get() shares nothing with ${JSON.stringify(other)}`, async () => {
    const scene = new Scene();
    const keys = [await scene.key(), await scene.key(other), await scene.key()];
    assert.deepEqual(keys, ["ASIA1", "ASIA2", "ASIA1"]);
  });
}

Deno.test("get() bears a caller that gives up before the others", async () => {
  const scene = new Scene();
  const gate = Promise.withResolvers<Credentials>();
  const fetch = () => (scene.calls.push(0), gate.promise);
  const answers = [900, HOLD].map((hold) =>
    outcome(async () => await scene.cache.get(ID, fetch, hold))
  );
  await scene.advance(SECOND);
  gate.resolve(scene.issue(LIFE));
  assert.deepEqual(
    [await Promise.all(answers), scene.calls.length],
    [["sts-timeout", "ASIA1"], 1],
  );
});

Deno.test("get() makes a call that throws at once a failure like others", async () => {
  const scene = new Scene();
  const fetch = () => {
    throw new TypeError("oops");
  };
  const answer = outcome(async () => await scene.cache.get(ID, fetch, 100));
  await scene.advance(100);
  assert.equal(await answer, "internal");
});

// Refresh ahead of the end.

Deno.test("get() refreshes behind the answer when it is time, once", async () => {
  const scene = new Scene();
  await scene.key();
  await scene.advance(LIFE / 2 - 1);
  const early = scene.now();
  await scene.advance(1);
  const due = [scene.now(), scene.now()];
  await settle();
  assert.deepEqual(
    [early, ...due, scene.now(), scene.calls.length],
    ["ASIA1", "ASIA1", "ASIA1", "ASIA2", 2],
  );
});

Deno.test("get() serves the valid session while a refresh hangs", async () => {
  const scene = new Scene();
  await scene.key();
  scene.next = "hang";
  await scene.advance(10 * MINUTE);
  scene.now();
  await scene.advance(4 * MINUTE - 1);
  assert.deepEqual([scene.now(), scene.calls.length], ["ASIA1", 2]);
});

Deno.test("get() serves on while every refresh fails softly, until the last minute", async () => {
  const scene = new Scene();
  await scene.key();
  scene.next = DOWN;
  const served = new Set<string>();
  for (let second = 1; second < 14 * 60; second++) {
    await scene.advance(SECOND);
    served.add(scene.now());
  }
  await scene.advance(SECOND);
  assert.deepEqual([[...served], scene.now()], [["ASIA1"], "waits"]);
  await scene.advance(HOLD);
});

Deno.test("get() repeats a refresh that failed softly after 0.25 to 2 s", async () => {
  const scene = new Scene();
  await scene.key();
  scene.next = DOWN;
  await scene.advance(LIFE / 2);
  for (let i = 0; i < 80; i++) {
    scene.now();
    await scene.advance(100);
  }
  const delays = scene.calls.slice(1).map((at) => at - LIFE / 2);
  // Asked every 100 ms, it is seen that much later at most.
  assert.deepEqual(delays, [0, 300, 800, 1800, 3800, 5800, 7800]);
});

Deno.test("get() makes no further call for a session whose refresh was denied", async () => {
  const scene = new Scene();
  await scene.key();
  scene.next = DENIED;
  const served = new Set<string>();
  for (let second = 1; second < 14 * 60; second++) {
    await scene.advance(SECOND);
    served.add(scene.now());
  }
  assert.deepEqual([[...served], scene.calls], [["ASIA1"], [0, LIFE / 2]]);
});

Deno.test("get() asks again once the session whose refresh was denied has ended", async () => {
  const scene = new Scene();
  await scene.key();
  scene.next = DENIED;
  await scene.advance(LIFE / 2);
  scene.now();
  await scene.advance(LIFE / 2);
  scene.next = LIFE;
  assert.equal(await scene.key(), "ASIA3");
});

// Lives.

for (const life of [2 * MINUTE, MINUTE, 10 * SECOND, 10]) {
  Deno.test(`get() uses the first half of a session of ${life} ms`, async () => {
    const scene = new Scene();
    scene.next = life;
    await scene.key();
    await scene.advance(life / 2 - 1);
    const before = scene.now();
    await scene.advance(1);
    assert.deepEqual([before, scene.now()], ["ASIA1", "waits"]);
    await settle();
  });
}

Deno.test("get() takes an answer that has ended for a soft failure", async () => {
  const scene = new Scene();
  scene.next = -1;
  const answer = scene.key();
  await scene.advance(HOLD);
  assert.deepEqual([await answer, scene.calls.length], ["sts-garbage", 7]);
});

Deno.test("get() keeps the valid session when the answer to a refresh has ended", async () => {
  const scene = new Scene();
  await scene.key();
  scene.next = -1;
  await scene.advance(LIFE / 2);
  scene.now();
  await settle();
  assert.deepEqual([scene.now(), scene.calls.length], ["ASIA1", 2]);
});

// Nothing valid.

Deno.test("get() repeats soft failures until the hold is over", async () => {
  const scene = new Scene();
  scene.next = DOWN;
  const answer = scene.key();
  await scene.advance(HOLD);
  assert.deepEqual(
    [await answer, scene.calls],
    ["sts-unreachable", [0, 250, 750, 1750, 3750, 5750, 7750]],
  );
});

Deno.test("get() gives the session when a repeated call succeeds", async () => {
  const scene = new Scene();
  scene.next = DOWN;
  const answer = scene.key();
  await settle();
  scene.next = LIFE;
  await scene.advance(250);
  assert.equal(await answer, "ASIA2");
});

Deno.test("get() holds no request whose time ends before the next call", async () => {
  const scene = new Scene();
  scene.next = DOWN;
  const patient = scene.key();
  await scene.advance(2 * SECOND);
  const state = watch(scene.key(ID, 900));
  await settle();
  assert.equal(state(), "sts-unreachable");
  await scene.advance(HOLD);
  await patient;
});

Deno.test("get() holds as long as each call says, however long the fetch takes", async () => {
  const scene = new Scene();
  scene.next = "hang";
  const states = [900, HOLD].map((hold) => watch(scene.key(ID, hold)));
  const seen: string[] = [];
  for (const ms of [899, 1, HOLD - 901, 1]) {
    await scene.advance(ms);
    seen.push(states.map((state) => state()).join(" "));
  }
  assert.deepEqual(seen, [
    "waits waits",
    "sts-timeout waits",
    "sts-timeout waits",
    "sts-timeout sts-timeout",
  ]);
});

Deno.test("get() answers a hard failure at once, and asks again after 2 to 30 s", async () => {
  const scene = new Scene();
  scene.next = DENIED;
  const codes = new Set<string>();
  for (let second = 0; second < 80; second++) {
    codes.add(await scene.key());
    await scene.advance(SECOND);
  }
  const seconds = scene.calls.map((ms) => ms / SECOND);
  assert.deepEqual([[...codes], seconds], [["access-denied"], [
    ...[0, 2, 7, 17, 47, 77],
  ]]);
});

Deno.test("get() uses no session that has ended although every call fails", async () => {
  const scene = new Scene();
  await scene.key();
  await scene.advance(LIFE);
  scene.next = DENIED;
  assert.equal(await scene.key(), "access-denied");
});

// Drops.

const FILTERS: { filter: CacheFilter; left: string }[] = [
  { filter: { grant: "aws" }, left: "d" },
  { filter: { owner: "run-1" }, left: "bc" },
  { filter: { key: "a" }, left: "bcd" },
  { filter: { grant: "none" }, left: "abcd" },
];
for (const { filter, left } of FILTERS) {
  Deno.test(`drop() of ${JSON.stringify(filter)} leaves ${left}`, async () => {
    const scene = new Scene();
    const ids: CacheId[] = [
      { key: "a", grant: "aws", owner: "run-1" },
      { key: "b", grant: "aws", owner: "run-2" },
      { key: "c", grant: "aws", owner: null },
      { key: "d", grant: "aws:d", owner: "run-1" },
    ];
    for (const id of ids) await scene.key(id);
    scene.cache.drop(filter);
    const size = scene.cache.size;
    const found = ids.filter((id) => scene.now(id) !== "waits");
    await settle();
    assert.deepEqual(
      [found.map(({ key }) => key).join(""), size],
      [left, left.length],
    );
  });
}

/** A call whose outcome the test decides. */
function gated(scene: Scene) {
  const gate = Promise.withResolvers<Credentials>();
  const fetch = () => {
    scene.calls.push(0);
    return gate.promise;
  };
  return { gate, fetch };
}

Deno.test("drop() fails those who wait at once, though the call hangs", async () => {
  const scene = new Scene();
  scene.next = "hang";
  const state = watch(scene.key());
  scene.cache.drop({ grant: "aws" });
  await settle();
  assert.equal(state(), "grant-changed");
});

Deno.test("drop() fails those who wait for a back-off to end", async () => {
  const scene = new Scene();
  scene.next = DOWN;
  const state = watch(scene.key());
  await scene.advance(100);
  scene.cache.drop({ owner: "run-1" });
  await settle();
  assert.deepEqual([state(), scene.cache.size], ["grant-changed", 0]);
});

Deno.test("drop() keeps a session from those whom it has not reached yet", async () => {
  const scene = new Scene();
  const { gate, fetch } = gated(scene);
  const answer = outcome(async () => await scene.cache.get(ID, fetch, HOLD));
  gate.resolve(scene.issue(LIFE));
  await Promise.resolve();
  scene.cache.drop({ grant: "aws" });
  assert.equal(await answer, "grant-changed");
});

Deno.test("drop() lets the outcome of a call in flight not come back", async () => {
  const scene = new Scene();
  const { gate, fetch } = gated(scene);
  const answer = outcome(async () => await scene.cache.get(ID, fetch, HOLD));
  scene.cache.drop({ grant: "aws" });
  gate.resolve(scene.issue(LIFE));
  await answer;
  await settle();
  assert.deepEqual([scene.cache.size, scene.now()], [0, "waits"]);
  await settle();
});

Deno.test("drop() lets the outcome of a refresh behind the answer not come back", async () => {
  const scene = new Scene();
  await scene.key();
  await scene.advance(LIFE / 2);
  const { gate, fetch } = gated(scene);
  scene.cache.get(ID, fetch, HOLD);
  scene.cache.drop({ grant: "aws" });
  gate.resolve(scene.issue(LIFE));
  await settle();
  assert.deepEqual([scene.cache.size, scene.now()], [0, "waits"]);
  await settle();
});

Deno.test("drop() lets the failure of a call in flight not hold up the next", async () => {
  const scene = new Scene();
  const { gate, fetch } = gated(scene);
  const answer = outcome(async () => await scene.cache.get(ID, fetch, HOLD));
  scene.cache.drop({ grant: "aws" });
  gate.reject(DENIED);
  await answer;
  assert.equal(await scene.key(), "ASIA2");
});

Deno.test("drop() has the next request wait for the call in flight to end, then ask anew", async () => {
  const scene = new Scene();
  const { gate, fetch } = gated(scene);
  const first = outcome(async () => await scene.cache.get(ID, fetch, HOLD));
  scene.cache.drop({ grant: "aws" });
  const second = scene.key();
  await first;
  const meanwhile = scene.calls.length;
  gate.resolve(scene.issue(LIFE));
  assert.deepEqual([meanwhile, await second], [1, "ASIA2"]);
});

Deno.test("drop() keeps a call from starting that was about to", async () => {
  const scene = new Scene();
  const gate = Promise.withResolvers<string>();
  const answer = scene.versionedKey(() => gate.promise);
  scene.cache.drop({ grant: "aws" });
  gate.resolve("v1");
  await answer;
  await settle();
  assert.deepEqual([scene.calls, scene.cache.size], [[], 0]);
});

Deno.test("drop() ends the stop that a denial caused", async () => {
  const scene = new Scene();
  await scene.key();
  scene.next = DENIED;
  await scene.advance(LIFE / 2);
  scene.now();
  await settle();
  scene.cache.drop({ key: "k" });
  scene.next = LIFE;
  assert.equal(await scene.key(), "ASIA3");
});

// The bound.

Deno.test("get() keeps 10,000 entries", async () => {
  const scene = new Scene();
  for (let i = 0; i < 10_001; i++) await scene.key({ ...ID, key: `k${i}` });
  assert.deepEqual(
    [scene.cache.size, scene.now({ ...ID, key: "k1" })],
    [10_000, "ASIA2"],
  );
});

Deno.test("get() loses the least recently used entry first", async () => {
  const scene = new Scene(3);
  const ids = ["a", "b", "c", "d"].map((key) => ({ ...ID, key }));
  const [a = ID, b = ID, c = ID, d = ID] = ids;
  for (const id of [a, b, c, a, d]) await scene.key(id);
  const found = [a, c, d, b].map((id) => scene.now(id) !== "waits");
  await settle();
  assert.deepEqual(found, [true, true, true, false]);
});

Deno.test("get() loses the right entry after a drop too", async () => {
  const scene = new Scene(2);
  const [a, b, c] = ["a", "b", "c"].map((key) => ({ ...ID, key }));
  await scene.key(a);
  scene.cache.drop({ key: "a" });
  for (const id of [b, a, c]) await scene.key(id);
  const found = [a, c, b].map((id) => scene.now(id) !== "waits");
  await settle();
  assert.deepEqual(found, [true, true, false]);
});

Deno.test("get() loses no entry for which somebody waits, and shrinks afterwards", async () => {
  const scene = new Scene(2);
  const ids = ["a", "b", "c", "d"].map((key) => ({ ...ID, key }));
  const { gate, fetch } = gated(scene);
  const ask = () =>
    ids.map(async (id) => await scene.cache.get(id, fetch, HOLD));
  const answers = [...ask(), ...ask()];
  const size = scene.cache.size;
  gate.resolve(scene.issue(LIFE));
  await Promise.all(answers);
  await settle();
  assert.deepEqual([size, scene.calls.length, scene.cache.size], [4, 4, 2]);
});

Deno.test("get() loses no entry that is being refreshed", async () => {
  const scene = new Scene(1);
  await scene.key();
  await scene.advance(LIFE / 2);
  const { gate, fetch } = gated(scene);
  scene.cache.get(ID, fetch, HOLD);
  await scene.key({ ...ID, key: "other" });
  assert.equal(scene.now(), "ASIA1");
  gate.resolve(scene.issue(LIFE));
  await settle();
  assert.equal(scene.cache.size, 1);
});

// Clocks that are set.

const STEPS = [
  { step: -HOUR, key: "ASIA2", what: "fetches anew after an hour back" },
  { step: -MINUTE - 1, key: "ASIA2", what: "fetches anew after over a minute" },
  { step: -MINUTE, key: "ASIA1", what: "bears a clock set back by a minute" },
  { step: 7 * MINUTE, key: "ASIA1", what: "bears a clock set forward" },
  { step: HOUR, key: "ASIA2", what: "fetches anew after an hour forward" },
];
for (const { step, key, what } of STEPS) {
  Deno.test(`get() ${what}`, async () => {
    const scene = new Scene();
    await scene.key();
    scene.clock.stepMs = step;
    assert.equal(await scene.key(), key);
  });
}

Deno.test("get() sees that the clock was set back by less than what passed since", async () => {
  const scene = new Scene();
  await scene.key();
  await scene.advance(10 * MINUTE);
  scene.clock.stepMs = -9 * MINUTE;
  assert.equal(await scene.key(), "ASIA2");
});

Deno.test("get() sees that the clock was set back in small steps between failures", async () => {
  const scene = new Scene();
  await scene.key();
  await scene.advance(10 * MINUTE);
  scene.next = DOWN;
  for (let i = 1; i <= 2; i++) {
    scene.clock.stepMs = -40 * SECOND * i;
    scene.now();
    await scene.advance(MINUTE);
  }
  scene.next = LIFE;
  assert.notEqual(await scene.key(), "ASIA1");
});

Deno.test("get() forgets a back-off when the clock was set back", async () => {
  const scene = new Scene();
  scene.next = DENIED;
  await scene.key();
  scene.next = LIFE;
  scene.clock.stepMs = -HOUR;
  assert.equal(await scene.key(), "ASIA2");
});

Deno.test("get() does not trust a session whose call saw the clock set back", async () => {
  const scene = new Scene();
  const gate = Promise.withResolvers<Credentials>();
  const answers = [gate.promise];
  const answer = outcome(async () =>
    await scene.cache.get(ID, () => answers.pop() ?? scene.fetch(), HOLD)
  );
  gate.resolve(scene.issue(LIFE));
  scene.clock.stepMs = -HOUR;
  assert.equal(await answer, "ASIA1");
});

Deno.test("get() holds no longer because the clock was set back", async () => {
  const scene = new Scene();
  scene.next = "hang";
  const state = watch(scene.key(ID, 900));
  scene.clock.stepMs = -HOUR;
  await scene.advance(900);
  assert.equal(state(), "sts-timeout");
});

// Versions.

/** A cached session whose source changed, looked at once. */
async function changed(next: Scene["next"]): Promise<Scene> {
  const scene = new Scene();
  await scene.versionedKey();
  scene.version = "v2";
  scene.next = next;
  await scene.advance(10 * SECOND);
  return scene;
}

Deno.test("get() refreshes behind the answer when the source changed", async () => {
  const scene = await changed(LIFE);
  const keys = [await scene.versionedKey()];
  await settle();
  keys.push(await scene.versionedKey());
  assert.deepEqual(keys, ["ASIA1", "ASIA2"]);
});

Deno.test("get() makes no call as long as the source is the same", async () => {
  const scene = new Scene();
  for (let i = 0; i < 7; i++) {
    await scene.versionedKey();
    await scene.advance(MINUTE);
  }
  assert.deepEqual(scene.calls, [0]);
});

Deno.test("get() looks at the source every 10 s at most", async () => {
  const scene = new Scene();
  const looks: number[] = [];
  const start = scene.clock.elapsed();
  const read = () => {
    looks.push(scene.clock.elapsed() - start);
    return Promise.resolve("v1");
  };
  for (let second = 0; second < 35; second++) {
    await scene.versionedKey(read);
    await scene.advance(SECOND);
  }
  assert.deepEqual(looks, [0, 10_000, 20_000, 30_000]);
});

Deno.test("get() serves on, and repeats the call, while the changed source fails softly", async () => {
  const scene = await changed(DOWN);
  const keys = new Set<string>();
  for (let i = 0; i < 8; i++) {
    keys.add(await scene.versionedKey());
    await scene.advance(250);
  }
  assert.deepEqual(
    [[...keys], scene.calls],
    [["ASIA1"], [0, 10_000, 10_250, 10_750, 11_750]],
  );
});

Deno.test("get() asks once for each change of a source that is denied", async () => {
  const scene = await changed(DENIED);
  for (let i = 0; i < 60; i++) {
    await scene.versionedKey();
    await scene.advance(SECOND);
    if (i === 30) scene.version = "v3";
  }
  assert.deepEqual(scene.calls, [0, 10_000, 50_000]);
});

/** A source that changed 20 s before the back-off of a denial is over. */
async function changedAfterDenial(next: Scene["next"]): Promise<Scene> {
  const scene = new Scene();
  scene.next = DENIED;
  for (const wait of [2, 5, 10, 10]) {
    await scene.versionedKey();
    await scene.advance(wait * SECOND);
  }
  scene.version = "v2";
  scene.next = next;
  return scene;
}

Deno.test("get() ends the back-off of a denial when the source changed", async () => {
  const scene = await changedAfterDenial(LIFE);
  const codes = [await scene.versionedKey()];
  await settle();
  codes.push(await scene.versionedKey());
  assert.deepEqual(codes, ["access-denied", "ASIA5"]);
});

Deno.test("get() waits for the call that a change caused in spite of a back-off", async () => {
  const scene = await changedAfterDenial("hang");
  await scene.versionedKey();
  await settle();
  const state = watch(scene.versionedKey());
  await settle();
  assert.equal(state(), "waits");
});

Deno.test("drop() keeps a look at the source from causing a call", async () => {
  const scene = new Scene();
  await scene.versionedKey();
  await scene.advance(10 * SECOND);
  const gate = Promise.withResolvers<string>();
  await scene.versionedKey(() => gate.promise);
  scene.cache.drop({ grant: "aws" });
  gate.resolve("v2");
  await settle();
  assert.deepEqual([scene.calls, scene.cache.size], [[0], 0]);
});

const UNREADABLE = {
  "fails": () => Promise.reject(new Error("no")),
  "throws": () => {
    throw new Error("no");
  },
  "hangs": () => new Promise<string>(() => {}),
};
for (const [what, read] of Object.entries(UNREADABLE)) {
  Deno.test(`get() takes a look at the source that ${what} for no change`, async () => {
    const scene = new Scene();
    await scene.versionedKey();
    for (let i = 0; i < 3; i++) {
      await scene.advance(10 * SECOND);
      await scene.versionedKey(read);
      await scene.advance(SECOND);
    }
    assert.deepEqual(scene.calls, [0]);
  });

  Deno.test(`get() makes the call although a look at the source ${what}`, async () => {
    const scene = new Scene();
    const state = watch(scene.versionedKey(read));
    await scene.advance(SECOND);
    assert.equal(state(), "ASIA1");
  });
}

// What operators see.

Deno.test("get() logs a refresh without a secret", async () => {
  const scene = new Scene();
  await scene.key();
  assert.deepEqual(scene.logged, [[
    "session-refreshed",
    { grant: "aws", owner: "run-1", lifeSeconds: 900 },
  ]]);
});

Deno.test("get() logs failures, and once that they are over", async () => {
  const scene = new Scene();
  scene.next = DOWN;
  const answer = scene.key();
  await scene.advance(250);
  scene.next = LIFE;
  await scene.advance(500);
  await answer;
  const id = { grant: "aws", owner: "run-1" };
  const failed = { ...id, code: "sts-unreachable", message: "down" };
  assert.deepEqual(
    scene.logged.filter(([event]) => event !== "session-refreshed"),
    [
      [
        "session-refresh-failed",
        { ...failed, stillServing: false, retryInMs: 250 },
      ],
      [
        "session-refresh-failed",
        { ...failed, stillServing: false, retryInMs: 500 },
      ],
      ["session-recovered", { ...id, failures: 2 }],
    ],
  );
});

Deno.test("get() logs that it serves on what was denied anew, without a retry", async () => {
  const scene = new Scene();
  await scene.key();
  scene.next = DENIED;
  await scene.advance(LIFE / 2);
  scene.now();
  await settle();
  const { stillServing, retryInMs } = scene.logged.at(-1)?.[1] ?? {};
  assert.deepEqual([stillServing, retryInMs], [true, null]);
});

Deno.test("get() counts refreshes by outcome and code", async () => {
  const scene = new Scene();
  await scene.key();
  scene.next = DENIED;
  await scene.advance(LIFE / 2);
  scene.now();
  await settle();
  assert.deepEqual(
    scene.counted.filter(([name]) => name === "session_refresh_total"),
    [
      ["session_refresh_total", { outcome: "ok", code: "" }, 1],
      [
        "session_refresh_total",
        { outcome: "failed", code: "access-denied" },
        1,
      ],
    ],
  );
});

Deno.test("get() counts look-ups by outcome, together once a second", async () => {
  const scene = new Scene();
  await scene.key();
  for (let i = 0; i < 5; i++) scene.now();
  await scene.advance(LIFE / 2);
  scene.now();
  assert.deepEqual(
    scene.counted.filter(([name]) => name === "session_cache_total"),
    [
      ["session_cache_total", { outcome: "miss" }, 1],
      ["session_cache_total", { outcome: "hit" }, 5],
      ["session_cache_total", { outcome: "stale" }, 1],
    ],
  );
});

Deno.test("get() counts look-ups after the clock was set back too", async () => {
  const scene = new Scene();
  await scene.key();
  scene.clock.stepMs = -50 * SECOND;
  scene.now();
  assert.deepEqual(scene.counted.at(-1), [
    ...["session_cache_total", { outcome: "hit" }, 1],
  ]);
});

for (const failure of [DOWN, DENIED]) {
  Deno.test(`once() fails with the first failure (${failure.code})`, async () => {
    const scene = new Scene();
    scene.next = failure;
    const { cache, fetch, calls } = scene;
    const once = () => outcome(() => cache.once(ID, fetch, HOLD));
    assert.equal(await once(), failure.code);
    assert.equal(await once(), failure.code);
    assert.equal(calls.length, 1);
  });
}

Deno.test("once() shares what get() obtained", async () => {
  const scene = new Scene();
  const { cache, fetch, calls } = scene;
  await scene.key();
  await cache.once(ID, fetch, HOLD);
  assert.equal(calls.length, 1);
});

Deno.test("once() refreshes behind what is still valid", async () => {
  const scene = new Scene();
  const { cache, fetch, calls } = scene;
  await scene.key();
  await scene.advance(LIFE / 2);
  const { accessKeyId } = await cache.once(ID, fetch, HOLD);
  assert.deepEqual([accessKeyId, calls.length], ["ASIA1", 2]);
});
