/**
 * What is wanted of a long JSON array, taken out of it while it arrives.
 *
 * An engine's answers hold much that images choose and nothing bounds, such as
 * labels and commands. So what is not wanted is passed over, and what is too
 * long becomes `false`: no container's answer is to harm another one's. Only
 * where values begin and end is found here; whether what is left is JSON is for
 * its reader to see.
 *
 * @module
 */

/** Which members of an object are wanted: with all that they hold, or part of it. */
export interface Wanted {
  /** By name. */
  readonly [key: string]: true | Wanted;
}

/** How a {@link JsonSieve} reads. */
export interface SieveOptions {
  /** What is wanted of each element; its other members become `null`. */
  readonly wanted: Wanted;
  /** How long a member that is wanted with all may be, in bytes. */
  readonly maxValueBytes: number;
}

/** More than an engine's answer ever leaves of an element. */
const MAX_ROW_CHARS = 64 << 20;

/** Longer than any key that is wanted. */
const MAX_KEY_CHARS = 64;

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** The elements of one array. A state machine: where it is in the text. */
export class JsonSieve {
  readonly #options: SieveOptions;
  #decoder = newDecoder();
  /** What is kept of the element that has not ended. */
  #row = "";
  #hasRows = false;
  #hasEnded = false;
  /** How many arrays and objects are around this place. */
  #depth = 0;
  /** What is wanted of each object around it, from the element on. */
  readonly #path: Wanted[] = [];
  /** The last key in the innermost of these objects. */
  #key = "";
  /** What is wanted of the value that is to come; undefined if none is. */
  #due: boolean | Wanted | undefined;
  /** What happens to the value that has begun; undefined between values. */
  #value: "kept" | "dropped" | undefined;
  /** How deep it is, and where in {@link #row} what is kept of it begins. */
  #valueDepth = 0;
  #valueBegin = 0;
  #valueBytes = 0;
  #isInString = false;
  #isEscaped = false;

  /** For one array. */
  constructor(options: SieveOptions) {
    this.#options = options;
  }

  /** Whether the array has ended. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /**
   * Takes the next bytes.
   *
   * @param bytes In UTF-8.
   * @returns What is wanted of the elements that end here, as text that may be
   * no JSON; undefined for what is no array, after which nothing may follow.
   */
  push(bytes: Uint8Array<ArrayBuffer>): string[] | undefined {
    try {
      return this.#push(bytes);
    } catch (error) {
      if (error instanceof Malformed) return undefined;
      throw error;
    }
  }

  #push(bytes: Uint8Array<ArrayBuffer>): string[] {
    const rows: string[] = [];
    /** What comes before is in the row, or dropped. */
    let taken = 0;
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at] as number;
      if (this.#isInString) {
        this.#readString(byte);
        continue;
      }
      if (this.#depth === 0) {
        if (isBlank(byte)) continue;
        if (byte !== OPEN_ARRAY || this.#hasEnded) throw new Malformed();
        this.#depth = 1;
        this.#due = this.#options.wanted;
        taken = at + 1;
        continue;
      }
      if (this.#due !== undefined && !isBlank(byte)) {
        const due = this.#due;
        this.#due = undefined;
        if (typeof due === "object" && byte === OPEN_OBJECT) {
          this.#path.push(due);
          this.#depth++;
          continue;
        }
        this.#keep(bytes.subarray(taken, at));
        taken = at;
        this.#begin(due !== false);
      }
      if (byte === QUOTE) {
        this.#isInString = true;
        if (this.#value === undefined) this.#key = "";
        continue;
      }
      const isClosing = byte === CLOSE_OBJECT || byte === CLOSE_ARRAY;
      if (this.#value !== undefined) {
        if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) this.#depth++;
        if (isClosing && this.#depth > this.#valueDepth) {
          this.#depth--;
          continue;
        }
        const isEnd = isClosing || byte === COMMA;
        if (!isEnd || this.#depth !== this.#valueDepth) continue;
        this.#keep(bytes.subarray(taken, at));
        taken = at;
        this.#value = undefined;
      }
      if (byte === COLON) {
        this.#due = this.#wantedNow();
      } else if (byte === CLOSE_OBJECT && this.#path.length > 0) {
        this.#path.pop();
        this.#depth--;
      } else if (isClosing || byte === COMMA) {
        if (this.#path.length > 0 && byte === COMMA) continue;
        if (this.#path.length > 0 || byte === CLOSE_OBJECT) {
          throw new Malformed();
        }
        this.#keep(bytes.subarray(taken, at), true);
        taken = at + 1;
        const row = this.#row;
        this.#row = "";
        this.#hasEnded = byte === CLOSE_ARRAY;
        if (this.#hasEnded) this.#depth = 0;
        else this.#due = this.#options.wanted;
        if (this.#hasRows || !this.#hasEnded || row.trim() !== "") {
          rows.push(row);
        }
        this.#hasRows = true;
      } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        throw new Malformed();
      }
    }
    if (this.#depth > 0) this.#keep(bytes.subarray(taken));
    return rows;
  }

  #readString(byte: number): void {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (byte === BACKSLASH) this.#isEscaped = true;
    else if (byte === QUOTE) this.#isInString = false;
    if (
      this.#value === undefined && this.#isInString &&
      this.#key.length < MAX_KEY_CHARS
    ) {
      this.#key += String.fromCharCode(byte);
    }
  }

  #wantedNow(): boolean | Wanted {
    const wanted = this.#path.at(-1);
    if (!wanted) throw new Malformed();
    return Object.hasOwn(wanted, this.#key)
      ? wanted[this.#key] ?? false
      : false;
  }

  #begin(isWanted: boolean): void {
    this.#value = isWanted ? "kept" : "dropped";
    this.#valueDepth = this.#depth;
    this.#valueBegin = this.#row.length;
    this.#valueBytes = 0;
    if (!isWanted) this.#row += "null";
  }

  /** Takes what belongs to this place into the row, unless it is dropped. */
  #keep(bytes: Uint8Array<ArrayBuffer>, isRowEnd = false): void {
    if (this.#value === "dropped") return;
    this.#row += this.#decode(bytes, isRowEnd);
    if (this.#row.length > MAX_ROW_CHARS) throw new Malformed();
    if (this.#value === undefined) return;
    this.#valueBytes += bytes.length;
    if (this.#valueBytes <= this.#options.maxValueBytes) return;
    this.#row = `${this.#row.slice(0, this.#valueBegin)}false`;
    this.#value = "dropped";
    this.#decoder = newDecoder();
  }

  #decode(bytes: Uint8Array<ArrayBuffer>, isEnd: boolean): string {
    try {
      return this.#decoder.decode(bytes, { stream: !isEnd });
    } catch {
      throw new Malformed();
    }
  }
}

/** It is no array of JSON, and cannot become one. */
class Malformed extends Error {}

function newDecoder(): TextDecoder {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
}

/** Between the tokens of JSON. */
function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
