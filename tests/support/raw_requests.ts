/**
 * Requests of intercepted clients, byte by byte: what each rule of the parser
 * refuses, and how what it takes goes on.
 *
 * In all texts `{host}` stands for the upstream's host and port, and `{token}`
 * for the credential.
 *
 * @module
 */

/** One request, or several, of one connection. */
export interface RequestCase {
  /** What is special about it. */
  readonly name: string;
  /** Where the rule stands. */
  readonly see: string;
  /** What the client sends. */
  readonly raw: string;
  /** The statuses of the answers, in order. */
  readonly answers: readonly number[];
  /** All bytes that the upstream gets. Default: none. */
  readonly forwarded?: string;
  /** A part of a body may follow these bytes, but never its end. Default: no. */
  readonly isPartial?: boolean;
  /** The code of the last answer, if it is moat's own. */
  readonly code?: string;
  /** Whether the connection takes a further request. Default: no. */
  readonly goesOn?: boolean;
}

const H = "Host: {host}\r\n";
const AUTH = "Authorization: Bearer {token}\r\n";
const MESSAGING = "RFC 9112 section";
const SEMANTICS = "RFC 9110 section";

/** A request that follows in the same connection, and is its last. */
export const PROBE = `GET /probe HTTP/1.1\r\n${H}Connection: close\r\n\r\n`;

/** The same at the upstream. */
export const PROBE_FORWARDED = `GET /probe HTTP/1.1\r\n${H}${AUTH}\r\n`;

/** Refused before anything goes on. */
function refused(
  see: string,
  name: string,
  raw: string,
  status = 400,
  code?: string,
): RequestCase {
  return { name, see, raw, answers: [status], ...(code && { code }) };
}

/** Forwarded; by default as it is, with the credential as its last field. */
function taken(
  see: string,
  name: string,
  raw: string,
  forwarded: string = raw.replace("\r\n\r\n", `\r\n${AUTH}\r\n`),
  goesOn = true,
): RequestCase {
  return { name, see, raw, answers: [200], forwarded, goesOn };
}

/** A GET with one further line after Host. */
function get(line: string): string {
  return `GET /a HTTP/1.1\r\n${H}${line}\r\n\r\n`;
}

function post(fields: string, body: string): string {
  return `POST /a HTTP/1.1\r\n${H}${fields}\r\n\r\n${body}`;
}

const CHUNKED = "Transfer-Encoding: chunked";

function chunked(body: string): string {
  return post(CHUNKED, body);
}

/** A chunked request whose head went on before the fault in its body was seen. */
function badChunk(name: string, body: string, see = "7.1"): RequestCase {
  return {
    name,
    see: `${MESSAGING} ${see}`,
    raw: chunked(body),
    answers: [400],
    forwarded: `POST /a HTTP/1.1\r\n${H}${CHUNKED}\r\n${AUTH}\r\n`,
    isPartial: true,
  };
}

function goodChunks(
  name: string,
  body: string,
  forwarded: string = body,
  see = "7.1",
): RequestCase {
  return taken(
    `${MESSAGING} ${see}`,
    name,
    chunked(body),
    chunked(forwarded).replace("\r\n\r\n", `\r\n${AUTH}\r\n`),
  );
}

/** Request-lines. */
const LINES: readonly RequestCase[] = [
  taken(`${MESSAGING} 3`, "a plain request", get("Accept: */*")),
  taken(
    `${SEMANTICS} 9.1`,
    "a method in lower case is another method, and goes on",
    get("Accept: */*").replace("GET", "get"),
  ),
  refused(
    `${MESSAGING} 3.1`,
    "a method that is no token",
    "G(T / HTTP/1.1\r\n\r\n",
  ),
  refused(
    `${MESSAGING} 3`,
    "a space before the method",
    " GET / HTTP/1.1\r\n\r\n",
  ),
  refused(
    `${MESSAGING} 3`,
    "two spaces after the method",
    `GET  / HTTP/1.1\r\n${H}\r\n`,
  ),
  refused(
    `${MESSAGING} 3`,
    "a tab after the method",
    `GET\t/ HTTP/1.1\r\n${H}\r\n`,
  ),
  refused(
    `${MESSAGING} 3`,
    "a space after the version",
    `GET / HTTP/1.1 \r\n${H}\r\n`,
  ),
  refused(
    `${MESSAGING} 3`,
    "a space in the target",
    `GET /a b HTTP/1.1\r\n${H}\r\n`,
  ),
  refused(`${MESSAGING} 2.3`, "no version, as HTTP/0.9", "GET /\r\n\r\n"),
  refused(
    `${MESSAGING} 2.3`,
    "HTTP/2.0 in text",
    `GET / HTTP/2.0\r\n${H}\r\n`,
    505,
  ),
  refused(`${MESSAGING} 2.3`, "HTTP/1.2", `GET / HTTP/1.2\r\n${H}\r\n`, 505),
  refused(`${MESSAGING} 2.3`, "HTTP/1.10", `GET / HTTP/1.10\r\n${H}\r\n`),
  refused(
    `${MESSAGING} 2.3`,
    "http/1.1 in lower case",
    `GET / http/1.1\r\n${H}\r\n`,
  ),
  refused(
    "RFC 9113 section 3.4",
    "the preface of HTTP/2",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    505,
  ),
  taken(
    `${MESSAGING} 2.2`,
    "an empty line before the request-line",
    `\r\n${get("X: a")}`,
    get("X: a").replace("\r\n\r\n", `\r\n${AUTH}\r\n`),
  ),
  refused(
    `${MESSAGING} 2.2`,
    "two empty lines before it",
    `\r\n\r\n${get("X: a")}`,
  ),
  refused(
    `${MESSAGING} 2.2`,
    "an empty line that is LF alone",
    `\n${get("X: a")}`,
  ),
  refused(
    `${MESSAGING} 2.2`,
    "a bare-LF head",
    "GET /a HTTP/1.1\nHost: {host}\n\n",
  ),
  refused(
    `${MESSAGING} 2.2`,
    "LF alone after the request-line",
    `GET /a HTTP/1.1\n${H}\r\n`,
  ),
  refused(
    `${MESSAGING} 2.2`,
    "CR alone after the request-line",
    `GET /a HTTP/1.1\r${H}\r\n`,
  ),
  refused(
    `${MESSAGING} 3.2`,
    "a fragment in the target",
    `GET /a#b HTTP/1.1\r\n${H}\r\n`,
  ),
  refused(
    `${MESSAGING} 3.2`,
    "a byte beyond ASCII in the target",
    `GET /\xe9 HTTP/1.1\r\n${H}\r\n`,
  ),
  refused(
    `${MESSAGING} 3.2`,
    "NUL in the target",
    `GET /a\0b HTTP/1.1\r\n${H}\r\n`,
  ),
  refused(
    `${MESSAGING} 3.2.1`,
    "an origin-form without its slash",
    `GET a HTTP/1.1\r\n${H}\r\n`,
  ),
  refused(
    `${MESSAGING} 3.2.3`,
    "authority-form without CONNECT",
    `GET {host} HTTP/1.1\r\n${H}\r\n`,
  ),
  refused(
    `${MESSAGING} 3.2.4`,
    "asterisk-form with GET",
    `GET * HTTP/1.1\r\n${H}\r\n`,
  ),
  taken(
    `${MESSAGING} 3.2.4`,
    "asterisk-form with OPTIONS",
    `OPTIONS * HTTP/1.1\r\n${H}\r\n`,
  ),
  refused(
    `${MESSAGING} 3`,
    "a target of 33 KB",
    `GET /${"a".repeat(33 * 1024)} HTTP/1.1\r\n${H}\r\n`,
    414,
  ),
  taken(
    `${MESSAGING} 3`,
    "a target of 8,000 bytes",
    `GET /${"a".repeat(7_999)} HTTP/1.1\r\n${H}\r\n`,
  ),
  refused(
    `${SEMANTICS} 9.3.6`,
    "CONNECT inside the tunnel",
    `CONNECT {host} HTTP/1.1\r\n${H}\r\n`,
    405,
  ),
  refused(
    `${SEMANTICS} 9.3.8`,
    "TRACE",
    get("X: a").replace("GET", "TRACE"),
    405,
  ),
  refused(
    `${SEMANTICS} 9.3.8`,
    "TRACK",
    get("X: a").replace("GET", "TRACK"),
    405,
  ),
];

/** Where it goes. */
const ROUTING: readonly RequestCase[] = [
  refused(
    `${SEMANTICS} 7.4`,
    "inner Host ≠ CONNECT host",
    "GET /a HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    421,
    "misdirected",
  ),
  refused(
    `${SEMANTICS} 7.4`,
    "Host with another port",
    "GET /a HTTP/1.1\r\nHost: {name}:1\r\n\r\n",
    421,
    "misdirected",
  ),
  refused(
    `${SEMANTICS} 7.4`,
    "Host without the port",
    "GET /a HTTP/1.1\r\nHost: {name}\r\n\r\n",
    421,
    "misdirected",
  ),
  refused(`${MESSAGING} 3.2`, "no Host", "GET /a HTTP/1.1\r\n\r\n"),
  refused(`${MESSAGING} 3.2`, "no Host in HTTP/1.0", "GET /a HTTP/1.0\r\n\r\n"),
  refused(
    `${MESSAGING} 3.2`,
    "two Hosts, the same",
    `GET /a HTTP/1.1\r\n${H}${H}\r\n`,
  ),
  refused(
    `${MESSAGING} 3.2`,
    "two Hosts, the second another",
    `GET /a HTTP/1.1\r\n${H}Host: evil.example\r\n\r\n`,
  ),
  refused(
    `${MESSAGING} 3.2`,
    "two Hosts, the first another",
    `GET /a HTTP/1.1\r\nHost: evil.example\r\n${H}\r\n`,
  ),
  refused(
    `${MESSAGING} 3.2`,
    "an empty Host",
    "GET /a HTTP/1.1\r\nHost:\r\n\r\n",
  ),
  refused(
    `${SEMANTICS} 7.2`,
    "a Host with a user",
    "GET /a HTTP/1.1\r\nHost: me@{host}\r\n\r\n",
  ),
  refused(
    `${SEMANTICS} 7.2`,
    "a Host with a path",
    "GET /a HTTP/1.1\r\nHost: {host}/x\r\n\r\n",
  ),
  refused(
    `${SEMANTICS} 7.2`,
    "a Host that is a list",
    "GET /a HTTP/1.1\r\nHost: {host}, evil.example\r\n\r\n",
  ),
  refused(
    `${MESSAGING} 3.2.2`,
    "absolute-form for another host inside the tunnel",
    `GET https://evil.example/a HTTP/1.1\r\n${H}\r\n`,
    421,
    "misdirected",
  ),
  refused(
    `${MESSAGING} 3.2.2`,
    "absolute-form for another port",
    `GET https://{name}:1/a HTTP/1.1\r\n${H}\r\n`,
    421,
    "misdirected",
  ),
  refused(
    `${MESSAGING} 3.2.2`,
    "absolute-form of http inside the tunnel",
    `GET http://{host}/a HTTP/1.1\r\n${H}\r\n`,
    421,
    "misdirected",
  ),
  refused(
    `${SEMANTICS} 4.2.4`,
    "absolute-form with a user",
    `GET https://evil.example@{host}/a HTTP/1.1\r\n${H}\r\n`,
  ),
  taken(
    `${MESSAGING} 3.2.2`,
    "absolute-form for the same host goes on in origin-form",
    `GET https://{host}/a?b HTTP/1.1\r\n${H}\r\n`,
    `GET /a?b HTTP/1.1\r\n${H}${AUTH}\r\n`,
  ),
  taken(
    `${MESSAGING} 3.2.4`,
    "OPTIONS of a host as a whole goes on in asterisk-form",
    `OPTIONS https://{host} HTTP/1.1\r\n${H}\r\n`,
    `OPTIONS * HTTP/1.1\r\n${H}${AUTH}\r\n`,
  ),
  taken(
    "RFC 3986 section 6.2.2.3",
    "dot segments are removed",
    `GET /a/%2e%2e/./b?c=../d HTTP/1.1\r\n${H}\r\n`,
    `GET /b?c=../d HTTP/1.1\r\n${H}${AUTH}\r\n`,
  ),
  taken(
    "RFC 3986 section 2.3",
    "needless escapes are undone, others stay",
    `GET /%61%2fb%3B%7e HTTP/1.1\r\n${H}\r\n`,
    `GET /a%2fb%3B~ HTTP/1.1\r\n${H}${AUTH}\r\n`,
  ),
  refused(
    "RFC 3986 section 2.1",
    "half an escape in the path",
    `GET /%zz HTTP/1.1\r\n${H}\r\n`,
    400,
    "bad-path",
  ),
  refused(
    "RFC 3986 section 3.3",
    "a backslash in the path",
    `GET /a\\b HTTP/1.1\r\n${H}\r\n`,
    400,
    "bad-path",
  ),
  refused(
    "RFC 3629 section 3",
    "overlong UTF-8 in the path",
    `GET /%c0%af HTTP/1.1\r\n${H}\r\n`,
    400,
    "bad-path",
  ),
  refused(
    "RFC 3986 section 7.3",
    "an escaped NUL in the path",
    `GET /a%00b HTTP/1.1\r\n${H}\r\n`,
    400,
    "bad-path",
  ),
];

/** Field lines. */
const FIELDS: readonly RequestCase[] = [
  refused(`${MESSAGING} 5.1`, "space before colon", get("X : a")),
  refused(
    `${MESSAGING} 5.1`,
    "space before the colon of Transfer-Encoding",
    post("Transfer-Encoding : chunked", "0\r\n\r\n"),
  ),
  refused(`${MESSAGING} 5.2`, "obs-fold", get("X: a\r\n b")),
  refused(`${MESSAGING} 5.2`, "obs-fold by a tab", get("X: a\r\n\tb")),
  refused(
    `${MESSAGING} 2.2`,
    "blanks before the first field",
    `GET /a HTTP/1.1\r\n ${H}\r\n`,
  ),
  refused(`${MESSAGING} 2.2`, "LF inside a header line", get("X: a\nb: c")),
  refused(
    `${MESSAGING} 2.2`,
    "LF alone as the end of a line",
    get("X: a\nY: b"),
  ),
  refused(`${MESSAGING} 2.2`, "bare CR in a value", get("X: a\rb")),
  refused(`${MESSAGING} 2.2`, "bare CR before the line's end", get("X: a\r")),
  refused(`${SEMANTICS} 5.5`, "NUL in a value", get("X: a\0b")),
  refused(
    `${SEMANTICS} 5.5`,
    "a control character in a value",
    get("X: a\x01b"),
  ),
  refused(`${SEMANTICS} 5.5`, "a vertical tab in a value", get("X: a\x0bb")),
  refused(`${SEMANTICS} 5.5`, "DEL in a value", get("X: a\x7fb")),
  refused(`${SEMANTICS} 5.1`, "an empty name", get(": a")),
  refused(`${SEMANTICS} 5.1`, "a name that is no token", get("X(): a")),
  refused(`${SEMANTICS} 5.1`, "a name beyond ASCII", get("X\xe9: a")),
  refused(`${SEMANTICS} 5.1`, "NUL in a name", get("X\0: a")),
  refused(`${MESSAGING} 5`, "a line without a colon", get("Xa")),
  refused(
    `${MESSAGING} 2.1`,
    "CR LF CR without its LF",
    `GET /a HTTP/1.1\r\n${H}\r\rX`,
  ),
  refused(
    "RFC 6585 section 5",
    "201 fields",
    get(Array(200).fill("X: a").join("\r\n")),
    431,
  ),
  refused(
    "RFC 6585 section 5",
    "a head of 65 KB",
    get(`X: ${"a".repeat(65 * 1024)}`),
    431,
  ),
  taken(
    "RFC 6585 section 5",
    "a head of 60 KB",
    get(`X: ${"a".repeat(60 * 1024)}`),
  ),
  taken(
    `${SEMANTICS} 5.3`,
    "order, case and repetition of fields stay",
    get("x-B: 1\r\nX-a: 2\r\nX-b: 3\r\nACCEPT: */*\r\nCookie: a\r\nCookie: b"),
  ),
  taken(
    `${MESSAGING} 5.1`,
    "blanks around a value go, those inside stay",
    get("X: \t a \t b \t"),
    get("X: a \t b").replace("\r\n\r\n", `\r\n${AUTH}\r\n`),
  ),
  taken(`${SEMANTICS} 5.5`, "an empty value", get("X: ")),
  taken(
    `${SEMANTICS} 5.5`,
    "obs-text goes on byte by byte",
    get("X: \x80\xe9\xff"),
  ),
  taken(
    `${SEMANTICS} 8.4`,
    "content coding is untouched",
    post(
      "Content-Encoding: gzip\r\nAccept-Encoding: br, zstd\r\nContent-Length: 4",
      "\x1f\x8b\0\xff",
    ),
  ),
];

/** Where a body ends. */
const FRAMING: readonly RequestCase[] = [
  refused(
    `${MESSAGING} 6.1`,
    "CL+TE",
    post(`Content-Length: 5\r\n${CHUNKED}`, "0\r\n\r\n"),
  ),
  refused(
    `${MESSAGING} 6.1`,
    "TE+CL",
    post(`${CHUNKED}\r\nContent-Length: 5`, "0\r\n\r\n"),
  ),
  refused(
    `${MESSAGING} 6.1`,
    "CL+TE with an unknown coding",
    post("Content-Length: 5\r\nTransfer-Encoding: x", "hello"),
  ),
  refused(
    `${MESSAGING} 6.3`,
    "duplicate CL, different",
    post("Content-Length: 5\r\nContent-Length: 6", "hello!"),
  ),
  refused(
    `${MESSAGING} 6.3`,
    "duplicate CL, same",
    post("Content-Length: 5\r\nContent-Length: 5", "hello"),
  ),
  refused(
    `${MESSAGING} 6.3`,
    "a list of lengths",
    post("Content-Length: 5, 5", "hello"),
  ),
  ...[
    "+5",
    "-5",
    "5 5",
    "0x5",
    "5;",
    "1e1",
    "",
    "5.0",
    "\x0c5",
    "9999999999999999",
  ]
    .map((length) =>
      refused(
        `${SEMANTICS} 8.6`,
        `Content-Length ${JSON.stringify(length)}`,
        post(`Content-Length: ${length}`, "hello"),
      )
    ),
  refused(
    `${MESSAGING} 6.1`,
    "an unknown TE",
    post("Transfer-Encoding: xchunked", "0\r\n\r\n"),
    501,
  ),
  refused(
    `${MESSAGING} 6.1`,
    "TE gzip, chunked",
    post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
    501,
  ),
  refused(
    `${MESSAGING} 6.1`,
    "TE identity",
    post("Transfer-Encoding: identity", ""),
    501,
  ),
  refused(
    `${MESSAGING} 6.1`,
    "TE chunked in quotes",
    post('Transfer-Encoding: "chunked"', "0\r\n\r\n"),
    501,
  ),
  refused(
    `${MESSAGING} 7.1`,
    "TE chunked with a parameter",
    post("Transfer-Encoding: chunked;q=1", "0\r\n\r\n"),
    501,
  ),
  refused(
    `${MESSAGING} 6.1`,
    "doubled TE, in one line",
    post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"),
  ),
  refused(
    `${MESSAGING} 6.1`,
    "doubled TE, in two lines",
    post(`${CHUNKED}\r\n${CHUNKED}`, "0\r\n\r\n"),
  ),
  refused(
    `${MESSAGING} 6.1`,
    "TE chunked, gzip",
    post("Transfer-Encoding: chunked, gzip", "0\r\n\r\n"),
  ),
  refused(`${MESSAGING} 6.1`, "an empty TE", post("Transfer-Encoding:", "")),
  refused(
    `${MESSAGING} 6.1`,
    "an empty member of TE",
    post("Transfer-Encoding: ,chunked", "0\r\n\r\n"),
  ),
  refused(
    `${MESSAGING} 6.1`,
    "TE with a vertical tab",
    post("Transfer-Encoding: \x0bchunked", "0\r\n\r\n"),
  ),
  refused(
    `${MESSAGING} 6.1`,
    "TE in HTTP/1.0",
    chunked("0\r\n\r\n").replace("/1.1", "/1.0"),
  ),
  taken(`${MESSAGING} 6.2`, "a length of 0", post("Content-Length: 0", "")),
  taken(
    `${MESSAGING} 6.2`,
    "leading zeros of a length",
    post("Content-Length: 005", "hello"),
  ),
  taken(
    `${MESSAGING} 6.3`,
    "GET with a body",
    get("Content-Length: 5") + "hello",
  ),
  taken(
    `${MESSAGING} 7.4`,
    "TE's name in any case",
    post("transfer-ENCODING: Chunked", "0\r\n\r\n"),
  ),
  taken(
    `${MESSAGING} 6.3`,
    "a body that looks like a request",
    post("Content-Length: 29", "GET /smuggled HTTP/1.1\r\nHost:"),
  ),
  goodChunks("chunks", "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"),
  goodChunks(
    "sizes with leading zeros and in any case",
    "0003\r\nabc\r\n0a\r\n0123456789\r\n000\r\n\r\n",
  ),
  goodChunks(
    "chunk extensions are dropped",
    '3;a=b;c="d;\\"e"\r\nabc\r\n0;z\r\n\r\n',
    "3\r\nabc\r\n0\r\n\r\n",
    "7.1.1",
  ),
  goodChunks(
    "a client trailer Authorization is dropped",
    "3\r\nabc\r\n0\r\nAuthorization: x\r\n\r\n",
    "3\r\nabc\r\n0\r\n\r\n",
    "6.5.1",
  ),
  goodChunks(
    "a trailer Content-Length is dropped",
    "3\r\nabc\r\n0\r\nContent-Length: 9\r\nX: y\r\n\r\n",
    "3\r\nabc\r\n0\r\n\r\n",
    "6.5.1",
  ),
  badChunk("no size", "\r\nabc\r\n0\r\n\r\n"),
  badChunk("a size that is not hexadecimal", "g\r\nabc\r\n0\r\n\r\n"),
  badChunk("0x before a size", "0x3\r\nabc\r\n0\r\n\r\n"),
  badChunk("a sign before a size", "+3\r\nabc\r\n0\r\n\r\n"),
  badChunk("a blank before a size", " 3\r\nabc\r\n0\r\n\r\n"),
  badChunk("a blank after a size", "3 \r\nabc\r\n0\r\n\r\n"),
  badChunk("a size of 17 digits", "00000000000000003\r\nabc\r\n0\r\n\r\n"),
  badChunk("a size that wraps around", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
  badChunk("LF alone after a size", "3\nabc\r\n0\r\n\r\n", "2.2"),
  badChunk("CR alone after a size", "3\rabc\r\n0\r\n\r\n", "2.2"),
  badChunk("missing CRLF after a chunk", "3\r\nabc0\r\n\r\n"),
  badChunk("LF alone after a chunk", "3\r\nabc\n0\r\n\r\n"),
  badChunk("more in a chunk than its size", "3\r\nabcd\r\n0\r\n\r\n"),
  badChunk("LF in a chunk extension", "3;a\nb\r\nabc\r\n0\r\n\r\n", "7.1.1"),
  badChunk(
    "a control character in a chunk extension",
    "3;a=\x01\r\nabc\r\n0\r\n\r\n",
    "7.1.1",
  ),
  badChunk(
    "an endless chunk extension",
    `3;${"a".repeat(5_000)}\r\nabc\r\n0\r\n\r\n`,
    "7.1.1",
  ),
  badChunk("a folded trailer", "0\r\nX: a\r\n b\r\n\r\n", "7.1.2"),
  badChunk("a trailer that ends with LF alone", "0\r\nX: a\n\r\n", "7.1.2"),
  badChunk("NUL in a trailer", "0\r\nX: a\0\r\n\r\n", "7.1.2"),
  badChunk(
    "a trailer that is a request",
    "0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    "7.1.2",
  ),
];

/** What is for one hop only, and what is for moat. */
const HOPS: readonly RequestCase[] = [
  ...[
    [
      "Connection-named headers",
      "Connection: X-Secret, keep-alive\r\nX-Secret: 1",
    ],
    [
      "Connection-named headers in any case",
      "connection: x-sEcret\r\nX-SECRET: 1",
    ],
    [
      "Connection in two lines",
      "Connection: X-1\r\nX-1: a\r\nConnection: X-2\r\nX-2: b",
    ],
    ["Keep-Alive", "Keep-Alive: timeout=5"],
    ["Proxy-Connection", "Proxy-Connection: keep-alive"],
    ["Proxy-Authorization", "Proxy-Authorization: Basic eDp5"],
    ["TE", "TE: trailers"],
    ["Trailer", "Trailer: X-Sum"],
    [
      "Upgrade to HTTP/2",
      "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
    ],
    ["Upgrade that Connection does not name", "Upgrade: websocket"],
    [
      "Upgrade to two protocols",
      "Connection: Upgrade\r\nUpgrade: websocket, h2c",
    ],
  ].map(([name = "", lines = ""]) =>
    taken(
      `${SEMANTICS} 7.6.1`,
      `${name} go no further`,
      get(`X: a\r\n${lines}`),
      get("X: a").replace("\r\n\r\n", `\r\n${AUTH}\r\n`),
    )
  ),
  taken(
    `${SEMANTICS} 7.6.1`,
    "Connection cannot take Host or the length away",
    post("Connection: Host, Content-Length\r\nContent-Length: 5", "hello"),
    post("Content-Length: 5", "hello").replace("\r\n\r\n", `\r\n${AUTH}\r\n`),
  ),
  taken(
    `${SEMANTICS} 7.6.1`,
    "Connection cannot take the transfer coding away",
    post(`Connection: Transfer-Encoding\r\n${CHUNKED}`, "1\r\na\r\n0\r\n\r\n"),
    chunked("1\r\na\r\n0\r\n\r\n").replace("\r\n\r\n", `\r\n${AUTH}\r\n`),
  ),
  taken(
    `${SEMANTICS} 7.6.1`,
    "Connection cannot take the credential away",
    get("X: a\r\nConnection: Authorization"),
    get("X: a").replace("\r\n\r\n", `\r\n${AUTH}\r\n`),
  ),
  taken(
    `${SEMANTICS} 11.6.2`,
    "the client's own credential is replaced, whatever its case and number",
    get(
      "Authorization: Bearer mine\r\nX: a\r\nAUTHORIZATION: Basic eDp5\r\nauthorization:",
    ),
    get("X: a").replace("\r\n\r\n", `\r\n${AUTH}\r\n`),
  ),
  taken(
    `${MESSAGING} 9.3`,
    "Connection: close is not forwarded, and ends the connection",
    get("X: a\r\nConnection: close"),
    get("X: a").replace("\r\n\r\n", `\r\n${AUTH}\r\n`),
    false,
  ),
  taken(
    `${MESSAGING} 9.3`,
    "HTTP/1.0 goes on as HTTP/1.1, and ends the connection even with keep-alive",
    get("X: a\r\nConnection: keep-alive").replace("/1.1", "/1.0"),
    get("X: a").replace("\r\n\r\n", `\r\n${AUTH}\r\n`),
    false,
  ),
];

/** Several requests at once. */
const PIPELINES: readonly RequestCase[] = [
  {
    name: "three requests at once are answered in their order",
    see: `${MESSAGING} 9.3.2`,
    raw: get("X: 1") + post("Content-Length: 2", "hi") + get("X: 3"),
    answers: [200, 200, 200],
    forwarded: [get("X: 1"), post("Content-Length: 2", "hi"), get("X: 3")]
      .map((raw) => raw.replace("\r\n\r\n", `\r\n${AUTH}\r\n`)).join(""),
    goesOn: true,
  },
  {
    name: "what follows a refused request is not read",
    see: `${MESSAGING} 11.2`,
    raw: get("X: 1") + post(`Content-Length: 5\r\n${CHUNKED}`, "0\r\n\r\n") +
      get("X: 3"),
    answers: [200, 400],
    forwarded: get("X: 1").replace("\r\n\r\n", `\r\n${AUTH}\r\n`),
  },
  {
    name: "what follows the last request is not read",
    see: `${MESSAGING} 9.6`,
    raw: get("Connection: close") + get("X: 2"),
    answers: [200],
    forwarded: `GET /a HTTP/1.1\r\n${H}${AUTH}\r\n`,
  },
  {
    name: "a chunked request is followed by the next at once",
    see: `${MESSAGING} 9.3.2`,
    raw: chunked("2\r\nhi\r\n0\r\n\r\n") + get("X: 2"),
    answers: [200, 200],
    forwarded: [chunked("2\r\nhi\r\n0\r\n\r\n"), get("X: 2")]
      .map((raw) => raw.replace("\r\n\r\n", `\r\n${AUTH}\r\n`)).join(""),
    goesOn: true,
  },
];

/** All of them. */
export const REQUEST_CASES: readonly RequestCase[] = [
  ...LINES,
  ...ROUTING,
  ...FIELDS,
  ...FRAMING,
  ...HOPS,
  ...PIPELINES,
];

/**
 * Fills in what stands in braces.
 *
 * @param text A text of this module.
 * @param authority The upstream's host and port.
 * @param token The credential.
 */
export function fill(text: string, authority: string, token = ""): string {
  const [name = ""] = authority.split(":");
  return text.replaceAll("{host}", authority).replaceAll("{name}", name)
    .replaceAll("{token}", token);
}
