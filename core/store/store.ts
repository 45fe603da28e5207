/**
 * The store port: where grants are kept.
 *
 * @module
 */

import type { MoatError } from "../errors.ts";
import type { Grant } from "../grant.ts";

/** One entry of {@link Store.list}: a grant, or the reason why it cannot be read. */
export interface StoredGrant {
  /** The grant's name, known even when it cannot be decrypted. */
  readonly name: string;
  readonly grant?: Grant;
  readonly error?: MoatError;
}

/** Keeps grants, encrypted at rest. */
export interface Store {
  /**
   * Reads one grant.
   *
   * @throws {MoatError} `grant-not-found`, `wrong-key`, `grant-damaged` or `key-unavailable`.
   */
  get(name: string): Promise<Grant>;
  /** Writes a grant whole, in place of an older one of its name. */
  put(grant: Grant): Promise<void>;
  /**
   * Removes a grant, also one that cannot be decrypted.
   *
   * @returns Whether there was one.
   */
  delete(name: string): Promise<boolean>;
  /** All grants, by name; a damaged one does not hide the others. */
  list(): Promise<readonly StoredGrant[]>;
}
