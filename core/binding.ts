/**
 * Bindings and their tokens: which client may use which grants.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { ContainerMatch } from "./container.ts";
import { usageError } from "./errors.ts";
import type { Json } from "./grant.ts";
import type { Policy } from "./policy.ts";
import { Secret } from "./secret.ts";

/** A named permission: the holder of one token may use these grants. */
export interface Binding {
  /** Unique among live bindings, such as `web` or `run-k3f9x2abcd`. */
  readonly name: string;
  /** Full grant names, such as `aws:prod`. */
  readonly grants: readonly string[];
  /** How its client asks: the name of a `Mode`. Default: the provider's first. */
  readonly mode?: string;
  /** What it narrows of its grants, by provider; checked by each of them. */
  readonly settings?: Readonly<Record<string, Json>>;
  /** Who acts, as far as it is known. */
  readonly subject?: Subject;
  /** Where its client may go; default: where its grants are for, and nowhere else. */
  readonly policy?: Policy;
  /** The container that alone may use it, with its token or, in a mode that has none, without. */
  readonly container?: ContainerMatch;
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

/** Where a client sends its token; `container`: it has none and is known by its address. */
export type Access = "header" | "query" | "container";

/** What a token begins with; lets secret scanners recognise it. */
export const TOKEN_PREFIX = "moat";

/** 256 bits: guessing is out of reach, whatever the rate (design decision 3). */
const SECRET_BYTES = 32;

/** A name fits a file, an address of a unit of systemd, and a token. */
const NAME = /^[A-Za-z0-9_@-][A-Za-z0-9_.@-]{0,63}$/;

/** The secret part: at least 256 bits of base64url. */
const SECRET = /^[\w-]{43,128}$/;

/** Runs have names of their own. */
const RESERVED = /^run-/;

/**
 * Checks the name of a binding.
 *
 * @param name 1 to 64 letters, digits, `_`, `.`, `-`, `@`; no dot first.
 * @returns The same name; safe as a file's.
 * @throws {MoatError} `usage`.
 */
export function checkBindingName(name: string): string {
  if (!NAME.test(name)) {
    throw usageError(
      `Cannot use ${
        JSON.stringify(name.slice(0, 80))
      } as a binding's name: wanted 1 to 64 letters, digits, "_", ".", "-" or "@", and no dot at the beginning`,
      "choose another name, such as web-1",
    );
  }
  if (!RESERVED.test(name)) return name;
  throw usageError(
    `Cannot use "${name}" as a binding's name: names with run- belong to moat run`,
    `choose another name, such as ${name.slice(4) || "web-1"}`,
  );
}

/**
 * Makes a new random token.
 *
 * @param name The binding's name, by which its digest is found.
 * @param prefix What it begins with.
 * @param bytes How much randomness.
 * @returns `PREFIX.NAME.SECRET`, the secret in base64url.
 */
export function mintToken(
  name: string,
  prefix: string = TOKEN_PREFIX,
  bytes: number = SECRET_BYTES,
): Secret {
  const secret = randomBytes(bytes).toString("base64url");
  return new Secret(`${prefix}.${name}.${secret}`);
}

/**
 * What a token's file holds, which SDKs send as it is.
 *
 * @param token The token.
 * @returns The value of an Authorization header; no final newline, which most
 * SDKs would send as a part of it.
 */
export function tokenFileContent(token: Secret): string {
  return `Bearer ${token.reveal()}`;
}

/**
 * Makes what stands for a token where it is not known yet, to be replaced.
 *
 * @param name The binding's name.
 * @returns A well-formed token that nobody accepts: no secret is of zeros.
 */
export function placeholderToken(name: string): Secret {
  return new Secret(`${TOKEN_PREFIX}.${name}.${"0".repeat(43)}`);
}

/** A token that someone showed; nothing is proven yet. */
export interface ShownToken {
  /** The binding that it names. */
  readonly name: string;
  /** Digest of its secret, see {@link digestToken}. */
  readonly digest: string;
}

/**
 * Takes a token apart.
 *
 * @param token What a client sent.
 * @param prefix What it must begin with.
 * @returns Name and digest; undefined for what is no token.
 */
export function readToken(
  token: string,
  prefix: string = TOKEN_PREFIX,
): ShownToken | undefined {
  // The name may contain dots, the secret does not.
  const end = token.lastIndexOf(".");
  if (!token.startsWith(`${prefix}.`) || end <= prefix.length) return undefined;
  const name = token.slice(prefix.length + 1, end);
  if (!NAME.test(name) || !isSecret(token.slice(end + 1))) return undefined;
  return { name, digest: digestToken(token) };
}

/** In its one spelling: no bits that decoding would pass over. */
function isSecret(text: string): boolean {
  return SECRET.test(text) &&
    Buffer.from(text, "base64url").toString("base64url") === text;
}

/**
 * Tells whether a text shows a token of moat.
 *
 * @param text Such as the value of a variable.
 */
export function holdsToken(text: string): boolean {
  return /\bmoat\.[\w.@%-]+\.[\w-]{43}/.test(text);
}

/**
 * Digests a token's secret for storage and comparison.
 *
 * A plain hash is enough because a secret is random, not a password. The form
 * is that of needroleshere's `secret_hash`.
 *
 * @param token The whole token.
 * @returns SHA-384 of the secret's bytes in base64url, 64 characters.
 */
export function digestToken(token: string): string {
  const secret = token.slice(token.lastIndexOf(".") + 1);
  return createHash("sha384").update(Buffer.from(secret, "base64url"))
    .digest("base64url");
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
