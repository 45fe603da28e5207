/**
 * Builds the executable: bundles main.ts with esbuild, compiles the bundle
 * with `deno compile`.
 *
 * The bundle is split, so that a command loads only what it needs. It is
 * compiled from a folder of its own with an empty deno.json, because
 * `deno compile` embeds every package of the project's lock file otherwise.
 * The relay, which is C, lies in that folder as a file.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- scripts talk to a developer's terminal

import { build as esbuild, stop as stopEsbuild } from "esbuild";
import { join, relative } from "node:path";
import { checkBaseRuntime, type Denort, findDenort } from "./denort.ts";
import {
  exists,
  must,
  readIfThere,
  ROOT,
  run,
  runScript,
  ScriptError,
  sha256,
} from "./process.ts";
import { compileRelay, findCompiler } from "./relay.ts";

/** What is compiled in; a proxy gives up `run` at start where it can. */
const PERMISSIONS = ["net", "read", "write", "env", "run", "sys"];

/** Keeps the resident set small after many requests, at the same speed. */
const V8_FLAGS = "--max-semi-space-size=1";

/** `deno compile` overflows its default stack on some dependency graphs. */
const RUST_MIN_STACK = "4194304";

/** CommonJS packages call `require`; a short name would collide when minified. */
const REQUIRE =
  'import{createRequire as __moatRequire}from"node:module";const require=__moatRequire(import.meta.url);';

/** Where the program's sources are, besides main.ts. */
const FOLDERS = ["core", "proxy", "providers"];

/** The relay's file in the bundle: all that is there is compiled in. */
const RELAY = "relay";

/** What makes the build what it is. */
const OWN_FILES = ["build", "denort", "process", "relay"]
  .map((name) => `scripts/${name}.ts`);

/** What to build. */
export interface BuildOptions {
  /** Deno's own base runtime and a clean tree are musts. Default: false. */
  readonly release?: boolean;
  /** The project to build. Default: this one. */
  readonly root?: string;
  /** Compiles the relay; an empty text means to build without. Default: `CC`, else `musl-gcc`, else `cc`. */
  readonly compiler?: string;
}

/** What was built. */
export interface BuildResult {
  /** The executable. */
  readonly path: string;
  /** False if nothing had changed since the last build. */
  readonly fresh: boolean;
  /** For people. */
  readonly summary: string;
}

/**
 * Builds `dist/moat`, unless nothing changed since it was built.
 *
 * @param options What to build.
 * @returns The executable.
 * @throws {ScriptError} if it cannot be built.
 */
export async function buildMoat(
  options: BuildOptions = {},
): Promise<BuildResult> {
  const root = options.root ?? ROOT;
  const release = options.release ?? false;
  const version = await readVersion(root);
  const commit = await describeCommit(root);
  if (release && !/^[0-9a-f]+$/.test(commit)) throw notReleasable(commit);
  const path = join(root, "dist/moat");
  const override = Deno.env.get("DENORT_BIN");
  const compiler = options.compiler ?? Deno.env.get("CC") ??
    await findCompiler();
  const inputs = [commit, String(release), compiler, override];
  const stamp = await fingerprint(root, inputs);
  const name = `dist/moat ${version} (commit ${commit})`;
  if (await isUpToDate(root, path, stamp)) {
    return { path, fresh: false, summary: `${name} is up to date` };
  }
  const denort = await findDenort({ release, override });
  const work = await makeWorkDirectory(root);
  try {
    await makeBundle(root, join(work, "bundle"), { version, commit, compiler });
    const made = await compile(work, denort);
    if (release) await checkBaseRuntime(await Deno.readFile(made));
    await checkProgram(made);
    await Deno.mkdir(join(root, "dist"), { recursive: true });
    await Deno.rename(made, path);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
  await Deno.writeTextFile(join(root, ".cache/build"), stamp);
  return {
    path,
    fresh: true,
    summary: `${name} built, base runtime: ${denort.origin}`,
  };
}

async function makeWorkDirectory(root: string): Promise<string> {
  const dir = join(root, ".cache");
  await Deno.mkdir(dir, { recursive: true });
  return await Deno.makeTempDir({ dir, prefix: "build-" });
}

function notReleasable(commit: string) {
  return new ScriptError(
    `Cannot make a release: wanted a clean git tree, found commit "${commit}"`,
    "commit or stash your changes",
  );
}

async function readVersion(root: string): Promise<string> {
  const text = await Deno.readTextFile(join(root, "deno.json"));
  return String(JSON.parse(text).version);
}

/**
 * Says which commit a tree is.
 *
 * @param root A directory.
 * @returns A short hash, with `-dirty` if files differ from it; `unknown` outside git.
 */
export async function describeCommit(root: string): Promise<string> {
  const head = await run(["git", "rev-parse", "--short=12", "HEAD"], {
    cwd: root,
  });
  const status = await run(["git", "status", "--porcelain"], { cwd: root });
  if (head.code !== 0 || status.code !== 0) return "unknown";
  return head.stdout.trim() + (status.stdout.trim() ? "-dirty" : "");
}

/** Hashes everything that a build depends on. */
async function fingerprint(
  root: string,
  inputs: readonly (string | undefined)[],
): Promise<string> {
  const files = ["main.ts", "deno.json", "deno.lock", ...OWN_FILES];
  for (const folder of FOLDERS) {
    files.push(...await sourcesBelow(root, folder));
  }
  const parts = [Deno.version.deno, ...inputs.map((input) => input ?? "")];
  for (const file of files.sort()) {
    const bytes = await readIfThere(join(root, file));
    parts.push(file, bytes ? await sha256(bytes) : "");
  }
  return await sha256(new TextEncoder().encode(parts.join("\n")));
}

async function sourcesBelow(root: string, folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(join(root, folder))) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) found.push(...await sourcesBelow(root, path));
    else if (!/_(test|bench)\.ts$/.test(path)) found.push(path);
  }
  return found;
}

async function isUpToDate(
  root: string,
  path: string,
  stamp: string,
): Promise<boolean> {
  const last = await readIfThere(join(root, ".cache/build"));
  return new TextDecoder().decode(last) === stamp && await exists(path);
}

async function makeBundle(
  root: string,
  outdir: string,
  facts: { version: string; commit: string; compiler: string },
): Promise<void> {
  await Deno.mkdir(outdir);
  const relay = join(outdir, RELAY);
  const hasRelay = await compileRelay(root, relay, facts.compiler);
  await esbuild({
    absWorkingDir: root,
    entryPoints: ["main.ts"],
    outdir,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "esnext",
    // The ES module build of a package, where it has one: it can be shaken.
    mainFields: ["module", "main"],
    // Names stay: a stack trace with MOAT_DEBUG=1 is for people.
    minifySyntax: true,
    minifyWhitespace: true,
    banner: { js: REQUIRE },
    alias: Object.fromEntries(
      FOLDERS.map((folder) => [`$${folder}`, join(root, folder)]),
    ),
    define: {
      MOAT_VERSION: JSON.stringify(facts.version),
      MOAT_COMMIT: JSON.stringify(facts.commit),
      ...(hasRelay && { MOAT_RELAY: JSON.stringify(RELAY) }),
    },
    logLevel: "warning",
  }).finally(stopEsbuild);
  await Deno.writeTextFile(join(outdir, "deno.json"), "{}\n");
}

/**
 * Compiles `bundle/main.js` of a directory as moat is compiled.
 *
 * @param work The directory; the executable `moat` is put there.
 * @param denort The base runtime.
 * @returns The executable's path.
 */
export async function compile(work: string, denort: Denort): Promise<string> {
  const output = join(work, "moat");
  const argv = [
    Deno.execPath(),
    "compile",
    "--quiet",
    "--no-check",
    "--no-code-cache",
    "--no-prompt",
    ...PERMISSIONS.map((permission) => `--allow-${permission}`),
    `--v8-flags=${V8_FLAGS}`,
    "--include=.",
    `--output=${output}`,
    "main.js",
  ];
  const env: Record<string, string> = { RUST_MIN_STACK };
  if (denort.path) env["DENORT_BIN"] = denort.path;
  await must(argv, { cwd: join(work, "bundle"), env });
  return output;
}

/** Tries the result out: a build that cannot say its version is none. */
async function checkProgram(path: string): Promise<void> {
  const { mode } = await Deno.stat(path);
  if (mode !== null && (mode & 0o777) !== 0o755) {
    await Deno.chmod(path, 0o755);
  }
  await must([path, "--version"], { timeoutMs: 30_000 });
}

if (import.meta.main) {
  await runScript(async () => {
    const args = Deno.args.filter((arg) => arg !== "--");
    const unknown = args.find((arg) => arg !== "--release");
    if (unknown !== undefined) {
      throw new ScriptError(
        `Cannot build: unknown argument "${unknown}"`,
        "deno task build [--release]",
      );
    }
    const result = await buildMoat({ release: args.length > 0 });
    console.log(
      result.summary.replace(result.path, relative(".", result.path)),
    );
    return 0;
  });
}
