/**
 * Bindings and their tokens: which client may use which grants.
 *
 * @module
 */

import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { Json } from "./grant.ts";
import { Secret } from "./secret.ts";

/** A named permission: the holder of one token may use these grants. */
export interface Binding {
  /** Unique among live bindings, such as `run-k3f9x2ab`. */
  readonly name: string;
  /** Full grant names, such as `aws:prod`. */
  readonly grants: readonly string[];
  /** SHA-384 of the token in base64url. The token itself is never kept. */
  readonly tokenDigest: string;
  /** What it narrows of its grants, by provider; checked by each of them. */
  readonly settings?: Readonly<Record<string, Json>>;
  /** Who acts, as far as it is known. */
  readonly subject?: Subject;
}

/** Who acts by a binding; for names that an upstream's log shows. */
export interface Subject {
  /** The run's name, without `run-`. */
  readonly run?: string;
  /** The container's name. */
  readonly container?: string;
  /** The host's user. */
  readonly user?: string;
  /** The container's labels. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** 256 bits: guessing is out of reach, whatever the rate (design decision 3). */
const TOKEN_BYTES = 32;

/** Lets secret scanners recognise a moat token. */
const TOKEN_PREFIX = "moat_";

/**
 * Makes a new random token.
 *
 * @returns `moat_` and 43 characters of base64url.
 */
export function mintToken(): Secret {
  return new Secret(
    TOKEN_PREFIX + randomBytes(TOKEN_BYTES).toString("base64url"),
  );
}

/**
 * Digests a token for storage and comparison.
 *
 * A plain hash is enough because a token is random, not a password.
 *
 * @param token The token's text.
 * @returns SHA-384 in base64url, 64 characters.
 */
export function digestToken(token: string): string {
  return createHash("sha384").update(token).digest("base64url");
}

/**
 * Compares two digests in a time that does not depend on their content.
 *
 * @param left A digest of {@link digestToken}.
 * @param right Another one.
 * @returns Whether they are equal.
 */
export function equalDigests(left: string, right: string): boolean {
  const a = new TextEncoder().encode(left);
  const b = new TextEncoder().encode(right);
  return a.length === b.length && timingSafeEqual(a, b);
}
