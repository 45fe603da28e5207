/**
 * IAM role ARNs.
 *
 * @module
 */

import { type MoatError, usageError } from "$core/errors.ts";
import { isPartition, type Partition, PARTITIONS } from "./region.ts";

/** A role ARN, taken apart. */
export interface RoleArn {
  /** The whole ARN, as given. */
  readonly arn: string;
  /** Such as `aws-cn`. */
  readonly partition: Partition;
  /** 12 digits. */
  readonly account: string;
  /** The role's name, without its path. */
  readonly roleName: string;
}

const EXAMPLE = "such as arn:aws:iam::123456789012:role/Deploy";

/** IAM's rule for paths: visible ASCII between slashes, 512 characters at most. */
const ROLE_PATH = /^\/(?:[\x21-\x7e]{1,510}\/)?$/;

/** IAM's rule for role names. */
const ROLE_NAME = /^[\w+=,.@-]{1,64}$/;

/**
 * Makes the error for a text that is no role ARN.
 *
 * @param text The whole text.
 * @param wanted What a part of it should be.
 * @param found That part.
 */
export type ArnFault = (
  text: string,
  wanted: string,
  found: string,
) => MoatError;

/**
 * Takes a role ARN apart and checks each part.
 *
 * @param text `arn:PARTITION:iam::ACCOUNT:role/[PATH/]NAME`.
 * @returns Its parts.
 * @throws {MoatError} `usage`, naming the part that is wrong.
 * @see {@link https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html | IAM identifiers}
 */
export function parseRoleArn(text: string): RoleArn {
  return readRoleArn(text, usageFault);
}

/**
 * As {@link parseRoleArn}, for what no command line gave.
 *
 * @param text What may be a role ARN.
 * @param bad Makes the error that is thrown.
 * @returns Its parts.
 */
export function readRoleArn(text: string, bad: ArnFault): RoleArn {
  const parts = text.split(":");
  const [prefix = "", partition = "", service = "", region = ""] = parts;
  const [, , , , account = "", resource = ""] = parts;
  if (parts.length !== 6) {
    throw bad(text, "6 parts between colons", String(parts.length));
  }
  if (prefix !== "arn") throw bad(text, '"arn" as the first part', prefix);
  if (!isPartition(partition)) {
    const known = PARTITIONS.map((p) => p.name).join(", ");
    throw bad(text, `one of ${known} as the partition`, partition);
  }
  if (service !== "iam") throw bad(text, 'the service "iam"', service);
  if (region !== "") throw bad(text, "no region (roles have none)", region);
  if (!/^\d{12}$/.test(account)) {
    throw bad(text, "an account of 12 digits", account);
  }
  const name = roleName(text, resource, bad);
  return { arn: text, partition, account, roleName: name };
}

function roleName(text: string, resource: string, bad: ArnFault): string {
  if (!resource.startsWith("role/")) {
    throw bad(text, 'a resource that begins with "role/"', resource);
  }
  const end = resource.lastIndexOf("/") + 1;
  const path = resource.slice("role".length, end);
  const name = resource.slice(end);
  if (!ROLE_PATH.test(path)) {
    throw bad(text, "a role path of at most 512 visible characters", path);
  }
  if (!ROLE_NAME.test(name)) {
    throw bad(text, "a role name of 1 to 64 letters, digits or +=,.@_-", name);
  }
  return name;
}

/** The error for a person who gave the text. */
function usageFault(text: string, wanted: string, found: string): MoatError {
  return usageError(
    `Cannot use ${JSON.stringify(text)} as a role: wanted ${wanted}, found ${
      JSON.stringify(found)
    }`,
    `give the role's ARN, ${EXAMPLE}`,
  );
}
