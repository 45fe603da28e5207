import assert from "node:assert/strict";
import { NO_METADATA } from "$core/metadata.ts";
import { DEFAULT_POLICY } from "$core/policy.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { compatibleSettings, warnAtStart } from "./compatible.ts";
import { readCompatibleEnv } from "./compatible_env.ts";

/** What an empty environment says. */
const USUAL = readCompatibleEnv({});

Deno.test("compatibleSettings() allow any role and version 1", () => {
  assert.deepEqual(compatibleSettings(USUAL), {
    ...NO_METADATA,
    roles: "any",
    v1: true,
  });
});

Deno.test("compatibleSettings() are those of moat.toml with --strict, but for the environment's defaults", () => {
  const metadata = {
    ...NO_METADATA,
    grant: "prod",
    roles: ["App"],
    defaultRole: "Lower",
    defaultAccount: "123456789012",
  };
  const config = { policy: DEFAULT_POLICY, bindings: new Map(), metadata };
  const env = { ...USUAL, defaultRole: "Higher" };
  assert.deepEqual(compatibleSettings(env, config), {
    ...metadata,
    defaultRole: "Higher",
  });
});

/** The warnings of a start, by event, or `variable-ignored VARIABLE`. */
function warned(
  env: Readonly<Record<string, string>>,
  isStrict = false,
): Record<string, string> {
  const { log, lines } = fakePlatform();
  const strict = isStrict ? { ...NO_METADATA, roles: ["App"] } : undefined;
  warnAtStart(log, { env, strict });
  return Object.fromEntries(
    lines.map(({ event, fields: { variable, reason } }) => [
      variable === undefined ? event : `${event} ${variable}`,
      String(reason),
    ]),
  );
}

Deno.test("warnAtStart() names each default of go-metadataproxy", () => {
  assert.deepEqual(Object.keys(warned({})), [
    "any-role",
    "version-1",
    "failures-are-404",
    "hour-long-sessions",
    "identity-by-address",
  ]);
});

Deno.test("warnAtStart() names identity by address alone with --strict", () => {
  assert.deepEqual(Object.keys(warned({}, true)), ["identity-by-address"]);
});

Deno.test("warnAtStart() says with --strict that nothing is allowed", () => {
  const { log, lines } = fakePlatform();
  warnAtStart(log, { env: {}, strict: NO_METADATA });
  assert.equal(lines.at(-1)?.event, "no-roles");
});

const IGNORED: [variable: string, says: RegExp, isStrict?: boolean][] = [
  ["NEWRELIC_APP_NAME", /Prometheus.*statsd/],
  ["NEWRELIC_LICENSE", /Prometheus.*statsd/],
  ["DATADOG_SERVICE_NAME", /DATADOG_ADDR/],
  ["COPY_REQUEST_HEADERS", /a client would choose/],
  ["ROLE_CACHE_OFFSET", /--strict/, true],
];

for (const [variable, says, isStrict] of IGNORED) {
  Deno.test(`warnAtStart() says that ${variable} does nothing, but not its value`, () => {
    const reasons = warned({ [variable]: "Value" }, isStrict);
    const reason = reasons[`variable-ignored ${variable}`] ?? "";
    assert.match(reason, says);
    assert(!reason.includes("Value"));
  });
}
