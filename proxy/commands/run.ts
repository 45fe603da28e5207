/**
 * `moat run`: a command that has credentials as long as it lives.
 *
 * @module
 */

import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { digestToken, mintToken } from "$core/binding.ts";
import type { RunOpened } from "$core/control.ts";
import { parseGrantName } from "$core/grant.ts";
import { MoatError, usageError } from "$core/errors.ts";
import { readBindingSettings } from "../binding_settings.ts";
import { runChild } from "../child.ts";
import { type EngineRun, parseEngineRun } from "../engine.ts";
import { readLines } from "../engine_files.ts";
import { compareEnvironments } from "../environments.ts";
import { chooseReach, type ContainerReach } from "../reach.ts";
import { createRunFiles } from "../run_files.ts";
import { RunConnection } from "../run_connection.ts";
import { findSubject } from "../subject.ts";
import { askEngine } from "../ask_engine.ts";

/** Where a container sees the run's files. */
const CONTAINER_DIRECTORY = "/moat";

/** Runs one command bound to grants. */
export async function run(
  context: CommandContext,
  args: Arguments,
): Promise<number> {
  const grants = (args.flags["grant"] ?? []) as readonly string[];
  if (grants.length === 0) {
    throw usageError(
      "Cannot run without a grant: --grant is missing",
      "moat run --grant NAME -- COMMAND; moat grant list shows those there are",
    );
  }
  const names = grants.map((grant) => parseGrantName(grant).name);
  const settings = await readBindingSettings(context.registry, names, args);
  const container = parseEngineRun(args.command);
  const way = container && await chooseReach(container, askEngine(container));
  const { platform, output } = context;
  const token = mintToken();
  const name = newRunName();
  const files = await createRunFiles(platform.paths, name);
  let connection: RunConnection | undefined;
  try {
    connection = await RunConnection.open(context, {
      run: name,
      grants: names,
      tokenDigest: digestToken(token.reveal()),
      directory: container ? CONTAINER_DIRECTORY : files.directory,
      reach: way?.reach ?? { by: "loopback" },
      ...(settings && { settings }),
      subject: await findSubject(name, platform.env, container),
    }, (fresh) => files.replaceToken(fresh));
    const { opened } = connection;
    await files.write(opened.files, token);
    for (const warning of await compareEnvironments(context, names, opened)) {
      output.warn(warning);
    }
    if (container) await warnOfConflicts(container, opened, context);
    const command = container && way
      ? containerCommand(container, way, opened, files.directory)
      : args.command;
    const env = container ? platform.env : childEnv(platform.env, opened);
    return await runChild(command, env, output);
  } finally {
    await files.remove();
    await connection?.close();
  }
}

/** Lower-case base 36: fits file names, session names and host names. */
function newRunName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  return [...bytes].map((byte) => (byte % 36).toString(36)).join("");
}

/** Our options go right after the verb, so that the user's own win over them. */
function containerCommand(
  container: EngineRun,
  way: ContainerReach,
  opened: RunOpened,
  directory: string,
): string[] {
  if (directory.includes(":")) {
    throw new MoatError(
      "bad-home",
      `Cannot mount "${directory}": a colon in a path cannot be given to ${container.engine}`,
      { hint: "set MOAT_HOME to a path without a colon" },
    );
  }
  const env = Object.entries(opened.env).flatMap((
    [key, value],
  ) => ["--env", `${key}=${value}`]);
  // z: on a host with SELinux the container may read it; ignored elsewhere.
  const volume = `${directory}:${CONTAINER_DIRECTORY}:ro,z`;
  return [
    ...container.head,
    "--volume",
    volume,
    ...way.options,
    ...env,
    ...container.tail,
  ];
}

/** The environment of a plain child: nothing that would override ours. */
function childEnv(
  env: Readonly<Record<string, string>>,
  opened: RunOpened,
): Record<string, string> {
  const kept = Object.entries(env).filter(([name]) =>
    !opened.conflictingEnv.includes(name) && name !== "MOAT_SOURCE"
  );
  return { ...Object.fromEntries(kept), ...opened.env };
}

/** What the user sets for the container stays, because it was asked for. */
async function warnOfConflicts(
  container: EngineRun,
  opened: RunOpened,
  { output }: CommandContext,
): Promise<void> {
  const fromFiles = await Promise.all(container.envFiles.map(namesIn));
  const given = [...container.envNames, ...fromFiles.flat()];
  for (const name of opened.conflictingEnv) {
    if (!given.some((pattern) => matchesName(pattern, name))) continue;
    output.warn(
      `${name} is set for the container and overrides moat's credentials; leave it out`,
    );
  }
}

/** podman passes on all variables that begin with what is before a `*`. */
function matchesName(pattern: string, name: string): boolean {
  return pattern.endsWith("*")
    ? name.startsWith(pattern.slice(0, -1))
    : name === pattern;
}

async function namesIn(path: string): Promise<string[]> {
  const lines = await readLines(path);
  return lines.map((line) => line.split("=")[0]?.trim() ?? "");
}
