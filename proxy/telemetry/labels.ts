/**
 * What go-metadataproxy's measurements say of a request: its labels, in its
 * order, with few values each.
 *
 * The path is that of its route, never the client's, and what a container
 * chose is short and one of a bounded number of values: each set of labels
 * costs memory here and wherever it is kept.
 *
 * @module
 */

import type { ContainerFacts } from "$core/container.ts";
import type { MetadataEvent } from "$core/metadata.ts";

/** A label's name and its value, which is not empty. */
export type Label = readonly [name: string, value: string];

/** What of a container becomes labels. */
export interface CopySettings {
  /** Names of labels. */
  readonly labels: readonly string[];
  /** Names of variables. */
  readonly env: readonly string[];
  /** Between `container` and the name; go-metadataproxy's default is `_`. */
  readonly separator: string;
}

/** In place of one value too many. */
export const OTHER = "other";

/** How many values a label may have besides {@link OTHER}. */
export const MAX_VALUES = 200;

/** How many sets of labels there may be before what is free becomes {@link OTHER}. */
export const MAX_SETS = 2000;

/** How long a value may be, in characters. */
export const MAX_VALUE_CHARACTERS = 100;

/** Of go-metadataproxy; the last has its spelling. */
const HANDLERS: Readonly<Record<MetadataEvent["resource"], string>> = {
  "token": "passthrough",
  "info": "iam-info-handler",
  "role-name": "iam-security-credentials-name",
  "credentials": "iam-security-crentials-for-role",
  "other": "passthrough",
};

const PATHS: Readonly<Record<MetadataEvent["resource"], string>> = {
  "token": "/api/token",
  "info": "/meta-data/iam/info",
  "role-name": "/meta-data/iam/security-credentials/",
  "credentials": "/meta-data/iam/security-credentials/{requested_role}",
  "other": "/{rest}",
};

/** Around what is copied, in the order of go-metadataproxy; one of them is free. */
const FIRST = ["handler_name", "request_path", "api_version"];
const LAST = ["role_name", "response_code", "error_description", "service"];
const FREE = "role_name";

/**
 * Names all labels that a measurement may have.
 *
 * @param copy What is copied from containers.
 * @returns Each name once, in order.
 */
export function labelNames(copy: CopySettings): string[] {
  const copied = [...copy.labels, ...copy.env].map((name) =>
    copiedName(copy, name)
  );
  return [...new Set([...FIRST, ...copied, ...LAST])];
}

/**
 * Makes the labels of a request. Those without a value are left out.
 *
 * @param event What came of it.
 * @param copy What is copied from containers.
 * @returns Labels in order; values may be of any number.
 */
export function requestLabels(
  event: MetadataEvent,
  copy: CopySettings,
): Label[] {
  const { resource, version, role, status, error, container } = event;
  const labels: readonly Label[] = [
    ["handler_name", HANDLERS[resource]],
    ["request_path", PATHS[resource]],
    ["api_version", version],
    ...container ? copiedLabels(container, copy) : [],
    ["role_name", role ?? ""],
    ["response_code", String(status)],
    ["error_description", status < 400 ? "" : error ?? ""],
    ["service", "go-metadataproxy"],
  ];
  return labels.map(([name, value]): Label => [name, shorten(value)])
    .filter(([, value]) => value !== "");
}

/** As go-metadataproxy: a variable counts more than a label of its name. */
function copiedLabels(
  { labels, env }: ContainerFacts,
  copy: CopySettings,
): Iterable<Label> {
  const found = new Map<string, string>();
  const take = (
    names: readonly string[],
    values: Readonly<Record<string, string>>,
  ) => {
    for (const name of names) {
      if (!Object.hasOwn(values, name)) continue;
      found.set(copiedName(copy, name), values[name] ?? "");
    }
  };
  take(copy.labels, labels);
  take(copy.env, env);
  return found;
}

function copiedName({ separator }: CopySettings, name: string): string {
  return `container${separator}${name.toLowerCase()}`;
}

/** Whole characters; half of one is none. */
function shorten(value: string): string {
  if (value.length <= MAX_VALUE_CHARACTERS) return value.toWellFormed();
  return Array.from(value.slice(0, 2 * MAX_VALUE_CHARACTERS))
    .slice(0, MAX_VALUE_CHARACTERS).join("").toWellFormed();
}

/** Keeps the values of labels, and the sets of them, few. */
export class LabelBounds {
  readonly #values = new Map<string, Set<string>>();
  readonly #sets = new Set<string>();

  /**
   * Replaces what would be too much.
   *
   * @param labels As {@link requestLabels} makes them.
   * @returns The same labels, with {@link OTHER} in place of values of which
   * there are too many.
   */
  bound(labels: readonly Label[]): readonly Label[] {
    const bounded = labels.map(([name, value]): Label => [
      name,
      this.#isAdmitted(name, value) ? value : OTHER,
    ]);
    const key = JSON.stringify(bounded);
    if (this.#sets.has(key)) return bounded;
    if (this.#sets.size < MAX_SETS) {
      this.#sets.add(key);
      return bounded;
    }
    const isKnown = (name: string) =>
      name !== FREE && [...FIRST, ...LAST].includes(name);
    return bounded.map(([name, value]) => [
      name,
      isKnown(name) ? value : OTHER,
    ]);
  }

  #isAdmitted(name: string, value: string): boolean {
    const values = this.#values.get(name) ?? new Set();
    this.#values.set(name, values);
    if (values.has(value)) return true;
    if (values.size >= MAX_VALUES) return false;
    values.add(value);
    return true;
  }
}
