/**
 * `moat.toml`: what a person sets once. No file of a project's own is read,
 * because the workload could write its own policy there.
 *
 * @module
 */

import { join, resolve } from "node:path";
import { checkBindingName } from "./binding.ts";
import { MoatError, usageError } from "./errors.ts";
import { cannotRead, missingOk, writersFault } from "./files.ts";
import { formatAuthority, parseAuthority } from "./host.ts";
import { formatHostPattern, parseHostPattern } from "./host_pattern.ts";
import { type MetadataSettings, NO_METADATA } from "./metadata.ts";
import type { Platform } from "./platform.ts";
import {
  DEFAULT_POLICY,
  type Policy,
  readAction,
  readHostAndPort,
  readRule,
} from "./policy.ts";
import type { Shape } from "./shape.ts";
import { parseToml } from "./toml.ts";

/** What `moat.toml` says. */
export interface Config {
  /** The file; absent if there is none. */
  readonly file?: string;
  /** Of runs, and of bindings that have none of their own. */
  readonly policy: Policy;
  /** By the name of the binding. */
  readonly bindings: ReadonlyMap<string, Policy>;
  /** Of containers that ask an instance metadata service. */
  readonly metadata: MetadataSettings;
  /** URLs of the container engines' sockets; absent: where they usually are. */
  readonly engines?: readonly string[];
}

/** Far more than anyone writes. */
const MAX_BYTES = 1 << 20;

/**
 * Reads `moat.toml`.
 *
 * @param platform Where it may be.
 * @param path The file that a flag names; default: `$MOAT_CONFIG`, else
 * `moat.toml` in the configuration directory, which may be missing.
 * @returns What it says, or the defaults.
 * @throws {MoatError} `bad-config` with file, line and column;
 * `insecure-file` if others can change it; `config-not-found`, `cannot-read`.
 */
export async function loadConfig(
  { env, paths }: Pick<Platform, "env" | "paths">,
  path?: string,
): Promise<Config> {
  const named = path === undefined ? variable(env) : resolve(path);
  const file = named ?? join(paths.configuration, "moat.toml");
  const bytes = await readFile(file);
  if (bytes) return parseConfig(decode(bytes, file), file);
  if (named === undefined) {
    return {
      policy: DEFAULT_POLICY,
      bindings: new Map(),
      metadata: NO_METADATA,
    };
  }
  throw new MoatError(
    "config-not-found",
    `Cannot find the configuration file "${file}"`,
    { hint: "check --config and MOAT_CONFIG, which may name a file" },
  );
}

/** A relative one would depend on the directory, which may be a project's. */
function variable(env: Readonly<Record<string, string>>): string | undefined {
  const path = env["MOAT_CONFIG"];
  if (!path) return undefined;
  if (path.startsWith("/")) return path;
  throw usageError(
    `Cannot use MOAT_CONFIG=${
      JSON.stringify(path)
    }: wanted an absolute path, found a relative one`,
    "export MOAT_CONFIG=/an/absolute/path",
  );
}

async function readFile(path: string): Promise<Uint8Array | undefined> {
  try {
    const found = await missingOk(Deno.stat(path));
    if (!found) return undefined;
    // Opening a pipe would wait for its writer.
    if (!found.isFile) {
      throw insecure(path, "wanted a regular file, found something else");
    }
    using file = await Deno.open(path);
    checkFile(path, await file.stat());
    return new Uint8Array(await new Response(file.readable).arrayBuffer());
  } catch (error) {
    throw cannotRead(path, error);
  }
}

/** Whoever can change it decides where credentials go. */
function checkFile(path: string, info: Deno.FileInfo): void {
  const fault = writersFault(info);
  if (fault !== undefined) throw insecure(path, fault);
  const { size } = info;
  if (size > MAX_BYTES) {
    throw new MoatError(
      "bad-config",
      `Cannot use "${path}": wanted at most ${MAX_BYTES} bytes, found ${size}`,
    );
  }
}

function insecure(path: string, fault: string): MoatError {
  return new MoatError("insecure-file", `Cannot use "${path}": ${fault}`, {
    hint: `it must be a file of yours or root's: chmod go-w "${path}"`,
  });
}

function decode(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new MoatError(
      "bad-config",
      `Cannot use "${file}": wanted UTF-8, found other bytes`,
      { hint: "save it as UTF-8", cause },
    );
  }
}

/**
 * Reads the text of a `moat.toml`.
 *
 * @param text TOML.
 * @param file For errors and {@link Config.file}.
 * @throws {MoatError} `bad-config` with line and column.
 */
export function parseConfig(text: string, file: string): Config {
  return parseToml(text, {
    file,
    read(top) {
      // A further table, such as [proxy], is a further key here.
      const table = top.table("policy", "bindings", "metadata");
      const policy = table.find("policy");
      const bindings = table.find("bindings")?.entries() ?? [];
      return {
        file,
        policy: policy ? readPolicy(policy) : DEFAULT_POLICY,
        bindings: new Map(bindings.map(readBinding)),
        ...readMetadata(table.find("metadata")),
      };
    },
  });
}

function readBinding([name, shape]: [string, Shape]): [string, Policy] {
  try {
    checkBindingName(name);
  } catch {
    shape.fail("wanted the name of a binding");
  }
  return [name, readPolicy(shape.table("policy").get("policy"))];
}

/** Whether its texts are roles, accounts or paths is checked by the provider. */
function readMetadata(
  shape: Shape | undefined,
): Pick<Config, "metadata" | "engines"> {
  if (!shape) return { metadata: NO_METADATA };
  const table = shape.table(
    "grant",
    "roles",
    "default_role",
    "default_account",
    "v1",
    "passthrough",
    "engines",
  );
  const texts = (key: "roles" | "passthrough" | "engines") =>
    table.find(key)?.list().map((item) => item.text());
  const grant = table.find("grant")?.textAs(
    "the name of a grant",
    (text) => /^[\w.@-]+(:[\w.@-]+)?$/.test(text) ? text : undefined,
  );
  const defaultRole = table.find("default_role")?.text();
  const defaultAccount = table.find("default_account")?.text();
  const engines = texts("engines");
  return {
    metadata: {
      ...(grant !== undefined && { grant }),
      roles: texts("roles") ?? [],
      ...(defaultRole !== undefined && { defaultRole }),
      ...(defaultAccount !== undefined && { defaultAccount }),
      v1: table.find("v1")?.boolean() ?? false,
      passthrough: texts("passthrough") ?? [],
    },
    ...(engines && { engines }),
  };
}

function readPolicy(shape: Shape): Policy {
  const table = shape.table("default", "rules", "allow_hosts", "plain_http");
  const list = <T>(
    key: "rules" | "allow_hosts" | "plain_http",
    read: (shape: Shape) => T,
  ) => table.find(key)?.list().map(read) ?? [];
  const action = table.find("default");
  return {
    default: action ? readAction(action) : DEFAULT_POLICY.default,
    rules: list("rules", readRule),
    allowHosts: list("allow_hosts", readHostAndPort),
    plainHttp: list("plain_http", readHostAndPort),
  };
}

/**
 * Finds the policy for a binding.
 *
 * @param config What `moat.toml` says.
 * @param name The binding; none for a run.
 * @returns The binding's own, which replaces the common one whole.
 */
export function policyFor(
  { policy, bindings }: Config,
  name?: string,
): Policy {
  return (name === undefined ? undefined : bindings.get(name)) ?? policy;
}

/** The values of flags that change a policy, as a person typed them. */
export interface PolicyFlags {
  /** `--allow HOST[:PORT]`. */
  readonly allow: readonly string[];
  /** `--deny HOST[:PORT]`. */
  readonly deny: readonly string[];
  /** `--allow-private HOST:PORT`. */
  readonly allowHosts: readonly string[];
  /** `--plain-http HOST:PORT`. */
  readonly plainHttp: readonly string[];
}

/**
 * Puts what flags say before what a policy says: first what they deny, then
 * what they allow.
 *
 * @param policy The policy.
 * @param flags Values of flags.
 * @returns The policy with further rules and hosts.
 * @throws {MoatError} `usage` for what is no host.
 */
export function withFlags(policy: Policy, flags: PolicyFlags): Policy {
  const denied = flags.deny.map((text) => readHost("--deny", text));
  const allowed = flags.allow.map((text) => readHost("--allow", text));
  const authorities = (flag: string, texts: readonly string[]) =>
    texts.map((text) => readAuthority(flag, text));
  return {
    default: policy.default,
    rules: [
      ...denied.map((host) => ({ action: "deny", host }) as const),
      ...allowed.map((host) => ({ action: "allow", host }) as const),
      ...policy.rules,
    ],
    allowHosts: [
      ...policy.allowHosts,
      ...authorities("--allow-private", flags.allowHosts),
    ],
    plainHttp: [
      ...policy.plainHttp,
      ...authorities("--plain-http", flags.plainHttp),
    ],
  };
}

function readHost(flag: string, text: string): string {
  const pattern = parseHostPattern(text);
  if (pattern) return formatHostPattern(pattern);
  throw usageError(
    `Cannot use ${flag} ${
      JSON.stringify(text)
    }: wanted HOST, *.SUFFIX or *, and :PORT`,
    `write it as ${flag} api.example.com or ${flag} "*.example.com:8443"`,
  );
}

function readAuthority(flag: string, text: string): string {
  const authority = parseAuthority(text);
  if (authority) return formatAuthority(authority);
  throw usageError(
    `Cannot use ${flag} ${JSON.stringify(text)}: wanted HOST:PORT`,
    `write it as ${flag} registry.internal:4873`,
  );
}
