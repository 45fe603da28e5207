/**
 * Fuzzing of what container engines answer: real answers of docker and podman,
 * with parts of them exchanged.
 *
 * @module
 */

import assert from "node:assert/strict";
import { isIP } from "node:net";
import { parseJson } from "$core/json.ts";
import { ContainerIndex } from "$proxy/containers/container_index.ts";
import type { ContainerState, EngineEvent } from "$proxy/containers/engine.ts";
import {
  readEvent,
  readGateways,
  readInspected,
  readListed,
} from "$proxy/containers/engine_answers.ts";
import { JsonSieve } from "$proxy/containers/json_sieve.ts";
import type { Target } from "./engine.ts";
import ANSWERS from "./engine_answers.json" with { type: "json" };

const utf8 = new TextDecoder();

/** Short answers can be changed byte by byte. */
const SHORT = ANSWERS.filter(({ what }) => what === "event")
  .map(({ answer }) => JSON.stringify(answer));

const WORDS = [
  ...[
    '""',
    "null",
    "[]",
    "{}",
    "true",
    "false",
    "0",
    "-1",
    "1e400",
    '"\\ud800"',
  ],
  ...['"running"', '"paused"', '"restarting"', '"exited"', '"host"'],
  ...['"die"', '"start"', '"connect"', '"disconnect"', '"destroy"'],
  ...['"container:"', '"container:web"', `"${"a".repeat(64)}"`, '"="', '"A=b"'],
  ...['"10.0.0.1"', '"::ffff:10.0.0.1"', '"FD00::1/64"', '"fe80::1%eth0"'],
  ...['"0x7f.1"', '"2130706433"', '"127.1"', '"10.0.0.1/16"', '"web"', '"%"'],
];

const PARTS = [
  ...["Status", "State", "Running", "NetworkMode", "Networks", "IPAddress"],
  ...["Gateway", "GlobalIPv6Address", "Containers", "IPv4Address", "Names"],
  ...["Env", "Labels", "Type", "Action", "Actor", "container", "timeNano"],
];

/**
 * Answers of engines. An input is the number of an answer, and in each further
 * line the number of one of its parts, or the name of some, and what is there
 * instead; or else the text of an answer.
 */
const ENGINE_ANSWER: Target = {
  name: "engine-answer",
  seeds: [
    ...ANSWERS.map((_, at) => `${at}\n`),
    "1\nRunning false",
    '0\n12 "paused"',
    ...SHORT,
  ],
  dictionary: [
    ...WORDS,
    ...PARTS.flatMap((part) => [`\n${part} `, `${part} ""`]),
    ...["\nRunning false", "\nPaused true", "\nAction "],
    ...["\n", "\n7 ", "\n33 ", "\n58 ", " ", "0", "1", "2"],
  ],
  run(input) {
    const text = textOf(utf8.decode(input));
    const json = parseJson(text);
    const texts = textsOf(json);
    const event = readEvent(json);
    const gateways = readGateways(json) ?? new Map();
    for (const found of gateways.values()) {
      for (const { address } of found) checkAddress(address, texts);
    }
    const rows = checkRows(text, json);
    const described = (rows?.map(readListed) ?? [readInspected(json)])
      .filter((each) => each !== undefined);
    const states = described.map((each) => each.state(gateways));
    for (const state of states) checkState(state, texts);
    checkIndex(states);
    if (event && event !== "other") checkEvent(event, texts, states);
    return [
      typeof event === "object" ? event.action.slice(0, 8) : event,
      gateways.size,
      described.some(({ needsGateways }) => needsGateways),
      ...states.map(shapeOf),
    ].join(" ");
  },
};

/** Taken apart as it arrives, an array has the elements that it has at once. */
function checkRows(text: string, json: unknown): unknown[] | undefined {
  const bytes = new TextEncoder().encode(text);
  const keys = [json].flat().flatMap((row) => Object.keys(row ?? {}));
  const wanted = Object.fromEntries(keys.map((key) => [key, true] as const));
  const sieve = new JsonSieve({ wanted, maxValueBytes: bytes.length });
  const found: unknown[] = [];
  for (let at = 0; at < bytes.length; at += 7) {
    const texts = sieve.push(bytes.subarray(at, at + 7));
    if (!texts) break;
    found.push(...texts.map(parseJson));
  }
  if (!Array.isArray(json)) return undefined;
  // Keys that are written with escapes are not known.
  if (!text.includes("\\")) assert.deepEqual(found, json);
  return json;
}

function shapeOf({ isRunning, endpoints, joins, facts }: ContainerState) {
  const parts = [isRunning, joins !== undefined, facts !== undefined];
  return parts.map(Number).join("") + endpoints.length;
}

/** The answer that an input describes. */
function textOf(input: string): string {
  const [first = "", ...changes] = input.split("\n");
  const chosen = ANSWERS[Number(first) % ANSWERS.length];
  if (!/^\d{1,4}$/.test(first) || !chosen) return input;
  const root = { answer: structuredClone(chosen.answer) as unknown };
  for (const change of changes) {
    const [, part, text = ""] = /^(\w{1,20}) (.*)$/.exec(change) ?? [];
    if (part === undefined) continue;
    const places = [...placesOf(root)];
    const chosen = /^\d+$/.test(part)
      ? [places[Number(part) % places.length]!]
      : places.filter(([, key]) => key === part);
    for (const [holder, key] of chosen) holder[key] = parseJson(text) ?? text;
  }
  return JSON.stringify(root.answer);
}

type Holder = Record<string | number, unknown>;

/** All parts of a value, by what holds them. */
function* placesOf(value: unknown): Generator<[Holder, string]> {
  if (typeof value !== "object" || value === null) return;
  for (const [key, part] of Object.entries(value)) {
    yield [value as Holder, key];
    yield* placesOf(part);
  }
}

/** All texts in a value. */
function textsOf(value: unknown): ReadonlySet<string> {
  const found = new Set<string>();
  for (const [holder, key] of placesOf({ value })) {
    found.add(key);
    if (typeof holder[key] === "string") found.add(holder[key]);
  }
  return found;
}

function checkState(state: ContainerState, texts: ReadonlySet<string>): void {
  const { id, name, isRunning, endpoints, joins, facts } = state;
  assert.match(id, /^[0-9a-f]{64}$/);
  for (
    const text of [id, ...endpoints.flatMap((e) => [e.network, e.endpoint])]
  ) {
    assert(text === "" || texts.has(text));
  }
  assert(name === "" || texts.has(name) || texts.has(`/${name}`));
  assert(isRunning || endpoints.length === 0, "it has ended");
  for (const { address } of endpoints) checkAddress(address, texts);
  if (joins !== undefined) assert(texts.has(`container:${joins}`));
  if (!facts) return;
  assert.deepEqual([facts.id, facts.name], [id, name]);
  for (const [key, value] of Object.entries(facts.env)) {
    assert(texts.has(`${key}=${value}`));
  }
  for (const text of Object.entries(facts.labels).flat()) {
    assert(texts.has(text));
  }
  assert(texts.has(facts.startedAt));
}

/** An address that clients can have is there in one of its own spellings. */
function checkAddress(address: string, texts: ReadonlySet<string>): void {
  if (isIP(address) === 0) return;
  const isThere = texts.values().some((text) => {
    const bare = text.replace(/[%/].*$/, "");
    return isIP(bare) > 0 && numberOf(bare) === numberOf(address);
  });
  assert(isThere, `nobody said ${address}`);
}

/** IPv4 as the same in IPv6; IPv6 as URLs have it. */
function numberOf(address: string): string {
  const six = isIP(address) === 4 ? `::ffff:${address}` : address;
  return new URL(`http://[${six}]/`).hostname;
}

/** Whoever has an address in the index has it in the answer. */
function checkIndex(states: readonly ContainerState[]): void {
  const changed = new Set<string>();
  const index = new ContainerIndex((address) => changed.add(address));
  index.replace(index.ask(), states);
  for (const { endpoints } of states) {
    for (const { address } of endpoints) {
      assert(changed.has(address), "a change was not told");
    }
  }
  for (const address of changed) {
    for (const { id, isRunning } of index.holders(address)) {
      assert(isRunning);
      const said = states.findLast((state) => state.id === id);
      assert(said?.endpoints.some((endpoint) => endpoint.address === address));
    }
  }
}

/** An event gives nobody an address. */
function checkEvent(
  event: EngineEvent,
  texts: ReadonlySet<string>,
  states: readonly ContainerState[],
): void {
  assert(texts.has(event.container));
  if (event.network !== undefined) assert(texts.has(event.network));
  assert(!Number.isNaN(event.atMs));
  const given: string[] = [];
  const index = new ContainerIndex((address) => given.push(address));
  const [state] = LISTED;
  assert(state);
  for (const known of [...states, { ...state, id: event.container }]) {
    index.apply(index.ask(), known.id, known);
  }
  const before = new Set(
    given.flatMap((address) =>
      index.holders(address).map(({ id }) => `${id} ${address}`)
    ),
  );
  index.happened(event);
  if (/^(die|died|stop|destroy|remove)$/.test(event.action)) {
    assert.equal(index.get(event.container)?.holdings.size ?? 0, 0);
  }
  for (const address of given) {
    for (const { id, isRunning } of index.holders(address)) {
      assert(isRunning && before.has(`${id} ${address}`));
    }
  }
}

/** Containers that run. */
const LISTED = [ANSWERS.find(({ what }) => what === "list")?.answer]
  .flat()
  .flatMap((row) => readListed(row)?.state(new Map()) ?? [])
  .filter(({ endpoints }) => endpoints.length > 0);

/** All of them. */
export const ENGINE_TARGETS: readonly Target[] = [ENGINE_ANSWER];
