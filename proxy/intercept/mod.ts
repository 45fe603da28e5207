/**
 * Puts the forward proxy together.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";
import type { Authority } from "$core/host.ts";
import { isAddress } from "$core/host.ts";
import type { Platform } from "$core/platform.ts";
import { ENGINE_HOSTS, PROXY_NAME } from "../addresses.ts";
import type { BindingTable } from "../bindings/binding_table.ts";
import type { Gate } from "../bindings/container_gate.ts";
import type { ListenAddress, Listeners } from "../listeners.ts";
import { TraceFile } from "./trace.ts";
import { Egress } from "./egress.ts";
import { ForwardProxy } from "./forward.ts";
import { LeafMinter } from "./leaf.ts";
import { Observer } from "./observer.ts";
import { OwnAddresses } from "./own_addresses.ts";
import { RootStore } from "./root.ts";
import { createTerminator } from "./terminator.ts";
import { UpstreamPool } from "./upstream.ts";
import { UpstreamRoots } from "./upstream_roots.ts";

/** Names that lead to this host. */
const OWN_NAMES: readonly string[] = [
  "localhost",
  PROXY_NAME,
  ...Object.values(ENGINE_HOSTS),
];

/** How many idle connections to upstreams are kept at most. */
const MAX_IDLE = 4_096;

/** Hosts that are kept ready; each has a listener. */
const MAX_HOSTS = 512;

/** What the forward proxy needs of the rest. */
export interface InterceptOptions {
  /** Clock, environment, paths, log, metrics, audit log. */
  readonly platform: Platform;
  /** Who may do what. */
  readonly table: BindingTable;
  /** Who may use the bindings of single containers. Default: nobody. */
  readonly gate?: Gate;
  /** Our listeners; asked for when the first client has come. */
  readonly listeners: () => Pick<Listeners, "addresses" | "pool">;
  /** Tells the person who keeps a binding alive. */
  readonly notify: (binding: string, notice: MoatError) => void;
}

/** The forward proxy with what it writes. */
export interface Intercept {
  /** Serves what is for somebody else. */
  readonly forward: ForwardProxy;
  /** Ends everything, and writes what is left to write. */
  close(): Promise<void>;
}

/**
 * Makes the forward proxy. Nothing is read or created before its first client.
 *
 * @param options What it needs.
 * @returns The forward proxy.
 */
export function createIntercept(options: InterceptOptions): Intercept {
  const { platform, table, listeners, notify } = options;
  const { clock, env, log, paths } = platform;
  const trace = new TraceFile({ paths, clock, log });
  const observer = new Observer({ platform, trace, notify });
  const minter = new LeafMinter(new RootStore(paths, clock), clock);
  // Where descriptors are few, what is idle must not take them all.
  const share = (most: number) =>
    Math.min(Math.floor(listeners().pool.max / 8), most);
  const terminator = createTerminator({
    minter,
    clock,
    get maxHosts() {
      return share(MAX_HOSTS);
    },
  });
  const own = new OwnAddresses({
    listeners: () => listeners().addresses,
    loopbackPorts: () => terminator.ports,
    clock,
  });
  const egress = new Egress({
    isOurs: (address, port) => own.has(address, port),
    clock,
  });
  const roots = new UpstreamRoots({ env, clock, log });
  const upstreams = new UpstreamPool({
    egress,
    roots,
    clock,
    get maxIdle() {
      return share(MAX_IDLE);
    },
  });
  // What a connection was authenticated for ends with the right to it.
  table.onRemoved = (name) => upstreams.dropBinding(name);
  const forward = new ForwardProxy({
    clock,
    table,
    ...options.gate && { gate: options.gate },
    egress,
    upstreams,
    terminator,
    descriptors: {
      take: (count) => listeners().pool.take(count),
      give: (count) => listeners().pool.give(count),
    },
    isOurs: (authority) => isOurs(authority, own, listeners().addresses),
    onUnknown: () => observer.unknown(),
    onRecord: (record) => observer.record(record),
    onTlsFailure: (...failed) => observer.tlsFailed(...failed),
    onError: (error) =>
      log.error("forward-failed", {
        name: error instanceof Error ? error.name : typeof error,
      }),
  });
  return {
    forward,
    async close() {
      forward.close();
      observer.close();
      await trace.flush();
    },
  };
}

/** Before policy is asked, and without a look at DNS. */
function isOurs(
  { host, port }: Authority,
  own: OwnAddresses,
  listeners: readonly ListenAddress[],
): boolean {
  if (isAddress(host)) return own.has(host, port);
  return OWN_NAMES.includes(host) &&
    listeners.some((listener) => listener.port === port);
}
