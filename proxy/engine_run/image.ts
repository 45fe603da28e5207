/**
 * What a container starts: the image's own ENTRYPOINT and CMD, and how the
 * relay is put in front of them.
 *
 * @module
 * @see {@link https://docs.docker.com/reference/dockerfile/#understand-how-cmd-and-entrypoint-interact | how CMD and ENTRYPOINT interact}
 */

import { MoatError, usageError } from "$core/errors.ts";
import type { EngineRun } from "./command_line.ts";
import type { AskEngine } from "./reach.ts";
import { RELAY_PATH, RELAY_SOCKET } from "../relay/relay.ts";

/** What an image says; either may be missing. */
interface ImageConfig {
  readonly Entrypoint?: readonly string[] | null;
  readonly Cmd?: readonly string[] | null;
}

/**
 * Finds out what the engine would start in the container. It is asked only
 * when the command line leaves that to the image; an image that is not there
 * is pulled first, as the engine would do.
 *
 * @param run The container's command line.
 * @param ask Runs a command of the same engine: `image inspect`, and `pull`,
 * which may take minutes.
 * @returns Program and arguments, at least one word.
 * @throws {MoatError} `usage` if there is no image or nothing to start;
 * `engine-garbage` if the engine's answer cannot be read; what `ask` throws.
 */
export async function readEntrypoint(
  run: EngineRun,
  ask: AskEngine,
): Promise<string[]> {
  if (run.image === "") {
    throw usageError(
      `Cannot run a container: ${run.engine} run names no image`,
      `${run.engine} run … IMAGE COMMAND`,
    );
  }
  const given = givenEntrypoint(run);
  const replacesImage = run.isRootfs || (given ?? []).length > 0;
  const image = replacesImage ? {} : await readImage(run, ask);
  const entrypoint = given ?? image.Entrypoint ?? [];
  const command = run.command.length > 0 ? run.command : image.Cmd ?? [];
  // One empty word is how both engines write "none".
  const isNone = entrypoint.length === 1 && entrypoint[0] === "";
  const argv = [...isNone ? [] : entrypoint, ...command];
  if (argv.length > 0) return argv;
  throw usageError(
    `Cannot start "${run.image}": neither its ENTRYPOINT and CMD nor the command line names a program`,
    `${run.engine} run … ${run.image} COMMAND`,
  );
}

/** What `--entrypoint` means: podman reads a JSON array of texts as such. */
function givenEntrypoint(
  { engine, entrypoint }: EngineRun,
): string[] | undefined {
  if (entrypoint === undefined) return undefined;
  if (engine === "podman") {
    const words = parseJson(entrypoint);
    if (isTexts(words)) return words;
  }
  return [entrypoint];
}

async function readImage(run: EngineRun, ask: AskEngine): Promise<ImageConfig> {
  const isRefreshed = ["always", "newer", "ifnewer"]
    .includes(run.pullPolicy ?? "");
  // Without a registry, `newer` takes what is there; `always` fails in the run.
  const image = isRefreshed
    ? await pull(run, ask).catch(() => run.image)
    : run.image;
  try {
    return await inspect(image, ask);
  } catch (error) {
    if (run.pullPolicy === "never" || isGarbage(error)) throw error;
    return await inspect(await pull(run, ask), ask);
  }
}

/** Gives what the engine calls the pulled image: its last line. */
async function pull(run: EngineRun, ask: AskEngine): Promise<string> {
  const answer = await ask([
    "pull",
    "--quiet",
    ...run.pullOptions,
    run.image,
  ]);
  return answer.trim().split("\n").at(-1) || run.image;
}

async function inspect(image: string, ask: AskEngine): Promise<ImageConfig> {
  const format = ["--format", "{{json .Config}}"];
  const config = parseJson(await ask(["image", "inspect", ...format, image]));
  if (config === null) return {};
  if (isImageConfig(config)) return config;
  throw new MoatError(
    "engine-garbage",
    "Cannot read what the container engine says about the image",
    { hint: "try its image inspect command by hand" },
  );
}

function isImageConfig(value: unknown): value is ImageConfig {
  if (typeof value !== "object" || value === null) return false;
  const { Entrypoint, Cmd }: { Entrypoint?: unknown; Cmd?: unknown } = value;
  return [Entrypoint ?? [], Cmd ?? []].every(isTexts);
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) &&
    value.every((item) => typeof item === "string");
}

function isGarbage(error: unknown): boolean {
  return error instanceof MoatError && error.code === "engine-garbage";
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Puts the relay in front of what a container starts. The container needs
 * {@link RELAY_PATH} and {@link RELAY_SOCKET} mounted; the user's own options
 * stay, but for `--entrypoint`, of which the last counts.
 *
 * @param run The container's command line.
 * @param argv What it would start; see {@link readEntrypoint}.
 * @param port Where the relay listens on the container's loopback.
 * @returns The command line with the relay.
 */
export function wrapCommand(
  run: EngineRun,
  argv: readonly string[],
  port: number,
): EngineRun {
  const options = [
    ...run.tail.slice(0, run.optionsEnd),
    "--entrypoint",
    RELAY_PATH,
  ];
  const command = [String(port), RELAY_SOCKET, "--", ...argv];
  const separator = run.tail[run.optionsEnd] === "--" ? ["--"] : [];
  return {
    ...run,
    tail: [...options, ...separator, run.image, ...command],
    optionsEnd: options.length,
    command,
    entrypoint: RELAY_PATH,
  };
}
