import assert from "node:assert/strict";
import { createRegistry, type Mode } from "$core/provider.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import { findMode, moded } from "./modes.ts";

function mode(name: string): Mode {
  return {
    name,
    summary: "x",
    access: "header",
    needsFiles: false,
    reach: "any",
  };
}

const [FIRST, SECOND] = [mode("first"), mode("second")];
const WITH = { ...headerProvider({ name: "alpha" }), modes: [FIRST, SECOND] };
const REGISTRY = createRegistry([headerProvider({ name: "beta" }), WITH]);

Deno.test("moded() finds the provider that has modes", () => {
  assert.equal(moded(REGISTRY, ["beta", "alpha:prod"]), WITH);
});

Deno.test("moded() finds none among grants without modes", () => {
  assert.equal(moded(REGISTRY, ["beta"]), undefined);
});

const FOUND: [grants: string[], name: string | undefined, expect: unknown][] = [
  [["alpha"], undefined, FIRST],
  [["alpha"], "first", FIRST],
  [["alpha:prod", "beta"], "second", SECOND],
  [["beta"], undefined, undefined],
];
for (const [grants, name, expect] of FOUND) {
  Deno.test(`findMode() finds ${name ?? "the default"} of ${grants}`, () => {
    assert.equal(findMode(REGISTRY, grants, name), expect);
  });
}

Deno.test("findMode() says of a provider that there is none, that its grant is not there", () => {
  assert.throws(() => findMode(REGISTRY, ["alpha", "gamma"], "third"), {
    code: "grant-not-found",
    message: 'Cannot find grant "gamma"',
  });
});

const REFUSED: [grants: string[], name: string, hint: string][] = [
  [["alpha"], "third", "write one of first, second"],
  [["alpha"], "", "write one of first, second"],
  [["alpha"], "FIRST", "write one of first, second"],
  [["beta"], "first", "leave --mode out"],
];
for (const [grants, name, hint] of REFUSED) {
  Deno.test(`findMode() refuses ${JSON.stringify(name)} of ${grants}`, () => {
    assert.throws(() => findMode(REGISTRY, grants, name), {
      code: "usage",
      hint,
    });
  });
}
