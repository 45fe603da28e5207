/**
 * The relay for containers that have no way to the host: a small static
 * program that is mounted with the other files of a binding, and starts as the
 * container's entrypoint. What it does is told in `relay.c`.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";

/** `scripts/build.ts` puts in which file, beside this one in the executable, it is. */
declare const MOAT_RELAY: string | undefined;

/** Where a container sees the program. */
export const RELAY_PATH = "/moat/relay";

/** Where it listens unless told otherwise, on the container's own loopback. */
export const RELAY_PORT = 19080;

/** Where a container sees the unix socket that the relay passes connections on to. */
export const RELAY_SOCKET = "/moat/endpoint.sock";

/**
 * Reads the relay out of the executable. It is for this machine's kernel and
 * architecture, which containers share, whatever their image is made for.
 *
 * @returns The program, to be written with mode 0555.
 * @throws {MoatError} `no-relay` if moat runs from its sources, was built
 * without it, or on another system than Linux.
 */
export async function loadRelay(): Promise<Uint8Array<ArrayBuffer>> {
  if (typeof MOAT_RELAY !== "string") {
    throw new MoatError(
      "no-relay",
      "Cannot give this container a way to moat: wanted a moat with a relay, found one that was built without it",
      { hint: "use a moat that was built on Linux with a C compiler" },
    );
  }
  return await Deno.readFile(new URL(MOAT_RELAY, import.meta.url));
}
