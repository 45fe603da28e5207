/**
 * Flags of `moat simulate aws`, and the access key and the MFA code that its
 * STS knows. Apart from the simulator, so that help and demo need not load it.
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
  {
    name: "mfa-code",
    value: "CODE",
    summary: "The code that every MFA device shows (default: 123456)",
  },
  {
    name: "require-mfa",
    summary: "Let users assume roles only with an MFA code",
  },
  {
    name: "trust-anchor",
    value: "FILE",
    summary:
      "PEM certificates of a CA that Roles Anywhere trusts (default: any CA)",
    repeatable: true,
  },
  {
    name: "session-life",
    value: "SECONDS",
    summary: "End every session after so long, however long was asked for",
  },
  {
    name: "delay",
    value: "DURATION",
    summary: "Answer so late, such as 250ms or 2s",
  },
  {
    name: "fault",
    value: "KIND",
    summary:
      "Fail all calls, or with KIND:COUNT so many: 500, 503, throttle, garbage, empty, hang, reset, expired, idp-error",
    repeatable: true,
  },
];

/** The code that every MFA device shows, unless another is chosen. */
export const SIMULATOR_MFA_CODE = "123456";

/** The account of the simulator's own user. */
export const SIMULATOR_ACCOUNT = "123456789012";

/** The access key ID of the simulator's own user. It works nowhere else. */
export const SIMULATOR_ACCESS_KEY_ID = "AKIAMOATSIMULATOR000";

/** The secret access key of the simulator's own user: public, and no secret. */
export const SIMULATOR_SECRET_ACCESS_KEY =
  "moat/simulator/no+secret/EXAMPLE+KEY/000";
