/**
 * What a binding's client needs, found out before anything is written.
 *
 * @module
 */

import type { BindingStore, NewBinding } from "$core/binding_store.ts";
import type { Arguments } from "$core/cli/command.ts";
import type { ContainerMatch } from "$core/container.ts";
import type { ProxyStatus } from "$core/control.ts";
import type { Reach } from "$core/reach.ts";
import { MoatError, usageError } from "$core/errors.ts";
import { parseGrantName } from "$core/grant.ts";
import type { FlagValues, Mode, ProviderRegistry } from "$core/provider.ts";
import {
  DEFAULT_LISTEN,
  isLoopback,
  isUnspecified,
  portOf,
} from "../addresses.ts";
import {
  noMetadata,
  parseContainer,
  refuseHiddenAddress,
  refuseTokenFlags,
} from "./container_match.ts";
import { findMode, moded } from "./modes.ts";

/** How a client reaches us, and what it is given. */
export interface PlannedClient {
  /** Base URL for it. */
  readonly url: string;
  /** A listener of its own; a socket's path is not known yet. */
  readonly reach?: Reach;
  /** Where it sees its files, if it is a container. */
  readonly directory?: string;
  /** Whether it has files, wherever they are. */
  readonly needsFiles: boolean;
  /** Whether its token is in a file of its own. */
  readonly tokenFile: boolean;
  /** What may go wrong. */
  readonly warnings: readonly string[];
  /** Which way it is and why. */
  readonly notes: readonly string[];
}

/** A binding that was written. */
export interface Made {
  /** Where it is. */
  readonly bindings: BindingStore;
  /** The binding. */
  readonly stored: NewBinding;
  /** What its client gets. */
  readonly environment: Readonly<Record<string, string>>;
  /** What may go wrong. */
  readonly warnings: readonly string[];
  /** What to know. */
  readonly notes: readonly string[];
}

/**
 * Reads the grants of a binding.
 *
 * @param args The command line.
 * @param registry All providers.
 * @param usage A command line that works, for the hint.
 * @returns Full grant names.
 * @throws {MoatError} `usage` without any, or for two that exclude each other.
 */
export function readGrantNames(
  { flags }: Pick<Arguments, "flags">,
  registry: ProviderRegistry,
  usage = "moat bind NAME --grant GRANT",
): string[] {
  const given = (flags["grant"] ?? []) as readonly string[];
  if (given.length === 0) {
    throw usageError(
      "Cannot bind without a grant: --grant is missing",
      `${usage}; moat grant list shows those there are`,
    );
  }
  const names = given.map((grant) => parseGrantName(grant).name);
  if (new Set(names).size < names.length) {
    throw usageError(
      "Cannot bind: a grant was given twice",
      "give each --grant once",
    );
  }
  for (const { name, modes } of registry.all) {
    const own = names.filter((grant) =>
      parseGrantName(grant).provider === name
    );
    if (!modes || own.length < 2) continue;
    throw usageError(
      `Cannot bind ${own.join(" and ")} together: wanted one grant of ${name}`,
      "bind each of them by itself",
    );
  }
  return names;
}

/**
 * Finds the mode of a binding.
 *
 * @param registry All providers.
 * @param grants Full grant names.
 * @param args The command line.
 * @returns The mode; undefined if there is none to choose.
 * @throws {MoatError} `usage`.
 */
export function checkMode(
  registry: ProviderRegistry,
  grants: readonly string[],
  { flags }: Pick<Arguments, "flags">,
): Mode | undefined {
  const mode = findMode(registry, grants, flags["mode"] as string | undefined);
  if (flags["token-file"] && mode?.access === "query") {
    throw usageError(
      `Cannot use --token-file in mode ${mode.name}: its token is in the URI`,
      `use mode ${mode.name.replace(/-query$/, "")}, or leave --token-file out`,
    );
  }
  return mode;
}

/**
 * Reads which container alone may use a binding.
 *
 * @param name The binding's name, for the hint.
 * @param mode How its client asks.
 * @param args The command line.
 * @returns The container; undefined if any client with the token may.
 * @throws {MoatError} `usage`, also without one in a mode that has no token.
 */
export function readContainer(
  name: string,
  mode: Mode | undefined,
  { flags }: Pick<Arguments, "flags">,
): ContainerMatch | undefined {
  const given = flags["container"] as string | undefined;
  if (mode?.access !== "container") {
    return given === undefined ? undefined : parseContainer(given);
  }
  refuseTokenFlags(mode, flags);
  if (given !== undefined) return parseContainer(given);
  throw usageError(
    `Cannot bind in mode ${mode.name} without --container: its clients have no token and are known by their container alone`,
    `moat bind ${name} --grant ${
      (flags["grant"] as readonly string[] | undefined)?.[0] ?? "GRANT"
    } --mode ${mode.name} --container NAME`,
  );
}

/** What {@link findClient} goes by. */
export interface ClientQuestion {
  /** All providers. */
  readonly registry: ProviderRegistry;
  /** The command line. */
  readonly args: Arguments;
  /** How the client asks. */
  readonly mode: Mode | undefined;
  /** Whether its traffic is intercepted: then it has files. */
  readonly isIntercepted: boolean;
  /** The running proxy, if there is one. */
  readonly proxy: ProxyStatus | undefined;
}

/**
 * Finds out how the client reaches us.
 *
 * @param question Command line, mode, proxy.
 * @returns The client.
 * @throws {MoatError} `usage`, `not-reachable`, or what the engine says.
 */
export async function findClient(
  question: ClientQuestion,
): Promise<PlannedClient> {
  const { mode, args } = question;
  const found = await findAnyClient(question);
  const { directory, ...client } = found;
  if (mode?.access === "container") return client;
  if (args.flags["container"] === undefined) return found;
  refuseHiddenAddress(client.reach);
  if (directory !== undefined || !client.tokenFile) return found;
  throw usageError(
    "Cannot bind a container whose token is in a file: where it sees its files depends on its engine",
    "add --engine docker or --engine podman",
  );
}

async function findAnyClient(
  { registry, args, mode, isIntercepted, proxy }: ClientQuestion,
): Promise<PlannedClient> {
  const { flags } = args;
  const common = {
    needsFiles: isIntercepted || (mode?.needsFiles ?? false),
    tokenFile: (mode?.needsFiles ?? false) || flags["token-file"] === true,
  };
  const warnings = queryWarnings(mode);
  const fixed = typeof mode?.reach === "object" ? mode.reach : undefined;
  if (fixed) refuseUrl(flags, mode);
  const notes = fixed ? checkServed(mode, fixed, proxy) : [];
  if (flags["network"] !== undefined || flags["engine"] !== undefined) {
    const { findContainer } = await import("./bind_container.ts");
    const found = await findContainer(flags, mode, ownUrl(proxy));
    return {
      ...common,
      ...found,
      warnings,
      notes: [...found.notes, ...notes],
    };
  }
  if (fixed) {
    const { hostname, port } = fixed;
    const url = port === 80
      ? `http://${hostname}`
      : `http://${hostname}:${port}`;
    const reach = { by: "address" as const, address: hostname, port };
    return { ...common, url, reach, warnings, notes };
  }
  const given = flags["url"] as string | undefined;
  if (given === undefined) {
    const reach = { by: "loopback" as const };
    return { ...common, url: ownUrl(proxy), reach, warnings, notes: [] };
  }
  const grants = readGrantNames(args, registry);
  const checked = mode && moded(registry, grants)?.checkUrl?.(given, mode);
  return {
    ...common,
    url: checked?.url ?? given,
    warnings: [...warnings, ...checked?.warnings ?? []],
    notes: [],
  };
}

/** Where the running proxy is on loopback, or where one will be. */
function ownUrl(proxy: ProxyStatus | undefined): string {
  const listeners = proxy?.listeners ?? [];
  const loopback = listeners.find((url) => isLoopback(hostOf(url)));
  if (loopback !== undefined) return loopback;
  const any = listeners.find((url) => isUnspecified(hostOf(url)));
  return any === undefined
    ? `http://${DEFAULT_LISTEN}`
    : `http://127.0.0.1:${portOf(any)}`;
}

function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[(.*)\]$/, "$1");
}

/** A relative URI that nobody serves would only fail in the client. */
function checkServed(
  mode: Mode | undefined,
  { hostname, port }: { readonly hostname: string; readonly port: number },
  proxy: ProxyStatus | undefined,
): readonly string[] {
  if (mode?.access === "container") {
    // Rules of the network may lead its clients to any listener.
    if (!proxy || proxy.imds?.length) return [];
    throw noMetadata("bind a client", true);
  }
  const hint =
    `sudo moat network setup --apply, then moat proxy --listen ${DEFAULT_LISTEN} --listen ${hostname}:${port}`;
  if (!proxy && !lacksAddress(hostname)) {
    return [`its client asks at ${hostname}:${port}: ${hint}`];
  }
  const isServed = proxy?.listeners.some((url) => {
    const host = hostOf(url);
    return (host === hostname || isUnspecified(host)) &&
      portOf(url) === port;
  });
  if (isServed) return [];
  throw new MoatError(
    "not-reachable",
    `Cannot bind a client that asks at ${hostname}:${port}: ${
      proxy
        ? "the proxy does not listen there"
        : "this host has no such address"
    }`,
    { hint },
  );
}

/** A unit of systemd with a network of its own cannot tell. */
function lacksAddress(hostname: string): boolean {
  const addresses = Deno.networkInterfaces().map(({ address }) => address);
  return addresses.some((address) => !isLoopback(address)) &&
    !addresses.includes(hostname);
}

function refuseUrl(flags: FlagValues, mode: Mode | undefined): void {
  if (flags["url"] === undefined) return;
  throw usageError(
    `Cannot use --url in mode ${mode?.name}: its clients ask at one address alone`,
    "leave --url out",
  );
}

/**
 * What to know about modes whose token is in a URI.
 *
 * @param mode How the client asks.
 * @returns A sentence, or none.
 */
export function queryWarnings(mode: Mode | undefined): string[] {
  if (mode?.access !== "query") return [];
  return [
    `mode ${mode.name} is open to SSRF, and its token leaks into logs: whoever makes the client ask for a URL can use it; prefer ${
      mode.name.replace(/-query$/, "")
    } where the SDK sends a header`,
  ];
}

/**
 * Finds out whether a binding's client would find nobody.
 *
 * @param stored The binding.
 * @param proxy The running proxy, if there is one.
 * @param mode How its client asks.
 * @returns A sentence with the command that helps; undefined if all is well.
 */
export function proxyAdvice(
  { url, reach }: Pick<NewBinding, "url" | "reach">,
  proxy: ProxyStatus | undefined,
  mode?: Mode,
): string | undefined {
  if (mode?.access === "container") {
    if (proxy?.imds?.length) return undefined;
    const { message, hint } = noMetadata(
      "serve its client",
      proxy !== undefined,
    );
    return `${message}; ${hint}`;
  }
  const host = authorityOf(url);
  const isOwn = reach?.by === "gateway" || reach?.by === "socket" ||
    reach?.by === "name" || url.startsWith("https:");
  const listen = isOwn ? DEFAULT_LISTEN : host;
  const more = reach?.by === "address" ? ` --listen ${DEFAULT_LISTEN}` : "";
  const command = `moat proxy --listen ${listen}${more}`;
  if (!proxy) return `no proxy is running: ${command}`;
  if (isOwn || proxy.listeners.some((each) => covers(each, host))) return;
  return `no proxy listens at ${host}, only at ${
    proxy.listeners.map(authorityOf).join(" and ")
  }: ${command}, or bind again`;
}

function authorityOf(url: string): string {
  return `${new URL(url).hostname}:${portOf(url)}`;
}

function covers(listener: string, host: string): boolean {
  return authorityOf(listener) === host.replace(/^localhost:/, "127.0.0.1:") ||
    (isUnspecified(hostOf(listener)) && host.endsWith(`:${portOf(listener)}`));
}
