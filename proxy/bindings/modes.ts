/**
 * Modes: how a binding's client asks, as the provider of one of its grants
 * declares it.
 *
 * @module
 */

import { usageError } from "$core/errors.ts";
import { parseGrantName } from "$core/grant.ts";
import type { Mode, Provider, ProviderRegistry } from "$core/provider.ts";
import { grantNotFound } from "$core/store/store.ts";

/**
 * Finds the provider whose modes a binding can choose from.
 *
 * @param registry All providers.
 * @param grants Full grant names.
 * @returns The first that has any; undefined if none has.
 */
export function moded(
  registry: ProviderRegistry,
  grants: readonly string[],
): Provider | undefined {
  const names = grants.map((grant) => parseGrantName(grant).provider);
  return registry.all.find(({ name, modes }) => modes && names.includes(name));
}

/**
 * Finds a mode.
 *
 * @param registry All providers.
 * @param grants Full grant names.
 * @param name Its name; default: the provider's first.
 * @returns The mode; undefined if the grants have none to choose from.
 * @throws {MoatError} `usage` if none has that name; `grant-not-found` for a
 * grant that cannot be, as no provider has its name.
 */
export function findMode(
  registry: ProviderRegistry,
  grants: readonly string[],
  name?: string,
): Mode | undefined {
  const modes = moded(registry, grants)?.modes ?? [];
  if (name === undefined) return modes[0];
  const found = modes.find((mode) => mode.name === name);
  if (found) return found;
  const providers = registry.all.map((provider) => provider.name);
  const unknown = grants.find((grant) =>
    !providers.includes(parseGrantName(grant).provider)
  );
  if (unknown !== undefined) throw grantNotFound(unknown);
  throw usageError(
    `Cannot use ${JSON.stringify(name)} as a mode of ${grants.join(" and ")}`,
    modes.length > 0
      ? `write one of ${modes.map((mode) => mode.name).join(", ")}`
      : "leave --mode out",
  );
}
