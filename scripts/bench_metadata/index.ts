/**
 * Speed and memory of what knows containers by their addresses, without a
 * network: the index, and the whole look-up with an engine that answers at
 * once. It is a program of its own, which prints {@link IndexFigures}, since
 * only with `--v8-flags=--expose-gc` garbage is not counted.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- stdout is its protocol

import { systemClock } from "$core/clock.ts";
import { silentLog } from "$core/log.ts";
import { noMetrics } from "$core/metrics.ts";
import { ContainerIndex } from "$proxy/containers/container_index.ts";
import type { ContainerState, Engine } from "$proxy/containers/engine.ts";
import { readInspected, readListed } from "$proxy/containers/engine_answers.ts";
import { HostAddresses } from "$proxy/containers/host_addresses.ts";
import { watchEngines } from "$proxy/containers/watch.ts";
import {
  type BenchContainer,
  inspectedJson,
  listedJson,
  makeContainers,
} from "./fake_engine.ts";

/** How many containers there are. */
export const CONTAINERS = 10_000;

const LOOK_UPS = 100_000;
const IDENTIFICATIONS = 5_000;
const ROUNDS = 5;
const NO_GATEWAYS = new Map();

/** What is measured. */
export interface IndexFigures {
  /** µs until it is known whom to ask about, one for each round. */
  readonly lookUpMicros: readonly number[];
  /** µs of a whole look-up, with an engine that answers at once. */
  readonly identifyMicros: readonly number[];
  /** Bytes of heap for each container. */
  readonly bytesEach: number;
}

/** Of {@link CONTAINERS}. */
async function benchIndex(): Promise<IndexFigures> {
  const containers = makeContainers(CONTAINERS);
  const addresses = shuffled(containers.map(({ address }) => address));
  const { index, bytesEach } = await fillIndex(containers);
  const lookUpMicros = benchLookUp(index, addresses);
  const identifyMicros = await benchIdentify(containers, addresses);
  return { lookUpMicros, identifyMicros, bytesEach };
}

async function fillIndex(containers: readonly BenchContainer[]) {
  // As an engine sends it, so that what an answer is made of counts if the
  // index holds on to it.
  const text = JSON.stringify(containers.map(listedJson));
  const index = new ContainerIndex(() => {});
  const before = await heapUsed();
  const fill = () => {
    const rows: unknown[] = JSON.parse(text);
    const states = rows.map((row) => readListed(row)!.state(NO_GATEWAYS));
    const ask = index.ask();
    index.replace(ask, states);
    index.answered(ask);
  };
  fill();
  const bytesEach = (await heapUsed() - before) / CONTAINERS;
  if (index.size !== CONTAINERS) throw new Error("a container is not known");
  return { index, bytesEach };
}

/** The heap without garbage. */
async function heapUsed(): Promise<number> {
  const { gc } = globalThis as { gc?: () => void };
  if (!gc) throw new Error("wanted --v8-flags=--expose-gc");
  for (let i = 0; i < 3; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return Deno.memoryUsage().heapUsed;
}

/** What the proxy does before it asks the engine. */
function benchLookUp(
  index: ContainerIndex,
  addresses: readonly string[],
): number[] {
  const host = new HostAddresses(systemClock);
  const micros: number[] = [];
  // The first round is for the compiler.
  for (let round = -1; round < ROUNDS; round++) {
    const startedAt = performance.now();
    for (let i = 0; i < LOOK_UPS; i++) {
      const address = addresses[i % addresses.length] ?? "";
      const moment = { order: index.order, atMs: systemClock.now() };
      const [holder] = index.holders(address);
      if (!holder || host.has(address)) throw new Error("it is not known");
      const others = index.joiners(holder).length;
      if (others > 0 || !index.had(holder, address, moment)) {
        throw new Error("it is not the one");
      }
    }
    if (round >= 0) {
      micros.push((performance.now() - startedAt) * 1000 / LOOK_UPS);
    }
  }
  return micros;
}

async function benchIdentify(
  containers: readonly BenchContainer[],
  addresses: readonly string[],
): Promise<number[]> {
  const watched = watchEngines({
    platform: { clock: systemClock, log: silentLog, metrics: noMetrics },
    engines: [new InstantEngine(containers)],
    host: new HostAddresses(systemClock),
  });
  const micros: number[] = [];
  try {
    for (let round = -1; round < ROUNDS; round++) {
      const startedAt = performance.now();
      for (let i = 0; i < IDENTIFICATIONS; i++) {
        const address = addresses[i % addresses.length] ?? "";
        const found = await watched.identify(address);
        if ("problem" in found) throw new Error(found.message);
      }
      if (round >= 0) {
        micros.push((performance.now() - startedAt) * 1000 / IDENTIFICATIONS);
      }
    }
  } finally {
    await watched.close();
  }
  return micros;
}

/** Knows all answers, and nothing ever happens. */
class InstantEngine implements Engine {
  readonly socket = "none";
  readonly #states: ReadonlyMap<string, ContainerState>;

  constructor(containers: readonly BenchContainer[]) {
    this.#states = new Map(
      containers.flatMap((container) =>
        readInspected(inspectedJson(container))?.state(NO_GATEWAYS) ?? []
      ).map((state) => [state.id, state]),
    );
  }

  events(signal: AbortSignal): Promise<AsyncIterable<never>> {
    const ended = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => ended.resolve());
    return Promise.resolve(nothingUntil(ended.promise));
  }

  list(): Promise<readonly ContainerState[]> {
    return Promise.resolve([...this.#states.values()]);
  }

  inspect(id: string): Promise<ContainerState | undefined> {
    return Promise.resolve(this.#states.get(id));
  }

  close(): void {}
}

/** Ends without an event. */
function nothingUntil(ended: Promise<void>): AsyncIterable<never> {
  const next = async () => {
    await ended;
    return { done: true, value: undefined } as const;
  };
  return { [Symbol.asyncIterator]: () => ({ next }) };
}

/** Neighbours in memory must not be neighbours in time. */
function shuffled<T>(things: readonly T[]): T[] {
  // 7919 is prime to any number of containers that is measured.
  return things.map((_, i) => things[i * 7919 % things.length]!);
}

if (import.meta.main) console.log(JSON.stringify(await benchIndex()));
