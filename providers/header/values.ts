/**
 * The single values of a definition, checked.
 *
 * @module
 */

import {
  formatHostPattern,
  type HostPattern,
  parseHostPattern,
} from "$core/host_pattern.ts";
import { parseJson } from "$core/json.ts";
import type { Shape } from "$core/shape.ts";
import { headerName, isOfTheMessage, isPrefix } from "./headers.ts";

/** As the names of grants, of which they are the first part. */
const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;

/** `moat grant list` and the like are commands. */
const RESERVED = ["list", "show", "providers", "help"];

/** @see {@link https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap08.html | POSIX, environment variables} */
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]{0,99}$/;

/** One line that fits a terminal. */
const LINE = /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]{1,200}$/u;

/** What a placeholder begins with: in a header and a path as it is. */
const PLACEHOLDER_PART = /^[A-Za-z0-9._~:-]{0,40}$/;

/** Segments as they are forwarded: no dots alone, nothing escaped. */
const PATH = /^(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._~!$&'()*+,;=:@-]+)+$/;

/**
 * Tells whether a provider may have a name.
 *
 * @param name Such as `acme`.
 */
export function isProviderName(name: string): boolean {
  return NAME.test(name) && !RESERVED.includes(name);
}

/**
 * Reads a name of a provider.
 *
 * @param shape Its place.
 */
export function readName(shape: Shape): string {
  const name = shape.textAs(
    "a name of lower-case letters, digits, '.', '_' and '-', 63 at most",
    (text) => NAME.test(text) ? text : undefined,
  );
  return RESERVED.includes(name)
    ? shape.fail(`wanted another name: moat grant ${name} is a command`)
    : name;
}

/**
 * Reads names of a provider.
 *
 * @param shape Their place.
 */
export function readNames(shape: Shape): string[] {
  return shape.list().map(readName);
}

/**
 * Reads one line of text.
 *
 * @param shape Its place.
 */
export function readLine(shape: Shape): string {
  return shape.textAs(
    "one line of text, 200 characters at most",
    (text) => LINE.test(text) ? text : undefined,
  );
}

/**
 * Reads names of environment variables.
 *
 * @param shape Their place.
 */
export function readVariables(shape: Shape): string[] {
  return shape.list().map((item) =>
    item.textAs(
      "the name of an environment variable",
      (text) => VARIABLE.test(text) ? text : undefined,
    )
  );
}

/**
 * Reads hosts, one at least.
 *
 * @param shape Their place.
 * @returns Canonical.
 */
export function readHosts(shape: Shape): string[] {
  const hosts = shape.list().map(readHost);
  return hosts.length > 0 ? hosts : shape.fail("wanted one host at least");
}

function readHost(shape: Shape): string {
  const pattern = shape.textAs(
    'a host such as "api.example.com", "*.example.com" or "localhost:8443", without https:// and path',
    parseHostPattern,
  );
  if (pattern.kind === "any" || isTopLevel(pattern)) {
    shape.fail(
      "wanted a narrower host: a credential is not for everything below a top-level domain",
    );
  }
  return formatHostPattern(withoutDefaultPort(pattern));
}

function isTopLevel({ kind, host }: HostPattern): boolean {
  return kind === "suffix" && !host.slice(1).includes(".");
}

function withoutDefaultPort({ port, ...rest }: HostPattern): HostPattern {
  return port === undefined || port === 443 ? rest : { ...rest, port };
}

/**
 * Reads the name of a header.
 *
 * @param shape Its place.
 * @returns In lower case; never one that is the proxy's own.
 */
export function readHeader(shape: Shape): string {
  const name = shape.textAs("the name of a header", headerName);
  return isOfTheMessage(name)
    ? shape.fail(`wanted another header: ${name} is the proxy's own to write`)
    : name;
}

/**
 * Reads what stands before a credential.
 *
 * @param shape Its place.
 */
export function readPrefix(shape: Shape): string {
  return shape.textAs(
    "visible ASCII characters and blanks between them, 100 at most",
    (text) => isPrefix(text) ? text : undefined,
  );
}

/**
 * Reads a user of HTTP Basic.
 *
 * @param shape Its place.
 */
export function readUser(shape: Shape): string {
  return shape.textAs(
    "a user name of visible ASCII characters without a colon",
    (text) => /^[!-9;-~]{1,100}$/.test(text) ? text : undefined,
  );
}

/**
 * Reads one of a definition's hosts.
 *
 * @param shape Its place.
 * @param hosts Canonical.
 */
export function readOwnHost(shape: Shape, hosts: readonly string[]): string {
  const host = readHost(shape);
  return hosts.includes(host)
    ? host
    : shape.fail("wanted one of the hosts above, spelled the same");
}

/**
 * Reads a path without final slash.
 *
 * @param shape Its place.
 */
export function readPath(shape: Shape): string {
  return shape.textAs(
    'a path such as "/api/v4", without final slash, escapes and dot segments',
    (text) => PATH.test(text) ? text : undefined,
  );
}

/**
 * Reads what a placeholder begins or ends with.
 *
 * @param shape Its place.
 */
export function readPlaceholderPart(shape: Shape): string {
  return shape.textAs(
    "letters, digits and '.', '_', '~', ':', '-', 40 at most",
    (text) => PLACEHOLDER_PART.test(text) ? text : undefined,
  );
}

/**
 * Reads the body of a request.
 *
 * @param shape Its place.
 * @returns JSON.
 */
export function readBody(shape: Shape): string {
  return shape.textAs(
    "JSON, 10000 characters at most",
    (text) =>
      text.length <= 10_000 && parseJson(text) !== undefined ? text : undefined,
  );
}
