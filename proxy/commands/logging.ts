/**
 * The log of commands that serve.
 *
 * @module
 */

import type { CommandContext } from "$core/cli/command.ts";
import {
  createLog,
  LOG_LEVELS,
  type LogLevel,
  type Streams,
} from "$core/cli/output.ts";
import { usageError } from "$core/errors.ts";
import type { Log } from "$core/log.ts";
import type { FlagValues } from "$core/provider.ts";
import { isLoopback } from "../addresses.ts";
import type { ListenAddress } from "../listeners.ts";

/**
 * Makes the log that the flags ask for.
 *
 * @param context Where the terminal is.
 * @param flags `log-format` and `log-level`.
 * @param target Where it goes. Default: stderr.
 * @returns The log.
 * @throws {MoatError} `usage`.
 */
export async function logFrom(
  { streams }: Pick<CommandContext, "streams">,
  flags: FlagValues,
  target: Streams = streams,
): Promise<Log> {
  const {
    "log-format": format = streams.isTerminal ? "text" : "json",
    "log-level": level = "info",
  } = flags;
  if (format !== "json" && format !== "text") {
    throw usageError(
      `Cannot use ${JSON.stringify(format)} as log format`,
      "write --log-format json or --log-format text",
    );
  }
  if (!LOG_LEVELS.includes(level as LogLevel)) {
    throw usageError(
      `Cannot use ${JSON.stringify(level)} as log level`,
      `write one of ${LOG_LEVELS.join(", ")}`,
    );
  }
  return await createLog(target, format, level as LogLevel);
}

/**
 * Warns of listeners that others may reach.
 *
 * @param addresses Where we listen.
 * @param remark What still protects them, or does not.
 * @param log Where to warn.
 */
export function warnOfReach(
  addresses: readonly ListenAddress[],
  remark: string,
  log: Log,
): void {
  for (const { hostname } of addresses) {
    if (isLoopback(hostname)) continue;
    log.warn("not-loopback", {
      hostname,
      reason: `other machines may reach this listener; ${remark}`,
    });
  }
}
