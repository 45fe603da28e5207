/**
 * Asking the person at the terminal for a secret: the question goes to stderr,
 * the answer is not shown.
 *
 * @module
 */

import { MoatError, usageError } from "../errors.ts";
import type { GrantRequest } from "../provider.ts";
import { Secret } from "../secret.ts";
import type { Streams } from "./output.ts";

/** What is read from: stdin, or a test's. */
export interface TerminalInput {
  /** Whether a person can type there. */
  isTerminal(): boolean;
  /** Turns the terminal's own echo, editing and signals off or on. */
  setRaw(isRaw: boolean): void;
  /** Reads what was typed; null at the end. */
  read(bytes: Uint8Array): Promise<number | null>;
}

/** No passphrase is longer; more was pasted by mistake. */
const MAX_CHARACTERS = 4096;

/** They end the process; before that the terminal gets its settings back. */
const SIGNALS: readonly Deno.Signal[] = ["SIGINT", "SIGTERM", "SIGHUP"];

/** Cursor keys and the like, which are no part of an answer. */
// deno-lint-ignore no-control-regex
const ESCAPE_SEQUENCE = /\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O.|.)?/g;

/** What the keys Ctrl-C, Ctrl-D, Ctrl-U, backspace and enter send. */
const KEYS = {
  interrupt: "\x03",
  end: "\x04",
  clear: "\x15",
  erase: ["\x7f", "\b"],
  enter: ["\r", "\n"],
} as const;

/**
 * Makes what asks the person at the terminal.
 *
 * Ctrl-C ends the process as SIGINT does (status 130 for a shell).
 *
 * @param streams Where the question goes.
 * @param input Where the answer comes from. Default: stdin.
 * @param interrupt Ends the process. Default: by SIGINT.
 * @returns The function; undefined if stdin or stderr is no terminal.
 */
export function createAsk(
  streams: Streams,
  input: TerminalInput = Deno.stdin,
  interrupt: (signal: Deno.Signal) => void = endBySignal,
): GrantRequest["ask"] {
  if (!streams.isTerminal || !input.isTerminal()) return undefined;
  const keyboard = new Keyboard(input);
  return async (question, { joinsLines = false } = {}) => {
    input.setRaw(true);
    const handlers = SIGNALS.map((signal) => onSignal(signal, end));
    function restore(): void {
      input.setRaw(false);
      for (const remove of handlers) remove();
      streams.stderr("\n");
    }
    function end(signal: Deno.Signal): void {
      restore();
      interrupt(signal);
    }
    streams.stderr(question);
    try {
      const line = await keyboard.line(joinsLines);
      if (line !== undefined) {
        restore();
        return new Secret(line);
      }
    } catch (error) {
      restore();
      throw error;
    }
    end("SIGINT");
    // The signal is about to arrive.
    return await new Promise<never>(() => {});
  };
}

/** Lines that are typed into a raw terminal. */
class Keyboard {
  readonly #input: TerminalInput;
  readonly #decoder = new TextDecoder();
  /** Typed behind the last line already. */
  #ahead: string[] = [];

  constructor(input: TerminalInput) {
    this.#input = input;
  }

  /** Reads up to the enter key; undefined for Ctrl-C. */
  async line(joinsLines: boolean): Promise<string | undefined> {
    let typed: string[] = [];
    for (;;) {
      const key = this.#ahead.shift() ?? await this.#next();
      if (key === undefined || key === KEYS.end) throw noAnswer();
      if (key === KEYS.interrupt) return undefined;
      if (isOneOf(KEYS.enter, key)) {
        // What is there already was pasted; nobody types that fast.
        if (!joinsLines || this.#ahead.length === 0) return typed.join("");
        typed.push("\n");
      } else if (key === KEYS.clear) typed = [];
      else if (isOneOf(KEYS.erase, key)) typed.pop();
      else if (key >= " ") typed.push(key);
      if (typed.length > MAX_CHARACTERS) throw tooLong();
    }
  }

  /** The next key; undefined at the end. */
  async #next(): Promise<string | undefined> {
    const bytes = new Uint8Array(1024);
    while (this.#ahead.length === 0) {
      const count = await this.#input.read(bytes);
      if (count === null) return undefined;
      const text = this.#decoder.decode(bytes.subarray(0, count), {
        stream: true,
      });
      bytes.fill(0);
      this.#ahead = [...text.replace(ESCAPE_SEQUENCE, "")];
    }
    return this.#ahead.shift();
  }
}

function isOneOf(keys: readonly string[], key: string): boolean {
  return keys.includes(key);
}

function onSignal(
  signal: Deno.Signal,
  end: (signal: Deno.Signal) => void,
): () => void {
  const handler = () => end(signal);
  Deno.addSignalListener(signal, handler);
  return () => Deno.removeSignalListener(signal, handler);
}

/** Nobody listens for the signal any more, so it has its own meaning. */
function endBySignal(signal: Deno.Signal): void {
  Deno.kill(Deno.pid, signal);
}

function noAnswer(): MoatError {
  return new MoatError("no-answer", "Cannot go on without an answer", {
    hint: "type it and press enter, or Ctrl-C to give up",
  });
}

function tooLong(): MoatError {
  return usageError(
    `Cannot use this answer: wanted at most ${MAX_CHARACTERS} characters`,
    "type or paste one line",
  );
}
