import assert from "node:assert/strict";
import fc from "fast-check";
import { readChunked } from "../../scripts/fuzz/forwarding.ts";
import { READERS, readMessage } from "../../scripts/fuzz/http_reader.ts";
import { toBytes } from "../../tests/support/raw_http.ts";
import { ProxyFailure } from "../intercept/failure.ts";
import {
  type ChunkedOptions,
  ChunkedReader,
  MAX_EXTENSION_BYTES,
  MAX_TRAILER_BYTES,
  MAX_TRAILER_FIELDS,
} from "./chunked.ts";
import { HttpError } from "./head.ts";

/** What comes of a body: what goes on, or the status of the refusal. */
function read(
  text: string,
  options: ChunkedOptions = { of: "response" },
  cuts: readonly number[] = [],
): string | number {
  const reader = new ChunkedReader(options);
  try {
    return readChunked(reader, toBytes(text), 0, cuts).out;
  } catch (error) {
    assert(error instanceof HttpError || error instanceof ProxyFailure);
    return error.status;
  }
}

const END = "0\r\n\r\n";

/** Bodies of requests; `out` is the status of a refusal. Default: all goes on. */
const BODIES: { name: string; text: string; out?: string | number }[] = [
  { name: "7.1: no content", text: END },
  { name: "7.1: one chunk", text: `5\r\nhello\r\n${END}` },
  { name: "7.1: two chunks", text: `5\r\nhello\r\n1\r\n!\r\n${END}` },
  {
    name: "7.1: digits of both cases",
    text: `a\r\n0123456789\r\nB\r\n0123456789a\r\n${END}`,
  },
  { name: "7.1: leading zeros", text: `00005\r\nhello\r\n000\r\n\r\n` },
  { name: "7.1: 15 digits", text: `000000000000005\r\nhello\r\n${END}` },
  {
    name: "7.1: content that looks like an end",
    text: `5\r\n0\r\n\r\n\r\n${END}`,
  },
  {
    name: "7.1: 16 digits",
    text: `0000000000000005\r\nhello\r\n${END}`,
    out: 400,
  },
  {
    name: "7.1: more than a safe integer",
    text: "20000000000000\r\n",
    out: 400,
  },
  {
    name: "7.1: largest size of 15 digits",
    text: "fffffffffffffff\r\n",
    out: 400,
  },
  { name: "7.1: 2^64", text: "10000000000000000\r\n", out: 400 },
  { name: "7.1: no size", text: `\r\nhello\r\n${END}`, out: 400 },
  { name: "7.1: 0x", text: `0x5\r\nhello\r\n${END}`, out: 400 },
  { name: "7.1: plus sign", text: `+5\r\nhello\r\n${END}`, out: 400 },
  { name: "7.1: minus sign", text: `-5\r\nhello\r\n${END}`, out: 400 },
  { name: "7.1: underscore", text: `0_5\r\nhello\r\n${END}`, out: 400 },
  { name: "7.1: other letters", text: `g\r\nhello\r\n${END}`, out: 400 },
  { name: "7.1: obs-text", text: `5\xa0\r\nhello\r\n${END}`, out: 400 },
  { name: "7.1: leading blank", text: ` 5\r\nhello\r\n${END}`, out: 400 },
  { name: "7.1: trailing blank", text: `5 \r\nhello\r\n${END}`, out: 400 },
  { name: "7.1: trailing tab", text: `5\t\r\nhello\r\n${END}`, out: 400 },
  { name: "7.1: comma", text: `5,5\r\nhello\r\n${END}`, out: 400 },
  {
    name: "7.1: LF alone after the size",
    text: `5\nhello\r\n${END}`,
    out: 400,
  },
  {
    name: "7.1: CR alone after the size",
    text: `5\rhello\r\n${END}`,
    out: 400,
  },
  {
    name: "7.1: two CR after the size",
    text: `5\r\r\nhello\r\n${END}`,
    out: 400,
  },
  {
    name: "7.1: no CRLF after the content",
    text: `5\r\nhello${END}`,
    out: 400,
  },
  {
    name: "7.1: LF alone after the content",
    text: `5\r\nhello\n${END}`,
    out: 400,
  },
  {
    name: "7.1: CR alone after the content",
    text: `5\r\nhello\r${END}`,
    out: 400,
  },
  {
    name: "7.1: longer content than its size",
    text: `4\r\nhello\r\n${END}`,
    out: 400,
  },
  {
    name: "7.1: shorter content than its size",
    text: `6\r\nhello\r\n${END}`,
    out: 400,
  },
  { name: "7.1: LF alone after the last chunk", text: "0\n\r\n", out: 400 },
  { name: "7.1: LF alone at the end", text: "0\r\n\n", out: 400 },
  { name: "7.1: two CR at the end", text: "0\r\n\r\r\n", out: 400 },
  { name: "7.1: NUL in the size", text: "0\0\r\n\r\n", out: 400 },
  {
    name: "7.1.1: name",
    text: `5;a\r\nhello\r\n${END}`,
    out: `5\r\nhello\r\n${END}`,
  },
  {
    name: "7.1.1: value",
    text: `5;a=b\r\nhello\r\n${END}`,
    out: `5\r\nhello\r\n${END}`,
  },
  {
    name: "7.1.1: quoted value",
    text: `5;a=";\t \\"\\\\\x80";b\r\nhello\r\n${END}`,
    out: `5\r\nhello\r\n${END}`,
  },
  { name: "7.1.1: empty quoted value", text: `0;a=""\r\n\r\n`, out: END },
  { name: "7.1.1: last chunk", text: "0;a=b;c\r\n\r\n", out: END },
  { name: "7.1.1: no name", text: "0;\r\n\r\n", out: 400 },
  { name: "7.1.1: no name before a value", text: "0;=b\r\n\r\n", out: 400 },
  { name: "7.1.1: no value", text: "0;a=\r\n\r\n", out: 400 },
  { name: "7.1.1: two values", text: "0;a=b=c\r\n\r\n", out: 400 },
  { name: "7.1.1: two semicolons", text: "0;;a\r\n\r\n", out: 400 },
  { name: "7.1.1: BWS before the semicolon", text: "0 ;a\r\n\r\n", out: 400 },
  { name: "7.1.1: BWS after the semicolon", text: "0; a\r\n\r\n", out: 400 },
  {
    name: "7.1.1: BWS around the equals sign",
    text: "0;a = b\r\n\r\n",
    out: 400,
  },
  { name: "7.1.1: blank at the end", text: "0;a \r\n\r\n", out: 400 },
  { name: "7.1.1: LF alone after a name", text: "0;a\n\r\n", out: 400 },
  { name: "7.1.1: LF alone in quotes", text: '0;a="\n"\r\n\r\n', out: 400 },
  { name: "7.1.1: CRLF in quotes", text: '0;a="\r\n"\r\n\r\n', out: 400 },
  { name: "7.1.1: escaped CR", text: '0;a="\\\r"\r\n\r\n', out: 400 },
  { name: "7.1.1: text behind quotes", text: '0;a="b"c\r\n\r\n', out: 400 },
  { name: "7.1.1: quotes that do not end", text: '0;a="b\r\n\r\n', out: 400 },
  { name: "7.1.1: control character", text: "0;a=\x01\r\n\r\n", out: 400 },
  {
    name: "7.1.1: longest extension",
    text: `0;${"a".repeat(MAX_EXTENSION_BYTES - 2)}\r\n\r\n`,
    out: END,
  },
  {
    name: "7.1.1: longer extension",
    text: `0;${"a".repeat(MAX_EXTENSION_BYTES - 1)}\r\n\r\n`,
    out: 400,
  },
  { name: "7.1.2: a trailer field", text: "0\r\nX-Sum: 1\r\n\r\n", out: END },
  {
    name: "7.1.2: a trailer Authorization",
    text: `5\r\nhello\r\n0\r\nAuthorization: Bearer x\r\n\r\n`,
    out: `5\r\nhello\r\n${END}`,
  },
  { name: "5: no colon in a trailer", text: "0\r\nX\r\n\r\n", out: 400 },
  {
    name: "5.1: space before the colon of a trailer",
    text: "0\r\nX : 1\r\n\r\n",
    out: 400,
  },
  { name: "5.2: folded trailer", text: "0\r\nX: 1\r\n 2\r\n\r\n", out: 400 },
  {
    name: "2.2: LF alone in a trailer",
    text: "0\r\nX: 1\nY: 2\r\n\r\n",
    out: 400,
  },
  { name: "2.2: LF alone after a trailer", text: "0\r\nX: 1\n\r\n", out: 400 },
  {
    name: "2.2: CR alone in a trailer",
    text: "0\r\nX: 1\rY: 2\r\n\r\n",
    out: 400,
  },
  { name: "2.2: NUL in a trailer", text: "0\r\nX: \0\r\n\r\n", out: 400 },
  {
    name: "11.2: a request in the trailers",
    text: "0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    out: 400,
  },
];
for (const { name, text, out = text } of BODIES) {
  Deno.test(`feed() ${typeof out === "number" ? "refuses" : "takes"} RFC 9112 ${name}`, () => {
    assert.equal(read(text, { of: "request" }), out);
  });
}

for (const { name, text } of BODIES) {
  Deno.test(`feed() comes to the same at every cut: RFC 9112 ${name}`, () => {
    const options: ChunkedOptions = { of: "request" };
    const whole = read(text, options);
    const step = Math.ceil(text.length / 100);
    for (let cut = 0; cut <= text.length; cut += step) {
      assert.equal(read(text, options, [cut]), whole);
    }
    const everywhere = Array.from(text, (_, index) => index);
    assert.equal(read(text, options, everywhere), whole);
  });
}

Deno.test("feed() refuses an answer with 502 bad-response", () => {
  assert.throws(
    () => new ChunkedReader({ of: "response" }).feed(toBytes("x"), 0, 1),
    (error) =>
      error instanceof ProxyFailure && error.status === 502 &&
      error.code === "bad-response" && error.error === "http_protocol_error",
  );
});

Deno.test("feed() does not repeat what it refuses", () => {
  const bytes = toBytes("0\r\nCanary : 1\r\n\r\n");
  assert.throws(
    () => new ChunkedReader({ of: "request" }).feed(bytes, 0, bytes.length),
    (error) => error instanceof HttpError && !/canary/i.test(error.message),
  );
});

/** Trailer fields of answers, RFC 9110 section 6.5.1. */
const TRAILERS: { field: string; kept: boolean }[] = [
  ...[
    "ETag: x",
    "Digest: x",
    "grpc-status: 0",
    "Server-Timing: x",
    "X-Any:",
    "Repr-Digest: y",
  ]
    .map((field) => ({ field, kept: true })),
  ...[
    ...["Transfer-Encoding: chunked", "Content-Length: 5", "Trailer: X"],
    ...["Connection: x", "Keep-Alive: 5", "TE: trailers", "Upgrade: h2c"],
    ...["Host: a", "Via: 1.1 a", "Max-Forwards: 1", "Location: /"],
    ...["Authorization: x", "WWW-Authenticate: x", "Authentication-Info: x"],
    ...["Proxy-Authorization: x", "Proxy-Authenticate: x", "Proxy-Status: x"],
    ...["Set-Cookie: a=b", "SET-COOKIE: a=b", "Cookie: a=b"],
    ...["Content-Type: x", "Content-Encoding: gzip", "Content-Range: x"],
    ...["Cache-Control: public", "Age: 1", "Expires: x", "Vary: *", "Date: x"],
    ...["Access-Control-Allow-Origin: *", "Strict-Transport-Security: x"],
    ...["Range: x", "If-Match: x", "Expect: x", "Retry-After: 1"],
  ].map((field) => ({ field, kept: false })),
];
for (const { field, kept } of TRAILERS) {
  Deno.test(`feed() ${kept ? "keeps" : "drops"} the trailer "${field}" of an answer`, () => {
    const text = `1\r\nx\r\n0\r\nA: 1\r\n${field}\r\nB: 2\r\n\r\n`;
    assert.equal(
      read(text),
      kept ? text : "1\r\nx\r\n0\r\nA: 1\r\nB: 2\r\n\r\n",
    );
  });
}

Deno.test("feed() drops the trailers that it is told", () => {
  const denied = new Set(["x-secret"]);
  assert.equal(
    read("0\r\nX-Secret: 1\r\nETag: 2\r\n\r\n", { of: "response", denied }),
    "0\r\nETag: 2\r\n\r\n",
  );
});

const trailers = (count: number) => `0\r\n${"X: 1\r\n".repeat(count)}\r\n`;
const longTrailer = (bytes: number) =>
  `0\r\nX: ${"x".repeat(bytes - "X: \r\n\r\n".length)}\r\n\r\n`;

const TRAILER_LIMITS: { name: string; text: string; refused: boolean }[] = [
  {
    name: `${MAX_TRAILER_FIELDS} fields`,
    text: trailers(MAX_TRAILER_FIELDS),
    refused: false,
  },
  {
    name: "one field more",
    text: trailers(MAX_TRAILER_FIELDS + 1),
    refused: true,
  },
  {
    name: `${MAX_TRAILER_BYTES} bytes`,
    text: longTrailer(MAX_TRAILER_BYTES),
    refused: false,
  },
  {
    name: "one byte more",
    text: longTrailer(MAX_TRAILER_BYTES + 1),
    refused: true,
  },
  {
    name: "a line that does not end",
    text: `0\r\n${"x".repeat(MAX_TRAILER_BYTES)}`,
    refused: true,
  },
];
for (const { name, text, refused } of TRAILER_LIMITS) {
  Deno.test(`feed() ${refused ? "refuses" : "takes"} trailers of ${name}`, () => {
    assert.equal(read(text, { of: "request" }), refused ? 431 : END);
    assert.equal(read(text), refused ? 502 : text);
  });
}

Deno.test("feed() gives one range for a chunk that is there as a whole", () => {
  const bytes = toBytes(`xx5\r\nhello\r\n${END}xx`);
  const reader = new ChunkedReader({ of: "response" });
  assert.equal(reader.feed(bytes, 2, bytes.length), bytes.length - 2);
  assert.deepEqual(reader.out, [[2, bytes.length - 2]]);
});

Deno.test("feed() stops at the end of the body", () => {
  const bytes = toBytes(`${END}GET / HTTP/1.1`);
  const reader = new ChunkedReader({ of: "request" });
  const at = reader.feed(bytes, 0, bytes.length);
  assert.deepEqual([at, reader.isDone], [END.length, true]);
});

Deno.test("feed() takes nothing more after the end", () => {
  const reader = new ChunkedReader({ of: "request" });
  const bytes = toBytes(`${END}1`);
  reader.feed(bytes, 0, bytes.length);
  reader.out.length = 0;
  assert.equal(reader.feed(bytes, 5, 6), 5);
  assert.deepEqual(reader.out, []);
});

Deno.test("feed() leaves a trailer line that is incomplete to its next call", () => {
  const reader = new ChunkedReader({ of: "response" });
  const bytes = toBytes("0\r\nETag: x\r\n\r\n");
  assert.equal(reader.feed(bytes, 0, 8), 3);
  assert.deepEqual(reader.out, [[0, 3]]);
});

Deno.test("isDone is false before the last CRLF", () => {
  const reader = new ChunkedReader({ of: "response" });
  reader.feed(toBytes("0\r\n\r"), 0, 4);
  assert.equal(reader.isDone, false);
});

Deno.test("bodyBytes counts the content alone", () => {
  const reader = new ChunkedReader({ of: "response" });
  const bytes = toBytes(`5;a=b\r\nhello\r\n2\r\n!!\r\n0\r\nETag: x\r\n\r\n`);
  reader.feed(bytes, 0, bytes.length);
  assert.equal(reader.bodyBytes, 7);
});

Deno.test("unwrap gives the content alone", () => {
  const text = `5;a=b\r\nhello\r\n2\r\n!!\r\n0\r\nETag: x\r\n\r\n`;
  assert.equal(read(text, { of: "response", unwrap: true }), "hello!!");
});

// Properties

const character = fc.integer({ min: 0, max: 255 })
  .map((code) => String.fromCharCode(code));
const chunk = fc.record({
  content: fc.string({ unit: character, minLength: 1, maxLength: 40 }),
  zeros: fc.nat({ max: 3 }),
  isUpper: fc.boolean(),
  extension: fc.constantFrom("", ";a", ";a=b", ';a="\\" ;";b=c'),
});
const validBody = fc.record({
  chunks: fc.array(chunk, { maxLength: 6 }),
  last: fc.constantFrom<string>("0", "00", "0;a=b"),
  trailers: fc.constantFrom<string>(
    "",
    "ETag: x\r\n",
    "Set-Cookie: y\r\nX: z\r\n",
  ),
});
type Body = typeof validBody extends fc.Arbitrary<infer T> ? T : never;

function write({ chunks, last, trailers }: Body): string {
  const parts = chunks.map(({ content, zeros, isUpper, extension }) => {
    const digits = content.length.toString(16);
    const size = "0".repeat(zeros) + (isUpper ? digits.toUpperCase() : digits);
    return `${size}${extension}\r\n${content}\r\n`;
  });
  return `${parts.join("")}${last}\r\n${trailers}\r\n`;
}

/** The same without what does not go on. */
function written({ chunks, last, trailers }: Body): string {
  return write({
    chunks: chunks.map((chunk) => ({ ...chunk, extension: "" })),
    last: last.replace(/;.*/, ""),
    trailers: trailers.replace(/Set-Cookie.*\r\n/, ""),
  });
}

const cuts = fc.array(fc.nat({ max: 300 }), { maxLength: 8 });

function inOrder(cuts: readonly number[], text: string): number[] {
  return cuts.filter((cut) => cut < text.length).sort((a, b) => a - b);
}

Deno.test("feed() lets what a writer wrote through, however it is cut", () => {
  fc.assert(fc.property(validBody, cuts, (body, cuts) => {
    const text = write(body);
    const out = read(text, { of: "response" }, inOrder(cuts, text));
    assert.equal(out, written(body));
  }));
});

Deno.test("feed() gives back the content, however it is cut", () => {
  fc.assert(fc.property(validBody, cuts, (body, cuts) => {
    const text = write(body);
    const options: ChunkedOptions = { of: "request", unwrap: true };
    assert.equal(
      read(text, options, inOrder(cuts, text)),
      body.chunks.map(({ content }) => content).join(""),
    );
  }));
});

const edit = fc.tuple(
  fc.nat(),
  fc.nat({ max: 3 }),
  fc.constantFrom("", ...'\r\n\0 ;="0aF\\\x80', "\r\n", "0\r\n\r\n", "0x"),
);

function mutate(
  text: string,
  edits: readonly [number, number, string][],
): string {
  for (const [where, removed, added] of edits) {
    const at = where % (text.length + 1);
    text = text.slice(0, at) + added + text.slice(at + removed);
  }
  return text;
}

for (const [index, habits] of READERS.entries()) {
  Deno.test(`feed() lets nothing through that reader ${index} ends elsewhere`, () => {
    const edits = fc.array(edit, { minLength: 1, maxLength: 3 });
    const head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    fc.assert(
      fc.property(validBody, edits, (body, edits) => {
        const bytes = toBytes(mutate(write(body), edits));
        const reader = new ChunkedReader({ of: "request" });
        let out = "";
        try {
          ({ out } = readChunked(reader, bytes, 0));
        } catch (error) {
          assert(error instanceof HttpError);
          return;
        }
        const message = readMessage(`${head}${out}`, habits);
        const end = reader.isDone ? head.length + out.length : undefined;
        assert.equal(message?.end, end);
        assert.equal(
          message?.body.length ?? reader.bodyBytes,
          reader.bodyBytes,
        );
      }),
      { numRuns: 1000 },
    );
  });
}
