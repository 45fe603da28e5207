import assert from "node:assert/strict";
import { createRegistry, type ProviderFactory } from "$core/provider.ts";
import { MoatError } from "$core/errors.ts";
import { Secret } from "$core/secret.ts";
import { noOpenssl } from "../../tests/support/anywhere_pki.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import {
  declaredBy,
  environmentOf,
  grantWith,
  startVendor,
} from "../../tests/support/token_vendor.ts";
import { createTokenProvider, type TokenProviderOptions } from "./provider.ts";

const DAY_MS = 24 * 60 * 60_000;

/** A provider with one host and one kind of token, and what is special. */
function exampleProvider(
  special: Partial<TokenProviderOptions> = {},
): ProviderFactory {
  return (platform) =>
    createTokenProvider({
      name: "example",
      description: "Example",
      vendor: "Example",
      grantExamples: [],
      host: "api.example.com",
      hostSummary: "A gateway",
      variables: () => ["EXAMPLE_TOKEN"],
      conflictingEnv: ["EXAMPLE_TOKEN"],
      hint: "create one at https://example.com/keys",
      kinds: [
        { name: "key", pattern: /^ex-/ },
        {
          name: "other key",
          pattern: /^oth-/,
          refusal: { why: "is of Other", hint: "moat grant other" },
        },
      ],
      shape: () => ({ prefix: "ex-", length: 40 }),
      validation: ({ host }, token) => ({
        url: `https://${host}/me`,
        headers: { "x-key": token },
      }),
      inject: (proxy, { host, placeholder }, token) =>
        proxy.inject({
          host,
          header: "x-key",
          value: new Secret(`Key ${token}`),
          strip: [],
          placeholder,
        }),
      placeholderVariables: () => ["EXAMPLE_TOKEN"],
      ...special,
    }, platform);
}

const TOKEN = `ex-${CANARY}`;

Deno.test("createTokenProvider() makes a provider that the registry takes", () => {
  createRegistry([exampleProvider()(fakePlatform())]);
});

Deno.test("createTokenProvider() stores the token as credential, and where it was found", async () => {
  const { grant } = await grantWith(exampleProvider(), {
    name: "example:work",
    env: { EXAMPLE_TOKEN: TOKEN },
  });
  assert.equal(grant.credential?.reveal(), TOKEN);
  assert.deepEqual({ ...grant, credential: undefined }, {
    provider: "example",
    name: "example:work",
    createdAt: Date.UTC(2026, 0, 1),
    settings: {
      host: "api.example.com",
      kind: "key",
      tokenSource: "env",
      tokenVariable: "EXAMPLE_TOKEN",
      validation: "skipped",
    },
    credential: undefined,
  });
});

testUnless(
  noOpenssl,
  "createTokenProvider() keeps the token out of all but the credential and the header",
  async () => {
    await using vendor = await startVendor();
    const { provider, grant } = await grantWith(exampleProvider(), {
      env: { EXAMPLE_TOKEN: TOKEN },
      vendor,
    });
    assert.equal(vendor.seen[0]?.headers.get("x-key"), TOKEN);
    assertNoCanary(
      JSON.stringify(grant),
      Deno.inspect(grant, { depth: 9 }),
      JSON.stringify(environmentOf(provider, grant)),
      JSON.stringify(provider.describe?.(grant)),
      JSON.stringify(await provider.advise?.(grant)),
    );
  },
);

Deno.test("createTokenProvider() makes no call without validation", async () => {
  const { grant } = await grantWith(exampleProvider(), {
    flags: { host: "localhost:1" },
    env: { EXAMPLE_TOKEN: TOKEN },
  });
  assert.equal(grant.settings["validation"], "skipped");
});

testUnless(
  noOpenssl,
  "createTokenProvider() says that a rate limit is used up, and grants",
  async () => {
    await using vendor = await startVendor({ status: 429 });
    const { provider, grant } = await grantWith(exampleProvider(), {
      env: { EXAMPLE_TOKEN: TOKEN },
      vendor,
    });
    const [advice] = await provider.advise?.(grant) ?? [];
    assert.match(advice ?? "", /^Example knows the token.*\(429\)/);
  },
);

testUnless(
  noOpenssl,
  "createTokenProvider() keeps when the token ends, and warns a week before",
  async () => {
    const expiresAt = Date.UTC(2026, 4, 1);
    await using vendor = await startVendor();
    const { provider, grant } = await grantWith(
      exampleProvider({ expiresAt: () => expiresAt }),
      { name: "example:work", env: { EXAMPLE_TOKEN: TOKEN }, vendor },
    );
    assert.equal(grant.expiresAt, expiresAt);
    assert.deepEqual(await provider.expiries?.(grant), [{
      what: "token",
      expiresAt,
      warnAhead: [7 * DAY_MS, DAY_MS],
      hint: "moat grant example --name work",
    }]);
  },
);

const FORMS: { name: string; token: string; expect: string }[] = [
  { name: "of the vendor", token: "ex-1", expect: "key" },
  { name: "of another vendor", token: "oth-1", expect: "bad-token" },
  { name: "of no known form", token: "1", expect: "bad-token" },
];

for (const { name, token, expect } of FORMS) {
  Deno.test(`createTokenProvider() takes a token ${name} for ${expect}`, async () => {
    assert.equal(await kindOf(exampleProvider(), token), expect);
  });
}

Deno.test("createTokenProvider() takes any token for a host of one's own", async () => {
  assert.equal(
    await kindOf(exampleProvider(), "1", { host: "gw.internal" }),
    "token",
  );
});

Deno.test("createTokenProvider() takes any token where the vendor has others", async () => {
  assert.equal(await kindOf(exampleProvider({ otherKind: "any" }), "1"), "any");
});

Deno.test("createTokenProvider() names the provider for another vendor's token, and repeats nothing of it", async () => {
  const error = await grantWith(exampleProvider(), {
    env: { EXAMPLE_TOKEN: `oth-${CANARY}` },
  }).catch((error: unknown) => error);
  assert.ok(error instanceof MoatError);
  assert.deepEqual([error.message, error.hint], [
    "Cannot use this token for Example: it is of Other",
    "moat grant other",
  ]);
  assertNoCanary(Deno.inspect(error));
});

async function kindOf(
  create: ProviderFactory,
  token: string,
  flags: Record<string, string> = {},
): Promise<unknown> {
  return await grantWith(create, { env: { EXAMPLE_TOKEN: token }, flags })
    .then(({ grant }) => grant.settings["kind"], (error) => error.code);
}

const PROGRAM = (
  answer: string | undefined,
): Partial<TokenProviderOptions> => ({
  program: () => ({
    command: "ex auth token",
    run: () => Promise.resolve(answer),
  }),
  programName: "ex",
});

Deno.test("refresh() gives what is injected as a whole header value (moat-go 289)", async () => {
  const { provider, grant } = await grantWith(
    exampleProvider(PROGRAM("ex-old")),
  );
  const later = exampleProvider(PROGRAM("ex-new\n"))(fakePlatform());
  const refreshed = await later.refresh?.(grant) ?? grant;
  assert.equal(
    declaredBy(provider, refreshed).injections[0]?.value,
    "Key ex-new",
  );
});

Deno.test("refresh() drops the end of the old token", async () => {
  const { provider, grant } = await grantWith(
    exampleProvider(PROGRAM("ex-new")),
  );
  const old = { ...grant, credential: new Secret("ex-old"), expiresAt: 1 };
  assert.deepEqual(await provider.refresh?.(old), grant);
});

Deno.test("refresh() gives the same grant for the same token", async () => {
  const { provider, grant } = await grantWith(
    exampleProvider(PROGRAM("ex-old")),
  );
  assert.equal(await provider.refresh?.(grant), grant);
});

for (const source of ["file", "env", "prompt"]) {
  Deno.test(`refresh() leaves a token from ${source} as it was granted, whatever the program has (moat-go 381)`, async () => {
    const provider = exampleProvider(PROGRAM("ex-stale"))(
      fakePlatform({ env: { EXAMPLE_TOKEN: "ex-frozen" } }),
    );
    const grant = {
      provider: "example",
      name: "example",
      createdAt: 0,
      settings: {
        host: "api.example.com",
        kind: "key",
        tokenSource: source,
        validation: "ok",
      },
      credential: new Secret("ex-granted-anew"),
    };
    assert.equal(await provider.refresh?.(grant), grant);
  });
}

Deno.test("refresh() fails when nobody is signed in any more", async () => {
  const { grant } = await grantWith(exampleProvider(PROGRAM("ex-old")));
  const later = exampleProvider(PROGRAM(undefined))(fakePlatform());
  await assert.rejects(async () => await later.refresh?.(grant), {
    code: "no-token",
    message: 'Cannot refresh grant "example": ex auth token has no token',
  });
});

Deno.test("sourceProcess() names the program only of a token that came from it", async () => {
  const create = exampleProvider(PROGRAM("ex-old"));
  const { provider, grant } = await grantWith(create);
  const other = await grantWith(create, { env: { EXAMPLE_TOKEN: TOKEN } });
  assert.deepEqual([
    await provider.sourceProcess?.(grant),
    await provider.sourceProcess?.(other.grant),
  ], ["ex", undefined]);
});

Deno.test("advise() says that the program's token has all its permissions", async () => {
  const { provider, grant } = await grantWith(
    exampleProvider(PROGRAM("ex-old")),
  );
  assert.deepEqual(await provider.advise?.(grant), [
    "the token is the one of ex, with all its permissions",
  ]);
});

Deno.test("a provider without a program cannot refresh", () => {
  assert.equal(exampleProvider()(fakePlatform()).refresh, undefined);
});

Deno.test("configureProxy() refuses a grant without a token", async () => {
  const { provider, grant } = await grantWith(exampleProvider(), {
    env: { EXAMPLE_TOKEN: TOKEN },
  });
  const { credential: _, ...rest } = grant;
  assert.throws(() => declaredBy(provider, rest), { code: "grant-damaged" });
});

Deno.test("containerEnv() refuses a grant of unknown shape", async () => {
  const { provider, grant } = await grantWith(exampleProvider(), {
    env: { EXAMPLE_TOKEN: TOKEN },
  });
  const damaged = { ...grant, settings: { host: 1 } };
  assert.throws(() => environmentOf(provider, damaged), {
    code: "grant-damaged",
  });
});
