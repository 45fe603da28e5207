/**
 * How a container reaches the proxy: it depends on the engine and on the
 * container's network (design decision 5).
 *
 * @module
 */

import { isIP } from "node:net";
import type { Reach } from "$core/control.ts";
import { MoatError, usageError } from "$core/errors.ts";
import { ENGINE_HOSTS, isUnspecified, PROXY_NAME } from "./addresses.ts";
import type { EngineName, EngineRun } from "./engine.ts";

/** Options for the container, and how it reaches us. */
export interface ContainerReach {
  /** What the proxy is asked for. */
  readonly reach: Reach;
  /** Options to insert after `run`, such as the host mapping. */
  readonly options: readonly string[];
}

/** Asks the engine; gives its stdout. */
export type AskEngine = (args: readonly string[]) => Promise<string>;

/**
 * Chooses the way from a container to the proxy.
 *
 * @param run The container's command line.
 * @param ask Runs a command of the same engine.
 * @returns The way, and what it needs on the command line.
 * @throws {MoatError} `usage` for a network from which there is no way yet.
 */
export async function chooseReach(
  run: EngineRun,
  ask: AskEngine,
): Promise<ContainerReach> {
  const network = networkName(run);
  if (/^(none|container|ns|pod)$/.test(network)) {
    throw noWay(run, `the network "${run.network}" has no way to the host`);
  }
  return run.engine === "docker"
    ? await reachDocker(run, network, ask)
    : await reachPodman(run, network, ask);
}

/** The default network, and the other names that each engine takes for it. */
const DEFAULT_NETWORKS: Record<EngineName, readonly [string, ...string[]]> = {
  docker: ["bridge", "default", ""],
  podman: ["podman", "bridge", "default", "private", ""],
};

/**
 * The network's name or mode, without what may come with it: `NET:alias=A` of
 * podman, `name=NET,alias=A` of docker, `container:NAME` of both.
 */
function networkName({ engine, network = "" }: EngineRun): string {
  const named = /(?:^|,)name=([^,]*)/.exec(network)?.[1] ?? network;
  const [name = ""] = named.split(":");
  const names = DEFAULT_NETWORKS[engine];
  return names.includes(name) ? names[0] : name;
}

async function reachDocker(
  run: EngineRun,
  network: string,
  ask: AskEngine,
): Promise<ContainerReach> {
  const info = await ask([
    "info",
    "--format",
    "{{.OperatingSystem}} {{json .SecurityOptions}}",
  ]);
  if (info.startsWith("Docker Desktop")) {
    // It forwards this name to the host's loopback.
    const name = ENGINE_HOSTS.docker;
    return { reach: { by: "name", name }, options: [] };
  }
  if (info.includes("rootless")) {
    // Its host network is not this host's, either.
    throw noWay(
      run,
      "rootless Docker keeps its networks apart from the host",
      "use Docker as root, or podman run --network host …",
    );
  }
  if (network === "host") return LOOPBACK;
  return byGateway(await inspectGateway(network, run, ask));
}

async function reachPodman(
  run: EngineRun,
  network: string,
  ask: AskEngine,
): Promise<ContainerReach> {
  if (Deno.build.os !== "linux") {
    const name = ENGINE_HOSTS.podman;
    return { reach: { by: "name", name }, options: [] };
  }
  if (network === "host") return LOOPBACK;
  const rootless = await ask([
    "info",
    "--format",
    "{{.Host.Security.Rootless}}",
  ]);
  const isUserMode = /^(slirp4netns|pasta)$/.test(network);
  if (rootless.trim() === "true" || isUserMode) {
    throw noWay(
      run,
      "rootless podman keeps this network apart from the host",
      "use podman run --network host …, or podman as root",
    );
  }
  return byGateway(await inspectGateway(network, run, ask));
}

const LOOPBACK: ContainerReach = { reach: { by: "loopback" }, options: [] };

function byGateway(address: string): ContainerReach {
  return {
    reach: { by: "gateway", address },
    options: ["--add-host", `${PROXY_NAME}:${address}`],
  };
}

/** What an engine says about a network; not checked, so anything may be missing. */
interface NetworkInspection {
  /** docker's names. */
  readonly Driver?: string;
  readonly IPAM?: { readonly Config?: readonly Subnet[] };
  readonly Options?: Readonly<Record<string, string>> | null;
  /** podman's names. */
  readonly driver?: string;
  readonly subnets?: readonly Subnet[];
}

interface Subnet {
  readonly Gateway?: string;
  readonly gateway?: string;
}

async function inspectGateway(
  network: string,
  run: EngineRun,
  ask: AskEngine,
): Promise<string> {
  const [found] = parseInspection(await ask(["network", "inspect", network]));
  const driver = found?.Driver ?? found?.driver ?? "bridge";
  if (driver !== "bridge") {
    // Its gateway is a router of the outer network, not this host.
    throw noWay(run, `the network "${network}" is of the kind ${driver}`);
  }
  const gateways = [found?.IPAM?.Config, found?.subnets].flat()
    .map((subnet) => subnet?.Gateway ?? subnet?.gateway ?? "");
  // A dockerd that has just made its default bridge names no gateway for it.
  const bridge = found?.Options?.["com.docker.network.bridge.name"];
  if (bridge) gateways.push(...addressesOf(bridge));
  const address = gateways.find((gateway) => isIP(gateway) === 4) ??
    gateways.find((gateway) => isIP(gateway) === 6);
  if (!address || isUnspecified(address)) {
    throw noWay(run, `the network "${network}" has no gateway`);
  }
  return address;
}

/** The addresses of one of this host's interfaces. */
function addressesOf(name: string): string[] {
  return Deno.networkInterfaces()
    .filter((found) => found.name === name)
    .map((found) => found.address);
}

function parseInspection(text: string): NetworkInspection[] {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : [];
  } catch (cause) {
    throw new MoatError(
      "engine-garbage",
      "Cannot read what the container engine says about the network",
      { hint: "try its network inspect command by hand", cause },
    );
  }
}

function noWay(
  run: EngineRun,
  reason: string,
  hint = `use a bridge network, or ${run.engine} run --network host …`,
): MoatError {
  return usageError(`Cannot reach moat from this container: ${reason}`, hint);
}
