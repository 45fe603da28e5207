/**
 * Waiting for what another process does.
 *
 * @module
 */

/** Short against a person's patience, long against a system call. */
const POLL_MS = 20;

/**
 * Asks again and again until the answer is yes.
 *
 * @param what What is waited for, for the error.
 * @param check Gives the awaited value; a falsy one or an error means not yet.
 * @param timeoutMs Default: 10 s.
 * @returns The first truthy value.
 * @throws {Error} after `timeoutMs`, with the last error as its cause.
 */
export async function eventually<T>(
  what: string,
  check: () => T | Promise<T>,
  timeoutMs = 10_000,
): Promise<NonNullable<T>> {
  const deadline = Date.now() + timeoutMs;
  let cause: unknown;
  do {
    try {
      const found = await check();
      if (found) return found;
    } catch (error) {
      cause = error;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  } while (Date.now() < deadline);
  throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause });
}
