/**
 * The hosts that grants are for, as a policy asks for them.
 *
 * @module
 */

import type { Grant } from "$core/grant.ts";
import type { GrantedHost } from "$core/policy.ts";
import type { ProviderRegistry } from "$core/provider.ts";

/**
 * Collects the hosts that providers declare for grants.
 *
 * @param registry All providers.
 * @param grants The grants of a binding, in its order.
 * @returns Each host once per grant, in order; it is read if anything is put
 * on requests there.
 * @throws {MoatError} `usage` if a grant's provider is not there.
 */
export function grantedHosts(
  registry: ProviderRegistry,
  grants: readonly Grant[],
): readonly GrantedHost[] {
  return grants.flatMap((grant) => {
    const reads = new Map<string, boolean>();
    registry.get(grant.provider).configureProxy({
      inject: ({ host }) => reads.set(host, true),
      substitute: ({ host }) => reads.set(host, true),
      allow: (host) => reads.set(host, reads.get(host) ?? false),
    }, grant);
    return Array.from(
      reads,
      ([host, reads]) => ({ host, grant: grant.name, reads }),
    );
  });
}
