/**
 * A strict reader of DER, to check what moat writes.
 *
 * @module
 */

import assert from "node:assert/strict";

/** Where the content of an element is. */
export interface Element {
  /** The identifier octet. */
  readonly tag: number;
  /** Where its content starts. */
  readonly start: number;
  /** Where it ends, and the element with it. */
  readonly end: number;
}

/**
 * Reads the identifier and length of an element (X.690 sections 8.1 and 10.1).
 *
 * @param bytes Hold it.
 * @param at Where it starts.
 * @param limit Where it must end at the latest.
 * @returns Where its content is.
 * @throws {AssertionError} If it is not DER.
 */
export function readElement(
  bytes: Uint8Array,
  at: number,
  limit: number,
): Element {
  assert(at + 2 <= limit, "no room for an element");
  const [tag = 0, first = 0] = bytes.subarray(at);
  let length = first;
  let start = at + 2;
  if (first >= 0x80) {
    start += first - 0x80;
    const octets = bytes.subarray(at + 2, start);
    length = octets.reduce((sum, octet) => 256 * sum + octet, 0);
    assert(
      octets.length > 0 && octets[0] !== 0 && length > 0x7f,
      "not shortest",
    );
  }
  assert(start + length <= limit, "longer than what holds it");
  return { tag, start, end: start + length };
}

/**
 * Reads an INTEGER that is not negative (X.690 section 8.3).
 *
 * @param bytes The element alone.
 * @returns Its value.
 */
export function readInteger(bytes: Uint8Array): bigint {
  const { tag, start, end } = readElement(bytes, 0, bytes.length);
  const [first = 0, second = 0] = bytes.subarray(start, end);
  assert(tag === 0x02 && end > start && end === bytes.length, "no integer");
  assert(first < 0x80, "negative");
  assert(first > 0 || end - start === 1 || second >= 0x80, "not shortest");
  return BigInt(`0x${bytes.subarray(start, end).toHex()}`);
}

/**
 * Reads an OBJECT IDENTIFIER (X.690 section 8.19).
 *
 * @param bytes The element alone.
 * @returns Its arcs, with dots between.
 */
export function readOid(bytes: Uint8Array): string {
  const { tag, start, end } = readElement(bytes, 0, bytes.length);
  assert(tag === 0x06 && end === bytes.length, "no identifier");
  const arcs: number[] = [];
  let arc = 0;
  for (let at = start; at < end; at++) {
    const octet = bytes[at]!;
    assert(arc > 0 || octet !== 0x80, "not shortest");
    arc = arc * 128 + octet % 128;
    if (octet >= 0x80) continue;
    arcs.push(arc);
    arc = 0;
  }
  assert.equal(arc, 0, "cut short");
  const [first = 0, ...rest] = arcs;
  const top = Math.min(2, Math.floor(first / 40));
  return [top, first - 40 * top, ...rest].join(".");
}

/**
 * Reads a UTCTime or GeneralizedTime as RFC 5280 section 4.1.2.5 wants it.
 *
 * @param bytes The element alone.
 * @returns Since the Unix epoch, in ms.
 */
export function readTime(bytes: Uint8Array): number {
  const { tag, start, end } = readElement(bytes, 0, bytes.length);
  const text = String.fromCharCode(...bytes.subarray(start, end));
  assert.match(text, tag === 0x17 ? /^[0-9]{12}Z$/ : /^[0-9]{14}Z$/);
  const century = Number(text.slice(0, 2)) >= 50 ? "19" : "20";
  const digits = tag === 0x17 ? century + text : text;
  assert(tag === 0x17 || Number(digits.slice(0, 4)) >= 2050, "wants UTCTime");
  const [, ...parts] = /^(....)(..)(..)(..)(..)(..)Z$/.exec(digits)!;
  const [year = 0, month = 0, ...rest] = parts.map(Number);
  return Date.UTC(year, month - 1, ...rest);
}
