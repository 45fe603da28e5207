import assert from "node:assert/strict";
import { headerProvider } from "../../tests/support/header_provider.ts";
import { PROXY_COMMANDS } from "$proxy/commands/mod.ts";
import { type Command, JSON_FLAG } from "./command.ts";
import { CORE_COMMANDS } from "./commands/mod.ts";
import { columns, commandHelp, programHelp } from "./help.ts";

const COMMANDS = [...CORE_COMMANDS, ...PROXY_COMMANDS];

const SAMPLE: Command = {
  name: "fix",
  summary: "Fix a thing",
  usage: "THING [FLAGS]",
  examples: ["moat fix roof", "moat fix --all"],
  flags: [],
  notes: ["First note.", "Second note."],
  load: () => Promise.reject(new Error("help needs no code")),
};

Deno.test("programHelp() has a line for every command", () => {
  const help = programHelp(COMMANDS, []);
  for (const { name, summary } of COMMANDS) {
    assert.match(
      help,
      new RegExp(`^  ${name} +${RegExp.escape(summary)}$`, "m"),
    );
  }
});

Deno.test("programHelp() tells the exit statuses", () => {
  assert.match(programHelp([], []), /^Exit status: 0 done, 1 failed, 2 wrong/m);
});

Deno.test("commandHelp() shows summary, usage, examples, flags and notes", () => {
  const help = commandHelp(SAMPLE, [
    { name: "all", summary: "Fix all" },
    { name: "by", short: "b", value: "WHO", summary: "By", repeatable: true },
  ], []);
  assert.equal(
    help,
    `Fix a thing.

Usage: moat fix THING [FLAGS]

  moat fix roof
  moat fix --all

Flags:
  --all         Fix all
  -b, --by WHO  By (repeatable)
  -h, --help    Show this help

First note.
Second note.
`,
  );
});

Deno.test("commandHelp() leaves out what a command has not", () => {
  const help = commandHelp({ ...SAMPLE, usage: "", examples: [], notes: [] }, [
    JSON_FLAG,
  ], []);
  assert.match(help, /^Fix a thing\.\n\nUsage: moat fix\n\nFlags:\n {2}--json/);
});

Deno.test("programHelp() begins with the examples it is given", () => {
  assert.match(
    programHelp([], ["moat a", "moat b"]),
    /\n\n {2}moat a\n {2}moat b\n\n/,
  );
});

Deno.test("commandHelp() puts the first provider's name into examples", () => {
  const command = { ...SAMPLE, examples: ["moat fix {provider}:{provider}"] };
  const providers = [headerProvider({ name: "one" }), headerProvider()];
  assert.match(commandHelp(command, [], providers), /^ {2}moat fix one:one$/m);
});

Deno.test("commandHelp() needs no provider for its examples", () => {
  const command = { ...SAMPLE, examples: ["moat fix {provider}"] };
  assert.match(commandHelp(command, [], []), /^ {2}moat fix PROVIDER$/m);
});

Deno.test("commandHelp() shows the grant examples of all providers on wish", () => {
  const providers = ["one", "two"].map((name) => ({
    ...headerProvider({ name }),
    grantExamples: [`moat grant ${name} --token -`],
  }));
  const command = { ...SAMPLE, examples: [], showsGrantExamples: true };
  assert.match(
    commandHelp(command, [], providers),
    /\n\n {2}moat grant one --token -\n {2}moat grant two --token -\n\n/,
  );
});

/** What is wrong with the words of a command's help. */
function faults(command: Command): string[] {
  const help = commandHelp(command, command.flags, [headerProvider()]);
  const summaries = [command.summary, ...command.flags.map((f) => f.summary)];
  return [
    ...help.split("\n").filter((line) => line.length > 100),
    ...summaries.filter((text) => text.endsWith(".")),
    // What a shell evaluates is a command line of ours, too.
    ...command.examples.map((line) => line.replace(/^eval "\$\((.*)\)"$/, "$1"))
      .filter((line) => !line.startsWith(`moat ${command.name}`)),
    ...command.examples.length > 0 ? [] : ["no example"],
  ];
}

for (const command of COMMANDS) {
  Deno.test(`commandHelp() of "${command.name}" is in good shape`, () => {
    // whoami is shown as it is used: inside of a run.
    const isRun = (line: string) => line.startsWith("moat run ");
    assert.deepEqual(faults(command).filter((line) => !isRun(line)), []);
  });
}

const ROWS: { name: string; rows: [string, string][]; expect: string }[] = [
  { name: "no row", rows: [], expect: "" },
  {
    name: "rows of different width",
    rows: [["a", "1"], ["long", "2"]],
    expect: "  a     1\n  long  2\n",
  },
  { name: "an empty right cell", rows: [["a", ""]], expect: "  a\n" },
];

for (const { name, rows, expect } of ROWS) {
  Deno.test(`columns() aligns ${name}`, () => {
    assert.equal(columns(rows), expect);
  });
}
