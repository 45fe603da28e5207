/**
 * Session tokens of version 2: a client fetches one by PUT, which a server
 * that was tricked into a request cannot, and shows it with each request.
 *
 * **Security:** tokens are found by their digests, never compared themselves;
 * one is good for the client that fetched it, and for no other.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html | IMDSv2}
 */

import { Buffer } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import type { Clock } from "$core/clock.ts";

/** AWS's bound: six hours. */
export const MAX_TTL_SECONDS = 21_600;

/** Of one client; SDKs use one at a time, the worst of them one per request. */
export const MAX_TOKENS = 32;

const TOKEN_BYTES = 32;

/** Times of a token's life. */
export interface TokenTime {
  /** The machine's; may be set. */
  readonly clock: Pick<Clock, "now">;
  /** In ms since some instant, by a clock that nobody sets. Default: `performance.now`. */
  readonly elapsed?: () => number;
}

/** A token that was handed out. */
export interface LiveToken {
  /** How long it is good for, in s, rounded up; 0 once it has ended. */
  secondsLeft(): number;
}

/**
 * Reads the life that a client asks for.
 *
 * @param values Of `X-aws-ec2-metadata-token-ttl-seconds`.
 * @returns 1 to 21,600; undefined for anything but one such number.
 */
export function readTtl(values: readonly string[]): number | undefined {
  const [text = "", ...more] = values;
  if (more.length > 0 || !/^\d{1,5}$/.test(text)) return undefined;
  const seconds = Number(text);
  return seconds >= 1 && seconds <= MAX_TTL_SECONDS ? seconds : undefined;
}

/** The tokens of one client. */
export class SessionTokens {
  readonly #time: Required<TokenTime>;
  /** By digest, the oldest first. */
  readonly #live = new Map<string, Token>();
  #hasPushedOut = false;

  /** Begins without any. */
  constructor({ clock, elapsed = () => performance.now() }: TokenTime) {
    this.#time = { clock, elapsed };
  }

  /** How many are kept, ended ones included until the next call. */
  get size(): number {
    return this.#live.size;
  }

  /** Whether one ended before its time, for there were too many. */
  get hasPushedOut(): boolean {
    return this.#hasPushedOut;
  }

  /**
   * Makes one; of more than {@link MAX_TOKENS} the oldest ends.
   *
   * @param ttlSeconds How long it is good for.
   * @returns 43 characters of base64url.
   */
  mint(ttlSeconds: number): string {
    this.#sweep();
    for (const [oldest, token] of this.#live) {
      if (this.#live.size < MAX_TOKENS) break;
      token.end();
      this.#live.delete(oldest);
      this.#hasPushedOut = true;
    }
    const secret = randomBytes(TOKEN_BYTES).toString("base64url");
    this.#live.set(digest(secret), new Token(this.#time, ttlSeconds * 1000));
    return secret;
  }

  /**
   * Finds one that a client shows.
   *
   * @param secret What it sent.
   * @returns Undefined for one that is not this client's, or has ended.
   */
  find(secret: string): LiveToken | undefined {
    const token = this.#live.get(digest(secret));
    return token && token.secondsLeft() > 0 ? token : undefined;
  }

  #sweep(): void {
    for (const [key, token] of this.#live) {
      if (token.secondsLeft() === 0) this.#live.delete(key);
    }
  }
}

/** Ends by whichever clock says so first: one may be set, the other sleeps with the machine. */
class Token implements LiveToken {
  readonly #time: Required<TokenTime>;
  readonly #endsAt: number;
  readonly #endsAtElapsed: number;
  #hasEnded = false;

  constructor(time: Required<TokenTime>, lifeMs: number) {
    this.#time = time;
    this.#endsAt = time.clock.now() + lifeMs;
    this.#endsAtElapsed = time.elapsed() + lifeMs;
  }

  secondsLeft(): number {
    if (this.#hasEnded) return 0;
    const { clock, elapsed } = this.#time;
    const leftMs = Math.min(
      this.#endsAt - clock.now(),
      this.#endsAtElapsed - elapsed(),
    );
    // A clock that is set back later must not bring it back.
    if (leftMs <= 0) this.#hasEnded = true;
    return Math.max(0, Math.ceil(leftMs / 1000));
  }

  end(): void {
    this.#hasEnded = true;
  }
}

/** A spelling that decodes to the same bytes is another text: it is not found. */
function digest(secret: string): string {
  return createHash("sha256").update(Buffer.from(secret, "utf8"))
    .digest("base64");
}
