/**
 * The command line of a container with what its binding gives it.
 *
 * @module
 */

import { holdsToken } from "$core/binding.ts";
import { MoatError } from "$core/errors.ts";
import { CONTAINER_DIRECTORY } from "./addresses.ts";
import { askEngine } from "./ask_engine.ts";
import type { EngineRun } from "./engine.ts";
import { readEntrypoint, wrapCommand } from "./image.ts";

/** What a container is given. */
export interface ContainerGifts {
  /** Environment. */
  readonly env: Readonly<Record<string, string>>;
  /** The directory of its files on the host. */
  readonly directory: string;
  /** Further options, such as a host name. */
  readonly options: readonly string[];
  /** Where its relay listens, if it needs one. */
  readonly relayPort?: number | undefined;
}

/** A command and the environment to start it in. */
export interface EngineCommand {
  /** Program and arguments. */
  readonly argv: readonly string[];
  /** What the engine's program needs beside the user's environment. */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Makes the command line.
 *
 * @param container The user's own.
 * @param gifts What is added; the user's own options win over it.
 * @returns The command. A variable with the token is given by name alone, so
 * that it is not in the list of processes.
 * @throws {MoatError} `bad-home`; of a relay what the engine says.
 */
export async function containerCommand(
  container: EngineRun,
  { env, directory, options, relayPort }: ContainerGifts,
): Promise<EngineCommand> {
  if (directory.includes(":")) {
    throw new MoatError(
      "bad-home",
      `Cannot mount "${directory}": a colon in a path cannot be given to ${container.engine}`,
      { hint: "set MOAT_HOME to a path without a colon" },
    );
  }
  const { head, tail } = relayPort === undefined ? container : wrapCommand(
    container,
    await readEntrypoint(container, askEngine(container)),
    relayPort,
  );
  // z: on a host with SELinux the container may read it; ignored elsewhere.
  const volume = `${directory}:${CONTAINER_DIRECTORY}:ro,z`;
  const variables = Object.entries(env).flatMap(([name, value]) => [
    "--env",
    holdsToken(value) ? name : `${name}=${value}`,
  ]);
  const secrets = Object.entries(env).filter(([, value]) => holdsToken(value));
  return {
    // Right after the verb, so that the user's own options come later.
    argv: [...head, "--volume", volume, ...options, ...variables, ...tail],
    env: Object.fromEntries(secrets),
  };
}
