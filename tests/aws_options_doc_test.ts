/**
 * The tables of docs/aws-options.md: every row has a test of its name, and
 * every flag that they name is a flag.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { PROXY_COMMANDS } from "$proxy/commands/mod.ts";
import { BIND_FLAGS, SERVE_FLAGS } from "$providers/aws/needroleshere/flags.ts";
import { BINDING_FLAGS } from "$providers/aws/options/binding.ts";
import { CREDENTIAL_PROCESS_FLAGS } from "$providers/aws/options/credential_process_flags.ts";
import { GRANT_FLAGS } from "$providers/aws/options/grant.ts";
import { sourceFiles } from "../scripts/check_imports.ts";
import { ROOT } from "../scripts/process.ts";

const TEXT = await Deno.readTextFile(join(ROOT, "docs/aws-options.md"));

/** First column, without its backticks, and second column. */
const ROWS = [...TEXT.matchAll(/^\| `([^`|]+)` +\| (.*?) *\|$/gm)]
  .map(([, option = "", moat = ""]) => ({ option, moat }));

const PLANNED = /^(?:not )?planned\b/;

/** The names of the tests that prove a row, in files of tests. */
async function testNames(): Promise<string[]> {
  const files = (await sourceFiles(ROOT)).filter((file) =>
    file.endsWith("_test.ts")
  );
  const texts = await Promise.all(
    files.map((file) => Deno.readTextFile(join(ROOT, file))),
  );
  return texts.flatMap((text) =>
    [...text.matchAll(/"option: (\w[^"\n]*)"/g)].map(([, name = ""]) => name)
  );
}

Deno.test("docs/aws-options.md has its rows", () => {
  assert.equal(ROWS.length, TEXT.match(/^\| `/gm)?.length);
});

Deno.test("docs/aws-options.md has no row twice", () => {
  const options = ROWS.map(({ option }) => option);
  assert.deepEqual(options, [...new Set(options)]);
});

Deno.test("docs/aws-options.md has a test for each row", async () => {
  const names = await testNames();
  const missing = ROWS
    .filter(({ option, moat }) =>
      !PLANNED.test(moat) && !names.includes(option)
    )
    .map(({ option }) => `option: ${option}`);
  assert.deepEqual(missing, []);
});

Deno.test("docs/aws-options.md names flags that there are", () => {
  const flags = [
    ...[...GRANT_FLAGS, ...CREDENTIAL_PROCESS_FLAGS],
    ...[...BINDING_FLAGS, ...BIND_FLAGS, ...SERVE_FLAGS],
    ...PROXY_COMMANDS.flatMap((command) => command.flags),
  ].map(({ name }) => `--${name}`);
  const named = ROWS.filter(({ moat }) => !PLANNED.test(moat))
    .flatMap(({ moat }) => moat.match(/--[a-z0-9-]+/g) ?? []);
  assert.deepEqual(named.filter((name) => !flags.includes(name)), []);
});

Deno.test("docs/aws-options.md has a row for each flag of aws_signing_helper that is refused", () => {
  const refused = CREDENTIAL_PROCESS_FLAGS
    .filter(({ summary }) => summary.startsWith("Not supported"))
    .map(({ name }) => `aws_signing_helper --${name}`);
  const rows = ROWS.map(({ option }) => option);
  assert.deepEqual(refused.filter((name) => !rows.includes(name)), []);
});
