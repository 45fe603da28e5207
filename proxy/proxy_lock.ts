/**
 * One proxy per home: whoever holds the lock may own the control socket.
 *
 * @module
 */

import { join } from "node:path";
import { MoatError } from "$core/errors.ts";
import { ensurePrivateDir, openLock } from "$core/files.ts";
import type { Paths } from "$core/paths.ts";

/**
 * Takes the lock for the life of this process.
 *
 * @param paths Where locks are.
 * @returns What gives it back; the system does so too when the process dies.
 * @throws {MoatError} `proxy-running` if another proxy has it.
 */
export async function holdProxyLock(paths: Paths): Promise<Disposable> {
  await ensurePrivateDir(paths.locks);
  const file = await openLock(join(paths.locks, "proxy.lock"));
  if (await file.tryLock(true)) return file;
  file.close();
  throw new MoatError(
    "proxy-running",
    "Cannot start a proxy: one is already running for this home",
    { hint: "use it, stop it, or set MOAT_HOME to another directory" },
  );
}
