/**
 * What the simulated actions of STS have in common: the call, the account's
 * set-up, and the answer's parts.
 *
 * @module
 */

import type { RoleArn } from "../arn.ts";
import type { AccessKey, KeyRing, SessionKey } from "./keys.ts";
import type { XmlContent } from "./xml.ts";

/** How the simulated account is set up. */
export interface Account {
  /** ARNs of the roles that exist; empty if every role does. */
  readonly roles: readonly string[];
  /** What every trust policy wants as `sts:ExternalId`. */
  readonly externalId?: string;
  /** Of every role, in seconds. */
  readonly maxSessionSeconds: number;
  /** The code that every MFA device shows, six digits. */
  readonly mfaCode: string;
  /** Whether every trust policy wants users to have given a code. */
  readonly requireMfa: boolean;
  /** The access keys; new sessions are added. */
  readonly keys: KeyRing;
}

/** What every call has. */
export interface Moment {
  /** In ms since the Unix epoch. */
  readonly now: number;
  /** When a session of so many seconds ends, in ms since the Unix epoch. */
  readonly endOf: (seconds: number) => number;
}

/** A call of an action that anyone may make. */
export interface OpenCall extends Moment {
  /** As the client sent them; the first of a name counts. */
  readonly parameters: URLSearchParams;
}

/** An authenticated call of an action. */
export interface Call extends OpenCall {
  /** The access key that signed it. */
  readonly caller: AccessKey;
}

/**
 * Whether a role exists.
 *
 * @param role The role.
 * @param account The account's set-up.
 * @returns True if the account has no list of roles.
 */
export function roleExists(
  { arn }: RoleArn,
  { roles }: Pick<Account, "roles">,
): boolean {
  return roles.length === 0 || roles.includes(arn);
}

/**
 * Writes the element `Credentials`.
 *
 * @param key A session's key.
 * @returns Its content.
 */
export function describeCredentials(key: SessionKey): XmlContent {
  return {
    AccessKeyId: key.accessKeyId,
    SecretAccessKey: key.secretAccessKey,
    SessionToken: key.session.token,
    Expiration: formatExpiry(key.session.expiresAt),
  };
}

/**
 * Writes the element `AssumedRoleUser`.
 *
 * @param key The key of a role's session.
 * @returns Its content.
 */
export function describeRoleUser({ identity }: SessionKey): XmlContent {
  return { AssumedRoleId: identity.userId, Arn: identity.arn };
}

/**
 * Writes an instant as STS does.
 *
 * @param at In ms since the Unix epoch, a whole second.
 * @returns Such as `2026-01-01T00:00:00Z`.
 */
export function formatExpiry(at: number): string {
  return new Date(at).toISOString().replace(".000Z", "Z");
}
