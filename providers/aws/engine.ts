/**
 * The session engine: walks a grant's hops, each through the one cache, so
 * that a source, an MFA session or an inner role is asked once for all that
 * build on it.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { Binding } from "$core/binding.ts";
import { MoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import type { Platform } from "$core/platform.ts";
import type { Secret } from "$core/secret.ts";
import { type GrantSecrets, readSecrets } from "./credential.ts";
import { failure, mapAwsError, type Service, stsTimeout } from "./errors.ts";
import {
  type AnywhereHop,
  type FurtherRole,
  type Hop,
  type MfaHop,
  planHops,
  type SourceHop,
} from "./hops.ts";
import { mfaCode, noDevice } from "./mfa.ts";
import type { Credentials, Session } from "./session.ts";
import { SessionCache } from "./session_cache.ts";
import { type AwsSettings, readSettings } from "./settings.ts";
import { ClockSkew } from "./skew.ts";
import { inTime } from "./sources/call.ts";
import {
  assumeRole,
  assumeRoleWithWebIdentity,
  getSessionToken,
  type StsContext,
} from "./sts.ts";

/** Bound of one call in ms, its retry included. */
export const CALL_TIMEOUT_MS = 12_000;

/** Bound of a look-up in IAM in ms: SDKs have given up long before. */
const IAM_TIMEOUT_MS = 5000;

/** Longer than any chain of calls: each ends by a bound of its own, and says why. */
const INNER_HOLD_MS = 120_000;

/** From here on STS may soon refuse the policies and tags. */
const NEARLY_FULL_PERCENT = 90;

const NEARLY_FULL_HINT =
  "above 100 it refuses: use fewer tags or a shorter policy";

/** What does not depend on who asks. */
const SHARED_KINDS: ReadonlySet<Hop["kind"] | undefined> = new Set([
  "source",
  "mfa",
]);

/** One grant as it is used by one binding. */
interface Walk {
  readonly grant: Grant;
  readonly settings: AwsSettings;
  readonly secrets: GrantSecrets;
  readonly hops: readonly Hop[];
  /** The binding that its session belongs to; null if others may share it. */
  readonly owner: string | null;
}

/** Obtains sessions, and keeps them as long as they may be used. */
export class SessionEngine {
  readonly #platform: Platform;
  readonly #cache: SessionCache<Credentials>;
  readonly #skew = new ClockSkew();
  /** Percent of STS's limit, by grant. */
  readonly #nearlyFull = new Map<string, number>();

  /** Makes an engine with an empty cache. */
  constructor(platform: Platform) {
    const { clock, log, metrics } = platform;
    this.#platform = platform;
    this.#cache = new SessionCache({ clock, log, metrics });
  }

  /**
   * Prepares what gives a binding's session.
   *
   * @param grant The grant.
   * @param binding Who asks.
   * @param holdMs How long to wait when no session is valid.
   * @param further A role that is assumed with the grant's session, whose own
   *   is given. Default: none. Bindings share a session only if every input of
   *   every call is the same, and none is a binding's.
   * @param minLifeMs See `SessionCache.get`.
   * @returns What gives the session, at once if there is one.
   * @throws {MoatError} If the grant is damaged or the binding does not fit it.
   */
  sessions(
    grant: Grant,
    binding: Binding,
    holdMs: number,
    further?: FurtherRole,
    minLifeMs?: number,
  ): () => Session | Promise<Session> {
    const walk = planWalk(grant, binding, further);
    const { hops, owner } = walk;
    const id = { key: keyOf(walk, hops), grant: grant.name, owner };
    const fetch = () => this.#walk(walk);
    const version = () => this.#stamp(hops);
    return () =>
      this.#cache.get(id, fetch, holdMs, version, minLifeMs) as
        | Session
        | Promise<Session>;
  }

  /**
   * Asks IAM for the ARN of a role, with the credentials that would assume it.
   *
   * @param grant Whose.
   * @param name The role's name, without a path.
   * @returns What IAM says; not checked.
   * @throws {MoatError} `role-unknown`, or another code of `errors.ts`.
   */
  async findRole(grant: Grant, name: string): Promise<string> {
    const walk = planWalk(grant, ANYBODY, { role: name });
    const { getRole } = await import("./metadata/get_role.ts");
    const last = walk.hops.length - 1;
    const credentials = await this.#before(walk, last);
    const { env } = this.#platform;
    return await this.#bounded(
      walk,
      `look up the role ${JSON.stringify(name)}`,
      (context) => getRole(name, credentials, walk.settings, env, context),
      "IAM",
    ).catch((error) => this.#distrust(walk, last, error));
  }

  /**
   * Obtains a session now, past the cache, so that what fails shows.
   *
   * @param grant The grant.
   * @param binding Who asks. Default: nobody yet, as when it is granted.
   * @returns The session.
   * @throws {MoatError} One of the codes of `errors.ts`.
   */
  async obtain(grant: Grant, binding: Binding = ANYBODY): Promise<Session> {
    return await this.#walk(planWalk(grant, binding));
  }

  /**
   * Opens the MFA session of a grant.
   *
   * @param grant A grant with an MFA device.
   * @param code What the device shows.
   * @returns The session, to be kept in the grant.
   * @throws {MoatError} `usage` if the grant has no device, or what STS refused.
   */
  async openMfa(grant: Grant, code: string): Promise<Session> {
    const walk = planWalk(grant, ANYBODY);
    const hop = walk.hops[1];
    if (hop?.kind !== "mfa") throw noDevice(grant.name);
    const credentials = await this.#before(walk, 1);
    const action = `open an MFA session with ${hop.mfa.serial}`;
    return await this.#bounded(
      walk,
      action,
      (sts) => getSessionToken(hop, credentials, code, sts),
    );
  }

  /** What all bindings of a grant share is obtained, or fails. */
  async prepare(grant: Grant): Promise<void> {
    const walk = planWalk(grant, ANYBODY);
    if (walk.owner === null) {
      await this.sessions(grant, ANYBODY, CALL_TIMEOUT_MS)();
      return;
    }
    const shared = walk.hops.filter(({ kind }) => SHARED_KINDS.has(kind));
    if (shared.length > 0) await this.#before(walk, shared.length);
  }

  /**
   * What the sessions of a grant showed that the person should know.
   *
   * @param grant Its name.
   * @returns Sentences; none for most grants.
   */
  advise(grant: string): string[] {
    const percent = this.#nearlyFull.get(grant);
    if (percent === undefined) return [];
    return [
      `its policies and tags take ${percent} % of what STS packs; ${NEARLY_FULL_HINT}`,
    ];
  }

  /** Drops what was obtained for a grant. */
  forget(grant: string): void {
    this.#nearlyFull.delete(grant);
    this.#cache.drop({ grant });
  }

  /** Drops what only a binding that ended could use. */
  end(binding: Binding): void {
    this.#cache.drop({ owner: binding.name });
  }

  /** Makes the last call; those before it come from the cache. */
  async #walk(walk: Walk): Promise<Session> {
    const { hops } = walk;
    const last = hops.length - 1;
    const credentials = await this.#hop(walk, last);
    if (!SHARED_KINDS.has(hops[last]?.kind)) {
      const session = credentials as Session;
      this.#watchPolicySize(walk, session);
      return session;
    }
    const { sessionToken } = credentials;
    if (!sessionToken) throw notTemporary();
    return { ...credentials, sessionToken, assumedRoleArn: "" };
  }

  /** What the hop before the one at `index` gave, from the cache if possible. */
  async #before(walk: Walk, index: number): Promise<Credentials> {
    const at = index - 1;
    const id = await this.#innerId(walk, at);
    const fetch = () => this.#hop(walk, at);
    return await this.#cache.once(id, fetch, INNER_HOLD_MS);
  }

  /** A source that changed is another one: its stamp is part of the key. */
  async #innerId(walk: Walk, index: number) {
    const { grant, hops, owner } = walk;
    const stamp = await this.#stamp(hops);
    const key = keyOf(walk, [stamp, hops.slice(0, index + 1)]);
    const isShared = SHARED_KINDS.has(hops[index]?.kind);
    return { key, grant: grant.name, owner: isShared ? null : owner };
  }

  /** Makes the call of one hop. */
  async #hop(walk: Walk, index: number): Promise<Credentials> {
    const hop = walk.hops[index];
    switch (hop?.kind) {
      case "source":
        return await this.#source(walk, hop);
      case "mfa":
        return await this.#mfa(walk, hop);
      case "web-identity":
        return await this.#bounded(
          walk,
          `assume ${hop.role}`,
          (sts) => assumeRoleWithWebIdentity(hop, sts),
        );
      case "roles-anywhere":
        return await this.#anywhere(walk, hop);
      case "assume-role": {
        const credentials = await this.#before(walk, index);
        return await this.#bounded(
          walk,
          `assume ${hop.role}`,
          (sts) => assumeRole(hop, credentials, sts),
        ).catch((error) => this.#distrust(walk, index, error));
      }
      default:
        throw new Error("a walk without hops");
    }
  }

  async #anywhere(walk: Walk, hop: AnywhereHop): Promise<Credentials> {
    const { createSession } = await import("./roles_anywhere/mod.ts");
    const { passphrase } = walk.secrets;
    return await this.#bounded(
      walk,
      `assume ${hop.role}`,
      (context) =>
        createSession(hop, { ...context, ...(passphrase && { passphrase }) }),
      "Roles Anywhere",
    );
  }

  /** A stored session as long as it lasts, then a code from the program. */
  async #mfa(walk: Walk, hop: MfaHop): Promise<Credentials> {
    const { secrets: { mfaSession }, grant } = walk;
    if (mfaSession && mfaSession.expiresAt > this.#platform.clock.now()) {
      return mfaSession;
    }
    const { command } = hop.mfa;
    if (!command) throw mfaRequired(grant.name, mfaSession !== undefined);
    return await this.openMfa(grant, await mfaCode(command, this.#platform));
  }

  /** Credentials that STS does not take are not used again. */
  async #distrust(
    walk: Walk,
    index: number,
    error: MoatError,
  ): Promise<never> {
    if (!["source-rejected", "source-expired"].includes(error.code)) {
      throw error;
    }
    for (let at = 0; at < index; at++) {
      const { key } = await this.#innerId(walk, at);
      this.#cache.drop({ key });
    }
    const { grant, secrets: { mfaSession } } = walk;
    if (mfaSession && error.code === "source-expired") {
      throw mfaRequired(grant.name, true);
    }
    throw error;
  }

  async #source(walk: Walk, hop: SourceHop): Promise<Credentials> {
    const { settings, grant: { name: grant } } = walk;
    try {
      const { sourceCredentials } = await import("./source.ts");
      return await sourceCredentials(hop, this.#platform, this.#skew);
    } catch (error) {
      throw mapAwsError(error, { settings, grant });
    }
  }

  async #bounded<T>(
    { settings, grant }: Walk,
    action: string,
    use: (context: StsContext) => Promise<T>,
    service: Service = "STS",
  ): Promise<T> {
    const { clock, metrics } = this.#platform;
    const skew = this.#skew;
    try {
      const late = stsTimeout(service);
      return await inTime(
        clock,
        service === "IAM" ? IAM_TIMEOUT_MS : CALL_TIMEOUT_MS,
        late,
        (signal) => use({ clock, metrics, skew, signal }),
      );
    } catch (error) {
      const context = { settings, service, action, grant: grant.name };
      throw mapAwsError(error, context);
    }
  }

  /** Changes when the files behind the first hop do. */
  async #stamp([first]: readonly Hop[]): Promise<string> {
    if (first?.kind === "source") {
      const { sourceStamp } = await import("./source.ts");
      return await sourceStamp(first.source, this.#platform.env);
    }
    if (first?.kind !== "roles-anywhere") return "";
    const { identityStamp } = await import("./roles_anywhere/mod.ts");
    return await identityStamp(first.anywhere);
  }

  #watchPolicySize({ grant }: Walk, { packedPolicySize = 0 }: Session): void {
    if (packedPolicySize < NEARLY_FULL_PERCENT) return;
    this.#nearlyFull.set(grant.name, packedPolicySize);
    this.#platform.log.warn("policy-nearly-full", {
      grant: grant.name,
      percent: packedPolicySize,
      hint: NEARLY_FULL_HINT,
    });
  }
}

/** Who asks for what all bindings share. */
const ANYBODY: Binding = { name: "grant", grants: [] };

/** A grant that was replaced has other entries, whatever is still under way. */
function keyOf({ grant, secrets }: Walk, parts: readonly unknown[]): string {
  const { mfaSession, passphrase } = secrets;
  const inputs = [
    ...[grant.createdAt, mfaSession?.accessKeyId],
    passphrase && digest(passphrase),
    parts,
  ];
  return JSON.stringify(inputs);
}

/** A key is no place for a secret. */
function digest(secret: Secret): string {
  return createHash("sha256").update(secret.reveal()).digest("base64");
}

/** A session that would be made for them as well may be shared by all. */
const NOBODY: Binding = { name: "nobody", grants: [] };

const sameHops = (a: readonly Hop[], b: readonly Hop[]) =>
  JSON.stringify(a) === JSON.stringify(b);

function planWalk(
  grant: Grant,
  binding: Binding,
  further?: FurtherRole,
): Walk {
  const settings = readSettings(grant);
  const hops = planHops(settings, binding, further);
  const isShared = sameHops(hops, planHops(settings, NOBODY, further));
  return {
    grant,
    settings,
    secrets: readSecrets(grant),
    hops,
    owner: isShared ? null : binding.name,
  };
}

function notTemporary(): MoatError {
  return failure(
    "source-not-temporary",
    "Cannot hand out the source's own session: it has long-lived keys, which never leave this host",
    { hint: "grant a role with --role ARN instead of --source direct" },
  );
}

function mfaRequired(grant: string, hadSession: boolean): MoatError {
  return failure(
    "mfa-required",
    `Cannot use grant "${grant}": ${
      hadSession ? "its MFA session has ended" : "it needs an MFA code"
    }`,
    { hint: `moat mfa ${grant} CODE` },
  );
}
