/**
 * Waiting for something to change at an address.
 *
 * @module
 */

/** Whoever waits for one address. */
interface Change extends PromiseWithResolvers<void> {
  waiting: number;
}

/** Who waits for which address; keeps nothing of those for whom nobody waits. */
export class Changes {
  readonly #changes = new Map<string, Change>();

  /**
   * Waits for a change.
   *
   * @param address Of which address.
   * @param late Ends the wait.
   * @returns What `late` gives, if it came first.
   */
  async wait<T>(address: string, late: Promise<T>): Promise<T | undefined> {
    const change = this.#changes.get(address) ??
      { ...Promise.withResolvers<void>(), waiting: 0 };
    this.#changes.set(address, change);
    change.waiting++;
    try {
      return await Promise.race([change.promise.then(() => undefined), late]);
    } finally {
      change.waiting--;
      if (change.waiting === 0 && this.#changes.get(address) === change) {
        this.#changes.delete(address);
      }
    }
  }

  /** Wakes who waits for an address. */
  wake(address: string): void {
    this.#changes.get(address)?.resolve();
    this.#changes.delete(address);
  }

  /** Wakes everybody. */
  wakeAll(): void {
    for (const address of [...this.#changes.keys()]) this.wake(address);
  }
}
