/**
 * The flags with which a binding narrows a grant of this provider. Whether
 * they fit the grant is checked where its calls are planned, each time.
 *
 * @module
 */

import { usageError } from "$core/errors.ts";
import type { JsonObject } from "$core/grant.ts";
import type { Flag, FlagValues } from "$core/provider.ts";
import { parseDuration } from "../duration.ts";
import { readPolicy, valuesOf } from "./values.ts";
import { checkSessionName } from "../session_name.ts";

/** What a binding can narrow. */
export const BINDING_FLAGS: readonly Flag[] = [
  {
    name: "session-duration",
    value: "DURATION",
    summary: "Life of its sessions, not longer than the grant's",
  },
  {
    name: "session-name",
    value: "TEMPLATE",
    summary:
      "Session name in CloudTrail; {binding}, {run}, {container}, {user} are filled in",
  },
  {
    name: "policy",
    value: "FILE|JSON",
    summary: "Inline session policy, where the grant has none",
  },
  {
    name: "imds-v1",
    summary:
      "In mode imds: answer requests without a session token (version 1) as well",
  },
];

/**
 * Reads what a binding narrows.
 *
 * @param flags The values of {@link BINDING_FLAGS}.
 * @param mode Name of the binding's mode.
 * @returns What `readBindingSettings` takes; empty if no flag was given.
 * @throws {MoatError} `usage` for a bad value.
 */
export async function readBindingFlags(
  flags: FlagValues,
  mode?: string,
): Promise<JsonObject> {
  const [duration] = valuesOf(flags, "session-duration");
  const [sessionName] = valuesOf(flags, "session-name");
  const [policy] = valuesOf(flags, "policy");
  if (flags["imds-v1"] === true && mode !== "imds") {
    throw usageError(
      `Cannot use --imds-v1 ${
        mode ? `in mode ${mode}` : "without a mode"
      }: wanted --mode imds`,
      "leave it out, or give --mode imds",
    );
  }
  return {
    ...(duration !== undefined && { durationSeconds: parseDuration(duration) }),
    ...(sessionName !== undefined && {
      sessionName: checkSessionName(sessionName),
    }),
    ...(policy !== undefined && { policy: await readPolicy(policy) }),
    ...(flags["imds-v1"] === true && { v1: true }),
  };
}
