import assert from "node:assert/strict";
import { holdsToken, mintToken } from "$core/binding.ts";
import type { Grant } from "$core/grant.ts";
import { DEFAULT_POLICY } from "$core/policy.ts";
import { createRegistry } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import {
  interceptConflicts,
  interceptEnv,
  isIntercepted,
  isOfIntercepted,
} from "./client_env.ts";

const REGISTRY = createRegistry([
  { ...headerProvider({ name: "alpha" }), trustVariables: ["ALPHA_CA"] },
  {
    ...headerProvider({ name: "beta" }),
    configureProxy: (proxy) => proxy.allow("a.test"),
  },
]);

const TOKEN = mintToken("run-abcdefghij");

function env(endpointUrl = "http://127.0.0.1:19080", token = TOKEN) {
  return interceptEnv(REGISTRY, { endpointUrl, directory: "/moat" }, token);
}

const PROXY = `http://moat:${TOKEN.reveal()}@127.0.0.1:19080`;

for (const name of ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"]) {
  Deno.test(`interceptEnv() names the proxy and the token in ${name}`, () => {
    assert.equal(env()[name], PROXY);
  });
}

const URLS: Record<string, string> = {
  "http://moat-proxy:19080": "moat-proxy:19080",
  "http://[::1]:19080": "[::1]:19080",
  // Without a port, curl would take 1080.
  "http://169.254.170.2": "169.254.170.2:80",
  "http://host.docker.internal:5": "host.docker.internal:5",
};
for (const [url, authority] of Object.entries(URLS)) {
  Deno.test(`interceptEnv() leads to ${authority} for ${url}`, () => {
    const { host } = new URL(env(url)["HTTPS_PROXY"] ?? "");
    const found = env(url)["HTTPS_PROXY"]?.split("@")[1];
    assert.equal(found, authority, host);
  });
}

Deno.test("interceptEnv() keeps the scheme of a proxy behind TLS", () => {
  const found = env("https://moat.internal")["HTTPS_PROXY"] ?? "";
  assert.match(found, /^https:\/\/moat:.*@moat\.internal:443$/);
});

for (const name of ["a@b", "a.b", "a_b-c", "@"]) {
  Deno.test(`interceptEnv() writes the token of ${name} so that a URL gives it back`, () => {
    const token = mintToken(name);
    const url = env("http://x:1", token)["HTTPS_PROXY"] ?? "";
    assert.deepEqual(
      [decodeURIComponent(new URL(url).password), url.split("@").length],
      [token.reveal(), 2],
    );
  });

  Deno.test(`holdsToken() knows the token of ${name} in the proxy's URL`, () => {
    const { HTTPS_PROXY = "" } = env("http://x:1", mintToken(name));
    assert(holdsToken(HTTPS_PROXY));
  });
}

const DIRECT =
  "127.0.0.1,localhost,::1,169.254.170.2,169.254.170.23,169.254.169.254,fd00:ec2::23,fd00:ec2::254";

const NO_PROXY: Record<string, string> = {
  "http://127.0.0.1:19080": DIRECT,
  "http://[::1]:19080": DIRECT,
  "http://169.254.170.2": DIRECT,
  "http://moat-proxy:19080": `${DIRECT},moat-proxy`,
  "http://host.docker.internal:5": `${DIRECT},host.docker.internal`,
};
for (const [url, list] of Object.entries(NO_PROXY)) {
  Deno.test(`interceptEnv() keeps loopback, credential addresses and ourselves off the proxy at ${url}`, () => {
    const { NO_PROXY, no_proxy } = env(url) as Record<string, string>;
    assert.deepEqual([NO_PROXY, no_proxy], [list, list]);
  });
}

Deno.test("interceptEnv() names the files of the client's directory", () => {
  const found = env();
  assert.deepEqual(
    [found["SSL_CERT_FILE"], found["NODE_EXTRA_CA_CERTS"]],
    ["/moat/ca.pem", "/moat/ca-root.pem"],
  );
});

Deno.test("interceptEnv() gives vendors' variables the bundle, too", () => {
  assert.equal(env()["ALPHA_CA"], "/moat/ca.pem");
});

Deno.test("interceptEnv() leaves all schemes but http and https alone", () => {
  const names = Object.keys(env()).filter((name) => /^all_proxy$/i.test(name));
  assert.deepEqual(names, []);
});

const JAVA = env("http://moat-proxy:19080")["JAVA_TOOL_OPTIONS"] ?? "";
const OPTIONS = [
  "-Djavax.net.ssl.trustStore=/moat/ca.jks",
  "-Dhttps.proxyHost=moat-proxy",
  "-Dhttps.proxyPort=19080",
  "-Dhttp.proxyHost=moat-proxy",
  "-Dhttp.proxyPort=19080",
  "-Dhttp.nonProxyHosts=127.0.0.1|localhost|[::1]|169.254.170.2|169.254.170.23|169.254.169.254|[fd00:ec2::23]|[fd00:ec2::254]|moat-proxy",
  "-Djdk.http.auth.tunneling.disabledSchemes=",
];
for (const option of OPTIONS) {
  Deno.test(`interceptEnv() tells Java ${option.slice(0, 50)}`, () => {
    assert(JAVA.split(" ").includes(option), JAVA);
  });
}

Deno.test("interceptEnv() keeps the token out of what Java prints", () => {
  assert(!holdsToken(JAVA));
});

Deno.test("interceptEnv() puts the token in proxy variables alone", () => {
  const names = Object.entries(env())
    .filter(([, value]) => holdsToken(value)).map(([name]) => name);
  assert.deepEqual(names, [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
  ]);
});

function grant(provider: string, hasSecret = true): Grant {
  return {
    provider,
    name: provider,
    createdAt: 0,
    settings: {},
    ...(hasSecret && { credential: new Secret("x") }),
  };
}

const INTERCEPTED: [name: string, grants: Grant[], isIntercepted: boolean][] = [
  ["no grant", [], false],
  ["a grant that injects", [grant("alpha")], true],
  ["a grant that injects nothing", [grant("alpha", false)], false],
  ["a grant that only allows a host", [grant("beta")], false],
  ["one of two that injects", [grant("beta"), grant("alpha")], true],
];
for (const [name, grants, wanted] of INTERCEPTED) {
  Deno.test(`isIntercepted() is ${wanted} for ${name}`, () => {
    assert.equal(isIntercepted(REGISTRY, grants, undefined), wanted);
  });
}

Deno.test("isIntercepted() is true for any policy that was given", () => {
  assert(isIntercepted(REGISTRY, [grant("beta")], { ...DEFAULT_POLICY }));
});

Deno.test("isOfIntercepted() knows what interceptEnv() made", () => {
  assert(isOfIntercepted(env()));
});

for (const url of [undefined, "", "http://proxy.corp:3128"]) {
  Deno.test(`isOfIntercepted() takes ${url} for somebody else's proxy`, () => {
    assert(!isOfIntercepted(url === undefined ? {} : { HTTPS_PROXY: url }));
  });
}

const CONFLICTS = [
  ...["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY"],
  ...["CARGO_HTTP_PROXY", "PIP_PROXY", "WS_PROXY", "WSS_PROXY"],
  ...["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "JAVA_TOOL_OPTIONS", "ALPHA_CA"],
];
for (const name of CONFLICTS) {
  Deno.test(`interceptConflicts() names ${name} once`, () => {
    const found = interceptConflicts(REGISTRY, env())
      .filter((other) => other.toUpperCase() === name);
    assert.deepEqual(found, [name]);
  });
}

Deno.test("interceptConflicts() names git's settings where there are some", () => {
  const has = (more: Record<string, string>) =>
    interceptConflicts(REGISTRY, { ...env(), ...more })
      .includes("GIT_CONFIG_COUNT");
  assert.deepEqual([has({}), has({ GIT_CONFIG_COUNT: "1" })], [false, true]);
});

Deno.test("interceptConflicts() names nothing for a client that is not intercepted", () => {
  assert.deepEqual(interceptConflicts(REGISTRY, { SSL_CERT_FILE: "/x" }), []);
});
