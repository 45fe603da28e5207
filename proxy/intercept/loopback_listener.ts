/**
 * A TLS listener of one host on the loopback that serves nobody but us.
 *
 * Any program of this machine can connect to it. So each connection of ours is
 * dialled here, and told from others by its port: the kernel gives a port to
 * one connection at a time. Others may see the certificate, and nothing else;
 * the runtime closes them as soon as they have finished their handshake.
 *
 * @module
 */

import { type Clock, sleep } from "$core/clock.ts";

const LOOPBACK = "127.0.0.1";

/** How long to wait after a failure to accept: the process may be out of descriptors. */
const PAUSE_MS = 50;

/** Both ends of one connection over the loopback. */
export interface LoopbackPair {
  /** The end that sends and gets TLS records. */
  readonly records: Deno.TcpConn;
  /** The end that ends TLS; its handshake has not happened yet. */
  readonly tls: Deno.TlsConn;
}

/** One that was accepted before its dial had told its port. */
interface Early {
  readonly tls: Deno.TlsConn;
  /** The last dial that had begun then. */
  readonly dial: number;
}

/** Listens for one host. */
export class LoopbackListener {
  /** Where it listens on 127.0.0.1. */
  readonly port: number;
  readonly #listener: Deno.TlsListener;
  readonly #clock: Clock;
  /** Dials under way, in order. */
  readonly #dials = new Set<number>();
  #lastDial = 0;
  /** By the port of our end. */
  readonly #early = new Map<number, Early>();
  readonly #awaited = new Map<number, PromiseWithResolvers<Deno.TlsConn>>();
  readonly #shut = Promise.withResolvers<void>();
  #isClosing = false;
  #isShut = false;

  /**
   * Listens on a free port, for HTTP/1.1.
   *
   * @param leaf PEM: the chain, and its key.
   * @param clock Times pauses.
   */
  constructor(
    leaf: { readonly cert: string; readonly key: string },
    clock: Clock,
  ) {
    this.#listener = Deno.listenTls({
      hostname: LOOPBACK,
      port: 0,
      cert: leaf.cert,
      key: leaf.key,
      alpnProtocols: ["http/1.1"],
    });
    this.#clock = clock;
    this.port = this.#listener.addr.port;
    this.#accept();
  }

  /**
   * Connects to itself.
   *
   * @param signal Ends the attempt.
   * @returns Both ends, which the caller is to close.
   * @throws {unknown} What `Deno.connect` throws, or the signal's reason.
   */
  async connect(signal: AbortSignal): Promise<LoopbackPair> {
    const dial = ++this.#lastDial;
    this.#dials.add(dial);
    try {
      const records = await Deno.connect({
        hostname: LOOPBACK,
        port: this.port,
      });
      try {
        records.setNoDelay(true);
        return {
          records,
          tls: await this.#claim(records.localAddr.port, signal),
        };
      } catch (error) {
        records.close();
        throw error;
      }
    } finally {
      this.#dials.delete(dial);
      this.#closeStrangers();
      this.#shutIfUnused();
    }
  }

  /** Listens no more; attempts under way succeed, and connections go on. May be called again. */
  close(): void {
    this.#isClosing = true;
    this.#shutIfUnused();
  }

  async #accept(): Promise<void> {
    while (!this.#isShut) {
      try {
        this.#take(await this.#listener.accept());
      } catch {
        if (this.#isShut) return;
        await sleep(this.#clock, PAUSE_MS, this.#shut.promise);
      }
    }
  }

  #take(tls: Deno.TlsConn): void {
    const { hostname, port } = tls.remoteAddr;
    // From another address of the loopback a stranger can have our own port.
    if (hostname !== LOOPBACK) return tls.close();
    const awaited = this.#awaited.get(port);
    this.#awaited.delete(port);
    if (awaited) return awaited.resolve(tls);
    // Who had the port before is gone.
    this.#takeEarly(port)?.close();
    this.#early.set(port, { tls, dial: this.#lastDial });
    this.#closeStrangers();
  }

  async #claim(port: number, signal: AbortSignal): Promise<Deno.TlsConn> {
    const early = this.#takeEarly(port);
    if (early) return early;
    signal.throwIfAborted();
    const awaited = Promise.withResolvers<Deno.TlsConn>();
    const abort = () => awaited.reject(signal.reason);
    signal.addEventListener("abort", abort);
    this.#awaited.set(port, awaited);
    try {
      return await awaited.promise;
    } finally {
      this.#awaited.delete(port);
      signal.removeEventListener("abort", abort);
    }
  }

  #takeEarly(port: number): Deno.TlsConn | undefined {
    const early = this.#early.get(port);
    this.#early.delete(port);
    return early?.tls;
  }

  /** Nobody can come for what was accepted before the oldest dial under way. */
  #closeStrangers(): void {
    const [oldest = Infinity] = this.#dials;
    for (const [port, { tls, dial }] of this.#early) {
      if (dial >= oldest) return;
      this.#early.delete(port);
      tls.close();
    }
  }

  #shutIfUnused(): void {
    if (!this.#isClosing || this.#isShut || this.#dials.size > 0) return;
    this.#isShut = true;
    this.#shut.resolve();
    this.#listener.close();
  }
}
