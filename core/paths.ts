/**
 * Where state lives (design decision 8).
 *
 * @module
 */

import { join } from "node:path";
import { MoatError } from "./errors.ts";

/** Where bindings and the files of their clients are. */
export interface BindingPaths {
  /** `NAME.json`. */
  readonly bindings: string;
  /** Environment files, `NAME`. */
  readonly environments: string;
  /** Token files, `NAME`, of clients that have no other files. */
  readonly tokens: string;
  /** Files of clients, `NAME/files`; only this user can enter `NAME`. */
  readonly bound: string;
}

/** Directories and files of one moat home. All directories are 0700. */
export interface Paths {
  /** moat's own topmost directories: what is below them is judged by them. */
  readonly roots: readonly string[];
  /** What a person writes: `moat.toml`, `providers/`. */
  readonly configuration: string;
  /** Encrypted grants, `NAME.grant`. */
  readonly grants: string;
  /** Bindings that outlive runs, and their environment and token files. */
  readonly bindings: BindingPaths;
  /** Where the key of the grants is, and its id. */
  readonly keyRecord: string;
  /** The key itself, when no OS keyring holds it. */
  readonly keyFile: string;
  /** The root certificate that leaves are signed with, and its key. */
  readonly ca: string;
  /** One directory per live run. */
  readonly runs: string;
  /** The audit log, JSON lines. */
  readonly audit: string;
  /** What clients asked of the forward proxy, JSON lines. */
  readonly trace: string;
  /** Locks of the store, the audit log and the proxy. */
  readonly locks: string;
  /** The control socket of the running proxy. */
  readonly controlSocket: string;
  /** Stderr of a proxy that `moat run` started. */
  readonly proxyLog: string;
}

/** The longest path of a unix socket on Linux, without the final NUL (unix(7)). */
const MAX_SOCKET_PATH = 107;

/**
 * Finds the directories of this user.
 *
 * `MOAT_HOME` puts everything in one directory; else the XDG directories, or
 * their defaults below the home directory; a service without a home uses its
 * `RUNTIME_DIRECTORY`.
 *
 * @param env The process's environment.
 * @returns Absolute paths; nothing is created.
 * @throws {MoatError} `no-home` if neither MOAT_HOME nor HOME is set, or one is relative.
 * @see {@link https://specifications.freedesktop.org/basedir-spec/latest/ | XDG Base Directory Specification}
 */
export function findPaths(env: Readonly<Record<string, string>>): Paths {
  const home = env["MOAT_HOME"];
  if (home) {
    if (!home.startsWith("/")) throw relative("MOAT_HOME", home);
    return layOut(home, home, home);
  }
  const service = serviceDirectory(env);
  if (service) return layOut(service, service, service);
  const data = xdg(env, "XDG_DATA_HOME", ".local/share");
  const state = xdg(env, "XDG_STATE_HOME", ".local/state");
  // A service may have named the other two, and nothing else.
  const isNamed = env["XDG_CONFIG_HOME"]?.startsWith("/");
  const configuration = env["HOME"] || isNamed
    ? xdg(env, "XDG_CONFIG_HOME", ".config")
    : data;
  return layOut(data, state, configuration);
}

/**
 * The layout of a directory of bindings; needroleshere has the same.
 *
 * @param directory An absolute path.
 * @returns The paths; nothing is created.
 */
export function bindingPaths(directory: string): BindingPaths {
  return {
    bindings: join(directory, "bindings"),
    environments: join(directory, "env"),
    tokens: join(directory, "tokens"),
    bound: join(directory, "bound"),
  };
}

/** A service of systemd without a home keeps its state beside its sockets. */
function serviceDirectory(
  env: Readonly<Record<string, string>>,
): string | undefined {
  if (!["", "/"].includes(env["HOME"] ?? "")) return undefined;
  const [directory] = (env["RUNTIME_DIRECTORY"] ?? "").split(":");
  if (!directory?.startsWith("/")) return undefined;
  // Commands of root and the service itself share the directory, not this.
  return join(directory, `moat-${Deno.uid() ?? 0}`);
}

function xdg(
  env: Readonly<Record<string, string>>,
  variable: string,
  fallback: string,
): string {
  // The specification says that a relative path there must be ignored.
  const value = env[variable];
  if (value?.startsWith("/")) return join(value, "moat");
  const home = env["HOME"];
  if (!home) {
    throw new MoatError(
      "no-home",
      "Cannot find where to keep state: neither MOAT_HOME nor HOME is set",
      { hint: "export MOAT_HOME=/path/to/a/private/directory" },
    );
  }
  if (!home.startsWith("/")) throw relative("HOME", home);
  return join(home, fallback, "moat");
}

function relative(variable: string, value: string) {
  return new MoatError(
    "no-home",
    `Cannot use ${variable}=${
      JSON.stringify(value)
    }: wanted an absolute path, found a relative one`,
    { hint: `export ${variable}=/an/absolute/path` },
  );
}

/**
 * The control socket is not below XDG_RUNTIME_DIR: sessions of one user differ
 * in it, and a revoke must find the proxy that another one started.
 */
function layOut(data: string, state: string, configuration: string): Paths {
  return {
    roots: [data, state],
    configuration,
    grants: join(data, "grants"),
    bindings: bindingPaths(data),
    keyRecord: join(data, "key.json"),
    keyFile: join(data, "key"),
    ca: join(data, "ca"),
    runs: join(state, "runs"),
    audit: join(state, "audit.jsonl"),
    trace: join(state, "trace.jsonl"),
    locks: join(state, "locks"),
    controlSocket: join(state, "control.sock"),
    proxyLog: join(state, "proxy.log"),
  };
}

/**
 * Checks that a unix socket can be bound at a path.
 *
 * @param path An absolute path.
 * @throws {MoatError} `path-too-long` if it exceeds what the kernel takes.
 */
export function checkSocketPath(path: string): void {
  const length = new TextEncoder().encode(path).length;
  if (length <= MAX_SOCKET_PATH) return;
  throw new MoatError(
    "path-too-long",
    `Cannot bind the socket "${path}": wanted at most ${MAX_SOCKET_PATH} bytes, found ${length}`,
    { hint: "set MOAT_HOME to a shorter path" },
  );
}
