/**
 * The one place that calls STS. The SDK is loaded on first use, because most
 * commands never need it.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { MoatError } from "$core/errors.ts";
import { Secret } from "$core/secret.ts";
import { hideSecrets, mapAwsError, sourceTimeout } from "./errors.ts";
import type { Session } from "./session.ts";
import type { AwsSettings, Source } from "./settings.ts";
import {
  type Environment,
  SDK_LOGGER,
  sourceCredentials,
  stsAddress,
} from "./source.ts";
import { openTransport } from "./transport.ts";

/** All of it in ms: source credentials, STS, one retry. */
export const TOTAL_TIMEOUT_MS = 12_000;

/** What {@link assumeRole} needs from outside. */
export interface StsContext {
  /** Limits the time of a call. */
  readonly clock: Clock;
  /** The environment of this process. */
  readonly env: Environment;
  /** Sets a variable for programs that a source starts. */
  readonly setVariable: (name: string, value: string) => void;
}

/**
 * Assumes a grant's role once.
 *
 * @param settings The grant's settings.
 * @param sessionName What CloudTrail will show; any text, made to fit.
 * @param context Clock and environment.
 * @returns A session that is valid now.
 * @throws {MoatError} One of the codes of `errors.ts`.
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html | AssumeRole}
 */
export function assumeRole(
  settings: AwsSettings,
  sessionName: string,
  context: StsContext,
): Promise<Session> {
  return new Promise((resolve, reject) => {
    const stop = new AbortController();
    let late = sourceTimeout(settings);
    const onSource = () => {
      const slow = new DOMException("", "TimeoutError");
      late = mapAwsError(slow, settings);
    };
    const cancel = context.clock.after(TOTAL_TIMEOUT_MS, () => {
      stop.abort();
      reject(late);
    });
    callSts(settings, sessionName, context, stop.signal, onSource)
      .then(resolve, (error) => reject(mapAwsError(error, settings)))
      .finally(cancel);
  });
}

/** Loads the SDK ahead of the first call. */
export async function preloadSdk(): Promise<void> {
  await import("./sdk_sts.ts");
}

async function callSts(
  settings: AwsSettings,
  sessionName: string,
  { clock, env, setVariable }: StsContext,
  abortSignal: AbortSignal,
  onSource: () => void,
): Promise<Session> {
  const { STSClient, AssumeRoleCommand } = await import("./sdk_sts.ts");
  // The SDK gives its source programs our environment: with this, our own
  // helper refuses, so that moat is never its own source.
  setVariable("MOAT_SOURCE", "1");
  const credentials = await sourceCredentials(settings, env);
  onSource();
  using transport = await openTransport(settings.source);
  const client = new STSClient({
    region: settings.region,
    credentials,
    requestHandler: transport.requestHandler,
    logger: SDK_LOGGER,
    maxAttempts: 2,
    ...stsAddress(settings.source),
  });
  try {
    const output = await client.send(
      new AssumeRoleCommand({
        RoleArn: settings.role,
        RoleSessionName: fitSessionName(sessionName),
        DurationSeconds: settings.durationSeconds,
        ...(settings.externalId && { ExternalId: settings.externalId }),
      }),
      { abortSignal },
    );
    return toSession(output, settings, clock.now());
  } catch (error) {
    const { secretAccessKey, sessionToken } = credentials;
    throw hideSecrets(error, [secretAccessKey, sessionToken]);
  } finally {
    client.destroy();
  }
}

/**
 * Asks who the credentials of this environment belong to; its default chain
 * is the SDK's own.
 *
 * @param region Where to ask.
 * @param source Whose CA bundle to trust.
 * @returns Account, ARN and user id.
 * @throws What the SDK throws: see `mapAwsError`.
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html | GetCallerIdentity}
 */
export async function getCallerIdentity(
  region: string,
  source: Source,
): Promise<Record<string, string>> {
  const { GetCallerIdentityCommand, STSClient } = await import("./sdk_sts.ts");
  using transport = await openTransport(source);
  const client = new STSClient({
    region,
    requestHandler: transport.requestHandler,
    logger: SDK_LOGGER,
    maxAttempts: 2,
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

interface AssumeRoleAnswer {
  Credentials?: {
    AccessKeyId?: string | undefined;
    SecretAccessKey?: string | undefined;
    SessionToken?: string | undefined;
    Expiration?: Date | undefined;
  } | undefined;
  AssumedRoleUser?: { Arn?: string | undefined } | undefined;
}

/** Where clocks differ a little; a session beyond this is not what was asked for. */
const LATE_MS = 5 * 60_000;

const ACCESS_KEY_ID = /^[A-Z0-9]{16,128}$/;
const SECRET = /^[\x21-\x7e]{1,8192}$/;
const ARN = /^arn:[\x21-\x7e]{1,2044}$/;

/**
 * Refuses whatever is not a complete session in plain ASCII, because it goes
 * to clients, logs and the audit log.
 */
function toSession(
  output: AssumeRoleAnswer,
  settings: AwsSettings,
  now: number,
): Session {
  const {
    AccessKeyId = "",
    SecretAccessKey = "",
    SessionToken = "",
    Expiration,
  } = output.Credentials ?? {};
  const assumedRoleArn = output.AssumedRoleUser?.Arn ?? settings.role;
  const expiresAt = Expiration?.getTime() ?? NaN;
  const isSession = ACCESS_KEY_ID.test(AccessKeyId) &&
    SECRET.test(SecretAccessKey) && SECRET.test(SessionToken) &&
    ARN.test(assumedRoleArn) && expiresAt > now;
  if (!isSession) {
    throw new MoatError(
      "sts-garbage",
      `Cannot assume ${settings.role}: STS answered without a complete, unexpired session`,
      { hint: "check that AWS_ENDPOINT_URL_STS names an STS, and the clock" },
    );
  }
  const latest = now + settings.durationSeconds * 1000 + LATE_MS;
  return {
    accessKeyId: AccessKeyId,
    secretAccessKey: new Secret(SecretAccessKey),
    sessionToken: new Secret(SessionToken),
    expiresAt: Math.min(expiresAt, latest),
    assumedRoleArn,
  };
}

/** STS takes 2 to 64 of letters, digits and `_+=,.@-`. */
function fitSessionName(text: string): string {
  return text.replace(/[^\w+=,.@-]/g, "-").slice(0, 64).padEnd(2, "-");
}
