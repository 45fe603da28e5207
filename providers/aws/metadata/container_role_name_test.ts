import assert from "node:assert/strict";
import * as fc from "fast-check";
import { MoatError } from "$core/errors.ts";
import { UNPRINTABLE } from "$core/text.ts";
import { PARTITIONS } from "../region.ts";
import { parseRoleName, type RoleName } from "./container_role_name.ts";

const ACCOUNT = "123456789012";

function errorOf(text: string): MoatError {
  try {
    parseRoleName(text);
  } catch (error) {
    if (error instanceof MoatError) return error;
    throw error;
  }
  throw new Error(`took ${text}`);
}

const GOOD: { text: string; name: RoleName }[] = [
  {
    text: "my-role",
    name: { resource: "my-role", roleName: "my-role", account: undefined },
  },
  {
    text: `my-role@${ACCOUNT}`,
    name: { resource: "my-role", roleName: "my-role", account: ACCOUNT },
  },
  {
    text: `a/b/my-role@${ACCOUNT}`,
    name: { resource: "a/b/my-role", roleName: "my-role", account: ACCOUNT },
  },
  {
    text: "a/my-role",
    name: { resource: "a/my-role", roleName: "my-role", account: undefined },
  },
  {
    text: `dev@corp@${ACCOUNT}`,
    name: { resource: "dev@corp", roleName: "dev@corp", account: ACCOUNT },
  },
];

for (const { text, name } of GOOD) {
  Deno.test(`parseRoleName() takes ${text}`, () => {
    assert.deepEqual(parseRoleName(text), name);
  });
}

for (const { name } of PARTITIONS) {
  Deno.test(`parseRoleName() takes an ARN of ${name}`, () => {
    const arn = `arn:${name}:iam::${ACCOUNT}:role/team/app`;
    const { roleName } = parseRoleName(arn).arn ?? {};
    assert.equal(roleName, "app");
  });
}

const BAD: { name: string; text: string; wanted?: RegExp }[] = [
  { name: "nothing", text: "" },
  { name: "a space", text: " " },
  { name: "a leading space", text: " app" },
  { name: "a final line break", text: "app\n" },
  { name: "a control character", text: "app\u0000" },
  { name: "a space in a path", text: `my team/app@${ACCOUNT}` },
  { name: "an account of 11 digits", text: "app@12345678901" },
  { name: "an account of 13 digits", text: "app@1234567890123" },
  { name: "an address", text: "app@example.com" },
  { name: "no account", text: "app@" },
  { name: "no name", text: `@${ACCOUNT}` },
  { name: "no name after a path", text: `team/@${ACCOUNT}` },
  { name: "an absolute path", text: `/team/app@${ACCOUNT}` },
  { name: "a colon", text: `team:app@${ACCOUNT}` },
  { name: "letters beyond ASCII", text: "rôle" },
  { name: "garbage of 600 characters", text: "x y\u0007".repeat(150) },
  { name: "a name of 65 characters", text: "a".repeat(65) },
  {
    name: "a star in a path",
    text: `**/app@${ACCOUNT}`,
    wanted: /without "\*"/,
  },
  {
    name: "a star in the path of an ARN",
    text: `arn:aws:iam::${ACCOUNT}:role/**/app`,
    wanted: /without "\*"/,
  },
  {
    name: "an ARN of another service",
    text: `arn:aws:s3::${ACCOUNT}:role/app`,
    wanted: /the service "iam"/,
  },
  {
    name: "an ARN of a user",
    text: `arn:aws:iam::${ACCOUNT}:user/app`,
    wanted: /begins with "role\/"/,
  },
  {
    name: "an ARN of an unknown partition",
    text: `arn:azure:iam::${ACCOUNT}:role/app`,
    wanted: /as the partition/,
  },
  {
    name: "an ARN without an account",
    text: "arn:aws:iam:::role/app",
    wanted: /12 digits/,
  },
  { name: "an ARN in capitals", text: `ARN:AWS:IAM::${ACCOUNT}:ROLE/APP` },
];

for (const { name, text, wanted = /wanted/ } of BAD) {
  Deno.test(`parseRoleName() refuses ${name}`, () => {
    const { code, message } = errorOf(text);
    assert.equal(code, "bad-role");
    assert.match(message, wanted);
  });
}

Deno.test("parseRoleName() quotes 80 characters at most", () => {
  const { message } = errorOf(`${"a".repeat(80)}SECRET${"b".repeat(600)}`);
  assert.match(message, /"a{80}"/);
  assert.doesNotMatch(message, /SECRET|bb/);
});

const pieces = fc.constantFrom(
  ...["arn", "aws", "aws-cn", "iam", ":", "::", "role/", "/", "@", "*", "app"],
  ...[ACCOUNT, "12", " ", "\n", "\u202e", "\u0000", "é", "x".repeat(70)],
);
const texts = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.array(pieces, { maxLength: 12 }).map((some) => some.join("")),
);

Deno.test("parseRoleName() throws nothing but one printable line, whatever it is given", () => {
  fc.assert(
    fc.property(texts, (text) => {
      try {
        parseRoleName(text);
      } catch (error) {
        assert(error instanceof MoatError);
        assert.equal(error.code, "bad-role");
        assert.doesNotMatch(error.message, UNPRINTABLE);
        assert(error.message.length < 800);
      }
    }),
    { numRuns: 2000 },
  );
});
