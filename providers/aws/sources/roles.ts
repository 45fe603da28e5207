/**
 * Roles that a source assumes itself: those of profiles and of web identity
 * tokens, at the STS that was recorded.
 *
 * @module
 */

import type { MoatError } from "$core/errors.ts";
import { failure, hideSecrets } from "../errors.ts";
import { mfaCode } from "../mfa.ts";
import { openTransport } from "../transport.ts";
import {
  ProviderFailure,
  SDK_LOGGER,
  type SdkCredentials,
  type SourceCall,
  stsClientAddress,
} from "./call.ts";
import type { Section } from "./profile.ts";

/** What CloudTrail shows where neither file nor environment names a session. */
const SESSION_NAME = "moat-source";

/** STS's bound on a web identity token, in characters. */
const MAX_TOKEN_LENGTH = 20_000;

/** A role, and the token that opens it. */
export interface WebIdentity {
  /** Absolute path of the token. */
  readonly tokenFile: string;
  /** ARN of the role. */
  readonly role: string;
  /** Default: `moat-source`. */
  readonly sessionName?: string | undefined;
}

/**
 * Assumes a role with the token of a file, which is read anew each time.
 *
 * @param call Where STS is.
 * @param identity Role and token.
 * @returns The role's session.
 * @throws {MoatError} `token-unreadable`, or what the SDK throws.
 */
export async function webIdentityCredentials(
  call: SourceCall,
  { tokenFile, role, sessionName }: WebIdentity,
): Promise<SdkCredentials> {
  await checkToken(tokenFile);
  return await withSts(call, async (sdk, options) => {
    const assume = sdk.getDefaultRoleAssumerWithWebIdentity(options);
    return await sdk.fromTokenFile({
      webIdentityTokenFile: tokenFile,
      roleArn: role,
      // Else the SDK would take this process's AWS_ROLE_SESSION_NAME.
      roleSessionName: sessionName ?? SESSION_NAME,
      roleAssumerWithWebIdentity: (params) =>
        assume(params).catch((error) => {
          throw hideSecrets(error, [params.WebIdentityToken]);
        }),
      logger: SDK_LOGGER,
    })();
  });
}

/** The SDK reads it at once, whatever it is: a pipe would stop all of moat. */
async function checkToken(path: string): Promise<void> {
  const info = await Deno.stat(path).catch((cause) => {
    throw badToken(`Cannot read the web identity token "${path}"`, cause);
  });
  if (info.isFile && info.size > 0 && info.size <= MAX_TOKEN_LENGTH) return;
  throw badToken(
    `Cannot use the web identity token "${path}": wanted a file of 1 to ${MAX_TOKEN_LENGTH} characters, found ${
      info.isFile ? info.size : "something else"
    }`,
  );
}

function badToken(message: string, cause?: unknown): MoatError {
  return failure("token-unreadable", message, {
    hint: "check what writes the token, and that this user may read it",
    cause,
  });
}

/**
 * Assumes the role of a profile.
 *
 * @param call Where STS is, and what gives MFA codes.
 * @param section The profile's settings.
 * @param credentials Who assumes it.
 * @returns The role's session.
 * @throws {MoatError} `mfa-required`, or what the SDK throws.
 */
export async function roleCredentials(
  call: SourceCall,
  section: Section,
  credentials: SdkCredentials,
): Promise<SdkCredentials> {
  const mfa = await mfaParameters(call, section);
  const params = {
    RoleArn: section["role_arn"],
    RoleSessionName: section["role_session_name"] || SESSION_NAME,
    ExternalId: section["external_id"],
    DurationSeconds: parseInt(section["duration_seconds"] || "3600", 10),
    ...mfa,
  };
  return await withSts(call, async (sdk, options) => {
    try {
      return await sdk.getDefaultRoleAssumer(options)(
        withoutUndefined(credentials),
        params,
      );
    } catch (error) {
      const { secretAccessKey, sessionToken } = credentials;
      throw hideSecrets(error, [secretAccessKey, sessionToken]);
    }
  });
}

/**
 * Fails, before anything is asked, if a role needs a code that nothing gives.
 *
 * @param call What gives MFA codes.
 * @param roles The sections of all roles.
 * @throws {ProviderFailure} Worded as the SDK does it; it is final.
 */
export function checkMfa(
  { mfaCommand }: SourceCall,
  roles: readonly Section[],
): void {
  if (mfaCommand || !roles.some((section) => section["mfa_serial"])) return;
  throw new ProviderFailure(
    "The profile requires multi-factor authentication, but nothing gives codes.",
    false,
  );
}

async function mfaParameters(
  { mfaCommand, platform }: SourceCall,
  { mfa_serial: serial }: Section,
): Promise<{ SerialNumber?: string; TokenCode?: string }> {
  if (!serial || !mfaCommand) return {};
  const TokenCode = await mfaCode(mfaCommand, platform);
  return { SerialNumber: serial, TokenCode };
}

function withoutUndefined(
  { accessKeyId, secretAccessKey, sessionToken }: SdkCredentials,
) {
  return {
    accessKeyId,
    secretAccessKey,
    ...(sessionToken && { sessionToken }),
  };
}

type Sdk = typeof import("../sdk_sources.ts");
type StsOptions = NonNullable<Parameters<Sdk["getDefaultRoleAssumer"]>[0]>;

/** Ends the requests when the call ends. The session's end is told by this host's clock. */
async function withSts(
  { at, skew, signal, platform: { clock } }: SourceCall,
  use: (sdk: Sdk, options: StsOptions) => Promise<SdkCredentials>,
): Promise<SdkCredentials> {
  const place = at.stsEndpoint ?? at.region;
  const sdk = await import("../sdk_sources.ts");
  using transport = await openTransport(
    at,
    (date) => skew.learn(place, date, clock.now()),
    { signal },
  );
  const { expiration, ...credentials } = await use(
    sdk,
    {
      region: at.region,
      requestHandler: transport.requestHandler,
      logger: SDK_LOGGER,
      maxAttempts: 2,
      systemClockOffset: skew.offset(place),
      ...stsClientAddress(at),
    } as StsOptions,
  );
  if (!expiration) return credentials;
  const local = expiration.getTime() - skew.offset(place);
  return { ...credentials, expiration: new Date(local) };
}
