/**
 * The secret part of a grant: the passphrase of its private key, and an MFA
 * session. Both are kept encrypted by the store.
 *
 * @module
 */

import * as v from "valibot";
import { MoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import { parseJson } from "$core/json.ts";
import { Secret } from "$core/secret.ts";
import type { Session } from "./session.ts";

/** What a grant of this provider keeps secret. */
export interface GrantSecrets {
  /** Of the private key for Roles Anywhere. */
  readonly passphrase?: Secret;
  /** What a code of the MFA device opened. */
  readonly mfaSession?: Session;
}

const CredentialSchema = v.strictObject({
  passphrase: v.exactOptional(v.string()),
  mfaSession: v.exactOptional(v.strictObject({
    accessKeyId: v.string(),
    secretAccessKey: v.string(),
    sessionToken: v.string(),
    expiresAt: v.number(),
  })),
});

/**
 * Reads the secrets of a grant.
 *
 * @param grant A grant of this provider.
 * @returns What it keeps; empty for most grants.
 * @throws {MoatError} `grant-damaged` if they have another shape.
 */
export function readSecrets({ name, credential }: Grant): GrantSecrets {
  if (!credential) return {};
  const result = v.safeParse(
    CredentialSchema,
    parseJson(credential.reveal()),
  );
  if (!result.success) {
    throw new MoatError(
      "grant-damaged",
      `Cannot use grant "${name}": its credential has an unknown shape`,
      { hint: `moat revoke ${name}, then grant it again` },
    );
  }
  const { passphrase, mfaSession } = result.output;
  return {
    ...(passphrase !== undefined && { passphrase: new Secret(passphrase) }),
    ...(mfaSession && {
      mfaSession: {
        accessKeyId: mfaSession.accessKeyId,
        secretAccessKey: new Secret(mfaSession.secretAccessKey),
        sessionToken: new Secret(mfaSession.sessionToken),
        expiresAt: mfaSession.expiresAt,
        assumedRoleArn: "",
      },
    }),
  };
}

/**
 * Puts secrets into a grant.
 *
 * @param grant The grant.
 * @param secrets All that it keeps; replaces what it had.
 * @returns A new grant; `expiresAt` is the end of its MFA session, if any.
 */
export function withSecrets(grant: Grant, secrets: GrantSecrets): Grant {
  const { credential: _, expiresAt: __, ...rest } = grant;
  const { passphrase, mfaSession } = secrets;
  if (!passphrase && !mfaSession) return rest;
  const credential = new Secret(JSON.stringify({
    ...(passphrase && { passphrase: passphrase.reveal() }),
    ...(mfaSession && {
      mfaSession: {
        accessKeyId: mfaSession.accessKeyId,
        secretAccessKey: mfaSession.secretAccessKey.reveal(),
        sessionToken: mfaSession.sessionToken.reveal(),
        expiresAt: mfaSession.expiresAt,
      },
    }),
  }));
  return {
    ...rest,
    credential,
    ...(mfaSession && { expiresAt: mfaSession.expiresAt }),
  };
}
