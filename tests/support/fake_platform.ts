/**
 * A platform whose clock is fake and whose log, metrics and audit log are lists.
 *
 * @module
 */

import type { Log, LogFields } from "$core/log.ts";
import type { MetricLabels, Metrics } from "$core/metrics.ts";
import { findPaths, type Paths } from "$core/paths.ts";
import type { Platform } from "$core/platform.ts";
import { FakeClock } from "./fake_clock.ts";

/** One log line or audit event. */
export interface Recorded {
  readonly event: string;
  readonly fields: LogFields;
}

/** One measurement: what was added to a counter, or the value of a gauge. */
export interface Measured {
  readonly name: string;
  readonly value: number | undefined;
  readonly labels: MetricLabels;
}

/** A {@link Platform} that remembers what it was told. */
export interface FakePlatform extends Platform {
  readonly clock: FakeClock;
  /** Log lines of all severities, in order. */
  readonly lines: Recorded[];
  /** Counts and gauges, in order. */
  readonly measured: Measured[];
  /** Audit events, in order. */
  readonly events: Recorded[];
}

/** What {@link fakePlatform} may be told. */
export interface FakePlatformOptions {
  /** Default: paths that do not exist. */
  readonly paths?: Paths;
  /** What the clock shows at first. Default: the start of 2026. */
  readonly now?: number;
  /** Default: empty. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Makes a platform; nothing is created on disk. */
export function fakePlatform(options: FakePlatformOptions = {}): FakePlatform {
  const lines: Recorded[] = [];
  const events: Recorded[] = [];
  const measured: Measured[] = [];
  const write = (event: string, fields: LogFields = {}) =>
    void lines.push({ event, fields });
  const log: Log = { debug: write, info: write, warn: write, error: write };
  const metrics: Metrics = {
    count: (name, labels = {}, value = 1) =>
      void measured.push({ name, value, labels }),
    gauge: (name, value, labels = {}) =>
      void measured.push({ name, value, labels }),
    observe: (name, value, labels = {}) =>
      void measured.push({ name, value, labels }),
  };
  return {
    clock: new FakeClock(options.now),
    env: options.env ?? {},
    setVariable() {},
    paths: options.paths ?? findPaths({ MOAT_HOME: "/proc/nonexistent" }),
    log,
    lines,
    metrics,
    measured,
    events,
    audit: {
      recordSoon: (event, fields) => void events.push({ event, fields }),
    },
  };
}
