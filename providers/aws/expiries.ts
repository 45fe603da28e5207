/**
 * What of a grant ends and must be renewed by a person.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import type { Grant } from "$core/grant.ts";
import type { Expiry } from "$core/provider.ts";
import { readSecrets } from "./credential.ts";
import { readSettings } from "./settings.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** Below this a certificate is renewed by a program, every day or hour. */
const SHORT_LIFE_MS = 2 * DAY_MS;

/**
 * Finds the ends of a grant's certificate and MFA session.
 *
 * @param grant The grant.
 * @param clock Decides which certificate is valid.
 * @returns None for most grants.
 * @throws {MoatError} If certificate or key cannot be used.
 */
export async function expiriesOf(
  grant: Grant,
  clock: Clock,
): Promise<readonly Expiry[]> {
  const { anywhere, mfa } = readSettings(grant);
  const { passphrase, mfaSession } = readSecrets(grant);
  const found: Expiry[] = [];
  if (anywhere) {
    const { checkIdentity } = await import("./roles_anywhere/mod.ts");
    const identity = await checkIdentity(anywhere, passphrase, clock.now());
    found.push({
      what: "certificate",
      expiresAt: identity.expiresAt,
      warnAhead: identity.lifeMs > SHORT_LIFE_MS
        ? [30 * DAY_MS, 7 * DAY_MS, DAY_MS]
        : [identity.lifeMs / 4],
      hint: `renew ${anywhere.certificates.join(" ")}; no restart is needed`,
    });
  }
  // A program gives the next code by itself.
  if (mfaSession && !mfa?.command) {
    found.push({
      what: "mfa-session",
      expiresAt: mfaSession.expiresAt,
      warnAhead: [60 * MINUTE_MS, 10 * MINUTE_MS],
      hint: `moat mfa ${grant.name} CODE`,
    });
  }
  return found;
}
