/**
 * The rows of `moat policy` in the command table.
 *
 * @module
 */

import { type Command, JSON_FLAG } from "$core/cli/command.ts";

/** In the order of `moat --help`. */
export const POLICY_COMMANDS: readonly Command[] = [
  {
    name: "policy test",
    summary: "Tell whether a request would be allowed, and by which rule",
    usage: "METHOD URL [--binding NAME]",
    examples: [
      "moat policy test GET https://api.example.com/v1/items",
      "moat policy test DELETE https://api.example.com/v1/items/7 --binding web",
    ],
    operands: [2, 2],
    flags: [
      {
        name: "binding",
        value: "NAME",
        summary: "By this binding's policy and grants",
      },
      {
        name: "config",
        value: "FILE",
        summary:
          "By the policy of this file (default: $MOAT_CONFIG, moat.toml)",
      },
      {
        name: "grant",
        short: "g",
        value: "NAME",
        summary: "As if this grant were bound, too",
        repeatable: true,
      },
      JSON_FLAG,
    ],
    notes: [
      "Asks nobody: no proxy has to run and no name is resolved. An allowed host may",
      "still be refused for its address, unless allow_hosts names it.",
      "",
      "Exit status: 0 if it is allowed, 1 if it is denied or moat failed, 2 for",
      "wrong usage.",
    ],
    load: () => import("./policy.ts").then((m) => m.test),
  },
];
