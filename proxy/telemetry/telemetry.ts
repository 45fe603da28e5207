/**
 * go-metadataproxy's telemetry: one counter of requests, and three gauges of
 * those that were passed on to the host's real service, to Prometheus, statsd,
 * statsite and Datadog.
 *
 * **Security:** what goes out is a closed set of labels, of which only the
 * role's name and what a person copies from containers is free.
 *
 * @module
 */

import type { MetadataEvent } from "$core/metadata.ts";
import type { Platform } from "$core/platform.ts";
import { DatagramCollector } from "./datagrams.ts";
import {
  type CopySettings,
  LabelBounds,
  labelNames,
  requestLabels,
} from "./labels.ts";
import {
  type Collector,
  type CollectorAddress,
  LineSender,
} from "./line_sender.ts";
import { datadogLine, type LineFormat, statsdLine } from "./lines.ts";
import {
  createPrometheusSink,
  type MetricSink,
  type ReadableSink,
} from "./prometheus.ts";
import { StreamCollector } from "./stream.ts";

/** Where measurements go. */
export interface TelemetrySettings {
  /** What of containers goes along. */
  readonly copy: CopySettings;
  /** Takes datagrams. */
  readonly statsd?: CollectorAddress;
  /** Takes a TCP connection. */
  readonly statsite?: CollectorAddress;
  /** Datadog's agent; takes datagrams. */
  readonly datadog?: CollectorAddress;
}

/** What {@link openTelemetry} needs. */
export interface TelemetryOptions {
  /** Clock, log, metrics. */
  readonly platform: Pick<Platform, "clock" | "log" | "metrics">;
  /** Where measurements go. */
  readonly settings: TelemetrySettings;
  /** Whether they are to be read, for Prometheus. */
  readonly isReadable: boolean;
  /** The provider whose real service is passed on to: the gauges' prefix. */
  readonly service: string;
}

const PREFIX = "metadataproxy";
const NS_PER_MS = 1_000_000;

/**
 * Opens the sinks; no collector need be there.
 *
 * @param options What to send where.
 * @returns What takes events; the caller closes it.
 */
export async function openTelemetry(
  options: TelemetryOptions,
): Promise<Telemetry> {
  const { platform, isReadable, settings } = options;
  const { copy, statsd, statsite, datadog } = settings;
  const { clock } = platform;
  const readable = isReadable
    ? await createPrometheusSink(labelNames(copy))
    : undefined;
  const sinks: MetricSink[] = readable ? [readable] : [];
  const add = (name: string, format: LineFormat, collector: Collector) => {
    const sender = new LineSender({ platform, name, collector });
    sinks.push({
      take: (measurement) => sender.send(format(measurement)),
      close: () => sender.close(),
    });
  };
  if (statsd) add("statsd", statsdLine, new DatagramCollector(clock, statsd));
  if (statsite) add("statsite", statsdLine, new StreamCollector(statsite));
  if (datadog) {
    add("datadog", datadogLine, new DatagramCollector(clock, datadog));
  }
  return new Telemetry(options, sinks, readable);
}

/** Takes events. */
export class Telemetry {
  readonly #options: TelemetryOptions;
  readonly #sinks: readonly MetricSink[];
  readonly #readable: ReadableSink | undefined;
  readonly #bounds = new LabelBounds();

  /** Sends to sinks, one of which may be readable. */
  constructor(
    options: TelemetryOptions,
    sinks: readonly MetricSink[],
    readable?: ReadableSink,
  ) {
    this.#options = options;
    this.#sinks = sinks;
    this.#readable = readable;
  }

  /** Tells of a request. Never throws, never waits. */
  observe(event: MetadataEvent): void {
    if (this.#sinks.length === 0) return;
    const { settings: { copy }, service } = this.#options;
    const labels = this.#bounds.bound(requestLabels(event, copy));
    const send = (name: string, value: number, type: "c" | "g") => {
      const measurement = { name: `${PREFIX}.${name}`, value, type, labels };
      for (const sink of this.#sinks) sink.take(measurement);
    };
    const gauge = (name: string, ms: number) =>
      send(`${service}_${name}_time`, Math.round(ms * NS_PER_MS), "g");
    send("http_request", 1, "c");
    if (!event.passthroughMs) return;
    const { connect, total } = event.passthroughMs;
    gauge("response", total);
    gauge("request", total - connect);
    gauge("connection", connect);
  }

  /** All measurements for Prometheus; empty if they are not to be read. */
  async read(): Promise<string> {
    return await this.#readable?.read() ?? "";
  }

  /** Sends what waits, and ends. */
  async close(): Promise<void> {
    await Promise.all(this.#sinks.map((sink) => sink.close()));
  }
}
