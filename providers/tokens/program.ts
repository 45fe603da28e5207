/**
 * Asking a vendor's own program, such as `gh` or `npm`.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";

/** What is run, and how. */
export interface ProgramCall {
  /** Found by PATH. */
  readonly command: string;
  /** Its arguments. */
  readonly args: readonly string[];
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Where it runs. Default: the working directory. */
  readonly directory?: string | undefined;
  /** How long it may take, in ms. */
  readonly timeoutMs: number;
  /** Times it. */
  readonly clock: Clock;
}

/**
 * Runs a program without input. What it says on stderr is dropped: it may
 * repeat secrets.
 *
 * @param call What is run.
 * @returns What it printed; undefined if it is missing, failed or took too long.
 */
export async function runProgram(
  { command, args, env, directory, timeoutMs, clock }: ProgramCall,
): Promise<string | undefined> {
  const timeout = new AbortController();
  const cancel = clock.after(timeoutMs, () => timeout.abort());
  try {
    const { success, stdout } = await new Deno.Command(command, {
      args: [...args],
      clearEnv: true,
      env: { ...env },
      ...(directory !== undefined && { cwd: directory }),
      stdin: "null",
      stdout: "piped",
      stderr: "null",
      signal: timeout.signal,
    }).output();
    return success ? new TextDecoder().decode(stdout) : undefined;
  } catch {
    return undefined;
  } finally {
    cancel();
  }
}
