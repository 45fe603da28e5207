/**
 * The metrics of `moat proxy --metrics`, in the format of Prometheus.
 *
 * @module
 * @see {@link https://prometheus.io/docs/instrumenting/exposition_formats/ | Exposition formats}
 */

import type { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Log } from "$core/log.ts";
import type { MetricLabels, Metrics } from "$core/metrics.ts";
import { Answer } from "$core/provider.ts";
import type { Service } from "./http1/server.ts";
import { NOT_ALLOWED, NOT_FOUND } from "./answers.ts";
import { checkHygiene } from "./service.ts";

/** The beginning of every name. */
const PREFIX = "moat_";

/** From an answer out of a cache to a model that thinks, in seconds. */
const BUCKETS = [
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
  30,
  60,
  300,
];

/** How many label sets a metric may have: each costs memory here and in Prometheus. */
const MAX_SERIES = 500;

/** Where what had to be dropped is counted, by the name of its metric. */
const DROPPED = "metrics_dropped_total";

/** Metrics that can be read. */
export interface ReadableMetrics extends Metrics {
  /** All of them, for a client. */
  read(): Promise<Answer>;
}

/**
 * Makes metrics without measurements, loading the library.
 *
 * A measurement that does not fit its metric, or is of one label set too many,
 * is dropped and counted: measuring never makes anything fail.
 *
 * @param log Told of the first measurement of a metric that is dropped.
 * @returns The metrics.
 */
export async function createMetrics(log: Log): Promise<ReadableMetrics> {
  // In a bundle a CommonJS package has no other export.
  const { default: library } = await import("prom-client");
  return new PrometheusMetrics(library, log);
}

/**
 * Makes the service of the metrics listener: `GET /metrics`, without a token.
 *
 * @param read Makes the answer.
 * @returns What `serve` calls for each request.
 */
export function createMetricsService(read: () => Promise<Answer>): Service {
  return async (head, peer) => {
    const refusal = checkHygiene(head, peer);
    if (refusal) return { answer: refusal };
    if (head.target !== "/metrics") return { answer: NOT_FOUND };
    if (head.method !== "GET") return { answer: NOT_ALLOWED };
    return { answer: await read() };
  };
}

/** One metric, and the label sets that it has. */
interface Family<M> {
  readonly metric: M;
  readonly labelNames: string;
  readonly series: Set<string>;
}

class PrometheusMetrics implements ReadableMetrics {
  readonly #library: typeof import("prom-client");
  readonly #log: Log;
  readonly #registry: Registry;
  readonly #counters = new Map<string, Family<Counter>>();
  readonly #gauges = new Map<string, Family<Gauge>>();
  readonly #histograms = new Map<string, Family<Histogram>>();
  /** Metrics of which a measurement was dropped. */
  readonly #dropped = new Set<string>();

  constructor(library: typeof import("prom-client"), log: Log) {
    this.#library = library;
    this.#log = log;
    this.#registry = new library.Registry();
  }

  count(name: string, labels: MetricLabels = {}, by = 1): void {
    this.#keep(name, () => {
      const { Counter } = this.#library;
      const family = find(
        this.#counters,
        name,
        labels,
        () => new Counter(this.#settings(name, labels)),
      );
      admit(family, labels);
      family.metric.inc(labels, by);
    });
  }

  gauge(
    name: string,
    value: number | undefined,
    labels: MetricLabels = {},
  ): void {
    this.#keep(name, () => {
      const { Gauge } = this.#library;
      const family = find(
        this.#gauges,
        name,
        labels,
        () => new Gauge(this.#settings(name, labels)),
      );
      admit(family, labels);
      if (value !== undefined) return family.metric.set(labels, value);
      family.series.delete(keyOf(labels));
      family.metric.remove(labels);
    });
  }

  observe(name: string, value: number, labels: MetricLabels = {}): void {
    this.#keep(name, () => {
      const { Histogram } = this.#library;
      const family = find(
        this.#histograms,
        name,
        labels,
        () =>
          new Histogram({ ...this.#settings(name, labels), buckets: BUCKETS }),
      );
      admit(family, labels);
      family.metric.observe(labels, value);
    });
  }

  async read(): Promise<Answer> {
    const text = await this.#registry.metrics();
    return new Answer(200, text, this.#registry.contentType);
  }

  #settings(name: string, labels: MetricLabels) {
    return {
      name: PREFIX + name,
      help: name.replaceAll("_", " "),
      labelNames: Object.keys(labels),
      registers: [this.#registry],
    };
  }

  #keep(name: string, measure: () => void): void {
    try {
      measure();
    } catch {
      if (!this.#dropped.has(name)) this.#log.warn("metric-dropped", { name });
      this.#dropped.add(name);
      if (name !== DROPPED) this.count(DROPPED, { metric: name });
    }
  }
}

function find<M>(
  families: Map<string, Family<M>>,
  name: string,
  labels: MetricLabels,
  make: () => M,
): Family<M> {
  const known = families.get(name);
  if (known) return known;
  const family = {
    metric: make(),
    labelNames: namesOf(labels),
    series: new Set<string>(),
  };
  families.set(name, family);
  return family;
}

/** Throws for label names of another set, and for one label set too many. */
function admit(family: Family<unknown>, labels: MetricLabels): void {
  const { labelNames, series } = family;
  if (namesOf(labels) !== labelNames) throw new TypeError("other labels");
  const key = keyOf(labels);
  if (series.has(key)) return;
  if (series.size >= MAX_SERIES) throw new RangeError("too many label sets");
  series.add(key);
}

function namesOf(labels: MetricLabels): string {
  return Object.keys(labels).sort().join();
}

function keyOf(labels: MetricLabels): string {
  return JSON.stringify(Object.entries(labels).sort());
}
