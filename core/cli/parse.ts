/**
 * From a command line to a command and its arguments. Splitting is done by
 * `node:util`; this module only adds the rules that it has no word for.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { closestMatch } from "leven";
import { usageError } from "../errors.ts";
import type { Flag } from "../provider.ts";
import type { Arguments, Command } from "./command.ts";

/** Every command takes it. */
export const HELP_FLAG: Flag = {
  name: "help",
  short: "h",
  summary: "Show this help",
};

/**
 * Finds the command that the first words name; the longest name wins.
 *
 * @param commands The command table.
 * @param argv The whole command line without the program's name.
 * @returns The command, and what is left of the line.
 * @throws {MoatError} `usage` if there is none, with the nearest one.
 */
export function findCommand(
  commands: readonly Command[],
  argv: readonly string[],
): { command: Command; rest: readonly string[] } {
  let best: Command | undefined;
  for (const command of commands) {
    const words = command.name.split(" ");
    const matches = words.every((word, i) => argv[i] === word);
    if (matches && command.name.length > (best?.name.length ?? 0)) {
      best = command;
    }
  }
  if (best) {
    return { command: best, rest: argv.slice(best.name.split(" ").length) };
  }
  const word = argv[0] ?? "";
  const further = commands.map(({ name }) => name)
    .filter((name) => name.startsWith(`${word} `));
  if (further.length > 0) {
    throw usageError(
      `Cannot run "${word}" alone: wanted one of its commands`,
      further.map((name) => `moat ${name}`).join(", "),
    );
  }
  throw usageError(
    `Cannot find command ${JSON.stringify(word)}`,
    suggest(word, commands.map((c) => c.name)) ?? "moat --help lists them all",
  );
}

/**
 * Parses the rest of a command line.
 *
 * @param command The command.
 * @param flags Its flags, the provider's included.
 * @param argv What follows the command's name.
 * @returns Flags, operands, and the command after `--`.
 * @throws {MoatError} `usage` for whatever does not fit.
 */
export function parseArguments(
  command: Command,
  flags: readonly Flag[],
  argv: readonly string[],
): Arguments {
  const dashes = argv.indexOf("--");
  const isSplit = command.takesCommand && dashes >= 0;
  const own = isSplit ? argv.slice(0, dashes) : argv;
  const { tokens } = parseArgs({
    args: own.map((word, i) => withBareValue(word, own[i + 1], flags)),
    options: Object.fromEntries(flags.map((flag) => [flag.name, {
      type: flag.value === undefined ? "boolean" : "string",
      ...(flag.short && { short: flag.short }),
    }])),
    strict: false,
    tokens: true,
  });
  const values: Record<string, string | readonly string[] | boolean> = {};
  const operands: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") operands.push(token.value);
    if (token.kind !== "option") continue;
    const flag = flags.find((f) => f.name === token.name);
    const operand = operands[command.operands?.[1] ?? 0];
    if (!flag && command.takesCommand && operand !== undefined) {
      throw noDashes(command, operand);
    }
    if (!flag) throw unknownFlag(token.rawName, command, flags);
    values[flag.name] = readValue(flag, token, values[flag.name]);
  }
  return {
    flags: values,
    operands,
    command: isSplit ? argv.slice(dashes + 1) : [],
  };
}

/** Gives a flag that stands alone the value that it then has. */
function withBareValue(
  word: string,
  next: string | undefined,
  flags: readonly Flag[],
): string {
  const flag = flags.find(({ name }) => word === `--${name}`);
  if (flag?.valueIfBare === undefined) return word;
  const isBare = next === undefined || next.startsWith("-");
  return isBare ? `${word}=${flag.valueIfBare}` : word;
}

/**
 * Checks the number of operands, once help was not asked for.
 *
 * @param command The command.
 * @param args Its arguments.
 * @throws {MoatError} `usage` if there are too few or too many.
 */
export function checkOperands(command: Command, args: Arguments): void {
  const [min, max] = command.operands ?? [0, 0];
  const usage = `moat ${command.name} ${command.usage}`.trim();
  const [extra] = args.operands.slice(max);
  if (command.takesCommand && extra !== undefined) {
    throw noDashes(command, extra);
  }
  if (command.takesCommand && args.command.length === 0) {
    throw usageError('Cannot run: no command after "--"', `usage: ${usage}`);
  }
  if (args.operands.length < min) {
    const wanted = command.usage.split(" ")[0];
    throw usageError(
      `Cannot run "moat ${command.name}": ${wanted} is missing`,
      `usage: ${usage}`,
    );
  }
  if (args.operands.length > max) {
    throw usageError(
      `Cannot use ${
        JSON.stringify(args.operands[max])
      }: "moat ${command.name}" takes ${
        max === 0 ? "no operand" : `at most ${max} operand${max > 1 ? "s" : ""}`
      }`,
      `usage: ${usage}`,
    );
  }
}

function noDashes(command: Command, operand: string) {
  return usageError(
    `Cannot tell where the command begins: wanted "--" before ${
      JSON.stringify(operand)
    }`,
    `usage: moat ${command.name} ${command.usage}`,
  );
}

interface OptionToken {
  readonly rawName: string;
  readonly value: string | undefined;
  readonly inlineValue: boolean | undefined;
}

function readValue(
  flag: Flag,
  token: OptionToken,
  before: string | readonly string[] | boolean | undefined,
): string | readonly string[] | boolean {
  const { rawName, value, inlineValue } = token;
  if (flag.value === undefined) {
    if (value === undefined) return true;
    throw usageError(
      `Cannot use ${rawName}=…: it is a switch and takes no value`,
      `write ${rawName} alone`,
    );
  }
  // A lone dash is a value: it stands for stdin.
  const isFlag = !inlineValue && value !== "-" && value?.startsWith("-");
  if (!value || isFlag) {
    throw usageError(
      `Cannot use ${rawName}: it needs a value`,
      `write ${rawName} ${flag.value}`,
    );
  }
  if (flag.repeatable) return [...(before as readonly string[] ?? []), value];
  if (before === undefined) return value;
  throw usageError(
    `Cannot use ${rawName} twice`,
    `give ${rawName} ${flag.value} once`,
  );
}

function unknownFlag(
  rawName: string,
  command: Command,
  flags: readonly Flag[],
) {
  return usageError(
    `Cannot use ${rawName}: "moat ${command.name}" has no such flag`,
    suggest(rawName, flags.map((flag) => `--${flag.name}`)) ??
      `moat ${command.name} --help lists its flags`,
  );
}

/** The nearest known word, when it is near enough to be a slip: half of it right. */
function suggest(
  word: string,
  known: readonly string[],
): string | undefined {
  const letters = word.replace(/^-+/, "").length;
  const maxDistance = Math.min(3, Math.ceil(letters / 2));
  const match = closestMatch(word, [...known], { maxDistance });
  return match === undefined ? undefined : `did you mean ${match}?`;
}
