/**
 * A platform whose clock is fake and whose log and audit log are lists.
 *
 * @module
 */

import type { Log, LogFields } from "$core/log.ts";
import { findPaths, type Paths } from "$core/paths.ts";
import type { Platform } from "$core/platform.ts";
import { FakeClock } from "./fake_clock.ts";

/** One log line or audit event. */
export interface Recorded {
  readonly event: string;
  readonly fields: LogFields;
}

/** A {@link Platform} that remembers what it was told. */
export interface FakePlatform extends Platform {
  readonly clock: FakeClock;
  /** Log lines of all severities, in order. */
  readonly lines: Recorded[];
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
  const write = (event: string, fields: LogFields = {}) =>
    void lines.push({ event, fields });
  const log: Log = { debug: write, info: write, warn: write, error: write };
  return {
    clock: new FakeClock(options.now),
    env: options.env ?? {},
    setVariable() {},
    paths: options.paths ?? findPaths({ MOAT_HOME: "/nonexistent" }),
    log,
    lines,
    events,
    audit: {
      recordSoon: (event, fields) => void events.push({ event, fields }),
    },
  };
}
