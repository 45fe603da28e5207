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
import type { ContainerMatch } from "$core/container.ts";
import { type MoatError, toMoatError } from "$core/errors.ts";
import { openOwnBindings } from "$core/own_bindings.ts";
import type { Policy } from "$core/policy.ts";
import { formatContainer } from "../bindings/container_match.ts";

/** One binding, or why it cannot be read. */
interface Row {
  readonly name: string;
  readonly grants?: readonly string[];
  readonly mode?: string;
  readonly url?: string;
  readonly boundAt?: string;
  readonly policy?: Policy;
  readonly container?: ContainerMatch;
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
    const { binding, url, createdAt } = await bindings.latest(name);
    const { grants, mode, policy, container } = binding;
    return {
      name,
      grants,
      ...(mode !== undefined && { mode }),
      url,
      boundAt: formatTime(createdAt),
      ...(policy && { policy }),
      ...(container && { container }),
    };
  } catch (thrown) {
    const { code, message }: MoatError = toMoatError(thrown);
    return { name, error: { code, message } };
  }
}

function lineOf(row: Row): [string, string] {
  const { name, grants = [], mode = "", url = "", error } = row;
  const { policy, container } = row;
  return [
    printable(name),
    printable(
      error ? `cannot be used: ${error.message}` : [
        ...[...grants, mode, url],
        ...container ? [`container: ${formatContainer(container)}`] : [],
        ...policy ? [summaryOf(policy)] : [],
      ].join("  "),
    ),
  ];
}

/** Such as `policy: deny, 2 rules, 1 private host`. */
function summaryOf(policy: Policy): string {
  const { rules, allowHosts, plainHttp } = policy;
  const counts: [list: readonly unknown[], what: string][] = [
    [rules, "rule"],
    [allowHosts, "private host"],
    [plainHttp, "plain-http host"],
  ];
  const parts = counts.filter(([{ length }]) => length > 0)
    .map(([{ length }, what]) => `${length} ${what}${length > 1 ? "s" : ""}`);
  return `policy: ${[policy.default, ...parts].join(", ")}`;
}
