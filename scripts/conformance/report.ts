/**
 * Writes what was measured as tables of `docs/conformance.md`.
 *
 * @module
 */

import { type Client, CLIENTS, type Rule, versionOf } from "./clients.ts";
import { type Column, COLUMNS } from "./columns.ts";
import { type Cell, judge } from "./matrix.ts";
import type { Refreshed } from "./refresh.ts";

/** Cells outside and inside a container. */
export interface Measured {
  readonly cells: readonly Cell[];
  /** One a client; empty if there was no engine. */
  readonly contained: readonly Cell[];
}

/**
 * Makes the matrix, and below it the clients' rules.
 *
 * @param measured All cells.
 * @returns Markdown.
 */
export async function matrixTable(measured: Measured): Promise<string> {
  const rules = numberRules();
  const headings = [
    ...["client", "version"],
    ...COLUMNS.map(({ name }) => `\`${name}\``),
    ...["in a container", "through a proxy without `NO_PROXY`"],
  ];
  const rows = await Promise.all(CLIENTS.map(async (client) => [
    ...[client.name, await versionOf(client)],
    ...matrixRow(client, measured, rules),
  ]));
  const notes = [...rules].map(([{ sentence }, n]) => `${n}. ${sentence}`);
  return [table(headings, rows), "", ...notes].join("\n");
}

/**
 * Makes a client's cells: one a column, in a container, through a proxy.
 *
 * @param client The client.
 * @param measured All cells.
 * @param rules Of {@link numberRules}.
 * @returns Markdown.
 */
export function matrixRow(
  client: Client,
  measured: Measured,
  rules: ReadonlyMap<Rule, number>,
): string[] {
  return [
    ...COLUMNS.map((column) => matrixCell(client, column, measured, rules)),
    containerCell(client, measured),
    unlistedCell(client, measured),
  ];
}

/** Numbers the rules in the order in which a reader meets them. */
export function numberRules(): ReadonlyMap<Rule, number> {
  const found = CLIENTS.flatMap(({ unsupported }) =>
    COLUMNS.flatMap(({ name }) => unsupported[name] ?? [])
  );
  return new Map([...new Set(found)].map((rule, i) => [rule, i + 1]));
}

function matrixCell(
  client: Client,
  { name }: Column,
  { cells }: Measured,
  rules: ReadonlyMap<Rule, number>,
): string {
  const found = cells.filter((cell) =>
    cell.client === client.name && cell.column === name &&
    cell.variant !== "unlisted"
  );
  const verdicts = new Set(found.map((cell) => judge(cell, client)));
  if (verdicts.size === 0) return "not run";
  if (verdicts.has("failed")) return "failed";
  if (verdicts.has("ok") || verdicts.has("unexpected")) return "ok";
  const rule = client.unsupported[name];
  return `no (${rule ? rules.get(rule) : "?"})`;
}

function containerCell({ name }: Client, { contained }: Measured): string {
  const cell = contained.find(({ client }) => client === name);
  if (!cell) return "not run";
  return cell.isOk ? `\`${cell.column}\`` : "failed";
}

/** Through the proxy go the modes that it names; the others are direct. */
function unlistedCell({ name }: Client, { cells }: Measured): string {
  const found = cells.filter((cell) =>
    cell.client === name && cell.variant === "unlisted" && cell.proxied > 0
  );
  const ways = new Set(found.map(({ column }) => wayOf(column)));
  return ways.size === 0 ? "nothing" : [...ways].sort().join(", ");
}

const wayOf = (column: string): string =>
  `\`${column.split("-").slice(0, 2).join("-")}\``;

/**
 * Makes the table of long-lived clients.
 *
 * @param refreshed What came of each.
 * @returns Markdown.
 */
export function refreshTable(refreshed: readonly Refreshed[]): string {
  return table(
    ["client", "mode", "asked", "sessions", "without one"],
    refreshed.map(({ client, column, polls, sessions, failures }) => [
      ...[client, `\`${column}\``, `${polls}`, `${sessions}`],
      failures.length === 0 ? "never" : `${failures.length} ways`,
    ]),
  );
}

function table(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const lines = [headings, headings.map(() => "---"), ...rows];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/**
 * Puts text between a pair of markers.
 *
 * @param page The page.
 * @param name The markers' name.
 * @param text What is to stand between them.
 * @returns The new page.
 * @throws {Error} if the page has no such markers.
 */
export function fill(page: string, name: string, text: string): string {
  const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const from = page.indexOf(start);
  const to = page.indexOf(end);
  if (from < 0 || to < from) throw new Error(`no markers ${start} … ${end}`);
  return page.slice(0, from + start.length) + `\n\n${text}\n\n` +
    page.slice(to);
}
