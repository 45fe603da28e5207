/**
 * Tests that need something which a machine may lack.
 *
 * @module
 */

/**
 * Registers a test, or its absence.
 *
 * With `CI=true` nothing may be skipped: the test then fails with the reason.
 *
 * @param reason Why it cannot run here; undefined if it can.
 * @param name The test's name.
 * @param fn The test.
 */
export function testUnless(
  reason: string | undefined,
  name: string,
  fn: (t: Deno.TestContext) => void | Promise<void>,
): void {
  if (reason === undefined) return Deno.test(name, fn);
  if (Deno.env.get("CI") === "true") {
    return Deno.test(name, () => {
      throw new Error(`must run in CI, but: ${reason}`);
    });
  }
  Deno.test({ name: `${name} (skipped: ${reason})`, ignore: true, fn });
}

/**
 * Makes a step, or its absence, as {@link testUnless} does.
 *
 * @param t The test.
 * @param reason Why it cannot run here; undefined if it can.
 * @param name The step's name.
 * @param fn The step.
 */
export async function stepUnless(
  t: Deno.TestContext,
  reason: string | undefined,
  name: string,
  fn: () => void | Promise<void>,
): Promise<void> {
  if (reason === undefined) return void await t.step(name, fn);
  if (Deno.env.get("CI") === "true") {
    return void await t.step(name, () => {
      throw new Error(`must run in CI, but: ${reason}`);
    });
  }
  await t.step({ name: `${name} (skipped: ${reason})`, ignore: true, fn });
}
