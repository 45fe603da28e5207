/**
 * The base URL of container credentials: what SDKs accept there.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html | Container credential provider}
 */

import { usageError } from "$core/errors.ts";
import type { CheckedUrl, Mode } from "$core/provider.ts";

/** Hosts that SDKs accept over plain http. Newer ones know the last two. */
const PLAIN_HOSTS =
  /^(127\.\d+\.\d+\.\d+|localhost|\[::1\]|169\.254\.170\.2|169\.254\.170\.23|\[fd00:ec2::23\])$/;

/**
 * Checks a base URL.
 *
 * @param text What a person gave.
 * @param mode How the client asks.
 * @returns Its origin; a path is dropped with a warning.
 * @throws {MoatError} `usage`.
 */
export function checkUrl(text: string, mode: Mode): CheckedUrl {
  const url = URL.parse(text);
  if (!url || !["http:", "https:"].includes(url.protocol) || !url.hostname) {
    throw usageError(
      `Cannot use ${
        JSON.stringify(text.slice(0, 100))
      } as --url: wanted http://ADDR:PORT`,
      "write --url http://127.0.0.1:19080",
    );
  }
  if (url.username || url.password) {
    throw usageError(
      "Cannot use --url with a user or password: SDKs do not send them",
      `write --url ${url.origin}`,
    );
  }
  if (
    mode.reach === "loopback" && url.protocol === "http:" &&
    !PLAIN_HOSTS.test(url.hostname)
  ) {
    throw usageError(
      `Cannot use ${url.origin} in mode ${mode.name}: over plain http SDKs accept only loopback, 169.254.170.2, 169.254.170.23 and [fd00:ec2::23]`,
      "use --mode process, which takes any URL; for a container leave --url out and give --engine and --network",
    );
  }
  return { url: url.origin, warnings: warningsOf(url) };
}

function warningsOf(url: URL): string[] {
  const warnings: string[] = [];
  if (url.pathname !== "/" || url.search || url.hash) {
    warnings.push(`path and query of --url are not used, only ${url.origin}`);
  }
  if (url.protocol === "https:") {
    warnings.push(
      "moat serves no https itself, and SDKs ignore private CAs for container credentials: what is in front of it needs a certificate of a public CA",
    );
  }
  if (url.hostname === "169.254.170.2") {
    warnings.push(
      "the JavaScript SDK v2, minio, rclone and restic refuse 169.254.170.2 in a full URI: use mode ecs-relative for them",
    );
  }
  return warnings;
}
