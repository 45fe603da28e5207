/**
 * AWS sessions and the two JSON shapes in which clients get them.
 *
 * @module
 */

import { Answer } from "$core/provider.ts";
import type { Secret } from "$core/secret.ts";

/** Temporary credentials from STS. */
export interface Session {
  /** Not a secret: AWS itself logs it. */
  readonly accessKeyId: string;
  /** 40 characters. */
  readonly secretAccessKey: Secret;
  /** Some hundred characters. */
  readonly sessionToken: Secret;
  /** In ms since the Unix epoch. */
  readonly expiresAt: number;
  /** The assumed-role ARN, for logs and the audit log. */
  readonly assumedRoleArn: string;
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

/** RFC 3339 in UTC with whole seconds: some SDKs parse no fractions. */
function formatTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}
