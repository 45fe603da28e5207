/**
 * The commands that need the proxy.
 *
 * @module
 */

import { type Command, JSON_FLAG } from "$core/cli/command.ts";

/** Rows of the command table, in the order of `moat --help`. */
export const PROXY_COMMANDS: readonly Command[] = [
  {
    name: "run",
    summary: "Run a command or container with short-lived credentials",
    usage: "--grant NAME… -- COMMAND…",
    examples: [
      "moat run --grant {provider} -- docker run --rm my-image my-command",
      "moat run --grant {provider} -- ./build.sh",
    ],
    flags: [
      {
        name: "grant",
        short: "g",
        value: "NAME",
        summary: "A grant that the command may use, one of each provider",
        repeatable: true,
      },
    ],
    providerFlags: "bindingFlags",
    takesCommand: true,
    notes: [
      "Exit status: the command's own; 125 if moat failed, 126 if the command",
      "cannot be executed, 127 if it was not found, 128+N if signal N ended it.",
      "",
      "docker run and podman run get the credentials inside the container. Any",
      "other command is a plain child: a convenience and no isolation, because it",
      "runs as you and could read what you can.",
    ],
    load: () => import("./run.ts").then((m) => m.run),
  },
  {
    name: "proxy",
    summary: "Serve credentials to bound clients, in the foreground",
    usage: "[FLAGS]",
    examples: ["moat proxy", "moat proxy --listen 127.0.0.1:0"],
    flags: [
      {
        name: "listen",
        value: "ADDR:PORT",
        summary: "Where to listen (default: 127.0.0.1:19080)",
        repeatable: true,
      },
      {
        name: "metrics",
        value: "ADDR:PORT",
        summary: "Serve /metrics for Prometheus there, such as 127.0.0.1:19081",
      },
      {
        name: "prefetch",
        summary: "Prepare the first answer of every grant at start",
      },
      {
        name: "log-format",
        value: "FORMAT",
        summary: "json or text (default: text on a terminal, else json)",
      },
      {
        name: "log-level",
        value: "LEVEL",
        summary: "debug, info, warn or error (default: info)",
      },
      {
        name: "end-when-idle",
        summary: "End with the last run, as a proxy that moat run started",
      },
      JSON_FLAG,
    ],
    notes: [
      "Prints one line `ready URL` per listener, `metrics URL` and `control PATH` on",
      "stdout; the log goes to stderr. SIGTERM or Ctrl-C lets answers under way",
      "finish; a second one ends it at once.",
    ],
    load: () => import("./proxy.ts").then((m) => m.run),
  },
  {
    name: "status",
    summary: "Show what the running proxy serves, and what ends soon",
    usage: "[--json]",
    examples: ["moat status"],
    flags: [JSON_FLAG],
    load: () => import("./status.ts").then((m) => m.run),
  },
];
