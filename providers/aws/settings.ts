/**
 * What a grant of this provider stores: which roles, how to assume them, and
 * where the source credentials are. Never a secret.
 *
 * @module
 */

import * as v from "valibot";
import { MoatError } from "$core/errors.ts";
import type { Grant, Json, JsonObject } from "$core/grant.ts";

/** The kinds of source, in the order in which they are tried by default. */
export const SOURCE_KINDS = [
  "environment",
  "profile",
  "web-identity",
  "container",
  "instance",
] as const;

/** Where credentials can come from; see {@link Source}. */
export type SourceKind = typeof SOURCE_KINDS[number];

/**
 * Where a grant's own credentials come from, as `moat grant` found it in its
 * environment (design decision 2). What is absent was not set there.
 */
export interface Source {
  /** What is tried, in this order; the first that has credentials counts. */
  readonly order: readonly SourceKind[];
  /** The shared-config profile. Default: `default`. */
  readonly profile?: string | undefined;
  /** Absolute path of the shared config file. */
  readonly configFile: string;
  /** Absolute path of the shared credentials file. */
  readonly credentialsFile: string;
  /** Of AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME. */
  readonly webIdentity?: {
    /** Absolute path of the token. */
    readonly tokenFile: string;
    /** ARN of the role that the token opens. */
    readonly role: string;
    /** Its session name. */
    readonly sessionName?: string | undefined;
  } | undefined;
  /** Of AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI. */
  readonly container?: {
    /** The whole URL. */
    readonly url: string;
    /** Absolute path of AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE. */
    readonly tokenFile?: string | undefined;
  } | undefined;
  /** AWS_EC2_METADATA_SERVICE_ENDPOINT, when it is not AWS's own. */
  readonly instanceEndpoint?: string | undefined;
  /** AWS_EC2_METADATA_DISABLED. */
  readonly instanceDisabled?: boolean | undefined;
}

/** The device whose codes open the first role. */
export interface Mfa {
  /** Serial number or ARN of the device. */
  readonly serial: string;
  /** A program that prints a code. */
  readonly command?: string | undefined;
}

/** How to obtain the first role's session from IAM Roles Anywhere. */
export interface Anywhere {
  /** ARN of the trust anchor. */
  readonly trustAnchorArn: string;
  /** ARN of the Roles Anywhere profile. */
  readonly profileArn: string;
  /** Absolute paths of PEM or DER files with the leaf, and maybe its chain; or one PKCS#12 file. */
  readonly certificates: readonly string[];
  /** Absolute paths of files with more of the chain. */
  readonly intermediates?: readonly string[] | undefined;
  /** Absolute path of the private key; absent when PKCS#12 holds it. */
  readonly privateKey?: string | undefined;
  /** Absolute path of a file whose first line is the key's passphrase. */
  readonly passphraseFile?: string | undefined;
  /** Region of the service: of the trust anchor unless given. */
  readonly region: string;
  /** The service's URL, when it is not AWS's own. */
  readonly endpoint?: string | undefined;
  /** Whether to use the FIPS endpoint. */
  readonly fips?: boolean | undefined;
  /** Whether to use the dual-stack endpoint. */
  readonly dualStack?: boolean | undefined;
}

/** Where STS is, and whom to trust there. */
export interface StsAddress {
  /** Region of STS, and of the workload. */
  readonly region: string;
  /** STS endpoint when it is not AWS's own. */
  readonly stsEndpoint?: string | undefined;
  /** PEM file with further roots, from AWS_CA_BUNDLE. */
  readonly caBundle?: string | undefined;
}

/** The settings of an AWS grant. */
export interface AwsSettings extends StsAddress {
  /** ARNs of the roles, assumed one after another; empty with `direct`. */
  readonly roles: readonly string[];
  /** Life of a session in s, 900 to 43,200. Absent: STS's own default. */
  readonly durationSeconds?: number | undefined;
  /** What the last role's trust policy asks for. */
  readonly externalId?: string | undefined;
  /** Template of the session name, see `session_name.ts`. */
  readonly sessionName?: string | undefined;
  /** Inline session policy: JSON, at most 2,048 characters. */
  readonly policy?: string | undefined;
  /** ARNs of managed session policies, at most 10. */
  readonly policyArns?: readonly string[] | undefined;
  /** Session tags, at most 50. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /** Keys of the tags that pass on to further roles. */
  readonly transitiveTags?: readonly string[] | undefined;
  /** Keys of container labels that become session tags. */
  readonly labelTags?: readonly string[] | undefined;
  /** STS's source identity. */
  readonly sourceIdentity?: string | undefined;
  /** Whether the source's own session is handed out. */
  readonly direct?: true | undefined;
  /** The device whose codes open the first role. */
  readonly mfa?: Mfa | undefined;
  /** Absolute path of the token that opens the first role. */
  readonly webIdentityTokenFile?: string | undefined;
  /** What opens the first role instead of source credentials. */
  readonly anywhere?: Anywhere | undefined;
  /** Where the source credentials are. */
  readonly source: Source;
}

const Text = v.string();
const Texts = v.array(v.string());
const optional = <T extends v.GenericSchema>(schema: T) =>
  v.exactOptional(schema);

const SettingsSchema = v.strictObject({
  roles: Texts,
  region: Text,
  durationSeconds: optional(v.number()),
  externalId: optional(Text),
  sessionName: optional(Text),
  policy: optional(Text),
  policyArns: optional(Texts),
  tags: optional(v.record(v.string(), v.string())),
  transitiveTags: optional(Texts),
  labelTags: optional(Texts),
  sourceIdentity: optional(Text),
  direct: optional(v.literal(true)),
  mfa: optional(v.strictObject({
    serial: Text,
    command: optional(Text),
  })),
  webIdentityTokenFile: optional(Text),
  anywhere: optional(v.strictObject({
    trustAnchorArn: Text,
    profileArn: Text,
    certificates: Texts,
    intermediates: optional(Texts),
    privateKey: optional(Text),
    passphraseFile: optional(Text),
    region: Text,
    endpoint: optional(Text),
    fips: optional(v.boolean()),
    dualStack: optional(v.boolean()),
  })),
  source: v.strictObject({
    order: v.array(v.picklist(SOURCE_KINDS)),
    profile: optional(Text),
    configFile: Text,
    credentialsFile: Text,
    webIdentity: optional(v.strictObject({
      tokenFile: Text,
      role: Text,
      sessionName: optional(Text),
    })),
    container: optional(v.strictObject({
      url: Text,
      tokenFile: optional(Text),
    })),
    instanceEndpoint: optional(Text),
    instanceDisabled: optional(v.boolean()),
  }),
  stsEndpoint: optional(Text),
  caBundle: optional(Text),
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

/** What a binding narrows of its grant. */
export interface BindingSettings {
  /** Shorter than the grant's, in s. */
  readonly durationSeconds?: number;
  /** Template of the session name. */
  readonly sessionName?: string;
  /** Inline session policy, where the grant has none. */
  readonly policy?: string;
  /** Whether instance metadata is answered without a session token. */
  readonly v1?: true;
}

const BindingSchema = v.strictObject({
  durationSeconds: optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
  sessionName: optional(Text),
  policy: optional(Text),
  v1: optional(v.literal(true)),
});

/**
 * Reads what a binding narrows.
 *
 * @param settings The binding's settings for this provider.
 * @returns The same, of known shape.
 * @throws {MoatError} `binding-damaged` if they have another shape.
 */
export function readBindingSettings(settings: Json = {}): BindingSettings {
  const result = v.safeParse(BindingSchema, settings);
  if (result.success) return result.output;
  throw new MoatError(
    "binding-damaged",
    "Cannot use a binding: its settings have an unknown shape",
    { hint: "bind it again" },
  );
}

/**
 * What failed, in words: the roles' last one, or the source alone.
 *
 * @param settings The settings of a grant.
 * @returns Such as `assume arn:aws:iam::…`; follows `Cannot`.
 */
export function describeAction(
  { roles }: Pick<AwsSettings, "roles">,
): string {
  const role = roles.at(-1);
  return role ? `assume ${role}` : "use the source's own session";
}
