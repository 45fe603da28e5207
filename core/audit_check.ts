/**
 * Reading and checking the audit log.
 *
 * @module
 */

import { join } from "node:path";
import {
  type AuditEvent,
  GENESIS,
  LINE_FEED,
  parseEvent,
  TearDigest,
  TORN_EVENT,
} from "./audit_chain.ts";
import type { Clock } from "./clock.ts";
import { cannotRead, missingOk, withLock } from "./files.ts";
import type { Paths } from "./paths.ts";

/** What {@link verifyAudit} found. */
export interface AuditReport {
  /** Whether every event is as it was written, and follows the one before. */
  readonly ok: boolean;
  /** How many events there are, up to the first fault. */
  readonly events: number;
  /** The number of the first line at fault; absent if there is none. */
  readonly brokenAt?: number;
  /**
   * Whether the last line was cut short, by a crash or otherwise. That is not
   * a fault by itself: the next append records it.
   */
  readonly tornTail: boolean;
}

/** One line of the file. */
interface Line {
  readonly bytes: Uint8Array;
  /** Whether a line feed ends it. */
  readonly finished: boolean;
}

const CHUNK_BYTES = 65_536;

/**
 * Reads the events of the audit log, oldest first, without checking the chain.
 *
 * @param paths Where the log is; there may be none.
 * @returns Every line that is a whole event; the others are left out.
 * @throws {MoatError} `cannot-read` if there is a log that cannot be read.
 */
export async function* readAudit(paths: Paths): AsyncGenerator<AuditEvent> {
  for await (const line of readLines(paths.audit, Infinity)) {
    const event = parseEvent(line.bytes);
    if (event) yield event;
  }
}

/**
 * Checks the audit log from its first line to its last.
 *
 * @param paths Where the log is; no log is as good as an empty one.
 * @param clock Paces the waiting for the lock, held only to see where the log ends.
 * @returns What was found.
 * @throws {MoatError} `locked`, or `cannot-read` if there is a log that cannot be read.
 */
export async function verifyAudit(
  paths: Paths,
  clock: Clock,
): Promise<AuditReport> {
  // A line that is being appended right now must not look torn.
  const size = await withAuditLock(paths, clock, () => sizeOf(paths.audit));
  const chain = new ChainCheck();
  for await (const line of readLines(paths.audit, size)) {
    if (!chain.take(line)) break;
  }
  return chain.report();
}

/**
 * Runs a function while nobody appends to the log.
 *
 * @param paths Where the lock is.
 * @param clock Paces the waiting.
 * @param fn What to do; keep it short.
 * @throws {MoatError} `locked`.
 */
export function withAuditLock<T>(
  paths: Paths,
  clock: Clock,
  fn: () => Promise<T>,
): Promise<T> {
  return withLock(join(paths.locks, "audit.lock"), clock, fn);
}

/** Follows the chain line by line, up to the first fault. */
class ChainCheck {
  #head = GENESIS;
  #line = 0;
  #broken: number | undefined;
  /** Lines that are no events: an `audit-torn` must explain them. */
  #tear: { from: number; digest: TearDigest; finished: boolean } | undefined;

  /** Whether the log is in order so far. */
  take(line: Line): boolean {
    this.#line++;
    const event = parseEvent(line.bytes);
    if (!event) this.#tearOff(line);
    else if (this.#follows(event)) this.#accept(event);
    else this.#broken = this.#tear?.from ?? this.#line;
    return this.#broken === undefined;
  }

  report(): AuditReport {
    // A crash leaves no line feed, so a finished line was damaged otherwise.
    const brokenAt = this.#broken ??
      (this.#tear?.finished ? this.#tear.from : undefined);
    const events = this.#head.seq;
    if (brokenAt !== undefined) {
      return { ok: false, events, brokenAt, tornTail: false };
    }
    return { ok: true, events, tornTail: this.#tear !== undefined };
  }

  #tearOff({ bytes, finished }: Line): void {
    const digest = this.#tear?.digest.add(Uint8Array.of(LINE_FEED)) ??
      new TearDigest();
    const from = this.#tear?.from ?? this.#line;
    this.#tear = { from, digest: digest.add(bytes), finished };
  }

  #follows(event: AuditEvent): boolean {
    return event.seq === this.#head.seq + 1 &&
      event.previous === this.#head.hash &&
      explains(event, this.#tear?.digest);
  }

  #accept({ seq, hash }: AuditEvent): void {
    this.#head = { seq, hash };
    this.#tear = undefined;
  }
}

/** Whether a tear is followed by its own note, and no tear by none. */
function explains(
  { event, fields }: AuditEvent,
  tear: TearDigest | undefined,
): boolean {
  if (!tear) return event !== TORN_EVENT;
  const { bytes, sha256 } = tear.fields();
  return event === TORN_EVENT && fields["bytes"] === bytes &&
    fields["sha256"] === sha256;
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await missingOk(Deno.stat(path)))?.size ?? 0;
  } catch (error) {
    throw cannotRead(path, error);
  }
}

async function* readLines(path: string, size: number): AsyncGenerator<Line> {
  try {
    using file = await missingOk(Deno.open(path)) ?? null;
    if (file) yield* splitLines(readChunks(file, size));
  } catch (error) {
    throw cannotRead(path, error);
  }
}

async function* readChunks(
  file: Deno.FsFile,
  size: number,
): AsyncGenerator<Uint8Array> {
  for (let left = size; left > 0;) {
    const chunk = new Uint8Array(Math.min(left, CHUNK_BYTES));
    const count = await file.read(chunk);
    if (count === null) return;
    left -= count;
    yield chunk.subarray(0, count);
  }
}

async function* splitLines(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Line> {
  let kept = new Uint8Array();
  for await (const chunk of chunks) {
    const bytes = new Uint8Array(kept.length + chunk.length);
    bytes.set(kept);
    bytes.set(chunk, kept.length);
    let start = 0;
    for (
      let feed = bytes.indexOf(LINE_FEED, kept.length);
      feed >= 0;
      feed = bytes.indexOf(LINE_FEED, start)
    ) {
      yield { bytes: bytes.subarray(start, feed), finished: true };
      start = feed + 1;
    }
    kept = bytes.slice(start);
  }
  if (kept.length > 0) yield { bytes: kept, finished: false };
}
