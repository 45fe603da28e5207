/**
 * What a grant of npm registries stores. The settings hold no secret; the
 * credentials are together in one.
 *
 * @module
 */

import * as v from "valibot";
import type { Grant } from "$core/grant.ts";
import { parseJson } from "$core/json.ts";
import { Secret } from "$core/secret.ts";
import type { TokenOrigin } from "../tokens/obtain.ts";
import { damagedGrant } from "../tokens/settings.ts";
import type { Place } from "./place.ts";

const PlaceSchema = v.strictObject({
  scheme: v.picklist(["http", "https"]),
  host: v.string(),
  path: v.string(),
});

const RegistrySchema = v.strictObject({
  ...PlaceSchema.entries,
  scopes: v.array(v.string()),
  isDefault: v.boolean(),
});

const CredentialSchema = v.strictObject({
  ...PlaceSchema.entries,
  kind: v.picklist(["bearer", "basic"]),
  validation: v.picklist([
    "ok",
    "rate-limited",
    "restricted",
    "skipped",
    "plain-http",
    "unknown",
  ]),
});

const SettingsSchema = v.strictObject({
  registries: v.array(RegistrySchema),
  credentials: v.array(CredentialSchema),
  tokenSource: v.picklist(["npmrc", "file", "env", "cli", "prompt"]),
  tokenVariable: v.exactOptional(v.string()),
  skipped: v.array(v.string()),
});

/** Authorization by place, as `keyOf` writes it. */
const SecretSchema = v.record(
  v.string(),
  v.pipe(v.string(), v.regex(/^(?:Bearer|Basic) [!-~]+$/)),
);

/** A registry that clients use, and for which packages. */
export interface RegistrySettings extends Place {
  /** With `@`. */
  readonly scopes: string[];
  /** Whether it is for all packages that no scope has elsewhere. */
  isDefault: boolean;
}

/** A place for which there is a credential, and what came of trying it. */
export interface CredentialSettings extends Place {
  /** How it is sent. */
  readonly kind: "bearer" | "basic";
  /** `unknown`: the registry cannot tell; `plain-http`: it was not asked. */
  readonly validation:
    | "ok"
    | "rate-limited"
    | "restricted"
    | "skipped"
    | "plain-http"
    | "unknown";
}

/** Settings of a grant of npm registries. */
export interface NpmSettings {
  /** Those that clients use. */
  readonly registries: readonly RegistrySettings[];
  /** Where there are credentials. */
  readonly credentials: readonly CredentialSettings[];
  /** `npmrc`: npm's own configuration; else one token was given. */
  readonly tokenSource: "npmrc" | TokenOrigin["tokenSource"];
  /** The variable, if it was in the environment. */
  readonly tokenVariable?: string;
  /** Sentences about settings of npm that were left out. */
  readonly skipped: readonly string[];
}

/**
 * Reads a grant's settings.
 *
 * @param grant A grant of npm registries.
 * @throws {MoatError} `grant-damaged`.
 */
export function readSettings({ name, settings }: Grant): NpmSettings {
  const result = v.safeParse(SettingsSchema, settings);
  if (result.success) return result.output;
  throw damagedGrant(name, "its settings have an unknown shape");
}

/**
 * Packs credentials into one secret.
 *
 * @param authorizations The whole value of Authorization by place.
 */
export function packCredentials(
  authorizations: Readonly<Record<string, Secret>>,
): Secret {
  return new Secret(JSON.stringify(Object.fromEntries(
    Object.entries(authorizations).map(([key, value]) => [key, value.reveal()]),
  )));
}

/**
 * Unpacks what {@link packCredentials} packed.
 *
 * @param grant A grant of npm registries.
 * @returns The whole value of Authorization by place.
 * @throws {MoatError} `grant-damaged`.
 */
export function unpackCredentials(
  { name, credential }: Grant,
): ReadonlyMap<string, Secret> {
  const value = credential && parseJson(credential.reveal());
  const result = v.safeParse(SecretSchema, value);
  if (!result.success) throw damagedGrant(name, "its credentials are missing");
  return new Map(
    Object.entries(result.output).map(([key, text]) => [key, new Secret(text)]),
  );
}
