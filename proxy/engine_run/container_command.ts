/**
 * The command line of a container with what its binding gives it.
 *
 * @module
 */

import { holdsToken } from "$core/binding.ts";
import { MoatError } from "$core/errors.ts";
import { CONTAINER_DIRECTORY } from "../addresses.ts";
import { askEngine } from "./ask_engine.ts";
import type { EngineRun } from "./command_line.ts";
import { readEntrypoint, wrapCommand } from "./image.ts";

/** What a container is given. */
export interface ContainerGifts {
  /** Environment. */
  readonly env: Readonly<Record<string, string>>;
  /** A file that only this user can read, with at least those variables that hold the token. */
  readonly environmentFile: string;
  /** The directory of its files on the host; undefined if it has none. */
  readonly directory: string | undefined;
  /** Further options, such as a host name. */
  readonly options: readonly string[];
  /** Where its relay listens, if it needs one. */
  readonly relayPort?: number | undefined;
}

/**
 * Makes the command line.
 *
 * A variable with the token is given by a file: it must not be in the list of
 * processes, nor in the environment of the engine's own program, which would
 * use some of them itself (podman pulls images by `HTTPS_PROXY`).
 *
 * @param container The user's own.
 * @param gifts What is added; the user's own options win over it.
 * @returns Program and arguments.
 * @throws {MoatError} `bad-home`; of a relay what the engine says.
 */
export async function containerCommand(
  container: EngineRun,
  { env, environmentFile, directory, options, relayPort }: ContainerGifts,
): Promise<string[]> {
  if (directory?.includes(":")) {
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
  const volume = directory === undefined
    ? []
    : ["--volume", `${directory}:${CONTAINER_DIRECTORY}:ro,z`];
  const isSecret = Object.values(env).some(holdsToken);
  const variables = Object.entries(env).flatMap(([name, value]) =>
    holdsToken(value) ? [] : ["--env", `${name}=${value}`]
  );
  return [
    // Right after the verb, so that the user's own options come later.
    ...[...head, ...volume, ...options],
    ...isSecret ? ["--env-file", environmentFile] : [],
    ...variables,
    ...tail,
  ];
}
