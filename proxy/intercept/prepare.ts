/**
 * From the head of a request to what is forwarded in its place: where it goes,
 * the decision, and only then what is put on it.
 *
 * @module
 */

import { type Authority, formatAuthority, parseAuthority } from "$core/host.ts";
import { type Decision, normalizePath } from "$core/policy.ts";
import type { LiveBinding } from "../bindings/binding_table.ts";
import { encodeHead, forwardedFields, isUpgrade } from "../http1/fields.ts";
import {
  type BodyFraming,
  bodyFraming,
  HttpError,
  type RequestHead,
} from "../http1/head.ts";
import { ProxyFailure } from "./failure.ts";
import type { Outbound, Treatment } from "./outbound.ts";
import { deniedByPolicy, ownAddress } from "./refusal.ts";

/** Where the requests of a connection go. */
export type Scope =
  /** To the host of its CONNECT, over TLS. */
  | { readonly scheme: "https"; readonly authority: Authority }
  /** To the host that each of them names, without. */
  | {
    readonly scheme: "http";
    /** Whether an authority names us. */
    readonly isOurs: (authority: Authority) => boolean;
  };

/** A request that may be forwarded. */
export interface Prepared {
  /** The binding that allowed it; as long as it is live, so is this. */
  readonly live: LiveBinding;
  /** Where it goes. */
  readonly authority: Authority;
  /** `https` or `http`. */
  readonly scheme: Scope["scheme"];
  /** Case-sensitive, such as `GET`. */
  readonly method: string;
  /** Without query and substitutions, for the trace. */
  readonly path: string;
  /** What said so. */
  readonly decision: Decision;
  /** Grants that are injected. */
  readonly grants: readonly string[];
  /** What an answer's location must not show, with what stands for it. */
  readonly conceal: Treatment["conceal"];
  /** The head that is forwarded. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** How its body ends. */
  readonly framing: BodyFraming;
  /** Whether the connection to the client ends after it. */
  readonly closes: boolean;
  /** Whether its client speaks HTTP/1.0. */
  readonly isOld: boolean;
  /** Whether it asks for another protocol. */
  readonly upgrades: boolean;
  /** Whether it may be sent twice (RFC 9110 section 9.2.1). */
  readonly isSafe: boolean;
}

/** A request that policy refused, for the trace. */
export class Denied extends ProxyFailure {
  /** Where it would have gone. */
  readonly authority: Authority;
  /** What said no. */
  readonly decision: Decision;
  /** Its method. */
  readonly method: string;
  /** Its path, without query. */
  readonly path: string | undefined;

  /** Makes a refusal; without a path, of a connection. */
  constructor(
    { lacksGrant }: Pick<Outbound, "lacksGrant">,
    authority: Authority,
    decision: Decision,
    method: string,
    path?: string,
  ) {
    const { status, code, error, message } = deniedByPolicy({
      host: formatAuthority(authority, 443),
      ...(path !== undefined && { method }),
      decision,
      lacksGrant,
    });
    super(status, code, error, message);
    this.authority = authority;
    this.decision = decision;
    this.method = method;
    this.path = path;
  }
}

/** RFC 9110 section 9.2.1: they change nothing. */
const SAFE_METHODS = ["GET", "HEAD", "OPTIONS"];

/** In any case: some servers do not mind it. */
const REFUSED_METHODS = ["TRACE", "TRACK", "CONNECT"];

/**
 * Prepares a request.
 *
 * @param head Its head, parsed.
 * @param scope Where it may go.
 * @param live The client's binding.
 * @returns What is forwarded.
 * @throws {HttpError} If its body's end is not clear.
 * @throws {ProxyFailure} If it is not forwarded; {@link Denied} by policy.
 */
export function prepare(
  head: RequestHead,
  scope: Scope,
  live: LiveBinding,
): Prepared {
  const { method } = head;
  refuseMethod(method);
  const { authority, target: asked } = locate(head, scope);
  const requested = normalizePath(asked);
  if (!requested) throw badPath();
  const framing = bodyFraming(head);
  const { outbound } = live.served;
  const [path = ""] = requested.target.split("?", 1);
  const decision = outbound.policy.request(
    authority,
    method,
    requested,
    scope.scheme,
  );
  if (decision.action === "deny") {
    throw new Denied(outbound, authority, decision, method, path);
  }
  const isSecret = scope.scheme === "https" ||
    outbound.policy.allowsPlainHttp(authority);
  const treatment = outbound.treat(
    authority,
    head,
    requested,
    isSecret,
  );
  const upgrades = isUpgrade(head);
  const fields = forwardedFields(head, {
    strip: treatment.strip,
    keepUpgrade: upgrades,
  });
  return {
    live,
    authority,
    scheme: scope.scheme,
    method,
    path,
    decision,
    grants: treatment.grants,
    conceal: treatment.conceal,
    bytes: encodeHead(
      // RFC 9110 section 2.5: an intermediary sends its own version.
      `${method} ${treatment.target} HTTP/1.1`,
      [...fields, ...treatment.add],
    ),
    framing,
    closes: endsAfter(head),
    isOld: head.version === "1.0",
    upgrades,
    isSafe: SAFE_METHODS.includes(method) && framing.kind === "none",
  };
}

/** Whether the connection to the client ends after a request (RFC 9112 section 9.3). */
export function endsAfter(head: RequestHead): boolean {
  return head.version === "1.0" ||
    [...head.members("connection"), ...head.members("proxy-connection")]
      .includes("close");
}

/** RFC 9110 section 9.3.8: TRACE would show the client what we put on it. */
function refuseMethod(method: string): void {
  if (!REFUSED_METHODS.includes(method.toUpperCase())) return;
  throw new ProxyFailure(
    405,
    "method-not-allowed",
    "http_request_denied",
    `Cannot forward ${method}: it is not allowed here`,
  );
}

/** Where a request goes, and its target there. */
interface Place {
  readonly authority: Authority;
  readonly target: string;
}

/** Host, and the target if it names a host, say the same as CONNECT did. */
function locate(head: RequestHead, scope: Scope): Place {
  const absolute = splitAbsolute(head.target);
  if (scope.scheme === "http") {
    if (absolute?.scheme !== "http") throw notHttp();
    const authority = parseAuthority(absolute.authority, 80);
    if (!authority) throw badAuthority();
    if (scope.isOurs(authority)) throw ownAddress();
    checkHost(head, authority, 80);
    return { authority, target: originOf(absolute.target, head.method) };
  }
  const { authority } = scope;
  checkHost(head, authority, 443);
  if (!absolute) return { authority, target: head.target };
  const named = parseAuthority(absolute.authority, 443);
  if (absolute.scheme !== "https" || !named || !isSame(named, authority)) {
    throw misdirected();
  }
  return { authority, target: originOf(absolute.target, head.method) };
}

/** RFC 9112 section 3.2.4: `OPTIONS http://host` asks about the server as a whole. */
function originOf(target: string, method: string): string {
  if (target === "" && method === "OPTIONS") return "*";
  return target.startsWith("/") ? target : `/${target}`;
}

function splitAbsolute(
  target: string,
): { scheme: string; authority: string; target: string } | undefined {
  const match = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?]*)(.*)$/.exec(target);
  if (!match) return undefined;
  const [, scheme = "", authority = "", rest = ""] = match;
  return { scheme: scheme.toLowerCase(), authority, target: rest };
}

/** RFC 9110 section 7.4: 421 for a request that is not for the host at hand. */
function checkHost(
  { host }: RequestHead,
  authority: Authority,
  defaultPort: number,
): void {
  // The common spelling, at once.
  if (host === authority.host && authority.port === defaultPort) return;
  const named = parseAuthority(host, defaultPort);
  if (!named || !isSame(named, authority)) throw misdirected();
}

function isSame(a: Authority, b: Authority): boolean {
  return a.host === b.host && a.port === b.port;
}

function misdirected(): ProxyFailure {
  return new ProxyFailure(
    421,
    "misdirected",
    "http_request_error",
    "Cannot forward the request: its Host or target names another host than its connection",
  );
}

function notHttp(): ProxyFailure {
  return new ProxyFailure(
    400,
    "bad-target",
    "http_request_error",
    "Cannot forward the request: wanted an http URL as its target, or CONNECT for https",
  );
}

function badAuthority(): HttpError {
  return new HttpError(
    400,
    "bad-target",
    "Cannot forward the request: its target names no host",
  );
}

function badPath(): ProxyFailure {
  return new ProxyFailure(
    400,
    "bad-path",
    "http_request_error",
    "Cannot forward the request: its path can be read in different ways",
  );
}
