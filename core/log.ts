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

/** A log whose target is chosen later, once a command's flags are known. */
export class ForwardingLog implements Log {
  #target: Log = silentLog;

  /** Writes to `target` from now on. */
  use(target: Log): void {
    this.#target = target;
  }

  /** Passes a line on. */
  debug(event: string, fields?: LogFields): void {
    this.#target.debug(event, fields);
  }

  /** Passes a line on. */
  info(event: string, fields?: LogFields): void {
    this.#target.info(event, fields);
  }

  /** Passes a line on. */
  warn(event: string, fields?: LogFields): void {
    this.#target.warn(event, fields);
  }

  /** Passes a line on. */
  error(event: string, fields?: LogFields): void {
    this.#target.error(event, fields);
  }
}
