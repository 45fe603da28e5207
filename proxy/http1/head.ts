/**
 * Request heads of HTTP/1.0 and HTTP/1.1, parsed strictly: what two readers
 * could understand differently is refused, never repaired, because a repaired
 * head is how one request is smuggled inside another (RFC 9112 section 11.2).
 *
 * Stricter than the RFC where it leaves a choice: a bare LF, obs-fold and
 * control characters are refused; Host is wanted in HTTP/1.0 too, because it
 * is checked against DNS rebinding. This module opens no socket and decides
 * nothing about who asks.
 *
 * One parser, kept whole in one file: grammar, limits and refusals side by side.
 *
 * @module
 * @see {@link https://www.rfc-editor.org/rfc/rfc9112.html | RFC 9112}
 * @see {@link https://www.rfc-editor.org/rfc/rfc9110.html | RFC 9110}
 */

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
  TOKEN,
  tokenBytes,
} from "./field_lines.ts";

export type { HeaderField } from "./field_lines.ts";

/** The longest head in bytes, final empty line included; beyond it 431. */
export const MAX_HEAD_BYTES = 16 * 1024;

/** The most field lines of a head; beyond it 431 (RFC 6585 section 5). */
export const MAX_FIELDS = 100;

/**
 * The longest request-target in bytes; beyond it 414, which RFC 9112 section 3
 * demands where 431 would only speak of fields. The same section recommends
 * to take request-lines of 8000 bytes at least.
 */
export const MAX_TARGET_BYTES = 8 * 1024;

/** How much of a head is read. */
export interface HeadLimits {
  /** The longest head in bytes, final empty line included; beyond it 431. */
  readonly bytes: number;
  /** The most field lines; beyond it 431. */
  readonly fields: number;
  /** The longest request-target in bytes; beyond it 414. */
  readonly target: number;
}

/** For requests to us. */
export const OWN_LIMITS: HeadLimits = {
  bytes: MAX_HEAD_BYTES,
  fields: MAX_FIELDS,
  target: MAX_TARGET_BYTES,
};

/**
 * For requests that are forwarded: what the upstream takes is its own affair,
 * and the longest targets in use are signed URLs.
 */
export const FORWARD_LIMITS: HeadLimits = {
  bytes: 64 * 1024,
  fields: 200,
  target: 32 * 1024,
};

const LF = 0x0a;
const CR = 0x0d;

const REQUEST_LINE = new RegExp(
  `^(${TOKEN}) ([\\x21-\\x7e]+) HTTP/([0-9]\\.[0-9])\\r\\n`,
);

/** uri-host [":" port] of RFC 9110 section 7.2, not empty; without IPvFuture. */
const HOST =
  /^(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]{0,5})?$/;

/** RFC 9112 section 3.2.2: scheme, authority, and what follows. */
const ABSOLUTE_FORM = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?]+)(.*)$/;

/** Which bytes may start a method. */
const STARTS_METHOD = tokenBytes();

/** A request that cannot be served, with what its client is told. */
export class HttpError extends Error {
  /** What stack traces show. */
  override readonly name = "HttpError";
  /** HTTP status code. */
  readonly status: number;
  /** A kebab-case word for the body. */
  readonly code: string;

  /**
   * Makes an error.
   *
   * @param status HTTP status code, 400 to 599.
   * @param code Kebab-case, such as `bad-request`.
   * @param message One sentence that the client sees: never what it sent.
   */
  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The head of a request. Never changed after it was parsed. */
export class RequestHead extends Fields {
  /** Case-sensitive, such as `GET`. */
  readonly method: string;
  /**
   * As it was sent, in a form that its method allows. In absolute form its
   * authority counts, not {@link host} (RFC 9112 section 3.2.2).
   */
  readonly target: string;
  /** What followed `HTTP/`. */
  readonly version: "1.0" | "1.1";
  /** The value of the one Host field, such as `127.0.0.1:19080`. Never empty. */
  readonly host: string;

  /**
   * Makes a head of parts that were checked: use {@link parseRequestHead}.
   *
   * @param method A token.
   * @param target Visible ASCII.
   * @param version What follows `HTTP/`.
   * @param headers All fields, in their order.
   * @throws {HttpError} 400 unless there is exactly one Host field, well-formed.
   */
  constructor(
    method: string,
    target: string,
    version: "1.0" | "1.1",
    headers: readonly HeaderField[],
  ) {
    super(headers);
    this.method = method;
    this.target = target;
    this.version = version;
    this.host = isOldConnect(method, version) && !this.names.includes("host")
      ? target
      : onlyHost(this.values("host"));
  }
}

/** How the body of a request ends (RFC 9112 section 6.3). */
export type BodyFraming = { readonly kind: "none" } | DeclaredFraming;

/**
 * Finds the end of a head that arrives in pieces.
 *
 * Refuses at once what can never become a head, so that a client that speaks
 * TLS, or ends its lines with LF alone, gets an answer instead of a time-out.
 *
 * @param bytes What was received.
 * @param start Where the head starts.
 * @param from Where to look on: `start`, or the `to` of the last call for this head.
 * @param to Where the received bytes end.
 * @returns The offset after the final empty line, or -1 if that is still to come.
 * @throws {HttpError} 400 for a bare LF, or a first byte that no method starts with.
 */
export function findHeadEnd(
  bytes: Uint8Array,
  start: number,
  from: number,
  to: number,
): number {
  if (to > start && STARTS_METHOD[bytes[start]!] === 0) {
    // A single CR may be the beginning of the empty line that section 2.2 allows.
    if (bytes[start] !== CR || to > start + 1) throw badRequestLine();
  }
  // The first byte is neither CR nor LF, so looking back stays inside the head.
  return findEnd(bytes, from, to, REQUEST_REFUSALS);
}

/**
 * Makes the error for a head that reached its limit without an end.
 *
 * @param bytes What was received.
 * @param start Where the head starts.
 * @param to Where the received bytes end.
 * @param limits The limits. Default: {@link OWN_LIMITS}.
 * @returns 414 if not even the request-line has ended, else 431.
 */
export function overlongHead(
  bytes: Uint8Array,
  start: number,
  to: number,
  limits: HeadLimits = OWN_LIMITS,
): HttpError {
  const lineEnd = bytes.indexOf(LF, start);
  return lineEnd === -1 || lineEnd >= to ? targetTooLong(limits) : headTooLarge(
    `wanted a head of at most ${limits.bytes} bytes, found more`,
  );
}

/**
 * Parses a head.
 *
 * @param bytes Holds the head; not kept.
 * @param start Where its first byte is. Default: 0.
 * @param end The offset after its final empty line. Default: all bytes.
 * @param limits The limits. Default: {@link OWN_LIMITS}.
 * @returns The head.
 * @throws {HttpError} 400 if malformed, 414 or 431 if too long, 505 unless HTTP/1.0 or 1.1.
 * @see {@link https://www.rfc-editor.org/rfc/rfc9112.html#section-3 | RFC 9112 sections 2 to 5}
 */
export function parseRequestHead(
  bytes: Uint8Array,
  start = 0,
  end: number = bytes.length,
  limits: HeadLimits = OWN_LIMITS,
): RequestHead {
  if (end - start > limits.bytes) {
    throw overlongHead(bytes, start, end, limits);
  }
  const text = decodeBytes(bytes, start, end);
  const line = REQUEST_LINE.exec(text);
  if (line === null) throw badRequestLine();
  const [all, method, target, version] = line as unknown as RequestLine;
  if (target.length > limits.target) throw targetTooLong(limits);
  if (version !== "1.0" && version !== "1.1") throw versionNotSupported();
  checkTarget(method, target);
  const fields = parseFields(text, all.length, limits.fields, REQUEST_REFUSALS);
  return new RequestHead(method, target, version, fields);
}

type RequestLine = [
  all: string,
  method: string,
  target: string,
  version: string,
];

/**
 * Refuses a target whose form its method does not allow (RFC 9112 section 3.2).
 *
 * Characters that RFC 3986 wants escaped, such as `|` or `"`, are let through
 * as they are: URL parsers of browsers and Node leave them in a query, and no
 * visible ASCII character can end a target or a line.
 */
function checkTarget(method: string, target: string): void {
  if (target.includes("#")) {
    throw badRequest("wanted a target without a fragment");
  }
  if (method === "CONNECT") {
    const colon = target.lastIndexOf(":");
    if (HOST.test(target) && /^:[0-9]+$/.test(target.slice(colon))) return;
    throw badRequest("wanted host:port as the target of CONNECT");
  }
  if (target.startsWith("/")) return;
  if (target === "*" && method === "OPTIONS") return;
  const absolute = ABSOLUTE_FORM.exec(target);
  if (!absolute) {
    throw badRequest("wanted a path or an absolute URL as the target");
  }
  // RFC 9110 section 4.2.4: userinfo ought to be an error; it hides the host.
  if (!HOST.test(absolute[2]!)) {
    throw badRequest("wanted host or host:port in the target");
  }
}

/** Python's http.client sends CONNECT in HTTP/1.0 and without Host, which says the same as its target. */
function isOldConnect(method: string, version: string): boolean {
  return method === "CONNECT" && version === "1.0";
}

/** RFC 9112 section 3.2: 400 if Host is missing, repeated or malformed. */
function onlyHost(hosts: readonly string[]): string {
  const [host] = hosts;
  if (host === undefined) throw badRequest("wanted a Host field, found none");
  if (hosts.length > 1) throw badRequest("wanted one Host field, found more");
  if (!HOST.test(host)) {
    throw badRequest("wanted host or host:port in the Host field");
  }
  return host;
}

/**
 * Decides how the body of a request ends.
 *
 * @param head Its head.
 * @returns `none` without Content-Length and Transfer-Encoding.
 * @throws {HttpError} 400 if readers could disagree about it, 501 for a transfer coding other than chunked.
 * @see {@link https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3 | RFC 9112 section 6.3}
 */
export function bodyFraming(head: RequestHead): BodyFraming {
  return declaredBy(head) ?? { kind: "none" };
}

function declaredBy(head: RequestHead): DeclaredFraming | undefined {
  const framing = declaredFraming(head, REQUEST_REFUSALS);
  if (framing?.kind === "chunked") {
    checkCodings(head.members("transfer-encoding"));
  }
  return framing;
}

/**
 * Tells whether content follows a head.
 *
 * @param head The head.
 * @returns False for none, and for a Content-Length of 0.
 * @throws {HttpError} As {@link bodyFraming}.
 */
export function hasBody(head: RequestHead): boolean {
  return declaresBody(declaredBy(head));
}

/**
 * Section 7.1: chunked once, and last. Section 6.1: 501 for an unknown coding.
 * An empty member is refused, although RFC 9110 section 5.6.1.2 would skip it.
 */
function checkCodings(codings: readonly string[]): void {
  if (codings.length === 1 && codings[0] === "chunked") return;
  const chunked = codings.indexOf("chunked");
  if (
    codings.includes("") || (chunked !== -1 && chunked !== codings.length - 1)
  ) {
    throw badRequest("wanted the transfer coding chunked once and last");
  }
  throw new HttpError(
    501,
    "not-implemented",
    "Cannot decode the request: wanted no transfer coding but chunked",
  );
}

function badRequest(what: string): HttpError {
  return new HttpError(400, "bad-request", `Cannot read the request: ${what}`);
}

function badRequestLine(): HttpError {
  return badRequest("wanted METHOD TARGET HTTP/1.1 as its first line");
}

function headTooLarge(what: string): HttpError {
  return new HttpError(
    431,
    "head-too-large",
    `Cannot read the request: ${what}`,
  );
}

function targetTooLong(limits: HeadLimits): HttpError {
  return new HttpError(
    414,
    "target-too-long",
    `Cannot read the request: wanted a target of at most ${limits.target} bytes, found more`,
  );
}

/** The errors for a request that cannot be read: 400, or 431 if it is too large. */
export const REQUEST_REFUSALS: Refusals = {
  malformed: badRequest,
  tooLarge: headTooLarge,
};

function versionNotSupported(): HttpError {
  return new HttpError(
    505,
    "version-not-supported",
    "Cannot read the request: wanted HTTP/1.0 or HTTP/1.1",
  );
}
