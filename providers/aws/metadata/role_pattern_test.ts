import assert from "node:assert/strict";
import * as fc from "fast-check";
import { isLike } from "../../../scripts/fuzz/metadata_models.ts";
import { parseRoleArn } from "../arn.ts";
import type { Partition } from "../region.ts";
import { RolePatterns } from "./role_pattern.ts";

const ACCOUNT = "123456789012";
const OTHER = "999999999999";
const iam = (resource: string, account = ACCOUNT, partition = "aws") =>
  `arn:${partition}:iam::${account}:role/${resource}`;

function allows(
  patterns: readonly string[],
  arn: string,
  { home = "aws", account }: { home?: Partition; account?: string } = {},
): boolean {
  return new RolePatterns(patterns, account).allow(parseRoleArn(arn), home);
}

const CASES: {
  name: string;
  pattern: string;
  arn: string;
  home?: Partition;
  account?: string;
  isAllowed: boolean;
}[] = [
  { name: "the ARN", pattern: iam("app"), arn: iam("app"), isAllowed: true },
  {
    name: "no ARN's begin",
    pattern: iam("app"),
    arn: iam("app2"),
    isAllowed: false,
  },
  {
    name: "no ARN's end",
    pattern: iam("app"),
    arn: iam("x/app"),
    isAllowed: false,
  },
  {
    name: "no other case",
    pattern: iam("app"),
    arn: iam("App"),
    isAllowed: false,
  },
  {
    name: "no other account",
    pattern: iam("app"),
    arn: iam("app", OTHER),
    isAllowed: false,
  },
  {
    name: "a star's text",
    pattern: iam("app-*"),
    arn: iam("app-web"),
    isAllowed: true,
  },
  {
    name: "a star's nothing",
    pattern: iam("app*"),
    arn: iam("app"),
    isAllowed: true,
  },
  {
    name: "a star in the middle",
    pattern: iam("a*z"),
    arn: iam("abyzz"),
    isAllowed: true,
  },
  {
    name: "two stars apart",
    pattern: iam("*a*"),
    arn: iam("bab"),
    isAllowed: true,
  },
  {
    name: "no path for a star",
    pattern: iam("*"),
    arn: iam("team/app"),
    isAllowed: false,
  },
  {
    name: "one part for a star",
    pattern: iam("*/app"),
    arn: iam("team/app"),
    isAllowed: true,
  },
  {
    name: "no two parts for a star",
    pattern: iam("*/app"),
    arn: iam("a/b/app"),
    isAllowed: false,
  },
  {
    name: "parts for two stars",
    pattern: iam("team/**"),
    arn: iam("team/a/b/app"),
    isAllowed: true,
  },
  {
    name: "no parts for two stars",
    pattern: iam("team/**"),
    arn: iam("team/app"),
    isAllowed: true,
  },
  {
    name: "everything for two stars",
    pattern: iam("**"),
    arn: iam("a/b"),
    isAllowed: true,
  },
  {
    name: "no other team for two stars",
    pattern: iam("team/**"),
    arn: iam("teams/app"),
    isAllowed: false,
  },
  {
    name: "three stars as two",
    pattern: iam("***"),
    arn: iam("a/b"),
    isAllowed: true,
  },
  {
    name: "no @ for a star",
    pattern: iam("*"),
    arn: iam("a@b"),
    isAllowed: false,
  },
  {
    name: "no @ for two stars",
    pattern: iam("**"),
    arn: iam("a@b"),
    isAllowed: false,
  },
  {
    name: "an @ that is there",
    pattern: iam("*@*"),
    arn: iam("a@b"),
    isAllowed: true,
  },
  {
    name: "any account for a star",
    pattern: iam("app", "*"),
    arn: iam("app", OTHER),
    isAllowed: true,
  },
  {
    name: "accounts that begin so",
    pattern: iam("app", "9*"),
    arn: iam("app", OTHER),
    isAllowed: true,
  },
  {
    name: "no accounts that begin otherwise",
    pattern: iam("app", "8*"),
    arn: iam("app", OTHER),
    isAllowed: false,
  },
  {
    name: "any partition for a star",
    pattern: iam("app", ACCOUNT, "aws*"),
    arn: iam("app", ACCOUNT, "aws-cn"),
    isAllowed: true,
  },
  {
    name: "no other partition",
    pattern: iam("app"),
    arn: iam("app", ACCOUNT, "aws-cn"),
    home: "aws-cn",
    isAllowed: false,
  },
  {
    name: "no name of another type",
    pattern: iam("app"),
    arn: iam("role/app"),
    isAllowed: false,
  },
  {
    name: "no dot for any character",
    pattern: iam("a.p"),
    arn: iam("axp"),
    isAllowed: false,
  },
  {
    name: "NAME@ACCOUNT",
    pattern: `app@${ACCOUNT}`,
    arn: iam("app"),
    isAllowed: true,
  },
  {
    name: "NAME@ACCOUNT in no other account",
    pattern: `app@${ACCOUNT}`,
    arn: iam("app", OTHER),
    isAllowed: false,
  },
  {
    name: "NAME@ACCOUNT with no path",
    pattern: `app@${ACCOUNT}`,
    arn: iam("x/app"),
    isAllowed: false,
  },
  {
    name: "NAME@ACCOUNT of the grant's partition",
    pattern: `app@${ACCOUNT}`,
    arn: iam("app", ACCOUNT, "aws-cn"),
    home: "aws-cn",
    isAllowed: true,
  },
  {
    name: "NAME@ACCOUNT of no other partition",
    pattern: `app@${ACCOUNT}`,
    arn: iam("app", ACCOUNT, "aws-cn"),
    isAllowed: false,
  },
  {
    name: "PATH/NAME@ACCOUNT",
    pattern: `team/a*@${ACCOUNT}`,
    arn: iam("team/app"),
    isAllowed: true,
  },
  {
    name: "a name with an @",
    pattern: `a@b@${ACCOUNT}`,
    arn: iam("a@b"),
    isAllowed: true,
  },
  {
    name: "a name in the default account",
    pattern: "app-*",
    account: ACCOUNT,
    arn: iam("app-x"),
    isAllowed: true,
  },
  {
    name: "a name in no other than the default account",
    pattern: "*",
    account: ACCOUNT,
    arn: iam("app", OTHER),
    isAllowed: false,
  },
];

for (const { name, pattern, arn, isAllowed, ...more } of CASES) {
  Deno.test(`RolePatterns.allow() takes ${name}: ${pattern}`, () => {
    assert.equal(allows([pattern], arn, more), isAllowed);
  });
}

Deno.test("RolePatterns.allow() allows nothing without patterns", () => {
  assert.equal(allows([], iam("app")), false);
});

Deno.test("RolePatterns.allow() allows what any pattern does", () => {
  assert.equal(allows([iam("x"), iam("app"), iam("y")], iam("app")), true);
});

const BAD: { name: string; pattern: string; account?: string }[] = [
  { name: "nothing", pattern: "", account: ACCOUNT },
  { name: "a name without an account", pattern: "app" },
  { name: "a star alone without an account", pattern: "*" },
  { name: "a short account", pattern: "app@12345678901" },
  { name: "a word as account", pattern: "app@example" },
  { name: "an account of 13 and a star", pattern: "app@1234567890123*" },
  { name: "a space", pattern: `my app@${ACCOUNT}` },
  { name: "a line break", pattern: `app\n@${ACCOUNT}` },
  { name: "a colon in a name", pattern: `a:b@${ACCOUNT}` },
  { name: "no name after the path", pattern: `team/@${ACCOUNT}` },
  { name: "a user", pattern: `arn:aws:iam::${ACCOUNT}:user/app` },
  {
    name: "an assumed role",
    pattern: `arn:aws:sts::${ACCOUNT}:assumed-role/a/b`,
  },
  { name: "a star as service", pattern: `arn:aws:*::${ACCOUNT}:role/app` },
  { name: "a region", pattern: `arn:aws:iam:eu-west-1:${ACCOUNT}:role/app` },
  { name: "an unknown partition", pattern: iam("app", ACCOUNT, "azure") },
  { name: "stars for more than one part", pattern: "arn:**" },
  { name: "a part too many", pattern: `${iam("app")}:x` },
  { name: "a text without end", pattern: "a".repeat(1025), account: ACCOUNT },
];

for (const { name, pattern, account } of BAD) {
  Deno.test(`RolePatterns refuses ${name}`, () => {
    assert.throws(() => new RolePatterns([pattern], account), {
      code: "bad-config",
    });
  });
}

Deno.test("RolePatterns names the pattern that it refuses", () => {
  assert.throws(() => new RolePatterns([iam("ok"), "no role@x"]), {
    message: /Cannot use "no role@x" in roles of \[metadata\]/,
  });
});

const short = (characters: string, maxLength: number) =>
  fc.string({ unit: fc.constantFrom(...characters), maxLength });

Deno.test("RolePatterns.allow() says what a comparison row by row would", () => {
  let allowed = 0;
  fc.assert(
    fc.property(short("ab*/@*", 8), short("ab/@", 8), (pattern, role) => {
      const arn = iam(`a${role}a`);
      const text = iam(`a${pattern}*`);
      const is = allows([text], arn);
      if (is) allowed++;
      assert.equal(is, isLike(text, arn));
    }),
    { numRuns: 3000 },
  );
  assert(allowed > 50, `only ${allowed} were allowed`);
});

Deno.test("RolePatterns.allow() allows a role of no account that the pattern does not name", () => {
  const account = fc.string({
    unit: fc.constantFrom(..."0123456789"),
    minLength: 12,
    maxLength: 12,
  });
  fc.assert(fc.property(short("a*/", 8), account, (pattern, account) => {
    fc.pre(account !== ACCOUNT);
    const patterns = [iam(`a${pattern}*`), `a${pattern}*@${ACCOUNT}`];
    assert.equal(allows(patterns, iam("a", account)), false);
  }));
});

const ENDLESS = iam("a*".repeat(60) + "b");
for (const role of ["a".repeat(64), "a/".repeat(200) + "a".repeat(64)]) {
  Deno.test(`RolePatterns.allow() ends for a role of ${role.length} characters, where going back would not`, () => {
    assert.equal(allows([ENDLESS], iam(role)), false);
  });
}
