/**
 * What a user sets for a container and thereby overrides what moat gives it.
 *
 * @module
 */

import type { Output } from "$core/cli/output.ts";
import type { EngineRun } from "./command_line.ts";
import { readLines } from "./files.ts";
import { isSameVariable } from "../variables.ts";

/**
 * Warns of variables that override moat's. They stay, because the user asked
 * for them.
 *
 * @param container The container's command line.
 * @param conflictingEnv Variables that would override.
 * @param output Where to warn.
 */
export async function warnOfConflicts(
  container: EngineRun,
  conflictingEnv: readonly string[],
  output: Output,
): Promise<void> {
  const fromFiles = await Promise.all(container.envFiles.map(namesIn));
  const given = [...container.envNames, ...fromFiles.flat()];
  for (const name of conflictingEnv) {
    if (!given.some((pattern) => matchesName(pattern, name))) continue;
    output.warn(
      `${name} is set for the container and overrides what moat gives it; leave it out`,
    );
  }
}

/** podman passes on all variables that begin with what is before a `*`. */
function matchesName(pattern: string, name: string): boolean {
  if (!pattern.endsWith("*")) return isSameVariable(name, pattern);
  const start = pattern.slice(0, -1);
  const lower = name.toLowerCase();
  return name.startsWith(start) ||
    (isSameVariable(name, lower) && lower.startsWith(start));
}

async function namesIn(path: string): Promise<string[]> {
  const lines = await readLines(path);
  return lines.map((line) => line.split("=")[0]?.trim() ?? "");
}
