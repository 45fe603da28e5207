/**
 * Reads the MFA flags of `moat grant aws`.
 *
 * @module
 */

import { resolve } from "node:path";
import { type MoatError, usageError } from "$core/errors.ts";
import type { GrantRequest } from "$core/provider.ts";
import { checkMfaCode } from "../mfa.ts";
import { checkMfaSerial, valuesOf } from "./values.ts";
import type { Mfa } from "../settings.ts";

/**
 * Reads the device, and a code of it if one will be used at once.
 *
 * @param request With `validate` and without a code or a program, it asks.
 * @returns Nothing without `--mfa-serial`.
 * @throws {MoatError} `usage`.
 */
export async function readMfa(
  { flags, validate, ask }: GrantRequest,
): Promise<{ mfa?: Mfa; mfaCode?: string }> {
  const [serial] = valuesOf(flags, "mfa-serial");
  const [code] = valuesOf(flags, "mfa-code");
  const [command] = valuesOf(flags, "mfa-command");
  checkMfaFlags({ serial, code, command, validate });
  if (serial === undefined) return {};
  const mfa = {
    serial: checkMfaSerial(serial),
    ...(command !== undefined && { command: absoluteProgram(command) }),
  };
  if (!validate || command !== undefined) return { mfa };
  if (code !== undefined) return { mfa, mfaCode: checkMfaCode(code) };
  if (!ask) throw noTerminal();
  const answer = await ask(`MFA code of ${serial}: `);
  return { mfa, mfaCode: checkMfaCode(answer.reveal()) };
}

function checkMfaFlags({ serial, code, command, validate }: {
  serial: string | undefined;
  code: string | undefined;
  command: string | undefined;
  validate: boolean;
}): void {
  if (serial === undefined && (code ?? command) !== undefined) {
    throw usageError(
      `Cannot use ${
        code === undefined ? "--mfa-command" : "--mfa-code"
      } without --mfa-serial`,
      "give --mfa-serial arn:aws:iam::123456789012:mfa/NAME",
    );
  }
  if (code !== undefined && command !== undefined) {
    throw usageError(
      "Cannot combine --mfa-code with --mfa-command: each gives a code",
      "leave --mfa-code out",
    );
  }
  if (code !== undefined && !validate) {
    throw usageError(
      "Cannot combine --mfa-code with --no-validate: a code counts only at once",
      "leave --mfa-code out, and later run moat mfa NAME CODE",
    );
  }
}

/** A running proxy has another working directory. */
function absoluteProgram(command: string): string {
  return command.replace(/^\.{1,2}\/\S*/, (path) => resolve(path));
}

function noTerminal(): MoatError {
  return usageError(
    "Cannot ask for an MFA code: there is no terminal",
    "give --mfa-code CODE or --mfa-command PROGRAM, or --no-validate and later moat mfa NAME CODE",
  );
}
