/**
 * Reading what is granted now, by the parts of the proxy that follow it.
 *
 * @module
 */

import { toMoatError } from "$core/errors.ts";
import type { Store, StoredGrant } from "$core/store/store.ts";

/**
 * Reads one grant or all of them.
 *
 * @param store The stored grants.
 * @param name A grant name; default: all.
 * @returns Each grant, or why it cannot be read.
 */
export async function readGrants(
  store: Store,
  name?: string,
): Promise<readonly StoredGrant[]> {
  if (name === undefined) return await store.list();
  try {
    return [{ name, grant: await store.get(name) }];
  } catch (error) {
    return [{ name, error: toMoatError(error) }];
  }
}
