/**
 * Providers that a user defines: one TOML file each, in `providers/` of the
 * configuration directory. A file that cannot be used takes none of the others
 * along.
 *
 * A running proxy looks at a provider's file whenever it needs the provider:
 * one that was added or corrected counts without a restart.
 *
 * @module
 */

import { basename, join } from "node:path";
import { MoatError } from "$core/errors.ts";
import { cannotRead, writersFault } from "$core/files.ts";
import type { Platform } from "$core/platform.ts";
import type { DefinedProviders, Provider } from "$core/provider.ts";
import type { HeaderDefinition } from "./definition.ts";
import { BAD_FILE, parseDefinition } from "./parse.ts";
import { createHeaderProvider } from "./provider.ts";
import { isProviderName } from "./values.ts";

/** What their names end with. */
export const EXTENSION = ".toml";

/** Far longer than any definition, in bytes. */
const MAX_BYTES = 64 * 1024;

/**
 * Names the directory of the files.
 *
 * @param platform Whose configuration directory.
 * @returns An absolute path; it may be missing.
 * @throws {MoatError} `no-home`.
 */
export function definitionsDirectory(
  { paths }: Pick<Platform, "paths">,
): string {
  return join(paths.configuration, "providers");
}

/**
 * Reads a definition's file.
 *
 * @param path The file, `NAME.toml`.
 * @returns The definition.
 * @throws {MoatError} `bad-provider-file`, `insecure-file` or `cannot-read`.
 */
export function loadDefinition(path: string): HeaderDefinition {
  const name = nameOf(path);
  if (!isProviderName(name)) {
    throw unusable(
      path,
      "wanted NAME.toml, with a NAME of lower-case letters, digits, '.', '_' and '-'",
    );
  }
  return parseDefinition(readChecked(path), path, name);
}

function nameOf(path: string): string {
  return basename(path, EXTENSION);
}

/** The open file is checked, not its name, so that a swap gains nothing. */
function readChecked(path: string): string {
  try {
    // Opening a pipe would wait for its writer.
    if (!Deno.statSync(path).isFile) throw unusable(path, "it is no file");
    using file = Deno.openSync(path);
    const info = file.statSync();
    checkWriters(path, info);
    if (info.size > MAX_BYTES) {
      throw unusable(path, `wanted ${MAX_BYTES} bytes at most`);
    }
    const bytes = new Uint8Array(info.size);
    const length = file.readSync(bytes) ?? 0;
    return new TextDecoder("utf-8", { fatal: true })
      .decode(bytes.subarray(0, length));
  } catch (error) {
    if (error instanceof TypeError) throw unusable(path, "it is not UTF-8");
    throw cannotRead(path, error);
  }
}

function unusable(path: string, fault: string): MoatError {
  return new MoatError(BAD_FILE, `Cannot use "${path}": ${fault}`, {
    hint: "moat provider check FILE tells when it is right",
  });
}

/** Whoever writes there says where credentials go. */
function checkWriters(path: string, info: Deno.FileInfo): void {
  const fault = writersFault(info);
  if (fault === undefined) return;
  throw new MoatError("insecure-file", `Cannot use "${path}": ${fault}`, {
    hint: fault.startsWith("mode")
      ? `look at what it says, then chmod go-w "${path}"`
      : "give it to the user who runs moat",
  });
}

/**
 * Loads all definitions of this user.
 *
 * @param platform Where they are, and what their providers work with.
 * @param builtIn Providers whose names and aliases are taken.
 * @returns What could be read, and why the rest could not.
 */
export function loadDefinedProviders(
  platform: Platform,
  builtIn: readonly Provider[],
): DefinedProviders {
  const files = new DefinitionFiles(platform, builtIn);
  files.load();
  return files;
}

function directoryIfAny(platform: Platform): string | undefined {
  try {
    return definitionsDirectory(platform);
  } catch (error) {
    if (error instanceof MoatError && error.code === "no-home") {
      return undefined;
    }
    throw error;
  }
}

/** A provider, and what its file looked like when it was read. */
interface Loaded {
  readonly stamp: string;
  readonly provider: Provider;
}

class DefinitionFiles implements DefinedProviders {
  readonly #platform: Platform;
  /** Absent without a home; then there are no files of anybody. */
  readonly #directory: string | undefined;
  /** Owners of the names and aliases that are built in. */
  readonly #taken: ReadonlyMap<string, string>;
  /** By name. */
  readonly #loaded = new Map<string, Loaded>();
  readonly problems: MoatError[] = [];

  constructor(platform: Platform, builtIn: readonly Provider[]) {
    this.#platform = platform;
    this.#directory = directoryIfAny(platform);
    this.#taken = new Map(
      builtIn.flatMap(({ name, aliases }) =>
        [name, ...aliases].map((each) => [each, name] as const)
      ),
    );
  }

  get all(): readonly Provider[] {
    return [...this.#loaded.values()].map(({ provider }) => provider);
  }

  load(): void {
    this.#try(() => {
      for (const file of this.#list()) {
        this.#try(() => this.#read(nameOf(file)));
      }
    });
  }

  find(name: string): Provider | undefined {
    if (!isProviderName(name)) return undefined;
    const byAlias = this.all.find(({ aliases }) => aliases.includes(name));
    return this.#read(byAlias?.name ?? name);
  }

  fileOf(name: string): string {
    const file = isProviderName(name) ? name : "NAME";
    return join(this.#directory ?? "", `${file}${EXTENSION}`);
  }

  #list(): string[] {
    const directory = this.#directory;
    if (directory === undefined) return [];
    try {
      const entries = [...Deno.readDirSync(directory)];
      if (entries.length > 0) checkWriters(directory, Deno.statSync(directory));
      return entries.map(({ name }) => name)
        // What an editor leaves behind begins with a dot.
        .filter((name) => name.endsWith(EXTENSION) && !name.startsWith("."))
        .sort();
    } catch (error) {
      // A home that is no directory is the command's own error.
      const isMissing = error instanceof Deno.errors.NotFound ||
        error instanceof Deno.errors.NotADirectory;
      if (isMissing) return [];
      throw cannotRead(directory, error);
    }
  }

  #try(read: () => void): void {
    try {
      read();
    } catch (error) {
      if (!(error instanceof MoatError)) throw error;
      this.problems.push(error);
    }
  }

  /** As its file is now; undefined if there is none. */
  #read(name: string): Provider | undefined {
    if (this.#directory === undefined) return undefined;
    const path = join(this.#directory, `${name}${EXTENSION}`);
    const stamp = stampOf(path);
    const known = this.#loaded.get(name);
    if (known && known.stamp === stamp) return known.provider;
    this.#loaded.delete(name);
    if (stamp === undefined) return undefined;
    // Whoever can write there can put in another file for this one.
    checkWriters(this.#directory, Deno.statSync(this.#directory));
    const definition = loadDefinition(path);
    this.#checkNames(path, definition);
    const provider = createHeaderProvider(definition)(this.#platform);
    this.#loaded.set(name, { stamp, provider });
    return provider;
  }

  #checkNames(path: string, { name, aliases = [] }: HeaderDefinition): void {
    const others = this.all.flatMap((other) =>
      [other.name, ...other.aliases].map((each) => [each, other.name] as const)
    );
    const taken = new Map([...others, ...this.#taken]);
    for (const each of [name, ...aliases]) {
      const owner = taken.get(each);
      if (owner === undefined) continue;
      throw unusable(
        path,
        `the name "${each}" is taken by provider "${owner}"`,
      );
    }
  }
}

/** What changes with a file's content; undefined if there is none. */
function stampOf(path: string): string | undefined {
  try {
    const { ino, mtime, ctime, size, mode } = Deno.statSync(path);
    return [ino, mtime?.getTime(), ctime?.getTime(), size, mode].join();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw cannotRead(path, error);
  }
}
