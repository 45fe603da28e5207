/**
 * The commands that need neither proxy nor listener.
 *
 * @module
 */

import { type Command, JSON_FLAG } from "../command.ts";

/** Rows of the command table, in the order of `moat --help`. */
export const CORE_COMMANDS: readonly Command[] = [
  {
    name: "grant",
    summary: "Obtain a credential and store it encrypted",
    usage: "PROVIDER [FLAGS]",
    examples: ["moat grant providers"],
    flags: [
      {
        name: "name",
        value: "NAME",
        summary: "Store it as PROVIDER:NAME, beside others of that provider",
      },
      { name: "no-validate", summary: "Store it without trying it" },
      JSON_FLAG,
    ],
    operands: [1, 1],
    providerFlags: "grantFlags",
    showsGrantExamples: true,
    load: () => import("./grant.ts").then((m) => m.run),
  },
  {
    name: "grant list",
    summary: "List what was granted",
    usage: "[--json]",
    examples: ["moat grant list"],
    flags: [JSON_FLAG],
    load: () => import("./grant_list.ts").then((m) => m.run),
  },
  {
    name: "grant show",
    summary: "Show one grant, without secrets",
    usage: "NAME [FLAGS]",
    examples: [
      "moat grant show {provider}:prod",
      "moat grant show {provider}:prod --explain",
    ],
    flags: [
      {
        name: "explain",
        summary: "Try its sources, and tell which one is used and why",
      },
      JSON_FLAG,
    ],
    operands: [1, 1],
    load: () => import("./grant_show.ts").then((m) => m.run),
  },
  {
    name: "grant providers",
    summary: "List what can be granted",
    usage: "[--json]",
    examples: ["moat grant providers"],
    flags: [JSON_FLAG],
    worksHomeless: true,
    load: () => import("./grant_providers.ts").then((m) => m.run),
  },
  {
    name: "revoke",
    summary: "Remove a grant and stop its use at once",
    usage: "NAME [--json]",
    examples: ["moat revoke {provider}:prod"],
    flags: [JSON_FLAG],
    operands: [1, 1],
    load: () => import("./revoke.ts").then((m) => m.run),
  },
  {
    name: "audit",
    summary: "Show what was granted, handed out and revoked",
    usage: "[--verify] [--json]",
    examples: ["moat audit", "moat audit --verify"],
    flags: [
      { name: "verify", summary: "Check that no line was changed or removed" },
      JSON_FLAG,
    ],
    load: () => import("./audit.ts").then((m) => m.run),
  },
  {
    name: "whoami",
    summary: "Ask a provider whose credentials this environment holds",
    usage: "PROVIDER [--json]",
    examples: ["moat run --grant {provider} -- moat whoami {provider}"],
    flags: [JSON_FLAG],
    operands: [1, 1],
    worksHomeless: true,
    load: () => import("./whoami.ts").then((m) => m.run),
  },
  {
    name: "simulate",
    summary: "Serve a stand-in for a provider's upstream, for offline use",
    usage: "PROVIDER [FLAGS]",
    examples: ["moat simulate {provider}"],
    flags: [
      {
        name: "listen",
        value: "ADDR:PORT",
        summary: "Where to listen (default: 127.0.0.1:0)",
        repeatable: true,
      },
    ],
    operands: [1, 1],
    providerFlags: "simulateFlags",
    worksHomeless: true,
    load: () => import("./simulate.ts").then((m) => m.run),
  },
];
