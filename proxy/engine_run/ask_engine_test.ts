import assert from "node:assert/strict";
import { Workspace } from "../../tests/support/workspace.ts";
import { askEngine } from "./ask_engine.ts";
import { parseEngineRun } from "./command_line.ts";

/** Asks an engine that is a shell script. */
async function ask(script: string, globals = "", args = ["info"]) {
  await using workspace = await Workspace.open();
  const path = await workspace.write("docker", `#!/bin/sh\n${script}`, 0o700);
  const line = `${path} ${globals} run img`.split(/ +/);
  const run = parseEngineRun(line);
  assert(run);
  return await askEngine(run)(args);
}

Deno.test("askEngine() gives the engine's stdout", async () => {
  assert.equal(await ask("echo out; echo err >&2"), "out\n");
});

Deno.test("askEngine() asks with the user's global options", async () => {
  const text = await ask('printf "<%s>" "$@"', "-H tcp://h:1 --debug");
  assert.equal(text, "<-H><tcp://h:1><--debug><info>");
});

Deno.test("askEngine() gives each argument as one word", async () => {
  const text = await ask('printf "<%s>" "$@"', "", ["a b", "$x", "{{.Y}}"]);
  assert.equal(text, "<a b><$x><{{.Y}}>");
});

Deno.test("askEngine() quotes the last line of a failure", async () => {
  await assert.rejects(ask("echo first >&2; echo last >&2; exit 3"), {
    code: "engine-failed",
    message: "Cannot ask docker for info: last",
  });
});

Deno.test("askEngine() hints at the command with the user's own options", async () => {
  await assert.rejects(ask("exit 3", "-H tcp://h:1"), {
    hint: /docker -H tcp:\/\/h:1 info must work first/,
  });
});

Deno.test("askEngine() tells the status of a silent failure", async () => {
  await assert.rejects(ask("exit 3"), {
    message: "Cannot ask docker for info: exit 3",
  });
});

Deno.test("askEngine() tells that there is no such program", async () => {
  const run = parseEngineRun(["/proc/nonexistent/podman", "run", "img"]);
  assert(run);
  await assert.rejects(askEngine(run)(["info"]), {
    code: "engine-failed",
    message: 'Cannot start "/proc/nonexistent/podman"',
  });
});
