/**
 * What several commands share.
 *
 * @module
 */

import { callProxy } from "../../control.ts";
import { type MoatError, toMoatError } from "../../errors.ts";
import type { Grant } from "../../grant.ts";
import type { CommandContext } from "../command.ts";

/**
 * The part of a grant that is shown: name, provider, times, settings.
 *
 * @param grant The grant.
 * @returns JSON of `grant list --json` and `grant show --json`.
 */
export function summarise(grant: Grant): Record<string, unknown> {
  return {
    name: grant.name,
    provider: grant.provider,
    grantedAt: new Date(grant.createdAt).toISOString(),
    ...(grant.expiresAt && {
      expiresAt: new Date(grant.expiresAt).toISOString(),
    }),
    settings: grant.settings,
  };
}

/** What came of telling a proxy. */
export interface Told {
  /** Whether one runs, which then audits what it was told. */
  readonly isThere: boolean;
  /** Sentences for the person who changed it. */
  readonly warnings: readonly string[];
}

/**
 * Tells a running proxy that a grant or a binding changed, so that it counts
 * at once.
 *
 * It is already written: a proxy that cannot be told is a warning.
 *
 * @param context The command's context.
 * @param method What changed.
 * @param name Its name.
 * @returns What came of it; never rejects.
 */
export async function tellProxy(
  { platform }: CommandContext,
  method: "grant-changed" | "binding-changed",
  name: string,
): Promise<Told> {
  try {
    const told = await callProxy(platform, method, { name });
    const warnings = told && "warnings" in told ? told.warnings : [];
    return { isThere: told !== undefined, warnings };
  } catch (error) {
    return { isThere: true, warnings: [untold(name, toMoatError(error))] };
  }
}

/** It did not understand, or it has a reason why it cannot serve it. */
function untold(name: string, { code, message, hint }: MoatError): string {
  return code.startsWith("control-")
    ? `a running proxy could not be told about "${name}": ${message}; restart it`
    : [message, hint].filter((part) => part !== undefined).join("; ");
}
