/**
 * The one error class that crosses layers.
 *
 * @module
 */

/** What a {@link MoatError} may carry besides its code and message. */
export interface MoatErrorOptions {
  /** The next command or step for the reader, without a final period. */
  hint?: string;
  /** The error underneath; for debugging only, never printed to a client. */
  cause?: unknown;
}

/**
 * A failure that a person or a program is meant to read.
 *
 * The message is one sentence: what failed, what was wanted, what was found.
 *
 * **Security:** neither message nor hint may hold a secret, or the content of
 * a file that failed to parse.
 */
export class MoatError extends Error {
  /** Always `MoatError`. */
  override readonly name = "MoatError";
  /** A kebab-case word that programs may match on, such as `bad-arn`. */
  readonly code: string;
  /** The next command or step, if there is one. */
  readonly hint: string | undefined;

  /**
   * Makes an error.
   *
   * @param code Kebab-case; `usage` makes the program exit with 2, all others with 1.
   * @param message One sentence, sentence case, without a final period.
   * @param options Hint and cause.
   */
  constructor(code: string, message: string, options: MoatErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/**
 * Makes the error for a command line that cannot be understood (exit status 2).
 *
 * @param message One sentence.
 * @param hint The accepted form or the nearest right command.
 * @returns The error, to be thrown by the caller.
 */
export function usageError(message: string, hint?: string): MoatError {
  return new MoatError("usage", message, hint === undefined ? {} : { hint });
}

/**
 * Turns anything thrown into a {@link MoatError}.
 *
 * A programmer's mistake becomes `internal`; its text is kept as the cause and
 * not shown, because nobody reviewed it for secrets.
 *
 * @param error What was caught.
 * @returns The same error when it is a MoatError already.
 */
export function toMoatError(error: unknown): MoatError {
  if (error instanceof MoatError) return error;
  const kind = error instanceof Error ? error.name : typeof error;
  return new MoatError("internal", `Unexpected ${kind} inside moat`, {
    cause: error,
    hint: "run again with MOAT_DEBUG=1 and report the stack that it prints",
  });
}
