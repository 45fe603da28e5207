/**
 * A client of the forward proxy: who it is was proven once, whether that still
 * counts is asked for each request.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { unmapAddress } from "../addresses.ts";
import type { BindingTable, LiveBinding } from "../bindings/binding_table.ts";
import { CLOSED_GATE, type Gate } from "../bindings/container_gate.ts";
import type { RequestHead } from "../http1/head.ts";
import type { Peer } from "../http1/server.ts";

/** From where a client asks: one object for each connection. */
type Origin = Pick<Peer, "localHostname" | "remoteHostname">;

/** Who may do what, and who is who. */
interface Guards {
  readonly table: BindingTable;
  /** Who may use the bindings of single containers. Default: nobody. */
  readonly gate?: Gate;
}

/** A client that has shown a token which counts. */
export class ProxyClient {
  readonly #table: BindingTable;
  readonly #gate: Gate;
  readonly #token: string;
  readonly #origin: Origin;
  #live: LiveBinding;

  private constructor(
    { table, gate = CLOSED_GATE }: Guards,
    token: string,
    origin: Origin,
    live: LiveBinding,
  ) {
    this.#table = table;
    this.#gate = gate;
    this.#token = token;
    this.#origin = origin;
    this.#live = live;
  }

  /**
   * Finds the client of a token.
   *
   * @param guards The live bindings, and who tells containers apart.
   * @param token What it sent.
   * @param origin Where its connection comes from and arrived.
   * @returns The client; undefined if the token does not count there.
   */
  static async find(
    guards: Guards,
    token: string,
    origin: Origin,
  ): Promise<ProxyClient | undefined> {
    const live = await findLive(guards, token, origin);
    return live && new ProxyClient(guards, token, origin, live);
  }

  /** The name of its binding. */
  get name(): string {
    return this.#live.binding.name;
  }

  /** Its binding as it was last seen. */
  get lastSeen(): LiveBinding {
    return this.#live;
  }

  /** Whether it showed this token. */
  showed(token: string): boolean {
    return token === this.#token;
  }

  /** Whether what it may do by a binding of its own still counts. */
  mayUse(live: LiveBinding): boolean {
    return live.isLive && this.#gate.holds(live, this.#origin);
  }

  /**
   * Its binding as it is now: a grant may have changed.
   *
   * @returns At once unless it has to be looked up; undefined once it ended.
   */
  current(): LiveBinding | Promise<LiveBinding | undefined> {
    return this.mayUse(this.#live) ? this.#live : this.#findAgain();
  }

  /**
   * Tells, once, when it may have to use a binding no more.
   *
   * @param live Its binding.
   * @param tell Called when the binding or the client ends; not if it has ended.
   * @returns A function that takes it back.
   */
  onEnd(live: LiveBinding, tell: () => void): () => void {
    const stops: (() => void)[] = [];
    const stop = () => stops.splice(0).forEach((stop) => stop());
    const end = () => {
      stop();
      tell();
    };
    stops.push(live.onEnd(end), this.#gate.onEnd(live, this.#origin, end));
    return stop;
  }

  async #findAgain(): Promise<LiveBinding | undefined> {
    const guards = { table: this.#table, gate: this.#gate };
    const live = await findLive(guards, this.#token, this.#origin);
    return live && (this.#live = live);
  }
}

async function findLive(
  { table, gate = CLOSED_GATE }: Guards,
  token: string,
  origin: Origin,
): Promise<LiveBinding | undefined> {
  const live = await table.find(token);
  if (!live?.entry.admits(unmapAddress(origin.localHostname))) return undefined;
  if (!await gate.admits(live, origin)) return undefined;
  // It may have changed while its client was identified.
  return live.isLive ? live : await findLive({ table, gate }, token, origin);
}

/**
 * Reads the token of a request to the forward proxy: the password of Basic,
 * with any user, or Bearer (RFC 7617, RFC 6750).
 *
 * @param head The request.
 * @returns The token; undefined for none, several, or another scheme.
 */
export function readProxyToken(head: RequestHead): string | undefined {
  const [value, more] = head.values("proxy-authorization");
  if (value === undefined || more !== undefined) return undefined;
  const [, bearer] = /^bearer +([\w.~+/=@%-]+)$/i.exec(value) ?? [];
  if (bearer !== undefined) return decodeAt(bearer);
  const [, basic] = /^basic +([\w+/=-]+)$/i.exec(value) ?? [];
  if (basic === undefined) return undefined;
  const pair = Buffer.from(basic, "base64").toString("latin1");
  const colon = pair.indexOf(":");
  return colon < 0 ? undefined : decodeAt(pair.slice(colon + 1));
}

/** Some clients send what the URL holds as it is; a name may have an @. */
function decodeAt(token: string): string {
  return token.replaceAll("%40", "@");
}
