import assert from "node:assert/strict";
import * as fc from "fast-check";
import type { Binding } from "$core/binding.ts";
import {
  checkSessionName,
  fillSessionName,
  PLACEHOLDERS,
} from "./session_name.ts";

const BINDING: Binding = {
  name: "run-abc",
  grants: ["aws"],
  subject: { run: "abc", container: "web 1", user: "émil" },
};

const FILLED = [
  { template: "moat-{binding}", name: "moat-run-abc" },
  { template: "{run}", name: "abc" },
  { template: "{container}", name: "web-1" },
  { template: "{user}@{run}", name: "-mil@abc" },
  { template: "build", name: "build" },
  { template: "x", name: "x-" },
  { template: "{binding}{binding}", name: "run-abcrun-abc" },
];

for (const { template, name } of FILLED) {
  Deno.test(`fillSessionName() makes ${name} of ${template}`, () => {
    assert.equal(fillSessionName(checkSessionName(template), BINDING), name);
  });
}

for (const key of PLACEHOLDERS) {
  Deno.test(`{${key}} of a binding without one is the binding's name`, () => {
    const binding = { ...BINDING, subject: {} };
    assert.equal(fillSessionName(`{${key}}`, binding), "run-abc");
  });
}

for (const template of ["", "{}", "{host}", "a/b", "{binding", "a\nb", "ü"]) {
  Deno.test(`checkSessionName() refuses ${JSON.stringify(template)}`, () => {
    assert.throws(() => checkSessionName(template), { code: "usage" });
  });
}

Deno.test("fillSessionName() does not fill in what a value holds", () => {
  const binding = { ...BINDING, subject: { container: "{user}" } };
  assert.equal(fillSessionName("{container}", binding), "-user-");
});

Deno.test("fillSessionName() gives what STS takes, whatever the container is called", () => {
  fc.assert(fc.property(fc.string({ maxLength: 300 }), (container) => {
    const binding = { ...BINDING, subject: { container } };
    const name = fillSessionName("{container}-{user}", binding);
    assert.match(name, /^[\w+=,.@-]{2,64}$/);
  }));
});

Deno.test("fillSessionName() keeps long names apart", () => {
  const names = ["a", "b"].map((end) =>
    fillSessionName("{container}", {
      ...BINDING,
      subject: { container: "x".repeat(100) + end },
    })
  );
  assert.notEqual(names[0], names[1]);
});
