import assert from "node:assert/strict";
import { createRegistry } from "$core/provider.ts";
import { noOpenssl } from "../../tests/support/anywhere_pki.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import {
  canaryToken,
  declaredBy,
  environmentOf,
  type GrantWish,
  grantWith,
  startVendor,
} from "../../tests/support/token_vendor.ts";
import { createOpenaiProvider } from "./mod.ts";

const KEY = canaryToken("sk-proj-");

const granted = (wish: GrantWish = {}) =>
  grantWith(createOpenaiProvider, { env: { OPENAI_API_KEY: KEY }, ...wish });

Deno.test("openai: a key goes to Authorization as Bearer", async () => {
  const { provider, grant } = await granted();
  assert.deepEqual(declaredBy(provider, grant).injections, [{
    host: "api.openai.com",
    header: "authorization",
    value: `Bearer ${KEY}`,
    strip: [],
    placeholder: environmentOf(provider, grant)["OPENAI_API_KEY"],
  }]);
});

Deno.test("openai: a client has a placeholder of a key's form (moat-go 293)", async () => {
  const { provider, grant } = await granted();
  const env = environmentOf(provider, grant);
  assert.deepEqual(Object.keys(env), ["OPENAI_API_KEY"]);
  assert.match(env["OPENAI_API_KEY"] ?? "", /^sk-moatPlaceholder\w{33}$/);
});

Deno.test("openai: another server is named to clients", async () => {
  const { provider, grant } = await granted({
    env: { OPENAI_API_KEY: "any" },
    flags: { host: "models.internal" },
  });
  assert.equal(
    environmentOf(provider, grant)["OPENAI_BASE_URL"],
    "https://models.internal/v1",
  );
});

Deno.test("openai: its grant has one name everywhere (moat-go 220, 278)", async () => {
  const provider = createRegistry([createOpenaiProvider(fakePlatform())])
    .get("openai");
  const { grant } = await granted({ name: provider.name });
  assert.deepEqual([grant.name, grant.provider], ["openai", "openai"]);
});

const KINDS: { token: string; expect: string }[] = [
  { token: "sk-proj-x", expect: "project key" },
  { token: "sk-svcacct-x", expect: "service account key" },
  { token: "sk-x", expect: "API key" },
  { token: "sk-admin-x", expect: "bad-token" },
  { token: "sk-ant-api03-x", expect: "bad-token" },
  { token: "AIzaSyx", expect: "bad-token" },
];

for (const { token, expect } of KINDS) {
  Deno.test(`openai: ${token} is taken for ${expect}`, async () => {
    assert.equal(
      await granted({ env: { OPENAI_API_KEY: token } }).then(
        ({ grant }) => grant.settings["kind"],
        (error) => error.code,
      ),
      expect,
    );
  });
}

const ANSWERS: { status: number; expect: string }[] = [
  { status: 200, expect: "ok" },
  { status: 401, expect: "token-rejected" },
  { status: 403, expect: "restricted" },
  { status: 429, expect: "rate-limited" },
  { status: 503, expect: "validation-failed" },
];

for (const { status, expect } of ANSWERS) {
  testUnless(
    noOpenssl,
    `openai: ${status} for the list of models is ${expect}`,
    async () => {
      await using vendor = await startVendor({ status });
      assert.equal(
        await granted({ vendor }).then(
          ({ grant }) => grant.settings["validation"],
          (error) => error.code,
        ),
        expect,
      );
      assert.deepEqual(vendor.seen.map(({ path }) => path), ["/v1/models"]);
    },
  );
}
