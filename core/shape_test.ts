import assert from "node:assert/strict";
import { Shape, type ShapeError } from "./shape.ts";

/** What reading refuses: the path and the message, and the hint if any. */
function fault(read: () => unknown): unknown[] {
  try {
    read();
  } catch (error) {
    const { path, message, hint } = error as ShapeError;
    return hint === undefined ? [path, message] : [path, message, hint];
  }
  return [];
}

const top = (value: unknown) => new Shape(value);

Deno.test("text() gives a text", () => {
  assert.equal(top("a").text(), "a");
});

const KINDS: [value: unknown, kind: string][] = [
  [1, "a number"],
  [1n, "nothing"],
  [true, "true or false"],
  [[], "a list"],
  [{}, "a table"],
  [Object.create(null), "a table"],
  [new Date(), "a date"],
  [null, "nothing"],
  [undefined, "nothing"],
];
for (const [value, kind] of KINDS) {
  Deno.test(`text() refuses ${kind}: ${typeof value}`, () => {
    assert.deepEqual(fault(() => top(value).text()), [
      [],
      `wanted a text, found ${kind}`,
      "write it in quotes",
    ]);
  });
}

Deno.test("textAs() gives what is read", () => {
  assert.equal(top("7").textAs("a number", Number), 7);
});

Deno.test("textAs() refuses without showing the text", () => {
  assert.deepEqual(fault(() => top("canary").textAs("x", () => undefined)), [
    [],
    "wanted x",
  ]);
});

Deno.test("oneOf() names the words", () => {
  assert.deepEqual(fault(() => top("c").oneOf("a", "b")), [
    [],
    'wanted "a" or "b"',
  ]);
});

Deno.test("list() gives elements with their places", () => {
  assert.deepEqual(top(["a", "b"]).list().map(({ path }) => path), [[0], [1]]);
});

Deno.test("list() refuses a text", () => {
  assert.deepEqual(fault(() => top("a").list()), [
    [],
    "wanted a list, found a text",
    'write it in brackets, as ["VALUE"]',
  ]);
});

Deno.test("entries() refuses a list", () => {
  assert.deepEqual(fault(() => top([]).entries()), [
    [],
    "wanted a table, found a list",
  ]);
});

Deno.test("entries() gives members with their places", () => {
  const found = top({ a: 1 }).entries().map(([key, { path }]) => [key, path]);
  assert.deepEqual(found, [["a", ["a"]]]);
});

Deno.test("table() gives members by their names", () => {
  const table = top({ a: "x" }).table("a", "b");
  assert.deepEqual([table.get("a").text(), table.find("b")], ["x", undefined]);
});

Deno.test("table() refuses a missing key where the table is", () => {
  const [one] = top([{}]).list();
  assert.deepEqual(fault(() => one?.table("a").get("a")), [
    [0],
    'the key "a" is missing',
  ]);
});

Deno.test("table() refuses an unknown key and tells the nearest", () => {
  assert.deepEqual(fault(() => top({ polcy: 1 }).table("policy", "x")), [
    ["polcy"],
    'unknown key "polcy"',
    "did you mean policy?",
  ]);
});

Deno.test("table() tells all keys where none is near", () => {
  assert.deepEqual(fault(() => top({ something: 1 }).table("a", "b")), [
    ["something"],
    'unknown key "something"',
    "the keys here are a, b",
  ]);
});

for (const key of ["ghp_0123456789", "AKIA", "a b", "a".repeat(33), ""]) {
  Deno.test(`table() does not show the key ${JSON.stringify(key)}`, () => {
    assert.equal(fault(() => top({ [key]: 1 }).table("a"))[1], "unknown key");
  });
}

for (const key of ["constructor", "toString", "__proto__"]) {
  Deno.test(`table() refuses ${key}`, () => {
    const value: unknown = JSON.parse(`{"${key}": 1}`);
    assert.deepEqual(fault(() => top(value).table("a"))[0], [key]);
  });
}
