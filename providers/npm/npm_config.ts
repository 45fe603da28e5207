/**
 * What npm is configured to do on this machine. npm itself is asked for
 * registries, of which it has a default; it tells no credentials, so those are
 * read from the files that it names.
 *
 * @module
 * @see {@link https://docs.npmjs.com/cli/commands/npm-config | npm config}
 */

import { join } from "node:path";
import { MoatError } from "$core/errors.ts";
import { readFileIfAny } from "$core/files.ts";
import { parseJson } from "$core/json.ts";
import type { Platform } from "$core/platform.ts";
import { runProgram } from "../tokens/program.ts";
import { type NpmrcEntry, parseNpmrc } from "./npmrc.ts";

/** npm starts slowly on a busy machine. */
const TIMEOUT_MS = 20_000;

/** Settings in the environment, such as `npm_config_//registry.internal/:_authToken`. */
const VARIABLE = /^npm_config_(?=\/\/|@)/i;

/** A setting and where it is. */
export interface Setting extends NpmrcEntry {
  /** The file, or the environment. */
  readonly origin: string;
  /** Whether it is the project's, which its author may have written. */
  readonly isProject: boolean;
}

/** npm's configuration. */
export interface NpmConfig {
  /** The default registry's URL, if npm or a file tells it. */
  readonly registry?: string;
  /** URLs of scopes' registries, by scope with `@`. */
  readonly scopes: Readonly<Record<string, string>>;
  /** By key; the file that counts for npm counts here. */
  readonly settings: ReadonlyMap<string, Setting>;
}

/** Asks npm; replaced in tests. */
export interface Npm {
  /**
   * Runs it.
   *
   * @param args Its arguments.
   * @returns What it printed; undefined if it is missing or failed.
   */
  run(args: readonly string[]): Promise<string | undefined>;
}

/**
 * Reads npm's configuration, as it is in the working directory.
 *
 * **Security:** variables are not replaced in a project's own file, which could
 * send any of them to any host; pnpm does the same since 11.5.3.
 *
 * @param platform Environment.
 * @param npm How npm is asked.
 * @returns What there is; without npm, what the user's own file says.
 * @throws {MoatError} `cannot-read`, `bad-npmrc`.
 */
export async function readNpmConfig(
  { env }: Pick<Platform, "env">,
  npm: Npm,
): Promise<NpmConfig> {
  const [listed, prefix] = await Promise.all([
    npm.run(["config", "list", "--json"]),
    npm.run(["prefix"]),
  ]);
  const told = parseTold(listed);
  const files = [
    told["globalconfig"],
    told["userconfig"] ?? (env["HOME"] && join(env["HOME"], ".npmrc")),
  ].filter((file): file is string => Boolean(file));
  const project = prefix && join(prefix.trim(), ".npmrc");
  const settings = new Map<string, Setting>();
  const add = async (file: string, isProject: boolean) => {
    for (const setting of await readSettings(file, env, isProject)) {
      // What needs a variable that is missing hides nothing that does not.
      const isUseless = setting.unset !== undefined;
      if (isUseless && settings.has(setting.key)) continue;
      settings.set(setting.key, setting);
    }
  };
  // The later one counts.
  for (const file of files) await add(file, false);
  if (project && !files.includes(project)) await add(project, true);
  for (const setting of variables(env)) settings.set(setting.key, setting);
  return { ...routes(told, settings), settings };
}

/** The members that are texts; npm shows no credentials here. */
function parseTold(json: string | undefined): Record<string, string> {
  const value = json === undefined ? undefined : parseJson(json);
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter(([, member]) => typeof member === "string"),
  );
}

function routes(
  told: Readonly<Record<string, string>>,
  settings: NpmConfig["settings"],
): Pick<NpmConfig, "registry" | "scopes"> {
  const inFiles = Object.fromEntries(
    [...settings].map(([key, { value }]) => [key, value]),
  );
  const { registry, ...rest } = { ...inFiles, ...told };
  const scopes = Object.entries(rest)
    .flatMap(([key, url]) => {
      const [, scope] = /^(@[^:/\s]+):registry$/.exec(key) ?? [];
      return scope === undefined ? [] : [[scope, url] as const];
    });
  return {
    ...(registry !== undefined && { registry }),
    scopes: Object.fromEntries(scopes),
  };
}

async function readSettings(
  file: string,
  env: Readonly<Record<string, string>>,
  isProject: boolean,
): Promise<Setting[]> {
  const bytes = await readFileIfAny(file);
  if (!bytes) return [];
  return parseNpmrc(decode(bytes, file), isProject ? {} : env)
    .map((entry) => ({ ...entry, origin: file, isProject }));
}

function decode(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new MoatError("bad-npmrc", `Cannot use "${file}": it is not UTF-8`, {
      hint: "npm config edit",
    });
  }
}

function variables(env: Readonly<Record<string, string>>): Setting[] {
  return Object.entries(env)
    .filter(([name, value]) => VARIABLE.test(name) && value !== "")
    .map(([name, value]) => ({
      key: name.replace(VARIABLE, ""),
      value,
      line: 0,
      origin: "the environment",
      isProject: false,
    }));
}

/**
 * Makes what asks the npm of this machine.
 *
 * @param platform Clock, and the environment that finds npm and its files.
 */
export function systemNpm(
  { clock, env }: Pick<Platform, "clock" | "env">,
): Npm {
  return {
    run: (args) =>
      runProgram({
        command: "npm",
        args,
        env: { ...env, npm_config_update_notifier: "false" },
        timeoutMs: TIMEOUT_MS,
        clock,
      }),
  };
}
