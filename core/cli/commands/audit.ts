/**
 * `moat audit`.
 *
 * @module
 */

import { readAudit, verifyAudit } from "../../audit.ts";
import { MoatError } from "../../errors.ts";
import { printable, word } from "../output.ts";
import type { Arguments, CommandContext } from "../command.ts";

/** Prints the audit log, or checks its chain with `--verify`. */
export async function run(
  { output, platform }: CommandContext,
  args: Arguments,
): Promise<number> {
  const { paths } = platform;
  if (args.flags["verify"]) {
    const result = await verifyAudit(paths, platform.clock);
    output.data(
      result,
      result.ok ? `intact: ${result.events} events\n` : "",
    );
    if (result.ok) return 0;
    throw new MoatError(
      "audit-broken",
      `The audit log is broken at line ${result.brokenAt}: the chain of hashes does not hold`,
      { hint: "keep a copy of the file, and look at who could write to it" },
    );
  }
  for await (const event of readAudit(paths)) {
    if (output.isJson) {
      output.text(JSON.stringify(event) + "\n");
      continue;
    }
    const fields = Object.entries(event.fields)
      .filter(([, value]) => Array.isArray(value) || typeof value !== "object")
      .map(([key, value]) => `${word(key)}=${word(shorten(value))}`);
    const line = [event.time, event.event, ...fields].join(" ");
    output.text(printable(line) + "\n");
  }
  return 0;
}

/** A list as its members, and no text longer than a line. */
function shorten(value: unknown): unknown {
  const text = Array.isArray(value) ? value.join(",") : value;
  return typeof text === "string" && text.length > 200
    ? text.slice(0, 200) + "…"
    : text;
}
