/**
 * Questions to an engine, such as about one container: few at a time, and for
 * each subject at most one that is asked and one that waits, however many want
 * to know.
 *
 * @module
 */

/** More would only queue inside the engine. */
const MAX_AT_ONCE = 8;

/** Those that hang must not keep the clients of others waiting. */
const MAX_URGENT = 32;

/** A question that has not been asked yet. */
interface Waiting<T> {
  readonly answer: PromiseWithResolvers<T>;
  isUrgent: boolean;
}

/** Asks about subjects by id. */
export class Questions<T> {
  readonly #inspect: (id: string) => Promise<T>;
  readonly #waiting = new Map<string, Waiting<T>>();
  readonly #asked = new Map<string, Promise<void>>();
  readonly #urgent = new Set<string>();
  readonly #later = new Set<string>();

  /** Asks with `inspect`. */
  constructor(inspect: (id: string) => Promise<T>) {
    this.#inspect = inspect;
  }

  /**
   * Asks about a container.
   *
   * @param id Its id.
   * @param isUrgent Whether a client waits: such questions go first.
   * @returns What was answered to a question that was asked after this call.
   */
  ask(id: string, isUrgent: boolean): Promise<T> {
    const waiting = this.#waiting.get(id) ??
      { answer: Promise.withResolvers<T>(), isUrgent };
    waiting.isUrgent ||= isUrgent;
    this.#waiting.set(id, waiting);
    this.#enqueue(id, waiting);
    this.#next();
    return waiting.answer.promise;
  }

  /** Gives up the questions that were not asked yet. */
  clear(error: unknown): void {
    const given = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#urgent.clear();
    this.#later.clear();
    for (const { answer } of given) answer.reject(error);
  }

  /** Waits for the answers to questions that were asked. */
  async idle(): Promise<void> {
    await Promise.all(this.#asked.values());
  }

  #enqueue(id: string, { isUrgent }: Waiting<T>): void {
    if (this.#asked.has(id)) return;
    if (isUrgent) this.#later.delete(id);
    (isUrgent ? this.#urgent : this.#later).add(id);
  }

  #next(): void {
    for (;;) {
      const urgent = this.#urgent.values().next().value;
      const id = urgent ?? this.#later.values().next().value;
      const waiting = id === undefined ? undefined : this.#waiting.get(id);
      if (id === undefined || !waiting) return;
      const max = id === urgent ? MAX_URGENT : MAX_AT_ONCE;
      if (this.#asked.size >= max) return;
      this.#urgent.delete(id);
      this.#later.delete(id);
      this.#waiting.delete(id);
      this.#asked.set(id, this.#start(id, waiting));
    }
  }

  async #start(id: string, { answer }: Waiting<T>): Promise<void> {
    try {
      answer.resolve(await this.#inspect(id));
    } catch (error) {
      answer.reject(error);
    } finally {
      this.#asked.delete(id);
      const waiting = this.#waiting.get(id);
      if (waiting) this.#enqueue(id, waiting);
      this.#next();
    }
  }
}
