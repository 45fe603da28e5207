/**
 * Flags of `moat simulate aws`, and the access key that its STS knows. Apart
 * from the simulator, so that help and demo need not load it.
 *
 * @module
 */

import type { Flag } from "$core/provider.ts";

/** Flags of `moat simulate aws`. */
export const SIMULATE_FLAGS: readonly Flag[] = [
  {
    name: "role",
    value: "ARN",
    summary: "A role that exists (default: every role exists)",
    repeatable: true,
  },
  {
    name: "external-id",
    value: "ID",
    summary: "The external ID that every role's trust policy wants",
  },
];

/** The account of the simulator's own user. */
export const SIMULATOR_ACCOUNT = "123456789012";

/** The access key ID of the simulator's own user. It works nowhere else. */
export const SIMULATOR_ACCESS_KEY_ID = "AKIAMOATSIMULATOR000";

/** The secret access key of the simulator's own user: public, and no secret. */
export const SIMULATOR_SECRET_ACCESS_KEY =
  "moat/simulator/no+secret/EXAMPLE+KEY/000";
