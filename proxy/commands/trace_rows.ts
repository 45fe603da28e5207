/**
 * The row of `moat trace`.
 *
 * @module
 */

import { type Command, JSON_FLAG } from "$core/cli/command.ts";

/** Rows of the command table. */
export const TRACE_COMMANDS: readonly Command[] = [
  {
    name: "trace",
    summary: "Show what clients asked of the intercepting proxy",
    usage: "[BINDING] [--follow] [--json]",
    examples: ["moat trace", "moat trace web --follow"],
    operands: [0, 1],
    flags: [
      { name: "follow", summary: "Go on with what comes" },
      JSON_FLAG,
    ],
    load: () => import("./trace.ts").then((m) => m.run),
  },
];
