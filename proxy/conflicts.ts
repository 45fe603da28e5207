/**
 * What a user sets for a container and thereby overrides what moat gives it.
 *
 * @module
 */

import type { Output } from "$core/cli/output.ts";
import type { EngineRun } from "./engine.ts";
import { readLines } from "./engine_files.ts";

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
      `${name} is set for the container and overrides moat's credentials; leave it out`,
    );
  }
}

/** podman passes on all variables that begin with what is before a `*`. */
function matchesName(pattern: string, name: string): boolean {
  return pattern.endsWith("*")
    ? name.startsWith(pattern.slice(0, -1))
    : name === pattern;
}

async function namesIn(path: string): Promise<string[]> {
  const lines = await readLines(path);
  return lines.map((line) => line.split("=")[0]?.trim() ?? "");
}
