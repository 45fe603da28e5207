import assert from "node:assert/strict";
import fc from "fast-check";
import { MoatError } from "$core/errors.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { findCredentials } from "./credentials.ts";
import type { Setting } from "./npm_config.ts";
import { parseNpmrc } from "./npmrc.ts";
import { keyOf, parseRegistry } from "./place.ts";

const REGISTRIES = ["http://localhost:4873/", "https://r.test/npm/"]
  .flatMap((url) => parseRegistry(url) ?? []);

function settingsOf(text: string, isProject = false): Map<string, Setting> {
  return new Map(
    parseNpmrc(text, {}).map((entry) => [
      entry.key,
      { ...entry, origin: "/home/me/.npmrc", isProject },
    ]),
  );
}

const find = (text: string) => findCredentials(settingsOf(text), REGISTRIES);

/** `SCHEME KEY AUTHORIZATION` of each. */
const found = (text: string) =>
  find(text).credentials.map(({ place, authorization }) =>
    `${place.scheme} ${keyOf(place)} ${authorization.reveal()}`
  );

const AUTH = btoa("ana:pa:ss");
const BASIC = `Basic ${AUTH}`;

const FORMS: { name: string; text: string; found: string[] }[] = [
  {
    name: "a token",
    text: "//r.test/:_authToken=abc",
    found: ["https //r.test/ Bearer abc"],
  },
  {
    name: "a token without the slash",
    text: "//r.test:_authToken=abc",
    found: ["https //r.test/ Bearer abc"],
  },
  {
    name: "a token for port and path (W20)",
    text: "//r.test:8080/a/b/:_authToken=abc",
    found: ["https //r.test:8080/a/b/ Bearer abc"],
  },
  {
    name: "a token for a registry without TLS",
    text: "//localhost:4873/:_authToken=abc",
    found: ["http //localhost:4873/ Bearer abc"],
  },
  {
    name: "_auth (W20)",
    text: `//r.test/:_auth=${AUTH}`,
    found: [`https //r.test/ ${BASIC}`],
  },
  {
    name: "_auth without padding",
    text: `//r.test/:_auth=${btoa("a:b1").replace(/=+$/, "")}`,
    found: [`https //r.test/ Basic ${btoa("a:b1")}`],
  },
  {
    name: "user and password (W20)",
    text: `//r.test/:username=ana\n//r.test/:_password=${btoa("pa:ss")}`,
    found: [`https //r.test/ ${BASIC}`],
  },
  {
    name: "a password beyond ASCII",
    text: "//r.test/:username=ana\n//r.test/:_password=w6nDqQ==",
    found: ["https //r.test/ Basic YW5hOsOpw6k="],
  },
  {
    name: "the token before the other forms",
    text:
      `//r.test/:_auth=${AUTH}\n//r.test/:username=x\n//r.test/:_password=eA==\n//r.test/:_authToken=abc`,
    found: ["https //r.test/ Bearer abc"],
  },
  {
    name: "_auth before user and password, as npm sends it",
    text:
      `//r.test/:username=x\n//r.test/:_password=eA==\n//r.test/:_auth=${AUTH}`,
    found: [`https //r.test/ ${BASIC}`],
  },
  {
    name: "several registries",
    text:
      `//r.test/:_authToken=a\n//r.test/npm/:_authToken=b\n//s.test/:_auth=${AUTH}`,
    found: [
      "https //r.test/ Bearer a",
      "https //r.test/npm/ Bearer b",
      `https //s.test/ ${BASIC}`,
    ],
  },
  {
    name: "what one registry is called twice",
    text: "//r.test/:_authToken=a\n//R.test:443/:_authToken=b",
    found: ["https //r.test/ Bearer b"],
  },
  {
    name: "an empty token, as npm does",
    text: "//r.test/:_authToken=",
    found: [],
  },
  { name: "a user alone", text: "//r.test/:username=ana", found: [] },
  { name: "a password alone", text: "//r.test/:_password=eA==", found: [] },
  {
    name: "other settings",
    text:
      "registry=https://r.test/\n//r.test/:always-auth=true\nemail=a@b\n@s:registry=https://s.test/",
    found: [],
  },
];

for (const { name, text, found: expected } of FORMS) {
  Deno.test(`findCredentials() finds ${name}`, () => {
    assert.deepEqual(found(text), expected);
  });
}

Deno.test("findCredentials() leaves out what needs a variable, and says so", () => {
  assert.deepEqual(find("//r.test/:_authToken=${NPM_TOKEN}"), {
    credentials: [],
    skipped: [
      "/home/me/.npmrc:1 needs the variable NPM_TOKEN, which is not set",
    ],
  });
});

Deno.test("findCredentials() leaves out what a project's file wants of the environment", () => {
  const settings = settingsOf("//r.test/:_authToken=${NPM_TOKEN}", true);
  assert.match(
    findCredentials(settings, REGISTRIES).skipped.join(),
    /^\/home\/me\/\.npmrc:1 needs the variable NPM_TOKEN, which a project's file could send anywhere/,
  );
});

Deno.test("findCredentials() leaves out client certificates, and says so", () => {
  const { skipped } = find(
    "//r.test/:certfile=/c.pem\n//r.test/:keyfile=/k.pem",
  );
  assert.deepEqual(skipped, [
    "/home/me/.npmrc:1 names a client certificate, which moat cannot use",
  ]);
});

const MALFORMED: { name: string; text: string; message: RegExp }[] = [
  {
    name: "a token for no registry",
    text: "_authToken=X",
    message: /:1: .*no registry/,
  },
  {
    name: "_auth for no registry",
    text: "a=1\n_auth=X",
    message: /:2: .*no registry/,
  },
  {
    name: "a password for no registry",
    text: "_password=X",
    message: /no registry/,
  },
  {
    name: "a user for no registry",
    text: "username=X",
    message: /no registry/,
  },
  {
    name: "a token with a blank",
    text: "//r.test/:_authToken=X Y",
    message: /npmrc:1: .*several words/,
  },
  {
    name: "a token beyond ASCII",
    text: "//r.test/:_authToken=Xé",
    message: /ASCII/,
  },
  {
    name: "_auth that is no base64",
    text: "//r.test/:_auth=X%",
    message: /base64 of USER:PASSWORD/,
  },
  {
    name: "_auth without a colon",
    text: `//r.test/:_auth=${btoa("X")}`,
    message: /base64 of USER:PASSWORD/,
  },
  {
    name: "_auth in base64url",
    text: "//r.test/:_auth=-_-_",
    message: /base64 of USER:PASSWORD/,
  },
  {
    name: "a password as it is",
    text: "//r.test/:username=a\n//r.test/:_password=X!",
    message: /:2: wanted base64 in _password/,
  },
  {
    name: "a user with a colon",
    text: "//r.test/:username=X:\n//r.test/:_password=eA==",
    message: /:1: .*without a colon/,
  },
  {
    name: "a place with a password",
    text: "//u:X@r.test/:_authToken=a",
    message: /wanted \/\/HOST\/PATH\//,
  },
  {
    name: "a place with a query",
    text: "//r.test/?X:_authToken=a",
    message: /wanted \/\/HOST\/PATH\//,
  },
];

for (const { name, text, message } of MALFORMED) {
  Deno.test(`findCredentials() refuses ${name} with its line, not with what is there`, () => {
    const secret = text.replaceAll(/X/g, CANARY);
    assert.throws(() => find(secret), (error: unknown) => {
      assert.ok(error instanceof MoatError);
      assertNoCanary(error.message, error.hint ?? "", Deno.inspect(error));
      assert.match(error.message, message);
      return true;
    });
  });
}

Deno.test("findCredentials() never shows a token, whatever the file", () => {
  const piece = fc.constantFrom(
    ...["//r.test/", ":_authToken", ":_auth", ":username", ":_password", "="],
    ...["@s", ":registry", "_auth", "${", "}", "\n", " ", '"', "'", ";", ":"],
    ...[CANARY, btoa(`u:${CANARY}`), btoa(CANARY), "//", "@", "?", "\\"],
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 24 }), (pieces) => {
      try {
        const { credentials, skipped } = find(pieces.join(""));
        const places = credentials.map(({ place: { scheme }, kind }) => [
          scheme,
          kind,
        ]);
        assertNoCanary(
          JSON.stringify([
            places,
            skipped,
            credentials.map((c) => c.authorization),
          ]),
        );
      } catch (error) {
        assert.ok(error instanceof MoatError, String(error));
        assertNoCanary(error.message, error.hint ?? "", Deno.inspect(error));
      }
    }),
    { numRuns: 2000 },
  );
});
