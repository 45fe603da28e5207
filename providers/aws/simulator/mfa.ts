/**
 * Multi-factor authentication: the code that the person at the client knows.
 * Every device shows the same code, which does not change.
 *
 * @module
 */

import type { Call } from "./call.ts";
import type { TextRule } from "./parameters.ts";
import { accessDenied } from "./refusal.ts";

/** The rules for a device and its code. */
export const MFA_RULES: Readonly<Record<string, TextRule>> = {
  SerialNumber: { min: 9, max: 256, pattern: String.raw`[\w+=/:,.@-]*` },
  TokenCode: { min: 6, max: 6, pattern: String.raw`[\d]*` },
};

/**
 * Checks the device and the code of a call, if it has them.
 *
 * @param call The call.
 * @param code The right code.
 * @returns Whether a code was given, and right.
 * @throws {Refusal} `AccessDenied`, in AWS's words.
 */
export function checkMfa({ caller, parameters }: Call, code: string): boolean {
  const serial = parameters.get("SerialNumber");
  const given = parameters.get("TokenCode");
  if (serial === null && given === null) return false;
  if (serial === null || given === null) {
    throw failed(
      ", must provide both MFA serial number and one time pass code.",
    );
  }
  if (caller.session?.isRole) {
    throw failed(
      ", unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user.",
    );
  }
  if (given !== code) throw failed(" with invalid MFA one time pass code.");
  return true;
}

function failed(reason: string) {
  return accessDenied(`MultiFactorAuthentication failed${reason}`);
}
