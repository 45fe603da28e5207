import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { readToken } from "./jwt.ts";
import { Refusal } from "./refusal.ts";

const NOW = Date.UTC(2026, 0, 1);
const SECONDS = NOW / 1000;
const CLAIMS = {
  iss: "https://issuer.example",
  sub: "build:7",
  aud: "sts.amazonaws.com",
  exp: SECONDS + 600,
};

const part = (value: unknown) =>
  Buffer.from(JSON.stringify(value)).toString("base64url");
const token = (claims: unknown, header: unknown = { alg: "RS256" }) =>
  `${part(header)}.${part(claims)}.c2ln`;

function refusal(text: string): [string, string] {
  try {
    readToken(text, NOW);
  } catch (error) {
    if (error instanceof Refusal) return [error.code, error.message];
    throw error;
  }
  return ["", ""];
}

Deno.test("readToken() gives the claims", () => {
  assert.deepEqual(readToken(token(CLAIMS), NOW), {
    issuer: "https://issuer.example",
    subject: "build:7",
    audience: "sts.amazonaws.com",
  });
});

const AUDIENCES: [string, Record<string, unknown>, string][] = [
  ["the first of several", { aud: ["one", "two"] }, "one"],
  ["azp before aud", { azp: "app", aud: ["one"] }, "app"],
];
for (const [what, claims, audience] of AUDIENCES) {
  Deno.test(`readToken() takes ${what} as audience`, () => {
    const found = readToken(token({ ...CLAIMS, ...claims }), NOW);
    assert.equal(found.audience, audience);
  });
}

Deno.test("readToken() tells when a token has ended", () => {
  assert.deepEqual(refusal(token({ ...CLAIMS, exp: SECONDS })), [
    "ExpiredTokenException",
    `Token expired: current date/time ${SECONDS} must be before the expiration date/time ${SECONDS}`,
  ]);
});

Deno.test("readToken() takes a token to its last second", () => {
  assert.deepEqual(refusal(token({ ...CLAIMS, exp: SECONDS + 1 })), ["", ""]);
});

const NO_JWT = /not a valid JWT/;
const MALFORMED: [string, string, RegExp][] = [
  ["no token", "", NO_JWT],
  ["two parts", `${part({})}.${part(CLAIMS)}`, NO_JWT],
  ["four parts", `${token(CLAIMS)}.x`, NO_JWT],
  ["no signature", `${part({ alg: "RS256" })}.${part(CLAIMS)}.`, NO_JWT],
  ["padding", `${token(CLAIMS)}=`, NO_JWT],
  ["a header that is no JSON", `e.${part(CLAIMS)}.c2ln`, NO_JWT],
  ["bytes that are no text", `gIA.${part(CLAIMS)}.c2ln`, NO_JWT],
  ["the algorithm none", token(CLAIMS, { alg: "none" }), /algorithm/],
  ["a shared secret", token(CLAIMS, { alg: "HS256" }), /algorithm/],
  ["no algorithm", token(CLAIMS, {}), /algorithm/],
  ["claims that are no object", token(7), /required claim/],
  ...["iss", "sub", "aud", "exp"].map((name): [string, string, RegExp] => [
    `no ${name}`,
    token({ ...CLAIMS, [name]: undefined }),
    new RegExp(`^Missing a required claim: ${name}$`),
  ]),
  ["an empty audience", token({ ...CLAIMS, aud: [] }), /claim: aud/],
  ["an end as text", token({ ...CLAIMS, exp: "9" }), /claim: exp/],
  [
    "a beginning ahead",
    token({ ...CLAIMS, nbf: SECONDS + 1 }),
    /not valid yet/,
  ],
  ["a birth ahead", token({ ...CLAIMS, iat: SECONDS + 1 }), /not valid yet/],
];
for (const [what, text, message] of MALFORMED) {
  Deno.test(`readToken() refuses ${what}`, () => {
    const [code, found] = refusal(text);
    assert.equal(code, "InvalidIdentityToken");
    assert.match(found, message);
  });
}

Deno.test("readToken() fails only by a refusal, whatever comes", () => {
  const json = fc.json().map((text) => Buffer.from(text).toString("base64url"));
  const tokens = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.tuple(json, json).map(([a, b]) => `${a}.${b}.c2ln`),
    json.map((text) => `${part({ alg: "RS256" })}.${text}.c2ln`),
  );
  fc.assert(fc.property(tokens, (text) => {
    assert.notEqual(refusal(text)[0], "");
  }));
});

Deno.test("readToken() gives any issuer and subject as they are", () => {
  const texts = fc.string({ minLength: 1, unit: "grapheme" });
  fc.assert(fc.property(texts, texts, (iss, sub) => {
    const found = readToken(token({ ...CLAIMS, iss, sub }), NOW);
    assert.deepEqual([found.issuer, found.subject], [iss, sub]);
  }));
});
