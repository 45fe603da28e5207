/**
 * Text for terminals and shells.
 *
 * @module
 */

/**
 * Runs of what does not stay within its line: control characters, line
 * separators and changes of the writing direction.
 */
export const UNPRINTABLE =
  // deno-lint-ignore no-control-regex
  /[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+/g;

/**
 * Writes a word as one types it into a POSIX shell.
 *
 * @param word Any text without a NUL.
 * @returns The same, in quotes where it needs them.
 */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word)
    ? word
    : `'${word.replaceAll("'", `'\\''`)}'`;
}
