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
   * Calls `callback` once after `delayMs`, without keeping the process alive.
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
    Deno.unrefTimer(id);
    return () => clearTimeout(id);
  },
};
