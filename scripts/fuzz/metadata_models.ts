/**
 * What instance metadata should do, told in another way: for the fuzzer and for
 * the tests beside the code.
 *
 * @module
 */

import assert from "node:assert/strict";
import { MAX_TOKENS, SessionTokens } from "$providers/aws/metadata/tokens.ts";

/** A token that was made, with all that happened to it. */
interface Made {
  readonly token: string;
  readonly ttlMs: number;
  readonly bornWall: number;
  readonly bornElapsed: number;
  hasEnded: boolean;
}

/** Session tokens with both clocks in hand, and beside them a list of all. */
export class TokenModel {
  /** What the machine's clock says, ms since the Unix epoch. */
  wall: number = Date.UTC(2026, 0, 1);
  /** What no one can set, in ms. */
  elapsed = 5000;
  /** Those that the list is compared with. */
  readonly tokens: SessionTokens = this.newTokens();
  /** All that were made, oldest first. */
  readonly made: Made[] = [];

  /** Those of another client, at the same time. */
  newTokens(): SessionTokens {
    return new SessionTokens({
      clock: { now: () => this.wall },
      elapsed: () => this.elapsed,
    });
  }

  /** Lets time pass by both clocks, in ms. */
  pass(ms: number): void {
    this.wall += ms;
    this.elapsed += ms;
  }

  /** Makes a token for some seconds: the oldest of too many ends. */
  mint(ttl: number): void {
    const live = this.made.filter(({ hasEnded }) => !hasEnded);
    if (live.length === MAX_TOKENS && live[0]) live[0].hasEnded = true;
    this.made.push({
      token: this.tokens.mint(ttl),
      ttlMs: ttl * 1000,
      bornWall: this.wall,
      bornElapsed: this.elapsed,
      hasEnded: false,
    });
  }

  /** Fails unless the tokens that are found are those that have not ended. */
  check(): void {
    for (const one of this.made) {
      const age = Math.max(
        this.wall - one.bornWall,
        this.elapsed - one.bornElapsed,
      );
      one.hasEnded ||= age >= one.ttlMs;
      const found = this.tokens.find(one.token);
      assert.equal(found === undefined, one.hasEnded);
      if (found) assert(found.secondsLeft() * 1000 <= one.ttlMs);
    }
  }
}

/**
 * Tells whether a whole pattern of roles means a whole ARN.
 *
 * Row by row: whether the first tokens can be the first characters. Nothing is
 * tried twice, whatever the pattern.
 *
 * @param pattern With `*` for all but `/`, `:` and `@`; with more of them also
 * for `/`.
 * @param arn Of a role.
 */
export function isLike(pattern: string, arn: string): boolean {
  let before = [...Array(arn.length + 1).keys()].map((at) => at === 0);
  for (const token of pattern.match(/\*+|[^*]/g) ?? []) {
    const row = [token.startsWith("*") && before[0]!];
    for (let at = 1; at <= arn.length; at++) {
      const char = arn[at - 1]!;
      row.push(
        token.startsWith("*")
          ? before[at]! ||
            row[at - 1]! && !(token === "*" ? "/:@" : ":@").includes(char)
          : token === char && before[at - 1]!,
      );
    }
    before = row;
  }
  return before[arn.length]!;
}
