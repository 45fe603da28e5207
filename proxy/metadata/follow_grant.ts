/**
 * A grant that is followed by looking: for a program that no command can tell
 * of a change, because it has no control socket.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import type { Grant } from "$core/grant.ts";

/** A revoke counts as soon as that. */
const LOOK_MS = 1000;

/** What is followed. */
export interface FollowGrantOptions {
  /** Says when to look. */
  readonly clock: Pick<Clock, "after">;
  /** Reads it; rejects if it is not there. */
  readonly read: () => Promise<Grant>;
  /** Told of each change: revoked, granted anew, unreadable. */
  readonly changed: () => void;
}

/**
 * Follows a grant.
 *
 * @param options Where it is, and who is told.
 * @returns A function that ends it.
 */
export function followGrant(
  { clock, read, changed }: FollowGrantOptions,
): () => void {
  let isOver = false;
  let cancel = () => {};
  let last: string | undefined;
  const look = async () => {
    const now = await read().then(
      ({ createdAt, settings }) => JSON.stringify([createdAt, settings]),
      () => "none",
    );
    if (isOver) return;
    if (last !== undefined && last !== now) changed();
    last = now;
    cancel = clock.after(LOOK_MS, () => void look());
  };
  void look();
  return () => {
    isOver = true;
    cancel();
  };
}
