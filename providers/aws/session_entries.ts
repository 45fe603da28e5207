/**
 * The entries of the session cache: found by id, and bounded by forgetting the
 * least recently used of those that nobody is busy with.
 *
 * @module
 */

import { type Known, nothingKnown } from "./session_known.ts";

/** What tells one entry from another: all three of them. */
export interface CacheId {
  /** Every input of the call that makes the session. */
  readonly key: string;
  /** Name of the grant whose secrets the call uses. */
  readonly grant: string;
  /** Name of the binding that it belongs to; null if others may share it. */
  readonly owner: string | null;
}

/** Picks entries: those of a grant, of an owner, or of a key. */
export type CacheFilter =
  | Pick<CacheId, "grant">
  | { readonly owner: string }
  | Pick<CacheId, "key">;

/** A key and what is going on about it. */
export interface Entry<T> {
  /** Its id. */
  readonly id: CacheId;
  /** Another object after each drop: who holds the former one came too late. */
  known: Known<T>;
  /** Whether a call is in flight, be it one from before a drop. */
  isRefreshing: boolean;
  /** Resolved by the next outcome of a call or drop. */
  changed: PromiseWithResolvers<void>;
  /** Calls, checks and waiting requests for which the entry must stay. */
  users: number;
}

/**
 * Wakes the requests that wait for an entry.
 *
 * @param entry What changed.
 */
export function wake(entry: Entry<unknown>): void {
  entry.changed.resolve();
  entry.changed = Promise.withResolvers();
}

/** Entries by id, in the order of their last use. */
export class Entries<T> {
  readonly #max: number;
  readonly #grants = new Map<
    string,
    Map<string | null, Map<string, Entry<T>>>
  >();
  /** Those without users, the least recently used first. */
  readonly #idle = new Set<Entry<T>>();
  #size = 0;

  /**
   * Makes an empty set.
   *
   * @param max How many entries there may be, unless more have users; the
   *   default is far above any real use.
   */
  constructor(max = 10_000) {
    this.#max = max;
  }

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /**
   * Finds an entry, or makes it.
   *
   * @param id Whose.
   * @returns The entry, now the most recently used.
   */
  use(id: CacheId): Entry<T> {
    const { grant, owner, key } = id;
    const entry = this.#grants.get(grant)?.get(owner)?.get(key);
    if (entry === undefined) return this.#add(id);
    if (this.#idle.delete(entry)) this.#idle.add(entry);
    return entry;
  }

  /** Keeps an entry in its place until it is left as often as entered. */
  enter(entry: Entry<T>): void {
    if (entry.users++ === 0) this.#idle.delete(entry);
  }

  /** Ends what {@link Entries.enter} began. */
  leave(entry: Entry<T>): void {
    if (--entry.users > 0) return;
    const { session, failure } = entry.known;
    if (session === undefined && failure === undefined) {
      this.#remove(entry);
    } else {
      this.#idle.add(entry);
      this.#makeRoom();
    }
  }

  /** Forgets what is known about some entries, for all who come or wait. */
  clear(filter: CacheFilter): void {
    const wanted = Object.entries(filter) as [keyof CacheId, string][];
    for (const entry of [...this.#all()]) {
      if (wanted.some(([field, value]) => entry.id[field] !== value)) continue;
      entry.known = nothingKnown();
      wake(entry);
      if (entry.users === 0) this.#remove(entry);
    }
  }

  *#all(): Iterable<Entry<T>> {
    for (const owners of this.#grants.values()) {
      for (const entries of owners.values()) yield* entries.values();
    }
  }

  #add(id: CacheId): Entry<T> {
    const entry: Entry<T> = {
      id,
      known: nothingKnown(),
      isRefreshing: false,
      changed: Promise.withResolvers(),
      users: 0,
    };
    const { grant, owner, key } = id;
    const owners = this.#grants.get(grant) ?? new Map();
    const entries = owners.get(owner) ?? new Map();
    this.#grants.set(grant, owners.set(owner, entries.set(key, entry)));
    this.#idle.add(entry);
    this.#size++;
    return entry;
  }

  #makeRoom(): void {
    for (const oldest of this.#idle) {
      if (this.#size <= this.#max) return;
      this.#remove(oldest);
    }
  }

  #remove(entry: Entry<T>): void {
    const { grant, owner, key } = entry.id;
    const owners = this.#grants.get(grant);
    const entries = owners?.get(owner);
    if (!entries?.delete(key)) return;
    this.#size--;
    this.#idle.delete(entry);
    if (entries.size === 0) owners?.delete(owner);
    if (owners?.size === 0) this.#grants.delete(grant);
  }
}
