/**
 * From an address to the container that has it: what the rest of the proxy
 * knows of container identity.
 *
 * @module
 */

import type { ContainerFacts } from "$core/container.ts";

/** A container that is proven to have an address. */
export interface KnownContainer {
  /** What its engine said of it after it was asked about. */
  readonly facts: ContainerFacts;
  /** The address, in plain spelling. */
  readonly address: string;
  /** False once it stopped, or its address or facts changed. */
  readonly isCurrent: boolean;
  /**
   * Tells, once, when it is not current any more; at once if it is not now.
   *
   * @returns A function that takes it back.
   */
  onEnd(tell: () => void): () => void;
}

/** Why an address is nobody's. */
export type NoContainer =
  /** No running container has it, also after a moment. */
  | "unknown"
  /** Several containers have it: they share one network. */
  | "shared"
  /** It is the host's own: a program of the host, or a container in its network. */
  | "host"
  /** The engine cannot be asked now. */
  | "engine-unavailable";

/** What is known of an address. */
export type Identified = KnownContainer | {
  /** Why it is nobody's. */
  readonly problem: NoContainer;
  /** One sentence for the log and the client. */
  readonly message: string;
};

/** The containers of one or more engines. */
export interface Containers {
  /**
   * Finds the container that has an address now. Asked once for each
   * connection, whose client cannot change: the engine confirms after the call
   * that the container runs, was not started anew and has the address, because
   * its events may come later than the first request of the next one.
   *
   * @param address The client's address, as the system tells it.
   * @returns The container, the same object for each call while it is current;
   * an address that is not known yet is waited for, up to a second.
   */
  identify(address: string): Promise<Identified>;
  /** How many containers it knows. */
  readonly size: number;
  /** Stops asking. */
  close(): Promise<void>;
}
