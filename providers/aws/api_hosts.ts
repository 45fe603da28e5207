/**
 * Where AWS's APIs are, for the forward proxy: a client with a role may reach
 * them unread, because each request is signed with its own session.
 *
 * @module
 */

import { type Partition, PARTITIONS } from "./region.ts";

/**
 * The DNS suffixes of each partition's endpoints, with those of dual-stack ones.
 *
 * @see {@link https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json | partitions of botocore}
 */
const API_HOSTS: Readonly<Record<Partition, readonly string[]>> = {
  "aws": ["*.amazonaws.com", "*.api.aws"],
  "aws-cn": ["*.amazonaws.com.cn", "*.api.amazonwebservices.com.cn"],
  "aws-us-gov": ["*.amazonaws.com", "*.api.aws"],
  "aws-iso": ["*.c2s.ic.gov", "*.api.aws.ic.gov"],
  "aws-iso-b": ["*.sc2s.sgov.gov", "*.api.aws.scloud"],
  "aws-iso-e": ["*.cloud.adc-e.uk", "*.api.cloud-aws.adc-e.uk"],
  "aws-iso-f": ["*.csp.hci.ic.gov", "*.api.aws.hci.ic.gov"],
  "aws-eusc": ["*.amazonaws.eu", "*.api.amazonwebservices.eu"],
};

/**
 * Names the hosts of the APIs of a region's partition.
 *
 * @param region Such as `cn-north-1`.
 * @returns Host patterns.
 */
export function apiHosts(region: string): readonly string[] {
  // The last one's prefix is empty.
  const partition = PARTITIONS.find(({ prefix }) => region.startsWith(prefix));
  return API_HOSTS[partition?.name ?? "aws"];
}
