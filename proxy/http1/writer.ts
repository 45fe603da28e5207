/**
 * Answers as the bytes that go over the wire. They are computed once per
 * answer and second, so that a repeated answer costs a lookup.
 *
 * @module
 */

import type { Answer } from "$core/provider.ts";

/** How one answer is to be written. */
export interface WireOptions {
  /** The time for the Date field, in ms since the Unix epoch. */
  readonly now: number;
  /** Whether the connection ends after it. */
  readonly close: boolean;
  /** Whether it answers HEAD, so that the body is left out (RFC 9110 section 9.3.2). */
  readonly headOnly: boolean;
}

/** Reason phrases (RFC 9110 section 15); they may be empty (RFC 9112 section 4). */
const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  204: "No Content",
  301: "Moved Permanently",
  302: "Found",
  304: "Not Modified",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  407: "Proxy Authentication Required",
  408: "Request Timeout",
  413: "Content Too Large",
  414: "URI Too Long",
  415: "Unsupported Media Type",
  421: "Misdirected Request",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

interface Wire {
  readonly second: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** The kept-alive form of each answer, for the second in which it was made. */
const wires = new WeakMap<Answer, Wire>();

const encoder = new TextEncoder();

/**
 * Writes an answer.
 *
 * Date is sent because RFC 9110 section 6.6.1 demands it of a server with a
 * clock; the bytes are therefore made anew once a second, on demand.
 *
 * @param answer What to write. Its headers may not repeat those set here.
 * @param options How to write it.
 * @returns Bytes that the caller must not change: others may be sending them.
 * @throws {TypeError} If a header of the answer would break the framing.
 */
export function encodeAnswer(
  answer: Answer,
  options: WireOptions,
): Uint8Array<ArrayBuffer> {
  if (options.close || options.headOnly) return build(answer, options);
  const second = Math.floor(options.now / 1000);
  const kept = wires.get(answer);
  if (kept?.second === second) return kept.bytes;
  const bytes = build(answer, options);
  wires.set(answer, { second, bytes });
  return bytes;
}

function build(answer: Answer, options: WireOptions): Uint8Array<ArrayBuffer> {
  const { status } = answer;
  const body = encoder.encode(answer.body);
  // RFC 9110 sections 8.6, 15.3.5 and 15.4.5: these have neither body nor length.
  const bodiless = status === 204 || status === 304;
  const lines = [
    `HTTP/1.1 ${status} ${REASONS[status] ?? ""}`,
    `Date: ${new Date(options.now).toUTCString()}`,
  ];
  if (!bodiless) {
    lines.push(
      fieldLine("Content-Type", answer.contentType),
      `Content-Length: ${body.length}`,
    );
  }
  lines.push("Cache-Control: no-store", "X-Content-Type-Options: nosniff");
  for (const [name, value] of answer.headers) {
    lines.push(fieldLine(name, value));
  }
  if (options.close) lines.push("Connection: close");
  const head = encoder.encode(lines.join("\r\n") + "\r\n\r\n");
  if (bodiless || options.headOnly) return head;
  const bytes = new Uint8Array(head.length + body.length);
  bytes.set(head);
  bytes.set(body, head.length);
  return bytes;
}

/** The last defence against response splitting (RFC 9112 section 11.1). */
function fieldLine(name: string, value: string): string {
  if (
    /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) && /^[\t\x20-\x7e]*$/.test(value)
  ) {
    return `${name}: ${value}`;
  }
  throw new TypeError("a header of an answer is not well-formed");
}
