/**
 * A container that is proven to have an address, until it has not.
 *
 * @module
 */

import type { ContainerFacts } from "$core/container.ts";
import { Ending } from "../ending.ts";
import type { KnownContainer } from "./containers.ts";

/** Ended by who watches the engine. */
export class Known implements KnownContainer {
  /** What its engine said. */
  readonly facts: ContainerFacts;
  /** In plain spelling. */
  readonly address: string;
  readonly #ending = new Ending();

  /** A container that has an address now. */
  constructor(facts: ContainerFacts, address: string) {
    this.facts = facts;
    this.address = address;
  }

  /** See {@link KnownContainer.isCurrent}. */
  get isCurrent(): boolean {
    return !this.#ending.isOver;
  }

  /** See {@link KnownContainer.onEnd}. */
  onEnd(tell: () => void): () => void {
    return this.#ending.onEnd(tell);
  }

  /** Ends it, once. */
  end(): void {
    this.#ending.end();
  }
}

/**
 * Tells whether two descriptions of a container say the same.
 *
 * @param one Of one time.
 * @param other Of another time.
 */
export function isSameFacts(
  one: ContainerFacts,
  other: ContainerFacts,
): boolean {
  return one.id === other.id && one.name === other.name &&
    one.image === other.image && one.startedAt === other.startedAt &&
    isSameRecord(one.env, other.env) && isSameRecord(one.labels, other.labels);
}

function isSameRecord(
  one: Readonly<Record<string, string>>,
  other: Readonly<Record<string, string>>,
): boolean {
  const entries = Object.entries(one);
  return entries.length === Object.keys(other).length &&
    entries.every(([key, value]) =>
      Object.hasOwn(other, key) && other[key] === value
    );
}
