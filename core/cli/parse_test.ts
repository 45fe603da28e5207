import assert from "node:assert/strict";
import fc from "fast-check";
import { MoatError } from "../errors.ts";
import type { Flag } from "../provider.ts";
import type { Arguments, Command } from "./command.ts";
import {
  checkOperands,
  findCommand,
  HELP_FLAG,
  parseArguments,
} from "./parse.ts";

function command(name: string, more: Partial<Command> = {}): Command {
  return {
    name,
    summary: `Does ${name}`,
    usage: "THING",
    examples: [`moat ${name}`],
    flags: [],
    load: () => Promise.reject(new Error("not loaded by the parser")),
    ...more,
  };
}

const COMMANDS = [
  command("grant"),
  command("grant list"),
  command("grant show"),
  command("run", { takesCommand: true }),
  command("revoke"),
];

const FLAGS: readonly Flag[] = [
  { name: "role", value: "ARN", summary: "a value" },
  {
    name: "listen",
    value: "ADDR",
    summary: "several values",
    repeatable: true,
  },
  { name: "grant", short: "g", value: "NAME", summary: "s", repeatable: true },
  {
    name: "at",
    value: "ADDR",
    valueIfBare: "here",
    summary: "a value that may be left out",
    repeatable: true,
  },
  { name: "json", summary: "a switch" },
  { name: "no-validate", summary: "a switch that begins with no-" },
  HELP_FLAG,
];

/** The error of a usage mistake, as one text. */
function failure(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    assert(error instanceof MoatError, String(error));
    assert.equal(error.code, "usage");
    return `${error.message} | ${error.hint}`;
  }
  throw new Error("did not throw");
}

const FOUND: { argv: string; name: string; rest: string[] }[] = [
  { argv: "grant list", name: "grant list", rest: [] },
  { argv: "grant list --json", name: "grant list", rest: ["--json"] },
  { argv: "grant show list", name: "grant show", rest: ["list"] },
  { argv: "grant", name: "grant", rest: [] },
  { argv: "grant lists", name: "grant", rest: ["lists"] },
  { argv: "grant --json list", name: "grant", rest: ["--json", "list"] },
  { argv: "run -- grant list", name: "run", rest: ["--", "grant", "list"] },
];

for (const { argv, name, rest } of FOUND) {
  Deno.test(`findCommand() finds "${name}" in "${argv}"`, () => {
    const found = findCommand(COMMANDS, argv.split(" "));
    assert.deepEqual([found.command.name, found.rest], [name, rest]);
  });
}

const LOST: { name: string; argv: string[]; expect: RegExp }[] = [
  {
    name: "a slip",
    argv: ["grnat"],
    expect: /^Cannot find command "grnat" \| did you mean grant\?$/,
  },
  { name: "another slip", argv: ["rn"], expect: /did you mean run\?$/ },
  {
    name: "two words in one",
    argv: ["grant-list"],
    expect: /did you mean grant list\?$/,
  },
  { name: "nothing alike", argv: ["deploy"], expect: /moat --help lists/ },
  { name: "a short word unlike all", argv: ["xyz"], expect: /moat --help/ },
  { name: "an empty word", argv: [""], expect: /command "" \| moat --help/ },
  { name: "other letters", argv: ["GRANT"], expect: /Cannot find .*"GRANT"/ },
  { name: "a flag", argv: ["--json"], expect: /Cannot find command "--json"/ },
  {
    name: "control characters",
    argv: ["a\nerror: b\x1b[2J"],
    expect: /^Cannot find command "a\\nerror: b\\u001b\[2J"/,
  },
];

for (const { name, argv, expect } of LOST) {
  Deno.test(`findCommand() refuses ${name}`, () => {
    assert.match(failure(() => findCommand(COMMANDS, argv)), expect);
  });
}

function parse(argv: readonly string[], takesCommand = false): Arguments {
  return parseArguments(command("run", { takesCommand }), FLAGS, argv);
}

const PARSED: { name: string; argv: string[]; expect: Partial<Arguments> }[] = [
  { name: "no word", argv: [], expect: { flags: {}, operands: [] } },
  {
    name: "a value in the next word",
    argv: ["--role", "x"],
    expect: { flags: { role: "x" } },
  },
  {
    name: "a value after =",
    argv: ["--role=x"],
    expect: { flags: { role: "x" } },
  },
  {
    name: "= within a value",
    argv: ["--role=a=b"],
    expect: { flags: { role: "a=b" } },
  },
  {
    name: "a value after = that looks like a flag",
    argv: ["--role=--json"],
    expect: { flags: { role: "--json" } },
  },
  {
    name: "a lone dash as a value",
    argv: ["--role", "-"],
    expect: { flags: { role: "-" } },
  },
  {
    name: "a repeatable flag once, as a list",
    argv: ["--listen", "a"],
    expect: { flags: { listen: ["a"] } },
  },
  {
    name: "a repeatable flag in its order",
    argv: ["--listen", "b", "--listen=a"],
    expect: { flags: { listen: ["b", "a"] } },
  },
  {
    name: "short and long forms together",
    argv: ["-g", "a", "-gb", "--grant", "c"],
    expect: { flags: { grant: ["a", "b", "c"] } },
  },
  {
    name: "a value that is left out at the end",
    argv: ["--json", "--at"],
    expect: { flags: { json: true, at: ["here"] } },
  },
  {
    name: "a value that is left out before a flag",
    argv: ["--at", "--at", "there", "--json"],
    expect: { flags: { json: true, at: ["here", "there"] } },
  },
  {
    name: "a switch given twice",
    argv: ["--json", "--json"],
    expect: { flags: { json: true } },
  },
  {
    name: "a switch that begins with no-",
    argv: ["--no-validate"],
    expect: { flags: { "no-validate": true } },
  },
  { name: "-h", argv: ["-h"], expect: { flags: { help: true } } },
  {
    name: "operands around flags",
    argv: ["a", "--json", "b"],
    expect: { flags: { json: true }, operands: ["a", "b"] },
  },
  {
    name: "a lone dash as an operand",
    argv: ["-"],
    expect: { operands: ["-"] },
  },
  {
    name: "operands after --",
    argv: ["--", "--json", "a"],
    expect: { flags: {}, operands: ["--json", "a"], command: [] },
  },
];

for (const { name, argv, expect } of PARSED) {
  Deno.test(`parseArguments() takes ${name}`, () => {
    const parsed = parse(argv);
    assert.deepEqual({ ...parsed, ...expect }, parsed);
  });
}

const REFUSED: { name: string; argv: string[]; expect: RegExp }[] = [
  {
    name: "an unknown flag",
    argv: ["--rol", "x"],
    expect:
      /^Cannot use --rol: "moat run" has no such flag \| .*mean --role\?$/,
  },
  {
    name: "a flag unlike all others",
    argv: ["--verbose"],
    expect: /moat run --help lists its flags/,
  },
  { name: "an unknown short flag", argv: ["-x"], expect: /Cannot use -x/ },
  {
    name: "an unknown flag with a value",
    argv: ["--rol=secret"],
    expect: /^Cannot use --rol: /,
  },
  {
    name: "a negated switch",
    argv: ["--no-json"],
    expect: /Cannot use --no-json/,
  },
  { name: "an abbreviation", argv: ["--js"], expect: /Cannot use --js/ },
  {
    name: "a switch in capitals",
    argv: ["--JSON"],
    expect: /Cannot use --JSON/,
  },
  { name: "__proto__", argv: ["--__proto__", "x"], expect: /no such flag/ },
  { name: "constructor", argv: ["--constructor"], expect: /no such flag/ },
  {
    name: "a missing value",
    argv: ["--role"],
    expect: /^Cannot use --role: it needs a value \| write --role ARN$/,
  },
  {
    name: "a flag where a value should be",
    argv: ["--role", "--json"],
    expect: /Cannot use --role: it needs a value/,
  },
  {
    name: "a short flag where a value should be",
    argv: ["-g", "-h"],
    expect: /Cannot use -g: it needs a value/,
  },
  {
    name: "an empty value",
    argv: ["--role", ""],
    expect: /Cannot use --role: it needs a value/,
  },
  {
    name: "an empty value after =",
    argv: ["--role="],
    expect: /Cannot use --role: it needs a value/,
  },
  {
    name: "an empty value of a repeatable flag",
    argv: ["--listen", "a", "--listen="],
    expect: /Cannot use --listen: it needs a value/,
  },
  {
    name: "a switch with a value",
    argv: ["--json=true"],
    expect: /^Cannot use --json=…: it is a switch and takes no value \|/,
  },
  {
    name: "a switch with an empty value",
    argv: ["--json="],
    expect: /Cannot use --json=…/,
  },
  {
    name: "a doubled flag",
    argv: ["--role", "a", "--role=b"],
    expect: /^Cannot use --role twice \| give --role ARN once$/,
  },
];

for (const { name, argv, expect } of REFUSED) {
  Deno.test(`parseArguments() refuses ${name}`, () => {
    assert.match(failure(() => parse(argv)), expect);
  });
}

const SPLIT: { name: string; argv: string[]; expect: Arguments }[] = [
  {
    name: "at the first --",
    argv: ["-g", "a", "--", "sh", "-c", "x", "--", "y"],
    expect: {
      flags: { grant: ["a"] },
      operands: [],
      command: ["sh", "-c", "x", "--", "y"],
    },
  },
  {
    name: "and leaves the command's own flags alone",
    argv: ["--", "--help", "--json", ""],
    expect: { flags: {}, operands: [], command: ["--help", "--json", ""] },
  },
  {
    name: "with nothing behind",
    argv: ["--json", "--"],
    expect: { flags: { json: true }, operands: [], command: [] },
  },
];

for (const { name, argv, expect } of SPLIT) {
  Deno.test(`parseArguments() splits a command ${name}`, () => {
    assert.deepEqual(parse(argv, true), expect);
  });
}

Deno.test("parseArguments() does not take -- for the value of a flag", () => {
  assert.match(
    failure(() => parse(["--role", "--", "cmd"], true)),
    /Cannot use --role: it needs a value/,
  );
});

Deno.test("parseArguments() throws nothing but usage errors", () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom("--", "-", "--role", "--json=", "-hg", "--=", "-g=", "=a"),
  );
  fc.assert(
    fc.property(
      fc.array(word, { maxLength: 6 }),
      fc.boolean(),
      (argv, takes) => {
        try {
          parse(argv, takes);
        } catch (error) {
          return error instanceof MoatError && error.code === "usage";
        }
        return true;
      },
    ),
  );
});

Deno.test("parseArguments() gives every operand back as it was", () => {
  const operand = fc.string().filter((text) => !text.startsWith("-"));
  fc.assert(fc.property(fc.array(operand), (argv) => {
    assert.deepEqual(parse(argv).operands, argv);
  }));
});

const OPERANDS: {
  name: string;
  more: Partial<Command>;
  args: Partial<Arguments>;
  expect: RegExp | undefined;
}[] = [
  { name: "none of none", more: {}, args: {}, expect: undefined },
  {
    name: "one of none",
    more: {},
    args: { operands: ["x"] },
    expect:
      /^Cannot use "x": "moat do" takes no operand \| usage: moat do THING$/,
  },
  {
    name: "none of one",
    more: { operands: [1, 1] },
    args: {},
    expect: /^Cannot run "moat do": THING is missing \| usage: moat do/,
  },
  {
    name: "two of one",
    more: { operands: [1, 1] },
    args: { operands: ["a", "b"] },
    expect: /^Cannot use "b": "moat do" takes at most 1/,
  },
  {
    name: "one of one",
    more: { operands: [1, 1] },
    args: { operands: ["a"] },
    expect: undefined,
  },
  {
    name: "a command",
    more: { takesCommand: true },
    args: { command: ["x"] },
    expect: undefined,
  },
  {
    name: "no command",
    more: { takesCommand: true },
    args: {},
    expect: /^Cannot run: no command after "--" \| usage/,
  },
  {
    name: "an operand before a command",
    more: { takesCommand: true },
    args: { operands: ["x"], command: ["y"] },
    expect: /^Cannot tell where the command begins: wanted "--" before "x"/,
  },
];

for (const { name, more, args, expect } of OPERANDS) {
  const call = () =>
    checkOperands(command("do", more), {
      flags: {},
      operands: [],
      command: [],
      ...args,
    });
  Deno.test(`checkOperands() ${expect ? "refuses" : "takes"} ${name}`, () => {
    if (expect) assert.match(failure(call), expect);
    else call();
  });
}
