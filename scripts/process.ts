/**
 * What all scripts need: the project's root, subprocesses, and how to fail.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- scripts talk to a developer's terminal

import { fileURLToPath } from "node:url";

/** The project's root directory, with a final slash. */
export const ROOT: string = fileURLToPath(new URL("../", import.meta.url));

/** What a script says instead of a stack trace. */
export class ScriptError extends Error {
  override readonly name = "ScriptError";
  /** The next step for the reader. */
  readonly hint: string | undefined;

  /** Makes an error of one sentence and, if there is one, the next step. */
  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** How {@link run} starts a program. */
export interface RunOptions {
  /** Default: {@link ROOT}. */
  readonly cwd?: string;
  /** Added to the environment. */
  readonly env?: Record<string, string>;
  /** Default: 10 minutes; then the program is killed. */
  readonly timeoutMs?: number;
}

/** How a program ended. */
export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program to its end and collects what it printed.
 *
 * @param argv Program and arguments.
 * @param options Where and how.
 * @returns The result; code 127 if there is no such program.
 */
export async function run(
  argv: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const [program = "", ...args] = argv;
  try {
    const output = await new Deno.Command(program, {
      args,
      cwd: options.cwd ?? ROOT,
      env: options.env ?? {},
      stdin: "null",
      signal: AbortSignal.timeout(options.timeoutMs ?? 600_000),
    }).output();
    const text = new TextDecoder();
    return {
      code: output.code,
      stdout: text.decode(output.stdout),
      stderr: text.decode(output.stderr),
    };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return { code: 127, stdout: "", stderr: `${program}: not found` };
  }
}

/**
 * Runs a program that must succeed.
 *
 * @param argv Program and arguments.
 * @param options Where and how.
 * @returns What it printed on stdout.
 * @throws {ScriptError} if it exits with anything but 0.
 */
export async function must(
  argv: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const result = await run(argv, options);
  if (result.code === 0) return result.stdout;
  throw new ScriptError(
    `Cannot run "${
      argv.join(" ")
    }": wanted exit status 0, found ${result.code}`,
    (result.stderr || result.stdout).trim().slice(-2000),
  );
}

/** SHA-256 of bytes, in lower-case hexadecimal. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return new Uint8Array(digest).toHex();
}

/**
 * Reads a file that may not be there.
 *
 * @param path The file.
 * @returns Its bytes, or undefined.
 */
export async function readIfThere(
  path: string,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Whether a path exists. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Runs a script's main function and ends the process with its exit status.
 *
 * @param main Returns the exit status.
 */
export async function runScript(main: () => Promise<number>): Promise<never> {
  try {
    Deno.exit(await main());
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    console.error(`error: ${error.message}`);
    if (error.hint) console.error(`hint: ${error.hint}`);
    Deno.exit(1);
  }
}
