/**
 * The simulated AssumeRoleWithWebIdentity, which nobody signs.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html | AssumeRoleWithWebIdentity}
 */

import {
  type Account,
  describeCredentials,
  describeRoleUser,
  type OpenCall,
  roleExists,
} from "./call.ts";
import { readToken } from "./jwt.ts";
import { mintRoleKey } from "./keys.ts";
import { checkMaximum, type TextRule } from "./parameters.ts";
import { accessDenied } from "./refusal.ts";
import { readRoleCall } from "./role_call.ts";
import { packedSize } from "./session_policy.ts";
import type { XmlContent } from "./xml.ts";

const RULES: Readonly<Record<string, TextRule>> = {
  WebIdentityToken: { required: true, min: 4, max: 20_000 },
};

/**
 * Answers AssumeRoleWithWebIdentity. The role trusts every issuer.
 *
 * @param call The call.
 * @param account The account's set-up; the new session's key is added.
 * @returns The content of `AssumeRoleWithWebIdentityResult`.
 * @throws {Refusal} As AssumeRole, and `InvalidIdentityToken` or `ExpiredTokenException`.
 */
export function assumeRoleWithWebIdentity(
  { parameters, now, endOf }: OpenCall,
  account: Account,
): XmlContent {
  const { role, sessionName, seconds, marks } = readRoleCall(parameters, RULES);
  const claims = readToken(parameters.get("WebIdentityToken") ?? "", now);
  if (!roleExists(role, account)) {
    throw accessDenied(
      "Not authorized to perform sts:AssumeRoleWithWebIdentity",
    );
  }
  checkMaximum(seconds, account.maxSessionSeconds);
  const packed = packedSize(marks);
  const key = mintRoleKey(role, sessionName, endOf(seconds), {});
  account.keys.add(key);
  return {
    SubjectFromWebIdentityToken: claims.subject,
    Audience: claims.audience,
    AssumedRoleUser: describeRoleUser(key),
    Credentials: describeCredentials(key),
    Provider: claims.issuer,
    PackedPolicySize: packed?.toFixed(),
  };
}
