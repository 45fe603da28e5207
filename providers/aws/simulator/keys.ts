/**
 * The access keys that the simulated STS knows: one long-lived pair, and the
 * sessions that it has handed out.
 *
 * @module
 */

import { createHash, randomBytes } from "node:crypto";
import type { RoleArn } from "../arn.ts";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_ACCOUNT,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "./flags.ts";

/** Whom an access key belongs to. */
export interface Identity {
  /** 12 digits. */
  readonly account: string;
  /** Of a user, or of an assumed role's session. */
  readonly arn: string;
  /** AWS's unique ID, such as `AROA…:session`. */
  readonly userId: string;
}

/** An access key and whom it belongs to. */
export interface AccessKey {
  /** `AKIA…` or `ASIA…`, 20 characters. */
  readonly accessKeyId: string;
  /** 40 characters. */
  readonly secretAccessKey: string;
  /** Whom it belongs to. */
  readonly identity: Identity;
  /** Only for keys of a session. */
  readonly session?: SessionToken;
}

/** A session tag. */
export interface Tag {
  /** As it was given; tags are told apart without regard to case. */
  readonly key: string;
  /** As it was given. */
  readonly value: string;
}

/** What a session passes on to the roles that it assumes. */
export interface SessionContext {
  /** Whether it is a role's session; otherwise the user's own. */
  readonly isRole: boolean;
  /** Whether a one-time code opened it. */
  readonly mfa?: boolean;
  /** The tags that further roles inherit. */
  readonly transitiveTags?: readonly Tag[];
  /** STS's source identity; lasts for a whole chain. */
  readonly sourceIdentity?: string | undefined;
}

/** What makes an access key one of a session. */
export interface SessionToken extends SessionContext {
  /** What must come as `X-Amz-Security-Token`. */
  readonly token: string;
  /** In ms since the Unix epoch. */
  readonly expiresAt: number;
}

/** An access key of a session. */
export type SessionKey = AccessKey & { readonly session: SessionToken };

/** The simulator's own user. */
export const SIMULATOR_USER: AccessKey = {
  accessKeyId: SIMULATOR_ACCESS_KEY_ID,
  secretAccessKey: SIMULATOR_SECRET_ACCESS_KEY,
  identity: {
    account: SIMULATOR_ACCOUNT,
    arn: `arn:aws:iam::${SIMULATOR_ACCOUNT}:user/moat-simulator`,
    userId: "AIDAMOATSIMULATOR0000",
  },
};

/** Of AWS's IDs: base32 without padding. */
const ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** AWS's tokens are about this long; it must not be relied on. */
const TOKEN_BYTES = 384;

/**
 * Writes bytes as AWS's unique IDs.
 *
 * @param prefix Four letters that say of what kind, such as `ASIA`.
 * @param bytes One for each further character; all bits but the lowest five are ignored.
 * @returns The ID.
 */
export function awsId(prefix: string, bytes: Uint8Array): string {
  return prefix + Array.from(bytes, (byte) => ID_ALPHABET[byte & 31]).join("");
}

/**
 * Makes the random access key of a new session.
 *
 * @param identity Whom it belongs to.
 * @param expiresAt When it ends, in ms since the Unix epoch.
 * @param context What it passes on.
 * @returns Key ID of 20 characters, secret of 40, token of 512.
 */
export function mintSessionKey(
  identity: Identity,
  expiresAt: number,
  context: SessionContext,
): SessionKey {
  return {
    accessKeyId: awsId("ASIA", randomBytes(16)),
    secretAccessKey: randomBytes(30).toString("base64"),
    identity,
    session: {
      ...context,
      token: randomBytes(TOKEN_BYTES).toString("base64"),
      expiresAt,
    },
  };
}

/**
 * Makes the access key of a role's session.
 *
 * @param role The role; it has the same ID in every run.
 * @param sessionName The session's name.
 * @param expiresAt When it ends, in ms since the Unix epoch.
 * @param context What it passes on.
 * @returns The key of the assumed role's session.
 */
export function mintRoleKey(
  role: RoleArn,
  sessionName: string,
  expiresAt: number,
  context: Omit<SessionContext, "isRole">,
): SessionKey {
  const { partition, account, roleName } = role;
  const digest = createHash("sha256").update(role.arn).digest();
  return mintSessionKey(
    {
      account,
      arn:
        `arn:${partition}:sts::${account}:assumed-role/${roleName}/${sessionName}`,
      userId: `${awsId("AROA", digest.subarray(0, 17))}:${sessionName}`,
    },
    expiresAt,
    { ...context, isRole: true },
  );
}

/** The known access keys; of sessions only those used last. */
export class KeyRing {
  readonly #users: ReadonlyMap<string, AccessKey>;
  readonly #sessions = new Map<string, SessionKey>();
  readonly #maxSessions: number;

  /**
   * Makes a key ring.
   *
   * @param users Long-lived keys.
   * @param maxSessions How many sessions are kept, expired ones included.
   */
  constructor(users: readonly AccessKey[], maxSessions: number) {
    this.#users = new Map(users.map((key) => [key.accessKeyId, key]));
    this.#maxSessions = maxSessions;
  }

  /** Adds a session; the one that was used the longest time ago may go. */
  add(key: SessionKey): void {
    this.#sessions.set(key.accessKeyId, key);
    if (this.#sessions.size <= this.#maxSessions) return;
    const [oldest] = this.#sessions.keys();
    if (oldest !== undefined) this.#sessions.delete(oldest);
  }

  /** Finds a key. An expired session is found, to be refused by its name. */
  find(accessKeyId: string): AccessKey | undefined {
    const session = this.#sessions.get(accessKeyId);
    if (!session) return this.#users.get(accessKeyId);
    this.#sessions.delete(accessKeyId);
    this.#sessions.set(accessKeyId, session);
    return session;
  }
}
