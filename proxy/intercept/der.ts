/**
 * A writer of DER, as much of it as certificates need. It does not read:
 * `node:crypto` does.
 *
 * @module
 * @see {@link https://www.itu.int/rec/T-REC-X.690 | ITU-T X.690}
 */

import { Buffer } from "node:buffer";

/** Bytes that WebCrypto takes. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** From here on, X.509 has no UTCTime (RFC 5280 section 4.1.2.5). */
const GENERALIZED_TIME_FROM = Date.UTC(2050, 0, 1);

/**
 * Writes one element.
 *
 * @param tag The identifier octet, such as 0x30.
 * @param parts The content, in parts.
 * @returns Identifier, length in its shortest form, and content.
 */
export function element(tag: number, ...parts: readonly Uint8Array[]): Bytes {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const head = [tag, ...lengthOctets(length)];
  const bytes = new Uint8Array(head.length + length);
  bytes.set(head);
  let at = head.length;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** X.690 section 8.1.3, the shortest form. */
function lengthOctets(length: number): number[] {
  if (length < 0x80) return [length];
  const octets: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) {
    octets.unshift(rest % 256);
  }
  return [0x80 | octets.length, ...octets];
}

/**
 * Writes a SEQUENCE.
 *
 * @param parts Its elements.
 */
export function sequence(...parts: readonly Uint8Array[]): Bytes {
  return element(0x30, ...parts);
}

/**
 * Writes a SET of one element, so that there is no order to keep.
 *
 * @param part The element.
 */
export function setOfOne(part: Uint8Array): Bytes {
  return element(0x31, part);
}

/**
 * Writes a context-specific element.
 *
 * @param number 0 to 30.
 * @param parts Elements of an explicit tag, or the content of an implicit one.
 * @param isConstructed Whether `parts` are elements. Default: true.
 */
export function tagged(
  number: number,
  parts: readonly Uint8Array[],
  isConstructed = true,
): Bytes {
  return element((isConstructed ? 0xa0 : 0x80) | number, ...parts);
}

/** BOOLEAN TRUE; FALSE is the default where certificates have one, so never written. */
export const TRUE: Bytes = element(0x01, Uint8Array.of(0xff));

/**
 * Writes a non-negative INTEGER.
 *
 * @param magnitude Big endian; leading zeros do not count, nothing is 0.
 */
export function integer(magnitude: Uint8Array): Bytes {
  const first = magnitude.findIndex((octet) => octet !== 0);
  if (first < 0) return element(0x02, Uint8Array.of(0));
  const digits = magnitude.subarray(first);
  const isNegative = (digits[0] ?? 0) >= 0x80;
  return isNegative
    ? element(0x02, Uint8Array.of(0), digits)
    : element(0x02, digits);
}

/**
 * Writes an OBJECT IDENTIFIER.
 *
 * @param dotted Such as `2.5.4.3`.
 */
export function oid(dotted: string): Bytes {
  const [top = 0, second = 0, ...arcs] = dotted.split(".").map(Number);
  return element(
    0x06,
    Uint8Array.from([top * 40 + second, ...arcs].flatMap(base128)),
  );
}

/** X.690 section 8.19.2. */
function base128(arc: number): number[] {
  const octets = [arc % 128];
  for (let rest = Math.floor(arc / 128); rest > 0;) {
    octets.unshift(0x80 | rest % 128);
    rest = Math.floor(rest / 128);
  }
  return octets;
}

/**
 * Writes a UTF8String.
 *
 * @param text Any text.
 */
export function utf8String(text: string): Bytes {
  return element(0x0c, new TextEncoder().encode(text));
}

/**
 * Writes an OCTET STRING.
 *
 * @param content Its octets.
 */
export function octetString(content: Uint8Array): Bytes {
  return element(0x04, content);
}

/**
 * Writes a BIT STRING.
 *
 * @param bits Its bits; those that do not count are 0.
 * @param unused How many of the last octet's bits do not count. Default: 0.
 */
export function bitString(bits: Uint8Array, unused = 0): Bytes {
  return element(0x03, Uint8Array.of(unused), bits);
}

/**
 * Writes an instant as X.509 wants it: UTCTime until 2049, then GeneralizedTime.
 *
 * @param ms Since the Unix epoch, 1950 to 9999; fractions of a second are cut off.
 * @see {@link https://www.rfc-editor.org/rfc/rfc5280.html#section-4.1.2.5 | RFC 5280 section 4.1.2.5}
 */
export function time(ms: number): Bytes {
  const digits = new Date(ms).toISOString().replace(/\..*|\D/g, "") + "Z";
  return ms < GENERALIZED_TIME_FROM
    ? element(0x17, new TextEncoder().encode(digits.slice(2)))
    : element(0x18, new TextEncoder().encode(digits));
}

/**
 * Writes an ECDSA signature as X.509 has it.
 *
 * @param raw `r` and `s`, one after the other in the same length, as WebCrypto has it.
 * @see {@link https://www.rfc-editor.org/rfc/rfc3279.html#section-2.2.3 | RFC 3279 section 2.2.3}
 */
export function ecdsaSignature(raw: Uint8Array): Bytes {
  const half = raw.length / 2;
  return sequence(integer(raw.subarray(0, half)), integer(raw.subarray(half)));
}

/**
 * Writes DER as text.
 *
 * @param label Such as `CERTIFICATE`.
 * @param der The bytes.
 * @returns Lines of 64 characters, and a final line feed.
 * @see {@link https://www.rfc-editor.org/rfc/rfc7468.html | RFC 7468}
 */
export function pem(label: string, der: Uint8Array): string {
  const lines = Buffer.from(der).toString("base64").replace(/.{1,64}/g, "$&\n");
  return `-----BEGIN ${label}-----\n${lines}-----END ${label}-----\n`;
}
