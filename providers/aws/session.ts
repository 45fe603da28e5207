/**
 * AWS sessions and the two JSON shapes in which clients get them.
 *
 * @module
 */

import { formatTime } from "$core/clock.ts";
import { Answer } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { MAX_DURATION_SECONDS } from "./duration.ts";

/** Credentials of a source or a role, as long as they may be used. */
export interface Credentials {
  /** Not a secret: AWS itself logs it. */
  readonly accessKeyId: string;
  /** 40 characters. */
  readonly secretAccessKey: Secret;
  /** Some hundred characters; absent for long-lived keys. */
  readonly sessionToken?: Secret;
  /**
   * In ms since the Unix epoch, by this host's clock. Long-lived keys have one
   * too: when to look for them anew.
   */
  readonly expiresAt: number;
}

/** Temporary credentials that may be handed out. */
export interface Session extends Credentials {
  /** Some hundred characters. */
  readonly sessionToken: Secret;
  /** The assumed-role ARN, for logs and the audit log. */
  readonly assumedRoleArn: string;
  /** How much of STS's limit on policies and tags is used, in percent. */
  readonly packedPolicySize?: number;
}

/** What a service answered as a session; nothing of it is checked yet. */
export interface SessionParts {
  /** 16 to 128 capitals and digits. */
  readonly accessKeyId?: string | undefined;
  /** Printable ASCII. */
  readonly secretAccessKey?: string | undefined;
  /** Printable ASCII. */
  readonly sessionToken?: string | undefined;
  /** In ms since the Unix epoch, by the service's clock. */
  readonly expiration?: number | undefined;
  /** The assumed-role ARN; empty for a session without a role. */
  readonly assumedRoleArn: string;
  /** In percent. */
  readonly packedPolicySize?: number | undefined;
}

/** One instant by two clocks, in ms since the Unix epoch. */
export interface Instant {
  /** By this host's clock. */
  readonly local: number;
  /** By the service's. */
  readonly server: number;
}

/** Where clocks differ a little; a session beyond this is not what was asked for. */
const LATE_MS = 5 * 60_000;

const ACCESS_KEY_ID = /^[A-Z0-9]{16,128}$/;
const SECRET = /^[\x21-\x7e]{1,8192}$/;
const ARN = /^(?:arn:[\x21-\x7e]{1,2044})?$/;

/**
 * Takes a service's answer only if it is a complete session in plain ASCII,
 * because it goes to clients, logs and the audit log. Its end is told by this
 * host's clock, which is the one that clients compare it with.
 *
 * @param parts What was answered.
 * @param durationSeconds The life that was asked for; undefined if it was left to the service.
 * @param now When it was answered.
 * @returns The session; undefined if it is incomplete, malformed or has ended.
 */
export function readSession(
  parts: SessionParts,
  durationSeconds: number | undefined,
  now: Instant,
): Session | undefined {
  const { accessKeyId = "", secretAccessKey = "", sessionToken = "" } = parts;
  const { assumedRoleArn, expiration = NaN, packedPolicySize } = parts;
  const lifeMs = expiration - now.server;
  const isSession = ACCESS_KEY_ID.test(accessKeyId) &&
    SECRET.test(secretAccessKey) && SECRET.test(sessionToken) &&
    ARN.test(assumedRoleArn) && lifeMs > 0;
  if (!isSession) return undefined;
  // No role allows more, where the call left the life to the service.
  const askedSeconds = durationSeconds ?? MAX_DURATION_SECONDS;
  const latestMs = askedSeconds * 1000 + LATE_MS;
  return {
    accessKeyId,
    secretAccessKey: new Secret(secretAccessKey),
    sessionToken: new Secret(sessionToken),
    expiresAt: now.local + Math.min(lifeMs, latestMs),
    assumedRoleArn,
    ...(typeof packedPolicySize === "number" && { packedPolicySize }),
  };
}

/**
 * Answers in the format of `credential_process`, version 1.
 *
 * @param session A session that is still valid.
 * @returns 200 with exactly the keys of that format.
 * @see {@link https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html | Process credential provider}
 */
export function processAnswer(session: Session): Answer {
  return new Answer(
    200,
    JSON.stringify({
      Version: 1,
      AccessKeyId: session.accessKeyId,
      SecretAccessKey: session.secretAccessKey.reveal(),
      SessionToken: session.sessionToken.reveal(),
      Expiration: formatTime(session.expiresAt),
    }),
  );
}

/**
 * Answers in the format of the container credential endpoint.
 *
 * @param session A session that is still valid.
 * @returns 200 with exactly the keys of that format.
 * @see {@link https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html | Container credential provider}
 */
export function containerAnswer(session: Session): Answer {
  return new Answer(
    200,
    JSON.stringify({
      AccessKeyId: session.accessKeyId,
      SecretAccessKey: session.secretAccessKey.reveal(),
      Token: session.sessionToken.reveal(),
      Expiration: formatTime(session.expiresAt),
    }),
  );
}
