/**
 * The one place that calls STS. The SDK is loaded on first use, because most
 * commands never need it.
 *
 * @module
 */

import type { MoatError } from "$core/errors.ts";
import type { Metrics } from "$core/metrics.ts";
import { failure, hideSecrets } from "./errors.ts";
import type { AssumeRoleHop, MfaHop, WebIdentityHop } from "./hops.ts";
import {
  type Credentials,
  type Instant,
  readSession,
  type Session,
} from "./session.ts";
import {
  SDK_ATTEMPTS,
  SDK_LOGGER,
  setUpSts,
  type StsSurroundings,
} from "./sdk_client.ts";
import type { StsAddress } from "./settings.ts";
import { openTransport } from "./transport.ts";
import { readWebIdentityToken } from "./web_identity_token.ts";

/** What a call of STS needs from outside. */
export interface StsContext extends StsSurroundings {
  /** Told of each call. */
  readonly metrics: Metrics;
  /** Ends the call. */
  readonly signal: AbortSignal;
}

/** Life of an MFA session in s: 12 hours, GetSessionToken's own default. */
const MFA_SECONDS = 43_200;

/** Loads the SDK ahead of the first call. */
export async function preloadSdk(): Promise<void> {
  await import("./sdk_sts.ts");
}

/**
 * Assumes a role.
 *
 * @param hop Every parameter of the call.
 * @param credentials Who assumes it.
 * @param context Clock and bound.
 * @returns A session that is valid now.
 * @throws What the SDK throws: see `mapAwsError`.
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html | AssumeRole}
 */
export async function assumeRole(
  hop: AssumeRoleHop,
  credentials: Credentials,
  context: StsContext,
): Promise<Session> {
  const { AssumeRoleCommand } = await import("./sdk_sts.ts");
  const command = new AssumeRoleCommand({
    RoleArn: hop.role,
    RoleSessionName: hop.sessionName,
    ...policyParameters(hop),
    ...(hop.durationSeconds && { DurationSeconds: hop.durationSeconds }),
    ...(hop.externalId && { ExternalId: hop.externalId }),
    ...(hop.sourceIdentity && { SourceIdentity: hop.sourceIdentity }),
    ...(hop.tags.length > 0 &&
      { Tags: hop.tags.map(([Key, Value]) => ({ Key, Value })) }),
    ...(hop.transitiveTags.length > 0 &&
      { TransitiveTagKeys: [...hop.transitiveTags] }),
  });
  return await call(
    hop.at,
    credentials,
    "AssumeRole",
    context,
    async (sts) =>
      toSession(await sts.send(command, sts.options), sts.now(), hop),
  );
}

/**
 * Assumes a role with the token of a file, which is read anew each time.
 *
 * @param hop Every parameter of the call.
 * @param context Clock and bound.
 * @returns A session that is valid now.
 * @throws {MoatError} `token-unreadable`, or what the SDK throws.
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html | AssumeRoleWithWebIdentity}
 */
export async function assumeRoleWithWebIdentity(
  hop: WebIdentityHop,
  context: StsContext,
): Promise<Session> {
  const { AssumeRoleWithWebIdentityCommand } = await import("./sdk_sts.ts");
  const token = await readWebIdentityToken(hop.tokenFile);
  const command = new AssumeRoleWithWebIdentityCommand({
    RoleArn: hop.role,
    RoleSessionName: hop.sessionName,
    WebIdentityToken: token.reveal(),
    ...policyParameters(hop),
    ...(hop.durationSeconds && { DurationSeconds: hop.durationSeconds }),
  });
  const action = "AssumeRoleWithWebIdentity";
  // The action is not signed.
  try {
    return await call(
      hop.at,
      undefined,
      action,
      context,
      async (sts) =>
        toSession(await sts.send(command, sts.options), sts.now(), hop),
    );
  } catch (error) {
    throw hideSecrets(error, [token.reveal()]);
  }
}

/**
 * Opens an MFA session, with which roles that ask for MFA can be assumed for
 * hours without a further code.
 *
 * @param hop The device.
 * @param credentials Long-lived keys of the device's user.
 * @param code What the device shows.
 * @param context Clock and bound.
 * @returns A session of 12 hours; it has no ARN.
 * @throws What the SDK throws: see `mapAwsError`.
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html | GetSessionToken}
 */
export async function getSessionToken(
  hop: MfaHop,
  credentials: Credentials,
  code: string,
  context: StsContext,
): Promise<Session> {
  const { GetSessionTokenCommand } = await import("./sdk_sts.ts");
  const command = new GetSessionTokenCommand({
    SerialNumber: hop.mfa.serial,
    TokenCode: code,
    DurationSeconds: MFA_SECONDS,
  });
  const action = "GetSessionToken";
  try {
    return await call(
      hop.at,
      credentials,
      action,
      context,
      async (sts) =>
        toSession(await sts.send(command, sts.options), sts.now(), {
          role: undefined,
          durationSeconds: MFA_SECONDS,
        }),
    );
  } catch (error) {
    throw hideSecrets(error, [code]);
  }
}

function policyParameters(
  { policy, policyArns }: Pick<AssumeRoleHop, "policy" | "policyArns">,
) {
  return {
    ...(policy && { Policy: policy }),
    ...(policyArns.length > 0 &&
      { PolicyArns: policyArns.map((arn) => ({ arn })) }),
  };
}

type Client = InstanceType<typeof import("./sdk_sts.ts").STSClient>;

interface Sts {
  readonly send: Client["send"];
  readonly options: { abortSignal: AbortSignal };
  now(): Instant;
}

/** Makes a client for one call: nothing of it is reused by another. */
async function call<T>(
  at: StsAddress,
  credentials: Credentials | undefined,
  action: string,
  { metrics, signal, ...surroundings }: StsContext,
  use: (sts: Sts) => Promise<T>,
): Promise<T> {
  const { STSClient } = await import("./sdk_sts.ts");
  using setUp = await setUpSts(at, surroundings);
  const client = new STSClient({
    ...setUp.config,
    ...(credentials && { credentials: revealed(credentials) }),
  });
  metrics.count("sts_calls_total", { action });
  try {
    return await use({
      send: client.send.bind(client) as Client["send"],
      options: { abortSignal: signal },
      now: () => setUp.now(),
    });
  } catch (error) {
    throw hideSecrets(error, [
      credentials?.secretAccessKey.reveal(),
      credentials?.sessionToken?.reveal(),
    ]);
  } finally {
    client.destroy();
  }
}

function revealed({ accessKeyId, secretAccessKey, sessionToken }: Credentials) {
  return {
    accessKeyId,
    secretAccessKey: secretAccessKey.reveal(),
    ...(sessionToken && { sessionToken: sessionToken.reveal() }),
  };
}

/**
 * Asks who the credentials of this environment belong to; its default chain
 * is the SDK's own.
 *
 * @param at Where to ask, and whose CA bundle to trust.
 * @returns Account, ARN and user id.
 * @throws What the SDK throws: see `mapAwsError`.
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html | GetCallerIdentity}
 */
export async function getCallerIdentity(
  at: Pick<StsAddress, "region" | "caBundle">,
): Promise<Record<string, string>> {
  const { GetCallerIdentityCommand, STSClient } = await import("./sdk_sts.ts");
  using transport = await openTransport(at);
  const client = new STSClient({
    region: at.region,
    requestHandler: transport.requestHandler,
    logger: SDK_LOGGER,
    maxAttempts: SDK_ATTEMPTS,
  });
  try {
    const identity = await client.send(new GetCallerIdentityCommand({}));
    return {
      account: identity.Account ?? "",
      arn: identity.Arn ?? "",
      userId: identity.UserId ?? "",
    };
  } finally {
    client.destroy();
  }
}

interface SessionAnswer {
  Credentials?: {
    AccessKeyId?: string | undefined;
    SecretAccessKey?: string | undefined;
    SessionToken?: string | undefined;
    Expiration?: Date | undefined;
  } | undefined;
  AssumedRoleUser?: { Arn?: string | undefined } | undefined;
  PackedPolicySize?: number | undefined;
}

function toSession(
  { Credentials, AssumedRoleUser, PackedPolicySize }: SessionAnswer,
  now: Instant,
  { role, durationSeconds }: {
    role: string | undefined;
    durationSeconds: number | undefined;
  },
): Session {
  const session = readSession(
    {
      accessKeyId: Credentials?.AccessKeyId,
      secretAccessKey: Credentials?.SecretAccessKey,
      sessionToken: Credentials?.SessionToken,
      expiration: Credentials?.Expiration?.getTime(),
      assumedRoleArn: role ? AssumedRoleUser?.Arn ?? role : "",
      packedPolicySize: PackedPolicySize,
    },
    durationSeconds,
    now,
  );
  if (!session) throw noSession(role);
  return session;
}

function noSession(role: string | undefined): MoatError {
  const what = role ? `assume ${role}` : "open an MFA session";
  return failure(
    "sts-garbage",
    `Cannot ${what}: STS answered without a complete, unexpired session`,
    { hint: "check that AWS_ENDPOINT_URL_STS names an STS, and the clock" },
  );
}
