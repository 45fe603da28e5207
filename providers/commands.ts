/**
 * The one list of commands that providers bring along.
 *
 * @module
 */

import type { Command } from "$core/cli/command.ts";
import { AWS_COMMANDS } from "./aws/commands.ts";
import { PROVIDER_FILE_COMMANDS } from "./header/commands.ts";

/** Rows of the command table, in the order of `moat --help`. */
export const PROVIDER_COMMANDS: readonly Command[] = [
  ...AWS_COMMANDS,
  ...PROVIDER_FILE_COMMANDS,
];
