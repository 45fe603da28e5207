import assert from "node:assert/strict";
import fc from "fast-check";
import { CORE_COMMANDS } from "$core/cli/commands/mod.ts";
import { MoatError } from "$core/errors.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { parseDefinition } from "./parse.ts";
import { isProviderName } from "./values.ts";

const parse = (text: string) => parseDefinition(text, "/p/acme.toml", "acme");

/** Lines 1 to 3 of every file below. */
const HEAD = `name = "acme"
description = "Acme's API"
hosts = ["api.acme.test"]
`;

const INJECT = `[inject]
header = "X-Key"
`;

Deno.test("parseDefinition() reads every key", () => {
  const text = `name = "acme"
aliases = ["ac"]
description = "Acme's API"
hosts = ["API.Acme.Test.", "*.acme.test", "acme.test:8443", "other.test:443"]
allow = ["cdn.acme.test"]
env = ["ACME_TOKEN"]
source_env = ["ACME_TOKEN", "OLD_TOKEN"]
prompt = "Acme key"
help = "ask Bob"

[[inject]]
header = "Authorization"
prefix = "Bearer "
path = "/v1"
strip = ["X-Old-Key"]

[[inject]]
header = "X-Basic"
basic_user = "me"
hosts = ["*.acme.test"]

[placeholder]
prefix = "ac_"
length = 40
suffix = "-x"

[[validate]]
url = "https://a.acme.test/v1/me?x=1"
method = "POST"
body = "{}"
rejected = [400, 401]
forbidden_is_fine = true
`;
  assert.deepEqual(parse(text), {
    name: "acme",
    aliases: ["ac"],
    description: "Acme's API",
    hosts: ["api.acme.test", "*.acme.test", "acme.test:8443", "other.test"],
    allow: ["cdn.acme.test"],
    env: ["ACME_TOKEN"],
    sourceEnv: ["ACME_TOKEN", "OLD_TOKEN"],
    prompt: "Acme key",
    help: "ask Bob",
    inject: [
      {
        header: "authorization",
        prefix: "Bearer ",
        path: "/v1",
        strip: ["x-old-key"],
      },
      { header: "x-basic", basicUser: "me", hosts: ["*.acme.test"] },
    ],
    placeholder: { prefix: "ac_", length: 40, suffix: "-x" },
    validate: [{
      url: "https://a.acme.test/v1/me?x=1",
      method: "POST",
      body: "{}",
      rejected: [400, 401],
      forbiddenIsFine: true,
    }],
  });
});

Deno.test("parseDefinition() reads the least that there is", () => {
  assert.deepEqual(parse(HEAD + INJECT), {
    name: "acme",
    description: "Acme's API",
    hosts: ["api.acme.test"],
    inject: [{ header: "x-key" }],
  });
});

Deno.test("parseDefinition() reads a token in the path", () => {
  const text = `${HEAD}substitute = "path"
[validate]
url = "https://api.acme.test/bot{token}/me"
`;
  assert.equal(parse(text).inject, "path");
});

const validation = (url: string, inject = INJECT) =>
  `${HEAD}${inject}[validate]\nurl = "${url}"\n`;
const TOP = 'description = "d"\nhosts = ["a.test"]\n' + INJECT;

/** What is wrong, and where. */
const BROKEN: {
  name: string;
  text: string;
  at: [line: number, column: number];
  fault: RegExp;
}[] = [
  // Syntax
  { name: "no TOML", text: "name: acme\n", at: [1, 5], fault: /./ },
  {
    name: "an open string",
    text: `${HEAD}help = "open\n`,
    at: [4, 13],
    fault: /control characters/,
  },
  {
    name: "a key twice",
    text: `${HEAD}name = "acme"\n`,
    at: [4, 1],
    fault: /redefine/,
  },
  // Keys
  {
    name: "an unknown key",
    text: `${HEAD}  hsots = []\n${INJECT}`,
    at: [4, 3],
    fault: /unknown key "hsots"/,
  },
  {
    name: "an unknown key of a table",
    text: `${HEAD}[inject]\nheader = "X-Key"\nvalue = "x"\n`,
    at: [6, 1],
    fault: /unknown key "value"/,
  },
  {
    name: "an unknown key of a second table",
    text: `${HEAD}[[inject]]\nheader = "A"\n[[inject]]\nheadr = "B"\n`,
    at: [7, 1],
    fault: /unknown key "headr"/,
  },
  {
    name: "no name",
    text: TOP,
    at: [1, 1],
    fault: /the key "name" is missing/,
  },
  {
    name: "no header",
    text: `${HEAD}\n[inject]\nprefix = "x"\n`,
    at: [5, 1],
    fault: /the key "header" is missing/,
  },
  // Names
  {
    name: "another name than the file's",
    text: `name = "acne"\n${TOP}`,
    at: [1, 1],
    fault: /the file's own name/,
  },
  {
    name: "a name in upper case",
    text: `name = "Acme"\n${TOP}`,
    at: [1, 1],
    fault: /wanted a name/,
  },
  {
    name: "a name with a colon",
    text: `name = "acme:x"\n${TOP}`,
    at: [1, 1],
    fault: /wanted a name/,
  },
  {
    name: "a name that is a number",
    text: `name = 7\n${TOP}`,
    at: [1, 1],
    fault: /wanted a text, found a number/,
  },
  {
    name: "an alias that is a command",
    text: `${HEAD}aliases = ["ok", "list"]\n${INJECT}`,
    at: [4, 18],
    fault: /moat grant list is a command/,
  },
  {
    name: "a description of two lines",
    text: `name = "acme"\ndescription = "a\\nb"\nhosts = ["a.test"]\n${INJECT}`,
    at: [2, 1],
    fault: /wanted one line/,
  },
  // Hosts
  {
    name: "no list of hosts",
    text: `name = "acme"\ndescription = "d"\nhosts = "a.test"\n${INJECT}`,
    at: [3, 1],
    fault: /wanted a list, found a text/,
  },
  {
    name: "no host",
    text: `name = "acme"\ndescription = "d"\nhosts = []\n${INJECT}`,
    at: [3, 1],
    fault: /wanted one host at least/,
  },
  ...[
    "https://api.acme.test",
    "api.acme.test/v1",
    "user@api.acme.test",
    "api.acme.test:0",
    "api.acme.test:99999",
    "a b",
    "",
    "*",
    "*:8443",
    "*.test",
    "a.*.test",
    "*acme.test",
    "*.10.0.0.1",
  ].map((host) => ({
    name: `the host "${host}"`,
    text:
      `name = "acme"\ndescription = "d"\nhosts = [\n  "ok.test",\n  "${host}",\n]\n${INJECT}`,
    at: [5, 3] as [number, number],
    fault: /wanted a (narrower )?host/,
  })),
  // Headers
  ...[
    "Host",
    "Content-Length",
    "transfer-encoding",
    "Connection",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Upgrade",
    "Expect",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Via",
  ].map((header) => ({
    name: `the header ${header}`,
    text: `${HEAD}[inject]\nheader = "${header}"\n`,
    at: [5, 1] as [number, number],
    fault: /wanted another header/,
  })),
  ...["", "X Key", "X-Key:", "X\\nKey", "Schlüssel", ":path"].map((header) => ({
    name: `the header "${header}"`,
    text: `${HEAD}[inject]\nheader = "${header}"\n`,
    at: [5, 1] as [number, number],
    fault: /wanted the name of a header/,
  })),
  {
    name: "a header of the message to strip",
    text: `${HEAD}${INJECT}strip = ["X-Old", "Host"]\n`,
    at: [6, 19],
    fault: /wanted another header/,
  },
  {
    name: "a prefix with a line break",
    text: `${HEAD}${INJECT}prefix = "Bearer\\r\\n"\n`,
    at: [6, 1],
    fault: /wanted visible ASCII/,
  },
  {
    name: "a prefix and a user",
    text: `${HEAD}${INJECT}prefix = "x "\nbasic_user = "u"\n`,
    at: [6, 1],
    fault: /either prefix or basic_user/,
  },
  {
    name: "a user with a colon",
    text: `${HEAD}${INJECT}basic_user = "a:b"\n`,
    at: [6, 1],
    fault: /without a colon/,
  },
  {
    name: "a header for a host of nobody",
    text: `${HEAD}${INJECT}hosts = ["b.acme.test"]\n`,
    at: [6, 10],
    fault: /one of the hosts above/,
  },
  ...["v1", "/", "/v1/", "/a//b", "/a/../b", "/.", "/a%2fb", "/a?b"].map((
    path,
  ) => ({
    name: `the path "${path}"`,
    text: `${HEAD}${INJECT}path = "${path}"\n`,
    at: [6, 1] as [number, number],
    fault: /wanted a path/,
  })),
  {
    name: "an empty list of headers",
    text: `${HEAD}inject = []\n`,
    at: [4, 1],
    fault: /wanted one at least/,
  },
  // Either of two
  {
    name: "neither header nor path",
    text: HEAD,
    at: [1, 1],
    fault: /either \[inject\] or substitute/,
  },
  {
    name: "header and path",
    text: `${HEAD}substitute = "path"\n${INJECT}`,
    at: [4, 1],
    fault: /either \[inject\] or substitute/,
  },
  {
    name: "a substitution elsewhere",
    text: `${HEAD}substitute = "query"\n`,
    at: [4, 1],
    fault: /wanted "path"/,
  },
  // Variables
  {
    name: "a variable with an equals sign",
    text: `${HEAD}env = ["A=B"]\n${INJECT}`,
    at: [4, 8],
    fault: /name of an environment variable/,
  },
  {
    name: "a variable that begins with a digit",
    text: `${HEAD}source_env = [ "OK", "1A" ]\n${INJECT}`,
    at: [4, 22],
    fault: /name of an environment variable/,
  },
  // Placeholder
  {
    name: "a short placeholder",
    text: `${HEAD}${INJECT}[placeholder]\nlength = 30\n`,
    at: [7, 1],
    fault: /from 31 to 200/,
  },
  {
    name: "half a character",
    text: `${HEAD}${INJECT}[placeholder]\nlength = 40.5\n`,
    at: [7, 1],
    fault: /whole number/,
  },
  {
    name: "a placeholder with a slash",
    text: `${HEAD}${INJECT}[placeholder]\nlength = 40\nprefix = "a/"\n`,
    at: [8, 1],
    fault: /letters, digits/,
  },
  // Validation
  ...[
    ["http://api.acme.test/me", /wanted https/],
    ["https://u:p@api.acme.test/me", /wanted https/],
    ["https://api.acme.test/me#x", /wanted https/],
    ["https://evil.test/me", /takes the credential/],
    ["https://api.acme.test.evil.test/", /takes the credential/],
    ["https://api.acme.test:8443/me", /takes the credential/],
    ["https://api.acme.test/{token}", /without \{token\}/],
    ["me", /wanted a URL/],
  ].map(([url, fault]) => ({
    name: `the URL ${url}`,
    text: validation(url as string),
    at: [7, 1] as [number, number],
    fault: fault as RegExp,
  })),
  {
    name: "a URL beside the path of the header",
    text: validation("https://api.acme.test/v10", `${INJECT}path = "/v1"\n`),
    at: [8, 1],
    fault: /takes the credential/,
  },
  {
    name: "a URL without the token in the path",
    text: validation("https://api.acme.test/me", 'substitute = "path"\n'),
    at: [6, 1],
    fault: /wanted \{token\}/,
  },
  {
    name: "a token in the query",
    text: validation(
      "https://api.acme.test/{token}?t={token}",
      'substitute = "path"\n',
    ),
    at: [6, 1],
    fault: /in the path alone/,
  },
  {
    name: "a token in the host",
    text: validation("https://{token}.acme.test/me", 'substitute = "path"\n'),
    at: [6, 1],
    fault: /wanted a URL/,
  },
  {
    name: "another method",
    text: validation("https://api.acme.test/me") + 'method = "DELETE"\n',
    at: [8, 1],
    fault: /"GET" or "HEAD" or "POST"/,
  },
  {
    name: "a status that is none of a refusal",
    text: validation("https://api.acme.test/me") + "rejected = [401, 200]\n",
    at: [8, 18],
    fault: /from 400 to 499/,
  },
  {
    name: "a body that is no JSON",
    text: validation("https://api.acme.test/me") + 'body = "{"\n',
    at: [8, 1],
    fault: /wanted JSON/,
  },
  {
    name: "a text for true",
    text: validation("https://api.acme.test/me") +
      'forbidden_is_fine = "yes"\n',
    at: [8, 1],
    fault: /wanted true or false, found a text/,
  },
];

for (const { name, text, at: [line, column], fault } of BROKEN) {
  Deno.test(`parseDefinition() refuses ${name} at its place`, () => {
    assert.throws(() => parse(text), (error: unknown) => {
      assert.ok(error instanceof MoatError);
      assert.equal(error.code, "bad-provider-file");
      const start =
        `Cannot use "/p/acme.toml" at line ${line}, column ${column}: `;
      assert.ok(error.message.startsWith(start), error.message);
      assert.match(error.message.slice(start.length), fault);
      return true;
    });
  });
}

Deno.test("parseDefinition() takes a wildcard's host for a validation", () => {
  const text = validation("https://x.acme.test/me").replace(
    "api.acme.test",
    "*.acme.test",
  );
  assert.equal(parse(text).validate?.length, 1);
});

Deno.test("parseDefinition() does not take a wildcard's suffix for a validation", () => {
  const text = validation("https://acme.test/me").replace(
    "api.acme.test",
    "*.acme.test",
  );
  assert.throws(() => parse(text), /takes the credential/);
});

for (const { name } of CORE_COMMANDS) {
  const [first, second] = name.split(" ");
  if (first !== "grant" || second === undefined) continue;
  Deno.test(`isProviderName() refuses "${second}", which moat grant has for itself`, () => {
    assert.equal(isProviderName(second), false);
  });
}

/** Everything that is not a definition fails in the one way. */
function failure(text: string): string {
  try {
    parse(text);
    return "";
  } catch (error) {
    assert.ok(error instanceof MoatError, String(error));
    return `${error.message}\n${error.hint ?? ""}\n${Deno.inspect(error)}`;
  }
}

Deno.test("parseDefinition() never repeats what a file holds", () => {
  const values = [
    CANARY,
    `"${CANARY}"`,
    `["${CANARY}"]`,
    `{ ${CANARY} = 1 }`,
    `{ "${CANARY}" = "${CANARY}" }`,
    `[[["${CANARY}"]]]`,
    `"\\u00zz${CANARY}"`,
    `"""${CANARY}`,
  ];
  const keys = ["name", "hosts", "inject", "placeholder", "validate", CANARY];
  fc.assert(fc.property(
    fc.array(
      fc.tuple(fc.constantFrom(...keys), fc.constantFrom(...values)),
      { minLength: 1, maxLength: 5 },
    ),
    (pairs) => {
      const lines = pairs.map(([key, value]) => `${key} = ${value}\n`);
      assertNoCanary(failure(lines.join("")));
    },
  ));
});

Deno.test("parseDefinition() fails in one way alone", () => {
  const good = HEAD + INJECT;
  fc.assert(fc.property(
    fc.nat(good.length),
    fc.nat(10),
    fc.string({ maxLength: 10 }),
    (start, length, text) =>
      void failure(good.slice(0, start) + text + good.slice(start + length)),
  ));
});
