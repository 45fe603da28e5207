/**
 * The session cache: one refresh in flight per key, refresh ahead of expiry,
 * and static stability while AWS fails (design decision 1).
 *
 * It never hands out what has ended, nor what was asked for before a drop.
 *
 * @module
 */

import { type Clock, sleep } from "$core/clock.ts";
import { type MoatError, toMoatError } from "$core/errors.ts";
import type { Log } from "$core/log.ts";
import type { Metrics } from "$core/metrics.ts";
import { isHardFailure, stsTimeout } from "./errors.ts";
import type { Credentials } from "./session.ts";
import {
  type CacheFilter,
  type CacheId,
  Entries,
  type Entry,
  wake,
} from "./session_entries.ts";
import {
  forgetFailure,
  grantChanged,
  isShort,
  isUsable,
  type Known,
  learnFailure,
  learnSession,
  nothingKnown,
} from "./session_known.ts";

export type { CacheFilter, CacheId } from "./session_entries.ts";

/** How often at most to look whether a source changed. */
const CHECK_MS = 10_000;

/** A look at files takes no longer, or is given up. */
const CHECK_TIMEOUT_MS = 1000;

/** A clock set back by more makes all that was learnt before useless. */
const MAX_STEP_BACK_MS = 60_000;

/** Look-ups are counted together: one by one would cost more than themselves. */
const COUNT_MS = 1000;

/** What the cache needs from outside. */
export interface SessionCacheOptions {
  /** Decides what is fresh. */
  readonly clock: Clock;
  /** Told of refreshes. */
  readonly log: Log;
  /** Counts look-ups and refreshes. */
  readonly metrics: Metrics;
  /** 0 to 1; default `Math.random`. */
  readonly random?: () => number;
  /**
   * Milliseconds since some instant, by a clock that nobody sets; tells when
   * `clock` was set back. Default: `performance.now`.
   */
  readonly elapsed?: () => number;
  /** How many entries to keep; default 10,000. */
  readonly maxEntries?: number;
}

/** How to obtain a session, and what it is made from. */
interface Ask<T> {
  readonly fetch: () => Promise<T>;
  readonly version?: (() => Promise<string>) | undefined;
  /** Whether the first failure is final. */
  readonly once?: boolean;
}

/** Sessions by key. A key must hold every input of the call that made them. */
export class SessionCache<T extends Credentials> {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #random: () => number;
  readonly #elapsed: () => number;
  readonly #entries: Entries<T>;
  #lookUps = { hit: 0, stale: 0, miss: 0 };
  #countedAt = -Infinity;

  /** Makes an empty cache. */
  constructor(options: SessionCacheOptions) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#random = options.random ?? Math.random;
    this.#elapsed = options.elapsed ?? (() => performance.now());
    this.#entries = new Entries(options.maxEntries);
  }

  /**
   * Gives a valid session: at once if there is one, refreshing it behind the
   * answer when it is due, else after the one fetch that all callers share.
   *
   * @param id Whose; entries of different ids share nothing.
   * @param fetch Makes the call. It must settle some time: until then there is
   *   no other call for this id.
   * @param holdMs How long to wait when nothing is valid.
   * @param version Tells what a session is made from, such as the state of
   *   files. Looked at behind the answer, every 10 s at most; once it differs
   *   from that of the last call, a refresh is due. One that fails tells nothing.
   * @param minLifeMs Of a session with less life left the refresh is waited
   *   for; if it fails, that session is given nevertheless. Default: 0.
   * @returns A session with more than a minute of life, or more than half of
   *   its life if that is shorter than two.
   * @throws {MoatError} The failure of the last call, `sts-timeout`, or
   *   `grant-changed` if the entry was dropped meanwhile.
   */
  get(
    id: CacheId,
    fetch: () => Promise<T>,
    holdMs: number,
    version?: () => Promise<string>,
    minLifeMs = 0,
  ): T | Promise<T> {
    const entry = this.#entries.use(id);
    const { known } = entry;
    const now = this.#look(known);
    if (version && now >= known.checkAt) {
      this.#check(entry, { fetch, version }, now);
    }
    if (!isUsable(known, now)) {
      this.#count("miss", now);
      return this.#wait(entry, { fetch, version }, holdMs);
    }
    const isTooShort = isShort(known, now, minLifeMs);
    const isDue = isTooShort || now >= known.refreshAt;
    this.#count(isDue ? "stale" : "hit", now);
    if (isDue) this.#refresh(entry, { fetch, version });
    return isTooShort
      ? this.#waitForNext(entry, { fetch, version }, holdMs)
      : known.session;
  }

  /**
   * Gives what a further call needs: like {@link get}, but fails with the first
   * failure, because whoever makes that call repeats both.
   *
   * @param id Whose.
   * @param fetch Makes the call.
   * @param holdMs How long to wait at most.
   * @returns As {@link get}.
   * @throws {MoatError} As {@link get}.
   */
  async once(
    id: CacheId,
    fetch: () => Promise<T>,
    holdMs: number,
  ): Promise<T> {
    const entry = this.#entries.use(id);
    const { known } = entry;
    const now = this.#look(known);
    const ask = { fetch, once: true };
    if (!isUsable(known, now)) return await this.#wait(entry, ask, holdMs);
    if (now >= known.refreshAt) this.#refresh(entry, ask);
    return known.session;
  }

  /**
   * Drops entries, so that the next request makes a new call. A call that is
   * in flight is let end first, and its outcome is not used; requests that
   * wait for it fail.
   *
   * @param filter Tells which entries to drop.
   */
  drop(filter: CacheFilter): void {
    this.#entries.clear(filter);
  }

  /** How many ids are held, those with a call in flight included. */
  get size(): number {
    return this.#entries.size;
  }

  /** Waits for a call to succeed, repeating it until the hold is over. */
  async #wait(entry: Entry<T>, ask: Ask<T>, holdMs: number): Promise<T> {
    const { known } = entry;
    const hold = this.#startHold(holdMs);
    this.#entries.enter(entry);
    try {
      for (;;) {
        if (entry.known !== known) throw grantChanged();
        const now = this.#look(known);
        if (isUsable(known, now)) return known.session;
        const { failure, retryAt } = known;
        if (failure && now < retryAt) {
          const isHopeless = ask.once || isHardFailure(failure) ||
            retryAt >= hold.endsAt;
          if (isHopeless || hold.isOver) throw failure;
          await sleep(this.#clock, retryAt - now, entry.changed.promise);
        } else {
          if (hold.isOver) throw failure ?? stsTimeout();
          this.#refresh(entry, ask);
          await Promise.race([hold.over, entry.changed.promise]);
        }
      }
    } finally {
      hold.cancel();
      this.#entries.leave(entry);
    }
  }

  /** Waits for the refresh in flight; what is valid then will do, be it the old one. */
  async #waitForNext(
    entry: Entry<T>,
    ask: Ask<T>,
    holdMs: number,
  ): Promise<T> {
    const hold = this.#startHold(holdMs);
    this.#entries.enter(entry);
    await Promise.race([hold.over, entry.changed.promise]);
    hold.cancel();
    this.#entries.leave(entry);
    return await this.#wait(entry, ask, 0);
  }

  /** A timer ends it, since its instant moves when the clock is set. */
  #startHold(holdMs: number) {
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const endsAt = this.#clock.now() + holdMs;
    const hold = { endsAt, isOver: false, over, cancel: () => {} };
    hold.cancel = this.#clock.after(holdMs, () => {
      hold.isOver = true;
      resolve();
    });
    return hold;
  }

  /** Starts the one call in flight; its outcome is kept in the entry. */
  #refresh(entry: Entry<T>, ask: Ask<T>): void {
    if (entry.isRefreshing) return;
    entry.isRefreshing = true;
    this.#entries.enter(entry);
    const { known } = entry;
    const leadMs = this.#clock.now() - this.#elapsed();
    this.#call(entry, ask).then(
      (session) => {
        if (entry.known === known) this.#succeed(entry, session, leadMs);
      },
      (error) => {
        if (entry.known !== known) return;
        this.#fail(entry, toMoatError(error), leadMs);
      },
    ).finally(() => {
      entry.isRefreshing = false;
      wake(entry);
      this.#entries.leave(entry);
    });
  }

  /** The version comes first: what changes meanwhile is then seen later. */
  async #call(entry: Entry<T>, { fetch, version }: Ask<T>): Promise<T> {
    const { known } = entry;
    if (version) {
      known.checkAt = this.#clock.now() + CHECK_MS;
      known.version = await this.#read(version);
      if (entry.known !== known) throw grantChanged();
    }
    return await fetch();
  }

  #succeed(entry: Entry<T>, session: T, leadMs: number): void {
    const { id: { grant, owner }, known } = entry;
    const { failures } = known;
    const now = this.#clock.now();
    const fault = learnSession(known, session, now, this.#random());
    if (fault) return this.#fail(entry, fault, leadMs);
    known.leadMs = leadMs;
    this.#metrics.count("session_refresh_total", { outcome: "ok", code: "" });
    const lifeSeconds = Math.floor((session.expiresAt - now) / 1000);
    this.#log.debug("session-refreshed", { grant, owner, lifeSeconds });
    if (failures === 0) return;
    this.#log.info("session-recovered", { grant, owner, failures });
  }

  #fail(entry: Entry<T>, failure: MoatError, leadMs: number): void {
    const { id: { grant, owner }, known } = entry;
    const now = this.#clock.now();
    const retryInMs = learnFailure(known, failure, now) ?? null;
    known.leadMs = Math.max(known.leadMs, leadMs);
    const { code, message } = failure;
    this.#metrics.count("session_refresh_total", { outcome: "failed", code });
    const stillServing = isUsable(known, now);
    this.#log.warn("session-refresh-failed", {
      ...{ grant, owner, code, message, stillServing, retryInMs },
    });
  }

  /** Looks whether what a session is made from changed, and refreshes it then. */
  async #check(
    entry: Entry<T>,
    ask: Ask<T> & { version: () => Promise<string> },
    now: number,
  ): Promise<void> {
    const { id: { grant, owner }, known } = entry;
    known.checkAt = now + CHECK_MS;
    this.#entries.enter(entry);
    const version = await this.#read(ask.version);
    const before = known.version;
    if (before === undefined) known.version = version;
    const isKnown = version !== undefined && before !== undefined;
    if (isKnown && version !== before && entry.known === known) {
      this.#log.info("source-changed", { grant, owner });
      forgetFailure(known);
      this.#refresh(entry, ask);
    }
    this.#entries.leave(entry);
  }

  /** Reads a version; undefined if that fails or takes long. */
  async #read(version: () => Promise<string>): Promise<string | undefined> {
    let found: string | undefined;
    const read = async () => {
      found = await version();
    };
    await sleep(this.#clock, CHECK_TIMEOUT_MS, read().catch(() => {}));
    return found;
  }

  /**
   * Tells the time, and forgets what was learnt by a clock that has been set
   * back since: neither what it said about a session's end holds any more, nor
   * what clients are told about it.
   */
  #look(known: Known<T>): number {
    const now = this.#clock.now();
    if (now - this.#elapsed() < known.leadMs - MAX_STEP_BACK_MS) {
      Object.assign(known, nothingKnown());
    }
    return now;
  }

  #count(outcome: "hit" | "stale" | "miss", now: number): void {
    this.#lookUps[outcome]++;
    if (Math.abs(now - this.#countedAt) < COUNT_MS) return;
    this.#countedAt = now;
    for (const [outcome, count] of Object.entries(this.#lookUps)) {
      if (count === 0) continue;
      this.#metrics.count("session_cache_total", { outcome }, count);
    }
    this.#lookUps = { hit: 0, stale: 0, miss: 0 };
  }
}
