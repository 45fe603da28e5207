import assert from "node:assert/strict";
import * as fc from "fast-check";
import { parseRoleArn } from "./arn.ts";
import { PARTITIONS } from "./region.ts";

const GOOD = [
  "arn:aws:iam::123456789012:role/Deploy",
  "arn:aws:iam::123456789012:role/path/to/Deploy",
  "arn:aws:iam::123456789012:role/a+b=c,d.e@f_g-h",
  `arn:aws:iam::123456789012:role/${"r".repeat(64)}`,
  `arn:aws:iam::123456789012:role/${"p".repeat(510)}/Deploy`,
  ...PARTITIONS.map((p) => `arn:${p.name}:iam::123456789012:role/Deploy`),
];
for (const arn of GOOD) {
  Deno.test(`parseRoleArn() accepts ${arn.slice(0, 70)}`, () => {
    assert.equal(parseRoleArn(arn).arn, arn);
  });
}

const BAD = [
  { arn: "", says: "6 parts" },
  { arn: "arn:aws:iam:123456789012:role/x", says: "6 parts" },
  { arn: "arn:aws:iam::123456789012:role/x:y", says: "6 parts" },
  { arn: "urn:aws:iam::123456789012:role/x", says: '"arn"' },
  { arn: "arn:aws-mars:iam::123456789012:role/x", says: "partition" },
  { arn: "arn:aws:sts::123456789012:assumed-role/x/y", says: '"iam"' },
  { arn: "arn:aws:iam:us-east-1:123456789012:role/x", says: "no region" },
  { arn: "arn:aws:iam::12345678901:role/x", says: "12 digits" },
  { arn: "arn:aws:iam::12345678901a:role/x", says: "12 digits" },
  { arn: "arn:aws:iam::123456789012:user/x", says: '"role/"' },
  { arn: "arn:aws:iam::123456789012:role/", says: "role name" },
  { arn: "arn:aws:iam::123456789012:role/a/", says: "role name" },
  { arn: "arn:aws:iam::123456789012:role/a b", says: "role name" },
  { arn: "arn:aws:iam::123456789012:role/x\n", says: "role name" },
  {
    arn: `arn:aws:iam::123456789012:role/${"r".repeat(65)}`,
    says: "role name",
  },
  { arn: "arn:aws:iam::123456789012:role/ü/x", says: "role path" },
  {
    arn: `arn:aws:iam::123456789012:role/${"p".repeat(511)}/x`,
    says: "role path",
  },
  { arn: " arn:aws:iam::123456789012:role/x", says: '"arn"' },
];
for (const { arn, says } of BAD) {
  Deno.test(`parseRoleArn() refuses ${JSON.stringify(arn).slice(0, 70)}`, () => {
    assert.throws(
      () => parseRoleArn(arn),
      (error: Error & { code: string }) =>
        error.code === "usage" && error.message.includes(says),
    );
  });
}

Deno.test("parseRoleArn() either parses or throws a usage error", () => {
  fc.assert(fc.property(fc.string({ maxLength: 90 }), (text) => {
    try {
      assert.equal(parseRoleArn(text).arn, text);
    } catch (error) {
      assert.equal((error as { code: string }).code, "usage");
    }
  }));
});
