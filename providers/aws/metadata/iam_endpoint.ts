/**
 * Where IAM is asked.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";
import { type Environment, isEndpoint } from "../source.ts";

/** Both of them, in the order in which SDKs prefer them. */
const ENDPOINTS = ["AWS_ENDPOINT_URL_IAM", "AWS_ENDPOINT_URL"] as const;

/**
 * Reads the endpoint of IAM.
 *
 * @param env AWS_ENDPOINT_URL_IAM, AWS_ENDPOINT_URL,
 * AWS_IGNORE_CONFIGURED_ENDPOINT_URLS.
 * @returns A URL; undefined for AWS's own.
 * @throws {MoatError} `bad-environment` for one that is no URL.
 */
export function iamEndpoint(env: Environment): string | undefined {
  if (env["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] === "true") return undefined;
  const variable = ENDPOINTS.find((name) => env[name]);
  const endpoint = variable && env[variable];
  if (!endpoint || isEndpoint(endpoint)) return endpoint || undefined;
  // Before an @ there may be a password.
  throw new MoatError(
    "bad-environment",
    `Cannot use ${variable}: wanted an http or https URL without a user`,
    { hint: "remove it, or give it a URL such as https://iam.amazonaws.com" },
  );
}
