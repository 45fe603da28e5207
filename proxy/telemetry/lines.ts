/**
 * Measurements as lines of text, as go-metadataproxy's library writes them.
 *
 * @module
 * @see {@link https://github.com/statsd/statsd/blob/master/docs/metric_types.md | statsd}
 * @see {@link https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/ | DogStatsD}
 */

import type { Label } from "./labels.ts";

/** One measurement. */
export interface Measurement {
  /** Its parts are separated by dots, such as `metadataproxy.http_request`. */
  readonly name: string;
  /** What was added, or the value now. */
  readonly value: number;
  /** A counter or a gauge. */
  readonly type: "c" | "g";
  /** In order. */
  readonly labels: readonly Label[];
}

/** Writes a measurement as a line without its line feed. */
export type LineFormat = (measurement: Measurement) => string;

/**
 * For statsd and statsite, which have no labels: their values become parts of
 * the name.
 *
 * @param measurement What to write.
 * @returns Such as `metadataproxy.http_request.passthrough.200:1.000000|c`.
 */
export function statsdLine(
  { name, value, type, labels }: Measurement,
): string {
  const parts = [name, ...labels.map(([, value]) => value)];
  return `${plain(parts.join("."))}:${value.toFixed(6)}|${type}`;
}

/**
 * For Datadog's agent, with labels as tags.
 *
 * @param measurement What to write.
 * @returns Such as `metadataproxy.http_request:1|c|#response_code:200`.
 */
export function datadogLine(
  { name, value, type, labels }: Measurement,
): string {
  const tags = labels.map(([name, value]) => `${tagName(name)}:${tag(value)}`);
  return `${name}:${value}|${type}|#${tags.join(",")}`;
}

/** What would end the name, or the line. */
function plain(text: string): string {
  return text.replaceAll(/[\s:|\p{Cc}]/gu, "_");
}

function tagName(text: string): string {
  return text.replaceAll(/[\s:,|\p{Cc}]/gu, "_");
}

/** What would end the tag, or the line. */
function tag(text: string): string {
  return text.replaceAll(/[,|\p{Cc}\p{Zl}\p{Zp}]/gu, "_");
}
