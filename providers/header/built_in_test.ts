import assert from "node:assert/strict";
import { stringify } from "smol-toml";
import { grantWith } from "../../tests/support/token_vendor.ts";
import {
  canaryToken,
  declaredBy,
  environmentOf,
} from "../../tests/support/token_vendor.ts";
import { BUILT_IN } from "./built_in.ts";
import type { HeaderDefinition } from "./definition.ts";
import { parseDefinition } from "./parse.ts";
import { createHeaderProvider } from "./provider.ts";

const TOKEN = canaryToken("t-");

function definition(name: string): HeaderDefinition {
  const found = BUILT_IN.find((one) => one.name === name);
  assert.ok(found);
  return found;
}

const granted = (name: string) =>
  grantWith(createHeaderProvider(definition(name)), {
    env: Object.fromEntries(
      definition(name).sourceEnv?.map((variable) => [variable, TOKEN]) ?? [],
    ),
  });

/** As a user would write it. */
function toToml(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toToml);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) =>
      member === "path" && key === "inject" ? ["substitute", "path"] : [
        key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
        toToml(member),
      ]
    ),
  );
}

for (const one of BUILT_IN) {
  Deno.test(`${one.name}: a user's file could say the same`, () => {
    const text = stringify(toToml(one));
    assert.deepEqual(parseDefinition(text, "file", one.name), one);
  });

  Deno.test(`${one.name}: clients get a placeholder in each variable, never the token`, async () => {
    const { provider, grant } = await granted(one.name);
    const env = environmentOf(provider, grant);
    assert.deepEqual(Object.keys(env), one.env);
    for (const value of Object.values(env)) {
      assert.match(value, /moatPlaceholder/);
    }
  });
}

/** `HOST[PATH] HEADER: VALUE`. */
const PUTS: Readonly<Record<string, readonly string[]>> = {
  "brave-search": [`api.search.brave.com x-subscription-token: ${TOKEN}`],
  datadog: [
    `*.datadoghq.com dd-api-key: ${TOKEN}`,
    `*.datadoghq.eu dd-api-key: ${TOKEN}`,
    `*.ddog-gov.com dd-api-key: ${TOKEN}`,
  ],
  elevenlabs: [`api.elevenlabs.io xi-api-key: ${TOKEN}`],
  gitlab: [
    `gitlab.com private-token: ${TOKEN}`,
    `*.gitlab.com private-token: ${TOKEN}`,
    `gitlab.com/api authorization: Bearer ${TOKEN}`,
    `gitlab.com authorization: Basic ${btoa(`oauth2:${TOKEN}`)}`,
  ],
  linear: [`api.linear.app authorization: ${TOKEN}`],
  sentry: [
    `sentry.io authorization: Bearer ${TOKEN}`,
    `*.sentry.io authorization: Bearer ${TOKEN}`,
  ],
  telegram: [],
  vercel: [
    `api.vercel.com authorization: Bearer ${TOKEN}`,
    `*.vercel.com authorization: Bearer ${TOKEN}`,
  ],
};

for (const { name } of BUILT_IN) {
  Deno.test(`${name}: puts the token into its headers`, async () => {
    const { provider, grant } = await granted(name);
    const puts = declaredBy(provider, grant).injections.map((
      { host, path = "", header, value },
    ) => `${host}${path} ${header}: ${value}`);
    assert.deepEqual(puts, PUTS[name]);
  });
}

const SHAPES: { name: string; variable: string; shape: RegExp }[] = [
  { name: "brave-search", variable: "BRAVE_API_KEY", shape: /^BSA\w{31}$/ },
  { name: "datadog", variable: "DD_API_KEY", shape: /^\w{32}$/ },
  { name: "elevenlabs", variable: "ELEVENLABS_API_KEY", shape: /^sk_\w{48}$/ },
  { name: "gitlab", variable: "GITLAB_TOKEN", shape: /^glpat-[\w-]{20,}$/ },
  { name: "linear", variable: "LINEAR_API_KEY", shape: /^lin_api_\w{40}$/ },
  { name: "sentry", variable: "SENTRY_AUTH_TOKEN", shape: /^sntryu_\w{64}$/ },
  {
    name: "telegram",
    variable: "TELEGRAM_BOT_TOKEN",
    shape: /^\d+:[\w-]{35}$/,
  },
  { name: "vercel", variable: "VERCEL_TOKEN", shape: /^[A-Za-z0-9]{24,}$/ },
];

for (const { name, variable, shape } of SHAPES) {
  Deno.test(`${name}: the placeholder has the shape of a token`, async () => {
    const { provider, grant } = await granted(name);
    assert.match(environmentOf(provider, grant)[variable] ?? "", shape);
  });
}

Deno.test("telegram: the placeholder becomes the token, also with an escaped colon", async () => {
  const { provider, grant } = await granted("telegram");
  const placeholder = environmentOf(provider, grant)["TELEGRAM_BOT_TOKEN"];
  assert.ok(placeholder);
  const { substitutions } = declaredBy(provider, grant);
  assert.deepEqual(
    substitutions.map((one) => [one.host, one.placeholder, one.value.reveal()]),
    [
      ["api.telegram.org", placeholder, TOKEN],
      ["api.telegram.org", placeholder.replace(":", "%3A"), TOKEN],
    ],
  );
});

Deno.test("no name or alias is taken twice", () => {
  const names = BUILT_IN.flatMap(({ name, aliases = [] }) => [
    name,
    ...aliases,
  ]);
  assert.equal(new Set(names).size, names.length);
});
