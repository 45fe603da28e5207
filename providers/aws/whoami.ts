/**
 * `moat whoami aws`: what a workload's SDK sees, for a look from inside a
 * container that has no AWS tools.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { mapAwsError } from "./errors.ts";
import type { AwsSettings, Source } from "./settings.ts";
import {
  type Environment,
  namedRegion,
  recordAddress,
  recordSource,
} from "./source.ts";
import { inTime } from "./sources/call.ts";
import { getCallerIdentity } from "./sts.ts";

/** Bound of the call in ms, its retry and the search for credentials included. */
const TIMEOUT_MS = 12_000;

/**
 * Calls `sts:GetCallerIdentity` with the SDK's own default chain.
 *
 * @param env The environment, for CA bundle and the words of an error.
 * @param clock Limits the wait.
 * @returns Account, ARN and user id.
 * @throws {MoatError} One of the codes of `errors.ts`.
 */
export async function whoami(
  env: Environment,
  clock: Clock,
): Promise<Record<string, string>> {
  const source = recordSource(env);
  const settings: AwsSettings = {
    ...await recordAddress(env, source),
    region: await findRegion(env, source),
    roles: [],
    source,
  };
  const late = new DOMException("", "TimeoutError");
  try {
    const ask = () => getCallerIdentity(settings);
    return await inTime(clock, TIMEOUT_MS, late, ask);
  } catch (error) {
    const action = "tell whose credentials these are";
    throw mapAwsError(error, { settings, service: "STS", action });
  }
}

/** Every region's STS knows every identity of its partition. */
async function findRegion(env: Environment, source: Source): Promise<string> {
  return await namedRegion(env, source) ?? "us-east-1";
}
