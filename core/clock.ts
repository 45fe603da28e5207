/**
 * Time, as a port: code that waits or compares instants takes a {@link Clock},
 * so that tests turn its hands instead of sleeping.
 *
 * @module
 */

/** Tells the time and calls back later. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /**
   * Calls `callback` once after `delayMs`; until then the process stays alive.
   *
   * @returns A function that cancels the call.
   */
  after(delayMs: number, callback: () => void): () => void;
}

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, callback) {
    const id = setTimeout(callback, delayMs);
    return () => clearTimeout(id);
  },
};

/**
 * Waits.
 *
 * @param clock Whose time passes.
 * @param delayMs How long at most.
 * @param early Ends the wait when it settles; it must not reject.
 */
export function sleep(
  clock: Clock,
  delayMs: number,
  early?: Promise<void>,
): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.after(delayMs, resolve);
    early?.then(() => {
      cancel();
      resolve();
    });
  });
}

/**
 * Writes an instant with whole seconds, since some SDKs parse no fractions.
 *
 * @param ms Since the Unix epoch.
 * @returns RFC 3339 in UTC.
 */
export function formatTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}
