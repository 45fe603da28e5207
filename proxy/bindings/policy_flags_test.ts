import assert from "node:assert/strict";
import { join } from "node:path";
import type { FlagValues } from "$core/provider.ts";
import type { Policy } from "$core/policy.ts";
import { findPaths } from "$core/paths.ts";
import { tempHome } from "../../tests/support/temp_home.ts";
import { readPolicy } from "./policy_flags.ts";

const COMMON = '[policy]\ndefault = "allow"\n';
const OF_WEB =
  '[[bindings.web.policy.rules]]\naction = "deny"\nhost = "a.test"\n';

/** The policy that flags and a configuration give. */
async function policyOf(
  { flags = {}, toml, binding }: {
    readonly flags?: FlagValues;
    readonly toml?: string;
    readonly binding?: string;
  },
): Promise<Policy | undefined> {
  await using home = await tempHome();
  const paths = findPaths({ MOAT_HOME: home.directory });
  if (toml !== undefined) {
    await Deno.writeTextFile(join(paths.configuration, "moat.toml"), toml, {
      mode: 0o600,
    });
  }
  return await readPolicy({ paths, env: {} }, { flags }, binding);
}

const NONE = { default: "deny", rules: [], allowHosts: [], plainHttp: [] };
const DENIES = {
  ...NONE,
  rules: [{ action: "deny", host: "a.test" }],
};

const CASES: {
  name: string;
  given: Parameters<typeof policyOf>[0];
  policy: unknown;
}[] = [
  { name: "nothing", given: {}, policy: undefined },
  {
    name: "an empty configuration",
    given: { toml: "" },
    policy: undefined,
  },
  {
    name: "another binding's policy",
    given: { toml: OF_WEB },
    policy: undefined,
  },
  {
    name: "the common policy",
    given: { toml: COMMON },
    policy: { ...NONE, default: "allow" },
  },
  {
    name: "a common policy that says nothing",
    given: { toml: "[policy]\n" },
    policy: NONE,
  },
  {
    name: "the binding's own policy",
    given: { toml: COMMON + OF_WEB, binding: "web" },
    policy: DENIES,
  },
  {
    name: "the common policy for a binding without its own",
    given: { toml: COMMON + OF_WEB, binding: "job" },
    policy: { ...NONE, default: "allow" },
  },
  {
    name: "all flags",
    given: {
      flags: {
        allow: ["B.test", "*.c.test:8443"],
        deny: ["a.test"],
        "allow-private": ["d.test:1"],
        "plain-http": ["e.test:2"],
      },
    },
    policy: {
      default: "deny",
      rules: [
        { action: "deny", host: "a.test" },
        { action: "allow", host: "b.test" },
        { action: "allow", host: "*.c.test:8443" },
      ],
      allowHosts: ["d.test:1"],
      plainHttp: ["e.test:2"],
    },
  },
  {
    name: "flags before the configuration",
    given: { flags: { allow: ["b.test"] }, toml: OF_WEB, binding: "web" },
    policy: {
      ...NONE,
      rules: [{ action: "allow", host: "b.test" }, ...DENIES.rules],
    },
  },
];
for (const { name, given, policy } of CASES) {
  Deno.test(`readPolicy() reads ${name}`, async () => {
    assert.deepEqual(await policyOf(given), policy);
  });
}

const REFUSED: [given: Parameters<typeof policyOf>[0], code: string][] = [
  [{ flags: { allow: ["a b"] } }, "usage"],
  [{ flags: { "allow-private": ["a.test"] } }, "usage"],
  [{ flags: { config: "/nonexistent/moat.toml" } }, "config-not-found"],
  [{ toml: "[policies]\n" }, "bad-config"],
];
for (const [given, code] of REFUSED) {
  Deno.test(`readPolicy() refuses ${JSON.stringify(given)}`, async () => {
    await assert.rejects(policyOf(given), { code });
  });
}
