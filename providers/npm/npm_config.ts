/**
 * What npm is configured to do on this machine. npm itself is asked for
 * registries, of which it has a default; it tells no credentials, so those are
 * read from the files that it names.
 *
 * @module
 * @see {@link https://docs.npmjs.com/cli/commands/npm-config | npm config}
 */

import { join, resolve } from "node:path";
import { MoatError } from "$core/errors.ts";
import { readFileIfAny } from "$core/files.ts";
import { parseJson } from "$core/json.ts";
import type { Platform } from "$core/platform.ts";
import { runProgram } from "../tokens/program.ts";
import { type NpmrcEntry, parseNpmrc } from "./npmrc.ts";

/** npm starts slowly on a busy machine. */
const TIMEOUT_MS = 20_000;

/** Settings in the environment, such as `npm_config_//registry.internal/:_authToken`. */
const VARIABLE = /^npm_config_(?=\/\/|@|registry$)/i;

/** Where npm runs scripts it sets these, and `npm_config_…` to what the project says. */
const WITHIN_NPM = ["npm_command", "npm_execpath", "npm_lifecycle_event"];

/** What npm reads from its working directory on. */
const PATH_VARIABLE =
  /^(?:npm_config_(?:userconfig|globalconfig|prefix)|prefix)$/i;

/** No project is there. */
const OUTSIDE = "/";

/** Whatever there may be in {@link OUTSIDE}, npm reads no project's file with this. */
const WITHOUT_PROJECT = "--global";

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
  /** The one that counts outside the project: nobody but the user chose it. */
  readonly ownRegistry?: string;
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
   * @param directory Where. Default: the working directory.
   * @returns What it printed; undefined if it is missing or failed.
   */
  run(args: readonly string[], directory?: string): Promise<string | undefined>;
}

/**
 * Reads npm's configuration, as it is in the working directory.
 *
 * **Security:** a project's own file may set registries and credentials, but
 * not which other files are read: npm, which would heed that, is asked outside
 * the project. Variables are not replaced in a project's file, which could send
 * any of them to any host; pnpm does the same since 11.5.3.
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
    npm.run(["config", "list", "--json", WITHOUT_PROJECT], OUTSIDE),
    npm.run(["prefix"]),
  ]);
  const told = parseTold(listed);
  const files = [
    told["globalconfig"],
    told["userconfig"] ?? (env["HOME"] && join(env["HOME"], ".npmrc")),
  ].filter((file): file is string => Boolean(file));
  const project = prefix && join(prefix.trim(), ".npmrc");
  const isSeparate = project && !files.includes(project);
  // The later one counts.
  const own = await Promise.all(
    files.map((file) => readSettings(file, env, false)),
  );
  const ofProject = isSeparate ? await readSettings(project, env, true) : [];
  const ofEnvironment = variables(userEnv(env));
  return {
    ...routes(textsOf(own.flat()), told, ofProject, ofEnvironment),
    settings: merge([...own.flat(), ...ofProject, ...ofEnvironment]),
  };
}

function merge(all: readonly Setting[]): Map<string, Setting> {
  const settings = new Map<string, Setting>();
  for (const setting of all) {
    // What needs a variable that is missing hides nothing that does not.
    const isUseless = setting.unset !== undefined;
    if (isUseless && settings.has(setting.key)) continue;
    settings.set(setting.key, setting);
  }
  return settings;
}

function textsOf(settings: readonly Setting[]): Record<string, string> {
  return Object.fromEntries(settings.map(({ key, value }) => [key, value]));
}

/** Without what npm itself has set, and may have from the project. */
function userEnv(
  env: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  if (!WITHIN_NPM.some((name) => env[name] !== undefined)) return env;
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^npm_config_/i.test(name)),
  );
}

/** The members that are texts; npm shows no credentials here. */
function parseTold(json: string | undefined): Record<string, string> {
  const value = json === undefined ? undefined : parseJson(json);
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter(([, member]) => typeof member === "string"),
  );
}

/** Of the project, only what needs no variable. */
function routes(
  own: Readonly<Record<string, string>>,
  told: Readonly<Record<string, string>>,
  ofProject: readonly Setting[],
  ofEnvironment: readonly Setting[],
): Pick<NpmConfig, "registry" | "ownRegistry" | "scopes"> {
  const fromEnv = textsOf(ofEnvironment);
  const fixed = ofProject.filter(({ unset }) => unset === undefined);
  const { registry: ownRegistry } = { ...own, ...told, ...fromEnv };
  const all = { ...own, ...told, ...textsOf(fixed), ...fromEnv };
  const { registry, ...rest } = all;
  const scopes = Object.entries(rest)
    .flatMap(([key, url]) => {
      const [, scope] = /^(@[^:/\s]+):registry$/.exec(key) ?? [];
      return scope === undefined ? [] : [[scope, url] as const];
    });
  return {
    ...(registry !== undefined && { registry }),
    ...(ownRegistry !== undefined && { ownRegistry }),
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
      key: keyOf(name.replace(VARIABLE, "")),
      value,
      line: 0,
      origin: "the environment",
      isProject: false,
    }));
}

/** As npm reads a variable's name. */
function keyOf(name: string): string {
  return name.startsWith("//") ? name : name.toLowerCase().replace(/_/g, "-");
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
    run: (args, directory) =>
      runProgram({
        command: "npm",
        args,
        env: { ...absolute(userEnv(env)), npm_config_update_notifier: "false" },
        directory,
        timeoutMs: TIMEOUT_MS,
        clock,
      }),
  };
}

/** Paths that the user set relative to the working directory mean the same elsewhere. */
function absolute(
  env: Readonly<Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).map(([name, value]) => {
      const isRelative = PATH_VARIABLE.test(name) && /^[^/~$]/.test(value);
      return [name, isRelative ? resolve(value) : value];
    }),
  );
}
