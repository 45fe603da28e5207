/**
 * `moat policy test METHOD URL`: what the proxy would decide.
 *
 * @module
 */

import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { columns } from "$core/cli/help.ts";
import { printable } from "$core/cli/output.ts";
import { loadConfig } from "$core/config.ts";
import { usageError } from "$core/errors.ts";
import { type Grant, parseGrantName } from "$core/grant.ts";
import {
  type Authority,
  defaultPort,
  formatAuthority,
  parseAuthority,
} from "$core/host.ts";
import { openOwnBindings } from "$core/own_bindings.ts";
import {
  type CompiledPolicy,
  compilePolicy,
  DEFAULT_POLICY,
  normalizePath,
  type Policy,
} from "$core/policy.ts";
import type { FlagValues } from "$core/provider.ts";
import { grantedHosts } from "../grants/granted_hosts.ts";

/** What `--json` prints. */
interface Verdict {
  readonly action: "allow" | "deny";
  readonly rule: string;
  readonly access: "deny" | "tunnel" | "read";
  readonly host: string;
  readonly target?: string;
}

/** A request as a client would make it. */
interface Request {
  readonly scheme: "http" | "https";
  readonly authority: Authority;
  readonly method: string;
  /** With the query, as it is written. */
  readonly target: string;
}

/** Decides about a request without making it; the exit status tells the action. */
export async function test(
  context: CommandContext,
  { operands, flags }: Arguments,
): Promise<number> {
  const [method = "", url = ""] = operands;
  const request = readRequest(method, url);
  const { policy, grants } = await chosen(context, flags);
  const hosts = grantedHosts(context.registry, await read(context, grants));
  const verdict = judge(compilePolicy(policy, hosts), request);
  context.output.data(verdict, textOf(verdict));
  return verdict.action === "allow" ? 0 : 1;
}

/** Not by `URL`, which would tidy the path before the policy sees it. */
function readRequest(method: string, url: string): Request {
  if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(method)) {
    throw usageError(
      `Cannot use ${JSON.stringify(method)} as a method`,
      "write it as GET",
    );
  }
  const match = /^(https?):\/\/([^/?#]*)([^#]*)/.exec(url);
  const scheme = match?.[1] === "http" ? "http" : "https";
  const authority = parseAuthority(match?.[2] ?? "", defaultPort(scheme));
  if (!match || !authority) {
    throw usageError(
      "Cannot use the URL: wanted http:// or https://, a host without a user, and a path",
      "write it as https://api.example.com/v1/items",
    );
  }
  const rest = match[3] ?? "";
  const target = rest.startsWith("/") ? rest : `/${rest}`;
  return { scheme, authority, method, target };
}

/** Whose rules count, and which grants. */
async function chosen(
  { platform }: CommandContext,
  flags: FlagValues,
): Promise<{ policy: Policy; grants: readonly string[] }> {
  const { binding, config, grant } = flags;
  const further = grant as readonly string[] | undefined ?? [];
  if (typeof binding !== "string") {
    const path = typeof config === "string" ? config : undefined;
    const { policy } = await loadConfig(platform, path);
    return { policy, grants: further };
  }
  if (config !== undefined) {
    throw usageError(
      "Cannot combine --binding with --config: a binding keeps the policy that it was made with",
      "drop --config",
    );
  }
  const stored = await openOwnBindings(platform).latest(binding);
  const { policy = DEFAULT_POLICY, grants } = stored.binding;
  return { policy, grants: [...grants, ...further] };
}

async function read(
  { store, registry }: CommandContext,
  names: readonly string[],
): Promise<Grant[]> {
  const grants: Grant[] = [];
  for (const name of new Set(names)) {
    registry.get(parseGrantName(name).provider);
    grants.push(await store.get(name));
  }
  return grants;
}

/** As the proxy does: the connection first, and the request if that is read. */
function judge(policy: CompiledPolicy, request: Request): Verdict {
  const { scheme, authority, method } = request;
  const host = formatAuthority(authority);
  const path = normalizePath(request.target);
  const target = path && { target: path.target };
  const { access, decision } = scheme === "https"
    ? policy.connect(authority)
    : { access: "read", decision: undefined } as const;
  if (decision && access !== "read") {
    return { ...decision, access, host, ...target };
  }
  if (!path) {
    return { action: "deny", rule: "malformed path", access, host };
  }
  const asked = policy.request(authority, method, path, scheme);
  return { ...asked, access, host, ...target };
}

const ACCESS = {
  deny: "refused at CONNECT",
  tunnel: "tunnelled: method and path are not looked at",
  read: "read",
} as const;

function textOf({ action, rule, access, host, target }: Verdict): string {
  return `${action.toUpperCase()}\n` + columns([
    ["rule", printable(rule)],
    ["host", host],
    ["path", printable(target ?? "refused: it can be read in too many ways")],
    ["access", ACCESS[access]],
  ]);
}
