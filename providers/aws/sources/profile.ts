/**
 * Shared-config profiles: which section gives credentials, and which roles
 * are assumed with them. The rules are those of the SDK's `fromIni`; they are
 * here because it gives its inner providers neither the recorded files nor
 * our endpoints.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html | Shared config and credentials files}
 */

import { type MoatError, usageError } from "$core/errors.ts";
import { failure } from "../errors.ts";
import { isSmallFile } from "../files.ts";
import type { Source } from "../settings.ts";

/** Settings of one section. */
export type Section = Readonly<Record<string, string | undefined>>;

/** The sections of both files, by profile name. */
export type Profiles = Readonly<Record<string, Section>>;

/** What gives a profile's first credentials. */
export type BaseKind =
  | "keys"
  | "web-identity"
  | "process"
  | "sso"
  | "login"
  | "environment"
  | "container"
  | "instance"
  | "nothing";

/** How a profile's credentials come about. */
export interface ProfilePlan {
  /** What gives the first credentials. */
  readonly base: {
    /** How. */
    readonly kind: BaseKind;
    /** The profile that says so. */
    readonly name: string;
    /** That profile's settings. */
    readonly section: Section;
    /** Why there are none, with the kind `nothing`: as the SDK words it. */
    readonly fault?: string;
  };
  /** The sections whose roles are assumed with them, first to last. */
  readonly roles: readonly Section[];
}

const CREDENTIAL_SOURCES: Readonly<Record<string, BaseKind>> = {
  Environment: "environment",
  EcsContainer: "container",
  Ec2InstanceMetadata: "instance",
};

/**
 * Plans how a profile's credentials are obtained. Pure.
 *
 * @param profiles All sections.
 * @param name The profile.
 * @returns The plan; its base is `nothing` for a profile that gives none.
 */
export function planProfile(profiles: Profiles, name: string): ProfilePlan {
  const visited = new Set<string>();
  const roles: Section[] = [];
  let isRole = false;
  for (let current = name;;) {
    const section = sectionOf(profiles, current);
    const give = (kind: BaseKind, fault?: string): ProfilePlan => ({
      base: { kind, name: current, section, ...(fault && { fault }) },
      roles: roles.toReversed(),
    });
    // A source's keys count before its role, the first profile's after it.
    if (visited.size > 0 && hasStaticKeys(section)) return give("keys");
    if (!isRole && !assumesRole(section)) return give(...ownBase(section));
    const { source_profile: next, credential_source: from } = section;
    if (section["role_arn"]) roles.push(section);
    if (!next) return give(...namedBase(from));
    if (visited.has(next)) {
      return give("nothing", "Detected a cycle of source_profile.");
    }
    visited.add(next);
    const following = sectionOf(profiles, next);
    isRole = !following["role_arn"] && !!following["credential_source"];
    current = next;
  }
}

function sectionOf(profiles: Profiles, name: string): Section {
  return (Object.hasOwn(profiles, name) && profiles[name]) || {};
}

function hasStaticKeys(section: Section): boolean {
  return !!section["aws_access_key_id"] && !!section["aws_secret_access_key"];
}

function assumesRole(section: Section): boolean {
  const { source_profile: profile, credential_source: from } = section;
  return !!section["role_arn"] && !profile !== !from;
}

function ownBase(section: Section): [BaseKind, string?] {
  if (hasStaticKeys(section)) return ["keys"];
  if (section["web_identity_token_file"] && section["role_arn"]) {
    return ["web-identity"];
  }
  if (section["credential_process"]) return ["process"];
  if (SSO_SETTINGS.some((setting) => section[setting])) return ["sso"];
  if (section["login_session"]) return ["login"];
  return ["nothing", "Could not resolve credentials using profile."];
}

const SSO_SETTINGS = [
  "sso_start_url",
  "sso_account_id",
  "sso_session",
  "sso_region",
  "sso_role_name",
];

function namedBase(from = ""): [BaseKind, string?] {
  const kind = Object.hasOwn(CREDENTIAL_SOURCES, from)
    ? CREDENTIAL_SOURCES[from]
    : undefined;
  return kind ? [kind] : ["nothing", "Unsupported credential source."];
}

/** The parts of a shared-config profile that moat itself looks at. */
export interface ProfileFacts {
  /** The region that it names itself. */
  readonly region: string | undefined;
  /** The program that gives its first credentials. */
  readonly process: string | undefined;
  /** The address that it names for STS. */
  readonly stsEndpoint: string | undefined;
  /** The address that it names for the instance metadata service. */
  readonly instanceEndpoint: string | undefined;
  /** Whether `credential_source` names this environment's container. */
  readonly inherits: boolean;
}

/**
 * Reads what moat must know of a source's profile.
 *
 * @param source The source.
 * @returns What its profile says; nothing for a file or profile that is missing.
 */
export async function readProfile(source: Source): Promise<ProfileFacts> {
  const profiles = await loadProfiles(source);
  const name = profileName(source);
  const { base } = planProfile(profiles, name);
  const first = sectionOf(profiles, name);
  return {
    region: first["region"],
    process: base.kind === "process"
      ? base.section["credential_process"]
      : undefined,
    stsEndpoint: endpointOf(profiles, first, "sts"),
    instanceEndpoint: first["ec2_metadata_service_endpoint"],
    inherits: base.kind === "container",
  };
}

/**
 * The address that a profile names for a service: the service's own above that
 * of everything, as SDKs have it.
 *
 * @param profiles All sections.
 * @param section The profile's.
 * @param service The service's identifier, such as `sts` or `sso_oidc`.
 * @returns An unchecked text; undefined for AWS's own.
 */
export function endpointOf(
  profiles: Profiles,
  section: Section,
  service: string,
): string | undefined {
  if (section["ignore_configured_endpoint_urls"] === "true") return undefined;
  const services = sectionOf(profiles, `services.${section["services"]}`);
  return services[`${service}.endpoint_url`] || section["endpoint_url"] ||
    undefined;
}

/**
 * Names the program that obtaining a source's credentials may start.
 *
 * @param source The source.
 * @returns The command line of its profile's `credential_process`, if any.
 */
export async function sourceProcess(
  source: Source,
): Promise<string | undefined> {
  if (!source.order.includes("profile")) return undefined;
  return (await readProfile(source)).process;
}

/**
 * Checks that a named profile exists, because the SDK's own error for a
 * misspelt one does not name the files.
 *
 * @param source The source.
 * @throws {MoatError} `usage` if neither file has it.
 */
export async function checkProfile(source: Source): Promise<void> {
  const { profile, configFile, credentialsFile } = source;
  if (profile === undefined) return;
  const profiles = await loadProfiles(source);
  if (Object.hasOwn(profiles, profile)) return;
  throw usageError(
    `Cannot find profile ${
      JSON.stringify(profile)
    } in ${configFile} or ${credentialsFile}`,
    "aws configure list-profiles shows those there are",
  );
}

/**
 * The profile that a source means.
 *
 * @param source The source.
 * @returns Its name, or `default`.
 */
export function profileName({ profile }: Source): string {
  return profile ?? "default";
}

/**
 * Reads both files anew.
 *
 * @param source Where they are.
 * @returns Their sections, joined; a missing file is an empty one.
 * @throws {MoatError} `no-source` for what has no end, or a section that
 * would change this process.
 */
export async function loadProfiles(
  { configFile, credentialsFile }: Source,
): Promise<Profiles> {
  await Promise.all([configFile, credentialsFile].map(checkShared));
  const { parseKnownFiles } = await import("@smithy/shared-ini-file-loader");
  return await parseKnownFiles({
    filepath: credentialsFile,
    configFilepath: configFile,
    ignoreCache: true,
  });
}

/** Some have a profile for each role of thousands of accounts. */
const MAX_SHARED_BYTES = 16 * 1024 * 1024;

/**
 * What else is wrong with a file shows when it is read. Its parser writes to
 * the members that each object has, such as `constructor`, and so to what all
 * of this process uses, when a section has such a name.
 */
async function checkShared(path: string): Promise<void> {
  const isReadable = await isSmallFile(path, MAX_SHARED_BYTES)
    .catch(() => true) || await isDirectory(path);
  if (!isReadable) {
    throw unusable(path, "wanted a file of at most 16 MiB");
  }
  const text = await Deno.readTextFile(path).catch(() => "");
  const names = text.matchAll(/^\s*\[([^\]]*)\]/gm);
  const bad = names.map(([, name = ""]) => name.trim())
    .find((name) => name in Object.prototype);
  if (bad) throw unusable(path, `found a section [${bad}]`);
}

/** One that a container engine made stands for no file. */
async function isDirectory(path: string): Promise<boolean> {
  return (await Deno.stat(path)).isDirectory;
}

function unusable(path: string, fault: string): MoatError {
  return failure(
    "no-source",
    `Cannot use the source credentials in "${path}": ${fault}`,
    {
      hint:
        "mend the file, or grant again with another AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE",
    },
  );
}
