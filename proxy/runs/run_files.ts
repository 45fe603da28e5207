/**
 * The files of a run: a private directory on the host, and in it the one that
 * the client sees (design decision 4).
 *
 * @module
 */

import { join } from "node:path";
import { tokenFileContent } from "$core/binding.ts";
import type { Paths } from "$core/paths.ts";
import {
  ensurePrivateDir,
  missingOk,
  storageError,
  writeFileAtomic,
} from "$core/files.ts";
import type { MountedFile } from "$core/provider.ts";
import type { Secret } from "$core/secret.ts";

/** Run names are ours, so that a path made of one stays where it should. */
export const RUN_NAME = /^[0-9a-z]{10}$/;

/**
 * Makes a name: lower-case base 36 fits file names, session names and host names.
 *
 * @returns 10 characters.
 */
export function newRunName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  return [...bytes].map((byte) => (byte % 36).toString(36)).join("");
}

const OWNER_LOCK = "owner.lock";

/**
 * The private directory of a run, 0700.
 *
 * @param paths Where runs are.
 * @param run Its name.
 * @returns An absolute path.
 */
export function runDirectory(paths: Paths, run: string): string {
  if (!RUN_NAME.test(run)) throw new TypeError("not a run name");
  return join(paths.runs, run);
}

/** The directory of a run, held by its `moat run`. */
export interface RunFiles {
  /** What is mounted: readable by whatever uid the client has. */
  readonly directory: string;
  /** Writes the files of the client and its token. */
  write(files: readonly MountedFile[], token: Secret): Promise<void>;
  /**
   * Writes variables for the container's engine, which alone reads them.
   *
   * @returns The file, beside what is mounted.
   */
  writeEnvironment(text: string): Promise<string>;
  /** Puts another token in place of the one before. */
  replaceToken(token: Secret): Promise<void>;
  /** Removes everything. */
  remove(): Promise<void>;
}

/**
 * Makes the directory of a run and marks it as owned by this process: the
 * mark goes with the process, however it ends.
 *
 * @param paths Where runs are.
 * @param run The run's name.
 * @returns The directory's handle.
 */
export async function createRunFiles(
  paths: Paths,
  run: string,
): Promise<RunFiles> {
  await ensurePrivateDir(paths.runs);
  const root = runDirectory(paths, run);
  const lock = await markedDirectory(join(paths.runs, `.new-${run}`), root);
  const directory = join(root, "files");
  // The proxy may make a socket there before there are files.
  await makeDirectory(directory);
  return {
    directory,
    async write(files, token) {
      for (const file of files) await writeMounted(directory, file);
      const content = tokenFileContent(token);
      await writeMounted(directory, { path: "token", mode: 0o444, content });
    },
    async writeEnvironment(text) {
      const path = join(root, "env");
      await writeFileAtomic(path, text);
      return path;
    },
    async replaceToken(token) {
      const path = join(directory, "token");
      await writeFileAtomic(path, tokenFileContent(token), { mode: 0o444 });
    },
    async remove() {
      await missingOk(Deno.remove(root, { recursive: true }));
      lock.close();
    },
  };
}

/** Marked first, then given its name: a sweep never sees one unmarked. */
async function markedDirectory(
  unnamed: string,
  root: string,
): Promise<Deno.FsFile> {
  await Deno.mkdir(unnamed, { mode: 0o700 }).catch((error) => {
    throw storageError("make the directory", unnamed, error);
  });
  const lock = await Deno.open(join(unnamed, OWNER_LOCK), {
    write: true,
    createNew: true,
    mode: 0o600,
  });
  try {
    await lock.lock(true);
    await Deno.rename(unnamed, root);
    return lock;
  } catch (error) {
    lock.close();
    await Deno.remove(unnamed, { recursive: true });
    throw error;
  }
}

/**
 * Removes the directories of runs whose `moat run` is gone.
 *
 * @param paths Where runs are.
 */
export async function sweepRuns(paths: Paths): Promise<void> {
  for (const name of await namesBelow(paths.runs)) {
    if (RUN_NAME.test(name)) await removeOrphan(paths, name);
  }
}

/**
 * Removes the directory of a run, unless its `moat run` is alive, which does
 * so itself.
 *
 * @param paths Where runs are.
 * @param run Its name.
 */
export async function removeOrphan(paths: Paths, run: string): Promise<void> {
  const root = runDirectory(paths, run);
  if (await isOwned(root)) return;
  await missingOk(Deno.remove(root, { recursive: true }));
}

async function namesBelow(directory: string): Promise<string[]> {
  const entries = await missingOk(Array.fromAsync(Deno.readDir(directory)));
  return (entries ?? []).map((entry) => entry.name);
}

async function isOwned(root: string): Promise<boolean> {
  try {
    using lock = await Deno.open(join(root, OWNER_LOCK), { write: true });
    return !await lock.tryLock(true);
  } catch (error) {
    // What cannot be looked at is not ours to remove.
    return !(error instanceof Deno.errors.NotFound);
  }
}

/**
 * Writes a file that a client sees, and the directories that it is in. One of
 * the same name is replaced: a container that has it keeps what it opened.
 *
 * @param directory The client's directory on the host.
 * @param file The file.
 */
export async function writeMounted(
  directory: string,
  file: MountedFile,
): Promise<void> {
  const parts = file.path.split("/");
  if (parts.some((part) => ["", ".", ".."].includes(part))) {
    throw new TypeError("not a path within the directory of a run");
  }
  for (let depth = 1; depth < parts.length; depth++) {
    await makeDirectory(join(directory, ...parts.slice(0, depth)));
  }
  const path = join(directory, ...parts);
  await writeFileAtomic(path, file.content, { mode: file.mode });
}

/**
 * Makes a directory that a client sees, whatever its uid; the one above it must
 * be private.
 *
 * @param path An absolute path.
 */
export async function makeDirectory(path: string): Promise<void> {
  await Deno.mkdir(path, { recursive: true });
  await Deno.chmod(path, 0o755);
}
