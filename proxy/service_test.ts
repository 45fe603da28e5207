import assert from "node:assert/strict";
import fc from "fast-check";
import { type Binding, digestToken } from "$core/binding.ts";
import { Answer, type EndpointHandler, errorAnswer } from "$core/provider.ts";
import { assertNoCanary, CANARY } from "../tests/support/canary.ts";
import { toBytes } from "../tests/support/raw_http.ts";
import { DEFAULT_POLICY } from "$core/policy.ts";
import { Outbound } from "./intercept/outbound.ts";
import {
  BindingTable,
  type Entry,
  LiveBinding,
} from "./bindings/binding_table.ts";
import { HttpError, parseRequestHead } from "./http1/head.ts";
import type { Peer, Reply } from "./http1/server.ts";
import { NOT_FOUND } from "./answers.ts";
import { createService, type Dialect } from "./service.ts";

const NOTHING_MORE = {
  otherwise: NOT_FOUND,
  outbound: new Outbound(DEFAULT_POLICY, []),
  grants: [],
};

const PEER: Peer = {
  localHostname: "127.0.0.1",
  localPort: 19080,
  remoteHostname: "127.0.0.1",
};
const TOKEN = `moat.web@1.${CANARY}_-A`;
const BINDING: Binding = { name: "web@1", grants: ["x"] };
const SECRET = new Answer(200, '{"secret":true}');

/** A binding that serves `/creds`. */
function live(
  handler: EndpointHandler = () => SECRET,
  more: Partial<Entry> = {},
): readonly LiveBinding[] {
  const entry: Entry = {
    binding: BINDING,
    tokenDigest: digestToken(TOKEN),
    access: "header",
    admits: () => true,
    ...more,
  };
  const routes = new Map([["/creds", handler]]);
  return [new LiveBinding(entry, { ...NOTHING_MORE, routes })];
}

interface Sent {
  readonly method?: string;
  readonly target?: string;
  readonly host?: string;
  /** Fields after Host; default: the right token. */
  readonly fields?: readonly string[];
  readonly peer?: Partial<Peer>;
}

const AUTHORIZATION = `Authorization: Bearer ${TOKEN}`;

/** Asks a service. */
function ask(
  service: ReturnType<typeof createService>,
  { fields = [AUTHORIZATION], ...sent }: Sent = {},
): Reply | Promise<Reply> {
  const { method = "GET", target = "/creds", host = "127.0.0.1:19080" } = sent;
  const lines = [`${method} ${target} HTTP/1.1`, `Host: ${host}`, ...fields];
  const head = parseRequestHead(toBytes(lines.join("\r\n") + "\r\n\r\n"));
  return service(head, { ...PEER, ...sent.peer });
}

/** Asks one with the binding; gives status and code. */
async function answer(
  sent: Sent,
  more: Partial<Entry> = {},
  dialect?: Dialect,
): Promise<string> {
  const bindings = new BindingTable();
  bindings.set(BINDING.name, live(undefined, more));
  const { answer } = await ask(createService(bindings, dialect), sent);
  assertNoCanary(answer.body);
  if (answer === SECRET) return "served";
  if (answer.status === 200) return "healthy";
  return `${answer.status} ${JSON.parse(answer.body).code}`;
}

/** What a listener on another address sees. */
const GATEWAY = { localHostname: "172.17.0.1" };
const SIX = { localHostname: "::1" };
const MAPPED = { localHostname: "::ffff:127.0.0.1" };

const HOSTS: { host: string; peer?: Partial<Peer>; ours: boolean }[] = [
  { host: "127.0.0.1:19080", ours: true },
  { host: "127.0.0.1", ours: true },
  { host: "127.0.0.1:", ours: false },
  { host: "127.0.0.1:80", ours: false },
  { host: "127.0.0.1:1908", ours: false },
  { host: "127.0.0.1:0", ours: false },
  { host: "localhost:19080", ours: true },
  { host: "localhost", ours: true },
  { host: "LOCALHOST:19080", ours: true },
  { host: "localhost.:19080", ours: false },
  { host: "localhost.evil.example:19080", ours: false },
  { host: "notlocalhost:19080", ours: false },
  { host: "127.0.0.2:19080", ours: false },
  { host: "127.1:19080", ours: false },
  { host: "2130706433:19080", ours: false },
  { host: "0x7f.1:19080", ours: false },
  { host: "0.0.0.0:19080", ours: false },
  { host: "[::1]:19080", ours: false },
  { host: "[127.0.0.1]:19080", ours: false },
  { host: "[::ffff:127.0.0.1]:19080", ours: false },
  { host: "evil.example", ours: false },
  { host: "evil.example:19080", ours: false },
  { host: "127.0.0.1.evil.example:19080", ours: false },
  { host: "127.0.0.1%2eevil.example:19080", ours: false },
  { host: "moat-proxy:19080", ours: true },
  { host: "Moat-Proxy:19080", ours: true },
  { host: "moat-proxy", ours: true },
  { host: "moat-proxy:80", ours: false },
  { host: "moat-proxy.evil.example:19080", ours: false },
  { host: "evil-moat-proxy:19080", ours: false },
  { host: "host.docker.internal:19080", ours: true },
  { host: "host.containers.internal:19080", ours: true },
  { host: "169.254.169.254", ours: false },
  { host: "169.254.170.2", ours: false },
  { host: "172.17.0.1:19080", peer: GATEWAY, ours: true },
  { host: "moat-proxy:19080", peer: GATEWAY, ours: true },
  { host: "localhost:19080", peer: GATEWAY, ours: false },
  { host: "127.0.0.1:19080", peer: GATEWAY, ours: false },
  { host: "[::1]:19080", peer: SIX, ours: true },
  { host: "[::1]", peer: SIX, ours: true },
  { host: "[::1]:80", peer: SIX, ours: false },
  { host: "[::1:19080]", peer: SIX, ours: false },
  { host: "[::1]:", peer: SIX, ours: false },
  { host: "localhost:19080", peer: SIX, ours: true },
  { host: "127.0.0.1:19080", peer: SIX, ours: false },
  { host: "127.0.0.1:19080", peer: MAPPED, ours: true },
  { host: "localhost:19080", peer: MAPPED, ours: true },
  {
    host: "172.17.0.1:19080",
    peer: { localHostname: "::ffff:172.17.0.1" },
    ours: true,
  },
  {
    host: "localhost:19080",
    peer: { localHostname: "::ffff:172.17.0.1" },
    ours: false,
  },
];

for (const { host, peer = {}, ours } of HOSTS) {
  const { localHostname = PEER.localHostname } = peer;
  const verb = ours ? "serves" : "refuses";
  Deno.test(`createService() ${verb} Host: ${host} on ${localHostname}`, async () => {
    const expect = ours ? "served" : "403 foreign-host";
    assert.equal(await answer({ host, peer }), expect);
  });
}

for (const host of ["user@127.0.0.1:19080", "", "127.0.0.1:19080,x", "::1"]) {
  Deno.test(`parseRequestHead() refuses Host: ${host} before the service`, () => {
    assert.throws(
      () => ask(createService(new BindingTable()), { host }),
      HttpError,
    );
  });
}

Deno.test("createService() refuses a foreign host before it looks at the token", async () => {
  const sent = { host: "evil.example", fields: [] };
  assert.equal(await answer(sent), "403 foreign-host");
});

Deno.test("createService() refuses a foreign host on /healthz too", async () => {
  const sent = { host: "evil.example", target: "/healthz" };
  assert.equal(await answer(sent), "403 foreign-host");
});

const FOREIGN = [
  "Origin: http://evil.example",
  "Origin: null",
  "Origin:",
  "oRiGiN: http://127.0.0.1:19080",
  "Sec-Fetch-Mode: no-cors",
  "Sec-Fetch-Site: none",
  "sec-fetch-dest: image",
  "Referer: http://evil.example/",
  "Cookie: a=b",
  "Forwarded: for=1.2.3.4",
  "Via: 1.1 proxy",
  "X-Forwarded-For: 169.254.169.254",
  "X-Forwarded-Host: a",
  "X-Forwarded-Proto: http",
  "X-Forwarded-Port: 80",
  "X-Forwarded-Server: a",
  "x-FORWARDED-anything:",
  "X-Real-IP: 1.2.3.4",
  "X-Client-IP: 1.2.3.4",
  "True-Client-IP: 1.2.3.4",
  "X-Original-URL: /creds",
  "X-Rewrite-URL: /creds",
];

for (const field of FOREIGN) {
  Deno.test(`createService() refuses a request with ${field}`, async () => {
    const fields = [AUTHORIZATION, field];
    assert.equal(await answer({ fields }), "403 foreign-request");
  });
}

const HARMLESS = [
  "User-Agent: aws-cli/2 Python/3",
  "Accept: */*",
  "Accept-Encoding: gzip",
  "Connection: keep-alive",
  "Content-Length: 0",
  "X-Amzn-Trace-Id: Root=1-2-3",
  "amz-sdk-request: attempt=1",
  "X-Forwarding: yes",
  "Original: yes",
];

for (const field of HARMLESS) {
  Deno.test(`createService() serves a request with ${field}`, async () => {
    assert.equal(await answer({ fields: [AUTHORIZATION, field] }), "served");
  });
}

const BODIES = ["Content-Length: 1", "Transfer-Encoding: chunked"];

for (const field of BODIES) {
  Deno.test(`createService() refuses a GET with ${field}`, async () => {
    const fields = [AUTHORIZATION, field];
    assert.equal(await answer({ fields }), "400 body-refused");
  });
}

const TARGETS: { target: string; expect: string }[] = [
  { target: "/creds", expect: "served" },
  { target: "/creds/", expect: "404 not-found" },
  { target: "/creds?", expect: "404 not-found" },
  { target: "/creds?a=b", expect: "404 not-found" },
  { target: "/creds?a=/../b%2e", expect: "404 not-found" },
  { target: "/CREDS", expect: "404 not-found" },
  { target: "/cred", expect: "404 not-found" },
  { target: "/credsx", expect: "404 not-found" },
  { target: "/creds/x", expect: "404 not-found" },
  { target: "/", expect: "404 not-found" },
  { target: "/...", expect: "404 not-found" },
  { target: "/.well-known/x", expect: "404 not-found" },
  { target: "/healthz", expect: "healthy" },
  { target: "/healthz/", expect: "404 not-found" },
  { target: "/healthz?x", expect: "404 not-found" },
  { target: "//", expect: "400 bad-target" },
  { target: "//creds", expect: "400 bad-target" },
  { target: "/creds//", expect: "400 bad-target" },
  { target: "//evil.example/creds", expect: "400 bad-target" },
  { target: "/.", expect: "400 bad-target" },
  { target: "/..", expect: "400 bad-target" },
  { target: "/./creds", expect: "400 bad-target" },
  { target: "/x/../creds", expect: "400 bad-target" },
  { target: "/creds/.", expect: "400 bad-target" },
  { target: "/../creds?x", expect: "400 bad-target" },
  { target: "/%63reds", expect: "400 bad-target" },
  { target: "/%2e/creds", expect: "400 bad-target" },
  { target: "/creds%2Fx", expect: "400 bad-target" },
  { target: "/creds%00", expect: "400 bad-target" },
  { target: "/creds%", expect: "400 bad-target" },
  { target: "/creds;x=y", expect: "400 bad-target" },
  { target: "/creds\\", expect: "400 bad-target" },
  { target: "/\\creds", expect: "400 bad-target" },
  { target: "/creds,x", expect: "400 bad-target" },
  { target: "/@creds", expect: "400 bad-target" },
  { target: "/creds:x", expect: "400 bad-target" },
  { target: "http://127.0.0.1:19080/creds", expect: "400 bad-target" },
  { target: "http://evil.example/creds", expect: "400 bad-target" },
  { target: "/http://evil.example/creds", expect: "400 bad-target" },
];

for (const { target, expect } of TARGETS) {
  Deno.test(`createService() answers ${expect} for ${target}`, async () => {
    assert.equal(await answer({ target }), expect);
  });
}

Deno.test("createService() answers 400 for OPTIONS *", async () => {
  const sent = { method: "OPTIONS", target: "*" };
  assert.equal(await answer(sent), "400 bad-target");
});

Deno.test("createService() answers 400 for CONNECT", async () => {
  const sent = { method: "CONNECT", target: "127.0.0.1:19080" };
  assert.equal(await answer(sent), "400 bad-target");
});

for (const method of ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get", "X"]) {
  Deno.test(`createService() answers 405 for ${method} of a path that it serves`, async () => {
    assert.equal(await answer({ method }), "405 method-not-allowed");
  });

  Deno.test(`createService() asks for a token before it says that ${method} is wrong`, async () => {
    assert.equal(await answer({ method, fields: [] }), "401 unauthorized");
  });

  Deno.test(`createService() answers 405 for ${method} /healthz`, async () => {
    const sent = { method, target: "/healthz", fields: [] };
    assert.equal(await answer(sent), "405 method-not-allowed");
  });
}

Deno.test("createService() names the allowed method with 405", async () => {
  const bindings = new BindingTable();
  bindings.set(BINDING.name, live());
  const reply = await ask(createService(bindings), { method: "POST" });
  assert.deepEqual(reply.answer.headers, [["Allow", "GET"]]);
});

Deno.test("createService() names the scheme with 401", async () => {
  const { answer } = await ask(createService(new BindingTable()));
  assert.deepEqual(answer.headers, [["WWW-Authenticate", "Bearer"]]);
});

Deno.test("createService() tells an unknown client nothing about paths", async () => {
  const paths = ["/creds", "/nothing", "/", "/healthz/"];
  const answers = paths.map((target) => answer({ target, fields: [] }));
  assert.deepEqual(
    [...new Set(await Promise.all(answers))],
    ["401 unauthorized"],
  );
});

Deno.test("createService() answers /healthz without a token", async () => {
  assert.equal(await answer({ target: "/healthz", fields: [] }), "healthy");
});

const TOKENS: { name: string; fields: string[]; expect: string }[] = [
  { name: "no token", fields: [], expect: "401" },
  { name: "an empty field", fields: ["Authorization:"], expect: "401" },
  { name: "a scheme alone", fields: ["Authorization: Bearer"], expect: "401" },
  {
    name: "another token",
    fields: ["Authorization: Bearer moat_x"],
    expect: "401",
  },
  {
    name: "the token's digest",
    fields: [`Authorization: Bearer ${digestToken(TOKEN)}`],
    expect: "401",
  },
  {
    name: "the token without a scheme",
    fields: [`Authorization: ${TOKEN}`],
    expect: "401",
  },
  {
    name: "the scheme Basic",
    fields: [`Authorization: Basic ${TOKEN}`],
    expect: "401",
  },
  {
    name: "the scheme in small letters",
    fields: [`authorization: bearer ${TOKEN}`],
    expect: "served",
  },
  {
    name: "the scheme in capitals",
    fields: [`AUTHORIZATION: BEARER ${TOKEN}`],
    expect: "served",
  },
  {
    name: "two spaces",
    fields: [`Authorization: Bearer  ${TOKEN}`],
    expect: "served",
  },
  {
    name: "blanks around the value",
    fields: [`Authorization: \t Bearer ${TOKEN} \t `],
    expect: "served",
  },
  {
    name: "a tab after the scheme",
    fields: [`Authorization: Bearer\t${TOKEN}`],
    expect: "401",
  },
  {
    name: "the token in quotes",
    fields: [`Authorization: Bearer "${TOKEN}"`],
    expect: "401",
  },
  {
    name: "a word after the token",
    fields: [`${AUTHORIZATION} x`],
    expect: "401",
  },
  {
    name: "two tokens in one field",
    fields: [`${AUTHORIZATION}, Bearer ${TOKEN}`],
    expect: "400 ambiguous-token",
  },
  {
    name: "a longer token",
    fields: [`${AUTHORIZATION}x`],
    expect: "401",
  },
  {
    name: "a shorter token",
    fields: [AUTHORIZATION.slice(0, -1)],
    expect: "401",
  },
  {
    name: "the token in other letters",
    fields: [`Authorization: Bearer ${TOKEN.toUpperCase()}`],
    expect: "401",
  },
  {
    name: "obs-text behind the token",
    fields: [`${AUTHORIZATION}\xa0`],
    expect: "401",
  },
  {
    name: "the token in another field",
    fields: [`X-Aws-Ec2-Metadata-Token: ${TOKEN}`],
    expect: "401",
  },
  {
    name: "the token for a proxy",
    fields: [`Proxy-Authorization: Bearer ${TOKEN}`],
    expect: "401",
  },
  {
    name: "the token twice",
    fields: [AUTHORIZATION, AUTHORIZATION],
    expect: "400 ambiguous-token",
  },
  {
    name: "a wrong token and the right one",
    fields: ["authorization: Bearer x", AUTHORIZATION],
    expect: "400 ambiguous-token",
  },
  {
    name: "an empty field and the right token",
    fields: ["Authorization:", AUTHORIZATION],
    expect: "400 ambiguous-token",
  },
];

for (const { name, fields, expect } of TOKENS) {
  Deno.test(`createService() answers ${expect} to ${name}`, async () => {
    const wanted = expect === "401" ? "401 unauthorized" : expect;
    assert.equal(await answer({ fields }), wanted);
  });
}

Deno.test("createService() takes no token from the query", async () => {
  const sent = { target: `/creds?access_token=${TOKEN}`, fields: [] };
  assert.equal(await answer(sent), "401 unauthorized");
});

/** How a client in a query mode asks: without a field, as in its URI. */
const IN_QUERY = TOKEN.replace("@", "%40");

const QUERIES: { name: string; target: string; expect: string }[] = [
  { name: "the token", target: `?access_token=${IN_QUERY}`, expect: "served" },
  {
    name: "the token with a plain @",
    target: `?access_token=${TOKEN}`,
    expect: "served",
  },
  { name: "no query", target: "", expect: "401 unauthorized" },
  { name: "an empty query", target: "?", expect: "401 unauthorized" },
  {
    name: "an empty token",
    target: "?access_token=",
    expect: "401 unauthorized",
  },
  {
    name: "another token",
    target: `?access_token=moat.web%401.${"A".repeat(43)}`,
    expect: "401 unauthorized",
  },
  {
    name: "the scheme before the token",
    target: `?access_token=Bearer%20${IN_QUERY}`,
    expect: "401 unauthorized",
  },
  {
    name: "another escape in the token",
    target: `?access_token=${IN_QUERY.replace("moat.", "moat%2E")}`,
    expect: "401 unauthorized",
  },
  {
    name: "a name that is escaped twice",
    target: `?access_token=${IN_QUERY.replace("%40", "%2540")}`,
    expect: "401 unauthorized",
  },
  {
    name: "another parameter's name",
    target: `?Access_Token=${IN_QUERY}`,
    expect: "401 unauthorized",
  },
  {
    name: "a longer parameter's name",
    target: `?xaccess_token=${IN_QUERY}`,
    expect: "401 unauthorized",
  },
  {
    name: "the token behind a second question mark",
    target: `??access_token=${IN_QUERY}`,
    expect: "401 unauthorized",
  },
  {
    name: "the token twice",
    target: `?access_token=${IN_QUERY}&access_token=${IN_QUERY}`,
    expect: "400 ambiguous-token",
  },
  {
    name: "the right token and a wrong one",
    target: `?access_token=${IN_QUERY}&access_token=x`,
    expect: "400 ambiguous-token",
  },
  {
    name: "a wrong token and the right one",
    target: `?access_token=x&a=b&access_token=${IN_QUERY}`,
    expect: "400 ambiguous-token",
  },
  {
    name: "a parameter before the token",
    target: `?a=b&access_token=${IN_QUERY}`,
    expect: "404 not-found",
  },
  {
    name: "a parameter behind the token",
    target: `?access_token=${IN_QUERY}&a=b`,
    expect: "404 not-found",
  },
  {
    name: "an empty parameter behind the token",
    target: `?access_token=${IN_QUERY}&`,
    expect: "404 not-found",
  },
];

for (const { name, target, expect } of QUERIES) {
  Deno.test(`createService() answers ${expect} in a query mode to ${name}`, async () => {
    const sent = { target: `/creds${target}`, fields: [] };
    assert.equal(await answer(sent, { access: "query" }), expect);
  });
}

Deno.test("createService() serves no other path for a token in the query", async () => {
  const sent = { target: `/creds/?access_token=${IN_QUERY}`, fields: [] };
  assert.equal(await answer(sent, { access: "query" }), "404 not-found");
});

Deno.test("createService() refuses the token of a query mode in the field", async () => {
  assert.equal(await answer({}, { access: "query" }), "401 unauthorized");
});

Deno.test("createService() refuses the token of a query mode in field and query", async () => {
  const sent = { target: `/creds?access_token=${IN_QUERY}` };
  assert.equal(await answer(sent, { access: "query" }), "400 ambiguous-token");
});

for (const scheme of ["Basic", "Digest", ""]) {
  Deno.test(`createService() takes no token from the query beside the scheme ${JSON.stringify(scheme)}`, async () => {
    const sent = {
      target: `/creds?access_token=${IN_QUERY}`,
      fields: [`Authorization: ${scheme} x`],
    };
    const found = await answer(sent, { access: "query" });
    assert.equal(found, "400 ambiguous-token");
  });
}

Deno.test("createService() asks a query mode for GET, once it is known", async () => {
  const target = `/creds?access_token=${IN_QUERY}`;
  const sent = { method: "POST", target, fields: [] };
  const found = await answer(sent, { access: "query" });
  assert.equal(found, "405 method-not-allowed");
});

Deno.test("createService() repeats the answer of a query mode", async () => {
  const bindings = new BindingTable();
  bindings.set(BINDING.name, live(undefined, { access: "query" }));
  const target = `/creds?access_token=${IN_QUERY}`;
  const { repeat } = await ask(createService(bindings), { target, fields: [] });
  assert.equal(repeat?.(), SECRET);
});

/** Another program's ways. */
const DIALECT: Dialect = {
  paths: ["/creds"],
  methods: ["GET", "HEAD"],
  notAllowed: errorAnswer(405, "no-method", "x"),
  authorization: /^Token ([\w.@-]+)$/,
  noToken: errorAnswer(400, "no-token", "x"),
  unauthorized: errorAnswer(401, "who", "x"),
  failed: (answer) =>
    answer.status === 502 ? new Answer(500, answer.body) : answer,
};

const SPOKEN: { name: string; sent: Sent; expect: string }[] = [
  {
    name: "the token in its own form",
    sent: { fields: [`Authorization: Token ${TOKEN}`] },
    expect: "served",
  },
  { name: "the token in our form", sent: {}, expect: "400 no-token" },
  {
    name: "HEAD",
    sent: { method: "HEAD", fields: [`Authorization: Token ${TOKEN}`] },
    expect: "served",
  },
  { name: "no token", sent: { fields: [] }, expect: "400 no-token" },
  {
    name: "what is no token",
    sent: { fields: ["Authorization: Basic x"] },
    expect: "400 no-token",
  },
  {
    name: "an empty query token",
    sent: { target: "/creds?access_token=", fields: [] },
    expect: "401 who",
  },
  {
    name: "an unknown token",
    sent: { fields: ["Authorization: Token moat.x.y"] },
    expect: "401 who",
  },
  {
    name: "the token where another mode has it",
    sent: { target: `/creds?access_token=${IN_QUERY}`, fields: [] },
    expect: "401 who",
  },
  {
    name: "two tokens",
    sent: { fields: [AUTHORIZATION, AUTHORIZATION] },
    expect: "400 ambiguous-token",
  },
  {
    name: "another path without a token",
    sent: { target: "/x", fields: [] },
    expect: "404 not-found",
  },
  { name: "another path", sent: { target: "/x" }, expect: "404 not-found" },
  {
    name: "another method without a token",
    sent: { method: "POST", fields: [] },
    expect: "405 no-method",
  },
  {
    name: "another method of /healthz",
    sent: { method: "POST", target: "/healthz", fields: [] },
    expect: "405 no-method",
  },
  {
    name: "another method of another path",
    sent: { method: "POST", target: "/x" },
    expect: "404 not-found",
  },
  {
    name: "/healthz",
    sent: { target: "/healthz", fields: [] },
    expect: "healthy",
  },
  {
    name: "a foreign host",
    sent: { host: "evil.example" },
    expect: "403 foreign-host",
  },
];

for (const { name, sent, expect } of SPOKEN) {
  Deno.test(`createService() answers ${expect} in another dialect to ${name}`, async () => {
    assert.equal(await answer(sent, {}, DIALECT), expect);
  });
}

Deno.test("createService() in another dialect changes an answer that was waited for", async () => {
  const bindings = new BindingTable();
  bindings.set(BINDING.name, live(() => Promise.resolve(new Answer(502, "x"))));
  const fields = [`Authorization: Token ${TOKEN}`];
  const reply = await ask(createService(bindings, DIALECT), { fields });
  assert.deepEqual([reply.answer.status, reply.answer.body], [500, "x"]);
});

Deno.test("createService() in another dialect changes what it repeats", async () => {
  const answers = [SECRET, Promise.resolve(new Answer(502, "x"))];
  const bindings = new BindingTable();
  bindings.set(
    BINDING.name,
    live(() => answers.shift() ?? assert.fail()),
  );
  const fields = [`Authorization: Token ${TOKEN}`];
  const { repeat } = await ask(createService(bindings, DIALECT), { fields });
  assert.equal((await repeat?.())?.status, 500);
});

/** On a socket of its own, through a relay. */
const SOCKET = { localHostname: "/moat/s.sock", localPort: 0 };

const RELAYED: { host: string; expect: string }[] = [
  { host: "127.0.0.1:19080", expect: "served" },
  { host: "127.0.0.1:24711", expect: "served" },
  { host: "127.0.0.1", expect: "served" },
  { host: "localhost:19080", expect: "served" },
  { host: "LOCALHOST", expect: "served" },
  { host: "127.0.0.1.evil.example", expect: "403 foreign-host" },
  { host: "evil.example", expect: "403 foreign-host" },
  { host: "moat-proxy:19080", expect: "403 foreign-host" },
  { host: "169.254.169.254", expect: "403 foreign-host" },
  { host: "[::1]:19080", expect: "403 foreign-host" },
];

for (const { host, expect } of RELAYED) {
  Deno.test(`createService() answers ${expect} through a relay to Host: ${host}`, async () => {
    assert.equal(await answer({ host, peer: SOCKET }), expect);
  });
}

/** How a binding can be loaded while its client waits. */
function loadingTable(forms: readonly LiveBinding[]) {
  const bindings = new BindingTable();
  const loaded: string[] = [];
  bindings.load = async (name) => {
    loaded.push(name);
    await Promise.resolve();
    if (name === BINDING.name) bindings.set(name, forms);
  };
  return { service: createService(bindings), loaded };
}

Deno.test("createService() serves a client whose binding has to be loaded", async () => {
  const { service } = loadingTable(live());
  assert.equal((await ask(service)).answer, SECRET);
});

Deno.test("createService() refuses a wrong secret of a binding that has to be loaded", async () => {
  const { service } = loadingTable(live());
  const fields = [`Authorization: Bearer moat.web@1.${"A".repeat(43)}`];
  assert.equal((await ask(service, { fields })).answer.status, 401);
});

Deno.test("createService() loads nothing for a request that it refuses anyway", async () => {
  const { service, loaded } = loadingTable(live());
  const refused: Sent[] = [
    { host: "evil.example" },
    { fields: [] },
    { fields: [AUTHORIZATION, AUTHORIZATION] },
    { fields: [AUTHORIZATION, "Origin: null"] },
    { target: "/%63reds" },
  ];
  for (const sent of refused) await ask(service, sent);
  assert.deepEqual(loaded, []);
});

Deno.test("createService() says what the binding says where there is no endpoint", async () => {
  const [form] = live();
  assert(form);
  const gone = errorAnswer(403, "gone", "x");
  const bindings = new BindingTable();
  const { routes } = form.served;
  const served = { ...NOTHING_MORE, routes, otherwise: gone };
  bindings.set(BINDING.name, [new LiveBinding(form.entry, served)]);
  const service = createService(bindings);
  const found = ["/creds", "/other"].map(async (target) =>
    (await ask(service, { target })).answer
  );
  assert.deepEqual(await Promise.all(found), [SECRET, gone]);
});

Deno.test("createService() gives nothing to a client whose binding is not what is stored any more", async () => {
  const made = Promise.withResolvers<Answer>();
  let isCurrent = true;
  const bindings = new BindingTable();
  const more = { isCurrent: () => isCurrent };
  bindings.set(BINDING.name, live(() => made.promise, more));
  const reply = ask(createService(bindings));
  isCurrent = false;
  made.resolve(SECRET);
  assert.equal((await reply).answer.status, 401);
});

Deno.test("repeat() knows nothing of a binding that is not what is stored any more", async () => {
  let isCurrent = true;
  const bindings = new BindingTable();
  bindings.set(
    BINDING.name,
    live(undefined, { isCurrent: () => isCurrent }),
  );
  const { repeat } = await ask(createService(bindings));
  assert.equal(repeat?.(), SECRET);
  isCurrent = false;
  assert.equal(repeat?.(), undefined);
});

for (const query of ["?access_token=x", "?a=b&access_token="]) {
  Deno.test(`createService() refuses a token in ${query} and in the field`, async () => {
    const target = `/creds${query}`;
    assert.equal(await answer({ target }), "400 ambiguous-token");
  });
}

/** A service with one binding. */
function serving(handler?: EndpointHandler) {
  const bindings = new BindingTable();
  bindings.set(BINDING.name, live(handler));
  return { bindings, service: createService(bindings) };
}

Deno.test("createService() gives the handler the client's binding", async () => {
  let seen: Binding | undefined;
  const { service } = serving((request) => {
    seen = request.binding;
    return SECRET;
  });
  await ask(service);
  assert.equal(seen, BINDING);
});

Deno.test("createService() calls no handler for an unknown client", async () => {
  const { service } = serving(() => assert.fail("was called"));
  const { answer } = await ask(service, { fields: [] });
  assert.equal(answer.status, 401);
});

Deno.test("createService() answers at once when the handler does", () => {
  const { service } = serving();
  assert(!(ask(service) instanceof Promise));
});

Deno.test("createService() gives no answer to a client that is revoked meanwhile", async () => {
  const made = Promise.withResolvers<Answer>();
  const { bindings, service } = serving(() => made.promise);
  const reply = ask(service);
  bindings.remove(BINDING.name);
  made.resolve(SECRET);
  assert.equal((await reply).answer.status, 401);
});

Deno.test("createService() asks anew for a client whose grant changed meanwhile", async () => {
  const made = Promise.withResolvers<Answer>();
  const { bindings, service } = serving(() => made.promise);
  const reply = ask(service);
  const next = new Answer(200, "{}");
  bindings.set(BINDING.name, live(() => next));
  made.resolve(SECRET);
  assert.equal((await reply).answer, next);
});

Deno.test("createService() lets an error of the handler through", async () => {
  const { service } = serving(() => Promise.reject(new TypeError("x")));
  await assert.rejects(async () => await ask(service), TypeError);
});

Deno.test("repeat() answers with what the handler gives now", async () => {
  const answers = [SECRET, new Answer(200, "{}")];
  const { service } = serving(() => answers.shift() ?? assert.fail());
  const { repeat } = await ask(service);
  assert.equal((await repeat?.())?.body, "{}");
});

Deno.test("repeat() knows nothing after a revoke", async () => {
  const { bindings, service } = serving();
  const { repeat } = await ask(service);
  bindings.remove(BINDING.name);
  assert.equal(repeat?.(), undefined);
});

Deno.test("repeat() knows nothing after a change", async () => {
  const { bindings, service } = serving();
  const { repeat } = await ask(service);
  bindings.set(BINDING.name, live());
  assert.equal(repeat?.(), undefined);
});

Deno.test("repeat() gives no answer to a client that is revoked meanwhile", async () => {
  const made = Promise.withResolvers<Answer>();
  const answers: (Answer | Promise<Answer>)[] = [SECRET, made.promise];
  const { bindings, service } = serving(() => answers.shift() ?? SECRET);
  const { repeat } = await ask(service);
  const answer = repeat?.();
  bindings.remove(BINDING.name);
  made.resolve(SECRET);
  assert.equal((await answer)?.status, 401);
});

Deno.test("repeat() asks anew for a client whose grant changed meanwhile", async () => {
  const made = Promise.withResolvers<Answer>();
  const answers: (Answer | Promise<Answer>)[] = [SECRET, made.promise];
  const { bindings, service } = serving(() => answers.shift() ?? SECRET);
  const { repeat } = await ask(service);
  const answer = repeat?.();
  const next = new Answer(200, "{}");
  bindings.set(BINDING.name, live(() => next));
  made.resolve(SECRET);
  assert.equal(await answer, next);
});

for (const sent of [{ method: "POST" }, { target: "/x" }, { fields: [] }]) {
  Deno.test(`createService() repeats no refusal, as for ${JSON.stringify(sent)}`, async () => {
    const { service } = serving();
    assert.equal((await ask(service, sent)).repeat, undefined);
  });
}

Deno.test("createService() repeats /healthz", async () => {
  const { service } = serving();
  const { answer, repeat } = await ask(service, { target: "/healthz" });
  assert.equal(repeat?.(), answer);
});

Deno.test("createService() serves a path in its one spelling only", () => {
  const { service } = serving();
  const part = fc.constantFrom("creds", "/", ".", "%63", "?", ";", "c", "reds");
  fc.assert(fc.property(fc.array(part, { maxLength: 5 }), (parts) => {
    const target = "/" + parts.join("");
    const reply = ask(service, { target });
    assert(!(reply instanceof Promise));
    assert.equal(reply.answer === SECRET, target === "/creds");
  }));
});

const ADMITTED: { local: string; expect: number }[] = [
  { local: "127.0.0.1", expect: 200 },
  { local: "::ffff:127.0.0.1", expect: 200 },
  { local: "172.17.0.1", expect: 401 },
  { local: "::ffff:172.17.0.1", expect: 401 },
  { local: "::1", expect: 401 },
];

for (const { local, expect } of ADMITTED) {
  Deno.test(`createService() answers ${expect} on ${local} to a token of 127.0.0.1`, async () => {
    const bindings = new BindingTable();
    bindings.set(
      BINDING.name,
      live(undefined, {
        admits: (address) => address === "127.0.0.1",
      }),
    );
    const { answer } = await ask(createService(bindings), {
      host: "moat-proxy:19080",
      peer: { localHostname: local },
    });
    assert.equal(answer.status, expect);
  });
}

Deno.test("createService() says the same of a token elsewhere as of an unknown one", async () => {
  const bindings = new BindingTable();
  const unknown = await ask(createService(bindings));
  bindings.set(BINDING.name, live(undefined, { admits: () => false }));
  assert.deepEqual(await ask(createService(bindings)), unknown);
});

Deno.test("createService() tells which clients are known", async () => {
  const bindings = new BindingTable();
  bindings.set(BINDING.name, live());
  const service = createService(bindings);
  const replies = [{}, { target: "/healthz" }, { fields: [] }];
  const known = await Promise.all(
    replies.map(async (sent) => (await ask(service, sent)).isKnown),
  );
  assert.deepEqual(known, [true, undefined, undefined]);
});
