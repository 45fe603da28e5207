import assert from "node:assert/strict";
import fc from "fast-check";
import { toBytes } from "../../tests/support/raw_http.ts";
import {
  bodyFraming,
  findHeadEnd,
  FORWARD_LIMITS,
  HttpError,
  MAX_FIELDS,
  MAX_HEAD_BYTES,
  MAX_TARGET_BYTES,
  overlongHead,
  parseRequestHead,
  type RequestHead,
} from "./head.ts";

function parse(text: string): RequestHead {
  return parseRequestHead(toBytes(text));
}

/** The status that an action ends in: 200 if it throws nothing. */
function statusOf(action: () => unknown): number {
  try {
    action();
    return 200;
  } catch (error) {
    assert(error instanceof HttpError, `threw ${error}`);
    return error.status;
  }
}

const VALID =
  "GET /ecs/credentials?a=b HTTP/1.1\r\nHost: 127.0.0.1:19080\r\nAuthorization: moat_x\r\nX-Many: 1\r\nx-many:2\t \r\n\r\n";

Deno.test("parseRequestHead() gives method, target, version and host", () => {
  const { method, target, version, host } = parse(VALID);
  assert.deepEqual([method, target, version, host], [
    "GET",
    "/ecs/credentials?a=b",
    "1.1",
    "127.0.0.1:19080",
  ]);
});

Deno.test("parseRequestHead() keeps order and case of the fields", () => {
  assert.deepEqual(parse(VALID).headers, [
    ["Host", "127.0.0.1:19080"],
    ["Authorization", "moat_x"],
    ["X-Many", "1"],
    ["x-many", "2"],
  ]);
});

Deno.test("values() gives every line of a name", () => {
  assert.deepEqual(parse(VALID).values("x-many"), ["1", "2"]);
});

Deno.test("values() is empty for an absent name", () => {
  assert.deepEqual(parse(VALID).values("x-other"), []);
});

Deno.test("members() splits all lines of a name", () => {
  const head = parse(
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive ,\tTE\r\nConnection: close\r\n\r\n",
  );
  assert.deepEqual(head.members("connection"), ["keep-alive", "te", "close"]);
});

Deno.test("parseRequestHead() maps obs-text byte by byte (RFC 9110 section 5.5)", () => {
  const head = parse(
    "GET / HTTP/1.1\r\nHost: a\r\nX: \xa0\x80\xff\xa0 \r\n\r\n",
  );
  assert.deepEqual(head.values("x"), ["\xa0\x80\xff\xa0"]);
});

Deno.test("parseRequestHead() reads the given range only", () => {
  const bytes = toBytes(`\0\0${VALID}\0`);
  assert.equal(parseRequestHead(bytes, 2, bytes.length - 1).method, "GET");
});

Deno.test("HttpError does not repeat what the client sent", () => {
  assert.throws(
    () =>
      parse("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: canary\x01\r\n\r\n"),
    (error: unknown) =>
      error instanceof HttpError && !error.message.includes("canary"),
  );
});

const get = (fields: string, line = "GET / HTTP/1.1") =>
  `${line}\r\n${fields}\r\n`;
const host = "Host: a\r\n";

const LIMITS: { name: string; head: string; status: number }[] = [
  {
    name: `takes a target of ${MAX_TARGET_BYTES} bytes`,
    head: get(host, `GET /${"a".repeat(MAX_TARGET_BYTES - 1)} HTTP/1.1`),
    status: 200,
  },
  {
    name: "refuses a longer target (RFC 9112 section 3: 414)",
    head: get(host, `GET /${"a".repeat(MAX_TARGET_BYTES)} HTTP/1.1`),
    status: 414,
  },
  {
    name: `takes ${MAX_FIELDS} fields`,
    head: get(host + "X: 1\r\n".repeat(MAX_FIELDS - 1)),
    status: 200,
  },
  {
    name: "refuses one field more (RFC 6585 section 5: 431)",
    head: get(host + "X: 1\r\n".repeat(MAX_FIELDS)),
    status: 431,
  },
  {
    name: `takes a head of ${MAX_HEAD_BYTES} bytes`,
    head: padded(MAX_HEAD_BYTES),
    status: 200,
  },
  {
    name: "refuses a longer head (RFC 6585 section 5: 431)",
    head: padded(MAX_HEAD_BYTES + 1),
    status: 431,
  },
];

function padded(length: number): string {
  const empty = get(host + "X: \r\n").length;
  return get(host + `X: ${"x".repeat(length - empty)}\r\n`);
}

for (const { name, head, status } of LIMITS) {
  Deno.test(`parseRequestHead() ${name}`, () => {
    assert.equal(statusOf(() => parse(head)), status);
  });
}

const FORWARDED_LIMITS: { name: string; head: string; status: number }[] = [
  {
    name: `takes a target of ${FORWARD_LIMITS.target} bytes`,
    head: get(host, `GET /${"a".repeat(FORWARD_LIMITS.target - 1)} HTTP/1.1`),
    status: 200,
  },
  {
    name: "refuses a longer target",
    head: get(host, `GET /${"a".repeat(FORWARD_LIMITS.target)} HTTP/1.1`),
    status: 414,
  },
  {
    name: `takes ${FORWARD_LIMITS.fields} fields`,
    head: get(host + "X: 1\r\n".repeat(FORWARD_LIMITS.fields - 1)),
    status: 200,
  },
  {
    name: "refuses one field more",
    head: get(host + "X: 1\r\n".repeat(FORWARD_LIMITS.fields)),
    status: 431,
  },
  {
    name: `takes a head of ${FORWARD_LIMITS.bytes} bytes`,
    head: padded(FORWARD_LIMITS.bytes),
    status: 200,
  },
  {
    name: "refuses a longer head",
    head: padded(FORWARD_LIMITS.bytes + 1),
    status: 431,
  },
];
for (const { name, head, status } of FORWARDED_LIMITS) {
  Deno.test(`parseRequestHead() of what is forwarded ${name}`, () => {
    const bytes = toBytes(head);
    assert.equal(
      statusOf(() => parseRequestHead(bytes, 0, bytes.length, FORWARD_LIMITS)),
      status,
    );
  });
}

Deno.test("overlongHead() says which limit it was", () => {
  const { message } = overlongHead(toBytes("GET /\r\n"), 0, 7, FORWARD_LIMITS);
  assert.match(message, /at most 65536 bytes/);
});

const INCOMPLETE: { name: string; head: string }[] = [
  { name: "nothing", head: "" },
  { name: "a head without its empty line", head: `GET / HTTP/1.1\r\n${host}` },
  { name: "bytes after the empty line", head: `${get(host)}x` },
  { name: "an empty line and more fields", head: `${get(host)}X: 1\r\n\r\n` },
];
for (const { name, head } of INCOMPLETE) {
  Deno.test(`parseRequestHead() refuses ${name}`, () => {
    assert.equal(statusOf(() => parse(head)), 400);
  });
}

const FRAMINGS: {
  name: string;
  fields: string;
  expect: unknown;
  version?: string;
}[] = [
  {
    name: "section 6.3 #7: neither field",
    fields: "",
    expect: { kind: "none" },
  },
  {
    name: "section 6.2: Content-Length",
    fields: "Content-Length: 12\r\n",
    expect: { kind: "length", length: 12 },
  },
  {
    name: "section 6.2: zero",
    fields: "Content-Length: 0\r\n",
    expect: { kind: "length", length: 0 },
  },
  {
    name: "section 6.2: leading zeros are digits too",
    fields: "Content-Length: 007\r\n",
    expect: { kind: "length", length: 7 },
  },
  {
    name: "section 7: coding names ignore case",
    fields: "Transfer-Encoding: CHUNKED\r\n",
    expect: { kind: "chunked" },
  },
  {
    name: "section 6.3 #3: both fields",
    fields: "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
    expect: 400,
  },
  {
    name: "section 6.3 #3: both fields, length 0",
    fields: "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    expect: 400,
  },
  {
    name: "section 6.3 #5: two lengths",
    fields: "Content-Length: 1\r\nContent-Length: 2\r\n",
    expect: 400,
  },
  {
    name: "section 6.3 #5: two equal lengths",
    fields: "Content-Length: 1\r\nContent-Length: 1\r\n",
    expect: 400,
  },
  {
    name: "section 6.3 #5: a list of lengths",
    fields: "Content-Length: 1, 1\r\n",
    expect: 400,
  },
  {
    name: "section 6.3 #5: empty length",
    fields: "Content-Length:\r\n",
    expect: 400,
  },
  {
    name: "section 6.3 #5: plus sign",
    fields: "Content-Length: +1\r\n",
    expect: 400,
  },
  {
    name: "section 6.3 #5: minus sign",
    fields: "Content-Length: -1\r\n",
    expect: 400,
  },
  {
    name: "section 6.3 #5: hexadecimal",
    fields: "Content-Length: 0x1\r\n",
    expect: 400,
  },
  {
    name: "section 6.3 #5: decimal point",
    fields: "Content-Length: 1.0\r\n",
    expect: 400,
  },
  {
    name: "section 6.2: overflow",
    fields: "Content-Length: 9007199254740993\r\n",
    expect: 400,
  },
  {
    name: "section 6.1: unknown coding",
    fields: "Transfer-Encoding: xchunked\r\n",
    expect: 501,
  },
  {
    name: "section 6.1: known elsewhere, not here",
    fields: "Transfer-Encoding: gzip, chunked\r\n",
    expect: 501,
  },
  {
    name: "section 7.1: chunked takes no parameters",
    fields: "Transfer-Encoding: chunked;a=b\r\n",
    expect: 501,
  },
  {
    name: "section 6.1: quoted",
    fields: 'Transfer-Encoding: "chunked"\r\n',
    expect: 501,
  },
  {
    name: "section 6.3 #4: chunked is not last",
    fields: "Transfer-Encoding: chunked, gzip\r\n",
    expect: 400,
  },
  {
    name: "section 6.1: chunked twice",
    fields: "Transfer-Encoding: chunked, chunked\r\n",
    expect: 400,
  },
  {
    name: "section 6.1: chunked on two lines",
    fields: "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    expect: 400,
  },
  {
    name: "section 6.1: empty coding",
    fields: "Transfer-Encoding:\r\n",
    expect: 400,
  },
  {
    name: "section 6.1: empty member",
    fields: "Transfer-Encoding: , chunked\r\n",
    expect: 400,
  },
  {
    name: "section 6.1: HTTP/1.0 has no codings",
    fields: "Transfer-Encoding: chunked\r\n",
    expect: 400,
    version: "1.0",
  },
];
for (const { name, fields, expect, version = "1.1" } of FRAMINGS) {
  Deno.test(`bodyFraming() ${name} (RFC 9112)`, () => {
    const head = parse(get(host + fields, `POST / HTTP/${version}`));
    if (typeof expect === "number") {
      assert.equal(statusOf(() => bodyFraming(head)), expect);
    } else assert.deepEqual(bodyFraming(head), expect);
  });
}

const ENDS: { name: string; text: string; end: number }[] = [
  { name: "nothing", text: "", end: -1 },
  { name: "a line", text: "GET / HTTP/1.1\r\n", end: -1 },
  { name: "all but the last byte", text: "GET / HTTP/1.1\r\n\r", end: -1 },
  { name: "an end", text: "GET / HTTP/1.1\r\n\r\n", end: 18 },
  {
    name: "the first of two ends",
    text: "GET / HTTP/1.1\r\n\r\nX\r\n\r\n",
    end: 18,
  },
  { name: "a first CR", text: "\r", end: -1 },
];
for (const { name, text, end } of ENDS) {
  Deno.test(`findHeadEnd() finds ${end === -1 ? "no end in " : ""}${name}`, () => {
    const bytes = toBytes(text);
    assert.equal(findHeadEnd(bytes, 0, 0, bytes.length), end);
  });
}

Deno.test("findHeadEnd() does not look behind the start", () => {
  const bytes = toBytes("A\r\n\r\nA\r\n");
  assert.equal(findHeadEnd(bytes, 5, 5, bytes.length), -1);
});

Deno.test("findHeadEnd() does not look beyond the received bytes", () => {
  assert.equal(findHeadEnd(toBytes("A\r\n\r\n"), 0, 0, 4), -1);
});

Deno.test("overlongHead() does not look beyond the received bytes", () => {
  assert.equal(overlongHead(toBytes("GET /\r\n"), 0, 6).status, 414);
});

Deno.test("overlongHead() does not blame the target once its line has ended", () => {
  assert.equal(overlongHead(toBytes("GET /\r\n"), 0, 7).status, 431);
});

const REFUSED_EARLY: { name: string; text: string }[] = [
  { name: "a bare LF", text: "GET / HTTP/1.1\n" },
  { name: "a first LF", text: "\n" },
  { name: "TLS", text: "\x16\x03\x01" },
  { name: "a leading space", text: " GET" },
  { name: "a CR that is no line end", text: "\rG" },
];
for (const { name, text } of REFUSED_EARLY) {
  Deno.test(`findHeadEnd() refuses ${name} at once`, () => {
    const bytes = toBytes(text);
    assert.equal(statusOf(() => findHeadEnd(bytes, 0, 0, bytes.length)), 400);
  });
}

// Properties

const TOKEN_CHARACTERS =
  "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const token = fc.string({
  unit: fc.constantFrom(...TOKEN_CHARACTERS),
  minLength: 1,
  maxLength: 12,
});
const valueCharacter = fc.integer({ min: 0x20, max: 0xff })
  .filter((code) => code !== 0x7f)
  .map((code) => String.fromCharCode(code));
const value = fc.string({ unit: valueCharacter, maxLength: 30 })
  .map((text) => text.replace(/^[ \t]+|[ \t]+$/g, ""));
const field = fc.tuple(
  token.filter((name) => name.toLowerCase() !== "host"),
  value,
);
const blanks = fc.constantFrom("", " ", "\t", " \t ");
const target = fc.string({
  unit: fc.constantFrom(..."abcXYZ019-._~!$&'()*+,;=:@/?%\"<>[]^`{|}\\"),
  maxLength: 40,
}).map((rest) => `/${rest}`);
const validHead = fc.record({
  method: token.filter((method) => method !== "CONNECT"),
  target,
  version: fc.constantFrom("1.0", "1.1"),
  fields: fc.array(field, { maxLength: 12 }),
  before: blanks,
  after: blanks,
});
type Parts = typeof validHead extends fc.Arbitrary<infer T> ? T : never;

function write(
  { method, target, version, fields, before, after }: Parts,
): string {
  const lines = [["Host", "a.b:1"], ...fields]
    .map(([name, value]) => `${name}:${before}${value}${after}\r\n`);
  return `${method} ${target} HTTP/${version}\r\n${lines.join("")}\r\n`;
}

Deno.test("parseRequestHead() gives back what a writer wrote", () => {
  fc.assert(fc.property(validHead, (parts) => {
    const head = parse(write(parts));
    assert.deepEqual(
      [head.method, head.target, head.version, head.headers],
      [parts.method, parts.target, parts.version, [
        ["Host", "a.b:1"],
        ...parts.fields,
      ]],
    );
  }));
});

Deno.test("parseRequestHead() either parses random bytes or throws HttpError", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      statusOf(() => bodyFraming(parseRequestHead(bytes)));
    }),
    { numRuns: 2000 },
  );
});

const edit = fc.tuple(
  fc.nat(),
  fc.nat({ max: 3 }),
  fc.constantFrom(
    ...[
      "\r",
      "\n",
      "\0",
      " ",
      "\t",
      ":",
      ",",
      "\x7f",
      "\x80",
      "\r\n",
      "\r\n ",
      "a",
    ],
  ),
);

function mutate(text: string, edits: [number, number, string][]): string {
  for (const [where, removed, added] of edits) {
    const at = where % (text.length + 1);
    text = text.slice(0, at) + added + text.slice(at + removed);
  }
  return text;
}

Deno.test("parseRequestHead() never lets a control character or another line through", () => {
  const edits = fc.array(edit, { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(validHead, edits, (parts, edits) => {
      const text = mutate(write(parts), edits);
      let head: RequestHead;
      try {
        head = parse(text);
      } catch (error) {
        assert(error instanceof HttpError);
        return;
      }
      const lines = text.split("\r\n").length - 3;
      assert.equal(head.headers.length, lines);
      const all = [head.method, head.target, ...head.headers.flat()].join("");
      // deno-lint-ignore no-control-regex
      assert.doesNotMatch(all, /[\0-\x08\x0a-\x1f\x7f]/);
      assert.equal(head.values("host").length, 1);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("findHeadEnd() finds the same end in pieces as at once", () => {
  fc.assert(
    fc.property(validHead, fc.array(fc.nat({ max: 400 })), (parts, cuts) => {
      const bytes = toBytes(`${write(parts)}GET`);
      const end = bytes.length - 3;
      const stops = [...cuts.filter((cut) => cut < end), bytes.length]
        .sort((a, b) => a - b);
      let from = 0;
      const found = stops.map((to) => {
        const result = findHeadEnd(bytes, 0, from, to);
        from = to;
        return result;
      });
      assert.deepEqual(found, [...stops.slice(1).map(() => -1), end]);
    }),
  );
});
