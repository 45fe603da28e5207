/**
 * A container that an instance metadata service serves, with what it may have.
 *
 * @module
 */

import type { Binding } from "$core/binding.ts";
import type { ContainerFacts } from "$core/container.ts";
import type { Grant } from "$core/grant.ts";
import type { MetadataClient } from "$core/metadata.ts";
import type { LiveBinding } from "../bindings/binding_table.ts";
import type { KnownContainer } from "../containers/containers.ts";
import { Ending } from "../ending.ts";

/** What a container may have. */
interface Rights {
  /** Its binding, if it has one. */
  readonly live: LiveBinding | undefined;
  /** Its binding's grant, or that of all containers without a binding. */
  readonly grant: Grant | undefined;
}

/** Current until container, binding or grant changes. */
export class FoundClient implements MetadataClient {
  /** What its engine says of it. */
  readonly container: ContainerFacts;
  /** Where it asks from. */
  readonly address: string;
  /** What was bound to it. */
  readonly binding?: Binding;
  /** The grant that serves it. */
  readonly grant?: Grant;
  readonly #live: LiveBinding | undefined;
  readonly #ending = new Ending();

  /** A container with what it may have. */
  constructor(known: KnownContainer, { live, grant }: Rights) {
    this.container = known.facts;
    this.address = known.address;
    if (live) this.binding = live.binding;
    if (grant) this.grant = grant;
    this.#live = live;
    const end = () => this.end();
    // Containers and bindings outlive many clients: they forget those that ended.
    this.#ending.onEnd(known.onEnd(end));
    if (live) this.#ending.onEnd(live.onEnd(end));
  }

  /** Whether what was prepared for it still counts. */
  get isCurrent(): boolean {
    return !this.#ending.isOver && (this.#live?.isLive ?? true);
  }

  /** Tells, once, of its end; at once if it has ended. */
  onEnd(tell: () => void): void {
    this.#ending.onEnd(tell);
  }

  /** Ends it: what its binding or grant was counts no more. */
  end(): void {
    this.#ending.end();
  }
}
