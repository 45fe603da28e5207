/**
 * `moat grant providers`.
 *
 * @module
 */

import type { CommandContext } from "../command.ts";
import { columns } from "../help.ts";

/** Lists what can be granted. */
export function run(
  { output, registry }: CommandContext,
): Promise<number> {
  output.data(
    registry.all.map(({ name, aliases, description }) => ({
      name,
      aliases,
      description,
    })),
    columns(registry.all.map((p) => [p.name, p.description])),
  );
  return Promise.resolve(0);
}
