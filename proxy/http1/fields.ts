/**
 * Which fields of a head go on to the next server or client, and how a head
 * is written.
 *
 * Names keep their case and fields their order, since some servers tell their
 * clients by them. This module adds no field: what is injected is put behind
 * what it gives, so that no field of a client can take an injected one away.
 *
 * @module
 * @see {@link https://www.rfc-editor.org/rfc/rfc9110.html#section-7.6.1 | RFC 9110 section 7.6.1}
 */

import type { Fields, HeaderField } from "./field_lines.ts";
import { RequestHead } from "./head.ts";
import { ResponseHead } from "./response_head.ts";

/** How the fields of a head are chosen. */
export interface ForwardOptions {
  /** Further names that are not forwarded, in lower case. */
  readonly strip: ReadonlySet<string>;
  /** Whether Upgrade goes on, with the Connection field that it needs: see {@link isUpgrade}. */
  readonly keepUpgrade: boolean;
}

/**
 * Between two neighbours only, whether Connection names them or not. Trailer
 * goes with the trailer fields of a request, none of which is forwarded.
 */
const REQUEST_HOPS: ReadonlySet<string> = new Set([
  "connection",
  "http2-settings",
  "keep-alive",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "upgrade",
]);

/** The same in answers. A proxy of the upstream's must not ask our client for a password. */
const RESPONSE_HOPS: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-connection",
  "te",
  "upgrade",
]);

/**
 * What Connection cannot take away. RFC 9110 section 7.6.1 forbids to name
 * there what is meant for all recipients. These say where a message goes and
 * where it ends: they go on as they were understood here, while Connection
 * itself does not, so that no two readers see different things.
 */
const ESSENTIAL: ReadonlySet<string> = new Set([
  "content-length",
  "host",
  "transfer-encoding",
]);

/** What Connection nearly always says; none of it is the name of a field that is forwarded. */
const PLAIN_OPTIONS: ReadonlySet<string> = new Set([
  "",
  "close",
  "keep-alive",
  "te",
  "upgrade",
]);

const NONE: ReadonlySet<string> = new Set();

/**
 * Chooses the fields of a head that are forwarded.
 *
 * Transfer-Encoding stays, because a chunked body is sent on in its chunks;
 * the framing must have been checked before.
 *
 * @param head A request's or an answer's head.
 * @param options What else is taken away.
 * @returns The fields, in their order; the objects of the head.
 */
export function forwardedFields(
  head: RequestHead | ResponseHead,
  options: ForwardOptions,
): HeaderField[] {
  const { names, headers } = head;
  const { strip, keepUpgrade } = options;
  const hops = head instanceof RequestHead ? REQUEST_HOPS : RESPONSE_HOPS;
  const named = namedByConnection(head);
  const bodyless = head instanceof ResponseHead && isBodyless(head.status);
  const kept: HeaderField[] = [];
  let upgrade = keepUpgrade;
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!;
    const field = headers[i]!;
    if (strip.has(name)) continue;
    if (!hops.has(name)) {
      if (named.has(name) || (bodyless && name === "content-length")) continue;
      kept.push(field);
    } else if (keepUpgrade && name === "upgrade") {
      kept.push(field);
    } else if (upgrade && name === "connection") {
      kept.push([field[0], "Upgrade"]);
      upgrade = false;
    }
  }
  return kept;
}

/** RFC 9110 section 8.6: no Content-Length with these, not even 0. */
function isBodyless(status: number): boolean {
  return status < 200 || status === 204;
}

/**
 * Lists the fields that Connection takes away, from the trailers too.
 *
 * @param head A head.
 * @returns Their names in lower case, and perhaps some that name no field.
 */
export function namedByConnection(head: Fields): ReadonlySet<string> {
  const options = head.members("connection");
  if (options.every((option) => PLAIN_OPTIONS.has(option))) return NONE;
  return new Set(options.filter((option) => !ESSENTIAL.has(option)));
}

/**
 * Tells whether a head asks for the WebSocket protocol, or agrees to it. No
 * other protocol is known here: what it carries could not be read, and a
 * request for HTTP/2 (`h2c`) would get past every later check.
 *
 * @param head A GET without a body, or an answer with status 101.
 * @returns Whether the connection may go on as a tunnel.
 * @see {@link https://www.rfc-editor.org/rfc/rfc6455.html#section-4.1 | RFC 6455 section 4.1}
 */
export function isUpgrade(head: RequestHead | ResponseHead): boolean {
  if (!head.names.includes("upgrade")) return false;
  const protocols = head.values("upgrade");
  return protocols.length === 1 &&
    protocols[0]!.toLowerCase() === "websocket" &&
    head.version === "1.1" &&
    head.members("connection").includes("upgrade") &&
    !head.names.includes("transfer-encoding") &&
    !head.names.includes("content-length") &&
    (head instanceof RequestHead ? head.method === "GET" : head.status === 101);
}

/**
 * Writes a head.
 *
 * @param firstLine The request-line or status-line, without its end.
 * @param fields The fields, in their order.
 * @param body What follows it, so that both can be sent at once. Default: nothing.
 * @returns The bytes, each character of the head as the byte of the same number.
 * @throws {TypeError} If a part holds CR, LF, NUL, or a character beyond 0xff:
 *   the last defence against a head that is read as two.
 */
export function encodeHead(
  firstLine: string,
  fields: readonly HeaderField[],
  body?: Uint8Array,
): Uint8Array<ArrayBuffer> {
  let size = firstLine.length + 4 + (body?.length ?? 0);
  for (const [name, value] of fields) size += name.length + value.length + 4;
  const bytes = new Uint8Array(size);
  let at = endLine(bytes, put(bytes, 0, firstLine));
  for (const [name, value] of fields) {
    at = put(bytes, at, name);
    bytes[at++] = 0x3a;
    bytes[at++] = 0x20;
    at = endLine(bytes, put(bytes, at, value));
  }
  at = endLine(bytes, at);
  if (body) bytes.set(body, at);
  return bytes;
}

function put(bytes: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x0d || code === 0x0a || code === 0 || code > 0xff) {
      throw new TypeError("Cannot write a head: wanted no line end in a part");
    }
    bytes[at++] = code;
  }
  return at;
}

function endLine(bytes: Uint8Array, at: number): number {
  bytes[at++] = 0x0d;
  bytes[at++] = 0x0a;
  return at;
}
