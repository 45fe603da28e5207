import assert from "node:assert/strict";
import fc from "fast-check";
import { type Binding, digestToken } from "$core/binding.ts";
import { Answer, type EndpointHandler } from "$core/provider.ts";
import { assertNoCanary, CANARY } from "../tests/support/canary.ts";
import { toBytes } from "../tests/support/raw_http.ts";
import { BindingTable, LiveBinding } from "./bindings.ts";
import { HttpError, parseRequestHead } from "./http1/head.ts";
import type { Peer, Reply } from "./http1/server.ts";
import { createService } from "./service.ts";

const PEER: Peer = {
  localHostname: "127.0.0.1",
  localPort: 19080,
  remoteHostname: "127.0.0.1",
};
const TOKEN = `moat_${CANARY}`;
const BINDING: Binding = {
  name: "run-a",
  grants: ["x"],
  tokenDigest: digestToken(TOKEN),
};
const SECRET = new Answer(200, '{"secret":true}');

/** A binding that serves `/creds`. */
function live(
  handler: EndpointHandler = () => SECRET,
  admits: (localHostname: string) => boolean = () => true,
): LiveBinding {
  return new LiveBinding(BINDING, new Map([["/creds", handler]]), admits);
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
async function answer(sent: Sent): Promise<string> {
  const bindings = new BindingTable();
  bindings.set(live());
  const { answer } = await ask(createService(bindings), sent);
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
  bindings.set(live());
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
    fields: [`Authorization: Bearer ${BINDING.tokenDigest}`],
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

for (const query of ["?access_token=x", "?a=b&access_token="]) {
  Deno.test(`createService() refuses a token in ${query} and in the field`, async () => {
    const target = `/creds${query}`;
    assert.equal(await answer({ target }), "400 ambiguous-token");
  });
}

/** A service with one binding. */
function serving(handler?: EndpointHandler) {
  const bindings = new BindingTable();
  bindings.set(live(handler));
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
  bindings.remove(BINDING);
  made.resolve(SECRET);
  assert.equal((await reply).answer.status, 401);
});

Deno.test("createService() asks anew for a client whose grant changed meanwhile", async () => {
  const made = Promise.withResolvers<Answer>();
  const { bindings, service } = serving(() => made.promise);
  const reply = ask(service);
  const next = new Answer(200, "{}");
  bindings.set(live(() => next));
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
  bindings.remove(BINDING);
  assert.equal(repeat?.(), undefined);
});

Deno.test("repeat() knows nothing after a change", async () => {
  const { bindings, service } = serving();
  const { repeat } = await ask(service);
  bindings.set(live());
  assert.equal(repeat?.(), undefined);
});

Deno.test("repeat() gives no answer to a client that is revoked meanwhile", async () => {
  const made = Promise.withResolvers<Answer>();
  const answers: (Answer | Promise<Answer>)[] = [SECRET, made.promise];
  const { bindings, service } = serving(() => answers.shift() ?? SECRET);
  const { repeat } = await ask(service);
  const answer = repeat?.();
  bindings.remove(BINDING);
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
  bindings.set(live(() => next));
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
    bindings.set(live(undefined, (address) => address === "127.0.0.1"));
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
  bindings.set(live(undefined, () => false));
  assert.deepEqual(await ask(createService(bindings)), unknown);
});

Deno.test("createService() tells which clients are known", async () => {
  const bindings = new BindingTable();
  bindings.set(live());
  const service = createService(bindings);
  const replies = [{}, { target: "/healthz" }, { fields: [] }];
  const known = await Promise.all(
    replies.map(async (sent) => (await ask(service, sent)).isKnown),
  );
  assert.deepEqual(known, [true, undefined, undefined]);
});
