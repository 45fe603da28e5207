/**
 * Files that others name, write and renew, such as tokens and certificates.
 * Reading something else, such as a pipe or a device, might wait or go on for
 * ever, and reading cannot be broken off.
 *
 * @module
 */

/**
 * Tells whether reading a file ends soon. Its size is looked at once, so that
 * it protects from mistakes, not from whoever writes the file.
 *
 * @param path The file.
 * @param maxBytes How large it may be.
 * @returns True for a file of that size, and for `/dev/null`, which stands for
 * no file.
 * @throws What the system says of a file that is missing or cannot be seen.
 */
export async function isSmallFile(
  path: string,
  maxBytes: number,
): Promise<boolean> {
  const { isFile, isCharDevice, size } = await Deno.stat(path);
  if (isFile) return size <= maxBytes;
  return !!isCharDevice && await Deno.realPath(path) === "/dev/null";
}

/**
 * Reads a file of which {@link isSmallFile} is true.
 *
 * @param path The file.
 * @param maxBytes How large it may be.
 * @returns Its content; undefined for any other.
 * @throws What the system says of a file that is missing or cannot be read.
 */
export async function readSmallFile(
  path: string,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (await isSmallFile(path, maxBytes)) return await Deno.readFile(path);
  return undefined;
}

/**
 * Tells whether some files are still the same.
 *
 * @param paths The files.
 * @returns A text that is another one after any of them changed, appeared or went.
 */
export async function stampFiles(paths: readonly string[]): Promise<string> {
  return (await Promise.all(paths.map(stampFile))).join(" ");
}

async function stampFile(path: string): Promise<string> {
  const info = await Deno.stat(path).catch(() => undefined);
  if (!info) return `${path}:-`;
  const { size, ino, mtime, ctime } = info;
  return [path, size, ino, mtime?.getTime(), ctime?.getTime()].join(":");
}
