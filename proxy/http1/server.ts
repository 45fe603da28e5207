/**
 * The HTTP/1.1 server that faces every client: a raw listener, limits, one
 * timer. What happens on one connection is in `connection.ts`.
 *
 * `Deno.serve` is not used: it accepts heads that we refuse,
 * is slower, and drops the request of a client that half-closes.
 *
 * @module
 */

import { setImmediate } from "node:timers/promises";
import { type Clock, sleep } from "$core/clock.ts";
import { errorAnswer } from "$core/provider.ts";
import {
  Connection,
  type ConnectionContext,
  type Service,
} from "./connection.ts";
import { ConnectionPool } from "./pool.ts";

export type { Peer, Reply, Service, Takeover } from "./connection.ts";

/** Settings of {@link serve}. */
export interface ServeOptions {
  /** Runs all time limits. */
  readonly clock: Clock;
  /** Told of what a service threw, and of failures to accept. Must not throw. */
  readonly onError: (error: unknown) => void;
  /** Bounds the connections of several servers together; further ones are answered 503. Default: 10,000 of its own. */
  readonly pool?: ConnectionPool;
  /** The same for each remote address; clients without one count as one. Default: no limit. */
  readonly maxConnectionsPerAddress?: number;
}

/** A running server. */
export interface HttpServer {
  /** What it listens on, with the real port. */
  readonly address: Deno.Addr;
  /** How many connections there are now, without refused ones. */
  readonly connections: number;
  /**
   * Stops in good order: accepts no more, closes idle connections, lets busy
   * ones finish their answer, and closes what is left after `timeoutMs`.
   */
  drain(timeoutMs: number): Promise<void>;
  /** Stops at once. A request that its service still works on gets no answer. */
  close(): Promise<void>;
}

/** How often time limits are checked; a limit may be exceeded by as much. */
const TICK_MS = 1_000;

/** Refused connections that get to read why; beyond, they are just closed. */
const MAX_REFUSALS = 32;

/** Back-off while the system has no room for a connection. */
const MIN_PAUSE_MS = 5;
const MAX_PAUSE_MS = 1_000;
const EXHAUSTED = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"];

/** A client that went away before it was accepted, which is not our failure. */
const CLIENT_GONE = ["ENOTCONN", "ECONNABORTED", "ECONNRESET", "EINVAL"];

/** 503, not 429, which SDKs take as final. */
const BUSY = errorAnswer(
  503,
  "too-many-connections",
  "Cannot serve this connection: there are too many",
  [["Retry-After", "1"]],
);

/**
 * Serves HTTP/1.1 on a listener until it is closed.
 *
 * @param listener TCP or unix; the server owns it from now on.
 * @param service Answers the requests.
 * @param options Clock, error report and limits.
 * @returns The running server.
 */
export function serve(
  listener: Deno.Listener,
  service: Service,
  options: ServeOptions,
): HttpServer {
  return new Server(listener, service, options);
}

class Server implements HttpServer {
  readonly address: Deno.Addr;
  readonly #listener: Deno.Listener;
  readonly #options: ServeOptions;
  readonly #context: ConnectionContext;
  /** Each with the end of its run. */
  readonly #served = new Map<Connection, Promise<void>>();
  readonly #refused = new Map<Connection, Promise<void>>();
  readonly #perAddress = new Map<string, number>();
  readonly #pool: ConnectionPool;
  readonly #accepting: Promise<void>;
  readonly #stopping = Promise.withResolvers<void>();
  readonly #empty = Promise.withResolvers<void>();
  #stopped = false;
  #cancelTick: (() => void) | undefined;

  constructor(
    listener: Deno.Listener,
    service: Service,
    options: ServeOptions,
  ) {
    this.address = listener.addr;
    this.#listener = listener;
    this.#options = options;
    this.#pool = options.pool ?? new ConnectionPool();
    this.#context = {
      service,
      clock: options.clock,
      onError: options.onError,
    };
    this.#accepting = this.#accept();
  }

  get connections(): number {
    return this.#served.size;
  }

  async drain(timeoutMs: number): Promise<void> {
    this.#stop();
    for (const connection of this.#served.keys()) connection.retire();
    if (this.#served.size > 0) {
      await sleep(this.#options.clock, timeoutMs, this.#empty.promise);
    }
    await this.close();
  }

  async close(): Promise<void> {
    this.#stop();
    const ending: Promise<void>[] = [];
    for (const connections of [this.#served, this.#refused]) {
      for (const [connection, end] of connections) {
        if (connection.close()) ending.push(end);
        else this.#forget(connection);
      }
    }
    this.#cancelTick?.();
    await Promise.all([this.#accepting, ...ending]);
  }

  #stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#stopping.resolve();
    try {
      this.#listener.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }

  /** Accepts until stopped. No failure but a closed listener ends it. */
  async #accept(): Promise<void> {
    let pauseMs = MIN_PAUSE_MS;
    while (!this.#stopped) {
      try {
        const conn = await this.#listener.accept();
        if (this.#stopped) return conn.close();
        this.#admit(conn);
        pauseMs = MIN_PAUSE_MS;
      } catch (error) {
        if (this.#stopped) return;
        const code = codeOf(error);
        if (!CLIENT_GONE.includes(code)) this.#options.onError(error);
        // Someone else closed the listener: it will never accept again.
        if (error instanceof Deno.errors.BadResource) return;
        if (EXHAUSTED.includes(code)) {
          await sleep(this.#options.clock, pauseMs, this.#stopping.promise);
          pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS);
        } else {
          // Clients cause it as fast as they like: others must not wait for it.
          await setImmediate();
        }
      }
    }
  }

  #admit(conn: Deno.Conn): void {
    const connection = new Connection(conn, this.#context);
    const address = connection.peer.remoteHostname;
    if (this.#isFull(address) || !this.#pool.add(connection)) {
      return this.#refuse(connection);
    }
    this.#perAddress.set(address, (this.#perAddress.get(address) ?? 0) + 1);
    this.#start(connection, this.#served, connection.run());
  }

  #isFull(address: string): boolean {
    const { maxConnectionsPerAddress } = this.#options;
    if (maxConnectionsPerAddress === undefined) return false;
    return (this.#perAddress.get(address) ?? 0) >= maxConnectionsPerAddress;
  }

  #refuse(connection: Connection): void {
    if (this.#refused.size >= MAX_REFUSALS) {
      connection.close();
      return;
    }
    this.#start(connection, this.#refused, connection.run(BUSY));
  }

  #start(
    connection: Connection,
    connections: Map<Connection, Promise<void>>,
    run: Promise<void>,
  ): void {
    connections.set(connection, run.then(() => this.#forget(connection)));
    if (this.#cancelTick === undefined) this.#armTick();
  }

  #forget(connection: Connection): void {
    this.#refused.delete(connection);
    if (!this.#served.delete(connection)) return;
    this.#pool.delete(connection);
    const address = connection.peer.remoteHostname;
    const others = (this.#perAddress.get(address) ?? 1) - 1;
    if (others > 0) this.#perAddress.set(address, others);
    else this.#perAddress.delete(address);
    if (this.#stopped && this.#served.size === 0) this.#empty.resolve();
  }

  /** One timer for all connections, and none while there are none. */
  #armTick(): void {
    this.#cancelTick = this.#options.clock.after(TICK_MS, () => {
      this.#cancelTick = undefined;
      for (const connection of this.#served.keys()) connection.checkTime();
      for (const connection of this.#refused.keys()) connection.checkTime();
      if (this.#served.size + this.#refused.size > 0) this.#armTick();
    });
  }
}

/** The system's name of an error, such as `EMFILE`. */
function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
