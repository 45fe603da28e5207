/**
 * Patterns of hosts, as rules and grants name them.
 *
 * @module
 */

import {
  type Authority,
  canonicalHost,
  isAddress,
  parseAuthority,
} from "./host.ts";

/** Which hosts a rule or a grant is about. */
export interface HostPattern {
  /** One host, all below a suffix, or all. Addresses are below none. */
  readonly kind: "exact" | "suffix" | "any";
  /** Canonical; a suffix with its leading dot; empty for any. */
  readonly host: string;
  /** Absent if the text had none. */
  readonly port?: number;
}

/**
 * Reads the host of a rule or of an injection.
 *
 * @param text `HOST`, `*.SUFFIX` or `*`, and `:PORT`; in any spelling.
 * @returns The pattern, canonical; undefined for everything else.
 */
export function parseHostPattern(text: string): HostPattern | undefined {
  if (/^\*(?::|$)/.test(text)) {
    const named = parseHost(`x${text.slice(1)}`);
    return named && { ...named, kind: "any", host: "" };
  }
  if (!text.startsWith("*.")) {
    const named = parseHost(text);
    return named && { ...named, kind: "exact" };
  }
  const named = parseHost(text.slice(2));
  return !named || isAddress(named.host)
    ? undefined
    : { ...named, kind: "suffix", host: `.${named.host}` };
}

/** The whole may be an address without brackets. */
function parseHost(text: string): { host: string; port?: number } | undefined {
  const host = canonicalHost(text);
  return host === undefined ? parseAuthority(text) : { host };
}

/**
 * Writes a pattern, as {@link parseHostPattern} reads it.
 *
 * @param pattern The pattern.
 */
export function formatHostPattern({ kind, host, port }: HostPattern): string {
  const name = kind !== "exact"
    ? `*${host}`
    : host.includes(":")
    ? `[${host}]`
    : host;
  return port === undefined ? name : `${name}:${port}`;
}

/**
 * Tells whether a pattern is about an authority.
 *
 * @param pattern The pattern; without a port, about all of them.
 * @param authority Canonical.
 */
export function matchesHost(
  pattern: HostPattern,
  { host, port }: Authority,
): boolean {
  if (pattern.port !== undefined && pattern.port !== port) return false;
  if (pattern.kind === "exact") return pattern.host === host;
  // No address ends in a suffix, which is a name.
  return pattern.kind === "any" || host.endsWith(pattern.host);
}
