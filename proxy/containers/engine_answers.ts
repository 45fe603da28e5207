/**
 * What container engines answer, read without I/O: no more of it than is
 * needed, because podman and the versions of Docker differ in the rest.
 *
 * @module
 * @see {@link https://docs.docker.com/reference/api/engine/ | Docker Engine API}
 */

import { parseJson } from "$core/json.ts";
import * as v from "valibot";
import type { ContainerFacts } from "$core/container.ts";
import type { ContainerState, Endpoint, EngineEvent } from "./engine.ts";
import { plainAddress } from "./host_addresses.ts";
import type { Wanted } from "./json_sieve.ts";

/** The network through which swarm's containers reach their host. */
export const GATEWAY_NETWORK = "docker_gwbridge";

/** By container, its addresses in {@link GATEWAY_NETWORK}. */
export type Gateways = ReadonlyMap<string, readonly Endpoint[]>;

/** A container that an engine described. */
export interface Described {
  /** Whether it reaches the host through {@link GATEWAY_NETWORK}. */
  readonly needsGateways: boolean;
  /** The container; its addresses in the gateway network must be told. */
  state(gateways: Gateways): ContainerState;
}

/** As {@link ContainerState.id}. */
const ID_PATTERN = /^[0-9a-f]{64}$/;

const ID = v.pipe(v.string(), v.regex(ID_PATTERN));

/** `stopping` is podman's word: the processes were only asked to end. */
const RUNNING = /^(running|paused|stopping)$/;

const EXITED = /^(exited|stopped|dead|removing)$/;

const TEXT = v.nullish(v.string(), "");

/** What a `JsonSieve` found too long is `false`. */
const orTooLong = <T extends v.GenericSchema>(schema: T) =>
  v.union([v.literal(false), schema]);

const NETWORKS = v.nullish(
  orTooLong(v.record(
    v.string(),
    v.nullish(v.object({
      NetworkID: TEXT,
      EndpointID: TEXT,
      Gateway: TEXT,
      IPAddress: TEXT,
      GlobalIPv6Address: TEXT,
    })),
  )),
  {},
);

/** Of podman's "ns:PATH"; some versions say it as `ADDRESS/LENGTH`. */
const SECONDARY = v.nullish(
  v.array(v.union([v.string(), v.object({ Addr: v.string() })])),
  [],
);

/** What a list and an inspection have in common. */
const COMMON = {
  Id: ID,
  HostConfig: v.nullish(v.object({ NetworkMode: TEXT })),
  NetworkSettings: v.nullish(
    v.object({
      Networks: NETWORKS,
      IPAddress: TEXT,
      GlobalIPv6Address: TEXT,
      SecondaryIPAddresses: SECONDARY,
      SecondaryIPv6Addresses: SECONDARY,
    }),
  ),
};

/** What is read of each row of a list. */
export const WANTED_OF_ROW: Wanted = {
  ...{ Id: true, Names: true, State: true },
  HostConfig: { NetworkMode: true },
  NetworkSettings: { Networks: true },
};

/** What is read of an inspection. */
export const WANTED_OF_INSPECTION: Wanted = {
  ...{ Id: true, Name: true },
  State: {
    ...{ Status: true, Running: true, Paused: true, Restarting: true },
    ...{ StartedAt: true, FinishedAt: true },
  },
  Config: { Image: true, Env: true, Labels: true },
  HostConfig: { NetworkMode: true },
  NetworkSettings: {
    ...{ Networks: true, IPAddress: true, GlobalIPv6Address: true },
    ...{ SecondaryIPAddresses: true, SecondaryIPv6Addresses: true },
  },
};

const LISTED = v.object({
  ...COMMON,
  Names: v.nullish(v.array(v.string()), []),
  State: v.string(),
});

const INSPECTED = v.object({
  ...COMMON,
  Name: v.string(),
  State: v.object({
    Status: v.string(),
    Running: v.boolean(),
    Paused: v.nullish(v.boolean(), false),
    Restarting: v.nullish(v.boolean(), false),
    StartedAt: v.string(),
    FinishedAt: v.nullish(v.string()),
  }),
  Config: v.object({
    Image: v.nullish(orTooLong(v.string()), ""),
    Env: v.nullish(orTooLong(v.array(v.string())), []),
    Labels: v.nullish(orTooLong(v.record(v.string(), v.string())), {}),
  }),
});

const NETWORK = v.object({
  Containers: v.nullish(
    v.record(
      v.string(),
      v.object({ EndpointID: TEXT, IPv4Address: TEXT, IPv6Address: TEXT }),
    ),
    {},
  ),
});

const EVENT = v.object({
  Type: v.nullish(v.string(), "container"),
  Action: v.string(),
  /** Of podman, the container's also in events of networks. */
  id: v.nullish(v.string()),
  Actor: v.object({
    ID: v.string(),
    Attributes: v.nullish(v.object({ container: v.nullish(v.string()) }), {}),
  }),
  timeNano: v.nullish(v.number(), 0),
  time: v.nullish(v.number(), 0),
});

type Networks = Exclude<v.InferOutput<typeof NETWORKS>, false>;
type Listed = v.InferOutput<typeof LISTED>;
type Inspected = v.InferOutput<typeof INSPECTED>;

/**
 * Reads an element of the answer to `GET /containers/json`.
 *
 * @param json Parsed.
 * @returns Undefined for another shape.
 */
export function readListed(json: unknown): Described | undefined {
  const { success, output } = v.safeParse(LISTED, json);
  if (!success) return undefined;
  return {
    needsGateways: isInSwarm(output),
    state: (gateways) => listedState(output, gateways),
  };
}

/**
 * Reads the answer to `GET /containers/{id}/json`.
 *
 * @param json Parsed.
 * @returns Undefined for another shape.
 */
export function readInspected(json: unknown): Described | undefined {
  const { success, output } = v.safeParse(INSPECTED, json);
  if (!success) return undefined;
  return {
    needsGateways: isInSwarm(output),
    state: (gateways) => inspectedState(output, gateways),
  };
}

/**
 * Reads the answer to `GET /networks/docker_gwbridge`.
 *
 * @param json Parsed.
 * @returns Undefined for another shape.
 */
export function readGateways(json: unknown): Gateways | undefined {
  const { success, output } = v.safeParse(NETWORK, json);
  if (!success) return undefined;
  return new Map(
    Object.entries(output.Containers).map(([id, found]) => [
      id,
      endpoints(
        GATEWAY_NETWORK,
        found.EndpointID,
        found.IPv4Address,
        found.IPv6Address,
      ),
    ]),
  );
}

/**
 * Reads one line of `GET /events`.
 *
 * @param json Parsed.
 * @returns `other` for what happened to something else than a container;
 * undefined for another shape.
 */
export function readEvent(json: unknown): EngineEvent | "other" | undefined {
  const { success, output } = v.safeParse(EVENT, json);
  if (!success) return undefined;
  const { Type, Action, id, Actor, timeNano, time } = output;
  const isNetwork = Type === "network";
  if (!isNetwork && Type !== "container") return "other";
  const container = isNetwork ? Actor.Attributes.container ?? id : Actor.ID;
  if (!ID_PATTERN.test(container ?? "")) {
    // Networks have further members, such as swarm's own; "prune" is of nobody.
    return isNetwork || container === "" ? "other" : undefined;
  }
  return {
    container: container ?? "",
    action: Action,
    network: isNetwork && container !== Actor.ID ? Actor.ID : undefined,
    atMs: Math.ceil(timeNano ? timeNano / 1e6 : time * 1000),
  };
}

/**
 * Reads the beginning of a line of `GET /events` that is too long: what makes
 * it so are the labels of a container, which come after its id.
 *
 * @param text The beginning, to after the id at least.
 * @returns Undefined for what is no event of a container. Its time is unknown.
 */
export function readCutEvent(text: string): EngineEvent | undefined {
  const end = text.indexOf(`"Attributes":`);
  if (end === -1) return undefined;
  const event = readEvent(parseJson(`${text.slice(0, end)}"Attributes":{}}}`));
  return event && event !== "other" ? { ...event, atMs: Infinity } : undefined;
}

function listedState(row: Listed, gateways: Gateways): ContainerState {
  const isRunning = RUNNING.test(row.State);
  return {
    id: row.Id,
    name: plainName(row.Names[0] ?? ""),
    isRunning,
    hasExited: EXITED.test(row.State),
    endpoints: isRunning ? endpointsOf(row, gateways) : [],
    joins: joinedOf(row),
    finishedAt: undefined,
    facts: undefined,
    isPartial: !row.HostConfig?.NetworkMode,
  };
}

function inspectedState(
  found: Inspected,
  gateways: Gateways,
): ContainerState {
  const { Id: id, State } = found;
  const isRunning = !State.Restarting &&
    (State.Running || State.Paused || RUNNING.test(State.Status));
  const name = plainName(found.Name);
  return {
    id,
    name,
    isRunning,
    hasExited: EXITED.test(State.Status),
    endpoints: isRunning ? endpointsOf(found, gateways) : [],
    joins: joinedOf(found),
    finishedAt: State.FinishedAt ?? undefined,
    facts: factsOf(found, name),
    isPartial: false,
  };
}

function factsOf(
  { Id: id, State: { StartedAt: startedAt }, Config }: Inspected,
  name: string,
): ContainerFacts | undefined {
  const { Image, Env, Labels } = Config;
  // What is too long to be read must not count as if it was not there.
  if (Image === false || Env === false || Labels === false) return undefined;
  const env = readEnv(Env);
  return { id, name, image: Image, env, labels: Labels, startedAt };
}

function plainName(name: string): string {
  return name.replace(/^\//, "");
}

function joinedOf({ HostConfig }: Listed | Inspected): string | undefined {
  const mode = HostConfig?.NetworkMode ?? "";
  // Podman's "ns:PATH" may be anybody's; what has that name is no container's.
  return /^container:(.+)$/.exec(mode)?.[1] ?? /^ns:.+$/.exec(mode)?.[0];
}

function endpointsOf(
  { Id, NetworkSettings }: Listed | Inspected,
  gateways: Gateways,
): Endpoint[] {
  const networks = NetworkSettings?.Networks || {};
  const own = Object.values(networks).flatMap((network) =>
    endpoints(
      network?.NetworkID,
      network?.EndpointID,
      network?.IPAddress,
      network?.GlobalIPv6Address,
    )
  );
  if (own.length === 0) {
    // Of podman's "ns:PATH": addresses that are there, in no network of its own.
    const found = NetworkSettings;
    const further = [
      ...found?.SecondaryIPAddresses ?? [],
      ...found?.SecondaryIPv6Addresses ?? [],
    ].map((each) => typeof each === "string" ? each : each.Addr);
    const first = [found?.IPAddress, found?.GlobalIPv6Address];
    return endpoints("", "", ...first, ...further);
  }
  const overlay = overlayOf(networks);
  if (overlay === undefined) return own;
  // It comes with the first network of swarm, whose events stand for it.
  const further = gateways.get(Id) ?? [];
  return [...own, ...further.map((each) => ({ ...each, network: overlay }))];
}

function endpoints(
  network: string | null | undefined,
  endpoint: string | null | undefined,
  ...addresses: readonly (string | null | undefined)[]
): Endpoint[] {
  return addresses.flatMap((text) =>
    text
      ? [{
        address: plainAddress(text),
        network: network ?? "",
        endpoint: endpoint ?? "",
      }]
      : []
  );
}

function isInSwarm({ NetworkSettings }: Listed | Inspected): boolean {
  return overlayOf(NetworkSettings?.Networks || {}) !== undefined;
}

/** The first network that gives an address and no way out, as those of swarm do. */
function overlayOf(networks: Networks): string | undefined {
  const found = Object.values(networks)
    .find((network) => network?.IPAddress && !network.Gateway);
  return found?.NetworkID ?? undefined;
}

/** Of a name that is there twice, the last counts, as in a process. */
function readEnv(lines: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    lines.filter((line) => line.indexOf("=") > 0).map((line) => {
      const end = line.indexOf("=");
      return [line.slice(0, end), line.slice(end + 1)];
    }),
  );
}
