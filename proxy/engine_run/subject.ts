/**
 * Who acts by a run, for names that an upstream's log shows.
 *
 * @module
 */

import type { Subject } from "$core/binding.ts";
import type { EngineRun } from "./command_line.ts";
import { readLines } from "./files.ts";

/**
 * Finds what is known about who acts.
 *
 * @param run The run's name.
 * @param env The environment of `moat run`.
 * @param container The container's command line, if it is one.
 * @returns The run, and what is known of user and container.
 */
export async function findSubject(
  run: string,
  env: Readonly<Record<string, string>>,
  container: EngineRun | undefined,
): Promise<Subject> {
  const user = env["USER"] || env["LOGNAME"];
  const labels = container && await labelsOf(container);
  return {
    run,
    ...(user && { user }),
    ...(container?.name && { container: container.name }),
    ...(labels && Object.keys(labels).length > 0 && { labels }),
  };
}

/** As the engines do: files first, the last one of a key counts. */
async function labelsOf(
  { labels, labelFiles }: EngineRun,
): Promise<Record<string, string>> {
  const files = await Promise.all(labelFiles.map(readLines));
  const lines = [...files.flat(), ...labels];
  return Object.fromEntries(lines.map((line) => {
    const [key = "", ...value] = line.split("=");
    return [key, value.join("=")];
  }));
}
