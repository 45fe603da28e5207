import assert from "node:assert/strict";
import fc from "fast-check";
import { toBytes } from "../../tests/support/raw_http.ts";
import { ProxyFailure } from "../intercept/failure.ts";
import {
  findResponseHeadEnd,
  MAX_RESPONSE_FIELDS,
  MAX_RESPONSE_HEAD_BYTES,
  parseResponseHead,
  type ResponseFraming,
  responseFraming,
  type ResponseHead,
} from "./response_head.ts";

function parse(text: string): ResponseHead {
  return parseResponseHead(toBytes(text));
}

/** Whether an action is refused as a bad answer; other errors are thrown on. */
function isRefused(action: () => unknown): boolean {
  try {
    action();
    return false;
  } catch (error) {
    assert(error instanceof ProxyFailure, `threw ${error}`);
    const { status, code } = error;
    assert.deepEqual([status, code, error.error], [
      502,
      "bad-response",
      "http_protocol_error",
    ]);
    return true;
  }
}

const VALID =
  "HTTP/1.1 200 Very \xe9\tOK\r\nServer: x\r\nX-Many:1\r\nx-many: 2 \t\r\nVary: A ,b\r\n\r\n";

Deno.test("parseResponseHead() gives version, status and reason", () => {
  const { version, status, reason } = parse(VALID);
  assert.deepEqual([version, status, reason], ["1.1", 200, "Very \xe9\tOK"]);
});

Deno.test("parseResponseHead() keeps order and case of the fields", () => {
  assert.deepEqual(parse(VALID).headers, [
    ["Server", "x"],
    ["X-Many", "1"],
    ["x-many", "2"],
    ["Vary", "A ,b"],
  ]);
});

Deno.test("parseResponseHead() finds lines and members by name", () => {
  const head = parse(VALID);
  assert.deepEqual(
    [head.values("x-many"), head.values("x-other"), head.members("vary")],
    [["1", "2"], [], ["a", "b"]],
  );
});

Deno.test("parseResponseHead() reads the given range only", () => {
  const bytes = toBytes(`\0\0${VALID}\0`);
  assert.equal(parseResponseHead(bytes, 2, bytes.length - 1).status, 200);
});

Deno.test("ProxyFailure does not repeat what the upstream sent", () => {
  assert.throws(
    () => parse("HTTP/1.1 200 OK\r\nSet-Cookie: canary\x01\r\n\r\n"),
    (error: unknown) =>
      error instanceof ProxyFailure && !error.message.includes("canary"),
  );
});

const head = (fields: string, line = "HTTP/1.1 200 OK") =>
  `${line}\r\n${fields}\r\n`;

const HEADS: { name: string; text: string; refused: boolean }[] = [
  { name: "9112 section 4: empty reason", text: head("", "HTTP/1.1 200 ") },
  {
    name: "9112 section 4: no reason, no space",
    text: head("", "HTTP/1.1 200"),
  },
  {
    name: "9112 section 4: reason of blanks",
    text: head("", "HTTP/1.1 200  "),
  },
  { name: "9112 section 4: HTTP/1.0", text: head("", "HTTP/1.0 200 OK") },
  { name: "9110 section 15: lowest status", text: head("", "HTTP/1.1 100 x") },
  { name: "9110 section 15: highest status", text: head("", "HTTP/1.1 599 x") },
  { name: "9110 section 5.5: empty value", text: head("X:\r\n") },
  { name: "9110 section 5.5: obs-text", text: head("X: \x80\xff\r\n") },
  { name: "9110 section 5.5: HTAB in a value", text: head("X: a\tb\r\n") },
].map((row) => ({ ...row, refused: false }));
HEADS.push(
  ...[
    { name: "9110 section 15: status 099", text: head("", "HTTP/1.1 099 x") },
    { name: "9110 section 15: status 600", text: head("", "HTTP/1.1 600 x") },
    { name: "9110 section 15: status 999", text: head("", "HTTP/1.1 999 x") },
    { name: "9112 section 4: two digits", text: head("", "HTTP/1.1 20 OK") },
    { name: "9112 section 4: four digits", text: head("", "HTTP/1.1 2000 OK") },
    { name: "9112 section 4: sign", text: head("", "HTTP/1.1 +20 OK") },
    { name: "9112 section 4: two spaces", text: head("", "HTTP/1.1  200 OK") },
    { name: "9112 section 4: tab", text: head("", "HTTP/1.1\t200 OK") },
    { name: "9112 section 4: no status", text: head("", "HTTP/1.1") },
    {
      name: "9112 section 4: NUL in the reason",
      text: head("", "HTTP/1.1 200 \0"),
    },
    {
      name: "9112 section 4: CR in the reason",
      text: head("", "HTTP/1.1 200 a\rb"),
    },
    { name: "9112 section 2.3: HTTP/1.2", text: head("", "HTTP/1.2 200 OK") },
    { name: "9112 section 2.3: HTTP/2.0", text: head("", "HTTP/2.0 200 OK") },
    { name: "9112 section 2.3: HTTP/01.1", text: head("", "HTTP/01.1 200 OK") },
    { name: "9112 section 2.3: lower case", text: head("", "http/1.1 200 OK") },
    {
      name: "9112 section 2.3: another protocol",
      text: head("", "ICY 200 OK"),
    },
    {
      name: "9112 section 2.2: bare LF after the status-line",
      text: "HTTP/1.1 200 OK\n\r\n",
    },
    {
      name: "9112 section 2.2: bare LF after a field",
      text: head("X: 1\nY: 2\r\n"),
    },
    {
      name: "9112 section 2.2: bare CR in a value",
      text: head("X: 1\rY: 2\r\n"),
    },
    {
      name: "9112 section 2.2: bare CR at the end of a value",
      text: head("X: 1\r\r\n"),
    },
    {
      name: "9112 section 2.2: blank before the first field",
      text: head(" X: 1\r\n"),
    },
    {
      name: "9112 section 5.1: space before the colon",
      text: head("X : 1\r\n"),
    },
    {
      name: "9112 section 5.1: tab before the colon",
      text: head("X\t: 1\r\n"),
    },
    { name: "9112 section 5.2: obs-fold", text: head("X: 1\r\n 2\r\n") },
    {
      name: "9112 section 5.2: obs-fold with a tab",
      text: head("X: 1\r\n\t2\r\n"),
    },
    { name: "9112 section 5: no colon", text: head("X\r\n") },
    { name: "9112 section 5: empty name", text: head(": 1\r\n") },
    {
      name: "9110 section 5.1: name that is no token",
      text: head("X(Y): 1\r\n"),
    },
    {
      name: "9110 section 5.1: name with obs-text",
      text: head("X\xe9: 1\r\n"),
    },
    { name: "9110 section 5.5: NUL in a value", text: head("X: a\0b\r\n") },
    { name: "9110 section 5.5: DEL in a value", text: head("X: a\x7fb\r\n") },
    {
      name: "9110 section 5.5: vertical tab in a value",
      text: head("X: a\x0bb\r\n"),
    },
    {
      name: "9112 section 2.1: no empty line",
      text: "HTTP/1.1 200 OK\r\nX: 1\r\n",
    },
    {
      name: "9112 section 2.1: bytes behind the empty line",
      text: `${head("")}x`,
    },
    { name: "9112 section 2.1: nothing", text: "" },
  ].map((row) => ({ ...row, refused: true })),
);
for (const { name, text, refused } of HEADS) {
  const verb = refused ? "refuses" : "takes";
  Deno.test(`parseResponseHead() ${verb} RFC ${name}`, () => {
    assert.equal(isRefused(() => parse(text)), refused);
  });
}

const padded = (bytes: number) =>
  head(`X: ${"x".repeat(bytes - head("X: \r\n").length)}\r\n`);

const LIMITS: { name: string; text: string; refused: boolean }[] = [
  {
    name: `${MAX_RESPONSE_FIELDS} fields`,
    text: head("X: 1\r\n".repeat(MAX_RESPONSE_FIELDS)),
    refused: false,
  },
  {
    name: "one field more",
    text: head("X: 1\r\n".repeat(MAX_RESPONSE_FIELDS + 1)),
    refused: true,
  },
  {
    name: `${MAX_RESPONSE_HEAD_BYTES} bytes`,
    text: padded(MAX_RESPONSE_HEAD_BYTES),
    refused: false,
  },
  {
    name: "one byte more",
    text: padded(MAX_RESPONSE_HEAD_BYTES + 1),
    refused: true,
  },
];
for (const { name, text, refused } of LIMITS) {
  Deno.test(`parseResponseHead() ${refused ? "refuses" : "takes"} ${name}`, () => {
    assert.equal(isRefused(() => parse(text)), refused);
  });
}

type Framing = ResponseFraming | "refused";
const NONE: Framing = { kind: "none" };
const CHUNKED = "Transfer-Encoding: chunked\r\n";

const FRAMINGS: {
  name: string;
  fields: string;
  expect: Framing;
  status?: number;
  method?: string;
  version?: string;
}[] = [
  { name: "9112 6.3 #8: neither field", fields: "", expect: { kind: "eof" } },
  {
    name: "9112 6.3 #6: Content-Length",
    fields: "Content-Length: 12\r\n",
    expect: { kind: "length", length: 12 },
  },
  {
    name: "9112 6.3 #6: zero",
    fields: "Content-Length: 0\r\n",
    expect: { kind: "length", length: 0 },
  },
  {
    name: "9112 6.3 #4: chunked",
    fields: CHUNKED,
    expect: { kind: "chunked" },
  },
  {
    name: "9112 section 7: coding names ignore case",
    fields: "Transfer-Encoding: Chunked\r\n",
    expect: { kind: "chunked" },
  },
  {
    name: "9112 6.3 #1: HEAD with a length",
    fields: "Content-Length: 5\r\n",
    method: "HEAD",
    expect: NONE,
  },
  {
    name: "9112 6.3 #1: HEAD, chunked",
    fields: CHUNKED,
    method: "HEAD",
    expect: NONE,
  },
  {
    name: "9112 6.3 #1: HEAD, neither",
    fields: "",
    method: "HEAD",
    expect: NONE,
  },
  {
    name: "9112 6.3 #1: 304 with a length",
    fields: "Content-Length: 5\r\n",
    status: 304,
    expect: NONE,
  },
  {
    name: "9112 6.3 #1: 304, chunked",
    fields: CHUNKED,
    status: 304,
    expect: NONE,
  },
  { name: "9112 6.3 #1: 204", fields: "", status: 204, expect: NONE },
  { name: "9112 6.3 #1: 100", fields: "", status: 100, expect: NONE },
  { name: "9112 6.3 #1: 101", fields: "", status: 101, expect: NONE },
  { name: "9112 6.3 #1: 103", fields: "", status: 103, expect: NONE },
  {
    name: "9110 8.6: 204 with a length of 0",
    fields: "Content-Length: 0\r\n",
    status: 204,
    expect: NONE,
  },
  {
    name: "9112 6.3: 205 is framed as others are",
    fields: "Content-Length: 0\r\n",
    status: 205,
    expect: { kind: "length", length: 0 },
  },
  {
    name: "9110 8.6: 204 with a length",
    fields: "Content-Length: 5\r\n",
    status: 204,
    expect: "refused",
  },
  {
    name: "9110 8.6: 100 with a length",
    fields: "Content-Length: 5\r\n",
    status: 100,
    expect: "refused",
  },
  {
    name: "9112 6.1: 204, chunked",
    fields: CHUNKED,
    status: 204,
    expect: "refused",
  },
  {
    name: "9112 6.1: 101, chunked",
    fields: CHUNKED,
    status: 101,
    expect: "refused",
  },
  {
    name: "9112 6.3 #3: both fields",
    fields: `Content-Length: 5\r\n${CHUNKED}`,
    expect: "refused",
  },
  {
    name: "9112 6.3 #3: both fields, length 0",
    fields: `${CHUNKED}Content-Length: 0\r\n`,
    expect: "refused",
  },
  {
    name: "9112 6.3 #3: both fields, to HEAD",
    fields: `Content-Length: 5\r\n${CHUNKED}`,
    method: "HEAD",
    expect: "refused",
  },
  {
    name: "9112 6.3 #3: both fields, with 304",
    fields: `Content-Length: 5\r\n${CHUNKED}`,
    status: 304,
    expect: "refused",
  },
  {
    name: "9112 6.3 #5: two lengths",
    fields: "Content-Length: 1\r\nContent-Length: 2\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.3 #5: two equal lengths",
    fields: "Content-Length: 1\r\nContent-Length: 1\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.3 #5: a list of equal lengths",
    fields: "Content-Length: 1, 1\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.3 #5: two lengths, to HEAD",
    fields: "Content-Length: 1\r\nContent-Length: 2\r\n",
    method: "HEAD",
    expect: "refused",
  },
  {
    name: "9112 6.3 #5: plus sign",
    fields: "Content-Length: +1\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.3 #5: minus sign",
    fields: "Content-Length: -1\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.3 #5: hexadecimal",
    fields: "Content-Length: 0x1\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.3 #5: empty",
    fields: "Content-Length:\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.3 #5: inner blank",
    fields: "Content-Length: 1 1\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.3 #5: no-break space",
    fields: "Content-Length: 1\xa0\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.2: overflow",
    fields: "Content-Length: 9007199254740993\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.1: gzip, chunked",
    fields: "Transfer-Encoding: gzip, chunked\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.3 #4: chunked is not last",
    fields: "Transfer-Encoding: chunked, identity\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.1: chunked twice",
    fields: "Transfer-Encoding: chunked, chunked\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.1: chunked on two lines",
    fields: `${CHUNKED}${CHUNKED}`,
    expect: "refused",
  },
  {
    name: "9112 6.1: unknown coding",
    fields: "Transfer-Encoding: xchunked\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.1: identity",
    fields: "Transfer-Encoding: identity\r\n",
    expect: "refused",
  },
  {
    name: "9112 7.1: chunked takes no parameters",
    fields: "Transfer-Encoding: chunked;a=b\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.1: empty coding",
    fields: "Transfer-Encoding:\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.1: obs-text around the coding",
    fields: "Transfer-Encoding: \xa0chunked\r\n",
    expect: "refused",
  },
  {
    name: "9112 6.1: HTTP/1.0 has no codings",
    fields: CHUNKED,
    version: "1.0",
    expect: "refused",
  },
];
for (
  const { name, fields, expect, status = 200, method = "GET", version = "1.1" }
    of FRAMINGS
) {
  Deno.test(`responseFraming() RFC ${name}`, () => {
    const given = parse(head(fields, `HTTP/${version} ${status} x`));
    const action = () => responseFraming(given, method);
    if (expect === "refused") assert(isRefused(action));
    else assert.deepEqual(action(), expect);
  });
}

const ENDS: { name: string; text: string; end: number }[] = [
  { name: "no end in nothing", text: "", end: -1 },
  { name: "no end in a line", text: "HTTP/1.1 200\r\n", end: -1 },
  {
    name: "no end in all but the last byte",
    text: "HTTP/1.1 200\r\n\r",
    end: -1,
  },
  { name: "the end", text: "HTTP/1.1 200\r\n\r\n", end: 16 },
  {
    name: "the first end of two",
    text: "HTTP/1.1 200\r\n\r\nX\r\n\r\n",
    end: 16,
  },
];
for (const { name, text, end } of ENDS) {
  Deno.test(`findResponseHeadEnd() finds ${name}`, () => {
    const bytes = toBytes(text);
    assert.equal(findResponseHeadEnd(bytes, 0, 0, bytes.length), end);
  });
}

const REFUSED_EARLY: { name: string; text: string }[] = [
  { name: "a TLS alert", text: "\x15\x03\x01" },
  { name: "an empty line before the status-line", text: "\r\nHTTP/1.1" },
  { name: "a body that nobody asked for", text: "{" },
  { name: "a bare LF", text: "HTTP/1.1 200 OK\n" },
];
for (const { name, text } of REFUSED_EARLY) {
  Deno.test(`findResponseHeadEnd() refuses ${name} at once`, () => {
    const bytes = toBytes(text);
    assert(isRefused(() => findResponseHeadEnd(bytes, 0, 0, bytes.length)));
  });
}

const GROWING: { name: string; bytes: number; refused: boolean }[] = [
  { name: "waits one byte below the limit", bytes: -1, refused: false },
  { name: "refuses the limit without an end", bytes: 0, refused: true },
];
for (const { name, bytes, refused } of GROWING) {
  Deno.test(`findResponseHeadEnd() ${name}`, () => {
    const text = "H".padEnd(MAX_RESPONSE_HEAD_BYTES + bytes, "x");
    assert.equal(
      isRefused(() => findResponseHeadEnd(toBytes(text), 0, 0, text.length)),
      refused,
    );
  });
}

Deno.test("findResponseHeadEnd() takes a head of the limit at once", () => {
  const text = `${padded(MAX_RESPONSE_HEAD_BYTES)}body`;
  assert.equal(
    findResponseHeadEnd(toBytes(text), 0, 0, text.length),
    MAX_RESPONSE_HEAD_BYTES,
  );
});

Deno.test("findResponseHeadEnd() finds the same end at every cut", () => {
  const bytes = toBytes(`${VALID}body`);
  for (let cut = 1; cut < VALID.length; cut++) {
    assert.equal(findResponseHeadEnd(bytes, 0, 0, cut), -1);
    assert.equal(
      findResponseHeadEnd(bytes, 0, cut, bytes.length),
      VALID.length,
    );
  }
});

Deno.test("parseResponseHead() either parses random bytes or throws ProxyFailure", () => {
  const text = fc.string({
    unit: fc.constantFrom(..."\r\n :;,0a\0\t\x80", "HTTP/1.1 200 "),
    maxLength: 60,
  });
  fc.assert(
    fc.property(text, fc.boolean(), (text, isHead) => {
      const whole = isHead ? `HTTP/1.1 200 OK\r\n${text}\r\n\r\n` : text;
      isRefused(() => responseFraming(parse(whole), "GET"));
    }),
    { numRuns: 2000 },
  );
});
