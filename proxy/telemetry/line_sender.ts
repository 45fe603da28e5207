/**
 * Lines on their way to a collector of measurements: sent together every
 * 100 ms, at best effort. Nothing waits for it, and nothing fails with it.
 *
 * @module
 */

import { sleep } from "$core/clock.ts";
import type { Platform } from "$core/platform.ts";

/** As go-metadataproxy's library. */
const FLUSH_MS = 100;
const MAX_LINES = 4096;

/** How long to leave a collector alone that cannot be reached. */
const PAUSE_MS = 5000;

/** How long the last lines may take when moat stops. */
const CLOSE_MS = 500;

/** A collector. */
export interface Collector {
  /** Takes lines with their line feeds; rejects if it cannot be reached. */
  deliver(lines: readonly string[]): Promise<void>;
  /** Ends what is under way. */
  close(): void;
}

/** Where a collector is. */
export interface CollectorAddress {
  /** A name or an IP address. */
  readonly hostname: string;
  /** 1 to 65535. */
  readonly port: number;
}

/** What {@link LineSender} needs. */
export interface LineSenderOptions {
  /** Clock, log, metrics. */
  readonly platform: Pick<Platform, "clock" | "log" | "metrics">;
  /** For log and metrics, such as `statsd`. */
  readonly name: string;
  /** Where lines go. */
  readonly collector: Collector;
}

/** Sends lines. */
export class LineSender {
  readonly #options: LineSenderOptions;
  #lines: string[] = [];
  /** Whether lines will be sent without anybody's doing. */
  #isScheduled = false;
  #cancel: (() => void) | undefined;
  #sending: Promise<void> = Promise.resolve();
  #isClosed = false;
  #hasFailed = false;

  /** Sends nothing yet. */
  constructor(options: LineSenderOptions) {
    this.#options = options;
  }

  /** Sends a line soon, or never: if too many wait it is dropped and counted. */
  send(line: string): void {
    if (this.#lines.length >= MAX_LINES) return this.#drop(1);
    this.#lines.push(line + "\n");
    this.#schedule(FLUSH_MS);
  }

  /** Sends what waits, if that is possible at once, and ends. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancel?.();
    const { platform, collector } = this.#options;
    const last = this.#sending.then(() => this.#deliver());
    await sleep(platform.clock, CLOSE_MS, last.then(() => {}));
    collector.close();
  }

  #schedule(delayMs: number): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    this.#cancel = this.#options.platform.clock.after(delayMs, () => {
      this.#sending = this.#flush();
    });
  }

  async #flush(): Promise<void> {
    const isDelivered = await this.#deliver();
    this.#isScheduled = false;
    if (!isDelivered) this.#schedule(PAUSE_MS);
    else if (this.#lines.length > 0) this.#schedule(FLUSH_MS);
  }

  async #deliver(): Promise<boolean> {
    const lines = this.#lines;
    this.#lines = [];
    try {
      if (lines.length > 0) {
        await this.#options.collector.deliver(lines);
        this.#hasFailed = false;
      }
      return true;
    } catch (error) {
      this.#drop(lines.length);
      this.#tell(error);
      return false;
    }
  }

  #drop(count: number): void {
    const { platform, name } = this.#options;
    platform.metrics.count("telemetry_dropped_total", { sink: name }, count);
  }

  /** Once, until it works again. */
  #tell(error: unknown): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    const { platform: { log }, name } = this.#options;
    log.warn("telemetry-failed", {
      sink: name,
      kind: kindOf(error),
      reason: `measurements do not reach ${name}; they are dropped`,
    });
  }
}

/** Such as `ENOTFOUND` or `ConnectionRefused`. */
function kindOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : error.name;
}
