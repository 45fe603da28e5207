/**
 * Whether a client with a token is the container that its binding names.
 *
 * Asked once for each connection, which cannot pass from one container to
 * another; from then on it is enough to know that the container still runs,
 * since the same start.
 *
 * **Security:** a refused client is told nothing: neither whether its token
 * was right, nor who it was taken for. A token that counts shows by the time
 * that the engine takes; nobody can guess one by that.
 *
 * @module
 */

import type { Binding } from "$core/binding.ts";
import { matchesContainer } from "$core/container.ts";
import { toMoatError } from "$core/errors.ts";
import type { Platform } from "$core/platform.ts";
import { unmapAddress } from "./addresses.ts";
import type { LiveBinding } from "./bindings.ts";
import type {
  Containers,
  Identified,
  KnownContainer,
  NoContainer,
} from "./containers/containers.ts";
import type { Peer } from "./http1/server.ts";

/** Who asks: the same object for all requests of a connection. */
export type Asker = Pick<Peer, "remoteHostname">;

/** Lets clients of a binding through. */
export interface Gate {
  /**
   * Proves that a client is the container that a binding names, if it names
   * one. A refusal is told in the log.
   *
   * @returns At once for a binding of no container, and if it is known already.
   */
  admits(live: LiveBinding, peer: Asker): boolean | Promise<boolean>;
  /** Whether what was proven still holds; false for what was not. */
  holds(live: LiveBinding, peer: Asker): boolean;
  /**
   * Tells of a change of the container that was proven, after which it has to
   * be proven anew; nothing if {@link holds} is false already.
   *
   * @returns A function that takes it back.
   */
  onEnd(live: LiveBinding, peer: Asker, tell: () => void): () => void;
}

/** For where no engine is asked: bindings of containers have no clients. */
export const CLOSED_GATE: Gate = {
  admits: ({ binding }) => binding.container === undefined,
  holds: ({ binding }) => binding.container === undefined,
  onEnd: () => () => {},
};

/** Why a client is not the container that its binding names. */
type Reason = NoContainer | "other-container" | "no-address";

/** What a {@link ContainerGate} needs. */
export interface ContainerGateOptions {
  /** Clock, log, metrics. */
  readonly platform: Pick<Platform, "clock" | "log" | "metrics">;
  /** Who has which address; asked for when a binding first names a container. */
  readonly containers: () => Promise<Pick<Containers, "identify">>;
}

/** How often the same refusal is told, in ms. */
const REPEAT_MS = 60_000;

/** Refusals that are remembered. */
const MAX_TOLD = 1000;

/** Asks the engine. */
export class ContainerGate implements Gate {
  readonly #options: ContainerGateOptions;
  readonly #proven = new WeakMap<Asker, KnownContainer>();
  /** Whoever waits for the end of a container, which outlives many connections. */
  readonly #waiting = new WeakMap<KnownContainer, Set<() => void>>();
  readonly #toldAt = new Map<string, number>();

  /** A gate whose engine is not asked yet. */
  constructor(options: ContainerGateOptions) {
    this.#options = options;
  }

  /** See {@link Gate.admits}. */
  admits({ binding }: LiveBinding, peer: Asker): boolean | Promise<boolean> {
    if (!binding.container) return true;
    const known = this.#proven.get(peer);
    return known?.isCurrent
      ? this.#judge(binding, known)
      : this.#prove(binding, peer, known);
  }

  /** See {@link Gate.holds}. */
  holds({ binding: { container } }: LiveBinding, peer: Asker): boolean {
    if (!container) return true;
    const known = this.#proven.get(peer);
    return known !== undefined && known.isCurrent &&
      matchesContainer(container, known.facts);
  }

  /** See {@link Gate.onEnd}. */
  onEnd({ binding }: LiveBinding, peer: Asker, tell: () => void): () => void {
    const known = binding.container && this.#proven.get(peer);
    if (!known?.isCurrent) return () => {};
    let waiting = this.#waiting.get(known);
    if (!waiting) {
      const told = waiting = new Set();
      this.#waiting.set(known, told);
      known.onEnd(() => [...told].forEach((tell) => tell()));
    }
    waiting.add(tell);
    return () => void waiting.delete(tell);
  }

  async #prove(
    binding: Binding,
    peer: Asker,
    before: KnownContainer | undefined,
  ): Promise<boolean> {
    const address = unmapAddress(peer.remoteHostname);
    if (address === "") {
      const message = "A client behind a unix socket has no address";
      return this.#refuse(binding, "no-address", { message });
    }
    const found = await this.#identify(address);
    if ("problem" in found) {
      const { problem, message } = found;
      return this.#refuse(binding, problem, { message, address });
    }
    // Its facts may change, such as its name; itself it cannot.
    if (before && !isSame(before, found)) {
      const message = "The container of this connection has stopped";
      return this.#refuse(binding, "other-container", { message, address });
    }
    this.#proven.set(peer, found);
    return this.#judge(binding, found);
  }

  async #identify(address: string): Promise<Identified> {
    try {
      const containers = await this.#options.containers();
      return await containers.identify(address);
    } catch (error) {
      const { message } = toMoatError(error);
      return { problem: "engine-unavailable", message };
    }
  }

  #judge(binding: Binding, { facts, address }: KnownContainer): boolean {
    if (binding.container && matchesContainer(binding.container, facts)) {
      return true;
    }
    return this.#refuse(binding, "other-container", {
      message: "This is not the container that the binding names",
      address,
      container: facts.name,
    });
  }

  #refuse(
    { name }: Binding,
    reason: Reason,
    { message, address, container }: {
      readonly message: string;
      readonly address?: string;
      readonly container?: string;
    },
  ): false {
    const { log, metrics } = this.#options.platform;
    metrics.count("client_refused_total", { reason });
    if (this.#isRepeated(`${name} ${reason} ${address}`)) return false;
    log.warn("container-mismatch", {
      binding: name,
      code: reason,
      reason: message,
      ...(address !== undefined && { address }),
      ...(container !== undefined && { container }),
    });
    return false;
  }

  /** Clients that ask again and again must not fill the log. */
  #isRepeated(line: string): boolean {
    const now = this.#options.platform.clock.now();
    const before = this.#toldAt.get(line);
    if (before !== undefined && Math.abs(now - before) < REPEAT_MS) return true;
    if (this.#toldAt.size >= MAX_TOLD) this.#toldAt.clear();
    this.#toldAt.set(line, now);
    return false;
  }
}

function isSame(one: KnownContainer, other: KnownContainer): boolean {
  return one.facts.id === other.facts.id &&
    one.facts.startedAt === other.facts.startedAt;
}
