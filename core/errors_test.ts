import assert from "node:assert/strict";
import { MoatError, toMoatError, usageError } from "./errors.ts";

Deno.test("MoatError carries code, message and hint", () => {
  const { code, message, hint } = new MoatError("bad-arn", "Cannot", {
    hint: "try",
  });
  assert.deepEqual([code, message, hint], ["bad-arn", "Cannot", "try"]);
});

Deno.test("MoatError has no hint by default", () => {
  assert.equal(new MoatError("a", "b").hint, undefined);
});

Deno.test("MoatError has no cause by default", () => {
  assert.ok(!("cause" in new MoatError("a", "b")));
});

Deno.test("MoatError keeps its cause", () => {
  const cause = new Error("underneath");
  assert.equal(new MoatError("a", "b", { cause }).cause, cause);
});

Deno.test("MoatError is an Error of its own name", () => {
  const error = new MoatError("a", "b");
  assert.ok(error instanceof Error && String(error) === "MoatError: b");
});

Deno.test("usageError() has the code that exits with 2", () => {
  assert.equal(usageError("Cannot").code, "usage");
});

Deno.test("usageError() takes a hint", () => {
  assert.equal(usageError("Cannot", "moat help").hint, "moat help");
});

Deno.test("usageError() has no hint by default", () => {
  assert.equal(usageError("Cannot").hint, undefined);
});

Deno.test("toMoatError() leaves a MoatError as it is", () => {
  const error = new MoatError("a", "b");
  assert.equal(toMoatError(error), error);
});

const THROWN: [unknown, string][] = [
  [new TypeError("canary"), "Unexpected TypeError inside moat"],
  ["canary", "Unexpected string inside moat"],
  [undefined, "Unexpected undefined inside moat"],
];
for (const [thrown, message] of THROWN) {
  Deno.test(`toMoatError() names the kind and not the text: ${message}`, () => {
    assert.equal(toMoatError(thrown).message, message);
  });
}

Deno.test("toMoatError() makes anything else internal", () => {
  assert.equal(toMoatError(new Error("x")).code, "internal");
});

Deno.test("toMoatError() keeps what was thrown as the cause", () => {
  const thrown = new TypeError("x");
  assert.equal(toMoatError(thrown).cause, thrown);
});

Deno.test("toMoatError() shows the thrown text in no hint", () => {
  assert.ok(!toMoatError(new Error("canary")).hint?.includes("canary"));
});
