/**
 * Command lines of engines, as tests write them.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  type EngineRun,
  parseEngineRun,
} from "$proxy/engine_run/command_line.ts";

/**
 * Splits a command line at single spaces.
 *
 * @param line `·` stands for a space within a word.
 */
export function words(line: string): string[] {
  return line.split(" ").map((word) => word.replaceAll("·", " "));
}

/**
 * Parses a command line that starts a container.
 *
 * @param line As of {@link words}.
 */
export function parseLine(line: string): EngineRun {
  const parsed = parseEngineRun(words(line));
  assert(parsed, "not a command line of an engine");
  return parsed;
}
