/**
 * Files that a container's command line names: of variables and of labels.
 *
 * @module
 */

/**
 * Reads the lines of such a file.
 *
 * @param path As on the command line.
 * @returns Its lines without comments; none of a file that cannot be read,
 * which is the engine's to complain about, or of a pipe, which only one of us
 * can read.
 */
export async function readLines(path: string): Promise<string[]> {
  try {
    if (!(await Deno.stat(path)).isFile) return [];
    const text = await Deno.readTextFile(path);
    return text.split(/\r?\n/).map((line) => line.trimStart())
      .filter((line) => line !== "" && !line.startsWith("#"));
  } catch {
    return [];
  }
}
