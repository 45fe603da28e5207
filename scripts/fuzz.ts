/**
 * Fuzzes whatever reads bytes of strangers: `fuzz.ts [--target NAME]
 * [--executions N] [--seed S] [--seconds T]`, and `--input HEX` for one input.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- scripts talk to a developer's terminal

import { parseArgs } from "node:util";
import { fuzz, type Report, type Target } from "./fuzz/engine.ts";
import { ENGINE_TARGETS } from "./fuzz/engine_targets.ts";
import { HTTP_TARGETS } from "./fuzz/http_targets.ts";
import { METADATA_TARGETS } from "./fuzz/metadata_targets.ts";
import { OTHER_TARGETS } from "./fuzz/other_targets.ts";
import { runScript, ScriptError } from "./process.ts";

/** All targets. */
export const TARGETS: readonly Target[] = [
  ...HTTP_TARGETS,
  ...OTHER_TARGETS,
  ...METADATA_TARGETS,
  ...ENGINE_TARGETS,
];

function chooseTargets(name: string | undefined): readonly Target[] {
  const chosen = TARGETS.filter((target) =>
    [target.name, undefined].includes(name)
  );
  if (chosen.length > 0) return chosen;
  const names = TARGETS.map((target) => target.name).join(", ");
  throw new ScriptError(`Cannot fuzz "${name}": wanted one of ${names}`);
}

function toNumber(text: string, flag: string): number {
  if (/^[0-9]{1,12}$/.test(text)) return Number(text);
  throw new ScriptError(`Cannot read --${flag}: wanted a number`);
}

function printReport(report: Report, seconds: number): void {
  const { name, executions, crashes, outcomes, failure } = report;
  const rate = Math.round(executions / seconds);
  console.log(
    `${name} ${executions} executions ${crashes} crashes (${outcomes} outcomes, ${rate} per second)`,
  );
  if (!failure) return;
  console.log(`${name}: ${failure.error}`);
  console.log(`again: --target ${name} --input ${failure.hex}`);
}

/** The flags that are taken. */
const OPTIONS = {
  target: { type: "string" },
  executions: { type: "string", default: "100000" },
  seed: { type: "string", default: "1" },
  seconds: { type: "string" },
  input: { type: "string" },
} as const;

function main(args: string[]): number {
  const { values } = parseArgs({ args, options: OPTIONS });
  const targets = chooseTargets(values.target);
  if (values.input !== undefined) {
    const input = Uint8Array.fromHex(values.input);
    for (const target of targets) console.log(target.name, target.run(input));
    return 0;
  }
  const options = {
    executions: toNumber(values.executions, "executions"),
    seed: toNumber(values.seed, "seed"),
    ...values.seconds !== undefined &&
      { seconds: toNumber(values.seconds, "seconds") },
  };
  let crashes = 0;
  // Refusals are errors, too; most of the time went into their stacks.
  Error.stackTraceLimit = 0;
  for (const target of targets) {
    const startedAt = performance.now();
    const report = fuzz(target, options);
    printReport(report, (performance.now() - startedAt) / 1000);
    crashes += report.crashes;
  }
  return crashes > 0 ? 1 : 0;
}

if (import.meta.main) await runScript(() => Promise.resolve(main(Deno.args)));
