import assert from "node:assert/strict";
import type { Grant } from "$core/grant.ts";
import { createRegistry, type Provider } from "$core/provider.ts";
import { createMemoryStore } from "$core/store/memory.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import { compareEnvironments } from "./environments.ts";

/** A grant for which environments count, or not. */
function grant(counts: boolean): Grant {
  return {
    provider: "alpha",
    name: "alpha",
    createdAt: 0,
    settings: { counts },
  };
}

interface Case {
  readonly name: string;
  /** What the proxy told. */
  readonly used?: string;
  /** What this environment holds. */
  readonly own?: string;
  /** Default: true. */
  readonly counts?: boolean;
  readonly sentence?: RegExp;
}

function providerOf({ own }: Case): Provider {
  return {
    ...headerProvider({ name: "alpha" }),
    environmentIdentity: (grant) =>
      !grant || grant.settings["counts"] ? own : undefined,
  };
}

async function compare(
  wanted: Case,
  provider = providerOf(wanted),
  endsWhenIdle = false,
): Promise<{ sentences: string[]; reads: number }> {
  let reads = 0;
  const memory = createMemoryStore([grant(wanted.counts ?? true)]);
  const store = {
    ...memory,
    get: (name: string) => (reads++, memory.get(name)),
  };
  const { used } = wanted;
  const sentences = await compareEnvironments(
    { registry: createRegistry([provider]), store },
    ["alpha"],
    {
      environment: used === undefined ? {} : { alpha: used },
      endsWhenIdle,
    },
  );
  return { sentences, reads };
}

const CASES: Case[] = [
  { name: "no credentials on either side" },
  { name: "the same credentials", used: "K1", own: "K1" },
  {
    name: "other credentials",
    used: "K1",
    own: "K2",
    sentence:
      /^alpha uses .* proxy's environment \(K1\), not this one's \(K2\)/,
  },
  {
    name: "credentials of the proxy alone",
    used: "K1",
  },
  {
    name: "credentials of this environment alone",
    own: "K2",
    sentence: /^alpha does not use this environment's credentials \(K2\)/,
  },
  {
    name: "credentials that do not count for the grant",
    own: "K2",
    counts: false,
  },
];

for (const wanted of CASES) {
  const { name, sentence } = wanted;
  Deno.test(`compareEnvironments() ${sentence ? "warns of" : "takes"} ${name}`, async () => {
    const { sentences } = await compare(wanted);
    assert.match(sentences.join("\n"), sentence ?? /^$/);
  });
}

Deno.test("compareEnvironments() says what to do about a lasting proxy", async () => {
  const { sentences } = await compare({ name: "", used: "K1", own: "K2" });
  assert.match(sentences[0] ?? "", /; restart moat proxy in this environment$/);
});

Deno.test("compareEnvironments() says what to do about another run's proxy", async () => {
  const wanted = { name: "", used: "K1", own: "K2" };
  const { sentences } = await compare(wanted, providerOf(wanted), true);
  assert.match(sentences[0] ?? "", /; end the other runs, .*run it again$/);
});

for (const [used, own] of [["K1", "K1"], ["K1", "K2"], [], ["K1"]]) {
  const wanted = { name: "", ...(used && { used }), ...(own && { own }) };
  Deno.test(`compareEnvironments() reads no grant for ${used ?? "none"} and ${own ?? "none"}`, async () => {
    assert.equal((await compare(wanted)).reads, 0);
  });
}

Deno.test("compareEnvironments() knows nothing of providers that do not tell", async () => {
  const wanted = { name: "", used: "K1" };
  const provider = headerProvider({ name: "alpha" });
  assert.deepEqual((await compare(wanted, provider)).sentences, []);
});

Deno.test("compareEnvironments() takes a grant that cannot be read here", async () => {
  const sentences = await compareEnvironments(
    {
      registry: createRegistry([providerOf({ name: "", own: "K2" })]),
      store: createMemoryStore(),
    },
    ["alpha"],
    { environment: {}, endsWhenIdle: false },
  );
  assert.deepEqual(sentences, []);
});
