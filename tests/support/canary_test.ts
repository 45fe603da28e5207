import assert from "node:assert/strict";
import { assertNoCanary, assertNoCanaryBelow, CANARY } from "./canary.ts";
import { Workspace } from "./workspace.ts";

const LEAKS: { name: string; text: string }[] = [
  { name: "as it is", text: `x${CANARY}y` },
  { name: "in JSON", text: JSON.stringify({ secret: CANARY }) },
  { name: "in hexadecimal", text: new TextEncoder().encode(CANARY).toHex() },
  ...["", "a", "ab", "abc"].map((before) => ({
    name: `in base64 after ${before.length} bytes`,
    text: btoa(`${before}${CANARY}:after`),
  })),
];

for (const { name, text } of LEAKS) {
  Deno.test(`assertNoCanary() finds the canary ${name}`, () => {
    assert.throws(() => assertNoCanary("clean", text), /text 1 holds/);
  });
}

Deno.test("assertNoCanary() lets other texts pass", () => {
  assertNoCanary("", CANARY.slice(0, -1), btoa("Canary"));
});

Deno.test("assertNoCanaryBelow() finds a file deep down", async () => {
  await using workspace = await Workspace.open();
  await workspace.write("a/b/c", `\0${CANARY}`);
  await assert.rejects(assertNoCanaryBelow(workspace.directory), /b\/c holds/);
});
