/**
 * `moat credential-process`: prints credentials for a program of this host.
 * It takes the place of `aws_signing_helper credential-process` and
 * `needroleshere credential-process`, and serves stored grants as well.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html | Process credential provider}
 */

import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { callProxy } from "$core/control.ts";
import { MoatError, usageError } from "$core/errors.ts";
import { type JsonObject, parseGrantName } from "$core/grant.ts";

/** What credentials are asked for, as the control method takes it. */
type Target =
  | { readonly grant: string }
  | { readonly binding: string }
  | { readonly settings: JsonObject; readonly passphrase?: string };

/** Prints one line of JSON on stdout, or fails with one sentence. */
export async function run(
  context: CommandContext,
  args: Arguments,
): Promise<number> {
  const { platform, output } = context;
  if (platform.env["MOAT_SOURCE"] === "1") throw ownSource();
  const target = await readTarget(context, args);
  const body = await askProxy(context, target) ??
    await obtainHere(context, target);
  output.text(body + "\n");
  return 0;
}

async function readTarget(
  { platform: { env } }: CommandContext,
  { operands: [name], flags }: Arguments,
): Promise<Target> {
  const { binding, ...others } = flags;
  const given = [
    name !== undefined,
    binding !== undefined,
    Object.keys(others).length > 0,
  ];
  if (given.filter(Boolean).length !== 1) throw wrongTarget(given);
  if (name !== undefined) return { grant: parseGrantName(name).name };
  if (typeof binding === "string") return { binding };
  const { readCredentialProcessFlags } = await import(
    "./options/credential_process.ts"
  );
  const { writeSettings } = await import("./settings.ts");
  const { settings, passphrase } = await readCredentialProcessFlags(
    others,
    env,
  );
  return {
    settings: writeSettings(settings),
    ...(passphrase && { passphrase: passphrase.reveal() }),
  };
}

/** The running proxy has the session already, or shares the call for it. */
async function askProxy(
  { platform }: CommandContext,
  target: Target,
): Promise<string | undefined> {
  const answer = await callProxy(platform, "provider", {
    provider: "aws",
    method: "credentials",
    params: target,
  });
  return answer && String(answer["body"]);
}

/** Without a proxy each call obtains a session of its own. */
async function obtainHere(
  { store, platform }: CommandContext,
  target: Target,
): Promise<string> {
  if ("binding" in target) throw noProxy(target.binding);
  const { SessionEngine } = await import("./engine.ts");
  const { checkProvider, flagsGrant, hostBinding } = await import(
    "./control_methods.ts"
  );
  const { processAnswer } = await import("./session.ts");
  const { VendRecorders } = await import("./vend.ts");
  const binding = hostBinding(platform.env);
  const grant = "grant" in target
    ? checkProvider(await store.get(target.grant))
    : flagsGrant(target.settings, target.passphrase);
  const engine = new SessionEngine(platform);
  const session = await engine.obtain(grant, binding);
  new VendRecorders(platform).recorder(grant, binding).vended(session);
  return processAnswer(session).body;
}

function wrongTarget([name, binding]: boolean[]): MoatError {
  const hint =
    "moat credential-process NAME, --binding NAME, or the flags of Roles Anywhere";
  return name || binding
    ? usageError("Cannot tell which credentials are wanted: found two", hint)
    : usageError("Cannot tell which credentials are wanted: found none", hint);
}

function noProxy(binding: string): MoatError {
  return new MoatError(
    "no-proxy",
    `Cannot find binding ${JSON.stringify(binding)}: no proxy is running`,
    { hint: "moat proxy" },
  );
}

/** Under this variable we are a program of our own source. */
function ownSource(): MoatError {
  return new MoatError(
    "source-is-moat",
    "Refused: moat would be its own source of credentials",
    {
      hint:
        "name credentials in the profile's credential_process that moat did not hand out",
    },
  );
}
