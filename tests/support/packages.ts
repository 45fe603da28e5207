/**
 * One package for each package manager, all of the name `acme-widget`.
 *
 * @module
 */

import { join } from "node:path";
import { PYTHON } from "./moto.ts";
import { run } from "./run.ts";

/** The version of all packages. */
export const VERSION = "1.0.0";

/** What each package says when it is used. */
export const WORDS = "made by acme";

/** File names of the packages, in the directory that {@link makePackages} fills. */
export const PACKAGES = {
  npm: "widget.tgz",
  crate: "widget.crate",
  wheel: `acme_widget-${VERSION}-py3-none-any.whl`,
} as const;

/**
 * Makes them.
 *
 * @param directory Where; it is there.
 */
export async function makePackages(directory: string): Promise<void> {
  await Promise.all([
    makeTar(directory, PACKAGES.npm, "package", {
      "package.json": JSON.stringify({
        name: "@acme/widget",
        version: VERSION,
        main: "widget.js",
      }),
      "widget.js": `module.exports = ${JSON.stringify(WORDS)};\n`,
    }),
    makeTar(directory, PACKAGES.crate, `acme-widget-${VERSION}`, {
      "Cargo.toml":
        `[package]\nname = "acme-widget"\nversion = "${VERSION}"\nedition = "2021"\n`,
      "src/lib.rs": `pub const WORDS: &str = ${JSON.stringify(WORDS)};\n`,
    }),
    makeWheel(directory),
  ]);
}

async function makeTar(
  directory: string,
  name: string,
  folder: string,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  const top = join(directory, `${name}.files`);
  for (const [file, content] of Object.entries(files)) {
    const path = join(top, folder, file);
    await Deno.mkdir(join(path, ".."), { recursive: true });
    await Deno.writeTextFile(path, content);
  }
  const target = join(directory, name);
  await must(["tar", "-C", top, "-czf", target, folder]);
  await Deno.remove(top, { recursive: true });
}

/** @see {@link https://packaging.python.org/en/latest/specifications/binary-distribution-format/ | The wheel format} */
const WHEEL = `
import sys, zipfile
path, version, words = sys.argv[1:]
info = f"acme_widget-{version}.dist-info/"
files = {
  "acme_widget.py": f"WORDS = {words!r}\\n",
  info + "METADATA": f"Metadata-Version: 2.1\\nName: acme-widget\\nVersion: {version}\\n",
  info + "WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
}
record = "".join(f"{name},,\\n" for name in [*files, info + "RECORD"])
with zipfile.ZipFile(path, "w") as wheel:
  for name, text in {**files, info + "RECORD": record}.items():
    wheel.writestr(name, text)
`;

async function makeWheel(directory: string): Promise<void> {
  const path = join(directory, PACKAGES.wheel);
  await must([PYTHON, "-c", WHEEL, path, VERSION, WORDS]);
}

async function must(argv: readonly string[]): Promise<void> {
  const { code, stderr } = await run(argv);
  if (code !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
}

/** Digest of a file's bytes, such as `SHA-256`. */
export async function digestOf(
  algorithm: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest(algorithm, bytes));
}
