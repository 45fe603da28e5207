import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { testUnless } from "../../tests/support/conditional.ts";
import { run, which } from "../../tests/support/run.ts";
import { parseNpmrc } from "./npmrc.ts";

const ENV = { NPM_TOKEN: "from-env", EMPTY: "" };

/** `KEY` and `VALUE` of each setting. */
const pairs = (text: string) =>
  parseNpmrc(text, ENV).map(({ key, value }) => [key, value]);

const FORMS: { name: string; text: string; pairs: string[][] }[] = [
  { name: "nothing", text: "", pairs: [] },
  {
    name: "a token",
    text: "//r.test/:_authToken=abc",
    pairs: [["//r.test/:_authToken", "abc"]],
  },
  { name: "blanks", text: "  a  =  b c  ", pairs: [["a", "b c"]] },
  { name: "CRLF", text: "a=1\r\nb=2\r\n", pairs: [["a", "1"], ["b", "2"]] },
  {
    name: "comments",
    text: "; x=1\n# y=2\n  # z=3\na=b ; c\nd=e # f",
    pairs: [["a", "b"], ["d", "e"]],
  },
  { name: "escaped comments", text: "a=b\\;c\\#d", pairs: [["a", "b;c#d"]] },
  { name: "a backslash", text: "a=b\\c\\", pairs: [["a", "b\\c\\"]] },
  { name: "double quotes", text: 'a="b;#c"', pairs: [["a", "b;#c"]] },
  { name: "an escape in quotes", text: 'a="b\\u0041"', pairs: [["a", "bA"]] },
  { name: "single quotes", text: "a='b;c'", pairs: [["a", "b;c"]] },
  { name: "half a quote", text: 'a="b', pairs: [["a", '"b']] },
  { name: "quotes of no JSON", text: 'a="b\\x"', pairs: [["a", '"b\\x"']] },
  { name: "padding of base64", text: "a=dTpw==", pairs: [["a", "dTpw=="]] },
  { name: "no value", text: "a\nb=", pairs: [["a", "true"], ["b", ""]] },
  { name: "a section", text: "a=1\n[s]\nb=2", pairs: [["a", "1"]] },
  { name: "a line of an equals sign", text: "=x\na=1", pairs: [["a", "1"]] },
  {
    name: "a variable",
    text: "//r.test/:_authToken=${NPM_TOKEN}",
    pairs: [["//r.test/:_authToken", "from-env"]],
  },
  {
    name: "a variable in a key",
    text: "//${NPM_TOKEN}/:x=1",
    pairs: [["//from-env/:x", "1"]],
  },
  { name: "an escaped variable", text: "a=\\${X}", pairs: [["a", "${X}"]] },
  { name: "an optional variable", text: "a=${X?}", pairs: [["a", ""]] },
  { name: "an empty variable", text: "a=x${EMPTY}", pairs: [["a", "x"]] },
  { name: "an unset variable", text: "a=${X}", pairs: [["a", "${X}"]] },
  { name: "no variable", text: "a=$X ${}", pairs: [["a", "$X ${}"]] },
];

for (const { name, text, pairs: expected } of FORMS) {
  Deno.test(`parseNpmrc() reads ${name}`, () => {
    assert.deepEqual(pairs(text), expected);
  });
}

Deno.test("parseNpmrc() tells the line of each setting", () => {
  const lines = parseNpmrc("# c\r\na=1\r\n\r\nb=2", ENV).map((e) => e.line);
  assert.deepEqual(lines, [2, 4]);
});

Deno.test("parseNpmrc() names a variable that is not set", () => {
  assert.equal(parseNpmrc("a=${MISSING}", ENV)[0]?.unset, "MISSING");
});

Deno.test("parseNpmrc() does not repeat what is no name of a variable", () => {
  assert.equal(parseNpmrc("a=${my secret}", ENV)[0]?.unset, "");
});

// npm's own parser, as it is installed here

function npmModules(): string | undefined {
  const npm = which("npm");
  if (!npm || !which("node")) return undefined;
  const modules = join(Deno.realPathSync(npm), "../../node_modules");
  try {
    Deno.statSync(join(modules, "ini/lib/ini.js"));
    Deno.statSync(join(modules, "@npmcli/config/lib/env-replace.js"));
    return modules;
  } catch {
    return undefined;
  }
}

const MODULES = npmModules();

const SCRIPT = `
const [modules, texts, env] = process.argv.slice(1);
const ini = require(modules + "/ini");
const replace = require(modules + "/@npmcli/config/lib/env-replace.js");
const e = JSON.parse(env);
console.log(JSON.stringify(JSON.parse(texts).map((text) => {
  const out = {};
  for (const [key, value] of Object.entries(ini.parse(text))) {
    if (value === null || typeof value === "object") continue;
    out[replace(key, e)] = replace(String(value), e);
  }
  return out;
})));
`;

/** Of two settings of one name the later one counts. */
const object = (text: string) => Object.fromEntries(pairs(text));

testUnless(
  MODULES ? undefined : "needs npm and node",
  "parseNpmrc() reads what npm reads",
  async () => {
    const piece = fc.constantFrom(
      ...["=", ":", "//r.test/", "_authToken", "a", "b", "@s:registry", "\\"],
      ...[" ", ";", "#", '"', "'", "${NPM_TOKEN}", "${X}", "${X?}", "\\${X}"],
      ...["\n", "\r\n", "\t", "{", "$", "é", "1", "true", "\n[s]\n"],
    );
    const texts = fc.sample(
      fc.array(piece, { maxLength: 14 }).map((pieces) => pieces.join("")),
      { numRuns: 3000, seed: 7 },
    ).filter((text) => !isSpecial(text));
    const { stdout } = await run([
      ...["node", "-e", SCRIPT, MODULES ?? ""],
      ...[JSON.stringify(texts), JSON.stringify(ENV)],
    ]);
    const theirs = JSON.parse(stdout) as Record<string, string>[];
    for (const [index, text] of texts.entries()) {
      assert.deepEqual(object(text), theirs[index], JSON.stringify(text));
    }
  },
);

/** Sections that npm folds into others, and empty names: nothing of ours. */
function isSpecial(text: string): boolean {
  return parseNpmrc(text, ENV).some(({ key }) => key === "" || key === "s");
}
