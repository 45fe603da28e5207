/**
 * The commands that need the proxy.
 *
 * @module
 */

import { type Command, JSON_FLAG } from "$core/cli/command.ts";
import type { Flag } from "$core/provider.ts";
import { POLICY_FLAGS } from "../bindings/policy_flags.ts";
import { CA_COMMANDS } from "./ca_rows.ts";
import { POLICY_COMMANDS } from "./policy_rows.ts";
import { METADATA_PROXY_COMMANDS } from "./metadata_proxy_rows.ts";
import { NETWORK_COMMANDS } from "./network_rows.ts";
import { NETWORK_RULES_COMMANDS } from "./network_rules_rows.ts";
import { TRACE_COMMANDS } from "./trace_rows.ts";

const LOG_FLAGS: readonly Flag[] = [
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
];

const MODE_FLAG: Flag = {
  name: "mode",
  value: "MODE",
  summary: "How it asks: process, ecs-full[-query], ecs-relative[-query], imds",
};

const FORMAT_FLAG: Flag = {
  name: "format",
  value: "FORMAT",
  summary: "Print what it needs as env, export, docker, compose, json, systemd",
};

const EXIT_NOTES: readonly string[] = [
  "Exit status: the command's own; 125 if moat failed, 126 if the command",
  "cannot be executed, 127 if it was not found, 128+N if signal N ended it.",
];

const DIRECTORY_FLAG: Flag = {
  name: "configuration-directory",
  value: "DIRECTORY",
  summary: "needroleshere's bindings (or $RUNTIME_DIRECTORY, if there)",
};

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
      MODE_FLAG,
      ...POLICY_FLAGS,
    ],
    providerFlags: "bindingFlags",
    takesCommand: true,
    notes: [
      ...EXIT_NOTES,
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
    examples: [
      "moat proxy",
      "moat proxy --listen 127.0.0.1:0",
      "moat proxy --imds 169.254.170.2:8169",
    ],
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
        name: "imds",
        value: "ADDR:PORT",
        valueIfBare: "169.254.169.254:80",
        summary: "Serve instance metadata to containers (169.254.169.254:80)",
        repeatable: true,
      },
      {
        name: "imds-passthrough",
        value: "PATH",
        summary: "Fetch this path from the host's real metadata service",
        repeatable: true,
      },
      {
        name: "prefetch",
        summary: "Prepare the first answer of every grant at start",
      },
      ...LOG_FLAGS,
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
      "",
      "With --imds a container is known by its address, found through its engine's",
      "socket; what it may have is in [metadata] of moat.toml or in a binding of",
      "mode imds. `moat network-rules` leads containers there.",
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
  {
    name: "bind",
    summary: "Give one service or container a lasting right to a grant",
    usage: "NAME --grant NAME… [FLAGS]",
    examples: [
      "moat bind web --grant {provider} --mode ecs-full",
      "moat bind web --grant {provider} --engine docker --format docker",
    ],
    operands: [1, 1],
    flags: [
      {
        name: "grant",
        short: "g",
        value: "NAME",
        summary: "A grant that its client may use, one of each provider",
        repeatable: true,
      },
      MODE_FLAG,
      {
        name: "url",
        value: "URL",
        summary: "Where its client finds moat (default: the running proxy)",
      },
      {
        name: "token-file",
        summary: "Keep the token in a file, for SDKs that know one",
      },
      {
        name: "engine",
        value: "ENGINE",
        summary: "Its client is a container of docker or podman",
      },
      {
        name: "network",
        value: "NETWORK",
        summary: "The container's network (default: the engine's own)",
      },
      {
        name: "container",
        value: "NAME|label:K=V",
        summary: "The container that alone may use it, by its address",
      },
      ...POLICY_FLAGS,
      FORMAT_FLAG,
      JSON_FLAG,
    ],
    providerFlags: "bindFlags",
    notes: [
      "Without --engine and --network its client is a program of this host. Binding",
      "again makes a new token and replaces all options; the old token stops at",
      "once. A binding may shorten, name and narrow the sessions of its grant, never",
      "widen them.",
      "",
      "With --certificate it takes the place of `needroleshere bind`: the binding",
      "is written in that form and served by moat serve.",
    ],
    load: () => import("./bind.ts").then((m) => m.run),
  },
  {
    name: "unbind",
    summary: "Remove a binding; its token stops at once",
    usage: "NAME [FLAGS]",
    examples: ["moat unbind web"],
    operands: [1, 1],
    flags: [DIRECTORY_FLAG, JSON_FLAG],
    load: () => import("./unbind.ts").then((m) => m.run),
  },
  {
    name: "bindings",
    summary: "List the bindings",
    usage: "[--json]",
    examples: ["moat bindings"],
    flags: [JSON_FLAG],
    load: () => import("./bindings.ts").then((m) => m.run),
  },
  {
    name: "env",
    summary:
      "Print what a binding's client needs; env, export and json show its token",
    usage: "NAME [--format FORMAT]",
    examples: ['eval "$(moat env web --format export)"'],
    operands: [1, 1],
    flags: [FORMAT_FLAG],
    load: () => import("./env.ts").then((m) => m.run),
  },
  {
    name: "exec",
    summary: "Run a command or container as the client of a binding",
    usage: "NAME -- COMMAND…",
    examples: [
      "moat exec web -- ./server",
      "moat exec job -- docker run --rm my-image my-command",
    ],
    operands: [1, 1],
    flags: [],
    takesCommand: true,
    notes: EXIT_NOTES,
    load: () => import("./exec.ts").then((m) => m.run),
  },
  {
    name: "serve",
    summary: "Serve bindings in needroleshere's form, in its place",
    usage: "[--region REGION] [--configuration-directory DIRECTORY]",
    examples: ["moat serve --region us-east-1"],
    flags: LOG_FLAGS,
    providerFlags: "serveFlags",
    notes: [
      "Listens on the sockets that systemd gives it, else on 127.0.0.1:3000. Prints",
      "one line `ready URL` per listener on stdout; the log goes to stderr.",
    ],
    load: () => import("./serve.ts").then((m) => m.run),
  },
  ...METADATA_PROXY_COMMANDS,
  ...NETWORK_COMMANDS,
  ...NETWORK_RULES_COMMANDS,
  ...POLICY_COMMANDS,
  ...CA_COMMANDS,
  ...TRACE_COMMANDS,
];
