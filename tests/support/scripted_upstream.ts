/**
 * An upstream that keeps every byte it gets, and answers what the test says.
 * It finds the end of each message by itself: a reader beside moat's own and
 * those of real servers.
 *
 * @module
 */

import { eventually } from "./eventually.ts";
import { startRawUpstream, writeText } from "./intercept_bed.ts";

/** One request that arrived whole. */
export interface UpstreamRequest {
  /** Such as `GET`. */
  readonly method: string;
  /** As it was sent. */
  readonly target: string;
  /** All of its head, final empty line included. */
  readonly head: string;
  /** Its content, chunks joined. */
  readonly body: string;
  /** All of its bytes. */
  readonly raw: string;
}

/** What is answered. */
export interface Reply {
  /** Each character as the byte of the same number. */
  readonly bytes: string;
  /**
   * What becomes of the connection: it waits for the next request, or ends.
   * Default: `keep`.
   */
  readonly then?: "keep" | "end";
}

/** One connection that arrived. */
export interface UpstreamConnection {
  /** All bytes so far, each as the character of the same number. */
  readonly received: string;
  /** The requests that arrived whole. */
  readonly requests: readonly UpstreamRequest[];
  /** Whether the other side has ended it. */
  readonly isEnded: boolean;
}

/** How an upstream behaves. */
export interface ScriptedOptions {
  /** Such as `127.70.1.2:41234`, an address of this machine. */
  readonly authority: string;
  /** Certificate and key; absent: plain TCP. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  /** Answers a request. Default: 200 with `ok`. */
  readonly answer?: (
    request: UpstreamRequest,
    conn: Deno.Conn,
  ) => Reply | Promise<Reply>;
  /** Answers before the body has come, and reads no further request. */
  readonly early?: (head: string, conn: Deno.Conn) => Promise<void> | undefined;
}

/** What an upstream answers that was told nothing else. */
export const OK: Reply = {
  bytes: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
};

/** A running upstream; `await using` ends it and its connections. */
export interface ScriptedUpstream extends AsyncDisposable {
  /** As it was given. */
  readonly authority: string;
  /** In the order of their arrival. */
  readonly connections: readonly UpstreamConnection[];
  /** How many connections it has accepted. */
  accepted(): number;
  /** All bytes of all connections; waits until none is in the middle of a message. */
  received(): Promise<string>;
}

/**
 * Starts an upstream.
 *
 * @param options Where, and what it answers.
 */
export function startScripted(options: ScriptedOptions): ScriptedUpstream {
  const { authority, tls, answer = () => OK, early } = options;
  const connections: Connection[] = [];
  const [hostname = "", port] = authority.split(":");
  const upstream = startRawUpstream(
    async (conn) => {
      const connection = new Connection(conn);
      connections.push(connection);
      try {
        await connection.serve(answer, early);
      } finally {
        connection.isEnded = true;
      }
    },
    tls,
    { hostname, port: Number(port) },
  );
  return {
    authority,
    connections,
    accepted: upstream.accepted,
    async received() {
      await eventually(
        "whole messages at the upstream",
        () => connections.every(({ isSettled }) => isSettled),
      );
      return connections.map(({ received }) => received).join("");
    },
    [Symbol.asyncDispose]: () => upstream[Symbol.asyncDispose](),
  };
}

class Connection implements UpstreamConnection {
  received = "";
  readonly requests: UpstreamRequest[] = [];
  isEnded = false;
  readonly #conn: Deno.Conn;
  readonly #buffer = new Uint8Array(64 * 1024);
  /** Where the next message starts. */
  #at = 0;
  #isAnswering = false;

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  get isSettled(): boolean {
    return this.isEnded ||
      (!this.#isAnswering && this.#at === this.received.length);
  }

  async serve(
    answer: NonNullable<ScriptedOptions["answer"]>,
    early: ScriptedOptions["early"],
  ): Promise<void> {
    for (;;) {
      const start = this.#at;
      const head = await this.#until(/\r\n\r\n/g);
      if (head === undefined) return;
      const answered = early?.(head, this.#conn);
      if (answered) {
        await answered;
        while (await this.#fill());
        return;
      }
      const body = await this.#body(head);
      if (body === undefined) return;
      const [method = "", target = ""] = head.split(/[ \r]/, 2);
      this.#isAnswering = true;
      const raw = this.received.slice(start, this.#at);
      const request = { method, target, head, body, raw };
      this.requests.push(request);
      const { bytes, then = "keep" } = await answer(request, this.#conn);
      await writeText(this.#conn, bytes);
      this.#isAnswering = false;
      if (then === "end") return await this.#conn.closeWrite();
    }
  }

  async #fill(): Promise<boolean> {
    const count = await this.#conn.read(this.#buffer);
    if (count === null) return false;
    for (const byte of this.#buffer.subarray(0, count)) {
      this.received += String.fromCharCode(byte);
    }
    return true;
  }

  /** Takes what ends with a pattern; undefined if the connection ends before. */
  async #until(pattern: RegExp): Promise<string | undefined> {
    for (;;) {
      pattern.lastIndex = this.#at;
      if (pattern.test(this.received)) return this.#take(pattern.lastIndex);
      if (!await this.#fill()) return undefined;
    }
  }

  #take(end: number): string {
    const text = this.received.slice(this.#at, end);
    this.#at = end;
    return text;
  }

  async #bytes(count: number): Promise<string | undefined> {
    while (this.received.length < this.#at + count) {
      if (!await this.#fill()) return undefined;
    }
    return this.#take(this.#at + count);
  }

  async #body(head: string): Promise<string | undefined> {
    if (/^transfer-encoding:/im.test(head)) return await this.#chunks();
    const [, length = "0"] = /^content-length: *([0-9]+)\r$/im.exec(head) ?? [];
    return await this.#bytes(Number(length));
  }

  async #chunks(): Promise<string | undefined> {
    for (let body = "";;) {
      const line = await this.#until(/\r\n/g);
      if (line === undefined) return undefined;
      const size = parseInt(line, 16);
      if (size === 0) {
        // Trailers, and the empty line.
        for (;;) {
          const trailer = await this.#until(/\r\n/g);
          if (trailer === undefined) return undefined;
          if (trailer === "\r\n") return body;
        }
      }
      const chunk = await this.#bytes(size + 2);
      if (chunk === undefined) return undefined;
      body += chunk.slice(0, -2);
    }
  }
}
