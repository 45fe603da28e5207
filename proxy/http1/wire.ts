/**
 * A connection with a buffer of received bytes, for whatever parses what comes
 * in: heads, bodies, records of TLS.
 *
 * The buffer is small while little arrives, so that thousands of idle
 * connections stay small, and large while a bulk transfer fills it.
 *
 * @module
 */

/** A byte stream both ways, as `Deno.Conn` is one. */
export interface Duplex {
  /** Reads at least one byte; null at the end. */
  read(into: Uint8Array): Promise<number | null>;
  /** Writes some of the bytes; gives how many. */
  write(bytes: Uint8Array): Promise<number>;
  /** Ends our side. */
  closeWrite(): Promise<void>;
  /** Ends both sides at once. */
  close(): void;
  /** The same without a goodbye, so that the other side sees that something is missing. Default: {@link close}. */
  abort?(): void;
}

const SMALL_BYTES = 4 * 1024;
const LARGE_BYTES = 64 * 1024;

/** Large buffers that are not in use; more than these are left to the collector. */
const spare: Uint8Array<ArrayBuffer>[] = [];
const MAX_SPARE = 32;

/** A connection and what was received on it. */
export class Wire {
  /** What it reads from and writes to. */
  readonly conn: Duplex;
  /** Received bytes are in [start, end). */
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(SMALL_BYTES);
  #start = 0;
  #end = 0;
  #pending: Promise<boolean> | undefined;
  /** What the last read brought: says how much room the next one gets. */
  #pace: "little" | "much" | "full" = "little";
  #isClosed = false;

  /**
   * Takes over a connection.
   *
   * @param conn The connection.
   * @param received What was received on it already. Default: nothing.
   */
  constructor(conn: Duplex, received?: Uint8Array) {
    this.conn = conn;
    if (received === undefined) return;
    while (this.#buffer.length < received.length) this.#grow();
    this.#buffer.set(received);
    this.#end = received.length;
  }

  /** The bytes; see {@link start} and {@link end}. Valid until the next {@link fill}. */
  get buffer(): Uint8Array<ArrayBuffer> {
    return this.#buffer;
  }

  /** Where the received bytes start. */
  get start(): number {
    return this.#start;
  }

  /** Where they end. */
  get end(): number {
    return this.#end;
  }

  /** How many bytes are received and not consumed. */
  get available(): number {
    return this.#end - this.#start;
  }

  /** Whether {@link close} was called. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** The received bytes as a view, valid until the next {@link fill}. */
  get received(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  /** Drops the first `count` received bytes. */
  consume(count: number): void {
    this.#start += count;
  }

  /**
   * Reads more behind what is received.
   *
   * @returns False at the end.
   * @throws {RangeError} If 64 KiB are received and not consumed.
   */
  fill(): Promise<boolean> {
    const pending = this.#pending;
    if (pending === undefined) return this.#read();
    this.#pending = undefined;
    return pending;
  }

  /**
   * Reads ahead while nobody waits, so that an end or an error shows at once.
   * The next {@link fill} gives what was read.
   *
   * @param onActivity Called when something came before that; told whether it
   * was the end, or an error.
   */
  watch(onActivity: (isEnd: boolean) => void): void {
    if (this.#pending === undefined) this.#pace = "little";
    const pending = this.#pending ??= this.#read();
    const tell = (isEnd: boolean) => {
      if (this.#pending === pending) onActivity(isEnd);
    };
    pending.then((hasMore) => tell(!hasMore), () => tell(true));
  }

  /** Writes all of the bytes. */
  async write(bytes: Uint8Array): Promise<void> {
    let sent = await this.conn.write(bytes);
    while (sent < bytes.length) {
      sent += await this.conn.write(bytes.subarray(sent));
    }
  }

  /** Ends both sides at once. May be called again. */
  close(): void {
    this.#closeBy(() => this.conn.close());
  }

  /** The same, after which the other side knows that something is missing. */
  abort(): void {
    const { conn } = this;
    this.#closeBy(() => conn.abort ? conn.abort() : conn.close());
  }

  #closeBy(close: () => void): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      close();
    } catch {
      // The runtime closed it: its other side had gone.
    }
  }

  async #read(): Promise<boolean> {
    this.#makeRoom();
    const room = this.#end === 0
      ? this.#buffer
      : this.#buffer.subarray(this.#end);
    const count = await this.conn.read(room);
    if (count === null) return false;
    this.#pace = count === room.length
      ? "full"
      : count > SMALL_BYTES
      ? "much"
      : "little";
    this.#end += count;
    return true;
  }

  #makeRoom(): void {
    if (this.#start === this.#end) {
      this.#start = this.#end = 0;
      if (this.#pace === "full") this.#grow();
      else if (this.#pace === "little") this.#shrink();
      return;
    }
    if (this.#end < this.#buffer.length) return;
    if (this.#start > 0) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
      return;
    }
    if (this.#buffer.length === LARGE_BYTES) {
      throw new RangeError("the buffer is full");
    }
    this.#grow();
  }

  #grow(): void {
    if (this.#buffer.length === LARGE_BYTES) return;
    const large = spare.pop() ?? new Uint8Array(LARGE_BYTES);
    large.set(this.received);
    this.#end -= this.#start;
    this.#start = 0;
    this.#buffer = large;
  }

  #shrink(): void {
    if (this.#buffer.length === SMALL_BYTES) return;
    if (spare.length < MAX_SPARE) spare.push(this.#buffer);
    this.#buffer = new Uint8Array(SMALL_BYTES);
  }
}
