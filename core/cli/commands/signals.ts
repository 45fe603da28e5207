/**
 * Waiting for a signal that asks the process to stop.
 *
 * @module
 */

/** The signals that mean "stop". */
const STOP_SIGNALS = ["SIGINT", "SIGTERM"] as const;

/**
 * Waits for SIGINT or SIGTERM, then gives the signals their default meaning
 * back, so that a second one ends the process at once.
 *
 * @param early Settles if there is another reason to stop.
 */
export async function untilStopped(early?: Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  for (const signal of STOP_SIGNALS) Deno.addSignalListener(signal, resolve);
  await Promise.race([promise, early ?? promise]);
  for (const signal of STOP_SIGNALS) Deno.removeSignalListener(signal, resolve);
}
