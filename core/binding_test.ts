import assert from "node:assert/strict";
import { digestToken, equalDigests, mintToken } from "./binding.ts";

Deno.test("mintToken() makes moat_ and 256 bits of base64url", () => {
  assert.match(mintToken().reveal(), /^moat_[A-Za-z0-9_-]{43}$/);
});

Deno.test("mintToken() makes a new token each time", () => {
  const tokens = Array.from({ length: 100 }, () => mintToken().reveal());
  assert.equal(new Set(tokens).size, 100);
});

Deno.test("digestToken() is SHA-384 in base64url", () => {
  // FIPS 180-4, the vector "abc".
  assert.equal(
    digestToken("abc"),
    "ywB1P0WjXou1oD1pmsZQBycsMqsO3tFjGotgWkP_W-2AhgcroefMI1i67KE0yCWn",
  );
});

Deno.test("equalDigests() accepts the same token", () => {
  assert.equal(equalDigests(digestToken("a"), digestToken("a")), true);
});

const DIFFERENT: [name: string, other: string][] = [
  ["another token", digestToken("b")],
  ["a prefix", digestToken("a").slice(0, -1)],
  ["nothing", ""],
  ["more", digestToken("a") + "A"],
  ["the other case", digestToken("a").toLowerCase()],
  // As many UTF-16 units, more bytes: must not throw.
  ["as many characters, not ASCII", "é".repeat(64)],
];
for (const [name, other] of DIFFERENT) {
  Deno.test(`equalDigests() refuses ${name}`, () => {
    assert.equal(equalDigests(digestToken("a"), other), false);
  });
}
