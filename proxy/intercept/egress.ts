/**
 * The way out: resolves a name once, refuses addresses that a client has no
 * business with, and dials the very addresses that were checked, so that a
 * name that changes its mind in between (DNS rebinding) gains nothing.
 *
 * It must not decide about names: policy has allowed them before.
 *
 * @module
 */

import { lookup as lookupName } from "node:dns/promises";
import type { Clock } from "$core/clock.ts";
import {
  addressKind,
  type Authority,
  formatAuthority,
  isAddress,
} from "$core/host.ts";
import { type ProxyError, ProxyFailure } from "./failure.ts";

/** From the name to a connection; a client waits no longer either. */
const TIMEOUT_MS = 30_000;

/** "Connection Attempt Delay" of RFC 8305 section 5. */
const STAGGER_MS = 250;

/** An answer with hundreds of addresses must not make us knock at them all. */
const MAX_ADDRESSES = 8;

/** Finds the addresses of a name, the best first. */
export type Lookup = (host: string) => Promise<readonly string[]>;

/** Connects to an address; rejects when the signal says so. */
export type Dial = (
  address: {
    readonly hostname: string;
    readonly port: number;
    readonly signal: AbortSignal;
  },
) => Promise<Deno.TcpConn>;

/** What {@link Egress} is made of. */
export interface EgressOptions {
  /** Default: the system's, with its hosts file. */
  readonly lookup?: Lookup;
  /** Default: `Deno.connect`. */
  readonly dial?: Dial;
  /** Whether an address and port are a listener of this process. */
  readonly isOurs: (address: string, port: number) => boolean;
  /** Whose time passes. */
  readonly clock: Clock;
}

/** Why an address is not dialled; the first counts where there are several. */
const REFUSALS = ["own", "metadata", "private"] as const;

type Refusal = typeof REFUSALS[number];

/** Why there is no connection. */
type Cause = readonly [
  status: number,
  code: string,
  error: ProxyError,
  why: string,
];

const NO_NAME: Cause = [
  502,
  "no-such-host",
  "dns_error",
  "there is no such name",
];
const NOT_RESOLVED: Cause = [
  502,
  "name-not-resolved",
  "dns_error",
  "its name cannot be resolved now",
];
const DNS_TIMEOUT: Cause = [
  504,
  "dns-timeout",
  "dns_timeout",
  "its name was not resolved in time",
];
const TIMEOUT: Cause = [
  504,
  "connection-timeout",
  "connection_timeout",
  "it did not answer in time",
];
const REFUSED: Cause = [
  502,
  "connection-refused",
  "connection_refused",
  "it refused the connection",
];
const UNROUTABLE: Cause = [
  502,
  "unroutable",
  "destination_ip_unroutable",
  "no route leads there",
];
const TOO_MANY: Cause = [
  503,
  "connection-limit",
  "connection_limit_reached",
  "moat has too many connections open",
];
const FAILED: Cause = [
  502,
  "connection-failed",
  "destination_unavailable",
  "the connection failed",
];

/** By the system's error code, when dialling. */
const DIAL_CAUSES: Readonly<Record<string, Cause>> = {
  EADDRNOTAVAIL: UNROUTABLE,
  ECONNREFUSED: REFUSED,
  EHOSTDOWN: UNROUTABLE,
  EHOSTUNREACH: UNROUTABLE,
  EMFILE: TOO_MANY,
  ENETDOWN: UNROUTABLE,
  ENETUNREACH: UNROUTABLE,
  ENFILE: TOO_MANY,
  ETIMEDOUT: TIMEOUT,
};

/**
 * Connects to upstreams.
 *
 * **Security:** the only place where the proxy dials for a client. Listeners
 * of this process and metadata services are refused always, other addresses
 * that are not public unless the host was opened by name.
 */
export class Egress {
  readonly #lookup: Lookup;
  readonly #dial: Dial;
  readonly #isOurs: (address: string, port: number) => boolean;
  readonly #clock: Clock;

  /** Makes it; nothing is resolved yet. */
  constructor(options: EgressOptions) {
    this.#lookup = options.lookup ?? lookupAddresses;
    this.#dial = options.dial ?? Deno.connect;
    this.#isOurs = options.isOurs;
    this.#clock = options.clock;
  }

  /**
   * Finds the addresses that may be dialled.
   *
   * @param authority Where to; an address is not looked up.
   * @param opensPrivate Whether it may be one that is not public.
   * @returns Those of its addresses that are permitted, the best first; at least one.
   * @throws {ProxyFailure} `no-such-host`, `name-not-resolved`, `own-address`,
   * `metadata-address`, `private-address`.
   */
  async addresses(
    authority: Authority,
    opensPrivate: boolean,
  ): Promise<readonly string[]> {
    const { host, port } = authority;
    const found = isAddress(host) ? [host] : await this.#resolve(authority);
    const refusals = new Set<Refusal>();
    const permitted = found.filter((address) => {
      const refusal = this.#judge(address, port, opensPrivate);
      if (refusal) refusals.add(refusal);
      return !refusal;
    });
    if (permitted.length > 0) {
      return interleave(permitted).slice(0, MAX_ADDRESSES);
    }
    throw prohibited(authority, REFUSALS.find((r) => refusals.has(r)));
  }

  /**
   * Connects, to one of {@link Egress.addresses}.
   *
   * @param authority Where to.
   * @param opensPrivate Whether it may be an address that is not public.
   * @param signal Aborted when the client has gone: rejects with its reason.
   * @returns The connection, with TCP_NODELAY set.
   * @throws {ProxyFailure} As {@link Egress.addresses}; `dns-timeout`,
   * `connection-timeout`, `connection-refused`, `unroutable`,
   * `connection-limit`, `connection-failed`.
   */
  async connect(
    authority: Authority,
    opensPrivate: boolean,
    signal?: AbortSignal,
  ): Promise<Deno.TcpConn> {
    signal?.throwIfAborted();
    const attempt = new AbortController();
    let late = DNS_TIMEOUT;
    const cancel = this.#clock.after(
      TIMEOUT_MS,
      () => attempt.abort(cannotConnect(authority, late)),
    );
    const leave = () => attempt.abort(signal?.reason);
    signal?.addEventListener("abort", leave);
    try {
      const addresses = await unlessAborted(
        this.addresses(authority, opensPrivate),
        attempt.signal,
      );
      attempt.signal.throwIfAborted();
      late = TIMEOUT;
      const conn = await this.#dialFirst(addresses, authority, attempt.signal);
      conn.setNoDelay(true);
      return conn;
    } finally {
      cancel();
      signal?.removeEventListener("abort", leave);
      // Ends the attempts that came too late; a reason of its own costs less.
      attempt.abort(null);
    }
  }

  async #resolve(authority: Authority): Promise<string[]> {
    const found = await this.#lookup(authority.host).catch((error) => {
      const cause = codeOf(error) === "ENOTFOUND" ? NO_NAME : NOT_RESOLVED;
      throw cannotConnect(authority, cause);
    });
    if (found.length === 0) throw cannotConnect(authority, NO_NAME);
    return [...new Set(found)];
  }

  #judge(
    address: string,
    port: number,
    opensPrivate: boolean,
  ): Refusal | undefined {
    if (this.#isOurs(address, port)) return "own";
    const kind = addressKind(address);
    if (kind === "metadata") return "metadata";
    if (kind === "public") return undefined;
    // Undefined is what is no plain address.
    return opensPrivate && kind !== undefined ? undefined : "private";
  }

  /**
   * Dials one after the other: the next one when the one before has failed, or
   * not succeeded for a while. The first connection wins, the others are closed.
   */
  #dialFirst(
    addresses: readonly string[],
    authority: Authority,
    signal: AbortSignal,
  ): Promise<Deno.TcpConn> {
    return new Promise((resolve, reject) => {
      let next = 0;
      let failed = 0;
      let isOver = false;
      let cancel = () => {};
      const end = () => {
        isOver = true;
        cancel();
      };
      const won = (conn: Deno.TcpConn) => {
        if (isOver) return conn.close();
        end();
        resolve(conn);
      };
      const lost = (error: unknown) => {
        failed++;
        if (isOver) return;
        if (failed === addresses.length) {
          end();
          const cause = DIAL_CAUSES[codeOf(error)] ?? FAILED;
          reject(cannotConnect(authority, cause));
        } else dialNext();
      };
      const dialNext = () => {
        cancel();
        const hostname = addresses[next++];
        if (hostname === undefined) return;
        this.#dial({ hostname, port: authority.port, signal }).then(won, lost);
        if (next === addresses.length) return;
        cancel = this.#clock.after(STAGGER_MS, dialNext);
      };
      signal.addEventListener("abort", () => {
        end();
        reject(signal.reason);
      });
      dialNext();
    });
  }
}

/** What `getaddrinfo` finds, in its order (RFC 6724). */
async function lookupAddresses(host: string): Promise<string[]> {
  const found = await lookupName(host, { all: true, order: "verbatim" });
  return found.map(({ address }) => address);
}

/** The two families by turns, so that neither waits for all of the other (RFC 8305 section 4). */
function interleave(addresses: readonly string[]): string[] {
  const isSix = (address: string) => address.includes(":");
  const isFirst = (address: string) =>
    isSix(address) === isSix(addresses[0] ?? "");
  const first = addresses.filter(isFirst);
  const second = addresses.filter((address) => !isFirst(address));
  return addresses.flatMap((_, i) => [first[i], second[i]])
    .filter((address) => address !== undefined);
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
    work.then(resolve, reject);
  });
}

/** Such as `ECONNREFUSED`. */
function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

function prohibited(
  authority: Authority,
  refusal: Refusal = "private",
): ProxyFailure {
  const { host } = authority;
  const leads = isAddress(host) ? "is" : "resolves to";
  if (refusal === "own") {
    return new ProxyFailure(
      400,
      "own-address",
      "proxy_loop_detected",
      `"${formatAuthority(authority)}" ${leads} an address of moat itself`,
    );
  }
  if (refusal === "metadata") {
    return new ProxyFailure(
      403,
      "metadata-address",
      "destination_ip_prohibited",
      `"${host}" ${leads} the address of a metadata service, which moat never connects to`,
    );
  }
  return new ProxyFailure(
    403,
    "private-address",
    "destination_ip_prohibited",
    `"${host}" ${leads} an address that is not public; --allow-private ${
      formatAuthority(authority)
    } opens it`,
  );
}

function cannotConnect(
  authority: Authority,
  [status, code, error, why]: Cause,
): ProxyFailure {
  const where = formatAuthority(authority);
  return new ProxyFailure(
    status,
    code,
    error,
    `Cannot connect to "${where}": ${why}`,
  );
}
