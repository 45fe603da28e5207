/**
 * The store port: where grants are kept.
 *
 * @module
 */

import { MoatError } from "../errors.ts";
import { type Grant, grantCommand } from "../grant.ts";

/** One entry of {@link Store.list}: a grant, or the reason why it cannot be read. */
export interface StoredGrant {
  /** The grant's name, known even when it cannot be decrypted. */
  readonly name: string;
  /** The grant, if it could be read. */
  readonly grant?: Grant;
  /** Why it could not be read. */
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
  /**
   * Reads a grant, changes it and writes it back, with no writer in between.
   *
   * `change` runs under the store's lock, so it must not wait for anything:
   * renew the credential first, then compare and swap here.
   *
   * @param name The grant's name.
   * @param change Gives the new grant, or undefined to leave the old one.
   * @returns The grant that the store now holds.
   * @throws {MoatError} As {@link Store.get}; a revoked grant is not revived.
   */
  update(
    name: string,
    change: (current: Grant) => Grant | undefined,
  ): Promise<Grant>;
}

/**
 * Makes the error of every store for a name that it does not hold.
 *
 * @param name The full grant name.
 * @returns A `grant-not-found`, to be thrown by the caller.
 */
export function grantNotFound(name: string): MoatError {
  return new MoatError("grant-not-found", `Cannot find grant "${name}"`, {
    hint: `${grantCommand(name)}; moat grant list shows those there are`,
  });
}
