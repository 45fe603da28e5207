/**
 * A client of the forward proxy: who it is was proven once, whether that still
 * counts is asked for each request.
 *
 * @module
 */

import { unmapAddress } from "../addresses.ts";
import type { BindingTable, LiveBinding } from "../bindings.ts";
import type { RequestHead } from "../http1/head.ts";
import { Buffer } from "node:buffer";

/** A client that has shown a token which counts. */
export class ProxyClient {
  readonly #table: BindingTable;
  readonly #token: string;
  readonly #localHostname: string;
  #live: LiveBinding;

  private constructor(
    table: BindingTable,
    token: string,
    localHostname: string,
    live: LiveBinding,
  ) {
    this.#table = table;
    this.#token = token;
    this.#localHostname = localHostname;
    this.#live = live;
  }

  /**
   * Finds the client of a token.
   *
   * @param table The live bindings.
   * @param token What it sent.
   * @param localHostname Where its connection arrived.
   * @returns The client; undefined if the token does not count there.
   */
  static async find(
    table: BindingTable,
    token: string,
    localHostname: string,
  ): Promise<ProxyClient | undefined> {
    const live = await table.find(token);
    const local = unmapAddress(localHostname);
    if (!live?.entry.admits(local)) return undefined;
    return new ProxyClient(table, token, local, live);
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

  /**
   * Its binding as it is now: a grant may have changed.
   *
   * @returns At once unless it has to be looked up; undefined once it ended.
   */
  current(): LiveBinding | Promise<LiveBinding | undefined> {
    return this.#live.isLive ? this.#live : this.#findAgain();
  }

  async #findAgain(): Promise<LiveBinding | undefined> {
    const live = await this.#table.find(this.#token);
    if (!live?.entry.admits(this.#localHostname)) return undefined;
    return this.#live = live;
  }
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
