/**
 * `moat env NAME`.
 *
 * @module
 */

import { checkBindingName } from "$core/binding.ts";
import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { parseFormat } from "$core/environment_format.ts";
import { openOwnBindings } from "$core/own_bindings.ts";
import { printView, readView } from "../bindings/binding_view.ts";

/** Prints what a binding's client needs. */
export async function run(
  { platform, output }: CommandContext,
  { operands, flags }: Arguments,
): Promise<number> {
  const name = checkBindingName(operands[0] ?? "");
  const format = parseFormat(String(flags["format"] ?? "env"));
  const bindings = openOwnBindings(platform);
  const view = await readView(bindings, await bindings.latest(name));
  printView(output, format, view);
  return 0;
}
