import assert from "node:assert/strict";
import { createRegistry } from "$core/provider.ts";
import { noOpenssl } from "../../tests/support/anywhere_pki.ts";
import { assertNoCanary } from "../../tests/support/canary.ts";
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
import { createGeminiProvider } from "./mod.ts";

const KEY = canaryToken("AIza");

const granted = (wish: GrantWish = {}) =>
  grantWith(createGeminiProvider, { env: { GEMINI_API_KEY: KEY }, ...wish });

Deno.test("gemini: a key goes to x-goog-api-key alone", async () => {
  const { provider, grant } = await granted();
  assert.deepEqual(declaredBy(provider, grant).injections, [{
    host: "generativelanguage.googleapis.com",
    header: "x-goog-api-key",
    value: KEY,
    strip: ["authorization"],
    placeholder: environmentOf(provider, grant)["GEMINI_API_KEY"],
  }]);
});

Deno.test("gemini: a client has a placeholder of a key's form, in one variable (moat-go 293)", async () => {
  const { provider, grant } = await granted();
  const env = environmentOf(provider, grant);
  assert.deepEqual(Object.keys(env), ["GEMINI_API_KEY"]);
  assert.match(env["GEMINI_API_KEY"] ?? "", /^AIzamoatPlaceholder\w{20}$/);
});

Deno.test("gemini: the variable that Google's libraries prefer is taken away", async () => {
  const { provider } = await granted();
  assert.ok(provider.conflictingEnv.includes("GOOGLE_API_KEY"));
});

Deno.test("gemini: another host is named to clients", async () => {
  const { provider, grant } = await granted({ flags: { host: "gw.internal" } });
  assert.equal(
    environmentOf(provider, grant)["GOOGLE_GEMINI_BASE_URL"],
    "https://gw.internal",
  );
});

Deno.test("gemini: is found as google, and stored as gemini", () => {
  const registry = createRegistry([createGeminiProvider(fakePlatform())]);
  assert.equal(registry.get("google").name, "gemini");
});

testUnless(
  noOpenssl,
  "gemini: the key is tried in a header, never in the URL (moat-go W25)",
  async () => {
    await using vendor = await startVendor();
    await granted({ vendor });
    const [request] = vendor.seen;
    assert.equal(request?.headers.get("x-goog-api-key"), KEY);
    assertNoCanary(request?.path ?? "");
  },
);

const ANSWERS: { status: number; expect: string }[] = [
  { status: 200, expect: "ok" },
  { status: 400, expect: "token-rejected" },
  { status: 401, expect: "token-rejected" },
  { status: 403, expect: "token-forbidden" },
  { status: 429, expect: "rate-limited" },
];

for (const { status, expect } of ANSWERS) {
  testUnless(
    noOpenssl,
    `gemini: ${status} for the list of models is ${expect}`,
    async () => {
      await using vendor = await startVendor({ status });
      assert.equal(
        await granted({ vendor }).then(
          ({ grant }) => grant.settings["validation"],
          (error) => error.code,
        ),
        expect,
      );
    },
  );
}

const KINDS: { token: string; expect: string }[] = [
  { token: "AIzaSyx", expect: "standard key" },
  { token: "AQ.Ab8x", expect: "authorization key" },
  { token: "something-new", expect: "API key" },
  { token: "ya29.x", expect: "bad-token" },
  { token: "1//0gx", expect: "bad-token" },
];

for (const { token, expect } of KINDS) {
  Deno.test(`gemini: ${token} is taken for ${expect}`, async () => {
    assert.equal(
      await granted({ env: { GEMINI_API_KEY: token } }).then(
        ({ grant }) => grant.settings["kind"],
        (error) => error.code,
      ),
      expect,
    );
  });
}
