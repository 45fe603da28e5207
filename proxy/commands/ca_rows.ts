/**
 * The rows of `moat ca` in the command table.
 *
 * @module
 */

import { type Command, JSON_FLAG } from "$core/cli/command.ts";

/** In the order of `moat --help`. */
export const CA_COMMANDS: readonly Command[] = [
  {
    name: "ca show",
    summary: "Show the root certificate that clients of moat trust",
    usage: "[--json]",
    examples: ["moat ca show"],
    flags: [JSON_FLAG],
    notes: ["The root is made at first use. Its key is never shown."],
    load: () => import("./ca.ts").then((m) => m.show),
  },
  {
    name: "ca path",
    summary: "Print where the root certificate is",
    usage: "",
    examples: ["moat ca path"],
    flags: [],
    load: () => import("./ca.ts").then((m) => m.path),
  },
  {
    name: "ca export",
    summary: "Print the root certificate, or write it for a trust store",
    usage: "[--format FORMAT] [--output FILE]",
    examples: [
      "moat ca export",
      "moat ca export --format jks --output moat.jks",
    ],
    flags: [
      {
        name: "format",
        value: "FORMAT",
        summary: "pem (default), der, bundle or jks, both with system roots",
      },
      {
        name: "output",
        value: "FILE",
        summary: "Write it there (default for pem and bundle: stdout)",
      },
    ],
    notes: [
      "A client that trusts the root lets moat read what it sends and gets: import",
      "it where moat is used, not into the trust store of a whole machine.",
    ],
    load: () => import("./ca.ts").then((m) => m.exportRoot),
  },
  {
    name: "ca rotate",
    summary: "Make a new root certificate and key in place of the old",
    usage: "[--json]",
    examples: ["moat ca rotate"],
    flags: [JSON_FLAG],
    notes: [
      "A running proxy signs with the new root at once. Clients that run trust the",
      "old one until they are started anew. The old key is removed.",
    ],
    load: () => import("./ca.ts").then((m) => m.rotate),
  },
];
