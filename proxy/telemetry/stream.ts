/**
 * A collector that takes lines on a TCP connection: statsite.
 *
 * @module
 */

import { writeAll } from "$core/files.ts";
import type { Collector, CollectorAddress } from "./line_sender.ts";

/** Writes to a connection, which is made anew if it ends. */
export class StreamCollector implements Collector {
  readonly #to: CollectorAddress;
  #connection: Deno.TcpConn | undefined;
  #isClosed = false;

  /** Connects to nothing yet. */
  constructor(to: CollectorAddress) {
    this.#to = to;
  }

  /** Writes lines. */
  async deliver(lines: readonly string[]): Promise<void> {
    const connection = this.#connection ?? await this.#connect();
    try {
      await writeAll(connection, new TextEncoder().encode(lines.join("")));
    } catch (error) {
      this.#drop(connection);
      throw error;
    }
  }

  /** Ends the connection. */
  close(): void {
    this.#isClosed = true;
    if (this.#connection) this.#drop(this.#connection);
  }

  async #connect(): Promise<Deno.TcpConn> {
    const connection = await Deno.connect(this.#to);
    if (this.#isClosed) {
      connection.close();
      throw new Deno.errors.Interrupted();
    }
    this.#connection = connection;
    this.#watch(connection);
    return connection;
  }

  /** A collector says nothing but its end, which no write would notice. */
  async #watch(connection: Deno.TcpConn): Promise<void> {
    const bytes = new Uint8Array(512);
    try {
      while (await connection.read(bytes) !== null);
    } catch {
      // It has ended, too.
    }
    this.#drop(connection);
  }

  #drop(connection: Deno.TcpConn): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    connection.close();
  }
}
