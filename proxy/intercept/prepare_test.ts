import assert from "node:assert/strict";
import { DEFAULT_POLICY, type Policy } from "$core/policy.ts";
import type { Injection } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { NOT_FOUND } from "../answers.ts";
import { LiveBinding } from "../bindings/binding_table.ts";
import { HttpError, RequestHead } from "../http1/head.ts";
import { ProxyFailure } from "./failure.ts";
import { Outbound } from "./outbound.ts";
import {
  Denied,
  endsAfter,
  prepare,
  type Prepared,
  type Scope,
} from "./prepare.ts";

const HTTPS: Scope = {
  scheme: "https",
  authority: { host: "api.test", port: 443 },
};
const HTTP: Scope = { scheme: "http", isOurs: () => false };

const INJECTION: Injection = {
  host: "api.test",
  header: "authorization",
  value: new Secret("Bearer real"),
  strip: ["x-api-key"],
};

/** What a request is prepared with. */
interface Wish {
  readonly method?: string;
  readonly target?: string;
  readonly version?: "1.0" | "1.1";
  readonly host?: string;
  readonly fields?: readonly (readonly [string, string])[];
  readonly scope?: Scope;
  readonly policy?: Partial<Policy>;
  readonly injections?: readonly Injection[];
}

const ALLOW_ALL: Partial<Policy> = {
  rules: [{ action: "allow", host: "api.test:80" }, {
    action: "allow",
    host: "api.test",
  }],
};

function prepared(wish: Wish): Prepared {
  const { method = "GET", target = "/x", version = "1.1", fields = [] } = wish;
  const outbound = new Outbound({ ...DEFAULT_POLICY, ...wish.policy }, [{
    grant: "api",
    injections: wish.injections ?? [INJECTION],
    substitutions: [{
      host: "api.test",
      placeholder: "PLACEHOLDER",
      value: new Secret("se/cret"),
    }],
    allowed: [],
  }]);
  const live = new LiveBinding({
    binding: { name: "web", grants: ["api"] },
    tokenDigest: "",
    access: "header",
    admits: () => true,
  }, { routes: new Map(), otherwise: NOT_FOUND, outbound, grants: [] });
  const head = new RequestHead(method, target, version, [
    ["Host", wish.host ?? "api.test"],
    ...fields,
  ]);
  return prepare(head, wish.scope ?? HTTPS, live);
}

/** The lines of what is forwarded. */
function lines(wish: Wish): string[] {
  return new TextDecoder().decode(prepared(wish).bytes).split("\r\n").slice(
    0,
    -2,
  );
}

function failure(wish: Wish): ProxyFailure | HttpError {
  try {
    prepared(wish);
  } catch (error) {
    if (error instanceof ProxyFailure || error instanceof HttpError) {
      return error;
    }
    throw error;
  }
  throw new Error("it was prepared");
}

Deno.test("prepare() puts the credential on, in place of the client's", () => {
  assert.deepEqual(
    lines({
      fields: [["authorization", "mine"], ["X-Api-Key", "mine"], ["A", "b"]],
    }),
    ["GET /x HTTP/1.1", "Host: api.test", "A: b", "Authorization: Bearer real"],
  );
});

Deno.test("prepare() names the grants that it puts on", () => {
  assert.deepEqual(prepared({}).grants, ["api"]);
});

Deno.test("prepare() puts a substitution into the target, not into what is recorded", () => {
  const target = "/botPLACEHOLDER/send?a=PLACEHOLDER";
  assert.deepEqual(
    [lines({ target })[0], prepared({ target }).path],
    [
      "GET /botse%2Fcret/send?a=PLACEHOLDER HTTP/1.1",
      "/botPLACEHOLDER/send",
    ],
  );
});

Deno.test("prepare() forwards the path that it decided about", () => {
  const { path } = prepared({ target: "/a/../b/%7e?q=/../" });
  assert.deepEqual(
    [path, lines({ target: "/a/../b/%7e?q=/../" })[0]],
    ["/b/~", "GET /b/~?q=/../ HTTP/1.1"],
  );
});

Deno.test("prepare() takes hop-by-hop fields off", () => {
  const fields = [
    ["Connection", "keep-alive, X-Hop"],
    ["X-Hop", "1"],
    ["Keep-Alive", "timeout=5"],
    ["Proxy-Authorization", "Basic eA=="],
    ["Proxy-Connection", "keep-alive"],
    ["TE", "trailers"],
  ] as const;
  assert.deepEqual(lines({ fields }), [
    "GET /x HTTP/1.1",
    "Host: api.test",
    "Authorization: Bearer real",
  ]);
});

Deno.test("prepare() keeps what asks for another protocol", () => {
  const fields = [["Connection", "Upgrade"], ["Upgrade", "websocket"]] as const;
  const { upgrades } = prepared({ fields });
  const text = lines({ fields }).join("\n").toLowerCase();
  assert.deepEqual(
    [upgrades, /^connection: upgrade$/m.test(text), /^upgrade: w/m.test(text)],
    [true, true, true],
  );
});

// Where a request goes

const ELSEWHERE: readonly Wish[] = [
  { host: "api.test:" },
  { host: "evil.test" },
  { host: "api.test:8443" },
  { host: "api.test.evil.test" },
  { target: "https://evil.test/x" },
  { target: "https://api.test:8443/x" },
  { target: "http://api.test/x" },
  { target: "https://me@api.test/x" },
  { scope: HTTP, target: "http://api.test/x", host: "evil.test" },
  { scope: HTTP, target: "http://api.test/x", host: "api.test:443" },
];
for (const wish of ELSEWHERE) {
  Deno.test(`prepare() misdirects ${JSON.stringify(wish)}`, () => {
    const { status, code } = failure({ ...wish, policy: ALLOW_ALL });
    assert.deepEqual([status, code], [421, "misdirected"]);
  });
}

const SAME: readonly Wish[] = [
  { host: "API.test" },
  { host: "api.test:443" },
  { host: "api.test." },
  { target: "https://api.test/x" },
  { target: "HTTPS://API.TEST:443/x", host: "api.test:443" },
  { scope: HTTP, target: "http://api.test/x" },
  { scope: HTTP, target: "http://API.test:80/x", host: "api.test" },
];
for (const wish of SAME) {
  Deno.test(`prepare() sends ${JSON.stringify(wish)} to its host, with a path alone`, () => {
    const found = prepared({ ...wish, policy: ALLOW_ALL });
    const line = lines({ ...wish, policy: ALLOW_ALL })[0];
    assert.deepEqual(
      [found.authority.host, line],
      ["api.test", "GET /x HTTP/1.1"],
    );
  });
}

Deno.test("prepare() takes port 80 for http URLs", () => {
  const { authority, scheme } = prepared({
    scope: HTTP,
    target: "http://api.test/x",
    policy: ALLOW_ALL,
  });
  assert.deepEqual([authority.port, scheme], [80, "http"]);
});

Deno.test("prepare() adds the path that an http URL lacks", () => {
  const [line] = lines({
    scope: HTTP,
    target: "http://api.test?a",
    policy: ALLOW_ALL,
  });
  assert.equal(line, "GET /?a HTTP/1.1");
});

Deno.test("prepare() makes OPTIONS of a whole server of an URL without a path", () => {
  const wish = {
    scope: HTTP,
    method: "OPTIONS",
    target: "http://api.test",
    policy: ALLOW_ALL,
  };
  assert.equal(lines(wish)[0], "OPTIONS * HTTP/1.1");
});

for (const target of ["/x", "https://api.test/x", "ftp://api.test/x"]) {
  Deno.test(`prepare() refuses ${target} where an http URL is wanted`, () => {
    const { status, code } = failure({ scope: HTTP, target });
    assert.deepEqual([status, code], [400, "bad-target"]);
  });
}

for (const method of ["TRACE", "TRACK", "CONNECT"]) {
  Deno.test(`prepare() refuses ${method}`, () => {
    const { status, code } = failure({ method, target: "/x" });
    assert.deepEqual([status, code], [405, "method-not-allowed"]);
  });
}

for (const target of ["/a%00b", "/a\\b", "/a%", "/a#b", "/a%c0%af"]) {
  Deno.test(`prepare() refuses the path ${target}`, () => {
    const { status, code } = failure({ target });
    assert.deepEqual([status, code], [400, "bad-path"]);
  });
}

// Without TLS

Deno.test("prepare() puts nothing on without TLS, and takes the client's off", () => {
  const wish: Wish = {
    scope: HTTP,
    target: "http://api.test/x",
    policy: ALLOW_ALL,
    fields: [["Authorization", "mine"]],
    injections: [{ ...INJECTION, host: "api.test:80" }],
  };
  assert.deepEqual(
    [lines(wish), prepared(wish).grants],
    [["GET /x HTTP/1.1", "Host: api.test"], []],
  );
});

Deno.test("prepare() puts a credential on without TLS where that is opted in", () => {
  const wish: Wish = {
    scope: HTTP,
    target: "http://api.test/x",
    policy: { ...ALLOW_ALL, plainHttp: ["api.test:80"] },
    injections: [{ ...INJECTION, host: "api.test:80" }],
  };
  assert.match(lines(wish).join("\n"), /^Authorization: Bearer real$/m);
});

// What policy denies

const DENIED = {
  policy: { rules: [{ action: "deny", host: "api.test", path: "/x/**" }] },
} as const;

Deno.test("prepare() denies with what the trace needs, and without the query", () => {
  const denied = failure({ ...DENIED, target: "/x/y?secret" });
  assert(denied instanceof Denied);
  const { status, error, method, path, decision } = denied;
  assert.deepEqual(
    [status, error, method, path, decision.rule],
    [403, "http_request_denied", "GET", "/x/y", "rule 1: deny api.test /x/**"],
  );
});

Deno.test("prepare() names method and host in a denial, not rule, path or query", () => {
  const { message } = failure({ ...DENIED, target: "/x/y?secret" });
  assert.equal(
    message,
    "GET to api.test at this path is not allowed for this client",
  );
});

Deno.test("prepare() says how a host can be allowed that nothing is said about", () => {
  const { message } = failure({
    scope: HTTP,
    target: "http://other.test/x",
    host: "other.test",
  });
  assert.match(message, /--allow other\.test(:80)?$/);
});

for (
  const target of [
    "/x//y",
    "/./x/y",
    "/a/../x/y",
    "/%78/y",
    "/x%2fy",
    "/a%2f..%2fx/y",
    "/x;v=1/y",
    "/X/../x/y",
  ]
) {
  Deno.test(`prepare() denies ${target}, which may mean /x/y`, () => {
    assert(failure({ ...DENIED, target }) instanceof Denied);
  });
}

Deno.test("prepare() denies before it looks at a body", () => {
  const fields = [["Content-Length", "5"]] as const;
  assert(failure({ ...DENIED, target: "/x/y", fields }) instanceof Denied);
});

// What follows

const BODIES: readonly [NonNullable<Wish["fields"]>, unknown][] = [
  [[], { kind: "none" }],
  [[["Content-Length", "0"]], { kind: "length", length: 0 }],
  [[["Content-Length", "7"]], { kind: "length", length: 7 }],
  [[["Transfer-Encoding", "chunked"]], { kind: "chunked" }],
];
for (const [fields, framing] of BODIES) {
  Deno.test(`prepare() tells the body of ${JSON.stringify(fields)}`, () => {
    assert.deepEqual(prepared({ fields }).framing, framing);
  });
}

const UNCLEAR: readonly (NonNullable<Wish["fields"]>)[] = [
  [["Content-Length", "1"], ["Transfer-Encoding", "chunked"]],
  [["Content-Length", "1"], ["Content-Length", "1"]],
  [["Transfer-Encoding", "gzip, chunked"]],
  [["Transfer-Encoding", "chunked"], ["Transfer-Encoding", "chunked"]],
  [["Content-Length", "+1"]],
];
for (const fields of UNCLEAR) {
  Deno.test(`prepare() refuses the body of ${JSON.stringify(fields)}`, () => {
    const error = failure({ fields });
    assert.deepEqual(
      [error instanceof HttpError, Math.floor(error.status / 100)],
      [true, error.status === 501 ? 5 : 4],
    );
  });
}

const SAFE: readonly [Wish, boolean][] = [
  [{}, true],
  [{ method: "HEAD" }, true],
  [{ method: "OPTIONS" }, true],
  [{ method: "get" }, false],
  [{ method: "PUT" }, false],
  [{ method: "DELETE" }, false],
  [{ method: "POST" }, false],
  [{ fields: [["Content-Length", "1"]] }, false],
];
for (const [wish, isSafe] of SAFE) {
  const may = isSafe ? "may" : "may not";
  Deno.test(`prepare() says that ${JSON.stringify(wish)} ${may} be sent twice`, () => {
    assert.equal(prepared(wish).isSafe, isSafe);
  });
}

const ENDS: readonly [Wish, boolean][] = [
  [{}, false],
  [{ fields: [["Connection", "keep-alive"]] }, false],
  [{ fields: [["Connection", "close"]] }, true],
  [{ fields: [["Connection", "x, CLOSE"]] }, true],
  [{ fields: [["Proxy-Connection", "close"]] }, true],
  [{ version: "1.0" }, true],
  [{ version: "1.0", fields: [["Connection", "keep-alive"]] }, true],
];
for (const [wish, ends] of ENDS) {
  Deno.test(`endsAfter() gives ${ends} for ${JSON.stringify(wish)}`, () => {
    const { version = "1.1", fields = [] } = wish;
    const head = new RequestHead("GET", "/", version, [
      ["Host", "x"],
      ...fields,
    ]);
    assert.deepEqual([endsAfter(head), prepared(wish).closes], [ends, ends]);
  });
}
