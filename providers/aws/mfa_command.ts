/**
 * `moat mfa`: opens the MFA session of a grant.
 *
 * @module
 */

import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { createAsk } from "$core/cli/prompt.ts";
import { callProxy } from "$core/control.ts";
import { usageError } from "$core/errors.ts";
import { parseGrantName } from "$core/grant.ts";
import { checkProvider } from "./control_methods.ts";
import { noDevice } from "./mfa.ts";
import { readSettings } from "./settings.ts";

/** Sends a code to the running proxy, or uses it here. */
export async function run(
  context: CommandContext,
  { operands: [operand = "", typed] }: Arguments,
): Promise<number> {
  const { output } = context;
  const { name } = parseGrantName(operand);
  const code = typed ?? await askCode(context, name);
  const expiresAt = await askProxy(context, name, code) ??
    await openHere(context, name, code);
  const end = new Date(expiresAt).toISOString();
  output.text(`opened an MFA session for ${name}, until ${end}\n`);
  return 0;
}

/** Once it is known that a code would be of use. */
async function askCode(
  { streams, store }: CommandContext,
  name: string,
): Promise<string> {
  const { mfa } = readSettings(checkProvider(await store.get(name)));
  if (!mfa) throw noDevice(name);
  const ask = createAsk(streams);
  if (ask) return (await ask(`MFA code of ${mfa.serial}: `)).reveal();
  throw usageError(
    "Cannot ask for an MFA code: there is no terminal",
    `moat mfa ${name} CODE`,
  );
}

async function askProxy(
  { platform }: CommandContext,
  grant: string,
  code: string,
): Promise<number | undefined> {
  const answer = await callProxy(platform, "provider", {
    provider: "aws",
    method: "mfa",
    params: { grant, code },
  });
  return answer && Number(answer["expiresAt"]);
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
