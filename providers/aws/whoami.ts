/**
 * `moat whoami aws`: what a workload's SDK sees, for a look from inside a
 * container that has no AWS tools.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { mapAwsError } from "./errors.ts";
import { type Environment, readProfile, recordSource } from "./source.ts";
import type { Source } from "./settings.ts";
import { getCallerIdentity, TOTAL_TIMEOUT_MS } from "./sts.ts";

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
  const region = await findRegion(env, source);
  const late = Promise.withResolvers<never>();
  const cancel = clock.after(
    TOTAL_TIMEOUT_MS,
    () => late.reject(new DOMException("", "TimeoutError")),
  );
  try {
    const call = getCallerIdentity(region, source);
    return await Promise.race([call, late.promise]);
  } catch (error) {
    const settings = { role: "", region, durationSeconds: 0, source };
    throw mapAwsError(error, settings, "tell whose credentials these are");
  } finally {
    cancel();
  }
}

/** Every region's STS knows every identity of its partition. */
async function findRegion(env: Environment, source: Source): Promise<string> {
  return env["AWS_REGION"] || env["AWS_DEFAULT_REGION"] ||
    (await readProfile(source)).region || "us-east-1";
}
