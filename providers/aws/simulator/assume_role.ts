/**
 * The simulated AssumeRole: its parameters' rules, the trust policy, and what
 * a chain of roles passes on.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html | AssumeRole}
 */

import type { RoleArn } from "../arn.ts";
import {
  type Account,
  type Call,
  describeCredentials,
  describeRoleUser,
  roleExists,
} from "./call.ts";
import { mintRoleKey } from "./keys.ts";
import { checkMfa, MFA_RULES } from "./mfa.ts";
import { checkMaximum, NAME_RULE, type TextRule } from "./parameters.ts";
import { accessDenied, type Refusal, validationError } from "./refusal.ts";
import { readRoleCall } from "./role_call.ts";
import { packedSize, passOn } from "./session_policy.ts";
import type { XmlContent } from "./xml.ts";

/** AWS's bound when a role's session assumes a further role. */
const MAX_CHAINED_SECONDS = 3600;

/** The rules of AWS's model; an ARN is read apart from them. */
const RULES: Readonly<Record<string, TextRule>> = {
  ...MFA_RULES,
  ExternalId: { min: 2, max: 1224, pattern: String.raw`[\w+=,.@:\/-]*` },
  SourceIdentity: NAME_RULE,
};

/**
 * Answers AssumeRole.
 *
 * @param call The call.
 * @param account The account's set-up; the new session's key is added.
 * @returns The content of `AssumeRoleResult`.
 * @throws {Refusal} `ValidationError`, `MalformedInput`, `MalformedPolicyDocument`, `InvalidParameterValue`, `PackedPolicyTooLarge` or `AccessDenied`.
 */
export function assumeRole(call: Call, account: Account): XmlContent {
  const { role, sessionName, seconds, marks } = readRoleCall(
    call.parameters,
    RULES,
  );
  checkTrust(call, account, role);
  checkSeconds(seconds, call, account);
  const transitiveTags = passOn(marks, call.caller.session);
  const packed = packedSize(marks);
  const sourceIdentity = keepSourceIdentity(call, role);
  const key = mintRoleKey(role, sessionName, call.endOf(seconds), {
    transitiveTags,
    sourceIdentity,
  });
  account.keys.add(key);
  return {
    AssumedRoleUser: describeRoleUser(key),
    Credentials: describeCredentials(key),
    PackedPolicySize: packed?.toFixed(),
    SourceIdentity: sourceIdentity,
  };
}

/** AWS does not say which of these it was, except for a wrong code. */
function checkTrust(call: Call, account: Account, role: RoleArn): void {
  const { caller, parameters } = call;
  const { externalId } = account;
  const hasMfa = checkMfa(call, account.mfaCode) || !!caller.session?.mfa;
  // A role that a role assumes trusts that role, which has no device.
  const wantsMfa = account.requireMfa && !caller.session?.isRole;
  const trusts = externalId === undefined ||
    parameters.get("ExternalId") === externalId;
  if (roleExists(role, account) && trusts && (hasMfa || !wantsMfa)) return;
  throw notAuthorized(call, "sts:AssumeRole", role);
}

function checkSeconds(
  seconds: number,
  { caller }: Call,
  { maxSessionSeconds }: Account,
): void {
  if (caller.session?.isRole && seconds > MAX_CHAINED_SECONDS) {
    throw validationError(
      "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
    );
  }
  checkMaximum(seconds, maxSessionSeconds);
}

/** Once set, it lasts for the whole chain. */
function keepSourceIdentity(call: Call, role: RoleArn): string | undefined {
  const inherited = call.caller.session?.sourceIdentity;
  const given = call.parameters.get("SourceIdentity") ?? inherited;
  if (inherited === undefined || given === inherited) return given;
  throw notAuthorized(call, "sts:SetSourceIdentity", role);
}

function notAuthorized(
  { caller }: Call,
  action: string,
  { arn }: RoleArn,
): Refusal {
  return accessDenied(
    `User: ${caller.identity.arn} is not authorized to perform: ${action} on resource: ${arn}`,
  );
}
