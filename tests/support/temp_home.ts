/**
 * A moat home for one test.
 *
 * @module
 */

import { findPaths, type Paths } from "$core/paths.ts";

/** A home that is removed at the end of the block that holds it with `await using`. */
export interface TempHome extends AsyncDisposable {
  /** What `MOAT_HOME` would say. */
  readonly directory: string;
  /** Where its state lives. */
  readonly paths: Paths;
}

/** Makes an empty home of mode 0700. */
export async function tempHome(): Promise<TempHome> {
  const directory = await Deno.makeTempDir({ prefix: "moat-test-" });
  return {
    directory,
    paths: findPaths({ MOAT_HOME: directory }),
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}

/** The names below a directory, hidden ones too, sorted. */
export async function namesIn(directory: string): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(directory));
  return entries.map((entry) => entry.name).sort();
}

/** A file's permission bits. */
export async function modeOf(path: string): Promise<number> {
  return ((await Deno.stat(path)).mode ?? 0) & 0o777;
}
