import assert from "node:assert/strict";
import { join } from "node:path";
import { runProgram } from "$core/cli/app.ts";
import { CORE_COMMANDS } from "$core/cli/commands/mod.ts";
import { MoatError } from "$core/errors.ts";
import { createRegistry, type Provider } from "$core/provider.ts";
import { PROXY_COMMANDS } from "$proxy/commands/mod.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import { memoryStreams } from "../../tests/support/memory_streams.ts";
import { type TempHome, tempHome } from "../../tests/support/temp_home.ts";
import { PROVIDER_FILE_COMMANDS } from "./commands.ts";
import { loadDefinedProviders } from "./files.ts";

const BUILT_IN: readonly Provider[] = [
  headerProvider({ name: "alpha", aliases: ["al"] }),
];

const definition = (name: string, more = "") =>
  `name = "${name}"
description = "The API of ${name}"
hosts = ["${name}.test"]
source_env = ["TOKEN"]
${more}
[inject]
header = "X-Key"
`;

interface Home extends TempHome {
  /** Writes a file of a provider. */
  write(file: string, text: string, mode?: number): Promise<string>;
}

async function home(): Promise<Home> {
  const made = await tempHome();
  const providers = join(made.paths.configuration, "providers");
  return {
    ...made,
    [Symbol.asyncDispose]: () => made[Symbol.asyncDispose](),
    async write(file, text, mode = 0o600) {
      await Deno.mkdir(providers, { recursive: true, mode: 0o700 });
      const path = join(providers, file);
      await Deno.writeTextFile(path, text);
      await Deno.chmod(path, mode);
      return path;
    },
  };
}

const load = ({ paths }: TempHome) =>
  loadDefinedProviders(fakePlatform({ paths }), BUILT_IN);

const names = (providers: readonly Provider[]) =>
  providers.map(({ name }) => name);

const codes = (problems: readonly MoatError[]) =>
  problems.map(({ code }) => code);

Deno.test("loadDefinedProviders() finds nothing where there is no directory", async () => {
  await using made = await home();
  const { all, problems } = load(made);
  assert.deepEqual([all, problems], [[], []]);
});

Deno.test("loadDefinedProviders() finds nothing without a home", () => {
  const { paths, ...platform } = fakePlatform();
  const homeless = {
    ...platform,
    get paths(): typeof paths {
      throw new MoatError("no-home", "Cannot find where to keep state");
    },
  };
  const defined = loadDefinedProviders(homeless, BUILT_IN);
  assert.deepEqual(
    [defined.all, defined.problems, defined.find("acme")],
    [[], [], undefined],
  );
});

Deno.test("loadDefinedProviders() makes a provider of each .toml file", async () => {
  await using made = await home();
  await made.write("zoo.toml", definition("zoo"));
  await made.write("acme.toml", definition("acme"));
  await made.write("acme.toml~", "no");
  await made.write(".#acme.toml", "no");
  await made.write("notes.txt", "no");
  const { all, problems } = load(made);
  assert.deepEqual([names(all), problems], [["acme", "zoo"], []]);
});

Deno.test("loadDefinedProviders() reports a broken file with its place, and keeps the others", async () => {
  await using made = await home();
  const path = await made.write("bad.toml", definition("bad", "hsots = []"));
  await made.write("good.toml", definition("good"));
  const { all, problems } = load(made);
  assert.deepEqual(names(all), ["good"]);
  assert.equal(
    problems[0]?.message,
    `Cannot use "${path}" at line 5, column 1: unknown key "hsots"`,
  );
});

const REFUSED: {
  name: string;
  file?: string;
  text?: string;
  mode?: number;
  code: string;
  message: RegExp;
}[] = [
  {
    name: "the name of a built-in provider",
    file: "alpha.toml",
    text: definition("alpha"),
    code: "bad-provider-file",
    message: /the name "alpha" is taken by provider "alpha"/,
  },
  {
    name: "the alias of a built-in provider",
    file: "al.toml",
    text: definition("al"),
    code: "bad-provider-file",
    message: /the name "al" is taken by provider "alpha"/,
  },
  {
    name: "an alias that a built-in provider has",
    text: definition("acme", 'aliases = ["al"]'),
    code: "bad-provider-file",
    message: /the name "al" is taken by provider "alpha"/,
  },
  {
    name: "its own name as an alias of another file",
    file: "zoo.toml",
    text: definition("zoo", 'aliases = ["first"]'),
    code: "bad-provider-file",
    message: /the name "first" is taken by provider "first"/,
  },
  {
    name: "a file that its group can write",
    mode: 0o660,
    code: "insecure-file",
    message: /mode is 0660/,
  },
  {
    name: "a file that others can write",
    mode: 0o606,
    code: "insecure-file",
    message: /mode is 0606/,
  },
  {
    name: "a file whose name is none of a provider",
    file: "My API.toml",
    code: "bad-provider-file",
    message: /wanted NAME\.toml/,
  },
  {
    name: "a file of a command's name",
    file: "list.toml",
    text: definition("list"),
    code: "bad-provider-file",
    message: /wanted NAME\.toml/,
  },
  {
    name: "a very long file",
    text: definition("acme") + "#".repeat(65 * 1024),
    code: "bad-provider-file",
    message: /65536 bytes at most/,
  },
  {
    name: "a file that is not UTF-8",
    text: definition("acme") + "# \ud800",
    code: "bad-provider-file",
    message: /not UTF-8/,
  },
];

for (
  const { name, file = "acme.toml", text, mode, code, message } of REFUSED
) {
  Deno.test(`loadDefinedProviders() refuses ${name}, and keeps the others`, async () => {
    await using made = await home();
    await made.write("first.toml", definition("first"));
    const path = await made.write(file, text ?? definition("acme"), mode);
    if (name.includes("UTF-8")) {
      await Deno.writeFile(path, new Uint8Array([0x23, 0xff, 0xfe]));
    }
    const { all, problems } = load(made);
    assert.deepEqual([names(all), codes(problems)], [["first"], [code]]);
    assert.match(problems[0]?.message ?? "", message);
  });
}

const noChown = Deno.uid() === 0 ? undefined : "needs root";

testUnless(
  noChown,
  "loadDefinedProviders() refuses a file of another user",
  async () => {
    await using made = await home();
    const path = await made.write("acme.toml", definition("acme"), 0o644);
    await Deno.chown(path, 12345, 12345);
    assert.match(load(made).problems[0]?.message ?? "", /owner is uid 12345/);
  },
);

Deno.test("loadDefinedProviders() refuses a directory that others can write", async () => {
  await using made = await home();
  await made.write("acme.toml", definition("acme"));
  await Deno.chmod(join(made.directory, "providers"), 0o777);
  const { all, problems } = load(made);
  assert.deepEqual([all, codes(problems)], [[], ["insecure-file"]]);
});

Deno.test("loadDefinedProviders() does not wait for the writer of a pipe", async () => {
  await using made = await home();
  const path = await made.write("acme.toml", "");
  await Deno.remove(path);
  await new Deno.Command("mkfifo", { args: ["-m", "600", path] }).output();
  assert.match(load(made).problems[0]?.message ?? "", /it is no file/);
});

Deno.test("loadDefinedProviders() follows a link to a file", async () => {
  await using made = await home();
  const path = await made.write("real", definition("acme"));
  await Deno.symlink(path, path.replace(/real$/, "acme.toml"));
  assert.deepEqual(names(load(made).all), ["acme"]);
});

// A running proxy

Deno.test("find() finds a file that was added later", async () => {
  await using made = await home();
  const defined = load(made);
  await made.write("acme.toml", definition("acme"));
  assert.equal(defined.find("acme")?.name, "acme");
});

Deno.test("find() finds by alias", async () => {
  await using made = await home();
  await made.write("acme.toml", definition("acme", 'aliases = ["ac"]'));
  assert.equal(load(made).find("ac")?.name, "acme");
});

Deno.test("find() keeps the provider while its file stays the same", async () => {
  await using made = await home();
  await made.write("acme.toml", definition("acme"));
  const defined = load(made);
  assert.equal(defined.find("acme"), defined.find("acme"));
});

Deno.test("find() reads a file again that was corrected", async () => {
  await using made = await home();
  await made.write("acme.toml", "broken");
  const defined = load(made);
  await made.write("acme.toml", definition("acme"));
  assert.equal(defined.find("acme")?.description, "The API of acme");
});

Deno.test("find() tells what is wrong with a file that was broken", async () => {
  await using made = await home();
  await made.write("acme.toml", definition("acme"));
  const defined = load(made);
  await made.write("acme.toml", definition("acme", "x = 1"));
  assert.throws(() => defined.find("acme"), /line 5, column 1/);
});

Deno.test("find() forgets a file that is gone", async () => {
  await using made = await home();
  const path = await made.write("acme.toml", definition("acme"));
  const defined = load(made);
  await Deno.remove(path);
  assert.equal(defined.find("acme"), undefined);
});

for (const name of ["", "../acme", "a/b", "aws:prod", "A", "list"]) {
  Deno.test(`find() looks for no file of "${name}"`, async () => {
    await using made = await home();
    await made.write("acme.toml", definition("acme"));
    assert.equal(load(made).find(name), undefined);
  });
}

Deno.test("the registry never gives a built-in name to a file", async () => {
  await using made = await home();
  const registry = createRegistry(BUILT_IN, load(made));
  await made.write("alpha.toml", definition("alpha"));
  assert.equal(registry.get("alpha"), BUILT_IN[0]);
});

// Commands

async function moat(
  argv: readonly string[],
  { directory }: TempHome,
  env: Readonly<Record<string, string>> = {},
) {
  const streams = memoryStreams();
  const status = await runProgram({
    commands: [...CORE_COMMANDS, ...PROXY_COMMANDS, ...PROVIDER_FILE_COMMANDS],
    examples: [],
    version: "moat 1.2.3",
    env: { MOAT_HOME: directory, MOAT_KEYRING: "file", ...env },
    setVariable() {},
    streams,
    loadProviders: () => Promise.resolve(BUILT_IN.map((one) => () => one)),
    loadDefinedProviders: (platform, builtIn) =>
      Promise.resolve(loadDefinedProviders(platform, builtIn)),
  }, argv);
  return { status, out: streams.out, err: streams.err };
}

const WARNED: readonly (readonly string[])[] = [
  ["grant", "providers"],
  ["grant", "providers", "--json"],
  ["grant", "list"],
  ["grant", "good", "--no-validate"],
  ["grant", "--help"],
  ["revoke", "good"],
  ["bindings"],
];

for (const argv of WARNED) {
  Deno.test(`moat ${argv.join(" ")} warns of a broken file, and works`, async () => {
    await using made = await home();
    await made.write("good.toml", definition("good"));
    await moat(["grant", "good", "--no-validate"], made, { TOKEN: CANARY });
    const path = await made.write("bad.toml", definition("bad", "x = 1"));
    const { status, out, err } = await moat(argv, made, { TOKEN: CANARY });
    assert.equal(status, 0, err);
    assert.match(err, /^warning: Cannot use "[^"]*" at line 5, column 1: /);
    assert.ok(err.includes(path));
    assertNoCanary(out, err);
  });
}

for (const argv of [["provider", "new", "x"], ["--version"]]) {
  Deno.test(`moat ${argv.join(" ")} says nothing of a broken file`, async () => {
    await using made = await home();
    await made.write("bad.toml", "broken");
    const { status, err } = await moat(argv, made);
    assert.deepEqual([status, err], [0, ""]);
  });
}

Deno.test("moat grant providers lists a defined provider", async () => {
  await using made = await home();
  await made.write("acme.toml", definition("acme"));
  const { out } = await moat(["grant", "providers"], made);
  assert.match(out, /^ {2}acme +The API of acme$/m);
});

Deno.test("moat grant takes a defined provider by its alias", async () => {
  await using made = await home();
  await made.write("acme.toml", definition("acme", 'aliases = ["ac"]'));
  const env = { TOKEN: CANARY };
  const { out } = await moat(["grant", "ac", "--no-validate"], made, env);
  assert.match(out, /^granted acme /);
});

Deno.test("moat grant shows the place in a broken file as its error", async () => {
  await using made = await home();
  await made.write("acme.toml", definition("acme", "x = 1"));
  const { status, err } = await moat(["grant", "acme"], made);
  assert.deepEqual([status, /^error: .* line 5, /m.test(err)], [1, true], err);
});

/** A grant whose provider's file is gone. */
async function orphan(made: Home): Promise<string> {
  const path = await made.write("acme.toml", definition("acme"));
  await moat(["grant", "acme", "--no-validate"], made, { TOKEN: CANARY });
  await Deno.remove(path);
  return path;
}

Deno.test("a grant whose file is gone names the file to restore", async () => {
  await using made = await home();
  const path = await orphan(made);
  const { status, err } = await moat(["grant", "show", "acme"], made);
  assert.equal(status, 2);
  assert.match(err, /Cannot find provider "acme"/);
  assert.ok(err.includes(`one of your own is defined in ${path}`), err);
});

Deno.test("a grant whose file is gone is listed", async () => {
  await using made = await home();
  await orphan(made);
  const { status, out } = await moat(["grant", "list"], made);
  assert.deepEqual([status, out], [0, "  acme  acme\n"]);
});

Deno.test("a grant whose file is gone can be revoked", async () => {
  await using made = await home();
  await orphan(made);
  const { status, out } = await moat(["revoke", "acme"], made);
  assert.deepEqual([status, out.startsWith("revoked acme")], [0, true]);
});
