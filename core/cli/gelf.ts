/**
 * Log lines in Graylog's format.
 *
 * @module
 * @see {@link https://go2docs.graylog.org/current/getting_in_log_data/gelf.html | GELF 1.1}
 */

import type { LogFields } from "../log.ts";

/** A log line before it is written. */
export interface LogLine {
  /** In ms since the Unix epoch. */
  readonly timestamp: number;
  /** LogTape's word for the severity. */
  readonly level: string;
  /** A kebab-case word. */
  readonly event: string;
  /** JSON values, or a redacted Secret. */
  readonly fields: LogFields;
}

/** Severities of syslog (RFC 5424 section 6.2.1). */
const SEVERITIES: Readonly<Record<string, number>> = {
  debug: 7,
  info: 6,
  warning: 4,
  error: 3,
};

/**
 * Writes a log line as a GELF message.
 *
 * @param host What it is from.
 * @param line What it says; a field that is neither text nor number becomes
 * JSON, since the format knows nothing else.
 * @returns JSON without a line feed.
 */
export function gelfMessage(
  host: string,
  { timestamp, level, event, fields }: LogLine,
): string {
  return JSON.stringify({
    version: "1.1",
    host,
    "short_message": event,
    timestamp: timestamp / 1000,
    level: SEVERITIES[level] ?? 3,
    ...Object.fromEntries(
      Object.entries(fields).map(([name, value]) =>
        [fieldName(name), fieldValue(value)] as const
      ),
    ),
  });
}

/** Its underscore keeps it from the members above; `_id` is Graylog's own. */
function fieldName(name: string): string {
  const plain = name.replaceAll(/[^\w.-]/g, "_");
  return plain === "id" ? "_id_" : `_${plain}`;
}

function fieldValue(value: unknown): string | number | undefined {
  const text = JSON.stringify(value);
  if (text === undefined) return undefined;
  const plain: unknown = JSON.parse(text);
  return typeof plain === "string" || typeof plain === "number" ? plain : text;
}
