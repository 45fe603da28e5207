/**
 * A collector that takes datagrams: statsd, or Datadog's agent.
 *
 * Not by a library of statsd's: those decide where to send to, and what to
 * add, by variables of their own, and none writes the lines that
 * go-metadataproxy's dashboards know.
 *
 * @module
 */

import { isIP } from "node:net";
import type { Socket } from "node:dgram";
import type { Clock } from "$core/clock.ts";
import type { Collector, CollectorAddress } from "./line_sender.ts";

/** What fits into a packet of Ethernet; as go-metadataproxy's library. */
const MAX_BYTES = 1400;

/** For how long a name's address is taken for granted. */
const ADDRESS_MS = 60_000;

/** An address and where it is from. */
interface Resolved {
  readonly address: string;
  readonly family: number;
  readonly until: number;
}

/** Sends datagrams; whether they arrive is not known. */
export class DatagramCollector implements Collector {
  readonly #clock: Pick<Clock, "now">;
  readonly #to: CollectorAddress;
  #resolved: Resolved | undefined;
  #socket: { readonly family: number; readonly socket: Socket } | undefined;
  #isClosed = false;

  /** Opens nothing yet. */
  constructor(clock: Pick<Clock, "now">, to: CollectorAddress) {
    this.#clock = clock;
    this.#to = to;
  }

  /** Sends lines, several in one datagram; one that is too long alone. */
  async deliver(lines: readonly string[]): Promise<void> {
    const resolved = await this.#resolve();
    const socket = await this.#open(resolved.family);
    for (const datagram of pack(lines)) {
      if (this.#isClosed) return;
      await new Promise<void>((resolve, reject) =>
        socket.send(
          datagram,
          this.#to.port,
          resolved.address,
          (error) => error ? reject(error) : resolve(),
        )
      );
    }
  }

  /** Frees the socket. */
  close(): void {
    this.#isClosed = true;
    this.#socket?.socket.close();
    this.#socket = undefined;
  }

  async #resolve(): Promise<Resolved> {
    const { hostname } = this.#to;
    const family = isIP(hostname);
    if (family) return { address: hostname, family, until: Infinity };
    const now = this.#clock.now();
    if (this.#resolved && now < this.#resolved.until) return this.#resolved;
    const { lookup } = await import("node:dns/promises");
    const found = await lookup(hostname);
    return this.#resolved = { ...found, until: now + ADDRESS_MS };
  }

  async #open(family: number): Promise<Socket> {
    if (this.#socket?.family === family) return this.#socket.socket;
    this.#socket?.socket.close();
    const { createSocket } = await import("node:dgram");
    const socket = createSocket(family === 6 ? "udp6" : "udp4");
    // What cannot be sent is told to whoever sends it.
    socket.on("error", () => {});
    this.#socket = { family, socket };
    return socket;
  }
}

/**
 * Puts lines into as few datagrams as they fit in.
 *
 * @param lines With their line feeds.
 * @returns Texts of at most 1400 bytes, or of one line.
 */
export function pack(lines: readonly string[]): string[] {
  const encoder = new TextEncoder();
  const datagrams: string[] = [];
  let room = 0;
  for (const line of lines) {
    const { length } = encoder.encode(line);
    if (length > room) {
      datagrams.push(line);
      room = MAX_BYTES - length;
    } else {
      datagrams.push((datagrams.pop() ?? "") + line);
      room -= length;
    }
  }
  return datagrams;
}
