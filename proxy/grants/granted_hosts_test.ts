import assert from "node:assert/strict";
import { type InjectionRegistrar, type Provider } from "$core/provider.ts";
import { createRegistry } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import { grantedHosts } from "./granted_hosts.ts";

/** A provider that declares what `declare` does. */
function provider(
  name: string,
  declare: (proxy: InjectionRegistrar) => void,
): Provider {
  return { ...headerProvider({ name }), configureProxy: declare };
}

function grant(name: string) {
  const [provider = ""] = name.split(":");
  return { provider, name, createdAt: 0, settings: {} };
}

const header = (host: string) => ({
  host,
  header: "authorization",
  value: new Secret("canary"),
  strip: [],
});

const REGISTRY = createRegistry([
  provider("inject", (proxy) => {
    proxy.inject(header("api.test"));
    proxy.inject({ ...header("api.test"), header: "x" });
    proxy.inject(header("git.test"));
  }),
  provider("substitute", (proxy) =>
    proxy.substitute({
      host: "bot.test",
      placeholder: "p",
      value: new Secret("canary"),
    })),
  provider("allow", (proxy) => proxy.allow("cdn.test")),
  provider("both", (proxy) => {
    proxy.allow("a.test");
    proxy.inject(header("a.test"));
    proxy.inject(header("b.test"));
    proxy.allow("b.test");
  }),
  provider("nothing", () => {}),
]);

const CASES: [name: string, hosts: [host: string, reads: boolean][]][] = [
  ["inject", [["api.test", true], ["api.test", true], ["git.test", true]]],
  ["substitute", [["bot.test", true]]],
  ["allow", [["cdn.test", false]]],
  [
    "both",
    [["a.test", true], ["b.test", true], ["a.test", false], ["b.test", false]],
  ],
  ["nothing", []],
];
for (const [name, hosts] of CASES) {
  Deno.test(`grantedHosts() collects what "${name}" declares`, () => {
    assert.deepEqual(
      grantedHosts(REGISTRY, [grant(name)]),
      hosts.map(([host, reads]) => ({ host, grant: name, reads })),
    );
  });
}

Deno.test("grantedHosts() keeps the grants' order, and each one's hosts", () => {
  const grants = ["allow:b", "substitute", "allow:a"].map(grant);
  const found = grantedHosts(REGISTRY, grants).map(({ host, grant }) => [
    host,
    grant,
  ]);
  assert.deepEqual(found, [
    ["cdn.test", "allow:b"],
    ["bot.test", "substitute"],
    ["cdn.test", "allow:a"],
  ]);
});

Deno.test("grantedHosts() refuses a grant whose provider is not there", () => {
  assert.throws(() => grantedHosts(REGISTRY, [grant("gone")]), {
    code: "usage",
  });
});
