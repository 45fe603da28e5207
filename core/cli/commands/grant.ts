/**
 * `moat grant PROVIDER`.
 *
 * @module
 */

import { formatTime } from "../../clock.ts";
import { type Grant, grantName } from "../../grant.ts";
import type { Provider } from "../../provider.ts";
import type { Arguments, CommandContext } from "../command.ts";
import { createAsk } from "../prompt.ts";
import { summarise, tellProxy } from "./shared.ts";

/** Obtains a credential and stores it; an older grant of that name is replaced whole. */
export async function run(
  context: CommandContext,
  args: Arguments,
): Promise<number> {
  const { output, streams, registry, store, audit } = context;
  const provider = registry.get(args.operands[0] ?? "");
  const { name: shortName, "no-validate": noValidate, ...flags } = args.flags;
  const name = grantName(provider.name, shortName as string | undefined);
  const ask = createAsk(streams);
  const grant = await provider.grant({
    name,
    flags,
    validate: !noValidate,
    ...(ask && { ask }),
  });
  await store.put(grant);
  // Before the audit log, which may be on a full disk.
  const { warnings } = await tellProxy(context, "grant-changed", name);
  warnings.forEach((warning) => output.warn(warning));
  await audit.record("granted", { grant: name, settings: grant.settings });
  const advice = [
    ...await provider.advise?.(grant) ?? [],
    ...await endsSoon(provider, grant, context.platform.clock.now()),
  ];
  output.data(
    { ...summarise(grant), advice },
    `granted ${name}${
      noValidate ? " (not validated)" : ""
    }; next: moat run --grant ${name} -- COMMAND\n`,
  );
  if (!output.isJson) advice.forEach((line) => output.note(`note: ${line}`));
  return 0;
}

/** What a person must renew before long. */
async function endsSoon(
  provider: Provider,
  grant: Grant,
  now: number,
): Promise<string[]> {
  // What cannot be read was told by the validation, or was not wanted.
  const expiries = await provider.expiries?.(grant).catch(() => []) ?? [];
  return expiries
    .filter(({ expiresAt, warnAhead }) =>
      expiresAt - now <= Math.max(...warnAhead)
    )
    .map(({ what, expiresAt, hint }) =>
      `its ${what} ends at ${formatTime(expiresAt)}; ${hint}`
    );
}
