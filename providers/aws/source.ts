/**
 * Where a grant's own credentials come from: recorded when it is granted, so
 * that a running proxy does not depend on the environment that it was started
 * in (design decision 2). Keys in the environment belong to the process that
 * has them.
 *
 * @module
 */

import { join, resolve } from "node:path";
import { MoatError, usageError } from "$core/errors.ts";
import { SELF_SOURCE_MARK } from "./errors.ts";
import type { AwsSettings, Source } from "./settings.ts";

/** A snapshot of environment variables. */
export type Environment = Readonly<Record<string, string>>;

/** What the SDK takes as `credentials`. */
export type CredentialProvider = (context?: object) => Promise<{
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
}>;

/** Keeps the SDK from writing to the console: moat's errors say it all. */
export const SDK_LOGGER = {
  trace() {},
  debug() {},
  info() {},
  warn() {},
  error() {},
};

/**
 * Records the source that this environment names.
 *
 * @param env The environment of `moat grant`.
 * @param profileFlag The value of `--aws-profile`.
 * @returns The source, with absolute paths.
 * @throws {MoatError} `usage` if an endpoint variable is no URL.
 */
export function recordSource(env: Environment, profileFlag?: string): Source {
  const profile = profileFlag ?? env["AWS_PROFILE"] ?? "";
  const stsEndpoint = endpointFrom(env);
  const caBundle = env["AWS_CA_BUNDLE"];
  return {
    kind: profile ? "profile" : "default",
    ...(profile && { profile }),
    configFile: sharedFile(env, "AWS_CONFIG_FILE", "config"),
    credentialsFile: sharedFile(
      env,
      "AWS_SHARED_CREDENTIALS_FILE",
      "credentials",
    ),
    ...(stsEndpoint && { stsEndpoint }),
    ...(caBundle && { caBundle: resolve(caBundle) }),
  };
}

/** Fails if this environment's credentials were handed out by moat itself. */
export function refuseOwnSource(env: Environment): void {
  const token = env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] ?? "";
  if (!/^(Bearer )?moat_/.test(token)) return;
  throw new MoatError(
    "source-is-moat",
    "Cannot use the container credentials of this environment: moat handed them out",
    {
      hint:
        "run this outside of the bound container, or give --aws-profile PROFILE",
    },
  );
}

/**
 * Makes the credential provider of a source. It reads its files anew on each
 * call, so that a rotated key or a new login counts at once.
 *
 * @param settings The grant's settings.
 * @param env The environment of this process.
 * @param requestHandler The handler for the providers' own calls.
 * @returns What STSClient takes as `credentials`.
 */
export async function sourceCredentials(
  settings: AwsSettings,
  env: Environment,
  requestHandler: unknown,
): Promise<CredentialProvider> {
  const { source } = settings;
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = env;
  if (source.kind === "default" && AWS_ACCESS_KEY_ID && AWS_SECRET_ACCESS_KEY) {
    return () => Promise.resolve(environmentKeys(env));
  }
  const { fromIni, fromNodeProviderChain } = await import("./sdk_sources.ts");
  const init = {
    ...await roleAssumers(settings, requestHandler),
    profile: source.profile ?? "default",
    filepath: source.credentialsFile,
    configFilepath: source.configFile,
    ignoreCache: true,
    clientConfig: { region: settings.region, requestHandler },
  } as Parameters<typeof fromIni>[0];
  if (source.kind === "profile") return fromIni(init);
  refuseOwnSource(env);
  // fromIni first and by itself: the chain would hide why it failed.
  return () => fromIni(init)().catch(orElse(fromNodeProviderChain(init)));
}

/** For a source that assumes a role itself: at the STS that was recorded. */
async function roleAssumers(
  { region, source }: AwsSettings,
  requestHandler: unknown,
) {
  const sdk = await import("./sdk_sources.ts");
  const endpoint = source.stsEndpoint;
  const options = {
    ...{ region, requestHandler, logger: SDK_LOGGER },
    ...(endpoint && { endpoint }),
  } as Parameters<typeof sdk.getDefaultRoleAssumer>[0];
  return {
    roleAssumer: sdk.getDefaultRoleAssumer(options),
    roleAssumerWithWebIdentity: sdk.getDefaultRoleAssumerWithWebIdentity(
      options,
    ),
  };
}

/** What the SDK's `fromEnv` does; here it spares loading all providers. */
function environmentKeys(env: Environment) {
  const sessionToken = env["AWS_SESSION_TOKEN"];
  return {
    accessKeyId: env["AWS_ACCESS_KEY_ID"] ?? "",
    secretAccessKey: env["AWS_SECRET_ACCESS_KEY"] ?? "",
    ...(sessionToken && { sessionToken }),
  };
}

function orElse(next: CredentialProvider) {
  return (error: { tryNextLink?: boolean; message?: string }) => {
    const isFinal = error.tryNextLink === false ||
      error.message?.includes(SELF_SOURCE_MARK);
    if (isFinal) throw error;
    return next();
  };
}

/** The parts of a shared-config profile that moat itself looks at. */
export interface ProfileFacts {
  /** The region that it names itself. */
  readonly region: string | undefined;
  /** The program that `credential_process` names. */
  readonly process: string | undefined;
}

/**
 * Reads the region and the source program of a source's profile, following
 * `source_profile`.
 *
 * @param source The source.
 * @returns What its profile says; nothing for a file or profile that is missing.
 */
export async function readProfile(source: Source): Promise<ProfileFacts> {
  const profiles = await loadProfiles(source);
  const first = profiles[source.profile ?? "default"];
  const seen = new Set<unknown>();
  let profile = first;
  while (profile && !seen.has(profile) && !profile["credential_process"]) {
    seen.add(profile);
    profile = profiles[profile["source_profile"] ?? ""];
  }
  return {
    region: first?.["region"],
    process: profile?.["credential_process"],
  };
}

/**
 * Checks that a named profile exists, because the SDK's own error for a
 * misspelt one does not name the files.
 *
 * @param source The source.
 * @throws {MoatError} `usage` if neither file has it.
 */
export async function checkProfile(source: Source): Promise<void> {
  if (source.kind !== "profile") return;
  const profiles = await loadProfiles(source);
  if (Object.hasOwn(profiles, source.profile ?? "")) return;
  throw usageError(
    `Cannot find profile ${
      JSON.stringify(source.profile)
    } in ${source.configFile} or ${source.credentialsFile}`,
    "aws configure list-profiles shows those there are",
  );
}

async function loadProfiles(source: Source) {
  const { parseKnownFiles } = await import("@smithy/shared-ini-file-loader");
  return await parseKnownFiles({
    filepath: source.credentialsFile,
    configFilepath: source.configFile,
    ignoreCache: true,
  });
}

function sharedFile(env: Environment, variable: string, name: string): string {
  return resolve(env[variable] || join(env["HOME"] || "/", ".aws", name));
}

function endpointFrom(env: Environment): string | undefined {
  if (env["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] === "true") return undefined;
  for (const variable of ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]) {
    const value = env[variable];
    if (!value) continue;
    if (isEndpoint(value)) return value;
    // Before an @ there may be a password.
    const shown = value.includes("@") ? "…" : JSON.stringify(value);
    throw usageError(
      `Cannot use ${variable}=${shown}: wanted an http or https URL without a user`,
      `unset ${variable}, or give it a URL such as https://sts.eu-central-1.amazonaws.com`,
    );
  }
  return undefined;
}

/** What is recorded is shown and printed, so there is no password in it. */
function isEndpoint(text: string): boolean {
  if (!/^https?:\/\/[^/][\x21-\x7e]*$/.test(text)) return false;
  const url = URL.parse(text);
  return url !== null && !url.username && !url.password;
}
