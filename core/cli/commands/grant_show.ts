/**
 * `moat grant show NAME`.
 *
 * @module
 */

import { parseGrantName } from "../../grant.ts";
import type { Arguments, CommandContext } from "../command.ts";
import { columns } from "../help.ts";
import { summarise } from "./shared.ts";

/** Shows one grant without any secret. */
export async function run(
  { output, store, registry }: CommandContext,
  args: Arguments,
): Promise<number> {
  const { name, provider } = parseGrantName(args.operands[0] ?? "");
  const grant = await store.get(name);
  const facts = registry.get(provider).describe?.(grant) ?? [];
  output.data(
    summarise(grant),
    columns([
      ["name", grant.name],
      ["provider", grant.provider],
      ["granted", new Date(grant.createdAt).toISOString()],
      ...facts,
    ]),
  );
  return 0;
}
