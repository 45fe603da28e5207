/**
 * The commands for files of providers.
 *
 * @module
 */

import { type Command, JSON_FLAG } from "$core/cli/command.ts";

/** Rows of the command table. */
export const PROVIDER_FILE_COMMANDS: readonly Command[] = [
  {
    name: "provider new",
    summary: "Write a file that defines a provider of your own",
    usage: "NAME [--output FILE]",
    examples: [
      "moat provider new acme",
      "moat provider new acme --output acme.toml",
    ],
    flags: [
      {
        name: "output",
        value: "FILE",
        summary:
          "Write FILE, or stdout for - (default: providers/NAME.toml in the configuration directory)",
      },
      JSON_FLAG,
    ],
    operands: [1, 1],
    ignoresProviderFiles: true,
    notes: ["A file that is there is never overwritten."],
    load: () => import("./new_command.ts").then((m) => m.run),
  },
  {
    name: "provider check",
    summary: "Check a provider's file, and tell what it would do",
    usage: "FILE [--json]",
    examples: ["moat provider check acme.toml"],
    flags: [JSON_FLAG],
    operands: [1, 1],
    worksHomeless: true,
    ignoresProviderFiles: true,
    load: () => import("./check_command.ts").then((m) => m.run),
  },
];
