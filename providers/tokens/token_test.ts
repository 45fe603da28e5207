import assert from "node:assert/strict";
import fc from "fast-check";
import { toMoatError } from "$core/errors.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { placeholderFor } from "./placeholder.ts";
import { parseToken } from "./token.ts";

const ACCEPTED: { name: string; text: string; token: string }[] = [
  { name: "a word", text: "ghp_abc", token: "ghp_abc" },
  { name: "a final line feed", text: "ghp_abc\n", token: "ghp_abc" },
  { name: "blanks around it", text: " \t ghp_abc \r\n\n", token: "ghp_abc" },
  { name: "a byte order mark", text: "\ufeffghp_abc", token: "ghp_abc" },
  {
    name: "a token wrapped over lines (moat-go 353)",
    text: "sk-ant-oat01-abc\ndef\r\nghi\rjkl",
    token: "sk-ant-oat01-abcdefghijkl",
  },
  {
    name: "a wrapped token with indented lines",
    text: "  sk-abc \n  def  \n",
    token: "sk-abcdef",
  },
  {
    name: "all of visible ASCII",
    text: "!~#$%:/+=.,_-",
    token: "!~#$%:/+=.,_-",
  },
];

for (const { name, text, token } of ACCEPTED) {
  Deno.test(`parseToken() takes ${name}`, () => {
    assert.equal(parseToken(text, "X").reveal(), token);
  });
}

const REFUSED: { name: string; text: string; found: RegExp }[] = [
  { name: "nothing", text: "", found: /found nothing$/ },
  { name: "only blanks", text: " \r\n\t ", found: /found nothing$/ },
  { name: "two words", text: `token ${CANARY}`, found: /several words$/ },
  { name: "a NUL", text: `${CANARY}\0`, found: /control characters/ },
  { name: "an escape sequence", text: `\x1b[1m${CANARY}`, found: /control/ },
  { name: "a letter beyond ASCII", text: `${CANARY}ü`, found: /beyond ASCII/ },
  {
    name: "more than 16384 characters",
    text: CANARY.repeat(420),
    found: /found 16800 characters$/,
  },
  {
    name: "a placeholder of moat's",
    text: placeholderFor("github", { prefix: "ghp_", length: 36 }),
    found: /moat's own placeholder$/,
  },
];

for (const { name, text, found } of REFUSED) {
  Deno.test(`parseToken() refuses ${name}, without repeating it`, () => {
    const error = failureOf(() => parseToken(text, "GH_TOKEN"));
    assert.equal(error.code, "bad-token");
    assert.match(error.message, /^Cannot use the token of GH_TOKEN: /);
    assert.match(error.message, found);
    assertNoCanary(error.message, error.hint ?? "", Deno.inspect(error));
  });
}

Deno.test("parseToken() gives what fits into a header, or nothing", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    try {
      const token = parseToken(text, "X").reveal();
      assert.match(token, /^[!-~]+$/);
      assert.equal(new Headers({ "x-key": token }).get("x-key"), token);
    } catch (error) {
      assert.equal(toMoatError(error).code, "bad-token");
    }
  }));
});

function failureOf(fn: () => unknown) {
  try {
    fn();
  } catch (error) {
    return toMoatError(error);
  }
  throw new Error("did not fail");
}
