/**
 * As much of DER as certificates, keys and ECDSA signatures need.
 *
 * @module
 * @see {@link https://www.itu.int/rec/T-REC-X.690 | X.690}
 */

import { Buffer } from "node:buffer";

/** Bytes that WebCrypto takes. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** The tags that {@link expectDer} is asked for. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  /** `[0]`, constructed: a certificate's version. */
  context0: 0xa0,
  /** `[3]`, constructed: a certificate's extensions. */
  context3: 0xa3,
} as const;

/** One element: its tag, its content, and all of it. */
export interface Der {
  /** The identifier octet. */
  readonly tag: number;
  /** What is inside. */
  readonly content: Bytes;
  /** Header and content. */
  readonly raw: Bytes;
}

/** A length of more bytes would be above 16 MiB. */
const MAX_LENGTH_BYTES = 3;

/**
 * Reads the element at the beginning of some bytes.
 *
 * @param bytes May go on behind the element.
 * @returns Views into the same memory.
 * @throws {SyntaxError} If it is cut short, or uses what DER does not have.
 */
export function readDer(bytes: Bytes): Der {
  const [tag, first] = bytes;
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) {
    throw malformed();
  }
  let start = 2;
  let length = first;
  if (first >= 0x80) {
    const size = first & 0x7f;
    if (size === 0 || size > MAX_LENGTH_BYTES) throw malformed();
    start += size;
    length = bytes.subarray(2, start).reduce(
      (sum, byte) => sum * 256 + byte,
      0,
    );
  }
  const end = start + length;
  if (end > bytes.length) throw malformed();
  return {
    tag,
    content: bytes.subarray(start, end),
    raw: bytes.subarray(0, end),
  };
}

/**
 * Reads all elements of a constructed one.
 *
 * @param content The content of a SEQUENCE or SET.
 * @returns Its elements.
 * @throws {SyntaxError} As {@link readDer}.
 */
export function readAll(content: Bytes): Der[] {
  const elements: Der[] = [];
  for (let rest = content; rest.length > 0;) {
    const element = readDer(rest);
    elements.push(element);
    rest = rest.subarray(element.raw.length);
  }
  return elements;
}

/**
 * Checks an element's tag.
 *
 * @param element What was read, if anything was.
 * @param tags Which of {@link TAG} it may have.
 * @returns The same element.
 * @throws {SyntaxError} If it is absent or another.
 */
export function expectDer(element: Der | undefined, ...tags: number[]): Der {
  if (element && tags.includes(element.tag)) return element;
  throw malformed();
}

/**
 * Reads the elements of a SEQUENCE.
 *
 * @param element What was read, if anything was.
 * @returns Its elements.
 * @throws {SyntaxError} If it is none.
 */
export function readSequence(element: Der | undefined): Der[] {
  return readAll(expectDer(element, TAG.sequence).content);
}

/**
 * Writes the bytes of an INTEGER as an unsigned number.
 *
 * @param content Big-endian, with or without a leading zero.
 * @returns Decimal digits; `0` for no bytes.
 */
export function toDecimal(content: Uint8Array): string {
  return BigInt(`0x0${content.toHex()}`).toString();
}

/**
 * Turns an ECDSA signature from WebCrypto's form into the one of X.509.
 *
 * @param signature `r` and `s`, of equal length (IEEE P1363).
 * @returns SEQUENCE of two INTEGERs (RFC 3279 section 2.2.3).
 */
export function ecdsaToDer(signature: Bytes): Bytes {
  const half = signature.length / 2;
  return writeDer(
    TAG.sequence,
    writeUnsigned(signature.subarray(0, half)),
    writeUnsigned(signature.subarray(half)),
  );
}

/** The shortest form: no leading zeros but the one that keeps it positive. */
function writeUnsigned(bytes: Bytes): Bytes {
  const start = bytes.findIndex((byte) => byte !== 0);
  const digits = start === -1 ? bytes.subarray(0, 0) : bytes.subarray(start);
  const isPadded = (digits[0] ?? 0x80) >= 0x80;
  return writeDer(TAG.integer, new Uint8Array(isPadded ? 1 : 0), digits);
}

function writeDer(tag: number, ...parts: Bytes[]): Bytes {
  const content = Buffer.concat(parts);
  // A signature of P-521 has at most 139 bytes.
  const header = content.length < 0x80
    ? [tag, content.length]
    : [tag, 0x81, content.length];
  return Uint8Array.from([...header, ...content]);
}

/**
 * Compares bytes that are no secret.
 *
 * @param a Some.
 * @param b Others.
 * @returns Whether they are the same.
 */
export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

function malformed(): SyntaxError {
  return new SyntaxError("malformed DER");
}
