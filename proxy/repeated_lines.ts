/**
 * Log lines that clients can cause as fast as they like.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";

const REPEAT_MS = 60_000;
const MAX_LINES = 1000;

/** Remembers which lines were written within the last minute. */
export class RepeatedLines {
  readonly #clock: Pick<Clock, "now">;
  readonly #writtenAt = new Map<string, number>();

  /** Remembers nothing yet. */
  constructor(clock: Pick<Clock, "now">) {
    this.#clock = clock;
  }

  /**
   * Tells whether a line need not be written.
   *
   * @param line What tells it from others; counts as written from now on.
   */
  isRepeated(line: string): boolean {
    const now = this.#clock.now();
    const before = this.#writtenAt.get(line);
    if (before !== undefined && Math.abs(now - before) < REPEAT_MS) return true;
    if (this.#writtenAt.size >= MAX_LINES) this.#writtenAt.clear();
    this.#writtenAt.set(line, now);
    return false;
  }
}
