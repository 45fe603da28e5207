/**
 * The flag `--host` of providers whose vendor also runs at customers' hosts,
 * or behind a gateway.
 *
 * @module
 */

import { usageError } from "$core/errors.ts";
import { formatAuthority, parseAuthority } from "$core/host.ts";
import type { Flag, FlagValues } from "$core/provider.ts";

const HTTPS_PORT = 443;

/**
 * Makes the flag.
 *
 * @param summary For help.
 */
export function hostFlag(summary: string): Flag {
  return { name: "host", value: "HOST[:PORT]", summary };
}

/**
 * Reads the flag.
 *
 * @param flags What was given.
 * @param fallback The vendor's own host.
 * @returns Canonical, as an `Injection` takes it, without port 443.
 * @throws {MoatError} `usage` for a URL, a pattern or anything else.
 */
export function readHost(flags: FlagValues, fallback: string): string {
  const text = flags["host"];
  if (typeof text !== "string") return fallback;
  const authority = parseAuthority(text, HTTPS_PORT);
  if (!authority) throw badHost(text);
  return formatAuthority(authority, HTTPS_PORT);
}

function badHost(text: string) {
  const origin = URL.parse(text)?.host;
  return usageError(
    `Cannot use ${
      JSON.stringify(text.slice(0, 100))
    } as --host: wanted HOST or HOST:PORT`,
    `write --host ${origin || "api.example.com"}`,
  );
}
