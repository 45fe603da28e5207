import assert from "node:assert/strict";
import * as fc from "fast-check";
import { MoatError } from "$core/errors.ts";
import { Workspace } from "../../../tests/support/workspace.ts";
import { BINDING_FLAGS, readBindingFlags } from "./binding.ts";
import { readBindingSettings } from "../settings.ts";

const POLICY = '{"Statement":[]}';

const GOOD = [
  { flags: {}, wanted: {} },
  {
    flags: { "session-duration": "15m" },
    wanted: { durationSeconds: 900 },
  },
  {
    flags: { "session-duration": "12h" },
    wanted: { durationSeconds: 43_200 },
  },
  {
    flags: { "session-name": "{container}" },
    wanted: { sessionName: "{container}" },
  },
  { flags: { policy: '{ "Statement": [] }' }, wanted: { policy: POLICY } },
  { flags: { "imds-v1": true }, mode: "imds", wanted: { v1: true } },
];
for (const { flags, mode, wanted } of GOOD) {
  Deno.test(`readBindingFlags() takes ${JSON.stringify(flags)}`, async () => {
    assert.deepEqual(await readBindingFlags(flags, mode), wanted);
  });
}

Deno.test("readBindingFlags() reads a policy from a file", async () => {
  await using workspace = await Workspace.open();
  const policy = await workspace.write("p.json", `${POLICY}\n`);
  assert.deepEqual(await readBindingFlags({ policy }), { policy: POLICY });
});

const BAD = [
  { flags: { "session-duration": "14m" }, says: /15 minutes to 12 hours/ },
  { flags: { "session-duration": "13h" }, says: /15 minutes to 12 hours/ },
  { flags: { "session-name": "{pod}" }, says: /session name/ },
  { flags: { policy: "{}" }, says: /"Statement"/ },
  { flags: { policy: "/proc/nonexistent/p" }, says: /found no file/ },
  { flags: { "imds-v1": true }, says: /--imds-v1 without a mode/ },
  {
    flags: { "imds-v1": true },
    mode: "process",
    says: /--imds-v1 in mode process: wanted --mode imds/,
  },
];
for (const { flags, mode, says } of BAD) {
  Deno.test(`readBindingFlags() refuses ${JSON.stringify({ flags, mode })}`, async () => {
    await assert.rejects(readBindingFlags(flags, mode), says);
  });
}

Deno.test("readBindingFlags() gives settings or a usage error, whatever the flags", async () => {
  const value = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constantFrom("1h", "{run}", POLICY, "/dev/null", ".", ""),
  );
  const flags = fc.record(
    Object.fromEntries(BINDING_FLAGS.map(({ name }) => [name, value])),
    { requiredKeys: [] },
  );
  await fc.assert(fc.asyncProperty(flags, async (flags) => {
    try {
      const settings = await readBindingFlags(flags);
      assert.deepEqual(readBindingSettings(settings), settings);
    } catch (error) {
      assert.ok(error instanceof MoatError && error.code === "usage");
    }
  }));
});
