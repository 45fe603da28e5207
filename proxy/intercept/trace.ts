/**
 * The trace: one line of JSON for each request that the forward proxy decided
 * about, in a file that only this user can read. Written in the background,
 * whole lines at a time; a full disk loses lines, and says so, but no request.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { toMoatError } from "$core/errors.ts";
import { ensurePrivateDir, missingOk, writeAll } from "$core/files.ts";
import type { Log } from "$core/log.ts";
import type { Paths } from "$core/paths.ts";
import { dirname } from "node:path";
import type { TraceRecord, TraceSink } from "./trace_record.ts";

/** How long lines may wait for others. */
const BATCH_MS = 100;

/** Then the file is put aside, in place of the one before. */
const MAX_FILE_BYTES = 32 * 1024 * 1024;

/** More lines than these wait for no disk: the newest are lost. */
const MAX_WAITING = 20_000;

/** What a trace file needs. */
export interface TraceOptions {
  /** Where it is. */
  readonly paths: Pick<Paths, "trace">;
  /** Collects lines. */
  readonly clock: Clock;
  /** Told once when lines are lost. */
  readonly log: Log;
  /** Default: 32 MiB. */
  readonly maxFileBytes?: number;
}

/** The trace of one proxy, which is its only writer. */
export class TraceFile implements TraceSink {
  readonly #options: TraceOptions;
  #waiting: string[] = [];
  #cancelTimer: (() => void) | undefined;
  #writing: Promise<void> | undefined;
  #lost = 0;

  /** Nothing is created before the first record. */
  constructor(options: TraceOptions) {
    this.#options = options;
  }

  /** Takes a record; it is on the disk a moment later. */
  record(record: TraceRecord): void {
    if (this.#waiting.length >= MAX_WAITING) return this.#lose(1, "busy");
    this.#waiting.push(formatRecord(record));
    // A disk that hangs has one write at a time.
    if (!this.#writing) this.#armTimer();
  }

  /** Writes what waits; behind what is being written. */
  async flush(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (this.#writing) {
      await this.#writing;
      return await this.flush();
    }
    const lines = this.#waiting;
    if (lines.length === 0) return;
    this.#waiting = [];
    this.#writing = this.#append(lines);
    await this.#writing;
    this.#writing = undefined;
    if (this.#waiting.length > 0) this.#armTimer();
  }

  #armTimer(): void {
    this.#cancelTimer ??= this.#options.clock.after(
      BATCH_MS,
      () => void this.flush(),
    );
  }

  async #append(lines: readonly string[]): Promise<void> {
    const path = this.#options.paths.trace;
    try {
      await ensurePrivateDir(dirname(path));
      const size = (await missingOk(Deno.stat(path)))?.size ?? 0;
      if (size >= (this.#options.maxFileBytes ?? MAX_FILE_BYTES)) {
        await Deno.rename(path, olderTrace(path));
      }
      using file = await Deno.open(path, {
        append: true,
        create: true,
        mode: 0o600,
      });
      await writeAll(file, new TextEncoder().encode(lines.join("")));
    } catch (error) {
      this.#lose(lines.length, toMoatError(error).code);
    }
  }

  #lose(count: number, code: string): void {
    if (this.#lost === 0) this.#options.log.error("trace-lost", { code });
    this.#lost += count;
  }
}

/** Where the lines before those of a trace file are. */
export function olderTrace(path: string): string {
  return `${path}.1`;
}

/**
 * Writes a record as it is kept.
 *
 * @param record The record.
 * @returns One line of JSON; its time in RFC 3339.
 */
export function formatRecord(record: TraceRecord): string {
  const { time, totalMs, firstByteMs, ...rest } = record;
  return JSON.stringify({
    time: new Date(time).toISOString(),
    ...rest,
    ...(firstByteMs !== undefined && { firstByteMs: round(firstByteMs) }),
    totalMs: round(totalMs),
  }) + "\n";
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
