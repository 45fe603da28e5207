/**
 * docs/errors.md against the source: each code that something is refused with
 * is in its table, and each code of a table is one. The codes of AWS sessions
 * are checked beside their list.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { sourceFiles } from "../scripts/check_imports.ts";
import { ROOT } from "../scripts/process.ts";

const TEXT = await Deno.readTextFile(join(ROOT, "docs/errors.md"));

/** The cells of the rows of a section. */
function rowsOf(section: string): string[][] {
  const [, text = ""] = TEXT.split(`\n## ${section}\n`);
  const [own = ""] = text.split("\n## ");
  return own.split("\n").filter((line) => line.startsWith("| `")).map((line) =>
    line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim())
  );
}

function codesOf(...sections: string[]): string[] {
  return sections.flatMap(rowsOf).map(([code = ""]) => code.slice(1, -1));
}

const AWS = codesOf("Sessions of AWS");
const ANSWERS = codesOf("Answers of the proxy");
const METADATA = codesOf("Answers of the metadata service");
const UNTOLD = codesOf("Clients that cannot be told");
const COMMANDS = codesOf("Commands");

/** The source in some folders, without tests. */
async function sourceOf(...folders: string[]): Promise<string> {
  const files = (await sourceFiles(ROOT)).filter((file) =>
    folders.some((folder) => file.startsWith(folder)) &&
    !file.endsWith("_test.ts")
  );
  const texts = await Promise.all(
    files.map((file) => Deno.readTextFile(join(ROOT, file))),
  );
  return texts.join("\n");
}

/** Kebab-case codes at a place in the source. */
function codesAt(source: string, place: RegExp): string[] {
  const found = [...source.matchAll(place)].map(([, code = ""]) => code);
  return [...new Set(found)].sort();
}

/** `new HttpError(400, "code"`, `[502, "code"`, `["code", "tls_…"`. */
const ANSWER_PLACES = [
  /new (?:HttpError|ProxyFailure)\(\s*\d{3},\s*"([a-z0-9-]+)"/g,
  /\[\s*\d{3},\s*"([a-z0-9-]+)",\s*"[a-z]+_/g,
  /\[\s*"([a-z0-9-]+)",\s*"(?:tls|connection)_/g,
];

const FORWARD = await sourceOf("proxy/intercept/", "proxy/http1/");

Deno.test("docs/errors.md lists each code that the forward proxy refuses with", () => {
  const codes = ANSWER_PLACES.flatMap((place) => codesAt(FORWARD, place));
  assert(codes.length > 40, `found ${codes.length} only`);
  const known = [...ANSWERS, ...UNTOLD];
  assert.deepEqual(codes.filter((code) => !known.includes(code)), []);
});

Deno.test("docs/errors.md lists each code that a command fails with", async () => {
  const source = await sourceOf("core/", "proxy/", "providers/", "main.ts");
  const codes = codesAt(source, /new MoatError\(\s*"([a-z0-9-]+)"/g);
  assert(codes.length > 60, `found ${codes.length} only`);
  const known = [...COMMANDS, ...AWS, ...ANSWERS, ...METADATA, ...UNTOLD];
  assert.deepEqual(codes.filter((code) => !known.includes(code)), []);
});

Deno.test("docs/errors.md lists codes that there are", async () => {
  const source = await sourceOf("core/", "proxy/", "providers/");
  const codes = [...ANSWERS, ...METADATA, ...UNTOLD, ...COMMANDS];
  assert.deepEqual(codes.filter((code) => !source.includes(`"${code}"`)), []);
});

for (
  const section of [
    "Answers of the proxy",
    "Answers of the metadata service",
    "Clients that cannot be told",
    "Commands",
  ]
) {
  Deno.test(`docs/errors.md has no code twice among ${section}`, () => {
    const codes = codesOf(section);
    assert.deepEqual(codes, [...new Set(codes)]);
  });

  Deno.test(`docs/errors.md says what to do about each of ${section}`, () => {
    const rows = rowsOf(section).filter((row) => (row.at(-1) ?? "").length < 5);
    assert.deepEqual(rows, []);
  });
}

Deno.test("docs/errors.md tells the status of each answer", () => {
  for (
    const section of ["Answers of the proxy", "Answers of the metadata service"]
  ) {
    for (const [code, status = ""] of rowsOf(section)) {
      assert.match(status, /^[45]\d\d$/, code);
    }
  }
});
