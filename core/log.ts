/**
 * The logging port. Its one adapter, in `core/cli/output.ts`, writes JSON
 * lines or text to stderr through a library that is loaded only by the
 * commands that log.
 *
 * @module
 */

/** Structured fields of a log line; values are JSON or a redacted Secret. */
export type LogFields = Record<string, unknown>;

/** Writes log lines. The event is a kebab-case word, such as `session-refreshed`. */
export interface Log {
  /** For whoever debugs moat itself. */
  debug(event: string, fields?: LogFields): void;
  /** Something that an operator may want to know. */
  info(event: string, fields?: LogFields): void;
  /** Something that needs a look although moat goes on. */
  warn(event: string, fields?: LogFields): void;
  /** Something failed for a client or an operator. */
  error(event: string, fields?: LogFields): void;
}

/** Writes nothing; for commands that do not log, and for tests. */
export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
};
