import assert from "node:assert/strict";
import fc from "fast-check";
import { readStructures, readTexts } from "./parameters.ts";
import { Refusal } from "./refusal.ts";

const FIELDS = ["Key", "Value"] as const;

Deno.test("readStructures() reads back every list", () => {
  const item = fc.record({ Key: fc.string(), Value: fc.string() }, {
    noNullPrototype: true,
  });
  fc.assert(fc.property(fc.array(item, { maxLength: 60 }), (items) => {
    const pairs = items.flatMap(({ Key, Value }, i) => [
      [`Tags.member.${i + 1}.Key`, Key],
      [`Tags.member.${i + 1}.Value`, Value],
    ]);
    const parameters = new URLSearchParams([...pairs].reverse());
    assert.deepEqual(readStructures(parameters, "Tags", FIELDS), items);
  }));
});

Deno.test("readTexts() reads back every list", () => {
  fc.assert(fc.property(fc.array(fc.string(), { maxLength: 60 }), (texts) => {
    const pairs = texts.map((text, i) => [`K.member.${i + 1}`, text]);
    const parameters = new URLSearchParams([...pairs].reverse());
    assert.deepEqual(readTexts(parameters, "K"), texts);
  }));
});

Deno.test("readStructures() gives null for a field that was not sent", () => {
  const parameters = new URLSearchParams({ "Tags.member.1.Key": "a" });
  assert.deepEqual(readStructures(parameters, "Tags", FIELDS), [
    { Key: "a", Value: null },
  ]);
});

for (
  const name of [
    "Tags.member.0.Key",
    "Tags.member.01.Key",
    "Tags.member.2.Key",
    "Tags.member.1.Other",
    "Tags.member.1",
    "Tags.1.Key",
    "Tags.member.99999.Key",
    "Tags.member.1.constructor",
  ]
) {
  Deno.test(`readStructures() refuses ${name}`, () => {
    assert.throws(
      () => readStructures(new URLSearchParams({ [name]: "" }), "Tags", FIELDS),
      { code: "MalformedInput" },
    );
  });
}

for (const name of ["K.member.0", "K.member.2", "K.member.1.x", "K.1"]) {
  Deno.test(`readTexts() refuses ${name}`, () => {
    assert.throws(
      () => readTexts(new URLSearchParams({ [name]: "" }), "K"),
      Refusal,
    );
  });
}

Deno.test("readTexts() leaves alone what only begins like the list", () => {
  assert.deepEqual(readTexts(new URLSearchParams({ Keys: "x" }), "K"), []);
});
