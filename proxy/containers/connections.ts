/**
 * The container of each connection. It is found once, because a connection
 * cannot pass from one container to another; from then on it is enough to know
 * that the container still runs, since the same start.
 *
 * @module
 */

import { toMoatError } from "$core/errors.ts";
import { unmapAddress } from "../addresses.ts";
import type { Peer } from "../http1/server.ts";
import type {
  Containers,
  Identified,
  KnownContainer,
  NoContainer,
} from "./containers.ts";

/** From where a connection comes: the same object for all its requests. */
export type Origin = Pick<Peer, "remoteHostname">;

/** Why the container of a connection is not known. */
export type Unproven =
  | NoContainer
  /** It comes by a unix socket. */
  | "no-address"
  /** It was that of a container, or of a start, that has ended. */
  | "stopped";

/** What is known of a connection. */
export type Proven = KnownContainer | {
  /** Why its container is not known. */
  readonly problem: Unproven;
  /** One sentence for the log and the client. */
  readonly message: string;
};

/** Which container made which connection. */
export class Connections {
  readonly #containers: () => Promise<Pick<Containers, "identify">>;
  readonly #known = new WeakMap<Origin, KnownContainer>();

  /** `containers` is asked for when the first connection is to be identified. */
  constructor(containers: () => Promise<Pick<Containers, "identify">>) {
    this.#containers = containers;
  }

  /** The container of a connection, if it was found and still runs. */
  current(origin: Origin): KnownContainer | undefined {
    const known = this.#known.get(origin);
    return known?.isCurrent ? known : undefined;
  }

  /**
   * Finds the container of a connection.
   *
   * @param origin Where it comes from.
   * @returns As `Containers.identify`; never another one than before.
   */
  async identify(origin: Origin): Promise<Proven> {
    const address = unmapAddress(origin.remoteHostname);
    if (address === "") {
      const message = "A client behind a unix socket has no address";
      return { problem: "no-address", message };
    }
    const found = await this.#ask(address);
    if ("problem" in found) return found;
    const before = this.#known.get(origin);
    // Its facts may change, such as its name; itself it cannot.
    if (before && !isSame(before, found)) {
      const message = "The container of this connection has stopped";
      return { problem: "stopped", message };
    }
    this.#known.set(origin, found);
    return found;
  }

  async #ask(address: string): Promise<Identified> {
    try {
      const containers = await this.#containers();
      return await containers.identify(address);
    } catch (error) {
      const { message } = toMoatError(error);
      return { problem: "engine-unavailable", message };
    }
  }
}

function isSame(one: KnownContainer, other: KnownContainer): boolean {
  return one.facts.id === other.facts.id &&
    one.facts.startedAt === other.facts.startedAt;
}
