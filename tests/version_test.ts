import assert from "node:assert/strict";
import config from "../deno.json" with { type: "json" };
import { testUnless } from "./support/conditional.ts";
import { moatReason, runMoat } from "./support/moat.ts";

testUnless(moatReason(), "moat --version says what was built", async () => {
  const { code, stdout } = await runMoat(["--version"]);
  assert.deepEqual([code, stdout.includes(config.version)], [0, true]);
});
