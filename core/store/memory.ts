/**
 * A store that forgets: for tests, with the rules of the one on disk.
 *
 * @module
 */

import { type Grant, parseGrantName } from "../grant.ts";
import { grantNotFound, type Store } from "./store.ts";

/**
 * Makes an empty store, or one that holds some grants.
 *
 * @param grants What it holds at first.
 * @returns The store; it never fails for want of a key or a disk.
 */
export function createMemoryStore(grants: readonly Grant[] = []): Store {
  const byName = new Map(grants.map((grant) => [grant.name, grant]));
  const find = (name: string) => {
    const grant = byName.get(parseGrantName(name).name);
    if (!grant) throw grantNotFound(name);
    return grant;
  };
  // Async functions, so that a refused name is a rejection as on disk.
  return {
    // deno-lint-ignore require-await
    get: async (name) => find(name),
    // deno-lint-ignore require-await
    put: async (grant) => {
      byName.set(parseGrantName(grant.name).name, grant);
    },
    // deno-lint-ignore require-await
    update: async (name, change) => {
      const next = change(find(name));
      if (next) byName.set(name, next);
      return next ?? find(name);
    },
    // deno-lint-ignore require-await
    delete: async (name) => byName.delete(parseGrantName(name).name),
    // deno-lint-ignore require-await
    list: async () =>
      [...byName].sort(([a], [b]) => a < b ? -1 : 1)
        .map(([name, grant]) => ({ name, grant })),
  };
}
