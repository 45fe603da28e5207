/**
 * A JSON array, taken apart into its elements while it arrives: a list of ten
 * thousand containers has some 15 MB, of which little is wanted.
 *
 * Only the ends of the elements are found here; whether each is JSON is for
 * its reader to see.
 *
 * @module
 */

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Blanks between the tokens of JSON. */
const BLANKS = new Set([0x20, 0x09, 0x0a, 0x0d]);

/** The elements of one array. A state machine: where it is in the text. */
export class JsonRows {
  readonly #decoder = new TextDecoder("utf-8", {
    fatal: true,
    ignoreBOM: true,
  });
  /** 0 outside of the array, 1 between elements and in plain ones. */
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  #hasEnded = false;
  #hasRows = false;
  /** The beginning of an element that has not ended. */
  #begun = "";

  /** Whether the array has ended. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /**
   * Takes the next bytes.
   *
   * @param bytes In UTF-8.
   * @returns The elements that end here, as text that may be no JSON;
   * undefined for what is no array, after which nothing more may be given.
   */
  push(bytes: Uint8Array<ArrayBuffer>): string[] | undefined {
    const rows: string[] = [];
    let start = 0;
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at] as number;
      if (this.#isInString) {
        if (this.#isEscaped) this.#isEscaped = false;
        else if (byte === BACKSLASH) this.#isEscaped = true;
        else if (byte === QUOTE) this.#isInString = false;
      } else if (this.#depth === 0) {
        if (BLANKS.has(byte)) continue;
        if (byte !== OPEN_ARRAY || this.#hasEnded) return undefined;
        this.#depth = 1;
        start = at + 1;
      } else if (byte === QUOTE) {
        this.#isInString = true;
      } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        this.#depth++;
      } else if (byte === CLOSE_OBJECT && this.#depth > 1) {
        this.#depth--;
      } else if (byte === CLOSE_ARRAY && --this.#depth === 0) {
        this.#hasEnded = true;
        const row = this.#decode(bytes.subarray(start, at), true);
        if (row === undefined) return undefined;
        if (this.#hasRows || row.trim() !== "") rows.push(row);
      } else if (byte === COMMA && this.#depth === 1) {
        const row = this.#decode(bytes.subarray(start, at), true);
        if (row === undefined) return undefined;
        rows.push(row);
        this.#hasRows = true;
        start = at + 1;
      }
    }
    return this.#keep(bytes.subarray(start)) ? rows : undefined;
  }

  #keep(bytes: Uint8Array<ArrayBuffer>): boolean {
    if (this.#depth === 0) return true;
    const text = this.#decode(bytes, false);
    this.#begun = text ?? "";
    return text !== undefined;
  }

  /** What has begun, with what follows; undefined for what is no UTF-8. */
  #decode(bytes: Uint8Array<ArrayBuffer>, isEnd: boolean): string | undefined {
    try {
      const text = this.#begun +
        this.#decoder.decode(bytes, { stream: !isEnd });
      this.#begun = "";
      return text;
    } catch {
      return undefined;
    }
  }
}
