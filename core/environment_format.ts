/**
 * The environment of a bound client, written for those who read it: shells,
 * container engines, systemd, programs. Pure, and longer than most modules,
 * because the formats share their checks.
 *
 * **Security:** the environment may hold a token. `env`, `export` and `json`
 * show it; the other formats only name the file that holds it, because a
 * command line, a compose file or a unit can be read by others.
 *
 * Environment files have one shape of line that docker, podman and systemd
 * read alike: `KEY=VALUE`, without quotes. docker takes whatever follows the
 * first `=`, quotes included. systemd takes blanks off both ends, reads a
 * value that begins with a quote up to the closing one, drops a backslash and
 * keeps what follows it, joins lines that end in one, and takes a line that
 * begins with `#` or `;` as a comment; quotes and `#` further on are plain. So
 * a value is refused if it begins with a quote or has a backslash, a control
 * character or a blank at an end.
 *
 * @see {@link https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#EnvironmentFile= | systemd.exec(5), EnvironmentFile=}
 * @see {@link https://docs.docker.com/reference/cli/docker/container/run/#env | docker run --env-file}
 * @module
 */

import { type ContainerMatch, engineOptions } from "./container.ts";
import { MoatError, usageError } from "./errors.ts";
import { shellWord, UNPRINTABLE } from "./text.ts";

/** How an environment can be written. */
export const FORMATS = [
  "env",
  "export",
  "docker",
  "compose",
  "json",
  "systemd",
] as const;

/** One of {@link FORMATS}. */
export type Format = typeof FORMATS[number];

/** A host path that a container sees. */
export interface ViewMount {
  /** Absolute path on the host. */
  readonly source: string;
  /** Absolute path in the container. */
  readonly target: string;
  /** Whether the container may not write there. */
  readonly readOnly: boolean;
}

/** What a bound client needs. */
export interface EnvironmentView {
  /** The binding's name; the service's name in a compose file. */
  readonly name: string;
  /** Variables; may hold a token. */
  readonly environment: Readonly<Record<string, string>>;
  /** Absolute path of a file with all variables. */
  readonly environmentFile?: string | undefined;
  /** Absolute host path of a file with the token; then no variable holds it. */
  readonly tokenFile?: string | undefined;
  /** Files of a container. */
  readonly mounts: readonly ViewMount[];
  /** Further names that a container knows; an IP address or `host-gateway`. */
  readonly hosts: readonly {
    readonly name: string;
    readonly address: string;
  }[];
  /** What a container starts before its command. */
  readonly entrypoint?: readonly string[] | undefined;
  /** The container that alone may use it. */
  readonly container?: ContainerMatch | undefined;
}

/** The credential's name in a systemd unit. */
const CREDENTIAL = "moat-token";

/**
 * Reads the name of a format.
 *
 * @param text What was given with `--format`.
 * @returns The format.
 * @throws {MoatError} `usage` if there is none of that name.
 */
export function parseFormat(text: string): Format {
  const format = FORMATS.find((known) => known === text);
  if (format) return format;
  throw usageError(
    `Cannot use --format ${JSON.stringify(text)}: no such format`,
    `write one of ${FORMATS.join(", ")}`,
  );
}

/**
 * Writes what a client needs.
 *
 * - `env`: lines for `docker run --env-file` and systemd's `EnvironmentFile=`.
 * - `export`: lines that a POSIX shell evaluates.
 * - `docker`: options of `docker run` and `podman run`, in one line.
 * - `compose`: a file for a further `--file` of `docker compose`.
 * - `json`: an object with the members of {@link EnvironmentView}.
 * - `systemd`: a drop-in for a service. With a token file the service gets the
 *   token by `LoadCredential=`, and no other process of its user can read it:
 *   each variable whose value is the file's path names the service's own copy
 *   (`%d`, since systemd 250).
 *
 * `env`, `export` and `systemd` have no word for mounts, hosts, entrypoint and
 * container.
 *
 * @param format The format.
 * @param view What the client needs.
 * @returns Whole lines.
 * @throws {MoatError} `bad-value` for what the format cannot say.
 */
export function formatEnvironment(
  format: Format,
  view: EnvironmentView,
): string {
  for (const name of Object.keys(view.environment)) checkName(name);
  const lines = FORMATTERS[format](view);
  return lines.map((line) => line + "\n").join("");
}

const FORMATTERS: Readonly<
  Record<Format, (view: EnvironmentView) => readonly string[]>
> = {
  env: ({ environment }) =>
    Object.entries(environment).map(([name, value]) => {
      checkPlain(name, value);
      return `${name}=${value}`;
    }),
  export: ({ environment }) =>
    Object.entries(environment).map(([name, value]) => {
      if (value.includes("\0")) throw badValue(name, "a NUL character");
      checkText(name, value);
      return `export ${name}=${quote(value)}`;
    }),
  docker: (view) => [dockerOptions(view).map(shellWord).join(" ")],
  compose: composeLines,
  json: (view) => [JSON.stringify(jsonOf(view), undefined, 2)],
  systemd: (view) => [
    "[Service]",
    ...view.tokenFile === undefined
      ? [`EnvironmentFile=${unitFile(environmentFileOf(view))}`]
      : credentialLines(view, view.tokenFile),
  ],
};

function jsonOf(view: EnvironmentView): EnvironmentView {
  const { name, environment, environmentFile, tokenFile } = view;
  const { mounts, hosts, entrypoint, container } = view;
  return {
    ...{ name, environment, environmentFile, tokenFile },
    ...{ mounts, hosts, entrypoint, container },
  };
}

/** Quoted always, so that lines look alike. */
function quote(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`;
}

function dockerOptions(view: EnvironmentView): string[] {
  const { mounts, hosts, entrypoint = [], container = {} } = view;
  if (entrypoint.length > 1) {
    throw badValue("the entrypoint", "arguments, which follow the image");
  }
  return [
    ...needsFile(view)
      ? ["--env-file", checkPath(environmentFileOf(view))]
      : [],
    ...mounts.flatMap((mount) => ["--volume", volumeOf(mount)]),
    ...hosts.flatMap(({ name, address }) => [
      "--add-host",
      checkPath(`${name}:${address}`),
    ]),
    ...entrypoint.flatMap((program) => ["--entrypoint", checkPath(program)]),
    ...engineOptions(container),
  ];
}

function volumeOf({ source, target, readOnly }: ViewMount): string {
  if (`${source}${target}`.includes(":")) {
    throw badValue("a path to mount", "a colon");
  }
  return checkPath(`${source}:${target}${readOnly ? ":ro" : ""}`);
}

function needsFile({ environment }: EnvironmentView): boolean {
  return Object.keys(environment).length > 0;
}

function environmentFileOf({ environmentFile }: EnvironmentView): string {
  if (environmentFile !== undefined) return environmentFile;
  throw new MoatError(
    "bad-value",
    "Cannot write a reference to the environment: wanted a file that holds it, found none",
    { hint: "use --format env, and keep what it prints secret" },
  );
}

/** JSON texts are YAML; a dollar would be taken as a variable. */
function composeLines(view: EnvironmentView): string[] {
  const { name, environment, mounts, hosts, entrypoint, container } = view;
  if (!/^[\w.-]+$/.test(name)) {
    throw badValue(
      `the binding's name ${JSON.stringify(name)}`,
      "a character that no service's name may have",
    );
  }
  for (const [variable, value] of Object.entries(environment)) {
    checkPlain(variable, value);
    if (/\$|(^|\s)#/.test(value)) {
      throw badValue(variable, "a dollar or a comment");
    }
  }
  const section = (key: string, entries: readonly string[]) =>
    entries.length === 0 ? [] : [`    ${key}:`, ...entries];
  const lines = [
    ...section(
      "env_file",
      needsFile(view) ? [`      - ${yaml(environmentFileOf(view))}`] : [],
    ),
    ...section(
      "volumes",
      mounts.flatMap(({ source, target, readOnly }) => [
        "      - type: bind",
        `        source: ${yaml(source)}`,
        `        target: ${yaml(target)}`,
        `        read_only: ${readOnly}`,
      ]),
    ),
    ...section(
      "extra_hosts",
      hosts.map((host) => `      - ${yaml(`${host.name}:${host.address}`)}`),
    ),
    ...section(
      "entrypoint",
      (entrypoint ?? []).map((word) => `      - ${yaml(word)}`),
    ),
    ...container?.name === undefined
      ? []
      : [`    container_name: ${yaml(container.name)}`],
    ...section(
      "labels",
      container?.label
        ? [`      - ${yaml(`${container.label.key}=${container.label.value}`)}`]
        : [],
    ),
  ];
  const service = `  ${yaml(name)}:`;
  return [
    "services:",
    ...lines.length > 0 ? [service, ...lines] : [
      `${service} {}`,
    ],
  ];
}

function yaml(text: string): string {
  return JSON.stringify(checkPath(text).replaceAll("$", "$$$$"));
}

function credentialLines(
  { environment }: EnvironmentView,
  tokenFile: string,
): string[] {
  return [
    `LoadCredential=${CREDENTIAL}:${unitFile(tokenFile)}`,
    ...Object.entries(environment).map(([name, value]) => {
      if (value === tokenFile) return `Environment=${name}=%d/${CREDENTIAL}`;
      checkText(name, value);
      if (value.search(UNPRINTABLE) >= 0) {
        throw badValue(name, "a line break or control character");
      }
      const escaped = value.replace(/["\\]/g, "\\$&").replaceAll("%", "%%");
      return `Environment="${name}=${escaped}"`;
    }),
  ];
}

/** Globs and backslashes mean something in some of the settings, `%` in all. */
function unitFile(path: string): string {
  if (/[*?[\]\\]|^(?!\/)|\s$/.test(path)) {
    throw badValue(
      "the path of a file for systemd",
      "a pattern, a backslash, a blank at its end, or a relative path",
    );
  }
  return checkPath(path).replaceAll("%", "%%");
}

function checkPath(path: string): string {
  checkText("a path", path);
  if (path.search(UNPRINTABLE) < 0) return path;
  throw badValue("a path", "a line break or control character");
}

function checkName(name: string): void {
  if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return;
  throw badValue(
    `the variable ${JSON.stringify(name)}`,
    "a name with other than letters, digits and _",
  );
}

/** What the readers of environment files read alike. */
function checkPlain(name: string, value: string): void {
  checkText(name, value);
  if (value.search(UNPRINTABLE) >= 0) {
    throw badValue(name, "a line break or control character");
  }
  if (value !== value.trim()) throw badValue(name, "a blank at an end");
  if (value.includes("\\")) throw badValue(name, "a backslash");
  if (/^["']/.test(value)) throw badValue(name, "a quote at its start");
}

/** Half a surrogate pair has no UTF-8. */
function checkText(name: string, value: string): void {
  if (!value.isWellFormed()) throw badValue(name, "half a character");
}

/** Never tells the value: it may be secret. */
function badValue(what: string, found: string): MoatError {
  return new MoatError(
    "bad-value",
    `Cannot write ${what} in this format: found ${found}`,
    { hint: "--format json can say everything" },
  );
}

/**
 * Reads an environment file of ours or of needroleshere: `KEY=VALUE`, the
 * value in double quotes or without, blank lines, and comments with `#` or `;`.
 * The later of two lines for one variable counts.
 *
 * @param text The file's content.
 * @returns The variables.
 * @throws {MoatError} `environment-damaged` with the number of the first line
 * that is none of these, or that its other readers would take for something
 * else.
 */
export function parseEnvironment(text: string): Record<string, string> {
  const entries = text.split("\n").flatMap((line, index) =>
    /^\s*([#;].*)?$/.test(line) ? [] : [parseLine(line, index + 1)]
  );
  return Object.fromEntries(entries);
}

function parseLine(line: string, number: number): [string, string] {
  const [, name, text = ""] =
    /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(line.trim()) ?? [];
  const value = text.trim();
  const [, quoted] = /^"([^"]*)"$/.exec(value) ?? [];
  const isPlain = !/^["']/.test(value);
  if (name && (isPlain || quoted !== undefined) && !value.includes("\\")) {
    return [name, quoted ?? value];
  }
  throw new MoatError(
    "environment-damaged",
    `Cannot read an environment file: wanted KEY=VALUE in line ${number}, found something else`,
    { hint: "bind it again to write it anew" },
  );
}

/**
 * Writes an environment file as needroleshere does: sorted by name, a value
 * with a blank in double quotes. systemd reads it; docker would take the
 * quotes as part of the value.
 *
 * @param environment The variables.
 * @returns Whole lines.
 * @throws {MoatError} `bad-value` for what it cannot say, such as a quote.
 */
export function writeQuoted(
  environment: Readonly<Record<string, string>>,
): string {
  return Object.keys(environment).sort().map((name) => {
    const value = environment[name] ?? "";
    checkName(name);
    checkPlain(name, value);
    if (value.includes('"')) throw badValue(name, "a quote");
    return value.includes(" ") ? `${name}="${value}"\n` : `${name}=${value}\n`;
  }).join("");
}
