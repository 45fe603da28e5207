/**
 * What a binding's client may reach, and what is put on its requests there:
 * the policy and the injections of its grants, ready to be asked.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Authority } from "$core/host.ts";
import { matchesHost } from "$core/host_pattern.ts";
import {
  type CompiledPolicy,
  compilePolicy,
  type GrantedHost,
  type HostPattern,
  parseHostPattern,
  type Policy,
  type RequestPath,
} from "$core/policy.ts";
import type {
  Injection,
  InjectionRegistrar,
  Substitution,
} from "$core/provider.ts";
import type { Secret } from "$core/secret.ts";
import type { RequestHead } from "../http1/head.ts";

/** What one grant declares for the intercepting proxy. */
export interface Declared {
  /** The grant's full name. */
  readonly grant: string;
  /** Headers. */
  readonly injections: readonly Injection[];
  /** Parts of paths. */
  readonly substitutions: readonly Substitution[];
  /** Further hosts that it allows. */
  readonly allowed: readonly string[];
}

/**
 * Collects what a provider declares for a grant.
 *
 * @param grant The grant's full name.
 * @param declare Calls the registrar; see `Provider.configureProxy`.
 * @returns What was declared.
 */
export function collectDeclared(
  grant: string,
  declare: (registrar: InjectionRegistrar) => void,
): Declared {
  const injections: Injection[] = [];
  const substitutions: Substitution[] = [];
  const allowed: string[] = [];
  declare({
    inject: (injection) => void injections.push(injection),
    substitute: (substitution) => void substitutions.push(substitution),
    allow: (host) => void allowed.push(host),
  });
  return { grant, injections, substitutions, allowed };
}

/** The hosts that grants are for. */
export function hostsOf(declared: readonly Declared[]): GrantedHost[] {
  return declared.flatMap(({ grant, injections, substitutions, allowed }) => [
    ...[...injections, ...substitutions].map(({ host }) => ({
      host,
      grant,
      reads: true,
    })),
    ...allowed.map((host) => ({ host, grant, reads: false })),
  ]);
}

/** What is done to the head of one request. */
export interface Treatment {
  /** The grants that are used, by full name. */
  readonly grants: readonly string[];
  /** Headers of the client that are removed, in lower case. */
  readonly strip: ReadonlySet<string>;
  /** Headers that are put on. */
  readonly add: readonly (readonly [name: string, value: string])[];
  /** The target with its substitutions. */
  readonly target: string;
  /** What was put into the path, with the placeholder for it. */
  readonly conceal: readonly (readonly [value: string, placeholder: string])[];
}

/** An injection that counts for one authority. */
interface Candidate {
  readonly grant: string;
  /** The grant's place in the binding. */
  readonly order: number;
  readonly injection: Injection;
}

/** What counts for one authority. */
interface HostPlan {
  /** The longest path first, then the more specific host, then the grants' order. */
  readonly candidates: readonly Candidate[];
  readonly substitutions: readonly {
    readonly grant: string;
    readonly substitution: Substitution;
  }[];
}

const MAX_PLANS = 256;

/** Where a binding's client may go, and with what. */
export class Outbound {
  /** Decides. */
  readonly policy: CompiledPolicy;
  /** Whether the binding has less than all of its grants. */
  readonly lacksGrant: boolean;
  readonly #declared: readonly Declared[];
  readonly #patterns = new Map<string, HostPattern>();
  readonly #plans = new Map<string, HostPlan>();

  /**
   * Makes it of a policy and what the grants declare, in their order.
   *
   * @param policy The binding's.
   * @param declared What its grants declare.
   * @param lacksGrant Whether one of them is missing. Default: false.
   */
  constructor(
    policy: Policy,
    declared: readonly Declared[],
    lacksGrant = false,
  ) {
    this.#declared = declared;
    this.lacksGrant = lacksGrant;
    this.policy = compilePolicy(policy, hostsOf(declared));
    for (const { host } of hostsOf(declared)) {
      // What is malformed was refused a line above.
      const pattern = parseHostPattern(host);
      if (pattern) this.#patterns.set(host, pattern);
    }
  }

  /**
   * Chooses what is put on a request: the injections of one grant.
   *
   * @param authority Where it goes.
   * @param head Its head.
   * @param path Its normalised target, with all its readings.
   * @param isSecret Whether credentials may go there: over TLS, or where plain
   * http is opted in.
   * @returns What is done to it.
   */
  treat(
    authority: Authority,
    head: RequestHead,
    { target, readings }: RequestPath,
    isSecret: boolean,
  ): Treatment {
    const plan = this.#plan(authority);
    // An upstream that reads the path in another way must not get it, either.
    const here = plan.candidates.filter(({ injection: { path } }) =>
      path === undefined ||
      [target, ...readings].every((reading) => isBelow(reading, path))
    );
    const strip = new Set(
      here.flatMap(({ injection: { header, strip } }) => [header, ...strip]),
    );
    if (!isSecret) return { grants: [], strip, add: [], target, conceal: [] };
    const grant = chooseGrant(here, head);
    const add = new Map<string, string>();
    for (const candidate of here) {
      const { header, value } = candidate.injection;
      // The longest path comes first.
      if (candidate.grant !== grant || add.has(header)) continue;
      add.set(header, value.reveal());
    }
    const substituted = substitute(plan.substitutions, target);
    const grants = new Set(substituted.grants);
    if (grant !== undefined) grants.add(grant);
    return {
      grants: [...grants],
      strip,
      add: [...add].map((
        [name, value],
      ) => [spell(name), value]),
      target: substituted.target,
      conceal: substituted.conceal,
    };
  }

  #plan(authority: Authority): HostPlan {
    const key = `${authority.host} ${authority.port}`;
    let plan = this.#plans.get(key);
    if (!plan) {
      plan = this.#makePlan(authority);
      if (this.#plans.size >= MAX_PLANS) this.#plans.clear();
      this.#plans.set(key, plan);
    }
    return plan;
  }

  #makePlan(authority: Authority): HostPlan {
    const matches = ({ host }: { readonly host: string }) => {
      const pattern = this.#patterns.get(host);
      return pattern !== undefined && isFor(pattern, authority);
    };
    const candidates = this.#declared.flatMap((
      { grant, injections },
      order,
    ) =>
      injections.filter(matches).map((injection) => ({
        grant,
        order,
        injection,
      }))
    );
    return {
      candidates: candidates.sort((a, b) =>
        length(b.injection.path) - length(a.injection.path) ||
        specificity(b.injection.host) - specificity(a.injection.host) ||
        a.order - b.order
      ),
      substitutions: this.#declared.flatMap(({ grant, substitutions }) =>
        substitutions.filter(matches).map((substitution) => ({
          grant,
          substitution,
        }))
      ),
    };
  }
}

/** Without a port it is for https alone. */
function isFor(pattern: HostPattern, authority: Authority): boolean {
  return pattern.kind !== "any" &&
    matchesHost({ port: 443, ...pattern }, authority);
}

function length(path: string | undefined): number {
  return path?.length ?? 0;
}

/** An exact host before a wildcard, a longer suffix before a shorter one. */
function specificity(host: string): number {
  return host.startsWith("*") ? host.length : 1_000 + host.length;
}

/** Whether a target is at a path or below it. */
function isBelow(target: string, path: string): boolean {
  return target.startsWith(path) &&
    /^(?:[/?]|$)/.test(target.slice(path.length));
}

/**
 * One grant for each request, so that no two credentials can be mixed: the one
 * whose placeholder the client sent, else the one whose header, else the first.
 */
function chooseGrant(
  candidates: readonly Candidate[],
  head: RequestHead,
): string | undefined {
  if (candidates.length === 0) return undefined;
  const inOrder = candidates.toSorted((a, b) => a.order - b.order);
  const found =
    candidates.find(({ injection }) => showsPlaceholder(head, injection)) ??
      inOrder.find(({ injection: { header } }) =>
        head.values(header).length > 0
      ) ?? inOrder[0];
  return found?.grant;
}

function showsPlaceholder(
  head: RequestHead,
  { header, strip, placeholder }: Injection,
): boolean {
  if (placeholder === undefined) return false;
  return [header, ...strip].some((name) =>
    head.values(name).some((value) =>
      value.includes(placeholder) || decodeBasic(value).includes(placeholder)
    )
  );
}

function decodeBasic(value: string): string {
  const [, encoded = ""] = /^basic +([\w+/=-]+)$/i.exec(value) ?? [];
  return Buffer.from(encoded, "base64").toString("latin1");
}

/** The path alone: a query is often logged. */
function substitute(
  substitutions: HostPlan["substitutions"],
  target: string,
): Pick<Treatment, "grants" | "target" | "conceal"> {
  const query = target.indexOf("?");
  const path = query < 0 ? target : target.slice(0, query);
  const found = substitutions.find(({ substitution: { placeholder } }) =>
    path.includes(placeholder)
  );
  if (!found) return { grants: [], target, conceal: [] };
  const { placeholder, value } = found.substitution;
  const escaped = escapePath(value);
  return {
    grants: [found.grant],
    target: path.replaceAll(placeholder, () => escaped) +
      target.slice(path.length),
    conceal: [[escaped, placeholder], [value.reveal(), placeholder]],
  };
}

/** A value cannot make more than a part of a segment. */
function escapePath(value: Secret): string {
  return encodeURIComponent(value.reveal()).replaceAll("%3A", ":");
}

/** `x-api-key` as `X-Api-Key`. */
function spell(name: string): string {
  return name.replace(/(^|-)[a-z]/g, (start) => start.toUpperCase());
}
