/**
 * One client's connection through the forward proxy, request after request:
 * read a head, decide, forward, answer. Ambiguity ends the connection.
 *
 * One state machine, kept whole in one file: its phases, its limits and who
 * closes what only make sense together.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { setImmediate } from "node:timers/promises";
import type { Clock } from "$core/clock.ts";
import { formatAuthority } from "$core/host.ts";
import { ChunkedReader } from "../http1/chunked.ts";
import {
  encodeHead,
  forwardedFields,
  isUpgrade,
  namedByConnection,
} from "../http1/fields.ts";
import {
  type BodyFraming,
  findHeadEnd,
  FORWARD_LIMITS,
  hasBody,
  type HeaderField,
  HttpError,
  overlongHead,
  parseRequestHead,
  type RequestHead,
} from "../http1/head.ts";
import {
  findResponseHeadEnd,
  parseResponseHead,
  type ResponseFraming,
  responseFraming,
  type ResponseHead,
} from "../http1/response_head.ts";
import type { Wire } from "../http1/wire.ts";
import { encodeAnswer } from "../http1/writer.ts";
import type { LiveBinding } from "../bindings/binding_table.ts";
import type { TraceRecord } from "./trace_record.ts";
import type { ProxyClient } from "./client.ts";
import { ProxyFailure } from "./failure.ts";
import {
  Denied,
  endsAfter,
  prepare,
  type Prepared,
  type Scope,
} from "./prepare.ts";
import { CHANGED, ENDED, refusalOf, toFailure, UNKNOWN } from "./refusal.ts";
import { relay } from "./tunnel.ts";
import type { Upstream, UpstreamPool } from "./upstream.ts";

/** What all sessions of a proxy share. */
export interface SessionContext {
  /** Times the phases. */
  readonly clock: Clock;
  /** Connections to upstreams. */
  readonly upstreams: UpstreamPool;
  /** Finds the client of each request of a scope without CONNECT. */
  readonly identify: (head: RequestHead) => Promise<ProxyClient | undefined>;
  /** Told of each request that was decided about. */
  readonly onRecord: (record: TraceRecord) => void;
  /** Told of what is a mistake of ours. */
  readonly onError: (error: unknown) => void;
}

/**
 * How long a connection may stay in each phase without a byte, in ms. Models
 * think for minutes before their first byte, and between two.
 */
const LIMITS_MS = {
  idle: 120_000,
  head: 10_000,
  upstream: 300_000,
  body: 300_000,
  linger: 2_000,
  relay: Infinity,
} as const;

/** Bodies up to this size are written with their head. */
const SMALL_BODY = 16 * 1024;

/** How much of an unwanted body is read so that its client sees our answer. */
const LINGER_BYTES = 256 * 1024;

/** One session. */
export class Session {
  readonly #context: SessionContext;
  readonly #scope: Scope;
  readonly #wire: Wire;
  readonly #client: ProxyClient | undefined;
  /** The one whose request is at hand. */
  #current: ProxyClient | undefined;
  #phase: keyof typeof LIMITS_MS = "idle";
  #since: number;
  #isRetired = false;
  readonly #ending = new AbortController();
  /** The upstream of the request at hand. */
  #upstream: Upstream | undefined;
  #timedOut = false;
  #failure: ProxyFailure | undefined;
  /** The last request, which clients often repeat byte for byte. */
  #last: { readonly raw: Buffer; readonly prepared: Prepared } | undefined;
  #lastResponse: KnownResponse | undefined;

  /**
   * Makes a session.
   *
   * @param context What all share.
   * @param scope Where its requests go.
   * @param wire The client's connection, without TLS or with TLS ended.
   * @param client Who it is; absent if each request says so.
   */
  constructor(
    context: SessionContext,
    scope: Scope,
    wire: Wire,
    client?: ProxyClient,
  ) {
    this.#context = context;
    this.#scope = scope;
    this.#wire = wire;
    this.#client = client;
    this.#since = context.clock.now();
  }

  /**
   * Serves requests until one side ends the connection.
   *
   * @param first The head of a request that was read already.
   */
  async run(first?: RequestHead): Promise<void> {
    try {
      if (first !== undefined && !await this.#serve(first)) return;
      while (!this.#isRetired && await this.#next());
    } catch (error) {
      // One side went away: the other must not wait.
      if (error instanceof ProxyFailure) this.#failure = error;
    } finally {
      this.close();
    }
  }

  /** What the client's TLS ended with, once {@link run} is over. */
  get failure(): ProxyFailure | undefined {
    return this.#failure;
  }

  /** Takes no further request. */
  retire(): void {
    this.#isRetired = true;
    if (this.#phase === "idle" && this.#wire.available === 0) this.close();
  }

  /** Ends both sides at once. */
  close(): void {
    this.#ending.abort();
    this.#upstream?.wire.close();
    this.#wire.close();
  }

  /** Ends both sides at once; the client sees that its answer is not whole. */
  #abort(): void {
    this.#wire.abort();
    this.close();
  }

  /** Ends what has been in its phase too long. */
  checkTime(now: number): void {
    if (now - this.#since < LIMITS_MS[this.#phase]) return;
    if (this.#phase !== "upstream") return this.close();
    // The client can still be told.
    this.#timedOut = true;
    this.#upstream?.wire.close();
  }

  #enter(phase: keyof typeof LIMITS_MS): void {
    this.#phase = phase;
    this.#since = this.#context.clock.now();
  }

  /** Reads and serves one request; false if it was the last. */
  async #next(): Promise<boolean> {
    const end = await this.#readHead();
    if (end === undefined) return false;
    const wire = this.#wire;
    const raw = Buffer.from(
      wire.buffer.buffer,
      wire.buffer.byteOffset + wire.start,
      end - wire.start,
    );
    const last = this.#last;
    if (
      last && this.#current?.mayUse(last.prepared.live) && raw.equals(last.raw)
    ) {
      wire.consume(raw.length);
      return await this.#forward(last.prepared);
    }
    let head: RequestHead;
    try {
      head = parseRequestHead(
        wire.buffer,
        wire.start,
        end,
        FORWARD_LIMITS,
      );
    } catch (error) {
      return await this.#refuse(error);
    }
    const kept = Buffer.from(raw);
    wire.consume(raw.length);
    return await this.#serve(head, kept);
  }

  /** Reads until a head is whole; undefined at the end of the connection. */
  async #readHead(): Promise<number | undefined> {
    const wire = this.#wire;
    this.#enter("idle");
    let scanned = 0;
    let mayBeEmpty = true;
    try {
      for (;;) {
        if (wire.available > 0) {
          if (this.#phase === "idle") this.#enter("head");
          if (mayBeEmpty && wire.available > 1) {
            this.#skipEmptyLine();
            mayBeEmpty = false;
            scanned = 0;
          }
          const end = findHeadEnd(
            wire.buffer,
            wire.start,
            wire.start + scanned,
            wire.end,
          );
          if (end !== -1) return end;
          scanned = wire.available;
          if (scanned >= FORWARD_LIMITS.bytes) {
            throw overlongHead(
              wire.buffer,
              wire.start,
              wire.end,
              FORWARD_LIMITS,
            );
          }
        }
        if (!await wire.fill()) {
          if (wire.available > 0) throw incomplete();
          return undefined;
        }
      }
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      await this.#refuse(error);
      return undefined;
    }
  }

  /** RFC 9112 section 2.2: an empty line before a request-line is ignored. */
  #skipEmptyLine(): void {
    const { buffer, start, available } = this.#wire;
    if (
      available >= 2 && buffer[start] === 0x0d && buffer[start + 1] === 0x0a
    ) {
      this.#wire.consume(2);
    }
  }

  /** Decides about a request, and forwards it. */
  async #serve(head: RequestHead, raw?: Buffer): Promise<boolean> {
    const startedAt = this.#context.clock.now();
    let prepared: Prepared;
    let client = this.#client;
    try {
      client ??= await this.#context.identify(head);
      if (!client) throw UNKNOWN;
      this.#current = client;
      const live = await client.current();
      if (!live) throw ENDED;
      prepared = prepare(head, this.#scope, live);
    } catch (error) {
      this.#recordRefused(error, head, client, startedAt);
      return error instanceof Denied
        ? await this.#deny(error, head)
        : await this.#refuse(error, head);
    }
    if (raw) this.#last = { raw, prepared };
    return await this.#forward(prepared);
  }

  /** A request that policy refused is well-formed: others may follow it. */
  async #deny(error: Denied, head: RequestHead): Promise<boolean> {
    if (hasBody(head) || endsAfter(head)) {
      return await this.#refuse(error, head);
    }
    await this.#tell(error, false, head.method);
    return true;
  }

  /** Tells the client why not. What follows on the connection is not read. */
  async #refuse(error: unknown, head?: RequestHead): Promise<false> {
    this.#enter("linger");
    await this.#tell(error, true, head?.method);
    await this.#linger();
    return false;
  }

  async #tell(error: unknown, close: boolean, method?: string): Promise<void> {
    const failure = toFailure(error);
    if (failure.code === "internal") this.#context.onError(error);
    const { clock } = this.#context;
    await this.#wire.write(encodeAnswer(refusalOf(failure), {
      now: clock.now(),
      close,
      headOnly: method === "HEAD",
    }));
  }

  /** As `Connection` does: an answer must not be lost by a reset. */
  async #linger(): Promise<void> {
    const wire = this.#wire;
    this.#enter("linger");
    await wire.conn.closeWrite().catch(() => {/* it is closed already */});
    for (let drained = 0; drained < LINGER_BYTES;) {
      wire.consume(wire.available);
      if (!await wire.fill()) return;
      drained += wire.available;
    }
  }

  #recordRefused(
    error: unknown,
    head: RequestHead,
    client: ProxyClient | undefined,
    startedAt: number,
  ): void {
    // Nobody has shown a token that counts.
    if (!client) return;
    const scope = this.#scope;
    const { status, code } = toFailure(error);
    const denied = error instanceof Denied ? error : undefined;
    const authority = denied?.authority ??
      (scope.scheme === "https" ? scope.authority : undefined);
    const path = denied?.path;
    this.#context.onRecord({
      time: startedAt,
      binding: client.name,
      kind: scope.scheme,
      method: head.method,
      host: authority
        ? formatAuthority(authority, defaultPort(scope.scheme))
        : head.host,
      ...(path !== undefined && { path }),
      status,
      failure: code,
      decision: "deny",
      rule: denied?.decision.rule ?? "protocol",
      grants: [],
      sent: 0,
      received: 0,
      totalMs: this.#context.clock.now() - startedAt,
    });
  }

  /** Sends a request and brings its answer back; false if the connection ends. */
  async #forward(prepared: Prepared): Promise<boolean> {
    const exchange = new Exchange(prepared, this.#context.clock.now());
    let goesOn = false;
    try {
      goesOn = await this.#exchange(exchange);
    } catch (error) {
      await this.#fail(exchange, error);
    } finally {
      this.#upstream = undefined;
      this.#context.onRecord(exchange.record(this.#context.clock.now()));
    }
    if (goesOn || this.#wire.isClosed) return goesOn;
    this.#enter("linger");
    await exchange.sending;
    await this.#linger();
    return false;
  }

  /** Tells the client of an error, unless it has a part of the answer already, or has gone. */
  async #fail(exchange: Exchange, error: unknown): Promise<void> {
    const isGone = this.#ending.signal.aborted || exchange.clientGone;
    const failure = isGone
      ? clientGone()
      : this.#failureOf(exchange.bodyError ?? error);
    exchange.failure = failure;
    this.#upstream?.wire.close();
    if (isGone || exchange.answered) return this.#abort();
    exchange.status = failure.status;
    this.#enter("linger");
    await this.#tell(failure, true, exchange.prepared.method);
  }

  /** What the client is told of an error of its upstream. */
  #failureOf(error: unknown): ProxyFailure {
    if (this.#timedOut) return timedOut();
    if (error instanceof ProxyFailure || error instanceof HttpError) {
      return toFailure(error);
    }
    return broken();
  }

  async #exchange(exchange: Exchange): Promise<boolean> {
    const { prepared } = exchange;
    this.#enter("upstream");
    const response = await this.#ask(exchange);
    exchange.status = response.head.status;
    if (response.head.status === 101) {
      await this.#upgrade(exchange, response);
      return false;
    }
    const closes = prepared.closes || this.#isRetired ||
      response.framing.kind === "eof" || !exchange.isSent;
    await this.#answer(exchange, response, closes);
    this.#putBack(response, exchange.isSent);
    return !closes;
  }

  /** Sends the request and reads the head of its answer; once more if that is safe. */
  async #ask(exchange: Exchange): Promise<KnownResponse> {
    const { prepared } = exchange;
    const { upstreams } = this.#context;
    const target = {
      binding: prepared.live.binding.name,
      authority: prepared.authority,
      tls: prepared.scheme === "https",
      opensPrivate: prepared.live.served.outbound.policy.opensPrivate(
        prepared.authority,
      ),
    };
    const { signal } = this.#ending;
    let upstream = await upstreams.acquire(target, signal);
    // An end that has arrived shows only now; such a request is sent once.
    if (upstream.isReused && !prepared.isSafe) await setImmediate();
    if (upstream.wire.isClosed || upstream.wire.available > 0) {
      upstream.wire.close();
      upstream = await upstreams.open(target, signal);
    }
    this.#upstream = upstream;
    try {
      await this.#checkRights(exchange);
      return await this.#askOnce(exchange, upstream);
    } catch (error) {
      upstream.wire.close();
      const mayRepeat = upstream.isReused && prepared.isSafe &&
        !exchange.answered && !exchange.hasResponse &&
        !(error instanceof ProxyFailure) && !signal.aborted && !this.#timedOut;
      if (!mayRepeat) throw error;
    }
    this.#upstream = await upstreams.open(target, signal);
    await this.#checkRights(exchange);
    return await this.#askOnce(exchange, this.#upstream);
  }

  /** Connecting took a while: what was allowed before may not be any more. */
  async #checkRights({ prepared: { live } }: Exchange): Promise<void> {
    if (this.#current?.mayUse(live)) return;
    const now = await this.#current?.current();
    if (now !== live) throw now ? CHANGED : ENDED;
  }

  async #askOnce(
    exchange: Exchange,
    upstream: Upstream,
  ): Promise<KnownResponse> {
    await this.#send(exchange, upstream);
    if (exchange.isSent) this.#watchClient();
    for (;;) {
      const response = await this.#readResponse(exchange, upstream);
      const { status } = response.head;
      if (exchange.firstByteAt === undefined) {
        exchange.firstByteAt = this.#context.clock.now();
      }
      if (status >= 200 || status === 101) return response;
      if (!exchange.prepared.isOld) await this.#wire.write(response.bytes);
    }
  }

  /**
   * A client that goes away ends what is done for it. Without TLS the end of
   * its sending does not tell: some send a request, end, and read on.
   */
  #watchClient(): void {
    const wire = this.#wire;
    if (this.#scope.scheme === "http" || wire.available > 0) return;
    wire.watch((isEnd) => isEnd && this.close());
  }

  /** Sends the head, and the body while the answer is awaited. */
  async #send(exchange: Exchange, upstream: Upstream): Promise<void> {
    const { bytes, framing } = exchange.prepared;
    const wire = this.#wire;
    if (framing.kind === "none") {
      exchange.isSent = true;
      return await upstream.wire.write(bytes);
    }
    if (
      framing.kind === "length" && framing.length <= SMALL_BODY &&
      framing.length <= wire.available
    ) {
      const body = wire.received.subarray(0, framing.length);
      const whole = concat(bytes, body);
      wire.consume(framing.length);
      exchange.sent = framing.length;
      exchange.isSent = true;
      return await upstream.wire.write(whole);
    }
    await upstream.wire.write(bytes);
    exchange.sending = this.#sendBody(exchange, framing, upstream).then(
      () => {
        exchange.isSent = true;
        if (!exchange.hasResponse) this.#watchClient();
      },
      (error) => {
        // A malformed body ends everything; an upstream that does not read
        // on may have answered already.
        if (error instanceof HttpError || error instanceof ProxyFailure) {
          exchange.bodyError = error;
          upstream.wire.close();
        } else if (exchange.clientGone) upstream.wire.close();
      },
    );
  }

  async #sendBody(
    exchange: Exchange,
    framing: BodyFraming,
    upstream: Upstream,
  ): Promise<void> {
    const wire = this.#wire;
    const fill = async () => {
      if (await wire.fill()) return this.#enter(this.#phase);
      exchange.clientGone = true;
      throw new Error("the client went away");
    };
    if (framing.kind === "length") {
      exchange.sent = await copyLength(
        wire,
        upstream.wire,
        framing.length,
        fill,
      );
    } else if (framing.kind === "chunked") {
      exchange.sent = await copyChunked(
        wire,
        upstream.wire,
        new ChunkedReader({ of: "request" }),
        fill,
      );
    }
  }

  /** Reads the head of an answer, and what is sent in its place. */
  async #readResponse(
    exchange: Exchange,
    upstream: Upstream,
  ): Promise<KnownResponse> {
    const { wire } = upstream;
    let scanned = 0;
    for (;;) {
      if (wire.available > 0) {
        exchange.hasResponse = true;
        const end = findResponseHeadEnd(
          wire.buffer,
          wire.start,
          wire.start + scanned,
          wire.end,
        );
        if (end !== -1) return this.#knowResponse(exchange, wire, end);
        scanned = wire.available;
      }
      if (!await wire.fill()) {
        // Before anything of an answer the request may be sent again.
        throw exchange.bodyError ?? new Error("the upstream broke off");
      }
    }
  }

  #knowResponse(
    exchange: Exchange,
    wire: Wire,
    end: number,
  ): KnownResponse {
    const { method, upgrades, isOld } = exchange.prepared;
    const raw = Buffer.from(
      wire.buffer.buffer,
      wire.buffer.byteOffset + wire.start,
      end - wire.start,
    );
    const last = this.#lastResponse;
    if (last && last.method === method && !isOld && raw.equals(last.raw)) {
      wire.consume(raw.length);
      return last;
    }
    const head = parseResponseHead(wire.buffer, wire.start, end);
    const framing = responseFraming(head, method);
    const isSwitch = head.status === 101;
    if (isSwitch && !(upgrades && isUpgrade(head))) throw badSwitch();
    const kept = forwardedFields(head, {
      strip: isOld && framing.kind === "chunked" ? CODING : NOTHING,
      keepUpgrade: isSwitch,
    });
    const fields = concealIn(kept, exchange.prepared.conceal);
    const known: KnownResponse = {
      raw: Buffer.from(raw),
      method,
      head,
      framing,
      bytes: encodeHead(statusLine(head), fields),
      closing: encodeHead(statusLine(head), [...fields, CLOSE]),
      persists: head.version === "1.1" &&
        !head.members("connection").includes("close") &&
        framing.kind !== "eof",
    };
    wire.consume(raw.length);
    const isCommon = exchange.prepared.conceal.length === 0;
    if (head.status >= 200 && isCommon) this.#lastResponse = known;
    return known;
  }

  /** Writes an answer: its head with what is there of its body. */
  async #answer(
    exchange: Exchange,
    { head, bytes, closing, framing }: KnownResponse,
    closes: boolean,
  ): Promise<void> {
    const upstream = this.#upstream;
    if (!upstream) throw broken();
    const { wire } = upstream;
    this.#enter("body");
    const start = closes ? closing : bytes;
    if (framing.kind === "none" || isEmpty(framing)) {
      exchange.answered = true;
      return await this.#wire.write(start);
    }
    const out = new HeadFirst(this.#wire, start, () => {
      exchange.answered = true;
    });
    let stop: (() => void) | undefined;
    const fill = async () => {
      await out.flush();
      // A long answer ends with the right to it.
      stop ??= this.#endWithBinding(exchange.prepared);
      const hasMore = await wire.fill();
      this.#enter("body");
      return hasMore;
    };
    const { isOld } = exchange.prepared;
    try {
      exchange.received = await this.#copyBody(
        { head, framing, isOld },
        wire,
        out,
        fill,
      );
    } finally {
      stop?.();
    }
    await out.flush();
  }

  async #copyBody(
    { head, framing, isOld }: Pick<KnownResponse, "head" | "framing"> & {
      readonly isOld: boolean;
    },
    wire: Wire,
    out: HeadFirst,
    fill: () => Promise<boolean>,
  ): Promise<number> {
    const fillOrBreak = async () => {
      if (!await fill()) throw broken();
    };
    if (framing.kind === "length") {
      return await copyLength(wire, out, framing.length, fillOrBreak);
    }
    if (framing.kind === "chunked") {
      const reader = new ChunkedReader({
        of: "response",
        unwrap: isOld,
        denied: namedByConnection(head),
      });
      return await copyChunked(wire, out, reader, fillOrBreak);
    }
    let count = 0;
    do {
      count += wire.available;
      if (wire.available > 0) await out.write(wire.received);
      wire.consume(wire.available);
    } while (await fill());
    return count;
  }

  /** Gives the upstream back if it can be used again. */
  #putBack({ persists }: KnownResponse, isDone: boolean): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    if (!upstream) return;
    if (persists && isDone && upstream.wire.available === 0) {
      this.#context.upstreams.release(upstream);
    } else upstream.wire.close();
  }

  /** From here on it is another protocol, whose bytes are not read. */
  async #upgrade(
    exchange: Exchange,
    { bytes }: KnownResponse,
  ): Promise<void> {
    const upstream = this.#upstream;
    if (!upstream) throw broken();
    exchange.answered = true;
    await this.#wire.write(bytes);
    this.#enter("relay");
    const stop = this.#endWithBinding(exchange.prepared);
    const { sent, received } = await relay(this.#wire, upstream.wire);
    stop();
    exchange.sent = sent;
    exchange.received = received;
  }

  /** What is relayed has no further request at which a revoked binding would show. */
  #endWithBinding({ live, authority }: Prepared): () => void {
    const client = this.#current;
    let isOver = false;
    let stop = () => {};
    const review = async () => {
      const next = await client?.current();
      if (isOver) return;
      const access = next?.served.outbound.policy.connect(authority).access;
      if (!next || access === "deny") this.close();
      else watch(next);
    };
    const watch = (now: LiveBinding) => {
      stop = client?.onEnd(now, () => void review()) ?? stop;
    };
    if (client?.mayUse(live)) watch(live);
    else void review();
    return () => {
      isOver = true;
      stop();
    };
  }
}

/** What is known of an answer's head; the next one is often the same. */
interface KnownResponse {
  readonly raw: Buffer;
  readonly method: string;
  readonly head: ResponseHead;
  readonly framing: ResponseFraming;
  /** The head that is sent in its place. */
  readonly bytes: Uint8Array;
  /** The same for a connection that ends. */
  readonly closing: Uint8Array;
  /** Whether the upstream's connection can be used again. */
  readonly persists: boolean;
}

/** One request and its answer. */
class Exchange {
  readonly prepared: Prepared;
  readonly startedAt: number;
  /** The whole request was sent. */
  isSent = false;
  sending: Promise<void> | undefined;
  bodyError: Error | undefined;
  clientGone = false;
  /** Something of an answer came. */
  hasResponse = false;
  /** The client got a part of the final answer. */
  answered = false;
  status: number | undefined;
  failure: ProxyFailure | undefined;
  firstByteAt: number | undefined;
  sent = 0;
  received = 0;

  constructor(prepared: Prepared, startedAt: number) {
    this.prepared = prepared;
    this.startedAt = startedAt;
  }

  record(now: number): TraceRecord {
    const { scheme, method, authority, path, decision, grants } = this.prepared;
    const binding = this.prepared.live.binding.name;
    return {
      time: this.startedAt,
      binding,
      kind: scheme,
      method,
      host: formatAuthority(authority, defaultPort(scheme)),
      path,
      ...(this.status !== undefined && { status: this.status }),
      ...(this.failure && { failure: this.failure.code }),
      decision: decision.action,
      rule: decision.rule,
      grants,
      sent: this.sent,
      received: this.received,
      ...(this.firstByteAt !== undefined && {
        firstByteMs: this.firstByteAt - this.startedAt,
      }),
      totalMs: now - this.startedAt,
    };
  }
}

/** Writes a head together with the first bytes that follow it. */
class HeadFirst {
  readonly #wire: Wire;
  readonly #onStart: () => void;
  #head: Uint8Array | undefined;

  constructor(wire: Wire, head: Uint8Array, onStart: () => void) {
    this.#wire = wire;
    this.#head = head;
    this.#onStart = onStart;
  }

  write(bytes: Uint8Array): Promise<void> {
    const head = this.#head;
    if (head === undefined) return this.#wire.write(bytes);
    this.#head = undefined;
    this.#onStart();
    return this.#wire.write(concat(head, bytes));
  }

  /** Writes the head by itself if nothing has followed it. */
  async flush(): Promise<void> {
    const head = this.#head;
    if (head === undefined) return;
    this.#head = undefined;
    this.#onStart();
    await this.#wire.write(head);
  }
}

/** What bodies are written to. */
interface Sink {
  write(bytes: Uint8Array): Promise<void>;
}

async function copyLength(
  from: Wire,
  to: Sink,
  length: number,
  fill: () => Promise<void>,
): Promise<number> {
  for (let left = length; left > 0;) {
    if (from.available === 0) await fill();
    const bytes = from.received.subarray(0, left);
    await to.write(bytes);
    from.consume(bytes.length);
    left -= bytes.length;
  }
  return length;
}

async function copyChunked(
  from: Wire,
  to: Sink,
  reader: ChunkedReader,
  fill: () => Promise<void>,
): Promise<number> {
  for (;;) {
    const { buffer, start, end } = from;
    const next = reader.feed(buffer, start, end);
    for (const [begin, finish] of reader.out) {
      await to.write(buffer.subarray(begin, finish));
    }
    reader.out.length = 0;
    from.consume(next - start);
    if (reader.isDone) return reader.bodyBytes;
    await fill();
  }
}

/** Where servers repeat the path of a request. */
const LOCATIONS = ["location", "content-location", "link", "refresh"];

/** Puts the placeholder back where an answer repeats the path. */
function concealIn(
  fields: readonly HeaderField[],
  conceal: Prepared["conceal"],
): readonly HeaderField[] {
  if (conceal.length === 0) return fields;
  return fields.map(([name, value]) => {
    if (!LOCATIONS.includes(name.toLowerCase())) return [name, value];
    return [
      name,
      conceal.reduce(
        (text, [secret, placeholder]) => text.replaceAll(secret, placeholder),
        value,
      ),
    ];
  });
}

const NOTHING: ReadonlySet<string> = new Set();

/** RFC 9112 section 6.1: HTTP/1.0 has no transfer codings. */
const CODING: ReadonlySet<string> = new Set(["transfer-encoding"]);
const CLOSE = ["Connection", "close"] as const;

/** RFC 9110 section 2.5: an intermediary sends its own version. */
function statusLine({ status, reason }: ResponseHead): string {
  return `HTTP/1.1 ${status} ${reason}`;
}

function isEmpty(framing: ResponseFraming): boolean {
  return framing.kind === "length" && framing.length === 0;
}

function defaultPort(scheme: Scope["scheme"]): number {
  return scheme === "https" ? 443 : 80;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

function incomplete(): HttpError {
  return new HttpError(
    400,
    "bad-request",
    "Cannot read the request: it ended before its head did",
  );
}

function broken(): ProxyFailure {
  return new ProxyFailure(
    502,
    "upstream-broke-off",
    "connection_terminated",
    "Cannot forward the request: the upstream ended the connection before its answer was whole",
  );
}

function timedOut(): ProxyFailure {
  return new ProxyFailure(
    504,
    "upstream-timeout",
    "connection_read_timeout",
    `Cannot forward the request: the upstream did not answer within ${
      LIMITS_MS.upstream / 1000
    } seconds`,
  );
}

/** It is told to nobody, only recorded. */
function clientGone(): ProxyFailure {
  return new ProxyFailure(
    499,
    "client-gone",
    "connection_terminated",
    "The client ended the connection before its answer was whole",
  );
}

function badSwitch(): ProxyFailure {
  return new ProxyFailure(
    502,
    "bad-response",
    "http_upgrade_failed",
    "Cannot forward the answer: it switches to a protocol that was not asked for",
  );
}
