/**
 * The metrics port. Its one adapter, in `proxy/metrics.ts`, keeps them for
 * Prometheus.
 *
 * @module
 */

/** Few and known values only: never a name that a client chose. */
export type MetricLabels = Readonly<Record<string, string>>;

/** Takes measurements. */
export interface Metrics {
  /**
   * Adds to a counter.
   *
   * @param name Without prefix, such as `sts_calls_total`.
   * @param labels The same label names each time.
   * @param by Default: 1.
   */
  count(name: string, labels?: MetricLabels, by?: number): void;
  /** Sets a gauge; undefined removes it. */
  gauge(name: string, value: number | undefined, labels?: MetricLabels): void;
  /** Adds a value to a histogram, such as the seconds that something took. */
  observe(name: string, value: number, labels?: MetricLabels): void;
}

/** Keeps nothing. */
export const noMetrics: Metrics = { count() {}, gauge() {}, observe() {} };

/** Metrics whose target is chosen later, once a command's flags are known. */
export class ForwardingMetrics implements Metrics {
  #target: Metrics = noMetrics;

  /** Keeps measurements in `target` from now on. */
  use(target: Metrics): void {
    this.#target = target;
  }

  /** Passes a count on. */
  count(name: string, labels?: MetricLabels, by?: number): void {
    this.#target.count(name, labels, by);
  }

  /** Passes a value on. */
  gauge(name: string, value: number | undefined, labels?: MetricLabels): void {
    this.#target.gauge(name, value, labels);
  }

  /** Passes a value on. */
  observe(name: string, value: number, labels?: MetricLabels): void {
    this.#target.observe(name, value, labels);
  }
}
