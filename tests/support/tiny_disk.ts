/**
 * A disk that is soon full.
 *
 * @module
 */

import { join } from "node:path";

/** A mounted file system, unmounted at the end of its `await using` block. */
export interface TinyDisk extends AsyncDisposable {
  /** Where it is mounted; mode 0700. */
  readonly directory: string;
  /** Takes all the space that is left. */
  fill(): Promise<void>;
  /** Gives that space back. */
  free(): Promise<void>;
}

const TMPFS = ["-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs"];

/** Why there can be no such disk here; undefined if there can. */
export const noTinyDisk: string | undefined = findObstacle();

/** Mounts a tmpfs of 256 KiB. */
export async function tinyDisk(): Promise<TinyDisk> {
  const directory = await Deno.makeTempDir({ prefix: "moat-disk-" });
  run("mount", ...TMPFS, directory);
  const filler = join(directory, "filler");
  return {
    directory,
    async fill() {
      using file = await Deno.open(filler, { create: true, append: true });
      for (const size of [4096, 1]) await writeUntilFull(file, size);
    },
    free: () => Deno.remove(filler),
    async [Symbol.asyncDispose]() {
      run("umount", directory);
      await Deno.remove(directory);
    },
  };
}

async function writeUntilFull(file: Deno.FsFile, size: number) {
  try {
    for (let i = 0; i < 10_000; i++) await file.write(new Uint8Array(size));
  } catch {
    return;
  }
  throw new Error("the disk does not fill");
}

function findObstacle(): string | undefined {
  if (Deno.build.os !== "linux") return "needs Linux to mount a tmpfs";
  if (Deno.uid() !== 0) return "needs root to mount a tmpfs";
  const directory = Deno.makeTempDirSync({ prefix: "moat-disk-" });
  try {
    run("mount", ...TMPFS, directory);
    run("umount", directory);
    return undefined;
  } catch {
    return "needs the right to mount a tmpfs";
  } finally {
    Deno.removeSync(directory);
  }
}

function run(program: string, ...args: string[]): void {
  const { success } = new Deno.Command(program, { args, stderr: "null" })
    .outputSync();
  if (!success) throw new Error(`${program} failed`);
}
