/**
 * Where IAM Roles Anywhere is.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/general/latest/gr/rolesanywhere.html | IAM Roles Anywhere endpoints}
 */

import { type Partition, partitionOf } from "../region.ts";
import type { Anywhere } from "../settings.ts";

/** The domains of each partition: of IPv4, and of both. */
const DOMAINS: Readonly<Record<Partition, readonly [string, string]>> = {
  "aws": ["amazonaws.com", "api.aws"],
  "aws-cn": ["amazonaws.com.cn", "api.amazonwebservices.com.cn"],
  "aws-us-gov": ["amazonaws.com", "api.aws"],
  "aws-iso": ["c2s.ic.gov", "api.aws.ic.gov"],
  "aws-iso-b": ["sc2s.sgov.gov", "api.aws.scloud"],
  "aws-iso-e": ["cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"],
  "aws-iso-f": ["csp.hci.ic.gov", "api.aws.hci.ic.gov"],
  "aws-eusc": ["amazonaws.eu", "api.amazonwebservices.eu"],
};

/**
 * Finds the service.
 *
 * @param anywhere Region and variant; an endpoint of its own comes first.
 * @returns The URL of CreateSession, without a query.
 */
export function sessionsUrl(
  { region, endpoint, fips, dualStack }: Pick<
    Anywhere,
    "region" | "endpoint" | "fips" | "dualStack"
  >,
): URL {
  const host = `rolesanywhere${fips ? "-fips" : ""}.${region}.${
    DOMAINS[partitionOf(region)][dualStack ? 1 : 0]
  }`;
  const base = new URL(endpoint ?? `https://${host}`);
  base.pathname = base.pathname.replace(/\/*$/, "/sessions");
  base.search = base.hash = "";
  return base;
}
