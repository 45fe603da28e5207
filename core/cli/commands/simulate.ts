/**
 * `moat simulate PROVIDER`.
 *
 * @module
 */

import { usageError } from "../../errors.ts";
import type { Arguments, CommandContext } from "../command.ts";
import { untilStopped } from "./signals.ts";

/** Serves a stand-in for a provider's upstream until it is stopped. */
export async function run(
  { output, registry }: CommandContext,
  args: Arguments,
): Promise<number> {
  const provider = registry.get(args.operands[0] ?? "");
  if (!provider.simulate) {
    throw usageError(
      `Cannot simulate "${provider.name}": it has no simulator`,
      `these have one: ${
        registry.all.filter((p) => p.simulate).map((p) => p.name).join(", ")
      }`,
    );
  }
  const { listen = ["127.0.0.1:0"], ...flags } = args.flags;
  const simulator = await provider.simulate({
    flags,
    listen: listen as readonly string[],
  });
  for (const note of simulator.notes) output.note(note);
  for (const url of simulator.urls) output.text(`ready ${url}\n`);
  await untilStopped();
  await simulator.close();
  return 0;
}
