import assert from "node:assert/strict";
import * as fc from "fast-check";
import { FakeClock, settle } from "../../tests/support/fake_clock.ts";
import { MoatError } from "$core/errors.ts";
import { silentLog } from "$core/log.ts";
import { noMetrics } from "$core/metrics.ts";
import { Secret } from "$core/secret.ts";
import type { Credentials } from "./session.ts";
import {
  type CacheFilter,
  type CacheId,
  SessionCache,
} from "./session_cache.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** All that differ in one field or more. */
const IDS: CacheId[] = ["k", "l"].flatMap((key) =>
  ["g", "h"].flatMap((grant) =>
    ["o", null].map((owner) => ({ key, grant, owner }))
  )
);

/** One call, whose outcome is decided later. */
interface Call {
  readonly id: CacheId;
  /** How often the id had been dropped when it began. */
  readonly drops: number;
  readonly version: string;
  readonly gate: PromiseWithResolvers<Credentials>;
}

/** What the cache should know about an id. */
interface Model {
  drops: number;
  valid: Credentials | undefined;
  /** Whether the last refresh was denied, from what is still the source. */
  isStopped: boolean;
  /** How many requests wait. */
  waiting: number;
}

type Outcome = "ok" | "soft" | "hard";

/** The cache beside a model of it; what they differ in is a violation. */
class World {
  readonly clock = new FakeClock();
  readonly violations: string[] = [];
  readonly models = new Map<CacheId, Model>(
    IDS.map((id) => [
      id,
      { drops: 0, valid: undefined, isStopped: false, waiting: 0 },
    ]),
  );
  readonly isBounded: boolean;
  readonly cache: SessionCache<Credentials>;
  /** By session: whose it is, and until when it may be handed out. */
  readonly issued = new Map<
    Credentials,
    { id: CacheId; drops: number; until: number }
  >();
  calls: Call[] = [];
  #version = 0;

  constructor(isBounded: boolean) {
    this.isBounded = isBounded;
    this.cache = new SessionCache({
      clock: this.clock,
      log: silentLog,
      metrics: noMetrics,
      elapsed: () => this.clock.now(),
      maxEntries: isBounded ? 2 : 100,
    });
  }

  model(id: CacheId): Model {
    const model = this.models.get(id);
    if (!model) throw new Error("no such id");
    return model;
  }

  ask(id: CacheId, holdMs: number): void {
    const model = this.model(id);
    const { valid } = model;
    const version = () => Promise.resolve(`${this.#version}`);
    const answer = this.cache.get(id, () => this.#call(id), holdMs, version);
    if (!(answer instanceof Promise)) return this.#got(id, answer);
    if (this.isValid(valid) && !this.isBounded) this.#wrong("waits in vain");
    model.waiting++;
    answer.then((session) => this.#got(id, session), () => {})
      .finally(() => model.waiting--);
  }

  async answer(
    index: number,
    outcome: Outcome,
    lifeMs: number,
  ): Promise<void> {
    const [call] = this.calls.splice(index % (this.calls.length || 1), 1);
    if (!call) return;
    const { id, drops, version, gate } = call;
    const model = this.model(id);
    const isLate = drops !== model.drops;
    if (outcome === "soft") {
      gate.reject(new MoatError("sts-unavailable", "down"));
    } else if (outcome === "hard") {
      gate.reject(new MoatError("access-denied", "no"));
      if (isLate) return;
      model.isStopped = version === `${this.#version}`;
    } else {
      const session = this.#issue(id, drops, lifeMs);
      gate.resolve(session);
      if (isLate) return;
      model.valid = session;
      model.isStopped = false;
    }
    await settle();
    if (outcome !== "soft" && model.waiting > 0) this.#wrong("keeps waiting");
  }

  async drop(filter: CacheFilter): Promise<void> {
    this.cache.drop(filter);
    const [[field, value] = []] = Object.entries(filter);
    for (const [id, model] of this.models) {
      if (id[field as keyof CacheId] !== value) continue;
      model.drops++;
      model.valid = undefined;
      model.isStopped = false;
      await settle();
      if (model.waiting > 0) this.#wrong("keeps waiting for what was dropped");
    }
  }

  changeVersion(): void {
    this.#version++;
    for (const model of this.models.values()) model.isStopped = false;
  }

  isValid(session: Credentials | undefined): boolean {
    const until = session && this.issued.get(session)?.until;
    return until !== undefined && this.clock.now() < until;
  }

  #issue(id: CacheId, drops: number, lifeMs: number): Credentials {
    const session = {
      accessKeyId: `ASIA${this.issued.size}`,
      secretAccessKey: new Secret("secret"),
      expiresAt: this.clock.now() + lifeMs,
    };
    const until = session.expiresAt - Math.min(MINUTE, lifeMs / 2);
    this.issued.set(session, { id, drops, until });
    return session;
  }

  #call(id: CacheId): Promise<Credentials> {
    const { drops, valid, isStopped } = this.model(id);
    if (this.calls.some((call) => call.id === id)) this.#wrong("two calls");
    if (isStopped && this.isValid(valid) && !this.isBounded) {
      this.#wrong("asks again for what was denied");
    }
    const gate = Promise.withResolvers<Credentials>();
    this.calls.push({ id, drops, version: `${this.#version}`, gate });
    return gate.promise;
  }

  #got(id: CacheId, session: Credentials): void {
    const made = this.issued.get(session);
    if (made?.id !== id) this.#wrong("a session of another id");
    if (made?.drops !== this.model(id).drops) this.#wrong("dropped");
    if (!this.isValid(session)) this.#wrong("ended");
  }

  #wrong(what: string): void {
    this.violations.push(what);
  }
}

type Command = fc.AsyncCommand<object, World>;

function command(name: string, act: (world: World) => unknown): Command {
  return {
    check: () => true,
    async run(_, world) {
      await act(world);
      await settle();
      assert.deepEqual(world.violations, []);
    },
    toString: () => name,
  };
}

/** Mostly the same few, so that something happens to them. */
const id = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...IDS.slice(0, 2)) },
  { weight: 1, arbitrary: fc.constantFrom(...IDS) },
);
const ms = fc.oneof(
  fc.integer({ min: 0, max: 5 * SECOND }),
  fc.integer({ min: 0, max: 20 * MINUTE }),
  fc.constant(8 * MINUTE),
);
const filter = fc.constantFrom<CacheFilter>(
  { key: "k" },
  { grant: "g" },
  { owner: "o" },
);
const COMMANDS = [
  fc.tuple(id, fc.constantFrom(0, 900, 8000)).map(([id, hold]) =>
    command(`ask(${JSON.stringify(id)}, ${hold})`, (w) => w.ask(id, hold))
  ),
  fc.tuple(
    fc.nat(3),
    fc.constantFrom<Outcome>("ok", "ok", "soft", "hard"),
    fc.constantFrom(20, 90, 900, 900, 3600),
  ).map(([index, outcome, life]) =>
    command(
      `answer(${index}, "${outcome}", ${life * SECOND})`,
      (w) => w.answer(index, outcome, life * SECOND),
    )
  ),
  fc.tuple(ms, id).map(([ms, id]) =>
    command(`advance(${ms}), ask(${JSON.stringify(id)}, 900)`, async (w) => {
      await w.clock.advance(ms);
      w.ask(id, 900);
    })
  ),
  filter.map((filter) =>
    command(`drop(${JSON.stringify(filter)})`, (w) => w.drop(filter))
  ),
  fc.constant(command("changeVersion()", (w) => w.changeVersion())),
];

/** Nothing new is asked for, all calls end, all holds are over. */
async function drain(world: World): Promise<void> {
  for (let i = 0; i < 20; i++) {
    while (world.calls.length > 0) await world.answer(0, "soft", 0);
    await world.clock.advance(SECOND);
  }
}

for (const isBounded of [false, true]) {
  const where = isBounded ? "in a cache that is too small" : "in a large cache";
  Deno.test(`get() hands out only what is valid, its own and not dropped, with one call per id, ${where}`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.commands(COMMANDS, { maxCommands: 80, size: "max" }),
        async (commands) => {
          const world = new World(isBounded);
          await fc.asyncModelRun(() => ({ model: {}, real: world }), commands);
          await drain(world);
          assert.deepEqual(world.violations, []);
          assert.ok(world.models.values().every((m) => m.waiting === 0));
          assert.ok(world.cache.size <= (isBounded ? 2 : IDS.length));
        },
      ),
      { numRuns: 500 },
    );
  });
}

/** A clock that is set, beside the time that passes. */
class SteppedClock extends FakeClock {
  stepMs = 0;

  override now(): number {
    return super.now() + this.stepMs;
  }

  elapsed(): number {
    return super.now();
  }
}

Deno.test("get() hands out nothing that has ended, however the clock is set", async () => {
  const step = fc.record({
    passMs: fc.integer({ min: 0, max: 10 * MINUTE }),
    stepMs: fc.oneof(
      fc.constant(0),
      fc.integer({ min: -MINUTE, max: MINUTE }),
      fc.integer({ min: -60 * MINUTE, max: 60 * MINUTE }),
    ),
    fails: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const clock = new SteppedClock();
      const cache = new SessionCache<Credentials & { endsAt: number }>({
        ...{ clock, log: silentLog, metrics: noMetrics },
        elapsed: () => clock.elapsed(),
      });
      for (const { passMs, stepMs, fails } of steps) {
        await clock.advance(passMs);
        clock.stepMs += stepMs;
        const fetch = () =>
          fails
            ? Promise.reject(new MoatError("sts-unavailable", "down"))
            : Promise.resolve({
              accessKeyId: "ASIA1",
              secretAccessKey: new Secret("secret"),
              expiresAt: clock.now() + 15 * MINUTE,
              endsAt: clock.elapsed() + 15 * MINUTE,
            });
        const answer = Promise.resolve(
          cache.get({ key: "k", grant: "g", owner: null }, fetch, 900),
        ).then(
          (session) => clock.elapsed() < session.endsAt,
          () => true,
        );
        await settle();
        await clock.advance(900);
        assert.ok(await answer);
      }
    }),
    { numRuns: 500 },
  );
});
