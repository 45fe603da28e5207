/**
 * What `moat grant` records of its environment, so that a running proxy does
 * not depend on the environment that it was started in (design decision 2).
 *
 * @module
 */

import { join, resolve } from "node:path";
import { usageError } from "$core/errors.ts";
import {
  type Source,
  SOURCE_KINDS,
  type SourceKind,
  type StsAddress,
} from "../settings.ts";
import type { Environment } from "./call.ts";
import { readProfile } from "./profile.ts";

/** Where the SDKs look for what AWS_CONTAINER_CREDENTIALS_RELATIVE_URI names. */
const CONTAINER_HOST = "http://169.254.170.2";

/** The instance metadata service where AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE is IPv6. */
const INSTANCE_IPV6 = "http://[fd00:ec2::254]";

/** What of a source the command line chooses. */
export interface SourceChoice {
  /** The value of `--aws-profile`. */
  readonly profile?: string | undefined;
  /** The kinds to try, in this order. */
  readonly order?: readonly SourceKind[] | undefined;
}

/**
 * Records the source that this environment names. Without an order all kinds
 * are tried; but a profile that was named is tried alone.
 *
 * @param env The environment of `moat grant`.
 * @param choice What the command line says.
 * @returns The source, with absolute paths.
 * @throws {MoatError} `usage` if an endpoint variable is no URL.
 */
export function recordSource(
  env: Environment,
  choice: SourceChoice = {},
): Source {
  const profile = choice.profile ?? env["AWS_PROFILE"] ?? "";
  const order = choice.order ?? (profile ? ["profile"] : SOURCE_KINDS);
  const webIdentity = webIdentityFrom(env);
  const container = containerFrom(env);
  const instanceEndpoint = instanceFrom(env);
  const disabled = env["AWS_EC2_METADATA_DISABLED"];
  return {
    order: [...order],
    ...(profile && { profile }),
    configFile: sharedFile(env, "AWS_CONFIG_FILE", "config"),
    credentialsFile: sharedFile(
      env,
      "AWS_SHARED_CREDENTIALS_FILE",
      "credentials",
    ),
    ...(webIdentity && { webIdentity }),
    ...(container && { container }),
    ...(instanceEndpoint && { instanceEndpoint }),
    ...(disabled && disabled !== "false" && { instanceDisabled: true }),
  };
}

function sharedFile(env: Environment, variable: string, name: string): string {
  return resolve(env[variable] || join(env["HOME"] || "/", ".aws", name));
}

function webIdentityFrom(env: Environment): Source["webIdentity"] {
  const tokenFile = env["AWS_WEB_IDENTITY_TOKEN_FILE"];
  const role = env["AWS_ROLE_ARN"];
  const sessionName = env["AWS_ROLE_SESSION_NAME"];
  if (!tokenFile || !role) return undefined;
  return {
    tokenFile: resolve(tokenFile),
    role,
    ...(sessionName && { sessionName }),
  };
}

/** SDKs prefer the relative one; this one and botocore at least. */
function containerFrom(env: Environment): Source["container"] {
  const url = relativeUrl(env) ??
    endpointFrom(env, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
  const tokenFile = env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
  if (!url) return undefined;
  return { url, ...(tokenFile && { tokenFile: resolve(tokenFile) }) };
}

function relativeUrl(env: Environment): string | undefined {
  const name = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
  const path = env[name];
  if (!path) return undefined;
  // Anything but a slash would go on with the address: "@evil.example".
  if (/^\/[\x21-\x7e]*$/.test(path)) return CONTAINER_HOST + path;
  throw usageError(
    `Cannot use ${name}: wanted a path such as /v2/credentials/ID`,
    "remove it",
  );
}

function instanceFrom(env: Environment): string | undefined {
  const endpoint = endpointFrom(env, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
  if (endpoint) return endpoint;
  const mode = env["AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"];
  return mode?.toLowerCase() === "ipv6" ? INSTANCE_IPV6 : undefined;
}

/**
 * Records where STS is, and whom to trust there: what the environment names,
 * else what the source's profile names.
 *
 * @param env The environment of `moat grant`.
 * @param source What {@link recordSource} gave.
 * @returns Nothing for what is AWS's own.
 * @throws {MoatError} `usage` if the address is no URL.
 */
export async function recordAddress(
  env: Environment,
  source: Source,
): Promise<Pick<StsAddress, "stsEndpoint" | "caBundle">> {
  const stsEndpoint = await stsEndpointFrom(env, source);
  const caBundle = env["AWS_CA_BUNDLE"];
  return {
    ...(stsEndpoint && { stsEndpoint }),
    ...(caBundle && { caBundle: resolve(caBundle) }),
  };
}

async function stsEndpointFrom(
  env: Environment,
  source: Source,
): Promise<string | undefined> {
  if (env["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] === "true") return undefined;
  const named = endpointFrom(env, "AWS_ENDPOINT_URL_STS") ??
    endpointFrom(env, "AWS_ENDPOINT_URL");
  if (named) return named;
  const { stsEndpoint } = await readProfile(source);
  if (!stsEndpoint) return undefined;
  const name = `endpoint_url of profile "${source.profile ?? "default"}"`;
  return checkEndpoint(name, stsEndpoint);
}

function endpointFrom(env: Environment, variable: string): string | undefined {
  const value = env[variable];
  return value ? checkEndpoint(variable, value) : undefined;
}

function checkEndpoint(name: string, value: string): string {
  if (isEndpoint(value)) return value;
  // Before an @ there may be a password, after a ? a token.
  const shown = /[@?]/.test(value) ? "…" : JSON.stringify(value);
  throw usageError(
    `Cannot use ${name}=${shown}: wanted an http or https URL without a user`,
    `remove it, or give it a URL such as https://sts.eu-central-1.amazonaws.com`,
  );
}

/**
 * Finds the region that the environment or the source names.
 *
 * @param env AWS_REGION, AWS_DEFAULT_REGION.
 * @param source Its profile may name one.
 * @returns Not checked; undefined if none is named.
 */
export async function namedRegion(
  env: Environment,
  source: Source,
): Promise<string | undefined> {
  return env["AWS_REGION"] || env["AWS_DEFAULT_REGION"] ||
    (await readProfile(source)).region || undefined;
}

/**
 * Whether a text is an address that may be recorded. That is shown and
 * printed, so there is no password in it.
 *
 * @param text Any.
 * @returns True for an http or https URL without a user.
 */
export function isEndpoint(text: string): boolean {
  if (!/^https?:\/\/[^/][\x21-\x7e]*$/i.test(text)) return false;
  const url = URL.parse(text);
  return url !== null && !url.username && !url.password;
}
