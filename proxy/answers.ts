/**
 * Refusals that several services share.
 *
 * @module
 */

import { type Answer, errorAnswer } from "$core/provider.ts";

/** The client has shown no token that counts. */
export const UNAUTHORIZED: Answer = errorAnswer(
  401,
  "unauthorized",
  "Wanted a known bearer token in the Authorization header",
  [["WWW-Authenticate", "Bearer"]],
);

/** There is nothing at this path. */
export const NOT_FOUND: Answer = errorAnswer(
  404,
  "not-found",
  "Nothing is served here",
);

/** The path takes no other method than GET. */
export const NOT_ALLOWED: Answer = errorAnswer(
  405,
  "method-not-allowed",
  "Only GET is served here",
  [["Allow", "GET"]],
);
