import assert from "node:assert/strict";
import fc from "fast-check";
import { parseAuthority } from "./host.ts";
import {
  formatHostPattern,
  matchesHost,
  parseHostPattern,
} from "./host_pattern.ts";

const PATTERNS: [text: string, canonical: string][] = [
  ["API.GitHub.com.", "api.github.com"],
  ["api.github.com:8443", "api.github.com:8443"],
  ["*.GitHub.com", "*.github.com"],
  ["*.github.com.:8443", "*.github.com:8443"],
  ["*.bücher.example", "*.xn--bcher-kva.example"],
  ["*.com", "*.com"],
  ["*", "*"],
  ["*:8443", "*:8443"],
  ["127.1", "127.0.0.1"],
  ["127.1:80", "127.0.0.1:80"],
  ["::1", "[::1]"],
  ["[::1]", "[::1]"],
  ["[0::1]:80", "[::1]:80"],
];
for (const [text, canonical] of PATTERNS) {
  Deno.test(`parseHostPattern() reads ${text}`, () => {
    const pattern = parseHostPattern(text);
    assert.equal(pattern && formatHostPattern(pattern), canonical);
  });
}

const REFUSED = [
  "",
  "*.",
  "*..com",
  "**",
  "*.*",
  "*.*.amazonaws.com",
  "sts.*.amazonaws.com",
  "*github.com",
  "api.*",
  "a*.github.com",
  "*.127.0.0.1",
  "*.1",
  "*.::1",
  "*.[::1]",
  "*:0",
  "*:",
  "*:443:443",
  "*/x",
  "* ",
  "https://api.github.com",
  "api.github.com/x",
  "user@api.github.com",
  "api.github.com:https",
  "::1:80:[",
];
for (const text of REFUSED) {
  Deno.test(`parseHostPattern() refuses ${JSON.stringify(text)}`, () => {
    assert.equal(parseHostPattern(text), undefined);
  });
}

const MATCHES: [pattern: string, authority: string, matches: boolean][] = [
  ["github.com", "github.com:443", true],
  ["github.com", "github.com:8443", true],
  ["github.com:443", "github.com:8443", false],
  ["github.com", "api.github.com:443", false],
  ["github.com", "github.com.evil.example:443", false],
  ["*.github.com", "api.github.com:443", true],
  ["*.github.com", "a.b.github.com:443", true],
  ["*.github.com", "github.com:443", false],
  ["*.github.com", "evilgithub.com:443", false],
  ["*.github.com", "github.com.evil.example:443", false],
  ["*.github.com:8443", "api.github.com:443", false],
  ["*", "anything.example:443", true],
  ["*", "127.0.0.1:443", true],
  ["*:80", "[::1]:80", true],
  ["*:80", "[::1]:443", false],
  ["*.1e100.net", "10.0.0.1:443", false],
  ["::1", "[::1]:443", true],
  ["127.0.0.1", "0x7f.1:443", true],
];
for (const [text, name, matches] of MATCHES) {
  Deno.test(`${text} is ${matches ? "" : "not "}about ${name}`, () => {
    const pattern = parseHostPattern(text);
    const authority = parseAuthority(name);
    assert(pattern && authority);
    assert.equal(matchesHost(pattern, authority), matches);
  });
}

Deno.test("parseHostPattern() reads what formatHostPattern() writes", () => {
  const text = fc.tuple(
    fc.constantFrom("", "*.", "*"),
    fc.oneof(fc.domain(), fc.ipV4Extended(), fc.ipV6(), fc.constant("")),
    fc.option(fc.nat(70_000)),
  ).map(([star, host, port]) =>
    star + host + (port === null ? "" : `:${port}`)
  );
  fc.assert(fc.property(text, (text) => {
    const pattern = parseHostPattern(text);
    if (!pattern) return;
    assert.deepEqual(parseHostPattern(formatHostPattern(pattern)), pattern);
  }));
});
