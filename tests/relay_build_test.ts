/** That the relay gets into the executable, and out of it again. */

import assert from "node:assert/strict";
import { buildMoat } from "../scripts/build.ts";
import { ROOT } from "../scripts/process.ts";
import { testUnless } from "./support/conditional.ts";
import { run, which } from "./support/run.ts";
import { Workspace } from "./support/workspace.ts";

const reason = Deno.build.os !== "linux"
  ? "the relay is for Linux only"
  : which("cc")
  ? undefined
  : "not installed: gcc";

/** Writes the relay to the path that is its argument. */
const MAIN = `
import { loadRelay } from "$proxy/relay/relay.ts";
const [path] = Deno.args;
if (path === "--version") console.log("1.2.3");
else {
  try {
    await Deno.writeFile(path, await loadRelay(), { mode: 0o755 });
  } catch (error) {
    console.log(error.code);
  }
}
`;

const COPIED = [
  "core/errors.ts",
  "proxy/relay/relay.ts",
  "proxy/relay/relay.c",
];

async function makeProject(workspace: Workspace): Promise<void> {
  await workspace.write("main.ts", MAIN);
  await workspace.write("deno.json", '{"version":"1.2.3"}');
  for (const file of COPIED) {
    await workspace.write(file, await Deno.readTextFile(`${ROOT}${file}`));
  }
  await Deno.mkdir(workspace.path("providers"));
}

testUnless(reason, "buildMoat() and the relay", async (t) => {
  await using workspace = await Workspace.open();
  await makeProject(workspace);
  const root = workspace.directory;
  const relay = workspace.path("relay");
  const { path } = await buildMoat({ root, compiler: "cc" });

  await t.step("an executable gives its relay away", async () => {
    await run([path, relay]);
    const argv = [relay, "1", "/nonexistent", "--", "no-such-program"];
    const { code, stderr } = await run(argv);
    assert.equal(code, 127, stderr);
  });

  await t.step("an executable that was built without says so", async () => {
    await buildMoat({ root, compiler: "" });
    assert.equal((await run([path, relay])).stdout, "no-relay\n");
  });

  await t.step("a build without a compiler fails", async () => {
    await assert.rejects(
      buildMoat({ root, compiler: "no-such-cc" }),
      /^ScriptError: Cannot build the relay: wanted the C compiler/,
    );
  });
});
