/**
 * How a container reaches the proxy: it depends on the engine, on the
 * container's network, and on what clients of its mode accept (design
 * decision 5).
 *
 * @module
 */

import { isIP } from "node:net";
import type { Reach } from "$core/reach.ts";
import { MoatError, usageError } from "$core/errors.ts";
import type { Mode } from "$core/provider.ts";
import { ENGINE_HOSTS, isUnspecified, PROXY_NAME } from "../addresses.ts";
import type { EngineName, EngineRun } from "./command_line.ts";
import { RELAY_PORT } from "../relay/relay.ts";

/** Options for the container, and how it reaches us. */
export interface ContainerReach {
  /** What the proxy is asked for; a socket's path is not known yet. */
  readonly reach: Reach;
  /** Options to insert after `run`, such as the host mapping. */
  readonly options: readonly string[];
  /** Which way it is and why, such as `by its gateway 10.88.0.1, because …`. */
  readonly reason: string;
}

/** Asks the engine; gives its stdout. */
export type AskEngine = (args: readonly string[]) => Promise<string>;

/** Where a container's network is, seen from this host. */
type Place =
  /** It is this host's own. */
  | { readonly kind: "host"; readonly because: string }
  /** A bridge of this host, of which we have an address. */
  | {
    readonly kind: "bridge";
    readonly gateway: string;
    readonly because: string;
  }
  /** In a virtual machine that forwards a name to this host's loopback. */
  | {
    readonly kind: "machine";
    readonly name: string;
    readonly because: string;
  }
  /** Nothing leads from there to this host; files do. */
  | { readonly kind: "apart"; readonly because: string };

/**
 * Chooses the way from a container to the proxy.
 *
 * @param run The container's command line.
 * @param mode How its client asks; undefined: in any way.
 * @param ask Runs a command of the same engine.
 * @returns The way, and what it needs on the command line.
 * @throws {MoatError} `usage` if there is none.
 */
export async function chooseReach(
  run: EngineRun,
  mode: Mode | undefined,
  ask: AskEngine,
): Promise<ContainerReach> {
  const place = await findPlace(run, ask);
  const { because } = place;
  const wanted = mode?.reach ?? "any";
  if (mode?.access === "container") refuseShared(place, run);
  if (typeof wanted === "object") return byAddress(wanted, place, run);
  if (place.kind === "host") {
    return {
      reach: { by: "loopback" },
      options: [],
      reason: `by this host's loopback, because ${because}`,
    };
  }
  if (place.kind === "apart") return byRelay(because, run);
  if (wanted === "loopback") {
    if (place.kind === "bridge") {
      return byRelay("its SDK takes no other address than loopback", run);
    }
    throw noWay(run, because, "use --mode process");
  }
  return place.kind === "bridge" ? byGateway(place.gateway, because) : {
    reach: { by: "name", name: place.name },
    options: [],
    reason: `by the name ${place.name}, because ${because}`,
  };
}

/**
 * The way from a program of this host.
 *
 * @param mode How it asks.
 * @returns By loopback, or by the one address that its mode takes.
 */
export function reachOfHost(mode: Mode | undefined): Reach {
  const wanted = mode?.reach ?? "any";
  return typeof wanted === "object"
    ? { by: "address", address: wanted.hostname, port: wanted.port }
    : { by: "loopback" };
}

/** Where its containers share the loopback with others, a relay needs a port of its own. */
function byRelay(because: string, run: EngineRun): ContainerReach {
  const isShared = /^(container|pod|ns)\b/.test(run.network ?? "");
  const port = isShared
    ? 20_000 + crypto.getRandomValues(new Uint16Array(1))[0]! % 12_000
    : RELAY_PORT;
  return {
    reach: { by: "socket", path: "/", port },
    options: [],
    reason: `by a relay on its own loopback, because ${because}`,
  };
}

/** A client that is known by its address must have one of its own. */
function refuseShared({ kind, because }: Place, run: EngineRun): void {
  if (kind !== "host") return;
  throw noWay(
    run,
    `${because}, so nothing tells it from programs of this host`,
    "leave --network out, or use --mode ecs-full",
  );
}

function byAddress(
  { hostname, port }: { readonly hostname: string; readonly port: number },
  { kind, because }: Place,
  run: EngineRun,
): ContainerReach {
  if (kind === "apart" || kind === "machine") {
    throw noWay(
      run,
      `${because}, so it cannot reach ${hostname} of this host`,
      "use another mode: process and ecs-full get a relay",
    );
  }
  return {
    reach: { by: "address", address: hostname, port },
    options: [],
    reason: `by ${hostname} of this host, because its mode asks there`,
  };
}

async function findPlace(run: EngineRun, ask: AskEngine): Promise<Place> {
  const network = networkName(run);
  if (/^(none|container|ns|pod)$/.test(network)) {
    const because = network === "none"
      ? 'it has no network ("none")'
      : `it shares the network of others ("${run.network}")`;
    if (Deno.build.os !== "linux") {
      const reason =
        `${because}, and a socket of this host leads nowhere there`;
      throw noWay(run, reason, "leave --network out, and use --mode process");
    }
    return { kind: "apart", because };
  }
  return run.engine === "docker"
    ? await placeOfDocker(network, ask)
    : await placeOfPodman(network, ask);
}

/** The default network, and the other names that each engine takes for it. */
const DEFAULT_NETWORKS: Record<EngineName, readonly [string, ...string[]]> = {
  docker: ["bridge", "default", ""],
  podman: ["podman", "bridge", "default", "private", ""],
};

/**
 * The network's name or mode, without what may come with it: `NET:alias=A` and
 * `NET,OTHER` of podman, `name=NET,alias=A` of docker, `container:NAME` of both.
 */
function networkName({ engine, network = "" }: EngineRun): string {
  const named = /(?:^|,)name=([^,]*)/.exec(network)?.[1] ?? network;
  const [name = ""] = named.split(/[:,]/);
  const names = DEFAULT_NETWORKS[engine];
  return names.includes(name) ? names[0] : name;
}

async function placeOfDocker(
  network: string,
  ask: AskEngine,
): Promise<Place> {
  const info = await ask([
    "info",
    "--format",
    "{{.OperatingSystem}} {{json .SecurityOptions}}",
  ]);
  if (info.startsWith("Docker Desktop")) {
    const name = ENGINE_HOSTS.docker;
    return { kind: "machine", name, because: "Docker Desktop forwards it" };
  }
  if (info.includes("rootless")) {
    // Its host network is not this host's, either.
    const because = "rootless Docker keeps its networks apart from the host";
    return { kind: "apart", because };
  }
  return network === "host" ? HOST : await inspectNetwork(network, ask);
}

async function placeOfPodman(
  network: string,
  ask: AskEngine,
): Promise<Place> {
  if (Deno.build.os !== "linux") {
    const name = ENGINE_HOSTS.podman;
    return { kind: "machine", name, because: "podman's machine forwards it" };
  }
  if (network === "host") return HOST;
  const rootless = await ask([
    "info",
    "--format",
    "{{.Host.Security.Rootless}}",
  ]);
  const isUserMode = /^(slirp4netns|pasta)$/.test(network);
  if (rootless.trim() === "true" || isUserMode) {
    const because = "rootless podman keeps this network apart from the host";
    return { kind: "apart", because };
  }
  return await inspectNetwork(network, ask);
}

const HOST: Place = { kind: "host", because: "its network is this host's" };

function byGateway(address: string, because: string): ContainerReach {
  return {
    reach: { by: "gateway", address },
    options: ["--add-host", `${PROXY_NAME}:${address}`],
    reason: `by its gateway ${address}, because ${because}`,
  };
}

/** What an engine says about a network; not checked, so anything may be missing. */
interface NetworkInspection {
  /** docker's names. */
  readonly Driver?: string;
  readonly Internal?: boolean;
  readonly IPAM?: { readonly Config?: readonly Subnet[] };
  readonly Options?: Readonly<Record<string, string>> | null;
  /** podman's names. */
  readonly driver?: string;
  readonly internal?: boolean;
  readonly subnets?: readonly Subnet[];
}

interface Subnet {
  readonly Gateway?: string;
  readonly gateway?: string;
}

async function inspectNetwork(
  network: string,
  ask: AskEngine,
): Promise<Place> {
  const [found] = parseInspection(await ask(["network", "inspect", network]));
  const driver = found?.Driver ?? found?.driver ?? "bridge";
  if (driver !== "bridge") {
    // Its gateway is a router of the outer network, not this host.
    const because = `the network "${network}" is of the kind ${driver}`;
    return { kind: "apart", because };
  }
  if (found?.Internal || found?.internal) {
    return { kind: "apart", because: `the network "${network}" is internal` };
  }
  const gateways = [found?.IPAM?.Config, found?.subnets].flat()
    .map((subnet) => subnet?.Gateway ?? subnet?.gateway ?? "");
  // A dockerd that has just made its default bridge names no gateway for it.
  const bridge = found?.Options?.["com.docker.network.bridge.name"];
  if (bridge) gateways.push(...addressesOf(bridge));
  const gateway = gateways.find((address) => isIP(address) === 4) ??
    gateways.find((address) => isIP(address) === 6);
  if (!gateway || isUnspecified(gateway)) {
    return {
      kind: "apart",
      because: `the network "${network}" has no gateway`,
    };
  }
  const because = `the network "${network}" is a bridge of this host`;
  return { kind: "bridge", gateway, because };
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

function noWay(run: EngineRun, reason: string, hint: string): MoatError {
  return usageError(
    `Cannot reach moat from this container of ${run.engine}: ${reason}`,
    hint,
  );
}
