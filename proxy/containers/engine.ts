/**
 * What moat wants to know of a container engine, as a port: the engine itself
 * is behind `engine_api.ts`.
 *
 * @module
 */

import type { ContainerFacts } from "$core/container.ts";

/** An address that a container has in a network. */
export interface Endpoint {
  /** In plain spelling. */
  readonly address: string;
  /** The network's id. */
  readonly network: string;
  /** Another one each time that the container enters the network; empty where the engine does not tell. */
  readonly endpoint: string;
}

/** A container as its engine describes it. */
export interface ContainerState {
  /** 64 hexadecimal digits. */
  readonly id: string;
  /** Without the slash that the Docker API puts before it. */
  readonly name: string;
  /** Whether its processes exist, as those of a paused one and of one that is being stopped do. */
  readonly isRunning: boolean;
  /** Whether it has ended, until somebody starts it anew. */
  readonly hasExited: boolean;
  /** Its addresses; of a container that does not run, none. */
  readonly endpoints: readonly Endpoint[];
  /** Whose network it shares: an id, or a name, or podman's `ns:PATH`; undefined for a network of its own. */
  readonly joins: string | undefined;
  /** When its last run ended, RFC 3339; undefined in a list. */
  readonly finishedAt: string | undefined;
  /** All that clients may need; undefined in a list, and where it is too long. */
  readonly facts: ContainerFacts | undefined;
  /**
   * Whether it is left out whose network it shares, as podman's lists do. If it
   * runs and has no endpoints, they may be left out as well.
   */
  readonly isPartial: boolean;
}

/** Something happened to a container. */
export interface EngineEvent {
  /** Its id. */
  readonly container: string;
  /** In Docker's words, such as `start`, `die`, `connect`. */
  readonly action: string;
  /** Which network it was connected to; undefined where the engine does not tell. */
  readonly network: string | undefined;
  /** When, by the engine's clock, rounded up; ms since the Unix epoch. */
  readonly atMs: number;
}

/** A container engine. All methods throw {@link MoatError} `engine-…`. */
export interface Engine {
  /** Its socket, for logs. */
  readonly socket: string;
  /**
   * Opens the stream of events.
   *
   * @param signal Closes it.
   * @returns What happens after the call, until the engine closes the stream.
   */
  events(signal: AbortSignal): Promise<AsyncIterable<EngineEvent>>;
  /**
   * Whether it may tell what happened after clients saw it; default: not.
   * Known once {@link events} answered.
   */
  readonly hasLateEvents?: boolean;
  /** Lists all containers that exist, also those that ended. */
  list(signal: AbortSignal): Promise<readonly ContainerState[]>;
  /**
   * Describes a container.
   *
   * @param id Its id.
   * @returns Undefined if there is none.
   */
  inspect(id: string): Promise<ContainerState | undefined>;
  /** Lets go of connections. */
  close(): void;
}
