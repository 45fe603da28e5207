/**
 * Trying a registry's credential.
 *
 * @module
 * @see {@link https://docs.npmjs.com/cli/commands/npm-whoami | npm whoami}
 */

import { MoatError } from "$core/errors.ts";
import { validateToken, type ValidationHost } from "../tokens/validate.ts";
import type { Credential } from "./credentials.ts";
import { covers, type Place, registryUrl } from "./place.ts";
import type { CredentialSettings } from "./settings.ts";

/**
 * Asks a registry whose credential it is.
 *
 * @param credential The credential.
 * @param registries Registries in use; one at or below its place is asked.
 * @param host Clock and environment.
 * @returns What came of it: `unknown` from a registry that cannot tell,
 * `plain-http` for one that is not asked, since everyone on the way could read.
 * @throws {MoatError} `token-rejected`, `validation-unreachable`.
 */
export async function tryCredential(
  { place, authorization }: Credential,
  registries: readonly Place[],
  host: ValidationHost,
): Promise<CredentialSettings["validation"]> {
  if (place.scheme === "http") return "plain-http";
  const registry = registries.find((one) => covers(place, one)) ?? place;
  const url = registryUrl(registry);
  try {
    const { result } = await validateToken({
      vendor: "npm registry",
      url: `${url}-/whoami`,
      headers: { authorization },
      allowsForbidden: true,
      hint: `npm login --registry ${url}`,
    }, host);
    return result;
  } catch (error) {
    const isUnable = error instanceof MoatError &&
      error.code === "validation-failed";
    if (isUnable) return "unknown";
    throw error;
  }
}
