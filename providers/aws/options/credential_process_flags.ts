/**
 * The flags of `moat credential-process`, apart from their reading, so that
 * help and the other commands need not load that. It takes every flag of
 * `aws_signing_helper credential-process` 1.8 and of
 * `needroleshere credential-process`; what moat cannot do is answered with
 * one sentence.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/rolesanywhere/latest/userguide/credential-helper.html | Credential helper}
 */

import type { Flag } from "$core/provider.ts";
import { ANYWHERE_FLAGS } from "./anywhere_flags.ts";

/** A flag of `aws_signing_helper` that moat refuses. */
export interface RefusedFlag extends Flag {
  /** Follows `Cannot use --NAME: `. */
  readonly reason: string;
  /** What to do instead. */
  readonly instead: string;
}

const KEEP_HELPER =
  "keep aws_signing_helper for this key, as credential_process of a profile, and run moat grant aws --source direct --aws-profile PROFILE";

const PKCS11 = {
  reason: "moat reads no PKCS#11 tokens, only files",
  instead: KEEP_HELPER,
};
const TPM = {
  reason: "moat reads no TPM keys, only files",
  instead: KEEP_HELPER,
};
const CERTIFICATE_STORE = {
  reason: "moat does not look into the system's certificate stores",
  instead:
    "export certificate and key to files for --certificate and --private-key, or keep aws_signing_helper as credential_process of a profile, and run moat grant aws --source direct --aws-profile PROFILE",
};

/** Flags of `aws_signing_helper` that moat knows and refuses. */
export const REFUSED_FLAGS: readonly RefusedFlag[] = [
  {
    name: "no-verify-ssl",
    summary: "Not supported: certificates of servers are always checked",
    reason: "moat always checks the certificate of a server",
    instead: "set AWS_CA_BUNDLE to a PEM file with the CA of the --endpoint",
  },
  {
    name: "cert-selector",
    value: "SELECTOR",
    summary: "Not supported: certificate stores of the system",
    ...CERTIFICATE_STORE,
  },
  {
    name: "system-store-name",
    value: "NAME",
    summary: "Not supported: certificate stores of the system",
    ...CERTIFICATE_STORE,
  },
  {
    name: "use-latest-expiring-certificate",
    summary: "Not supported: certificate stores of the system",
    ...CERTIFICATE_STORE,
  },
  {
    name: "pkcs11-lib",
    value: "FILE",
    summary: "Not supported: PKCS#11 tokens",
    ...PKCS11,
  },
  {
    name: "reuse-pin",
    summary: "Not supported: PKCS#11 tokens",
    ...PKCS11,
  },
  {
    name: "tpm-key-password",
    value: "PASSWORD",
    summary: "Not supported: TPM keys",
    ...TPM,
  },
  {
    name: "no-tpm-key-password",
    summary: "Not supported: TPM keys",
    ...TPM,
  },
];

/** The flags of `moat credential-process`. */
export const CREDENTIAL_PROCESS_FLAGS: readonly Flag[] = [
  {
    name: "binding",
    value: "NAME",
    summary: "A live binding of the running proxy",
  },
  {
    name: "role-arn",
    value: "ARN",
    summary: "Roles Anywhere: role of the session",
  },
  ...ANYWHERE_FLAGS,
  {
    name: "pkcs8-password",
    value: "PASSWORD",
    summary:
      "The key's passphrase; others see it in the list of processes, so better --passphrase-file",
  },
  {
    name: "region",
    value: "REGION",
    summary: "Region of Roles Anywhere (default: the trust anchor's)",
  },
  {
    name: "session-duration",
    value: "SECONDS",
    summary: "Life of the session, 900 to 43200 (default: 3600)",
  },
  {
    name: "role-session-name",
    value: "NAME",
    summary:
      "Session name, if the profile accepts one (default: the certificate's serial number)",
  },
  {
    name: "with-proxy",
    summary: "No effect: HTTPS_PROXY and NO_PROXY always count",
  },
  { name: "debug", summary: "No effect: MOAT_DEBUG=1 tells more" },
  ...REFUSED_FLAGS.map(({ reason: _, instead: __, ...flag }) => flag),
];
