/**
 * `moat revoke NAME`.
 *
 * @module
 */

import { MoatError } from "../../errors.ts";
import { parseGrantName } from "../../grant.ts";
import type { Arguments, CommandContext } from "../command.ts";
import { tellProxy } from "./shared.ts";

/** Removes a grant, also one that cannot be decrypted, and stops its use at once. */
export async function run(
  context: CommandContext,
  args: Arguments,
): Promise<number> {
  const { output, store, audit } = context;
  const { name } = parseGrantName(args.operands[0] ?? "");
  if (!await store.delete(name)) {
    throw new MoatError(
      "grant-not-found",
      `Cannot revoke "${name}": no grant has that name`,
      { hint: "moat grant list shows those there are" },
    );
  }
  const { warnings } = await tellProxy(context, "grant-changed", name);
  warnings.forEach((warning) => output.warn(warning));
  await audit.record("revoked", { grant: name });
  output.data(
    { name, revoked: true },
    `revoked ${name}; sessions already handed out end by themselves\n`,
  );
  return 0;
}
