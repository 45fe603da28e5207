/**
 * The program around the commands: finds one, gives it what it needs, and
 * turns whatever it throws into an exit status.
 *
 * @module
 */

import { type MoatError, toMoatError, usageError } from "../errors.ts";
import type { Flag, Provider, ProviderRegistry } from "../provider.ts";
import { checkPrivateDir } from "../files.ts";
import type { Paths } from "../paths.ts";
import type { Arguments, Command, ProviderFlags } from "./command.ts";
import type { Wiring } from "./context.ts";
import { commandHelp, programHelp } from "./help.ts";
import { Output, stackOf } from "./output.ts";
import {
  checkOperands,
  findCommand,
  HELP_FLAG,
  parseArguments,
} from "./parse.ts";

/** Flags that may stand before the command, for those who come from needroleshere. */
const GLOBAL_FLAGS = /^--(url|configuration-directory)(=|$)/;

/** What main.ts wires together. */
export interface Program extends Wiring {
  /** The command table. */
  readonly commands: readonly Command[];
  /** Command lines for the top of `moat --help`. */
  readonly examples: readonly string[];
  /** One line for `moat --version`. */
  readonly version: string;
}

/**
 * Runs one command line.
 *
 * @param program The wired program.
 * @param argv The command line without the program's name.
 * @returns The exit status: 0 done, 1 failed, 2 usage; the child's own from `run`.
 */
export async function runProgram(
  program: Program,
  argv: readonly string[],
): Promise<number> {
  const dashes = argv.indexOf("--");
  const own = dashes < 0 ? argv : argv.slice(0, dashes);
  const output = new Output(program.streams, own.includes("--json"));
  let takesCommand = false;
  try {
    const [first = "--help", ...others] = argv;
    if (["--version", "-V", "version"].includes(first)) {
      output.text(program.version + "\n");
      return 0;
    }
    const isHelp = ["--help", "-h", "help"].includes(first);
    if (isHelp && (first !== "help" || /^(--help|-h)?$/.test(others.join()))) {
      output.text(programHelp(program.commands, program.examples));
      return 0;
    }
    const words = isHelp ? others : commandFirst(argv);
    const { command, rest } = findCommand(program.commands, words);
    takesCommand = command.takesCommand ?? false;
    const line = isHelp ? ["--help", ...rest] : rest;
    return await dispatch(program, output, command, line);
  } catch (thrown) {
    const error = toMoatError(thrown);
    output.error(error);
    if (program.env["MOAT_DEBUG"] === "1") output.note(stackOf(error));
    return exitStatus(error, takesCommand);
  }
}

/** A program whose place we take has its global flags before the command. */
function commandFirst(argv: readonly string[]): readonly string[] {
  let at = 0;
  for (let word; (word = argv[at]) && GLOBAL_FLAGS.test(word);) {
    at += word.includes("=") ? 1 : 2;
  }
  const [command, ...rest] = argv.slice(at);
  return command === undefined
    ? argv
    : [command, ...argv.slice(0, at), ...rest];
}

async function dispatch(
  program: Program,
  output: Output,
  command: Command,
  rest: readonly string[],
): Promise<number> {
  const loading = command.load();
  const { createContext } = await import("./context.ts");
  const context = await createContext(program, output);
  const { all: providers, problems } = context.registry;
  if (!command.ignoresProviderFiles) warnOf(problems, output);
  const named = takesProvider(command) ? namedProvider(providers, rest) : [];
  const flags = flagsOf(command, [...named, ...providers]);
  const args = parseArguments(command, [...flags, HELP_FLAG], rest);
  if (args.flags["help"]) {
    const shown = named.length > 0 ? named : providers;
    output.text(commandHelp(command, flagsOf(command, shown), shown));
    return 0;
  }
  checkOperands(command, args);
  checkProviderFlags(command, context.registry, args);
  const run = await loading;
  if (!command.worksHomeless) await checkRoots(context.platform.paths);
  const status = await run(context, args);
  await context.audit.flush();
  return status;
}

/** A file that cannot be used takes none of the other providers along. */
function warnOf(problems: readonly MoatError[], output: Output): void {
  for (const { message, hint } of problems) {
    output.warn(hint === undefined ? message : `${message}; ${hint}`);
  }
}

/** Whether its first operand is a provider. */
function takesProvider({ providerFlags }: Command): boolean {
  return providerFlags === "grantFlags" || providerFlags === "simulateFlags";
}

/** The provider that the first word names, if it does: its flags come first. */
function namedProvider(
  providers: readonly Provider[],
  rest: readonly string[],
): readonly Provider[] {
  const name = rest.find((word) => !word.startsWith("-")) ?? "";
  return providers.filter((p) => [p.name, ...p.aliases].includes(name));
}

/** Before anything below them is read, made or removed. */
async function checkRoots({ roots }: Paths): Promise<void> {
  for (const root of roots) await checkPrivateDir(root);
}

/** A command's own flags and those that providers declare for it; its own count, then the first of a name. */
function flagsOf(command: Command, providers: readonly Provider[]): Flag[] {
  const { providerFlags } = command;
  if (!providerFlags) return [...command.flags];
  const names = new Set(command.flags.map((flag) => flag.name));
  const more = providers.flatMap((p) => declaredFlags(p, providerFlags))
    .filter(({ name }) => !names.has(name) && names.add(name));
  return takesProvider(command)
    ? [...more, ...command.flags]
    : [...command.flags, ...more];
}

function declaredFlags(
  { foreignBindings, ...provider }: Provider,
  which: ProviderFlags,
): readonly Flag[] {
  if (which === "serveFlags") return foreignBindings?.serveFlags ?? [];
  if (which !== "bindFlags") return provider[which] ?? [];
  return [
    ...provider.bindingFlags ?? [],
    ...foreignBindings?.bindFlags ?? [],
  ];
}

/** Refuses a flag that belongs to another provider than the one named. */
function checkProviderFlags(
  command: Command,
  registry: ProviderRegistry,
  args: Arguments,
): void {
  const { providerFlags } = command;
  if (!providerFlags || !takesProvider(command)) return;
  const provider = registry.get(args.operands[0] ?? "");
  const known = [...command.flags, ...declaredFlags(provider, providerFlags)];
  for (const name of Object.keys(args.flags)) {
    if (known.some((flag) => flag.name === name)) continue;
    throw usageError(
      `Cannot use --${name} with provider "${provider.name}"`,
      `moat ${command.name} ${provider.name} --help lists its flags`,
    );
  }
}

/** `run` keeps 1 and 2 for its child, as env(1) and docker do. */
function exitStatus(error: MoatError, takesCommand: boolean): number {
  if (takesCommand) return 125;
  return error.code === "usage" ? 2 : 1;
}
