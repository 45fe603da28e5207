/**
 * The rows of `moat network` in the command table.
 *
 * @module
 */

import { type Command, JSON_FLAG } from "$core/cli/command.ts";
import type { Flag } from "$core/provider.ts";

const APPLY_FLAG: Flag = {
  name: "apply",
  summary: "Run the commands instead of printing them (needs root)",
};

/** In the order of `moat --help`. */
export const NETWORK_COMMANDS: readonly Command[] = [
  {
    name: "network setup",
    summary: "Give this host the address 169.254.170.2 for its containers",
    usage: "[--apply]",
    examples: ["moat network setup", "moat network setup | sudo sh"],
    flags: [APPLY_FLAG],
    worksHomeless: true,
    notes: [
      "Prints the commands that are missing, one a line; without --apply nothing is",
      "changed. The address is put on the loopback device, and an nftables table of",
      "its own keeps other machines away from it. Both last until the next boot.",
      "A firewall of this host must let its containers reach port 80 of the address.",
    ],
    load: () => import("./network.ts").then((m) => m.setup),
  },
  {
    name: "network remove",
    summary: "Undo what moat network setup did, and nothing else",
    usage: "[--apply]",
    examples: ["moat network remove", "moat network remove | sudo sh"],
    flags: [APPLY_FLAG],
    worksHomeless: true,
    load: () => import("./network.ts").then((m) => m.remove),
  },
  {
    name: "network show",
    summary: "Tell whether containers can be served at 169.254.170.2",
    usage: "[--json]",
    examples: ["moat network show"],
    flags: [JSON_FLAG],
    worksHomeless: true,
    load: () => import("./network.ts").then((m) => m.show),
  },
];
