/**
 * The command of a run: started, signalled, and its end reported as shells do.
 *
 * @module
 */

import type { Output } from "$core/cli/output.ts";
import { LISTEN_VARIABLES } from "../inherited.ts";
import { isSameVariable, overlayVariables } from "../variables.ts";

/** Not found and not executable, as env(1) and POSIX shells report them. */
const NOT_FOUND = 127;
const CANNOT_EXECUTE = 126;

/**
 * Passed on to the command. A terminal sends SIGINT and SIGQUIT to the whole
 * process group, so on a terminal the command has them already, even if some
 * of its streams are redirected.
 */
const FORWARDED: readonly Deno.Signal[] = [
  "SIGTERM",
  "SIGHUP",
  "SIGUSR1",
  "SIGUSR2",
];
const FROM_TERMINAL: readonly Deno.Signal[] = ["SIGINT", "SIGQUIT"];

/**
 * The environment of the client of a binding that is a program of this host.
 *
 * @param env Our own.
 * @param ours What the binding gives, and what would override it.
 * @returns Its whole environment.
 */
export function environmentOfClient(
  env: Readonly<Record<string, string>>,
  ours: {
    readonly env: Readonly<Record<string, string>>;
    readonly conflictingEnv: readonly string[];
  },
): Record<string, string> {
  const dropped = ["MOAT_SOURCE", ...ours.conflictingEnv];
  const all = Object.entries(overlayVariables(env, ours.env));
  return Object.fromEntries(
    all.filter(([name]) =>
      Object.hasOwn(ours.env, name) ||
      !dropped.some((other) => isSameVariable(other, name))
    ),
  );
}

/**
 * The environment of a program that we start: sockets that were given to us
 * are not for it.
 *
 * @param env Our own, or one made of it.
 * @returns The same without them.
 */
export function environmentOfChild(
  env: Readonly<Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !LISTEN_VARIABLES.includes(name)),
  );
}

/**
 * Runs a command to its end on our own terminal.
 *
 * @param command Program and arguments.
 * @param env Its whole environment.
 * @param output For the error when it cannot be started.
 * @returns Its exit status; 128 and the signal's number if a signal ended it.
 */
export async function runChild(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  output: Output,
): Promise<number> {
  const [program = "", ...args] = command;
  let child: Deno.ChildProcess | undefined;
  // First, because a signal may come as soon as the command runs.
  const stopForwarding = forwardSignals((signal) => child?.kill(signal));
  try {
    child = new Deno.Command(program, {
      args,
      env: environmentOfChild(env),
      clearEnv: true,
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
    }).spawn();
  } catch (error) {
    stopForwarding();
    const isMissing = error instanceof Deno.errors.NotFound;
    output.note(
      `moat: cannot run ${JSON.stringify(program)}: ${
        isMissing ? "not found" : "cannot be executed"
      }`,
    );
    return isMissing ? NOT_FOUND : CANNOT_EXECUTE;
  }
  const { code } = await child.status;
  stopForwarding();
  return code;
}

function forwardSignals(kill: (signal: Deno.Signal) => void): () => void {
  const isTerminal = [Deno.stdin, Deno.stdout, Deno.stderr]
    .some((stream) => stream.isTerminal());
  const handlers = [...FORWARDED, ...FROM_TERMINAL].map((signal) => {
    const handler = () => {
      if (isTerminal && FROM_TERMINAL.includes(signal)) return;
      try {
        kill(signal);
      } catch {
        // It has just ended.
      }
    };
    Deno.addSignalListener(signal, handler);
    return () => Deno.removeSignalListener(signal, handler);
  });
  return () => handlers.forEach((remove) => remove());
}
