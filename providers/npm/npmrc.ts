/**
 * The format of `.npmrc`, as npm itself reads it: its own dialect of INI, and
 * variables of the environment in it.
 *
 * **Security:** values, and the keys of lines that are no settings, are never
 * repeated in an error: either may be a token.
 *
 * @module
 * @see {@link https://docs.npmjs.com/cli/configuring-npm/npmrc | npmrc}
 * @see {@link https://github.com/npm/ini | npm/ini}
 */

/** One setting. */
export interface NpmrcEntry {
  /** As it stands, with variables replaced. */
  readonly key: string;
  /** As {@link NpmrcEntry.key}; `true` for a key without a value. */
  readonly value: string;
  /** From 1. */
  readonly line: number;
  /** A variable that it names and that is not set; empty for a name that is not shown. */
  readonly unset?: string;
}

/** `${NAME}` and `${NAME?}`; an odd number of backslashes before it takes its meaning. */
const VARIABLE = /(?<!\\)(\\*)\$\{([^${}?]+)(\?)?\}/g;

/**
 * Parses a file.
 *
 * @param text The whole file.
 * @param env What `${NAME}` names.
 * @returns Its settings in order, without those of sections, which npm ignores.
 */
export function parseNpmrc(
  text: string,
  env: Readonly<Record<string, string>>,
): NpmrcEntry[] {
  const entries: NpmrcEntry[] = [];
  for (const [index, line] of text.split(/\r\n|\r|\n/).entries()) {
    if (/^\s*(?:[;#].*)?$/.test(line)) continue;
    if (/^\[[^\]]*\]\s*$/.test(line)) break;
    const [, key, , value] = /^([^=]+)(=(.*))?$/.exec(line) ?? [];
    if (key === undefined) continue;
    entries.push(entryOf(unquote(key), unquote(value ?? "true"), index, env));
  }
  return entries;
}

function entryOf(
  rawKey: string,
  rawValue: string,
  index: number,
  env: Readonly<Record<string, string>>,
): NpmrcEntry {
  const key = expand(rawKey, env);
  const value = expand(rawValue, env);
  const unset = key.unset ?? value.unset;
  return {
    key: key.text,
    value: value.text,
    line: index + 1,
    ...(unset !== undefined && { unset }),
  };
}

/** Quoted text is JSON; of the rest, `;` and `#` begin a comment. */
function unquote(raw: string): string {
  const text = raw.trim();
  const isIn = (quote: string) =>
    text.startsWith(quote) && text.endsWith(quote);
  if (isIn('"')) return parseQuoted(text);
  // npm takes single quotes away, and then tries JSON all the same.
  if (isIn("'")) return parseQuoted(text.slice(1, -1));
  const [plain = ""] = /^(?:\\[^]|[^;#\\]|\\$)*/.exec(text) ?? [];
  return plain.replace(/\\([\\;#])/g, "$1").trim();
}

function parseQuoted(text: string): string {
  try {
    return String(JSON.parse(text));
  } catch {
    return text;
  }
}

function expand(
  text: string,
  env: Readonly<Record<string, string>>,
): { readonly text: string; readonly unset?: string } {
  let unset: string | undefined;
  const expanded = text.replace(
    VARIABLE,
    (whole, slashes: string, name: string, optional?: string) => {
      if (slashes.length % 2 === 1) {
        return whole.slice((slashes.length + 1) / 2);
      }
      const value = env[name] ?? (optional === "?" ? "" : undefined);
      if (value === undefined) {
        unset ??= /^[A-Z_][A-Z0-9_]{0,49}$/.test(name) ? name : "";
      }
      return slashes.slice(slashes.length / 2) + (value ?? whole);
    },
  );
  return { text: expanded, ...(unset !== undefined && { unset }) };
}
