/**
 * Roles that a source assumes itself: those of profiles and of web identity
 * tokens, at the STS that was recorded.
 *
 * @module
 */

import { hideSecrets } from "../errors.ts";
import { mfaCode } from "../mfa.ts";
import { setUpSts } from "../sdk_client.ts";
import { readWebIdentityToken } from "../web_identity_token.ts";
import {
  ProviderFailure,
  type SdkCredentials,
  type SourceCall,
} from "./call.ts";
import type { Section } from "./profile.ts";

/** What CloudTrail shows where neither file nor environment names a session. */
const SESSION_NAME = "moat-source";

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
  const token = await readWebIdentityToken(tokenFile);
  const params = {
    RoleArn: role,
    RoleSessionName: sessionName ?? SESSION_NAME,
    WebIdentityToken: token.reveal(),
  };
  return await withSts(call, async (sdk, options) => {
    try {
      return await sdk.getDefaultRoleAssumerWithWebIdentity(options)(params);
    } catch (error) {
      throw hideSecrets(error, [token.reveal()]);
    }
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
      throw hideSecrets(error, [
        secretAccessKey,
        sessionToken,
        mfa.TokenCode,
      ]);
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
  const sdk = await import("../sdk_sources.ts");
  using sts = await setUpSts(at, { clock, skew }, signal);
  const { expiration, ...credentials } = await use(
    sdk,
    sts.config as StsOptions,
  );
  if (!expiration) return credentials;
  const { local, server } = sts.now();
  const end = expiration.getTime() - server + local;
  return { ...credentials, expiration: new Date(end) };
}
