/**
 * Grants: what `moat grant` stored, and the pure rules of their names.
 *
 * @module
 */

import { usageError } from "./errors.ts";
import type { Secret } from "./secret.ts";

/** A JSON value. */
export type Json =
  | string
  | number
  | boolean
  | null
  | readonly Json[]
  | { readonly [key: string]: Json };

/** A JSON object. */
export type JsonObject = { readonly [key: string]: Json };

/** What `moat grant` stored for one provider under one name. */
export interface Grant {
  /** The provider's canonical name, such as `aws`. */
  readonly provider: string;
  /** `PROVIDER` or `PROVIDER:NAME`, such as `aws:prod`. */
  readonly name: string;
  /** When it was granted, in ms since the Unix epoch. */
  readonly createdAt: number;
  /** When the credential ends, in ms since the Unix epoch; absent if it does not. */
  readonly expiresAt?: number;
  /** The provider's own settings, such as role and region. Never a secret. */
  readonly settings: JsonObject;
  /** The credential itself; absent for grants that only name a role. */
  readonly credential?: Secret;
}

/** Lower case only, because some file systems do not tell cases apart. */
const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;

/**
 * Makes the grant name of a provider and an optional `--name`.
 *
 * @param provider The provider's canonical name.
 * @param name 1 to 63 lower-case letters, digits, `.`, `_`, `-`.
 * @returns `aws` or `aws:prod`.
 * @throws {MoatError} `usage` if `name` is not well-formed.
 */
export function grantName(provider: string, name?: string): string {
  if (name === undefined) return provider;
  if (name.startsWith(`${provider}:`)) {
    throw usageError(
      `Cannot use ${
        JSON.stringify(name)
      } as a grant's --name: the provider is added by itself`,
      `write --name ${name.slice(provider.length + 1)}`,
    );
  }
  if (!NAME.test(name)) throw badName(name);
  return `${provider}:${name}`;
}

/**
 * Checks a grant name that a person typed.
 *
 * @param text `PROVIDER` or `PROVIDER:NAME`.
 * @returns Its provider part, and the name unchanged.
 * @throws {MoatError} `usage` if it is not well-formed.
 */
export function parseGrantName(
  text: string,
): { provider: string; name: string } {
  const [provider = "", name, ...rest] = text.split(":");
  if (!NAME.test(provider) || rest.length > 0) throw badName(text);
  if (name !== undefined && !NAME.test(name)) throw badName(text);
  return { provider, name: text };
}

/**
 * Tells which command makes a grant of this name, for hints.
 *
 * @param name A well-formed grant name.
 * @returns Such as `moat grant aws --name prod`.
 */
export function grantCommand(name: string): string {
  const [provider, suffix] = name.split(":");
  return suffix === undefined
    ? `moat grant ${provider}`
    : `moat grant ${provider} --name ${suffix}`;
}

function badName(text: string) {
  return usageError(
    `Cannot use ${JSON.stringify(text)} as a grant name`,
    "use lower-case letters, digits, '.', '_' and '-', 63 at most, such as PROVIDER:prod",
  );
}
