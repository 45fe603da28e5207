import assert from "node:assert/strict";
import { buildMoat, describeCommit } from "../scripts/build.ts";
import { testUnless } from "./support/conditional.ts";
import { run, which } from "./support/run.ts";
import { Workspace } from "./support/workspace.ts";

const MAIN = `
import { COMMIT, VERSION } from "$core/version.ts";
if (Deno.args[0] === "--version") console.log(VERSION, COMMIT);
else console.log(JSON.stringify((await import("$core/probe.ts")).probe()));
`;

const PROBE = `
import { createRequire } from "node:module";
const state = (name) => Deno.permissions.querySync({ name }).state;
export const probe = () => ({
  require: typeof createRequire(import.meta.url)("node:fs").readFileSync,
  granted: ["net", "read", "write", "env", "run", "sys"].filter((name) =>
    state(name) === "granted"
  ),
  ffi: state("ffi"),
});
`;

/** A program as small as one can be that has moat's layout. */
async function makeProject(workspace: Workspace): Promise<void> {
  const version = new URL("../core/version.ts", import.meta.url);
  await workspace.write("main.ts", MAIN);
  await workspace.write("core/probe.ts", PROBE);
  await workspace.write("core/version.ts", await Deno.readTextFile(version));
  await workspace.write("deno.json", '{"version":"1.2.3"}');
  await Deno.mkdir(workspace.path("proxy"));
  await Deno.mkdir(workspace.path("providers"));
}

Deno.test("buildMoat()", async (t) => {
  await using workspace = await Workspace.open();
  await makeProject(workspace);
  const root = workspace.directory;
  const { path } = await buildMoat({ root });

  await t.step("puts version and commit in", async () => {
    const { stdout } = await run([path, "--version"]);
    assert.equal(stdout, "1.2.3 unknown\n");
  });

  await t.step("makes an executable of mode 0755", async () => {
    assert.equal((await Deno.stat(path)).mode! & 0o7777, 0o755);
  });

  await t.step("compiles the permissions in, but not ffi", async () => {
    assert.deepEqual(JSON.parse((await run([path])).stdout), {
      require: "function",
      granted: ["net", "read", "write", "env", "run", "sys"],
      ffi: "prompt",
    });
  });

  await t.step("does not build again when nothing changed", async () => {
    assert.equal((await buildMoat({ root })).fresh, false);
  });

  await t.step("leaves no temporary directory", () => {
    const left = [...Deno.readDirSync(workspace.path(".cache"))];
    assert.deepEqual(left.map((entry) => entry.name), ["build"]);
  });

  await t.step("builds again when a source changed", async () => {
    await workspace.write("core/probe.ts", 'export const probe = () => "new";');
    await buildMoat({ root });
    assert.equal((await run([path])).stdout, '"new"\n');
  });

  await t.step("refuses to release what is not under git", async () => {
    await assert.rejects(
      buildMoat({ root, release: true }),
      /wanted a clean git tree, found commit "unknown"/,
    );
  });

  await t.step("fails on a program that does not start", async () => {
    await workspace.write("main.ts", "Deno.exit(7);");
    await assert.rejects(
      buildMoat({ root }),
      /wanted exit status 0, found 7/,
    );
  });
});

testUnless(
  which("git") ? undefined : "not installed: git",
  "describeCommit() tells a clean tree from a changed one",
  async () => {
    await using workspace = await Workspace.open();
    const cwd = workspace.directory;
    const git = "git -c user.name=x -c user.email=x@example.com".split(" ");
    const file = await workspace.write("a", "1");
    await run([...git, "init", "-q"], { cwd });
    await run([...git, "add", "."], { cwd });
    await run([...git, "commit", "-qm", "x"], { cwd });
    const clean = await describeCommit(cwd);
    await Deno.writeTextFile(file, "2");
    assert.deepEqual(
      [/^[0-9a-f]{12}$/.test(clean), await describeCommit(cwd)],
      [true, `${clean}-dirty`],
    );
  },
);
