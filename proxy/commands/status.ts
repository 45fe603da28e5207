/**
 * `moat status`: what the running proxy serves.
 *
 * @module
 */

import type { CommandContext } from "$core/cli/command.ts";
import { columns } from "$core/cli/help.ts";
import { printable } from "$core/cli/output.ts";
import { callProxy, type ProxyStatus } from "$core/control.ts";
import { MoatError } from "$core/errors.ts";

/** Asks the running proxy and prints its answer. */
export async function run(
  { platform, output }: CommandContext,
): Promise<number> {
  const status = await callProxy(platform, "status", {});
  if (!status) {
    throw new MoatError(
      "no-proxy",
      "Cannot show the proxy's status: no proxy is running for this home",
      { hint: "moat proxy starts one; moat run does, too, for its own time" },
    );
  }
  output.data(status, columns(rows(status)));
  return 0;
}

function rows(status: ProxyStatus): [string, string][] {
  const { pid, version, listeners, imds = [], runs, bindings, expiries } =
    status;
  return [
    ["version", version],
    ["pid", String(pid)],
    ...listeners.map((url): [string, string] => ["listener", url]),
    ...imds.map((url): [string, string] => ["imds", url]),
    ...runs.map((run): [string, string] => ["run", run]),
    ...bindings.map((name): [string, string] => ["binding", name]),
    ...expiries.map(({ grant, what, expiresAt, hint }): [string, string] => [
      "ends",
      printable(`${expiresAt}  ${what} of ${grant}; ${hint}`),
    ]),
  ];
}
