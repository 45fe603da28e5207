/**
 * Connections to upstreams, kept for the next request of the same binding.
 *
 * Connections are never shared between bindings, because some upstreams
 * authenticate a connection and not its requests.
 *
 * @module
 */

import type { Authority } from "$core/host.ts";
import { Wire } from "../http1/wire.ts";
import type { Egress } from "./egress.ts";
import { secureUpstream, type UpstreamTlsOptions } from "./upstream_tls.ts";

/** Less than what servers and load balancers give a client: theirs is mostly 60 s or more. */
const IDLE_MS = 60_000;

/** As many as one binding's client may have requests under way at one host. */
const MAX_IDLE_PER_HOST = 1_024;

/** Each takes a descriptor and some 10 KB. */
const MAX_IDLE = 4_096;

/** Where a request goes, and for whom. */
export interface UpstreamTarget {
  /** The binding's name. */
  readonly binding: string;
  /** Host and port. */
  readonly authority: Authority;
  /** Whether over TLS. */
  readonly tls: boolean;
  /** Whether it may have an address that is not public. */
  readonly opensPrivate: boolean;
}

/** A connection to an upstream. */
export interface Upstream {
  /** Where it leads. */
  readonly target: UpstreamTarget;
  /** The connection; over TLS, the upstream's identity was verified on it. */
  readonly wire: Wire;
  /** Whether it has served a request before: the upstream may be about to close it. */
  readonly isReused: boolean;
}

/** What {@link UpstreamPool} is made of. */
export interface UpstreamPoolOptions extends UpstreamTlsOptions {
  /** Connects. */
  readonly egress: Pick<Egress, "connect">;
  /** How many idle connections are kept. Default: 4,096. */
  readonly maxIdle?: number;
}

/** An idle connection. */
interface Idle {
  readonly upstream: Upstream;
  readonly since: number;
  /** Those to the same place, this one among them; the last one is the newest. */
  readonly stack: Idle[];
}

/** The idle connections of a binding, by where they lead. */
type Lane = Map<string, Idle[]>;

/** Opens connections and keeps those that are idle. */
export class UpstreamPool {
  readonly #options: UpstreamPoolOptions;
  /** All of them, the oldest first. */
  readonly #idle = new Set<Idle>();
  readonly #lanes = new Map<string, Lane>();
  /** Of each connection, so that it does not outlive its binding. */
  readonly #laneOf = new WeakMap<Wire, Lane>();
  #cancelTimer: (() => void) | undefined;
  #isClosed = false;

  /** Makes an empty pool. */
  constructor(options: UpstreamPoolOptions) {
    this.#options = options;
  }

  /** How many idle connections there are. */
  get size(): number {
    return this.#idle.size;
  }

  /**
   * Gives a connection: the one that became idle last, else a new one.
   *
   * @param target Where to.
   * @param signal Aborted when the client has gone.
   * @returns The caller's, until it gives it to {@link UpstreamPool.release}
   * or closes it. On a reused one, the next `fill` of its wire gives what came
   * since it became idle; if it ends before that `fill`, the wire is closed.
   * @throws {ProxyFailure} As {@link UpstreamPool.open}.
   */
  async acquire(
    target: UpstreamTarget,
    signal?: AbortSignal,
  ): Promise<Upstream> {
    return this.#take(target) ?? await this.open(target, signal);
  }

  /**
   * Opens a new connection. Over TLS, the upstream has proved who it is before
   * this resolves, so before any byte of a request is written.
   *
   * @param target Where to.
   * @param signal Aborted when the client has gone: rejects with its reason.
   * @returns As {@link UpstreamPool.acquire}.
   * @throws {ProxyFailure} As `Egress.connect` and {@link secureUpstream}.
   */
  async open(target: UpstreamTarget, signal?: AbortSignal): Promise<Upstream> {
    const { authority, opensPrivate } = target;
    const lane = this.#lane(target.binding);
    const conn = await this.#options.egress.connect(
      authority,
      opensPrivate,
      signal,
    );
    const wire = new Wire(
      target.tls
        ? await secureUpstream(conn, authority, this.#options, signal)
        : conn,
    );
    this.#laneOf.set(wire, lane);
    return { target, wire, isReused: false };
  }

  /**
   * Takes a connection back on which a request may follow. One that is closed,
   * has unread bytes, or whose binding was dropped meanwhile is closed instead.
   *
   * @param upstream As {@link UpstreamPool.acquire} gave it.
   */
  release(upstream: Upstream): void {
    const { target, wire } = upstream;
    const lane = this.#lanes.get(target.binding);
    const isOurs = lane !== undefined && this.#laneOf.get(wire) === lane;
    if (!isOurs || wire.isClosed || wire.available > 0) return wire.close();
    const key = keyOf(target);
    const stack = lane.get(key) ?? [];
    if (stack.length === 0) lane.set(key, stack);
    const idle: Idle = {
      upstream: upstream.isReused ? upstream : { ...upstream, isReused: true },
      since: this.#options.clock.now(),
      stack,
    };
    stack.push(idle);
    this.#idle.add(idle);
    this.#limit(stack);
    // The upstream has nothing to say now, except that it closes; an end counts
    // until the next user reads.
    wire.watch((isEnd) => {
      if (this.#remove(idle) || isEnd) wire.close();
    });
    this.#startTimer();
  }

  /**
   * Closes a binding's idle connections, and each other one when it is released.
   *
   * @param name The binding's.
   */
  dropBinding(name: string): void {
    const lane = this.#lanes.get(name);
    this.#lanes.delete(name);
    for (const stack of lane?.values() ?? []) {
      for (const idle of [...stack]) this.#drop(idle);
    }
  }

  /** Closes all idle connections, and keeps none from now on. */
  close(): void {
    this.#isClosed = true;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    for (const name of [...this.#lanes.keys()]) this.dropBinding(name);
  }

  #lane(binding: string): Lane {
    const known = this.#lanes.get(binding);
    if (known) return known;
    const lane: Lane = new Map();
    if (!this.#isClosed) this.#lanes.set(binding, lane);
    return lane;
  }

  #take(target: UpstreamTarget): Upstream | undefined {
    const lane = this.#lanes.get(target.binding);
    const stack = lane?.get(keyOf(target));
    for (let idle = stack?.at(-1); idle; idle = stack?.at(-1)) {
      this.#remove(idle);
      const { upstream } = idle;
      // Something may have come that nobody was told of yet.
      if (upstream.wire.available === 0) return upstream;
      upstream.wire.close();
    }
    return undefined;
  }

  #limit(stack: Idle[]): void {
    const { maxIdle = MAX_IDLE } = this.#options;
    const [oldest] = stack;
    if (oldest && stack.length > MAX_IDLE_PER_HOST) this.#drop(oldest);
    for (const idle of this.#idle) {
      if (this.#idle.size <= maxIdle) break;
      this.#drop(idle);
    }
  }

  #drop(idle: Idle): void {
    if (this.#remove(idle)) idle.upstream.wire.close();
  }

  /** Whether it was idle until now. */
  #remove(idle: Idle): boolean {
    if (!this.#idle.delete(idle)) return false;
    const { stack, upstream: { target } } = idle;
    stack.splice(stack.lastIndexOf(idle), 1);
    if (stack.length === 0) {
      this.#lanes.get(target.binding)?.delete(keyOf(target));
    }
    return true;
  }

  /** One timer for all: it rings when the oldest one's time is over. */
  #startTimer(): void {
    const [oldest] = this.#idle;
    if (!oldest || this.#cancelTimer) return;
    const { clock } = this.#options;
    const delayMs = oldest.since + IDLE_MS - clock.now();
    this.#cancelTimer = clock.after(Math.max(delayMs, 0), () => {
      this.#cancelTimer = undefined;
      const limit = clock.now() - IDLE_MS;
      for (const idle of this.#idle) {
        if (idle.since > limit) break;
        this.#drop(idle);
      }
      this.#startTimer();
    });
  }
}

/** One place that connections lead to. */
function keyOf({ authority, tls, opensPrivate }: UpstreamTarget): string {
  return `${authority.host} ${authority.port} ${tls} ${opensPrivate}`;
}
