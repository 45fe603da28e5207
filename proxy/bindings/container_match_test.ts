import assert from "node:assert/strict";
import type { ContainerMatch } from "$core/container.ts";
import { usageError } from "$core/errors.ts";
import { createRegistry, type Mode } from "$core/provider.ts";
import type { Reach } from "$core/reach.ts";
import { Secret } from "$core/secret.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import {
  formatContainer,
  matchWarnings,
  noMetadata,
  parseContainer,
  refuseHiddenAddress,
  refuseIntercepted,
  refuseTokenFlags,
} from "./container_match.ts";

const TEXTS: [text: string, match: ContainerMatch][] = [
  ["web", { name: "web" }],
  ["web-1.a_b", { name: "web-1.a_b" }],
  ["label", { name: "label" }],
  ["label:app=web", { label: { key: "app", value: "web" } }],
  ["label:a.b/c=d=e", { label: { key: "a.b/c", value: "d=e" } }],
  ["label:app=", { label: { key: "app", value: "" } }],
];
for (const [text, match] of TEXTS) {
  Deno.test(`parseContainer() reads ${text}`, () => {
    assert.deepEqual(parseContainer(text), match);
  });

  Deno.test(`formatContainer() writes ${text}`, () => {
    assert.equal(formatContainer(match), text);
  });
}

const BAD_TEXTS = ["", "/web", "-web", "a b", "label:", "label:app", "label:=x"]
  .concat("label:a=b\nc", "app=web", "image:x=y");
for (const text of BAD_TEXTS) {
  Deno.test(`parseContainer() refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseContainer(text), { code: "usage" });
  });
}

Deno.test("formatContainer() writes name and label", () => {
  const label = { key: "a", value: "b" };
  assert.equal(formatContainer({ name: "web", label }), "web and label:a=b");
});

const REACHES: [reach: Reach | undefined, isRefused: boolean][] = [
  [undefined, false],
  [{ by: "gateway", address: "172.17.0.1" }, false],
  [{ by: "address", address: "169.254.170.2", port: 80 }, false],
  [{ by: "loopback" }, true],
  [{ by: "name", name: "host.docker.internal" }, true],
  [{ by: "socket", path: "/x", port: 1 }, true],
];
for (const [reach, isRefused] of REACHES) {
  const verb = isRefused ? "refuses" : "takes";
  Deno.test(`refuseHiddenAddress() ${verb} a way by ${reach?.by ?? "a person's choice"}`, () => {
    const ask = () => refuseHiddenAddress(reach);
    if (isRefused) assert.throws(ask, { code: "usage" });
    else ask();
  });
}

const IMDS: Mode = {
  ...{ name: "imds", summary: "", access: "container", needsFiles: false },
  reach: { hostname: "169.254.169.254", port: 80 },
};

for (const flag of ["token-file", "allow", "deny", "allow-private"]) {
  Deno.test(`refuseTokenFlags() refuses --${flag}`, () => {
    const flags = { [flag]: flag === "token-file" ? true : ["x"] };
    assert.throws(() => refuseTokenFlags(IMDS, flags), { code: "usage" });
  });
}

Deno.test("refuseTokenFlags() takes flags of every binding", () => {
  refuseTokenFlags(IMDS, { grant: ["a"], mode: "imds", config: "moat.toml" });
});

Deno.test("refuseIntercepted() refuses a grant that is injected", () => {
  const registry = createRegistry([
    headerProvider({ name: "plain" }),
    {
      ...headerProvider({ name: "api" }),
      configureProxy: (proxy) =>
        proxy.inject({
          ...{ host: "api.test", header: "authorization", strip: [] },
          value: new Secret("x"),
        }),
    },
  ]);
  const [plain, api] = ["plain", "api"].map((name) => ({
    ...{ name, provider: name, createdAt: 0, settings: {} },
  }));
  assert(plain && api);
  refuseIntercepted(registry, [plain]);
  assert.throws(() => refuseIntercepted(registry, [plain, api]), {
    ...usageError(
      "Cannot use api without a token: the intercepting proxy asks for one",
      "bind api by itself, in a mode with a token",
    ),
  });
});

Deno.test("matchWarnings() warns of labels where nothing else is asked for", () => {
  const label = { key: "team", value: "web" };
  assert.deepEqual([
    matchWarnings({ label }, true).length,
    matchWarnings({ label }, false).length,
    matchWarnings({ name: "web", label }, true).length,
    matchWarnings({ name: "web" }, true).length,
  ], [1, 0, 0, 0]);
});

Deno.test("noMetadata() says which commands help this user", () => {
  const commands = Deno.uid() === 0
    ? "moat network-rules --apply, then moat proxy --imds"
    : "sudo moat network-rules --to 169.254.170.2:8169 --apply, then moat proxy --imds 169.254.170.2:8169";
  assert.deepEqual(
    [false, true].map((isRunning) => noMetadata("run it", isRunning).hint),
    [commands, `stop it; ${commands}`],
  );
});
