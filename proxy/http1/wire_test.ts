/**
 * What the server answers to raw bytes, over real sockets. Each row is sent
 * with a valid request right behind it, in one stream, and the client then
 * half-closes: so a row also tells whether that request was served, which it
 * must not be after a refusal or a body that was not read.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { Answer } from "$core/provider.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import {
  exchange,
  parseAnswers,
  type RawAnswer,
} from "../../tests/support/raw_http.ts";
import { serve, type Service } from "./server.ts";

/** Answers with what it was asked. */
const mirror: Service = (head) => {
  const { method, target, version, headers } = head;
  return {
    answer: new Answer(
      200,
      JSON.stringify({ method, target, version, headers }),
    ),
  };
};

async function ask(
  text: string,
  service = mirror,
  chunks: number[] = [],
): Promise<RawAnswer[]> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const server = serve(slowed(listener, chunks), service, {
    clock: new FakeClock(),
    onError: (error) => assert.fail(String(error)),
  });
  try {
    return await exchange(server.address, text);
  } finally {
    await server.close();
  }
}

/** Makes each read of the server bring a few bytes only: `chunks`, over and over. */
function slowed(listener: Deno.Listener, chunks: number[]): Deno.Listener {
  if (chunks.length === 0) return listener;
  const accept = listener.accept.bind(listener);
  listener.accept = async () => {
    const conn = await accept();
    const read = conn.read.bind(conn);
    let turn = 0;
    conn.read = (buffer) =>
      read(buffer.subarray(0, chunks[turn++ % chunks.length]));
    return conn;
  };
  return listener;
}

const NEXT = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
const H = "Host: a\r\n";

interface Row {
  readonly name: string;
  readonly send: string;
  /** The answers to the row and, where it is still served, to the next request. */
  readonly expect: readonly number[];
}

const served = [200, 200];
const servedLast = [200];

// RFC 9112 unless another one is named.
const ROWS: Row[] = [
  // Request line
  {
    name: "3.2.1: origin-form",
    send: `GET /a?b=c HTTP/1.1\r\n${H}\r\n`,
    expect: served,
  },
  {
    name: "3.2.2: absolute-form",
    send: `GET http://a/b HTTP/1.1\r\n${H}\r\n`,
    expect: served,
  },
  {
    name: "3.2.3: authority-form",
    send: `CONNECT a.b:443 HTTP/1.1\r\n${H}\r\n`,
    expect: served,
  },
  {
    name: "3.2.3: authority-form of IPv6",
    send: `CONNECT [::1]:443 HTTP/1.1\r\n${H}\r\n`,
    expect: served,
  },
  {
    name: "3.2.4: asterisk-form",
    send: `OPTIONS * HTTP/1.1\r\n${H}\r\n`,
    expect: served,
  },
  {
    name: "3.1: any token is a method",
    send: `X-1!#$%&'*+.^_\`|~ / HTTP/1.1\r\n${H}\r\n`,
    expect: served,
  },
  {
    name: "2.2: one empty line before the request-line",
    send: `\r\nGET / HTTP/1.1\r\n${H}\r\n`,
    expect: served,
  },
  {
    name: "2.2: an empty line before each request",
    send: `\r\n${NEXT}\r\n`,
    expect: served,
  },
  {
    name: "2.2: two empty lines before it",
    send: `\r\n\r\nGET / HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "2.2: whitespace before it",
    send: ` GET / HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3: two spaces after the method",
    send: `GET  / HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3: two spaces before the version",
    send: `GET /  HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3: tab as a separator",
    send: `GET\t/ HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3: space after the version",
    send: `GET / HTTP/1.1 \r\n${H}\r\n`,
    expect: [400],
  },
  { name: "3: no target", send: `GET HTTP/1.1\r\n${H}\r\n`, expect: [400] },
  { name: "3: no version (HTTP/0.9)", send: `GET /\r\n\r\n`, expect: [400] },
  { name: "3.1: no method", send: ` / HTTP/1.1\r\n${H}\r\n`, expect: [400] },
  {
    name: "3.1: method with a delimiter",
    send: `GE(T / HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3.1: method with obs-text",
    send: `G\xe9T / HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3.2: space in the target",
    send: `GET /a b HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3.2: control character in the target",
    send: `GET /\x01 HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3.2: DEL in the target",
    send: `GET /\x7f HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3.2: obs-text in the target",
    send: `GET /\xe9 HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3.2: fragment",
    send: `GET /#a HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3.2: relative target",
    send: `GET a HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3.2.2: absolute-form without a host",
    send: `GET http:///a HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3.2.3: authority-form for GET",
    send: `GET a:443 HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3.2.3: CONNECT without a port",
    send: `CONNECT a HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3.2.3: CONNECT with an empty port",
    send: `CONNECT a: HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3.2.3: CONNECT with a path",
    send: `CONNECT /a HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3.2.4: asterisk-form for GET",
    send: `GET * HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "3: target of 8193 bytes",
    send: `GET /${"a".repeat(8192)} HTTP/1.1\r\n${H}\r\n`,
    expect: [414],
  },
  {
    name: "3: request-line without an end",
    send: `GET /${"a".repeat(20_000)}`,
    expect: [414],
  },
  // Version
  {
    name: "2.3: HTTP/1.0 closes",
    send: `GET / HTTP/1.0\r\n${H}\r\n`,
    expect: servedLast,
  },
  {
    name: "9.3: HTTP/1.0 closes although it asks to persist",
    send: `GET / HTTP/1.0\r\n${H}Connection: keep-alive\r\n\r\n`,
    expect: servedLast,
  },
  {
    name: "2.3: HTTP/2.0 (RFC 9110 15.6.6)",
    send: `GET / HTTP/2.0\r\n${H}\r\n`,
    expect: [505],
  },
  {
    name: "RFC 9113 3.4: preface of HTTP/2",
    send: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    expect: [505],
  },
  { name: "2.3: HTTP/1.2", send: `GET / HTTP/1.2\r\n${H}\r\n`, expect: [505] },
  {
    name: "2.3: HTTP/0.9 by name",
    send: `GET / HTTP/0.9\r\n${H}\r\n`,
    expect: [505],
  },
  {
    name: "2.3: lower case",
    send: `GET / http/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "2.3: two digits",
    send: `GET / HTTP/1.10\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "2.3: no minor version",
    send: `GET / HTTP/1\r\n${H}\r\n`,
    expect: [400],
  },
  // Line ends
  {
    name: "2.2: bare LF throughout",
    send: "GET / HTTP/1.1\nHost: a\n\n",
    expect: [400],
  },
  {
    name: "2.2: bare LF after the request-line",
    send: `GET / HTTP/1.1\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "2.2: bare LF after a field",
    send: `GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n`,
    expect: [400],
  },
  {
    name: "2.2: bare LF as the empty line",
    send: `GET / HTTP/1.1\r\n${H}\n`,
    expect: [400],
  },
  {
    name: "2.2: bare CR in the request-line",
    send: `GET /\r HTTP/1.1\r\n${H}\r\n`,
    expect: [400],
  },
  {
    name: "2.2: bare CR in a value",
    send: `GET / HTTP/1.1\r\n${H}X: a\rY: b\r\n\r\n`,
    expect: [400],
  },
  {
    name: "2.2: CR CR LF",
    send: `GET / HTTP/1.1\r\n${H}X: a\r\r\n\r\n`,
    expect: [400],
  },
  {
    name: "2.2: whitespace before the first field",
    send: `GET / HTTP/1.1\r\n ${H}\r\n`,
    expect: [400],
  },
  // Fields
  {
    name: "5.1: blanks around a value",
    send: `GET / HTTP/1.1\r\nHost: \t a \t\r\n\r\n`,
    expect: served,
  },
  {
    name: "5.1: no blank before a value",
    send: `GET / HTTP/1.1\r\nHost:a\r\n\r\n`,
    expect: served,
  },
  {
    name: "RFC 9110 5.5: empty value",
    send: `GET / HTTP/1.1\r\n${H}X:\r\n\r\n`,
    expect: served,
  },
  {
    name: "RFC 9110 5.5: obs-text in a value",
    send: `GET / HTTP/1.1\r\n${H}X: \xe9\xff\x80\r\n\r\n`,
    expect: served,
  },
  {
    name: "RFC 9110 5.5: tab inside a value",
    send: `GET / HTTP/1.1\r\n${H}X: a\tb\r\n\r\n`,
    expect: served,
  },
  {
    name: "5.2: obs-fold with a space",
    send: `GET / HTTP/1.1\r\n${H}X: a\r\n b\r\n\r\n`,
    expect: [400],
  },
  {
    name: "5.2: obs-fold with a tab",
    send: `GET / HTTP/1.1\r\n${H}X: a\r\n\tb\r\n\r\n`,
    expect: [400],
  },
  {
    name: "5.2: obs-fold of blanks alone",
    send: `GET / HTTP/1.1\r\n${H}X: a\r\n \r\n\r\n`,
    expect: [400],
  },
  {
    name: "5.1: space before the colon",
    send: `GET / HTTP/1.1\r\nHost : a\r\n\r\n`,
    expect: [400],
  },
  {
    name: "5.1: tab before the colon",
    send: `GET / HTTP/1.1\r\n${H}X\t: a\r\n\r\n`,
    expect: [400],
  },
  {
    name: "5: empty name",
    send: `GET / HTTP/1.1\r\n${H}: a\r\n\r\n`,
    expect: [400],
  },
  {
    name: "5: no colon",
    send: `GET / HTTP/1.1\r\n${H}X\r\n\r\n`,
    expect: [400],
  },
  {
    name: "5: space in a name",
    send: `GET / HTTP/1.1\r\n${H}X Y: a\r\n\r\n`,
    expect: [400],
  },
  {
    name: "5: delimiter in a name",
    send: `GET / HTTP/1.1\r\n${H}X@Y: a\r\n\r\n`,
    expect: [400],
  },
  {
    name: "5: obs-text in a name",
    send: `GET / HTTP/1.1\r\n${H}X\xe9: a\r\n\r\n`,
    expect: [400],
  },
  {
    name: "5: NUL in a name",
    send: `GET / HTTP/1.1\r\n${H}X\0: a\r\n\r\n`,
    expect: [400],
  },
  {
    name: "RFC 9110 5.5: NUL in a value",
    send: `GET / HTTP/1.1\r\n${H}X: a\0b\r\n\r\n`,
    expect: [400],
  },
  {
    name: "RFC 9110 5.5: control character in a value",
    send: `GET / HTTP/1.1\r\n${H}X: \x1b[31m\r\n\r\n`,
    expect: [400],
  },
  {
    name: "RFC 9110 5.5: vertical tab before a value",
    send: `POST / HTTP/1.1\r\n${H}Transfer-Encoding: \x0bchunked\r\n\r\n`,
    expect: [400],
  },
  {
    name: "RFC 9110 5.5: DEL in a value",
    send: `GET / HTTP/1.1\r\n${H}X: \x7f\r\n\r\n`,
    expect: [400],
  },
  {
    name: "RFC 6585 5: 101 fields",
    send: `GET / HTTP/1.1\r\n${H}${"X: a\r\n".repeat(100)}\r\n`,
    expect: [431],
  },
  {
    name: "RFC 6585 5: head of more than 16 KiB",
    send: `GET / HTTP/1.1\r\n${H}X: ${"a".repeat(16_384)}\r\n\r\n`,
    expect: [431],
  },
  {
    name: "RFC 6585 5: head of almost 16 KiB",
    send: `GET / HTTP/1.1\r\n${H}X: ${"a".repeat(16_000)}\r\n\r\n`,
    expect: served,
  },
  // Host
  { name: "3.2: no Host", send: "GET / HTTP/1.1\r\n\r\n", expect: [400] },
  {
    name: "3.2: no Host in HTTP/1.0 (ours: rebinding)",
    send: "GET / HTTP/1.0\r\n\r\n",
    expect: [400],
  },
  {
    name: "3.2: two Hosts",
    send: `GET / HTTP/1.1\r\n${H}Host: b\r\n\r\n`,
    expect: [400],
  },
  {
    name: "3.2: two equal Hosts",
    send: `GET / HTTP/1.1\r\n${H}${H}\r\n`,
    expect: [400],
  },
  {
    name: "3.2: two Hosts in different case",
    send: `GET / HTTP/1.1\r\n${H}hOST: b\r\n\r\n`,
    expect: [400],
  },
  {
    name: "3.2: empty Host (ours: rebinding)",
    send: "GET / HTTP/1.1\r\nHost:\r\n\r\n",
    expect: [400],
  },
  {
    name: "3.2: Host with a path",
    send: "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    expect: [400],
  },
  {
    name: "3.2: Host with user information",
    send: "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    expect: [400],
  },
  {
    name: "3.2: Host with a space",
    send: "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    expect: [400],
  },
  {
    name: "3.2: Host with obs-text",
    send: "GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n",
    expect: [400],
  },
  {
    name: "3.2: Host with a port that is no number",
    send: "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
    expect: [400],
  },
  {
    name: "3.2: Host with an IPv6 address and port",
    send: "GET / HTTP/1.1\r\nHost: [fd00:ec2::23]:80\r\n\r\n",
    expect: served,
  },
  // Bodies: answered, never read, always the last
  {
    name: "6.2: Content-Length of 0",
    send: `POST / HTTP/1.1\r\n${H}Content-Length: 0\r\n\r\n`,
    expect: served,
  },
  {
    name: "6.2: body with a length",
    send: `POST / HTTP/1.1\r\n${H}Content-Length: 5\r\n\r\nhello`,
    expect: servedLast,
  },
  {
    name: "6.2: length, and a request as the body",
    send: `POST / HTTP/1.1\r\n${H}Content-Length: ${NEXT.length}\r\n\r\n`,
    expect: servedLast,
  },
  {
    name: "7.1: chunked body",
    send:
      `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
    expect: servedLast,
  },
  {
    name: "6.3: both framings",
    send:
      `POST / HTTP/1.1\r\n${H}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG`,
    expect: [400],
  },
  {
    name: "6.3: two lengths",
    send:
      `POST / HTTP/1.1\r\n${H}Content-Length: 0\r\nContent-Length: 5\r\n\r\n`,
    expect: [400],
  },
  {
    name: "6.1: unknown coding",
    send: `POST / HTTP/1.1\r\n${H}Transfer-Encoding: gzip\r\n\r\n`,
    expect: [501],
  },
  {
    name: "6.1: coding in HTTP/1.0",
    send: `POST / HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    expect: [400],
  },
  {
    name: "RFC 9110 10.1.1: Expect without a body",
    send: `GET / HTTP/1.1\r\n${H}Expect: 100-continue\r\n\r\n`,
    expect: served,
  },
  {
    name: "RFC 9110 10.1.1: Expect with a body gets the final answer",
    send:
      `PUT / HTTP/1.1\r\n${H}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`,
    expect: servedLast,
  },
  // Persistence
  {
    name: "9.6: Connection: close",
    send: `GET / HTTP/1.1\r\n${H}Connection: close\r\n\r\n`,
    expect: servedLast,
  },
  {
    name: "9.6: close in a list, any case",
    send: `GET / HTTP/1.1\r\n${H}Connection: TE, CLOSE\r\n\r\n`,
    expect: servedLast,
  },
  {
    name: "9.6: a member that only contains close",
    send: `GET / HTTP/1.1\r\n${H}Connection: not-close\r\n\r\n`,
    expect: served,
  },
  { name: "9.3.2: pipelined requests", send: `${NEXT}`, expect: served },
  // Other protocols
  {
    name: "TLS ClientHello (ours: answered at once)",
    send: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    expect: [400],
  },
  { name: "SSH (ours)", send: "SSH-2.0-OpenSSH_9.2\r\n\r\n", expect: [400] },
];

for (const { name, send, expect } of ROWS) {
  Deno.test(`serve() answers ${expect.join(", ")}: RFC 9112 ${name}`, async () => {
    const answers = await ask(send + NEXT);
    assert.deepEqual(answers.map(({ status }) => status), expect);
  });
}

const CUT_SHORT: Row[] = [
  { name: "an end inside the request-line", send: "GET /", expect: [400] },
  {
    name: "an end before the empty line",
    send: `GET / HTTP/1.1\r\n${H}`,
    expect: [400],
  },
  { name: "an end after a stray CR LF", send: `${NEXT}\r\n`, expect: [200] },
  { name: "an end before any byte", send: "", expect: [] },
];
for (const { name, send, expect } of CUT_SHORT) {
  Deno.test(`serve() answers ${expect.join(", ") || "nothing"} to ${name} (RFC 9112 section 8)`, async () => {
    assert.deepEqual((await ask(send)).map(({ status }) => status), expect);
  });
}

Deno.test("serve() tells why it refuses, as JSON, and that it closes", async () => {
  const [answer] = await ask("GET / HTTP/1.1\r\n\r\n");
  assert.deepEqual(
    [
      answer?.headers.get("connection"),
      answer?.headers.get("content-type"),
      JSON.parse(answer?.body ?? ""),
    ],
    ["close", "application/json", {
      code: "bad-request",
      message: "Cannot read the request: wanted a Host field, found none",
    }],
  );
});

Deno.test("serve() answers pipelined requests in their order", async () => {
  const targets = Array.from({ length: 50 }, (_, i) => `/${i}`);
  const answers = await ask(
    targets.map((target) => `GET ${target} HTTP/1.1\r\n${H}\r\n`).join(""),
  );
  assert.deepEqual(answers.map(({ body }) => JSON.parse(body).target), targets);
});

Deno.test("serve() keeps the order when earlier answers take longer", async () => {
  let delayMs = 20;
  const slow: Service = async (head, peer) => {
    await new Promise((resolve) => setTimeout(resolve, delayMs /= 2));
    return mirror(head, peer);
  };
  const answers = await ask(
    [1, 2, 3].map((i) => `GET /${i} HTTP/1.1\r\n${H}\r\n`).join(""),
    slow,
  );
  assert.deepEqual(answers.map(({ body }) => JSON.parse(body).target), [
    "/1",
    "/2",
    "/3",
  ]);
});

const request = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      NEXT,
      `GET /b HTTP/1.1\r\n${H}X: ${"b".repeat(90)}\r\n\r\n`,
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      `\r\n${NEXT}`,
      `POST / HTTP/1.1\r\n${H}Content-Length: 3\r\n\r\nabc`,
      `GET / HTTP/1.1\r\n${H}Connection: close\r\n\r\n`,
      "GET / HTTP/1.1\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\n\n",
      `GET / HTTP/1.1\r\n${H}X: ${"x".repeat(3000)}\r\n\r\n`,
    ),
  },
);

/** Repeats are marked, so that taking the short way is visible. */
const repeating: Service = (head, peer) => {
  const { answer } = mirror(head, peer) as { answer: Answer };
  const again = new Answer(200, `again ${answer.body}`);
  return { answer, repeat: () => again };
};

Deno.test("serve() gives the same answers however the bytes are split", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(request, { minLength: 1, maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 150 }), {
        minLength: 1,
        maxLength: 10,
      }),
      async (requests, chunks) => {
        const text = requests.join("");
        assert.deepEqual(
          await ask(text, repeating, chunks),
          await ask(text, repeating),
        );
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("serve() gives the same answers byte by byte", async () => {
  const text = `${NEXT}${NEXT}\r\n${NEXT}GET / HTTP/1.1\r\n\r\n`;
  assert.deepEqual(await ask(text, repeating, [1]), await ask(text, repeating));
});

Deno.test("serve() refuses a second empty line also when it comes later", async () => {
  const answers = await ask(`\r\n\r\n${NEXT}`, mirror, [2]);
  assert.deepEqual(answers.map(({ status }) => status), [400]);
});

Deno.test("serve() keeps its place when a head does not fit behind another", async () => {
  const padded = `GET / HTTP/1.1\r\n${H}X: ${"x".repeat(1000)}\r\n\r\n`;
  const answers = await ask(padded.repeat(7));
  assert.deepEqual(answers.map(({ status }) => status), Array(7).fill(200));
});

Deno.test("serve() answers or closes on random bytes", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      async (bytes) => {
        const answers = await ask(String.fromCharCode(...bytes));
        assert(answers.every(({ status }) => status >= 400 && status < 600));
      },
    ),
    { numRuns: 100 },
  );
});

Deno.test("serve() answers every mutation of a valid stream in whole answers", async () => {
  const added = fc.constantFrom("\r", "\n", "\0", " ", ":", "\r\n", "\xff", "");
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: 2 * NEXT.length }),
      fc.nat({ max: 3 }),
      added,
      async (at, removed, text) => {
        const stream = NEXT + NEXT + NEXT;
        const answers = await ask(
          stream.slice(0, at) + text + stream.slice(at + removed),
        );
        assert(answers.length >= 1 && answers.length <= 3);
        assert(answers.slice(0, -1).every(({ status }) => status === 200));
      },
    ),
    { numRuns: 150 },
  );
});

const HEAD_REQUEST = `HEAD / HTTP/1.1\r\n${H}\r\n`;
for (const chunks of [[], [7]]) {
  Deno.test(`serve() answers HEAD without a body, also repeated${chunks.length ? " and split" : ""} (RFC 9110 section 9.3.2)`, async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const server = serve(slowed(listener, chunks), repeating, {
      clock: new FakeClock(),
      onError: (error) => assert.fail(String(error)),
    });
    const conn = await Deno.connect({ port: listener.addr.port });
    try {
      await conn.write(new TextEncoder().encode(HEAD_REQUEST.repeat(3)));
      await conn.closeWrite();
      const text = await new Response(conn.readable).text();
      assert.equal(parseAnswers(text, { head: true }).length, 3);
    } finally {
      await server.close();
    }
  });
}

Deno.test("serve() gives a refusal after HEAD its body", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const server = serve(listener, mirror, {
    clock: new FakeClock(),
    onError: (error) => assert.fail(String(error)),
  });
  const conn = await Deno.connect({ port: listener.addr.port });
  try {
    await conn.write(new TextEncoder().encode(`${HEAD_REQUEST}GET\r\n\r\n`));
    const text = await new Response(conn.readable).text();
    assert.match(text, /"bad-request"/);
  } finally {
    await server.close();
  }
});
