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
import { namedRegion, recordAddress } from "../sources/record.ts";

/**
 * Makes the grant; it is not stored.
 *
 * @param platform Clock, environment, and log for what is taken by default.
 * @returns A grant `aws` without a role of its own.
 * @throws {MoatError} `usage` for variables that cannot be used, or
 * `source-is-moat`.
 */
export async function environmentGrant(
  { clock, env, log }: Pick<Platform, "clock" | "env" | "log">,
): Promise<Grant> {
  const source = await findSource({}, env, true);
  const region = await findRegion({}, env, source, undefined, undefined);
  if (await namedRegion(env, source) === undefined) {
    log.warn("region-by-default", {
      reason:
        `no region is set: containers are told ${region}, and STS is asked there`,
      hint: "set AWS_REGION to the region of this host",
    });
  }
  return {
    provider: "aws",
    name: "aws",
    createdAt: clock.now(),
    settings: writeSettings({
      roles: [],
      direct: true,
      ...{ region, source },
      ...await recordAddress(env, source),
    }),
  };
}
