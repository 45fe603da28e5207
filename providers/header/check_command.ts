/**
 * `moat provider check FILE`.
 *
 * @module
 */

import { resolve } from "node:path";
import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { columns } from "$core/cli/help.ts";
import { MoatError } from "$core/errors.ts";
import type { Provider } from "$core/provider.ts";
import { placeholderFor } from "../tokens/placeholder.ts";
import {
  DEFAULT_PLACEHOLDER,
  type HeaderDefinition,
  type HeaderRule,
} from "./definition.ts";
import { loadDefinition } from "./files.ts";
import { BAD_FILE } from "./parse.ts";
import { type PlacedHeader, placedHeaders } from "./placement.ts";

/** Tells what a file would do, or what is wrong with it. */
export function run(
  { output, registry }: CommandContext,
  args: Arguments,
): Promise<number> {
  const file = resolve(args.operands[0] ?? "");
  const definition = loadDefinition(file);
  checkNames(file, definition, registry.builtIn);
  output.data(summary(file, definition), report(file, definition));
  return Promise.resolve(0);
}

function checkNames(
  file: string,
  { name, aliases = [] }: HeaderDefinition,
  builtIn: readonly Provider[],
): void {
  for (const each of [name, ...aliases]) {
    const owner = builtIn.find((p) => [p.name, ...p.aliases].includes(each));
    if (!owner) continue;
    throw new MoatError(
      BAD_FILE,
      `Cannot use "${file}": the name "${each}" is taken by provider "${owner.name}"`,
      { hint: "choose another name" },
    );
  }
}

/** What `--json` prints. */
function summary(file: string, definition: HeaderDefinition) {
  const { name, aliases = [], allow = [], env = [] } = definition;
  return {
    file,
    name,
    aliases,
    description: definition.description,
    hosts: definition.hosts,
    allow,
    headers: placedHeaders(definition).map((rule) => ({
      host: rule.host,
      path: rule.path ?? "/",
      header: rule.header,
      value: valueOf(rule),
      strip: rule.strip ?? [],
    })),
    substitutesPath: definition.inject === "path",
    env,
    placeholder: placeholderOf(definition),
    sourceEnv: definition.sourceEnv ?? [],
    validate: (definition.validate ?? []).map(({ method = "GET", url }) => ({
      method,
      url,
    })),
  };
}

function report(file: string, definition: HeaderDefinition): string {
  const { name, aliases = [], allow = [], env = [] } = definition;
  const rows: [string, string][] = [
    ["name", [name, ...aliases].join(", ")],
    ["hosts", definition.hosts.join(", ")],
    ...placedHeaders(definition).map((rule): [string, string] => [
      "puts",
      `${rule.header}: ${valueOf(rule)} on ${placeOf(rule)}`,
    ]),
    ...placedHeaders(definition).flatMap(({ strip = [], host }) =>
      strip.map((header): [string, string] => [
        "removes",
        `${header} on ${host}`,
      ])
    ),
    ...definition.inject === "path"
      ? [["puts", "TOKEN in place of the placeholder in the path"] as [
        string,
        string,
      ]]
      : [],
    ...allow.map((host): [string, string] => ["allows", host]),
    ...env.map((variable): [string, string] => [
      "sets",
      `${variable}=${placeholderOf(definition)}`,
    ]),
    ["asks", [...definition.sourceEnv ?? [], "the person"].join(", then ")],
    ...(definition.validate ?? []).map((
      { method = "GET", url },
    ): [string, string] => ["tries", `${method} ${url}`]),
  ];
  return `${file} is right\n${columns(rows)}`;
}

function placeOf({ host, path }: PlacedHeader): string {
  return path === undefined ? host : `${host}, at ${path} and below`;
}

function valueOf({ prefix = "", basicUser }: HeaderRule): string {
  return basicUser === undefined
    ? `${prefix}TOKEN`
    : `Basic base64(${basicUser}:TOKEN)`;
}

function placeholderOf(
  { name, placeholder = DEFAULT_PLACEHOLDER }: HeaderDefinition,
): string {
  return placeholderFor(name, placeholder);
}
