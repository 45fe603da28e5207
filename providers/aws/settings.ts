/**
 * What a grant of this provider stores: the role, how to assume it, and where
 * the source credentials are. Never a secret.
 *
 * @module
 */

import * as v from "valibot";
import { MoatError } from "$core/errors.ts";
import type { Grant, JsonObject } from "$core/grant.ts";

/** Where a grant's own credentials come from. */
export interface Source {
  /** `default`: the SDK's default chain; `profile`: one shared-config profile. */
  readonly kind: "default" | "profile";
  /** The profile's name, with `profile` only. */
  readonly profile?: string | undefined;
  /** Absolute path of the shared config file. */
  readonly configFile: string;
  /** Absolute path of the shared credentials file. */
  readonly credentialsFile: string;
  /** STS endpoint when it is not AWS's own, from AWS_ENDPOINT_URL[_STS]. */
  readonly stsEndpoint?: string | undefined;
  /** PEM file with further roots, from AWS_CA_BUNDLE. */
  readonly caBundle?: string | undefined;
}

/** The settings of an AWS grant. */
export interface AwsSettings {
  /** ARN of the role to assume. */
  readonly role: string;
  /** Region of STS, and of the workload. */
  readonly region: string;
  /** Life of a session, 900 to 43,200. */
  readonly durationSeconds: number;
  /** What the role's trust policy asks for. */
  readonly externalId?: string | undefined;
  /** Session name; absent for one made of the binding's name. */
  readonly sessionName?: string | undefined;
  /** Where the source credentials are. */
  readonly source: Source;
}

const SettingsSchema = v.strictObject({
  role: v.string(),
  region: v.string(),
  durationSeconds: v.number(),
  externalId: v.optional(v.string()),
  sessionName: v.optional(v.string()),
  source: v.strictObject({
    kind: v.picklist(["default", "profile"]),
    profile: v.optional(v.string()),
    configFile: v.string(),
    credentialsFile: v.string(),
    stsEndpoint: v.optional(v.string()),
    caBundle: v.optional(v.string()),
  }),
});

/**
 * Reads the settings of a stored grant.
 *
 * @param grant A grant of this provider.
 * @returns Its settings.
 * @throws {MoatError} `grant-damaged` if they have another shape.
 */
export function readSettings(grant: Grant): AwsSettings {
  const result = v.safeParse(SettingsSchema, grant.settings);
  if (result.success) return result.output;
  throw new MoatError(
    "grant-damaged",
    `Cannot use grant "${grant.name}": its settings have an unknown shape`,
    { hint: `moat revoke ${grant.name}, then grant it again` },
  );
}

/**
 * Writes settings in the form that a grant stores.
 *
 * @param settings The settings.
 * @returns A JSON object without absent members.
 */
export function writeSettings(settings: AwsSettings): JsonObject {
  return JSON.parse(JSON.stringify(settings));
}
