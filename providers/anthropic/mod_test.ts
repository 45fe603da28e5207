import assert from "node:assert/strict";
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
import { createAnthropicProvider } from "./mod.ts";

const KEY = canaryToken("sk-ant-api03-");
const OAUTH = canaryToken("sk-ant-oat01-");

const granted = (token: string, wish: GrantWish = {}) =>
  grantWith(createAnthropicProvider, {
    env: { ANTHROPIC_API_KEY: token },
    ...wish,
  });

async function injected(token: string) {
  const { provider, grant } = await granted(token);
  return declaredBy(provider, grant).injections
    .map(({ host, header, value, strip }) => [host, header, value, strip]);
}

Deno.test("anthropic: an API key goes to x-api-key alone", async () => {
  assert.deepEqual(await injected(KEY), [
    ["api.anthropic.com", "x-api-key", KEY, ["authorization"]],
  ]);
});

Deno.test("anthropic: an OAuth token goes to Authorization alone, and the client's betas stay its own", async () => {
  assert.deepEqual(await injected(OAUTH), [
    ["api.anthropic.com", "authorization", `Bearer ${OAUTH}`, ["x-api-key"]],
  ]);
});

const PLACEHOLDERS: { token: string; variable: string; form: RegExp }[] = [
  {
    token: KEY,
    variable: "ANTHROPIC_API_KEY",
    form: /^sk-ant-api03-moatPlaceholder[\w-]{78}AA$/,
  },
  {
    token: OAUTH,
    variable: "CLAUDE_CODE_OAUTH_TOKEN",
    form: /^sk-ant-oat01-moatPlaceholder[\w-]{78}AA$/,
  },
];

for (const { token, variable, form } of PLACEHOLDERS) {
  Deno.test(`anthropic: ${token.slice(0, 13)} has a placeholder of its form in ${variable} alone (moat-go 293, 351, 352, 358)`, async () => {
    const { provider, grant } = await granted(token);
    const env = environmentOf(provider, grant);
    assert.deepEqual(Object.keys(env), [variable]);
    assert.match(env[variable] ?? "", form);
  });

  Deno.test(`anthropic: the placeholder in ${variable} is what the injection waits for`, async () => {
    const { provider, grant } = await granted(token);
    const [injection] = declaredBy(provider, grant).injections;
    assert.equal(
      injection?.placeholder,
      environmentOf(provider, grant)[variable],
    );
  });
}

Deno.test("anthropic: no key of the machine overrides the OAuth token (moat-go 453)", async () => {
  const { provider } = await granted(OAUTH);
  for (const name of ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"]) {
    assert.ok(provider.conflictingEnv.includes(name));
  }
});

Deno.test("anthropic: a gateway is named to clients, and gets what they send", async () => {
  const { provider, grant } = await granted("any-token", {
    flags: { host: "gateway.internal:8443" },
  });
  assert.equal(
    environmentOf(provider, grant)["ANTHROPIC_BASE_URL"],
    "https://gateway.internal:8443",
  );
  assert.deepEqual(
    declaredBy(provider, grant).injections.map((i) => [i.host, i.header]),
    [["gateway.internal:8443", "x-api-key"]],
  );
});

const KINDS: { token: string; expect: string }[] = [
  { token: KEY, expect: "API key" },
  { token: OAUTH, expect: "OAuth token" },
  { token: "sk-ant-ort01-x", expect: "bad-token" },
  { token: "sk-ant-admin01-x", expect: "bad-token" },
  { token: "sk-proj-x", expect: "bad-token" },
];

for (const { token, expect } of KINDS) {
  Deno.test(`anthropic: ${token.slice(0, 14)} is taken for ${expect}`, async () => {
    assert.equal(
      await granted(token).then(
        ({ grant }) => grant.settings["kind"],
        (error) => error.code,
      ),
      expect,
    );
  });
}

const CALLS: { token: string; headers: Record<string, string> }[] = [
  { token: KEY, headers: { "x-api-key": KEY } },
  {
    token: OAUTH,
    headers: {
      "anthropic-beta": "oauth-2025-04-20",
      authorization: `Bearer ${OAUTH}`,
    },
  },
];

for (const { token, headers } of CALLS) {
  testUnless(
    noOpenssl,
    `anthropic: ${
      token.slice(0, 13)
    } is tried at the list of models, which costs nothing`,
    async () => {
      await using vendor = await startVendor();
      await granted(token, { vendor });
      const [request] = vendor.seen;
      assert.equal(request?.path, "/v1/models?limit=1");
      assert.deepEqual(
        [...request?.headers ?? []].filter(([name]) =>
          ["x-api-key", "authorization"].includes(name) ||
          name.startsWith("anthropic-")
        ),
        Object.entries({ ...headers, "anthropic-version": "2023-06-01" })
          .sort(),
      );
    },
  );
}

const FORBIDDEN: { token: string; expect: string }[] = [
  { token: KEY, expect: "token-forbidden" },
  { token: OAUTH, expect: "restricted" },
];

for (const { token, expect } of FORBIDDEN) {
  testUnless(
    noOpenssl,
    `anthropic: 403 for ${token.slice(0, 13)} is ${expect}`,
    async () => {
      await using vendor = await startVendor({ status: 403 });
      assert.equal(
        await granted(token, { vendor }).then(
          ({ grant }) => grant.settings["validation"],
          (error) => error.code,
        ),
        expect,
      );
    },
  );
}
