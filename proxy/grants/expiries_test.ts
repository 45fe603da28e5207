import assert from "node:assert/strict";
import fc from "fast-check";
import { MoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import { createRegistry, type Expiry } from "$core/provider.ts";
import { createMemoryStore } from "$core/store/memory.ts";
import { settle } from "../../tests/support/fake_clock.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import { ExpiryWatch } from "./expiries.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

function grant(name: string): Grant {
  return { provider: "alpha", name, createdAt: 0, settings: {} };
}

/** Grants of one provider, whose ends the test decides. */
class Bed {
  readonly platform = fakePlatform();
  readonly store = createMemoryStore([grant("alpha"), grant("alpha:b")]);
  /** What ends, by grant; an error if that cannot be told. */
  readonly ends = new Map<string, Expiry[] | MoatError>();
  /** What runs were told, as `GRANT CODE`. */
  readonly told: string[] = [];
  readonly watch: ExpiryWatch;

  constructor() {
    const provider = {
      ...headerProvider({ name: "alpha" }),
      expiries: ({ name }: Grant) => {
        const ends = this.ends.get(name) ?? [];
        return ends instanceof MoatError
          ? Promise.reject(ends)
          : Promise.resolve(ends);
      },
    };
    this.watch = new ExpiryWatch({
      platform: this.platform,
      registry: createRegistry([provider, headerProvider({ name: "beta" })]),
      store: this.store,
      notify: (name, { code }) => void this.told.push(`${name} ${code}`),
    });
  }

  /** Something that ends so long after now. */
  end(leftMs: number, more: Partial<Expiry> = {}): Expiry {
    return {
      what: "certificate",
      expiresAt: this.platform.clock.now() + leftMs,
      warnAhead: [30 * DAY, 7 * DAY, DAY],
      hint: "renew it",
      ...more,
    };
  }

  /** Starts to watch one end of the grant `alpha`. */
  async start(...ends: Expiry[]): Promise<void> {
    this.ends.set("alpha", ends);
    await this.watch.start(Promise.resolve());
  }

  /** Events of the log, in order. */
  get logged(): string[] {
    return this.platform.lines.map(({ event }) => event);
  }

  /** What the gauge shows now, by labels. */
  get gauges(): Record<string, number> {
    const shown: Record<string, number> = {};
    for (const { name, value, labels } of this.platform.measured) {
      const key = `${name} ${labels["grant"]} ${labels["what"]}`;
      if (value === undefined) delete shown[key];
      else shown[key] = value;
    }
    return shown;
  }
}

const SOON = "credential-expires-soon";
const GAUGE = "credential_expiry_timestamp_seconds";

Deno.test("start() says nothing of what ends later than its first threshold", async () => {
  const bed = new Bed();
  await bed.start(bed.end(30 * DAY + 1));
  assert.deepEqual([bed.logged, bed.told], [[], []]);
});

Deno.test("start() waits for what it is told to", async () => {
  const bed = new Bed();
  const ready = Promise.withResolvers<void>();
  bed.ends.set("alpha", [bed.end(DAY)]);
  const started = bed.watch.start(ready.promise);
  await settle();
  assert.deepEqual(bed.watch.statuses, []);
  ready.resolve();
  await started;
  assert.equal(bed.watch.statuses.length, 1);
});

Deno.test("start() logs what ends soon with grant, what, end and hint", async () => {
  const bed = new Bed();
  await bed.start(bed.end(6 * DAY));
  assert.deepEqual(bed.platform.lines, [{
    event: SOON,
    fields: {
      grant: "alpha",
      what: "certificate",
      expiresAt: "2026-01-07T00:00:00.000Z",
      hint: "renew it",
    },
  }]);
});

Deno.test("start() tells no run: each is told when it opens", async () => {
  const bed = new Bed();
  await bed.start(bed.end(DAY));
  assert.deepEqual(bed.told, []);
});

Deno.test("a threshold is told of when it is crossed, and no earlier", async () => {
  const bed = new Bed();
  await bed.start(bed.end(30 * DAY + 90 * MINUTE));
  await bed.platform.clock.advance(90 * MINUTE - 1);
  assert.deepEqual(bed.logged, []);
  await bed.platform.clock.advance(1);
  assert.deepEqual([bed.logged, bed.told], [[SOON], [`alpha ${SOON}`]]);
});

Deno.test("each threshold is told of once, and the end", async () => {
  const bed = new Bed();
  await bed.start(bed.end(40 * DAY));
  await bed.platform.clock.advance(60 * DAY);
  assert.deepEqual(bed.logged, [SOON, SOON, SOON, "credential-expired"]);
  assert.deepEqual(bed.told.at(-1), "alpha credential-expired");
});

Deno.test("a short life is told of in time", async () => {
  const bed = new Bed();
  const warnAhead = [10 * MINUTE];
  await bed.start(bed.end(15 * MINUTE, { what: "mfa-session", warnAhead }));
  await bed.platform.clock.advance(5 * MINUTE);
  assert.deepEqual(bed.logged, [SOON]);
});

Deno.test("of thresholds that were crossed at once, one is told of", async () => {
  const bed = new Bed();
  await bed.start(bed.end(2 * HOUR));
  assert.deepEqual(bed.logged, [SOON]);
});

Deno.test("what has ended already is told of as ended", async () => {
  const bed = new Bed();
  await bed.start(bed.end(-1));
  assert.deepEqual(bed.logged, ["credential-expired"]);
});

Deno.test("what was renewed without telling us is found within an hour", async () => {
  const bed = new Bed();
  await bed.start(bed.end(DAY));
  bed.ends.set("alpha", [bed.end(365 * DAY)]);
  await bed.platform.clock.advance(HOUR);
  const [status] = bed.watch.statuses;
  assert.equal(status?.expiresAt, "2027-01-01T00:00:00.000Z");
});

Deno.test("what was renewed is told of anew", async () => {
  const bed = new Bed();
  await bed.start(bed.end(DAY));
  bed.ends.set("alpha", [bed.end(2 * DAY, { warnAhead: [2 * DAY] })]);
  await bed.watch.review("alpha");
  assert.deepEqual([bed.logged, bed.told], [[SOON, SOON], [`alpha ${SOON}`]]);
});

Deno.test("review() finds a grant that is new", async () => {
  const bed = new Bed();
  await bed.start();
  bed.ends.set("alpha:c", [bed.end(40 * DAY)]);
  await bed.store.put(grant("alpha:c"));
  await bed.watch.review("alpha:c");
  assert.deepEqual(bed.watch.statuses.map(({ grant }) => grant), ["alpha:c"]);
});

Deno.test("review() forgets a grant that was revoked", async () => {
  const bed = new Bed();
  await bed.start(bed.end(DAY));
  await bed.store.delete("alpha");
  await bed.watch.review("alpha");
  assert.deepEqual([bed.watch.statuses, bed.gauges], [[], {}]);
});

Deno.test("an hour later a grant is forgotten that was removed by hand", async () => {
  const bed = new Bed();
  await bed.start(bed.end(DAY));
  await bed.store.delete("alpha");
  await bed.platform.clock.advance(HOUR);
  assert.deepEqual([bed.watch.statuses, bed.gauges], [[], {}]);
});

Deno.test("the gauge shows each end in seconds", async () => {
  const bed = new Bed();
  bed.ends.set("alpha:b", [bed.end(DAY)]);
  await bed.start(bed.end(DAY), bed.end(HOUR, { what: "mfa-session" }));
  const now = bed.platform.clock.now() / 1000;
  assert.deepEqual(bed.gauges, {
    [`${GAUGE} alpha certificate`]: now + DAY / 1000,
    [`${GAUGE} alpha mfa-session`]: now + HOUR / 1000,
    [`${GAUGE} alpha:b certificate`]: now + DAY / 1000,
  });
});

Deno.test("the gauge drops what ends no more", async () => {
  const bed = new Bed();
  await bed.start(bed.end(DAY), bed.end(HOUR, { what: "mfa-session" }));
  bed.ends.set("alpha", [bed.end(DAY)]);
  await bed.watch.review("alpha");
  assert.deepEqual(Object.keys(bed.gauges), [`${GAUGE} alpha certificate`]);
});

Deno.test("statuses come the soonest first, whatever their grant", async () => {
  const bed = new Bed();
  bed.ends.set("alpha:b", [bed.end(2 * DAY)]);
  await bed.start(bed.end(3 * DAY), bed.end(DAY, { what: "mfa-session" }));
  assert.deepEqual(
    bed.watch.statuses.map(({ grant, what }) => [grant, what]),
    [["alpha", "mfa-session"], ["alpha:b", "certificate"], [
      "alpha",
      "certificate",
    ]],
  );
});

Deno.test("a grant whose ends cannot be told keeps those that are known", async () => {
  const bed = new Bed();
  await bed.start(bed.end(40 * DAY));
  bed.ends.set("alpha", new MoatError("certificate-unreadable", "no"));
  await bed.watch.review("alpha");
  assert.deepEqual(bed.platform.lines, [{
    event: "expiries-failed",
    fields: { grant: "alpha", code: "certificate-unreadable" },
  }]);
  assert.equal(bed.watch.statuses.length, 1);
});

Deno.test("a grant whose ends cannot be told hides no other", async () => {
  const bed = new Bed();
  bed.ends.set("alpha:b", [bed.end(DAY)]);
  bed.ends.set("alpha", new MoatError("certificate-unreadable", "no"));
  await bed.watch.start(Promise.resolve());
  assert.deepEqual(bed.watch.statuses.map(({ grant }) => grant), ["alpha:b"]);
});

Deno.test("a store that cannot be read is tried again an hour later", async () => {
  const bed = new Bed();
  const { list } = bed.store;
  bed.store.list = () => Promise.reject(new MoatError("key-unavailable", "x"));
  await bed.start(bed.end(40 * DAY));
  assert.deepEqual(bed.logged, ["expiries-failed"]);
  bed.store.list = list;
  await bed.platform.clock.advance(HOUR);
  assert.equal(bed.watch.statuses.length, 1);
});

Deno.test("tell() tells a new run of what ends soon, and of nothing else", async () => {
  const bed = new Bed();
  bed.ends.set("alpha:b", [bed.end(DAY)]);
  await bed.start(bed.end(DAY), bed.end(90 * DAY, { what: "other" }));
  const notices: MoatError[] = [];
  bed.watch.tell(["alpha", "beta"], { notify: (n) => notices.push(n) });
  await settle();
  assert.deepEqual(
    notices.map(({ code, message, hint }) => [code, message, hint]),
    [[
      SOON,
      'The certificate of grant "alpha" ends at 2026-01-02T00:00:00.000Z',
      "renew it",
    ]],
  );
});

Deno.test("tell() leaves runs alone before the last threshold", async () => {
  const bed = new Bed();
  await bed.start(bed.end(DAY + 1));
  const notices: MoatError[] = [];
  bed.watch.tell(["alpha"], { notify: (n) => notices.push(n) });
  await settle();
  assert.deepEqual(notices, []);
});

Deno.test("tell() waits for the first look", async () => {
  const bed = new Bed();
  const notices: MoatError[] = [];
  bed.ends.set("alpha", [bed.end(1)]);
  const started = bed.watch.start(settle());
  bed.watch.tell(["alpha"], { notify: (n) => notices.push(n) });
  await started;
  await settle();
  assert.deepEqual(notices.map(({ message }) => message), [
    'The certificate of grant "alpha" ends at 2026-01-01T00:00:00.001Z',
  ]);
});

Deno.test("tell() leaves what has ended to the request that fails", async () => {
  const bed = new Bed();
  const notices: MoatError[] = [];
  bed.ends.set("alpha", [bed.end(-1)]);
  await bed.watch.start(settle());
  bed.watch.tell(["alpha"], { notify: (n) => notices.push(n) });
  await settle();
  assert.deepEqual(notices, []);
});

Deno.test("stop() ends the looking", async () => {
  const bed = new Bed();
  await bed.start(bed.end(31 * DAY));
  bed.watch.stop();
  await bed.platform.clock.advance(40 * DAY);
  assert.deepEqual(bed.logged, []);
});

Deno.test("no threshold is told of twice, or late by more than a second", async () => {
  const ahead = fc.uniqueArray(fc.integer({ min: 1, max: 5 * HOUR }), {
    maxLength: 4,
  });
  const left = fc.integer({ min: 5 * HOUR + 1, max: 10 * HOUR });
  await fc.assert(
    fc.asyncProperty(ahead, left, async (aheads, leftMs) => {
      const bed = new Bed();
      const warnAhead = aheads.sort((a, b) => b - a);
      const end = bed.end(leftMs, { warnAhead });
      const told: number[] = [];
      bed.platform.log.warn = () =>
        void told.push(end.expiresAt - bed.platform.clock.now());
      await bed.start(end);
      await bed.platform.clock.advance(11 * HOUR);
      // Thresholds that lie within a second may be told of as one.
      const wanted = [...warnAhead, 0];
      assert(told.length <= wanted.length);
      for (const at of wanted) {
        assert(told.some((left) => left <= at && left > at - 1000), `${at}`);
      }
    }),
    { numRuns: 50 },
  );
});
