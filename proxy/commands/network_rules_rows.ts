/**
 * The row of `moat network-rules` in the command table.
 *
 * @module
 */

import type { Command } from "$core/cli/command.ts";

/** In the order of `moat --help`. */
export const NETWORK_RULES_COMMANDS: readonly Command[] = [
  {
    name: "network-rules",
    summary: "Lead containers from the metadata addresses to moat",
    usage: "[--to ADDR:PORT]… [--backend BACKEND] [--apply | --remove]",
    examples: [
      "moat network-rules",
      "moat network-rules | sudo sh",
      "moat network-rules --to 169.254.170.2:8169",
      "moat network-rules --remove",
    ],
    flags: [
      {
        name: "to",
        value: "ADDR:PORT",
        summary: "Where moat listens; :PORT is everywhere (169.254.169.254:80)",
        repeatable: true,
      },
      {
        name: "apply",
        summary: "Run the commands instead of printing them (needs root)",
      },
      {
        name: "remove",
        summary:
          "Undo what this command did, and nothing else (needs root; runs at once)",
      },
      {
        name: "backend",
        value: "nft|iptables",
        summary: "Whose rules (default: nft where it is installed)",
      },
    ],
    worksHomeless: true,
    notes: [
      "Prints commands, one a line; without --apply or --remove nothing is changed.",
      "Containers on bridges and veth devices then reach moat at 169.254.169.254:80,",
      "[fd00:ec2::254]:80 and 169.254.170.2:80, and nothing else at the addresses of",
      "cloud metadata: while moat does not listen, they are refused. On a host that is",
      "itself a cloud machine, --to leads them to another address and leaves the",
      "host's own metadata alone. Rules and addresses last until the next boot.",
    ],
    load: () => import("./network_rules.ts").then((m) => m.run),
  },
];
