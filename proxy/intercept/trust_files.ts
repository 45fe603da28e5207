/**
 * The files by which an intercepted client trusts us: certificates, never the
 * key. The command that starts a client writes them, not the proxy: both have
 * the same root.
 *
 * @module
 */

import type { Platform } from "$core/platform.ts";
import type { MountedFile } from "$core/provider.ts";
import { endingSoon, RootStore } from "./root.ts";
import { systemRoots, trustFiles } from "./trust.ts";
import { isOfIntercepted } from "./client_env.ts";
import type { Variables } from "../variables.ts";

/** Files, and what to know about them. */
export interface InterceptFiles {
  /** For the client's directory. */
  readonly files: readonly MountedFile[];
  /** What may go wrong. */
  readonly warnings: readonly string[];
}

/**
 * Makes the files that a client needs in order to trust us; the root, too, at
 * first use.
 *
 * @param platform Where the root is, and what this host trusts.
 * @param environment What the binding gives the client.
 * @returns None for a client that is not intercepted.
 * @throws {MoatError} As `RootStore.loadOrCreate` and `systemRoots`.
 */
export async function interceptFiles(
  { paths, clock, env }: Pick<Platform, "paths" | "clock" | "env">,
  environment: Variables,
): Promise<InterceptFiles> {
  if (!isOfIntercepted(environment)) return { files: [], warnings: [] };
  const system = await systemRoots(env);
  const root = await new RootStore(paths, clock).loadOrCreate();
  const warnings = [system.note, endingSoon(root, clock.now())];
  return {
    files: trustFiles(system, root.certificate),
    warnings: warnings.filter((warning) => warning !== undefined),
  };
}
