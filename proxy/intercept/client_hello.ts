/**
 * Reads the first message of a TLS client: whom it wants to speak to, and
 * what it offers. It judges nothing, and takes bytes from anybody: whatever
 * they are, it answers within one pass over them and never throws.
 *
 * @module
 */

/** What a client offers in its first message. */
export interface ClientHello {
  /** The host that it names, as it spelled it; absent if it names none. */
  readonly serverName?: string;
  /** Whether it offers TLS 1.3 among others. */
  readonly offersTls13: boolean;
  /**
   * Whether it can resume a TLS 1.3 session (`psk_dhe_ke`, RFC 8446 section
   * 4.2.9): a server sends tickets to such clients only.
   */
  readonly pskKeyExchangeModes: boolean;
  /** Protocols of the application, in the order of its preference; empty if it named none. */
  readonly alpn: readonly string[];
}

/**
 * How much is read before it is no hello, with the headers of its records.
 * Post-quantum key shares make hellos of 2 KiB; nothing known needs more than 4.
 */
export const MAX_CLIENT_HELLO_BYTES = 16 * 1024;

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const RECORD_HEADER_BYTES = 5;
const MESSAGE_HEADER_BYTES = 4;

/** RFC 8446 section 5.1. */
const MAX_RECORD_BYTES = 1 << 14;

/** Code points of extensions and their content, RFC 8446 section 4.2. */
const SERVER_NAME = 0;
const HOST_NAME = 0;
const ALPN = 16;
const SUPPORTED_VERSIONS = 43;
const TLS_1_3 = 0x0304;
const PSK_KEY_EXCHANGE_MODES = 45;
const PSK_DHE_KE = 1;

/** ASCII without blanks. */
const VISIBLE = /^[!-~]+$/;

/**
 * Reads a ClientHello, which may be spread over several records.
 *
 * @param bytes All that was received so far.
 * @returns The hello; `incomplete` while the bytes may become one; `not-tls`
 * for everything else: other protocols, SSL 2.0, malformed or repeated
 * fields, and more than {@link MAX_CLIENT_HELLO_BYTES}.
 * @see {@link https://www.rfc-editor.org/rfc/rfc8446.html#section-4.1.2 | RFC 8446 section 4.1.2}
 * @see {@link https://www.rfc-editor.org/rfc/rfc6066.html#section-3 | RFC 6066 section 3}
 */
export function readClientHello(
  bytes: Uint8Array,
): ClientHello | "incomplete" | "not-tls" {
  const message = joinRecords(bytes.subarray(0, MAX_CLIENT_HELLO_BYTES));
  if (message === "incomplete") {
    return bytes.length < MAX_CLIENT_HELLO_BYTES ? "incomplete" : "not-tls";
  }
  return message === "not-tls" ? message : parseHello(message) ?? "not-tls";
}

/**
 * Takes the message out of its records. It ends where a record ends, because
 * keys change behind it (RFC 8446 section 5.1).
 */
function joinRecords(bytes: Uint8Array): Uint8Array | "incomplete" | "not-tls" {
  const message = new Uint8Array(bytes.length);
  let length = 0;
  for (let at = 0;;) {
    if ((bytes[at] ?? HANDSHAKE) !== HANDSHAKE) return "not-tls";
    if ((bytes[at + 1] ?? 3) !== 3) return "not-tls";
    const body = at + RECORD_HEADER_BYTES;
    if (body > bytes.length) return "incomplete";
    const end = body + readUint(bytes, at + 3, 2);
    if (end === body || end - body > MAX_RECORD_BYTES) return "not-tls";
    const stop = Math.min(end, bytes.length);
    // Records may have one byte each: a view for each would cost more.
    for (let i = body; i < stop; i++) message[length++] = bytes[i] ?? 0;
    if (length > 0 && message[0] !== CLIENT_HELLO) return "not-tls";
    if (length >= MESSAGE_HEADER_BYTES) {
      const wanted = MESSAGE_HEADER_BYTES + readUint(message, 1, 3);
      if (length > wanted) return "not-tls";
      if (length === wanted && end <= bytes.length) {
        return message.subarray(MESSAGE_HEADER_BYTES, length);
      }
      if (wanted > MAX_CLIENT_HELLO_BYTES) return "not-tls";
    }
    if (end > bytes.length) return "incomplete";
    at = end;
  }
}

/** Undefined if malformed. Fields that do not matter here are only measured. */
function parseHello(body: Uint8Array): ClientHello | undefined {
  const cursor = new Cursor(body);
  const major = cursor.uint(1);
  cursor.skip(1 + 32); // minor version, random
  const sessionId = cursor.vector(1);
  const cipherSuites = cursor.vector(2);
  const compressions = cursor.vector(1);
  const extensions = cursor.isAtEnd ? [] : parseExtensions(cursor.vector(2));
  const found = extensions && interpret(new Map(extensions));
  const isWellFormed = major === 3 && sessionId.left <= 32 &&
    cipherSuites.left >= 2 && cipherSuites.left % 2 === 0 &&
    compressions.left >= 1 && cursor.isComplete;
  return isWellFormed ? found : undefined;
}

/** Undefined if malformed, or if one is there twice (RFC 8446 section 4.2). */
function parseExtensions(list: Cursor): [number, Cursor][] | undefined {
  const extensions: [number, Cursor][] = [];
  while (!list.isAtEnd) extensions.push([list.uint(2), list.vector(2)]);
  const types = new Set(extensions.map(([type]) => type));
  return list.isComplete && types.size === extensions.length
    ? extensions
    : undefined;
}

function interpret(
  extensions: ReadonlyMap<number, Cursor>,
): ClientHello | undefined {
  const names = parseList(extensions.get(SERVER_NAME), 2, parseServerName);
  const alpn = parseList(extensions.get(ALPN), 2, (list) => list.text(1));
  const versions = parseList(
    extensions.get(SUPPORTED_VERSIONS),
    1,
    (list) => list.uint(2),
  );
  const modes = parseList(
    extensions.get(PSK_KEY_EXCHANGE_MODES),
    1,
    (list) => list.uint(1),
  );
  if (!names || !alpn || !versions || !modes) return undefined;
  const [serverName, more] = names.filter((name) => name !== undefined);
  const isPlain = serverName === undefined || VISIBLE.test(serverName);
  if (more !== undefined || !isPlain || alpn.includes("")) return undefined;
  return {
    ...serverName === undefined ? {} : { serverName },
    offersTls13: versions.includes(TLS_1_3),
    pskKeyExchangeModes: modes.includes(PSK_DHE_KE),
    alpn,
  };
}

/** Other kinds of names, of which there are none yet, are to begin with a length (RFC 6066). */
function parseServerName(list: Cursor): string | undefined {
  const type = list.uint(1);
  const name = list.text(2);
  return type === HOST_NAME ? name : undefined;
}

/**
 * Parses an extension that is one list.
 *
 * @param extension Its content; absent gives an empty list.
 * @param lengthBytes How wide the list's length is.
 * @param parseMember Takes one member off the list.
 * @returns Undefined if malformed, or there and empty.
 */
function parseList<T>(
  extension: Cursor | undefined,
  lengthBytes: number,
  parseMember: (list: Cursor) => T,
): T[] | undefined {
  if (!extension) return [];
  const list = extension.vector(lengthBytes);
  const members: T[] = [];
  while (!list.isAtEnd) members.push(parseMember(list));
  return members.length > 0 && list.isComplete && extension.isComplete
    ? members
    : undefined;
}

/** A place in bytes. Reading past their end gives nothing, and is remembered. */
class Cursor {
  readonly #bytes: Uint8Array;
  #at = 0;
  #isBroken = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** How many bytes are left. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  get isAtEnd(): boolean {
    return this.left === 0;
  }

  /** Whether everything was read, and nothing past the end. */
  get isComplete(): boolean {
    return this.isAtEnd && !this.#isBroken;
  }

  skip(count: number): void {
    this.#take(count);
  }

  uint(width: number): number {
    const bytes = this.#take(width);
    return readUint(bytes, 0, bytes.length);
  }

  /** What follows a length of `lengthBytes`. */
  vector(lengthBytes: number): Cursor {
    return new Cursor(this.#take(this.uint(lengthBytes)));
  }

  /** The same as text: each byte becomes the character of the same number. */
  text(lengthBytes: number): string {
    return String.fromCharCode(...this.#take(this.uint(lengthBytes)));
  }

  /** Once broken it is at its end, so that every loop over it ends. */
  #take(count: number): Uint8Array {
    if (count > this.left) {
      this.#isBroken = true;
      this.#at = this.#bytes.length;
      return new Uint8Array();
    }
    return this.#bytes.subarray(this.#at, this.#at += count);
  }
}

/** Big-endian. */
function readUint(bytes: Uint8Array, at: number, width: number): number {
  let value = 0;
  for (let i = at; i < at + width; i++) value = value << 8 | (bytes[i] ?? 0);
  return value;
}
