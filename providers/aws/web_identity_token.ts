/**
 * Tokens that open a role by AssumeRoleWithWebIdentity.
 *
 * @module
 */

import type { MoatError } from "$core/errors.ts";
import { Secret } from "$core/secret.ts";
import { failure } from "./errors.ts";
import { readSmallFile } from "./files.ts";

/** A token is some kilobytes; STS takes 4 to 20,000 characters. */
const MAX_LENGTH = 20_000;
const MIN_LENGTH = 4;

/**
 * Reads a token anew.
 *
 * @param path Its file.
 * @returns The token, without white space around it.
 * @throws {MoatError} `token-unreadable`.
 */
export async function readWebIdentityToken(path: string): Promise<Secret> {
  const bytes = await readSmallFile(path, MAX_LENGTH).catch((cause) => {
    throw badToken(`Cannot read the web identity token "${path}"`, cause);
  });
  const token = new TextDecoder().decode(bytes).trim();
  if (token.length >= MIN_LENGTH) return new Secret(token);
  throw badToken(
    `Cannot use the web identity token "${path}": wanted a file of ${MIN_LENGTH} to ${MAX_LENGTH} characters`,
  );
}

function badToken(message: string, cause?: unknown): MoatError {
  return failure("token-unreadable", message, {
    hint: "check what writes the token, and that this user may read it",
    cause,
  });
}
