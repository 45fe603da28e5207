/**
 * What people and programs read: data on stdout, everything else on stderr.
 * The only module that writes to the terminal.
 *
 * @module
 */

import type { LogRecord } from "@logtape/logtape";
import { MoatError } from "../errors.ts";
import type { Log, LogFields } from "../log.ts";
import { UNPRINTABLE } from "../text.ts";
import { gelfMessage } from "./gelf.ts";

/** The severities of {@link Log}, from chatty to terse. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;

/** One of {@link LOG_LEVELS}. */
export type LogLevel = typeof LOG_LEVELS[number];

/** One object a line, text for people, or one message of Graylog's a line. */
export type LogFormat = "json" | "text" | "gelf";

/** Where output goes; the process's own streams, or a test's. */
export interface Streams {
  /** Writes data. */
  stdout(text: string): void;
  /** Writes everything else. */
  stderr(text: string): void;
  /** Whether stderr is a terminal. */
  readonly isTerminal: boolean;
  /** Whether it wants colours. */
  readonly color: boolean;
}

/** The process's own streams. */
export function processStreams(): Streams {
  return {
    stdout: writeData,
    stderr: (text) => writeRemark(Deno.stderr, text),
    isTerminal: Deno.stderr.isTerminal(),
    color: Deno.stderr.isTerminal() && !Deno.noColor &&
      Deno.env.get("TERM") !== "dumb",
  };
}

/**
 * Streams of a program whose remarks go to a file, such as a log.
 *
 * @param file Where they are appended; data goes nowhere.
 * @returns Streams without a terminal.
 */
export function fileStreams(file: SyncWriter): Streams {
  return {
    stdout() {},
    stderr: (text) => writeRemark(file, text),
    isTerminal: false,
    color: false,
  };
}

/** What takes bytes at once, such as an open file. */
export interface SyncWriter {
  /** Returns how many bytes it took. */
  writeSync(bytes: Uint8Array): number;
}

function writeData(text: string): void {
  try {
    writeAll(Deno.stdout, text);
  } catch (cause) {
    const full = (cause as { code?: unknown }).code === "ENOSPC";
    throw new MoatError(
      "output-failed",
      `Cannot write to stdout: ${full ? "the disk is full" : "it is closed"}`,
      { hint: "check where stdout goes to, then run it again", cause },
    );
  }
}

/** With stderr gone there is nobody left to tell; the exit status still does. */
function writeRemark(stream: SyncWriter, text: string): void {
  try {
    writeAll(stream, text);
  } catch {
    // Nobody to tell.
  }
}

/** A closed pipe is the reader's choice, such as `moat grant list | head -1`. */
function writeAll(stream: SyncWriter, text: string): void {
  let rest = new TextEncoder().encode(text);
  try {
    while (rest.length > 0) rest = rest.subarray(stream.writeSync(rest));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/** Prints for one command. */
export class Output {
  readonly #streams: Streams;
  /** Whether `--json` was given. */
  readonly isJson: boolean;

  /** Prints to `streams`, as JSON if `isJson`. */
  constructor(streams: Streams, isJson: boolean) {
    this.#streams = streams;
    this.isJson = isJson;
  }

  /** Prints text on stdout, as it is. */
  text(text: string): void {
    this.#streams.stdout(text);
  }

  /** Prints a value as indented JSON on stdout. */
  json(value: unknown): void {
    this.#streams.stdout(JSON.stringify(value, undefined, 2) + "\n");
  }

  /** Prints `value` with `--json`, else the text. */
  data(value: unknown, text: string): void {
    if (this.isJson) this.json(value);
    else this.text(text);
  }

  /** Prints a remark on stderr. */
  note(text: string): void {
    this.#streams.stderr(text + "\n");
  }

  /** Prints a warning of one line on stderr. */
  warn(text: string): void {
    this.note(`${this.#paint("33", "warning:")} ${printable(text)}`);
  }

  /** Prints an error and its hint on stderr. */
  error(error: MoatError): void {
    const { code, message, hint } = error;
    if (this.isJson) {
      const value = { error: { code, message, ...(hint && { hint }) } };
      this.note(JSON.stringify(value));
      return;
    }
    this.note(`${this.#paint("31", "error:")} ${printable(message)}`);
    if (hint) this.note(`${this.#paint("36", "hint:")} ${printable(hint)}`);
  }

  #paint(code: string, text: string): string {
    return this.#streams.color ? `\x1b[${code}m${text}\x1b[0m` : text;
  }
}

/**
 * Tells where an unexpected error came from, without its message: nobody
 * reviewed that for secrets.
 *
 * @param error A MoatError whose cause is a programmer's mistake.
 * @returns Lines of the stack.
 */
export function stackOf(error: MoatError): string {
  const thrown = error.cause instanceof Error ? error.cause : error;
  // A message may have lines that look like a stack's.
  const stack = (thrown.stack ?? "").replace(thrown.message, "");
  return stack.split("\n").filter((line) => /^\s+at /.test(line)).join("\n");
}

/**
 * Makes the log of a long-running command; it writes whole lines to stderr.
 *
 * @param streams Where the lines go.
 * @param format How a line is written.
 * @param level The least severity that is written.
 * @returns The log.
 */
export async function createLog(
  streams: Streams,
  format: LogFormat,
  level: LogLevel,
): Promise<Log> {
  const logtape = await import("./logtape.ts");
  const formatLine = format === "json"
    ? jsonLine
    : format === "gelf"
    ? gelfLines()
    : streams.color
    ? logtape.getAnsiColorFormatter()
    : logtape.getTextFormatter();
  await logtape.configure({
    reset: true,
    sinks: { stderr: (record) => streams.stderr(formatLine(record)) },
    loggers: [
      {
        category: "moat",
        lowestLevel: level === "warn" ? "warning" : level,
        sinks: ["stderr"],
      },
      { category: ["logtape", "meta"], lowestLevel: "error" },
    ],
  });
  const logger = logtape.getLogger("moat");
  const line = (event: string, fields: LogFields = {}) =>
    format === "text" ? textLine(event, fields) : event;
  return {
    debug: (event, fields) => logger.debug(line(event, fields), { ...fields }),
    info: (event, fields) => logger.info(line(event, fields), { ...fields }),
    warn: (event, fields) => logger.warn(line(event, fields), { ...fields }),
    error: (event, fields) => logger.error(line(event, fields), { ...fields }),
  };
}

/** Our own members come first, and last, so that no field can forge them. */
function jsonLine(record: LogRecord): string {
  const own = {
    time: new Date(record.timestamp).toISOString(),
    level: record.level === "warning" ? "warn" : record.level,
    event: record.rawMessage,
  };
  const line = JSON.stringify({ ...own, ...record.properties, ...own });
  return printable(line) + "\n";
}

function gelfLines(): (record: LogRecord) => string {
  const host = Deno.hostname();
  return ({ timestamp, level, rawMessage, properties }) => {
    const event = String(rawMessage);
    const line = { timestamp, level, event, fields: properties };
    return printable(gelfMessage(host, line)) + "\n";
  };
}

/** Words as they are, all else as JSON; doubled braces are no placeholders. */
function textLine(event: string, fields: LogFields): string {
  const pairs = Object.entries(fields).map(([key, value]) =>
    `${word(key)}=${word(value)}`
  );
  return printable([event, ...pairs].join(" "))
    .replaceAll("{", "{{").replaceAll("}", "}}");
}

/**
 * Writes a value as one word of a text line: plain words as they are, all
 * else as JSON.
 *
 * @param value JSON.
 * @returns A word without blanks, or with its blanks in quotes.
 */
export function word(value: unknown): string {
  if (typeof value === "string" && /^[\w.:/@+,-]+$/.test(value)) return value;
  return JSON.stringify(value) ?? "undefined";
}

/**
 * Keeps a text within its line: control characters, line separators and
 * changes of the writing direction become escapes as in JSON.
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (run) => Array.from(run, escape).join(""));
}

function escape(character: string): string {
  return ({ "\n": "\\n", "\r": "\\r", "\t": "\\t" })[character] ??
    "\\u" + character.charCodeAt(0).toString(16).padStart(4, "0");
}
