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
import { hideSecrets, SELF_SOURCE_MARK } from "./errors.ts";
import type { AwsSettings, Source } from "./settings.ts";
import { openTransport } from "./transport.ts";

/** A snapshot of environment variables. */
export type Environment = Readonly<Record<string, string>>;

/** What the SDK takes as `credentials`. */
export interface Credentials {
  /** Not a secret. */
  readonly accessKeyId: string;
  /** The key itself. */
  readonly secretAccessKey: string;
  /** With temporary credentials only. */
  readonly sessionToken?: string;
}

type CredentialProvider = (context?: object) => Promise<Credentials>;

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

/** A token of moat's own. */
const OWN_TOKEN = /moat_[\w-]{43}/i;

/**
 * Fails if a source would use this environment's container credentials, and
 * moat itself hands those out.
 *
 * @param source The source.
 * @param env The environment of this process.
 * @throws {MoatError} `source-is-moat`.
 */
export async function refuseOwnSource(
  source: Source,
  env: Environment,
): Promise<void> {
  if (hasKeys(source, env) || !await hasOwnToken(env)) return;
  if (source.kind === "profile" && !(await readProfile(source)).inherits) {
    return;
  }
  throw new MoatError(
    "source-is-moat",
    "Cannot use the container credentials of this environment: moat handed them out",
    {
      hint:
        "run this outside of the bound container, or give --aws-profile PROFILE",
    },
  );
}

async function hasOwnToken(env: Environment): Promise<boolean> {
  if (OWN_TOKEN.test(env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] ?? "")) {
    return true;
  }
  const file = env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
  if (!file) return false;
  // The SDK tells what is wrong with a file that cannot be read.
  return OWN_TOKEN.test(await Deno.readTextFile(file).catch(() => ""));
}

/** Calls of sources that have not settled yet. */
const pending = new Map<string, Promise<Credentials>>();

/**
 * Gets a source's credentials. It reads its files anew, so that a rotated key
 * or a new login counts at once; but as long as a call has not settled, such
 * as one of a program that hangs, it starts no other for the same source.
 *
 * @param settings The grant's settings.
 * @param env The environment of this process.
 * @returns The credentials.
 * @throws What the SDK throws: see `mapAwsError`.
 */
export async function sourceCredentials(
  settings: AwsSettings,
  env: Environment,
): Promise<Credentials> {
  const { source, region } = settings;
  if (hasKeys(source, env)) return environmentKeys(env);
  const key = JSON.stringify([region, source]);
  let call = pending.get(key);
  if (!call) {
    call = askSource(settings, env).finally(() => pending.delete(key));
    pending.set(key, call);
  }
  return await call;
}

function hasKeys(source: Source, env: Environment): boolean {
  return source.kind === "default" &&
    !!env["AWS_ACCESS_KEY_ID"] && !!env["AWS_SECRET_ACCESS_KEY"];
}

async function askSource(
  settings: AwsSettings,
  env: Environment,
): Promise<Credentials> {
  const { source, region } = settings;
  await refuseOwnSource(source, env);
  const { fromIni, fromNodeProviderChain } = await import("./sdk_sources.ts");
  using transport = await openTransport(source);
  const { requestHandler } = transport;
  const init = {
    ...await roleAssumers(settings, requestHandler),
    profile: source.profile ?? "default",
    filepath: source.credentialsFile,
    configFilepath: source.configFile,
    ignoreCache: true,
    clientConfig: { region, requestHandler },
  } as Parameters<typeof fromIni>[0];
  // fromIni first and by itself: the chain would hide why it failed.
  const call = fromIni(init)();
  if (source.kind === "profile") return await call;
  return await call.catch(orElse(fromNodeProviderChain(init)));
}

/** The part of an SDK client's configuration that {@link stsAddress} gives. */
export interface StsAddress {
  /** Keeps the SDK from looking in the environment and in profiles. */
  readonly ignoreConfiguredEndpointUrls: true;
  /** Absent for AWS's own. */
  readonly endpoint?: string;
}

/**
 * Where STS is: where the grant recorded it, else AWS's own address. What the
 * environment or a profile of this process says does not count.
 *
 * @param source The source.
 * @returns What an SDK client takes.
 */
export function stsAddress(source: Source): StsAddress {
  return {
    ignoreConfiguredEndpointUrls: true,
    ...(source.stsEndpoint && { endpoint: source.stsEndpoint }),
  };
}

/** For a source that assumes a role itself: at the STS that was recorded. */
async function roleAssumers(
  { region, source }: AwsSettings,
  requestHandler: object,
) {
  const sdk = await import("./sdk_sources.ts");
  const options = {
    ...{ region, requestHandler, logger: SDK_LOGGER },
    ...stsAddress(source),
  } as Parameters<typeof sdk.getDefaultRoleAssumer>[0];
  const assume = sdk.getDefaultRoleAssumer(options);
  return {
    roleAssumer: (
      credentials: Credentials,
      params: Parameters<typeof assume>[1],
    ) =>
      assume(credentials, params).catch((error) => {
        const { secretAccessKey, sessionToken } = credentials;
        throw hideSecrets(error, [secretAccessKey, sessionToken]);
      }),
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
  /** The address that it names for STS. */
  readonly stsEndpoint: string | undefined;
  /** Whether `credential_source` names this environment or its container. */
  readonly inherits: boolean;
}

/**
 * Reads what moat must know of a source's profile; for the program and
 * `credential_source` it follows `source_profile`.
 *
 * @param source The source.
 * @returns What its profile says; nothing for a file or profile that is missing.
 */
export async function readProfile(source: Source): Promise<ProfileFacts> {
  const profiles = await loadProfiles(source);
  const first = profiles[source.profile ?? "default"];
  const seen = new Set<unknown>();
  let profile = first;
  let inherits = false;
  while (profile && !seen.has(profile) && !profile["credential_process"]) {
    seen.add(profile);
    inherits ||= !!profile["credential_source"];
    profile = profiles[profile["source_profile"] ?? ""];
  }
  return {
    region: first?.["region"],
    process: profile?.["credential_process"],
    stsEndpoint: endpointIn(profiles, first),
    inherits,
  };
}

type Profiles = Awaited<ReturnType<typeof loadProfiles>>;

/** The service's own address above that of everything, as SDKs have it. */
function endpointIn(
  profiles: Profiles,
  profile: Profiles[string] | undefined,
): string | undefined {
  if (profile?.["ignore_configured_endpoint_urls"] === "true") return undefined;
  const services = profiles[`services.${profile?.["services"]}`];
  return services?.["sts.endpoint_url"] || profile?.["endpoint_url"] ||
    undefined;
}

/**
 * Adds the address of STS that a source's profile names, unless there is one
 * already or the environment says to ignore it.
 *
 * @param source What {@link recordSource} gave.
 * @param env The environment of `moat grant`.
 * @returns The source to be stored.
 * @throws {MoatError} `usage` if the address is no URL.
 */
export async function recordProfileEndpoint(
  source: Source,
  env: Environment,
): Promise<Source> {
  if (source.stsEndpoint || ignoresEndpoints(env)) return source;
  const { stsEndpoint } = await readProfile(source);
  if (!stsEndpoint) return source;
  const name = `endpoint_url of profile "${source.profile ?? "default"}"`;
  return { ...source, stsEndpoint: checkEndpoint(name, stsEndpoint) };
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

function ignoresEndpoints(env: Environment): boolean {
  return env["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] === "true";
}

function endpointFrom(env: Environment): string | undefined {
  if (ignoresEndpoints(env)) return undefined;
  for (const variable of ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]) {
    const value = env[variable];
    if (value) return checkEndpoint(variable, value);
  }
  return undefined;
}

function checkEndpoint(name: string, value: string): string {
  if (isEndpoint(value)) return value;
  // Before an @ there may be a password.
  const shown = value.includes("@") ? "…" : JSON.stringify(value);
  throw usageError(
    `Cannot use ${name}=${shown}: wanted an http or https URL without a user`,
    `remove it, or give it a URL such as https://sts.eu-central-1.amazonaws.com`,
  );
}

/** What is recorded is shown and printed, so there is no password in it. */
function isEndpoint(text: string): boolean {
  if (!/^https?:\/\/[^/][\x21-\x7e]*$/.test(text)) return false;
  const url = URL.parse(text);
  return url !== null && !url.username && !url.password;
}
