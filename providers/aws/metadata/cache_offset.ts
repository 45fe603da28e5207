/**
 * go-metadataproxy's ROLE_CACHE_OFFSET: how much of its life a session has
 * left at least when it is handed out. Where the session cache would still
 * hand one out and renew it meanwhile, the client waits for the new one.
 * One that is valid is handed out nevertheless if there is no other, and one
 * that has ended never is, whatever the offset.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";

/** The original's default. */
const DEFAULT_OFFSET = "15m";

/** The life of its sessions, which moat makes the same. */
const SESSION_MS = 3_600_000;

const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  "µs": 1e-3,
  "μs": 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Go's `time.ParseDuration`, without a sign. */
const DURATION =
  /^(?:0|(?:(?:\d{1,12}(?:\.\d{0,9})?|\.\d{1,9})(?:[nuµμm]?s|m|h))+)$/;
const PART = /(\d+\.?\d*|\.\d+)([a-zµμ]+)/g;

/** The most that leaves something of a session: more would renew it all the time. */
export const MAX_OFFSET_MS = SESSION_MS / 2;

/**
 * Reads ROLE_CACHE_OFFSET.
 *
 * @param text Go's form of a duration, such as `15m`, `60s`, `5m30s`. Default: `15m`.
 * @returns In ms; may be more than {@link MAX_OFFSET_MS}.
 * @throws {MoatError} `bad-environment` for another form.
 */
export function readCacheOffset(text: string | undefined): number {
  const value = text || DEFAULT_OFFSET;
  let totalMs = DURATION.test(value) ? 0 : NaN;
  for (const [, number = "", unit = ""] of value.matchAll(PART)) {
    totalMs += Number(number) * (UNITS[unit] ?? NaN);
  }
  if (!Number.isNaN(totalMs)) return totalMs;
  throw new MoatError(
    "bad-environment",
    `Cannot use ROLE_CACHE_OFFSET: wanted a duration, found ${
      JSON.stringify(value.slice(0, 40))
    }`,
    { hint: "give one such as 15m, 60s or 5m30s, or leave it out for 15m" },
  );
}
