/**
 * What a client has in place of a token: it looks like one to the vendor's
 * tools, says what it is to people, and tells moat which grant is meant.
 *
 * @module
 */

import { createHash } from "node:crypto";

/** In every placeholder; no token has these 15 characters by chance. */
const MARK = "moatPlaceholder";

/** Characters of the digest that tell placeholders apart: 92 bits. */
const MIN_DIGEST = 16;

/** The least {@link PlaceholderShape.length}: 31. */
export const MIN_PLACEHOLDER: number = MARK.length + MIN_DIGEST;

/** What a vendor's tools check of a token. */
export interface PlaceholderShape {
  /** Such as `ghp_`. Default: none. */
  readonly prefix?: string;
  /** Letters and digits between prefix and suffix; {@link MIN_PLACEHOLDER} at least. */
  readonly length: number;
  /** Such as `AA`. Default: none. */
  readonly suffix?: string;
}

/**
 * Makes the placeholder of a grant.
 *
 * @param grantName The full name, such as `github:work`; nothing else counts,
 * so that it survives a new token.
 * @param shape What it looks like.
 * @returns Prefix, `moatPlaceholder`, letters and digits that differ for each
 * name, and suffix; the same each time.
 * @throws {RangeError} If the shape leaves no room to tell grants apart.
 */
export function placeholderFor(
  grantName: string,
  { prefix = "", length, suffix = "" }: PlaceholderShape,
): string {
  if (length < MIN_PLACEHOLDER) {
    throw new RangeError(`A placeholder of ${length} characters is too short`);
  }
  const digest = createHash("sha256").update(`placeholder ${grantName}`)
    .digest("base64url").replaceAll("-", "x").replaceAll("_", "y");
  const body = (MARK + digest).padEnd(length, "0").slice(0, length);
  return prefix + body + suffix;
}

/**
 * Tells whether a text is, or holds, a placeholder of ours.
 *
 * @param text Such as a token that was given.
 */
export function isPlaceholder(text: string): boolean {
  return text.includes(MARK);
}
