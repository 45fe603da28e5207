/**
 * A session of the forward proxy between a client and upstreams that are the
 * test itself.
 *
 * @module
 */

import { digestToken } from "$core/binding.ts";
import type { Authority } from "$core/host.ts";
import { DEFAULT_POLICY, type Policy } from "$core/policy.ts";
import { Secret } from "$core/secret.ts";
import { NOT_FOUND } from "$proxy/answers.ts";
import { BindingTable, LiveBinding } from "$proxy/bindings/binding_table.ts";
import { Wire } from "$proxy/http1/wire.ts";
import { ProxyClient } from "$proxy/intercept/client.ts";
import { Outbound } from "$proxy/intercept/outbound.ts";
import type { Scope } from "$proxy/intercept/prepare.ts";
import { Session } from "$proxy/intercept/session.ts";
import {
  type Upstream,
  UpstreamPool,
  type UpstreamTarget,
} from "$proxy/intercept/upstream.ts";
import type { TraceRecord } from "$proxy/intercept/trace_record.ts";
import { FakeClock } from "./fake_clock.ts";
import { FakeConn, turns } from "./fake_conn.ts";

/** Where requests of the tests go. */
export const API: Authority = { host: "api.test", port: 443 };

/** The token of a binding. */
export function tokenOf(name: string): string {
  return `moat.${name}.${"A".repeat(43)}`;
}

/** What a binding of the tests has. */
export interface BindingWish {
  /** Default: nowhere but where the grant is for. */
  readonly policy?: Partial<Policy>;
  /** The credential of its grant `api`, for `api.test`. Default: `real`. */
  readonly secret?: string;
}

/** Where clients come from and arrive. */
export const ORIGIN = {
  localHostname: "127.0.0.1",
  remoteHostname: "127.0.0.1",
};

/** Makes a live binding with a grant for {@link API}. */
export function liveBinding(
  name: string,
  { policy, secret = "real" }: BindingWish = {},
): LiveBinding {
  const outbound = new Outbound({ ...DEFAULT_POLICY, ...policy }, [{
    grant: "api",
    injections: [{
      host: API.host,
      header: "authorization",
      value: new Secret(`Bearer ${secret}`),
      strip: [],
    }],
    substitutions: [],
    allowed: [],
  }]);
  return new LiveBinding({
    binding: { name, grants: ["api"] },
    tokenDigest: digestToken(tokenOf(name)),
    access: "header",
    admits: (address) => address === "127.0.0.1",
  }, { routes: new Map(), otherwise: NOT_FOUND, outbound, grants: [] });
}

/** What is known of a connection that a {@link FakePool} gave. */
export interface Given {
  /** The upstream's side. */
  readonly conn: FakeConn;
  /** What it was asked for. */
  readonly target: UpstreamTarget;
  /** What it gave. */
  readonly upstream: Upstream;
}

/** Gives connections that are the test itself. */
export class FakePool extends UpstreamPool {
  /** All that it gave, in turn. */
  readonly given: Given[] = [];
  /** Those that came back. */
  readonly released: Upstream[] = [];
  /** Whether the next ones of {@link acquire} have been used before, or what they are. */
  readonly next: (boolean | FakeConn | Error | Promise<void>)[] = [];

  /** Keeps nothing by itself. */
  constructor(clock: FakeClock) {
    super({
      egress: {
        connect: () => Promise.reject(new Error("nothing is dialled")),
      },
      roots: { certificates: [] },
      clock,
    });
  }

  /** Gives a connection as {@link next} says; default: a new one. */
  override async acquire(
    target: UpstreamTarget,
    signal?: AbortSignal,
  ): Promise<Upstream> {
    const next = this.next.shift() ?? false;
    if (next instanceof Error) throw next;
    if (next instanceof Promise) {
      await next;
      signal?.throwIfAborted();
    }
    if (next instanceof FakeConn) return this.#give(target, next, true);
    return this.#give(target, new FakeConn(), next === true);
  }

  /** Gives a new connection. */
  override open(target: UpstreamTarget): Promise<Upstream> {
    return Promise.resolve(this.#give(target, new FakeConn(), false));
  }

  /** Notes it. */
  override release(upstream: Upstream): void {
    this.released.push(upstream);
  }

  #give(target: UpstreamTarget, conn: FakeConn, isReused: boolean): Upstream {
    const wire = new Wire(conn);
    const upstream = { target, wire, isReused };
    this.given.push({ conn, target, upstream });
    return upstream;
  }
}

/** How a {@link SessionBed} is made. */
export interface SessionWish extends BindingWish {
  /** Default: to {@link API}, over TLS. */
  readonly scope?: Scope;
}

/** One session, which runs until {@link SessionBed.end}. */
export class SessionBed {
  /** Turned by the test. */
  readonly clock = new FakeClock();
  /** The client's side. */
  readonly client = new FakeConn();
  /** The upstreams' side. */
  readonly pool: FakePool = new FakePool(this.clock);
  /** What was told. */
  readonly records: TraceRecord[] = [];
  /** Mistakes of ours. */
  readonly errors: unknown[] = [];
  /** The binding `web` is in it. */
  readonly table: BindingTable;
  /** What is tested. */
  readonly session: Session;
  /** Settles at its end. */
  readonly done: Promise<void>;

  private constructor(
    scope: Scope,
    client: ProxyClient,
    table: BindingTable,
  ) {
    this.table = table;
    this.session = new Session(
      {
        clock: this.clock,
        upstreams: this.pool,
        identify: () => Promise.resolve(client),
        onRecord: (record) => this.records.push(record),
        onError: (error) => this.errors.push(error),
      },
      scope,
      new Wire(this.client),
      scope.scheme === "https" ? client : undefined,
    );
    this.done = this.session.run();
  }

  /** Starts a session of the binding `web`. */
  static async open(
    { scope = { scheme: "https", authority: API }, ...wish }: SessionWish = {},
  ): Promise<SessionBed> {
    const table = new BindingTable();
    table.set("web", [liveBinding("web", wish)]);
    const client = await ProxyClient.find({ table }, tokenOf("web"), ORIGIN);
    if (!client) throw new Error("the token does not count");
    return new SessionBed(scope, client, table);
  }

  /** The connections to upstreams, in turn. */
  get upstreams(): readonly FakeConn[] {
    return this.pool.given.map(({ conn }) => conn);
  }

  /** The connection to the upstream that was opened last. */
  get upstream(): FakeConn {
    const last = this.upstreams.at(-1);
    if (!last) throw new Error("nothing was sent anywhere");
    return last;
  }

  /** The last record. */
  get record(): TraceRecord {
    const last = this.records.at(-1);
    if (!last) throw new Error("nothing was recorded");
    return last;
  }

  /** Lets the client send something, and waits for what that does. */
  async send(text: string): Promise<void> {
    this.client.send(text);
    await turns();
  }

  /** Lets the upstream say something, and waits for what that does. */
  async answer(text: string): Promise<void> {
    this.upstream.send(text);
    await turns();
  }

  /** Turns the clock as the proxy's timer does, second by second. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 1_000) {
      await this.clock.advance(Math.min(1_000, ms - passed));
      this.session.checkTime(this.clock.now());
      if (passed % 10_000 === 0) await turns(1);
    }
    await turns();
  }

  /** Ends the client, and waits for the session. */
  async end(): Promise<void> {
    this.client.end();
    await turns();
    this.session.close();
    await this.done;
  }
}

/** Tries a session, and ends it. */
export async function withSession(
  use: (bed: SessionBed) => Promise<void>,
  wish: SessionWish = {},
): Promise<void> {
  const bed = await SessionBed.open(wish);
  try {
    await use(bed);
  } finally {
    await bed.end();
  }
}

/** The text of a request to {@link API}. */
export function get(
  path = "/",
  fields: readonly string[] = [],
  method = "GET",
): string {
  return [`${method} ${path} HTTP/1.1`, "Host: api.test", ...fields, "", ""]
    .join("\r\n");
}
