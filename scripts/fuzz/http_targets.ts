/**
 * Fuzzing of what reads HTTP.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type ChunkedOptions, ChunkedReader } from "$proxy/http1/chunked.ts";
import { findHeadEnd, HttpError } from "$proxy/http1/head.ts";
import { findResponseHeadEnd } from "$proxy/http1/response_head.ts";
import { ProxyFailure } from "$proxy/intercept/failure.ts";
import { Random, type Target } from "./engine.ts";
import {
  checkReaders,
  checkStable,
  forwardRequest,
  forwardResponse,
  readChunked,
} from "./forwarding.ts";
import { READERS, readMessage } from "./http_reader.ts";

/** One of so many inputs is also read in pieces, or twice. */
const SAMPLE = 8;

const COMMON = [
  ...[
    "Content-Length: 0\r\n",
    "Content-Length: 6\r\n",
    "Content-Length : 4\r\n",
  ],
  ...["Transfer-Encoding: gzip, chunked\r\n", "Connection: content-length\r\n"],
  ...["Connection: transfer-encoding, host\r\n"],
  ...["\r\n", "\r\n\r\n", "\n", "\r", "\0", " ", "\t", ":", ",", ";", "\x80"],
  ...[
    "\r\n ",
    "\r\n\t",
    " : ",
    "HTTP/1.0",
    "HTTP/1.1",
    "HTTP/2.0",
    "0\r\n\r\n",
  ],
  ...["Connection: ", "close", "keep-alive", "upgrade", "te, x-secret"],
  ...["Content-Length: ", "Content-Length: 5\r\n", "Content-Length:\x0b5\r\n"],
  ...["Transfer-Encoding: chunked\r\n", "Transfer-Encoding : chunked\r\n"],
  ...[
    "Transfer-Encoding: ",
    "chunked",
    "identity",
    "gzip, chunked",
    "xchunked",
  ],
  ...["Upgrade: websocket\r\nConnection: Upgrade\r\n", "Upgrade: h2c\r\n"],
  ...["5\r\nhello\r\n", "0;a=b\r\n", "0x5", '5;a="\\""\r\n', "Host: b\r\n"],
  ...[
    "Trailer: X\r\n",
    "Keep-Alive: 5\r\n",
    "0",
    "00",
    "1",
    "ffffffffffffffff",
  ],
];

/** A word for an error that a reader may throw; anything else is a crash. */
function expected(
  error: unknown,
  kind: typeof HttpError | typeof ProxyFailure,
) {
  if (!(error instanceof kind)) throw error;
  assert(error.status >= 400 && error.status < 600);
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(error.message, /[\0-\x1f\x7f-\xff]/);
  return error.message;
}

/** What an action gives, or how it fails in the expected way. */
function attempt<T>(
  action: () => T,
  kind: typeof HttpError | typeof ProxyFailure,
): T | string {
  try {
    return action();
  } catch (error) {
    return expected(error, kind);
  }
}

/** Places to cut bytes at, in their order; now and then all of them. */
function cutsOf(input: Uint8Array): number[] {
  const random = Random.of(input);
  if (random.below(4 * SAMPLE) === 0) return [...input.keys()];
  const count = random.below(6);
  return Array.from({ length: count }, () => random.below(input.length + 1))
    .sort((a, b) => a - b);
}

function isSampled(input: Uint8Array): boolean {
  return Random.of(input).below(SAMPLE) === 0;
}

type FindEnd = typeof findHeadEnd;

/** Looks for the end as the bytes come in. */
function findInPieces(find: FindEnd, input: Uint8Array): number {
  let from = 0;
  for (const to of [...cutsOf(input), input.length]) {
    const end = find(input.subarray(0, to), 0, from, to);
    if (end !== -1) return end;
    from = to;
  }
  return -1;
}

/** Heads of requests, with their bodies. */
export const REQUEST_HEAD: Target = {
  name: "request-head",
  seeds: [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a.b:80/x?y=|z HTTP/1.1\r\nHost: a.b\r\nAccept: */*\r\n\r\n",
    "POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nAuthorization: Bearer x\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n",
    "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\nProxy-Authorization: Basic eA==\r\n\r\n",
    "OPTIONS * HTTP/1.0\r\nHost: a\r\nConnection: close, x-y\r\nX-Y: \xa0\r\n\r\n",
  ],
  dictionary: [
    ...COMMON,
    ...["Host: ", "CONNECT ", "GET ", "http://u@h/", "//", "?", "#", "[::1]"],
    ...[
      "Expect: 100-continue\r\n",
      "Proxy-Authorization: x\r\n",
      "TE: trailers\r\n",
    ],
  ],
  run(input) {
    const result = attempt(() => forwardRequest(input), HttpError);
    if (isSampled(input)) {
      assert.deepEqual(attempt(() => forwardRequest(input), HttpError), result);
      assert.deepEqual(
        attempt(() => findInPieces(findHeadEnd, input), HttpError),
        attempt(() => findHeadEnd(input, 0, 0, input.length), HttpError),
      );
    }
    if (typeof result !== "object") return result ?? "incomplete";
    checkReaders(input, result);
    if (isSampled(input)) checkStable(result, forwardRequest);
    return `${result.kind} ${result.fields.length}`;
  },
};

/** Heads of answers, with their bodies. */
export const RESPONSE_HEAD: Target = {
  name: "response-head",
  seeds: [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nETag: x\r\nSet-Cookie: y\r\n\r\n",
    "HTTP/1.1 204\r\nDate: x\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.0 301 Moved \xe9\r\nLocation: /x\r\nConnection: close\r\n\r\nuntil the end",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: x\r\n\r\n",
    "HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive, x\r\nX: y\r\n\r\n",
  ],
  dictionary: [
    ...COMMON,
    "100",
    "101",
    "204",
    "304",
    "999",
    "HTTP/1.1 200 OK\r\n",
  ],
  run(input) {
    const method = Random.of(input).pick(["GET", "HEAD", "POST"]);
    const forward = (bytes: Uint8Array) => forwardResponse(bytes, method);
    const result = attempt(() => forward(input), ProxyFailure);
    if (isSampled(input)) {
      assert.deepEqual(attempt(() => forward(input), ProxyFailure), result);
      assert.deepEqual(
        attempt(() => findInPieces(findResponseHeadEnd, input), ProxyFailure),
        attempt(
          () => findResponseHeadEnd(input, 0, 0, input.length),
          ProxyFailure,
        ),
      );
    }
    if (typeof result !== "object") return result ?? "incomplete";
    checkReaders(input, result, method);
    if (isSampled(input)) checkStable(result, forward);
    return `${result.kind} ${result.fields.length} ${method}`;
  },
};

/** Chunked bodies. */
export const CHUNKED: Target = {
  name: "chunked",
  seeds: [
    "0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    '1;a\r\nx\r\nA;b="c\\"";d=e\r\n0123456789\r\n000\r\n\r\n',
    "3\r\nabc\r\n0\r\nETag: x\r\nSet-Cookie: y\r\nX-Sum:\t1\r\n\r\nGET / HTTP/1.1",
    "00000000000001f\r\n0123456789012345678901234567890\r\n0;x\r\n\r\n",
  ],
  dictionary: [
    ...COMMON,
    ...[";", "=", '"', "\\", ";a=b", ';c="d e"', "X: y\r\n", "Cookie: z\r\n"],
    ...["\r\n0\r\n\r\n", "fffffffffffffff", "1fffffffffffff", "-1", "+1", " 5"],
  ],
  run(input) {
    const of = Random.of(input).pick(["request", "response"] as const);
    const kind = of === "request" ? HttpError : ProxyFailure;
    const read = (options: ChunkedOptions, cuts: readonly number[] = []) => {
      const reader = new ChunkedReader(options);
      const { out, end } = readChunked(reader, input, 0, cuts);
      return { out, end, isDone: reader.isDone, count: reader.bodyBytes };
    };
    const whole = attempt(() => read({ of }), kind);
    if (isSampled(input)) {
      assert.deepEqual(attempt(() => read({ of }, cutsOf(input)), kind), whole);
    }
    if (typeof whole === "string") return whole;
    const { out } = attempt(() => read({ of, unwrap: true }), kind) as {
      out: string;
    };
    assert.equal(out.length, whole.count);
    const head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (const reader of READERS) {
      const message = readMessage(`${head}${whole.out}`, reader);
      if (!whole.isDone) assert.equal(message, undefined);
      else checkBody(message, out, head.length + whole.out.length, of);
    }
    assert.doesNotMatch(whole.out, /^[0-9A-Fa-f]*;/);
    return `${of} ${whole.isDone} ${whole.out.length - out.length}`;
  },
};

function checkBody(
  message: ReturnType<typeof readMessage>,
  content: string,
  end: number,
  of: string,
): void {
  assert.equal(message?.body, content);
  assert.equal(message?.end, end);
  const trailers = message?.trailers ?? [];
  if (of === "request") assert.deepEqual(trailers, []);
  for (const name of trailers) {
    assert.doesNotMatch(
      name,
      /^(content-.*|transfer-encoding|cookie|set-cookie|host|proxy-.*)$/,
    );
  }
}

/** All of them. */
export const HTTP_TARGETS: readonly Target[] = [
  REQUEST_HEAD,
  RESPONSE_HEAD,
  CHUNKED,
];
