/**
 * The simulated GetSessionToken: a user's own session, with or without MFA.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html | GetSessionToken}
 */

import { type Account, type Call, describeCredentials } from "./call.ts";
import { mintSessionKey } from "./keys.ts";
import { checkMfa, MFA_RULES } from "./mfa.ts";
import { brokenTexts, readSeconds, refuseBroken } from "./parameters.ts";
import { accessDenied } from "./refusal.ts";
import type { XmlContent } from "./xml.ts";

/** AWS's default: 12 hours. */
const DEFAULT_SECONDS = 43_200;

/** AWS's bound: 36 hours. */
const MAX_SECONDS = 129_600;

/**
 * Answers GetSessionToken.
 *
 * @param call The call.
 * @param account The account's set-up; the new session's key is added.
 * @returns The content of `GetSessionTokenResult`.
 * @throws {Refusal} `ValidationError`, `MalformedInput`, or `AccessDenied` for a session that calls or a wrong code.
 */
export function getSessionToken(call: Call, account: Account): XmlContent {
  const { seconds, brokenSeconds } = readSeconds(call.parameters, {
    standard: DEFAULT_SECONDS,
    max: MAX_SECONDS,
  });
  refuseBroken([...brokenTexts(call.parameters, MFA_RULES), ...brokenSeconds]);
  if (call.caller.session) {
    throw accessDenied("Cannot call GetSessionToken with session credentials");
  }
  const mfa = checkMfa(call, account.mfaCode);
  const key = mintSessionKey(call.caller.identity, call.endOf(seconds), {
    isRole: false,
    mfa,
  });
  account.keys.add(key);
  return { Credentials: describeCredentials(key) };
}
