/**
 * Heads of answers in HTTP/1.0 and HTTP/1.1, parsed as strictly as those of
 * requests: an answer that two readers could end at different places would let
 * an upstream, or who else writes into its answers, forge the next one.
 *
 * This module decides where the body ends, and forwards nothing.
 *
 * @module
 * @see {@link https://www.rfc-editor.org/rfc/rfc9112.html#section-4 | RFC 9112 section 4}
 */

import { ProxyFailure } from "../intercept/failure.ts";
import {
  type DeclaredFraming,
  declaredFraming,
  declaresBody,
} from "./framing.ts";
import {
  decodeBytes,
  Fields,
  findEnd,
  type HeaderField,
  parseFields,
  type Refusals,
} from "./field_lines.ts";

/** The longest head of an answer in bytes, final empty line included. */
export const MAX_RESPONSE_HEAD_BYTES = 64 * 1024;

/** The most field lines of an answer's head. */
export const MAX_RESPONSE_FIELDS = 200;

/** `H` of `HTTP/`. */
const FIRST_BYTE = 0x48;

/**
 * RFC 9112 section 4. The space before an empty reason may be missing: many
 * servers leave it out, and nobody reads such a line in another way.
 */
const STATUS_LINE =
  /^HTTP\/(1\.[01]) ([1-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n/;

/** The head of an answer. Never changed after it was parsed. */
export class ResponseHead extends Fields {
  /** What followed `HTTP/`. */
  readonly version: "1.0" | "1.1";
  /** 100 to 599. */
  readonly status: number;
  /** What followed the status, byte by byte; may be empty. */
  readonly reason: string;

  /**
   * Makes a head of parts that were checked: use {@link parseResponseHead}.
   *
   * @param version What follows `HTTP/`.
   * @param status 100 to 599.
   * @param reason Without control characters.
   * @param headers All fields, in their order.
   */
  constructor(
    version: "1.0" | "1.1",
    status: number,
    reason: string,
    headers: readonly HeaderField[],
  ) {
    super(headers);
    this.version = version;
    this.status = status;
    this.reason = reason;
  }
}

/** How the body of an answer ends (RFC 9112 section 6.3). */
export type ResponseFraming =
  | { readonly kind: "none" }
  | DeclaredFraming
  /** With the connection. */
  | { readonly kind: "eof" };

/**
 * Finds the end of a head that arrives in pieces. Refuses at once what can
 * never become one, such as a TLS alert.
 *
 * @param bytes What was received.
 * @param start Where the head starts.
 * @param from Where to look on: `start`, or the `to` of the last call for this head.
 * @param to Where the received bytes end.
 * @returns The offset after the final empty line, or -1 if that is still to come.
 * @throws {ProxyFailure} 502 for a bare LF, a wrong first byte, or a head that is too long.
 */
export function findResponseHeadEnd(
  bytes: Uint8Array,
  start: number,
  from: number,
  to: number,
): number {
  if (to > start && bytes[start] !== FIRST_BYTE) throw badStatusLine();
  const end = findEnd(bytes, from, to, RESPONSE_REFUSALS);
  const least = end === -1 ? to + 1 : end;
  if (least - start > MAX_RESPONSE_HEAD_BYTES) throw overlong();
  return end;
}

/**
 * Parses a head.
 *
 * @param bytes Holds the head; not kept.
 * @param start Where its first byte is. Default: 0.
 * @param end The offset after its final empty line. Default: all bytes.
 * @returns The head.
 * @throws {ProxyFailure} 502 `bad-response` if it is malformed or too long.
 */
export function parseResponseHead(
  bytes: Uint8Array,
  start = 0,
  end: number = bytes.length,
): ResponseHead {
  if (end - start > MAX_RESPONSE_HEAD_BYTES) throw overlong();
  const text = decodeBytes(bytes, start, end);
  const line = STATUS_LINE.exec(text);
  if (line === null) throw badStatusLine();
  const [all, version, status, reason = ""] = line;
  return new ResponseHead(
    version as "1.0" | "1.1",
    Number(status),
    reason,
    parseFields(text, all.length, MAX_RESPONSE_FIELDS, RESPONSE_REFUSALS),
  );
}

/**
 * Decides how the body of an answer ends.
 *
 * Content-Length and Transfer-Encoding are looked at even where no body can
 * follow, because the client may not know that. An answer without a body must
 * not have them at all if its status is 1xx or 204 (RFC 9110 section 8.6, RFC
 * 9112 section 6.1): it is refused, but for a length of 0, which many servers
 * send with 204 and nobody misunderstands.
 *
 * @param head Its head.
 * @param method Of the request; upper case.
 * @returns `none` for an answer to HEAD, and for 1xx, 204 and 304.
 * @throws {ProxyFailure} 502 `bad-response` if readers could disagree about it.
 * @see {@link https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3 | RFC 9112 section 6.3}
 */
export function responseFraming(
  head: ResponseHead,
  method: string,
): ResponseFraming {
  const framing = declaredFraming(head, RESPONSE_REFUSALS);
  if (framing?.kind === "chunked") {
    checkCodings(head.members("transfer-encoding"));
  }
  const { status } = head;
  if (status < 200 || status === 204) {
    if (declaresBody(framing)) {
      throw badResponse("wanted no body with its status, found one declared");
    }
    return { kind: "none" };
  }
  if (status === 304 || method === "HEAD") return { kind: "none" };
  return framing ?? { kind: "eof" };
}

function checkCodings([coding, more]: readonly string[]): void {
  if (coding === "chunked" && more === undefined) return;
  throw badResponse("wanted no transfer coding but chunked, once");
}

function badResponse(what: string): ProxyFailure {
  return new ProxyFailure(
    502,
    "bad-response",
    "http_protocol_error",
    `Cannot read the upstream's answer: ${what}`,
  );
}

/** The errors for an answer that cannot be read: 502 `bad-response`. */
export const RESPONSE_REFUSALS: Refusals = {
  malformed: badResponse,
  tooLarge: badResponse,
};

function badStatusLine(): ProxyFailure {
  return badResponse("wanted HTTP/1.1 STATUS REASON as its first line");
}

function overlong(): ProxyFailure {
  return badResponse(
    `wanted a head of at most ${MAX_RESPONSE_HEAD_BYTES} bytes, found more`,
  );
}
