/**
 * `moat whoami PROVIDER`.
 *
 * @module
 */

import { usageError } from "../../errors.ts";
import type { Arguments, CommandContext } from "../command.ts";
import { columns } from "../help.ts";

/** Shows whom the credentials of this environment belong to. */
export async function run(
  { output, registry }: CommandContext,
  args: Arguments,
): Promise<number> {
  const provider = registry.get(args.operands[0] ?? "");
  if (!provider.whoami) {
    throw usageError(
      `Cannot ask "${provider.name}" who you are: it has no such call`,
      `these have one: ${
        registry.all.filter((p) => p.whoami).map((p) => p.name).join(", ")
      }`,
    );
  }
  const identity = await provider.whoami();
  output.data(identity, columns(Object.entries(identity)));
  return 0;
}
