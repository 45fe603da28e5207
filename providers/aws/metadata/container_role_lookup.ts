/**
 * Where roles are that were named without an account, kept for an hour. One
 * that is known stays so while IAM fails, and is looked up anew behind the
 * answer; only that there is no such role any more counts at once.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { toMoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";

const KEPT_MS = 3_600_000;

/** Not long: what is missing may be put right at any time. */
const FAILURE_KEPT_MS = 5000;

/** Far more than the roles of one host's containers. */
const MAX_ENTRIES = 1000;

/** What is known of one name in one grant's account. */
interface Entry {
  /** The ARN, once it was found. */
  arn?: string;
  /** Why it was not. */
  failure?: unknown;
  /** When either was learnt. */
  at: number;
  /** For how long that counts, in ms. */
  keptMs: number;
  /** The look-up that is under way. */
  pending?: Promise<string>;
}

/** Looks roles up, each once. */
export class RoleLookups {
  readonly #clock: Pick<Clock, "now">;
  readonly #ask: (grant: Grant, name: string) => Promise<string>;
  readonly #entries = new Map<string, Entry>();

  /**
   * Begins with nothing.
   *
   * @param clock Tells what is old.
   * @param ask Finds the ARN of a role, and ends some time.
   */
  constructor(
    clock: Pick<Clock, "now">,
    ask: (grant: Grant, name: string) => Promise<string>,
  ) {
    this.#clock = clock;
    this.#ask = ask;
  }

  /**
   * Finds a role.
   *
   * @param grant In whose account.
   * @param name The role's name.
   * @returns Its ARN; at once if it is known.
   * @throws What `ask` throws, for 5 s without asking again.
   */
  find(grant: Grant, name: string): string | Promise<string> {
    const entry = this.#entry(JSON.stringify([
      ...[grant.name, grant.createdAt, name],
    ]));
    const ageMs = Math.abs(this.#clock.now() - entry.at);
    if (ageMs >= entry.keptMs) {
      entry.pending ??= this.#refresh(entry, grant, name);
    }
    if (entry.arn !== undefined) return entry.arn;
    return entry.pending ?? Promise.reject(entry.failure);
  }

  /** The one with that key, now the latest used. */
  #entry(key: string): Entry {
    const entry = this.#entries.get(key) ?? { at: -Infinity, keptMs: 0 };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size > MAX_ENTRIES) {
      for (const oldest of this.#entries.keys()) {
        this.#entries.delete(oldest);
        break;
      }
    }
    return entry;
  }

  #refresh(entry: Entry, grant: Grant, name: string): Promise<string> {
    const learn = (keptMs: number) => {
      delete entry.pending;
      entry.at = this.#clock.now();
      entry.keptMs = keptMs;
    };
    const asked = this.#ask(grant, name).then((arn) => {
      learn(KEPT_MS);
      return entry.arn = arn;
    }, (error) => {
      learn(FAILURE_KEPT_MS);
      entry.failure = error;
      if (toMoatError(error).code === "role-unknown") delete entry.arn;
      throw error;
    });
    // Behind an answer nobody waits for it.
    asked.catch(() => {});
    return asked;
  }
}
