import assert from "node:assert/strict";
import fc from "fast-check";
import { isPlaceholder, placeholderFor } from "./placeholder.ts";

const GITHUB = { prefix: "ghp_", length: 36 };

Deno.test("placeholderFor() is the same for the same grant", () => {
  assert.equal(
    placeholderFor("github", GITHUB),
    placeholderFor("github", GITHUB),
  );
});

Deno.test("placeholderFor() keeps its value from version to version", () => {
  assert.equal(
    placeholderFor("github:work", GITHUB),
    "ghp_moatPlaceholderNc2QFRk6Ir0c5VJyxSLfW",
  );
});

Deno.test("placeholderFor() says whose it is", () => {
  assert.match(placeholderFor("github", GITHUB), /^ghp_moatPlaceholder/);
});

Deno.test("placeholderFor() has the wanted shape for every name", () => {
  fc.assert(fc.property(
    fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,62}$/),
    fc.integer({ min: 31, max: 120 }),
    (name, length) => {
      const made = placeholderFor(`x:${name}`, {
        prefix: "p_",
        length,
        suffix: "AA",
      });
      assert.match(made, /^p_[A-Za-z0-9]+AA$/);
      assert.equal(made.length, length + 4);
      assert.ok(isPlaceholder(made));
    },
  ));
});

Deno.test("placeholderFor() tells 10,000 grants apart, in the shortest shape", () => {
  const made = Array.from(
    { length: 10_000 },
    (_, i) => placeholderFor(`github:${i}`, { length: 31 }),
  );
  assert.equal(new Set(made).size, made.length);
});

Deno.test("placeholderFor() refuses a shape without room", () => {
  assert.throws(() => placeholderFor("github", { length: 30 }), RangeError);
});

Deno.test("isPlaceholder() lets a real token pass", () => {
  assert.equal(
    isPlaceholder("ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
    false,
  );
});
