/**
 * The hosts that grants are for, as a policy asks for them.
 *
 * @module
 */

import type { Grant } from "$core/grant.ts";
import type { GrantedHost } from "$core/policy.ts";
import type { ProviderRegistry } from "$core/provider.ts";
import { collectDeclared, hostsOf } from "../intercept/outbound.ts";

/**
 * Collects the hosts that providers declare for grants.
 *
 * @param registry All providers.
 * @param grants The grants of a binding, in its order.
 * @returns The hosts, as the proxy itself gives them to the policy.
 * @throws {MoatError} `usage` if a grant's provider is not there.
 */
export function grantedHosts(
  registry: ProviderRegistry,
  grants: readonly Grant[],
): readonly GrantedHost[] {
  return hostsOf(grants.map((grant) =>
    collectDeclared(
      grant.name,
      (registrar) =>
        registry.get(grant.provider).configureProxy(registrar, grant),
    )
  ));
}
