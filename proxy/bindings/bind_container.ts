/**
 * The client of a binding that is a container: how it reaches us.
 *
 * @module
 */

import { usageError } from "$core/errors.ts";
import type { FlagValues, Mode } from "$core/provider.ts";
import type { Reach } from "$core/reach.ts";
import { CONTAINER_DIRECTORY, portOf, PROXY_NAME } from "../addresses.ts";
import { askEngine } from "../engine_run/ask_engine.ts";
import { parseEngineRun } from "../engine_run/command_line.ts";
import { chooseReach } from "../engine_run/reach.ts";

/** What is known of a container before it is there. */
export interface ContainerClient {
  /** Base URL for it. */
  readonly url: string;
  /** A listener of its own; a socket's path is not known yet. */
  readonly reach: Reach;
  /** Where it sees its files. */
  readonly directory: string;
  /** Which way it is and why. */
  readonly notes: readonly string[];
}

/**
 * Finds out how a container reaches us.
 *
 * @param flags `engine` and `network`.
 * @param mode How it asks.
 * @param loopback Our base URL on this host's loopback.
 * @returns Base URL, listener, directory, and which way it is and why.
 * @throws {MoatError} `usage`, or what the engine says.
 */
export async function findContainer(
  flags: FlagValues,
  mode: Mode | undefined,
  loopback: string,
): Promise<ContainerClient> {
  const engine = String(flags["engine"] ?? "docker");
  if (!["docker", "podman"].includes(engine)) {
    throw usageError(
      `Cannot use ${JSON.stringify(engine)} as --engine`,
      "write --engine docker or --engine podman",
    );
  }
  if (flags["url"] !== undefined) {
    throw usageError(
      "Cannot combine --url with --engine or --network: the network decides the URL",
      "leave --url out",
    );
  }
  const network = flags["network"] as string | undefined;
  const run = parseEngineRun([
    engine,
    "run",
    ...(network === undefined ? [] : ["--network", network]),
    "image",
  ]);
  if (!run) throw new TypeError("not an engine");
  const { reach, reason } = await chooseReach(run, mode, askEngine(run));
  const port = portOf(loopback);
  return {
    url: urlOf(reach, loopback, port),
    // A later proxy must be found where the client looks for this one.
    reach: reach.by === "gateway" ? { ...reach, port } : reach,
    directory: CONTAINER_DIRECTORY,
    notes: [`the container reaches moat ${reason}`],
  };
}

function urlOf(reach: Reach, loopback: string, port: number): string {
  switch (reach.by) {
    case "gateway":
      return `http://${PROXY_NAME}:${port}`;
    case "name":
      return `http://${reach.name}:${port}`;
    case "socket":
      return `http://127.0.0.1:${reach.port}`;
    case "address":
      return `http://${reach.address}:${reach.port}`;
    default:
      return loopback;
  }
}
