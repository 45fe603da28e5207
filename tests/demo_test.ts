/**
 * The demo of the README, in each place where its workload can run.
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { testUnless } from "./support/conditional.ts";
import { bedReason, type Engine, openBed } from "./support/containers.ts";
import { moatReason } from "./support/moat.ts";
import { run } from "./support/run.ts";

const DEMO = fileURLToPath(new URL("../scripts/demo.ts", import.meta.url));

function demo(engine: string, prefix: readonly string[] = []) {
  const argv = [...prefix, Deno.execPath(), "run", "-A", "--no-check", DEMO];
  return run(argv, { env: { MOAT_DEMO_ENGINE: engine } });
}

testUnless(
  moatReason(),
  "the demo runs as a plain child, and says so",
  async () => {
    const { code, stdout, stderr } = await demo("none");
    assert.equal(code, 0, stderr);
    assert.match(stdout, /in a plain child: a convenience, no isolation/);
    assert.match(stdout, /All 7 steps verified/);
  },
);

for (const engine of ["podman", "docker"] satisfies Engine[]) {
  testUnless(
    moatReason() ?? bedReason(engine),
    `the demo runs in a container of ${engine}, and leaves no image`,
    async () => {
      await using bed = await openBed(engine);
      const before = await run([bed.engine, "images", "--quiet"]);
      const { code, stdout, stderr } = await demo(bed.engine, bed.prefix);
      assert.equal(code, 0, stderr);
      assert.match(stdout, new RegExp(`in a container of ${engine}`));
      assert.match(stdout, /assumed-role\/Demo\/moat-run-/);
      const after = await run([bed.engine, "images", "--quiet"]);
      assert.equal(after.stdout, before.stdout);
    },
  );
}
