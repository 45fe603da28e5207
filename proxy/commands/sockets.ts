/**
 * The sockets that a service manager gave to a command that serves.
 *
 * @module
 */

import type { Platform } from "$core/platform.ts";
import { openInherited } from "../inherited.ts";
import type { Listeners } from "../listeners.ts";

/** Sockets that were given to us. */
export interface GivenSockets {
  /** How many there are. */
  readonly count: number;
  /** Serves them; gives their base URLs. */
  serveOn(listeners: Listeners): string[];
  /** Ends their helpers, once no answer is under way. */
  close(): Promise<void>;
}

/**
 * Takes what was given to us.
 *
 * @param platform Environment and log.
 * @param onLost Called when nobody accepts on one of them any more.
 * @returns The sockets; none without a service manager.
 * @throws {MoatError} As {@link openInherited}.
 */
export async function takeSockets(
  { env, log }: Pick<Platform, "env" | "log">,
  onLost: () => void,
): Promise<GivenSockets> {
  const sockets = await openInherited({
    env,
    onLost: ({ code, message }) => {
      log.error("socket-lost", { code, message });
      onLost();
    },
  });
  return {
    count: sockets.length,
    serveOn: (listeners) =>
      sockets.map(({ listener, address }) =>
        listeners.adopt(listener, address)
      ),
    async close() {
      await Promise.all(sockets.map((socket) => socket.close()));
    },
  };
}
