import assert from "node:assert/strict";
import {
  createRegistry,
  type FlagValues,
  type Provider,
} from "$core/provider.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import { readBindingSettings } from "./binding_settings.ts";

/** A provider that gives back the flags that it was to read. */
function provider(name: string, flags: readonly string[]): Provider {
  return {
    ...headerProvider({ name }),
    bindingFlags: flags.map((flag) => ({
      name: flag,
      value: "TEXT",
      summary: "x",
    })),
    readBindingFlags: (given) =>
      Promise.resolve({ ...given as Record<string, string>, by: name }),
  };
}

const REGISTRY = createRegistry([
  provider("alpha", ["duration", "shared"]),
  provider("beta", ["colour", "shared"]),
  headerProvider({ name: "plain" }),
]);

const READ: {
  name: string;
  grants: string[];
  flags: FlagValues;
  to: unknown;
}[] = [
  {
    name: "nothing without flags",
    grants: ["alpha"],
    flags: {},
    to: undefined,
  },
  {
    name: "the flags of a grant's provider",
    grants: ["alpha:prod"],
    flags: { duration: "15m" },
    to: { alpha: { duration: "15m", by: "alpha" } },
  },
  {
    name: "each provider's own flags",
    grants: ["alpha", "beta", "plain"],
    flags: { colour: "red", duration: "15m" },
    to: {
      alpha: { duration: "15m", by: "alpha" },
      beta: { colour: "red", by: "beta" },
    },
  },
  {
    name: "a shared flag for all that take it",
    grants: ["alpha", "beta"],
    flags: { shared: "x" },
    to: {
      alpha: { shared: "x", by: "alpha" },
      beta: { shared: "x", by: "beta" },
    },
  },
  {
    name: "no flag that is the command's own",
    grants: ["alpha"],
    flags: { mode: "x", url: "http://127.0.0.1:1", "token-file": true },
    to: undefined,
  },
  {
    name: "nothing for a provider that is not there",
    grants: ["gamma"],
    flags: {},
    to: undefined,
  },
];

for (const { name, grants, flags, to } of READ) {
  Deno.test(`readBindingSettings() reads ${name}`, async () => {
    const all = { grant: grants, ...flags };
    const found = await readBindingSettings(REGISTRY, grants, { flags: all });
    assert.deepEqual(found, to);
  });
}

Deno.test("readBindingSettings() refuses a flag that no grant takes", async () => {
  const flags = { grant: ["alpha"], colour: "red" };
  await assert.rejects(readBindingSettings(REGISTRY, ["alpha"], { flags }), {
    code: "usage",
    message: "Cannot use --colour: none of the grants takes it",
    hint: "it is for grants of beta",
  });
});
