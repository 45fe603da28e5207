/**
 * Where a grant's own credentials come from: recorded when it is granted, so
 * that a running proxy does not depend on the environment that it was started
 * in (design decision 2). Keys in the environment, and the token of a
 * container endpoint there, belong to the process that has them.
 *
 * The kinds of a source are asked in its order. One that is not set up is
 * passed over; one that is set up and fails ends the search, except where the
 * SDK's chain goes on as well (its `tryNextLink`): a profile whose program,
 * `source_profile` or `credential_source` fails, and instance metadata. A
 * failed login, a role that STS refuses, a web identity token and a container
 * endpoint are final.
 *
 * @module
 */

import { sourceTimeout } from "./errors.ts";
import type { SourceHop } from "./hops.ts";
import type { Credentials } from "./session.ts";
import { ClockSkew } from "./skew.ts";
import {
  inTime,
  ProviderFailure,
  SOURCE_TIMEOUT_MS,
  type SourceCall,
  type SourcePlatform,
  triesNextLink,
} from "./sources/call.ts";
import { checkCredentials } from "./sources/credentials.ts";
import { explainKinds, type SourceLine } from "./sources/explain.ts";
import { KINDS } from "./sources/kinds.ts";
import { refuseOwnSource } from "./sources/own.ts";

export { type Environment, type SourcePlatform } from "./sources/call.ts";
export type { SourceLine } from "./sources/explain.ts";
export { refuseOwnSource } from "./sources/own.ts";
export {
  checkProfile,
  type ProfileFacts,
  readProfile,
  sourceProcess,
} from "./sources/profile.ts";
export {
  isEndpoint,
  namedRegion,
  recordAddress,
  recordSource,
  type SourceChoice,
} from "./sources/record.ts";
export { sourceStamp } from "./sources/stamp.ts";

/** Calls of sources that have not settled yet. */
const pending = new Map<string, Promise<Credentials>>();

/**
 * Gets a source's credentials. It reads its files anew, so that a rotated key
 * or a new login counts at once; but as long as a call has not settled, such
 * as one of a program that hangs, it starts no other for the same source. A
 * call takes 12 s at most; then its program is killed.
 *
 * @param hop The source.
 * @param platform Clock and environment of this process.
 * @param skew What is known of STS's clock, for a source that assumes a role.
 * @returns The credentials. Long-lived keys "expire" after 10 minutes,
 * temporary ones when they say, or after 5 minutes where they do not.
 * @throws {MoatError} Or what the SDK throws: see `mapAwsError`.
 */
export async function sourceCredentials(
  { at, source, mfaCommand }: SourceHop,
  platform: SourcePlatform,
  skew: ClockSkew = new ClockSkew(),
): Promise<Credentials> {
  const key = JSON.stringify([at, source, mfaCommand]);
  let call = pending.get(key);
  if (!call) {
    const late = sourceTimeout({ ...at, roles: [], source });
    call = inTime(
      platform.clock,
      SOURCE_TIMEOUT_MS,
      late,
      (signal) => askSource({ at, source, mfaCommand, platform, skew, signal }),
    ).finally(() => pending.delete(key));
    pending.set(key, call);
  }
  return await call;
}

async function askSource(call: SourceCall): Promise<Credentials> {
  const { source, platform: { env, clock } } = call;
  await refuseOwnSource(source, env);
  let first: unknown;
  for (const kind of source.order) {
    if (await KINDS[kind].missing(call) !== undefined) continue;
    try {
      return checkCredentials(await KINDS[kind].ask(call), clock.now());
    } catch (error) {
      first ??= error;
      if (!triesNextLink(kind, error)) break;
    }
  }
  throw first ??
    new ProviderFailure("Could not load credentials from any providers");
}

/**
 * Says which kind of a source is used and why each earlier one is passed over.
 * It tries them for real: a program runs, a role is assumed, the instance
 * metadata service gets 1 s.
 *
 * @param hop The source.
 * @param platform Clock and environment of this process.
 * @returns One line per kind, in order; no secret among them.
 */
export async function explainSource(
  { at, source, mfaCommand }: SourceHop,
  platform: SourcePlatform,
): Promise<SourceLine[]> {
  const skew = new ClockSkew();
  return await explainKinds({ at, source, mfaCommand, platform, skew });
}
