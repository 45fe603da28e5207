import assert from "node:assert/strict";
import { MoatError } from "$core/errors.ts";
import { noOpenssl } from "../../tests/support/anywhere_pki.ts";
import { assertNoCanary } from "../../tests/support/canary.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import {
  canaryToken,
  declaredBy,
  environmentOf,
  type GrantWish,
  grantWith,
  startVendor,
  type TokenVendor,
  type VendorAnswer,
} from "../../tests/support/token_vendor.ts";
import type { HeaderDefinition } from "./definition.ts";
import { createHeaderProvider } from "./provider.ts";

const TOKEN = canaryToken("acme-");

const ACME: HeaderDefinition = {
  name: "acme",
  aliases: ["ac"],
  description: "Acme's API",
  hosts: ["api.acme.test"],
  inject: [{ header: "x-key", strip: ["x-old"] }],
  env: ["ACME_TOKEN"],
  sourceEnv: ["ACME_TOKEN", "OLD_TOKEN"],
};

const grantAcme = (
  more: Partial<HeaderDefinition> = {},
  wish: GrantWish = {},
) =>
  grantWith(createHeaderProvider({ ...ACME, ...more }), {
    env: { OLD_TOKEN: TOKEN },
    ...wish,
  });

Deno.test("a defined provider stores the token and where it was, apart", async () => {
  const { grant } = await grantAcme();
  assert.deepEqual([grant.settings, grant.credential?.reveal()], [{
    tokenSource: "env",
    tokenVariable: "OLD_TOKEN",
    validation: "skipped",
  }, TOKEN]);
});

Deno.test("a defined provider asks with its own words", async () => {
  const failed = grantAcme({ prompt: "Acme key", help: "ask Bob" }, {
    env: {},
  });
  await assert.rejects(failed, (error: MoatError) => {
    assert.match(`${error.message} ${error.hint}`, /Acme key.*ask Bob/);
    return true;
  });
});

Deno.test("a defined provider declares header, strip, placeholder and nothing else", async () => {
  const { provider, grant } = await grantAcme();
  assert.deepEqual(declaredBy(provider, grant), {
    injections: [{
      host: "api.acme.test",
      header: "x-key",
      value: TOKEN,
      strip: ["x-old"],
      placeholder: environmentOf(provider, grant)["ACME_TOKEN"],
    }],
    substitutions: [],
    allowed: [],
  });
});

Deno.test("a defined provider allows its further hosts", async () => {
  const { provider, grant } = await grantAcme({ allow: ["cdn.acme.test"] });
  assert.deepEqual(declaredBy(provider, grant).allowed, ["cdn.acme.test"]);
});

Deno.test("a defined provider keeps every source of the token from a client", async () => {
  const { provider } = await grantAcme();
  assert.deepEqual(provider.conflictingEnv, ["ACME_TOKEN", "OLD_TOKEN"]);
});

Deno.test("two grants of a defined provider have two placeholders", async () => {
  const first = await grantAcme({}, { name: "acme:a" });
  const second = await grantAcme({}, { name: "acme:b" });
  const [a, b] = [first, second].map(({ provider, grant }) =>
    declaredBy(provider, grant).injections[0]?.placeholder
  );
  assert.notEqual(a, b);
});

Deno.test("a defined provider refuses a grant that another program wrote", async () => {
  const { provider, grant } = await grantAcme();
  const damaged = { ...grant, settings: { token: "x" } };
  assert.throws(() => provider.describe?.(damaged), { code: "grant-damaged" });
});

Deno.test("a defined provider shows nothing of the token", async () => {
  const { provider, grant } = await grantAcme();
  const { credential: _, ...shown } = grant;
  assertNoCanary(
    JSON.stringify([
      shown,
      provider.describe?.(grant),
      await provider.advise?.(grant),
      environmentOf(provider, grant),
    ]),
  );
});

Deno.test("a defined provider without a validation says that it tried nothing", async () => {
  const provider = createHeaderProvider(ACME);
  const { grant } = await grantAcme();
  const none = {
    ...grant,
    settings: { ...grant.settings, validation: "none" },
  };
  // deno-lint-ignore no-explicit-any -- the platform is not used
  const [advice] = await provider({} as any).advise?.(none) ?? [];
  assert.match(advice ?? "", /was not tried/);
});

// Validation

/** A definition whose host is the vendor on loopback. */
function validated(
  { host }: TokenVendor,
  more: Partial<HeaderDefinition> = {},
): Partial<HeaderDefinition> {
  return {
    hosts: [host],
    validate: [{ url: `https://${host}/v1/me?x=1` }],
    ...more,
  };
}

async function tryAt(
  answer: VendorAnswer,
  more: (vendor: TokenVendor) => Partial<HeaderDefinition>,
) {
  await using vendor = await startVendor(answer);
  const { grant } = await grantAcme(validated(vendor, more(vendor)), {
    vendor,
  });
  return { seen: vendor.seen, grant };
}

testUnless(
  noOpenssl,
  "a defined provider tries the token as the proxy puts it",
  async () => {
    const { seen } = await tryAt({}, () => ({
      inject: [
        { header: "authorization", prefix: "Bearer ", path: "/v1" },
        { header: "authorization", basicUser: "git" },
        { header: "x-other", path: "/v2" },
      ],
    }));
    assert.deepEqual(
      seen.map(({ method, path, headers }) => [
        method,
        path,
        headers.get("authorization"),
        headers.get("x-other"),
      ]),
      [["GET", "/v1/me?x=1", `Bearer ${TOKEN}`, null]],
    );
  },
);

testUnless(
  noOpenssl,
  "a defined provider tries a token in the path",
  async () => {
    await using vendor = await startVendor();
    await grantAcme(
      {
        hosts: [vendor.host],
        inject: "path",
        validate: [{ url: `https://${vendor.host}/bot{token}/me` }],
      },
      { vendor, env: { OLD_TOKEN: `12:${TOKEN}` } },
    );
    assert.deepEqual(vendor.seen.map(({ path }) => path), [
      `/bot12:${TOKEN}/me`,
    ]);
  },
);

testUnless(noOpenssl, "a defined provider sends a body as JSON", async () => {
  const { seen } = await tryAt({}, ({ host }) => ({
    validate: [{
      url: `https://${host}/graphql`,
      method: "POST",
      body: '{"query":"{}"}',
    }],
  }));
  assert.deepEqual(
    seen.map(({ method, headers }) => [
      method,
      headers.get("content-type"),
      headers.get("content-length"),
    ]),
    [["POST", "application/json", "14"]],
  );
});

testUnless(
  noOpenssl,
  "a defined provider tries the next site when one refuses",
  async () => {
    await using vendor = await startVendor(({ path }) => ({
      status: path === "/eu" ? 200 : 403,
    }));
    const { grant } = await grantAcme({
      hosts: [vendor.host],
      validate: ["/us", "/eu", "/ap"].map((path) => ({
        url: `https://${vendor.host}${path}`,
        rejected: [403],
      })),
    }, { vendor });
    assert.deepEqual(
      [grant.settings["validation"], vendor.seen.map(({ path }) => path)],
      ["ok", ["/us", "/eu"]],
    );
  },
);

const REFUSALS: {
  name: string;
  status: number;
  rule?: { rejected?: number[]; forbiddenIsFine?: boolean };
  code?: string;
  validation?: string;
}[] = [
  { name: "401", status: 401, code: "token-rejected" },
  { name: "403", status: 403, code: "token-forbidden" },
  { name: "404", status: 404, code: "validation-failed" },
  {
    name: "422 where that is a bad token",
    status: 422,
    rule: { rejected: [422] },
    code: "token-rejected",
  },
  {
    name: "403 where that is fine",
    status: 403,
    rule: { forbiddenIsFine: true },
    validation: "restricted",
  },
  { name: "429", status: 429, validation: "rate-limited" },
];

for (const { name, status, rule = {}, code, validation } of REFUSALS) {
  testUnless(
    noOpenssl,
    `a defined provider tells of an answer ${name}`,
    async () => {
      const tried = tryAt({ status }, ({ host }) => ({
        validate: [{ url: `https://${host}/me`, ...rule }],
      }));
      const result = await tried.catch((error: unknown) => error);
      if (result instanceof MoatError) {
        assertNoCanary(
          `${result.message} ${result.hint} ${Deno.inspect(result)}`,
        );
        assert.equal(result.code, code);
      } else {
        const { grant } = result as Awaited<typeof tried>;
        assert.equal(grant.settings["validation"], validation);
      }
    },
  );
}
