/**
 * What is said at start by whatever serves instance metadata.
 *
 * @module
 */

import type { Log } from "$core/log.ts";
import type { MetadataSettings } from "$core/metadata.ts";

/** Whoever lets addresses tell containers apart should know what it rests on. */
export function warnOfAddresses(log: Log): void {
  log.warn("identity-by-address", {
    reason:
      "containers are known by their addresses: one with CAP_NET_ADMIN or " +
      "CAP_NET_RAW on the same network can take another's; a binding with token " +
      "and container withstands that",
  });
}

/** No container may name a role, and none has one by default. */
export function warnOfNoRoles(
  log: Log,
  { roles, defaultRole }: Pick<MetadataSettings, "roles" | "defaultRole">,
): void {
  if (roles === "any" || roles.length > 0 || defaultRole !== undefined) return;
  log.warn("no-roles", {
    reason: "containers may name no role",
    hint: 'write roles = ["PATTERN"] below [metadata] in moat.toml',
  });
}
