/**
 * Containers that a test makes up, for what tells clients apart by them.
 *
 * @module
 */

import type { ContainerFacts } from "$core/container.ts";
import type { Containers, Identified } from "$proxy/containers/containers.ts";
import { Known } from "$proxy/containers/known.ts";

/** Where the made-up containers are. */
export const CONTAINER_ADDRESS = "10.79.0.2";

/** A container as its engine describes it: `web`, unless told otherwise. */
export function containerFacts(
  more: Partial<ContainerFacts> = {},
): ContainerFacts {
  return {
    id: "a".repeat(64),
    name: "web",
    image: "localhost/moat:1",
    env: {},
    labels: {},
    startedAt: "2026-01-01T00:00:00Z",
    ...more,
  };
}

/** A container that ends when it is told to. */
export class FakeKnown extends Known {
  /** How many want to be told of its end. */
  waiting = 0;

  /** `web`, unless told otherwise. */
  constructor(more: Partial<ContainerFacts> = {}) {
    super(containerFacts(more), CONTAINER_ADDRESS);
  }

  /** See {@link Known.onEnd}. */
  override onEnd(tell: () => void): () => void {
    const takeBack = super.onEnd(tell);
    this.waiting++;
    return () => {
      this.waiting--;
      takeBack();
    };
  }
}

/** Knows one container, or why there is none. */
export class FakeContainers implements Pick<Containers, "identify"> {
  found: Identified;
  /** The addresses that were asked for, in turn. */
  readonly asked: string[] = [];
  /** Called before each answer. */
  before: () => void = () => {};

  constructor(found: Identified = new FakeKnown()) {
    this.found = found;
  }

  identify(address: string): Promise<Identified> {
    this.asked.push(address);
    this.before();
    return Promise.resolve(this.found);
  }
}
