/**
 * The addresses of this host, whose clients are no containers of their own.
 *
 * @module
 */

import { isIP } from "node:net";
import type { Clock } from "$core/clock.ts";
import { compressAddress, interfaceAddresses } from "../addresses.ts";

/** Interfaces come and go with container networks; asking takes a while. */
const KEPT_MS = 1000;

/** Knows the addresses of this host. */
export class HostAddresses {
  readonly #clock: Clock;
  readonly #read: () => readonly string[];
  #addresses: ReadonlySet<string> = new Set();
  #readAt = -Infinity;

  /**
   * Reads them when it is asked, at most once a second.
   *
   * @param read Default: as the system tells them.
   */
  constructor(
    clock: Clock,
    read: () => readonly string[] = interfaceAddresses,
  ) {
    this.#clock = clock;
    this.#read = read;
  }

  /** Whether an address, in plain spelling, is the host's own. */
  has(address: string): boolean {
    if (address === "::1" || address.startsWith("127.")) return true;
    const now = this.#clock.now();
    // A clock that was set back counts as time that passed.
    if (Math.abs(now - this.#readAt) >= KEPT_MS) {
      this.#addresses = new Set(this.#read().map(plainAddress));
      this.#readAt = now;
    }
    return this.#addresses.has(address);
  }
}

/**
 * Spells an address in one way: no zone, no length of a prefix, compressed,
 * IPv4-mapped as IPv4. What is no address stays what it is.
 *
 * @param address As a system or an engine tells it, such as `fe80::1%eth0`.
 */
export function plainAddress(address: string): string {
  const bare = address.replace(/[%/].*$/, "");
  // What is none would be read as one: "12" as 0.0.0.12.
  return isIP(bare) === 6 ? compressAddress(bare) : bare;
}
