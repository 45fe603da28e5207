/**
 * The right to start programs, which a proxy needs only for grants whose
 * source is a program, and gives up otherwise.
 *
 * @module
 */

import type { Grant } from "$core/grant.ts";
import type { Log } from "$core/log.ts";
import type { ProviderRegistry } from "$core/provider.ts";
import type { Store } from "$core/store/store.ts";

/** Holds the permission `run` until no stored grant needs it. */
export class ProcessPermission {
  readonly #registry: ProviderRegistry;
  readonly #store: Store;
  readonly #log: Log;
  #isGivenUp = false;

  /** Takes the grants from `store`. */
  constructor(registry: ProviderRegistry, store: Store, log: Log) {
    this.#registry = registry;
    this.#store = store;
    this.#log = log;
  }

  /**
   * Gives the permission up if no grant needs it. Without any grant it waits:
   * the key of the first one may be in a keyring that a program opens.
   *
   * @returns Warnings about grants that need it after it was given up.
   */
  async review(): Promise<readonly string[]> {
    const users = new Map<string, string>();
    let readable = 0;
    for (const { grant } of await this.#store.list()) {
      if (!grant) continue;
      readable++;
      const program = await this.#sourceProcess(grant);
      if (program) users.set(grant.name, program);
    }
    if (this.#isGivenUp) {
      return [...users.keys()].map((name) =>
        `the source of "${name}" is a program, which the running proxy may no longer start; restart moat proxy`
      );
    }
    for (const name of users.keys()) {
      this.#log.info("keeps-run-permission", { grant: name });
    }
    if (users.size === 0 && readable > 0) await this.#giveUp();
    return [];
  }

  async #sourceProcess(grant: Grant): Promise<string | undefined> {
    try {
      const provider = this.#registry.get(grant.provider);
      return await provider.sourceProcess?.(grant);
    } catch {
      // Its own request will say what is wrong with it.
      return undefined;
    }
  }

  async #giveUp(): Promise<void> {
    await Deno.permissions.revoke({ name: "run" });
    this.#isGivenUp = true;
    this.#log.info("gave-up-permission", { name: "run" });
  }
}
