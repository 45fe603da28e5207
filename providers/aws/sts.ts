/**
 * The one place that calls STS. The SDK is loaded on first use, because most
 * commands never need it.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { MoatError } from "$core/errors.ts";
import { Secret } from "$core/secret.ts";
import { mapAwsError, sourceTimeout } from "./errors.ts";
import type { Session } from "./session.ts";
import type { AwsSettings, Source } from "./settings.ts";
import { type Environment, SDK_LOGGER, sourceCredentials } from "./source.ts";

/** One HTTP request to STS. */
const REQUEST_TIMEOUT_MS = 5000;

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
  const requestHandler = await createRequestHandler(settings.source);
  const source = await sourceCredentials(settings, env, requestHandler);
  const client = new STSClient({
    region: settings.region,
    credentials: async (...args) => {
      const credentials = await source(...args);
      onSource();
      return credentials;
    },
    requestHandler,
    logger: SDK_LOGGER,
    maxAttempts: 2,
    ...(settings.source.stsEndpoint && {
      endpoint: settings.source.stsEndpoint,
    }),
    ...(settings.source.profile && { profile: settings.source.profile }),
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
  const client = new STSClient({
    region,
    requestHandler: await createRequestHandler(source),
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

/** fetch, because it honours HTTPS_PROXY and leaves no idle socket to reuse. */
async function createRequestHandler(source: Source) {
  const { FetchHttpHandler } = await import("./sdk_sts.ts");
  const { caBundle } = source;
  if (!caBundle) {
    return new FetchHttpHandler({ requestTimeout: REQUEST_TIMEOUT_MS });
  }
  const client = Deno.createHttpClient({
    caCerts: [await readCaBundle(caBundle)],
  });
  return new FetchHttpHandler({
    requestTimeout: REQUEST_TIMEOUT_MS,
    customFetch: (input, init) => fetch(input, { ...init, client }),
  });
}

async function readCaBundle(path: string): Promise<string> {
  const text = await Deno.readTextFile(path).catch((cause) => {
    throw badCaBundle(`Cannot read AWS_CA_BUNDLE "${path}"`, cause);
  });
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  throw badCaBundle(
    `Cannot use AWS_CA_BUNDLE "${path}": wanted certificates in PEM, found none`,
  );
}

function badCaBundle(message: string, cause?: unknown): MoatError {
  return new MoatError("ca-bundle-unreadable", message, {
    hint: "grant again with AWS_CA_BUNDLE naming a PEM file",
    cause,
  });
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

/** Refuses whatever is not a complete session: a client must never get it. */
function toSession(
  output: AssumeRoleAnswer,
  settings: AwsSettings,
  now: number,
): Session {
  const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } =
    output.Credentials ?? {};
  const expiresAt = Expiration?.getTime() ?? NaN;
  if (!AccessKeyId || !SecretAccessKey || !SessionToken || !(expiresAt > now)) {
    throw new MoatError(
      "sts-garbage",
      `Cannot assume ${settings.role}: STS answered without a complete, unexpired session`,
      { hint: "check that AWS_ENDPOINT_URL_STS names an STS, and the clock" },
    );
  }
  return {
    accessKeyId: AccessKeyId,
    secretAccessKey: new Secret(SecretAccessKey),
    sessionToken: new Secret(SessionToken),
    expiresAt,
    assumedRoleArn: output.AssumedRoleUser?.Arn ?? settings.role,
  };
}

/** STS takes 2 to 64 of letters, digits and `_+=,.@-`. */
function fitSessionName(text: string): string {
  return text.replace(/[^\w+=,.@-]/g, "-").slice(0, 64).padEnd(2, "-");
}
