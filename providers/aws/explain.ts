/**
 * `moat grant show NAME --explain`: which source a grant would use, and why
 * each earlier one was passed over.
 *
 * @module
 */

import type { Grant } from "$core/grant.ts";
import { toMoatError } from "$core/errors.ts";
import type { Platform } from "$core/platform.ts";
import { readSecrets } from "./credential.ts";
import { planHops } from "./hops.ts";
import { readSettings } from "./settings.ts";
import { explainSource } from "./source.ts";

type Line = readonly [label: string, value: string];

/**
 * Explains a grant, trying its sources for real.
 *
 * @param grant The grant.
 * @param platform Clock and environment.
 * @returns One line for each source, in their order; no secret among them.
 */
export async function explain(
  grant: Grant,
  platform: Platform,
): Promise<readonly (readonly [label: string, value: string])[]> {
  const binding = { name: "explain", grants: [] };
  const [first] = planHops(readSettings(grant), binding);
  switch (first?.kind) {
    case "source":
      return await explainSource(first, platform);
    case "web-identity":
      return [["web identity token", first.tokenFile]];
    case "roles-anywhere":
      return await explainAnywhere(grant, platform);
    default:
      return [];
  }
}

async function explainAnywhere(
  grant: Grant,
  { clock }: Platform,
): Promise<Line[]> {
  const { anywhere } = readSettings(grant);
  const { passphrase } = readSecrets(grant);
  const { checkIdentity } = await import("./roles_anywhere/mod.ts");
  if (!anywhere) return [];
  try {
    const identity = await checkIdentity(anywhere, passphrase, clock.now());
    return [
      ["certificate", identity.subject],
      ["serial", identity.serial],
      ["expires", new Date(identity.expiresAt).toISOString()],
      ["chain", `${identity.chainLength} certificates`],
    ];
  } catch (error) {
    return [["certificate", toMoatError(error).message]];
  }
}
