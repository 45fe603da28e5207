/**
 * What Linux tells of processes.
 *
 * @module
 */

/** Whether a process runs; one that ended and was not waited for does not. */
export function isRunning(pid: number): boolean {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    return !/^\d+ \(.*\) [ZX] /s.test(stat);
  } catch {
    return false;
  }
}

/** The processes that a process started and whose name begins so, oldest first. */
export function childrenOf(pid: number, name = ""): number[] {
  const path = `/proc/${pid}/task/${pid}/children`;
  return Deno.readTextFileSync(path).split(" ").filter((word) => word !== "")
    .map(Number).filter((child) =>
      Deno.readTextFileSync(`/proc/${child}/comm`).startsWith(name)
    );
}

/** What the descriptors of a process are open on, such as `socket:[4711]`. */
export function descriptorsOf(pid: number): string[] {
  const links: string[] = [];
  for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
    try {
      links.push(Deno.readLinkSync(`/proc/${pid}/fd/${name}`));
    } catch {
      // Closed meanwhile.
    }
  }
  return links;
}
