/**
 * Runs the tests: builds the executable, prepares the machine, starts
 * `deno test`, and says at the end what was skipped and what the counts are.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- scripts talk to a developer's terminal

import { join } from "node:path";
import { buildMoat } from "./build.ts";
import { prepare } from "./prepare.ts";
import { exists, readIfThere, ROOT, runScript } from "./process.ts";
import { parseJunit, selected, tally } from "./test_report.ts";

/** Which tests a person asked for. */
interface Selection {
  /** Paths and flags for `deno test`. */
  readonly args: readonly string[];
  /** A text that the tests' names must contain. */
  readonly filter: string | undefined;
}

async function parseArguments(given: readonly string[]): Promise<Selection> {
  const args: string[] = [];
  const words: string[] = [];
  for (const arg of given.filter((arg) => arg !== "--")) {
    const literal = arg.startsWith("-") || await exists(arg);
    (literal ? args : words).push(arg);
  }
  const filter = words.length > 0 ? words.join(" ") : undefined;
  return { args, filter };
}

async function runTests(
  { args, filter }: Selection,
  junit: string,
): Promise<number> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["test", "--allow-all", "--no-check", `--junit-path=${junit}`],
      ...filter === undefined ? [] : ["--filter", filter],
      ...args,
    ],
    cwd: ROOT,
    stdin: "null",
  }).spawn();
  return (await child.status).code;
}

await runScript(async () => {
  console.log((await buildMoat()).summary);
  await prepare();
  const selection = await parseArguments(Deno.args);
  const junit = join(ROOT, `.cache/junit-${Deno.pid}.xml`);
  const code = await runTests(selection, junit);
  const report = await readIfThere(junit);
  if (report) await Deno.remove(junit);
  const cases = parseJunit(new TextDecoder().decode(report));
  const { passed, failed, skipped } = tally(
    selected(cases, selection.filter),
    report ? code : 1,
  );
  for (const name of skipped) console.log(`skipped: ${name}`);
  const rest = skipped.length > 0 ? `, ${skipped.length} skipped` : "";
  console.log(`${passed} passed, ${failed} failed${rest}`);
  return failed > 0 ? 1 : 0;
});
