/**
 * A connection whose other side is the test.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Duplex } from "$proxy/http1/wire.ts";

/** One end of a connection, in memory; each character stands for a byte. */
export class FakeConn implements Duplex {
  /** What was written, write by write. */
  readonly writes: string[] = [];
  /** Whether {@link Duplex.closeWrite} was called. */
  hasEnded = false;
  /** Whether {@link Duplex.close} was called. */
  isClosed = false;
  /** Whether writes succeed at once; else they wait until it is closed. */
  accepts = true;
  readonly #incoming: Uint8Array[] = [];
  #isAtEnd = false;
  #failure: Error | undefined;
  #wake = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<never>();

  /** Nothing has been sent yet. */
  constructor() {
    this.#closed.promise.catch(() => {/* somebody may wait */});
  }

  /** All that was written. */
  get written(): string {
    return this.writes.join("");
  }

  /** Sends something. */
  send(text: string): void {
    this.#incoming.push(Buffer.from(text, "latin1"));
    this.#tell();
  }

  /** Ends what is sent. */
  end(): void {
    this.#isAtEnd = true;
    this.#tell();
  }

  /** Lets reads and writes fail. */
  fail(error: Error = new Deno.errors.ConnectionReset("reset")): void {
    this.#failure = error;
    this.#tell();
  }

  /** Gives what was sent, then the end. */
  async read(into: Uint8Array): Promise<number | null> {
    for (;;) {
      if (this.isClosed) throw new Deno.errors.BadResource("closed");
      const [next] = this.#incoming;
      if (next) {
        const count = Math.min(next.length, into.length);
        into.set(next.subarray(0, count));
        if (count === next.length) this.#incoming.shift();
        else this.#incoming[0] = next.subarray(count);
        return count;
      }
      if (this.#failure) throw this.#failure;
      if (this.#isAtEnd) return null;
      await Promise.race([this.#wake.promise, this.#closed.promise]);
    }
  }

  /** Keeps what is written. */
  async write(bytes: Uint8Array): Promise<number> {
    if (this.isClosed) throw new Deno.errors.BadResource("closed");
    if (this.#failure) throw this.#failure;
    if (!this.accepts) await this.#closed.promise;
    this.writes.push(Buffer.from(bytes).toString("latin1"));
    return bytes.length;
  }

  /** Only noted. */
  closeWrite(): Promise<void> {
    this.hasEnded = true;
    return Promise.resolve();
  }

  /** Lets what waits fail, as the runtime does. */
  close(): void {
    if (this.isClosed) throw new Deno.errors.BadResource("closed");
    this.isClosed = true;
    this.#closed.reject(new Deno.errors.Interrupted("closed"));
  }

  #tell(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers<void>();
  }
}

/**
 * Lets everything happen that waits for nothing but the event loop.
 *
 * @param rounds Default: 5.
 */
export async function turns(rounds = 5): Promise<void> {
  for (let i = 0; i < rounds; i++) {
    await new Promise((resolve) => setTimeout(resolve));
  }
}
