/**
 * Fills a folder of the cache from files of the sources, and again only when
 * those have changed.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- scripts talk to a developer's terminal

import { join, relative } from "node:path";
import { exists, must, readIfThere, ROOT, sha256 } from "./process.ts";

/** Written when a folder is complete: a digest of what it is from. */
const MARKER = "moat-source";

/** How a folder is filled. */
export interface Recipe {
  /** Files of the source folder that decide what is installed. */
  readonly from: readonly string[];
  /** Fills an empty target folder. */
  install(source: string, target: string): Promise<unknown>;
}

/**
 * Tells whether a folder was filled.
 *
 * @param target The folder.
 * @returns Whether it is complete, if perhaps of an older source.
 */
export async function isInstalled(target: string): Promise<boolean> {
  return await exists(join(target, MARKER));
}

/**
 * Fills a folder, unless it is complete and its source is as it was.
 *
 * @param what Is installed, for people, such as `python clients`.
 * @param recipe How.
 * @param source Folder of {@link Recipe.from}.
 * @param target The folder; what is in it is removed first.
 * @throws {ScriptError} if a tool is missing or fails.
 */
export async function installOnce(
  what: string,
  { from, install }: Recipe,
  source: string,
  target: string,
): Promise<void> {
  const files = from.map((name) => Deno.readFile(join(source, name)));
  const digest = await sha256(await new Blob(await Promise.all(files)).bytes());
  const found = await readIfThere(join(target, MARKER));
  if (new TextDecoder().decode(found) === digest) return;
  console.error(`installing ${what} in ${relative(ROOT, target)}`);
  if (await exists(target)) await Deno.remove(target, { recursive: true });
  await Deno.mkdir(target, { recursive: true });
  await install(source, target);
  await Deno.writeTextFile(join(target, MARKER), digest);
}

/**
 * Installs Python packages in a virtual environment of their own.
 *
 * @param source Has `requirements.txt`, with exact versions of all packages.
 * @param target Becomes the environment.
 * @throws {ScriptError} if a tool is missing or fails.
 */
export async function installPython(
  source: string,
  target: string,
): Promise<void> {
  // Debian's own Python first: the versions were tried with it, and
  // containers of the tests mount /usr.
  const debian = "/usr/bin/python3";
  const python = await exists(debian) ? debian : "python3";
  await must([python, "-m", "venv", target]);
  const pip = [join(target, "bin/pip"), "install", "--quiet"];
  const exactly = ["--no-deps", "--only-binary=:all:", "--retries=2"];
  const list = join(source, "requirements.txt");
  await must([...pip, ...exactly, "--no-compile", "-r", list]);
}

/**
 * Installs Node packages.
 *
 * @param source Has `package.json` and `package-lock.json`.
 * @param target Gets them, and `node_modules`.
 * @throws {ScriptError} if a tool is missing or fails.
 */
export async function installNode(
  source: string,
  target: string,
): Promise<void> {
  for (const name of NODE_FILES) {
    await Deno.copyFile(join(source, name), join(target, name));
  }
  const quiet = ["--no-audit", "--no-fund", "--silent"];
  await must(["npm", "ci", "--ignore-scripts", ...quiet], { cwd: target });
}

/** What {@link installNode} reads. */
export const NODE_FILES: readonly string[] = [
  "package.json",
  "package-lock.json",
];
