/**
 * Runs the built executable as a user would, with an environment in which
 * nothing of the developer's own is in reach.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import {
  isThere,
  run,
  type RunOptions,
  type RunResult,
  type Server,
  startServer,
  SYSTEM_PATH,
} from "./run.ts";
import { Workspace } from "./workspace.ts";

/** The executable; `MOAT_EXECUTABLE` names another one. */
export const MOAT: string = Deno.env.get("MOAT_EXECUTABLE") ??
  fileURLToPath(new URL("../../dist/moat", import.meta.url));

/** Why the executable cannot be tested; undefined if it can. */
export function moatReason(): string | undefined {
  return isThere(MOAT) ? undefined : "dist/moat is not built";
}

/** How moat is started. */
export interface MoatOptions {
  /** Its state and home directory. Default: a fresh one, removed at the end. */
  readonly workspace?: Workspace | undefined;
  /** Added to the clean environment. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Written to stdin, which is then closed. Default: nothing. */
  readonly stdin?: string | undefined;
  /** Put before the command, such as the prefix of a bed. */
  readonly prefix?: readonly string[] | undefined;
  /** Default: the workspace's directory. */
  readonly cwd?: string | undefined;
  /** Default: 30 s. */
  readonly timeoutMs?: number | undefined;
}

/** How a long-running moat is started. */
export interface StartMoatOptions extends MoatOptions {
  /** How many `ready` lines to wait for. Default: 1. */
  readonly listeners?: number;
}

/** A long-running moat, such as `moat proxy`; `await using` stops it. */
export interface MoatServer extends Server {
  /** What stands after each `ready`, such as `http://127.0.0.1:19080`. */
  readonly urls: readonly string[];
}

/**
 * Makes the environment that {@link runMoat} uses.
 *
 * Outside a bed, instance metadata is off: its address may be a real one.
 *
 * @param workspace Home and state.
 * @param options Prefix and additions.
 * @returns The whole environment.
 */
export function moatEnv(
  workspace: Workspace,
  options: Pick<MoatOptions, "env" | "prefix"> = {},
): Record<string, string> {
  return {
    PATH: SYSTEM_PATH,
    HOME: workspace.directory,
    MOAT_HOME: workspace.moatHome,
    MOAT_KEYRING: "file",
    ...(options.prefix ? {} : { AWS_EC2_METADATA_DISABLED: "true" }),
    ...options.env,
  };
}

function runOptions(workspace: Workspace, options: MoatOptions): RunOptions {
  return {
    env: moatEnv(workspace, options),
    clearEnv: true,
    stdin: options.stdin,
    cwd: options.cwd ?? workspace.directory,
    timeoutMs: options.timeoutMs ?? 30_000,
  };
}

/**
 * Runs moat to its end.
 *
 * @param args Its arguments.
 * @param options Where and how.
 * @returns Exit status and output.
 */
export async function runMoat(
  args: readonly string[],
  options: MoatOptions = {},
): Promise<RunResult> {
  const argv = [...options.prefix ?? [], MOAT, ...args];
  if (options.workspace) {
    return await run(argv, runOptions(options.workspace, options));
  }
  await using workspace = await Workspace.open();
  return await run(argv, runOptions(workspace, options));
}

/**
 * Starts a long-running moat and waits for its `ready` lines.
 *
 * @param args Its arguments.
 * @param options Where and how.
 * @returns The running moat; the caller stops it.
 */
export async function startMoat(
  args: readonly string[],
  options: StartMoatOptions = {},
): Promise<MoatServer> {
  const argv = [...options.prefix ?? [], MOAT, ...args];
  const workspace = options.workspace ?? await Workspace.open();
  const release = async () => {
    if (options.workspace || !isThere(workspace.directory)) return;
    await workspace[Symbol.asyncDispose]();
  };
  let server: Server;
  try {
    server = await startServer(argv, {
      ...runOptions(workspace, options),
      ready: /^ready (\S+)\n/gm,
      count: options.listeners ?? 1,
    });
  } catch (error) {
    await release();
    throw error;
  }
  const stop = async (signal?: Deno.Signal) => {
    const result = await server.stop(signal);
    await release();
    return result;
  };
  return {
    ...server,
    urls: server.ready.map((match) => match[1] ?? ""),
    stop,
    [Symbol.asyncDispose]: async () => void await stop(),
  };
}
