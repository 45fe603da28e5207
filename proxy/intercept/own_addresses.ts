/**
 * Which addresses and ports lead back to this process, however they are
 * spelled, so that no client can make it talk to itself.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import {
  compressAddress,
  interfaceAddresses,
  isLoopback,
  isUnspecified,
} from "../addresses.ts";
import type { ListenAddress } from "../listeners.ts";

/** Interfaces come and go with container networks; asking takes a while. */
const INTERFACES_KEPT_MS = 10_000;

/** What {@link OwnAddresses} looks at. */
export interface OwnAddressesOptions {
  /** All listeners as they are now; those on unix sockets do not matter. */
  readonly listeners: () => Iterable<ListenAddress>;
  /** Ports of further listeners on 127.0.0.1. Default: none. */
  readonly loopbackPorts?: () => Iterable<number>;
  /** The addresses of this host. Default: as the system tells them. */
  readonly interfaces?: () => readonly string[];
  /** For how long they are kept. */
  readonly clock: Clock;
}

/** Knows the listeners of this process. */
export class OwnAddresses {
  readonly #options: OwnAddressesOptions;
  #interfaces: ReadonlySet<string> = new Set();
  #interfacesUntil = -Infinity;

  /** Looks at the listeners anew each time, and at interfaces every 10 s. */
  constructor(options: OwnAddressesOptions) {
    this.#options = options;
  }

  /**
   * Tells whether a connection would arrive at this process.
   *
   * @param address An IP address in any spelling.
   * @param port Its port.
   */
  has(address: string, port: number): boolean {
    const { listeners, loopbackPorts } = this.#options;
    const plain = destination(address);
    for (const listener of listeners()) {
      if (listener.port === port && this.#leads(plain, listener.hostname)) {
        return true;
      }
    }
    for (const own of loopbackPorts?.() ?? []) {
      if (own === port && isLoopback(plain)) return true;
    }
    return false;
  }

  /** Whether what is sent to an address arrives at a listener. */
  #leads(address: string, listener: string): boolean {
    if (plainAddress(listener) === address) return true;
    if (!isUnspecified(listener)) return false;
    return isLoopback(address) || this.#ofThisHost().has(address);
  }

  #ofThisHost(): ReadonlySet<string> {
    const { clock, interfaces = interfaceAddresses } = this.#options;
    const now = clock.now();
    if (now >= this.#interfacesUntil) {
      this.#interfaces = new Set(interfaces().map(plainAddress));
      this.#interfacesUntil = now + INTERFACES_KEPT_MS;
    }
    return this.#interfaces;
  }
}

/** Systems send what is for the unspecified address to their own loopback. */
function destination(address: string): string {
  const plain = plainAddress(address);
  if (!isUnspecified(plain)) return plain;
  return plain.includes(":") ? "::1" : "127.0.0.1";
}

/** One spelling of an address: no zone, compressed, IPv4-mapped as IPv4. */
function plainAddress(address: string): string {
  return compressAddress(address.replace(/%.*$/, ""));
}
