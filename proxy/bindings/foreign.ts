/**
 * Bindings in the form of another program: the directory that they are in, and
 * `moat bind` for them.
 *
 * @module
 */

import { mintToken } from "$core/binding.ts";
import { BindingStore } from "$core/binding_store.ts";
import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { type MoatError, usageError } from "$core/errors.ts";
import { missingOk } from "$core/files.ts";
import { bindingPaths } from "$core/paths.ts";
import type {
  FlagValues,
  ForeignBindings,
  Mode,
  Provider,
  ProviderRegistry,
} from "$core/provider.ts";
import { resolve } from "node:path";
import { type Made, queryWarnings } from "./bind_plan.ts";
import { environmentOfChild } from "../runs/child.ts";
import { POLICY_FLAGS } from "./policy_flags.ts";

/** Read early: the path of a program that was replaced since is not found. */
const PROGRAM = Deno.execPath();

/** A provider that has them. */
export type ForeignProvider = Provider & {
  readonly foreignBindings: ForeignBindings;
};

/**
 * Finds the provider with bindings in another program's form.
 *
 * @param registry All providers.
 * @returns It; undefined if there is none.
 */
export function foreignProvider(
  registry: ProviderRegistry,
): ForeignProvider | undefined {
  return registry.all.find((provider): provider is ForeignProvider =>
    provider.foreignBindings !== undefined
  );
}

/**
 * Finds the directory of such bindings.
 *
 * @param flags The command's flags.
 * @param env The environment.
 * @returns An absolute path; undefined if nothing names one.
 */
export function foreignDirectory(
  flags: FlagValues,
  env: Readonly<Record<string, string>>,
): string | undefined {
  const [runtime] = (env["RUNTIME_DIRECTORY"] ?? "").split(":");
  const given = flags["configuration-directory"] as string | undefined;
  const path = given !== undefined ? resolve(given) : runtime || undefined;
  return path && realPath(path);
}

/** systemd gives a service with a user of its own a link. */
function realPath(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch {
    return path;
  }
}

/**
 * Runs this command anew as the owner of a directory. Whoever owns it could
 * lead root's hand anywhere by a link, so that root writes nothing there.
 *
 * @param context The command's context.
 * @param directory The directory; it may be missing.
 * @returns The exit status; undefined if we may act ourselves.
 */
export async function actAsOwner(
  { platform: { env } }: CommandContext,
  directory: string,
): Promise<number | undefined> {
  const info = await missingOk(Deno.stat(directory));
  if (Deno.uid() !== 0 || !info?.uid) return undefined;
  const { HOME: _, MOAT_HOME: __, ...rest } = environmentOfChild(env);
  const options = {
    args: Deno.args,
    uid: info.uid,
    gid: info.gid ?? info.uid,
    env: { ...rest, RUNTIME_DIRECTORY: directory },
    clearEnv: true,
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  } as const;
  const run = async (cwd?: string) =>
    await new Deno.Command(PROGRAM, { ...options, ...(cwd && { cwd }) })
      .output();
  const { code } = await run().catch((error) => {
    // It may not enter where root is; then no relative path is of use to it.
    if (error instanceof Deno.errors.PermissionDenied) return run("/");
    throw error;
  });
  return code;
}

/**
 * The error for a command that needs such a directory.
 *
 * @returns The error, to be thrown by the caller.
 */
export function noDirectory(): MoatError {
  return usageError(
    "Cannot find the directory of the bindings: neither --configuration-directory nor RUNTIME_DIRECTORY is given",
    "add --configuration-directory DIRECTORY",
  );
}

/**
 * Makes such a binding if the flags ask for one.
 *
 * @param context The command's context.
 * @param name The binding's name, checked.
 * @param args The command line.
 * @returns What was made, or the exit status of the directory's owner, who made
 * it; undefined if it is to be one of our own.
 * @throws {MoatError} `usage`, or the provider's own.
 */
export async function bindForeign(
  context: CommandContext,
  name: string,
  { flags }: Arguments,
): Promise<Made | number | undefined> {
  const { registry, platform, audit } = context;
  const provider = foreignProvider(registry);
  if (!provider) return undefined;
  const { foreignBindings } = provider;
  if (!foreignBindings.asks(flags)) return refuseStray(provider, flags);
  for (
    const other of [
      ...["grant", "engine", "network", "container"],
      ...POLICY_FLAGS.map(({ name }) => name),
    ]
  ) {
    if (flags[other] === undefined) continue;
    throw usageError(
      `Cannot combine --${other} with --certificate: such a binding is for a program of this host, and says itself what is bound`,
      `leave --${other} out`,
    );
  }
  const directory = foreignDirectory(flags, platform.env);
  if (directory === undefined) throw noDirectory();
  const done = await actAsOwner(context, directory);
  if (done !== undefined) return done;
  const mode = foreignMode(provider, flags);
  const given = flags["url"] as string | undefined;
  if (mode.reach === "loopback" && given === undefined) {
    throw usageError(
      `Cannot bind in mode ${mode.name} without --url: where moat serve listens`,
      "add --url http://127.0.0.1:7224 (by systemd), or http://127.0.0.1:3000 (moat serve alone)",
    );
  }
  const checked = given === undefined || mode.reach !== "loopback"
    ? undefined
    : provider.checkUrl?.(given, mode);
  const read = await foreignBindings.readBinding(
    name,
    { ...flags, mode: mode.name },
    flags["no-validate"] !== true,
  );
  const url = checked?.url ?? "";
  const stored = {
    ...read,
    url,
    tokenFile: flags["token-file"] === true,
  };
  const format = foreignBindings.format(flags);
  const bindings = new BindingStore(
    bindingPaths(directory),
    format,
    platform.clock,
  );
  const token = mintToken(name, format.tokenPrefix, format.secretBytes);
  const [grant] = stored.ownGrants ?? [];
  if (!grant) throw new TypeError("a binding without its grant");
  const environment = provider.containerEnv(grant, {
    mode: mode.name,
    endpointUrl: url,
    ...(stored.tokenFile
      ? { tokenFile: bindings.tokenPath(name, false) }
      : { token }),
  });
  await bindings.put(stored, token, environment);
  await audit.record("bound", { binding: name, directory });
  return {
    bindings,
    stored,
    environment,
    warnings: [
      ...queryWarnings(mode),
      ...checked?.warnings ?? [],
      ...nameWarnings(name),
    ],
    notes: [],
  };
}

/** A flag that would be ignored without the others. */
function refuseStray(
  { bindingFlags = [], foreignBindings }: ForeignProvider,
  flags: FlagValues,
): undefined {
  const stray = foreignBindings.bindFlags.find(({ name }) =>
    flags[name] !== undefined &&
    !bindingFlags.some((flag) => flag.name === name)
  );
  if (!stray) return undefined;
  throw usageError(
    `Cannot use --${stray.name} without --certificate`,
    "moat bind NAME --grant GRANT, or all flags of Roles Anywhere",
  );
}

/** What the other program does without `--mode`. */
function foreignMode(provider: Provider, flags: FlagValues): Mode {
  const modes = (provider.modes ?? []).filter((mode) => !mode.needsFiles);
  const name = flags["mode"] ?? modes[0]?.name;
  const found = modes.find((mode) => mode.name === name);
  if (found) return found;
  throw usageError(
    `Cannot use ${JSON.stringify(name)} as a mode with --certificate`,
    `write one of ${modes.map((mode) => mode.name).join(", ")}`,
  );
}

function nameWarnings(name: string): string[] {
  if (/^[A-Za-z@-]+$/.test(name)) return [];
  return [
    `needroleshere itself cannot read a binding named "${name}": it takes only letters, "@" and "-"`,
  ];
}
