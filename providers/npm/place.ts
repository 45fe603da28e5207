/**
 * Places of npm registries: URLs, and what npm's settings call them.
 *
 * @module
 * @see {@link https://docs.npmjs.com/cli/configuring-npm/npmrc#auth-related-configuration | Auth related configuration}
 */

import { defaultPort, formatAuthority, parseAuthority } from "$core/host.ts";
import { normalizePath } from "$core/request_path.ts";

/** Where a registry, or a credential, is. */
export interface Place {
  /** How it is asked. */
  readonly scheme: "http" | "https";
  /** `HOST`, or `HOST:PORT` unless it is 443. */
  readonly host: string;
  /** With a slash at both ends, as it is forwarded. */
  readonly path: string;
}

/**
 * Reads a registry's URL.
 *
 * @param text Such as `https://registry.internal:4873/npm/`.
 * @returns The place; undefined for what is no such URL, or has a user, a
 * password, a query or a fragment.
 */
export function parseRegistry(text: string): Place | undefined {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) return undefined;
  if (/[?#]/.test(text) || url.username || url.password) return undefined;
  return makePlace(
    url.protocol === "http:" ? "http" : "https",
    url.host,
    url.pathname,
  );
}

/**
 * Reads the place in a setting's key.
 *
 * @param text Such as `//registry.internal:4873/npm/`.
 * @param registries Registries, which tell the scheme.
 * @returns The place; https unless a registry there has http.
 */
export function parseKey(
  text: string,
  registries: readonly Place[],
): Place | undefined {
  const [, host, path] = /^\/\/([^/@]+)(\/.*)?$/.exec(text) ?? [];
  if (host === undefined || /[?#]/.test(text)) return undefined;
  const http = makePlace("http", host, path ?? "/");
  return registries.some((registry) => http && covers(http, registry))
    ? http
    : makePlace("https", host, path ?? "/");
}

function makePlace(
  scheme: Place["scheme"],
  host: string,
  path: string,
): Place | undefined {
  const authority = parseAuthority(host, defaultPort(scheme));
  const normal = normalizePath(path.endsWith("/") ? path : `${path}/`);
  if (!authority || !normal) return undefined;
  return { scheme, host: formatAuthority(authority, 443), path: normal.target };
}

/**
 * Tells whether a credential's place is a registry's, or above it: npm looks
 * for one upwards.
 *
 * @param place The credential's.
 * @param registry The registry's.
 */
export function covers(place: Place, registry: Place): boolean {
  return place.scheme === registry.scheme && place.host === registry.host &&
    registry.path.startsWith(place.path);
}

/**
 * Writes a place as a registry's URL.
 *
 * @param place The place.
 */
export function registryUrl({ scheme, host, path }: Place): string {
  const authority = parseAuthority(host, 443);
  const name = authority && formatAuthority(authority, defaultPort(scheme));
  return `${scheme}://${name ?? host}${path}`;
}

/**
 * Writes a place as the beginning of a setting's key.
 *
 * @param place The place.
 * @returns Such as `//registry.internal:4873/npm/`.
 */
export function keyOf(place: Place): string {
  return registryUrl(place).replace(/^https?:/, "");
}
