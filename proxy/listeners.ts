/**
 * Which addresses the proxy listens on: those of the command line for its
 * whole life, and gateway addresses of container networks as long as a run
 * there needs them (design decision 5).
 *
 * @module
 */

import { isIPv4, isIPv6 } from "node:net";
import type { Reach } from "$core/reach.ts";
import { MoatError, toMoatError, usageError } from "$core/errors.ts";
import { storageError } from "$core/files.ts";
import { OTHER_ADDRESS } from "$core/metadata.ts";
import { checkSocketPath } from "$core/paths.ts";
import type { Platform } from "$core/platform.ts";
import {
  DEFAULT_LISTEN,
  isLoopback,
  isUnspecified,
  PROXY_NAME,
  unmapAddress,
} from "./addresses.ts";
import {
  ConnectionPool,
  connectionsWithin,
  readDescriptorLimit,
} from "./http1/pool.ts";
import { type HttpServer, serve, type Service } from "./http1/server.ts";

/** podman makes a network's bridge when its first container starts. */
const ADDRESS_POLL_MS = 25;

/** How long a client's container may take to start, image pull included. */
const ADDRESS_WAIT_MS = 10 * 60_000;

/** What a container may have even if that is more than its share. */
const MIN_CONNECTIONS_PER_CONTAINER = 64;

/** An address and port to listen on. */
export interface ListenAddress {
  /** IPv4, or IPv6 without brackets. */
  readonly hostname: string;
  /** 0 takes any. */
  readonly port: number;
}

/** Binds an address, as `Deno.listen` does. */
export type Listen = (address: ListenAddress) => Deno.Listener;

/** How a run reaches us, until it ends. */
export interface Reached {
  /** Our base URL as the client sees it. */
  readonly url: string;
  /** Whether it arrives at this address of ours, in plain spelling, or at this socket. */
  readonly admits: (localHostname: string) => boolean;
  /** Gives it back; only then can its address be used again. */
  release(): void | Promise<void>;
}

/** Told that a gateway will never listen: its run is not reached, or by another program. */
export type OnLost = (error: MoatError) => void;

/** A listener for the proxy's whole life. */
interface Permanent {
  readonly address: ListenAddress;
  readonly server: HttpServer;
}

interface Gateway {
  readonly address: ListenAddress;
  /** How long it may take until its address is there. */
  readonly waitMs: number;
  server: HttpServer | undefined;
  /** What each of its users wants to be told. */
  readonly users: Set<{ readonly onLost: OnLost }>;
}

/** All listeners of a proxy. */
export class Listeners {
  readonly #platform: Platform;
  readonly #service: Service;
  readonly #open: Listen;
  readonly #maxConnections: number;
  readonly #pool: ConnectionPool;
  readonly #permanent: Permanent[] = [];
  /** Unix sockets of single clients, by path. */
  readonly #sockets = new Map<string, HttpServer>();
  /** Those that serve something else, and no run. */
  readonly #apart: HttpServer[] = [];
  readonly #gateways = new Map<string, Gateway>();
  /** Gateways that are given back: the system frees an address a moment later. */
  readonly #closing = new Map<string, Promise<void>>();

  /**
   * Makes a set without listeners; `open` binds an address. All together have
   * `maxConnections`; default: what the process's limit of descriptors allows.
   */
  constructor(
    platform: Platform,
    service: Service,
    open: Listen = Deno.listen,
    maxConnections: number = connectionsWithin(readDescriptorLimit()),
  ) {
    this.#platform = platform;
    this.#service = service;
    this.#open = open;
    this.#maxConnections = maxConnections;
    this.#pool = new ConnectionPool(maxConnections);
  }

  /**
   * Listens for the proxy's whole life.
   *
   * @param address Where; port 0 takes any.
   * @param flag The flag or variable that named the address, for hints.
   * @returns The base URL.
   * @throws {MoatError} `address-in-use`, `address-unavailable`, `address-denied`.
   */
  listen(address: ListenAddress, flag?: string): string {
    const server = this.#serve(address, this.#service, flag);
    this.#permanent.push({ address: addressOf(server), server });
    return urlOf(addressOf(server));
  }

  /**
   * Serves a listener that this process was given, for its whole life.
   *
   * @param listener What to serve.
   * @param address Where its connections arrive.
   * @returns The base URL.
   */
  adopt(listener: Deno.Listener, address: ListenAddress): string {
    const server = this.#serveListener(listener, address);
    this.#permanent.push({ address, server });
    return urlOf(address);
  }

  /** What all connections together may have. */
  get pool(): ConnectionPool {
    return this.#pool;
  }

  /** Where it listens now, for whatever service; not the sockets. */
  get addresses(): ListenAddress[] {
    const gateways = [...this.#gateways.values()];
    const servers = [...this.#apart, ...gateways.map((g) => g.server)];
    return [
      ...this.#permanent.map(({ address }) => address),
      ...servers.flatMap((server) => server ? [addressOf(server)] : []),
    ];
  }

  /**
   * Tells whether a permanent listener covers an address.
   *
   * @param localHostname An address of this host, in plain spelling.
   */
  isPermanent(localHostname: string): boolean {
    return !localHostname.startsWith("/") &&
      this.#covering(localHostname) !== undefined;
  }

  /**
   * Listens for the proxy's whole life for something else than credentials.
   *
   * @param address Where; port 0 takes any.
   * @param service What it serves; no run is reached by it.
   * @param flag The flag that named the address, for hints.
   * @returns The base URL.
   * @throws {MoatError} As {@link Listeners.listen}.
   */
  listenApart(address: ListenAddress, service: Service, flag: string): string {
    const server = this.#serve(address, service, flag);
    this.#apart.push(server);
    return urlOf(addressOf(server));
  }

  /**
   * Makes the proxy reachable for a run.
   *
   * @param reach How the client reaches this host.
   * @param onLost Called, later, if that turns out to be impossible.
   * @param waitMs How long a gateway's address may take to be there.
   * @returns The base URL for the client, and how to give it back.
   * @throws {MoatError} If no listener can serve it.
   */
  reach(
    reach: Reach,
    onLost: OnLost,
    waitMs: number = ADDRESS_WAIT_MS,
  ): Reached {
    if (reach.by === "socket") return this.#reachSocket(reach);
    if (reach.by === "address") return this.#reachAddress(reach);
    if (reach.by === "gateway") {
      const { address } = reach;
      // Its client looks for the port that it was told.
      const port = this.#covering(address, reach.port)?.port;
      return port === undefined
        ? this.#reachGateway(address, reach.port, onLost, waitMs)
        : this.#kept(
          { hostname: PROXY_NAME, port },
          (local) => isSame(local, address),
        );
    }
    const own = this.#loopback();
    return this.#kept(
      reach.by === "name" ? { hostname: reach.name, port: own.port } : own,
      isLoopback,
    );
  }

  /** Only by a listener that someone asked for. */
  #reachAddress({ address, port }: Reach & { by: "address" }): Reached {
    if (this.#covering(address, port)) {
      return this.#kept(
        { hostname: address, port },
        (local) => isSame(local, address),
      );
    }
    throw new MoatError(
      "not-reachable",
      `Cannot serve clients at ${address}:${port}: the proxy does not listen there`,
      {
        hint:
          `sudo moat network setup --apply, then start it with --listen ${DEFAULT_LISTEN} --listen ${address}:${port}`,
      },
    );
  }

  /** Reached by permanent listeners: one of this address, or one for all. */
  #kept(
    address: ListenAddress,
    isOwn: (localHostname: string) => boolean,
  ): Reached {
    return {
      url: urlOf(address),
      admits: (local) => {
        // A socket serves its own client alone.
        if (local.startsWith("/")) return false;
        const covering = this.#covering(local);
        if (!covering) return false;
        return isOwn(local) || isUnspecified(covering.hostname);
      },
      release() {},
    };
  }

  /** Stops all listeners, letting answers under way finish. */
  async drain(timeoutMs: number): Promise<void> {
    const gateways = [...this.#gateways.values()];
    this.#gateways.clear();
    const servers = [
      ...this.#permanent.map(({ server }) => server),
      ...this.#sockets.values(),
      ...this.#apart,
      ...gateways.map((g) => g.server),
    ];
    await Promise.all([
      ...servers.map((server) => server?.drain(timeoutMs)),
      ...this.#closing.values(),
    ]);
  }

  /** A listener by which a client on this host's loopback reaches us. */
  #loopback(): ListenAddress {
    const addresses = this.#permanent.map(({ address }) => address);
    const loopback = addresses.find(({ hostname }) => isLoopback(hostname));
    if (loopback) return loopback;
    const any = addresses.find(({ hostname }) => isUnspecified(hostname));
    if (any) return { hostname: "127.0.0.1", port: any.port };
    throw new MoatError(
      "not-reachable",
      "Cannot serve this run: the proxy has no listener on loopback",
      { hint: "start it with a further --listen 127.0.0.1:0" },
    );
  }

  /** A permanent listener that covers an address; one for all if there is. */
  #covering(address: string, port?: number): ListenAddress | undefined {
    const any = isIPv6(address) ? ["::"] : ["0.0.0.0", "::"];
    const addresses = this.#permanent.map((listener) => listener.address)
      .filter((listener) => port === undefined || listener.port === port);
    return addresses.find(({ hostname }) => any.includes(hostname)) ??
      addresses.find(({ hostname }) => isSame(hostname, address));
  }

  #reachGateway(
    address: string,
    wantedPort: number | undefined,
    onLost: OnLost,
    waitMs: number,
  ): Reached {
    if (isUnspecified(address)) {
      throw new MoatError(
        "bad-gateway",
        `Cannot listen on the gateway ${address}: it stands for all addresses`,
        { hint: "choose another network" },
      );
    }
    const gateway = this.#gateways.get(address) ??
      this.#openGateway(
        address,
        wantedPort ?? this.#loopback().port,
        waitMs,
      );
    const user = { onLost };
    gateway.users.add(user);
    return {
      url: urlOf({ hostname: PROXY_NAME, port: gateway.address.port }),
      // While we do not listen there, whoever has the token took it.
      admits: (local) =>
        gateway.server !== undefined &&
        isSame(addressOf(gateway.server).hostname, local),
      release: () => {
        if (gateway.users.delete(user)) this.#releaseGateway(gateway);
      },
    };
  }

  #openGateway(hostname: string, port: number, waitMs: number): Gateway {
    const address = { hostname, port };
    const gateway: Gateway = {
      address,
      waitMs,
      server: undefined,
      users: new Set(),
    };
    this.#gateways.set(hostname, gateway);
    this.#serveGateway(gateway, this.#platform.clock.now());
    return gateway;
  }

  /** On a unix socket of its own: nobody else is admitted there. */
  #reachSocket({ path, port }: Reach & { by: "socket" }): Reached {
    const server = this.#serveListener(openSocket(path), {
      hostname: path,
      port,
    });
    this.#sockets.set(path, server);
    return {
      url: urlOf({ hostname: "127.0.0.1", port }),
      admits: (local) => local === path,
      release: async () => {
        this.#sockets.delete(path);
        // The runtime removes the path when it is done, whoever has it then.
        await server.close();
        removeSocket(path);
      },
    };
  }

  /** Listens on a gateway, now or as soon as its bridge is there. */
  #serveGateway(gateway: Gateway, since: number): void {
    const { clock, log } = this.#platform;
    const { address: { hostname }, waitMs } = gateway;
    // Nobody wants it any more.
    if (this.#gateways.get(hostname) !== gateway) return;
    try {
      gateway.server = this.#serve(gateway.address);
      log.info("gateway-listening", { url: urlOf(gateway.address) });
    } catch (error) {
      const { code } = toMoatError(error);
      const isComing = code === "address-unavailable" ||
        (code === "address-in-use" && this.#closing.has(hostname));
      const waited = clock.now() - since;
      if (!isComing || waited >= waitMs) {
        // The next run tries anew.
        this.#gateways.delete(hostname);
        throw error;
      }
      // Often while a container starts, seldom while an image is pulled.
      const pollMs = Math.min(Math.max(ADDRESS_POLL_MS, waited / 10), 250);
      clock.after(pollMs, () => {
        try {
          this.#serveGateway(gateway, since);
        } catch (failure) {
          this.#loseGateway(gateway, toMoatError(failure));
        }
      });
    }
  }

  #loseGateway({ address, users }: Gateway, error: MoatError): void {
    const { hostname } = address;
    this.#platform.log.error("gateway-failed", { hostname, code: error.code });
    // Each gives it back meanwhile.
    for (const { onLost } of [...users]) onLost(error);
  }

  #releaseGateway(gateway: Gateway): void {
    if (gateway.users.size > 0) return;
    const { address: { hostname }, server } = gateway;
    if (this.#gateways.get(hostname) === gateway) {
      this.#gateways.delete(hostname);
    }
    if (!server) return;
    const closed = server.close().finally(() => this.#closing.delete(hostname));
    this.#closing.set(hostname, closed);
    this.#platform.log.info("gateway-closed", { hostname });
  }

  #serve(
    address: ListenAddress,
    service: Service = this.#service,
    flag = "--listen",
  ): HttpServer {
    const listener = openListener(this.#open, address, flag);
    return this.#serveListener(listener, address, service);
  }

  #serveListener(
    listener: Deno.Listener,
    address: ListenAddress,
    service: Service = this.#service,
  ): HttpServer {
    const { clock, log } = this.#platform;
    return serve(listener, service, {
      clock,
      pool: this.#pool,
      // One container must not lock out the others; on a socket of its own it
      // is the only client.
      ...(!isLoopback(address.hostname) && {
        maxConnectionsPerAddress: Math.max(
          Math.floor(this.#maxConnections / 8),
          MIN_CONNECTIONS_PER_CONTAINER,
        ),
      }),
      onError: (error) => log.error("request-failed", { kind: kindOf(error) }),
    });
  }
}

/**
 * Parses the value of a flag that names an address to listen on.
 *
 * @param text `ADDR:PORT`; IPv6 in brackets.
 * @param example A good one, for the error.
 * @returns Address and port.
 * @throws {MoatError} `usage` if it is neither.
 */
export function parseListen(
  text: string,
  example = "127.0.0.1:19080",
): ListenAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+|localhost)):(\d{1,5})$/
    .exec(text);
  const [, six = "", four = "", digits] = match ?? [];
  const hostname = six || four.replace("localhost", "127.0.0.1");
  const isAddress = six ? isIPv6(hostname) : isIPv4(hostname);
  const port = Number(digits);
  if (isAddress && port <= 65_535) return { hostname, port };
  throw usageError(
    `Cannot listen on ${JSON.stringify(text)}: wanted an IP address and a port`,
    `write it as ${example}, an IPv6 address as [::1]:19080; port 0 takes any`,
  );
}

/** What `moat network-rules` puts on this host. */
const METADATA_ADDRESSES = ["169.254.169.254", "fd00:ec2::254"];

/** Where any free port would do nothing for the clients. */
const IN_USE: Readonly<Record<string, string>> = {
  "PORT": "set PORT to a free one",
  "--imds":
    `ss -ltnp shows who listens there; stop it, or moat network-rules --to ${OTHER_ADDRESS} --apply and --imds ${OTHER_ADDRESS}`,
};

function openListener(
  open: Listen,
  address: ListenAddress,
  flag: string,
): Deno.Listener {
  const where = urlOf(address);
  try {
    return open(address);
  } catch (cause) {
    if (cause instanceof Deno.errors.AddrInUse) {
      throw new MoatError(
        "address-in-use",
        `Cannot listen on ${where}: another program does`,
        {
          hint: IN_USE[flag] ?? `give ${flag} 127.0.0.1:0 for any free port`,
          cause,
        },
      );
    }
    if (cause instanceof Deno.errors.AddrNotAvailable) {
      throw new MoatError(
        "address-unavailable",
        `Cannot listen on ${where}: no interface of this host has that address`,
        {
          hint: METADATA_ADDRESSES.includes(address.hostname)
            ? "sudo moat network-rules --apply gives this host the address"
            : "ip address shows those there are",
          cause,
        },
      );
    }
    if (cause instanceof Deno.errors.PermissionDenied) {
      throw new MoatError(
        "address-denied",
        `Cannot listen on ${where}: the system does not allow it`,
        {
          hint:
            "take a port above 1023; those below need root or CAP_NET_BIND_SERVICE",
          cause,
        },
      );
    }
    throw cause;
  }
}

/** For whatever uid the client has; nobody else can enter the directory above. */
function openSocket(path: string): Deno.Listener {
  checkSocketPath(path);
  removeSocket(path);
  try {
    const listener = Deno.listen({ transport: "unix", path });
    Deno.chmodSync(path, 0o666);
    return listener;
  } catch (error) {
    throw storageError("make the socket", path, error);
  }
}

/** What a killed proxy left behind; anything else there is not ours. */
function removeSocket(path: string): void {
  try {
    if (Deno.lstatSync(path).isSocket) Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function addressOf(server: HttpServer): ListenAddress {
  const { hostname, port } = server.address as Deno.NetAddr;
  return { hostname, port };
}

/** Compares two addresses, in whatever spelling. */
function isSame(one: string, other: string): boolean {
  return canonical(one) === canonical(other);
}

function canonical(address: string): string {
  const plain = unmapAddress(address);
  return isIPv6(plain) ? new URL(`http://[${plain}]`).hostname : plain;
}

/**
 * Tells the base URL of an address.
 *
 * @param address IPv6 without brackets.
 * @returns Such as `http://[::1]:80`, always with a port.
 */
export function urlOf({ hostname, port }: ListenAddress): string {
  return `http://${
    hostname.includes(":") ? `[${hostname}]` : hostname
  }:${port}`;
}

function kindOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}
