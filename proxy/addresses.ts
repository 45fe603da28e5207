/**
 * Kinds of IP addresses.
 *
 * @module
 */

import { canonicalHost } from "$core/host.ts";

/** Where the proxy listens unless told otherwise. */
export const DEFAULT_LISTEN = "127.0.0.1:19080";

/** Where a container sees the files of its binding. */
export const CONTAINER_DIRECTORY = "/moat";

/** The name under which containers know the host's gateway. */
export const PROXY_NAME = "moat-proxy";

/** The names that Docker Desktop and podman machines forward to the host's loopback. */
export const ENGINE_HOSTS = {
  docker: "host.docker.internal",
  podman: "host.containers.internal",
} as const;

/**
 * Tells the port of an http URL.
 *
 * @param url Such as `http://127.0.0.1:19080`.
 * @returns 80 if it names none.
 */
export function portOf(url: string): number {
  return Number(new URL(url).port || 80);
}

/**
 * Gives an IPv4 client of an IPv6 listener its own spelling back.
 *
 * @param address An IP address as the system tells it, such as `::ffff:127.0.0.1`.
 * @returns `127.0.0.1`; any other address as it is.
 * @see {@link https://www.rfc-editor.org/rfc/rfc4291.html#section-2.5.5.2 | RFC 4291 section 2.5.5.2}
 */
export function unmapAddress(address: string): string {
  return address.replace(/^::ffff:(?=[0-9.]+$)/i, "");
}

/**
 * Tells loopback addresses.
 *
 * @param address An IP address.
 * @returns Whether only this host reaches it.
 */
export function isLoopback(address: string): boolean {
  return address === "::1" || unmapAddress(address).startsWith("127.");
}

/**
 * Tells the addresses that stand for all addresses of the host, in every
 * spelling.
 *
 * @param address An IP address.
 * @returns Whether a listener on it listens everywhere.
 */
export function isUnspecified(address: string): boolean {
  return /^(::ffff:)?[0:.]+$/i.test(address);
}

/** The addresses of this host's interfaces, as the system tells them. */
export function interfaceAddresses(): string[] {
  return Deno.networkInterfaces().map(({ address }) => address);
}

/**
 * Spells an address in one way: compressed, IPv4-mapped as IPv4.
 *
 * @param address Without a zone; in any spelling that a URL may have.
 * @returns The address; what is none stays what it is.
 */
export function compressAddress(address: string): string {
  const short = canonicalHost(address) ?? address;
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(short);
  if (!mapped) return short;
  const [high = 0, low = 0] = mapped.slice(1).map((word) => parseInt(word, 16));
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}
