/**
 * The bindings of this user, in moat's own form.
 *
 * @module
 */

import { BindingStore, OWN_FORMAT } from "./binding_store.ts";
import { formatEnvironment } from "./environment_format.ts";
import type { Platform } from "./platform.ts";

/**
 * Opens them; nothing is created before the first write.
 *
 * @param platform Where they are.
 * @returns The store.
 */
export function openOwnBindings(
  { paths, clock }: Pick<Platform, "paths" | "clock">,
): BindingStore {
  return new BindingStore(paths.bindings, {
    ...OWN_FORMAT,
    writeEnvironment: (environment) =>
      formatEnvironment("env", {
        name: "",
        environment,
        mounts: [],
        hosts: [],
      }),
  }, clock);
}
