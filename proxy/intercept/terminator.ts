/**
 * Ends the TLS of intercepted clients.
 *
 * The runtime cannot do that on a connection that exists already. So each host
 * has a TLS listener of the runtime on the loopback, with the host's leaf, and
 * the records of a client are carried there and back. A newer runtime may do
 * without: nobody else knows, except for {@link TlsTerminator.ports}.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { canonicalHost } from "$core/host.ts";
import { type Duplex, Wire } from "../http1/wire.ts";
import { type ClientHello, readClientHello } from "./client_hello.ts";
import { type Leaf, type LeafMinter, needsRenewal } from "./leaf.ts";
import { LoopbackListener } from "./loopback_listener.ts";
import { LoopbackRelay } from "./loopback_relay.ts";
import { TerminatedConn } from "./terminated_conn.ts";
import {
  ALERT,
  alertRecord,
  closedHandshake,
  needsHttp2,
  noCommonProtocol,
  notTls,
  otherName,
  tlsFailure,
  tookTooLong,
} from "./tls_failure.ts";

/** A client whose TLS ends here. */
export interface TerminatedClient {
  /**
   * What it says and is told. Its end shows as null whether or not it said
   * goodbye. Closing it, which may be done again, closes the client's
   * connection once that has what was written, or after 5 s.
   */
  readonly conn: Duplex;
  /** Settles when the client's connection is closed. Never rejects. */
  readonly done: Promise<void>;
}

/** Ends TLS of clients in the name of hosts. */
export interface TlsTerminator {
  /** Ports of 127.0.0.1 that nobody is to be sent to. */
  readonly ports: Iterable<number>;
  /**
   * Gets ready for a host, so that its first client does not wait.
   *
   * @param host Canonical.
   * @throws {MoatError} If no certificate can be made; see {@link LeafMinter}.
   */
  prepare(host: string): Promise<void>;
  /**
   * Shakes hands with a client.
   *
   * @param client Its connection, which is about to begin with TLS; closed if
   * this fails.
   * @param host Whom it wants to speak to; canonical.
   * @param signal Ends the attempt.
   * @returns The client.
   * @throws {ProxyFailure} `sni-mismatch`, `not-tls`, `client-needs-h2`,
   * `no-common-protocol`, `client-rejected-certificate`,
   * `client-closed-handshake`, `tls-handshake-timeout` (10 s), `tls-failed`.
   * @throws {MoatError} As {@link TlsTerminator.prepare}.
   * @throws {unknown} The signal's reason.
   */
  accept(
    client: Wire,
    host: string,
    signal?: AbortSignal,
  ): Promise<TerminatedClient>;
  /** Takes no further clients; those that it has go on. */
  close(): void;
}

/** What a terminator is made of. */
export interface TerminatorOptions {
  /** Makes leaves. */
  readonly minter: Pick<LeafMinter, "checkRoot" | "mint">;
  /** Times it. */
  readonly clock: Clock;
  /** How many hosts are kept ready; the one unused for longest is dropped. Default: 512. */
  readonly maxHosts?: number;
}

const MAX_HOSTS = 512;

const HANDSHAKE_MS = 10_000;

/**
 * Makes a terminator; nothing is made or opened before its first client.
 *
 * @param options Leaves, clock, limits.
 */
export function createTerminator(options: TerminatorOptions): TlsTerminator {
  return new LoopbackTerminator(options);
}

/** What is ready for a host. */
interface Ready {
  readonly leaf: Leaf;
  readonly listener: LoopbackListener;
}

/** A host, from its first use on. */
interface Host {
  /** Of the root. */
  readonly stamp: string;
  readonly opening: Promise<Ready>;
  ready?: Ready;
}

class LoopbackTerminator implements TlsTerminator {
  readonly #options: TerminatorOptions;
  /** In the order of their last use. */
  readonly #hosts = new Map<string, Host>();
  #isClosed = false;

  constructor(options: TerminatorOptions) {
    this.#options = options;
  }

  get ports(): Iterable<number> {
    return this.#hosts.values().flatMap(({ ready }) =>
      ready ? [ready.listener.port] : []
    );
  }

  async prepare(host: string): Promise<void> {
    const stamp = await this.#options.minter.checkRoot();
    await this.#use(host, stamp).opening;
  }

  async accept(
    client: Wire,
    host: string,
    signal?: AbortSignal,
  ): Promise<TerminatedClient> {
    const ending = new AbortController();
    const abort = () => ending.abort(signal?.reason);
    signal?.addEventListener("abort", abort);
    const cancelTimer = this.#options.clock.after(
      HANDSHAKE_MS,
      () => ending.abort(tookTooLong()),
    );
    // Whatever is under way fails then.
    ending.signal.addEventListener("abort", () => client.close());
    try {
      signal?.throwIfAborted();
      return await this.#shakeHands(client, host, ending.signal);
    } catch (error) {
      client.close();
      throw ending.signal.aborted ? ending.signal.reason : tlsFailure(error);
    } finally {
      signal?.removeEventListener("abort", abort);
      cancelTimer();
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const [name, host] of this.#hosts) this.#drop(name, host);
  }

  async #shakeHands(
    client: Wire,
    name: string,
    signal: AbortSignal,
  ): Promise<TerminatedClient> {
    const { clock, minter } = this.#options;
    const hello = await readHello(client);
    await checkHello(hello, name, client);
    const stamp = await minter.checkRoot();
    const { records, tls } = await this.#use(name, stamp).opening
      .then(({ listener }) => listener.connect(signal));
    const relay = new LoopbackRelay(client, new Wire(records), clock);
    const conn = new TerminatedConn(tls, relay);
    try {
      await tls.handshake();
      relay.start(hello.offersTls13 && hello.pskKeyExchangeModes);
      return { conn, done: conn.done };
    } catch (error) {
      await conn.abandon();
      throw error;
    }
  }

  /** Synchronous, so that nobody drops the host before the caller uses it. */
  #use(name: string, stamp: string): Host {
    const { clock, maxHosts = MAX_HOSTS } = this.#options;
    let host = this.#hosts.get(name);
    if (host && !isFresh(host, stamp, clock.now())) {
      this.#drop(name, host);
      host = undefined;
    }
    host ??= this.#make(name, stamp);
    this.#hosts.delete(name);
    this.#hosts.set(name, host);
    const [oldest] = this.#hosts;
    if (oldest && this.#hosts.size > maxHosts) this.#drop(...oldest);
    return host;
  }

  #make(name: string, stamp: string): Host {
    const host: Host = { stamp, opening: this.#open(name) };
    host.opening.then(
      (ready) => host.ready = ready,
      () => {
        if (this.#hosts.get(name) === host) this.#hosts.delete(name);
      },
    );
    return host;
  }

  async #open(name: string): Promise<Ready> {
    const { clock, minter } = this.#options;
    if (this.#isClosed) throw new Deno.errors.BadResource("closed");
    const leaf = await minter.mint(name);
    return { leaf, listener: new LoopbackListener(leaf, clock) };
  }

  /** Who waits for it is still served; live connections go on. */
  #drop(name: string, { opening }: Host): void {
    this.#hosts.delete(name);
    opening.then(({ listener }) => listener.close(), () => {/* not open */});
  }
}

function isFresh(host: Host, stamp: string, now: number): boolean {
  return host.stamp === stamp &&
    !(host.ready && needsRenewal(host.ready.leaf, now));
}

async function readHello(client: Wire): Promise<ClientHello> {
  for (;;) {
    const hello = readClientHello(client.received);
    if (hello === "not-tls") throw notTls();
    if (hello !== "incomplete") return hello;
    if (!await client.fill()) throw closedHandshake();
  }
}

/** Refuses, with an alert, what would end in front of another host, or in another protocol. */
async function checkHello(
  { serverName, alpn }: ClientHello,
  host: string,
  client: Wire,
): Promise<void> {
  if (serverName !== undefined && canonicalHost(serverName) !== host) {
    await sendAlert(client, ALERT.unrecognizedName);
    throw otherName();
  }
  if (alpn.length > 0 && !alpn.includes("http/1.1")) {
    await sendAlert(client, ALERT.noApplicationProtocol);
    throw alpn.includes("h2") ? needsHttp2() : noCommonProtocol();
  }
}

async function sendAlert(client: Wire, alert: number): Promise<void> {
  await client.write(alertRecord(alert));
  await client.conn.closeWrite();
}
