/**
 * Field lines of heads and trailer sections, parsed strictly: one grammar for
 * requests and answers, so that no reader of ours understands another.
 *
 * Stricter than the RFC where it leaves a choice: obs-fold, bare CR or LF and
 * control characters are refused, never repaired.
 *
 * @module
 * @see {@link https://www.rfc-editor.org/rfc/rfc9112.html#section-5 | RFC 9112 section 5}
 * @see {@link https://www.rfc-editor.org/rfc/rfc9110.html#section-5 | RFC 9110 section 5}
 */

const LF = 0x0a;
const CR = 0x0d;

/** Method and field names, as the source of a regular expression: RFC 9110 section 5.6.2. */
export const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";

/**
 * RFC 9112 section 5: no space before the colon, no folded lines. The value
 * may hold obs-text (0x80 to 0xff), which RFC 9110 section 5.5 wants treated as
 * opaque; each such byte becomes the character of the same number.
 */
const FIELD_LINE = new RegExp(
  `(${TOKEN}):([\\t\\x20-\\x7e\\x80-\\xff]*)\\r\\n`,
  "y",
);

const WHOLE_TOKEN = new RegExp(`^${TOKEN}$`);

/** One field line: the name as it was sent, the value without the blanks around it. */
export type HeaderField = readonly [name: string, value: string];

/** Makes the errors for what cannot be read. What they are told holds no byte of it. */
export interface Refusals {
  /** It breaks the grammar; told what was wanted. */
  malformed(what: string): Error;
  /** It is longer than we read; told what was wanted. */
  tooLarge(what: string): Error;
}

/** The fields of a head. Never changed after they were parsed. */
export class Fields {
  /** All field lines, in their order. */
  readonly headers: readonly HeaderField[];
  /** Their names in lower case. */
  readonly names: readonly string[];

  /**
   * Makes fields of lines that were checked: see {@link parseFields}.
   *
   * @param headers All lines, in their order.
   */
  constructor(headers: readonly HeaderField[]) {
    this.headers = headers;
    this.names = headers.map(([name]) => name.toLowerCase());
  }

  /**
   * Finds a field.
   *
   * @param name In lower case.
   * @returns The value of every line of that name, in their order; empty if there is none.
   */
  values(name: string): string[] {
    const found: string[] = [];
    for (let i = 0; i < this.names.length; i++) {
      if (this.names[i] === name) found.push(this.headers[i]![1]);
    }
    return found;
  }

  /**
   * Splits a list-valued field, such as Connection, into its members.
   *
   * @param name In lower case.
   * @returns All members in lower case, without blanks; an empty member as "".
   */
  members(name: string): string[] {
    const values = this.values(name);
    if (values.length === 0) return values;
    return values.join(",").split(",").map((member) =>
      trimBlanks(member).toLowerCase()
    );
  }
}

/**
 * Parses the field lines of a head, and the empty line after them.
 *
 * @param text The head, each byte a character: see {@link decodeBytes}.
 * @param start Where its first field line starts.
 * @param maxFields How many lines are taken.
 * @param refuse Makes the errors.
 * @returns The lines, in their order.
 */
export function parseFields(
  text: string,
  start: number,
  maxFields: number,
  refuse: Refusals,
): HeaderField[] {
  const fields: HeaderField[] = [];
  const end = text.length - 2;
  let at = start;
  while (at < end) {
    FIELD_LINE.lastIndex = at;
    const line = FIELD_LINE.exec(text) as [string, string, string] | null;
    if (line === null) throw refuse.malformed(fieldFault(text, at));
    if (fields.length === maxFields) {
      throw refuse.tooLarge(`wanted at most ${maxFields} fields, found more`);
    }
    fields.push([line[1], trimBlanks(line[2])]);
    at = FIELD_LINE.lastIndex;
  }
  if (at !== end || !text.endsWith("\r\n")) {
    throw refuse.malformed("wanted an empty line at the end of the fields");
  }
  return fields;
}

/** Says what is wrong with a field line, without a byte of it. */
function fieldFault(text: string, at: number): string {
  const first = text[at];
  if (first === " " || first === "\t") {
    return "wanted no folded field lines";
  }
  const colon = text.indexOf(":", at);
  const name = text.slice(at, colon === -1 ? text.length : colon);
  return WHOLE_TOKEN.test(name)
    ? "wanted field values without control characters"
    : "wanted field names that are tokens, with a colon right after";
}

/**
 * Takes SP and HTAB off both ends. String.trim() would take obs-text off too.
 *
 * @param text Any text.
 * @returns The rest.
 */
export function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

const asciiDecoder = new TextDecoder();

/**
 * Turns bytes into text, each byte into the character of the same number.
 *
 * @param bytes Holds them.
 * @param start Where the first is.
 * @param end The offset after the last.
 * @returns The text.
 */
export function decodeBytes(
  bytes: Uint8Array,
  start: number,
  end: number,
): string {
  for (let at = start; at < end; at++) {
    if (bytes[at]! < 0x80) continue;
    // TextDecoder's "latin1" is windows-1252, which moves 0x80 to 0x9f.
    let text = "";
    for (at = start; at < end; at++) text += String.fromCharCode(bytes[at]!);
    return text;
  }
  // Five times as fast, and the same for ASCII.
  return asciiDecoder.decode(bytes.subarray(start, end));
}

/**
 * Lists the bytes that a token may hold.
 *
 * @returns For each of the 256 bytes 1 or 0.
 */
export function tokenBytes(): Uint8Array {
  return Uint8Array.from(
    { length: 256 },
    (_, byte) => Number(WHOLE_TOKEN.test(String.fromCharCode(byte))),
  );
}

/**
 * Finds the empty line that ends a head which arrives in pieces.
 *
 * @param bytes What was received.
 * @param from Where to look on; the byte before it belongs to the head, if not its start.
 * @param to Where the received bytes end.
 * @param refuse Makes the error for a bare LF.
 * @returns The offset after the empty line, or -1 if that is still to come.
 */
export function findEnd(
  bytes: Uint8Array,
  from: number,
  to: number,
  refuse: Refusals,
): number {
  for (let at = from; at < to; at++) {
    if (bytes[at] !== LF) continue;
    if (bytes[at - 1] !== CR) {
      throw refuse.malformed(
        "wanted lines that end with CR LF, found LF alone",
      );
    }
    if (bytes[at - 2] === LF) return at + 1;
  }
  return -1;
}
