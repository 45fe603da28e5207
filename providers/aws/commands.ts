/**
 * The commands that only AWS has.
 *
 * @module
 */

import type { Command } from "$core/cli/command.ts";
import { CREDENTIAL_PROCESS_FLAGS } from "./options/credential_process_flags.ts";

/** Rows of the command table. */
export const AWS_COMMANDS: readonly Command[] = [
  {
    name: "credential-process",
    summary: "Print AWS credentials for an SDK's credential_process",
    usage: "[NAME] [FLAGS]",
    examples: [
      "moat credential-process aws",
      "moat credential-process --certificate cert.pem --private-key key.pem --trust-anchor-arn ARN --profile-arn ARN --role-arn ARN",
    ],
    flags: CREDENTIAL_PROCESS_FLAGS,
    operands: [0, 1],
    // An SDK asks, who may take anything on stderr for a failure.
    ignoresProviderFiles: true,
    notes: [
      "NAME is a stored grant, --binding NAME a live binding of the proxy; with",
      "--certificate it takes the flags of aws_signing_helper and needroleshere.",
      "A running proxy is asked first, so that all share its sessions.",
    ],
    load: () => import("./credential_process.ts").then((m) => m.run),
  },
  {
    name: "mfa",
    summary: "Open the MFA session of a grant with a code of its device",
    usage: "NAME [CODE]",
    examples: ["moat mfa aws 123456", "moat mfa aws"],
    flags: [],
    operands: [1, 2],
    notes: [
      "Without CODE it asks for it. The session lasts 12 hours, is kept encrypted",
      "in the grant, and counts for a running proxy at once.",
    ],
    load: () => import("./mfa_command.ts").then((m) => m.run),
  },
];
