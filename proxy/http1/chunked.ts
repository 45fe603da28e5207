/**
 * Chunked bodies, checked strictly while they pass, without a copy: the reader
 * tells which of the received bytes go on as they are.
 *
 * What goes on is at every moment the beginning of a body that every reader
 * understands alike. Chunk extensions never go on (RFC 9112 section 7.1.1 lets
 * any recipient ignore them), and of the trailer fields only harmless ones of
 * an answer (section 7.1.2).
 *
 * One state machine, kept whole in one file: its states only make sense together.
 *
 * @module
 * @see {@link https://www.rfc-editor.org/rfc/rfc9112.html#section-7.1 | RFC 9112 section 7.1}
 */

import {
  decodeBytes,
  parseFields,
  type Refusals,
  tokenBytes,
} from "./field_lines.ts";
import { REQUEST_REFUSALS } from "./head.ts";
import { RESPONSE_REFUSALS } from "./response_head.ts";

/** The most hexadecimal digits of a chunk's size. */
export const MAX_SIZE_DIGITS = 15;

/** The longest chunk extensions of one chunk in bytes. */
export const MAX_EXTENSION_BYTES = 4 * 1024;

/** The longest trailer section in bytes, final empty line included. */
export const MAX_TRAILER_BYTES = 16 * 1024;

/** The most trailer fields. */
export const MAX_TRAILER_FIELDS = 64;

/** Bytes `from` to before `to`. */
export type ByteRange = [from: number, to: number];

/** How a body is read. */
export interface ChunkedOptions {
  /** Whose body it is. A request's trailer fields are all dropped. */
  readonly of: "request" | "response";
  /** Further trailer fields of a response that are dropped, in lower case. Default: none. */
  readonly denied?: ReadonlySet<string>;
  /**
   * Whether only the content goes on, for a client that does not know chunks
   * (HTTP/1.0). Default: no.
   */
  readonly unwrap?: boolean;
}

/**
 * Trailer fields that nobody may merge into a head (RFC 9110 section 6.5.1):
 * of framing, routing, authentication, request modifiers, response control
 * data and content, and of one connection only.
 */
const FORBIDDEN_TRAILERS: ReadonlySet<string> = new Set([
  "age",
  "authentication-info",
  "authorization",
  "cache-control",
  "connection",
  "cookie",
  "date",
  "expect",
  "expires",
  "host",
  "http2-settings",
  "keep-alive",
  "location",
  "max-forwards",
  "pragma",
  "range",
  "retry-after",
  "set-cookie",
  "strict-transport-security",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "vary",
  "via",
  "warning",
  "www-authenticate",
]);

/** The same, whole families. */
const FORBIDDEN_FAMILY = /^(?:proxy-|content-|access-control-|if-|sec-)/;

const CR = 0x0d;
const LF = 0x0a;
const QUOTE = 0x22;
const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
const BACKSLASH = 0x5c;

const NOT_HEX = 0xff;
const HEX = hexDigits();

/** Classes of bytes in chunk extensions. */
const IS_TOKEN = 1;
const IS_TEXT = 2;
const CLASSES = extensionClasses();

/** What comes next. */
const enum State {
  /** The first digit of a size. */
  Size,
  /** A digit, `;` or CR. */
  SizeMore,
  /** The first character of an extension's name. */
  Name,
  NameMore,
  /** The first character of its value. */
  Value,
  ValueMore,
  Quoted,
  Escaped,
  /** `;` or CR after a quoted value. */
  QuotedEnd,
  /** LF after a size. */
  SizeLf,
  Data,
  DataCr,
  DataLf,
  /** A trailer field, or the empty line. */
  Trailer,
  Done,
}

const NOTHING: ReadonlySet<string> = new Set();

/** Reads one chunked body, in pieces. */
export class ChunkedReader {
  /**
   * What goes on of the pieces that were fed: the caller writes it and empties
   * it, before the bytes move. Of a piece that was refused nothing needs to.
   */
  readonly out: ByteRange[] = [];
  readonly #refuse: Refusals;
  readonly #dropsTrailers: boolean;
  readonly #denied: ReadonlySet<string>;
  readonly #unwrap: boolean;
  #state = State.Size;
  #bodyBytes = 0;
  /** Of this chunk: its size, of which so much is to come, and its digits. */
  #size = 0;
  #digits = 0;
  #extension = 0;
  #trailerBytes = 0;
  #trailerFields = 0;
  /** How much of an incomplete trailer line was looked at. */
  #scanned = 0;

  /**
   * Starts before the size of the first chunk.
   *
   * @param options Whose body it is.
   */
  constructor(options: ChunkedOptions) {
    this.#refuse = options.of === "request"
      ? REQUEST_REFUSALS
      : RESPONSE_REFUSALS;
    this.#unwrap = options.unwrap ?? false;
    this.#dropsTrailers = options.of === "request" || this.#unwrap;
    this.#denied = options.denied ?? NOTHING;
  }

  /** Whether the body has ended. */
  get isDone(): boolean {
    return this.#state === State.Done;
  }

  /** Bytes of content so far, without size lines and trailers. */
  get bodyBytes(): number {
    return this.#bodyBytes;
  }

  /**
   * Reads a piece.
   *
   * @param bytes Holds it.
   * @param start Where it starts: where the last piece was read to.
   * @param end Where it ends.
   * @returns Where it was read to. Less than `end` when the body has ended, or
   *   in the middle of a trailer line: feed that again with more bytes after it.
   * @throws {HttpError} 400 if a request's body is malformed.
   * @throws {ProxyFailure} 502 if an answer's is.
   */
  feed(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    /** What goes on and is not in `out` yet starts here, outside of extensions. */
    let from = start;
    while (at < end) {
      switch (this.#state) {
        case State.Size:
          this.#size = this.#digits = 0;
          this.#addDigit(HEX[bytes[at++]!]!);
          this.#state = State.SizeMore;
          break;
        case State.SizeMore: {
          const byte = bytes[at]!;
          if (byte === CR) this.#state = State.SizeLf;
          else if (byte === SEMICOLON) {
            this.#pass(from, at);
            this.#extension = 1;
            this.#state = State.Name;
          } else this.#addDigit(HEX[byte]!);
          at++;
          break;
        }
        case State.SizeLf:
          this.#expect(bytes[at++]!, LF);
          this.#state = this.#size === 0 ? State.Trailer : State.Data;
          break;
        case State.Data: {
          const taken = Math.min(this.#size, end - at);
          if (this.#unwrap) this.out.push([at, at + taken]);
          this.#size -= taken;
          this.#bodyBytes += taken;
          at += taken;
          if (this.#size === 0) this.#state = State.DataCr;
          break;
        }
        case State.DataCr:
          this.#expect(bytes[at++]!, CR);
          this.#state = State.DataLf;
          break;
        case State.DataLf:
          this.#expect(bytes[at++]!, LF);
          this.#state = State.Size;
          break;
        case State.Trailer: {
          const next = this.#findLineEnd(bytes, at, end);
          if (next === -1) {
            this.#pass(from, at);
            return at;
          }
          if (next - at > 2 && !this.#keepsTrailer(bytes, at, next)) {
            this.#pass(from, at);
            from = next;
          }
          if (next - at === 2) this.#state = State.Done;
          at = next;
          break;
        }
        case State.Done:
          this.#pass(from, at);
          return at;
        default:
          // The CR after an extension goes on, with what follows it.
          if (this.#skipExtension(bytes[at]!)) from = at;
          at++;
      }
    }
    if (!this.#isInExtension()) this.#pass(from, at);
    return at;
  }

  #pass(from: number, to: number): void {
    if (to > from && !this.#unwrap) this.out.push([from, to]);
  }

  #isInExtension(): boolean {
    return this.#state >= State.Name && this.#state <= State.QuotedEnd;
  }

  #expect(byte: number, wanted: number): void {
    if (byte !== wanted) {
      throw this.#refuse.malformed("wanted CR LF around each chunk");
    }
  }

  #addDigit(digit: number): void {
    if (digit === NOT_HEX) {
      throw this.#refuse.malformed(
        "wanted a chunk's size in hexadecimal digits, with nothing around it",
      );
    }
    this.#size = 16 * this.#size + digit;
    if (++this.#digits > MAX_SIZE_DIGITS || !Number.isSafeInteger(this.#size)) {
      throw this.#refuse.malformed("wanted a smaller chunk");
    }
  }

  /** Takes one byte of an extension; true if it is the CR after it. */
  #skipExtension(byte: number): boolean {
    if (++this.#extension > MAX_EXTENSION_BYTES) {
      throw this.#refuse.malformed(
        `wanted chunk extensions of at most ${MAX_EXTENSION_BYTES} bytes`,
      );
    }
    const state = nextInExtension(this.#state, byte);
    if (state === undefined) {
      throw this.#refuse.malformed(
        "wanted chunk extensions of the form ;name=value",
      );
    }
    this.#state = state;
    return state === State.SizeLf;
  }

  /** The offset after the line at `at`; -1 if its end is still to come. */
  #findLineEnd(bytes: Uint8Array, at: number, end: number): number {
    const found = bytes.subarray(at + this.#scanned, end).indexOf(LF);
    const next = found === -1 ? end : at + this.#scanned + found + 1;
    const total = this.#trailerBytes + next - at;
    if (total > MAX_TRAILER_BYTES - Number(found === -1)) {
      throw this.#refuse.tooLarge(
        `wanted trailers of at most ${MAX_TRAILER_BYTES} bytes, found more`,
      );
    }
    if (found === -1) {
      this.#scanned = end - at;
      return -1;
    }
    if (next - at < 2 || bytes[next - 2] !== CR) {
      throw this.#refuse.malformed(
        "wanted lines that end with CR LF, found LF alone",
      );
    }
    this.#trailerBytes = total;
    this.#scanned = 0;
    return next;
  }

  #keepsTrailer(bytes: Uint8Array, start: number, end: number): boolean {
    if (++this.#trailerFields > MAX_TRAILER_FIELDS) {
      throw this.#refuse.tooLarge(
        `wanted at most ${MAX_TRAILER_FIELDS} trailer fields, found more`,
      );
    }
    const line = `${decodeBytes(bytes, start, end)}\r\n`;
    const [field] = parseFields(line, 0, 1, this.#refuse);
    const name = field![0].toLowerCase();
    return !this.#dropsTrailers && !FORBIDDEN_TRAILERS.has(name) &&
      !FORBIDDEN_FAMILY.test(name) && !this.#denied.has(name);
  }
}

/**
 * What follows a byte of a chunk extension; undefined if it must not be there.
 * RFC 9112 section 7.1.1 without the blanks that it calls bad.
 */
function nextInExtension(state: State, byte: number): State | undefined {
  const kind = CLASSES[byte]!;
  switch (state) {
    case State.Name:
      return kind & IS_TOKEN ? State.NameMore : undefined;
    case State.NameMore:
      if (kind & IS_TOKEN) return State.NameMore;
      return byte === EQUALS ? State.Value : afterExtension(byte);
    case State.Value:
      if (byte === QUOTE) return State.Quoted;
      return kind & IS_TOKEN ? State.ValueMore : undefined;
    case State.ValueMore:
      return kind & IS_TOKEN ? State.ValueMore : afterExtension(byte);
    case State.Quoted:
      if (byte === QUOTE) return State.QuotedEnd;
      if (byte === BACKSLASH) return State.Escaped;
      return kind & IS_TEXT ? State.Quoted : undefined;
    case State.Escaped:
      return kind & IS_TEXT ? State.Quoted : undefined;
    default:
      return afterExtension(byte);
  }
}

function afterExtension(byte: number): State | undefined {
  if (byte === SEMICOLON) return State.Name;
  return byte === CR ? State.SizeLf : undefined;
}

function hexDigits(): Uint8Array {
  const digits = new Uint8Array(256).fill(NOT_HEX);
  for (let digit = 0; digit < 16; digit++) {
    const character = digit.toString(16);
    digits[character.charCodeAt(0)] = digit;
    digits[character.toUpperCase().charCodeAt(0)] = digit;
  }
  return digits;
}

/** Inside of quotes: HTAB, SP, VCHAR and obs-text (RFC 9110 section 5.6.4). */
function extensionClasses(): Uint8Array {
  return tokenBytes().map((isToken, byte) => {
    const isText = byte === 0x09 || (byte >= 0x20 && byte !== 0x7f);
    return (isToken ? IS_TOKEN : 0) | (isText ? IS_TEXT : 0);
  });
}
