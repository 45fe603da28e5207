/**
 * The store on disk: one encrypted file per grant.
 *
 * @module
 */

import { basename, dirname, join } from "node:path";
import type { Clock } from "../clock.ts";
import { toMoatError } from "../errors.ts";
import {
  checkPrivateDir,
  ensurePrivateDir,
  fileNames,
  readFileIfAny,
  removeStaleTemps,
  storageError,
  syncDirectory,
  withLock,
  writeFileAtomic,
} from "../files.ts";
import { type Grant, parseGrantName } from "../grant.ts";
import type { Paths } from "../paths.ts";
import { openGrant, sealGrant } from "./envelope.ts";
import type { KeyProvider } from "./key.ts";
import { grantNotFound, type Store, type StoredGrant } from "./store.ts";

const SUFFIX = ".grant";

/**
 * Makes the store of this user. Nothing is created before the first write.
 *
 * @param paths Where grants and locks are.
 * @param keys Asked for a key only by operations that encrypt or decrypt.
 * @param clock Paces the waiting for the lock.
 * @returns The store.
 */
export function createFileStore(
  paths: Paths,
  keys: KeyProvider,
  clock: Clock,
): Store {
  return new FileStore(paths, keys, clock);
}

/**
 * Maps a grant name to its file; the only place that does.
 *
 * @param directory Where grants are.
 * @param name A full grant name; it is checked, so it cannot leave `directory`.
 * @returns An absolute path; two names never share one.
 * @throws {MoatError} `usage` if the name is not well-formed.
 */
export function grantFile(directory: string, name: string): string {
  return join(directory, parseGrantName(name).name + SUFFIX);
}

/** The grant whose file has this name; undefined for a foreign file. */
function grantOfFile(directory: string, fileName: string): string | undefined {
  if (!fileName.endsWith(SUFFIX)) return undefined;
  const name = basename(fileName, SUFFIX);
  try {
    const file = grantFile(directory, name);
    return basename(file) === fileName ? name : undefined;
  } catch {
    return undefined;
  }
}

class FileStore implements Store {
  readonly #directory: string;
  readonly #lock: string;
  readonly #keys: KeyProvider;
  readonly #clock: Clock;

  constructor(paths: Paths, keys: KeyProvider, clock: Clock) {
    this.#directory = paths.grants;
    this.#lock = join(paths.locks, "store.lock");
    this.#keys = keys;
    this.#clock = clock;
  }

  async get(name: string): Promise<Grant> {
    const path = grantFile(this.#directory, name);
    await checkPrivateDir(this.#directory);
    const bytes = await readFileIfAny(path);
    if (!bytes) throw grantNotFound(name);
    return await openGrant(() => this.#keys.load(), name, bytes);
  }

  async put(grant: Grant): Promise<void> {
    const path = grantFile(this.#directory, grant.name);
    const text = await sealGrant(await this.#keys.loadOrCreate(), grant);
    await ensurePrivateDir(this.#directory);
    await this.#locked(() => writeFileAtomic(path, text));
  }

  async update(
    name: string,
    change: (current: Grant) => Grant | undefined,
  ): Promise<Grant> {
    const path = grantFile(this.#directory, name);
    return await this.#locked(async () => {
      const current = await this.get(name);
      const next = change(current);
      if (!next) return current;
      if (next.name !== name) throw new TypeError("The grant was renamed");
      await writeFileAtomic(
        path,
        await sealGrant(await this.#keys.load(), next),
      );
      return next;
    });
  }

  async delete(name: string): Promise<boolean> {
    const path = grantFile(this.#directory, name);
    return await this.#locked(async () => {
      try {
        await Deno.remove(path);
        await syncDirectory(dirname(path));
        return true;
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return false;
        throw storageError("remove", path, error);
      }
    });
  }

  async list(): Promise<readonly StoredGrant[]> {
    const files = await fileNames(this.#directory);
    const names = files.map((file) => grantOfFile(this.#directory, file))
      .filter((name) => name !== undefined).sort();
    const entries: StoredGrant[] = [];
    for (const name of names) entries.push(...await this.#entry(name));
    return entries;
  }

  /** None if it was revoked meanwhile. */
  async #entry(name: string): Promise<StoredGrant[]> {
    try {
      return [{ name, grant: await this.get(name) }];
    } catch (caught) {
      const error = toMoatError(caught);
      return error.code === "grant-not-found" ? [] : [{ name, error }];
    }
  }

  #locked<T>(fn: () => Promise<T>): Promise<T> {
    return withLock(this.#lock, this.#clock, async () => {
      const ours = (file: string) => file.endsWith(SUFFIX);
      await removeStaleTemps(this.#directory, ours);
      return await fn();
    });
  }
}
