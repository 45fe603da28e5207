/**
 * A clock that runs faster than the machine's, for whole processes: libfaketime
 * gives it to their C library. Timers keep the machine's pace, so that only
 * what depends on the time of day, such as the end of a session, comes sooner.
 *
 * Programs that ask the kernel themselves, such as those in Go, keep the
 * machine's clock.
 *
 * @module
 */

import { isThere } from "./run.ts";

const LIBRARY =
  `/usr/lib/${Deno.build.arch}-linux-gnu/faketime/libfaketime.so.1`;

/** Tools of scripts, whose time-outs are to keep their length. */
const UNTOUCHED = "sh,dash,bash,curl,sleep";

/** Why clocks cannot be sped up here; undefined if they can. */
export function fastClockReason(): string | undefined {
  return isThere(LIBRARY) ? undefined : "no libfaketime (package faketime)";
}

/** A time of day that many processes share. */
export class FastClock {
  /** How much faster than the machine's clock; a whole number. */
  readonly speed: number;
  /** When both clocks were the same, in ms since the Unix epoch. */
  readonly startedAt: number = Date.now();

  /** Makes a clock that shows the machine's time now. */
  constructor(speed: number) {
    this.speed = speed;
  }

  /** What it shows, in ms since the Unix epoch. */
  now(): number {
    return this.startedAt + this.speed * (Date.now() - this.startedAt);
  }

  /**
   * Waits until it shows an instant, or not at all if it does already.
   *
   * @param instant In ms since the Unix epoch.
   */
  async until(instant: number): Promise<void> {
    const waitMs = Math.max(0, (instant - this.now()) / this.speed);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }

  /**
   * Gives a program this clock.
   *
   * @param argv Program and arguments.
   * @returns What to start instead: a shell that becomes the program.
   */
  wrap(argv: readonly string[]): string[] {
    // A program's own clock starts with it, so it is told how far this one is.
    const script = [
      `ahead=$((${this.speed - 1} * ($(date +%s%3N) - ${this.startedAt})))`,
      `export FAKETIME="+$((ahead / 1000)) x${this.speed}"`,
      "export FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1",
      `export FAKETIME_SKIP_CMDS=${UNTOUCHED}`,
      `export LD_PRELOAD=${LIBRARY}`,
      'exec "$@"',
    ].join("\n");
    return ["/bin/sh", "-euc", script, "fast-clock", ...argv];
  }
}
