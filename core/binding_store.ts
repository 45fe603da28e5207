/**
 * Bindings that outlive runs and restarts: `bindings/NAME.json` with the
 * digest of the token, and the files that hold the token itself.
 *
 * A token is changed in three steps, so that a crash leaves none that does not
 * count: the binding is written with the old token's digest and the new one's,
 * then the files with the new token, then the binding with the new one alone.
 *
 * @module
 */

import { dirname, join } from "node:path";
import * as v from "valibot";
import {
  type Binding,
  checkBindingName,
  digestToken,
  tokenFileContent,
} from "./binding.ts";
import { type Clock, sleep } from "./clock.ts";
import { type ContainerMatch, isContainerMatch } from "./container.ts";
import type { Reach } from "./reach.ts";
import { MoatError, toMoatError } from "./errors.ts";
import {
  checkPrivateDir,
  checkWriters,
  fileNames,
  missingOk,
  openLock,
  readFileIfAny,
  removeStaleTemps,
  storageError,
  syncDirectory,
  writeFileAtomic,
} from "./files.ts";
import type { Grant, Json } from "./grant.ts";
import { parseJson } from "./json.ts";
import type { BindingPaths } from "./paths.ts";
import { parsePolicy, type Policy } from "./policy.ts";
import type { Secret } from "./secret.ts";

/** A binding as it is kept. */
export interface StoredBinding {
  /** Its name, grants, mode, settings, policy and container. */
  readonly binding: Binding;
  /** See `digestToken`. */
  readonly tokenDigest: string;
  /** When its token was made, in ms since the Unix epoch. */
  readonly createdAt: number;
  /** Base URL for its client. */
  readonly url: string;
  /** A listener of its own; absent: its client reaches any permanent one. */
  readonly reach?: Reach;
  /** Where its client sees its files, such as `/moat`; absent without any. */
  readonly directory?: string;
  /** Whether the token is in a file of its own. */
  readonly tokenFile: boolean;
  /** Grants that are kept with it instead of in the store. */
  readonly ownGrants?: readonly Grant[];
}

/** A binding whose token is not made yet. */
export type NewBinding = Omit<StoredBinding, "tokenDigest">;

/** How bindings are written; moat's own form, or that of another program. */
export interface BindingFormat {
  /** What tokens begin with. */
  readonly tokenPrefix: string;
  /** How long a token's secret is. */
  readonly secretBytes: number;
  /** Directories that it makes: 0o700, or 0o755 where others may enter. */
  readonly directoryMode: number;
  /**
   * Writes a binding.
   *
   * @param stored The binding.
   * @param next What it becomes, while its token is changed.
   */
  encode(stored: StoredBinding, next?: StoredBinding): string;
  /**
   * Reads a binding.
   *
   * @param name Its name, from the file's.
   * @param value The file's JSON.
   * @returns One, or two while a token is changed; undefined for another shape.
   */
  decode(name: string, value: unknown): readonly StoredBinding[] | undefined;
  /** Writes an environment. */
  writeEnvironment(environment: Readonly<Record<string, string>>): string;
}

const OwnSchema = v.strictObject({
  version: v.literal(1),
  name: v.string(),
  grants: v.array(v.string()),
  mode: v.exactOptional(v.string()),
  settings: v.exactOptional(v.record(v.string(), v.custom<Json>(() => true))),
  policy: v.exactOptional(
    v.custom<Policy>((value) => parsePolicy(value) !== undefined),
  ),
  container: v.exactOptional(v.custom<ContainerMatch>(isContainerMatch)),
  tokenDigest: v.pipe(v.string(), v.regex(/^[\w-]{64}$/)),
  createdAt: v.pipe(v.number(), v.integer()),
  url: v.string(),
  reach: v.exactOptional(
    v.custom<Reach>((value) =>
      typeof value === "object" && value !== null && "by" in value
    ),
  ),
  directory: v.exactOptional(v.string()),
  tokenFile: v.boolean(),
  next: v.exactOptional(v.unknown()),
});

/** moat's own form. */
export const OWN_FORMAT: Omit<BindingFormat, "writeEnvironment"> = {
  tokenPrefix: "moat",
  secretBytes: 32,
  directoryMode: 0o700,
  encode: (stored, next) =>
    JSON.stringify(
      { ...flatten(stored), ...(next && { next: flatten(next) }) },
      null,
      2,
    ) + "\n",
  decode(name, value) {
    const result = v.safeParse(OwnSchema, value);
    if (!result.success || result.output.name !== name) return undefined;
    const { next, ...own } = result.output;
    if (next === undefined) return [unflatten(own)];
    const further = v.safeParse(v.omit(OwnSchema, ["next"]), next);
    if (!further.success || further.output.name !== name) return undefined;
    return [unflatten(own), unflatten(further.output)];
  },
};

type Flat = Omit<v.InferOutput<typeof OwnSchema>, "next">;

function flatten({ binding, ...rest }: StoredBinding): Flat {
  const { name, grants, mode, settings, policy, container } = binding;
  return {
    version: 1,
    name,
    grants: [...grants],
    ...(mode !== undefined && { mode }),
    ...(settings && { settings }),
    ...(policy && { policy }),
    ...(container && { container }),
    ...rest,
  };
}

function unflatten(flat: Flat): StoredBinding {
  const { version: _, name, grants, mode, settings, ...others } = flat;
  const { policy, container, ...rest } = others;
  return {
    binding: {
      name,
      grants,
      ...(mode !== undefined && { mode }),
      ...(settings && { settings }),
      ...(policy && { policy }),
      ...(container && { container }),
    },
    ...rest,
  };
}

/** How long {@link BindingStore} waits for another command. */
const LOCK_WAIT_MS = 10_000;
const LOCK_POLL_MS = 25;

/** The stored bindings of one directory. */
export class BindingStore {
  /** Where its files are. */
  readonly paths: BindingPaths;
  /** How they are written. */
  readonly format: BindingFormat;
  readonly #clock: Clock;

  /** Nothing is created before the first write. */
  constructor(paths: BindingPaths, format: BindingFormat, clock: Clock) {
    this.paths = paths;
    this.format = format;
    this.#clock = clock;
  }

  /**
   * Reads a binding.
   *
   * @param name Its name.
   * @returns It; and while its token is changed, what it becomes.
   * @throws {MoatError} `binding-not-found`, `binding-damaged`, `cannot-read`.
   */
  async get(name: string): Promise<readonly StoredBinding[]> {
    await this.#checkDirectory();
    const bytes = await readFileIfAny(this.#file(name));
    if (!bytes) throw bindingNotFound(name);
    const stored = this.format.decode(name, parseJson(bytes));
    if (stored) return stored;
    throw new MoatError(
      "binding-damaged",
      `Cannot use binding "${name}": its file has an unknown shape`,
      { hint: `moat unbind ${name}, then bind it again` },
    );
  }

  /**
   * Reads a binding as it is to be.
   *
   * @param name Its name.
   * @returns The binding; while its token is changed, what it becomes.
   * @throws {MoatError} As {@link BindingStore.get}.
   */
  async latest(name: string): Promise<StoredBinding> {
    const stored = (await this.get(name)).at(-1);
    if (!stored) throw bindingNotFound(name);
    return stored;
  }

  /** The names of all bindings, in order, also of damaged ones. */
  async names(): Promise<string[]> {
    const files = await fileNames(this.paths.bindings);
    return files.filter((file) => file.endsWith(".json") && file[0] !== ".")
      .map((file) => file.slice(0, -".json".length)).sort();
  }

  /**
   * Tells whether a binding's file is another one than before.
   *
   * @param name Its name.
   * @returns What changes with the file; undefined if it cannot be looked at.
   */
  stamp(name: string): string | undefined {
    try {
      const { ino, mtime, size } = Deno.statSync(this.#file(name));
      return `${ino} ${mtime?.getTime()} ${size}`;
    } catch {
      return undefined;
    }
  }

  /**
   * Writes a binding with a new token, in place of an older one of its name.
   *
   * @param stored The binding.
   * @param token Its token, in the format's form.
   * @param environment For its environment file.
   * @param writeFiles Writes further files of its client.
   * @throws {MoatError} `cannot-write`, `disk-full`, `locked`; then the older
   * token and its files still count.
   */
  async put(
    stored: NewBinding,
    token: Secret,
    environment: Readonly<Record<string, string>>,
    writeFiles?: () => Promise<void>,
  ): Promise<void> {
    const name = checkBindingName(stored.binding.name);
    const next = { ...stored, tokenDigest: digestToken(token.reveal()) };
    // Before anything is written: it may not fit the format.
    const text = this.format.writeEnvironment(environment);
    await this.#makeDirectories();
    await this.#locked(async () => {
      await this.#removeStale(name);
      const old = await this.#current(name);
      try {
        await this.#mark(next);
        await writeFiles?.();
        await this.#change(old, next, token, text);
      } catch (error) {
        // It would be a binding that nobody has the token of.
        if (!old) await this.#remove(name);
        throw error;
      }
      await this.#removeUnused(next);
    });
  }

  /** The three steps. */
  async #change(
    old: StoredBinding | undefined,
    next: StoredBinding,
    token: Secret,
    environment: string,
  ): Promise<void> {
    const { format, paths } = this;
    const { name } = next.binding;
    const write = (text: string) => writeFileAtomic(this.#file(name), text);
    await write(old ? format.encode(old, next) : format.encode(next));
    await this.#writeToken(next, token);
    await writeKeepingOwner(join(paths.environments, name), environment);
    if (old) await write(format.encode(next));
  }

  /** Before the binding: whoever starts later looks for no others at once. */
  async #mark({ binding: { name, container } }: StoredBinding): Promise<void> {
    if (!container) return;
    const { bound } = this.paths;
    makeDirectory(join(bound, name), this.format.directoryMode);
    await syncDirectory(bound);
  }

  /** What an older form of the binding left. */
  async #removeUnused(
    { binding: { name, container }, tokenFile, directory }: StoredBinding,
  ): Promise<void> {
    const { tokens, bound } = this.paths;
    if (!tokenFile || directory !== undefined) await remove(join(tokens, name));
    if (directory !== undefined) return;
    await removeAll(container ? this.filesPath(name) : join(bound, name));
  }

  /**
   * Removes a binding and the files that hold its token.
   *
   * @returns Whether there was one.
   */
  async delete(name: string): Promise<boolean> {
    checkBindingName(name);
    await this.#checkDirectory();
    if (!await missingOk(Deno.stat(this.paths.bindings))) return false;
    return await this.#locked(() => this.#remove(name));
  }

  /** Under the lock. The binding first: from then on its token counts no more. */
  async #remove(name: string): Promise<boolean> {
    const { bindings, environments, tokens, bound } = this.paths;
    const found = await remove(this.#file(name));
    if (found) await syncDirectory(bindings);
    await remove(join(environments, name));
    await remove(join(tokens, name));
    await removeAll(join(bound, name));
    return found;
  }

  /**
   * Where the files of a client are, if it has any.
   *
   * @param name The binding.
   * @returns An absolute path on this host, below a private directory.
   */
  filesPath(name: string): string {
    return join(this.paths.bound, checkBindingName(name), "files");
  }

  /**
   * Where the token of a binding with a file of its own is.
   *
   * @param name The binding.
   * @param hasFiles Whether its client has further files.
   * @returns An absolute path on this host.
   */
  tokenPath(name: string, hasFiles: boolean): string {
    return hasFiles
      ? join(this.filesPath(name), "token")
      : join(this.paths.tokens, checkBindingName(name));
  }

  /** The only place that maps a name to its file. */
  #file(name: string): string {
    return join(this.paths.bindings, `${checkBindingName(name)}.json`);
  }

  /** What a token's files may hold now: after a crash, the one they were to hold. */
  async #current(name: string): Promise<StoredBinding | undefined> {
    try {
      const stored = await this.get(name);
      return await this.#matching(name, stored) ?? stored[0];
    } catch (error) {
      const { code } = toMoatError(error);
      // It is about to be replaced.
      if (["binding-not-found", "binding-damaged"].includes(code)) {
        return undefined;
      }
      throw error;
    }
  }

  /**
   * Of two, the one whose token the client has. Its environment decides, which
   * is written last: a file that it does not name yet does not count.
   */
  async #matching(
    name: string,
    stored: readonly StoredBinding[],
  ): Promise<StoredBinding | undefined> {
    const environment = await readText(join(this.paths.environments, name));
    const found = holderOf(environment, stored);
    if (found) return found;
    const named = stored.filter(({ directory }) =>
      environment.includes(
        directory === undefined
          ? this.tokenPath(name, false)
          : join(directory, "token"),
      )
    );
    const files = (named.length > 0 ? named : stored)
      .map(({ directory }) => this.tokenPath(name, directory !== undefined));
    const texts = await Promise.all(files.map(readText));
    return holderOf(texts.join("\n"), stored);
  }

  async #writeToken(
    { binding: { name }, tokenFile, directory }: StoredBinding,
    token: Secret,
  ): Promise<void> {
    if (!tokenFile) return;
    const path = this.tokenPath(name, directory !== undefined);
    const content = tokenFileContent(token);
    makeDirectory(dirname(path), this.format.directoryMode);
    if (directory === undefined) return await writeKeepingOwner(path, content);
    // Whatever uid a container has; nobody else can enter the directory above.
    await writeFileAtomic(path, content, { mode: 0o444 });
  }

  /** Whoever can write there decides who gets what. */
  async #checkDirectory(): Promise<void> {
    const { bindings, environments, tokens, bound } = this.paths;
    if (this.format.directoryMode === 0o700) {
      return await checkPrivateDir(bindings);
    }
    const all = [dirname(bindings), bindings, environments, tokens, bound];
    await Promise.all(all.map(checkWriters));
  }

  async #makeDirectories(): Promise<void> {
    await this.#checkDirectory();
    const { directoryMode } = this.format;
    makeDirectory(this.paths.bindings, directoryMode);
    makeDirectory(this.paths.environments, directoryMode);
  }

  /** Under the lock: what a killed command left behind. */
  async #removeStale(name: string): Promise<void> {
    const { bindings, environments, tokens, bound } = this.paths;
    const directories = [
      bindings,
      environments,
      tokens,
      ...await directoriesBelow(join(bound, name)),
    ];
    await Promise.all(
      directories.map((each) => removeStaleTemps(each, () => true)),
    );
  }

  async #locked<T>(fn: () => Promise<T>): Promise<T> {
    using file = await openLock(join(this.paths.bindings, ".lock"));
    for (let waited = 0; !await file.tryLock(true); waited += LOCK_POLL_MS) {
      if (waited >= LOCK_WAIT_MS) throw stillLocked();
      await sleep(this.#clock, LOCK_POLL_MS);
    }
    return await fn();
  }
}

/**
 * The error for a name that no binding has.
 *
 * @param name What was looked for.
 * @returns A `binding-not-found`, to be thrown by the caller.
 */
export function bindingNotFound(name: string): MoatError {
  return new MoatError("binding-not-found", `Cannot find binding "${name}"`, {
    hint: "moat bindings lists those there are",
  });
}

/** The last one whose token a text holds. */
function holderOf(
  text: string,
  stored: readonly StoredBinding[],
): StoredBinding | undefined {
  const digests = [...text.matchAll(/\.[\w-]{43,128}/g)]
    .map(([secret]) => digestToken(secret));
  return stored.findLast(({ tokenDigest }) => digests.includes(tokenDigest));
}

async function readText(path: string): Promise<string> {
  return new TextDecoder().decode(await readFileIfAny(path));
}

function makeDirectory(path: string, mode: number): void {
  // The mode of the creating call is cut by it.
  const umask = Deno.umask(0);
  try {
    Deno.mkdirSync(path, { recursive: true, mode });
  } catch (error) {
    throw storageError("create directory", path, error);
  } finally {
    Deno.umask(umask);
  }
}

async function remove(path: string): Promise<boolean> {
  try {
    await Deno.remove(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw storageError("remove", path, error);
  }
}

async function removeAll(path: string): Promise<void> {
  try {
    await missingOk(Deno.remove(path, { recursive: true }));
  } catch (error) {
    throw storageError("remove", path, error);
  }
}

/** A directory and all within it; none if it is missing. */
async function directoriesBelow(path: string): Promise<string[]> {
  const entries = await missingOk(Array.fromAsync(Deno.readDir(path)));
  if (!entries) return [];
  const below = await Promise.all(
    entries.filter((entry) => entry.isDirectory)
      .map((entry) => directoriesBelow(join(path, entry.name))),
  );
  return [path, ...below.flat()];
}

/** An administrator may have given the file to the service that reads it. */
async function writeKeepingOwner(path: string, content: string): Promise<void> {
  const old = await missingOk(Deno.lstat(path));
  await writeFileAtomic(path, content, {
    ...(old?.isFile && {
      mode: (old.mode ?? 0o600) & 0o777,
      ...(old.uid !== null && old.gid !== null && {
        owner: { uid: old.uid, gid: old.gid },
      }),
    }),
  });
}

function stillLocked(): MoatError {
  return new MoatError(
    "locked",
    `Cannot change the bindings: another command has been doing so for ${
      LOCK_WAIT_MS / 1000
    } seconds`,
    { hint: "wait for it to end, then run this one again" },
  );
}
