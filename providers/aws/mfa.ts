/**
 * Codes of an MFA device: from a program, or from a person by `moat mfa`.
 * Nothing here keeps the secret that codes are made of.
 *
 * @module
 */

import { type MoatError, usageError } from "$core/errors.ts";
import type { Platform } from "$core/platform.ts";
import { failure } from "./errors.ts";
import { inTime } from "./sources/call.ts";
import { runProgram } from "./sources/program.ts";

/** The person behind the program may have to touch a key. */
const PROGRAM_TIMEOUT_MS = 30_000;

/**
 * Checks a code that a person typed.
 *
 * @param text Six digits; spaces count not.
 * @returns The six digits.
 * @throws {MoatError} `usage` for anything else; the text is not shown.
 */
export function checkMfaCode(text: string): string {
  const code = text.replaceAll(" ", "");
  if (/^\d{6}$/.test(code)) return code;
  throw usageError(
    "Cannot use this MFA code: wanted the six digits that the device shows",
    "moat mfa NAME CODE",
  );
}

/**
 * Makes the error of a code for a grant that has no device.
 *
 * @param grant Its name.
 * @returns The error, to be thrown by the caller.
 */
export function noDevice(grant: string): MoatError {
  return usageError(
    `Cannot use an MFA code: grant "${grant}" has no --mfa-serial`,
    "grant again with --mfa-serial ARN",
  );
}

/**
 * Asks a program for a code.
 *
 * @param command A command line for `/bin/sh`; prints six digits.
 * @param platform Bounds the wait.
 * @returns The code.
 * @throws {MoatError} `mfa-required` if it gives none within 30 s.
 */
export async function mfaCode(
  command: string,
  platform: Pick<Platform, "clock" | "env">,
): Promise<string> {
  const { success, stdout } = await inTime(
    platform.clock,
    PROGRAM_TIMEOUT_MS,
    noCode("did not end in time"),
    (signal) => runProgram(command, { signal, platform }),
  );
  const code = stdout.trim();
  if (success && /^\d{6}$/.test(code)) return code;
  throw noCode(success ? "printed something else than six digits" : "failed");
}

function noCode(fault: string): MoatError {
  return failure(
    "mfa-required",
    `Cannot get an MFA code: the --mfa-command ${fault}`,
    { hint: "run the program by hand to see why" },
  );
}
