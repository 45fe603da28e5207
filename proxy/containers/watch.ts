/**
 * From an address to the container that has it.
 *
 * A container may get the address of one that ended a moment ago, and its
 * first request may come before the engine's events. So an index of events
 * only says who may be meant; for each connection the engine is asked, after
 * it arrived, whether that container still runs, since the same start. What
 * then has the address had it when the connection arrived.
 *
 * **Security:** a container that may set its own addresses (`NET_ADMIN`) can
 * take that of another one; a token besides the address is what helps. One
 * that is put into another one's network makes its address nobody's while it
 * runs, from its first act on. Docker tells of it before it can start, so moat
 * asks whether it runs, also after it ended once, as it may have been started
 * again. Podman may tell later, so for each connection moat asks for a list. An
 * engine answers neither question while it starts the container in question:
 * it holds its lock until it has noted that it runs. What cannot be read is
 * taken for running; a new container that cannot be, is placed by a list. Not
 * known is whose network it is if the containers between ended and were removed
 * before moat began, and a connection that a container made, handed to one in
 * another network, and left behind when it ended.
 *
 * @module
 */

import type { ContainerFacts } from "$core/container.ts";
import type { Platform } from "$core/platform.ts";
import { Changes } from "./changes.ts";
import type { Moment } from "./container_index.ts";
import type { Containers, Identified, NoContainer } from "./containers.ts";
import type { ContainerState, Engine } from "./engine.ts";
import { EngineApi } from "./engine_api.ts";
import {
  type EngineListener,
  EngineWatch,
  type Inspected,
} from "./engine_watch.ts";
import { HostAddresses, plainAddress } from "./host_addresses.ts";
import { isSameFacts, Known } from "./known.ts";

/** For how long a client is held; SDKs in JavaScript give up then. */
const HOLD_MS = 1000;

/** How often things may change meanwhile before a client is given up. */
const MAX_ROUNDS = 20;

/** How many containers of one network are asked about; more share it, surely. */
const MAX_CANDIDATES = 64;

const MESSAGES: Readonly<Record<NoContainer, string>> = {
  "unknown": "No running container has this address",
  "shared": "Several containers share this address",
  "host": "This address is the host's own, or of a container in its network",
  "engine-unavailable": "The container engine cannot be asked right now",
};

/** What the containers of a host are looked at with. */
export type WatchPlatform = Pick<Platform, "clock" | "log" | "metrics">;

/** A container that may be meant, and who knows it. */
type Candidate = { readonly watch: EngineWatch; readonly id: string };

/** What the engines said of each candidate; undefined if one did not. */
type Confirmed = ReadonlyMap<string, Inspected> | undefined;

/**
 * Follows the containers of the engines at some sockets, also of those that
 * are not there yet.
 *
 * @param options `sockets` as {@link engineSockets} finds them.
 * @returns What tells one container from another; the caller closes it.
 */
export function watchContainers(
  { platform, sockets }: {
    readonly platform: WatchPlatform;
    readonly sockets: readonly string[];
  },
): Containers {
  const { clock } = platform;
  return watchEngines({
    platform,
    engines: sockets.map((socket) => new EngineApi(socket, clock)),
    host: new HostAddresses(clock),
  });
}

/**
 * Follows the containers of engines.
 *
 * @param options `host` knows the addresses that are no container's.
 * @returns As {@link watchContainers}.
 */
export function watchEngines(
  options: {
    readonly platform: WatchPlatform;
    readonly engines: readonly Engine[];
    readonly host: Pick<HostAddresses, "has">;
  },
): Containers {
  return new ContainerWatch(options.platform, options.engines, options.host);
}

class ContainerWatch implements Containers, EngineListener {
  readonly #platform: WatchPlatform;
  readonly #host: Pick<HostAddresses, "has">;
  readonly #watches: readonly EngineWatch[];
  /** By address, the container that was confirmed last. */
  readonly #known = new Map<string, { watch: EngineWatch; known: Known }>();
  readonly #changes = new Changes();
  #measured: number | undefined;

  constructor(
    platform: WatchPlatform,
    engines: readonly Engine[],
    host: Pick<HostAddresses, "has">,
  ) {
    this.#platform = platform;
    this.#host = host;
    this.#watches = engines.map((engine) =>
      new EngineWatch(platform, engine, this)
    );
  }

  get size(): number {
    return this.#watches.reduce(
      (sum, { isSynced, index }) => sum + (isSynced ? index.size : 0),
      0,
    );
  }

  async identify(address: string): Promise<Identified> {
    const found = await this.#identify(plainAddress(address));
    const outcome = "problem" in found ? found.problem : "container";
    this.#platform.metrics.count("container_look_ups_total", { outcome });
    return found;
  }

  async close(): Promise<void> {
    await Promise.all(this.#watches.map((watch) => watch.close()));
    for (const address of [...this.#known.keys()]) this.#end(address);
  }

  changed(address: string): void {
    this.#measure();
    this.#changes.wake(address);
    const found = this.#known.get(address);
    if (!found) return;
    const { watch, known: { facts } } = found;
    const [candidate, other] = this.#candidates(address)
      .filter(({ watch, id }) => watch.index.get(id)?.isRunning);
    const isSame = candidate?.watch === watch && candidate.id === facts.id &&
      watch.index.get(facts.id)?.startedAt === facts.startedAt;
    if (!isSame || other) this.#end(address);
  }

  described(
    watch: EngineWatch,
    { id, facts, endpoints }: ContainerState,
  ): void {
    this.#measure();
    for (const { address } of endpoints) {
      const found = this.#known.get(address);
      if (!facts || found?.watch !== watch || found.known.facts.id !== id) {
        continue;
      }
      if (!isSameFacts(found.known.facts, facts)) this.#end(address);
    }
  }

  unreadable(watch: EngineWatch, id: string): void {
    for (const address of watch.index.get(id)?.holdings.keys() ?? []) {
      const found = this.#known.get(address);
      if (found?.watch === watch && found.known.facts.id === id) {
        this.#end(address);
      }
    }
  }

  turned(watch: EngineWatch): void {
    this.#measure();
    this.#changes.wakeAll();
    if (watch.isSynced) return;
    for (const [address, found] of [...this.#known]) {
      if (found.watch === watch) this.#end(address);
    }
  }

  #measure(): void {
    const size = this.size;
    if (size === this.#measured) return;
    this.#measured = size;
    this.#platform.metrics.gauge("containers_known", size);
  }

  async #identify(address: string): Promise<Identified> {
    if (this.#host.has(address)) return nobody("host");
    const atMs = this.#platform.clock.now();
    const moments = new Map(
      this.#watches.map((watch) => [watch, { order: watch.index.order, atMs }]),
    );
    const late = Promise.withResolvers<"late">();
    const cancel = this.#platform.clock.after(
      HOLD_MS,
      () => late.resolve("late"),
    );
    try {
      return await this.#find(address, moments, late.promise);
    } finally {
      cancel();
    }
  }

  async #find(
    address: string,
    moments: ReadonlyMap<EngineWatch, Moment>,
    late: Promise<"late">,
  ): Promise<Identified> {
    let hasFailed = false;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const candidates = this.#candidates(address);
      if (candidates.length > MAX_CANDIDATES) return nobody("shared");
      if (candidates.length > 0) {
        const asked = confirm(candidates, moments);
        const confirmed = await Promise.race([asked, late]);
        if (confirmed === "late") return nobody("engine-unavailable");
        hasFailed = !confirmed;
        const found = this.#judge(address, confirmed, moments);
        if (found === "again") continue;
        if (found !== "wait") return found;
      } else {
        for (const watch of this.#watches) watch.refresh();
      }
      if (await this.#changes.wait(address, late)) break;
    }
    const isComplete = !hasFailed && this.#watches.length > 0 &&
      this.#watches.every(({ isSynced }) => isSynced);
    return nobody(isComplete ? "unknown" : "engine-unavailable");
  }

  /** Decides after the engines were asked; nothing is awaited meanwhile. */
  #judge(
    address: string,
    confirmed: Confirmed,
    moments: ReadonlyMap<EngineWatch, Moment>,
  ): Identified | "again" | "wait" {
    if (!confirmed) return "wait";
    const candidates = this.#candidates(address);
    if (candidates.some(({ id }) => !confirmed.get(id)?.isCurrent)) {
      return "again";
    }
    // What does not run has no connection; whoever starts it holds its lock, so
    // that the engine answers nobody until it says that it runs.
    const [candidate, other] = candidates
      .filter(({ id }) => confirmed.get(id)?.state?.isRunning);
    if (!candidate) return "again";
    if (other) return nobody("shared");
    const { watch, id } = candidate;
    const entry = watch.index.get(id);
    const { facts, endpoints } = confirmed.get(id)?.state ?? {};
    // To ask again would not make it shorter.
    if (!facts) return "wait";
    const moment = moments.get(watch);
    if (
      !entry || !moment || !watch.isComplete(moment.order) ||
      entry.startedAt !== facts.startedAt ||
      !endpoints?.some((endpoint) => endpoint.address === address)
    ) {
      return "again";
    }
    // Podman tells the address of whose network it shares, who is not known now.
    if (entry.joins !== undefined) return "wait";
    if (!watch.index.had(entry, address, moment)) return "wait";
    return this.#keep(address, watch, facts);
  }

  #keep(address: string, watch: EngineWatch, facts: ContainerFacts): Known {
    const found = this.#known.get(address);
    if (found?.watch === watch && isSameFacts(found.known.facts, facts)) {
      return found.known;
    }
    this.#end(address);
    const known = new Known(facts, address);
    this.#known.set(address, { watch, known });
    return known;
  }

  #end(address: string): void {
    const found = this.#known.get(address);
    this.#known.delete(address);
    found?.known.end();
  }

  /** Who has an address, and who shares the network of those who have. */
  #candidates(address: string): Candidate[] {
    const found: Candidate[] = [];
    for (const watch of this.#watches) {
      if (!watch.isSynced) continue;
      const ids = watch.index.holders(address)
        .flatMap((holder) => [holder.id, ...watch.index.joiners(holder)]);
      for (const id of new Set(ids)) found.push({ watch, id });
    }
    return found;
  }
}

/**
 * Asks whether there are others, and then about all of them: who still runs then
 * had the address while the list was made, and so had whoever shares it.
 */
async function confirm(
  candidates: readonly Candidate[],
  moments: ReadonlyMap<EngineWatch, Moment>,
): Promise<Confirmed> {
  const watches = new Set(candidates.map(({ watch }) => watch));
  try {
    await Promise.all(
      watches.values().map((watch) =>
        watch.complete(moments.get(watch)?.order ?? Infinity)
      ),
    );
    const answers = candidates.map(async ({ watch, id }) =>
      [id, await watch.confirm(id)] as const
    );
    return new Map(await Promise.all(answers));
  } catch {
    // Its watch says why, and looks for the engine.
    return undefined;
  }
}

function nobody(problem: NoContainer): Identified {
  return { problem, message: MESSAGES[problem] };
}
