import assert from "node:assert/strict";
import fc from "fast-check";
import { compilePathPattern, pathFault } from "./path_pattern.ts";

const MATCHES: [
  pattern: string,
  path: string,
  allow: boolean,
  deny?: boolean,
][] = [
  ["/", "/", true],
  ["/", "/a", false],
  ["/a", "/a", true],
  ["/a", "/ab", false],
  ["/a", "/a/b", false],
  ["/a", "/b/a", false],
  // A denial counts in doubt.
  ["/a", "/a/", false, true],
  ["/a/", "/a", false, true],
  ["/a", "/A", false, true],
  ["/Admin/**", "/aDMIN/x", false, true],
  ["/a/*", "/a/", false, true],
  ["/a", "/a//", false, false],
  // One segment, or a part of one.
  ["/a/*", "/a/b", true],
  ["/a/*", "/a/b/c", false],
  ["/a/*", "/a", false],
  ["/a/*/c", "/a/b/c", true],
  ["/a/*/c", "/a//c", false, true],
  ["/a/*/c", "/a/b/b/c", false],
  ["/v*", "/v1", true],
  ["/v*", "/v", true],
  ["/v*", "/w1", false],
  ["/*.json", "/a.json", true],
  ["/*.json", "/.json", true],
  ["/*.json", "/a.jsonx", false],
  ["/a*a", "/a", false],
  ["/a*a", "/aa", true],
  ["/a*b*c", "/a-b-c", true],
  ["/a*b*c", "/a-c-b", false],
  ["/a*b*c", "/abc", true],
  ["/*b*b*", "/bb", true],
  ["/*b*b*", "/ab", false],
  ["/ab*ba", "/aba", false],
  // Any number of segments.
  ["/**", "/", true],
  ["/**", "/a", true],
  ["/**", "/a/b/", true],
  ["/a/**", "/a", true],
  ["/a/**", "/a/", true],
  ["/a/**", "/a/b/c", true],
  ["/a/**", "/ab", false],
  ["/a/**", "/b/a", false],
  ["/**/c", "/c", true],
  ["/**/c", "/a/b/c", true],
  ["/**/c", "/a/c/b", false],
  ["/a/**/b", "/a/b", true],
  ["/a/**/b", "/a/x/b/y/b", true],
  ["/a/**/b", "/a/b/c", false],
  ["/**/a/**/b", "/x/a/y/b", true],
  ["/**/a/**/b", "/x/b/y/a", false],
  ["/**/a/b/**", "/a/a/b", true],
  ["/**/*/b", "/a/b", true],
  ["/**/*/b", "/b", false],
  // An escape stands for itself and for what it means.
  ["/my%20doc", "/my%20doc", true],
  ["/my%20doc", "/my doc", true],
  ["/my doc", "/my%20doc", true],
  ["/my doc", "/my doc", true],
  ["/@scope%2f*", "/@scope%2Fname", true],
  ["/@scope%2F*", "/@scope/name", true],
  ["/@scope%2f*", "/@scope/name/more", false],
  ["/@scope/*", "/@scope%2Fname", false],
  ["/caf\u00e9", "/caf%C3%A9", true],
  ["/caf\u00e9", "/caf\xc3\xa9", true],
  ["/a%2a", "/a%2A", true],
  ["/a%2a", "/a*", true],
  ["/a%2a", "/ab", false],
  ["/**", "*", false],
];
for (const [pattern, path, allow, deny = allow] of MATCHES) {
  for (const [isDeny, matches] of [[false, allow], [true, deny]] as const) {
    const action = isDeny ? "a denial" : "a permission";
    Deno.test(`${action} of ${pattern} is ${matches ? "" : "not "}about ${path}`, () => {
      assert.equal(compilePathPattern(pattern, isDeny)(path), matches);
    });
  }
}

const FAULTS: [pattern: string, fault: RegExp][] = [
  ["", /begins with/],
  ["a", /begins with/],
  ["*", /begins with/],
  ["**", /begins with/],
  ["https://a/", /begins with/],
  ["/a?b", /without/],
  ["/a#b", /without/],
  ["/a;b", /without/],
  ["/a\\b", /without/],
  ["/a%", /two hexadecimal/],
  ["/a%2", /two hexadecimal/],
  ["/a%zz", /two hexadecimal/],
  ["/a%00", /two hexadecimal/],
  ["/a\0", /two hexadecimal/],
  ["//", /empty segment/],
  ["/a//b", /empty segment/],
  ["/a/../b", /dot segment/],
  ["/a/.", /dot segment/],
  ["/a/%2e%2e/b", /dot segment/],
  ["/%61", /escape of a letter/],
  ["/a**", /whole segment/],
  ["/**a", /whole segment/],
  ["/***", /whole segment/],
  ["/a/**b/c", /whole segment/],
];
for (const [pattern, fault] of FAULTS) {
  Deno.test(`pathFault() finds one in ${JSON.stringify(pattern)}`, () => {
    assert.match(pathFault(pattern) ?? "", fault);
  });
}

const RIGHT = [
  ...["/", "/a", "/a/", "/**", "/a/**/b", "/**/**", "/.well-known/*", "/a*b"],
  ...["/@scope%2f*", "/my doc", "/caf\u00e9", "/\u{1f600}", "/...", "/a%2A"],
];
for (const pattern of RIGHT) {
  Deno.test(`pathFault() finds none in ${pattern}`, () => {
    assert.equal(pathFault(pattern), undefined);
  });
}

/** The same by a regular expression, for short texts. */
function oracle(pattern: string): RegExp {
  const parts = pattern.split("/").slice(1).map((segment) => {
    if (segment === "**") return "(?:/[^/]*)*";
    if (segment === "*") return "/[^/]+";
    return `/${segment.replaceAll(".", "\\.").replaceAll("*", "[^/]*")}`;
  });
  return new RegExp(`^${parts.join("")}$`);
}

Deno.test("a pattern means what its regular expression does", () => {
  const segment = fc.constantFrom(
    "**",
    "*",
    "a",
    "b",
    "a*",
    "*b",
    "a*b",
    "*a*",
  );
  const pattern = fc.array(segment, { minLength: 1, maxLength: 5 });
  const path = fc.array(
    fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength: 4 }),
    { minLength: 1, maxLength: 6 },
  );
  fc.assert(
    fc.property(pattern, path, (segments, path) => {
      const text = `/${segments.join("/")}`;
      const reading = `/${path.join("/")}`;
      assert.equal(
        compilePathPattern(text, false)(reading),
        oracle(text).test(reading),
        `${text} ${reading}`,
      );
    }),
    { numRuns: 3000 },
  );
});

Deno.test("a denial matches at least what a permission does", () => {
  const text = fc.string({
    unit: fc.constantFrom(..."aB/*%2fé"),
    maxLength: 9,
  });
  fc.assert(fc.property(text, text, (pattern, path) => {
    if (pathFault(`/${pattern}`) !== undefined) return;
    const [allow, deny] = [false, true].map((isDeny) =>
      compilePathPattern(`/${pattern}`, isDeny)(`/${path}`)
    );
    assert.ok(deny || !allow);
  }));
});

Deno.test("no path takes long", () => {
  const matches = compilePathPattern("/**/a/**/b/**/c*d*e*f/**/x", true);
  const before = performance.now();
  matches(`/${"a/b/cdef/".repeat(2000)}${"cde".repeat(2000)}`);
  assert.ok(performance.now() - before < 500);
});
