/**
 * How far this host's clock is from the servers', learned from the `Date`
 * header of their answers.
 *
 * @module
 */

/**
 * Below this nothing is corrected: a `Date` has whole seconds, an answer
 * travels for a while, and AWS itself takes signatures that are minutes off.
 */
const MIN_OFFSET_MS = 30_000;

/** Above this, a broken server or a login page is likelier than our clock. */
const MAX_OFFSET_MS = 24 * 60 * 60_000;

/** A `Date` is cut to the second, so that half of one is lost on average. */
const HALF_SECOND_MS = 500;

/** Far more endpoints than one host's grants have. */
const MAX_ENDPOINTS = 256;

/** Remembers the difference for each endpoint. */
export class ClockSkew {
  readonly #offsets = new Map<string, number>();

  /**
   * What to add to this host's time to get the server's; the SDK's
   * `systemClockOffset`. An instant of the server minus it is one of this host.
   *
   * @param endpoint Any name of the server, the same as for {@link ClockSkew.learn}.
   * @returns Milliseconds; 0 if nothing is known or the clocks agree.
   */
  offset(endpoint: string): number {
    return this.#offsets.get(endpoint) ?? 0;
  }

  /**
   * Takes note of an answer. The latest counts, so that a clock that is set
   * right is noticed; a date more than a day off is not believed and changes
   * nothing.
   *
   * @param endpoint Any name of the server.
   * @param serverDate The value of the `Date` header, if there was one.
   * @param localNow This host's time at the answer, in ms since the Unix epoch.
   * @see {@link https://www.rfc-editor.org/rfc/rfc9110.html#section-6.6.1 | RFC 9110 section 6.6.1}
   */
  learn(endpoint: string, serverDate: string | null, localNow: number): void {
    const server = Date.parse(serverDate ?? "") + HALF_SECOND_MS;
    const offset = server - localNow;
    const size = Math.abs(offset);
    if (!(size <= MAX_OFFSET_MS)) return;
    this.#offsets.delete(endpoint);
    if (size < MIN_OFFSET_MS) return;
    this.#offsets.set(endpoint, offset);
    if (this.#offsets.size <= MAX_ENDPOINTS) return;
    for (const oldest of this.#offsets.keys()) {
      this.#offsets.delete(oldest);
      break;
    }
  }
}
