/**
 * One HTTP message through moat's parsers and writers, as a session of the
 * proxy sends it through, and the promise that is made about what comes out:
 * all readers see the same message in it, and nothing behind it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { ChunkedReader } from "$proxy/http1/chunked.ts";
import { encodeHead, forwardedFields, isUpgrade } from "$proxy/http1/fields.ts";
import type { HeaderField } from "$proxy/http1/field_lines.ts";
import {
  bodyFraming,
  findHeadEnd,
  FORWARD_LIMITS,
  parseRequestHead,
} from "$proxy/http1/head.ts";
import {
  findResponseHeadEnd,
  parseResponseHead,
  responseFraming,
} from "$proxy/http1/response_head.ts";
import { toBytes, toText } from "./engine.ts";
import { READERS, readMessage } from "./http_reader.ts";

/** What is taken away besides; as an injection of these headers does. */
const STRIP: ReadonlySet<string> = new Set(["authorization", "x-api-key"]);

/** What comes out of a message. */
export interface Forwarded {
  /** The head that is sent. */
  readonly head: string;
  /** The body that is sent, with its chunks. */
  readonly body: string;
  /** The content of the body. */
  readonly content: string;
  /** The fields of the head that is sent. */
  readonly fields: readonly HeaderField[];
  /** How the body ends. */
  readonly kind: "none" | "length" | "chunked" | "eof";
  /** Where the next message starts. */
  readonly end: number;
}

/**
 * Forwards a request.
 *
 * @param bytes The request, and what follows it.
 * @returns What is sent; undefined if the request is incomplete.
 * @throws {HttpError} If it is refused.
 */
export function forwardRequest(bytes: Uint8Array): Forwarded | undefined {
  const end = findHeadEnd(bytes, 0, 0, bytes.length);
  if (end === -1) return undefined;
  const head = parseRequestHead(bytes, 0, end, FORWARD_LIMITS);
  const framing = bodyFraming(head);
  const fields = forwardedFields(head, {
    strip: STRIP,
    keepUpgrade: isUpgrade(head),
  });
  const line = `${head.method} ${head.target} HTTP/1.1`;
  const reader = new ChunkedReader({ of: "request" });
  return finish(bytes, end, line, fields, framing, reader);
}

/**
 * Forwards an answer.
 *
 * @param bytes The answer, and what follows it.
 * @param method Of its request.
 * @returns What is sent; undefined if the answer is incomplete.
 * @throws {ProxyFailure} If it is refused.
 */
export function forwardResponse(
  bytes: Uint8Array,
  method: string,
): Forwarded | undefined {
  const end = findResponseHeadEnd(bytes, 0, 0, bytes.length);
  if (end === -1) return undefined;
  const head = parseResponseHead(bytes, 0, end);
  const framing = responseFraming(head, method);
  const fields = forwardedFields(head, {
    strip: STRIP,
    keepUpgrade: isUpgrade(head),
  });
  const line = `HTTP/1.1 ${head.status} ${head.reason}`;
  const reader = new ChunkedReader({ of: "response" });
  return finish(bytes, end, line, fields, framing, reader);
}

function finish(
  bytes: Uint8Array,
  start: number,
  line: string,
  fields: readonly HeaderField[],
  framing: { readonly kind: Forwarded["kind"]; readonly length?: number },
  reader: ChunkedReader,
): Forwarded | undefined {
  const { kind, length = 0 } = framing;
  const head = toText(encodeHead(line, fields));
  if (kind === "chunked") {
    const read = readChunked(reader, bytes, start);
    if (!reader.isDone) return undefined;
    const unwrap = new ChunkedReader({ of: "request", unwrap: true });
    const content = readChunked(unwrap, bytes, start).out;
    return { head, body: read.out, content, fields, kind, end: read.end };
  }
  const end = { none: start, length: start + length, eof: bytes.length }[kind];
  if (end > bytes.length) return undefined;
  const body = toText(bytes.subarray(start, end));
  return { head, body, content: body, fields, kind, end };
}

/**
 * Feeds a reader with pieces, as they would come in.
 *
 * @param reader The reader.
 * @param bytes Holds the pieces.
 * @param start Where the first one starts.
 * @param cuts Where they end, besides the end of the bytes. Default: nowhere.
 * @returns What goes on, and where the reader stopped.
 */
export function readChunked(
  reader: ChunkedReader,
  bytes: Uint8Array,
  start: number,
  cuts: readonly number[] = [],
): { out: string; end: number } {
  let out = "";
  let at = start;
  for (const stop of [...cuts, bytes.length]) {
    // Stale bytes before and behind a piece must not matter.
    const piece = new Uint8Array(stop + 2).fill(0x0d);
    piece.set(bytes.subarray(at, stop), at);
    at = reader.feed(piece, at, stop);
    for (const [from, to] of reader.out) {
      out += toText(piece.subarray(from, to));
    }
    reader.out.length = 0;
    if (reader.isDone) break;
  }
  return { out, end: at };
}

/** A message that could be taken for a part of the one before. */
const NEXT = "0\r\n\r\nGET /next HTTP/1.1\r\nHost: next\r\n\r\n";

/**
 * Checks that all readers see the message that was meant, and its end, in what
 * was received as in what is sent: nothing was repaired on the way.
 *
 * @param received What was received.
 * @param forwarded What is sent.
 * @param method Of the request that a response answers; undefined for a request.
 * @throws {AssertionError} If one does not.
 */
export function checkReaders(
  received: Uint8Array,
  forwarded: Forwarded,
  method?: string,
): void {
  const { head, body, content, fields, kind, end } = forwarded;
  const sent = head + body;
  const sentText = kind === "eof" ? sent : sent + NEXT;
  const receivedText = toText(received);
  const names = fields.map(([name]) => name.toLowerCase()).join();
  const situation = method === undefined ? {} : { method };
  for (const reader of READERS) {
    const theirs = readMessage(receivedText, reader, situation);
    assert.equal(theirs?.end, end);
    assert.equal(theirs.body, content);
    const ours = readMessage(sentText, reader, situation);
    assert.equal(ours?.end, sent.length);
    assert.equal(ours.body, content);
    assert.equal(ours.fields.map(([name]) => name).join(), names);
  }
}

/**
 * Checks that what is sent is sent on in the same way.
 *
 * @param forwarded What is sent.
 * @param again Forwards it once more.
 * @throws {AssertionError} If it is not.
 */
export function checkStable(
  { head, body }: Forwarded,
  again: (bytes: Uint8Array) => Forwarded | undefined,
): void {
  const second = again(toBytes(head + body));
  assert.equal(second && second.head + second.body, head + body);
}
