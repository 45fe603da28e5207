import assert from "node:assert/strict";
import { join } from "node:path";
import { Output } from "$core/cli/output.ts";
import { memoryStreams } from "../../tests/support/memory_streams.ts";
import { tempHome } from "../../tests/support/temp_home.ts";
import { warnOfConflicts } from "./conflicts.ts";
import { parseEngineRun } from "./command_line.ts";

/** What is warned of when a container is started with some options. */
async function warned(...options: string[]): Promise<string[]> {
  const container = parseEngineRun(["podman", "run", ...options, "image"]);
  assert(container);
  const streams = memoryStreams();
  const conflicting = ["HTTPS_PROXY", "CA_FILE"];
  await warnOfConflicts(container, conflicting, new Output(streams, false));
  return [...streams.err.matchAll(/^warning: (\w+) is set/gm)]
    .map(([, name = ""]) => name);
}

const CASES: [options: string[], names: string[]][] = [
  [[], []],
  [["--env", "MINE=1"], []],
  [["--env", "CA_FILE=1"], ["CA_FILE"]],
  [["--env", "CA_FILE"], ["CA_FILE"]],
  [["--env", "ca_file=1"], []],
  [["--env", "HTTPS_PROXY=1"], ["HTTPS_PROXY"]],
  [["--env", "https_proxy=1"], ["HTTPS_PROXY"]],
  [["--env", "HTTPS_PROXY=1", "--env", "https_proxy=1"], ["HTTPS_PROXY"]],
  [["--env", "CA_*"], ["CA_FILE"]],
  [["--env", "ca_*"], []],
  [["--env", "http*"], ["HTTPS_PROXY"]],
  [["--env", "*"], ["HTTPS_PROXY", "CA_FILE"]],
];
for (const [options, names] of CASES) {
  Deno.test(`warnOfConflicts() names [${names}] for [${options}]`, async () => {
    assert.deepEqual(await warned(...options), names);
  });
}

Deno.test("warnOfConflicts() reads files of variables", async () => {
  await using home = await tempHome();
  const file = join(home.directory, "variables");
  await Deno.writeTextFile(file, "# CA_FILE=1\nhttps_proxy=x\n");
  assert.deepEqual(await warned("--env-file", file), ["HTTPS_PROXY"]);
});
