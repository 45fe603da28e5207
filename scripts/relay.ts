/**
 * Compiles the relay, the one part of moat that is not TypeScript: a static
 * program, because it runs in images that hold no C library, or another one.
 *
 * @module
 */

import { join } from "node:path";
import { exists, run, ScriptError } from "./process.ts";

/** Where its source is, from the project's root. */
const SOURCE = "proxy/relay/relay.c";

const FLAGS = "-std=c11 -static -Os -s -Wall -Wextra".split(" ");

/**
 * Finds a C compiler. One with musl comes first: what it links in is small, and
 * its licence asks for nothing when moat is passed on.
 *
 * @returns A program's name; it may be missing.
 */
export async function findCompiler(): Promise<string> {
  const { code } = await run(["musl-gcc", "--version"]);
  return code === 0 ? "musl-gcc" : "cc";
}

/**
 * Compiles the relay for this machine's architecture.
 *
 * @param root The project.
 * @param output Where the program goes; mode 0755.
 * @param compiler The C compiler; an empty text means to do without the relay.
 * @returns Whether there is one: moat runs on other systems than Linux, too,
 * but the relay has nothing to do there.
 * @throws {ScriptError} if it cannot be compiled.
 */
export async function compileRelay(
  root: string,
  output: string,
  compiler = "cc",
): Promise<boolean> {
  const source = join(root, SOURCE);
  if (Deno.build.os !== "linux" || compiler === "") return false;
  if (!await exists(source)) return false;
  const result = await run([compiler, ...FLAGS, "-o", output, source]);
  if (result.code === 0) return true;
  const reason = result.code === 127
    ? `wanted the C compiler "${compiler}", found none`
    : `${compiler} failed: ${result.stderr.trim().slice(-2000)}`;
  throw new ScriptError(
    `Cannot build the relay: ${reason}`,
    "install musl-tools (or gcc and libc6-dev), name another compiler with CC, or build without the relay: CC= deno task build",
  );
}
