/**
 * How many connections there may be, over all servers: each takes a file
 * descriptor, and what else the process does needs some, too.
 *
 * @module
 */

import type { Connection } from "./connection.ts";

const MAX_CONNECTIONS = 40_000;

/** For the control socket, STS, the audit log and the runtime itself. */
const MIN_RESERVE = 128;

/** What a system gives at least, as macOS does. */
const FALLBACK_LIMIT = 256;

/** What the pool needs to know of a connection. */
export type Pooled = Pick<Connection, "isStranger" | "close">;

/** The connections of several servers together. */
export class ConnectionPool {
  readonly #max: number;
  /** The oldest first. */
  readonly #connections = new Set<Pooled>();
  /** What connections need beside their own descriptor. */
  #further = 0;

  /** Makes an empty pool for `max` connections. Default: 40,000. */
  constructor(max: number = MAX_CONNECTIONS) {
    this.#max = max;
  }

  /** How many descriptors there are for connections. */
  get max(): number {
    return this.#max;
  }

  /**
   * Takes a connection in. In a full pool it takes the place of the oldest one
   * whose client has not shown who it is, and which is closed: whoever opens
   * many such connections pushes out its own.
   *
   * @returns False if there is no place.
   */
  add(connection: Pooled): boolean {
    if (this.#isFull(1) && !this.#evict()) return false;
    this.#connections.add(connection);
    return true;
  }

  /**
   * Takes descriptors that a connection needs beside its own.
   *
   * @param count How many.
   * @returns False if there are not as many.
   */
  take(count: number): boolean {
    if (this.#isFull(count)) return false;
    this.#further += count;
    return true;
  }

  /** Gives them back. */
  give(count: number): void {
    this.#further -= count;
  }

  #isFull(count: number): boolean {
    return this.#connections.size + this.#further + count > this.#max;
  }

  /** Takes one out, if it is in there. */
  delete(connection: Pooled): void {
    this.#connections.delete(connection);
  }

  #evict(): boolean {
    for (const connection of this.#connections) {
      if (!connection.isStranger) continue;
      this.#connections.delete(connection);
      connection.close();
      return true;
    }
    return false;
  }
}

/**
 * Reads how many file descriptors this process may have (its soft
 * `RLIMIT_NOFILE`). A shell that it starts has the same limit; the runtime
 * cannot tell it, and lets only a program with all permissions read
 * `/proc/self/limits`.
 *
 * @param shell The POSIX shell to ask.
 * @returns The limit; Infinity if there is none, 256 if it cannot be read.
 */
export function readDescriptorLimit(shell = "/bin/sh"): number {
  try {
    const { stdout } = new Deno.Command(shell, {
      args: ["-c", "ulimit -Sn"],
      clearEnv: true,
      stdin: "null",
      stderr: "null",
    }).outputSync();
    const text = new TextDecoder().decode(stdout).trim();
    return text === "unlimited" ? Infinity : Number(text) || FALLBACK_LIMIT;
  } catch {
    return FALLBACK_LIMIT;
  }
}

/**
 * How many connections leave enough descriptors for the rest of the process.
 *
 * @param limit How many descriptors it may have.
 * @returns Three quarters of it, or 128 less if that is fewer; 40,000 at most.
 */
export function connectionsWithin(limit: number): number {
  const reserve = Math.max(limit / 4, MIN_RESERVE);
  return limit === Infinity
    ? MAX_CONNECTIONS
    : Math.min(Math.max(Math.floor(limit - reserve), 1), MAX_CONNECTIONS);
}
