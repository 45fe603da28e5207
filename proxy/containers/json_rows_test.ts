import assert from "node:assert/strict";
import * as fc from "fast-check";
import { JsonRows } from "./json_rows.ts";

/** Pushes a text in pieces; gives undefined for what is no array, or has no end. */
function rowsOf(
  text: string | Uint8Array<ArrayBuffer>,
  size = 3,
): string[] | undefined {
  const bytes = typeof text === "string"
    ? new TextEncoder().encode(text)
    : text;
  const rows = new JsonRows();
  const found: string[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    const some = rows.push(bytes.subarray(at, at + size));
    if (!some) return undefined;
    found.push(...some);
  }
  return rows.hasEnded ? found : undefined;
}

const GOOD: Readonly<Record<string, readonly string[]>> = {
  "[]": [],
  " [ \n] \n": [],
  "[1]": ["1"],
  '[{"a":[1,2]},{"b":"]},["}]\n': ['{"a":[1,2]}', '{"b":"]},["}'],
  '["\\"",  "\\\\" ,"é😀"]': ['"\\""', '  "\\\\" ', '"é😀"'],
  // Each is as wrong as its reader will find it.
  "[,]": ["", ""],
  "[1,]": ["1", ""],
  "[}]": ["}"],
};
for (const [text, wanted] of Object.entries(GOOD)) {
  Deno.test(`JsonRows takes ${text} apart`, () => {
    for (const size of [1, 2, 100]) {
      assert.deepEqual(rowsOf(text, size), wanted);
    }
  });
}

for (const text of ["", " ", "{}", "null", "[", '["]', "[[]", "[] []", "[]]"]) {
  Deno.test(`JsonRows refuses ${JSON.stringify(text)}`, () => {
    for (const size of [1, 2, 100]) {
      assert.equal(rowsOf(text, size), undefined);
    }
  });
}

Deno.test("JsonRows refuses what is no UTF-8", () => {
  for (const bytes of [[0x5b, 0x22, 0xff, 0x22, 0x5d], [0x5b, 0xc3, 0x5d]]) {
    assert.equal(rowsOf(Uint8Array.from(bytes)), undefined);
  }
});

Deno.test("JsonRows finds what JSON.parse() finds, however it is cut", () => {
  const array = fc.array(fc.jsonValue());
  fc.assert(
    fc.property(
      array,
      fc.nat(2),
      fc.integer({ min: 1, max: 99 }),
      (...given) => {
        const [values, indent, size] = given;
        const rows = rowsOf(JSON.stringify(values, null, indent), size);
        const found = rows?.map((row) => JSON.parse(row));
        assert.deepEqual(found, JSON.parse(JSON.stringify(values)));
      },
    ),
  );
});

Deno.test("JsonRows gives rows of JSON only for an array, whatever it is given", () => {
  const text = fc.string({ unit: fc.constantFrom(...'[]{},:" \\1a') });
  fc.assert(
    fc.property(text, fc.integer({ min: 1, max: 5 }), (text, size) => {
      let found: unknown[] | undefined;
      try {
        found = rowsOf(text, size)?.map((row) => JSON.parse(row));
      } catch {
        found = undefined;
      }
      let wanted: unknown;
      try {
        wanted = JSON.parse(text);
      } catch {
        wanted = undefined;
      }
      assert.deepEqual(found, Array.isArray(wanted) ? wanted : undefined);
    }),
    { numRuns: 2000 },
  );
});
