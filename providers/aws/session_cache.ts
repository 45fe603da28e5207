/**
 * The session cache: one refresh in flight per key, refresh ahead of expiry,
 * and static stability while STS fails (design decision 1).
 *
 * @module
 */

import { type Clock, sleep } from "$core/clock.ts";
import { type MoatError, toMoatError } from "$core/errors.ts";
import type { Log } from "$core/log.ts";
import { isHardFailure, stsTimeout } from "./errors.ts";
import type { Session } from "./session.ts";

/** Obtains a new session. */
export type FetchSession = () => Promise<Session>;

const MINUTE_MS = 60_000;

/** Never handed out in its last minute: some SDKs spin on such a session. */
const MIN_LIFE_MS = MINUTE_MS;

/** botocore asks again on every call below 15 min, so stay above that. */
const REFRESH_WINDOW_MS = 20 * MINUTE_MS;

/** Spreads the refreshes of keys that were fetched together. */
const JITTER = 0.1;

const SOFT_BACKOFF_MS = [250, 500, 1000, 2000];
const HARD_BACKOFF_MS = [2000, 5000, 10_000, 30_000];

/** Old entries go first when there are more; far above any real use. */
const MAX_ENTRIES = 10_000;

interface Entry {
  readonly fetch: FetchSession;
  session: Session | undefined;
  refreshAt: number;
  /** Settles with the refresh in flight; never rejects. */
  inFlight: Promise<void> | undefined;
  failure: MoatError | undefined;
  failures: number;
  /** No new call before this instant. */
  retryAt: number;
  /** When the last call ended. */
  settledAt: number;
}

/** What the cache needs from outside. */
export interface SessionCacheOptions {
  /** Decides what is fresh. */
  readonly clock: Clock;
  /** Told of failed refreshes. */
  readonly log: Log;
  /** 0 to 1; default `Math.random`. */
  readonly random?: () => number;
}

/** Sessions by key. A key must hold every input of the call that made them. */
export class SessionCache {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #random: () => number;
  readonly #entries = new Map<string, Entry>();

  /** Makes an empty cache. */
  constructor(options: SessionCacheOptions) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#random = options.random ?? Math.random;
  }

  /**
   * Gives a valid session: at once if there is one, refreshing it behind the
   * answer when it is due, else after the one fetch that all callers share.
   *
   * @param key Every input of the call.
   * @param fetch Makes the call; the first one given for a key is kept.
   * @param holdMs How long to wait when nothing is valid.
   * @returns A session with more than a minute of life.
   * @throws {MoatError} The failure of the last fetch.
   */
  get(
    key: string,
    fetch: FetchSession,
    holdMs: number,
  ): Session | Promise<Session> {
    const entry = this.#entries.get(key) ?? this.#add(key, fetch);
    const now = this.#clock.now();
    forgetFuture(entry, now);
    const { session } = entry;
    if (session === undefined || now >= session.expiresAt - MIN_LIFE_MS) {
      return this.#wait(key, entry, now + holdMs);
    }
    if (now >= entry.refreshAt && now >= entry.retryAt) {
      this.#refresh(key, entry);
    }
    return session;
  }

  /**
   * Drops entries, so that the next request makes a new call.
   *
   * @param matches Tells which keys to drop.
   */
  drop(matches: (key: string) => boolean): void {
    for (const key of this.#entries.keys()) {
      if (matches(key)) this.#entries.delete(key);
    }
  }

  /** How many keys are held. */
  get size(): number {
    return this.#entries.size;
  }

  #add(key: string, fetch: FetchSession): Entry {
    if (this.#entries.size >= MAX_ENTRIES) {
      const [oldest] = this.#entries.keys();
      if (oldest !== undefined) this.#entries.delete(oldest);
    }
    const entry: Entry = {
      fetch,
      session: undefined,
      refreshAt: 0,
      inFlight: undefined,
      failure: undefined,
      failures: 0,
      retryAt: 0,
      settledAt: 0,
    };
    this.#entries.set(key, entry);
    return entry;
  }

  /** Waits for a fetch to succeed, retrying soft failures until the deadline. */
  async #wait(key: string, entry: Entry, deadline: number): Promise<Session> {
    for (;;) {
      const now = this.#clock.now();
      forgetFuture(entry, now);
      const { session, failure } = entry;
      if (session && now < session.expiresAt - MIN_LIFE_MS) return session;
      if (failure && now < entry.retryAt) {
        if (isHardFailure(failure) || entry.retryAt >= deadline) throw failure;
        await sleep(this.#clock, entry.retryAt - now);
        continue;
      }
      if (now >= deadline) throw failure ?? stsTimeout();
      this.#refresh(key, entry);
      await sleep(this.#clock, deadline - now, entry.inFlight);
    }
  }

  /** Starts the one refresh in flight; its outcome is kept in the entry. */
  #refresh(key: string, entry: Entry): void {
    entry.inFlight ??= entry.fetch().then(
      (session) => this.#succeed(entry, session),
      (error) => this.#fail(key, entry, toMoatError(error)),
    ).finally(() => entry.inFlight = undefined);
  }

  #succeed(entry: Entry, session: Session): void {
    entry.settledAt = this.#clock.now();
    const life = session.expiresAt - entry.settledAt;
    const window = Math.min(Math.max(REFRESH_WINDOW_MS, life / 3), life / 2);
    entry.session = session;
    entry.refreshAt = session.expiresAt -
      window * (1 - JITTER * this.#random());
    entry.failure = undefined;
    entry.failures = 0;
    entry.retryAt = 0;
  }

  #fail(key: string, entry: Entry, failure: MoatError): void {
    const steps = isHardFailure(failure) ? HARD_BACKOFF_MS : SOFT_BACKOFF_MS;
    const step = steps[Math.min(entry.failures, steps.length - 1)] ?? 0;
    entry.failure = failure;
    entry.failures++;
    entry.settledAt = this.#clock.now();
    entry.retryAt = entry.settledAt + step;
    const dropped = this.#entries.get(key) !== entry;
    this.#log.warn("session-refresh-failed", {
      code: failure.code,
      message: failure.message,
      stillServing: !dropped && entry.session !== undefined &&
        this.#clock.now() < entry.session.expiresAt - MIN_LIFE_MS,
      retryInMs: step,
    });
  }
}

/**
 * Forgets what was learnt at an instant that is still to come: the clock was
 * set back, so that it no longer tells how old a session is.
 */
function forgetFuture(entry: Entry, now: number): void {
  if (now >= entry.settledAt - MINUTE_MS) return;
  entry.session = undefined;
  entry.failure = undefined;
  entry.failures = 0;
  entry.retryAt = 0;
  entry.settledAt = 0;
}
