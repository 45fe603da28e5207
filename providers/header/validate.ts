/**
 * Trying a token as its definition says.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";
import type { Platform } from "$core/platform.ts";
import type { Secret } from "$core/secret.ts";
import { validateToken } from "../tokens/validate.ts";
import {
  type HeaderDefinition,
  TOKEN_IN_URL,
  type ValidationRule,
} from "./definition.ts";
import { headerValue, isAt, isBelow, placedHeaders } from "./placement.ts";
import type { HeaderSettings } from "./settings.ts";

/**
 * Tries a token with each request of a definition, until one takes it: a
 * vendor may have several sites, whose tokens look alike.
 *
 * @param definition Which requests.
 * @param token The token.
 * @param platform Clock and environment.
 * @returns What the vendor said; `none` if there is no request.
 * @throws {MoatError} As `validateToken`, of the first request.
 */
export async function tryToken(
  definition: HeaderDefinition,
  token: Secret,
  platform: Pick<Platform, "clock" | "env">,
): Promise<HeaderSettings["validation"]> {
  let first: MoatError | undefined;
  for (const rule of definition.validate ?? []) {
    try {
      const { result } = await validateToken(
        requestOf(rule, definition, token),
        platform,
      );
      return result;
    } catch (error) {
      if (!(error instanceof MoatError)) throw error;
      first ??= error;
    }
  }
  if (first) throw first;
  return "none";
}

function requestOf(
  { url, method, body, rejected, forbiddenIsFine }: ValidationRule,
  definition: HeaderDefinition,
  token: Secret,
) {
  return {
    vendor: definition.name,
    url: url.replaceAll(TOKEN_IN_URL, () => inPath(token)),
    headers: headersAt(new URL(url), definition, token),
    hint: definition.help ?? "check that it was copied whole, or get another",
    ...(method !== undefined && { method }),
    ...(body !== undefined && { body }),
    ...(rejected !== undefined && { rejects: rejected }),
    ...(forbiddenIsFine !== undefined && { allowsForbidden: forbiddenIsFine }),
  };
}

function inPath(token: Secret): string {
  return encodeURIComponent(token.reveal()).replaceAll("%3A", ":");
}

/** Those that the proxy would put on; the longest path counts for each. */
function headersAt(
  url: URL,
  definition: HeaderDefinition,
  token: Secret,
): Record<string, Secret> {
  const rules = placedHeaders(definition)
    .filter(({ host, path }) => isAt(url, host) && isBelow(url.pathname, path))
    .toSorted((a, b) => (a.path ?? "").length - (b.path ?? "").length);
  return Object.fromEntries(
    rules.map((rule) => [rule.header, headerValue(rule, token.reveal())]),
  );
}
