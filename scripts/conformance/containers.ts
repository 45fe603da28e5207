/**
 * Containers for the matrix: a podman in a network namespace of its own, as
 * the tests have it, with the clients mounted.
 *
 * @module
 */

import { basename, join } from "node:path";
import { exists, ROOT } from "../process.ts";
import type { Container } from "./inside.ts";

const KEEPER = join(ROOT, "tests/support/bed_keeper.ts");

/** The host's programs and the clients. */
const MOUNTED = [
  "/usr",
  "/etc/ssl",
  "/etc/alternatives",
  "/etc/ld.so.cache",
  "/etc/java-17-openjdk",
  ROOT.replace(/\/$/, ""),
];

/** An engine; `await using` removes it with all containers. */
export interface Containers extends AsyncDisposable {
  /** Puts a program into the engine's network namespace. */
  inNamespace(argv: readonly string[]): string[];
  readonly container: Container;
}

/**
 * Opens an engine.
 *
 * @returns It, or undefined where it cannot be had: without root or podman.
 */
export async function openContainers(): Promise<Containers | undefined> {
  if (Deno.uid() !== 0 || !await exists("/usr/bin/podman")) return undefined;
  const directory = await Deno.makeTempDir({ prefix: "moat-bed-" });
  const netns = basename(directory);
  const keeper = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", KEEPER, "podman", directory, netns],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = keeper.stdout.getReader();
  const { done } = await reader.read();
  const close = async () => {
    await keeper.stdin.close().catch(() => {});
    await reader.cancel();
    await keeper.status;
  };
  if (done) return void await close();
  const mounts: string[] = [];
  for (const path of MOUNTED) {
    if (await exists(path)) mounts.push("--volume", `${path}:${path}:ro`);
  }
  const podman = join(directory, "bin/podman");
  return {
    inNamespace: (argv) => ["nsenter", `--net=/run/netns/${netns}`, ...argv],
    container: {
      run: [podman, "run", "--rm", "--interactive", ...mounts],
      image: "localhost/moat:1",
    },
    [Symbol.asyncDispose]: close,
  };
}
