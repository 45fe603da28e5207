/**
 * `moat exec NAME -- COMMAND`: a command as the client of a stored binding.
 *
 * @module
 */

import { checkBindingName } from "$core/binding.ts";
import type { StoredBinding } from "$core/binding_store.ts";
import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { callProxy } from "$core/control.ts";
import { type ContainerMatch, engineOptions } from "$core/container.ts";
import { usageError } from "$core/errors.ts";
import { parseGrantName } from "$core/grant.ts";
import type { ProviderRegistry } from "$core/provider.ts";
import { openOwnBindings } from "$core/own_bindings.ts";
import { isOfContainer, readView } from "../bindings/binding_view.ts";
import { askEngine } from "../engine_run/ask_engine.ts";
import { proxyAdvice } from "../bindings/bind_plan.ts";
import { Binder } from "../bindings/binder.ts";
import { environmentOfClient, runChild } from "../runs/child.ts";
import { warnOfConflicts } from "../engine_run/conflicts.ts";
import { containerCommand } from "../engine_run/container_command.ts";
import { type EngineRun, parseEngineRun } from "../engine_run/command_line.ts";
import { interceptConflicts } from "../intercept/client_env.ts";
import { findMode } from "../bindings/modes.ts";
import { createRunFiles, newRunName, writeMounted } from "../runs/run_files.ts";
import { chooseReach } from "../engine_run/reach.ts";

/** Runs one command with the environment of a binding. */
export async function run(
  context: CommandContext,
  { operands, command }: Arguments,
): Promise<number> {
  const { platform, output, registry } = context;
  const name = checkBindingName(operands[0] ?? "");
  const container = parseEngineRun(command, true);
  const bindings = openOwnBindings(platform);
  const stored = await bindings.latest(name);
  checkClient(stored, container);
  const { grants, mode, container: onlyFor } = stored.binding;
  const proxy = await callProxy(platform, "status", {});
  const advice = proxyAdvice(stored, proxy, findMode(registry, grants, mode));
  if (advice) output.warn(advice);
  const view = await readView(bindings, stored);
  const { environment, environmentFile = "", hosts } = view;
  const conflicting = [
    ...grants.flatMap((grant) =>
      registry.get(parseGrantName(grant).provider).conflictingEnv
    ),
    ...interceptConflicts(registry, environment),
  ];
  if (!container) {
    return await runPlain(context, stored, command, environment, conflicting);
  }
  await checkNetwork(stored, container, registry);
  await warnOfConflicts(container, conflicting, output);
  const { reach } = stored;
  const argv = await containerCommand(container, {
    env: environment,
    environmentFile,
    directory: stored.directory && bindings.filesPath(name),
    options: [
      ...hosts.flatMap((
        { name, address },
      ) => ["--add-host", `${name}:${address}`]),
      ...onlyFor ? identityOf(name, onlyFor, container) : [],
    ],
    relayPort: reach?.by === "socket" ? reach.port : undefined,
  });
  return await runChild(argv, platform.env, output);
}

/** Makes the new container the one that may use the binding. */
function identityOf(
  binding: string,
  onlyFor: ContainerMatch,
  { name }: EngineRun,
): string[] {
  if (onlyFor.name === undefined || name === undefined) {
    return engineOptions(onlyFor);
  }
  if (name === onlyFor.name) return [];
  throw usageError(
    `Cannot give binding "${binding}" to the container "${name}": it is for "${onlyFor.name}" alone`,
    "leave --name out",
  );
}

/**
 * A program of this host would prefer credentials of its user's own files to
 * those of a mode without files; so it gets ours, for as long as it runs.
 */
async function runPlain(
  { platform, output, registry, store }: CommandContext,
  { binding, directory, url }: StoredBinding,
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
  conflictingEnv: readonly string[],
): Promise<number> {
  const start = (env: Readonly<Record<string, string>>) =>
    runChild(
      command,
      environmentOfClient(platform.env, { env, conflictingEnv }),
      output,
    );
  if (directory !== undefined) return await start(environment);
  const files = await createRunFiles(platform.paths, newRunName());
  try {
    const grants = await Promise.all(binding.grants.map((g) => store.get(g)));
    const { env, files: more } = new Binder(registry, platform).setup(grants, {
      mode: binding.mode ?? "",
      endpointUrl: url,
      directory: files.directory,
      tokenFile: "",
    });
    for (const file of more) await writeMounted(files.directory, file);
    const shield = Object.entries(env).filter(([, value]) => value !== "");
    return await start({ ...Object.fromEntries(shield), ...environment });
  } finally {
    await files.remove();
  }
}

/** A container and a program of this host reach us in different ways. */
function checkClient(
  stored: StoredBinding,
  container: EngineRun | undefined,
): void {
  const { binding: { name } } = stored;
  if (isOfContainer(stored) === (container !== undefined)) return;
  throw container
    ? usageError(
      `Cannot give binding "${name}" to a container: it was made for a program of this host`,
      `moat bind ${name} --engine ${container.engine} --network ${
        container.network ?? "bridge"
      } …`,
    )
    : usageError(
      `Cannot give binding "${name}" to a program of this host: it was made for a container`,
      `moat exec ${name} -- docker run …`,
    );
}

/** On another network than it was made for, a container would find nobody. */
async function checkNetwork(
  { binding: { name, grants, mode }, reach }: StoredBinding,
  container: EngineRun,
  registry: ProviderRegistry,
): Promise<void> {
  const found = findMode(registry, grants, mode);
  const way = await chooseReach(container, found, askEngine(container));
  const isSame = reach?.by === "gateway" && way.reach.by === "gateway"
    ? reach.address === way.reach.address
    : reach?.by === way.reach.by;
  // A relay works wherever its container has a loopback of its own.
  if (isSame || (reach?.by === "socket" && way.reach.by !== "loopback")) return;
  const { engine, network } = container;
  throw usageError(
    `Cannot use binding "${name}" here: it was made for another network than ${
      network ?? "the engine's own"
    }`,
    `moat bind ${name} --engine ${engine}${
      network === undefined ? "" : ` --network ${network}`
    } …`,
  );
}
