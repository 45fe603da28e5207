/**
 * What the commands that change this host's network have in common: they ask
 * the system, and print their commands or run them.
 *
 * @module
 */

import type { Output } from "$core/cli/output.ts";
import { MoatError } from "$core/errors.ts";
import { shellWord } from "$core/text.ts";
import { type GuardState, hasCapability } from "../network/link_local.ts";
import type { CommandLine } from "../network/loopback_address.ts";

/** None of the commands waits for anything but another one's lock. */
const TIMEOUT_MS = 10_000;

/** Where system programs are, though not always on the PATH of a user. */
const FOLDERS = ["/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/", ""];

/** What is done with commands. */
export interface Way {
  /** The words after `moat`, for notes and hints. */
  readonly command: string;
  /** Whether they run, instead of being printed. */
  readonly apply: boolean;
  /** As of {@link mayChangeNetwork}. */
  readonly isAdmin: boolean;
  /** What runs them; default: its own `--apply`, or `sudo sh`. */
  readonly hint?: string;
}

/**
 * Prints commands, one a line, or runs them in order.
 *
 * @param output Where.
 * @param commands None is right as well.
 * @param way What to do.
 * @throws {MoatError} `not-permitted` without the right, `network-failed` if
 * a command fails.
 */
export async function printOrRun(
  output: Output,
  commands: readonly CommandLine[],
  { command, apply, isAdmin, hint }: Way,
): Promise<void> {
  if (commands.length === 0) return output.note("nothing to do");
  if (!apply) {
    output.text(commands.map((line) => asTyped(line) + "\n").join(""));
    output.note(
      `nothing was changed; next: moat ${command} ` +
        (isAdmin ? "--apply" : "| sudo sh"),
    );
    return;
  }
  if (!isAdmin) {
    throw new MoatError(
      "not-permitted",
      "Cannot change this host's network: wanted root or CAP_NET_ADMIN, " +
        `found user ${Deno.uid()}`,
      { hint: hint ?? `moat ${command} | sudo sh` },
    );
  }
  for (const line of commands) await runCommand(output, line);
}

async function runCommand(output: Output, line: CommandLine): Promise<void> {
  const result = await execute(line);
  if (result?.success) return output.note(`ran: ${asTyped(line)}`);
  const lines = result ? new TextDecoder().decode(result.stderr).trim() : "";
  throw new MoatError(
    "network-failed",
    `Cannot change this host's network: ${line[0]} failed: ` +
      (result ? lines.split("\n")[0] || `exit ${result.code}` : "not found"),
    { hint: `run it yourself: ${asTyped(line)}` },
  );
}

function asTyped(line: CommandLine): string {
  return line.map(shellWord).join(" ");
}

/** Tells whether this process may change addresses and rules. */
export async function mayChangeNetwork(): Promise<boolean> {
  return hasCapability(await readProc(`${Deno.pid}/status`), "netAdmin");
}

/**
 * Tells whether rules are there.
 *
 * @param ask Succeeds if they are; only who may change them may ask.
 * @param isAdmin As of {@link mayChangeNetwork}.
 * @returns `unavailable` if the program is not installed.
 */
export async function inspectRules(
  ask: CommandLine,
  isAdmin: boolean,
): Promise<GuardState> {
  const result = await execute(isAdmin ? ask : [ask[0], "--version"]);
  if (!result) return "unavailable";
  if (!isAdmin) return "unknown";
  return result.success ? "present" : "absent";
}

/**
 * Reads a file below `/proc`, where the runtime itself reads only with all
 * permissions.
 *
 * @param path Without `/proc/`.
 * @returns Its content; empty if it cannot be read.
 */
export async function readProc(path: string): Promise<string> {
  return await textOf(["cat", `/proc/${path}`]);
}

/**
 * Gives what a program printed.
 *
 * @param line Program and arguments.
 * @returns Its stdout, even if it failed; empty if there is none.
 */
export async function textOf(line: CommandLine): Promise<string> {
  const result = await execute(line);
  return result ? new TextDecoder().decode(result.stdout) : "";
}

/** Runs a program to its end; undefined if there is none that can be run. */
async function execute(
  [program, ...args]: CommandLine,
): Promise<Deno.CommandOutput | undefined> {
  for (const folder of FOLDERS) {
    try {
      return await new Deno.Command(folder + program, {
        args,
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      }).output();
    } catch (error) {
      const { NotFound, PermissionDenied } = Deno.errors;
      const isMissing = error instanceof NotFound ||
        error instanceof PermissionDenied;
      if (!isMissing) throw error;
    }
  }
  return undefined;
}
