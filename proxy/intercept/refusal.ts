/**
 * What a client of the forward proxy is told instead of an upstream's answer.
 *
 * @module
 */

import type { Decision } from "$core/policy.ts";
import { type Answer, errorAnswer } from "$core/provider.ts";
import { HttpError } from "../http1/head.ts";
import { ProxyFailure } from "./failure.ts";

/** Unknown clients learn nothing else; libcurl tries again only with the field. */
export const AUTHENTICATE: Answer = errorAnswer(
  407,
  "proxy-authentication-required",
  "Wanted the token of a binding as the password of Basic, or as Bearer, in Proxy-Authorization",
  [["Proxy-Authenticate", 'Basic realm="moat"']],
);

/** A client that has no token, or none that counts any more. */
export const UNKNOWN = new ProxyFailure(
  AUTHENTICATE.status,
  "proxy-authentication-required",
  "http_request_denied",
  "Wanted the token of a binding",
);

/** A client whose rights changed between its request and its upstream. */
export const CHANGED = new ProxyFailure(
  503,
  "grant-changed",
  "http_request_denied",
  "What this client may do has just changed: send the request again",
);

/** A client whose binding ended while its connection was open. */
export const ENDED = new ProxyFailure(
  403,
  "binding-ended",
  "http_request_denied",
  "The binding of this client has ended",
);

/**
 * Makes the answer for what was thrown.
 *
 * @param error What was thrown.
 * @returns Status, `Proxy-Status` (RFC 9209) and a body without a word of ours.
 */
export function refusalOf(error: unknown): Answer {
  const failure = toFailure(error);
  if (failure === UNKNOWN) return AUTHENTICATE;
  return errorAnswer(failure.status, failure.code, failure.message, [
    ["Proxy-Status", `moat; error=${failure.error}`],
  ]);
}

/**
 * Makes a failure of anything.
 *
 * @param error What was thrown.
 * @returns It, or what stands for it; what is unexpected tells nothing.
 */
export function toFailure(error: unknown): ProxyFailure {
  if (error instanceof ProxyFailure) return error;
  if (error instanceof HttpError) {
    return new ProxyFailure(
      error.status,
      error.code,
      "http_request_error",
      error.message,
    );
  }
  if (error instanceof Error && "code" in error) {
    const isFull = error.code === "EMFILE" || error.code === "ENFILE";
    if (isFull) return tooMany();
  }
  return new ProxyFailure(
    500,
    "internal",
    "proxy_internal_error",
    "Cannot forward the request: moat failed",
  );
}

/** 503, not 429, which SDKs take as final. */
export function tooMany(): ProxyFailure {
  return new ProxyFailure(
    503,
    "too-many-connections",
    "connection_limit_reached",
    "Cannot serve this connection: there are too many",
  );
}

/** A target that is this proxy. */
export function ownAddress(): ProxyFailure {
  return new ProxyFailure(
    400,
    "own-address",
    "proxy_loop_detected",
    "Cannot forward a request to the proxy itself",
  );
}

/** A refusal, as {@link deniedByPolicy} tells it. */
export interface Denial {
  /** Where the request would have gone. */
  readonly host: string;
  /** Its method; absent for a connection. */
  readonly method?: string;
  /** What said no. */
  readonly decision: Decision;
  /** Whether a grant of the client was revoked, or fits it no more. */
  readonly lacksGrant: boolean;
}

/**
 * Makes a refusal by policy, which says what is missing, not what there is. A
 * rule that someone wrote is no gap: there is nothing to allow.
 */
export function deniedByPolicy(
  { host, method, decision, lacksGrant }: Denial,
): ProxyFailure {
  const what = method === undefined
    ? `Connections to ${host} are`
    : `${method} to ${host} at this path is`;
  const [code, why] = decision.rule !== "default"
    ? ["policy-denied", ""]
    : lacksGrant
    ? ["grant-gone", "; a grant of it was revoked, or fits it no more"]
    : [
      "policy-denied",
      `; whoever started it can allow that host, as with --allow ${host}`,
    ];
  return new ProxyFailure(
    403,
    code,
    "http_request_denied",
    `${what} not allowed for this client${why}`,
  );
}
