/**
 * The forward proxy: CONNECT and absolute-form requests of bound clients.
 * Nothing is resolved or dialled before the client is known and policy has
 * allowed the host.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import {
  type Authority,
  canonicalHost,
  formatAuthority,
  parseAuthority,
} from "$core/host.ts";
import type { Decision } from "$core/policy.ts";
import type { BindingTable, LiveBinding } from "../bindings/binding_table.ts";
import { hasBody, HttpError, type RequestHead } from "../http1/head.ts";
import type { Peer, Reply, Takeover } from "../http1/server.ts";
import type { ConnectionPool } from "../http1/pool.ts";
import { Wire } from "../http1/wire.ts";
import { encodeAnswer } from "../http1/writer.ts";
import type { TraceRecord } from "./trace_record.ts";
import type { Gate } from "../bindings/container_gate.ts";
import { ProxyClient, readProxyToken } from "./client.ts";
import { readClientHello } from "./client_hello.ts";
import type { Egress } from "./egress.ts";
import { ProxyFailure } from "./failure.ts";
import { Denied } from "./prepare.ts";
import {
  AUTHENTICATE,
  ownAddress,
  refusalOf,
  toFailure,
  tooMany,
} from "./refusal.ts";
import { Session, type SessionContext } from "./session.ts";
import type { TlsTerminator } from "./terminator.ts";
import { relay } from "./tunnel.ts";
import type { UpstreamPool } from "./upstream.ts";

/** What a forward proxy is made of. */
export interface ForwardOptions {
  /** Times everything. */
  readonly clock: Clock;
  /** Who may do what. */
  readonly table: BindingTable;
  /** Who may use the bindings of single containers. Default: nobody. */
  readonly gate?: Gate;
  /** Resolves, checks and dials. */
  readonly egress: Egress;
  /** Connections for requests. */
  readonly upstreams: UpstreamPool;
  /** Ends TLS of clients. */
  readonly terminator: TlsTerminator;
  /** Descriptors beside those of the clients' connections. */
  readonly descriptors: Pick<ConnectionPool, "take" | "give">;
  /** Whether an authority names us. */
  readonly isOurs: (authority: Authority) => boolean;
  /** Told of a request without a token that counts. */
  readonly onUnknown: () => void;
  /** Told of each request that was decided about. */
  readonly onRecord: (record: TraceRecord) => void;
  /** Told of a client's TLS that did not come about. */
  readonly onTlsFailure: (
    binding: string,
    host: string,
    failure: ProxyFailure,
  ) => void;
  /** Told of what is a mistake of ours. */
  readonly onError: (error: unknown) => void;
}

/** How often time limits are checked. */
const TICK_MS = 1_000;

const ESTABLISHED = new TextEncoder().encode(
  "HTTP/1.1 200 Connection established\r\n\r\n",
);

/** Beside the client's connection: both ends on the loopback, and the upstream's. */
const INTERCEPTION_DESCRIPTORS = 3;

/** Beside the client's connection: the upstream's. */
const RELAY_DESCRIPTORS = 1;

/** How long a tunnel may take to be dialled, and its client to begin TLS. */
const SILENCE_MS = 60_000;

/** How long a client that has ended its sending is served on while its upstream is awaited. */
const CLIENT_GONE_MS = 1_000;

/** The first byte of a TLS connection (RFC 8446 section 5.1). */
const HANDSHAKE = 22;

/** What can be ended. */
interface Running {
  retire(): void;
  close(): void;
  checkTime?(now: number): void;
}

/** Serves what is for somebody else. */
export class ForwardProxy {
  readonly #options: ForwardOptions;
  readonly #running = new Set<Running>();
  #cancelTick: (() => void) | undefined;

  /** Makes a forward proxy. */
  constructor(options: ForwardOptions) {
    this.#options = options;
  }

  /** Answers, or takes the connection over; see `Service`. */
  async handle(head: RequestHead, peer: Peer): Promise<Reply | Takeover> {
    const client = await this.#identify(head, peer);
    if (!client) {
      this.#options.onUnknown();
      return { answer: AUTHENTICATE };
    }
    try {
      return head.method === "CONNECT"
        ? this.#connect(head, client)
        : this.#takeHttp(head, peer, client);
    } catch (error) {
      this.#recordRefused(error, head, client);
      if (error instanceof HttpError) throw error;
      return { answer: refusalOf(error), isKnown: true };
    }
  }

  /** Lets requests under way finish, and takes no further ones. */
  retire(): void {
    for (const running of this.#running) running.retire();
  }

  /** Ends everything. */
  close(): void {
    for (const running of this.#running) running.close();
    this.#options.upstreams.close();
    this.#options.terminator.close();
    this.#cancelTick?.();
  }

  async #identify(
    head: RequestHead,
    peer: Peer,
  ): Promise<ProxyClient | undefined> {
    const token = readProxyToken(head);
    if (token === undefined) return undefined;
    return await ProxyClient.find(this.#options, token, peer);
  }

  /** Requests to http URLs, each with its own token. */
  #takeHttp(head: RequestHead, peer: Peer, client: ProxyClient): Takeover {
    let known = client;
    const context = this.#sessionContext(async (next) => {
      const token = readProxyToken(next);
      if (token === undefined || !known.showed(token)) {
        const found = await this.#identify(next, peer);
        if (!found) return undefined;
        known = found;
      }
      return known;
    });
    const scope = { scheme: "http", isOurs: this.#options.isOurs } as const;
    return this.#takeover(RELAY_DESCRIPTORS, (wire) => {
      const session = new Session(context, scope, wire);
      return { running: session, run: () => session.run(head) };
    });
  }

  #sessionContext(identify: SessionContext["identify"]): SessionContext {
    const { clock, upstreams, onRecord, onError } = this.#options;
    return { clock, upstreams, identify, onRecord, onError };
  }

  #connect(head: RequestHead, client: ProxyClient): Takeover {
    const authority = parseAuthority(head.target);
    if (!authority || hasBody(head)) throw badConnect();
    if (this.#options.isOurs(authority)) throw ownAddress();
    const live = client.lastSeen;
    const { outbound } = live.served;
    const { access, decision } = outbound.policy.connect(authority);
    if (access === "deny") {
      throw new Denied(outbound, authority, decision, "CONNECT");
    }
    const call = { client, live, authority, decision };
    const descriptors = access === "tunnel"
      ? RELAY_DESCRIPTORS
      : INTERCEPTION_DESCRIPTORS;
    return this.#takeover(descriptors, (wire, signal) => {
      const tunnel = access === "tunnel"
        ? new Tunnel(this.#options, call, wire, signal)
        : new Interception(
          this.#options,
          this.#sessionContext(() => Promise.resolve(client)),
          call,
          wire,
          signal,
        );
      return { running: tunnel, run: () => tunnel.run() };
    });
  }

  #recordRefused(error: unknown, head: RequestHead, client: ProxyClient): void {
    const { clock, onRecord } = this.#options;
    const { status, code } = toFailure(error);
    const authority = parseAuthority(head.target);
    onRecord({
      time: clock.now(),
      binding: client.name,
      kind: head.method === "CONNECT" ? "tunnel" : "http",
      method: head.method,
      host: authority ? formatAuthority(authority, 443) : head.host,
      status,
      failure: code,
      decision: "deny",
      rule: error instanceof Denied ? error.decision.rule : "protocol",
      grants: [],
      sent: 0,
      received: 0,
      totalMs: 0,
    });
  }

  /** Makes what serves the rest of a connection. */
  #takeover(
    count: number,
    make: (
      wire: Wire,
      signal: AbortSignal,
    ) => { readonly running: Running; run(): Promise<void> },
  ): Takeover {
    const { descriptors } = this.#options;
    if (!descriptors.take(count)) throw tooMany();
    const ending = new AbortController();
    let running: Running | undefined;
    return {
      serve: async (conn, received) => {
        keepAlive(conn);
        const wire = new Wire(conn, received);
        const made = make(wire, ending.signal);
        running = made.running;
        this.#add(running);
        try {
          await made.run();
        } catch (error) {
          this.#options.onError(error);
        } finally {
          this.#running.delete(running);
          descriptors.give(count);
          wire.close();
        }
      },
      retire: () => running?.retire(),
      close: () => {
        ending.abort();
        running?.close();
      },
    };
  }

  #add(running: Running): void {
    this.#running.add(running);
    if (this.#cancelTick === undefined) this.#armTick();
  }

  /** One timer for all, and none while there are none. */
  #armTick(): void {
    const { clock } = this.#options;
    this.#cancelTick = clock.after(TICK_MS, () => {
      this.#cancelTick = undefined;
      const now = clock.now();
      for (const running of this.#running) running.checkTime?.(now);
      if (this.#running.size > 0) this.#armTick();
    });
  }
}

/** A CONNECT that was allowed. */
interface Call {
  readonly client: ProxyClient;
  readonly live: LiveBinding;
  readonly authority: Authority;
  readonly decision: Decision;
}

/** What tunnels and interceptions share. */
abstract class Connected implements Running {
  protected readonly options: ForwardOptions;
  protected readonly call: Call;
  protected readonly wire: Wire;
  readonly #ending = new AbortController();
  #cancelEnd: (() => void) | undefined;
  protected readonly startedAt: number;

  constructor(
    options: ForwardOptions,
    call: Call,
    wire: Wire,
    signal: AbortSignal,
  ) {
    this.options = options;
    this.call = call;
    this.wire = wire;
    this.startedAt = options.clock.now();
    signal.addEventListener("abort", () => this.close(), { once: true });
  }

  protected get signal(): AbortSignal {
    return this.#ending.signal;
  }

  protected get opensPrivate(): boolean {
    const { live, authority } = this.call;
    return live.served.outbound.policy.opensPrivate(authority);
  }

  /** What is recorded of it. */
  protected abstract readonly kind: TraceRecord["kind"];

  abstract retire(): void;

  abstract checkTime(now: number): void;

  close(): void {
    this.#cancelEnd?.();
    this.#ending.abort();
    this.wire.close();
  }

  abstract run(): Promise<void>;

  protected record(outcome: Partial<TraceRecord>): void {
    const { live, authority, decision } = this.call;
    const { clock, onRecord } = this.options;
    onRecord({
      time: this.startedAt,
      binding: live.binding.name,
      kind: this.kind,
      method: "CONNECT",
      host: formatAuthority(authority, 443),
      decision: decision.action,
      rule: decision.rule,
      grants: [],
      sent: 0,
      received: 0,
      totalMs: clock.now() - this.startedAt,
      ...outcome,
    });
  }

  /** While the upstream is awaited, a client that goes away takes it along. */
  protected endWithClient(): void {
    if (this.wire.available > 0) return;
    this.wire.watch((isEnd) => {
      if (!isEnd) return;
      // Some only end their sending: what is refused at once they are told.
      this.#cancelEnd = this.options.clock.after(
        CLIENT_GONE_MS,
        () => this.close(),
      );
    });
  }

  /** To be called when the upstream is there, or will not be. */
  protected keepClient(): void {
    this.#cancelEnd?.();
  }

  /** Tells the client why its connection is not made. */
  protected async refuse(error: unknown): Promise<void> {
    this.keepClient();
    if (this.signal.aborted) return this.record({ failure: "client-gone" });
    const failure = toFailure(error);
    if (failure.code === "internal") this.options.onError(error);
    this.record({ status: failure.status, failure: failure.code });
    try {
      await this.wire.write(encodeAnswer(refusalOf(failure), {
        now: this.options.clock.now(),
        close: true,
        headOnly: false,
      }));
      await this.wire.conn.closeWrite();
    } catch {
      // It has gone.
    }
  }
}

/** Bytes that are not read. */
class Tunnel extends Connected {
  protected readonly kind = "tunnel";
  #upstream: Wire | undefined;
  #stopWatching = () => {};
  /** Until the client has said whom it wants to talk to. */
  #isSilent = true;

  async run(): Promise<void> {
    const { authority, live } = this.call;
    this.endWithClient();
    try {
      const conn = await this.options.egress.connect(
        authority,
        this.opensPrivate,
        this.signal,
      );
      keepAlive(conn);
      this.#upstream = new Wire(conn);
      this.keepClient();
    } catch (error) {
      return await this.refuse(error);
    }
    const upstream = this.#upstream;
    // Dialling took a while.
    if (this.call.client.mayUse(live)) this.#watch(live);
    else void this.#review();
    try {
      await this.wire.write(ESTABLISHED);
      await this.#checkName();
      this.#isSilent = false;
      const { sent, received } = await relay(this.wire, upstream);
      this.record({ status: 200, sent, received });
    } catch (error) {
      const { code } = toFailure(error);
      this.record({
        status: 200,
        failure: error instanceof ProxyFailure ? code : "connection-broken",
      });
    } finally {
      this.#stopWatching();
      upstream.close();
    }
  }

  #watch(live: LiveBinding): void {
    this.#stopWatching = this.call.client.onEnd(
      live,
      () => void this.#review(),
    );
  }

  retire(): void {
    // It has no requests between which it could end.
  }

  override checkTime(now: number): void {
    if (this.#isSilent && now - this.startedAt > SILENCE_MS) this.close();
  }

  override close(): void {
    super.close();
    this.#upstream?.close();
  }

  /** A revoked binding's tunnels end with it; those that may go on do. */
  async #review(): Promise<void> {
    const live = await this.call.client.current();
    const access = live?.served.outbound.policy.connect(this.call.authority)
      .access;
    if (live && access === "tunnel") this.#watch(live);
    else this.close();
  }

  /** A tunnel to one host must not be used for another one behind the same address. */
  async #checkName(): Promise<void> {
    const { host, port } = this.call.authority;
    if (port !== 443) return;
    for (;;) {
      const hello = readClientHello(this.wire.received);
      if (hello === "incomplete") {
        if (await this.wire.fill()) continue;
        return;
      }
      if (hello === "not-tls") {
        // A handshake that cannot be read could name any host.
        if (this.wire.buffer[this.wire.start] === HANDSHAKE) throw otherName();
        return;
      }
      if (hello.serverName === undefined) return;
      if (canonicalHost(hello.serverName) === host) return;
      throw otherName();
    }
  }
}

/** TLS that is ended here, so that requests can be read. */
class Interception extends Connected {
  protected readonly kind = "https";
  readonly #context: SessionContext;
  #session: Session | undefined;
  #isRetired = false;

  constructor(
    options: ForwardOptions,
    context: SessionContext,
    call: Call,
    wire: Wire,
    signal: AbortSignal,
  ) {
    super(options, call, wire, signal);
    this.#context = context;
  }

  async run(): Promise<void> {
    const { options, call, wire, signal } = this;
    const { authority, client, live } = call;
    this.endWithClient();
    try {
      const upstream = await options.upstreams.acquire({
        binding: live.binding.name,
        authority,
        tls: true,
        opensPrivate: this.opensPrivate,
      }, signal);
      if (signal.aborted) upstream.wire.close();
      // The first request takes it; if none comes, it does not stay.
      else options.upstreams.release(upstream);
      // Only now: names that lead nowhere must not fill the listeners.
      await options.terminator.prepare(authority.host);
      this.keepClient();
    } catch (error) {
      return await this.refuse(error);
    }
    try {
      await wire.write(ESTABLISHED);
      const { conn, done } = await options.terminator.accept(
        wire,
        authority.host,
        signal,
      );
      const tls = new Wire(conn);
      this.#session = new Session(
        this.#context,
        { scheme: "https", authority },
        tls,
        client,
      );
      if (this.#isRetired) this.#session.retire();
      await this.#session.run();
      await done;
      // Some clients judge a certificate only after the handshake.
      if (this.#session.failure) throw this.#session.failure;
    } catch (error) {
      if (signal.aborted) return;
      const failure = toFailure(error);
      this.record({ failure: failure.code });
      options.onTlsFailure(live.binding.name, authority.host, failure);
    }
  }

  retire(): void {
    this.#isRetired = true;
    if (this.#session) this.#session.retire();
  }

  override close(): void {
    super.close();
    this.#session?.close();
  }

  override checkTime(now: number): void {
    this.#session?.checkTime(now);
  }
}

function otherName(): ProxyFailure {
  return new ProxyFailure(
    421,
    "sni-mismatch",
    "tls_alert_received",
    "Cannot tunnel: the TLS handshake names another host than CONNECT, or cannot be read",
  );
}

/** Tells dead peers, which in a tunnel nothing else does. */
function keepAlive(conn: Deno.Conn): void {
  if ("setKeepAlive" in conn) (conn as Deno.TcpConn).setKeepAlive(true);
}

function badConnect(): ProxyFailure {
  return new ProxyFailure(
    400,
    "bad-target",
    "http_request_error",
    "Cannot connect: wanted host:port as the target of CONNECT, and no body",
  );
}
