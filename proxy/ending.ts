/**
 * Something that ends once, and tells.
 *
 * @module
 */

/** What has not ended yet, or has. */
export class Ending {
  readonly #onEnd = new Set<() => void>();
  #isOver = false;

  /** Whether it has ended. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * Tells of the end, once; at once if it is over.
   *
   * @param tell Called at the end.
   * @returns A function that takes it back.
   */
  onEnd(tell: () => void): () => void {
    if (this.#isOver) tell();
    else this.#onEnd.add(tell);
    return () => void this.#onEnd.delete(tell);
  }

  /** Ends it; a second time does nothing. */
  end(): void {
    this.#isOver = true;
    const told = [...this.#onEnd];
    this.#onEnd.clear();
    for (const tell of told) tell();
  }
}
