/**
 * Help texts, made from the command table.
 *
 * @module
 */

import type { Flag, Provider } from "../provider.ts";
import type { Command } from "./command.ts";
import { HELP_FLAG } from "./parse.ts";

const OVERVIEW =
  `moat keeps long-lived credentials out of containers, agents and builds.

Usage: moat COMMAND [FLAGS]
`;

/**
 * The help of the program.
 *
 * @param commands The command table.
 * @param examples Command lines for a start.
 * @returns Text for stdout.
 */
export function programHelp(
  commands: readonly Command[],
  examples: readonly string[],
): string {
  return OVERVIEW +
    `\n${lines(examples)}\nCommands:\n` +
    columns(commands.map((c) => [c.name, c.summary])) +
    "\nmoat COMMAND --help tells more, moat --version names the build.\n" +
    "Exit status: 0 done, 1 failed, 2 wrong usage.\n";
}

/**
 * The help of one command.
 *
 * @param command The command.
 * @param flags Its flags, providers' included.
 * @param providers All providers, for the examples.
 * @returns Text for stdout.
 */
export function commandHelp(
  command: Command,
  flags: readonly Flag[],
  providers: readonly Provider[],
): string {
  const usage = `moat ${command.name} ${command.usage}`.trim();
  const examples = [
    ...command.showsGrantExamples
      ? providers.flatMap((provider) => provider.grantExamples)
      : [],
    ...command.examples.map((line) =>
      line.replaceAll("{provider}", providers[0]?.name ?? "PROVIDER")
    ),
  ];
  const parts = [
    `${command.summary}.\n\nUsage: ${usage}\n`,
    lines(examples),
    "Flags:\n" + columns([...flags, HELP_FLAG].map(flagRow)),
    (command.notes ?? []).map((note) => note + "\n").join(""),
  ];
  return parts.filter((part) => part !== "").join("\n");
}

function lines(examples: readonly string[]): string {
  return examples.map((line) => `  ${line}\n`).join("");
}

function flagRow(flag: Flag): readonly [string, string] {
  const short = flag.short ? `-${flag.short}, ` : "";
  const value = flag.value
    ? flag.valueIfBare ? ` [${flag.value}]` : ` ${flag.value}`
    : "";
  const often = flag.repeatable ? " (repeatable)" : "";
  return [`${short}--${flag.name}${value}`, flag.summary + often];
}

/**
 * Aligns rows of two cells.
 *
 * @param rows Left and right cell.
 * @returns Indented lines.
 */
export function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(0, ...rows.map(([left]) => left.length));
  return rows.map(([left, right]) =>
    `  ${left.padEnd(width)}  ${right}`.trimEnd() + "\n"
  ).join("");
}
