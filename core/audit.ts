/**
 * The audit log: every grant, bind, vend, inject, deny and revoke, appended to
 * one file that shows when it was changed.
 *
 * Any process of the user may append; a lock is held for one append only.
 *
 * A line that a crash cut short stays in the file. The next writer ends it,
 * continues the chain from the last whole event and records an `audit-torn`
 * event with the length and SHA-256 of what it found. So nothing is ever
 * deleted, and nothing but a recorded tear passes {@link verifyAudit}.
 *
 * **Security:** a chain of hashes shows a change in the middle. It does not
 * show that the last events were cut off, or that the whole log was written
 * anew: that takes a signed head, which this log does not have yet. A process
 * that is running while the log shrinks goes on from what it remembers, so
 * that then the gap does show.
 *
 * @module
 */

import { dirname } from "node:path";
import {
  chainEvent,
  type ChainHead,
  formatEvent,
  GENESIS,
  jsonFields,
  LINE_FEED,
  parseEvent,
  TearDigest,
  TORN_EVENT,
} from "./audit_chain.ts";
import { withAuditLock } from "./audit_check.ts";
import type { Clock } from "./clock.ts";
import { MoatError, toMoatError } from "./errors.ts";
import { ensurePrivateDir, storageError, writeAll } from "./files.ts";
import type { JsonObject } from "./grant.ts";
import type { LogFields } from "./log.ts";
import type { Paths } from "./paths.ts";
import type { AuditSink } from "./platform.ts";

export { type AuditEvent, hashEvent } from "./audit_chain.ts";
export { type AuditReport, readAudit, verifyAudit } from "./audit_check.ts";

/** Appends to the audit log. */
export interface AuditLog extends AuditSink {
  /**
   * Appends an event and waits until the disk has it.
   *
   * @param event Kebab-case, such as `grant-revoked`.
   * @param fields JSON; a Secret becomes `[redacted]`.
   * @throws {MoatError} `disk-full`, `cannot-write`, `locked` or `insecure-directory`.
   */
  record(event: string, fields: LogFields): Promise<void>;
  /**
   * Appends an event in the background, after those before it. Never throws
   * and never waits, so that vending does not depend on a slow disk.
   *
   * An event that cannot be appended is reported, and counted in an
   * `audit-events-lost` event as soon as appending works again.
   *
   * @param event Kebab-case, such as `session-vended`.
   * @param fields JSON; a Secret becomes `[redacted]`.
   */
  recordSoon(event: string, fields: LogFields): void;
  /** Waits until nothing is left to append. Never rejects. */
  flush(): Promise<void>;
}

/** What {@link createAuditLog} may be told. */
export interface AuditOptions {
  /** Told why an event of `recordSoon` was lost. It must not throw. */
  readonly onFailure: (error: MoatError) => void;
  /** How many events `recordSoon` may leave waiting. Default: 1,000. */
  readonly maxWaiting?: number;
}

/** Where this process saw the log end. */
interface Known {
  readonly inode: number | null;
  readonly size: number;
  readonly head: ChainHead;
}

/** Where the log ends, and what lies after its last whole event. */
interface Tail {
  readonly head: ChainHead;
  /** What follows the last whole event and its line feed. */
  readonly rest: Uint8Array;
  /** Whether the last byte is not a line feed. */
  readonly unfinished: boolean;
}

interface Waiting {
  readonly time: number;
  readonly event: string;
  readonly fields: JsonObject;
  /** Called with undefined once it is on the disk. Absent for `recordSoon`. */
  readonly done?: (error: MoatError | undefined) => void;
}

const MAX_WAITING = 1_000;

/** One write and one sync for up to so many events. */
const MAX_BATCH = 200;

/** Some hundred events; doubled until it holds a whole one. */
const TAIL_BYTES = 65_536;

/**
 * Opens the audit log for appending. Nothing is created before the first event.
 *
 * @param paths Where log and locks are.
 * @param clock Times the events and paces the waiting for the lock.
 * @param options Whom to tell about lost events.
 */
export function createAuditLog(
  paths: Paths,
  clock: Clock,
  options: AuditOptions,
): AuditLog {
  return new FileAuditLog(paths, clock, options);
}

class FileAuditLog implements AuditLog {
  readonly #paths: Paths;
  readonly #clock: Clock;
  readonly #onFailure: (error: MoatError) => void;
  readonly #maxWaiting: number;
  readonly #queue: Waiting[] = [];
  #appending: Promise<void> | undefined;
  #known: Known | undefined;
  #lost = 0;

  constructor(paths: Paths, clock: Clock, options: AuditOptions) {
    this.#paths = paths;
    this.#clock = clock;
    this.#onFailure = options.onFailure;
    this.#maxWaiting = options.maxWaiting ?? MAX_WAITING;
  }

  async record(event: string, fields: LogFields): Promise<void> {
    const json = jsonFields(event, fields);
    const time = this.#clock.now();
    const error = await new Promise<MoatError | undefined>((done) =>
      this.#enqueue({ time, event, fields: json, done })
    );
    if (error) throw error;
  }

  recordSoon(event: string, fields: LogFields): void {
    try {
      const json = jsonFields(event, fields);
      if (this.#queue.length >= this.#maxWaiting) throw queueFull();
      this.#enqueue({ time: this.#clock.now(), event, fields: json });
    } catch (error) {
      this.#lost++;
      this.#onFailure(toMoatError(error));
    }
  }

  async flush(): Promise<void> {
    while (this.#appending) await this.#appending;
  }

  #enqueue(waiting: Waiting): void {
    this.#queue.push(waiting);
    this.#appending ??= this.#appendAll();
  }

  async #appendAll(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, MAX_BATCH);
      const error = await this.#append(batch).catch(toMoatError);
      const silent = batch.filter((waiting) => !waiting.done).length;
      if (error && silent > 0) {
        this.#lost += silent;
        this.#onFailure(error);
      }
      for (const waiting of batch) waiting.done?.(error ?? undefined);
    }
    this.#appending = undefined;
  }

  async #append(batch: readonly Waiting[]): Promise<void> {
    await ensurePrivateDir(dirname(this.#paths.audit));
    await withAuditLock(this.#paths, this.#clock, async () => {
      using file = await openLog(this.#paths.audit);
      const { size, ino } = await file.stat();
      const tail = await findTail(file, size, ino, this.#known);
      const lost = this.#lost;
      const { text, head } = this.#compose(tail, batch, lost);
      await appendWhole(file, size, text);
      this.#known = { inode: ino, size: size + text.length, head };
      this.#lost -= lost;
    }).catch((error) => {
      throw storageError("append to", this.#paths.audit, error);
    });
  }

  #compose(tail: Tail, batch: readonly Waiting[], lost: number) {
    const now = this.#clock.now();
    const all: Waiting[] = [...batch];
    if (lost > 0) {
      const fields = { count: lost };
      all.unshift({ time: now, event: "audit-events-lost", fields });
    }
    if (tail.unfinished && tail.rest.length > 0) {
      const fields = new TearDigest().add(tail.rest).fields();
      all.unshift({ time: now, event: TORN_EVENT, fields });
    }
    let text = tail.unfinished ? "\n" : "";
    let head = tail.head;
    for (const { time, event, fields } of all) {
      const next = chainEvent(head, time, event, fields);
      text += formatEvent(next);
      head = next;
    }
    const bytes = new TextEncoder().encode(text);
    return { text: bytes, head: { seq: head.seq, hash: head.hash } };
  }
}

function queueFull(): MoatError {
  return new MoatError(
    "audit-queue-full",
    "Cannot record an audit event: too many wait for the disk",
    { hint: "check that the disk of the audit log is neither full nor stuck" },
  );
}

function openLog(path: string): Promise<Deno.FsFile> {
  return Deno.open(path, {
    read: true,
    append: true,
    create: true,
    mode: 0o600,
  });
}

/** Takes back what a full disk let in. */
async function appendWhole(
  file: Deno.FsFile,
  size: number,
  text: Uint8Array,
): Promise<void> {
  try {
    await writeAll(file, text);
    await file.syncData();
  } catch (error) {
    await file.truncate(size).catch(() => {});
    throw error;
  }
}

/** Reads no more than what others appended since this process last looked. */
async function findTail(
  file: Deno.FsFile,
  size: number,
  inode: number | null,
  known: Known | undefined,
): Promise<Tail> {
  if (known && (known.inode !== inode || size < known.size)) {
    const rest = new Uint8Array();
    return { head: known.head, rest, unfinished: await cutShort(file, size) };
  }
  if (known) {
    return scan(await readRange(file, known.size, size), known.head);
  }
  for (let length = TAIL_BYTES;; length *= 2) {
    const start = Math.max(0, size - length);
    const tail = scan(await readRange(file, start, size), GENESIS);
    if (tail.head !== GENESIS || start === 0) return tail;
  }
}

async function cutShort(file: Deno.FsFile, size: number): Promise<boolean> {
  const last = await readRange(file, Math.max(0, size - 1), size);
  return last.length > 0 && last[0] !== LINE_FEED;
}

async function readRange(
  file: Deno.FsFile,
  start: number,
  end: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(end - start);
  await file.seek(start, Deno.SeekMode.Start);
  for (let done = 0; done < bytes.length;) {
    const count = await file.read(bytes.subarray(done));
    if (count === null) return bytes.subarray(0, done);
    done += count;
  }
  return bytes;
}

/** Finds the last whole event; `before` stands for those before `bytes`. */
function scan(bytes: Uint8Array, before: ChainHead): Tail {
  let head = before;
  let end = 0;
  for (let start = 0; start < bytes.length;) {
    const feed = bytes.indexOf(LINE_FEED, start);
    const stop = feed < 0 ? bytes.length : feed;
    const event = parseEvent(bytes.subarray(start, stop));
    start = stop + 1;
    if (!event) continue;
    head = { seq: event.seq, hash: event.hash };
    end = Math.min(start, bytes.length);
  }
  const unfinished = bytes.length > 0 && bytes.at(-1) !== LINE_FEED;
  return { head, rest: bytes.subarray(end), unfinished };
}
