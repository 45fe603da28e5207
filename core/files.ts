/**
 * Private files: directories of 0700, files of 0600 from the creating call,
 * written whole or not at all, one writer at a time.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { type Clock, sleep } from "./clock.ts";
import { MoatError } from "./errors.ts";

// Deno's own files take neither owner nor mode by descriptor.
const open = promisify(fs.open);
const fchown = promisify(fs.fchown);
const fchmod = promisify(fs.fchmod);
const fsync = promisify(fs.fsync);
const close = promisify(fs.close);

function write(file: number, bytes: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) =>
    fs.write(
      file,
      bytes,
      (error, written) => error ? reject(error) : resolve(written),
    )
  );
}

/** Bits of a mode that let anyone but the owner in. */
const OTHERS = 0o077;

/** How long {@link withLock} waits; longer than any holder's own time limits. */
const LOCK_WAIT_MS = 10_000;

/** Short against a person's patience, long against a system call. */
const LOCK_POLL_MS = 25;

/** `.TARGET.RANDOM.tmp`: hidden, and never the name of a grant. */
const TEMP_NAME = /^\.(.+)\.[0-9a-f]{16}\.tmp$/;

/** Error numbers of a file system, or a user's share of it, that is full. */
const FULL = new Set(["ENOSPC", "EDQUOT"]);

/** How {@link writeFileAtomic} writes. */
export interface WriteOptions {
  /** The new file's permissions. Default: 0o600. */
  readonly mode?: number;
  /** Who gets it. Default: this process's user. */
  readonly owner?: { readonly uid: number; readonly gid: number };
}

/**
 * Makes a directory, and its missing parents, for this user alone.
 *
 * Parents that exist are left as they are: only moat's own directories are
 * checked, because a home directory is not ours to judge.
 *
 * @param path An absolute path.
 * @throws {MoatError} `insecure-directory` if it exists and others can enter
 * it or own it; `disk-full` or `cannot-write` if it cannot be made.
 */
export async function ensurePrivateDir(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw storageError("create directory", path, error);
  }
  await checkPrivateDir(path);
}

/**
 * Checks that a directory, if there is one, is this user's alone.
 *
 * @param path An absolute path.
 * @throws {MoatError} `insecure-directory` with the command that cures it.
 */
export async function checkPrivateDir(path: string): Promise<void> {
  const entry = await missingOk(Deno.lstat(path));
  if (!entry) return;
  if (entry.isFile) {
    throw new MoatError(
      "insecure-directory",
      `Cannot use directory "${path}": wanted a directory, found a file`,
      { hint: SHARED_HINT },
    );
  }
  // Whoever owns a link decides where it leads.
  const found = entry.isSymlink && isForeign(entry)
    ? intrusion(entry, 0o700)
    : intrusion(await Deno.stat(path), 0o700);
  if (!found) return;
  throw new MoatError(
    "insecure-directory",
    `Cannot use directory "${path}": ${found.fault}`,
    {
      hint: found.foreign
        ? OWNER_HINT
        : found.isShared
        ? SHARED_HINT
        : `chmod 700 "${path}"`,
    },
  );
}

/**
 * Checks that nobody but this user and root can change what is in a directory,
 * which others may read. A link is none.
 *
 * @param path An absolute path.
 * @throws {MoatError} `insecure-directory`.
 */
export async function checkWriters(path: string): Promise<void> {
  const info = await missingOk(Deno.lstat(path));
  if (!info) return;
  const fault = info.isDirectory
    ? writersFault(info)
    : "wanted a directory, found something else";
  if (!fault) return;
  throw new MoatError(
    "insecure-directory",
    `Cannot use directory "${path}": ${fault}`,
    { hint: "give it to the user who runs moat, with mode 0755" },
  );
}

/**
 * Tells who, beside this user and root, can change a file or what is in a
 * directory.
 *
 * @param info What it is.
 * @returns Such as `mode is 0664, so that others can write there`; undefined for nobody.
 */
export function writersFault(info: Deno.FileInfo): string | undefined {
  if (info.uid !== 0 && isForeign(info)) {
    return `owner is uid ${info.uid}, must be ${Deno.uid()} or 0`;
  }
  const mode = (info.mode ?? 0) & 0o777;
  return (mode & 0o022) === 0
    ? undefined
    : `mode is ${octal(mode)}, so that others can write there`;
}

const SHARED_HINT = "set MOAT_HOME to a directory of your own";
const OWNER_HINT = "run moat as the user who owns it, or set MOAT_HOME";

/**
 * Writes a file whole: a reader sees the old content or the new, whatever
 * happens, and the new one survives a power cut once this returns.
 *
 * @param path The file; its directory must exist.
 * @param content Text is written as UTF-8.
 * @param options Mode.
 * @throws {MoatError} `disk-full` or `cannot-write`; the old file is intact
 * and nothing is left behind.
 */
export async function writeFileAtomic(
  path: string,
  content: Uint8Array | string,
  options: WriteOptions = {},
): Promise<void> {
  const temp = tempPath(path);
  try {
    await writeNew(temp, content, options);
    await Deno.rename(temp, path);
    await syncDirectory(dirname(path));
  } catch (error) {
    await missingOk(Deno.remove(temp)).catch(() => {});
    throw storageError("write", path, error);
  }
}

function tempPath(path: string): string {
  const random = randomBytes(8).toString("hex");
  return join(dirname(path), `.${basename(path)}.${random}.tmp`);
}

async function writeNew(
  path: string,
  content: Uint8Array | string,
  { mode = 0o600, owner }: WriteOptions,
) {
  const bytes = typeof content === "string"
    ? new TextEncoder().encode(content)
    : content;
  const file = await open(path, "wx", 0o600);
  try {
    // By descriptor: in a directory of others, a name may lead elsewhere by
    // now. The mode last: a new owner may take bits away, and the umask would.
    if (owner) await fchown(file, owner.uid, owner.gid);
    if (mode !== 0o600) await fchmod(file, mode);
    await writeAll({ write: (part) => write(file, part) }, bytes);
    await fsync(file);
  } finally {
    await close(file);
  }
}

/**
 * Writes all bytes, where a single write may take only some.
 *
 * @param file An open file or connection.
 * @param bytes What to write.
 */
export async function writeAll(
  file: { write(bytes: Uint8Array): Promise<number> },
  bytes: Uint8Array,
): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += await file.write(bytes.subarray(done));
  }
}

/**
 * Makes renames and removals in a directory survive a power cut.
 *
 * @param path The directory.
 */
export async function syncDirectory(path: string): Promise<void> {
  using directory = await Deno.open(path);
  await directory.sync();
}

/**
 * Removes what a killed {@link writeFileAtomic} left behind.
 *
 * Call it only under the lock that all writers of these files hold: a
 * temporary file of a live writer looks the same.
 *
 * @param directory Where to look; it may be missing.
 * @param belongs Whether the caller is the one to clean up for a file name.
 */
export async function removeStaleTemps(
  directory: string,
  belongs: (fileName: string) => boolean,
): Promise<void> {
  for (const name of await fileNames(directory)) {
    const target = TEMP_NAME.exec(name)?.[1];
    if (target === undefined || !belongs(target)) continue;
    await missingOk(Deno.remove(join(directory, name)));
  }
}

/**
 * Lists the files of a directory.
 *
 * @param directory An absolute path.
 * @returns Names in no particular order, without subdirectories; empty if
 * there is no such directory.
 */
export async function fileNames(directory: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of Deno.readDir(directory)) {
      if (!entry.isDirectory) names.push(entry.name);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) {
      throw cannotRead(directory, error);
    }
  }
  return names;
}

/**
 * Reads a file whole.
 *
 * @param path The file.
 * @returns Its bytes, or undefined if there is no such file.
 * @throws {MoatError} `cannot-read` if it cannot be read.
 */
export async function readFileIfAny(
  path: string,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return await missingOk(Deno.readFile(path));
  } catch (error) {
    throw cannotRead(path, error);
  }
}

/**
 * Reads a file that nobody else may read, such as a key.
 *
 * @param path The file.
 * @returns Its bytes, or undefined if there is no such file.
 * @throws {MoatError} `insecure-file` if others have any access to it or own
 * it; `cannot-read` if it cannot be read.
 */
export async function readPrivateFile(
  path: string,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    using file = await missingOk(Deno.open(path)) ?? null;
    if (!file) return undefined;
    // The open file is checked, not its name, so that a swap gains nothing.
    checkPrivateFile(path, await file.stat());
    return new Uint8Array(await new Response(file.readable).arrayBuffer());
  } catch (error) {
    throw cannotRead(path, error);
  }
}

function checkPrivateFile(path: string, info: Deno.FileInfo): void {
  const found = intrusion(info, 0o600);
  if (!found) return;
  throw new MoatError("insecure-file", `Cannot use "${path}": ${found.fault}`, {
    hint: found.foreign
      ? OWNER_HINT
      : `chmod 600 "${path}"; if others could read it, grant anew what it protects`,
  });
}

function isForeign(info: Deno.FileInfo): boolean {
  const uid = Deno.uid();
  return uid !== null && info.uid !== null && info.uid !== uid;
}

/** What lets others in, or undefined if nothing does. */
function intrusion(info: Deno.FileInfo, wanted: number) {
  if (isForeign(info)) {
    const fault = `owner is uid ${info.uid}, must be ${Deno.uid()}`;
    return { fault, foreign: true, isShared: false };
  }
  const mode = (info.mode ?? wanted) & 0o777;
  if ((mode & OTHERS) === 0) return undefined;
  const fault = `mode is ${octal(mode)}, must be ${octal(wanted)}`;
  // Sticky, as /tmp is: closing it would break other programs.
  const isShared = ((info.mode ?? 0) & 0o1000) !== 0;
  return { fault, foreign: false, isShared };
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}

/**
 * Names the reason why something could not be read.
 *
 * @param path A file or directory.
 * @param error What was caught.
 * @returns The same error if it is a MoatError, else `cannot-read`.
 */
export function cannotRead(path: string, error: unknown): MoatError {
  if (error instanceof MoatError) return error;
  return new MoatError("cannot-read", `Cannot read "${path}": ${why(error)}`, {
    cause: error,
    hint: "check its permissions, or run moat as the user who owns it",
  });
}

/**
 * Runs a function while no other process, and no other caller in this one,
 * holds the same lock.
 *
 * The lock is a flock(2), which the kernel releases when its holder dies. Its
 * file is never removed, because a waiter may already have it open.
 *
 * @param path The lock file; it and its directory are made if missing.
 * @param clock Paces the waiting.
 * @param fn What to do; keep it short.
 * @returns What `fn` returns.
 * @throws {MoatError} `locked` after 10 s of waiting.
 */
export async function withLock<T>(
  path: string,
  clock: Clock,
  fn: () => T | Promise<T>,
): Promise<T> {
  await ensurePrivateDir(dirname(path));
  using file = await openLock(path);
  // Counted, not compared with a deadline: the wall clock may be set.
  for (let waited = 0; !await file.tryLock(true); waited += LOCK_POLL_MS) {
    if (waited >= LOCK_WAIT_MS) throw stillLocked(path);
    await sleep(clock, LOCK_POLL_MS);
  }
  return await fn();
}

/**
 * Opens a lock file, which is made if missing.
 *
 * @param path The file; its directory must exist.
 * @returns The open file, not locked yet.
 * @throws {MoatError} `disk-full` or `cannot-write`.
 */
export async function openLock(path: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(path, { write: true, create: true, mode: 0o600 });
  } catch (error) {
    throw storageError("open lock", path, error);
  }
}

function stillLocked(path: string): MoatError {
  return new MoatError(
    "locked",
    `Cannot get the lock "${path}": another process has held it for ${
      LOCK_WAIT_MS / 1000
    } seconds`,
    { hint: "wait for the other moat command to end, then run this one again" },
  );
}

/**
 * Names the reason why a change on disk failed.
 *
 * @param action What was tried, such as `write`.
 * @param path On what.
 * @param error What was caught.
 * @returns The same error if it is a MoatError, else `disk-full` or `cannot-write`.
 */
export function storageError(
  action: string,
  path: string,
  error: unknown,
): MoatError {
  if (error instanceof MoatError) return error;
  const message = `Cannot ${action} "${path}": ${why(error)}`;
  const directory = dirname(path);
  return FULL.has(errorNumber(error))
    ? new MoatError("disk-full", message, {
      cause: error,
      hint: `free some space in "${directory}", then run it again`,
    })
    : new MoatError("cannot-write", message, {
      cause: error,
      hint: `check who may write in "${directory}"`,
    });
}

function errorNumber(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : "";
  return typeof code === "string" ? code : "";
}

/** The runtime's text repeats paths, so only its kind is kept. */
function why(error: unknown): string {
  const number = errorNumber(error);
  if (FULL.has(number)) return "the disk is full";
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied";
  return number || (error instanceof Error ? error.name : "unknown error");
}

/**
 * Turns "no such file" into a value.
 *
 * @param operation A file operation under way.
 * @returns Its result, or undefined if what it works on does not exist.
 */
export async function missingOk<T>(
  operation: Promise<T>,
): Promise<T | undefined> {
  try {
    return await operation;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
