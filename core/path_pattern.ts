/**
 * Patterns of paths, as rules name them: `*` is one segment or a part of one,
 * `**` any number of them.
 *
 * No regular expressions: clients choose the paths, and must not find one that
 * takes long.
 *
 * @module
 */

import { decodeEscapes, tidyPath, upperEscapes } from "./request_path.ts";

/** Stands for `*`, and for nothing in a path. */
const STAR = "\uffff";

/** Each segment as the parts between its stars; undefined for `**`. */
type Segments = readonly (readonly string[] | undefined)[];

/**
 * Tells why a text is no path of a rule.
 *
 * @param text What a person wrote.
 * @returns Words like `wanted a path that begins with "/"`; undefined if it is one.
 */
export function pathFault(text: string): string | undefined {
  const path = escapeForeign(text);
  if (!path.startsWith("/")) return 'wanted a path that begins with "/"';
  if (/[?#;\\]/.test(path)) {
    return 'wanted a path without "?", "#", ";" and "\\"; * may stand for a part of a segment';
  }
  if (/%(?![0-9a-f]{2})|%00/i.test(path)) {
    return "wanted two hexadecimal digits after each %, and no %00";
  }
  if (path.includes("//")) return "wanted no empty segment";
  if (tidyPath(path) !== path) {
    return "wanted no dot segment, and no escape of a letter, digit, -, ., _ or ~";
  }
  const rest = path.replace(/\/\*\*(?=\/|$)/g, "");
  return rest.includes("**") ? "wanted ** as a whole segment" : undefined;
}

/** As a client would have to send it. */
function escapeForeign(text: string): string {
  return text.replace(
    /[^!-~]/gu,
    (character) =>
      Array.from(
        new TextEncoder().encode(character),
        (byte) => `%${byte.toString(16).padStart(2, "0").toUpperCase()}`,
      ).join(""),
  );
}

/**
 * Makes a pattern ready to be asked. An escape in it stands for itself and for
 * what it means.
 *
 * @param text One in which {@link pathFault} finds none.
 * @param isDeny Whether it is to match in doubt: in any case, and with or
 * without a final slash.
 * @returns Tells whether a reading (see `RequestPath`) matches.
 */
export function compilePathPattern(
  text: string,
  isDeny: boolean,
): (reading: string) => boolean {
  const escaped = upperEscapes(escapeForeign(text)).replaceAll("*", STAR);
  const patterns = [...new Set([escaped, decodeEscapes(escaped)])]
    .flatMap((path) => spellings(path, isDeny)).map((segments) =>
      segments.map((segment) =>
        segment === STAR + STAR ? undefined : segment.split(STAR)
      )
    );
  return (reading) => {
    const paths = spellings(reading, isDeny);
    return patterns.some((pattern) =>
      paths.some((path) => matchesPath(pattern, path, isDeny))
    );
  };
}

/** The segments; of a denied path without its final slash, too. */
function spellings(path: string, isDeny: boolean): readonly string[][] {
  if (!isDeny) return [path.split("/")];
  const segments = path.toLowerCase().split("/");
  return segments.length > 2 && segments.at(-1) === ""
    ? [segments, segments.slice(0, -1)]
    : [segments];
}

/** As wildcards of file names are matched: only the last `**` is tried again. */
function matchesPath(
  pattern: Segments,
  path: readonly string[],
  isDeny: boolean,
): boolean {
  let at = 0;
  let retryAt = -1;
  let retryFrom = 0;
  for (let i = 0; i < path.length;) {
    const parts = pattern[at];
    if (at < pattern.length && !parts) {
      retryAt = ++at;
      retryFrom = i;
    } else if (parts && matchesSegment(parts, path[i] ?? "", isDeny)) {
      at++;
      i++;
    } else if (retryAt >= 0) {
      at = retryAt;
      i = ++retryFrom;
    } else return false;
  }
  while (at < pattern.length && !pattern[at]) at++;
  return at === pattern.length;
}

function matchesSegment(
  parts: readonly string[],
  segment: string,
  isDeny: boolean,
): boolean {
  const first = parts[0] ?? "";
  if (parts.length === 1) return segment === first;
  // `/a/*` is no permission for `/a/`, which many servers take for `/a`.
  if (segment === "") return isDeny && parts.every((part) => part === "");
  const last = parts.at(-1) ?? "";
  const end = segment.length - last.length;
  if (!segment.startsWith(first) || !segment.endsWith(last)) return false;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = segment.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= end;
}
