/**
 * What a grant of a token stores beside the token. Never a secret.
 *
 * @module
 */

import * as v from "valibot";
import { MoatError } from "$core/errors.ts";
import { type Grant, grantCommand } from "$core/grant.ts";
import type { TokenOrigin } from "./obtain.ts";

const SettingsSchema = v.strictObject({
  host: v.string(),
  kind: v.string(),
  tokenSource: v.picklist(["file", "env", "cli", "prompt"]),
  tokenVariable: v.exactOptional(v.string()),
  validation: v.picklist(["ok", "rate-limited", "restricted", "skipped"]),
});

/** Settings of a grant that `createTokenProvider` made. */
export interface TokenSettings extends TokenOrigin {
  /** Where the token goes. */
  readonly host: string;
  /** What kind of token it is. */
  readonly kind: string;
  /** What the vendor said of it when it was granted. */
  readonly validation: "ok" | "rate-limited" | "restricted" | "skipped";
}

/**
 * Reads a grant's settings.
 *
 * @param grant A grant of a provider of this kind.
 * @throws {MoatError} `grant-damaged`.
 */
export function readSettings({ name, settings }: Grant): TokenSettings {
  const result = v.safeParse(SettingsSchema, settings);
  if (result.success) return result.output;
  throw damagedGrant(name, "its settings have an unknown shape");
}

/**
 * Reads a grant's token.
 *
 * @param grant A grant of a provider of this kind.
 * @returns The token itself, to be put into a header.
 * @throws {MoatError} `grant-damaged`.
 */
export function revealToken({ name, credential }: Grant): string {
  if (credential) return credential.reveal();
  throw damagedGrant(name, "it has no token");
}

/**
 * Makes the error for a grant that moat did not store so.
 *
 * @param name The grant's full name.
 * @param fault Such as `it has no token`.
 */
export function damagedGrant(name: string, fault: string): MoatError {
  return new MoatError(
    "grant-damaged",
    `Cannot use grant "${name}": ${fault}`,
    { hint: grantCommand(name) },
  );
}
