/**
 * Credentials of a person's login: AWS SSO (IAM Identity Center) and
 * `aws login`. The SDK renews their tokens in the AWS CLI's own caches, below
 * the home directory of this process.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { homedir } from "node:os";
import { join } from "node:path";
import { hideSecrets } from "../errors.ts";
import { SDK_ATTEMPTS, SDK_LOGGER } from "../sdk_client.ts";
import { openTransport } from "../transport.ts";
import {
  type Environment,
  type SdkCredentials,
  type SourceCall,
} from "./call.ts";
import { endpointOf, type Profiles, type Section } from "./profile.ts";

/** Names a profile of a login. */
export interface LoginProfile {
  /** The profile's name. */
  readonly name: string;
  /** Its settings. */
  readonly section: Section;
  /** All sections. */
  readonly profiles: Profiles;
}

/**
 * Gets the credentials of an SSO profile, with an `sso-session` or without.
 *
 * @param call Where the files are.
 * @param profile The profile.
 * @returns The credentials of its account and role.
 * @throws What the SDK throws; it is final.
 */
export async function ssoCredentials(
  call: SourceCall,
  profile: LoginProfile,
): Promise<SdkCredentials> {
  const { fromSSO } = await import("../sdk_sources.ts");
  // No region: the login has one of its own.
  return await withLogin(call, profile, (init) => fromSSO(init)());
}

/**
 * Gets the credentials of an `aws login`.
 *
 * @param call Where the files are.
 * @param profile A profile with `login_session`.
 * @returns The credentials.
 * @throws What the SDK throws.
 */
export async function loginCredentials(
  call: SourceCall,
  profile: LoginProfile,
): Promise<SdkCredentials> {
  const { fromLoginCredentials } = await import("../sdk_sources.ts");
  const region = profile.section["region"] ?? call.at.region;
  return await withLogin(
    call,
    profile,
    ({ clientConfig, ...init }) =>
      fromLoginCredentials({
        ...init,
        clientConfig: { ...clientConfig, region },
      })(),
  );
}

interface LoginInit {
  profile: string;
  filepath: string;
  configFilepath: string;
  ignoreCache: true;
  clientConfig: object;
  logger: typeof SDK_LOGGER;
}

async function withLogin(
  { at, source, signal }: SourceCall,
  { name, section, profiles }: LoginProfile,
  use: (init: LoginInit) => Promise<SdkCredentials>,
): Promise<SdkCredentials> {
  using transport = await openTransport(at, undefined, { signal });
  const sent: string[] = [];
  const result = use({
    profile: name,
    filepath: source.credentialsFile,
    configFilepath: source.configFile,
    ignoreCache: true,
    clientConfig: {
      requestHandler: redirecting(
        transport.requestHandler as Handler,
        (host) => endpointOf(profiles, section, serviceOf(host)),
        (token) => sent.push(token),
      ),
      ignoreConfiguredEndpointUrls: true,
      maxAttempts: SDK_ATTEMPTS,
      logger: SDK_LOGGER,
    },
    logger: SDK_LOGGER,
  });
  return await result.catch((error) => {
    throw hideSecrets(error, sent);
  });
}

interface Target {
  protocol: string;
  hostname: string;
  port?: number | undefined;
  path: string;
  headers: Record<string, string>;
}

interface Handler {
  handle(request: Target, options?: object): Promise<unknown>;
}

/**
 * Sends requests where a profile's `endpoint_url` says. The SDK takes one
 * configuration for the clients of several services, so that an address could
 * not be given for each of them. None of these requests is signed with AWS
 * keys, which would forbid it. On the way it notes the tokens that are sent.
 */
function redirecting(
  handler: Handler,
  endpointOf: (host: string) => string | undefined,
  onToken: (token: string) => void,
): Handler {
  return {
    async handle(request, options) {
      onToken(request.headers["x-amz-sso_bearer_token"] ?? "");
      const to = URL.parse(endpointOf(request.hostname) ?? "");
      if (to && /^https?:$/.test(to.protocol)) {
        request.protocol = to.protocol;
        request.hostname = to.hostname;
        request.port = to.port === "" ? undefined : Number(to.port);
        request.path = to.pathname.replace(/\/$/, "") + request.path;
      }
      return await handler.handle(request, options);
    },
  };
}

/** The service's identifier in a `services` section. */
function serviceOf(host: string): string {
  if (host.startsWith("portal.sso")) return "sso";
  return host.startsWith("oidc") ? "sso_oidc" : "signin";
}

/**
 * Names the file in which the AWS CLI and the SDK keep the token of a login.
 *
 * @param section A profile of SSO or with `login_session`.
 * @param env The environment of this process. Default: its home directory.
 * @returns An absolute path; undefined for a profile without a login.
 */
export function loginCacheFile(
  section: Section,
  env: Environment = {},
): string | undefined {
  const aws = join(env["HOME"] || homedir(), ".aws");
  const { login_session: login } = section;
  const sso = section["sso_session"] || section["sso_start_url"];
  if (sso) {
    return join(aws, "sso", "cache", `${digest("sha1", sso)}.json`);
  }
  if (!login) return undefined;
  const directory = env["AWS_LOGIN_CACHE_DIRECTORY"] ||
    join(aws, "login", "cache");
  return join(directory, `${digest("sha256", login)}.json`);
}

function digest(algorithm: string, text: string): string {
  return createHash(algorithm).update(text).digest("hex");
}
