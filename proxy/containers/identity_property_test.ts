/**
 * Whatever the order in which an engine's events and answers come, no
 * container is named for an address that it did not have when it was asked.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MoatError } from "$core/errors.ts";
import { FakeClock, settle } from "../../tests/support/fake_clock.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import type { Containers } from "./containers.ts";
import type { ContainerState, Engine, EngineEvent } from "./engine.ts";
import { watchEngines } from "./watch.ts";

const ADDRESSES = ["10.0.0.1", "10.0.0.2"];
const NEVER = "0001-01-01T00:00:00Z";
const SLOTS = ["a", "b"];
/** Containers in the network of another one. */
const JOINERS = ["j", "k"];

/** One time that a container runs, from when its address is given. */
interface Start {
  readonly id: string;
  startedAt?: string;
}

/** What really is. */
interface Real {
  name: string;
  run: Start | undefined;
  /** Its endpoint by address. */
  addresses: Map<string, string>;
  /** Whose network it shares. */
  joins: string | undefined;
  finishedAt: string;
}

/** A question whose answer is taken from the truth, and sent later. */
interface Asked {
  /** Whose locks it needs: whoever starts a container holds its lock. */
  readonly locks: () => Iterable<string>;
  readonly take: () => unknown;
  readonly send: (answer: unknown) => void;
  readonly fail: (error: unknown) => void;
  answer?: unknown;
  isTaken: boolean;
}

/** An engine whose every move is a step of the test. */
class World implements Engine {
  readonly socket = "/model";
  readonly clock: FakeClock;
  readonly real = new Map<string, Real>();
  readonly asked: Asked[] = [];
  /** Containers, their starts, and addresses that they got while they ran. */
  readonly further = new Set<string>();
  /** Events that are on their way. */
  sent: EngineEvent[] = [];
  readonly #tellsEndpoints: boolean;
  #wake: (() => void) | undefined;
  #arrived: EngineEvent[] = [];
  #isOpen = false;
  readonly #destroyed = new Map<string, number>();
  #last = 0;

  constructor(clock: FakeClock, tellsEndpoints: boolean) {
    this.clock = clock;
    this.#tellsEndpoints = tellsEndpoints;
  }

  events(signal: AbortSignal): Promise<AsyncIterable<EngineEvent>> {
    this.#arrived = [];
    this.sent = [];
    this.#isOpen = true;
    signal.addEventListener("abort", () => this.lose());
    return Promise.resolve(this.#stream());
  }

  get hasLateEvents(): boolean {
    return !this.#tellsEndpoints;
  }

  list(): Promise<readonly ContainerState[]> {
    const isPodman = !this.#tellsEndpoints;
    return this.#ask(
      // Docker lists what it knew last.
      () => isPodman ? this.real.keys() : [],
      () =>
        [...this.real.keys()].flatMap((id) => {
          const state = this.#state(id);
          const unsaid = { facts: undefined, finishedAt: undefined };
          const partial = isPodman && { joins: undefined, isPartial: true };
          return state ? [{ ...state, ...unsaid, ...partial }] : [];
        }),
    );
  }

  inspect(id: string): Promise<ContainerState | undefined> {
    return this.#ask(() => [id], () => this.#state(id));
  }

  close(): void {
    this.lose();
  }

  /** The container of a slot; no id comes back after it was destroyed. */
  id(slot: string): string {
    return `${slot}${this.#destroyed.get(slot) ?? 0}`;
  }

  /** Who has an address. */
  holder(address: string): Start | undefined {
    return this.real.values().find((real) => real.addresses.has(address))?.run;
  }

  /** Who else runs in the network of a container. */
  sharers(id: string): Start[] {
    return this.real.values().filter((real) =>
      real.run && real.joins !== undefined && this.#root(real) === id
    ).map(({ run }) => run).filter((run) => run !== undefined).toArray();
  }

  /** Puts a container into the network of another one. */
  join(slot: string, target: string): void {
    const id = this.id(slot);
    const joins = this.id(target);
    if (this.real.has(id) || !this.real.has(joins) || slot === target) return;
    this.real.set(id, {
      ...{ name: slot, run: undefined, finishedAt: NEVER, joins },
      addresses: new Map(),
    });
    this.#send(id, "create");
    // Docker tells it before it can start.
    if (this.#tellsEndpoints) this.deliver(this.sent.length - 1);
  }

  /** Starts a container in another one's network; its client may ask at once. */
  async run(slot: string): Promise<void> {
    const id = this.id(slot);
    const real = this.real.get(id);
    if (!real?.joins || real.run || !this.real.get(real.joins)?.run) return;
    await this.tick();
    real.run = { id };
  }

  /** Gives a container that runs a further address, as Docker does. */
  connect(slot: string, address: string): void {
    const id = this.id(slot);
    const real = this.real.get(id);
    if (!this.#tellsEndpoints || this.holder(address)) return;
    if (!real?.run?.startedAt || real.joins) return;
    real.addresses.set(address, `e${++this.#last}`);
    this.further.add(`${id} ${real.run.startedAt} ${address}`);
    this.#send(id, "connect", address);
  }

  /** Takes an address away from whoever has it. */
  disconnect(address: string): void {
    const holder = this.holder(address);
    if (!this.#tellsEndpoints || !holder?.startedAt) return;
    this.real.get(holder.id)?.addresses.delete(address);
    this.#send(holder.id, "disconnect", address);
  }

  /** Gives a container its address, before its processes run. */
  async begin(slot: string, address: string): Promise<void> {
    const id = this.id(slot);
    const before = this.real.get(id);
    if (before?.run || this.holder(address)) return;
    if (!before) this.#send(id, "create");
    await this.tick();
    const real: Real = {
      name: before?.name ?? "n",
      joins: undefined,
      run: { id },
      finishedAt: before?.finishedAt ?? NEVER,
      addresses: new Map([
        [address, this.#tellsEndpoints ? `e${++this.#last}` : ""],
      ]),
    };
    this.real.set(id, real);
    if (this.#tellsEndpoints) this.#send(id, "connect", address);
    else this.#send(id, "init");
  }

  /** Its processes run; its engine says so a little later. */
  async start(slot: string): Promise<void> {
    const id = this.id(slot);
    const run = this.real.get(id)?.run;
    if (!run || run.startedAt !== undefined) return;
    await this.tick();
    run.startedAt = new Date(this.clock.now()).toISOString();
    this.#send(id, "start");
  }

  async die(slot: string, isDestroyed: boolean): Promise<void> {
    const id = this.id(slot);
    const real = this.real.get(id);
    if (!real?.run?.startedAt) return;
    await this.tick();
    real.run = undefined;
    real.finishedAt = new Date(this.clock.now()).toISOString();
    this.#send(id, "die");
    if (this.#tellsEndpoints) {
      for (const address of real.addresses.keys()) {
        this.#send(id, "disconnect", address);
      }
    }
    real.addresses = new Map();
    // Nor does podman destroy one whose network others share.
    const isNeeded = this.real.values().some(({ joins }) => joins === id);
    if (!isDestroyed || isNeeded) return;
    this.real.delete(id);
    this.#destroyed.set(slot, (this.#destroyed.get(slot) ?? 0) + 1);
    this.#send(id, "destroy");
  }

  /** Another one gets the address at once. */
  async takeOver(slot: string, address: string): Promise<void> {
    const holder = this.holder(address)?.id;
    await this.die(slot, false);
    for (const other of SLOTS) {
      if (this.id(other) === holder) await this.die(other, false);
    }
    await this.begin(slot, address);
    await this.start(slot);
  }

  rename(slot: string): void {
    const id = this.id(slot);
    const real = this.real.get(id);
    if (!real) return;
    real.name += "x";
    this.#send(id, "rename");
  }

  /** Lets an event arrive, perhaps before an older one. */
  deliver(index: number): void {
    const [event] = this.sent.splice(index % (this.sent.length || 1), 1);
    if (!event || !this.#isOpen) return;
    this.#arrived.push(event);
    this.#wake?.();
  }

  /** Takes an answer from the truth, or sends one that was taken. */
  answer(index: number, isSent: boolean): void {
    const free = this.asked.filter(({ isTaken, locks }) =>
      isTaken || [...locks()].every((id) => !this.#isLocked(id))
    );
    const asked = free[index % (free.length || 1)];
    if (!asked) return;
    if (!asked.isTaken) asked.answer = asked.take();
    asked.isTaken = true;
    if (!isSent) return;
    this.asked.splice(this.asked.indexOf(asked), 1);
    asked.send(asked.answer);
  }

  /** Ends the events and all questions. */
  lose(): void {
    this.#isOpen = false;
    this.#wake?.();
    const error = new MoatError("engine-unavailable", "Cannot ask");
    for (const { fail } of this.asked.splice(0)) fail(error);
  }

  async tick(ms = 1): Promise<void> {
    await this.clock.advance(ms);
  }

  #isLocked(id: string): boolean {
    const run = this.real.get(id)?.run;
    return run !== undefined && run.startedAt === undefined;
  }

  #root({ joins }: Real): string | undefined {
    const target = joins === undefined ? undefined : this.real.get(joins);
    return target?.joins ? this.#root(target) : joins;
  }

  #ask<T>(locks: Asked["locks"], take: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const send = (answer: unknown) => resolve(answer as T);
      this.asked.push({ locks, take, send, fail: reject, isTaken: false });
    });
  }

  #send(container: string, action: string, network?: string): void {
    const atMs = this.clock.now();
    this.sent.push({ container, action, network, atMs });
  }

  #state(id: string): ContainerState | undefined {
    const real = this.real.get(id);
    if (!real) return undefined;
    const { name, run, joins, finishedAt } = real;
    const isRunning = run?.startedAt !== undefined;
    // Podman tells the addresses of the one whose network it is.
    const owner = joins === undefined
      ? real
      : this.#tellsEndpoints
      ? undefined
      : this.real.get(this.#root(real) ?? "");
    return {
      id,
      name,
      isRunning,
      hasExited: run === undefined,
      endpoints: isRunning
        ? [...owner?.addresses ?? []].map(([address, endpoint]) => (
          { address, network: address, endpoint }
        ))
        : [],
      joins,
      isPartial: false,
      finishedAt,
      facts: {
        id,
        name,
        image: "",
        env: {},
        labels: {},
        startedAt: run?.startedAt ?? NEVER,
      },
    };
  }

  async *#stream(): AsyncGenerator<EngineEvent> {
    while (this.#isOpen) {
      const event = this.#arrived.shift();
      if (event) yield event;
      else await new Promise<void>((wake) => this.#wake = wake);
    }
  }
}

/** One move of the world, of the wire, or of a client. */
type Step =
  | readonly ["begin" | "takeOver" | "connect", slot: string, address: string]
  | readonly ["join", slot: string, target: string]
  | readonly ["run", slot: string]
  | readonly ["disconnect", address: string]
  | readonly ["die", slot: string, isDestroyed: boolean]
  | readonly ["start" | "rename", slot: string]
  | readonly ["deliver", index: number]
  | readonly ["answer", index: number, isSent: boolean]
  | readonly ["tick", ms: number]
  | readonly ["look", address: string]
  | readonly ["drain" | "lose"];

/** A run of the test. */
class Run {
  readonly world: World;
  readonly containers: Containers;
  readonly looks: Promise<void>[] = [];
  /** How many containers were named. */
  named = 0;

  constructor(tellsEndpoints: boolean) {
    const platform = fakePlatform();
    this.world = new World(platform.clock, tellsEndpoints);
    this.containers = watchEngines({
      platform,
      engines: [this.world],
      host: { has: () => false },
    });
  }

  async step(step: Step): Promise<void> {
    const { world } = this;
    switch (step[0]) {
      case "begin":
      case "takeOver":
      case "connect":
      case "join":
        await world[step[0]](step[1], step[2]);
        break;
      case "start":
      case "rename":
      case "run":
      case "disconnect":
        await world[step[0]](step[1]);
        break;
      case "die":
        await world.die(step[1], step[2]);
        break;
      case "deliver":
        world.deliver(step[1]);
        break;
      case "answer":
        world.answer(step[1], step[2]);
        break;
      case "tick":
        await world.tick(step[1]);
        break;
      case "look":
        this.look(step[1]);
        break;
      case "drain":
        await this.drain();
        break;
      case "lose":
        world.lose();
    }
    await rest();
  }

  /**
   * A client comes: whoever is named must have the address now, and nobody else
   * who may be the client may still run.
   */
  look(address: string): void {
    const { world } = this;
    const holder = world.holder(address);
    const sharers = holder ? world.sharers(holder.id) : [];
    this.looks.push((async () => {
      const found = await this.containers.identify(address);
      if ("problem" in found) return;
      this.named++;
      const { id, startedAt } = found.facts;
      // No engine tells since when it has that: the client has it no more, or
      // nobody had it, so that there is no client.
      const isFurther = world.further.has(`${id} ${startedAt} ${address}`);
      if (isFurther && (!holder || world.holder(address) !== holder)) return;
      assert.deepEqual({ id, startedAt }, holder);
      const left = sharers.filter((run) => world.real.get(run.id)?.run === run);
      assert.deepEqual(left, []);
      assert.equal(found.isCurrent, true);
    })());
  }

  /** Lets everything arrive that is on its way. */
  async drain(): Promise<void> {
    const { world } = this;
    for (const slot of [...SLOTS, ...JOINERS]) await world.start(slot);
    for (let i = 0; i < 200; i++) {
      await rest();
      if (world.sent.length + world.asked.length === 0) break;
      world.deliver(0);
      world.answer(0, true);
    }
  }
}

async function rest(): Promise<void> {
  for (let i = 0; i < 3; i++) await settle();
}

const slots = fc.constantFrom(...SLOTS);
const joiners = fc.constantFrom(...JOINERS);
const addresses = fc.constantFrom(...ADDRESSES);
const few = fc.nat({ max: 4 });

/** In-order delivery is what engines promise; the other is what may happen. */
function steps(isOrdered: boolean): fc.Arbitrary<Step> {
  const one = fc.constant;
  const event = isOrdered ? one(0) : few;
  const weighted: readonly [number, fc.Arbitrary<Step>][] = [
    [4, fc.tuple(one("look"), addresses)],
    [8, fc.tuple(one("answer"), few, fc.boolean())],
    [8, fc.tuple(one("deliver"), event)],
    [2, fc.tuple(one("drain"))],
    [2, fc.tuple(one("begin"), slots, addresses)],
    [3, fc.tuple(one("start"), slots)],
    [1, fc.tuple(one("die"), slots, fc.boolean())],
    [3, fc.tuple(one("takeOver"), slots, addresses)],
    [1, fc.tuple(one("rename"), slots)],
    [1, fc.tuple(one("connect"), slots, addresses)],
    [1, fc.tuple(one("disconnect"), addresses)],
    [3, fc.tuple(one("join"), joiners, fc.oneof(slots, joiners))],
    [4, fc.tuple(one("run"), joiners)],
    [3, fc.tuple(one("start"), joiners)],
    [2, fc.tuple(one("die"), joiners, fc.boolean())],
    [1, fc.tuple(one("tick"), fc.constantFrom(1, 400))],
    [1, fc.tuple(one("lose"))],
  ];
  return fc.oneof(
    ...weighted.map(([weight, arbitrary]) => ({ weight, arbitrary })),
  );
}

for (const tellsEndpoints of [true, false]) {
  for (const isOrdered of [true, false]) {
    const order = isOrdered ? "in order" : "in any order";
    const like = tellsEndpoints ? "Docker" : "podman";

    Deno.test(`identify() never names another one, with events of ${like} ${order}`, async () => {
      let named = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.array(steps(isOrdered), { minLength: 30, maxLength: 120 }),
          async (all) => {
            const run = new Run(tellsEndpoints);
            try {
              for (const step of all) await run.step(step);
              await run.drain();
              await run.world.tick(1000);
              await run.drain();
              await Promise.all(run.looks);
              named += run.named;
            } finally {
              await run.containers.close();
            }
          },
        ),
        { numRuns: 2000 },
      );
      assert.ok(named > 200, `only ${named} were named at all`);
    });

    Deno.test(`identify() names whoever is left, after events of ${like} ${order}`, async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(steps(isOrdered), { minLength: 10, maxLength: 60 }),
          async (all) => {
            const run = new Run(tellsEndpoints);
            try {
              for (const step of all) await run.step(step);
              for (let i = 0; i < 4; i++) {
                await run.drain();
                await run.world.tick(5000);
              }
              await run.drain();
              for (const address of ADDRESSES) {
                const asked = run.containers.identify(address);
                await run.drain();
                await run.world.tick(1000);
                const found = await asked;
                const start = "problem" in found ? undefined : {
                  id: found.facts.id,
                  startedAt: found.facts.startedAt,
                };
                const holder = run.world.holder(address);
                const isAlone = holder?.startedAt &&
                  run.world.sharers(holder.id).length === 0;
                assert.deepEqual(start, isAlone ? holder : undefined);
              }
            } finally {
              await run.containers.close();
              await Promise.all(run.looks);
            }
          },
        ),
        { numRuns: 500 },
      );
    });
  }
}
