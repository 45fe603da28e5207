import assert from "node:assert/strict";
import { placeholderVariables } from "./variables.ts";

const CASES: { name: string; expect: Record<string, string> }[] = [
  { name: "github", expect: { GH_TOKEN: "p" } },
  { name: "github:work", expect: { GH_TOKEN: "p", GH_TOKEN_WORK: "p" } },
  {
    name: "github:my-org.2",
    expect: { GH_TOKEN: "p", GH_TOKEN_MY_ORG_2: "p" },
  },
];

for (const { name, expect } of CASES) {
  Deno.test(`placeholderVariables() of ${name} are ${Object.keys(expect)}`, () => {
    assert.deepEqual(placeholderVariables(name, ["GH_TOKEN"], "p"), expect);
  });
}
