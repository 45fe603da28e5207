/**
 * `moat proxy --prefetch`: the first answer of every grant is prepared before
 * anyone asks for it.
 *
 * @module
 */

import { toMoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import type { Log } from "$core/log.ts";
import type { ProviderRegistry } from "$core/provider.ts";
import type { Store } from "$core/store/store.ts";
import { readGrants } from "./read_grants.ts";

/** How many are prepared at once: upstreams count calls. */
const CONCURRENCY = 4;

/** What {@link prefetchGrants} needs from outside. */
export interface PrefetchOptions {
  /** All providers; those that cannot prepare are passed over. */
  readonly registry: ProviderRegistry;
  /** The stored grants. */
  readonly store: Store;
  /** Told of failures; a client that asks is told, too. */
  readonly log: Log;
}

/**
 * Prepares what all bindings of a grant share. Never rejects.
 *
 * @param options Providers, store and log.
 * @param name A grant that changed; default: all grants.
 */
export async function prefetchGrants(
  options: PrefetchOptions,
  name?: string,
): Promise<void> {
  try {
    const entries = await readGrants(options.store, name);
    // Shared, so that each worker takes the next one.
    const queue = entries.values();
    const work = async () => {
      for (const { grant } of queue) if (grant) await prefetch(grant, options);
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, work));
  } catch (error) {
    options.log.warn("prefetch-failed", { code: toMoatError(error).code });
  }
}

async function prefetch(
  grant: Grant,
  { registry, log }: PrefetchOptions,
): Promise<void> {
  try {
    await registry.get(grant.provider).prefetch?.(grant);
  } catch (error) {
    const { code } = toMoatError(error);
    log.warn("prefetch-failed", { grant: grant.name, code });
  }
}
