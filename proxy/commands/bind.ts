/**
 * `moat bind`: a lasting, narrow right to a grant.
 *
 * @module
 */

import { dirname, join } from "node:path";
import { checkBindingName, mintToken } from "$core/binding.ts";
import type {
  BindingStore,
  NewBinding,
  StoredBinding,
} from "$core/binding_store.ts";
import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { tellProxy } from "$core/cli/commands/shared.ts";
import { callProxy } from "$core/control.ts";
import { parseFormat } from "$core/environment_format.ts";
import { openOwnBindings } from "$core/own_bindings.ts";
import { checkSocketPath } from "$core/paths.ts";
import type { Container, MountedFile } from "$core/provider.ts";
import type { Secret } from "$core/secret.ts";
import { Binder } from "../bindings/binder.ts";
import { readBindingSettings } from "../bindings/binding_settings.ts";
import { checkFormat, printView, viewOf } from "../bindings/binding_view.ts";
import {
  checkMode,
  findClient,
  type Made,
  type PlannedClient,
  proxyAdvice,
  readContainer,
  readGrantNames,
} from "../bindings/bind_plan.ts";
import {
  matchWarnings,
  refuseIntercepted,
} from "../bindings/container_match.ts";
import { bindForeign } from "../bindings/foreign.ts";
import { isIntercepted } from "../intercept/client_env.ts";
import { interceptFiles } from "../intercept/trust_files.ts";
import { readPolicy } from "../bindings/policy_flags.ts";
import { relayFiles } from "../relay/files.ts";
import { makeDirectory, writeMounted } from "../runs/run_files.ts";

/** Makes a binding, or gives an old one of its name a new token. */
export async function run(
  context: CommandContext,
  args: Arguments,
): Promise<number> {
  const name = checkBindingName(args.operands[0] ?? "");
  // Before anything is written.
  const format = args.flags["format"] === undefined
    ? undefined
    : parseFormat(String(args.flags["format"]));
  const isContainer = ["engine", "network", "container"]
    .some((flag) => args.flags[flag] !== undefined);
  checkFormat(format, name, isContainer);
  const made = await bindForeign(context, name, args) ??
    await bindOwn(context, name, args);
  if (typeof made === "number") return made;
  const { output } = context;
  for (const warning of made.warnings) output.warn(warning);
  if (!output.isJson) {
    for (const note of made.notes) output.note(`note: ${note}`);
  }
  const view = viewOf(made.bindings, made.stored, made.environment);
  if (format) {
    printView(output, format, view);
    return 0;
  }
  const { binding: { grants, mode, container }, url } = made.stored;
  output.data({
    name,
    grants,
    mode,
    url,
    environmentFile: view.environmentFile,
    ...(view.tokenFile !== undefined && { tokenFile: view.tokenFile }),
    ...(container && { container }),
    warnings: made.warnings,
    notes: made.notes,
  }, `bound ${name}; its environment: ${view.environmentFile}\n`);
  return 0;
}

async function bindOwn(
  context: CommandContext,
  name: string,
  args: Arguments,
): Promise<Made> {
  const { platform, registry, store, audit } = context;
  const grantNames = readGrantNames(args, registry);
  const mode = checkMode(registry, grantNames, args);
  const onlyFor = readContainer(name, mode, args);
  const isTokenless = mode?.access === "container";
  const [settings, policy, proxy, ...grants] = await Promise.all([
    readBindingSettings(registry, grantNames, args, mode?.name),
    isTokenless ? undefined : readPolicy(platform, args, name),
    callProxy(platform, "status", {}),
    ...grantNames.map((grant) => store.get(grant)),
  ]);
  if (isTokenless) refuseIntercepted(registry, grants);
  const isProxied = isIntercepted(registry, grants, policy);
  const client = await findClient({
    registry,
    args,
    mode,
    isIntercepted: isProxied,
    proxy,
  });
  const bindings = openOwnBindings(platform);
  const binding = {
    name,
    grants: grantNames,
    ...(mode && { mode: mode.name }),
    ...(settings && { settings }),
    ...(policy && { policy }),
    ...(onlyFor && { container: onlyFor }),
  };
  const binder = new Binder(registry, platform);
  binder.rights(binding, grants);
  const stored = {
    binding,
    createdAt: platform.clock.now(),
    ...placeFiles(bindings, name, client),
  };
  // Nobody gets the one of a binding without; it fills its place.
  const token = mintToken(name);
  const container = containerOf(
    stored,
    isTokenless ? undefined : token,
    bindings,
  );
  const { env, files } = binder.setup(
    grants,
    container,
    isProxied ? token : undefined,
  );
  const trust = await interceptFiles(platform, env);
  const all = [...files, ...trust.files, ...await relayFiles(stored.reach)];
  await bindings.put(
    stored,
    token,
    env,
    () => writeFiles(bindings, stored, all),
  );
  const told = await tellProxy(context, "binding-changed", name);
  if (!told.isThere) {
    await audit.record("bound", { binding: name, grants: grantNames });
  }
  return {
    bindings,
    stored,
    environment: env,
    warnings: [
      ...client.warnings,
      ...(onlyFor ? matchWarnings(onlyFor, isTokenless) : []),
      ...[...trust.warnings, ...told.warnings],
    ],
    notes: [
      ...client.notes,
      ...[proxyAdvice(stored, proxy, mode) ?? []].flat(),
    ],
  };
}

/** Where its client finds its files and its socket. */
function placeFiles(
  bindings: BindingStore,
  name: string,
  { url, reach, directory, needsFiles, tokenFile }: PlannedClient,
): Pick<StoredBinding, "url" | "reach" | "directory" | "tokenFile"> {
  const files = bindings.filesPath(name);
  const seen = directory ?? (needsFiles ? files : undefined);
  const socket = join(files, "endpoint.sock");
  if (reach?.by === "socket") checkSocketPath(socket);
  return {
    url,
    ...(reach && {
      reach: reach.by === "socket" ? { ...reach, path: socket } : reach,
    }),
    ...(seen !== undefined && { directory: seen }),
    tokenFile,
  };
}

/** How its client finds us, its token and its files. */
function containerOf(
  { binding: { name, mode }, url, directory, tokenFile }: NewBinding,
  token: Secret | undefined,
  bindings: BindingStore,
): Container {
  return {
    mode: mode ?? "",
    endpointUrl: url,
    ...(directory !== undefined && { directory }),
    ...(tokenFile
      ? {
        tokenFile: directory === undefined
          ? bindings.tokenPath(name, false)
          : `${directory}/token`,
      }
      : token && { token }),
  };
}

/** Below a directory that only this user can enter. */
async function writeFiles(
  bindings: BindingStore,
  { binding: { name }, directory }: NewBinding,
  files: readonly MountedFile[],
): Promise<void> {
  if (directory === undefined) return;
  const own = bindings.filesPath(name);
  await Deno.mkdir(dirname(own), { recursive: true, mode: 0o700 });
  await makeDirectory(own);
  for (const file of files) await writeMounted(own, file);
}
