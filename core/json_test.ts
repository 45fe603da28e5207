import assert from "node:assert/strict";
import { parseJson } from "./json.ts";

const CASES: { name: string; json: string | Uint8Array; wanted: unknown }[] = [
  { name: "text", json: '{"a":1}', wanted: { a: 1 } },
  {
    name: "UTF-8",
    json: new TextEncoder().encode('"é"'),
    wanted: "é",
  },
  { name: "what is no JSON", json: "{", wanted: undefined },
  {
    name: "what is no UTF-8",
    json: Uint8Array.of(0x22, 0xff, 0x22),
    wanted: undefined,
  },
];

for (const { name, json, wanted } of CASES) {
  Deno.test(`parseJson() parses ${name}`, () =>
    assert.deepEqual(parseJson(json), wanted));
}
