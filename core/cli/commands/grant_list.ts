/**
 * `moat grant list`.
 *
 * @module
 */

import type { CommandContext } from "../command.ts";
import { columns } from "../help.ts";
import { summarise } from "./shared.ts";

/** Lists all grants; one that cannot be read hides none of the others. */
export async function run(
  { output, store, registry }: CommandContext,
): Promise<number> {
  const entries = await store.list();
  const rows = entries.map(({ name, grant, error }): [string, string] => {
    if (!grant) return [name, `unreadable: ${error?.code ?? "unknown"}`];
    const provider = registry.all.find((p) => p.name === grant.provider);
    const facts = provider?.describe?.(grant) ?? [];
    return [name, facts[0]?.[1] ?? grant.provider];
  });
  output.data(
    entries.map(({ name, grant, error }) =>
      grant ? summarise(grant) : { name, error: error?.code ?? "unknown" }
    ),
    columns(rows),
  );
  if (entries.length === 0 && !output.isJson) {
    output.note("no grants yet; next: moat grant providers");
  }
  for (const { error } of entries) {
    if (error && !output.isJson) output.warn(`${error.message}; ${error.hint}`);
  }
  return 0;
}
