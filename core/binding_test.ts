import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import fc from "fast-check";
import {
  checkBindingName,
  digestToken,
  equalDigests,
  holdsToken,
  mintToken,
  placeholderToken,
  readToken,
  tokenFileContent,
} from "./binding.ts";
import { Secret } from "./secret.ts";

const SECRET = "s".repeat(43);

const NAMES_TAKEN = [
  "a",
  "7",
  "_",
  "-",
  "@",
  "web",
  "web-1",
  "web_1",
  "web@example",
  "a.b.c",
  "a..b",
  "a.",
  "web.json",
  "Run-1",
  "run",
  "run_1",
  "x".repeat(64),
];
for (const name of NAMES_TAKEN) {
  Deno.test(`checkBindingName() takes ${JSON.stringify(name)}`, () => {
    assert.equal(checkBindingName(name), name);
  });
}

const NAMES_REFUSED = [
  "",
  ".",
  "..",
  ".hidden",
  ".wip.web",
  "a/b",
  "/a",
  "../a",
  "a\\b",
  "a b",
  " a",
  "a ",
  "a\n",
  "a\0",
  "a:b",
  "a%40b",
  "a,b",
  "ä",
  "x".repeat(65),
  "run-",
  "run-abcdefghij",
];
for (const name of NAMES_REFUSED) {
  Deno.test(`checkBindingName() refuses ${JSON.stringify(name)}`, () => {
    assert.throws(() => checkBindingName(name), { code: "usage" });
  });
}

Deno.test("checkBindingName() repeats no more than the beginning of a long name", () => {
  assert.throws(
    () => checkBindingName("x".repeat(5000)),
    (error: Error) => error.message.length < 300,
  );
});

Deno.test("checkBindingName() proposes the name without run-", () => {
  assert.throws(() => checkBindingName("run-web"), {
    hint: "choose another name, such as web",
  });
});

Deno.test("mintToken() makes moat, the name and 256 bits of base64url", () => {
  assert.match(mintToken("web").reveal(), /^moat\.web\.[\w-]{43}$/);
});

Deno.test("mintToken() takes another prefix and length", () => {
  const token = mintToken("web", "needroleshere", 64).reveal();
  assert.match(token, /^needroleshere\.web\.[\w-]{86}$/);
});

Deno.test("mintToken() makes a new secret each time", () => {
  const tokens = Array.from({ length: 100 }, () => mintToken("web").reveal());
  assert.equal(new Set(tokens).size, 100);
});

Deno.test("tokenFileContent() is the header's value, without a newline", () => {
  const token = new Secret(`moat.web.${SECRET}`);
  assert.equal(tokenFileContent(token), `Bearer moat.web.${SECRET}`);
});

Deno.test("digestToken() is SHA-384 in base64url of the secret's bytes", () => {
  const secret = Buffer.from("abc").toString("base64url");
  // FIPS 180-4, the vector "abc".
  assert.equal(
    digestToken(`moat.web.${secret}`),
    "ywB1P0WjXou1oD1pmsZQBycsMqsO3tFjGotgWkP_W-2AhgcroefMI1i67KE0yCWn",
  );
});

Deno.test("digestToken() takes what follows the last dot", () => {
  assert.equal(digestToken(`moat.a.b.c.${SECRET}`), digestToken(SECRET));
});

for (const name of ["web", "a.b.c", "web@example", "a..b", "a.", "run-x"]) {
  Deno.test(`readToken() reads what mintToken() makes for ${name}`, () => {
    const token = mintToken(name).reveal();
    assert.deepEqual(readToken(token), { name, digest: digestToken(token) });
  });
}

Deno.test("readToken() reads the longest secret", () => {
  const token = `moat.web.${"s".repeat(128)}`;
  assert.equal(readToken(token)?.name, "web");
});

Deno.test("readToken() wants the prefix that it is told", () => {
  const tokens = ["moat", "needroleshere"].map((prefix) =>
    readToken(`${prefix}.web.${SECRET}`, "needroleshere")?.name
  );
  assert.deepEqual(tokens, [undefined, "web"]);
});

const NO_TOKENS: Record<string, string> = {
  "an empty text": "",
  "a prefix alone": "moat",
  "a prefix and a dot": "moat.",
  "no name": `moat.${SECRET}`,
  "an empty name": `moat..${SECRET}`,
  "no secret": "moat.web",
  "an empty secret": "moat.web.",
  "a short secret": `moat.web.${SECRET.slice(1)}`,
  "a long secret": `moat.web.${"s".repeat(129)}`,
  "another prefix": `moot.web.${SECRET}`,
  "a longer prefix": `moats.web.${SECRET}`,
  "the prefix in capitals": `MOAT.web.${SECRET}`,
  "the old form": `moat_${SECRET}`,
  "a name with a slash": `moat.../../x.${SECRET}`,
  "a hidden name": `moat..x.${SECRET}`,
  "a name with an escape": `moat.a%40b.${SECRET}`,
  "a long name": `moat.${"x".repeat(65)}.${SECRET}`,
  "a blank before": ` moat.web.${SECRET}`,
  "a newline behind": `moat.web.${SECRET}\n`,
  "padding": `moat.web.${SECRET}=`,
  "base64 of the other alphabet": `moat.web.${SECRET.slice(1)}/`,
  "the scheme": `Bearer moat.web.${SECRET}`,
  "a digest": digestToken(SECRET),
};
for (const [name, text] of Object.entries(NO_TOKENS)) {
  Deno.test(`readToken() takes no token from ${name}`, () => {
    assert.equal(readToken(text), undefined);
  });
}

Deno.test("readToken() throws for no text", () => {
  const part = fc.constantFrom(
    "moat",
    ".",
    "..",
    "web",
    SECRET,
    "%",
    "\0",
    "é",
  );
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(part).map((parts) => parts.join("")),
  );
  fc.assert(fc.property(text, (text) => void readToken(text)));
});

Deno.test("readToken() reads a secret in its one spelling only", () => {
  const token = mintToken("web").reveal();
  const alphabet = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"]
    .concat([..."0123456789-_"]);
  const same = alphabet.filter((last) =>
    readToken(token.slice(0, -1) + last)?.digest === digestToken(token)
  );
  assert.deepEqual(same, [token.at(-1)]);
});

for (const name of ["web", "a.b", "a@b", "run-x"]) {
  Deno.test(`holdsToken() finds the token of ${name} in a variable`, () => {
    const token = mintToken(name).reveal();
    const found = [
      token,
      `Bearer ${token}`,
      `/ecs/credentials?access_token=${encodeURIComponent(token)}`,
      placeholderToken(name).reveal(),
    ].map(holdsToken);
    assert.deepEqual(found, [true, true, true, true]);
  });
}

const TOKENLESS = [
  "",
  "moat",
  "http://moat-proxy:19080/aws/process-credentials",
  "/home/ana/.local/state/moat/runs/abcdefghij/files/token",
  "/moat/token",
  "arn:aws:iam::123456789012:role/Deploy",
];
for (const text of TOKENLESS) {
  Deno.test(`holdsToken() finds none in ${JSON.stringify(text)}`, () => {
    assert.equal(holdsToken(text), false);
  });
}

Deno.test("placeholderToken() has a token's form", () => {
  assert.equal(readToken(placeholderToken("a.b").reveal())?.name, "a.b");
});

Deno.test("placeholderToken() is as long as a token", () => {
  assert.equal(
    placeholderToken("web").reveal().length,
    mintToken("web").reveal().length,
  );
});

/** What stands for a digest before there is one: no digest at all. */
for (const none of ["0".repeat(64), "A".repeat(64), "-".repeat(64), ""]) {
  Deno.test(`placeholderToken() does not match ${JSON.stringify(none)}`, () => {
    const { digest = "" } = readToken(placeholderToken("web").reveal()) ?? {};
    assert.equal(equalDigests(digest, none), false);
  });
}

Deno.test("a digest does not hold the secret", () => {
  const token = mintToken("web").reveal();
  const secret = token.slice(token.lastIndexOf(".") + 1);
  const digest = digestToken(token);
  assert(!digest.includes(secret.slice(0, 8)));
  assert.equal(Buffer.from(digest, "base64url").length, 48);
  assert.notEqual(
    digest,
    createHash("sha384").update(secret).digest("base64url"),
  );
});

Deno.test("equalDigests() accepts the same token", () => {
  assert.equal(equalDigests(digestToken("aaaa"), digestToken("aaaa")), true);
});

const DIFFERENT: [name: string, other: string][] = [
  ["another token", digestToken("bbbb")],
  ["a prefix", digestToken("aaaa").slice(0, -1)],
  ["nothing", ""],
  ["more", digestToken("aaaa") + "A"],
  ["the other case", digestToken("aaaa").toLowerCase()],
  // As many UTF-16 units, more bytes: must not throw.
  ["as many characters, not ASCII", "é".repeat(64)],
];
for (const [name, other] of DIFFERENT) {
  Deno.test(`equalDigests() refuses ${name}`, () => {
    assert.equal(equalDigests(digestToken("aaaa"), other), false);
  });
}
