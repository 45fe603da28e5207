/**
 * How containers name roles: `name`, `path/name`, each with `@account` or
 * without, and ARNs of any partition.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";
import { UNPRINTABLE } from "$core/text.ts";
import { readRoleArn, type RoleArn } from "../arn.ts";
import type { Partition } from "../region.ts";

/** A role as it was named: by its ARN, or within an account. */
export type RoleName = { readonly arn: RoleArn } | {
  readonly arn?: never;
  /** Path, if there is one, and name: `team/app`. */
  readonly resource: string;
  /** Without the path. */
  readonly roleName: string;
  /** 12 digits; undefined if it was not named. */
  readonly account: string | undefined;
};

const FORMS =
  "a name, NAME@ACCOUNT, PATH/NAME@ACCOUNT with an account of 12 digits, or an ARN";

const HINT =
  "such as app, app@123456789012 or arn:aws:iam::123456789012:role/app";

/** No account has it; where none is named, the rest is checked with it. */
const ANY_ACCOUNT = "000000000000";

/** How much of a text is quoted. */
const QUOTED_CHARACTERS = 80;

/**
 * Takes a role apart as a container names it. A star is refused, although
 * paths may have some: in the list of allowed roles it would mean more.
 *
 * @param text What the container says.
 * @returns Its parts.
 * @throws {MoatError} `bad-role`; quotes 80 characters of the text at most.
 */
export function parseRoleName(text: string): RoleName {
  if (text.includes("*")) throw badRole(text, 'a role without "*"');
  if (text.startsWith("arn:")) return { arn: readRoleArn(text, badRole) };
  const end = text.lastIndexOf("@");
  const account = end < 0 ? undefined : text.slice(end + 1);
  const resource = end < 0 ? text : text.slice(0, end);
  const checked = { resource, account: account ?? ANY_ACCOUNT };
  const bad = () => badRole(text, FORMS);
  if (resource.startsWith("/")) throw bad();
  const { roleName } = readRoleArn(roleArnOf("aws", checked), bad);
  return { resource, roleName, account };
}

/**
 * Puts an ARN together.
 *
 * @param partition Whose.
 * @param role Account, path and name.
 */
export function roleArnOf(
  partition: Partition,
  { account, resource }: { account: string; resource: string },
): string {
  return `arn:${partition}:iam::${account}:role/${resource}`;
}

/**
 * Quotes what a container says.
 *
 * @param text Anything.
 * @returns JSON of its first 80 characters, safe for a terminal and a log.
 */
export function quoted(text: string): string {
  const start = text.slice(0, QUOTED_CHARACTERS);
  return JSON.stringify(start).replace(UNPRINTABLE, " ");
}

function badRole(text: string, wanted: string): MoatError {
  return new MoatError(
    "bad-role",
    `Cannot use ${quoted(text)} as a container's role: wanted ${wanted}`,
    { hint: `name a role ${HINT}` },
  );
}
