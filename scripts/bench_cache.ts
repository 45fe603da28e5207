/**
 * Speed of the session cache: what a cached look-up costs, and how many calls
 * a burst of first requests makes.
 *
 * @module
 */

import { systemClock } from "$core/clock.ts";
import { silentLog } from "$core/log.ts";
import { noMetrics } from "$core/metrics.ts";
import { Secret } from "$core/secret.ts";
import type { Credentials } from "$providers/aws/session.ts";
import { type CacheId, SessionCache } from "$providers/aws/session_cache.ts";

const LOOK_UPS = 500_000;
const WARM_KEYS = 1000;
const BURST_KEYS = 100;
const BURST_REQUESTS = 10_000;
const HOUR_MS = 3_600_000;
const HOLD_MS = 8000;

/** What {@link benchCache} measured. */
export interface CacheFigures {
  /** ns per cached look-up, one figure per round. */
  readonly lookUpNs: readonly number[];
  /** Calls that 10,000 concurrent first requests over 100 keys made. */
  readonly burstCalls: number;
  /** How long these took together, in ms, with calls that take 50 ms. */
  readonly burstMs: number;
}

/**
 * Measures the cache in this process.
 *
 * @param rounds How often to measure the look-up; default 5.
 * @returns The figures.
 */
export async function benchCache(rounds = 5): Promise<CacheFigures> {
  return { lookUpNs: await benchLookUp(rounds), ...await benchBurst() };
}

function newCache(): SessionCache<Credentials> {
  const metrics = noMetrics;
  return new SessionCache({ clock: systemClock, log: silentLog, metrics });
}

/** Ids as the engine makes them, with keys as long as real ones. */
function makeIds(count: number): CacheId[] {
  const policy = "p".repeat(1000);
  return Array.from({ length: count }, (_, i) => ({
    key: JSON.stringify([{ kind: "assume-role", policy, sessionName: i }]),
    grant: `aws:g${i % 10}`,
    owner: `run-${i}`,
  }));
}

function makeSession(): Credentials {
  return {
    accessKeyId: "ASIABENCH",
    secretAccessKey: new Secret("bench"),
    expiresAt: systemClock.now() + HOUR_MS,
  };
}

async function benchLookUp(rounds: number): Promise<number[]> {
  const cache = newCache();
  const ids = makeIds(WARM_KEYS);
  const fetch = () => Promise.resolve(makeSession());
  const version = () => Promise.resolve("");
  await Promise.all(ids.map((id) => cache.get(id, fetch, HOLD_MS, version)));
  const figures: number[] = [];
  // The first round is for the compiler.
  for (let round = -1; round < rounds; round++) {
    const startedAt = performance.now();
    for (let i = 0; i < LOOK_UPS; i++) {
      const id = ids[(i * 7) % WARM_KEYS];
      if (id) cache.get(id, fetch, HOLD_MS, version);
    }
    const ns = (performance.now() - startedAt) * 1e6 / LOOK_UPS;
    if (round >= 0) figures.push(ns);
  }
  return figures;
}

async function benchBurst(): Promise<Omit<CacheFigures, "lookUpNs">> {
  const cache = newCache();
  const ids = makeIds(BURST_KEYS);
  let burstCalls = 0;
  const fetch = () => {
    burstCalls++;
    return new Promise<Credentials>((resolve) =>
      systemClock.after(50, () => resolve(makeSession()))
    );
  };
  const startedAt = performance.now();
  const asked: (Credentials | Promise<Credentials>)[] = [];
  for (let i = 0; i < BURST_REQUESTS; i++) {
    const id = ids[i % BURST_KEYS];
    if (id) asked.push(cache.get(id, fetch, HOLD_MS));
  }
  await Promise.all(asked);
  return { burstCalls, burstMs: performance.now() - startedAt };
}
