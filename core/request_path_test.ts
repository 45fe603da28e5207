import assert from "node:assert/strict";
import fc from "fast-check";
import { normalizePath } from "./request_path.ts";

/** What is forwarded. */
const TARGETS: [target: string, forwarded: string][] = [
  ["/", "/"],
  ["/repos/acme/site", "/repos/acme/site"],
  ["/a/", "/a/"],
  ["/a?b=c", "/a?b=c"],
  ["/?", "/?"],
  ["/a?x=/../%2e%00%zz\\//;y", "/a?x=/../%2e%00%zz\\//;y"],
  ["/.well-known/x", "/.well-known/x"],
  ["/a/...", "/a/..."],
  ["/a/.b/..c", "/a/.b/..c"],
  ["/~!$&'()*+,=:@\"<>^`{|}[]-_", "/~!$&'()*+,=:@\"<>^`{|}[]-_"],
  // RFC 3986 section 5.2.4.
  ["/a/b/c/./../../g", "/a/g"],
  ["/a/.", "/a/"],
  ["/a/..", "/"],
  ["/a/../", "/"],
  ["/./a", "/a"],
  ["/..", "/"],
  ["/../../etc/passwd", "/etc/passwd"],
  ["/a//../b", "/a/b"],
  ["/a/../b?c=/../d", "/b?c=/../d"],
  // RFC 3986 section 6.2.2.2.
  ["/%61%2D%2e%5f%7E%30", "/a-._~0"],
  ["/a/%2e%2E/b", "/b"],
  ["/a/.%2e/b", "/b"],
  ["/a/%2e/b", "/a/b"],
  // What has a meaning of its own stays as the client wrote it.
  ["/@scope%2fname", "/@scope%2fname"],
  ["/@scope%2Fname", "/@scope%2Fname"],
  ["/a%20b", "/a%20b"],
  ["/caf%c3%a9", "/caf%c3%a9"],
  ["/100%25", "/100%25"],
  ["/a%252e%252e", "/a%252e%252e"],
  ["/a;b=c/d", "/a;b=c/d"],
  ["/a//b", "/a//b"],
  ["//a", "//a"],
  ["*", "*"],
];
for (const [target, forwarded] of TARGETS) {
  Deno.test(`normalizePath() forwards ${target} as ${forwarded}`, () => {
    assert.equal(normalizePath(target)?.target, forwarded);
  });
}

const REFUSED: [name: string, target: string][] = [
  ["nothing", ""],
  ["a query alone", "?a"],
  ["a relative path", "a/b"],
  ["a URL", "https://a.example/"],
  ["a star and more", "*/a"],
  ["NUL", "/a\0b"],
  ["an escaped NUL", "/a%00b"],
  ["a NUL that was escaped twice", "/a%2500b"],
  ["a NUL that was escaped thrice", "/a%252500b"],
  ["a line feed", "/a\nb"],
  ["a carriage return at the end", "/a\r"],
  ["a line feed at the end", "/a\n"],
  ["a tab", "/a\tb"],
  ["a blank", "/a b"],
  ["DEL", "/a\x7fb"],
  ["a backslash", "/a\\..\\b"],
  ["a byte over 0x7f", "/caf\xe9"],
  ["a character over 0xff", "/\u2025/"],
  ["a fragment", "/a#b"],
  ["a fragment after a query", "/a?b#c"],
  ["half an escape", "/a%2"],
  ["a percent sign alone", "/100%"],
  ["an escape of no digits", "/a%zz"],
  ["an escape of UTF-16", "/a%u002e"],
  ["a percent sign before an escape", "/%%32e"],
  ["a blank in a query", "/a?b c"],
  ["a line feed in a query", "/a?b\n"],
  ["NUL in a query", "/a?\0"],
  ["a byte over 0x7f in a query", "/a?\xe9"],
  ["an overlong slash", "/a%c0%af..%c0%afb"],
  ["an overlong dot", "/%c0%ae%c0%ae/a"],
  ["an overlong slash of three bytes", "/a%e0%80%afb"],
  ["an overlong slash of four bytes", "/a%f0%80%80%afb"],
  ["an overlong slash that was escaped twice", "/a%25c0%25afb"],
  ["an escape of many layers", `/%${"25".repeat(80)}2e`],
  ["many ambiguities", "/%252525;/%252f//%2f%5c;".repeat(8)],
  ["a long ambiguous path", `/${"a%20".repeat(20_000)}`],
  ["more than 12 Ki with an escape", `/%20${"a".repeat(12 * 1024)}`],
  ["more than 12 Ki of two readings", `/%20${"a".repeat(6 * 1024)}`],
  ...["..%2f", ";a=%2f", "%25%32%35", "%252f", "//"].map((
    piece,
  ): [string, string] => [
    `32 KiB of ${piece}`,
    `/${piece.repeat(32 * 1024 / piece.length)}`,
  ]),
];
for (const [name, target] of REFUSED) {
  Deno.test(`normalizePath() refuses ${name}`, () => {
    assert.equal(normalizePath(target), undefined);
  });
}

/** What must be among the readings. */
const READINGS: [name: string, target: string, reading: string][] = [
  ["the path itself", "/a/b?c", "/a/b"],
  ["upper-case escapes", "/@a%2fb", "/@a%2Fb"],
  ["an escaped slash as one", "/@a%2fb", "/@a/b"],
  ["an escaped backslash as a slash", "/a%5cb", "/a/b"],
  ["an escaped backslash as itself", "/a%5cb", "/a\\b"],
  ["dot segments behind escaped slashes", "/a/..%2f..%2fb", "/b"],
  ["dot segments behind escaped backslashes", "/a/..%5cb", "/b"],
  ["dot segments behind either", "/x/a%2f..%5c..%2fb", "/b"],
  ["only slashes decoded", "/a%2F..%5Cb", "/a/..%5Cb"],
  ["dots that were escaped twice", "/a/%252e%252e/b", "/b"],
  ["slashes that were escaped twice", "/a/..%252fb", "/b"],
  ["slashes that were escaped thrice", "/a/..%25252fb", "/b"],
  ["empty segments joined", "/a//b", "/a/b"],
  ["empty segments joined before dots", "/a%2f%2f..%2fb", "/b"],
  ["parameters dropped before dots", "/a/;x%2f..%2fb", "/b"],
  ["parameters dropped", "/a;v=1/b;w", "/a/b"],
  ["escaped parameters dropped", "/a%3bv=1/b", "/a/b"],
  ["dots with parameters", "/a/..;/b", "/b"],
  ["dots with escaped parameters", "/a/..%3b/b", "/b"],
  ["dots with parameters that hold a slash", "/a/..;x%2fy/b", "/b"],
  ["a decoded query cut", "/a%3fb/c", "/a"],
  ["a decoded fragment cut", "/a%23b", "/a"],
  ["a blank", "/a%20b", "/a b"],
  ["bytes as characters", "/caf%c3%a9", "/caf\xc3\xa9"],
  ["an authority dropped", "//evil.example/a", "/a"],
  ["an authority alone dropped", "//evil.example", "/"],
  ["an authority that dots uncovered", "/.//evil.example/a", "/a"],
  ["an authority behind escaped dots", "/x%2f..%2f%2fevil.example%2fa", "/a"],
  ["an authority that was escaped", "/%2fevil.example/a", "/a"],
];
for (const [name, target, reading] of READINGS) {
  Deno.test(`normalizePath() reads ${name} in ${target}`, () => {
    const { readings = [] } = normalizePath(target) ?? {};
    assert.ok(readings.includes(reading), readings.join(" "));
  });
}

/** How long the paths are that people have. */
const HONEST: [name: string, target: string][] = [
  ["a scoped package", "/@scope%2fname"],
  ["a project in groups", "/api/v4/projects/group%2Fsub%2Fproject/issues"],
  ["a key of 1 KiB with blanks", `/bucket/${"a%20".repeat(512)}`],
  ["a key of 1 KiB in Japanese", `/bucket/${"%E3%81%82".repeat(341)}`],
  [
    "a key of 1 KiB with escaped slashes",
    `/bucket/${"%E3%81%82%2F".repeat(256)}`,
  ],
  ["4 KiB of base64", `/x/${"Ab9+/_-=".repeat(512)}`],
  ["4 KiB of base64 with an escape", `/x/${"Ab9+".repeat(1024)}%3D%3D`],
  ["32 KiB without escapes", `/${"abc/".repeat(8 * 1024)}`],
  ["a query of 32 KiB", `/a%20b?${"..%2f".repeat(6553)}`],
];
for (const [name, target] of HONEST) {
  Deno.test(`normalizePath() takes ${name}`, () => {
    assert.equal(normalizePath(target)?.target, target);
  });
}

const PLAIN = ["/", "/a/b.c/d-e_f~g", "/a/", "/.well-known/x", "/a/../b", "*"];
for (const target of PLAIN) {
  Deno.test(`normalizePath() has one reading of ${target}`, () => {
    assert.equal(normalizePath(target)?.readings.length, 1);
  });
}

/** Paths of the pieces that deceive. */
const piece = fc.constantFrom(
  ...["a", "b", "/", "//", ".", "..", "/..", "/.", ";", ";x=1", "\\", "%5c"],
  ...["%2f", "%2F", "%2e", "%2E", "%25", "%252f", "%252e", "%00", "%3b", "%3f"],
  ...[
    "%23",
    "%c3%a9",
    "%c0%ae",
    "%61",
    "%41",
    "%7e",
    "%20",
    "?",
    "*",
    "@",
    "%",
  ],
);
const target = fc.array(piece, { maxLength: 12 }).map((all) =>
  `/${all.join("")}`
);

Deno.test("no reading has a dot segment", () => {
  fc.assert(
    fc.property(target, (target) => {
      for (const reading of normalizePath(target)?.readings ?? []) {
        const segments = reading.split("/");
        assert.ok(!segments.some((s) => s === ".." || s === "."), reading);
      }
    }),
    { numRuns: 3000 },
  );
});

Deno.test("every reading is absolute", () => {
  fc.assert(fc.property(target, (target) => {
    const { readings = ["/"] } = normalizePath(target) ?? {};
    assert.ok(readings.every((reading) => reading.startsWith("/")));
  }));
});

Deno.test("what is forwarded is forwarded unchanged when it comes again", () => {
  fc.assert(
    fc.property(target, (target) => {
      const path = normalizePath(target);
      if (path) assert.deepEqual(normalizePath(path.target), path);
    }),
    { numRuns: 3000 },
  );
});

Deno.test("the first reading is what is forwarded", () => {
  fc.assert(fc.property(target, (target) => {
    const path = normalizePath(target);
    if (!path) return;
    const [forwarded = ""] = path.target.split("?");
    assert.equal(
      path.readings[0],
      forwarded.replace(/%../g, (escape) => escape.toUpperCase()),
    );
  }));
});

Deno.test("what is forwarded means the same to the parser of URLs", () => {
  fc.assert(
    fc.property(target, (target) => {
      const path = normalizePath(target);
      if (!path) return;
      const { pathname } = new URL(`http://a${path.target}`);
      assert.equal(pathname, path.target.split("?")[0]);
    }),
    { numRuns: 3000 },
  );
});

Deno.test("the query is left as it is", () => {
  const query = fc.string({ unit: fc.constantFrom(..."a&=%2e/.;\\?[]") });
  fc.assert(fc.property(target, query, (target, query) => {
    const path = normalizePath(`${target.split("?")[0]}?${query}`);
    if (path) assert.ok(path.target.endsWith(`?${query}`));
  }));
});

/** What one server or another does. */
const SERVERS: ((path: string) => string)[] = [
  (path) => new URL(path, "http://a").pathname,
  (path) => new URL(decodeURIComponent(path), "http://a").pathname,
  (path) => new URL(path.replace(/%2f/gi, "/"), "http://a").pathname,
  (path) => new URL(path.replace(/\/+/g, "/"), "http://a").pathname,
  (path) => new URL(path.replace(/;[^/]*/g, ""), "http://a").pathname,
];

Deno.test("what servers understand is among the readings", () => {
  // Without what a URL's own parser escapes again.
  const safe = target.filter((t) =>
    !/%(20|c3|3f|23|5c|25(?!2[ef]))|\?|\\/.test(t)
  );
  fc.assert(
    fc.property(safe, fc.constantFrom(...SERVERS), (target, server) => {
      const path = normalizePath(target);
      if (!path) return;
      let understood: string;
      try {
        understood = server(path.target);
      } catch {
        return; // It would refuse it.
      }
      // Its own escapes, in the same spelling.
      const [spelled = understood] = normalizePath(understood)?.readings ?? [];
      assert.ok(path.readings.includes(spelled), spelled);
    }),
    { numRuns: 3000 },
  );
});

for (
  const piece of ["..%2f", ";a=%2f", "%25%32%35", "%252f", "%2525;//a%2F"]
) {
  Deno.test(`normalizePath() refuses 32 KiB of ${piece}, which would take long`, () => {
    const target = `/${piece.repeat(32 * 1024 / piece.length)}`;
    assert.equal(normalizePath(target), undefined);
  });
}
