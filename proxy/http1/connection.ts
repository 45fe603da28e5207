/**
 * One client's connection: reads heads, asks the service, writes answers, in
 * order, until one side ends it.
 *
 * A request that repeats the last one byte for byte is answered without being
 * parsed or asked about again, if the service gave a {@link Reply.repeat}.
 *
 * One state machine, kept whole in one file: its phases, buffer and limits only
 * make sense together.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { Answer, errorAnswer } from "$core/provider.ts";
import {
  findHeadEnd,
  hasBody,
  HttpError,
  MAX_HEAD_BYTES,
  overlongHead,
  parseRequestHead,
  type RequestHead,
} from "./head.ts";
import { encodeAnswer } from "./writer.ts";

/** Where a request came from and where it arrived. */
export interface Peer {
  /** The port it connected to; 0 on a unix socket. */
  readonly localPort: number;
  /** The address it connected to; the path of a unix socket. */
  readonly localHostname: string;
  /** The client's address; empty on a unix socket. */
  readonly remoteHostname: string;
}

/** What a service answers. */
export interface Reply {
  /** The same object each time if it does not change: its bytes are kept. */
  readonly answer: Answer;
  /**
   * Answers a request on this connection that is byte for byte the same. It
   * must check what may have changed since, such as a revoked binding;
   * undefined sends the request through the service again.
   */
  repeat?(): Answer | Promise<Answer> | undefined;
  /** The client has shown that it may ask: its connection is kept longer. */
  readonly isKnown?: boolean;
}

/** Serves the rest of a connection in a way of its own. */
export interface Takeover {
  /**
   * Serves it to its end.
   *
   * @param conn The connection.
   * @param received What was received behind the head.
   * @returns Resolves at the end; never rejects.
   */
  serve(conn: Deno.Conn, received: Uint8Array): Promise<void>;
  /** Takes no further request. */
  retire(): void;
  /** Ends it at once. */
  close(): void;
}

/**
 * Answers requests. What it throws is answered with 500 and reported, except
 * an {@link HttpError}, which the client is told; both end the connection.
 */
export type Service = (
  head: RequestHead,
  peer: Peer,
) => Reply | Takeover | Promise<Reply | Takeover>;

/** What a connection needs of its server. */
export interface ConnectionContext {
  /** Times the phases, and dates the answers. */
  readonly clock: Clock;
  /** Answers the requests. */
  readonly service: Service;
  /** Told of what a service threw. */
  readonly onError: (error: unknown) => void;
}

/**
 * How long a connection may stay in each phase, in ms.
 *
 * `head` begins with the first byte of a head (else a client that sends a byte
 * a minute keeps its place for ever), `write` with an answer. A service has
 * its own limits.
 */
const LIMITS_MS = {
  idle: 60_000,
  head: 10_000,
  service: Infinity,
  write: 30_000,
  linger: 2_000,
} as const;

/** The same for `idle` while the client has not shown who it is. */
const STRANGER_IDLE_MS = 5_000;

type Phase = keyof typeof LIMITS_MS;

/** Most heads fit, and thousands of idle connections stay small. */
const BUFFER_BYTES = 2 * 1024;

/** How much of an unwanted body is read so that its client sees our answer. */
const LINGER_BYTES = 256 * 1024;

const INTERNAL = errorAnswer(500, "internal", "Cannot answer: moat failed");

const TIMEOUT = new HttpError(
  408,
  "request-timeout",
  `Cannot read the request: wanted its head within ${
    LIMITS_MS.head / 1000
  } seconds`,
);

const INCOMPLETE = new HttpError(
  400,
  "bad-request",
  "Cannot read the request: it ended before its head did",
);

/** The last request of a connection that the service answered. */
interface Answered {
  readonly head: Uint8Array;
  readonly headOnly: boolean;
  readonly reply: Reply;
}

/** What comes of a request. */
type Served = Answer | Takeover;

const NO_BYTES = new Uint8Array(0);

/** One accepted connection. */
export class Connection {
  readonly #conn: Deno.Conn;
  readonly #context: ConnectionContext;
  readonly #peer: Peer;
  #phase: Phase = "idle";
  #since: number;
  /** Received bytes are in [start, filled); no head ends before scanned. */
  #buffer = new Uint8Array(BUFFER_BYTES);
  #start = 0;
  #scanned = 0;
  #filled = 0;
  #last: Answered | undefined;
  #headOnly = false;
  #skippedLine = false;
  /** No request is read any more. */
  #closing = false;
  #closed = false;
  #isRetired = false;
  #takeover: Takeover | undefined;

  /**
   * Takes over an accepted connection.
   *
   * @param conn The connection; it is closed when {@link run} ends.
   * @param context The server's part.
   */
  constructor(conn: Deno.Conn, context: ConnectionContext) {
    this.#conn = conn;
    this.#context = context;
    this.#peer = describePeer(conn);
    this.#since = context.clock.now();
  }

  /** Where its requests come from. */
  get peer(): Peer {
    return this.#peer;
  }

  /**
   * Whether it may be closed for the sake of another one: it waits for its
   * client, whose last request, if any, was not that of a known one.
   */
  get isStranger(): boolean {
    return ["idle", "head", "linger"].includes(this.#phase) &&
      !this.#last?.reply.isKnown;
  }

  /**
   * Serves the connection until it ends.
   *
   * @param refusal If given, it is all that the client is told.
   * @returns Resolves when the connection is closed; never rejects.
   */
  async run(refusal?: Answer): Promise<void> {
    try {
      setNoDelay(this.#conn);
      this.#closing = refusal !== undefined;
      if (refusal === undefined) await this.#serve();
      else await this.#send(this.#encode(refusal));
      await this.#linger();
    } catch {
      // Reading or writing failed: the client went away, or close() was called.
      // What a service throws does not come here.
    } finally {
      this.close();
    }
  }

  /** Ends what has been in its phase too long. Called by one timer for all connections. */
  checkTime(): void {
    const now = this.#context.clock.now();
    const limitMs = this.#phase === "idle" && this.isStranger
      ? STRANGER_IDLE_MS
      : LIMITS_MS[this.#phase];
    if (now - this.#since < limitMs) return;
    if (this.#phase === "head") this.#timeOut();
    else this.close();
  }

  /** Closes an idle connection now, and any other one after its answer. */
  retire(): void {
    this.#closing = true;
    this.#isRetired = true;
    this.#takeover?.retire();
    if (this.#phase === "idle") this.close();
  }

  /**
   * Closes the connection now.
   *
   * Deno 2.7 cannot cancel a write that waits for the client: such a write
   * holds the descriptor until the client reads or goes, and its connection
   * goes on to count (denoland/deno#36369 is the remedy).
   *
   * @returns Whether {@link run} ends by itself soon; false if it waits for
   *   the service or for such a write.
   */
  close(): boolean {
    if (!this.#closed) {
      this.#closed = true;
      this.#closing = true;
      this.#takeover?.close();
      closeQuietly(this.#conn);
    }
    return this.#phase !== "service" && this.#phase !== "write";
  }

  /** Answers requests until one of the answers is the last. */
  async #serve(): Promise<void> {
    do {
      let answer = this.#next();
      while (answer === undefined) {
        const count = await this.#read();
        if (this.#phase === "linger") return;
        if (count === null && this.#start === this.#filled) return;
        this.#filled += count ?? 0;
        answer = count === null ? this.#fail(INCOMPLETE) : this.#next();
      }
      if (answer instanceof Promise) {
        this.#enter("service");
        answer = await answer;
      }
      if (!(answer instanceof Answer)) return await this.#giveAway(answer);
      const bytes = this.#encode(answer);
      // Nearly every write is whole: an async call less for each request.
      const sent = await this.#conn.write(bytes);
      if (sent < bytes.length) await this.#send(bytes.subarray(sent));
    } while (!this.#closing);
  }

  /** The service goes on with the connection by itself. */
  async #giveAway(takeover: Takeover): Promise<void> {
    this.#enter("service");
    this.#takeover = takeover;
    // While the service made up its mind.
    if (this.#isRetired) takeover.retire();
    const received = this.#buffer.slice(this.#start, this.#filled);
    this.#buffer = NO_BYTES;
    this.#last = undefined;
    await takeover.serve(this.#conn, received);
    this.close();
  }

  async #send(bytes: Uint8Array): Promise<void> {
    for (let rest = bytes; rest.length > 0;) {
      this.#enter("write");
      rest = rest.subarray(await this.#conn.write(rest));
    }
  }

  /** The answer to the next request; undefined if its head is not complete. Never throws. */
  #next(): Served | Promise<Served> | undefined {
    try {
      this.#skipEmptyLine();
      return this.#repeat() ?? this.#ask();
    } catch (error) {
      return this.#fail(error);
    }
  }

  /** The short way: the last request once more. */
  #repeat(): Answer | Promise<Answer> | undefined {
    const last = this.#last;
    if (last?.reply.repeat === undefined) return undefined;
    const end = this.#start + last.head.length;
    if (end > this.#filled || !this.#startsWith(last.head)) return undefined;
    const answer = last.reply.repeat();
    if (answer === undefined) return undefined;
    this.#headOnly = last.headOnly;
    this.#consume(end);
    return answer instanceof Answer
      ? answer
      : answer.catch((error) => this.#fail(error));
  }

  /** Compares in a time that depends on the length alone, since a head holds a token. */
  #startsWith(head: Uint8Array): boolean {
    const buffer = this.#buffer;
    const start = this.#start;
    let difference = 0;
    for (let i = 0; i < head.length; i++) {
      difference |= head[i]! ^ buffer[start + i]!;
    }
    return difference === 0;
  }

  /** The long way: parse the head and ask the service. */
  #ask(): Served | Promise<Served> | undefined {
    this.#headOnly = false;
    const start = this.#start;
    const end = findHeadEnd(this.#buffer, start, this.#scanned, this.#filled);
    if (end === -1) {
      if (this.#filled - start < MAX_HEAD_BYTES) {
        this.#scanned = this.#filled;
        return undefined;
      }
      throw overlongHead(this.#buffer, start, this.#filled);
    }
    const head = parseRequestHead(this.#buffer, start, end);
    this.#headOnly = head.method === "HEAD";
    if (endsConnection(head)) this.#closing = true;
    const bytes = this.#buffer.slice(start, end);
    this.#consume(end);
    const reply = this.#context.service(head, this.#peer);
    if (!(reply instanceof Promise)) return this.#remember(bytes, reply);
    return reply.then(
      (reply) => this.#remember(bytes, reply),
      (error) => this.#fail(error),
    );
  }

  #remember(head: Uint8Array, reply: Reply | Takeover): Served {
    if ("serve" in reply) return reply;
    this.#last = { head, reply, headOnly: this.#headOnly };
    return reply.answer;
  }

  /** RFC 9112 section 2.2: at least one empty line before a request-line is ignored; we ignore one. */
  #skipEmptyLine(): void {
    if (this.#skippedLine || this.#filled - this.#start < 2) return;
    if (this.#buffer[this.#start] !== 0x0d) return;
    if (this.#buffer[this.#start + 1] !== 0x0a) return;
    this.#consume(this.#start + 2);
    this.#skippedLine = true;
  }

  #consume(end: number): void {
    this.#start = end;
    this.#scanned = end;
    this.#skippedLine = false;
  }

  /** Turns what was thrown into the last answer of this connection. */
  #fail(error: unknown): Answer {
    this.#closing = true;
    if (error instanceof HttpError) {
      return errorAnswer(error.status, error.code, error.message);
    }
    this.#context.onError(error);
    return INTERNAL;
  }

  /** The bytes of an answer that is sent next. */
  #encode(answer: Answer): Uint8Array<ArrayBuffer> {
    this.#enter("write");
    try {
      return this.#encodeUnchecked(answer);
    } catch (error) {
      return this.#encodeUnchecked(this.#fail(error));
    }
  }

  #encodeUnchecked(answer: Answer): Uint8Array<ArrayBuffer> {
    return encodeAnswer(answer, {
      now: this.#since,
      close: this.#closing,
      headOnly: this.#headOnly,
    });
  }

  #read(): Promise<number | null> {
    if (this.#start === this.#filled) this.#rewind();
    else if (this.#filled === this.#buffer.length) this.#makeRoom();
    if (this.#filled === 0) {
      // Idle since the last answer began: the clock is read once a request.
      this.#phase = "idle";
      return this.#conn.read(this.#buffer);
    }
    if (this.#phase !== "head") this.#enter("head");
    return this.#conn.read(this.#buffer.subarray(this.#filled));
  }

  /** Nothing is pending: start over, in a small buffer. */
  #rewind(): void {
    this.#start = this.#scanned = this.#filled = 0;
    if (this.#buffer.length > BUFFER_BYTES) {
      this.#buffer = new Uint8Array(BUFFER_BYTES);
    }
  }

  /** Moves a part of a head to the front, of a larger buffer if it is there already. */
  #makeRoom(): void {
    const pending = this.#buffer.subarray(this.#start, this.#filled);
    if (this.#start === 0) {
      this.#buffer = new Uint8Array(
        Math.min(2 * this.#buffer.length, MAX_HEAD_BYTES),
      );
    }
    this.#buffer.set(pending);
    this.#scanned -= this.#start;
    this.#filled -= this.#start;
    this.#start = 0;
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    this.#since = this.#context.clock.now();
  }

  /** Answers 408 (RFC 9110 section 15.5.9). The read that waits goes on; what it brings is dropped. */
  #timeOut(): void {
    const bytes = this.#encode(this.#fail(TIMEOUT));
    this.#enter("linger");
    this.#conn.write(bytes)
      .then(() => this.#conn.closeWrite())
      .catch(() => this.close());
  }

  /**
   * Ends our side, and reads on for a while: closing with unread bytes makes
   * the kernel send RST, which can take our answer away from the client.
   *
   * @see {@link https://www.rfc-editor.org/rfc/rfc9112.html#section-9.6 | RFC 9112 section 9.6}
   */
  async #linger(): Promise<void> {
    if (this.#phase !== "linger") {
      this.#enter("linger");
      await this.#conn.closeWrite();
    }
    for (let drained = 0; drained < LINGER_BYTES;) {
      const count = await this.#conn.read(this.#buffer);
      if (count === null) return;
      drained += count;
    }
  }
}

/**
 * Whether no request can follow this one: the body is not read, HTTP/1.0 does
 * not persist (we send it no keep-alive), or the client says so (section 9.3).
 */
function endsConnection(head: RequestHead): boolean {
  return hasBody(head) || head.version === "1.0" ||
    head.members("connection").includes("close");
}

function closeQuietly(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // What took it over has closed it.
  }
}

/** Small answers must not wait for the ACK of the one before. */
function setNoDelay(conn: Deno.Conn): void {
  if ("setNoDelay" in conn) (conn as Deno.TcpConn).setNoDelay(true);
}

function describePeer(conn: Deno.Conn): Peer {
  const local = conn.localAddr;
  const remote = conn.remoteAddr;
  return {
    localPort: "port" in local ? local.port : 0,
    localHostname: "hostname" in local
      ? local.hostname
      : "path" in local
      ? local.path
      : "",
    remoteHostname: "hostname" in remote ? remote.hostname : "",
  };
}
