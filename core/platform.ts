/**
 * What the machine gives to the rest of the program, in one place, so that
 * only main.ts reads the process's environment and clock.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import type { Log, LogFields } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import type { Paths } from "./paths.ts";

/** Takes audit events for the tamper-evident log. */
export interface AuditSink {
  /**
   * Appends an event in the background, in order.
   *
   * @param event Kebab-case, such as `vended`.
   * @param fields JSON values, never a secret.
   */
  recordSoon(event: string, fields: LogFields): void;
}

/** Clock, environment, paths, log, metrics and audit log. */
export interface Platform {
  /** Tells the time. */
  readonly clock: Clock;
  /** A snapshot of the process's environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Sets a variable for programs that this process starts. */
  readonly setVariable: (name: string, value: string) => void;
  /** Where state lives. */
  readonly paths: Paths;
  /** For operators. */
  readonly log: Log;
  /** For monitoring. */
  readonly metrics: Metrics;
  /** For auditors. */
  readonly audit: AuditSink;
}
