/**
 * A reader of DER, as much as X.509 certificates and ECDSA signatures need.
 *
 * Strict: definite lengths in their shortest form, tag numbers below 31,
 * nothing left over.
 *
 * @module
 * @see {@link https://www.itu.int/rec/T-REC-X.690 | ITU-T X.690}
 */

/** One element. */
export interface DerElement {
  /** The identifier octet, such as 0x30 for SEQUENCE. */
  readonly tag: number;
  /** All of it, identifier and length included. */
  readonly whole: Uint8Array;
  /** What it holds. */
  readonly content: Uint8Array;
}

/** Identifier octets. */
export const DER = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Bytes that are no DER, or not what was wanted. */
export class DerError extends Error {
  /** Tells it from other errors. */
  override readonly name = "DerError";
}

/**
 * Reads one element that takes all bytes.
 *
 * @param bytes The bytes.
 * @param tag What it must be. Default: anything.
 * @returns The element.
 * @throws {DerError} If they are something else.
 */
export function readElement(bytes: Uint8Array, tag?: number): DerElement {
  const [element, ...more] = readElements(bytes);
  if (!element || more.length > 0) throw new DerError("wanted one element");
  if (tag !== undefined && element.tag !== tag) {
    throw new DerError(`wanted tag ${tag}, found ${element.tag}`);
  }
  return element;
}

/**
 * Reads the elements that follow one another.
 *
 * @param bytes Such as the content of a SEQUENCE.
 * @returns The elements in their order.
 * @throws {DerError} If the bytes end within one.
 */
export function readElements(bytes: Uint8Array): DerElement[] {
  const elements: DerElement[] = [];
  for (let rest = bytes; rest.length > 0;) {
    const { start, length } = readHead(rest);
    const end = start + length;
    if (end > rest.length) throw new DerError("the bytes end too early");
    elements.push({
      tag: rest[0] ?? 0,
      whole: rest.subarray(0, end),
      content: rest.subarray(start, end),
    });
    rest = rest.subarray(end);
  }
  return elements;
}

/** Where the content starts and how long it is. */
function readHead(bytes: Uint8Array): { start: number; length: number } {
  const [tag = 0, first] = bytes;
  if ((tag & 0x1f) === 0x1f) throw new DerError("the tag is too long");
  if (first === undefined) throw new DerError("the bytes end too early");
  if (first < 0x80) return { start: 2, length: first };
  const count = first & 0x7f;
  const octets = bytes.subarray(2, 2 + count);
  const length = octets.reduce((sum, octet) => sum * 256 + octet, 0);
  const isShortest = count > 0 && count <= 4 && octets.length === count &&
    octets[0] !== 0 && length >= 0x80;
  if (!isShortest) throw new DerError("the length is not in its shortest form");
  return { start: 2 + count, length };
}

/**
 * Reads the elements of a SEQUENCE or SET.
 *
 * @param element The element.
 * @param tag What it must be. Default: SEQUENCE.
 * @returns Its elements.
 * @throws {DerError} If it is something else, or absent.
 */
export function childrenOf(
  element: DerElement | undefined,
  tag: number = DER.sequence,
): DerElement[] {
  return readElements(contentOf(element, tag));
}

/**
 * The content of an element of one kind.
 *
 * @param element The element.
 * @param tag What it must be.
 * @returns Its content.
 * @throws {DerError} If it is something else, or absent.
 */
export function contentOf(
  element: DerElement | undefined,
  tag: number,
): Uint8Array {
  if (element?.tag === tag) return element.content;
  throw new DerError(`wanted tag ${tag}, found ${element?.tag}`);
}

/**
 * Reads an INTEGER.
 *
 * @param element The element.
 * @returns Its value.
 * @throws {DerError} If it is something else, or not in its shortest form.
 */
export function readInteger(element: DerElement | undefined): bigint {
  const content = contentOf(element, DER.integer);
  const [first, second = 0] = content;
  const isLong = content.length > 1 &&
    (first === 0 ? second < 0x80 : first === 0xff && second >= 0x80);
  if (first === undefined || isLong) throw new DerError("a malformed integer");
  const value = content.reduce(
    (sum, octet) => (sum << 8n) | BigInt(octet),
    0n,
  );
  return BigInt.asIntN(8 * content.length, value);
}

/**
 * Reads an OBJECT IDENTIFIER.
 *
 * @param element The element.
 * @returns Such as `2.5.4.3`.
 * @throws {DerError} If it is something else.
 */
export function readOid(element: DerElement | undefined): string {
  const content = contentOf(element, DER.oid);
  const arcs: bigint[] = [];
  let arc = 0n;
  let isWithin = false;
  for (const octet of content) {
    if (!isWithin && octet === 0x80) throw new DerError("a malformed OID");
    arc = (arc << 7n) | BigInt(octet & 0x7f);
    isWithin = octet >= 0x80;
    if (isWithin) continue;
    arcs.push(arc);
    arc = 0n;
  }
  const [head, ...tail] = arcs;
  if (head === undefined || isWithin) throw new DerError("a malformed OID");
  const top = head < 80n ? head / 40n : 2n;
  return [top, head - 40n * top, ...tail].join(".");
}

/**
 * Reads a BIT STRING.
 *
 * @param element The element.
 * @returns Its bytes, and how many of the last bits do not count.
 * @throws {DerError} If it is something else.
 */
export function readBits(
  element: DerElement | undefined,
): { bytes: Uint8Array; unused: number } {
  const content = contentOf(element, DER.bitString);
  const [unused] = content;
  if (
    unused === undefined || unused > 7 || (unused > 0 && content.length < 2)
  ) {
    throw new DerError("a malformed bit string");
  }
  return { bytes: content.subarray(1), unused };
}

/**
 * Reads a UTCTime or GeneralizedTime in the only form that RFC 5280 allows.
 *
 * @param element The element.
 * @returns In ms since the Unix epoch.
 * @throws {DerError} If it is something else.
 * @see {@link https://www.rfc-editor.org/rfc/rfc5280.html#section-4.1.2.5 | RFC 5280 section 4.1.2.5}
 */
export function readTime(element: DerElement | undefined): number {
  const text = String.fromCharCode(...element?.content ?? []);
  const [, year = "", ...rest] =
    /^(\d\d(?:\d\d)?)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text) ?? [];
  const isUtc = element?.tag === DER.utcTime;
  const isTime = isUtc || element?.tag === DER.generalizedTime;
  if (!isTime || year.length !== (isUtc ? 2 : 4)) {
    throw new DerError("a malformed time");
  }
  const century = isUtc ? (Number(year) < 50 ? "20" : "19") : "";
  const [month, day, hour, minute, second] = rest;
  const at = Date.parse(
    `${century}${year}-${month}-${day}T${hour}:${minute}:${second}Z`,
  );
  if (Number.isNaN(at)) throw new DerError("a malformed time");
  return at;
}
