/**
 * What the built `moat proxy` answers to good and bad clients.
 */

import assert from "node:assert/strict";
import { testUnless } from "./support/conditional.ts";
import { moatReason } from "./support/moat.ts";
import { MOCK_SESSION } from "./support/mock_sts.ts";
import {
  connectTo,
  exchange,
  receiveAnswer,
  send,
} from "./support/raw_http.ts";
import {
  get,
  getText,
  Scene,
  type TestProxy,
  type TestRun,
} from "./support/scene.ts";

const reason = moatReason();

interface Served {
  readonly scene: Scene;
  readonly proxy: TestProxy;
  readonly run: TestRun;
  /** `127.0.0.1:PORT`, as in Host. */
  readonly authority: string;
}

async function serve(fn: (served: Served) => Promise<void>): Promise<void> {
  await using scene = await Scene.open();
  const proxy = await scene.startProxy();
  const run = await proxy.openRun();
  const authority = `127.0.0.1:${proxy.address.port}`;
  await fn({ scene, proxy, run, authority });
}

function test(name: string, fn: (served: Served) => Promise<void>): void {
  testUnless(reason, `moat proxy ${name}`, () => serve(fn));
}

const PROCESS = "/aws/process-credentials";
const CONTAINER = "/ecs/credentials";

test("answers /healthz without a token", async ({ proxy }) => {
  const { status, body } = await get(proxy.address, "/healthz");
  assert.equal(status, 200);
  assert.equal(body, "ok\n");
});

test("serves credential_process JSON, version 1", async ({ run }) => {
  const { status, headers, body } = await run.get(PROCESS);
  assert.equal(status, 200);
  assert.equal(headers.get("content-type"), "application/json");
  const { Expiration, ...rest } = JSON.parse(body);
  assert.deepEqual(rest, {
    Version: 1,
    AccessKeyId: MOCK_SESSION.accessKeyId,
    SecretAccessKey: MOCK_SESSION.secretAccessKey,
    SessionToken: MOCK_SESSION.sessionToken,
  });
  assert.match(Expiration, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
});

test("serves the container format", async ({ run }) => {
  const { status, headers, body } = await run.get(CONTAINER);
  assert.equal(status, 200);
  assert.equal(headers.get("content-type"), "application/json");
  const { Expiration, ...rest } = JSON.parse(body);
  assert.deepEqual(rest, {
    AccessKeyId: MOCK_SESSION.accessKeyId,
    SecretAccessKey: MOCK_SESSION.secretAccessKey,
    Token: MOCK_SESSION.sessionToken,
  });
  assert.match(Expiration, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
});

test("serves both formats from one session", async ({ scene, run }) => {
  await run.get(PROCESS);
  await run.get(CONTAINER);
  assert.equal(scene.sts.calls, 1);
});

test("forbids caches to keep credentials", async ({ run }) => {
  const { headers } = await run.get(CONTAINER);
  assert.equal(headers.get("cache-control"), "no-store");
});

test("answers many requests on one connection", async ({ proxy, run }) => {
  using conn = await connectTo(proxy.address);
  const text = getText(proxy.address, CONTAINER, bearer(run.token));
  for (let i = 0; i < 3; i++) {
    await send(conn, text);
    assert.equal((await receiveAnswer(conn)).status, 200);
  }
});

test("refuses on an open connection a token that ended", async ({ proxy, run }) => {
  using conn = await connectTo(proxy.address);
  const text = getText(proxy.address, CONTAINER, bearer(run.token));
  await send(conn, text);
  assert.equal((await receiveAnswer(conn)).status, 200);
  await run.end();
  await send(conn, text);
  assert.equal((await receiveAnswer(conn)).status, 401);
});

test("gives a run nothing of another run's grant", async ({ scene, proxy }) => {
  await scene.grant("--name", "other", "--session-name", "other");
  const other = await proxy.openRun(["aws:other"]);
  await other.get(CONTAINER);
  assert.equal(scene.sts.sessionNames.at(-1), "other");
});

function bearer(token: string): Record<string, string> {
  return { Authorization: `Bearer ${token}` };
}

/** One request that is refused. */
interface Refusal {
  readonly name: string;
  /** Default: the container path. */
  readonly path?: string;
  /** With the right token, unless `headers` has another Authorization. */
  headers?(served: Served): Record<string, string>;
  /** The whole text instead. */
  text?(served: Served): string;
  readonly status: number;
  /** The member `code` of the body. */
  readonly code: string;
}

/** A request with one thing changed in its text. */
function changed(from: string | RegExp, to: string) {
  return ({ proxy, run }: Served) =>
    getText(proxy.address, CONTAINER, bearer(run.token)).replace(from, to);
}

const withHeader = (name: string, value: string) => () => ({ [name]: value });

const UNAUTHORIZED = { status: 401, code: "unauthorized" };
const BAD_REQUEST = { status: 400, code: "bad-request" };
const BAD_TARGET = { status: 400, code: "bad-target" };
const FOREIGN_HOST = { status: 403, code: "foreign-host" };
const FOREIGN_REQUEST = { status: 403, code: "foreign-request" };
const TWO_TOKENS = { status: 400, code: "ambiguous-token" };

const REFUSALS: readonly Refusal[] = [
  // Who asks.
  {
    name: "no token",
    text: changed(/Authorization.*\r\n/, ""),
    ...UNAUTHORIZED,
  },
  {
    name: "an unknown token",
    headers: () => bearer(`moat.web.${"A".repeat(43)}`),
    ...UNAUTHORIZED,
  },
  { name: "an empty token", headers: () => bearer(""), ...UNAUTHORIZED },
  {
    name: "the token without a scheme",
    headers: ({ run }) => ({ Authorization: run.token }),
    ...UNAUTHORIZED,
  },
  {
    name: "the token as a password",
    headers: ({ run }) => ({ Authorization: `Basic ${btoa(`:${run.token}`)}` }),
    ...UNAUTHORIZED,
  },
  {
    name: "the token with another letter case",
    headers: ({ run }) => bearer(run.token.toUpperCase()),
    ...UNAUTHORIZED,
  },
  {
    name: "the beginning of the token",
    headers: ({ run }) => bearer(run.token.slice(0, -1)),
    ...UNAUTHORIZED,
  },
  {
    name: "the token in the query only",
    text: ({ proxy, run }) =>
      getText(proxy.address, `${CONTAINER}?access_token=${run.token}`),
    ...UNAUTHORIZED,
  },
  {
    name: "two Authorization fields",
    text: changed(/(Authorization.*\r\n)/, "$1$1"),
    ...TWO_TOKENS,
  },
  {
    name: "two tokens in one Authorization field",
    headers: ({ run }) => ({
      Authorization: `Bearer ${run.token}, Bearer ${run.token}`,
    }),
    ...TWO_TOKENS,
  },
  {
    name: "a second token in the query",
    path: `${CONTAINER}?access_token=x`,
    ...TWO_TOKENS,
  },
  // What is asked for.
  {
    name: "a path that is not served",
    path: "/nothing",
    status: 404,
    code: "not-found",
  },
  {
    name: "a path with a query",
    path: `${CONTAINER}?x=1`,
    status: 404,
    code: "not-found",
  },
  {
    name: "a path with a final slash",
    path: `${CONTAINER}/`,
    status: 404,
    code: "not-found",
  },
  {
    name: "a path with another letter case",
    path: "/ECS/credentials",
    status: 404,
    code: "not-found",
  },
  {
    name: "POST",
    text: changed("GET", "POST"),
    status: 405,
    code: "method-not-allowed",
  },
  {
    name: "OPTIONS",
    text: changed("GET", "OPTIONS"),
    status: 405,
    code: "method-not-allowed",
  },
  { name: "an escaped path", path: "/ecs/%63redentials", ...BAD_TARGET },
  { name: "a dot segment", path: "/x/../ecs/credentials", ...BAD_TARGET },
  { name: "an empty segment", path: "//ecs/credentials", ...BAD_TARGET },
  {
    name: "a path parameter",
    path: `${CONTAINER};x`,
    ...BAD_TARGET,
  },
  {
    name: "absolute form",
    text: ({ authority, proxy, run }) =>
      getText(
        proxy.address,
        `http://${authority}${CONTAINER}`,
        bearer(run.token),
      ),
    status: 407,
    code: "proxy-authentication-required",
  },
  {
    name: "CONNECT",
    text: ({ authority }) =>
      `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`,
    status: 407,
    code: "proxy-authentication-required",
  },
  {
    name: "a GET with a body",
    text: changed("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\nx"),
    status: 400,
    code: "body-refused",
  },
  // Where it seems to come from.
  {
    name: "another host",
    headers: withHeader("Host", "example.com"),
    ...FOREIGN_HOST,
  },
  {
    name: "a host that ends like ours",
    headers: ({ proxy }) => ({
      Host: `127.0.0.1.example.com:${proxy.address.port}`,
    }),
    ...FOREIGN_HOST,
  },
  {
    name: "another loopback address",
    headers: ({ proxy }) => ({ Host: `127.0.0.2:${proxy.address.port}` }),
    ...FOREIGN_HOST,
  },
  {
    name: "another port",
    headers: withHeader("Host", "127.0.0.1:1"),
    ...FOREIGN_HOST,
  },
  {
    name: "the metadata address as host",
    headers: withHeader("Host", "169.254.169.254"),
    ...FOREIGN_HOST,
  },
  {
    name: "an Origin",
    headers: ({ authority }) => ({ Origin: `http://${authority}` }),
    ...FOREIGN_REQUEST,
  },
  {
    name: "an Origin of null",
    headers: withHeader("Origin", "null"),
    ...FOREIGN_REQUEST,
  },
  {
    name: "Sec-Fetch-Site",
    headers: withHeader("sec-fetch-site", "none"),
    ...FOREIGN_REQUEST,
  },
  {
    name: "Sec-Fetch-Mode",
    headers: withHeader("Sec-Fetch-Mode", "cors"),
    ...FOREIGN_REQUEST,
  },
  ...["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP"]
    .map((name) => ({
      name,
      headers: withHeader(name, "1.1 example"),
      ...FOREIGN_REQUEST,
    })),
  // What is no request.
  {
    name: "no Host",
    text: changed(/Host.*\r\n/, ""),
    ...BAD_REQUEST,
  },
  {
    name: "two Hosts",
    text: changed(/(Host.*\r\n)/, "$1$1"),
    ...BAD_REQUEST,
  },
  {
    name: "lines that end with LF",
    text: changed(/\r/g, ""),
    ...BAD_REQUEST,
  },
  {
    name: "a folded field",
    text: changed("\r\n\r\n", "\r\nX: a\r\n b\r\n\r\n"),
    ...BAD_REQUEST,
  },
  {
    name: "a blank before the colon",
    text: changed("Authorization:", "Authorization :"),
    ...BAD_REQUEST,
  },
  {
    name: "a control character in a field",
    text: changed("Bearer ", "Bearer \x00"),
    ...BAD_REQUEST,
  },
  {
    name: "a TLS hello",
    text: () => "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ...BAD_REQUEST,
  },
  { name: "a blank line of text", text: () => "hello\r\n\r\n", ...BAD_REQUEST },
  { name: "half a head", text: () => "GET / HT", ...BAD_REQUEST },
  {
    name: "both Content-Length and Transfer-Encoding",
    text: changed(
      "\r\n\r\n",
      "\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ...BAD_REQUEST,
  },
  {
    name: "HTTP/2",
    text: changed("HTTP/1.1", "HTTP/2.0"),
    status: 505,
    code: "version-not-supported",
  },
  {
    name: "an over-long head",
    text: changed("\r\n\r\n", `\r\nX: ${"x".repeat(17 * 1024)}\r\n\r\n`),
    status: 431,
    code: "head-too-large",
  },
  {
    name: "too many fields",
    text: changed("\r\n\r\n", `${"\r\nX: x".repeat(101)}\r\n\r\n`),
    status: 431,
    code: "head-too-large",
  },
  {
    name: "an over-long target",
    text: changed(CONTAINER, "/" + "x".repeat(17 * 1024)),
    status: 414,
    code: "target-too-long",
  },
];

testUnless(reason, "moat proxy refuses requests", async (t) => {
  await serve(async (served) => {
    const { proxy, run } = served;
    for (const refusal of REFUSALS) {
      await t.step(`with ${refusal.status} for ${refusal.name}`, async () => {
        const { path = CONTAINER, text, headers } = refusal;
        const request = text?.(served) ?? getText(proxy.address, path, {
          ...bearer(run.token),
          ...headers?.(served),
        });
        const answers = await exchange(proxy.address, request);
        const [answer] = answers;
        assert(answer, "wanted an answer, found silence");
        assert.equal(answers.length, 1);
        const { code, message, ...others } = JSON.parse(answer.body);
        assert.deepEqual([answer.status, code], [refusal.status, refusal.code]);
        assert.deepEqual(others, {});
        assert.match(message, /^[A-Z]/);
        const wanted = answer.body + [...answer.headers].join();
        assert.ok(!wanted.includes(run.token), "the token is in the answer");
        assert.ok(!wanted.includes(served.scene.workspace.directory));
      });
    }
  });
});

const ACCEPTED: readonly Pick<Refusal, "name" | "text" | "headers">[] = [
  {
    name: "localhost as host",
    headers: ({ proxy }) => ({ Host: `localhost:${proxy.address.port}` }),
  },
  {
    name: "moat-proxy as host",
    headers: ({ proxy }) => ({ Host: `moat-proxy:${proxy.address.port}` }),
  },
  {
    name: "host.docker.internal as host",
    headers: ({ proxy }) => ({
      Host: `host.docker.internal:${proxy.address.port}`,
    }),
  },
  { name: "a host without a port", headers: () => ({ Host: "127.0.0.1" }) },
  {
    name: "a scheme in lower case",
    headers: ({ run }) => ({ Authorization: `bearer ${run.token}` }),
  },
  { name: "HTTP/1.0", text: changed("HTTP/1.1", "HTTP/1.0") },
  { name: "an empty line before the request", text: changed("GET", "\r\nGET") },
];

testUnless(reason, "moat proxy serves a request", async (t) => {
  await serve(async (served) => {
    const { proxy, run } = served;
    for (const { name, text, headers } of ACCEPTED) {
      await t.step(`with ${name}`, async () => {
        const request = text?.(served) ?? getText(proxy.address, CONTAINER, {
          ...bearer(run.token),
          ...headers?.(served),
        });
        const [answer] = await exchange(proxy.address, request);
        assert.equal(answer?.status, 200, answer?.body);
      });
    }
  });
});
