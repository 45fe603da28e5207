/**
 * What the session cache knows about one key, and what follows from each
 * outcome of a call: until when a session may be handed out, when to refresh
 * it, and when to ask again after a failure (design decision 1). Pure.
 *
 * @module
 */

import type { MoatError } from "$core/errors.ts";
import { failure, isHardFailure } from "./errors.ts";
import type { Credentials } from "./session.ts";

const MINUTE_MS = 60_000;

/**
 * Never handed out in its last minute: some SDKs spin on such a session. Of a
 * session that lives less than two, in the second half.
 */
const MIN_LIFE_MS = MINUTE_MS;

/** botocore asks again on every call below 15 min, so stay above that. */
const REFRESH_WINDOW_MS = 20 * MINUTE_MS;

/** Spreads the refreshes of keys that were fetched together. */
const JITTER = 0.1;

const SOFT_BACKOFF_MS = [250, 500, 1000, 2000];
const HARD_BACKOFF_MS = [2000, 5000, 10_000, 30_000];

/** What is known about a key. Instants are in ms since the Unix epoch. */
export interface Known<T> {
  /** The last one that was obtained, ended or not. */
  session: T | undefined;
  /** When it was. */
  obtainedAt: number;
  /** The session must not be handed out from here on. */
  usableUntil: number;
  /** From here on a refresh is due. */
  refreshAt: number;
  /** Of the last call, if that failed. */
  failure: MoatError | undefined;
  /** How many calls in a row failed, softly or hard. */
  failures: number;
  /** No new call before this instant. */
  retryAt: number;
  /** What the last call was made from. */
  version: string | undefined;
  /** When to look again whether that changed. */
  checkAt: number;
  /** How far the clock was ahead of the time that nobody sets, in ms. */
  leadMs: number;
}

/**
 * What is known about a key that nobody asked for yet.
 *
 * @returns A value of its own.
 */
export function nothingKnown<T>(): Known<T> {
  return {
    session: undefined,
    obtainedAt: -Infinity,
    usableUntil: -Infinity,
    refreshAt: Infinity,
    failure: undefined,
    failures: 0,
    retryAt: -Infinity,
    version: undefined,
    checkAt: Infinity,
    leadMs: -Infinity,
  };
}

/**
 * Keeps a session in place of the one before.
 *
 * @param known Changed in place, unless the session is of no use.
 * @param session What a call gave.
 * @param now When.
 * @param random 0 to 1, for the jitter.
 * @returns Why the session is of no use, if so.
 */
export function learnSession<T extends Credentials>(
  known: Known<T>,
  session: T,
  now: number,
  random: number,
): MoatError | undefined {
  const { expiresAt } = session;
  const lifeMs = expiresAt - now;
  const usableUntil = isSame(known.session, session)
    ? known.usableUntil
    : expiresAt - Math.min(MIN_LIFE_MS, lifeMs / 2);
  if (!(now < usableUntil)) return endsTooSoon();
  const windowMs = Math.min(
    Math.max(REFRESH_WINDOW_MS, lifeMs / 3),
    lifeMs / 2,
  );
  known.session = session;
  known.obtainedAt = now;
  known.usableUntil = usableUntil;
  known.refreshAt = expiresAt - windowMs * (1 - JITTER * random);
  forgetFailure(known);
  return undefined;
}

/** Some sources give the session that they have until it ends. */
function isSame(one: Credentials | undefined, other: Credentials): boolean {
  return one?.expiresAt === other.expiresAt &&
    one.accessKeyId === other.accessKeyId;
}

/** A safety net: whoever fetches should have told so in better words. */
function endsTooSoon(): MoatError {
  return failure(
    "sts-garbage",
    "Cannot use the session that was obtained: it ends within a minute, or has ended",
    { hint: "check this machine's clock and the grant's source" },
  );
}

/**
 * Keeps a failure; the session before stays as valid as it was.
 *
 * @param known Changed in place.
 * @param failure Of a call.
 * @param now When.
 * @returns In how many ms to ask again; undefined if not before the session's
 *   end, since what was denied once would only be denied again.
 */
export function learnFailure(
  known: Known<unknown>,
  failure: MoatError,
  now: number,
): number | undefined {
  const isHard = isHardFailure(failure);
  if (known.failure && isHardFailure(known.failure) !== isHard) {
    known.failures = 0;
  }
  const steps = isHard ? HARD_BACKOFF_MS : SOFT_BACKOFF_MS;
  const stepMs = steps[Math.min(known.failures, steps.length - 1)] ?? 0;
  known.failure = failure;
  known.failures++;
  known.retryAt = now + stepMs;
  known.refreshAt = isHard ? Infinity : known.retryAt;
  return isHard && isUsable(known, now) ? undefined : stepMs;
}

/**
 * Lets the next call be made at once.
 *
 * @param known Changed in place.
 */
export function forgetFailure(known: Known<unknown>): void {
  known.failure = undefined;
  known.failures = 0;
  known.retryAt = -Infinity;
}

/**
 * Tells whether the session may be handed out.
 *
 * @param known Of a key.
 * @param now The time.
 * @returns Whether there is one, with enough life left.
 */
export function isUsable<T>(
  known: Known<T>,
  now: number,
): known is Known<T> & { session: T } {
  return known.session !== undefined && now < known.usableUntil;
}

/**
 * Tells whether a client that wants sessions with much life left should wait
 * for a new one.
 *
 * @param known Of a key that is usable.
 * @param now The time.
 * @param minLifeMs How much is wanted, in ms.
 * @returns False if a new one was obtained a moment ago, and was no better, or
 * could not be.
 */
export function isShort(
  { session, obtainedAt, failure, retryAt }: Known<Credentials>,
  now: number,
  minLifeMs: number,
): boolean {
  return session !== undefined && session.expiresAt - now < minLifeMs &&
    Math.abs(now - obtainedAt) >= MINUTE_MS && !(failure && now < retryAt);
}

/**
 * The error of a request that waited for a session which must not be used.
 *
 * @returns A soft failure.
 */
export function grantChanged(): MoatError {
  return failure(
    "grant-changed",
    "Cannot obtain a session: its grant was revoked or replaced meanwhile, or its binding ended",
    { hint: "ask again" },
  );
}
