/**
 * AWS partitions and their regions.
 *
 * @module
 */

import { usageError } from "$core/errors.ts";

/** The name of an AWS partition, the second part of an ARN. */
export type Partition = typeof PARTITIONS[number]["name"];

/**
 * Every partition, the region that moat takes when nothing names one, and how
 * its regions begin.
 *
 * @see {@link https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html | AWS partitions}
 */
export const PARTITIONS = [
  { name: "aws-cn", defaultRegion: "cn-north-1", prefix: "cn-" },
  { name: "aws-us-gov", defaultRegion: "us-gov-west-1", prefix: "us-gov-" },
  { name: "aws-iso", defaultRegion: "us-iso-east-1", prefix: "us-iso-" },
  { name: "aws-iso-b", defaultRegion: "us-isob-east-1", prefix: "us-isob-" },
  { name: "aws-iso-e", defaultRegion: "eu-isoe-west-1", prefix: "eu-isoe-" },
  { name: "aws-iso-f", defaultRegion: "us-isof-south-1", prefix: "us-isof-" },
  { name: "aws-eusc", defaultRegion: "eusc-de-east-1", prefix: "eusc-" },
  // Last: whatever begins like none of the others is a region of `aws`.
  { name: "aws", defaultRegion: "us-east-1", prefix: "" },
] as const;

const REGION = /^[a-z]{2,4}(?:-[a-z]+)+-\d{1,2}$/;

/**
 * Tells whether a text names a partition.
 *
 * @param text Such as `aws-cn`.
 * @returns True for the names in {@link PARTITIONS}.
 */
export function isPartition(text: string): text is Partition {
  return PARTITIONS.some((partition) => partition.name === text);
}

/** A region, and where it was found: `--region`, `AWS_REGION`, a profile. */
export interface RegionChoice {
  /** Undefined if it is not set there. */
  readonly region: string | undefined;
  /** For the error message. */
  readonly from: string;
}

/**
 * Picks the first region that is set and checks it against the role.
 *
 * @param partition The role's partition.
 * @param choices In order of precedence.
 * @returns The region, or the partition's default if no choice is set.
 * @throws {MoatError} `usage` if it is no region, or one of another partition.
 */
export function pickRegion(
  partition: Partition,
  choices: readonly RegionChoice[],
): string {
  const choice = choices.find((c) => c.region);
  if (!choice?.region) return defaultRegion(partition);
  const { region, from } = choice;
  if (!REGION.test(region)) {
    throw usageError(
      `Cannot use the region ${
        JSON.stringify(region)
      } from ${from}: wanted a name such as eu-central-1`,
      `give --region REGION, such as ${defaultRegion(partition)}`,
    );
  }
  const home = partitionOf(region);
  if (home === partition) return region;
  throw usageError(
    `Cannot use the region "${region}" from ${from}: the role is in partition "${partition}", the region in "${home}"`,
    `give --region REGION, such as ${defaultRegion(partition)}`,
  );
}

/**
 * Finds the partition of a region by how its name begins.
 *
 * @param region Such as `cn-north-1`; an empty one is of `aws`.
 * @returns The partition's name.
 */
export function partitionOf(region: string): Partition {
  return PARTITIONS.find((p) => region.startsWith(p.prefix))?.name ?? "aws";
}

function defaultRegion(partition: Partition): string {
  return PARTITIONS.find((p) => p.name === partition)?.defaultRegion ??
    "us-east-1";
}
