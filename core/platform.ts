/**
 * What the machine gives to the rest of the program, in one place, so that
 * only main.ts reads the process's environment and clock.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import type { Log } from "./log.ts";
import type { Paths } from "./paths.ts";

/** Clock, environment, paths and log. */
export interface Platform {
  readonly clock: Clock;
  /** A snapshot of the process's environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly paths: Paths;
  readonly log: Log;
}
