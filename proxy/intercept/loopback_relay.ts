/**
 * Carries the TLS records of one client to a TLS listener of ours on the
 * loopback, and back.
 *
 * The runtime gives no way to turn off Nagle's algorithm on what its TLS
 * listener accepts: a small write waits until the kernel has acknowledged the
 * one before, and on our end of the connection the kernel waits up to 40 ms
 * for data which could carry the acknowledgement along. So we send such data:
 * the begin of the client's next record, which is always the same, ahead of
 * the rest; see {@link LoopbackRelay.beforeWrite}.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import type { Wire } from "../http1/wire.ts";

/** Once keys are in use: application data, TLS 1.2 (RFC 8446 section 5.2, RFC 5246 section 6.2.1). */
const NEXT_RECORD = Uint8Array.of(23, 3, 3);

const RECORD_HEADER_BYTES = 5;
const CHANGE_CIPHER_SPEC = 20;
const HANDSHAKE = 22;

/**
 * Linux delays an acknowledgement by 40 ms, and a timer's tick. After that it
 * acknowledges at once, until data is sent again.
 */
const DELAYED_ACK_MS = 50;

/** Long enough for what the loopback holds. */
const CLOSE_SOON_MS = 50;

/** How long a client may take to read what is left when its connection is closed. */
const CLOSE_MS = 5_000;

/** Both directions between a client and the loopback. */
export class LoopbackRelay {
  /** Settles when both directions have ended, and both connections are closed. Never rejects. */
  readonly done: Promise<void>;
  readonly #client: Wire;
  readonly #loopback: Wire;
  readonly #clock: Clock;
  readonly #records = new RecordFollower();
  /** How much of {@link NEXT_RECORD} was sent before the client did, and how much of that it has sent since. */
  #ahead = 0;
  #caughtUp = 0;
  #isSending = false;
  #hasAllUp = false;
  #hasAllDown = false;
  /** Tickets follow the handshake; nothing tells whether the client's next record did. */
  #hasTickets = false;
  /** Whether the server was the last to write, and when it was. */
  #isUnacknowledged = false;
  #writtenAt = 0;
  /** Whether the kernel acknowledges at once. */
  #isPrompt = false;
  #isEnding = false;
  #cancelClose: (() => void) | undefined;

  /**
   * Starts both directions.
   *
   * @param client The connection of the client, from the begin of a record on.
   * @param loopback Our connection to the listener.
   * @param clock Times it.
   */
  constructor(client: Wire, loopback: Wire, clock: Clock) {
    this.#client = client;
    this.#loopback = loopback;
    this.#clock = clock;
    this.done = this.#run();
  }

  /**
   * To be called after the handshake.
   *
   * @param hasTickets Whether the server sent session tickets behind it.
   */
  start(hasTickets: boolean): void {
    this.#hasTickets = hasTickets;
  }

  /**
   * To be called before the server writes, after {@link start}.
   *
   * Makes the kernel acknowledge what the server wrote last, where its next
   * write would wait for that. Three times after each record of the client;
   * further small writes wait once for up to 40 ms in all.
   */
  beforeWrite(): void {
    const now = this.#clock.now();
    if (this.#hasTickets) {
      this.#hasTickets = false;
      this.#sendAhead();
    } else if (this.#isUnacknowledged) {
      if (now - this.#writtenAt > DELAYED_ACK_MS) this.#isPrompt = true;
      else if (!this.#isPrompt) this.#sendAhead();
    }
    this.#isUnacknowledged = true;
    this.#writtenAt = now;
  }

  /** Ends both directions once what the server wrote is with the client. May be called again. */
  end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    if (this.#hasAllDown) return this.close();
    this.#cancelClose = this.#clock.after(CLOSE_MS, () => this.close());
  }

  /** Ends both directions a moment later, in which what was written goes on. */
  closeSoon(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#cancelClose = this.#clock.after(CLOSE_SOON_MS, () => this.close());
  }

  /** Ends both directions at once. May be called again. */
  close(): void {
    this.#hasAllUp = true;
    this.#client.close();
    this.#loopback.close();
  }

  async #run(): Promise<void> {
    const close = () => this.close();
    await Promise.all([
      this.#pumpUp().catch(close),
      this.#pumpDown().catch(close),
    ]);
    this.#cancelClose?.();
    this.close();
  }

  async #pumpUp(): Promise<void> {
    const wire = this.#client;
    while (wire.available > 0 || await wire.fill()) {
      const chunk = wire.received;
      this.#records.follow(chunk);
      const rest = this.#ahead === 0 ? chunk : this.#dropAhead(chunk);
      if (!rest) break;
      if (rest.length > 0) await this.#send(rest);
      wire.consume(chunk.length);
    }
    this.#hasAllUp = true;
    await this.#loopback.conn.closeWrite();
  }

  async #send(chunk: Uint8Array): Promise<void> {
    if (this.#isUnacknowledged) {
      this.#isUnacknowledged = false;
      this.#isPrompt = this.#clock.now() - this.#writtenAt > DELAYED_ACK_MS;
    }
    this.#isSending = true;
    await this.#loopback.write(chunk);
    this.#isSending = false;
  }

  async #pumpDown(): Promise<void> {
    const wire = this.#loopback;
    while (await wire.fill()) {
      if (this.#records.isNextKnown) this.#sendAhead();
      await this.#client.write(wire.received);
      wire.consume(wire.available);
    }
    this.#hasAllDown = true;
    await this.#client.conn.closeWrite();
    if (this.#isEnding) this.close();
  }

  /** One more byte, whose packet carries the acknowledgement. */
  #sendAhead(): void {
    const isFree = this.#records.isBetween && !this.#isSending;
    if (!isFree || this.#hasAllUp || this.#ahead === NEXT_RECORD.length) return;
    const next = NEXT_RECORD.subarray(this.#ahead, ++this.#ahead);
    this.#loopback.conn.write(next).catch(
      () => {/* the loops find out, too */},
    );
  }

  /**
   * Takes away what was sent ahead.
   *
   * @returns The rest; undefined if the client sent something else: an alert
   * of TLS 1.2, with which it ends.
   */
  #dropAhead(chunk: Uint8Array): Uint8Array | undefined {
    const awaited = NEXT_RECORD.subarray(this.#caughtUp, this.#ahead)
      .subarray(0, chunk.length);
    if (awaited.some((byte, i) => byte !== chunk[i])) return undefined;
    this.#caughtUp += awaited.length;
    if (this.#caughtUp === this.#ahead) this.#caughtUp = this.#ahead = 0;
    return chunk.subarray(awaited.length);
  }
}

/** Tells where records end, and in the handshake what comes next. */
class RecordFollower {
  /** How much of a record's content is still to come. */
  #left = 0;
  #type = 0;
  #header = 0;
  #headerBytes = 0;
  #hasChangedCipher = false;

  /** Whether the next byte begins a record. */
  get isBetween(): boolean {
    return this.#left === 0 && this.#headerBytes === 0;
  }

  /**
   * Whether the client's next record is {@link NEXT_RECORD} although the
   * handshake goes on: it was Finished of TLS 1.2, or the second ClientHello
   * of TLS 1.3.
   */
  get isNextKnown(): boolean {
    return this.#hasChangedCipher && this.#type === HANDSHAKE;
  }

  follow(chunk: Uint8Array): void {
    let at = this.#left;
    while (at < chunk.length) {
      const byte = chunk[at++] ?? 0;
      if (this.#headerBytes === 0) this.#begin(byte);
      this.#header = (this.#header << 8 | byte) & 0xffff;
      if (++this.#headerBytes < RECORD_HEADER_BYTES) continue;
      at += this.#header;
      this.#headerBytes = 0;
    }
    this.#left = at - chunk.length;
  }

  #begin(type: number): void {
    if (type === CHANGE_CIPHER_SPEC) this.#hasChangedCipher = true;
    this.#type = type;
  }
}
