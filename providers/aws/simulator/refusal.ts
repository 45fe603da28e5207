/**
 * What the simulated services refuse, in AWS's own words.
 *
 * @module
 */

/** Ends a request with an error answer; never leaves the simulator. */
export class Refusal extends Error {
  /** Tells it from other errors in a stack. */
  override readonly name = "Refusal";
  /** HTTP status code. */
  readonly status: number;
  /** AWS's error code, such as `AccessDenied`. */
  readonly code: string;

  /**
   * Makes a refusal.
   *
   * @param status HTTP status code.
   * @param code AWS's error code.
   * @param message AWS's sentence.
   */
  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * Makes the refusal of parameters that break a rule.
 *
 * @param message AWS's sentence.
 * @returns Status 400, `ValidationError`.
 */
export function validationError(message: string): Refusal {
  return new Refusal(400, "ValidationError", message);
}

/**
 * Makes the refusal of a call that is not allowed.
 *
 * @param message AWS's sentence.
 * @returns Status 403, `AccessDenied`.
 */
export function accessDenied(message: string): Refusal {
  return new Refusal(403, "AccessDenied", message);
}

/**
 * Makes the refusal of a call of Roles Anywhere that is not allowed.
 *
 * @param message AWS's sentence.
 * @returns Status 403, `AccessDeniedException`.
 */
export function accessDeniedException(message: string): Refusal {
  return new Refusal(403, "AccessDeniedException", message);
}

/**
 * Makes the refusal of parameters of Roles Anywhere.
 *
 * @param message AWS's sentence.
 * @returns Status 400, `ValidationException`.
 */
export function validationException(message: string): Refusal {
  return new Refusal(400, "ValidationException", message);
}
