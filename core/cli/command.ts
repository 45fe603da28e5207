/**
 * Commands as data: one table drives the parser, help and dispatch.
 *
 * @module
 */

import type { AuditLog } from "../audit.ts";
import type { Platform } from "../platform.ts";
import type { Flag, FlagValues, ProviderRegistry } from "../provider.ts";
import type { Store } from "../store/store.ts";
import type { ForwardingLog } from "../log.ts";
import type { ForwardingMetrics } from "../metrics.ts";
import type { Output, Streams } from "./output.ts";

/** A parsed command line. */
export interface Arguments {
  /** Values by flag name; a flag that was not given is absent. */
  readonly flags: FlagValues;
  /** What is left beside the flags, in order. */
  readonly operands: readonly string[];
  /** What follows `--`, for commands that take a command. */
  readonly command: readonly string[];
}

/** What a command works with. */
export interface CommandContext {
  /** Where it prints. */
  readonly output: Output;
  /** For commands that log, such as `moat proxy`. */
  readonly streams: Streams;
  /** Silent until a command directs it. */
  readonly log: ForwardingLog;
  /** Kept nowhere until a command directs them. */
  readonly metrics: ForwardingMetrics;
  /** Clock, environment, paths, log, metrics. */
  readonly platform: Platform;
  /** All providers. */
  readonly registry: ProviderRegistry;
  /** The stored grants. */
  readonly store: Store;
  /** The audit log. */
  readonly audit: AuditLog;
}

/** A command's code; it returns the exit status and never exits. */
export type Run = (
  context: CommandContext,
  args: Arguments,
) => Promise<number>;

/** Flags that providers declare for one command. */
export type ProviderFlags =
  | "grantFlags"
  | "simulateFlags"
  | "bindingFlags"
  | "bindFlags"
  | "serveFlags";

/** One row of the command table. */
export interface Command {
  /** The words that select it, such as `grant list`. */
  readonly name: string;
  /** One line for `moat --help`, without a final period. */
  readonly summary: string;
  /** What follows the name in the usage line. */
  readonly usage: string;
  /** Command lines that work as they stand; `{provider}` is the first one's name. */
  readonly examples: readonly string[];
  /** Its own flags, without the providers'. */
  readonly flags: readonly Flag[];
  /** How many operands it takes at least and at most. Default: none. */
  readonly operands?: readonly [min: number, max: number];
  /**
   * Adds the flags that providers declare: of the provider in the first
   * operand for `grant` and `simulate`, of all of them for the others.
   */
  readonly providerFlags?: ProviderFlags;
  /** Shows the providers' own examples of `moat grant`. Default: false. */
  readonly showsGrantExamples?: boolean;
  /** Whether a command follows `--`; then its failures exit with 125. */
  readonly takesCommand?: boolean;
  /**
   * Whether it says nothing about files of providers that cannot be used.
   * Default: false.
   */
  readonly ignoresProviderFiles?: boolean;
  /** Whether it works without a home directory. Default: false. */
  readonly worksHomeless?: boolean;
  /** More text for its help, such as exit statuses. */
  readonly notes?: readonly string[];
  /** Loads its code, so that other commands start fast. */
  load(): Promise<Run>;
}

/** The flag of every command that prints data. */
export const JSON_FLAG: Flag = {
  name: "json",
  summary: "Print JSON on stdout, and errors as JSON on stderr",
};
