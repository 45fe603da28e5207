import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { MoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import { Secret } from "$core/secret.ts";
import { noOpenssl } from "../../tests/support/anywhere_pki.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { tempHome } from "../../tests/support/temp_home.ts";
import {
  declaredBy,
  environmentOf,
  type GrantWish,
  grantWith,
  startVendor,
} from "../../tests/support/token_vendor.ts";
import { createNpmProvider } from "./mod.ts";
import type { Npm } from "./npm_config.ts";

const TOKEN = `tok-${CANARY}`;
const PAIR = btoa(`ana:${CANARY}`);

/** A home with a `.npmrc`, and npm as it would tell of it. */
const NPMRC = `registry=https://r.test:8443/npm/
@acme:registry=https://acme.test/private/
@other:registry=https://acme.test/private/
@plain:registry=http://localhost:4873/
//r.test:8443/npm/:_authToken=${TOKEN}
//acme.test/private/:_auth=${PAIR}
//acme.test/:username=bob
//acme.test/:_password=${btoa(CANARY)}
//localhost:4873/:_authToken=${TOKEN}
`;

interface NpmWish extends GrantWish {
  /** The project's `.npmrc`. Default: none. */
  readonly project?: string;
  /** The user's `.npmrc`. Default: {@link NPMRC}. */
  readonly npmrc?: string;
  /** What npm says its default registry is. Default: nothing. */
  readonly registry?: string;
}

async function granted(
  { npmrc = NPMRC, project, registry, ...wish }: NpmWish = {},
) {
  await using home = await tempHome();
  const file = join(home.directory, ".npmrc");
  await Deno.writeTextFile(file, npmrc);
  const directory = join(home.directory, "project");
  await Deno.mkdir(directory);
  if (project !== undefined) {
    await Deno.writeTextFile(join(directory, ".npmrc"), project);
  }
  const npm: Npm = {
    run: ([command]) =>
      Promise.resolve(
        command === "prefix"
          ? directory
          : JSON.stringify({ userconfig: file, ...registry && { registry } }),
      ),
  };
  return await grantWith((platform) => createNpmProvider(platform, npm), wish);
}

Deno.test("npm: each registry gets its own credential at its host, port and path (W20)", async () => {
  const { provider, grant } = await granted();
  const { injections } = declaredBy(provider, grant);
  assert.deepEqual(
    injections.map(({ host, path, header, value }) => [
      host,
      path,
      header,
      value,
    ]),
    [
      ["r.test:8443", "/npm", "authorization", `Bearer ${TOKEN}`],
      ["acme.test", "/private", "authorization", `Basic ${PAIR}`],
      [
        "acme.test",
        undefined,
        "authorization",
        `Basic ${btoa(`bob:${CANARY}`)}`,
      ],
      ["localhost:4873", undefined, "authorization", `Bearer ${TOKEN}`],
    ],
  );
});

Deno.test("npm: a registry that is public may be reached", async () => {
  const { provider, grant } = await granted({
    npmrc:
      `@acme:registry=https://acme.test/\n//acme.test/:_authToken=${TOKEN}`,
    registry: "https://public.test/",
  });
  assert.deepEqual(declaredBy(provider, grant).allowed.toSorted(), [
    "acme.test",
    "public.test",
  ]);
});

const FILE = `registry=https://r.test:8443/npm/
@acme:registry=https://acme.test/private/
@other:registry=https://acme.test/private/
@plain:registry=http://localhost:4873/
//r.test:8443/npm/:_authToken=PLACEHOLDER
//acme.test/private/:_authToken=PLACEHOLDER
//acme.test/:_authToken=PLACEHOLDER
//localhost:4873/:_authToken=PLACEHOLDER
`;

const CONTAINER = {
  mode: "",
  endpointUrl: "http://127.0.0.1:19080",
  directory: "/moat",
};

Deno.test("npm: a client's file has every registry and scope, and placeholders", async () => {
  const { provider, grant } = await granted();
  const [file, ...more] = provider.containerMounts(grant, CONTAINER);
  const { NPM_TOKEN = "" } = environmentOf(provider, grant);
  assert.deepEqual(
    {
      ...file,
      content: String(file?.content).replaceAll(NPM_TOKEN, "PLACEHOLDER"),
    },
    { path: "npm/npmrc", mode: 0o444, content: FILE },
  );
  assert.deepEqual(more, []);
});

Deno.test("npm: the placeholder has the shape of a token, and is the injections'", async () => {
  const { provider, grant } = await granted();
  const { NPM_TOKEN = "" } = environmentOf(provider, grant);
  assert.match(NPM_TOKEN, /^npm_[A-Za-z0-9]{36}$/);
  assert.deepEqual(
    new Set(declaredBy(provider, grant).injections.map((i) => i.placeholder)),
    new Set([NPM_TOKEN]),
  );
});

Deno.test("npm: the variables name the file", async () => {
  const { provider, grant } = await granted();
  const { NPM_TOKEN: _, ...env } = provider.containerEnv(grant, CONTAINER);
  assert.deepEqual(env, {
    NPM_CONFIG_USERCONFIG: "/moat/npm/npmrc",
    npm_config_userconfig: "/moat/npm/npmrc",
  });
});

Deno.test("npm: a client without files gets the placeholder alone", async () => {
  const { provider, grant } = await granted();
  assert.deepEqual(Object.keys(environmentOf(provider, grant)), ["NPM_TOKEN"]);
});

Deno.test("npm: two grants have files of their own", async () => {
  const { provider, grant } = await granted({ name: "npm:work" });
  const [file] = provider.containerMounts(grant, CONTAINER);
  assert.equal(file?.path, "npm/npmrc-work");
});

Deno.test("npm: node and npm are needed", async () => {
  const { provider } = await granted();
  assert.deepEqual(provider.impliedDependencies(), ["node", "npm"]);
});

Deno.test("npm: a client and a person see nothing of a credential", async () => {
  const { provider, grant } = await granted();
  const { credential: _, ...shown } = grant;
  assertNoCanary(
    JSON.stringify([
      shown,
      provider.describe?.(grant),
      await provider.advise?.(grant),
      provider.containerEnv(grant, CONTAINER),
      provider.containerMounts(grant, CONTAINER),
    ]),
  );
});

Deno.test("npm: a registry without TLS comes with a warning, even untested", async () => {
  const { provider, grant } = await granted();
  const advice = await provider.advise?.(grant) ?? [];
  assert.match(
    advice.join(),
    /^http:\/\/localhost:4873\/ has no TLS: .* plain_http names localhost:4873$/,
  );
});

Deno.test("npm: what was left out is told", async () => {
  const { provider, grant } = await granted({
    npmrc: `${NPMRC}//x.test/:_authToken=\${MISSING}\n`,
  });
  const advice = await provider.advise?.(grant) ?? [];
  assert.match(
    advice.at(-1) ?? "",
    /^left out: .*\.npmrc:10 needs the variable MISSING/,
  );
});

// Where the token is from

/** `KEY VALUE` of each injection. */
async function putBy(wish: NpmWish): Promise<string[]> {
  const { provider, grant } = await granted(wish);
  return declaredBy(provider, grant).injections.map((
    { host, path = "", value },
  ) => `${host}${path} ${value}`);
}

const REGISTRY = "https://new.test/npm/";

const SOURCES: { name: string; wish: NpmWish; puts: string[] }[] = [
  {
    name: "NPM_TOKEN, for npm's default registry",
    wish: { npmrc: "", registry: REGISTRY, env: { NPM_TOKEN: "t" } },
    puts: ["new.test/npm Bearer t"],
  },
  {
    name: "NPM_TOKEN, for --registry",
    wish: { flags: { registry: REGISTRY }, env: { NPM_TOKEN: "t" } },
    puts: ["new.test/npm Bearer t"],
  },
  {
    name: "an answer",
    wish: { flags: { registry: REGISTRY }, answer: "t" },
    puts: ["new.test/npm Bearer t"],
  },
  {
    name: ".npmrc before NPM_TOKEN",
    wish: {
      npmrc: "//a.test/:_authToken=a",
      registry: REGISTRY,
      env: { NPM_TOKEN: "t" },
    },
    puts: ["a.test Bearer a"],
  },
  {
    name: ".npmrc for --registry, and nothing else of it",
    wish: { flags: { registry: "https://r.test:8443/npm" } },
    puts: [`r.test:8443/npm Bearer ${TOKEN}`],
  },
  {
    name: "the nearest credential above --registry",
    wish: { flags: { registry: "https://acme.test/private/sub/" } },
    puts: [`acme.test/private Basic ${PAIR}`],
  },
];

for (const { name, wish, puts } of SOURCES) {
  Deno.test(`npm: the credential is from ${name}`, async () => {
    assert.deepEqual(await putBy(wish), puts);
  });
}

Deno.test("npm: a project cannot have the user's credentials sent elsewhere", async () => {
  const evil =
    "registry=https://evil.test/\n@acme:registry=https://evil.test/\n//evil.test/:_authToken=${NPM_TOKEN}";
  const puts = await putBy({ project: evil, env: { NPM_TOKEN: TOKEN } });
  assert.deepEqual(puts.filter((put) => put.startsWith("evil")), []);
});

Deno.test("npm: --registry may name the one that a project chose", async () => {
  const wish = {
    npmrc: "",
    project: `registry=${REGISTRY}`,
    flags: { registry: REGISTRY },
    env: { NPM_TOKEN: "t" },
  };
  assert.deepEqual(await putBy(wish), ["new.test/npm Bearer t"]);
});

Deno.test("npm: --token-file counts before .npmrc", async () => {
  await using home = await tempHome();
  const file = join(home.directory, "token");
  await Deno.writeTextFile(file, "t\n");
  const registry = "https://r.test:8443/npm/";
  const flags = { registry, "token-file": file };
  assert.deepEqual(await putBy({ flags }), ["r.test:8443/npm Bearer t"]);
});

Deno.test("npm: --scope uses the registry for that scope alone", async () => {
  const { provider, grant } = await granted({
    flags: { registry: REGISTRY, scope: ["@a", "@b"] },
    env: { NPM_TOKEN: "t" },
  });
  const [file] = provider.containerMounts(grant, CONTAINER);
  assert.match(
    String(file?.content),
    /^@a:registry=https:\/\/new\.test\/npm\/\n@b:registry=https:\/\/new\.test\/npm\/\n\/\/new/,
  );
});

const REFUSED: { name: string; wish: NpmWish; code: string }[] = [
  {
    name: "a URL with a password",
    wish: { flags: { registry: `https://u:${CANARY}@r.test/` } },
    code: "usage",
  },
  { name: "no URL", wish: { flags: { registry: "r.test" } }, code: "usage" },
  { name: "a scope alone", wish: { flags: { scope: ["@a"] } }, code: "usage" },
  {
    name: "a scope without @",
    wish: { flags: { registry: REGISTRY, scope: ["a"] } },
    code: "usage",
  },
  { name: "no registry", wish: { npmrc: "" }, code: "no-registry" },
  {
    name: "the environment's token for a registry that a project chose",
    wish: {
      npmrc: "",
      project: "registry=https://evil.test/",
      env: { NPM_TOKEN: CANARY },
    },
    code: "registry-of-project",
  },
  {
    name:
      "the environment's token for npm's default registry, when a project wants it for another",
    wish: {
      npmrc: "",
      registry: REGISTRY,
      project: "//acme.test/:_authToken=${NPM_TOKEN}",
      env: { NPM_TOKEN: CANARY },
    },
    code: "no-credential",
  },
  {
    name: "no token",
    wish: { npmrc: "", registry: REGISTRY },
    code: "no-token",
  },
  {
    name: "a registry with a password in .npmrc",
    wish: { npmrc: `registry=https://u:${CANARY}@r.test/` },
    code: "bad-npmrc",
  },
  {
    name: "a malformed credential",
    wish: { npmrc: `//r.test/:_auth=${CANARY}%` },
    code: "bad-npmrc",
  },
];

for (const { name, wish, code } of REFUSED) {
  Deno.test(`npm: grant refuses ${name}`, async () => {
    await assert.rejects(granted(wish), (error: unknown) => {
      assert.ok(error instanceof MoatError);
      assertNoCanary(error.message, error.hint ?? "", Deno.inspect(error));
      assert.equal(error.code, code);
      return true;
    });
  });
}

// Validation

async function validated(status: number) {
  await using vendor = await startVendor({ status });
  const { grant, provider } = await granted({
    npmrc: `registry=https://${vendor.host}/npm/sub/
//${vendor.host}/npm/:_authToken=${TOKEN}
`,
    vendor,
  });
  return { seen: vendor.seen, grant, provider };
}

testUnless(
  noOpenssl,
  "npm: the registry is asked whose credential it is",
  async () => {
    const { seen } = await validated(200);
    assert.deepEqual(
      seen.map(({ method, path, headers }) => [
        method,
        path,
        headers.get("authorization"),
      ]),
      [["GET", "/npm/sub/-/whoami", `Bearer ${TOKEN}`]],
    );
  },
);

for (
  const [status, result, note] of [
    [200, "ok", undefined],
    [429, "rate-limited", /asks to slow down/],
    [403, "restricted", /does not tell whose/],
    [404, "unknown", /could not tell/],
    [501, "unknown", /could not tell/],
  ] as const
) {
  testUnless(
    noOpenssl,
    `npm: an answer ${status} is told as ${result}`,
    async () => {
      const { grant, provider } = await validated(status);
      const { credentials } = grant.settings as {
        credentials: readonly { validation: string }[];
      };
      assert.equal(credentials[0]?.validation, result);
      const [advice] = await provider.advise?.(grant) ?? [];
      if (note) assert.match(advice ?? "", note);
      else assert.equal(advice, undefined);
    },
  );
}

testUnless(
  noOpenssl,
  "npm: a credential that the registry refuses is not stored",
  async () => {
    await assert.rejects(validated(401), (error: MoatError) => {
      assertNoCanary(error.message, error.hint ?? "", Deno.inspect(error));
      assert.equal(error.code, "token-rejected");
      return true;
    });
  },
);

// Stored grants

const DAMAGED: { name: string; change: Partial<Grant> }[] = [
  { name: "other settings", change: { settings: {} } },
  { name: "no JSON", change: { credential: new Secret(CANARY) } },
  {
    name: "a value of two lines",
    change: { credential: new Secret(`{"//r.test/":"Bearer a\\r\\nX: y"}`) },
  },
];

for (const { name, change } of DAMAGED) {
  Deno.test(`npm: a grant with ${name} is damaged`, async () => {
    const { provider, grant } = await granted();
    assert.throws(
      () => declaredBy(provider, { ...grant, ...change }),
      (error: unknown) => {
        assert.ok(error instanceof MoatError);
        assertNoCanary(error.message, Deno.inspect(error));
        assert.equal(error.code, "grant-damaged");
        return true;
      },
    );
  });
}

Deno.test("npm: no token ever gets into settings or errors", async () => {
  const line = fc.constantFrom(
    ...NPMRC.trimEnd().split("\n"),
    `_authToken=${CANARY}`,
    `//a.test/:_auth=${CANARY}`,
    `//a.test/:_authToken="${CANARY}`,
    `//a.test/:_authToken ${CANARY}`,
    `//a.test/ :_authToken=${CANARY}`,
    `@a:registry=${CANARY}`,
    `registry=https://${CANARY}@a.test/`,
    `registry=https://a.test/?${CANARY}`,
    `@a ${CANARY}:registry=https://a.test/`,
    CANARY,
  );
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 8 }), async (lines) => {
      try {
        const { grant } = await granted({ npmrc: lines.join("\n") });
        assertNoCanary(JSON.stringify(grant.settings), Deno.inspect(grant));
      } catch (error) {
        assert.ok(error instanceof MoatError, String(error));
        assertNoCanary(error.message, error.hint ?? "", Deno.inspect(error));
      }
    }),
    { numRuns: 200 },
  );
});
