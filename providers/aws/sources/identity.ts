/**
 * Whose keys an environment holds. Apart from the other sources, because every
 * proxy needs it.
 *
 * @module
 */

import type { Source } from "../settings.ts";
import type { Environment } from "./call.ts";

/**
 * Names the key that this environment gives to a source, as far as the
 * environment is asked for it.
 *
 * @param source The source.
 * @param env The environment of this process.
 * @returns The access key ID; undefined if the environment has none, or is not asked.
 */
export function environmentIdentity(
  { order }: Pick<Source, "order">,
  env: Environment,
): string | undefined {
  if (!order.includes("environment") || !hasKeys(env)) return undefined;
  return env["AWS_ACCESS_KEY_ID"];
}

/** Whether an environment holds both parts of a key. */
export function hasKeys(env: Environment): boolean {
  return !!env["AWS_ACCESS_KEY_ID"] && !!env["AWS_SECRET_ACCESS_KEY"];
}
