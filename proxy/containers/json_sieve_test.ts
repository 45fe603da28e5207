import assert from "node:assert/strict";
import * as fc from "fast-check";
import { JsonSieve, type Wanted } from "./json_sieve.ts";

const MAX_VALUE_BYTES = 100_000;

/** Pushes a text in pieces; gives undefined for what is no array, or has no end. */
function sieve(
  text: string | Uint8Array<ArrayBuffer>,
  { wanted = {}, size = 3, maxValueBytes = MAX_VALUE_BYTES }: {
    wanted?: Wanted;
    size?: number;
    maxValueBytes?: number;
  } = {},
): string[] | undefined {
  const bytes = typeof text === "string"
    ? new TextEncoder().encode(text)
    : text;
  const rows = new JsonSieve({ wanted, maxValueBytes });
  const found: string[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    const some = rows.push(bytes.subarray(at, at + size));
    if (!some) return undefined;
    found.push(...some);
  }
  return rows.hasEnded ? found : undefined;
}

const SIZES = [1, 2, 3, 100];

const ROWS: Readonly<Record<string, readonly string[]>> = {
  "[]": [],
  " [ \n] \n": [],
  "[1]": ["1"],
  '["\\"",  "\\\\" ,"é😀"]': ['"\\""', '"\\\\"', '"é😀"'],
  "[[1,{}],[]]": ["[1,{}]", "[]"],
  "[{}, { }]": ["{}", "{ }"],
  // Each is as wrong as its reader will find it.
  "[,]": ["", ""],
  "[1,]": ["1", ""],
};
for (const [text, wanted] of Object.entries(ROWS)) {
  Deno.test(`JsonSieve takes ${JSON.stringify(text)} apart`, () => {
    for (const size of SIZES) {
      const rows = sieve(text, { size })?.map((row) => row.trim());
      assert.deepEqual(rows, wanted);
    }
  });
}

const WANTED = { a: true, b: { c: true } } as const;
const KEPT: [text: string, row: string][] = [
  ['{"a":1,"x":2}', '{"a":1,"x":null}'],
  ['{"a":{"x":[1,"}"]},"b":"]"}', '{"a":{"x":[1,"}"]},"b":"]"}'],
  ['{"b":{"c":"\\"","d":["}"]}}', '{"b":{"c":"\\"","d":null}}'],
  ['{"b":null}', '{"b":null}'],
  ['{"b":[{"d":1}]}', '{"b":[{"d":1}]}'],
  ['{"x":"\\\\","a":""}', '{"x":null,"a":""}'],
  ['{"c":1,"b":{"a":1,"b":{}}}', '{"c":null,"b":{"a":null,"b":null}}'],
  ['{"toString":1}', '{"toString":null}'],
];
for (const [text, row] of KEPT) {
  Deno.test(`JsonSieve keeps of ${text} what is wanted`, () => {
    for (const size of SIZES) {
      assert.deepEqual(sieve(`[${text}]`, { wanted: WANTED, size }), [row]);
    }
  });
}

Deno.test("JsonSieve makes false of what is too long, and nothing else", () => {
  const long = JSON.stringify("é".repeat(50));
  const text = `[{"a":${long},"x":${long},"b":{"c":${long}}},{"a":1}]`;
  for (const size of [1, 7, 1000]) {
    assert.deepEqual(
      sieve(text, { wanted: WANTED, size, maxValueBytes: 101 }),
      ['{"a":false,"x":null,"b":{"c":false}}', '{"a":1}'],
    );
    assert.deepEqual(
      sieve(text, { wanted: WANTED, size, maxValueBytes: 102 })?.[0],
      `{"a":${long},"x":null,"b":{"c":${long}}}`,
    );
  }
});

Deno.test("JsonSieve keeps little of an element without an end", () => {
  const rows = new JsonSieve({ wanted: WANTED, maxValueBytes: 10 });
  const push = (text: string) => rows.push(new TextEncoder().encode(text));
  push('[{"a":"');
  for (let i = 0; i < 100; i++) push("x".repeat(1 << 20));
  assert.deepEqual(push('"}]'), ['{"a":false}']);
});

const MALFORMED = [
  ...["", " ", "{}", "null", "[", '["]', "[[]", "[] []", "[]]", "[}]"],
  ...['[{"a":1]', "[{]}]", "[{[]}]", "[{}:1]"],
];
for (const text of MALFORMED) {
  Deno.test(`JsonSieve refuses ${JSON.stringify(text)}`, () => {
    for (const size of SIZES) assert.equal(sieve(text, { size }), undefined);
  });
}

Deno.test("JsonSieve refuses what is no UTF-8", () => {
  for (const bytes of [[0x5b, 0x22, 0xff, 0x22, 0x5d], [0x5b, 0xc3, 0x5d]]) {
    assert.equal(sieve(Uint8Array.from(bytes)), undefined);
  }
});

/** What is wanted of a value, found without a state machine. */
function model(value: unknown, wanted: boolean | Wanted): unknown {
  if (wanted === false) return null;
  const isObject = typeof value === "object" && value !== null &&
    !Array.isArray(value);
  if (wanted === true || !isObject) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => {
      const own = Object.hasOwn(wanted, key) && wanted[key];
      return [key, model(member, own || false)];
    }),
  );
}

// Not also a quote: V8 14.7 takes one for the backslash of an earlier key.
const KEY = fc.constantFrom("a", "b", "c", "d", "\\", "é", "__proto__");

const { value: VALUE } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.string({ unit: "binary" }),
    fc.double({ noDefaultInfinity: true, noNaN: true }),
    fc.constantFrom(null, true, [], {}),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(KEY, tie("value"), { maxKeys: 4 }),
  ),
}));

const { wanted: TREE } = fc.letrec<{ wanted: Wanted }>((tie) => ({
  wanted: fc.dictionary(
    fc.constantFrom("a", "b", "c"),
    fc.oneof({ maxDepth: 3 }, fc.constant(true as const), tie("wanted")),
    { maxKeys: 3 },
  ),
}));

Deno.test("JsonSieve keeps what is wanted, however it is cut", () => {
  fc.assert(
    fc.property(
      ...[fc.array(VALUE), TREE, fc.nat(2), fc.integer({ min: 1, max: 99 })],
      (values: unknown[], wanted: Wanted, indent: number, size: number) => {
        const text = JSON.stringify(values, null, indent);
        const found = sieve(text, { wanted, size })
          ?.map((row) => JSON.parse(row));
        const expected = JSON.parse(text).map((one: unknown) =>
          model(one, wanted)
        );
        assert.deepEqual(found, expected);
      },
    ),
    { numRuns: 1000 },
  );
});

Deno.test("JsonSieve gives rows of JSON only for an array, whatever it is given", () => {
  const text = fc.string({ unit: fc.constantFrom(...'[]{},:" \\1a') });
  const attempt = <T>(read: () => T) => {
    try {
      return read();
    } catch {
      return undefined;
    }
  };
  fc.assert(
    fc.property(text, fc.integer({ min: 1, max: 5 }), (text, size) => {
      const json = attempt(() => JSON.parse(text));
      // All that there can be is kept.
      const wanted = { "": true, a: true, "1": true, aa: true } as const;
      const found = attempt(() =>
        sieve(text, { wanted, size })?.map((row) => JSON.parse(row))
      );
      if (!Array.isArray(json)) return assert.equal(found, undefined);
      assert.deepEqual(found, json.map((one) => model(one, wanted)));
    }),
    { numRuns: 5000 },
  );
});
