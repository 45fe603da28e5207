/**
 * The files that a relay needs in its container.
 *
 * @module
 */

import { basename } from "node:path";
import type { Reach } from "$core/reach.ts";
import type { MountedFile } from "$core/provider.ts";
import { loadRelay, RELAY_PATH } from "./relay.ts";

/**
 * Gives the relay to those who need it.
 *
 * @param reach How a client reaches the proxy.
 * @returns The program; nothing for clients without a relay.
 * @throws {MoatError} `no-relay`.
 */
export async function relayFiles(
  reach: Reach | undefined,
): Promise<MountedFile[]> {
  if (reach?.by !== "socket") return [];
  const content = await loadRelay();
  return [{ path: basename(RELAY_PATH), mode: 0o555, content }];
}
