/**
 * Whether a client with a token is the container that its binding names.
 *
 * **Security:** a refused client is told nothing: neither whether its token
 * was right, nor who it was taken for. A token that counts shows by the time
 * that the engine takes; nobody can guess one by that.
 *
 * @module
 */

import type { Binding } from "$core/binding.ts";
import { matchesContainer } from "$core/container.ts";
import type { Platform } from "$core/platform.ts";
import { unmapAddress } from "../addresses.ts";
import type { LiveBinding } from "./binding_table.ts";
import {
  Connections,
  type Origin,
  type Unproven,
} from "../containers/connections.ts";
import type { Containers, KnownContainer } from "../containers/containers.ts";
import { RepeatedLines } from "../repeated_lines.ts";

/** Lets clients of a binding through. */
export interface Gate {
  /**
   * Proves that a client is the container that a binding names, if it names
   * one. A refusal is told in the log.
   *
   * @returns At once for a binding of no container, and if it is known already.
   */
  admits(live: LiveBinding, peer: Origin): boolean | Promise<boolean>;
  /** Whether what was proven still holds; false for what was not. */
  holds(live: LiveBinding, peer: Origin): boolean;
  /**
   * Tells of a change of the container that was proven, after which it has to
   * be proven anew; nothing if {@link holds} is false already.
   *
   * @returns A function that takes it back.
   */
  onEnd(live: LiveBinding, peer: Origin, tell: () => void): () => void;
}

/** For where no engine is asked: bindings of containers have no clients. */
export const CLOSED_GATE: Gate = {
  admits: ({ binding }) => binding.container === undefined,
  holds: ({ binding }) => binding.container === undefined,
  onEnd: () => () => {},
};

/** What a {@link ContainerGate} needs. */
export interface ContainerGateOptions {
  /** Clock, log, metrics. */
  readonly platform: Pick<Platform, "clock" | "log" | "metrics">;
  /** Who has which address; asked for when a binding first names a container. */
  readonly containers: () => Promise<Pick<Containers, "identify">>;
}

/** Asks the engine. */
export class ContainerGate implements Gate {
  readonly #platform: ContainerGateOptions["platform"];
  readonly #connections: Connections;
  readonly #told: RepeatedLines;

  /** A gate whose engine is not asked yet. */
  constructor({ platform, containers }: ContainerGateOptions) {
    this.#platform = platform;
    this.#connections = new Connections(containers);
    this.#told = new RepeatedLines(platform.clock);
  }

  /** See {@link Gate.admits}. */
  admits({ binding }: LiveBinding, peer: Origin): boolean | Promise<boolean> {
    if (!binding.container) return true;
    const known = this.#connections.current(peer);
    return known ? this.#judge(binding, known) : this.#prove(binding, peer);
  }

  /** See {@link Gate.holds}. */
  holds({ binding: { container } }: LiveBinding, peer: Origin): boolean {
    if (!container) return true;
    const known = this.#connections.current(peer);
    return known !== undefined && matchesContainer(container, known.facts);
  }

  /** See {@link Gate.onEnd}. */
  onEnd({ binding }: LiveBinding, peer: Origin, tell: () => void): () => void {
    const known = binding.container && this.#connections.current(peer);
    return known ? known.onEnd(tell) : () => {};
  }

  async #prove(binding: Binding, peer: Origin): Promise<boolean> {
    const found = await this.#connections.identify(peer);
    if (!("problem" in found)) return this.#judge(binding, found);
    const address = unmapAddress(peer.remoteHostname);
    const { problem, message } = found;
    return this.#refuse(binding, problem, {
      message,
      ...(address !== "" && { address }),
    });
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
    reason: Unproven | "other-container",
    { message, ...about }: {
      readonly message: string;
      readonly address?: string;
      readonly container?: string;
    },
  ): false {
    const { log, metrics } = this.#platform;
    metrics.count("client_refused_total", { reason });
    if (this.#told.isRepeated(`${name} ${reason} ${about.address}`)) {
      return false;
    }
    log.warn("container-mismatch", {
      binding: name,
      code: reason,
      reason: message,
      ...about,
    });
    return false;
  }
}
