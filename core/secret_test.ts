import assert from "node:assert/strict";
import { inspect } from "node:util";
import { Secret } from "./secret.ts";

const CANARY = "canary-8c1d";
const secret = new Secret(CANARY);

const PRINTS: Record<string, () => string> = {
  "a template": () => `${secret}`,
  "String()": () => String(secret),
  "toString()": () => secret.toString(),
  "concatenation": () => "" + (secret as unknown as string),
  "join()": () => [secret, secret].join(),
  "JSON": () => JSON.stringify(secret),
  "nested JSON": () => JSON.stringify({ a: [{ b: secret }] }),
  "indented JSON": () => JSON.stringify(secret, null, 2),
  "Deno.inspect": () => Deno.inspect(secret),
  "nested Deno.inspect": () => Deno.inspect({ a: { b: [secret] } }),
  "Deno.inspect of hidden members": () =>
    Deno.inspect(secret, { showHidden: true, depth: 9 }),
  "util.inspect": () => inspect(secret),
  "nested util.inspect": () => inspect({ a: new Map([["b", secret]]) }),
  "util.inspect of hidden members": () =>
    inspect(secret, { showHidden: true, depth: 9 }),
  "the text of an error": () => new Error(`failed: ${secret}`).message,
  "an error that is inspected": () =>
    Deno.inspect(new Error("failed", { cause: secret })),
  "a subclass of error that holds it": () =>
    Deno.inspect(Object.assign(new Error("failed"), { secret })),
};
for (const [name, print] of Object.entries(PRINTS)) {
  Deno.test(`Secret is redacted in ${name}`, () => {
    const text = print();
    assert.ok(text.includes("[redacted]") && !text.includes(CANARY), text);
  });
}

Deno.test("Secret has no own properties to copy", () => {
  const names = Reflect.ownKeys(Object.assign({}, secret));
  assert.deepEqual(names, []);
});

Deno.test("Secret does not survive structuredClone", () => {
  assert.ok(!Deno.inspect(structuredClone(secret)).includes(CANARY));
});

Deno.test("Secret is not a number", () => {
  assert.ok(Number.isNaN(Number(secret)));
});

for (const value of [CANARY, "", " spaces \n", "\0"]) {
  Deno.test(`reveal() gives ${JSON.stringify(value)} unchanged`, () => {
    assert.equal(new Secret(value).reveal(), value);
  });
}
