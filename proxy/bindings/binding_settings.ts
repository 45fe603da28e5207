/**
 * The flags with which a run or binding narrows its grants: each provider
 * declares and reads its own.
 *
 * @module
 */

import type { Binding } from "$core/binding.ts";
import type { Arguments } from "$core/cli/command.ts";
import { usageError } from "$core/errors.ts";
import { type Json, parseGrantName } from "$core/grant.ts";
import type { Provider, ProviderRegistry } from "$core/provider.ts";

/**
 * Reads the flags of the grants' providers.
 *
 * @param registry All providers.
 * @param grants Full grant names.
 * @param args The command line.
 * @param mode Name of the binding's mode; undefined without one.
 * @returns What each provider made of its flags; undefined without any.
 * @throws {MoatError} `usage` for a flag that no grant takes, or the provider's own.
 */
export async function readBindingSettings(
  registry: ProviderRegistry,
  grants: readonly string[],
  { flags }: Pick<Arguments, "flags">,
  mode?: string,
): Promise<Binding["settings"]> {
  const names = grants.map((grant) => parseGrantName(grant).provider);
  // A provider that is not there is told of with its grant.
  const providers = registry.all.filter(({ name }) => names.includes(name));
  for (const name of Object.keys(flags)) checkTaken(name, providers, registry);
  const settings: Record<string, Json> = {};
  for (const provider of providers) {
    const own = Object.fromEntries(
      Object.entries(flags).filter(([name]) => hasFlag(provider, name)),
    );
    const read = provider.readBindingFlags;
    if (Object.keys(own).length === 0 || !read) continue;
    settings[provider.name] = await read.call(provider, own, mode);
  }
  return Object.keys(settings).length > 0 ? settings : undefined;
}

function hasFlag({ bindingFlags = [] }: Provider, name: string): boolean {
  return bindingFlags.some((flag) => flag.name === name);
}

function checkTaken(
  name: string,
  providers: readonly Provider[],
  registry: ProviderRegistry,
): void {
  if (providers.some((provider) => hasFlag(provider, name))) return;
  const takers = registry.all.filter((provider) => hasFlag(provider, name));
  // It is the command's own.
  if (takers.length === 0) return;
  throw usageError(
    `Cannot use --${name}: none of the grants takes it`,
    `it is for grants of ${takers.map((taker) => taker.name).join(", ")}`,
  );
}
