/**
 * `moat bindings`.
 *
 * @module
 */

import type { BindingStore } from "$core/binding_store.ts";
import type { CommandContext } from "$core/cli/command.ts";
import { columns } from "$core/cli/help.ts";
import { printable } from "$core/cli/output.ts";
import { formatTime } from "$core/clock.ts";
import { type MoatError, toMoatError } from "$core/errors.ts";
import { openOwnBindings } from "$core/own_bindings.ts";

/** One binding, or why it cannot be read. */
interface Row {
  readonly name: string;
  readonly grants?: readonly string[];
  readonly mode?: string;
  readonly url?: string;
  readonly boundAt?: string;
  readonly error?: { readonly code: string; readonly message: string };
}

/** Lists the stored bindings; a damaged one does not hide the others. */
export async function run(
  { platform, output }: CommandContext,
): Promise<number> {
  const bindings = openOwnBindings(platform);
  const rows: Row[] = [];
  for (const name of await bindings.names()) {
    rows.push(await readRow(bindings, name));
  }
  output.data(rows, rows.length > 0 ? columns(rows.map(lineOf)) : EMPTY);
  return 0;
}

const EMPTY = "no bindings; moat bind NAME --grant GRANT makes one\n";

async function readRow(bindings: BindingStore, name: string): Promise<Row> {
  try {
    const { binding: { grants, mode }, url, createdAt } = await bindings
      .latest(name);
    return {
      name,
      grants,
      ...(mode !== undefined && { mode }),
      url,
      boundAt: formatTime(createdAt),
    };
  } catch (thrown) {
    const { code, message }: MoatError = toMoatError(thrown);
    return { name, error: { code, message } };
  }
}

function lineOf(row: Row): [string, string] {
  const { name, grants = [], mode = "", url = "", error } = row;
  return [
    printable(name),
    printable(
      error
        ? `cannot be used: ${error.message}`
        : [...grants, mode, url].join("  "),
    ),
  ];
}
