/**
 * What a client of the forward proxy is told instead of an upstream's answer.
 *
 * @module
 */

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
  return new ProxyFailure(
    500,
    "internal",
    "proxy_internal_error",
    "Cannot forward the request: moat failed",
  );
}

/** A refusal by policy, which says what is missing, not what there is. */
export function deniedByPolicy(host: string, method?: string): ProxyFailure {
  const what = method === undefined
    ? `Connections to ${host}`
    : `${method} to ${host} at this path`;
  return new ProxyFailure(
    403,
    "policy-denied",
    "http_request_denied",
    `${what} are not allowed for this client; whoever started it can allow them, as with --allow ${host}`,
  );
}
