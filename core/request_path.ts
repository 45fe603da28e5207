/**
 * The path of a request in one spelling, and what servers may take it for.
 *
 * @module
 */

/** The path of a request, in one spelling. */
export interface RequestPath {
  /** What is forwarded: dot segments removed, unreserved characters not escaped; with the query. */
  readonly target: string;
  /** What an upstream may understand by it, without the query. Rules look at all of them. */
  readonly readings: readonly string[];
}

/** How many forms of one path are looked at; an honest one has some four. */
const MAX_FORMS = 64;

/**
 * Of all forms together: no client may hold up the others. A key of 1 KiB that
 * is escaped needs 7 Ki, and 4 KiB of base64 with an escaped `=` need 8 Ki.
 */
const MAX_CHARACTERS = 12 * 1024;

/** An absolute path with nothing that could be read in two ways, and any query. */
const SIMPLE =
  /^(?=\/)(?:\/[\w~!$&'()*+,=:@"<>^`{|}[\]-][\w.~!$&'()*+,=:@"<>^`{|}[\]-]*)*\/?(?:\?[!-"$-~]*)?$/;

/** Visible ASCII without a fragment; no backslash and no half escape before the query. */
const TARGET = /^\/(?:[!"$&->@-[\]-~]|%[0-9A-Fa-f]{2})*(?:\?[!-"$-~]*)?$/;

/** RFC 3986 section 2.3, escaped. */
const ESCAPED_UNRESERVED =
  /%(?:2[DdEe]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|5[Ff]|7[Ee])/g;

/** A NUL, or more bytes than UTF-8 needs: what nobody sends but to deceive. */
const DECEPTIVE =
  /\0|[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]/;

/** What any of the steps below changes. */
const AMBIGUOUS = /[%;\\?#]|\/[/.]/;

/** What servers are known to do with a path, in whatever order and as often. */
const STEPS: readonly ((path: string) => string)[] = [
  decodeEscapes,
  (path) => path.replaceAll("%2F", "/"),
  (path) => path.replace(/%5C|\\/g, "/"),
  (path) => path.replace(/\/{2,}/g, "/"),
  (path) => path.replace(/;[^/]*/g, ""),
  (path) => path.replace(/[?#].*/s, ""),
  // As the authority of a relative URL.
  (path) => path.replace(/^\/\/[^/]*/, ""),
  removeDotSegments,
];

/**
 * Brings the target of a request into one spelling, and lists what upstreams
 * may understand by it: that some decode an escaped slash, or more than once,
 * join empty segments or drop `;parameters`, in whatever order.
 *
 * @param target In origin form, or `*`.
 * @returns Its readings, none of which has a dot segment; undefined for what
 * must be refused (400): control characters and NUL, also escaped ones of the
 * latter; backslash, half escapes, a fragment, anything but ASCII, UTF-8 longer
 * than it needs to be; and what has more readings, or longer ones, than anyone
 * means: 64, and 12 Ki characters of all that were looked at.
 * @see {@link https://www.rfc-editor.org/rfc/rfc3986.html#section-6.2.2 | RFC 3986 section 6.2.2}
 */
export function normalizePath(target: string): RequestPath | undefined {
  const queryAt = target.indexOf("?");
  const path = queryAt < 0 ? target : target.slice(0, queryAt);
  if (SIMPLE.test(target)) return { target, readings: [path] };
  if (target === "*") return { target, readings: [target] };
  if (path.length > MAX_CHARACTERS || !TARGET.test(target)) return undefined;
  const forwarded = tidyPath(path);
  const readings = readingsOf(forwarded);
  return readings &&
    { target: forwarded + target.slice(path.length), readings };
}

/** A set is walked while it grows, so that each step is applied to each result. */
function readingsOf(path: string): readonly string[] | undefined {
  const forms = new Set<string>();
  let left = MAX_CHARACTERS;
  const add = (form: string): boolean => {
    if (forms.has(form)) return true;
    left -= form.length;
    forms.add(form);
    return left >= 0 && forms.size <= MAX_FORMS && !DECEPTIVE.test(form);
  };
  if (!add(upperEscapes(path))) return undefined;
  for (const form of forms) {
    if (!AMBIGUOUS.test(form)) continue;
    for (const step of STEPS) {
      const next = step(form);
      if (next !== form && !add(upperEscapes(next || "/"))) return undefined;
    }
  }
  // Whoever leaves a dot segment leaves it to a file system.
  return [...new Set(Array.from(forms, tidyPath))];
}

/**
 * Removes dot segments, and escapes of unreserved characters (RFC 3986
 * sections 6.2.2.2 and 6.2.2.3).
 *
 * @param path Absolute, without a query.
 */
export function tidyPath(path: string): string {
  return removeDotSegments(path.replace(ESCAPED_UNRESERVED, unescape));
}

function removeDotSegments(path: string): string {
  if (!path.includes("/.")) return path;
  const segments = path.split("/").slice(1);
  const kept: string[] = [];
  for (const segment of segments) {
    if (segment === "..") kept.pop();
    else if (segment !== ".") kept.push(segment);
  }
  const last = segments.at(-1);
  if (last === "." || last === "..") kept.push("");
  return `/${kept.join("/")}`;
}

function unescape(escape: string): string {
  return String.fromCharCode(parseInt(escape.slice(1), 16));
}

/**
 * Decodes every escape once.
 *
 * @param path Any text.
 * @returns A character for each byte, as in ISO 8859-1.
 */
export function decodeEscapes(path: string): string {
  return path.replace(/%[0-9A-Fa-f]{2}/g, unescape);
}

/**
 * Writes escapes in upper case, as rules see them.
 *
 * @param path Any text.
 */
export function upperEscapes(path: string): string {
  return path.includes("%")
    ? path.replace(/%[0-9a-f]{2}/gi, (escape) => escape.toUpperCase())
    : path;
}
