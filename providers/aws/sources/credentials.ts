/**
 * What a source may give: complete, printable and not yet over.
 *
 * @module
 */

import { Secret } from "$core/secret.ts";
import { failure } from "../errors.ts";
import type { Credentials } from "../session.ts";
import type { SdkCredentials } from "./call.ts";

/** Long-lived keys are looked for again after this, as Rusoto does. */
const KEYS_MS = 10 * 60_000;

/** A session whose end nobody told may end soon. */
const UNKNOWN_END_MS = 5 * 60_000;

/** Printable ASCII: it goes into headers, and of a direct grant to clients. */
const KEY_ID = /^[\x21-\x7e]{1,128}$/;
const SECRET = /^[\x21-\x7e]{1,8192}$/;

/**
 * Checks what a source gave.
 *
 * @param sdk The credentials as the SDK has them.
 * @param now This host's time, in ms since the Unix epoch.
 * @returns The same, with an end: their own; else 5 minutes for a session, and
 * 10 for long-lived keys.
 * @throws {MoatError} `no-source` if they are not complete, `source-expired`.
 */
export function checkCredentials(
  { accessKeyId, secretAccessKey, sessionToken, expiration }: SdkCredentials,
  now: number,
): Credentials {
  const isComplete = KEY_ID.test(accessKeyId) && SECRET.test(secretAccessKey) &&
    (sessionToken === undefined || SECRET.test(sessionToken));
  if (!isComplete) {
    throw failure(
      "no-source",
      "Cannot use the source credentials: they are not complete, or not printable ASCII",
      { hint: "check the keys for spaces and missing characters" },
    );
  }
  const end = expiration?.getTime() ?? NaN;
  if (end <= now) {
    throw failure(
      "source-expired",
      "Cannot use the source credentials: they have expired",
      { hint: "log in again, or renew what writes them" },
    );
  }
  const assumed = now + (sessionToken ? UNKNOWN_END_MS : KEYS_MS);
  return {
    accessKeyId,
    secretAccessKey: new Secret(secretAccessKey),
    ...(sessionToken && { sessionToken: new Secret(sessionToken) }),
    expiresAt: Number.isNaN(end) ? assumed : end,
  };
}
