/**
 * `moat run`: a command that has credentials as long as it lives.
 *
 * @module
 */

import { join } from "node:path";
import type { Arguments, CommandContext } from "$core/cli/command.ts";
import {
  digestToken,
  holdsToken,
  mintToken,
  placeholderToken,
} from "$core/binding.ts";
import {
  type ContainerMatch,
  engineOptions,
  RUN_LABEL,
} from "$core/container.ts";
import { callProxy, type RunOpened } from "$core/control.ts";
import { formatEnvironment } from "$core/environment_format.ts";
import { usageError } from "$core/errors.ts";
import type { Reach } from "$core/reach.ts";
import type { Mode } from "$core/provider.ts";
import type { Secret } from "$core/secret.ts";
import { askEngine } from "../engine_run/ask_engine.ts";
import { queryWarnings, readGrantNames } from "../bindings/bind_plan.ts";
import { readBindingSettings } from "../bindings/binding_settings.ts";
import { environmentOfClient, runChild } from "../runs/child.ts";
import { CONTAINER_DIRECTORY } from "../addresses.ts";
import { containerCommand } from "../engine_run/container_command.ts";
import { noMetadata, refuseTokenFlags } from "../bindings/container_match.ts";
import { type EngineRun, parseEngineRun } from "../engine_run/command_line.ts";
import { compareEnvironments } from "../runs/environments.ts";
import { interceptFiles } from "../intercept/trust_files.ts";
import { findMode } from "../bindings/modes.ts";
import { readPolicy } from "../bindings/policy_flags.ts";
import { warnOfConflicts } from "../engine_run/conflicts.ts";
import {
  chooseReach,
  type ContainerReach,
  reachOfHost,
} from "../engine_run/reach.ts";
import { relayFiles } from "../relay/files.ts";
import {
  createRunFiles,
  newRunName,
  type RunFiles,
} from "../runs/run_files.ts";
import { RunConnection } from "../runs/run_connection.ts";
import { findSubject } from "../engine_run/subject.ts";

/** Runs one command bound to grants. */
export async function run(
  context: CommandContext,
  args: Arguments,
): Promise<number> {
  const { platform, output, registry } = context;
  const grants = readGrantNames(
    args,
    registry,
    "moat run --grant NAME -- COMMAND",
  );
  const modeName = args.flags["mode"] as string | undefined;
  const mode = findMode(registry, grants, modeName);
  const settings = await readBindingSettings(
    registry,
    grants,
    args,
    mode?.name,
  );
  for (const warning of queryWarnings(mode)) output.warn(warning);
  const container = parseEngineRun(args.command);
  const isTokenless = mode?.access === "container";
  if (isTokenless) await checkTokenless(context, args, mode, container);
  const policy = isTokenless ? undefined : await readPolicy(platform, args);
  const way = container &&
    await chooseReach(container, mode, askEngine(container));
  const name = newRunName();
  const token = mintToken(`run-${name}`);
  const onlyFor = isTokenless
    ? { label: { key: RUN_LABEL, value: name } }
    : undefined;
  const files = await createRunFiles(platform.paths, name);
  let connection: RunConnection | undefined;
  try {
    const reach = reachOf(way, mode, files);
    connection = await RunConnection.open(context, {
      run: name,
      grants,
      tokenDigest: digestToken(token.reveal()),
      directory: container ? CONTAINER_DIRECTORY : files.directory,
      reach,
      ...(modeName !== undefined && { mode: modeName }),
      ...(settings && { settings }),
      ...(policy && { policy }),
      subject: await findSubject(name, platform.env, container),
      ...(onlyFor && { container: onlyFor }),
    }, isTokenless ? undefined : (fresh) => files.replaceToken(fresh));
    const opened = withToken(connection.opened, name, token);
    if (!isTokenless) {
      await writeFiles(context, files, opened, reach, token);
    }
    for (const warning of await compareEnvironments(context, grants, opened)) {
      output.warn(warning);
    }
    return container && way
      ? await runContainer(context, {
        container,
        way,
        reach,
        opened,
        files,
        onlyFor,
      })
      : await runChild(
        args.command,
        environmentOfClient(platform.env, opened),
        output,
      );
  } finally {
    await files.remove();
    await connection?.close();
  }
}

/** A client without a token: known by its container's address. */
async function checkTokenless(
  { platform }: CommandContext,
  { flags }: Arguments,
  mode: Mode,
  container: EngineRun | undefined,
): Promise<void> {
  refuseTokenFlags(mode, flags);
  if (!container) {
    throw usageError(
      `Cannot run a program of this host in mode ${mode.name}: it has the host's own address, and nothing tells it from other programs`,
      "use --mode ecs-full, or run it in a container: moat run … -- docker run …",
    );
  }
  const proxy = await callProxy(platform, "status", {});
  if (!proxy?.imds?.length) throw noMetadata("run a container", !!proxy);
}

/** What the proxy gave, and what it did not have to send. */
async function writeFiles(
  { platform, output }: CommandContext,
  files: RunFiles,
  opened: RunOpened,
  reach: Reach,
  token: Secret,
): Promise<void> {
  const trust = await interceptFiles(platform, opened.env);
  for (const warning of trust.warnings) output.warn(warning);
  const relay = await relayFiles(reach);
  await files.write([...opened.files, ...trust.files, ...relay], token);
}

/** A container that is about to start. */
interface Start {
  readonly container: EngineRun;
  readonly way: ContainerReach;
  readonly reach: Reach;
  readonly opened: RunOpened;
  readonly files: RunFiles;
  /** Known by this label, it has no files. */
  readonly onlyFor: ContainerMatch | undefined;
}

async function runContainer(
  { platform, output }: CommandContext,
  { container, way, reach, opened, files, onlyFor }: Start,
): Promise<number> {
  output.note(`note: the container reaches moat ${way.reason}`);
  await warnOfConflicts(container, opened.conflictingEnv, output);
  const argv = await containerCommand(container, {
    env: opened.env,
    environmentFile: await files.writeEnvironment(secretsOf(opened)),
    directory: onlyFor ? undefined : files.directory,
    options: [...way.options, ...onlyFor ? engineOptions(onlyFor) : []],
    relayPort: reach.by === "socket" ? reach.port : undefined,
  });
  return await runChild(argv, platform.env, output);
}

/** A socket is among the files that the container sees. */
function reachOf(
  way: ContainerReach | undefined,
  mode: Mode | undefined,
  { directory }: RunFiles,
): Reach {
  const reach = way?.reach ?? reachOfHost(mode);
  return reach.by === "socket"
    ? { ...reach, path: join(directory, "endpoint.sock") }
    : reach;
}

/** Text of a file with the variables that hold the token. */
function secretsOf({ env }: RunOpened): string {
  const secrets = Object.entries(env).filter(([, value]) => holdsToken(value));
  return formatEnvironment("env", {
    name: "",
    environment: Object.fromEntries(secrets),
    mounts: [],
    hosts: [],
  });
}

/** The proxy, which never sees the token, leaves a place for it. */
function withToken(opened: RunOpened, run: string, token: Secret): RunOpened {
  const place = placeholderToken(`run-${run}`).reveal();
  const env = Object.entries(opened.env).map(([name, value]) => [
    name,
    value.replaceAll(place, token.reveal()),
  ]);
  return { ...opened, env: Object.fromEntries(env) };
}
