import assert from "node:assert/strict";
import fc from "fast-check";
import {
  checkReaders,
  type Forwarded,
  forwardRequest,
  forwardResponse,
} from "../../scripts/fuzz/forwarding.ts";
import { toBytes } from "../../tests/support/raw_http.ts";
import { ProxyFailure } from "../intercept/failure.ts";
import type { HeaderField } from "./field_lines.ts";
import { encodeHead, forwardedFields, isUpgrade } from "./fields.ts";
import { HttpError, parseRequestHead } from "./head.ts";
import { parseResponseHead } from "./response_head.ts";

const NOTHING: ReadonlySet<string> = new Set();
const latin1 = new TextDecoder("latin1");

function requestOf(fields: string, line = "GET / HTTP/1.1") {
  return parseRequestHead(toBytes(`${line}\r\nHost: a\r\n${fields}\r\n`));
}

function responseOf(fields: string, status = 200) {
  return parseResponseHead(toBytes(`HTTP/1.1 ${status} x\r\n${fields}\r\n`));
}

/** What goes on, as lines. */
function lines(fields: readonly HeaderField[]): string {
  return fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
}

function forward(
  head: Parameters<typeof forwardedFields>[0],
  strip = NOTHING,
  keepUpgrade = false,
): string {
  return lines(forwardedFields(head, { strip, keepUpgrade }))
    .replace("Host: a\r\n", "");
}

Deno.test("forwardedFields() keeps order and case", () => {
  const fields = "x-B: 1\r\nUSER-Agent: 2\r\nx-b: 3\r\n";
  assert.equal(forward(requestOf(fields)), fields);
});

/** Default: nothing goes on, neither in a request nor in an answer. */
const HOPS: {
  name: string;
  fields: string;
  request?: string;
  response?: string;
}[] = [
  { name: "9110 7.6.1: Connection", fields: "Connection: keep-alive\r\n" },
  {
    name: "9110 7.6.1: two Connections",
    fields: "Connection: close\r\nCONNECTION: te\r\n",
  },
  { name: "9110 7.6.1: Keep-Alive", fields: "Keep-Alive: timeout=5\r\n" },
  {
    name: "9110 7.6.1: Proxy-Connection",
    fields: "Proxy-Connection: keep-alive\r\n",
  },
  { name: "9110 7.6.1: TE", fields: "TE: trailers\r\n" },
  {
    name: "9110 7.8: Upgrade",
    fields: "Connection: Upgrade\r\nUpgrade: h2c\r\n",
  },
  {
    name: "9113 3.1: HTTP2-Settings",
    fields:
      "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nConnection: HTTP2-Settings\r\n",
  },
  {
    name: "9110 11.7.2: Proxy-Authorization",
    fields: "Proxy-Authorization: Basic x\r\n",
    response: "Proxy-Authorization: Basic x\r\n",
  },
  {
    name: "9110 11.7.1: Proxy-Authenticate",
    fields: "Proxy-Authenticate: Basic\r\n",
    request: "Proxy-Authenticate: Basic\r\n",
  },
  {
    name: "9110 11.7.3: Proxy-Authentication-Info",
    fields: "Proxy-Authentication-Info: x\r\n",
    request: "Proxy-Authentication-Info: x\r\n",
  },
  {
    name: "9110 6.6.2: Trailer",
    fields: "Trailer: ETag\r\n",
    response: "Trailer: ETag\r\n",
  },
  {
    name: "9110 7.6.1: a field that Connection names",
    fields: "X-Hop: 1\r\nConnection: close, x-hop\r\nx-HOP: 2\r\n",
  },
  {
    name: "9110 7.6.1: fields that two Connections name",
    fields: "X: 1\r\nConnection: x\r\nConnection: ,Y\r\nY: 2\r\nZ: 3\r\n",
    request: "Z: 3\r\n",
    response: "Z: 3\r\n",
  },
  {
    name: "9110 7.6.1: Connection does not take Content-Length away",
    fields: "Connection: content-length\r\nContent-Length: 5\r\n",
    request: "Content-Length: 5\r\n",
    response: "Content-Length: 5\r\n",
  },
  {
    name: "9110 7.6.1: Connection does not take Transfer-Encoding away",
    fields: "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
    request: "Transfer-Encoding: chunked\r\n",
    response: "Transfer-Encoding: chunked\r\n",
  },
  {
    name: "9110 7.6.1: a quoted name is no name",
    fields: 'Connection: "x"\r\nX: 1\r\n',
    request: "X: 1\r\n",
    response: "X: 1\r\n",
  },
  {
    name: "9110 10.1.1: Expect goes on",
    fields: "Expect: 100-continue\r\n",
    request: "Expect: 100-continue\r\n",
    response: "Expect: 100-continue\r\n",
  },
];
for (const { name, fields, request = "", response = "" } of HOPS) {
  Deno.test(`forwardedFields() of a request, RFC ${name}`, () => {
    assert.equal(forward(requestOf(fields)), request);
  });
  Deno.test(`forwardedFields() of an answer, RFC ${name}`, () => {
    assert.equal(forward(responseOf(fields)), response);
  });
}

Deno.test("forwardedFields() keeps Host though Connection names it (RFC 9110 section 7.6.1)", () => {
  const fields = forwardedFields(requestOf("Connection: Host\r\n"), {
    strip: NOTHING,
    keepUpgrade: false,
  });
  assert.equal(lines(fields), "Host: a\r\n");
});

Deno.test("forwardedFields() strips what it is told, whatever its case", () => {
  const head = requestOf("AUTHORIZATION: x\r\nX: 1\r\nauthorization: y\r\n");
  assert.equal(forward(head, new Set(["authorization"])), "X: 1\r\n");
});

Deno.test("forwardedFields() strips the coding of an unwrapped body", () => {
  const head = responseOf("Transfer-Encoding: chunked\r\nX: 1\r\n");
  assert.equal(forward(head, new Set(["transfer-encoding"])), "X: 1\r\n");
});

for (const status of [100, 103, 204]) {
  Deno.test(`forwardedFields() drops the length of ${status} (RFC 9110 section 8.6)`, () => {
    assert.equal(forward(responseOf("Content-Length: 0\r\n", status)), "");
  });
}

Deno.test("forwardedFields() keeps the length of 304 (RFC 9110 section 8.6)", () => {
  const fields = "Content-Length: 7\r\n";
  assert.equal(forward(responseOf(fields, 304)), fields);
});

Deno.test("forwardedFields() keeps an upgrade in its place (RFC 9110 section 7.8)", () => {
  const head = requestOf(
    "connection: keep-alive, Upgrade, x\r\nX: 1\r\nUpgrade: WebSocket\r\nConnection: close\r\nSec-WebSocket-Key: k\r\n",
  );
  assert.equal(
    forward(head, NOTHING, true),
    "connection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n",
  );
});

const WS = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
const UPGRADES: { name: string; fields: string; line?: string; is: boolean }[] =
  [
    { name: "6455 4.1: a handshake", fields: WS, is: true },
    {
      name: "6455 4.1: one of several options, any case",
      fields:
        "UPGRADE: WebSocket\r\nConnection: keep-alive\r\nConnection: uPGRADE\r\n",
      is: true,
    },
    {
      name: "6455 4.1: no Connection",
      fields: "Upgrade: websocket\r\n",
      is: false,
    },
    {
      name: "6455 4.1: no Upgrade",
      fields: "Connection: Upgrade\r\n",
      is: false,
    },
    { name: "6455 4.1: POST", fields: WS, line: "POST / HTTP/1.1", is: false },
    {
      name: "9110 7.8: HTTP/1.0",
      fields: WS,
      line: "GET / HTTP/1.0",
      is: false,
    },
    {
      name: "9113 3.1: h2c",
      fields:
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n",
      is: false,
    },
    {
      name: "9110 7.8: h2c besides",
      fields: "Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n",
      is: false,
    },
    {
      name: "9110 7.8: h2c on another line",
      fields: `${WS}Upgrade: h2c\r\n`,
      is: false,
    },
    {
      name: "9110 7.8: a version",
      fields: "Upgrade: websocket/13\r\nConnection: Upgrade\r\n",
      is: false,
    },
    {
      name: "9112 6: with a length",
      fields: `${WS}Content-Length: 1\r\n`,
      is: false,
    },
    {
      name: "9112 6: with a body",
      fields: `${WS}Transfer-Encoding: chunked\r\n`,
      is: false,
    },
  ];
for (const { name, fields, line, is } of UPGRADES) {
  Deno.test(`isUpgrade() ${is ? "sees" : "does not see"} an upgrade, RFC ${name}`, () => {
    assert.equal(isUpgrade(requestOf(fields, line)), is);
  });
}

const SWITCHES: {
  name: string;
  fields: string;
  status: number;
  is: boolean;
}[] = [
  {
    name: "sees 101 (RFC 6455 section 4.2.2)",
    fields: WS,
    status: 101,
    is: true,
  },
  { name: "does not see 200", fields: WS, status: 200, is: false },
  {
    name: "does not see 101 to h2c",
    fields: "Upgrade: h2c\r\nConnection: Upgrade\r\n",
    status: 101,
    is: false,
  },
];
for (const { name, fields, status, is } of SWITCHES) {
  Deno.test(`isUpgrade() of an answer ${name}`, () => {
    assert.equal(isUpgrade(responseOf(fields, status)), is);
  });
}

// Writing

Deno.test("encodeHead() writes first line, fields and empty line", () => {
  assert.deepEqual(
    encodeHead("GET / HTTP/1.1", [["Host", "a"], ["X", "\x80\xff"], ["Y", ""]]),
    toBytes("GET / HTTP/1.1\r\nHost: a\r\nX: \x80\xff\r\nY: \r\n\r\n"),
  );
});

Deno.test("encodeHead() puts the body behind", () => {
  assert.deepEqual(
    encodeHead("HTTP/1.1 200 ", [], toBytes("body\r\n")),
    toBytes("HTTP/1.1 200 \r\n\r\nbody\r\n"),
  );
});

for (const bad of ["\r", "\n", "\0", "\u010a", "\u{1f600}"]) {
  const shown = JSON.stringify(bad);
  const parts: Record<string, [string, HeaderField[]]> = {
    "first line": [`GET /${bad} HTTP/1.1`, []],
    name: ["GET / HTTP/1.1", [[`X${bad}`, ""]]],
    value: ["GET / HTTP/1.1", [["X", `${bad}canary`]]],
  };
  for (const [part, [line, fields]] of Object.entries(parts)) {
    Deno.test(`encodeHead() refuses ${shown} in a ${part}`, () => {
      assert.throws(
        () => encodeHead(line, fields),
        (error) =>
          error instanceof TypeError && !error.message.includes("canary"),
      );
    });
  }
}

// Whole messages, as raw bytes

/** What comes of a message: what is sent, or the status of the refusal. */
function outcome(action: () => Forwarded | undefined): string | number {
  try {
    const forwarded = action();
    assert(forwarded, "the message is incomplete");
    return forwarded.head + forwarded.body;
  } catch (error) {
    assert(
      error instanceof HttpError || error instanceof ProxyFailure,
      `threw ${error}`,
    );
    return error.status;
  }
}

const POST = "POST / HTTP/1.1\r\nHost: a\r\n";
const CHUNKED = "Transfer-Encoding: chunked\r\n";
const NEXT = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";

const REQUESTS: { name: string; raw: string; sent: string | number }[] = [
  {
    name: "9112 3.2.2: absolute form",
    raw: "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
  },
  {
    name: "9112 3.2.2: absolute form without a path",
    raw: "GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: "GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n",
  },
  {
    name: "9110 4.2.4: userinfo",
    raw: "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: "9110 4.2.4: userinfo with password",
    raw: "GET http://a:80@b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: "3986 3.2: backslash in the authority",
    raw: "GET http://a\\@b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: "9110 4.2.1: empty host",
    raw: "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: "9110 4.2.1: empty host before a port",
    raw: "GET http://:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: "9110 7.1: no authority",
    raw: "GET mailto:a HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: "9112 3.2.3: user in a CONNECT",
    raw: "CONNECT u@a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: "9112 3.2.3: CONNECT without a port",
    raw: "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: "9112 3.2.3: CONNECT with a path",
    raw: "CONNECT a:443/ HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: "9112 3.2: a fragment",
    raw: "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: '9112 3: "<>\\^`{|} stay as they are',
    raw: 'GET /?q="<>\\^`{|} HTTP/1.1\r\nHost: a\r\n\r\n',
    sent: 'GET /?q="<>\\^`{|} HTTP/1.1\r\nHost: a\r\n\r\n',
  },
  {
    name: "9112 3: bytes beyond ASCII in the target",
    raw: "GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: "9112 3: a tab for a space",
    raw: "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: "9112 3: two spaces",
    raw: "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: "9112 3: a blank in the target",
    raw: "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: "9112 3: a blank at the end",
    raw: "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    sent: 400,
  },
  { name: "1945 4.1: HTTP/0.9", raw: "GET /\r\n\r\n", sent: 400 },
  {
    name: "9110 9.1: a method that is no token",
    raw: "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: "9113 3.4: the preface of HTTP/2",
    raw: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    sent: 505,
  },
  {
    name: "9112 3.2: no Host",
    raw: "GET / HTTP/1.1\r\nX: 1\r\n\r\n",
    sent: 400,
  },
  {
    name: "9112 3.2: two Hosts",
    raw: "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    sent: 400,
  },
  {
    name: "9112 3.2: two equal Hosts",
    raw: "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: "9110 7.2: a list of Hosts",
    raw: "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    sent: 400,
  },
  {
    name: "9110 7.2: a user in Host",
    raw: "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    sent: 400,
  },
  {
    name: "9110 7.2: a path in Host",
    raw: "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    sent: 400,
  },
  {
    name: "9112 6.3 #3: Content-Length and Transfer-Encoding",
    raw: `${POST}Content-Length: 5\r\n${CHUNKED}\r\n0\r\n\r\n${NEXT}`,
    sent: 400,
  },
  {
    name: "9112 6.3 #3: Transfer-Encoding and Content-Length",
    raw: `${POST}${CHUNKED}Content-Length: 0\r\n\r\n0\r\n\r\n${NEXT}`,
    sent: 400,
  },
  {
    name: "9112 6.3 #5: different lengths",
    raw: `${POST}Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello`,
    sent: 400,
  },
  {
    name: "9112 6.3 #5: equal lengths",
    raw: `${POST}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello`,
    sent: 400,
  },
  {
    name: "9112 6.1: an unknown coding",
    raw: `${POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
    sent: 501,
  },
  {
    name: "9112 6.1: a doubled coding",
    raw: `${POST}${CHUNKED}${CHUNKED}\r\n0\r\n\r\n`,
    sent: 400,
  },
  {
    name: "9112 6.1: a vertical tab before the coding",
    raw: `${POST}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n`,
    sent: 400,
  },
  {
    name: "9112 6.1: a coding in HTTP/1.0",
    raw: `POST / HTTP/1.0\r\nHost: a\r\n${CHUNKED}\r\n0\r\n\r\n`,
    sent: 400,
  },
  {
    name: "9112 5.2: obs-fold",
    raw: "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
    sent: 400,
  },
  {
    name: "9112 5.2: a folded coding",
    raw: `${POST}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n`,
    sent: 400,
  },
  {
    name: "9112 2.2: LF alone ends no line of a head",
    raw: "GET / HTTP/1.1\nHost: a\n\n",
    sent: 400,
  },
  {
    name: "9112 2.2: LF alone inside a field line",
    raw: "GET / HTTP/1.1\r\nHost: a\r\nX: 1\nY: 2\r\n\r\n",
    sent: 400,
  },
  {
    name: "9112 2.2: CR alone inside a value",
    raw: "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n",
    sent: 400,
  },
  {
    name: "9110 5.5: NUL in a value",
    raw: "GET / HTTP/1.1\r\nHost: a\r\nX: 1\0\r\n\r\n",
    sent: 400,
  },
  {
    name: "9112 5.1: space before the colon",
    raw: `${POST}Content-Length : 5\r\n\r\nhello`,
    sent: 400,
  },
  {
    name: "9112 2.2: blank before the first field",
    raw: "GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n",
    sent: 400,
  },
  {
    name: "9112 7.1: a chunk without its CRLF",
    raw: `${POST}${CHUNKED}\r\n5\r\nhello0\r\n\r\n`,
    sent: 400,
  },
  {
    name: "9112 7.1.2: a trailer Authorization",
    raw: `${POST}${CHUNKED}\r\n5\r\nhello\r\n0\r\nAuthorization: x\r\n\r\n`,
    sent: `${POST}${CHUNKED}\r\n5\r\nhello\r\n0\r\n\r\n`,
  },
  {
    name: "9110 7.6.1: Connection-named fields",
    raw:
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-a\r\nX-A: 1\r\nX-B: 2\r\n\r\n",
    sent: "GET / HTTP/1.1\r\nHost: a\r\nX-B: 2\r\n\r\n",
  },
  {
    name: "9112 9.3.2: what follows a request is not a part of it",
    raw: `${POST}Content-Length: 5\r\n\r\nhello${NEXT}`,
    sent: `${POST}Content-Length: 5\r\n\r\nhello`,
  },
  {
    name: "9112 6.3 #7: a GET ends with its head",
    raw: `GET / HTTP/1.1\r\nHost: a\r\n\r\n${NEXT}`,
    sent: "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
  },
];
for (const { name, raw, sent } of REQUESTS) {
  Deno.test(`a request is ${typeof sent === "number" ? "refused" : "forwarded"}, RFC ${name}`, () => {
    assert.equal(outcome(() => forwardRequest(toBytes(raw))), sent);
  });
}

const OK = "HTTP/1.1 200 OK\r\n";
const RESPONSES: {
  name: string;
  raw: string;
  sent: string | number;
  method?: string;
}[] = [
  {
    name: "9112 6.3 #6: what follows an answer is not a part of it",
    raw: `${OK}Content-Length: 5\r\n\r\nhello${OK}\r\n`,
    sent: `${OK}Content-Length: 5\r\n\r\nhello`,
  },
  {
    name: "9112 6.3 #8: until the end",
    raw: `${OK}X: 1\r\n\r\nhello${OK}\r\n`,
    sent: `${OK}X: 1\r\n\r\nhello${OK}\r\n`,
  },
  {
    name: "9112 6.3 #1: HEAD has no body",
    raw: `${OK}Content-Length: 5\r\n\r\nhello`,
    method: "HEAD",
    sent: `${OK}Content-Length: 5\r\n\r\n`,
  },
  {
    name: "9112 7.1.2: trailers",
    raw:
      `${OK}${CHUNKED}\r\n1;a=b\r\nx\r\n0\r\nETag: 1\r\nSet-Cookie: 2\r\n\r\n`,
    sent: `${OK}${CHUNKED}\r\n1\r\nx\r\n0\r\nETag: 1\r\n\r\n`,
  },
  {
    name: "9112 6.3 #3: Content-Length and Transfer-Encoding",
    raw: `${OK}Content-Length: 5\r\n${CHUNKED}\r\n0\r\n\r\n`,
    sent: 502,
  },
  {
    name: "9112 5.2: obs-fold",
    raw: `${OK}X: 1\r\n 2\r\nContent-Length: 0\r\n\r\n`,
    sent: 502,
  },
  { name: "9112 2.2: LF alone", raw: "HTTP/1.1 200 OK\n\n", sent: 502 },
  {
    name: "9112 2.2: LF alone inside a field line",
    raw: `${OK}Content-Length: 0\r\nX: 1\nSet-Cookie: 2\r\n\r\n`,
    sent: 502,
  },
  {
    name: "9112 2.2: CR alone inside a field line",
    raw: `${OK}Content-Length: 0\r\nX: 1\rSet-Cookie: 2\r\n\r\n`,
    sent: 502,
  },
  {
    name: "9112 7.1: a chunk without its CRLF",
    raw: `${OK}${CHUNKED}\r\n5\r\nhello0\r\n\r\n`,
    sent: 502,
  },
  {
    name: "9110 7.6.1: hops and Connection-named fields",
    raw:
      `${OK}Connection: x-a\r\nX-A: 1\r\nKeep-Alive: 5\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n`,
    sent: `${OK}Content-Length: 0\r\n\r\n`,
  },
];
for (const { name, raw, sent, method = "GET" } of RESPONSES) {
  Deno.test(`an answer is ${typeof sent === "number" ? "refused" : "forwarded"}, RFC ${name}`, () => {
    assert.equal(outcome(() => forwardResponse(toBytes(raw), method)), sent);
  });
}

Deno.test("a request comes to the same at every cut", () => {
  const raw =
    `${POST}${CHUNKED}X: \x80\r\n\r\n5;a\r\nhello\r\n0\r\nX: y\r\n\r\n`;
  for (let cut = 0; cut < raw.length; cut++) {
    assert.equal(forwardRequest(toBytes(raw.slice(0, cut))), undefined);
  }
});

// Properties

const token = fc.string({
  unit: fc.constantFrom(..."!#$%&'*+-.^_`|~09azAZ"),
  minLength: 1,
  maxLength: 12,
});
const value = fc.string({
  unit: fc.integer({ min: 0x20, max: 0xff }).filter((code) => code !== 0x7f)
    .map((code) => String.fromCharCode(code)),
  maxLength: 20,
}).map((text) => text.replace(/^ +| +$/g, ""));
const LEFT_OUT =
  /^(host|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|content-length|upgrade|http2-settings|authorization|x-api-key)$/i;
const fields = fc.array(
  fc.tuple(token.filter((name) => !LEFT_OUT.test(name)), value),
  { maxLength: 8 },
);

Deno.test("a valid request's head is forwarded byte for byte", () => {
  fc.assert(fc.property(token, fields, (method, fields) => {
    const raw = `${method}x /a?b HTTP/1.1\r\nHost: a\r\n${lines(fields)}\r\n`;
    assert.equal(outcome(() => forwardRequest(toBytes(raw))), raw);
  }));
});

Deno.test("a valid answer's head is forwarded byte for byte", () => {
  fc.assert(fc.property(value, fields, (reason, fields) => {
    const raw = `HTTP/1.1 200 ${reason}\r\n${lines(fields)}\r\n`;
    assert.equal(outcome(() => forwardResponse(toBytes(raw), "HEAD")), raw);
  }));
});

Deno.test("encodeHead() lets no CR, LF or NUL of a part through", () => {
  const part = fc.string({
    unit: fc.constantFrom(..."\r\n\0ab: \x80\u010d"),
    maxLength: 6,
  });
  fc.assert(
    fc.property(part, fc.array(fc.tuple(part, part)), (line, fields) => {
      let text: string;
      try {
        text = latin1.decode(encodeHead(line, fields));
      } catch (error) {
        assert(error instanceof TypeError);
        return;
      }
      assert.equal(text.split("\r\n").length, fields.length + 3);
      assert.doesNotMatch(text.replaceAll("\r\n", ""), /[\0\r\n]/);
    }),
    { numRuns: 1000 },
  );
});

const edit = fc.tuple(
  fc.nat(),
  fc.nat({ max: 4 }),
  fc.constantFrom(
    ...["", "\r", "\n", "\0", " ", "\t", ":", ",", "\x0b", "\r\n", "\r\n "],
    ...["Content-Length: 5\r\n", CHUNKED, "Connection: x\r\n", "0\r\n\r\n"],
  ),
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

const BEGINNINGS: { name: string; raw: string; method?: string }[] = [
  { name: "a request", raw: `${POST}X: 1\r\n\r\n${NEXT}` },
  {
    name: "a request with a length",
    raw: `${POST}Content-Length: 5\r\n\r\nhello${NEXT}`,
  },
  {
    name: "a chunked request",
    raw: `${POST}${CHUNKED}\r\n5\r\nhello\r\n0\r\n\r\n${NEXT}`,
  },
  {
    name: "an answer with a length",
    raw: `${OK}Content-Length: 5\r\n\r\nhello${OK}\r\n`,
    method: "GET",
  },
  {
    name: "a chunked answer",
    raw: `${OK}${CHUNKED}\r\n5\r\nhello\r\n0\r\nETag: 1\r\n\r\n${OK}`,
    method: "GET",
  },
  {
    name: "an answer to HEAD",
    raw: `${OK}Content-Length: 5\r\n\r\n${OK}\r\n`,
    method: "HEAD",
  },
];
for (const { name, raw, method } of BEGINNINGS) {
  Deno.test(`all readers see the same message in ${name} and in what is forwarded`, () => {
    const edits = fc.array(edit, { maxLength: 3 });
    fc.assert(
      fc.property(edits, (edits) => {
        const bytes = toBytes(mutate(raw, edits));
        const forwarded: Forwarded[] = [];
        outcome(() => {
          const result = method === undefined
            ? forwardRequest(bytes)
            : forwardResponse(bytes, method);
          if (result) forwarded.push(result);
          return result ??
            {
              head: "",
              body: "",
              content: "",
              fields: [],
              kind: "none",
              end: 0,
            };
        });
        for (const result of forwarded) checkReaders(bytes, result, method);
      }),
      { numRuns: 1000 },
    );
  });
}
