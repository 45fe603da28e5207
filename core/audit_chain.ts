/**
 * The form of the audit log: one canonical JSON object per line, each with the
 * hash of the line before it.
 *
 * @module
 */

import { createHash } from "node:crypto";
import * as v from "valibot";
import type { Json, JsonObject } from "./grant.ts";
import type { LogFields } from "./log.ts";

/** One record of the audit log. Never holds a secret. */
export interface AuditEvent {
  /** 1 for the first event of a log, then one more each. */
  readonly seq: number;
  /** When it happened: RFC 3339, UTC, milliseconds. */
  readonly time: string;
  /** What happened, in kebab-case, such as `grant-revoked`. */
  readonly event: string;
  /** Names, hosts and reasons; their meaning depends on the event. */
  readonly fields: JsonObject;
  /** {@link AuditEvent.hash} of the event before; of the first, 64 zeros. */
  readonly previous: string;
  /** {@link hashEvent} of the rest, in lower-case hexadecimal. */
  readonly hash: string;
}

/** Where a chain stands after some event. */
export interface ChainHead {
  /** The `seq` of its last event; 0 if there is none. */
  readonly seq: number;
  /** The `hash` of its last event. */
  readonly hash: string;
}

/** The head of an empty log. */
export const GENESIS: ChainHead = { seq: 0, hash: "0".repeat(64) };

/** Tells this hash from every other use of SHA-256 in moat. */
const DOMAIN = "moat audit event 1";

/** What events are called. */
const EVENT_NAME = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/;

const Line = v.strictObject({
  seq: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  time: v.string(),
  event: v.pipe(v.string(), v.regex(EVENT_NAME)),
  fields: v.custom<JsonObject>(isObject),
  previous: v.string(),
  hash: v.string(),
});

/**
 * Adds an event to a chain.
 *
 * @param head Where the chain stands.
 * @param time Milliseconds since the Unix epoch.
 * @param event Kebab-case.
 * @param fields Their JSON is what counts: a Secret becomes `[redacted]`.
 * @returns The event; it is the chain's next head.
 * @throws {TypeError} If `event` is not kebab-case or `fields` are not JSON.
 */
export function chainEvent(
  head: ChainHead,
  time: number,
  event: string,
  fields: JsonObject,
): AuditEvent {
  const unhashed = {
    seq: head.seq + 1,
    time: new Date(time).toISOString(),
    event,
    fields,
    previous: head.hash,
  };
  return { ...unhashed, hash: hashEvent(unhashed) };
}

/**
 * Checks the name of an event and reduces its fields to JSON, now, so that a
 * later change of them is not recorded.
 *
 * @param event Kebab-case.
 * @param fields Anything that JSON can hold; a Secret becomes `[redacted]`.
 * @returns A copy of the fields.
 * @throws {TypeError} If either is not well-formed.
 */
export function jsonFields(
  event: string,
  fields: LogFields,
): JsonObject {
  if (!EVENT_NAME.test(event) || event === TORN_EVENT) {
    throw new TypeError(
      "The name of an audit event must be kebab-case, and not a reserved one",
    );
  }
  return JSON.parse(JSON.stringify(fields));
}

/**
 * Hashes an event: SHA-256 over its parts, each after its length in bytes
 * (64 bits, big endian), so that no two events share an input.
 *
 * @param event Its own `hash`, if any, does not count; nor does the order of keys.
 * @returns 64 lower-case hexadecimal digits.
 */
export function hashEvent(event: Omit<AuditEvent, "hash">): string {
  const hash = createHash("sha256");
  const parts = [
    DOMAIN,
    String(event.seq),
    event.time,
    event.event,
    canonicalJson(event.fields),
    event.previous,
  ];
  for (const part of parts) {
    const bytes = new TextEncoder().encode(part);
    const length = new DataView(new ArrayBuffer(8));
    length.setBigUint64(0, BigInt(bytes.length));
    hash.update(new Uint8Array(length.buffer)).update(bytes);
  }
  return hash.digest("hex");
}

/**
 * Writes an event as a line.
 *
 * @param event The event.
 * @returns Canonical JSON and a line feed.
 */
export function formatEvent(event: AuditEvent): string {
  return canonicalJson({ ...event }) + "\n";
}

/**
 * Reads a line.
 *
 * @param line Its bytes, without the line feed.
 * @returns The event, or undefined unless the line is the very one that
 * {@link formatEvent} writes for an event with a right hash.
 */
export function parseEvent(line: Uint8Array): AuditEvent | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
      .decode(line);
    const event = v.parse(Line, JSON.parse(text));
    const whole = formatEvent(event) === text + "\n" &&
      hashEvent(event) === event.hash;
    return whole ? event : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Writes JSON in one way only: keys sorted by UTF-16 units, no spaces.
 *
 * @param value A JSON value.
 * @returns Its text.
 * @see {@link https://www.rfc-editor.org/rfc/rfc8785.html#section-3.2.3 | RFC 8785 section 3.2.3}
 */
export function canonicalJson(value: Json): string {
  if (value instanceof Array) return `[${value.map(canonicalJson).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.entries(value as JsonObject)
    .sort(([a], [b]) => a < b ? -1 : 1)
    .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
  return `{${members.join(",")}}`;
}

/** Follows the remains of a line that a crash cut short; never recorded otherwise. */
export const TORN_EVENT = "audit-torn";

/** Ends every line. */
export const LINE_FEED = 10;

/** Sums up what a crash left of one or more lines, for `audit-torn`. */
export class TearDigest {
  readonly #hash = createHash("sha256");
  #bytes = 0;

  /** Adds bytes; gives itself back. */
  add(bytes: Uint8Array): this {
    this.#hash.update(bytes);
    this.#bytes += bytes.length;
    return this;
  }

  /** The fields of the event; to be asked for once. */
  fields(): { bytes: number; sha256: string } {
    return { bytes: this.#bytes, sha256: this.#hash.digest("hex") };
  }
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
