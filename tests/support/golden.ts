/**
 * Golden files: what a command printed, kept for review.
 *
 * @module
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { RunResult } from "./run.ts";
import type { Terminal } from "./terminal.ts";

const FOLDER = fileURLToPath(new URL("../testdata/cli", import.meta.url));

/** Whether to write the files anew; the change is then reviewed. */
const isUpdate = Deno.env.get("UPDATE_GOLDEN") === "1";

/** What differs from run to run. */
const MASKS: readonly [RegExp, string][] = [
  [/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, "<time>"],
  [/\b[0-9a-f]{64}\b/g, "<hash>"],
  [/127\.0\.0\.1:\d{4,5}\b(?<!:19080)/g, "127.0.0.1:<port>"],
  [/^moat \d\S* \(.*\)$/gm, "moat <version> (<build>)"],
];

/**
 * Types command lines one after another and compares the transcript with
 * `tests/testdata/cli/NAME.out`. `UPDATE_GOLDEN=1` writes it instead.
 *
 * @param name Of the file.
 * @param terminal Where they are typed.
 * @param lines For sh(1).
 */
export async function assertTranscript(
  name: string,
  terminal: Terminal,
  lines: readonly string[],
): Promise<void> {
  let text = "";
  for (const line of lines) text += transcribe(line, await terminal.type(line));
  let found = text.replaceAll(terminal.workspace.directory, "<home>");
  for (const [pattern, mask] of MASKS) found = found.replace(pattern, mask);
  const path = `${FOLDER}/${name}.out`;
  if (isUpdate) {
    await Deno.mkdir(FOLDER, { recursive: true });
    return await Deno.writeTextFile(path, found);
  }
  const wanted = await Deno.readTextFile(path);
  assert.equal(found, wanted, `UPDATE_GOLDEN=1 writes ${name}.out anew`);
}

function transcribe(line: string, { code, stdout, stderr }: RunResult): string {
  const out = stdout && `# stdout\n${stdout}`;
  const err = stderr && `# stderr\n${stderr}`;
  return `$ ${line}\n${out}${err}# exit ${code}\n\n`;
}
