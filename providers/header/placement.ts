/**
 * Where a definition puts the credential, and how it is spelled there.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { matchesHost, parseHostPattern } from "$core/host_pattern.ts";
import { Secret } from "$core/secret.ts";
import type { HeaderDefinition, HeaderRule } from "./definition.ts";

/** A rule's header in one place. */
export interface PlacedHeader extends HeaderRule {
  /** One of the definition's hosts. */
  readonly host: string;
}

/**
 * Lists a definition's headers, host by host.
 *
 * @param definition The definition.
 * @returns Empty where the path takes the credential.
 */
export function placedHeaders(
  { hosts, inject }: Pick<HeaderDefinition, "hosts" | "inject">,
): readonly PlacedHeader[] {
  if (inject === "path") return [];
  return inject.flatMap((rule) =>
    (rule.hosts ?? hosts).map((host) => ({ ...rule, host }))
  );
}

/**
 * Writes a credential as a header has it.
 *
 * @param rule Which header.
 * @param token The credential.
 * @returns The header's whole value.
 */
export function headerValue(
  { prefix = "", basicUser }: Pick<HeaderRule, "prefix" | "basicUser">,
  token: string,
): Secret {
  if (basicUser === undefined) return new Secret(prefix + token);
  const pair = Buffer.from(`${basicUser}:${token}`).toString("base64");
  return new Secret(`Basic ${pair}`);
}

/**
 * Tells whether a URL is at one of a definition's hosts.
 *
 * @param url With https.
 * @param host Canonical; without a port it means 443.
 */
export function isAt(url: URL, host: string): boolean {
  const pattern = parseHostPattern(host);
  return pattern !== undefined && matchesHost({ port: 443, ...pattern }, {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: Number(url.port || 443),
  });
}

/**
 * Tells whether a path is at another or below it.
 *
 * @param pathname Of a URL.
 * @param path Without final slash; absent for the top.
 */
export function isBelow(pathname: string, path: string | undefined): boolean {
  return path === undefined || pathname === path ||
    pathname.startsWith(`${path}/`);
}
