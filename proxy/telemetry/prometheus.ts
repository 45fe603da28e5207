/**
 * go-metadataproxy's measurements for Prometheus, under the names that its
 * library gives them there: without moat's prefix, and counters without
 * `_total`.
 *
 * @module
 */

import type { Counter, Gauge, Registry } from "prom-client";
import type { Label } from "./labels.ts";
import type { Measurement } from "./lines.ts";

/** Where measurements go. */
export interface MetricSink {
  /** Takes one. Never throws, never waits. */
  take(measurement: Measurement): void;
  /** Sends what waits, and ends. */
  close(): Promise<void>;
}

/** Measurements that can be read. */
export interface ReadableSink extends MetricSink {
  /** All of them, in the text format of Prometheus. */
  read(): Promise<string>;
}

/**
 * Makes a sink without measurements, loading the library.
 *
 * @param labelNames All labels that a measurement may have: of one metric,
 * Prometheus wants the same labels each time. What is absent is empty, which
 * is the same to it.
 * @returns The sink.
 */
export async function createPrometheusSink(
  labelNames: readonly string[],
): Promise<ReadableSink> {
  // In a bundle a CommonJS package has no other export.
  const { default: library } = await import("prom-client");
  return new PrometheusSink(library, labelNames);
}

class PrometheusSink implements ReadableSink {
  readonly #library: typeof import("prom-client");
  readonly #registry: Registry;
  readonly #labelNames: readonly string[];
  readonly #metrics = new Map<string, Counter | Gauge>();

  constructor(
    library: typeof import("prom-client"),
    labelNames: readonly string[],
  ) {
    this.#library = library;
    this.#registry = new library.Registry();
    this.#labelNames = [...new Set(labelNames.map(plain))];
  }

  take({ name, value, type, labels }: Measurement): void {
    const { Counter, Gauge } = this.#library;
    const settings = {
      name: plain(name),
      help: name,
      labelNames: [...this.#labelNames],
      registers: [this.#registry],
    };
    const all = this.#fill(labels);
    const known = this.#metrics.get(name);
    if (type === "c") {
      const counter = known ?? new Counter(settings);
      this.#metrics.set(name, counter);
      counter.inc(all, value);
    } else {
      const gauge = known instanceof Gauge ? known : new Gauge(settings);
      this.#metrics.set(name, gauge);
      gauge.set(all, value);
    }
  }

  read(): Promise<string> {
    return this.#registry.metrics();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #fill(labels: readonly Label[]): Record<string, string> {
    const values = new Map(labels.map(([name, value]) => [plain(name), value]));
    return Object.fromEntries(
      this.#labelNames.map((name) => [name, values.get(name) ?? ""]),
    );
  }
}

/** In the letters that Prometheus allows. */
function plain(name: string): string {
  return name.replaceAll(/[^a-zA-Z0-9_]/g, "_");
}
