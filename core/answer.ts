/**
 * What clients are answered.
 *
 * @module
 */

/** What a client is answered. Immutable, so that its bytes can be kept. */
export class Answer {
  /** HTTP status code. */
  readonly status: number;
  /** Value of Content-Type. */
  readonly contentType: string;
  /** The whole body. */
  readonly body: string;
  /** Further headers, such as `Allow`. */
  readonly headers: readonly (readonly [name: string, value: string])[];

  /**
   * Makes an answer.
   *
   * @param status HTTP status code.
   * @param body The whole body.
   * @param contentType Default `application/json`.
   * @param headers Further headers; names and values without CR, LF.
   */
  constructor(
    status: number,
    body: string,
    contentType = "application/json",
    headers: readonly (readonly [name: string, value: string])[] = [],
  ) {
    this.status = status;
    this.body = body;
    this.contentType = contentType;
    this.headers = headers;
  }
}

/**
 * Makes the error shape that AWS SDKs and people can both read.
 *
 * @param status HTTP status code.
 * @param code A kebab-case or SDK-shaped word.
 * @param message One sentence; no secret, path or stack.
 * @param headers Further headers.
 * @returns An answer whose body is `{"code","message"}`.
 */
export function errorAnswer(
  status: number,
  code: string,
  message: string,
  headers: readonly (readonly [name: string, value: string])[] = [],
): Answer {
  return new Answer(
    status,
    JSON.stringify({ code, message }),
    "application/json",
    headers,
  );
}
