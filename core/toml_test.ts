import assert from "node:assert/strict";
import fc from "fast-check";
import { parse, stringify } from "smol-toml";
import { locate, parseToml } from "./toml.ts";
import type { Path, Shape } from "./shape.ts";

/** Where `^` is, in a text without it. */
function marked(text: string): { text: string; line: number; column: number } {
  const before = text.slice(0, text.indexOf("^"));
  return {
    text: text.replace("^", ""),
    line: before.split("\n").length,
    column: before.length - before.lastIndexOf("\n"),
  };
}

const PLACES: [name: string, text: string, path: Path][] = [
  ["a key", "a = 1\n^b = 2", ["b"]],
  ["a key after blanks", "a = 1\n\n  \t^b = 2", ["b"]],
  ["a key after a comment", "# b = 1\n^b = 2", ["b"]],
  ["a key after a comment on its line", "a = 1 # b = 1\n^b = 2", ["b"]],
  ["a key after CRLF", "a = 1\r\n^b = 2\r\n", ["b"]],
  ["a key in a table", "[t]\na = 1\n^b = 2", ["t", "b"]],
  ["a table", "a = 1\n^[t]\nb = 2", ["t"]],
  ["a table within", "[t]\n^[t.u]\nb = 2", ["t", "u"]],
  ["a key in a table within", "[t.u]\n^b = 2", ["t", "u", "b"]],
  ["a table that another names first", "^[t.u]\n[t]\na = 1", ["t"]],
  ["a key with dots", "^a.b = 1", ["a"]],
  ["a key behind a dot", "a.^b = 1", ["a", "b"]],
  ["a key behind a dot and blanks", "a . ^b = 1", ["a", "b"]],
  ["a quoted key", '^"a b" = 1', ["a b"]],
  ["a quoted key with an escape", '^"a\\u0062" = 1', ["ab"]],
  ["a quoted key with a dot", "^'a.b' = 1", ["a.b"]],
  ["a quoted key with a quote", '^"a\\"]" = 1', ['a"]']],
  ["a quoted table", '^["a]"]\nb = 1', ["a]"]],
  ["a key after a quoted one", '"=" = "="\n^b = 1', ["b"]],
  ["a table of a list", "[[r]]\n^[[r]]\na = 1", ["r", 1]],
  ["a key of a table of a list", "[[r]]\na = 1\n[[r]]\n^a = 1", ["r", 1, "a"]],
  ["a list of tables", "^[[r]]\n[[r]]", ["r"]],
  ["a table in a list's last", "[[r]]\n[[r]]\n[r.s]\n^a = 1", [
    "r",
    1,
    "s",
    "a",
  ]],
  ["a list in a list", "[[r]]\n[[r.s]]\n[[r]]\n[[r.s]]\n^a = 1", [
    "r",
    1,
    "s",
    0,
    "a",
  ]],
  ["an element", 'a = ["x", ^"y"]', ["a", 1]],
  ["an element on a line of its own", "a = [\n  1, # [,\n  ^2,\n]", ["a", 1]],
  ["an element of an element", "a = [[1], [2, ^3]]", ["a", 1, 1]],
  ["an element after a text with a comma", 'a = ["x,]", ^"y"]', ["a", 1]],
  ["an inline table's key", "a = { b = 1, ^c = 2 }", ["a", "c"]],
  ["an inline table's key with dots", "a = { b.^c = 2 }", ["a", "b", "c"]],
  ["an inline table in a list", "a = [{ b = 1 }, ^{ b = 2 }]", ["a", 1]],
  ["a key of one in a list", "a = [{ b = 1 }, { ^b = 2 }]", ["a", 1, "b"]],
  ["a key after an inline table", "a = { b = 1 }\n^b = 2", ["b"]],
  ["a key after an empty list", "a = []\n^b = 2", ["b"]],
  ["a key after an empty table", "a = {}\n^b = 2", ["b"]],
  ["a key after a date", "a = 2026-01-02 03:04:05Z\n^b = 2", ["b"]],
  ["a key after a long text", 'a = """\nb = 1\n"""\n^b = 2', ["b"]],
  ["a key after a long raw text", "a = '''\nb = 1\n'''\n^b = 2", ["b"]],
  ["a key after quotes in a long text", 'a = """x"" """""\n^b = 2', ["b"]],
  ["a key after escaped quotes", 'a = """x\\""""\n^b = 2', ["b"]],
  ["a key after an empty text", 'a = ""\n^b = 2', ["b"]],
  ["a key after a backslash in a raw text", "a = '\\'\n^b = 2", ["b"]],
  ["a key after a hash in a text", "a = '#'\n^b = 2", ["b"]],
  ["a key after characters beyond the BMP", 'a = "\u{1f600}"\n^b = 2', ["b"]],
  ["what is missing in a table", "a = 1\n^[t]\nb = 2", ["t", "c"]],
  ["what is missing in a table of a list", "[[r]]\n^[[r]]", ["r", 1, "c"]],
  ["what is missing in an inline table", "a = [^{ b = 1 }]", ["a", 0, "c"]],
  ["what is missing at the top", "^a = 1", ["x"]],
  ["nothing in an empty file", "^", ["x"]],
];
for (const [name, text, path] of PLACES) {
  Deno.test(`locate() finds ${name}`, () => {
    const { text: toml, ...place } = marked(text);
    parse(toml);
    assert.deepEqual(locate(toml, path), place);
  });
}

/** All paths to what a value holds. */
function paths(value: unknown, path: Path = []): Path[] {
  if (typeof value !== "object" || value === null) return [path];
  const members: [string | number, unknown][] = Array.isArray(value)
    ? value.map((member, i) => [i, member])
    : Object.entries(value);
  return [path, ...members.flatMap(([k, v]) => paths(v, [...path, k]))];
}

Deno.test("locate() finds each text in any TOML", () => {
  const key = fc.string({
    unit: fc.constantFrom(..."ab.\"' ]=#"),
    maxLength: 4,
  });
  const { table } = fc.letrec((tie) => ({
    table: fc.dictionary(key, tie("value"), { maxKeys: 4 }),
    value: fc.oneof(
      { maxDepth: 3 },
      fc.string({ unit: fc.constantFrom(..."a\"'\\]}#,=\n") }),
      fc.array(tie("value"), { maxLength: 3 }),
      tie("table"),
    ),
  }));
  fc.assert(fc.property(table, (value) => {
    const toml = stringify(value);
    const parsed = parse(toml);
    for (const path of paths(parsed)) {
      const { line, column } = locate(toml, path);
      const offset = toml.split("\n").slice(0, line - 1).join("\n").length +
        (line > 1 ? 1 : 0) + column - 1;
      const member = path.at(-1);
      // The place begins with the key, a header, or the element.
      const rest = toml.slice(offset);
      if (typeof member !== "string" || rest.startsWith("[")) continue;
      const spelled = /^[\w-]+$/.test(member) ? member : JSON.stringify(member);
      assert.ok(rest.startsWith(spelled), `${spelled} at ${rest}`);
    }
  }));
});

const read = (shape: Shape) => shape.table("a").get("a").text();

Deno.test("parseToml() gives what is read", () => {
  assert.equal(parseToml('a = "x"', { file: "f", read }), "x");
});

Deno.test("parseToml() reads a file that begins with a mark", () => {
  assert.equal(parseToml('\ufeffa = "x"', { file: "f", read }), "x");
});

const FAULTS: [name: string, text: string, message: string][] = [
  ["an unknown key", 'a = "x"\n  b = 1', 'line 2, column 3: unknown key "b"'],
  [
    "a wrong type",
    "\na = 1",
    "line 2, column 1: wanted a text, found a number",
  ],
  ["a missing key", "", 'line 1, column 1: the key "a" is missing'],
  [
    "bad syntax",
    "a = 1\nb = = 2",
    "line 2, column 5: invalid value",
  ],
  [
    "a key that comes twice",
    "a = 1\na = 2",
    "line 2, column 1: trying to redefine an already defined table or value",
  ],
];
for (const [name, text, message] of FAULTS) {
  Deno.test(`parseToml() tells the place of ${name}`, () => {
    assert.throws(() => parseToml(text, { file: "/f.toml", read }), {
      code: "bad-config",
      message: `Cannot use "/f.toml" at ${message}`,
    });
  });
}

Deno.test("parseToml() has a code of the caller's", () => {
  const options = { file: "f", code: "bad-provider-file", read };
  assert.throws(() => parseToml("b = 1", options), {
    code: "bad-provider-file",
  });
});

Deno.test("parseToml() refuses a deep file", () => {
  const text = `a = ${"[".repeat(100)}${"]".repeat(100)}`;
  assert.throws(() => parseToml(text, { file: "f", read }), {
    code: "bad-config",
  });
});

const CANARIES = [
  'a = "CANARY"\nb',
  "CANARY",
  "CANARY = 1",
  "a = CANARY",
  'a = "CANARY',
  "[CANARY]",
  "[a]\nCANARY = [",
  'a = ["CANARY"]',
  "a = { CANARY = 1 }",
  "a = '''CANARY",
  'a = "\\CANARY"',
];
for (const text of CANARIES) {
  Deno.test(`parseToml() shows nothing of ${JSON.stringify(text)}`, () => {
    assert.throws(
      () => parseToml(text, { file: "f", read }),
      (error: Error & { hint?: string }) =>
        !`${error.message} ${error.hint}`.includes("CANARY"),
    );
  });
}

Deno.test("parseToml() lets a programmer's mistake through", () => {
  const mistake = () => {
    throw new TypeError("mine");
  };
  assert.throws(() => parseToml("", { file: "f", read: mistake }), TypeError);
});
