/**
 * What several commands share.
 *
 * @module
 */

import { callProxy } from "../../control.ts";
import { toMoatError } from "../../errors.ts";
import type { Grant } from "../../grant.ts";
import type { CommandContext } from "../command.ts";

/**
 * The part of a grant that is shown: name, provider, times, settings.
 *
 * @param grant The grant.
 * @returns JSON of `grant list --json` and `grant show --json`.
 */
export function summarise(grant: Grant): Record<string, unknown> {
  return {
    name: grant.name,
    provider: grant.provider,
    grantedAt: new Date(grant.createdAt).toISOString(),
    ...(grant.expiresAt && {
      expiresAt: new Date(grant.expiresAt).toISOString(),
    }),
    settings: grant.settings,
  };
}

/**
 * Tells a running proxy that a grant changed, so that it counts at once.
 *
 * The store is already written: a proxy that cannot be told is a warning.
 *
 * @param context The command's context.
 * @param name The grant.
 */
export async function tellProxy(
  context: CommandContext,
  name: string,
): Promise<void> {
  const { output, platform } = context;
  try {
    const told = await callProxy(platform, "grant-changed", { name });
    told?.warnings.forEach((warning) => output.warn(warning));
  } catch (error) {
    output.warn(
      `a running proxy could not be told about "${name}": ${
        toMoatError(error).message
      }; restart it`,
    );
  }
}
