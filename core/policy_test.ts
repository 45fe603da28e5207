import assert from "node:assert/strict";
import fc from "fast-check";
import { parseAuthority } from "./host.ts";
import {
  compilePolicy,
  DEFAULT_POLICY,
  type GrantedHost,
  normalizePath,
  parsePolicy,
  type Policy,
  type Rule,
} from "./policy.ts";

const GITHUB: GrantedHost = {
  host: "api.github.com",
  grant: "github",
  reads: true,
};
const WILD: GrantedHost = { host: "*.datadog.test", grant: "dd", reads: true };
const AWS: GrantedHost = {
  host: "*.amazonaws.com",
  grant: "aws",
  reads: false,
};

/** `allow GET,HEAD HOST /path`, as decisions show rules. */
function rule(text: string): Rule {
  const [, action, methods, host = "", path] =
    /^(allow|deny)(?: ([A-Z,]+))? (\S+)(?: (.+))?$/.exec(text) ?? [];
  return {
    action: action as Rule["action"],
    host,
    ...(methods !== undefined && { methods: methods.split(",") }),
    ...(path !== undefined && { path }),
  };
}

function policy(rules: readonly string[], rest: Partial<Policy> = {}): Policy {
  return { ...DEFAULT_POLICY, rules: rules.map(rule), ...rest };
}

function authority(text: string) {
  const found = parseAuthority(text, 443);
  assert(found);
  return found;
}

/** A policy as the tables below have it. */
interface Case {
  readonly rules?: readonly string[];
  readonly default?: Policy["default"];
  readonly grants?: readonly GrantedHost[];
}

function compile({ rules = [], default: action = "deny", grants = [] }: Case) {
  return compilePolicy(policy(rules, { default: action }), grants);
}

const CONNECTS: (Case & {
  name: string;
  to: string;
  access: "deny" | "tunnel" | "read";
  by: string;
})[] = [
  { name: "denies by default", to: "a.test", access: "deny", by: "default" },
  {
    name: "tunnels what the default allows",
    default: "allow",
    to: "a.test:25",
    access: "tunnel",
    by: "default",
  },
  {
    name: "reads a granted host",
    grants: [GITHUB],
    to: "api.github.com",
    access: "read",
    by: "grant github",
  },
  {
    name: "reads a granted host in any spelling",
    grants: [GITHUB],
    to: "API.GitHub.com.",
    access: "read",
    by: "grant github",
  },
  {
    name: "denies a granted host's other ports",
    grants: [GITHUB],
    to: "api.github.com:8443",
    access: "deny",
    by: "default",
  },
  {
    name: "reads below a granted suffix",
    grants: [WILD],
    to: "api.eu.datadog.test",
    access: "read",
    by: "grant dd",
  },
  {
    name: "denies a granted suffix itself",
    grants: [WILD],
    to: "datadog.test",
    access: "deny",
    by: "default",
  },
  {
    name: "denies what looks like a granted suffix",
    grants: [WILD],
    to: "evildatadog.test",
    access: "deny",
    by: "default",
  },
  {
    name: "denies what begins like a granted host",
    grants: [GITHUB],
    to: "api.github.com.evil.test",
    access: "deny",
    by: "default",
  },
  {
    name: "tunnels to a host of a grant that puts nothing on requests",
    grants: [AWS],
    to: "sts.amazonaws.com",
    access: "tunnel",
    by: "grant aws",
  },
  {
    name: "reads if any grant of the host does",
    grants: [AWS, { ...AWS, grant: "sign", reads: true }],
    to: "sts.amazonaws.com",
    access: "read",
    by: "grant aws",
  },
  {
    name: "denies a granted host by a rule",
    rules: ["deny api.github.com"],
    grants: [GITHUB],
    to: "api.github.com",
    access: "deny",
    by: "rule 1: deny api.github.com",
  },
  {
    name: "reads a granted host that a rule allows",
    rules: ["allow *.github.com"],
    grants: [GITHUB],
    to: "api.github.com",
    access: "read",
    by: "rule 1: allow *.github.com",
  },
  {
    name: "tunnels to a host that a rule allows",
    rules: ["deny b.test", "allow a.test"],
    to: "a.test",
    access: "tunnel",
    by: "rule 2: allow a.test",
  },
  {
    name: "lets the first rule count",
    rules: ["deny *.test", "allow a.test"],
    to: "a.test",
    access: "deny",
    by: "rule 1: deny *.test",
  },
  {
    name: "lets the first rule count that is an exception",
    rules: ["allow a.test", "deny *.test"],
    to: "a.test",
    access: "tunnel",
    by: "rule 1: allow a.test",
  },
  {
    name: "reads where a path may be allowed",
    rules: ["allow a.test /v1/**"],
    to: "a.test",
    access: "read",
    by: "rule 1: allow a.test /v1/**",
  },
  {
    name: "reads where a method may be denied",
    rules: ["deny DELETE a.test", "allow a.test"],
    to: "a.test",
    access: "read",
    by: "rule 2: allow a.test",
  },
  {
    name: "denies where only more is denied",
    rules: ["deny DELETE a.test", "deny a.test /x"],
    to: "a.test",
    access: "deny",
    by: "default",
  },
  {
    name: "reads where an exception precedes a denial",
    rules: ["allow GET a.test", "deny a.test"],
    to: "a.test",
    access: "read",
    by: "rule 1: allow GET a.test",
  },
  {
    name: "denies where an exception follows a denial",
    rules: ["deny a.test", "allow GET a.test"],
    to: "a.test",
    access: "deny",
    by: "rule 1: deny a.test",
  },
  {
    name: "reads a host of which the default allows the rest",
    rules: ["deny POST a.test"],
    default: "allow",
    to: "a.test",
    access: "read",
    by: "default",
  },
  {
    name: "does not allow port 80 through a tunnel",
    rules: ["allow a.test"],
    to: "a.test:80",
    access: "deny",
    by: "default",
  },
  {
    name: "allows the port that a rule names",
    rules: ["allow a.test:8443"],
    to: "a.test:8443",
    access: "tunnel",
    by: "rule 1: allow a.test:8443",
  },
  {
    name: "does not allow 443 where a rule names another port",
    rules: ["allow a.test:8443"],
    to: "a.test",
    access: "deny",
    by: "default",
  },
  {
    name: "denies all ports by a rule without one",
    rules: ["deny a.test"],
    default: "allow",
    to: "a.test:8443",
    access: "deny",
    by: "rule 1: deny a.test",
  },
  {
    name: "denies the one port that a rule names",
    rules: ["deny a.test:8443"],
    default: "allow",
    to: "a.test",
    access: "tunnel",
    by: "default",
  },
  {
    name: "denies addresses by no suffix",
    rules: ["allow *.test"],
    to: "127.0.0.1",
    access: "deny",
    by: "default",
  },
  {
    name: "allows addresses by a star",
    rules: ["allow *"],
    to: "[::1]",
    access: "tunnel",
    by: "rule 1: allow *",
  },
  {
    name: "knows an address in any form",
    rules: ["deny 127.0.0.1", "allow *"],
    to: "0x7f.1",
    access: "deny",
    by: "rule 1: deny 127.0.0.1",
  },
  {
    name: "knows an address in a rule in any form",
    rules: ["deny 2130706433", "allow *"],
    to: "127.0.0.1",
    access: "deny",
    by: "rule 1: deny 127.0.0.1",
  },
  {
    name: "knows an international name in any form",
    rules: ["allow bücher.test"],
    to: "xn--bcher-kva.test",
    access: "tunnel",
    by: "rule 1: allow xn--bcher-kva.test",
  },
];
for (const { name, to, access, by, ...c } of CONNECTS) {
  Deno.test(`connect() ${name}`, () => {
    const { access: found, decision } = compile(c).connect(authority(to));
    assert.deepEqual([found, decision.rule], [access, by]);
  });
}

for (const { name, to, access, ...c } of CONNECTS) {
  Deno.test(`connect() names an action that fits: ${name}`, () => {
    const { decision } = compile(c).connect(authority(to));
    assert.equal(decision.action, access === "deny" ? "deny" : "allow");
  });
}

const READ_ONLY = [
  "deny api.github.com /repos/acme/secret/**",
  "allow GET,HEAD api.github.com /repos/**",
  "deny api.github.com",
];

const REQUESTS: (Case & { name: string; request: string; by: string })[] = [
  {
    name: "allows method and path",
    rules: READ_ONLY,
    request: "GET https://api.github.com/repos/acme/site",
    by: "rule 2: allow GET,HEAD api.github.com /repos/**",
  },
  {
    name: "denies another method",
    rules: READ_ONLY,
    request: "POST https://api.github.com/repos/acme/site",
    by: "rule 3: deny api.github.com",
  },
  {
    name: "denies another path",
    rules: READ_ONLY,
    grants: [GITHUB],
    request: "GET https://api.github.com/user",
    by: "rule 3: deny api.github.com",
  },
  {
    name: "denies an exception",
    rules: READ_ONLY,
    request: "GET https://api.github.com/repos/acme/secret/x",
    by: "rule 1: deny api.github.com /repos/acme/secret/**",
  },
  {
    name:
      "denies an exception in another case, which the upstream takes for it",
    rules: READ_ONLY,
    request: "GET https://api.github.com/repos/ACME/Secret/x",
    by: "rule 1: deny api.github.com /repos/acme/secret/**",
  },
  {
    name: "denies a denied method in another case",
    rules: ["deny DELETE a.test", "allow a.test"],
    request: "delete https://a.test/",
    by: "rule 1: deny DELETE a.test",
  },
  {
    name: "allows no method in another case",
    rules: ["allow GET a.test"],
    request: "get https://a.test/",
    by: "default",
  },
  {
    name: "does not take HEAD for GET",
    rules: ["allow GET a.test"],
    request: "HEAD https://a.test/",
    by: "default",
  },
  {
    name: "leaves the rest of a granted host to the grant",
    rules: ["deny DELETE api.github.com"],
    grants: [GITHUB],
    request: "GET https://api.github.com/user",
    by: "grant github",
  },
  {
    name: "names the first grant of a host",
    rules: [],
    grants: [GITHUB, { ...GITHUB, grant: "github:work" }],
    request: "GET https://api.github.com/user",
    by: "grant github",
  },
  {
    name: "leaves the rest to the default",
    rules: ["deny a.test /x"],
    default: "allow",
    request: "GET https://a.test/y",
    by: "default",
  },
  {
    name: "takes port 80 for plain http",
    rules: ["allow a.test"],
    request: "GET http://a.test:80/",
    by: "rule 1: allow a.test",
  },
  {
    name: "does not take port 443 for plain http",
    rules: ["allow a.test"],
    request: "GET http://a.test:443/",
    by: "default",
  },
  {
    name: "does not take port 80 for https",
    rules: ["allow a.test"],
    request: "GET https://a.test:80/",
    by: "default",
  },
  {
    name: "allows a granted host no plain http",
    rules: [],
    grants: [GITHUB],
    request: "GET http://api.github.com:80/",
    by: "default",
  },
  {
    name: "allows a granted host no plain http at its own port",
    rules: [],
    grants: [GITHUB],
    request: "GET http://api.github.com:443/",
    by: "default",
  },
  {
    name: "allows plain http at the port that a grant names",
    rules: [],
    grants: [{ ...GITHUB, host: "registry.test:4873", grant: "npm" }],
    request: "GET http://registry.test:4873/x",
    by: "grant npm",
  },
  {
    name: "denies plain http by a rule without a port",
    rules: ["deny a.test"],
    default: "allow",
    request: "GET http://a.test:8080/",
    by: "rule 1: deny a.test",
  },
  {
    name: "looks at no query",
    rules: ["allow a.test /v1/items"],
    request: "GET https://a.test/v1/items?x=/v1/other",
    by: "rule 1: allow a.test /v1/items",
  },
  {
    name: "takes no query for the path",
    rules: ["allow a.test /v1/items"],
    request: "GET https://a.test/v2?/v1/items",
    by: "default",
  },
  {
    name: "allows OPTIONS * by no path",
    rules: ["allow a.test /**"],
    request: "OPTIONS https://a.test*",
    by: "default",
  },
  {
    name: "allows npm's scoped packages by one rule",
    rules: ["allow npm.test /@acme%2f*"],
    request: "GET https://npm.test/@acme%2fsite",
    by: "rule 1: allow npm.test /@acme%2f*",
  },
  {
    name: "allows no other scope of npm",
    rules: ["allow npm.test /@acme%2f*"],
    request: "GET https://npm.test/@acme%2f..%2f@evil%2fsite",
    by: "default",
  },
];

function ask({ request, ...c }: Case & { readonly request: string }) {
  const [, method = "", scheme, host = "", target = ""] =
    /^(\S+) (https?):\/\/([^/*]+)(.*)$/.exec(request) ?? [];
  const path = normalizePath(target);
  assert(path, "refused");
  return compile(c)
    .request(authority(host), method, path, scheme as "http" | "https");
}

for (const { by, ...c } of REQUESTS) {
  Deno.test(`request() ${c.name}`, () => assert.equal(ask(c).rule, by));
}

/** Ways round a denial of /admin, and out of a permission of /public. */
const BYPASSES: string[] = [
  ...["/admin", "/admin/", "/admin/x", "/ADMIN", "/Admin/x", "//admin"],
  ...["/./admin", "/x/../admin", "/public/../admin", "/%61dmin", "/%2e/admin"],
  ...["/public/%2e%2e/admin", "/public/.%2e/admin", "/public%2f..%2fadmin"],
  ...["/public/..%2fadmin", "/public/..%2Fadmin", "/public/..%5cadmin"],
  ...["/public%5c..%5cadmin", "/public/%252e%252e/admin", "/%2561dmin"],
  ...["/public/..%252fadmin", "/public/..%25252fadmin", "/public/..;/admin"],
  ...["/public/..;x=1/admin", "/public/..%3b/admin", "/public/..%3bx/admin"],
  ...["/admin;x", "/admin;x/y", "/;x/admin", "/admin%3bx", "/admin%3fx"],
  ...["/admin%23x", "/admin%2f", "/%2fadmin", "/%5cadmin"],
  ...["/public/%2f..%2f..%2fadmin", "/public/;/..%2f..%2fadmin"],
  ...["//x.test/admin", "/.//x.test/admin", "/%2fx.test/admin"],
  ...["/public/../../admin", "/admin%2fx", "/admin/%2e", "/admin/."],
];
for (const target of BYPASSES) {
  Deno.test(`${target} is no way round a denial`, () => {
    const rules = ["deny a.test /admin/**", "allow a.test"];
    const request = `GET https://a.test${target}`;
    assert.equal(ask({ rules, request }).action, "deny");
  });
  Deno.test(`${target} is no way out of a permission`, () => {
    const rules = ["allow a.test /public/**"];
    const request = `GET https://a.test${target}`;
    assert.equal(ask({ rules, request }).action, "deny");
  });
}

/** Paths of the pieces that deceive. */
const target = fc.array(
  fc.constantFrom(
    ...["a", "b", "/a", "/a/", "/b", "/", "//", "..", "/..", "/.", ";", ";x"],
    ...[
      "%2f",
      "%2F",
      "%5c",
      "%2e",
      "%252f",
      "%252e",
      "%25",
      "%3b",
      "%3f",
      "%61",
    ],
  ),
  { maxLength: 10 },
).map((all) => `/${all.join("")}`);

Deno.test("request() allows nothing of which a reading is outside", () => {
  const compiled = compilePolicy(policy(["allow h.test /a/**"]), []);
  fc.assert(
    fc.property(target, (target) => {
      const path = normalizePath(target);
      if (!path) return;
      const { action } = compiled.request(
        authority("h.test"),
        "GET",
        path,
        "https",
      );
      const isInside = path.readings.every((reading) =>
        /^\/a(?:\/|$)/.test(reading)
      );
      assert.equal(action === "allow", isInside, path.readings.join(" "));
    }),
    { numRuns: 3000 },
  );
});

Deno.test("request() denies whatever has a reading that is denied", () => {
  const rules = ["deny h.test /a/**", "allow h.test"];
  const compiled = compilePolicy(policy(rules), []);
  fc.assert(
    fc.property(target, (target) => {
      const path = normalizePath(target);
      if (!path) return;
      const { action } = compiled.request(
        authority("h.test"),
        "GET",
        path,
        "https",
      );
      const isInside = path.readings.some((reading) =>
        /^\/a(?:\/|$)/i.test(reading)
      );
      assert.equal(action === "deny", isInside, path.readings.join(" "));
    }),
    { numRuns: 3000 },
  );
});

Deno.test("connect() and request() agree", () => {
  const someRule = fc.constantFrom(
    ...["allow h.test", "deny h.test", "allow GET h.test", "deny h.test /a"],
    ...["allow *.test /a/**", "deny POST *", "allow h.test:1", "deny x.test"],
  );
  const rules = fc.array(someRule, { maxLength: 5 });
  const asked = fc.record({
    rules,
    default: fc.constantFrom("allow" as const, "deny" as const),
    isGranted: fc.boolean(),
    host: fc.constantFrom("h.test", "h.test:1", "y.test"),
    method: fc.constantFrom("GET", "POST"),
    target: fc.constantFrom("/", "/a", "/a/b"),
  });
  fc.assert(
    fc.property(asked, ({ rules, isGranted, host, method, target, ...c }) => {
      const grants = isGranted ? [{ ...GITHUB, host: "h.test" }] : [];
      const compiled = compilePolicy(policy(rules, c), grants);
      const to = authority(host);
      const path = normalizePath(target);
      assert(path);
      const { access, decision } = compiled.connect(to);
      const found = compiled.request(to, method, path, "https");
      if (access === "deny") assert.equal(found.action, "deny");
      if (access === "tunnel") assert.deepEqual(found, decision);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("request() denies a path without readings", () => {
  const compiled = compilePolicy(policy(["allow GET a.test"]), []);
  const path = { target: "/", readings: [] };
  const found = compiled.request(authority("a.test"), "GET", path, "https");
  assert.equal(found.action, "deny");
});

Deno.test("compilePolicy() decides as before after a thousand hosts", () => {
  const compiled = compilePolicy(policy(["allow *.a.test", "deny *"]), []);
  const found = Array.from({ length: 2000 }, (_, i) => {
    const name = `h${i % 1000}.${i % 2 === 0 ? "a" : "b"}.test`;
    return compiled.connect(authority(name)).access;
  });
  const wanted = found.map((_, i) => i % 2 === 0 ? "tunnel" : "deny");
  assert.deepEqual(found, wanted);
});

const HOSTS = {
  allowHosts: ["registry.test:4873", "127.0.0.1:8080"],
  plainHttp: ["registry.test:4873"],
};

for (
  const [name, allowed] of [
    ["registry.test:4873", true],
    ["REGISTRY.test.:4873", true],
    ["0x7f.1:8080", true],
    ["registry.test:443", false],
    ["x.registry.test:4873", false],
  ] as const
) {
  Deno.test(`opensPrivate() is ${allowed} for ${name}`, () => {
    const compiled = compilePolicy(policy([], HOSTS), []);
    assert.equal(compiled.opensPrivate(authority(name)), allowed);
  });
}

Deno.test("allowsPlainHttp() is for hosts of its own list", () => {
  const compiled = compilePolicy(policy([], HOSTS), []);
  const found = ["registry.test:4873", "127.0.0.1:8080"].map((name) =>
    compiled.allowsPlainHttp(authority(name))
  );
  assert.deepEqual(found, [true, false]);
});

Deno.test("a host that may be private is not thereby allowed", () => {
  const compiled = compilePolicy(policy([], HOSTS), []);
  const { access } = compiled.connect(authority("registry.test:4873"));
  assert.equal(access, "deny");
});

Deno.test("compilePolicy() refuses a rule of no host", () => {
  assert.throws(() => compilePolicy(policy(["deny *.*"]), []), {
    code: "bad-policy",
  });
});

Deno.test("compilePolicy() refuses a grant of no host", () => {
  const grants = [{ ...GITHUB, host: "https://api.github.com" }];
  assert.throws(() => compilePolicy(DEFAULT_POLICY, grants), {
    code: "bad-policy",
    message: /the host of grant "github"/,
  });
});

Deno.test("parsePolicy() reads what was kept as JSON", () => {
  const kept = policy(READ_ONLY, HOSTS);
  assert.deepEqual(parsePolicy(JSON.parse(JSON.stringify(kept))), kept);
});

Deno.test("parsePolicy() makes hosts canonical", () => {
  const kept = policy(["deny API.GitHub.com."], { plainHttp: ["A.test:80"] });
  const { rules, plainHttp } = parsePolicy(kept) ?? {};
  assert.deepEqual([rules?.[0]?.host, plainHttp], ["api.github.com", [
    "a.test:80",
  ]]);
});

const NO_POLICIES: [name: string, value: unknown][] = [
  ["nothing", undefined],
  ["null", null],
  ["a list", []],
  ["no default", { rules: [], allowHosts: [], plainHttp: [] }],
  ["another default", { ...DEFAULT_POLICY, default: "ask" }],
  ["an unknown key", { ...DEFAULT_POLICY, x: 1 }],
  ["a list of no rules", { ...DEFAULT_POLICY, rules: "deny" }],
  ["a rule without an action", policy([], { rules: [{ host: "a" } as Rule] })],
  ["a rule without a host", { ...DEFAULT_POLICY, rules: [{ action: "deny" }] }],
  [
    "a rule of no methods",
    policy([], { rules: [{ ...rule("deny a"), methods: [] }] }),
  ],
  [
    "a method in lower case",
    policy([], { rules: [{ ...rule("deny a"), methods: ["get"] }] }),
  ],
  ["a path of no rule", policy(["deny a x"])],
  ["a host without a port", policy([], { allowHosts: ["a.test"] })],
  ["a wildcard of a private host", policy([], { allowHosts: ["*.a.test:1"] })],
  ["a null for a path", {
    ...DEFAULT_POLICY,
    rules: [{ ...rule("deny a"), path: null }],
  }],
];
for (const [name, value] of NO_POLICIES) {
  Deno.test(`parsePolicy() refuses ${name}`, () => {
    assert.equal(parsePolicy(value), undefined);
  });
}
