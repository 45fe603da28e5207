import assert from "node:assert/strict";
import { shellWord, UNPRINTABLE } from "./text.ts";

const WORDS: [text: string, word: string][] = [
  ["/etc/key-1.pem", "/etc/key-1.pem"],
  ["", "''"],
  ["a b", "'a b'"],
  ["it's", "'it'\\''s'"],
  ["$(id)", "'$(id)'"],
];
for (const [text, word] of WORDS) {
  Deno.test(`shellWord() writes ${JSON.stringify(text)} as ${word}`, () =>
    assert.equal(shellWord(text), word));
}

for (const text of ["\n\r", "\x1b", "\x7f", "\x85", "\u2028", "\u202e"]) {
  Deno.test(`UNPRINTABLE finds all of ${JSON.stringify(text)} at once`, () =>
    assert.equal(`a${text}b`.replace(UNPRINTABLE, "?"), "a?b"));
}

Deno.test("UNPRINTABLE leaves letters of all languages", () =>
  assert.equal("é 日本 \u200d".replace(UNPRINTABLE, "?"), "é 日本 \u200d"));
