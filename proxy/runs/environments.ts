/**
 * Credentials in an environment belong to the process that has it: a proxy
 * uses its own, whatever the environment of a `moat run` holds.
 *
 * @module
 */

import type { CommandContext } from "$core/cli/command.ts";
import type { RunOpened } from "$core/control.ts";
import { parseGrantName } from "$core/grant.ts";
import type { Provider } from "$core/provider.ts";

/**
 * Finds the grants for which this environment holds other credentials than the
 * proxy's.
 *
 * @param context Providers and store.
 * @param grants Full grant names.
 * @param opened What the proxy told of its environment.
 * @returns A sentence for each of them; the proxy's credentials count.
 */
export async function compareEnvironments(
  context: Pick<CommandContext, "registry" | "store">,
  grants: readonly string[],
  opened: Pick<RunOpened, "environment" | "endsWhenIdle">,
): Promise<string[]> {
  const sentences: string[] = [];
  for (const grant of grants) {
    const used = opened.environment[grant];
    const own = await ownIdentity(context, grant, used);
    // Without any of its own, this environment does not ask to be used.
    if (own === undefined || own === used) continue;
    sentences.push(
      `${differ(grant, used, own)}; ${
        opened.endsWhenIdle
          ? "end the other runs, whose proxy it is, and run it again"
          : "restart moat proxy in this environment"
      }`,
    );
  }
  return sentences;
}

function differ(grant: string, used?: string, own?: string): string {
  if (used === undefined) {
    return `${grant} does not use this environment's credentials (${own}), because the proxy was started without them`;
  }
  return `${grant} uses the credentials of the proxy's environment (${used}), not this one's (${own})`;
}

/** What this environment would give to a grant. */
async function ownIdentity(
  { registry, store }: Pick<CommandContext, "registry" | "store">,
  name: string,
  used: string | undefined,
): Promise<string | undefined> {
  const provider = registry.all.find((candidate) =>
    candidate.name === parseGrantName(name).provider
  );
  if (!provider?.environmentIdentity) return used;
  const found = provider.environmentIdentity();
  // It counts for this grant if the proxy's does.
  if (found === undefined || used !== undefined) return found;
  return await countedIdentity(provider, store, name);
}

/** Only the grant tells whether an environment counts for it; reading it takes a key. */
async function countedIdentity(
  provider: Provider,
  store: CommandContext["store"],
  name: string,
): Promise<string | undefined> {
  try {
    return provider.environmentIdentity?.(await store.get(name));
  } catch {
    // The proxy could read it, which is what matters.
    return undefined;
  }
}
