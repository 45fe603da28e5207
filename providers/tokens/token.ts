/**
 * Tokens as people give them: pasted over several lines, with blanks around
 * them, or not a token at all.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";
import { Secret } from "$core/secret.ts";
import { isPlaceholder } from "./placeholder.ts";

/** Far above any vendor's: the longest are JSON web tokens of some KiB. */
const MAX_CHARACTERS = 16 * 1024;

/** A line's end with the blanks around it, as a terminal adds it to a long token. */
const WRAP = /[ \t]*(?:\r\n|\r|\n)[ \t]*/g;

/** What may stand in a header without being quoted or encoded. */
const VISIBLE_ASCII = /^[!-~]+$/;

/**
 * Reads a token.
 *
 * Blanks around it are dropped, and lines are joined, because terminals wrap
 * long tokens and people copy them so.
 *
 * @param text What was given.
 * @param origin Where it is from, for errors, such as `GH_TOKEN` or `the file "/tmp/t"`.
 * @returns The token: visible ASCII characters, 1 to 16384.
 * @throws {MoatError} `bad-token`; it does not repeat the text.
 */
export function parseToken(text: string, origin: string): Secret {
  const token = text.trim().replace(WRAP, "");
  const fault = faultOf(token);
  if (fault === undefined) return new Secret(token);
  throw new MoatError(
    "bad-token",
    `Cannot use the token of ${origin}: wanted one word of visible ASCII characters, found ${fault}`,
    { hint: "copy the token again, and nothing beside it" },
  );
}

function faultOf(token: string): string | undefined {
  if (token === "") return "nothing";
  if (token.length > MAX_CHARACTERS) return `${token.length} characters`;
  if (isPlaceholder(token)) return "moat's own placeholder";
  if (/\s/.test(token)) return "several words";
  if (!VISIBLE_ASCII.test(token)) {
    return "control characters or characters beyond ASCII";
  }
  return undefined;
}
