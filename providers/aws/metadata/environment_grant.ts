/**
 * The grant of containers that name their roles themselves, where none is
 * stored: this process's own credentials assume the roles, as go-metadataproxy
 * did with the SDK's chain.
 *
 * @module
 */

import type { Grant } from "$core/grant.ts";
import type { Platform } from "$core/platform.ts";
import { findRegion, findSource } from "../options/source.ts";
import { writeSettings } from "../settings.ts";
import { recordAddress } from "../sources/record.ts";

/**
 * Makes the grant; it is not stored.
 *
 * @param platform Clock and environment.
 * @returns A grant `aws` without a role of its own.
 * @throws {MoatError} `usage` for variables that cannot be used, or
 * `source-is-moat`.
 */
export async function environmentGrant(
  { clock, env }: Pick<Platform, "clock" | "env">,
): Promise<Grant> {
  const source = await findSource({}, env, true);
  return {
    provider: "aws",
    name: "aws",
    createdAt: clock.now(),
    settings: writeSettings({
      roles: [],
      direct: true,
      region: await findRegion({}, env, source, undefined, undefined),
      source,
      ...await recordAddress(env, source),
    }),
  };
}
