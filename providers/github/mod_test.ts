import assert from "node:assert/strict";
import { formatHostPattern, parseHostPattern } from "$core/host_pattern.ts";
import { noOpenssl } from "../../tests/support/anywhere_pki.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import {
  canaryToken,
  declaredBy,
  environmentOf,
  type GrantWish,
  grantWith,
  startVendor,
} from "../../tests/support/token_vendor.ts";
import { createGithubProvider } from "./mod.ts";

const TOKEN = canaryToken("ghp_");
const BEARER = `Bearer ${TOKEN}`;
const BASIC = `Basic ${btoa(`x-access-token:${TOKEN}`)}`;

const granted = (wish: GrantWish = {}) =>
  grantWith(createGithubProvider, {
    env: { GH_TOKEN: TOKEN, GH_ENTERPRISE_TOKEN: TOKEN },
    ...wish,
  });

/** `HOST[PATH]` and the value that goes there. */
async function injected(host?: string): Promise<[string, string][]> {
  const { provider, grant } = await granted(host ? { flags: { host } } : {});
  return declaredBy(provider, grant).injections
    .map(({ host, path = "", value }) => [host + path, value]);
}

Deno.test("github: the API takes Bearer, git Basic with x-access-token (moat-go 376)", async () => {
  assert.deepEqual(await injected(), [
    ["api.github.com", BEARER],
    ["uploads.github.com", BEARER],
    ["github.com", BASIC],
    ["gist.github.com", BASIC],
  ]);
});

Deno.test("github: an Enterprise Server has its API below paths", async () => {
  const host = "gh.example.com:8443";
  assert.deepEqual(await injected(host), [
    [`${host}/api/v3`, BEARER],
    [`${host}/api/graphql`, BEARER],
    [`${host}/api/uploads`, BEARER],
    [host, BASIC],
  ]);
});

Deno.test("github: a tenant of ghe.com has hosts for its API", async () => {
  assert.deepEqual(await injected("acme.ghe.com"), [
    ["api.acme.ghe.com", BEARER],
    ["uploads.acme.ghe.com", BEARER],
    ["acme.ghe.com", BASIC],
  ]);
});

Deno.test("github: all injections are of one header and have the placeholder", async () => {
  const { provider, grant } = await granted({ name: "github:work" });
  const { GH_TOKEN } = environmentOf(provider, grant);
  const { injections } = declaredBy(provider, grant);
  assert.deepEqual(
    new Set(injections.map((i) => `${i.header} ${i.placeholder}`)),
    new Set([`authorization ${GH_TOKEN}`]),
  );
});

Deno.test("github: downloads are allowed, and nothing that takes uploads of strangers", async () => {
  const { provider, grant } = await granted();
  const { allowed } = declaredBy(provider, grant);
  assert.ok(allowed.includes("codeload.github.com"));
  assert.ok(allowed.includes("release-assets.githubusercontent.com"));
  assert.deepEqual(allowed.filter((host) => host.includes("*")), []);
});

Deno.test("github: nothing goes to github.com for an Enterprise Server", async () => {
  const { provider, grant } = await granted({ flags: { host: "gh.corp" } });
  const { injections, allowed } = declaredBy(provider, grant);
  const hosts = [...injections.map(({ host }) => host), ...allowed];
  assert.deepEqual(hosts.filter((host) => !/(^|\.)gh\.corp$/.test(host)), []);
});

for (
  const host of [
    "github.com",
    "acme.ghe.com",
    "gh.corp:8443",
    "10.1.2.3:8443",
    "[::1]",
  ]
) {
  Deno.test(`github: all hosts of ${host} are spelled as the proxy wants them`, async () => {
    const { provider, grant } = await granted({ flags: { host } });
    const { injections, allowed } = declaredBy(provider, grant);
    const hosts = [...injections.map(({ host }) => host), ...allowed];
    assert.deepEqual(
      hosts.map((host) => {
        const pattern = parseHostPattern(host);
        return pattern && formatHostPattern(pattern);
      }),
      hosts,
    );
  });
}

const GIT = {
  GIT_TERMINAL_PROMPT: "0",
  GIT_CONFIG_COUNT: "5",
  GIT_CONFIG_KEY_0: "http.proxyAuthMethod",
  GIT_CONFIG_VALUE_0: "basic",
  GIT_CONFIG_KEY_1: "url.https://github.com/.insteadOf",
  GIT_CONFIG_VALUE_1: "git@github.com:",
  GIT_CONFIG_KEY_2: "url.https://github.com/.insteadOf",
  GIT_CONFIG_VALUE_2: "ssh://git@github.com/",
  GIT_CONFIG_KEY_3: "url.https://gist.github.com/.insteadOf",
  GIT_CONFIG_VALUE_3: "git@gist.github.com:",
  GIT_CONFIG_KEY_4: "url.https://gist.github.com/.insteadOf",
  GIT_CONFIG_VALUE_4: "ssh://git@gist.github.com/",
};

Deno.test("github: a client has placeholders, and git no question to ask", async () => {
  const { provider, grant } = await granted();
  const { GH_TOKEN, ...env } = environmentOf(provider, grant);
  assert.match(GH_TOKEN ?? "", /^ghp_moatPlaceholder[A-Za-z0-9]{21}$/);
  assert.deepEqual(env, { GITHUB_TOKEN: GH_TOKEN, ...GIT });
});

Deno.test("github: a named grant has its placeholder under its name, too", async () => {
  const { provider, grant } = await granted({ name: "github:work" });
  const env = environmentOf(provider, grant);
  assert.equal(env["GH_TOKEN_WORK"], env["GH_TOKEN"]);
});

Deno.test("github: grants have different placeholders", async () => {
  const [one, two] = await Promise.all([
    granted(),
    granted({ name: "github:work" }),
  ]);
  assert.notEqual(
    environmentOf(one.provider, one.grant)["GH_TOKEN"],
    environmentOf(two.provider, two.grant)["GH_TOKEN"],
  );
});

Deno.test("github: gh finds the placeholder of an Enterprise Server, and no other", async () => {
  const { provider, grant } = await granted({ flags: { host: "gh.corp" } });
  const env = environmentOf(provider, grant);
  assert.deepEqual(
    Object.keys(env).filter((name) => /^(GH|GITHUB)_/.test(name)),
    ["GH_ENTERPRISE_TOKEN", "GH_HOST"],
  );
});

Deno.test("github: no file of gh is copied, so that none of its secrets is (moat-go 224)", async () => {
  const { provider, grant } = await granted();
  const container = { mode: "", endpointUrl: "", directory: "/moat" };
  assert.deepEqual(provider.containerMounts(grant, container), []);
});

Deno.test("github: every variable that gh would prefer is taken away", async () => {
  const { provider } = await granted();
  assert.deepEqual(provider.conflictingEnv, [
    "GH_TOKEN",
    "GITHUB_TOKEN",
    "GH_ENTERPRISE_TOKEN",
    "GITHUB_ENTERPRISE_TOKEN",
  ]);
});

Deno.test("github: needs gh and git", async () => {
  const { provider } = await granted();
  assert.deepEqual(provider.impliedDependencies(), ["gh", "git"]);
});

const KINDS: { token: string; kind: string }[] = [
  {
    token: "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    kind: "personal access token",
  },
  {
    token: "0123456789abcdef0123456789abcdef01234567",
    kind: "personal access token",
  },
  {
    token: `github_pat_${"1".repeat(82)}`,
    kind: "fine-grained personal access token",
  },
  { token: "gho_16C7e42F292c6912E7710c838347Ae178B4a", kind: "OAuth token" },
  {
    token: "ghu_16C7e42F292c6912E7710c838347Ae178B4a",
    kind: "GitHub App user token",
  },
  {
    token: "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
    kind: "GitHub App installation token",
  },
  {
    token: "ghs_eyJhbGciOi.eyJpc3MiOi.c2ln",
    kind: "GitHub App installation token",
  },
  { token: "something-else", kind: "token" },
];

for (const { token, kind } of KINDS) {
  Deno.test(`github: ${token.slice(0, 20)}… is a ${kind}`, async () => {
    const { grant } = await granted({ env: { GH_TOKEN: token } });
    assert.equal(grant.settings["kind"], kind);
  });
}

Deno.test("github: a refresh token is refused", async () => {
  await assert.rejects(granted({ env: { GH_TOKEN: canaryToken("ghr_") } }), {
    code: "bad-token",
    message: /is a refresh token/,
  });
});

Deno.test("github: the placeholder of a surrounding moat is refused", async () => {
  const { provider, grant } = await granted();
  const env = environmentOf(provider, grant);
  await assert.rejects(granted({ env }), { code: "bad-token" });
});

const ORDER: {
  host?: string;
  env: Record<string, string>;
  variable: string;
}[] = [
  { env: { GITHUB_TOKEN: "b", GH_TOKEN: "a" }, variable: "GH_TOKEN" },
  {
    env: { GITHUB_TOKEN: "b", GH_ENTERPRISE_TOKEN: "c" },
    variable: "GITHUB_TOKEN",
  },
  { host: "acme.ghe.com", env: { GH_TOKEN: "a" }, variable: "GH_TOKEN" },
  {
    host: "gh.corp",
    env: { GH_TOKEN: "a", GITHUB_ENTERPRISE_TOKEN: "d" },
    variable: "GITHUB_ENTERPRISE_TOKEN",
  },
];

for (const { host, env, variable } of ORDER) {
  Deno.test(`github: of ${Object.keys(env)} ${host ?? "github.com"} takes ${variable}`, async () => {
    const { grant } = await granted({ env, ...host && { flags: { host } } });
    assert.equal(grant.settings["tokenVariable"], variable);
  });
}

const CALLS: { token: string; path: string }[] = [
  { token: TOKEN, path: "/api/v3/user" },
  {
    token: canaryToken("ghs_"),
    path: "/api/v3/installation/repositories?per_page=1",
  },
];

for (const { token, path } of CALLS) {
  testUnless(
    noOpenssl,
    `github: ${token.slice(0, 4)} is tried at ${path}`,
    async () => {
      await using vendor = await startVendor();
      await granted({ vendor, env: { GH_ENTERPRISE_TOKEN: token } });
      assert.deepEqual(
        vendor.seen.map(({ path, headers }) => [
          path,
          headers.get("authorization"),
        ]),
        [[path, `Bearer ${token}`]],
      );
    },
  );
}

const ENDS: { header: string; expiresAt: number | undefined }[] = [
  { header: "2026-05-01 10:00:00 UTC", expiresAt: Date.UTC(2026, 4, 1, 10) },
  { header: "2026-05-01 10:00:00 -0700", expiresAt: Date.UTC(2026, 4, 1, 17) },
  { header: "2026-05-01 10:00:00 +02:00", expiresAt: Date.UTC(2026, 4, 1, 8) },
  { header: "2026-13-41 10:00:00 UTC", expiresAt: undefined },
  { header: "soon", expiresAt: undefined },
];

for (const { header, expiresAt } of ENDS) {
  testUnless(noOpenssl, `github: a token ends at ${header}`, async () => {
    await using vendor = await startVendor({
      headers: { "github-authentication-token-expiration": header },
    });
    const { grant } = await granted({ vendor });
    assert.equal(grant.expiresAt, expiresAt);
  });
}
