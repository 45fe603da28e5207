/**
 * A value that must not be printed.
 *
 * @module
 */

const REDACTED = "[redacted]";

/**
 * Holds a secret string and prints `[redacted]` wherever it is formatted:
 * template literals, `JSON.stringify`, `console.log`, `Deno.inspect`, node's
 * `util.inspect` and structured logs.
 *
 * **Security:** only {@link Secret.reveal} gives the value; search for its
 * callers to review where secrets leave moat.
 */
export class Secret {
  readonly #value: string;

  /**
   * Wraps a value.
   *
   * @param value The secret; it is kept as it is, without trimming.
   */
  constructor(value: string) {
    this.#value = value;
  }

  /**
   * Gives the secret itself.
   *
   * @returns The wrapped value.
   */
  reveal(): string {
    return this.#value;
  }

  /** Prints `[redacted]`. */
  toString(): string {
    return REDACTED;
  }

  /** Serialises to `[redacted]`. */
  toJSON(): string {
    return REDACTED;
  }

  /** Converts to `[redacted]`, never to the value. */
  [Symbol.toPrimitive](): string {
    return REDACTED;
  }

  /** Prints `[redacted]` in `Deno.inspect` and `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    return REDACTED;
  }

  /** Prints `[redacted]` in node's `util.inspect`. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return REDACTED;
  }
}
