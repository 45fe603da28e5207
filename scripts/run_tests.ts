/**
 * Runs the tests: prepares the machine, builds the executable, starts
 * `deno test`, and says at the end what was skipped and what the counts are.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- scripts talk to a developer's terminal

import { join } from "node:path";
import { buildMoat } from "./build.ts";
import { needsPreparing, prepare } from "./prepare.ts";
import {
  exists,
  readIfThere,
  ROOT,
  runScript,
  ScriptError,
} from "./process.ts";
import { nothingRan, parseJunit, selected, tally } from "./test_report.ts";

/** Which tests a person asked for. */
interface Selection {
  /** Files and directories. */
  readonly paths: readonly string[];
  /** Flags for `deno test`. */
  readonly flags: readonly string[];
  /** A text that the tests' names must contain. */
  readonly filter: string | undefined;
}

async function parseArguments(given: readonly string[]): Promise<Selection> {
  const flags: string[] = [];
  const paths: string[] = [];
  const words: string[] = [];
  for (const arg of given.filter((arg) => arg !== "--")) {
    if (arg.startsWith("-")) flags.push(arg);
    else (await exists(arg) ? paths : words).push(arg);
  }
  const filter = words.length > 0 ? words.join(" ") : undefined;
  return { paths, flags, filter };
}

async function runTests(
  { paths, flags, filter }: Selection,
  junit: string,
): Promise<number> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["test", "--allow-all", "--no-check", `--junit-path=${junit}`],
      ...filter === undefined ? [] : ["--filter", filter],
      ...flags,
      ...paths,
    ],
    cwd: ROOT,
    stdin: "null",
  }).spawn();
  return (await child.status).code;
}

await runScript(async () => {
  const selection = await parseArguments(Deno.args);
  // First: among the packages is the C compiler that the build needs.
  if (needsPreparing(selection.paths)) await prepare();
  console.log((await buildMoat()).summary);
  const junit = join(ROOT, `.cache/junit-${Deno.pid}.xml`);
  const code = await runTests(selection, junit);
  const report = await readIfThere(junit);
  if (report) await Deno.remove(junit);
  const cases = parseJunit(new TextDecoder().decode(report));
  const chosen = selected(cases, selection.filter);
  const nothing = nothingRan(chosen, selection.filter, code);
  if (nothing !== undefined) throw new ScriptError(nothing);
  const { passed, failed, skipped } = tally(chosen, report ? code : 1);
  for (const name of skipped) console.log(`skipped: ${name}`);
  const rest = skipped.length > 0 ? `, ${skipped.length} skipped` : "";
  console.log(`${passed} passed, ${failed} failed${rest}`);
  return failed > 0 ? 1 : 0;
});
