/**
 * Which container of an engine has which address, as a state machine without
 * I/O: told what the engine says and what happens, in whatever order.
 *
 * What an event means is never concluded from it: it takes away, and makes
 * older answers worthless; the next answer says what is. So no order of events
 * can leave the index wrong for longer than one question takes. One file,
 * because it is one state machine.
 *
 * @module
 */

import type { ContainerState, Endpoint, EngineEvent } from "./engine.ts";

/** An address of a container, and since when it has it. */
export interface Holding extends Omit<Endpoint, "address"> {
  /** When the index learned it: see {@link Moment.order}. */
  readonly order: number;
  /** By the engine's clock, the earliest time that is certain; may be Infinity. */
  readonly sinceMs: number;
}

/** What the index keeps of a container: less than 2 KiB. */
export interface Entry {
  /** Its id. */
  readonly id: string;
  /** Its name. */
  readonly name: string;
  /** Whether its processes exist. */
  readonly isRunning: boolean;
  /** Whether it ended, and may be started anew. */
  readonly hasExited: boolean;
  /** Which start this is; undefined until it was inspected. */
  readonly startedAt: string | undefined;
  /** Id or name of the container whose network it shares. */
  readonly joins: string | undefined;
  /** Whether nothing said yet whose network it shares. */
  readonly isPartial: boolean;
  /** Which question its description answers: see {@link ContainerIndex.ask}. */
  readonly asked: number;
  /** By address. */
  readonly holdings: ReadonlyMap<string, Holding>;
}

/** When somebody asked. */
export interface Moment {
  /** What the index had learned: it counts, and no clock can turn it back. */
  readonly order: number;
  /** By the clock; ms since the Unix epoch. */
  readonly atMs: number;
}

/** It will never be again. */
const DESTROYED = new Set(["destroy", "remove"]);

/** The end of a container's processes, or of itself. */
const GONE = new Set(["die", "died", "stop", "checkpoint", ...DESTROYED]);

/** Addresses are given before, processes run after. */
const BEGUN = new Set(["connect", "init"]);

/** What else changes a container. */
const CHANGED = new Set([
  "create",
  "start",
  "restart",
  "pause",
  "unpause",
  "rename",
  "update",
  "restore",
]);

/** All events that say something of containers; engines have many more. */
export const FOLLOWED_ACTIONS: readonly string[] = [
  ...[...GONE, ...BEGUN, ...CHANGED],
  "disconnect",
];

/** What engines turn the names of containers into. */
const ID = /^[0-9a-f]{64}$/;

/** In place of a network's id, where the engine names none. */
const ANY = "";

/** The containers of one engine. */
export class ContainerIndex {
  readonly #onChange: (address: string) => void;
  readonly #entries = new Map<string, Entry>();
  readonly #byAddress = new Map<string, Entry[]>();
  readonly #joiners = new Map<string, Set<string>>();
  /** Of those destroyed while others shared their network, whose it was: Docker allows that. */
  readonly #ghosts = new Map<string, string>();
  /** Whose network they share is not known, and something happened to them. */
  readonly #unread = new Set<string>();
  /** By container and network, when it was given an address, until an answer has it. */
  readonly #begun = new Map<string, Map<string, number>>();
  /** Those that run in a network which no event is about: podman's "ns:PATH". */
  readonly #foreign = new Set<string>();
  /** Questions that are not answered yet. */
  readonly #asked = new Set<number>();
  /** By container, its last event while questions are open. */
  readonly #touched = new Map<string, number>();
  #order = 0;
  #exited = 0;

  /** An empty index; `onChange` is told each address whose containers changed. */
  constructor(onChange: (address: string) => void) {
    this.#onChange = onChange;
  }

  /** How many containers exist, but for those that ended. */
  get size(): number {
    return this.#entries.size - this.#exited;
  }

  /** What has been learned until now: see {@link Moment.order}. */
  get order(): number {
    return this.#order;
  }

  /** What is known of a container. */
  get(id: string): Entry | undefined {
    return this.#entries.get(id);
  }

  /** The containers that have an address. */
  holders(address: string): readonly Entry[] {
    return this.#byAddress.get(address) ?? [];
  }

  /** Containers that run in a network which may get addresses without an event. */
  get foreign(): ReadonlySet<string> {
    return this.#foreign;
  }

  /** Containers that may share anybody's network, until they are described. */
  get unread(): ReadonlySet<string> {
    return this.#unread;
  }

  /**
   * The containers in another one's network, also through others, whether
   * they run or not: one that ended may be started before its event comes.
   */
  joiners({ id, name }: Entry): readonly string[] {
    const found = new Set<string>();
    const keys = [id, name];
    for (const key of keys) {
      for (const joiner of this.#joiners.get(key) ?? []) {
        if (found.has(joiner)) continue;
        found.add(joiner);
        keys.push(joiner, this.#entries.get(joiner)?.name ?? joiner);
      }
    }
    return [...found].filter((joiner) => this.#entries.has(joiner));
  }

  /**
   * Tells whether a container that has an address now had it at a moment
   * before: either the index knew it then, and it is the same start and the
   * same entry into the network; or the engine's own times say so.
   */
  had({ holdings }: Entry, address: string, moment: Moment): boolean {
    const holding = holdings.get(address);
    return holding !== undefined &&
      (holding.order <= moment.order || holding.sinceMs <= moment.atMs);
  }

  /** Must be called before a question is sent; {@link answered} ends it. */
  ask(): number {
    const ask = ++this.#order;
    this.#asked.add(ask);
    return ask;
  }

  /** Forgets a question and what only its answer needed. */
  answered(ask: number): void {
    this.#asked.delete(ask);
    const oldest = this.#asked.values().next().value ?? Infinity;
    for (const [id, order] of this.#touched) {
      if (order > oldest) break;
      this.#touched.delete(id);
    }
  }

  /**
   * Takes what an engine said of one container.
   *
   * @param ask The question, as {@link ask} gave it.
   * @param id Which container.
   * @param state Undefined if there is none.
   * @returns False for an answer that an event has overtaken: nothing changes
   * but what holds for as long as the container exists.
   */
  apply(ask: number, id: string, state: ContainerState | undefined): boolean {
    if ((this.#touched.get(id) ?? 0) > ask) {
      if (state) this.#learnJoins(state);
      return false;
    }
    const before = this.#entries.get(id);
    // What was asked later is known already.
    if (before && before.asked > ask) return true;
    if (state && isBlind(state) && !(before && isDescribed(before))) {
      this.#unread.add(id);
    } else {
      this.#unread.delete(id);
    }
    this.#put(id, before, state && this.#learn(ask, state, before));
    const isSettled = !state || state.hasExited;
    if (isSettled || (state.isRunning && state.facts)) this.#begun.delete(id);
    return true;
  }

  /** Takes a list of all containers, which ends those that it lacks. */
  replace(ask: number, states: readonly ContainerState[]): void {
    const listed = new Set(states.map(({ id }) => id));
    for (const id of [...this.#entries.keys(), ...this.#unread]) {
      if (!listed.has(id)) this.apply(ask, id, undefined);
    }
    for (const state of states) this.apply(ask, state.id, state);
  }

  /**
   * Takes an event.
   *
   * @returns Whether the container must be inspected.
   */
  happened({ container: id, action, network, atMs }: EngineEvent): boolean {
    if (GONE.has(action)) {
      this.#touch(id);
      this.#begun.delete(id);
      this.#withdraw(id, DESTROYED.has(action));
      if (DESTROYED.has(action)) this.#unread.delete(id);
      return !DESTROYED.has(action);
    }
    if (action === "disconnect") {
      this.#touch(id);
      this.#begun.get(id)?.delete(network ?? ANY);
      this.#withdrawFrom(id, network);
      return true;
    }
    if (!BEGUN.has(action) && !CHANGED.has(action)) return false;
    this.#touch(id);
    if (BEGUN.has(action)) this.#begin(id, network ?? ANY, atMs);
    return true;
  }

  /** Forgets events: some were missed. */
  lose(): void {
    this.#begun.clear();
    this.#unread.clear();
  }

  #touch(id: string): void {
    const order = ++this.#order;
    if (this.#entries.get(id)?.isPartial !== false) this.#unread.add(id);
    if (this.#asked.size === 0) return;
    this.#touched.delete(id);
    this.#touched.set(id, order);
  }

  #begin(id: string, network: string, atMs: number): void {
    const begun = this.#begun.get(id) ?? new Map<string, number>();
    begun.set(network, Math.max(atMs, begun.get(network) ?? -Infinity));
    this.#begun.set(id, begun);
  }

  /** Takes all addresses from a container; it may share a network again later. */
  #withdraw(id: string, isDestroyed: boolean): void {
    const before = this.#entries.get(id);
    if (!before) return;
    const after = { ...before, isRunning: false, holdings: new Map() };
    this.#put(id, before, isDestroyed ? undefined : after);
  }

  #withdrawFrom(id: string, network: string | undefined): void {
    const before = this.#entries.get(id);
    if (!before) return;
    const left = [...before.holdings].filter(([, holding]) =>
      network !== undefined && holding.network !== network
    );
    this.#put(id, before, { ...before, holdings: new Map(left) });
  }

  /** One that ends and starts all the time must not stay unread: that stops all others. */
  #learnJoins({ id, name, joins, isPartial }: ContainerState): void {
    const before = this.#entries.get(id);
    // Not of one that was destroyed, or whose addresses only its run can tell.
    const isNew = before?.isPartial ?? this.#unread.has(id);
    if (!isNew || isPartial || isForeignNetwork(joins)) return;
    this.#unread.delete(id);
    const unknown = {
      ...{ isRunning: false, hasExited: false, startedAt: undefined, asked: 0 },
      holdings: new Map<string, Holding>(),
    };
    this.#put(id, before, {
      ...(before ?? { id, name, ...unknown }),
      joins,
      isPartial: false,
    });
  }

  #learn(
    asked: number,
    state: ContainerState,
    before: Entry | undefined,
  ): Entry {
    const order = ++this.#order;
    // A list does not tell the start: the next inspection will.
    const startedAt = state.facts?.startedAt ??
      (before?.isRunning ? before.startedAt : undefined);
    const isSameRun = before !== undefined && before.isRunning &&
      state.isRunning &&
      (!state.facts || before.startedAt === state.facts.startedAt);
    const isKept = isSameRun && isBlind(state);
    const holdings = new Map(isKept ? before.holdings : []);
    for (const { address, network, endpoint } of state.endpoints) {
      const known = before?.holdings.get(address);
      const isKnown = known !== undefined && known.endpoint === endpoint &&
        (isSameRun || endpoint !== "");
      // An address that came while it ran: its start says nothing.
      const isLater = isSameRun && !(isKnown && known.sinceMs < Infinity);
      const sinceMs = isLater ? Infinity : this.#since(state, network);
      holdings.set(
        address,
        isKnown
          ? { ...known, sinceMs: Math.min(known.sinceMs, sinceMs) }
          : { network, endpoint, order, sinceMs },
      );
    }
    const { id, name, isRunning, hasExited } = state;
    return {
      ...{ id, name, isRunning, hasExited, startedAt, asked, holdings },
      // It is the same for as long as the container exists.
      joins: state.joins ?? before?.joins,
      isPartial: state.isPartial && before?.isPartial !== false,
    };
  }

  /** Since when a container certainly has the addresses that it started with, by the engine's clock. */
  #since(
    { id, facts, finishedAt }: ContainerState,
    network: string,
  ): number {
    if (!facts) return Infinity;
    const begun = this.#begun.get(id);
    const begunAt = begun?.get(network) ?? begun?.get(ANY) ?? -Infinity;
    const startedAt = instant(facts.startedAt);
    // What was before the end of its last run is of that run.
    return begunAt > instant(finishedAt ?? "") ? begunAt : startedAt;
  }

  #put(id: string, before: Entry | undefined, after: Entry | undefined): void {
    if (after) this.#entries.set(id, after);
    else this.#entries.delete(id);
    if (after?.isRunning && isForeignNetwork(after.joins)) {
      this.#foreign.add(id);
    } else this.#foreign.delete(id);
    this.#exited += Number(after?.hasExited ?? 0) -
      Number(before?.hasExited ?? 0);
    const changed = new Set([
      ...before?.holdings.keys() ?? [],
      ...after?.holdings.keys() ?? [],
    ]);
    for (const address of changed) this.#setHolder(address, before, after);
    if (
      before?.joins !== after?.joins || before?.isRunning !== after?.isRunning
    ) {
      const target = after?.joins ?? before?.joins;
      for (const address of this.#shared(target)) changed.add(address);
    }
    this.#relate(id, before?.joins, after);
    for (const address of changed) this.#onChange(address);
  }

  #setHolder(
    address: string,
    before: Entry | undefined,
    after: Entry | undefined,
  ): void {
    const others = this.holders(address).filter((entry) => entry !== before);
    if (after?.holdings.has(address)) others.push(after);
    if (others.length > 0) this.#byAddress.set(address, others);
    else this.#byAddress.delete(address);
  }

  #relate(
    id: string,
    before: string | undefined,
    after: Entry | undefined,
  ): void {
    this.#ghosts.delete(id);
    if (!after && before !== undefined && this.#joiners.has(id)) {
      this.#ghosts.set(id, before);
    } else if (before !== after?.joins) {
      this.#leave(id, before);
      this.#join(id, after?.joins);
    }
  }

  #join(id: string, target: string | undefined): void {
    if (target === undefined) return;
    const joiners = this.#joiners.get(target) ?? new Set();
    this.#joiners.set(target, joiners.add(id));
  }

  #leave(id: string, target: string | undefined): void {
    if (target === undefined) return;
    const joiners = this.#joiners.get(target);
    joiners?.delete(id);
    if (joiners?.size !== 0) return;
    this.#joiners.delete(target);
    // Nobody needs to know any more whose network that was.
    this.#leave(target, this.#ghosts.get(target));
    this.#ghosts.delete(target);
  }

  /** The addresses of a network that somebody shares, also through others. */
  #shared(target: string | undefined): Set<string> {
    const addresses = new Set<string>();
    const seen = new Set<string>();
    while (target !== undefined && !seen.has(target)) {
      seen.add(target);
      const entry = this.#find(target);
      for (const address of entry?.holdings.keys() ?? []) {
        addresses.add(address);
      }
      target = entry ? entry.joins : this.#ghosts.get(target);
    }
    return addresses;
  }

  /** Names are rare: engines turn them into ids. */
  #find(target: string): Entry | undefined {
    return this.#entries.get(target) ??
      (ID.test(target)
        ? undefined
        : this.#entries.values().find(({ name }) => name === target));
  }
}

/** Whether it may have addresses that are left out: podman lists none of "ns:PATH". */
function isBlind({ isPartial, isRunning, endpoints }: ContainerState): boolean {
  return isPartial && isRunning && endpoints.length === 0;
}

/** Whether it was described in full; where its addresses are not its own, this run of it. */
function isDescribed({ isPartial, isRunning, joins }: Entry): boolean {
  return !isPartial && (isRunning || !isForeignNetwork(joins));
}

/** Podman's "ns:PATH": it has no addresses of its own. */
function isForeignNetwork(joins: string | undefined): boolean {
  return joins?.startsWith("ns:") ?? false;
}

/** The first full millisecond after an instant: RFC 3339 with nanoseconds. */
function instant(text: string): number {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) return Infinity;
  return /\.\d{3}\d*[1-9]/.test(text) ? ms + 1 : ms;
}
