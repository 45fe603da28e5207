/**
 * Why a request is not answered, as values.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";
import { Answer, errorAnswer } from "$core/provider.ts";
import { clientSentence } from "../errors.ts";

/**
 * Why there were no credentials, for telemetry; go-metadataproxy's words where
 * it has one.
 */
export type RefusalReason =
  | "could_not_find_container"
  | "could_not_assume_role"
  | "role_names_do_not_match"
  | "bad_request"
  | "bad_token"
  | "not_found"
  | "could_not_pass_through";

/** A request that is not answered. */
export class Refusal extends Error {
  /**
   * Says why.
   *
   * @param status HTTP status code of moat's own answer.
   * @param code A kebab-case word.
   * @param message One sentence, for the client; no secret.
   * @param reason For telemetry.
   * @param headers Of moat's own answer, such as `Allow`.
   */
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly reason: RefusalReason,
    readonly headers: Answer["headers"] = [],
  ) {
    super(message);
  }
}

/** Go's answer of `http.NotFound`, for every failure of go-metadataproxy. */
const GO_NOT_FOUND = new Answer(
  404,
  "404 page not found\n",
  "text/plain; charset=utf-8",
);

/**
 * Answers with a refusal.
 *
 * @param refusal Why.
 * @param isCompatible Whether as go-metadataproxy does.
 * @returns moat's JSON, or 404.
 */
export function refusalAnswer(
  { status, code, message, headers }: Refusal,
  isCompatible: boolean,
): Answer {
  return isCompatible
    ? GO_NOT_FOUND
    : errorAnswer(status, code, message, headers);
}

/**
 * Turns a failure into a refusal.
 *
 * @param error What was thrown.
 * @returns The same refusal, or one for a MoatError, in words for clients.
 * @throws Anything else, which is a programmer's mistake and stays one.
 */
export function toRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (!(error instanceof MoatError)) throw error;
  return new Refusal(
    502,
    error.code,
    clientSentence(error),
    "could_not_assume_role",
  );
}

/** Another path. */
export const NOT_FOUND: Refusal = new Refusal(
  404,
  "not-found",
  "Nothing is served here",
  "not_found",
);

/** Nobody said what this container may have. */
export const NO_GRANT: Refusal = new Refusal(
  404,
  "no-role",
  "No grant serves this container, and nothing was bound to it",
  "could_not_find_container",
);

/** The path names a role that is not the client's. */
export const OTHER_ROLE: Refusal = new Refusal(
  404,
  "other-role",
  "This container has another role than the one in the path",
  "role_names_do_not_match",
);

/** Another method, where something is read. */
export const ONLY_GET: Refusal = new Refusal(
  405,
  "method-not-allowed",
  "Only GET is served here",
  "bad_request",
  [["Allow", "GET"]],
);

/** Another method, where tokens are. */
export const ONLY_PUT: Refusal = new Refusal(
  405,
  "method-not-allowed",
  "Only PUT is served here",
  "bad_request",
  [["Allow", "PUT"]],
);

/** No request of this service has a body. */
export const BODY_REFUSED: Refusal = new Refusal(
  400,
  "body-refused",
  "Wanted a request without a body",
  "bad_request",
);

/** No life, several, or one out of bounds. */
export const BAD_TTL: Refusal = new Refusal(
  400,
  "bad-ttl",
  "Wanted one X-aws-ec2-metadata-token-ttl-seconds header of 1 to 21600",
  "bad_request",
);

/** Two readers might each take another one. */
export const SEVERAL_TOKENS: Refusal = new Refusal(
  400,
  "several-tokens",
  "Wanted one session token, found several",
  "bad_request",
);

/** No token, and version 1 is off; SDKs know 403. */
export const VERSION_1: Refusal = new Refusal(
  403,
  "token-required",
  "Wanted a session token (version 2); version 1 is off",
  "bad_token",
);

/** Whatever is wrong with the token, which SDKs fetch anew. */
export const BAD_TOKEN: Refusal = new Refusal(
  401,
  "unauthorized",
  "Wanted a session token that this container fetched and that has not ended",
  "bad_token",
);
