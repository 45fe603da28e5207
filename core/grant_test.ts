import assert from "node:assert/strict";
import fc from "fast-check";
import { grantCommand, grantName, parseGrantName } from "./grant.ts";

const part = fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,62}$/);

Deno.test("grantName() is the provider without a name", () => {
  assert.equal(grantName("aws"), "aws");
});

Deno.test("grantName() joins provider and name", () => {
  assert.equal(grantName("aws", "prod"), "aws:prod");
});

const BAD_PARTS: Record<string, string> = {
  "nothing": "",
  "capitals": "Prod",
  "a colon": "a:b",
  "a slash": "a/b",
  "dots alone": "..",
  "a leading dot": ".a",
  "a leading dash": "-a",
  "a space": "a b",
  "a line feed at the end": "a\n",
  "a letter with an accent": "é",
  "a NUL": "a\0",
  "64 characters": "a".repeat(64),
};
for (const [name, text] of Object.entries(BAD_PARTS)) {
  Deno.test(`grantName() refuses ${name}`, () => {
    assert.throws(() => grantName("aws", text), { code: "usage" });
  });

  Deno.test(`parseGrantName() refuses ${name} as a provider`, () => {
    assert.throws(() => parseGrantName(text && `${text}:prod`), {
      code: "usage",
    });
  });

  Deno.test(`parseGrantName() refuses ${name} as a name`, () => {
    assert.throws(() => parseGrantName(`aws:${text}`), { code: "usage" });
  });
}

Deno.test("grantName() takes 63 characters", () => {
  assert.equal(grantName("aws", "a".repeat(63)).length, 67);
});

Deno.test("parseGrantName() quotes what it refuses", () => {
  assert.throws(() => parseGrantName("A\n"), {
    message: 'Cannot use "A\\n" as a grant name',
  });
});

Deno.test("parseGrantName() finds the provider of any name", () => {
  fc.assert(fc.property(part, fc.option(part, { nil: undefined }), (p, n) => {
    const name = grantName(p, n);
    assert.deepEqual(parseGrantName(name), { provider: p, name });
  }));
});

Deno.test("grantName() gives two grants two names", () => {
  const pair = fc.tuple(part, fc.option(part, { nil: undefined }));
  fc.assert(fc.property(pair, pair, (one, other) => {
    const same = one[0] === other[0] && one[1] === other[1];
    assert.equal(grantName(...one) === grantName(...other), same);
  }));
});

Deno.test("grantCommand() names the provider", () => {
  assert.equal(grantCommand("github"), "moat grant github");
});

Deno.test("grantCommand() names the name", () => {
  assert.equal(grantCommand("aws:prod"), "moat grant aws --name prod");
});
