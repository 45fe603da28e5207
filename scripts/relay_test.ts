import assert from "node:assert/strict";
import { testUnless } from "../tests/support/conditional.ts";
import { Workspace } from "../tests/support/workspace.ts";
import { ROOT } from "./process.ts";
import { compileRelay } from "./relay.ts";

const reason = Deno.build.os === "linux"
  ? undefined
  : "the relay is for Linux only";

/** What `compileRelay()` does with a compiler that is this script. */
async function compileWith(script: string): Promise<boolean> {
  await using workspace = await Workspace.open();
  const compiler = await workspace.write("cc", `#!/bin/sh\n${script}\n`, 0o755);
  return await compileRelay(ROOT, workspace.path("relay"), compiler);
}

testUnless(
  reason,
  "compileRelay() takes the compiler that it is given",
  async () => {
    assert.equal(await compileWith("exit 0"), true);
  },
);

testUnless(
  reason,
  "compileRelay() shows what the compiler complains of",
  async () => {
    await assert.rejects(compileWith("echo no libc.a >&2; exit 1"), {
      message: /^Cannot build the relay: .*\/cc failed: no libc\.a$/,
    });
  },
);

testUnless(
  reason,
  "compileRelay() says how to get a compiler or do without",
  async () => {
    await assert.rejects(compileRelay(ROOT, "/nonexistent/x", "no-such-cc"), {
      message:
        'Cannot build the relay: wanted the C compiler "no-such-cc", found none',
      hint:
        "install musl-tools (or gcc and libc6-dev), name another compiler with CC, or build without the relay: CC= deno task build",
    });
  },
);

Deno.test("compileRelay() makes none with an empty name", async () => {
  assert.equal(await compileRelay(ROOT, "/nonexistent/x", ""), false);
});

Deno.test("compileRelay() makes none for a project that has no relay", async () => {
  assert.equal(await compileRelay("/nonexistent", "/nonexistent/x"), false);
});
