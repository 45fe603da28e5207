/**
 * `moat mfa`: opens the MFA session of a grant.
 *
 * @module
 */

import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { createAsk } from "$core/cli/prompt.ts";
import { ControlClient } from "$core/control.ts";
import { usageError } from "$core/errors.ts";
import { parseGrantName } from "$core/grant.ts";

/** Sends a code to the running proxy, or uses it here. */
export async function run(
  context: CommandContext,
  { operands: [operand = "", typed] }: Arguments,
): Promise<number> {
  const { output } = context;
  const { name } = parseGrantName(operand);
  const code = typed ?? await askCode(context);
  const expiresAt = await askProxy(context, name, code) ??
    await openHere(context, name, code);
  const end = new Date(expiresAt).toISOString();
  output.text(`opened an MFA session for ${name}, until ${end}\n`);
  return 0;
}

async function askCode({ streams }: CommandContext): Promise<string> {
  const ask = createAsk(streams);
  if (ask) return (await ask("MFA code: ")).reveal();
  throw usageError(
    "Cannot ask for an MFA code: there is no terminal",
    "moat mfa NAME CODE",
  );
}

async function askProxy(
  { platform: { paths, clock } }: CommandContext,
  grant: string,
  code: string,
): Promise<number | undefined> {
  const proxy = await ControlClient.connect(paths.controlSocket, clock);
  if (!proxy) return undefined;
  try {
    const { expiresAt } = await proxy.call("provider", {
      provider: "aws",
      method: "mfa",
      params: { grant, code },
    });
    return Number(expiresAt);
  } finally {
    proxy.close();
  }
}

async function openHere(
  { store, platform }: CommandContext,
  name: string,
  code: string,
): Promise<number> {
  const { SessionEngine } = await import("./engine.ts");
  const { checkProvider, openMfa } = await import("./control_methods.ts");
  const engine = new SessionEngine(platform);
  const grant = checkProvider(await store.get(name));
  const opened = await openMfa(engine, grant, code);
  // Unless it was granted anew meanwhile.
  await store.update(
    name,
    (current) => current.createdAt === grant.createdAt ? opened : undefined,
  );
  return opened.expiresAt ?? 0;
}
