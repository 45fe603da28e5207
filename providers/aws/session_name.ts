/**
 * Session names: a template, filled with who acts, in the characters and the
 * length that STS takes.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html | AssumeRole, RoleSessionName}
 */

import { createHash } from "node:crypto";
import type { Binding } from "$core/binding.ts";
import { usageError } from "$core/errors.ts";

/** What CloudTrail shows unless the grant says otherwise. */
export const DEFAULT_SESSION_NAME = "moat-{binding}";

/** What a template may hold in braces. */
export const PLACEHOLDERS = ["binding", "run", "container", "user"] as const;

const PLACEHOLDER = new RegExp(`\\{(${PLACEHOLDERS.join("|")})\\}`, "g");

/** STS takes no longer one, in characters. */
export const MAX_SESSION_NAME = 64;
const DIGEST_LENGTH = 8;

/**
 * Checks a template.
 *
 * @param template Text with `{binding}`, `{run}`, `{container}`, `{user}`.
 * @returns The same text.
 * @throws {MoatError} `usage` for another placeholder, or for nothing at all.
 */
export function checkSessionName(template: string): string {
  const rest = template.replaceAll(PLACEHOLDER, "x");
  if (/^[\w+=,.@-]{1,256}$/.test(rest)) return template;
  throw usageError(
    `Cannot use ${
      JSON.stringify(template)
    } as session name: wanted letters, digits, _+=,.@- and {${
      PLACEHOLDERS.join("}, {")
    }}`,
    "leave --session-name out for moat-{binding}",
  );
}

/**
 * Fills a template in. What a binding does not have, such as a container's
 * name, becomes the binding's own name.
 *
 * @param template A checked template.
 * @param binding Who acts.
 * @returns 2 to 64 characters of `[\w+=,.@-]`; a name that is cut ends in a
 * digest of the whole one, so that two never become the same.
 */
export function fillSessionName(template: string, binding: Binding): string {
  const { name, subject } = binding;
  const filled = template.replaceAll(
    PLACEHOLDER,
    (_, key: typeof PLACEHOLDERS[number]) =>
      key === "binding" ? name : subject?.[key] || name,
  );
  const clean = filled.replaceAll(/[^\w+=,.@-]/g, "-").padEnd(2, "-");
  if (clean.length <= MAX_SESSION_NAME) return clean;
  const digest = createHash("sha256").update(filled).digest("hex");
  return clean.slice(0, MAX_SESSION_NAME - DIGEST_LENGTH - 1) + "-" +
    digest.slice(0, DIGEST_LENGTH);
}
