/**
 * The row of `moat metadata-proxy` in the command table.
 *
 * @module
 */

import type { Command } from "$core/cli/command.ts";

/** In the order of `moat --help`. */
export const METADATA_PROXY_COMMANDS: readonly Command[] = [
  {
    name: "metadata-proxy",
    summary: "Serve instance metadata in go-metadataproxy's place",
    usage: "[--strict] [--metrics ADDR:PORT]",
    examples: ["moat metadata-proxy", "moat metadata-proxy --strict"],
    flags: [
      {
        name: "strict",
        summary:
          "Only roles that [metadata] of moat.toml allows, and no version 1",
      },
      {
        name: "metrics",
        value: "ADDR:PORT",
        summary:
          "Serve /metrics there (default: 127.0.0.1:19081 with ENABLE_PROMETHEUS)",
      },
    ],
    worksHomeless: true,
    notes: [
      "Reads go-metadataproxy's environment: HOST, PORT, DEFAULT_ROLE,",
      "DEFAULT_ACCOUNT_ID, ROLE_CACHE_OFFSET, DOCKER_URL or DOCKER_HOST, LOG_LEVEL,",
      "LOG_FORMAT, COPY_DOCKER_LABELS, COPY_DOCKER_ENV, LABEL_SEPARATOR,",
      "ENABLE_PROMETHEUS, STATSD_ADDR, STATSITE_ADDR, DATADOG_ADDR. The host's own",
      "credentials are those that its tools find in this environment.",
      "",
      "Prints one line `ready URL` and `metrics URL` on stdout; the log goes to",
      "stderr, and says what is laxer than moat's own ways. SIGTERM or Ctrl-C lets",
      "answers under way finish; a second one ends it at once.",
    ],
    load: () => import("./metadata_proxy.ts").then((m) => m.run),
  },
];
