import assert from "node:assert/strict";
import { join } from "node:path";
import { runProgram } from "$core/cli/app.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import { memoryStreams } from "../../tests/support/memory_streams.ts";
import {
  modeOf,
  namesIn,
  type TempHome,
  tempHome,
} from "../../tests/support/temp_home.ts";
import { PROVIDER_FILE_COMMANDS } from "./commands.ts";
import { loadDefinedProviders } from "./files.ts";
import { parseDefinition } from "./parse.ts";
import { template } from "./template.ts";

async function moat(argv: readonly string[], home?: TempHome) {
  const streams = memoryStreams();
  const alpha = headerProvider({ name: "alpha", aliases: ["al"] });
  const status = await runProgram({
    commands: PROVIDER_FILE_COMMANDS,
    examples: [],
    version: "moat 1.2.3",
    env: home ? { MOAT_HOME: home.directory } : {},
    setVariable() {},
    streams,
    loadProviders: () => Promise.resolve([() => alpha]),
    loadDefinedProviders: (platform, builtIn) =>
      Promise.resolve(loadDefinedProviders(platform, builtIn)),
  }, argv);
  return { status, out: streams.out, err: streams.err };
}

for (const name of ["acme", "a", "0", "my.api_v2-x", "z".repeat(63)]) {
  Deno.test(`template() of "${name.slice(0, 20)}" is right as it stands (moat-go 382)`, () => {
    assert.equal(parseDefinition(template(name), "f", name).name, name);
  });

  Deno.test(`template() of "${name.slice(0, 20)}" is right with everything in it that is commented out`, () => {
    const all = template(name)
      .replaceAll(/^# (?=\[validate\]|[a-z_]+ = )/gm, "")
      // One of two, each time.
      .replace(/^(prefix = "Bearer "|substitute = .*)$/gm, "");
    const { allow, aliases, validate } = parseDefinition(all, "f", name);
    assert.ok(allow && aliases && validate);
  });
}

Deno.test("moat provider new writes a private file where providers are", async () => {
  await using home = await tempHome();
  const { status, out } = await moat(["provider", "new", "acme"], home);
  const path = join(home.paths.configuration, "providers", "acme.toml");
  assert.deepEqual(
    [status, out, await modeOf(path)],
    [
      0,
      `wrote ${path}; next: edit it, then moat provider check ${path}\n`,
      0o600,
    ],
  );
});

Deno.test("moat provider new --json tells where it wrote", async () => {
  await using home = await tempHome();
  const { out } = await moat(["provider", "new", "acme", "--json"], home);
  const file = join(home.paths.configuration, "providers", "acme.toml");
  assert.deepEqual(JSON.parse(out), { name: "acme", file });
});

Deno.test("what moat provider new writes is a provider at once", async () => {
  await using home = await tempHome();
  await moat(["provider", "new", "acme"], home);
  const path = join(home.paths.configuration, "providers", "acme.toml");
  const { status, out } = await moat(["provider", "check", path], home);
  assert.deepEqual([status, out.split("\n")[0]], [0, `${path} is right`]);
});

Deno.test("moat provider new never overwrites", async () => {
  await using home = await tempHome();
  const path = join(home.directory, "acme.toml");
  await Deno.writeTextFile(path, "mine");
  const { status, err } = await moat(
    ["provider", "new", "acme", "--output", path],
    home,
  );
  assert.deepEqual(
    [status, /there is such a file already/.test(err)],
    [1, true],
  );
  assert.equal(await Deno.readTextFile(path), "mine");
});

Deno.test("moat provider new --output - writes no file", async () => {
  await using home = await tempHome();
  const { out } = await moat(
    ["provider", "new", "acme", "--output", "-"],
    home,
  );
  assert.deepEqual([out, await namesIn(home.directory)], [
    template("acme"),
    [],
  ]);
});

const REFUSED: { name: string; argv: readonly string[]; message: RegExp }[] = [
  { name: "a built-in name", argv: ["alpha"], message: /has a provider/ },
  { name: "a built-in alias", argv: ["al"], message: /has a provider "alpha"/ },
  { name: "upper case", argv: ["Acme"], message: /wanted lower-case/ },
  { name: "a path", argv: ["../acme"], message: /wanted lower-case/ },
  { name: "a command", argv: ["list"], message: /no word that is a command/ },
  {
    name: "a file of another name",
    argv: ["acme", "--output", "/nonexistent/other.toml"],
    message: /provider's file is NAME\.toml/,
  },
];

for (const { name, argv, message } of REFUSED) {
  Deno.test(`moat provider new refuses ${name}`, async () => {
    await using home = await tempHome();
    const { status, err } = await moat(["provider", "new", ...argv], home);
    assert.equal(status, 2);
    assert.match(err, message);
  });
}

const DEFINITION = `name = "acme"
aliases = ["ac"]
description = "Acme's API"
hosts = ["api.acme.test", "git.acme.test"]
allow = ["cdn.acme.test"]
env = ["ACME_TOKEN"]
source_env = ["ACME_TOKEN"]
[[inject]]
header = "Authorization"
prefix = "Bearer "
hosts = ["api.acme.test"]
path = "/v1"
strip = ["X-Key"]
[[inject]]
header = "Authorization"
basic_user = "git"
hosts = ["git.acme.test"]
[validate]
url = "https://api.acme.test/v1/me"
`;

async function check(text: string, ...flags: string[]) {
  await using home = await tempHome();
  const path = join(home.directory, "acme.toml");
  await Deno.writeTextFile(path, text, { mode: 0o600 });
  const result = await moat(["provider", "check", path, ...flags]);
  const strip = (text: string) => text.replaceAll(home.directory, "");
  return { ...result, out: strip(result.out), err: strip(result.err) };
}

Deno.test("moat provider check tells what a file would do, even without a home", async () => {
  const { status, out } = await check(DEFINITION);
  assert.equal(status, 0);
  assert.equal(
    out.replace(/moatPlaceholder\w+/, "PLACEHOLDER"),
    `/acme.toml is right
  name     acme, ac
  hosts    api.acme.test, git.acme.test
  puts     authorization: Bearer TOKEN on api.acme.test, at /v1 and below
  puts     authorization: Basic base64(git:TOKEN) on git.acme.test
  removes  x-key on api.acme.test
  allows   cdn.acme.test
  sets     ACME_TOKEN=PLACEHOLDER
  asks     ACME_TOKEN, then the person
  tries    GET https://api.acme.test/v1/me
`,
  );
});

Deno.test("moat provider check tells of a token in the path", async () => {
  const { out } = await check(`name = "acme"
description = "d"
hosts = ["a.test"]
substitute = "path"
`);
  assert.match(out, /puts +TOKEN in place of the placeholder in the path/);
});

Deno.test("moat provider check --json tells the same", async () => {
  const { out } = await check(DEFINITION, "--json");
  const { placeholder, ...rest } = JSON.parse(out);
  assert.match(placeholder, /^moatPlaceholder/);
  assert.deepEqual(rest, {
    file: "/acme.toml",
    name: "acme",
    aliases: ["ac"],
    description: "Acme's API",
    hosts: ["api.acme.test", "git.acme.test"],
    allow: ["cdn.acme.test"],
    headers: [
      {
        host: "api.acme.test",
        path: "/v1",
        header: "authorization",
        value: "Bearer TOKEN",
        strip: ["x-key"],
      },
      {
        host: "git.acme.test",
        path: "/",
        header: "authorization",
        value: "Basic base64(git:TOKEN)",
        strip: [],
      },
    ],
    substitutesPath: false,
    env: ["ACME_TOKEN"],
    sourceEnv: ["ACME_TOKEN"],
    validate: [{ method: "GET", url: "https://api.acme.test/v1/me" }],
  });
});

Deno.test("moat provider check fails with line and column", async () => {
  const { status, out, err } = await check(`x = 1\n${DEFINITION}`);
  assert.deepEqual([status, out], [1, ""]);
  assert.match(err, /^error: Cannot use "\/acme.toml" at line 1, column 1: /);
});

Deno.test("moat provider check --json fails as JSON", async () => {
  const { status, err } = await check(`x = 1\n${DEFINITION}`, "--json");
  assert.deepEqual([status, JSON.parse(err).error.code], [
    1,
    "bad-provider-file",
  ]);
});

Deno.test("moat provider check refuses a built-in name", async () => {
  const text = DEFINITION.replace('"ac"', '"al"');
  const { status, err } = await check(text);
  assert.deepEqual([status, /taken by provider "alpha"/.test(err)], [1, true]);
});

Deno.test("moat provider check fails for a file that is not there", async () => {
  const { status, err } = await moat(["provider", "check", "/proc/x.toml"]);
  assert.deepEqual([status, /Cannot read "\/proc\/x.toml"/.test(err)], [
    1,
    true,
  ]);
});
