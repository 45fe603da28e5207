/**
 * `moat grant show NAME`.
 *
 * @module
 */

import { callProxy } from "../../control.ts";
import { usageError } from "../../errors.ts";
import { parseGrantName } from "../../grant.ts";
import type { ProviderRegistry } from "../../provider.ts";
import type { Arguments, CommandContext } from "../command.ts";
import { columns } from "../help.ts";
import { printable } from "../output.ts";
import { summarise } from "./shared.ts";

/** Shows one grant without any secret, or explains where its credentials come from. */
export async function run(
  context: CommandContext,
  args: Arguments,
): Promise<number> {
  const { output, store, registry } = context;
  const { name, provider } = parseGrantName(args.operands[0] ?? "");
  if (args.flags["explain"]) return await explain(context, name, provider);
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

/** One thing that an explanation tells. */
type Line = readonly [label: string, value: string];

/** A running proxy explains its own environment, which is the one that counts. */
async function explain(
  context: CommandContext,
  name: string,
  providerName: string,
): Promise<number> {
  const { output, store, registry } = context;
  const provider = registry.get(providerName);
  if (!provider.explain) throw cannotExplain(name, provider.name, registry);
  const answer = await askProxy(context, name, provider.name);
  const lines = answer ?? await provider.explain(await store.get(name));
  const explainedBy = answer ? "proxy" : "command";
  output.data(
    {
      name,
      provider: provider.name,
      explainedBy,
      lines: lines.map(([label, value]) => ({ label, value })),
    },
    columns([
      ...lines.map(([label, value]): [string, string] => [
        printable(label),
        printable(value),
      ]),
      ["explained by", EXPLAINERS[explainedBy]],
    ]),
  );
  return 0;
}

const EXPLAINERS = {
  proxy: "the running proxy, whose environment counts",
  command: "this command, because no proxy is running",
} as const;

async function askProxy(
  { platform }: CommandContext,
  grant: string,
  provider: string,
): Promise<readonly Line[] | undefined> {
  const answer = await callProxy(platform, "provider", {
    provider,
    method: "explain",
    params: { grant },
  });
  return answer?.["lines"] as readonly Line[] | undefined;
}

function cannotExplain(
  name: string,
  provider: string,
  registry: ProviderRegistry,
) {
  const able = registry.all.filter((p) => p.explain).map((p) => p.name);
  return usageError(
    `Cannot explain grant "${name}": provider "${provider}" has nothing to explain`,
    able.length > 0
      ? `grants of these can be explained: ${able.join(", ")}`
      : `moat grant show ${name} tells what there is`,
  );
}
