/**
 * What a client says and is told, without its TLS.
 *
 * @module
 */

import type { Duplex } from "../http1/wire.ts";
import type { LoopbackRelay } from "./loopback_relay.ts";
import { tlsFailure } from "./tls_failure.ts";

/** The runtime's end of a client's TLS. */
export class TerminatedConn implements Duplex {
  /** Settles when the client's connection is closed. Never rejects. */
  readonly done: Promise<void>;
  readonly #tls: Deno.TlsConn;
  readonly #relay: LoopbackRelay;
  #end: Promise<void> | undefined;
  #isClosing = false;
  #isDone = false;

  /** Takes both over; the handshake may still be under way. */
  constructor(tls: Deno.TlsConn, relay: LoopbackRelay) {
    this.#tls = tls;
    this.#relay = relay;
    this.done = relay.done.then(() => {
      this.#isDone = true;
      if (this.#isClosing) tls.close();
    });
  }

  /** Reads at least one byte; null at the end, whether or not the client said goodbye. */
  read(into: Uint8Array): Promise<number | null> {
    return this.#tls.read(into).catch(endOrThrow);
  }

  /** Writes some of the bytes; gives how many. */
  write(bytes: Uint8Array): Promise<number> {
    this.#relay.beforeWrite();
    return this.#tls.write(bytes);
  }

  /** Ends what the client reads. May be called again. */
  closeWrite(): Promise<void> {
    return this.#end ??= this.#tls.closeWrite();
  }

  /**
   * Ends both sides, once the client has what was written, or after 5 s. May
   * be called again.
   *
   * The runtime's end is closed only when its other end has everything: with
   * bytes that nobody has read, such as those sent ahead, the kernel would
   * throw away what is under way.
   */
  close(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    if (this.#isDone) return this.#tls.close();
    this.#relay.end();
    this.closeWrite().catch(() => this.#relay.close());
  }

  /** Ends both sides without close_notify (RFC 8446 section 6.1): an answer is not whole. */
  abort(): void {
    this.#relay.closeSoon();
    if (this.#isClosing) return;
    this.#isClosing = true;
    if (this.#isDone) this.#tls.close();
  }

  /** Closes after a failed handshake; an alert of ours still gets to the client. */
  async abandon(): Promise<void> {
    this.#relay.end();
    this.#tls.close();
    await this.#relay.done;
  }
}

/**
 * An end without close_notify is an end: HTTP has marks of its own. And some
 * clients judge the certificate after the handshake.
 */
function endOrThrow(error: unknown): null {
  if (error instanceof Deno.errors.UnexpectedEof) return null;
  throw tlsFailure(error);
}
