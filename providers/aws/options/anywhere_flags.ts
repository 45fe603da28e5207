/**
 * The flags of IAM Roles Anywhere, which `moat grant aws` and
 * `moat credential-process` share. Apart from their reading, so that help
 * need not load that.
 *
 * @module
 */

import type { Flag } from "$core/provider.ts";

/** The flags that only Roles Anywhere has. */
export const ANYWHERE_FLAGS: readonly Flag[] = [
  {
    name: "trust-anchor-arn",
    value: "ARN",
    summary: "Roles Anywhere: ARN of the trust anchor",
  },
  {
    name: "profile-arn",
    value: "ARN",
    summary: "Roles Anywhere: ARN of the profile",
  },
  {
    name: "certificate",
    value: "FILE",
    summary:
      "Roles Anywhere: certificate, alone or with its chain in any order (PEM, DER), or PKCS#12 (.p12, .pfx)",
    repeatable: true,
  },
  {
    name: "private-key",
    value: "FILE",
    summary:
      "Roles Anywhere: the certificate's key (PKCS#1, SEC1, PKCS#8, encrypted PKCS#8)",
  },
  {
    name: "intermediates",
    value: "FILE",
    summary: "Roles Anywhere: more certificates of the chain",
    repeatable: true,
  },
  {
    name: "passphrase-file",
    value: "FILE",
    summary: "Roles Anywhere: file whose first line is the key's passphrase",
  },
  {
    name: "endpoint",
    value: "URL",
    summary: "Roles Anywhere: where the service is, if not at AWS",
  },
  { name: "fips", summary: "Roles Anywhere: use the FIPS endpoint" },
  {
    name: "dual-stack",
    summary: "Roles Anywhere: use the endpoint with IPv4 and IPv6",
  },
];
