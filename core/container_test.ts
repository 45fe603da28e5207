import assert from "node:assert/strict";
import {
  type ContainerMatch,
  engineOptions,
  isContainerMatch,
  matchesContainer,
} from "./container.ts";

const LABEL = { key: "app", value: "web" };
const WEB = { name: "web", labels: { app: "web", tier: "" } };

const MATCHES: [match: ContainerMatch, expect: boolean][] = [
  [{ name: "web" }, true],
  [{ name: "we" }, false],
  [{ name: "/web" }, false],
  [{ name: "Web" }, false],
  [{ label: LABEL }, true],
  [{ label: { key: "tier", value: "" } }, true],
  [{ label: { key: "none", value: "" } }, false],
  [{ label: { key: "app", value: "" } }, false],
  [{ label: { key: "constructor", value: "x" } }, false],
  [{ name: "web", label: LABEL }, true],
  [{ name: "db", label: LABEL }, false],
  [{ name: "web", label: { key: "app", value: "db" } }, false],
  [{}, false],
];
for (const [match, expect] of MATCHES) {
  Deno.test(`matchesContainer() gives ${expect} for ${JSON.stringify(match)}`, () => {
    assert.equal(matchesContainer(match, WEB), expect);
  });
}

const VALUES: [value: unknown, expect: boolean][] = [
  [{ name: "web" }, true],
  [{ label: LABEL }, true],
  [{ name: "web", label: LABEL }, true],
  [{}, false],
  [null, false],
  ["web", false],
  [["web"], false],
  [{ name: 1 }, false],
  [{ name: "web", image: "x" }, false],
  [{ label: { key: "app" } }, false],
  [{ label: { ...LABEL, more: 1 } }, false],
  [{ label: [LABEL] }, false],
  [{ name: "web", label: null }, false],
];
for (const [value, expect] of VALUES) {
  Deno.test(`isContainerMatch() gives ${expect} for ${JSON.stringify(value)}`, () => {
    assert.equal(isContainerMatch(value), expect);
  });
}

Deno.test("engineOptions() names what a container has to have", () => {
  assert.deepEqual(engineOptions({ name: "web", label: LABEL }), [
    ...["--name", "web"],
    ...["--label", "app=web"],
  ]);
});
