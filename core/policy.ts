/**
 * Policy: where a client may go, and the decision for each request. Pure: no
 * name is resolved here.
 *
 * @module
 */

import { MoatError } from "./errors.ts";
import {
  type Authority,
  defaultPort,
  formatAuthority,
  parseAuthority,
} from "./host.ts";
import {
  formatHostPattern,
  type HostPattern,
  matchesHost,
  parseHostPattern,
} from "./host_pattern.ts";
import { compilePathPattern, pathFault } from "./path_pattern.ts";
import type { RequestPath } from "./request_path.ts";
import { Shape, ShapeError } from "./shape.ts";

export { type HostPattern, parseHostPattern } from "./host_pattern.ts";
export { normalizePath, type RequestPath } from "./request_path.ts";

/** What a rule does. */
export type Action = "allow" | "deny";

/** One rule. The first that matches counts. */
export interface Rule {
  /** What it does. */
  readonly action: Action;
  /** `HOST`, `*.SUFFIX` (any depth, not the suffix itself) or `*`, and `:PORT`; without it 443, and 80 for plain http; all where it denies. */
  readonly host: string;
  /** Upper case; default: all. */
  readonly methods?: readonly string[];
  /** `*` is one segment or a part of one, `**` any number of them; default: all. */
  readonly path?: string;
}

/** All rules of a binding. */
export interface Policy {
  /** Where no rule and no grant matches. */
  readonly default: Action;
  /** In their order. */
  readonly rules: readonly Rule[];
  /** `HOST:PORT` that may have a private address. */
  readonly allowHosts: readonly string[];
  /** `HOST:PORT` to which credentials go over plain http, too. */
  readonly plainHttp: readonly string[];
}

/** Allow or deny, and what said so. */
export interface Decision {
  /** What it is. */
  readonly action: Action;
  /** Such as `rule 2: deny DELETE api.github.com`, `grant github` or `default`. */
  readonly rule: string;
}

/** A host that a grant is for. */
export interface GrantedHost {
  /** As `Injection.host`. */
  readonly host: string;
  /** The grant's full name. */
  readonly grant: string;
  /** Whether requests there must be read, to inject something. */
  readonly reads: boolean;
}

/** A policy that is ready to be asked. */
export interface CompiledPolicy {
  /**
   * Decides about a connection, before anything is resolved.
   *
   * @returns `deny`; `tunnel` if all requests there are allowed and none must
   * be read; else `read`.
   */
  connect(
    authority: Authority,
  ): {
    readonly access: "deny" | "tunnel" | "read";
    readonly decision: Decision;
  };
  /** Decides about a request. `scheme` chooses the default port of rules. */
  request(
    authority: Authority,
    method: string,
    path: RequestPath,
    scheme: "http" | "https",
  ): Decision;
  /** Whether an address of a private network is allowed there. */
  opensPrivate(authority: Authority): boolean;
  /** Whether credentials may go there over plain http. */
  allowsPlainHttp(authority: Authority): boolean;
}

/** Nowhere but where grants are for. */
export const DEFAULT_POLICY: Policy = {
  default: "deny",
  rules: [],
  allowHosts: [],
  plainHttp: [],
};

/**
 * Reads a policy that was kept as JSON.
 *
 * @param value What was parsed.
 * @returns The policy, its hosts canonical; undefined for another shape.
 */
export function parsePolicy(value: unknown): Policy | undefined {
  try {
    return readPolicy(new Shape(value));
  } catch (error) {
    if (error instanceof ShapeError) return undefined;
    throw error;
  }
}

function readPolicy(shape: Shape): Policy {
  const table = shape.table("default", "rules", "allowHosts", "plainHttp");
  return {
    default: readAction(table.get("default")),
    rules: table.get("rules").list().map(readRule),
    allowHosts: table.get("allowHosts").list().map(readHostAndPort),
    plainHttp: table.get("plainHttp").list().map(readHostAndPort),
  };
}

/**
 * Reads `allow` or `deny`.
 *
 * @param shape What was written.
 * @throws {ShapeError} For anything else.
 */
export function readAction(shape: Shape): Action {
  return shape.oneOf("allow", "deny");
}

/**
 * Reads a rule.
 *
 * @param shape A table of `action`, `host` and, if wanted, `methods`, `path`.
 * @returns The rule, its host canonical.
 * @throws {ShapeError} For anything else.
 */
export function readRule(shape: Shape): Rule {
  const table = shape.table("action", "host", "methods", "path");
  const methods = table.find("methods");
  const path = table.find("path");
  return {
    action: readAction(table.get("action")),
    host: table.get("host").textAs("HOST, *.SUFFIX or *, and :PORT", hostOf),
    ...(methods && { methods: readMethods(methods) }),
    ...(path && { path: readPath(path) }),
  };
}

function hostOf(text: string): string | undefined {
  const pattern = parseHostPattern(text);
  return pattern && formatHostPattern(pattern);
}

function readMethods(shape: Shape): readonly string[] {
  const methods = shape.list().map((one) =>
    one.textAs(
      "a method in upper case, such as GET",
      (text) => /^[A-Z][A-Z-]*$/.test(text) ? text : undefined,
    )
  );
  return methods.length > 0 ? methods : shape.fail("wanted a method at least");
}

function readPath(shape: Shape): string {
  const path = shape.text();
  const fault = pathFault(path);
  return fault === undefined ? path : shape.fail(fault);
}

/**
 * Reads `HOST:PORT`.
 *
 * @param shape What was written.
 * @returns The same, canonical.
 * @throws {ShapeError} For anything else.
 */
export function readHostAndPort(shape: Shape): string {
  return shape.textAs("HOST:PORT", (text) => {
    const authority = parseAuthority(text);
    return authority && formatAuthority(authority);
  });
}

type Scheme = "http" | "https";

/** A rule that is ready to be asked. */
interface CompiledRule {
  readonly host: HostPattern;
  readonly methods: ReadonlySet<string> | undefined;
  readonly matchesPath: ((reading: string) => boolean) | undefined;
  readonly decision: Decision;
}

/** What decides about one authority. */
interface Route {
  /** Rules that look at the request, in their order. */
  readonly rules: readonly CompiledRule[];
  /** What decides where none of them matches. */
  readonly last: Decision;
  /** About the connection. */
  readonly access: "deny" | "tunnel" | "read";
  readonly decision: Decision;
}

/** How many authorities are remembered; a client makes up as many as it likes. */
const MAX_ROUTES = 512;

/**
 * Makes a policy ready to be asked: first its rules, then the hosts of grants,
 * then its default.
 *
 * A request is judged under each reading of its path, and allowed only if it
 * is under all. Where rules are in doubt they deny: without a port, a rule that
 * denies is about all ports; it takes methods and paths in any case, and a path
 * with a final slash, too.
 *
 * @param policy The policy.
 * @param granted Hosts of the binding's grants, in their order.
 * @returns The policy; it remembers some authorities.
 * @throws {MoatError} `bad-policy` for a rule or host that is not well-formed.
 */
export function compilePolicy(
  policy: Policy,
  granted: readonly GrantedHost[],
): CompiledPolicy {
  const checked = parsePolicy(policy);
  if (!checked) throw badPolicy("one of its rules or hosts");
  const rules = checked.rules.map(compileRule);
  const grants = granted.map(compileGrant);
  const privates = new Set(checked.allowHosts);
  const plain = new Set(checked.plainHttp);
  const routes = {
    http: new Map<string, Route>(),
    https: new Map<string, Route>(),
  };
  const last: Decision = { action: checked.default, rule: "default" };

  function routeOf(authority: Authority, scheme: Scheme): Route {
    const key = `${authority.host} ${authority.port}`;
    const known = routes[scheme].get(key);
    if (known) return known;
    const route = findRoute(rules, grants, last, authority, scheme);
    for (const oldest of routes[scheme].keys()) {
      if (routes[scheme].size < MAX_ROUTES) break;
      routes[scheme].delete(oldest);
    }
    routes[scheme].set(key, route);
    return route;
  }

  return {
    connect: (authority) => routeOf(authority, "https"),
    request: (authority, method, path, scheme) =>
      decide(routeOf(authority, scheme), method, path.readings),
    opensPrivate: (authority) => privates.has(formatAuthority(authority)),
    allowsPlainHttp: (authority) => plain.has(formatAuthority(authority)),
  };
}

function compileRule(rule: Rule, index: number): CompiledRule {
  const { action, host, methods, path } = rule;
  const words = [action, methods?.join(), host, path];
  const text = words.filter((word) => word !== undefined).join(" ");
  return {
    host: patternOf(host, "a rule"),
    methods: methods && new Set(methods),
    matchesPath: path === undefined
      ? undefined
      : compilePathPattern(path, action === "deny"),
    decision: { action, rule: `rule ${index + 1}: ${text}` },
  };
}

function compileGrant({ host, grant, reads }: GrantedHost) {
  const decision: Decision = { action: "allow", rule: `grant ${grant}` };
  return { host: patternOf(host, `grant "${grant}"`), reads, decision };
}

function patternOf(text: string, whose: string): HostPattern {
  const pattern = parseHostPattern(text);
  if (!pattern) throw badPolicy(`the host of ${whose}`);
  return pattern;
}

function badPolicy(what: string): MoatError {
  return new MoatError(
    "bad-policy",
    `Cannot use the policy: ${what} is not well-formed`,
    { hint: "moat policy test GET https://example.com/ checks moat.toml" },
  );
}

function findRoute(
  rules: readonly CompiledRule[],
  grants: readonly ReturnType<typeof compileGrant>[],
  otherwise: Decision,
  authority: Authority,
  scheme: Scheme,
): Route {
  const near = rules.filter(({ host, decision }) =>
    matchesHost(host, authority) &&
    (host.port !== undefined || decision.action === "deny" ||
      authority.port === defaultPort(scheme))
  );
  // A grant is for https, unless it names its port.
  const granting = grants.filter(({ host }) =>
    matchesHost(host, authority) &&
    (host.port !== undefined || (scheme === "https" && authority.port === 443))
  );
  const end = near.findIndex(({ methods, matchesPath }) =>
    !methods && !matchesPath
  );
  const last = near[end]?.decision ?? granting[0]?.decision ?? otherwise;
  const asked = end < 0 ? near : near.slice(0, end);
  const reads = granting.some(({ reads }) => reads);
  return { rules: asked, last, ...atConnection(asked, last, reads) };
}

/** What can be said before the request is seen. */
function atConnection(
  rules: readonly CompiledRule[],
  last: Decision,
  grantReads: boolean,
): Pick<Route, "access" | "decision"> {
  const allows = [...rules.map(({ decision }) => decision), last]
    .find(({ action }) => action === "allow");
  if (!allows) return { access: "deny", decision: last };
  const access = grantReads || rules.length > 0 ? "read" : "tunnel";
  return {
    access,
    decision: last.action === "allow" ? last : allows,
  };
}

function decide(
  { rules, last }: Route,
  method: string,
  readings: readonly string[],
): Decision {
  if (rules.length === 0) return last;
  let first: Decision | undefined;
  for (const reading of readings) {
    const found = rules.find((rule) => matchesRequest(rule, method, reading));
    const decision = found?.decision ?? last;
    if (decision.action === "deny") return decision;
    first ??= decision;
  }
  return first ?? { action: "deny", rule: "default" };
}

function matchesRequest(
  { methods, matchesPath, decision: { action } }: CompiledRule,
  method: string,
  reading: string,
): boolean {
  const known = action === "deny" ? method.toUpperCase() : method;
  if (methods && !methods.has(known)) return false;
  return !matchesPath || matchesPath(reading);
}
