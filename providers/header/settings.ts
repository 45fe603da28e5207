/**
 * What a grant of a defined provider stores beside its token. Never a secret.
 *
 * @module
 */

import * as v from "valibot";
import type { Grant } from "$core/grant.ts";
import type { TokenOrigin } from "../tokens/obtain.ts";
import { damagedGrant } from "../tokens/settings.ts";

const SettingsSchema = v.strictObject({
  tokenSource: v.picklist(["file", "env", "cli", "prompt"]),
  tokenVariable: v.exactOptional(v.string()),
  validation: v.picklist([
    "ok",
    "rate-limited",
    "restricted",
    "skipped",
    "none",
  ]),
});

/** Settings of a grant of a defined provider. */
export interface HeaderSettings extends TokenOrigin {
  /**
   * What came of trying the token when it was granted; `none` if its
   * definition has no request that would tell.
   */
  readonly validation:
    | "ok"
    | "rate-limited"
    | "restricted"
    | "skipped"
    | "none";
}

/**
 * Reads a grant's settings.
 *
 * @param grant A grant of a defined provider.
 * @throws {MoatError} `grant-damaged`.
 */
export function readSettings({ name, settings }: Grant): HeaderSettings {
  const result = v.safeParse(SettingsSchema, settings);
  if (result.success) return result.output;
  throw damagedGrant(name, "its settings have an unknown shape");
}
