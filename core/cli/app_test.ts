import assert from "node:assert/strict";
import { testUnless } from "../../tests/support/conditional.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import { memoryStreams } from "../../tests/support/memory_streams.ts";
import { type TempHome, tempHome } from "../../tests/support/temp_home.ts";
import { createAuditLog } from "../audit.ts";
import { systemClock } from "../clock.ts";
import { MoatError } from "../errors.ts";
import type { Provider } from "../provider.ts";
import { PROXY_COMMANDS } from "$proxy/commands/mod.ts";
import { type Program, runProgram } from "./app.ts";
import type { Command, Run } from "./command.ts";
import { CORE_COMMANDS } from "./commands/mod.ts";

/** A command that does what the test wants. */
function command(name: string, run: Run, more: Partial<Command> = {}): Command {
  return {
    name,
    summary: `Does ${name}`,
    usage: "",
    examples: [],
    flags: [],
    operands: [0, 1],
    load: () => Promise.resolve(run),
    ...more,
  };
}

const fail = (error: Error): Run => () => Promise.reject(error);

const TEST_COMMANDS: readonly Command[] = [
  command("fail", fail(new MoatError("bad-luck", "Cannot", { hint: "retry" }))),
  command("crash", fail(new TypeError(`no ${CANARY}`))),
  command("misuse", fail(new MoatError("usage", "Cannot use this"))),
  command("seven", () => Promise.resolve(7), { worksHomeless: true }),
  command("wrap", (_context, { command: [word = ""] }) => {
    if (word === "fail") throw new MoatError("bad-luck", "Cannot");
    return Promise.resolve(Number(word));
  }, { takesCommand: true, operands: [0, 0] }),
];

/** Two providers; both have the flag --token, of different shapes. */
const PROVIDERS: readonly Provider[] = [
  {
    ...headerProvider({ name: "alpha", aliases: ["a1"] }),
    grantFlags: [
      { name: "token", value: "TEXT", summary: "Alpha's token" },
      { name: "only-alpha", value: "TEXT", summary: "Of alpha alone" },
    ],
    describe: () => [["kind", "header"]],
  },
  {
    ...headerProvider({ name: "beta" }),
    grantFlags: [
      { name: "token", summary: "Beta's switch" },
      { name: "only-beta", summary: "Of beta alone" },
    ],
    grant: ({ name, flags }) =>
      Promise.resolve({
        provider: "beta",
        name,
        createdAt: 0,
        settings: { token: flags["token"] === true },
      }),
  },
];

interface Result {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command line in the home. */
async function moat(
  argv: readonly string[],
  home?: TempHome,
  more: Partial<Program> = {},
): Promise<Result> {
  const streams = memoryStreams();
  const status = await runProgram({
    commands: [...CORE_COMMANDS, ...PROXY_COMMANDS, ...TEST_COMMANDS],
    examples: ["moat seven"],
    version: "moat 1.2.3",
    env: {
      MOAT_HOME: home?.directory ?? "/proc/nonexistent",
      MOAT_KEYRING: "file",
    },
    setVariable() {},
    streams,
    loadProviders: () => Promise.resolve(PROVIDERS.map((p) => () => p)),
    ...more,
  }, argv);
  return { status, out: streams.out, err: streams.err };
}

for (const argv of [[], ["--help"], ["-h"], ["help"], ["help", "--help"]]) {
  Deno.test(`runProgram() prints its help for "${argv.join(" ")}"`, async () => {
    const { status, out, err } = await moat(argv, undefined, { env: {} });
    assert.deepEqual([status, err], [0, ""]);
    assert.match(out, /^moat keeps [^]*\n {2}grant list +[^]*\n {2}run +/);
  });
}

for (const flag of ["--version", "-V", "version"]) {
  Deno.test(`runProgram() prints its version for ${flag}`, async () => {
    const result = await moat([flag], undefined, { env: {} });
    assert.deepEqual(result, { status: 0, out: "moat 1.2.3\n", err: "" });
  });
}

for (const { name } of [...CORE_COMMANDS, ...PROXY_COMMANDS]) {
  const words = name.split(" ");
  const spellings = [
    [...words, "--help"],
    [...words, "-h"],
    ["help", ...words],
    [...words, "x", "--help"],
  ];
  for (const argv of spellings) {
    Deno.test(`runProgram() helps with "${argv.join(" ")}", even without a home`, async () => {
      const { status, out, err } = await moat(argv, undefined, { env: {} });
      assert.deepEqual([status, err], [0, ""]);
      assert(out.includes(`\nUsage: moat ${name}`), out);
    });
  }
}

Deno.test("runProgram() runs nothing for help with a command after --", async () => {
  const { status, out } = await moat(["help", "wrap", "--", "fail"]);
  assert.equal(status, 0);
  assert.match(out, /Usage: moat wrap/);
});

Deno.test("runProgram() leaves --help after -- to the command", async () => {
  const { status, out } = await moat(["wrap", "--", "5", "--help"]);
  assert.deepEqual([status, out], [5, ""]);
});

const STATUSES: { argv: string[]; status: number; err: RegExp }[] = [
  { argv: ["seven"], status: 7, err: /^$/ },
  { argv: ["wrap", "--", "0"], status: 0, err: /^$/ },
  { argv: ["wrap", "--", "3"], status: 3, err: /^$/ },
  { argv: ["fail"], status: 1, err: /^error: Cannot\nhint: retry\n$/ },
  { argv: ["crash"], status: 1, err: /^error: Unexpected TypeError inside/ },
  { argv: ["misuse"], status: 2, err: /^error: Cannot use this\n$/ },
  { argv: ["grnat"], status: 2, err: /\nhint: did you mean grant\?\n$/ },
  { argv: ["seven", "--nope"], status: 2, err: /^error: Cannot use --nope:/ },
  { argv: ["seven", "a", "b"], status: 2, err: /^error: Cannot use "b":/ },
  { argv: ["--json"], status: 2, err: /^\{"error":\{"code":"usage"/ },
  { argv: ["help", "nope"], status: 2, err: /Cannot find command "nope"/ },
  { argv: ["wrap", "--", "fail"], status: 125, err: /^error: Cannot\n$/ },
  { argv: ["wrap"], status: 125, err: /no command after "--"/ },
  { argv: ["wrap", "ls"], status: 125, err: /wanted "--" before "ls"/ },
  { argv: ["wrap", "--nope", "--", "0"], status: 125, err: /--nope/ },
  { argv: ["run", "--", "true"], status: 125, err: /--grant is missing/ },
];

for (const { argv, status, err } of STATUSES) {
  Deno.test(`runProgram() ends "${argv.join(" ")}" with ${status}`, async () => {
    const result = await moat(argv);
    assert.equal(result.status, status);
    assert.match(result.err, err);
  });
}

Deno.test("runProgram() prints an error as JSON with --json", async () => {
  const { status, out, err } = await moat(["grant", "show", "--json"]);
  const { code, message, hint } = JSON.parse(err).error;
  assert.deepEqual([status, out, code], [2, "", "usage"]);
  assert.match(
    `${message}|${hint}`,
    /NAME is missing\|usage: moat grant show/,
  );
});

Deno.test("runProgram() leaves --json after -- to the command", async () => {
  const { err } = await moat(["wrap", "--", "fail", "--json"]);
  assert.equal(err, "error: Cannot\n");
});

Deno.test("runProgram() shows the stack of a mistake with MOAT_DEBUG=1, without its message", async () => {
  const env = { MOAT_HOME: "/proc/nonexistent", MOAT_DEBUG: "1" };
  const { err } = await moat(["crash"], undefined, { env });
  assert.match(err, /^error: .*\nhint: .*\n +at .*app_test\.ts/);
  assertNoCanary(err);
});

Deno.test("runProgram() shows no stack without MOAT_DEBUG=1", async () => {
  const { err } = await moat(["crash"]);
  assert(!err.includes("app_test.ts"), err);
});

const HOMELESS: { argv: string[]; env: Record<string, string> }[] = [
  { argv: ["grant", "list"], env: {} },
  { argv: ["grant", "list"], env: { HOME: "relative" } },
  { argv: ["revoke", "alpha"], env: { MOAT_HOME: "./x" } },
  { argv: ["audit"], env: {} },
];

for (const { argv, env } of HOMELESS) {
  const where = JSON.stringify(env);
  Deno.test(`runProgram() cannot "${argv.join(" ")}" with ${where}`, async () => {
    const { status, err } = await moat(argv, undefined, { env });
    assert.equal(status, 1);
    assert.match(err, /^error: Cannot (find|use) .*\nhint: export .*\n$/);
  });
}

Deno.test("runProgram() runs what needs no state without a home", async () => {
  const { status, err } = await moat(["seven"], undefined, { env: {} });
  assert.deepEqual([status, err], [7, ""]);
});

testUnless(
  Deno.uid() === 0 ? undefined : "not root",
  "runProgram() refuses a home of another user before it does anything there",
  async () => {
    await using home = await tempHome();
    await Deno.chown(home.directory, 65_534, 65_534);
    const { status, err } = await moat(["proxy"], home);
    assert.equal(status, 1);
    assert.match(err, /^error: Cannot use directory .*: owner is uid 65534/);
    assert.deepEqual(await Array.fromAsync(Deno.readDir(home.directory)), []);
  },
);

Deno.test("runProgram() makes no file for a command line that it refuses", async () => {
  await using home = await tempHome();
  await moat(["grant", "alpha", "--nope"], home);
  assert.deepEqual(await Array.fromAsync(Deno.readDir(home.directory)), []);
});

Deno.test("moat audit keeps each event on its line, whatever its fields hold", async () => {
  await using home = await tempHome();
  const log = createAuditLog(home.paths, systemClock, { onFailure() {} });
  const forged = "x\n2026-01-01T00:00:00.000Z revoked grant=forged \x1b[31m";
  await log.record("vended", { accessKeyId: forged, grants: ["a", "b"] });
  const { out } = await moat(["audit"], home);
  assert.match(out, /^\S+ vended accessKeyId="x\\n.*" grants=a,b\n$/);
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(out.slice(0, -1), /[\x00-\x1f]/);
});

const GRANT = ["grant", "alpha", "--token", CANARY];

Deno.test("moat grant stores a grant and names the next command", async () => {
  await using home = await tempHome();
  const { status, out, err } = await moat([...GRANT, "--name", "x"], home);
  assert.deepEqual([status, err], [0, ""]);
  assert.equal(
    out,
    "granted alpha:x; next: moat run --grant alpha:x -- COMMAND\n",
  );
});

Deno.test("moat grant takes an alias for its provider", async () => {
  await using home = await tempHome();
  const { out } = await moat(["grant", "a1", "--token", "x"], home);
  assert.match(out, /^granted alpha;/);
});

Deno.test("moat grant says that it did not validate", async () => {
  await using home = await tempHome();
  const { out } = await moat([...GRANT, "--no-validate"], home);
  assert.match(out, /^granted alpha \(not validated\);/);
});

Deno.test("moat grant and its readers never print the credential", async () => {
  await using home = await tempHome();
  const lines = [
    [...GRANT, "--json"],
    ["grant", "list", "--json"],
    ["grant", "list"],
    ["grant", "show", "alpha"],
    ["grant", "show", "alpha", "--json"],
    ["audit"],
    ["audit", "--json"],
  ];
  for (const argv of lines) {
    const { status, out, err } = await moat(argv, home);
    assert.deepEqual([status, err], [0, ""], argv.join(" "));
    assertNoCanary(out);
  }
});

Deno.test("moat grant show --json has the documented members", async () => {
  await using home = await tempHome();
  await moat(GRANT, home);
  const { out } = await moat(["grant", "show", "alpha", "--json"], home);
  assert.deepEqual(JSON.parse(out), {
    name: "alpha",
    provider: "alpha",
    grantedAt: "1970-01-01T00:00:00.000Z",
    settings: {},
  });
});

Deno.test("moat grant list hints at the next command when there is none", async () => {
  await using home = await tempHome();
  const result = await moat(["grant", "list"], home);
  assert.deepEqual(result, {
    status: 0,
    out: "",
    err: "no grants yet; next: moat grant providers\n",
  });
});

Deno.test("moat grant list --json prints an empty list when there is none", async () => {
  await using home = await tempHome();
  const result = await moat(["grant", "list", "--json"], home);
  assert.deepEqual(result, { status: 0, out: "[]\n", err: "" });
});

Deno.test("moat grant list shows a damaged grant beside the others", async () => {
  await using home = await tempHome();
  await moat(GRANT, home);
  await moat(["grant", "beta"], home);
  await Deno.writeTextFile(`${home.paths.grants}/alpha.grant`, CANARY);
  const { status, out, err } = await moat(["grant", "list"], home);
  assert.equal(status, 0);
  assert.match(out, /^ {2}alpha +unreadable: [a-z-]+\n {2}beta +beta\n$/);
  assert.match(err, /^warning: .*; .*\n$/);
  assertNoCanary(out, err);
});

Deno.test("moat revoke removes a grant, also a damaged one", async () => {
  await using home = await tempHome();
  await moat(GRANT, home);
  await Deno.writeTextFile(`${home.paths.grants}/alpha.grant`, "damaged");
  const { status, out } = await moat(["revoke", "alpha"], home);
  assert.equal(status, 0);
  assert.match(out, /^revoked alpha;/);
  assert.equal((await moat(["grant", "list"], home)).out, "");
});

Deno.test("moat revoke fails for a grant that is not there", async () => {
  await using home = await tempHome();
  const { status, err } = await moat(["revoke", "alpha:x"], home);
  assert.equal(status, 1);
  assert.match(
    err,
    /^error: Cannot revoke "alpha:x": no grant has that name\n/,
  );
});

Deno.test("moat audit shows what was granted and revoked, in order", async () => {
  await using home = await tempHome();
  await moat(GRANT, home);
  await moat(["revoke", "alpha"], home);
  const { out } = await moat(["audit"], home);
  assert.match(out, /^\S+ granted grant=alpha\n\S+ revoked grant=alpha\n$/);
});

Deno.test("moat audit --verify tells how many events are intact", async () => {
  await using home = await tempHome();
  await moat(GRANT, home);
  const { status, out } = await moat(["audit", "--verify"], home);
  assert.deepEqual([status, out], [0, "intact: 1 events\n"]);
});

Deno.test("moat audit --verify fails for a log that was changed", async () => {
  await using home = await tempHome();
  await moat(GRANT, home);
  const text = await Deno.readTextFile(home.paths.audit);
  await Deno.writeTextFile(home.paths.audit, text.replace("alpha", "omega"));
  const { status, err } = await moat(["audit", "--verify"], home);
  assert.equal(status, 1);
  assert.match(err, /^error: The audit log is broken at line 1/);
});

const PROVIDER_FLAGS: { name: string; argv: string[]; err: RegExp }[] = [
  {
    name: "another provider's flag",
    argv: ["grant", "alpha", "--token", "x", "--only-beta"],
    err:
      /^error: Cannot use --only-beta with provider "alpha"\nhint: moat grant alpha --help/,
  },
  {
    name: "another provider's flag before the provider",
    argv: ["grant", "--only-alpha", "x", "beta"],
    err: /^error: Cannot use --only-alpha with provider "beta"/,
  },
  {
    name: "a value for the switch of the named provider",
    argv: ["grant", "beta", "--token=x"],
    err: /^error: Cannot use --token=…: it is a switch/,
  },
  {
    name: "no value for the flag of the named provider",
    argv: ["grant", "alpha", "--token"],
    err: /^error: Cannot use --token: it needs a value/,
  },
  {
    name: "an unknown provider",
    argv: ["grant", "gamma"],
    err: /^error: Cannot find provider "gamma"\nhint: .*alpha, beta/,
  },
  {
    name: "a flag of none",
    argv: ["grant", "alpha", "--tokn", "x"],
    err: /^error: Cannot use --tokn: .*\nhint: did you mean --token\?/,
  },
];

for (const { name, argv, err } of PROVIDER_FLAGS) {
  Deno.test(`runProgram() refuses ${name}`, async () => {
    const result = await moat(argv);
    assert.equal(result.status, 2);
    assert.match(result.err, err);
  });
}

for (const name of ["beta", "alpha"]) {
  const argv = name === "beta" ? ["--token"] : ["--token", "x"];
  Deno.test(`runProgram() reads a flag of two providers as ${name}'s`, async () => {
    await using home = await tempHome();
    const { status, err } = await moat(["grant", name, ...argv], home);
    assert.deepEqual([status, err], [0, ""]);
  });
}

Deno.test("runProgram() shows the flags of the named provider only", async () => {
  const { out } = await moat(["grant", "beta", "--help"]);
  assert.deepEqual(
    ["only-alpha", "Alpha's", "only-beta", "Beta's", "--name"].map((text) =>
      out.includes(text)
    ),
    [false, false, true, true, true],
  );
});

Deno.test("runProgram() shows all providers' flags without a name", async () => {
  const { out } = await moat(["grant", "--help"]);
  assert(out.includes("--only-alpha TEXT") && out.includes("--only-beta"), out);
});

/** A command that takes all providers' binding flags, and prints what it got. */
const BIND = command(
  "bind",
  ({ output }, { flags }) => {
    output.text(JSON.stringify(flags));
    return Promise.resolve(0);
  },
  {
    providerFlags: "bindingFlags",
    takesCommand: true,
    flags: [{ name: "grant", value: "NAME", summary: "A", repeatable: true }],
  },
);

const BINDING_PROVIDERS: readonly Provider[] = [
  {
    ...headerProvider({ name: "alpha" }),
    bindingFlags: [
      { name: "grant", summary: "Not to be seen" },
      { name: "length", value: "TEXT", summary: "Alpha's length" },
    ],
  },
  {
    ...headerProvider({ name: "beta" }),
    bindingFlags: [
      { name: "length", summary: "Beta's switch" },
      { name: "colour", value: "TEXT", summary: "Beta's colour" },
    ],
  },
];

const bind = (...argv: string[]) =>
  moat(["bind", ...argv], undefined, {
    commands: [BIND],
    env: { MOAT_HOME: "/proc/nonexistent" },
    loadProviders: () => Promise.resolve(BINDING_PROVIDERS.map((p) => () => p)),
  });

Deno.test("runProgram() takes the binding flags of all providers", async () => {
  const { out } = await bind(
    ...["--grant", "beta", "--length", "x", "--colour=red", "--", "a"],
  );
  assert.deepEqual(JSON.parse(out), {
    grant: ["beta"],
    length: "x",
    colour: "red",
  });
});

Deno.test("runProgram() refuses a binding flag of no provider", async () => {
  const { status, err } = await bind("--colur", "x", "--", "a");
  assert.equal(status, 125);
  assert.match(err, /\nhint: did you mean --colour\?\n$/);
});

for (const grant of [[], ["--grant", "beta"], ["beta"]]) {
  Deno.test(`runProgram() helps with all binding flags for "bind ${grant.join(" ")}"`, async () => {
    const { out } = await bind(...grant, "--help");
    assert.match(
      out,
      /--grant NAME +A .*\n +--length TEXT +Alpha.*\n +--colour TEXT +Beta/,
    );
    assert(!out.includes("Not to be seen"), out);
  });
}

Deno.test("runProgram() refuses two providers of one name", async () => {
  const twice = PROVIDERS.flatMap((p) => [() => p, () => p]);
  const { status, err } = await moat(["grant", "list"], undefined, {
    loadProviders: () => Promise.resolve(twice),
  });
  assert.equal(status, 1);
  assert.match(err, /the name "alpha" is taken/);
});
