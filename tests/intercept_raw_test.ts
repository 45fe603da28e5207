/**
 * Bytes through the forward proxy, both ways: each rule of the parsers, each
 * way in which a connection can end. Every test has an upstream of its own,
 * which keeps what it gets; no client may ever see the credential.
 */

import assert from "node:assert/strict";
import { assertNoCanary, CANARY } from "./support/canary.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { readHead, readMessage, writeText } from "./support/intercept_bed.ts";
import { moatReason } from "./support/moat.ts";
import {
  fill,
  PROBE,
  PROBE_FORWARDED,
  REQUEST_CASES,
} from "./support/raw_requests.ts";
import { OK } from "./support/scripted_upstream.ts";

import {
  codeIn,
  hear,
  hearUntil,
  SharedBed,
  statusesIn,
  talkOn,
} from "./support/shared_bed.ts";

const reason = moatReason();

const shared = reason === undefined
  ? await SharedBed.open({
    count: 12,
    bindFlags: ({ granted, others }) => [
      ...["--plain-http", granted[0] ?? ""],
      ...others.flatMap((host) => ["--allow", host, "--allow-private", host]),
    ],
  })
  : undefined;

function test(name: string, fn: (bed: SharedBed) => Promise<void>): void {
  testUnless(reason, name, () => fn(shared!));
}

// Requests, inside of TLS

for (const row of REQUEST_CASES) {
  const { name, see, raw, code, goesOn = false, isPartial = false } = row;
  test(`request: ${name} (${see})`, async (bed) => {
    await using upstream = bed.upstream();
    const { authority } = upstream;
    const of = (text: string) => fill(text, authority, CANARY);
    const { text, end } = await bed.talk(authority, of(raw + PROBE));
    const received = await upstream.received();
    const wanted = of((row.forwarded ?? "") + (goesOn ? PROBE_FORWARDED : ""));
    assertNoCanary(text);
    assert.deepEqual({
      answers: statusesIn(text),
      end,
      forwarded: isPartial ? received.slice(0, wanted.length) : received,
      ...(isPartial && { whole: upstream.connections[0]?.requests }),
      ...(code && { code: codeIn(text) }),
    }, {
      answers: goesOn ? [...row.answers, 200] : row.answers,
      end: "clean",
      forwarded: wanted,
      ...(isPartial && { whole: [] }),
      ...(code && { code }),
    });
  });
}

// Requests without TLS

/** A request to an http URL; in all texts as in `raw_requests.ts`. */
interface PlainCase {
  readonly name: string;
  readonly see: string;
  /** `{auth}` stands for the line of Proxy-Authorization. */
  readonly raw: string;
  readonly answers: readonly number[];
  readonly forwarded?: string;
  readonly code?: string;
  /** Whether credentials may go there. Default: no. */
  readonly isOptedIn?: boolean;
}

const HOST = "Host: {host}\r\n";
const LAST = "Connection: close\r\n";

function plainGet(lines: string, target = "http://{host}/a"): string {
  return `GET ${target} HTTP/1.1\r\n${HOST}{auth}${lines}\r\n`;
}

const PLAIN_CASES: readonly PlainCase[] = [
  {
    name: "goes on in origin-form, without a credential of either side",
    see: "RFC 9112 section 3.2.1",
    raw: plainGet(`X: a\r\nAuthorization: Bearer mine\r\n${LAST}`),
    answers: [200],
    forwarded: `GET /a HTTP/1.1\r\n${HOST}X: a\r\n\r\n`,
  },
  {
    name: "has the credential once where that is opted in",
    see: "RFC 9110 section 11.6.2",
    raw: plainGet(`X: a\r\nAuthorization: Bearer mine\r\n${LAST}`),
    answers: [200],
    forwarded:
      `GET /a HTTP/1.1\r\n${HOST}X: a\r\nAuthorization: Bearer {token}\r\n\r\n`,
    isOptedIn: true,
  },
  {
    name: "is followed by the next one",
    see: "RFC 9112 section 9.3",
    raw: plainGet("") + plainGet(LAST, "http://{host}/b?c"),
    answers: [200, 200],
    forwarded: `GET /a HTTP/1.1\r\n${HOST}\r\nGET /b?c HTTP/1.1\r\n${HOST}\r\n`,
  },
  {
    name: "keeps the length of its body",
    see: "RFC 9112 section 6.2",
    raw: plainGet(`Content-Length: 5\r\n${LAST}`).replace("GET", "POST") +
      "hello",
    answers: [200],
    forwarded: `POST /a HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\nhello`,
  },
  {
    name: "for a host as a whole",
    see: "RFC 9112 section 3.2.4",
    raw: plainGet(LAST, "http://{host}").replace("GET", "OPTIONS"),
    answers: [200],
    forwarded: `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`,
  },
  {
    name: "without a path",
    see: "RFC 9112 section 3.2.1",
    raw: plainGet(LAST, "http://{host}?q"),
    answers: [200],
    forwarded: `GET /?q HTTP/1.1\r\n${HOST}\r\n`,
  },
  {
    name: "without a token",
    see: "RFC 9110 section 15.5.8",
    raw: plainGet(LAST).replace("{auth}", ""),
    answers: [407],
    code: "proxy-authentication-required",
  },
  {
    name: "without a token, after one that had it",
    see: "RFC 9110 section 15.5.8",
    raw: plainGet("") + plainGet(LAST).replace("{auth}", ""),
    answers: [200, 407],
    forwarded: `GET /a HTTP/1.1\r\n${HOST}\r\n`,
    code: "proxy-authentication-required",
  },
  {
    name: "whose Host is another one than its target's",
    see: "RFC 9110 section 7.4",
    raw: plainGet(LAST).replace(HOST, "Host: evil.example\r\n"),
    answers: [421],
    code: "misdirected",
  },
  {
    name: "for https",
    see: "RFC 9112 section 3.2.2",
    raw: plainGet(LAST, "https://{host}/a"),
    answers: [400],
    code: "bad-target",
  },
  {
    name: "for another scheme",
    see: "RFC 9112 section 3.2.2",
    raw: plainGet(LAST, "ftp://{host}/a"),
    answers: [400],
    code: "bad-target",
  },
  {
    name: "with a user in its target",
    see: "RFC 9110 section 4.2.4",
    raw: plainGet(LAST, "http://evil.example@{host}/a"),
    answers: [400],
  },
  {
    name: "in origin-form, after one to a URL",
    see: "RFC 9112 section 3.2.2",
    raw: plainGet("") + plainGet(LAST, "/healthz"),
    answers: [200, 400],
    forwarded: `GET /a HTTP/1.1\r\n${HOST}\r\n`,
    code: "bad-target",
  },
  {
    name: "CONNECT, after one to a URL",
    see: "RFC 9110 section 9.3.6",
    raw: plainGet("") + plainGet("", "{host}").replace("GET", "CONNECT"),
    answers: [200, 405],
    forwarded: `GET /a HTTP/1.1\r\n${HOST}\r\n`,
  },
  ...([
    ["CL+TE", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "6.1"],
    ["duplicate CL", "Content-Length: 5\r\nContent-Length: 5\r\n", "6.3"],
    ["a doubled TE", "Transfer-Encoding: chunked, chunked\r\n", "6.1"],
    ["obs-fold", "X: a\r\n b\r\n", "5.2"],
    ["space before colon", "X : a\r\n", "5.1"],
    ["LF inside a header line", "X: a\nb: c\r\n", "2.2"],
    ["bare CR", "X: a\rb\r\n", "2.2"],
    ["NUL", "X: a\0b\r\n", "2.2"],
    ["two Hosts", HOST, "3.2"],
  ] as const).flatMap(([name, lines, section]) => [
    {
      name: `with ${name}`,
      see: `RFC 9112 section ${section}`,
      raw: plainGet(lines) + "0\r\n\r\n" + plainGet(LAST),
      answers: [400],
    },
    {
      name: `with ${name}, as the second one`,
      see: `RFC 9112 section ${section}`,
      raw: plainGet("") + plainGet(lines) + "0\r\n\r\n" + plainGet(LAST),
      answers: [200, 400],
      forwarded: `GET /a HTTP/1.1\r\n${HOST}\r\n`,
    },
  ]),
];

for (const row of PLAIN_CASES) {
  test(`plain request: ${row.name} (${row.see})`, async (bed) => {
    const [opted = "", ...others] = bed.granted;
    const authority = row.isOptedIn ? opted : others[0] ?? "";
    await using upstream = bed.upstream({ authority, tls: undefined });
    const of = (text: string) =>
      fill(text, authority, CANARY).replaceAll("{auth}", authLine(bed));
    const { text } = await bed.talkPlain(of(row.raw));
    assertNoCanary(text);
    assert.deepEqual({
      answers: statusesIn(text),
      forwarded: await upstream.received(),
      ...(row.code && { code: codeIn(text) }),
    }, {
      answers: row.answers,
      forwarded: of(row.forwarded ?? ""),
      ...(row.code && { code: row.code }),
    });
  });
}

function authLine(bed: SharedBed): string {
  return `Proxy-Authorization: ${bed.authorization}\r\n`;
}

test("plain request: the next one may be for another host (RFC 9112 section 3.2.2)", async (bed) => {
  const [, one = "", other = ""] = bed.granted;
  await using first = bed.upstream({ authority: one, tls: undefined });
  await using second = bed.upstream({ authority: other, tls: undefined });
  const of = (raw: string, authority: string) =>
    fill(raw, authority).replaceAll("{auth}", authLine(bed));
  await bed.talkPlain(of(plainGet(""), one) + of(plainGet(LAST), other));
  assert.deepEqual([await first.received(), await second.received()], [
    `GET /a HTTP/1.1\r\nHost: ${one}\r\n\r\n`,
    `GET /a HTTP/1.1\r\nHost: ${other}\r\n\r\n`,
  ]);
});

// CONNECT

interface ConnectCase {
  readonly name: string;
  readonly see: string;
  /** `{host}` and `{auth}` as above, `{token}` is the client's own. */
  readonly head: string;
  /** Of the first answer. */
  readonly status: number;
  readonly code?: string;
}

const PROXY_AUTH = "RFC 9110 section 11.7.2";
const TARGET = "RFC 9112 section 3.2.3";

function connectHead(lines = "{auth}", target = "{host}"): string {
  return `CONNECT ${target} HTTP/1.1\r\n${HOST}${lines}\r\n`;
}

function unknown(name: string, lines: string): ConnectCase {
  return { name, see: PROXY_AUTH, head: connectHead(lines), status: 407 };
}

function known(name: string, lines: string): ConnectCase {
  return { name, see: PROXY_AUTH, head: connectHead(lines), status: 200 };
}

function badConnect(
  name: string,
  see: string,
  head: string,
  status = 400,
): ConnectCase {
  return { name, see, head, status };
}

const BASIC = "Proxy-Authorization: Basic ";
const CONNECT_CASES: readonly ConnectCase[] = [
  known("Basic with the user moat", "{auth}"),
  known("Basic with any user", `${BASIC}{any:token}\r\n`),
  known("Basic without a user", `${BASIC}{:token}\r\n`),
  known("a scheme in lower case", "proxy-authorization: basic {any:token}\r\n"),
  known("Bearer", "Proxy-Authorization: Bearer {token}\r\n"),
  unknown("no token", ""),
  unknown("a token in Authorization", "Authorization: Bearer {token}\r\n"),
  unknown("another scheme", "Proxy-Authorization: Digest {token}\r\n"),
  unknown("a token without a scheme", "Proxy-Authorization: {token}\r\n"),
  unknown("an empty field", "Proxy-Authorization:\r\n"),
  unknown("two fields", "{auth}{auth}"),
  unknown("two fields, one of them unknown", `{auth}${BASIC}eDp5\r\n`),
  unknown("an unknown token", `${BASIC}eDp5\r\n`),
  unknown("the token as the user", `${BASIC}{token:}\r\n`),
  unknown("Basic that is no base64", `${BASIC}!!\r\n`),
  unknown("Basic without a colon", `${BASIC}eHk=\r\n`),
  unknown("a token with a part missing", `${BASIC}{half}\r\n`),
  badConnect("no port", TARGET, connectHead("{auth}", "{name}")),
  badConnect("an empty port", TARGET, connectHead("{auth}", "{name}:")),
  badConnect("port 0", TARGET, connectHead("{auth}", "{name}:0")),
  badConnect("port 65536", TARGET, connectHead("{auth}", "{name}:65536")),
  badConnect("a port with zeros", TARGET, connectHead("{auth}", "{name}:0443")),
  badConnect("a path", TARGET, connectHead("{auth}", "{host}/a")),
  badConnect("a URL", TARGET, connectHead("{auth}", "https://{host}")),
  badConnect("a user", TARGET, connectHead("{auth}", "me@{host}")),
  badConnect(
    "an escape in the name",
    TARGET,
    connectHead("{auth}", "%65vil:443"),
  ),
  badConnect(
    "a name with a space",
    TARGET,
    connectHead("{auth}", "evil example:443"),
  ),
  badConnect("IPv6 without brackets", TARGET, connectHead("{auth}", "::1:443")),
  badConnect(
    "IPv6 with a zone",
    TARGET,
    connectHead("{auth}", "[fe80::1%25lo]:443"),
  ),
  badConnect(
    "a length",
    "RFC 9110 section 9.3.6",
    connectHead("{auth}Content-Length: 5\r\n") + "hello",
  ),
  badConnect(
    "a chunked body",
    "RFC 9110 section 9.3.6",
    connectHead("{auth}Transfer-Encoding: chunked\r\n") + "0\r\n\r\n",
  ),
  badConnect(
    "CL+TE",
    "RFC 9112 section 6.1",
    connectHead("{auth}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
  ),
  badConnect(
    "no Host",
    "RFC 9112 section 3.2",
    connectHead().replace(HOST, ""),
  ),
  badConnect("two Hosts", "RFC 9112 section 3.2", connectHead(HOST + "{auth}")),
  badConnect(
    "obs-fold",
    "RFC 9112 section 5.2",
    connectHead("{auth}X: a\r\n b\r\n"),
  ),
  badConnect(
    "space before colon",
    "RFC 9112 section 5.1",
    connectHead("{auth}X : a\r\n"),
  ),
  badConnect(
    "LF inside a header line",
    "RFC 9112 section 2.2",
    connectHead("{auth}X: a\nb: c\r\n"),
  ),
  badConnect(
    "a bare-LF head",
    "RFC 9112 section 2.2",
    connectHead().replaceAll("\r", ""),
  ),
  badConnect(
    "bare CR",
    "RFC 9112 section 2.2",
    connectHead("{auth}X: a\rb\r\n"),
  ),
  badConnect("NUL", "RFC 9110 section 5.5", connectHead("{auth}X: a\0\r\n")),
  badConnect(
    "HTTP/2.0",
    "RFC 9112 section 2.3",
    connectHead().replace("/1.1", "/2.0"),
    505,
  ),
  badConnect(
    "a head of 17 KB",
    "RFC 6585 section 5",
    connectHead(`{auth}X: ${"a".repeat(17 * 1024)}\r\n`),
    431,
  ),
  {
    name: "HTTP/1.0 without Host, as Python sends it",
    see: "RFC 9112 section 3.2",
    head: connectHead().replace("/1.1", "/1.0").replace(HOST, ""),
    status: 200,
  },
  {
    name: "a Host that says something else does not count",
    see: "RFC 9110 section 9.3.6",
    head: connectHead().replace(HOST, "Host: evil.example:443\r\n"),
    status: 200,
  },
  {
    name: "a host of no rule and no grant",
    see: "RFC 9209 section 2.3.16",
    head: connectHead("{auth}", "other.example:443"),
    status: 403,
    code: "policy-denied",
  },
];

for (const { name, see, head, status, code } of CONNECT_CASES) {
  test(`CONNECT: ${name} (${see})`, async (bed) => {
    await using upstream = bed.upstream();
    const { token } = bed.bed;
    const raw = fill(head, upstream.authority, token)
      .replaceAll("{auth}", authLine(bed))
      .replaceAll("{any:token}", btoa(`any:${token}`))
      .replaceAll("{:token}", btoa(`:${token}`))
      .replaceAll("{token:}", btoa(`${token}:`))
      .replaceAll("{half}", btoa(`moat:${token.slice(0, -1)}`));
    const text = await exchange(bed, raw);
    assertNoCanary(text);
    assert.deepEqual({
      status: statusesIn(text)[0],
      dialled: upstream.accepted(),
      asksForPassword: /^Proxy-Authenticate: Basic realm="moat"\r$/m.test(text),
      ...(code && { code: codeIn(text) }),
    }, {
      status,
      dialled: status === 200 ? 1 : 0,
      asksForPassword: status === 407,
      ...(code && { code }),
    });
  });
}

test("CONNECT: after 407 the same connection may try again (RFC 9110 section 15.5.8)", async (bed) => {
  await using upstream = bed.upstream();
  const { authority } = upstream;
  using conn = await bed.dial();
  await writeText(conn, fill(connectHead(""), authority));
  await hearUntil(conn, "}");
  await writeText(conn, fill(connectHead(authLine(bed)), authority));
  assert.match(await readHead(conn), /^HTTP\/1\.1 200 /);
});

test("CONNECT: a handshake that comes with the head is not lost (RFC 9110 section 9.3.6)", async (bed) => {
  const [authority = ""] = bed.others;
  await using upstream = bed.upstream({ authority, tls: undefined });
  const head = fill(connectHead(authLine(bed)), authority);
  const text = await exchange(bed, head + "GET / HTTP/1.1\r\n\r\n", 2);
  assert.match(text, /^HTTP\/1\.1 200 [^]*\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
  assert.equal(await upstream.received(), "GET / HTTP/1.1\r\n\r\n");
});

/** Sends bytes to the proxy itself, and reads so many answers. */
async function exchange(
  bed: SharedBed,
  raw: string,
  count = 1,
): Promise<string> {
  using conn = await bed.dial();
  await writeText(conn, raw);
  let text = "";
  for (let i = 0; i < count; i++) {
    const { head, body } = await readMessage(conn);
    text += head + body;
  }
  return text;
}

test("CONNECT: what is not TLS is not forwarded (RFC 9110 section 9.3.6)", async (bed) => {
  await using upstream = bed.upstream();
  const { authority } = upstream;
  const conn = await bed.bed.connect(authority);
  const { text } = await talkOn(conn, fill(PROBE, authority));
  assert.deepEqual([text, await upstream.received()], ["", ""]);
});

// Ourselves

const OWN_HOSTS = [
  ...["127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "127.0.1"],
  ...["2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1"],
  ...["[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "0", "[::ffff:0:0]"],
  ...["moat-proxy", "Moat-Proxy.", "host.docker.internal"],
];

for (const host of OWN_HOSTS) {
  test(`CONNECT to ourselves as ${host} is 400`, async (bed) => {
    const target = `${host}:${bed.bed.address.port}`;
    const text = await exchange(
      bed,
      `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${authLine(bed)}\r\n`,
    );
    assert.deepEqual([statusesIn(text), codeIn(text)], [[400], "own-address"]);
  });

  test(`http to ourselves as ${host} is 400, and reaches no endpoint`, async (bed) => {
    const target = `${host}:${bed.bed.address.port}`;
    const text = await exchange(
      bed,
      `GET http://${target}/healthz HTTP/1.1\r\nHost: ${target}\r\n${
        authLine(bed)
      }\r\n`,
    );
    assert.deepEqual([statusesIn(text), codeIn(text)], [[400], "own-address"]);
  });
}

for (const host of ["127.0.0.1", "localhost", "moat-proxy"]) {
  test(`http to ourselves as ${host} is 400 as a second request, too`, async (bed) => {
    const { authority } = upstreamOf(bed);
    await using _upstream = bed.upstream({ authority, tls: undefined });
    const target = `${host}:${bed.bed.address.port}`;
    const first = fill(plainGet(""), authority)
      .replace("{auth}", authLine(bed));
    const text = await exchange(
      bed,
      `${first}GET http://${target}/healthz HTTP/1.1\r\nHost: ${target}\r\n${
        authLine(bed)
      }\r\n`,
      2,
    );
    assert.deepEqual(
      [statusesIn(text), codeIn(text)],
      [[200, 400], "own-address"],
    );
  });
}

/** An address of the grant without opt-in. */
function upstreamOf(bed: SharedBed): { readonly authority: string } {
  return { authority: bed.granted[1] ?? "" };
}

test("http to ourselves without a token is 407", async (bed) => {
  const target = `127.0.0.1:${bed.bed.address.port}`;
  const text = await exchange(
    bed,
    `GET http://${target}/healthz HTTP/1.1\r\nHost: ${target}\r\n\r\n`,
  );
  assert.deepEqual(statusesIn(text), [407]);
});

// Answers

/** What an upstream answers, and what of it comes through. */
interface AnswerCase {
  readonly name: string;
  readonly see: string;
  /** Default: `GET`. */
  readonly method?: string;
  /** Of the request. Default: `1.1`. */
  readonly version?: string;
  readonly bytes: string;
  readonly then?: "keep" | "end";
  /** All that the client gets for it; absent: 502 `bad-response`. */
  readonly client?: string;
  /** Whether a further request is answered. Default: if there is `client`. */
  readonly goesOn?: boolean;
  /** How many connections the upstream had in the end. Default: 1. */
  readonly connections?: number;
}

const HEAD = "HTTP/1.1 200 OK\r\n";
const GOOD = OK.bytes;
/** The same for the last request of a connection. */
const LAST_GOOD = GOOD.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
const FIELD = "RFC 9112 section 5";
const BODY = "RFC 9112 section 6.3";
const CHUNKS = "RFC 9112 section 7.1";
const STATUS = "RFC 9112 section 4";
const TE = "Transfer-Encoding: chunked\r\n";

/** Refused as a whole. */
function bad(see: string, name: string, bytes: string): AnswerCase {
  return { name, see, bytes };
}

/** Comes through as it is, if nothing else is said. */
function good(
  see: string,
  name: string,
  bytes: string,
  more: Partial<AnswerCase> = {},
): AnswerCase {
  return { name, see, bytes, client: bytes, ...more };
}

/** With a further line in its head. */
function withLine(line: string): string {
  return `${HEAD}${line}\r\nContent-Length: 2\r\n\r\nok`;
}

const ANSWER_CASES: readonly AnswerCase[] = [
  good(STATUS, "a plain answer", GOOD),
  good(
    STATUS,
    "a status without a reason",
    "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
  ),
  good(
    STATUS,
    "a status without the space after it",
    "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
    { client: "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok" },
  ),
  good(
    STATUS,
    "a reason beyond ASCII",
    "HTTP/1.1 200 \xc3\xa9\r\nContent-Length: 2\r\n\r\nok",
  ),
  good(
    STATUS,
    "an unknown status",
    "HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok",
  ),
  bad(
    STATUS,
    "two spaces before the status",
    "HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok",
  ),
  bad(
    STATUS,
    "a status of two digits",
    "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
  ),
  bad(
    STATUS,
    "a status of four digits",
    "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
  ),
  bad(STATUS, "status 099", "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok"),
  bad(STATUS, "status 600", "HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\nok"),
  bad(
    STATUS,
    "a control character in the reason",
    "HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\nok",
  ),
  bad(
    "RFC 9112 section 2.3",
    "HTTP/2.0 in text",
    "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
  ),
  bad(
    "RFC 9112 section 2.3",
    "http/1.1 in lower case",
    "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
  ),
  bad(
    "RFC 9112 section 2.3",
    "another protocol",
    "ICY 200 OK\r\nContent-Length: 2\r\n\r\nok",
  ),
  bad("RFC 9112 section 2.3", "no head, as HTTP/0.9", "<html></html>"),
  bad(
    "RFC 9112 section 2.2",
    "an empty line before the status-line",
    "\r\n" + GOOD,
  ),
  bad("RFC 9112 section 2.2", "a bare-LF head", GOOD.replaceAll("\r", "")),
  bad(
    "RFC 9112 section 2.2",
    "LF inside a header line",
    withLine("X: a\nb: c"),
  ),
  bad("RFC 9112 section 2.2", "bare CR in a value", withLine("X: a\rb")),
  bad("RFC 9112 section 5.2", "obs-fold", withLine("X: a\r\n b")),
  bad("RFC 9112 section 5.1", "space before colon", withLine("X : a")),
  bad(FIELD, "blanks before the first field", withLine(" X: a")),
  bad(FIELD, "a line without a colon", withLine("Xa")),
  bad("RFC 9110 section 5.1", "an empty name", withLine(": a")),
  bad("RFC 9110 section 5.1", "a name that is no token", withLine("X(): a")),
  bad("RFC 9110 section 5.5", "NUL in a value", withLine("X: a\0b")),
  bad(
    "RFC 9110 section 5.5",
    "a control character in a value",
    withLine("X: a\x01b"),
  ),
  bad(
    "RFC 9110 section 5.4",
    "an over-long head",
    withLine(`X: ${"a".repeat(66_000)}`),
  ),
  bad(
    "RFC 9110 section 5.4",
    "201 fields",
    withLine(Array(200).fill("X: a").join("\r\n")),
  ),
  good(
    "RFC 9110 section 5.3",
    "order, case and repetition of fields stay",
    withLine(
      'x-B: 1\r\nX-a: 2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nETAG: "\xe9"',
    ),
  ),
  good(
    "RFC 9110 section 8.4",
    "content coding is untouched",
    `${HEAD}Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\0\xff`,
  ),
  ...[
    "Connection: X-Hop\r\nX-Hop: 1",
    "Connection: keep-alive\r\nKeep-Alive: timeout=5",
    "Proxy-Authenticate: Basic realm=x",
    "Proxy-Authentication-Info: x",
    "Upgrade: h2c\r\nConnection: Upgrade",
  ].map((lines) =>
    good(
      "RFC 9110 section 7.6.1",
      `${lines.split(":")[0]} goes no further (${
        lines.split(": ")[1]?.split("\r")[0]
      })`,
      withLine(lines),
      { client: GOOD },
    )
  ),
  good(
    "RFC 9110 section 7.6.1",
    "Connection cannot take the length away",
    withLine("Connection: Content-Length"),
    { client: GOOD },
  ),
  bad(
    "RFC 9112 section 6.1",
    "CL+TE",
    `${HEAD}Content-Length: 5\r\n${TE}\r\n0\r\n\r\n`,
  ),
  bad(
    "RFC 9112 section 6.1",
    "TE+CL",
    `${HEAD}${TE}Content-Length: 5\r\n\r\n0\r\n\r\n`,
  ),
  bad(
    BODY,
    "duplicate CL, different",
    `${HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!`,
  ),
  bad(
    BODY,
    "duplicate CL, same",
    `${HEAD}Content-Length: 2\r\nContent-Length: 2\r\n\r\nok`,
  ),
  ...["2, 2", "+2", "-2", "0x2", "2 2", "", "9999999999999999"].map((length) =>
    bad(
      "RFC 9110 section 8.6",
      `Content-Length ${JSON.stringify(length)}`,
      `${HEAD}Content-Length: ${length}\r\n\r\nok`,
    )
  ),
  ...[
    "xchunked",
    "gzip, chunked",
    "chunked, chunked",
    "chunked, gzip",
    "identity",
    "",
    ",chunked",
    "chunked;q=1",
  ].map((coding) =>
    bad(
      "RFC 9112 section 6.1",
      `TE ${JSON.stringify(coding)}`,
      `${HEAD}Transfer-Encoding: ${coding}\r\n\r\n0\r\n\r\n`,
    )
  ),
  bad(
    "RFC 9112 section 6.1",
    "TE in two lines",
    `${HEAD}${TE}${TE}\r\n0\r\n\r\n`,
  ),
  bad(
    "RFC 9112 section 6.1",
    "TE in HTTP/1.0",
    `HTTP/1.0 200 OK\r\n${TE}\r\n0\r\n\r\n`,
  ),
  // Interim answers
  good(
    "RFC 9110 section 15.2",
    "100 before the answer",
    `HTTP/1.1 100 Continue\r\n\r\n${GOOD}`,
  ),
  good(
    "RFC 8297 section 2",
    "103 with its fields",
    `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${GOOD}`,
  ),
  good(
    "RFC 9110 section 15.2",
    "several interim answers",
    `HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 199 X\r\n\r\n${GOOD}`,
  ),
  good(
    "RFC 9110 section 15.2",
    "none to a client of HTTP/1.0",
    `HTTP/1.1 100 Continue\r\n\r\n${GOOD}`,
    {
      version: "1.0",
      client: `${HEAD}Content-Length: 2\r\nConnection: close\r\n\r\nok`,
      goesOn: false,
    },
  ),
  bad(
    "RFC 9110 section 15.2.2",
    "101 unasked",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nabc",
  ),
  bad(
    "RFC 9110 section 8.6",
    "a length in an interim answer",
    `HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nok${GOOD}`,
  ),
  bad(
    "RFC 9112 section 6.1",
    "a transfer coding in an interim answer",
    `HTTP/1.1 103 X\r\n${TE}\r\n0\r\n\r\n${GOOD}`,
  ),
  // Without a body
  good(
    "RFC 9110 section 15.3.5",
    "204",
    "HTTP/1.1 204 No Content\r\nX: a\r\n\r\n",
  ),
  good(
    "RFC 9110 section 8.6",
    "204 with a length of 0 loses it",
    "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
    { client: "HTTP/1.1 204 No Content\r\n\r\n" },
  ),
  bad(
    "RFC 9110 section 8.6",
    "204 with a body",
    "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
  ),
  bad(
    "RFC 9112 section 6.1",
    "204 with chunks",
    `HTTP/1.1 204 No Content\r\n${TE}\r\n0\r\n\r\n`,
  ),
  good(
    BODY,
    "204 with undeclared bytes: they are nobody's answer",
    "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 Evil\r\n\r\n",
    { client: "HTTP/1.1 204 No Content\r\n\r\n", connections: 2 },
  ),
  good(
    "RFC 9110 section 15.4.5",
    "304 with a length",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
  ),
  good(
    BODY,
    "304 with a body: it is nobody's answer",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
    {
      client: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
      connections: 2,
    },
  ),
  bad(
    "RFC 9112 section 6.1",
    "304 with CL+TE",
    `HTTP/1.1 304 Not Modified\r\n${TE}Content-Length: 5\r\n\r\n`,
  ),
  good(
    "RFC 9110 section 15.3.6",
    "205",
    "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
  ),
  good(
    "RFC 9110 section 9.3.2",
    "HEAD with a length",
    `${HEAD}Content-Length: 99\r\n\r\n`,
    { method: "HEAD" },
  ),
  good("RFC 9110 section 9.3.2", "HEAD with chunks", `${HEAD}${TE}\r\n`, {
    method: "HEAD",
  }),
  good("RFC 9110 section 9.3.2", "HEAD with neither", `${HEAD}X: a\r\n\r\n`, {
    method: "HEAD",
  }),
  bad(
    "RFC 9112 section 6.1",
    "HEAD with CL+TE",
    `${HEAD}${TE}Content-Length: 5\r\n\r\n`,
  ),
  good(
    BODY,
    "HEAD with a body: it is nobody's answer",
    `${HEAD}Content-Length: 20\r\n\r\nHTTP/1.1 200 Evil\r\n\r\n`,
    {
      method: "HEAD",
      client: `${HEAD}Content-Length: 20\r\n\r\n`,
      connections: 2,
    },
  ),
  good(
    "RFC 9112 section 11.1",
    "bytes after a body: they are nobody's answer",
    `${GOOD}HTTP/1.1 200 Evil\r\nContent-Length: 4\r\n\r\nevil`,
    { client: GOOD, connections: 2 },
  ),
  good(
    "RFC 9112 section 11.1",
    "bytes after the last chunk: they are nobody's answer",
    `${HEAD}${TE}\r\n0\r\n\r\nHTTP/1.1 200 Evil\r\n\r\n`,
    { client: `${HEAD}${TE}\r\n0\r\n\r\n`, connections: 2 },
  ),
  // Chunks
  good(
    CHUNKS,
    "chunks",
    `${HEAD}${TE}\r\n3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n`,
  ),
  good(
    "RFC 9112 section 7.1.1",
    "chunk extensions are dropped",
    `${HEAD}${TE}\r\n3;a="x;\\"y";b\r\nabc\r\n0;z\r\n\r\n`,
    { client: `${HEAD}${TE}\r\n3\r\nabc\r\n0\r\n\r\n` },
  ),
  good(
    "RFC 9110 section 6.5.1",
    "harmless trailers go on, others do not",
    `${HEAD}${TE}Trailer: X-Sum\r\n\r\n0\r\nSet-Cookie: a\r\nX-Sum: 1\r\nContent-Length: 3\r\nLocation: /\r\nProxy-Authenticate: x\r\n\r\n`,
    {
      client: `${HEAD}${TE}Trailer: X-Sum\r\n\r\n0\r\nX-Sum: 1\r\n\r\n`,
    },
  ),
  good(
    "RFC 9112 section 6.1",
    "chunks are unpacked for a client of HTTP/1.0",
    `${HEAD}${TE}\r\n3\r\nabc\r\n1\r\nd\r\n0\r\nX: y\r\n\r\n`,
    {
      version: "1.0",
      client: `${HEAD}Connection: close\r\n\r\nabcd`,
      goesOn: false,
    },
  ),
  bad(
    CHUNKS,
    "a first chunk that is none",
    `${HEAD}${TE}\r\nx\r\nabc\r\n0\r\n\r\n`,
  ),
  // To the end of the connection
  good(BODY, "a body that ends with the connection", `${HEAD}\r\nhello`, {
    then: "end",
    client: `${HEAD}Connection: close\r\n\r\nhello`,
    goesOn: false,
  }),
  good(
    BODY,
    "Connection: close with a length ends only the upstream's",
    `${HEAD}Connection: close\r\nContent-Length: 2\r\n\r\nok`,
    {
      then: "end",
      client: GOOD,
      connections: 2,
    },
  ),
  good(
    "RFC 9112 section 2.3",
    "HTTP/1.0 with a length",
    "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    {
      then: "end",
      client: GOOD,
      connections: 2,
    },
  ),
  good(
    "RFC 9112 section 2.3",
    "HTTP/1.0 to the end",
    "HTTP/1.0 200 OK\r\n\r\nhello",
    {
      then: "end",
      client: `${HEAD}Connection: close\r\n\r\nhello`,
      goesOn: false,
    },
  ),
];

for (const row of ANSWER_CASES) {
  const { name, see, method = "GET", version = "1.1", bytes } = row;
  const { then = "keep", client, connections = 1 } = row;
  const goesOn = row.goesOn ?? client !== undefined;
  test(`answer: ${name} (${see})`, async (bed) => {
    await using upstream = bed.upstream({
      answer: ({ target }) => target === "/probe" ? OK : { bytes, then },
    });
    const { authority } = upstream;
    const raw = `${method} /a HTTP/${version}\r\n${HOST}\r\n` + PROBE;
    const { text } = await bed.talk(authority, fill(raw, authority));
    assertNoCanary(text);
    assert.deepEqual({
      client: client === undefined
        ? [statusesIn(text), codeIn(text)]
        : text.replace(LAST_GOOD, "{probe}"),
      connections: upstream.accepted(),
    }, {
      client: client === undefined
        ? [[502], "bad-response"]
        : client.replace(LAST_GOOD, "{probe}") + (goesOn ? "{probe}" : ""),
      connections,
    });
  });
}

/** How a body that has begun can go wrong: its end never comes. */
const BREAKS: readonly {
  readonly name: string;
  readonly see: string;
  /** What the client gets. */
  readonly bytes: string;
  /** What follows in the upstream's connection. */
  readonly fault: string;
  readonly then?: "keep" | "end";
}[] = [
  ...([
    ["a size that is not hexadecimal", "x\r\nabc\r\n0\r\n\r\n", "7.1"],
    ["a blank after a size", "3 \r\nabc\r\n0\r\n\r\n", "7.1"],
    ["a size that wraps around", "10000000000000003\r\nabc\r\n", "7.1"],
    ["LF alone after a size", "3\nabc\r\n0\r\n\r\n", "2.2"],
    ["missing CRLF after a chunk", "3\r\nabc0\r\n\r\n", "7.1"],
    ["LF alone after a chunk", "3\r\nabc\n0\r\n\r\n", "2.2"],
    ["a control character in an extension", "3;\x01\r\nabc\r\n", "7.1.1"],
    ["a folded trailer", "0\r\nX: a\r\n b\r\n\r\n", "7.1.2"],
    ["NUL in a trailer", "0\r\nX: \0\r\n\r\n", "7.1.2"],
  ] as const).map(([name, fault, section]) => ({
    name,
    see: `RFC 9112 section ${section}`,
    bytes: `${HEAD}${TE}\r\n3\r\nabc\r\n`,
    fault,
  })),
  {
    name: "a length that is not reached",
    see: "RFC 9112 section 8",
    bytes: `${HEAD}Content-Length: 5\r\n\r\nhe`,
    fault: "",
    then: "end",
  },
  {
    name: "no last chunk",
    see: "RFC 9112 section 8",
    bytes: `${HEAD}${TE}\r\n3\r\nabc\r\n`,
    fault: "",
    then: "end",
  },
];

for (const { name, see, bytes, fault, then } of BREAKS) {
  test(`answer: ${name} ends the client's connection (${see})`, async (bed) => {
    const seen = Promise.withResolvers<void>();
    await using upstream = bed.upstream({
      async answer({ target }, conn) {
        if (target === "/probe") return OK;
        await writeText(conn, bytes);
        await seen.promise;
        return { bytes: fault, ...(then && { then }) };
      },
    });
    const { authority } = upstream;
    using conn = await bed.bed.connectTls(authority);
    const raw = `GET /a HTTP/1.1\r\n${HOST}\r\n${PROBE}`;
    await writeText(conn, fill(raw, authority));
    const [, body = ""] = bytes.split("\r\n\r\n");
    const begin = await hearUntil(conn, body);
    seen.resolve();
    const { text } = await hear(conn);
    assert.deepEqual([begin.slice(-body.length), text], [body, ""]);
  });
}

test("answer: bytes that come when the connection is idle are nobody's (RFC 9112 section 11.1)", async (bed) => {
  const evil = Promise.withResolvers<void>();
  await using upstream = bed.upstream({
    answer({ target }, conn) {
      if (target === "/a") {
        setTimeout(() => {
          writeText(conn, "HTTP/1.1 200 Evil\r\nContent-Length: 0\r\n\r\n")
            .finally(evil.resolve);
        }, 20);
      }
      return OK;
    },
  });
  const { authority } = upstream;
  using conn = await bed.bed.connectTls(authority);
  await writeText(conn, fill(`GET /a HTTP/1.1\r\n${HOST}\r\n`, authority));
  await hearUntil(conn, "ok");
  await evil.promise;
  await eventually("the end of the idle connection", () => {
    return upstream.connections[0]?.isEnded;
  });
  await writeText(conn, fill(PROBE, authority));
  assert.equal((await hear(conn)).text, LAST_GOOD);
});

// Answers before the whole request

const UPLOAD = `POST /a HTTP/1.1\r\n${HOST}Content-Length: 1000000\r\n`;

test("early answer: 413 before the body is sent reaches the client (RFC 9110 section 15.5.14)", async (bed) => {
  const answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n";
  await using upstream = bed.upstream({
    early: (_, conn) => writeText(conn, `${answer}\r\nbig`),
  });
  const { authority } = upstream;
  using conn = await bed.bed.connectTls(authority);
  await writeText(conn, fill(`${UPLOAD}\r\n${"a".repeat(50_000)}`, authority));
  const text = await hearUntil(conn, "big");
  assert.equal(text, `${answer}Connection: close\r\n\r\nbig`);
});

test("early answer: nothing follows in the same connection (RFC 9112 section 9.5)", async (bed) => {
  await using upstream = bed.upstream({
    early: (head, conn) =>
      head.startsWith("POST") ? writeText(conn, GOOD) : undefined,
  });
  const { authority } = upstream;
  const { text } = await bed.talk(
    authority,
    fill(
      `POST /a HTTP/1.1\r\n${HOST}Content-Length: 300000\r\n\r\n`,
      authority,
    ) + "a".repeat(100_000),
  );
  assert.equal(text, LAST_GOOD);
  assert.equal(upstream.connections[0]?.requests.length, 0);
});

const EXPECTING =
  `POST /a HTTP/1.1\r\n${HOST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`;

test("Expect: the body follows the upstream's 100 (RFC 9110 section 10.1.1)", async (bed) => {
  const go = "HTTP/1.1 100 Continue\r\n\r\n";
  await using upstream = bed.upstream({
    early(_, conn) {
      writeText(conn, go);
      return undefined;
    },
  });
  const { authority } = upstream;
  using conn = await bed.bed.connectTls(authority);
  await writeText(conn, fill(EXPECTING, authority));
  assert.equal(await hearUntil(conn, go), go);
  await writeText(conn, "hello");
  assert.equal(await hearUntil(conn, "ok"), GOOD);
  assert.equal(upstream.connections[0]?.requests[0]?.body, "hello");
});

test("Expect: an upstream that wants no body says so at once (RFC 9110 section 10.1.1)", async (bed) => {
  const answer = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n";
  await using upstream = bed.upstream({
    early: (_, conn) => writeText(conn, `${answer}\r\n`),
  });
  const { authority } = upstream;
  using conn = await bed.bed.connectTls(authority);
  await writeText(conn, fill(EXPECTING, authority));
  const text = await hearUntil(conn, "\r\n\r\n");
  assert.equal(text, `${answer}Connection: close\r\n\r\n`);
});

test("Expect: a body that comes without waiting goes on (RFC 9110 section 10.1.1)", async (bed) => {
  await using upstream = bed.upstream();
  const { authority } = upstream;
  const raw = `${EXPECTING}hello${PROBE}`;
  const { text } = await bed.talk(authority, fill(raw, authority));
  assert.deepEqual(statusesIn(text), [200, 200]);
});

// Upgrades

const ASKS = [
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version: 13",
].join("\r\n");
const AGREES = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" +
  "Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

test("Upgrade: bytes pass both ways after 101, even those that came with it (RFC 6455 section 4.2.2)", async (bed) => {
  await using upstream = bed.upstream({
    async early(_, conn) {
      await writeText(conn, `${AGREES}\x81\x05hello`);
      await writeText(conn, await hearUntil(conn, "\xff\0\r\n"));
    },
  });
  const { authority } = upstream;
  using conn = await bed.bed.connectTls(authority);
  const raw = `GET /ws HTTP/1.1\r\n${HOST}${ASKS}\r\n\r\n\x81\x80mask`;
  await writeText(conn, fill(raw, authority));
  const first = await hearUntil(conn, "hello");
  await writeText(conn, "\xff\0\r\n");
  const second = await hearUntil(conn, "\xff\0\r\n");
  assertNoCanary(first, second);
  assert.deepEqual([first, second], [
    `${AGREES}\x81\x05hello`,
    "\x81\x80mask\xff\0\r\n",
  ]);
});

test("Upgrade: the request goes on with its fields and the credential (RFC 6455 section 4.1)", async (bed) => {
  await using upstream = bed.upstream({
    answer: () => ({ bytes: AGREES, then: "end" }),
  });
  const { authority } = upstream;
  const raw = `GET /ws HTTP/1.1\r\n${HOST}${ASKS}\r\n\r\n`;
  await bed.talk(authority, fill(raw, authority));
  assert.equal(
    await upstream.received(),
    fill(
      raw.replace(ASKS, `${ASKS}\r\nAuthorization: Bearer {token}`),
      authority,
      CANARY,
    ),
  );
});

test("Upgrade: an upstream that declines keeps HTTP going (RFC 9110 section 7.8)", async (bed) => {
  await using upstream = bed.upstream();
  const { authority } = upstream;
  const raw = `GET /ws HTTP/1.1\r\n${HOST}${ASKS}\r\n\r\n${PROBE}`;
  const { text } = await bed.talk(authority, fill(raw, authority));
  assert.equal(text, GOOD + LAST_GOOD);
});

for (
  const [name, lines] of Object.entries({
    "with a body": `${ASKS}\r\nContent-Length: 0`,
    "to another protocol": ASKS.replace("websocket", "h2c"),
    "that Connection does not name": ASKS.replace("Upgrade", "close"),
  })
) {
  test(`Upgrade: 101 to a request ${name} is refused (RFC 9110 section 7.8)`, async (bed) => {
    await using upstream = bed.upstream({ answer: () => ({ bytes: AGREES }) });
    const { authority } = upstream;
    const raw = `GET /ws HTTP/1.1\r\n${HOST}${lines}\r\n\r\n`;
    const { text } = await bed.talk(authority, fill(raw, authority));
    assert.deepEqual([statusesIn(text), codeIn(text)], [[502], "bad-response"]);
  });
}

// Connections that are used again

test("reuse: a GET on a connection that the upstream closes meanwhile is sent again (RFC 9112 section 9.3.1)", async (bed) => {
  await using upstream = bed.upstream({
    answer: ({ target }) =>
      target === "/first" || upstream.accepted() > 1
        ? OK
        : { bytes: "", then: "end" },
  });
  const { authority } = upstream;
  const raw = `GET /first HTTP/1.1\r\n${HOST}\r\n` + PROBE;
  const { text } = await bed.talk(authority, fill(raw, authority));
  assert.deepEqual(
    [text, upstream.connections.map(({ requests }) => requests.length)],
    [GOOD + LAST_GOOD, [2, 1]],
  );
});

test("reuse: a POST is never sent twice (RFC 9112 section 9.3.1)", async (bed) => {
  await using upstream = bed.upstream({
    answer: ({ method }) => method === "GET" ? OK : { bytes: "", then: "end" },
  });
  const { authority } = upstream;
  const raw = `GET /first HTTP/1.1\r\n${HOST}\r\n` +
    `POST /second HTTP/1.1\r\n${HOST}Content-Length: 2\r\n\r\nhi`;
  const { text } = await bed.talk(authority, fill(raw, authority));
  const posts = upstream.connections.flatMap(({ requests }) => requests)
    .filter(({ method }) => method === "POST");
  assert.deepEqual(
    [statusesIn(text), codeIn(text), posts.length],
    [[200, 502], "upstream-broke-off", 1],
  );
});

test("reuse: a POST after the upstream closed gets a new connection (RFC 9112 section 9.3.1)", async (bed) => {
  await using upstream = bed.upstream({
    answer: () => ({ ...OK, then: "end" }),
  });
  const { authority } = upstream;
  using conn = await bed.bed.connectTls(authority);
  const raw = `POST /a HTTP/1.1\r\n${HOST}Content-Length: 2\r\n\r\nhi`;
  for (let i = 0; i < 3; i++) {
    await writeText(conn, fill(raw, authority));
    assert.equal(await hearUntil(conn, "ok"), GOOD);
  }
});

test("no output of the proxy holds the credential", (bed) => {
  assertNoCanary(bed.bed.proxy.stdout(), bed.bed.proxy.stderr());
  return Promise.resolve();
});
