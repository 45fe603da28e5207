/**
 * Questions to a container engine.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";
import type { EngineRun } from "./command_line.ts";
import type { AskEngine } from "./reach.ts";

/** An engine that does not answer by then is not running. */
const TIMEOUT_MS = 10_000;

/** An image may be large, and the network slow. */
const PULL_TIMEOUT_MS = 30 * 60_000;

/**
 * Makes a function that runs commands of the engine that the user named, with
 * the same global options.
 *
 * @param run The container's command line.
 * @returns The function.
 */
export function askEngine(run: EngineRun): AskEngine {
  const [program = "", ...globals] = run.prefix;
  return async (args) => {
    const { code, stdout, stderr } = await execute(program, [
      ...globals,
      ...args,
    ]);
    if (code === 0) return new TextDecoder().decode(stdout);
    const reason = new TextDecoder().decode(stderr).trim().split("\n").at(-1);
    throw new MoatError(
      "engine-failed",
      `Cannot ask ${run.engine} for ${args.slice(0, 2).join(" ")}: ${
        reason || `exit ${code}`
      }`,
      {
        hint: `${
          [...run.prefix, ...args.slice(0, 1)].join(" ")
        } must work first: is the engine running, and may you use it?`,
      },
    );
  };
}

async function execute(
  program: string,
  args: string[],
): Promise<Deno.CommandOutput> {
  try {
    return await new Deno.Command(program, {
      args,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(
        args.includes("pull") ? PULL_TIMEOUT_MS : TIMEOUT_MS,
      ),
    }).output();
  } catch (cause) {
    throw new MoatError(
      "engine-failed",
      `Cannot start "${program}"`,
      { hint: "check that the container engine is installed", cause },
    );
  }
}
