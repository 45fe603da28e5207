/**
 * `moat unbind NAME`.
 *
 * @module
 */

import { bindingNotFound, BindingStore } from "$core/binding_store.ts";
import { checkBindingName } from "$core/binding.ts";
import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { tellProxy } from "$core/cli/commands/shared.ts";
import { openOwnBindings } from "$core/own_bindings.ts";
import { bindingPaths } from "$core/paths.ts";
import {
  actAsOwner,
  foreignDirectory,
  foreignProvider,
} from "../bindings/foreign.ts";

/** Removes a binding, also a damaged one; its token stops at once. */
export async function run(
  context: CommandContext,
  args: Arguments,
): Promise<number> {
  const { platform, output, audit } = context;
  const name = checkBindingName(args.operands[0] ?? "");
  const directory = foreignDirectory(args.flags, platform.env);
  const done = directory && await actAsOwner(context, directory);
  if (typeof done === "number") return done;
  const foreign = foreignBindings(context, directory);
  const isForeign = foreign !== undefined && await foreign.delete(name);
  // A directory that was named is the only one that is meant.
  const isOwn = !isForeign &&
    args.flags["configuration-directory"] === undefined &&
    await openOwnBindings(platform).delete(name);
  if (!isForeign && !isOwn) throw bindingNotFound(name);
  const told = isOwn
    ? await tellProxy(context, "binding-changed", name)
    : undefined;
  told?.warnings.forEach((warning) => output.warn(warning));
  if (!told?.isThere) await audit.record("unbound", { binding: name });
  output.data({ name, unbound: true }, `unbound ${name}\n`);
  return 0;
}

/** In the directory that is named, or in that of the service we run for. */
function foreignBindings(
  { registry, platform }: CommandContext,
  directory: string | undefined,
): BindingStore | undefined {
  const foreign = foreignProvider(registry)?.foreignBindings;
  if (directory === undefined || !foreign) return undefined;
  return new BindingStore(
    bindingPaths(directory),
    foreign.format({}),
    platform.clock,
  );
}
