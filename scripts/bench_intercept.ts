/**
 * Speed and memory of the intercepting proxy, beside squid with ssl-bump,
 * mitmproxy, nginx as a reverse proxy (which makes no certificates and knows
 * no policy: an upper reference), and no proxy at all.
 *
 * All is measured in turns, so that a machine which is busy for a while is so
 * for everybody. Needs Go, squid, nginx, and python3 for mitmproxy. By itself:
 *
 *     deno run -A scripts/bench_intercept.ts [FLAGS] [PART…]
 *
 *     --seconds N     length of a load (3)
 *     --against FILE  another executable of moat, measured beside
 *     --long          10 GB and 100,000 connections, instead of 3 and 10,000
 *
 * @module
 */

import { join, resolve } from "node:path";
import {
  type Contender,
  direct,
  type Field,
  type Started,
  startField,
  startMitmproxy,
  startMoat,
  startNginx,
  startSquid,
} from "./bench_intercept/contenders.ts";
import { hold, type LoadOptions, measure } from "./bench_intercept/load.ts";
import { benchPolicy } from "./bench_intercept/policy.ts";
import { describe, note, report, summarize } from "./bench_report.ts";
import { buildMoat } from "./build.ts";
import { runScript, ScriptError } from "./process.ts";

const ROUNDS = 3;

/** What is measured, and how long. */
export interface InterceptBench {
  /** The executable. */
  readonly moat: string;
  /** Others of moat, for comparison. Default: none. */
  readonly against?: readonly string[];
  /** Where files may be put; others may then enter it. */
  readonly directory: string;
  /** How long a load lasts. */
  readonly seconds: number;
  /** What is measured; default: all. */
  readonly parts?: readonly string[];
  /** Whether memory is measured over 10 GB and 100,000 connections. Default: false. */
  readonly isLong?: boolean;
}

/** Who takes part. */
interface Bench extends Field {
  readonly seconds: number;
  readonly moat: Contender;
  readonly squid: Contender;
  readonly nginx: Contender;
  readonly direct: Contender;
  /** Those of moat that are measured beside it. */
  readonly others: readonly Contender[];
}

/**
 * Measures, and reports it.
 *
 * @param options What, and how long.
 * @throws {ScriptError} For a part that there is not, or a program that is not there.
 */
export async function benchIntercept(options: InterceptBench): Promise<void> {
  const { moat, isLong = false } = options;
  const known = [...Object.keys(PARTS), "memory", "policy"];
  const { parts = known } = options;
  if (parts.some((part) => !known.includes(part))) {
    throw new ScriptError(`Cannot measure: wanted ${known.join(", ")}`);
  }
  const directory = join(options.directory, "intercept");
  await Deno.mkdir(directory);
  // Proxies that give up root enter it as somebody else.
  for (const path of [options.directory, directory]) {
    await Deno.chmod(path, 0o755);
  }
  await using field = await startField(directory);
  await using running = new AsyncDisposableStack();
  const bench = await startAll(field, options, running);
  for (const [name, part] of Object.entries(PARTS)) {
    if (parts.includes(name)) await part(bench);
  }
  if (parts.includes("memory")) await benchMemory(field, moat, isLong);
  if (parts.includes("policy")) {
    report("policy and injection", benchPolicy(), "at most", 10, " µs");
  }
}

async function startAll(
  field: Field,
  { moat, against = [], seconds }: InterceptBench,
  running: AsyncDisposableStack,
): Promise<Bench> {
  const use = async <T extends AsyncDisposable>(starting: Promise<T>) =>
    running.use(await starting);
  return {
    ...field,
    seconds,
    moat: await use(startMoat(field, moat)),
    squid: await use(startSquid(field)),
    nginx: await use(startNginx(field)),
    direct: direct(field),
    others: await Promise.all(
      against.map((file, i) => use(startMoat(field, file, `other-${i + 1}`))),
    ),
  };
}

/** What is measured side by side. */
const PARTS = {
  requests: benchRequests,
  mitmproxy: benchMitmproxy,
  connections: benchConnections,
  hosts: benchHosts,
  download: benchDownload,
  tunnel: benchTunnel,
  events: benchEvents,
};

/** Figures of several contenders, round by round. */
class Table {
  readonly #figures = new Map<string, number[]>();

  add(contender: Contender, what: string, value: number | undefined): void {
    const key = `${contender.name} ${what}`;
    const values = this.#figures.get(key) ?? [];
    this.#figures.set(key, [...values, value ?? NaN]);
  }

  of({ name }: Contender, what: string): readonly number[] {
    return this.#figures.get(`${name} ${what}`) ?? [];
  }

  /** One contender's figure by another's, of the same round. */
  ratios(one: Contender, other: Contender, what: string): number[] {
    const others = this.of(other, what);
    return this.of(one, what).map((value, i) => value / (others[i] ?? NaN));
  }

  note(contender: Contender, ...what: readonly string[]): void {
    const figures = what.map((one) =>
      `${one} ${describe(this.of(contender, one))}`
    );
    note(`  ${contender.name.padEnd(9)} ${figures.join("  ")}`);
  }
}

/** What a figure of moat is by a rival's should be. */
interface Goal {
  readonly figure: string;
  readonly rival: Contender;
  readonly compare: "at least" | "at most";
  readonly target: number;
}

/** Reports moat's figure by a rival's, and notes those of other executables. */
function reportRatio(bench: Bench, table: Table, what: string, goal: Goal) {
  const { figure, rival, compare, target } = goal;
  const name = `${what} / ${rival.name}`;
  report(name, table.ratios(bench.moat, rival, figure), compare, target);
  for (const other of bench.others) {
    note(`  ${other.name} ${describe(table.ratios(other, rival, figure))}`);
  }
}

/** Kept-alive connections, with answers of 746 bytes. */
async function benchRequests(bench: Bench): Promise<void> {
  const { moat, squid, nginx, others } = bench;
  const contenders = [bench.direct, nginx, moat, ...others, squid];
  for (const connections of [1, 32, 128]) {
    const table = await rates(bench, contenders, connections, LIBRARY);
    const what = `intercepted requests at c${connections}`;
    note(what);
    for (const contender of contenders) {
      table.note(contender, "a second", "p50", "p99", "CPU s for 100,000");
    }
    if (connections === 1) continue;
    const goal = { figure: "a second", compare: "at least" } as const;
    const least = connections === 32 ? 1.3 : 1.2;
    reportRatio(bench, table, what, { ...goal, rival: squid, target: least });
    if (connections === 32) {
      reportRatio(bench, table, what, { ...goal, rival: nginx, target: 0.6 });
    }
  }
  const table = await rates(bench, contenders, 32, []);
  note("the same at c32, by a client of our own that does less");
  for (const contender of contenders) table.note(contender, "a second");
  // Requests that repeat the one before are known again; these do not.
  const varied = await rates(bench, [moat, ...others, squid], 32, ["-vary"]);
  note("and with no two requests of a connection alike");
  for (const contender of [moat, ...others, squid]) {
    varied.note(contender, "a second");
  }
}

/** As programs ask: what the targets were measured with. */
const LIBRARY = ["-library"];

async function rates(
  bench: Bench,
  contenders: readonly Contender[],
  connections: number,
  more: readonly string[],
): Promise<Table> {
  const table = new Table();
  await eachRound(contenders, async (contender) => {
    const found = await requests(bench, contender, connections, more);
    table.add(contender, "a second", found["rate"]);
    table.add(contender, "p50", found["p50"]);
    table.add(contender, "p99", found["p99"]);
    const each = found.cpu / (found["requests"] ?? NaN);
    table.add(contender, "CPU s for 100,000", each * 100_000);
  });
  return table;
}

function requests(
  bench: Bench,
  contender: Contender,
  connections: number,
  more: readonly string[],
) {
  const length = ["-for", `${bench.seconds}s`];
  const flags = ["-connections", `${connections}`, ...length, ...more];
  return measure(bench, contender, "requests", "/", { flags });
}

async function benchMitmproxy(bench: Bench): Promise<void> {
  let mitmproxy: Started<Contender>;
  try {
    mitmproxy = await startMitmproxy(bench);
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    return note(`mitmproxy is not measured: ${error.message}`);
  }
  await using contender = mitmproxy;
  const table = await rates(
    bench,
    [bench.moat, ...bench.others, contender],
    32,
    LIBRARY,
  );
  table.note(contender, "a second");
  reportRatio(bench, table, "intercepted requests at c32", {
    figure: "a second",
    rival: contender,
    compare: "at least",
    target: 20,
  });
}

/** CONNECT, handshake, one request; one connection after the other. */
async function benchConnections(bench: Bench): Promise<void> {
  const { moat, squid, others } = bench;
  const contenders = [bench.direct, moat, ...others, squid];
  for (const more of [[], ["-tickets"]]) {
    const table = new Table();
    await eachRound(contenders, async (contender) => {
      const flags = ["-count", "300", ...more];
      addTimes(table, contender, await connects(bench, contender, { flags }));
    });
    const what = `new connection, ${more.length > 0 ? "with" : "no"} tickets`;
    note(`${what}, ms`);
    for (const contender of contenders) table.note(contender, "p50", "p99");
    for (const figure of ["p50", "p99"]) {
      reportRatio(bench, table, `${what}, ${figure}`, {
        figure,
        rival: squid,
        compare: "at most",
        target: 1.5,
      });
    }
  }
}

/** Hosts of which nobody has heard: addresses, since their names need no look-up anywhere. */
async function benchHosts(bench: Bench): Promise<void> {
  const { moat, squid, others, addresses } = bench;
  const contenders = [bench.direct, moat, ...others, squid];
  const table = new Table();
  const each = addresses.length / ROUNDS;
  await eachRound(contenders, async (contender, round) => {
    const urls = addresses.slice(round * each, (round + 1) * each);
    // What squid signs for an address has no name.
    const options = { urls, flags: ["-nameless"], proxy: "hosts" } as const;
    addTimes(table, contender, await connects(bench, contender, options));
  });
  note("first request to a new host, ms");
  for (const contender of contenders) table.note(contender, "p50", "p99");
  reportRatio(bench, table, "first request to a new host", {
    figure: "p50",
    rival: squid,
    compare: "at most",
    target: 2,
  });
}

function connects(bench: Bench, contender: Contender, options: LoadOptions) {
  return measure(bench, contender, "connects", "/", options);
}

function addTimes(
  table: Table,
  contender: Contender,
  found: Readonly<Record<string, number>>,
): void {
  for (const figure of ["p50", "p99"]) {
    table.add(contender, figure, found[figure]);
  }
}

const GIGABYTE = "/bytes/1000000000";

async function benchDownload(bench: Bench): Promise<void> {
  const { moat, squid, nginx, others } = bench;
  const contenders = [bench.direct, nginx, moat, ...others, squid];
  const table = await downloads(bench, contenders, "intercept");
  note("download of 1 GB, intercepted");
  for (const contender of contenders) table.note(contender, "MB/s", "CPU s");
  const goal = { figure: "MB/s", compare: "at least" } as const;
  reportRatio(bench, table, "download", { ...goal, rival: squid, target: 1.8 });
  reportRatio(bench, table, "download", { ...goal, rival: nginx, target: 0.9 });
}

async function downloads(
  bench: Bench,
  contenders: readonly Contender[],
  proxy: "intercept" | "tunnel",
): Promise<Table> {
  const table = new Table();
  await eachRound(contenders, async (contender) => {
    const options = { proxy };
    const found = await measure(
      bench,
      contender,
      "download",
      GIGABYTE,
      options,
    );
    table.add(contender, "MB/s", found["megabytes"]);
    table.add(contender, "CPU s", found.cpu);
  });
  return table;
}

async function benchTunnel(bench: Bench): Promise<void> {
  const { moat, squid, others } = bench;
  const contenders = [bench.direct, moat, ...others, squid];
  const table = new Table();
  await eachRound(contenders, async (contender) => {
    const flags = ["-connections", "32", "-for", `${bench.seconds}s`];
    const options = { proxy: "tunnel", flags } as const;
    const found = await measure(bench, contender, "requests", "/", options);
    table.add(contender, "a second", found["rate"]);
  });
  const bulk = await downloads(bench, contenders, "tunnel");
  note("through a tunnel: requests at c32, download of 1 GB");
  for (const contender of contenders) {
    table.note(contender, "a second");
    bulk.note(contender, "MB/s", "CPU s");
  }
  const goal = { rival: squid, compare: "at least", target: 1 } as const;
  const what = "tunnel, requests at c32";
  reportRatio(bench, table, what, { ...goal, figure: "a second" });
  reportRatio(bench, bulk, "tunnel, download", { ...goal, figure: "MB/s" });
}

/** From the upstream's write of an event to its arrival. */
async function benchEvents(bench: Bench): Promise<void> {
  await benchFirstEvents(bench);
  await noteLaterEvents(bench);
}

const STREAMS = 20;

async function benchFirstEvents(bench: Bench): Promise<void> {
  const { moat, squid, others } = bench;
  const contenders = [bench.direct, moat, ...others, squid];
  for (const headMs of [0, 1, 10, 60]) {
    const table = new Table();
    await eachRound(contenders, async (contender) => {
      // On a new connection, as most streams are; and with tickets, which are
      // on their way to the client at the same time.
      for (const more of [[], ["-tickets"]]) {
        const flags = ["-fresh", "-count", `${STREAMS}`, ...more];
        const path = `/events/${headMs}/0/1`;
        const found = await measure(bench, contender, "events", path, {
          flags,
        });
        table.add(contender, "p50", found["first-p50"]);
        table.add(contender, "p90", found["first-p90"]);
        table.add(contender, "max", found["first-max"]);
      }
    });
    const what = headMs === 0
      ? "first event, in one write with the head"
      : `first event, ${headMs} ms after the head`;
    note(`${what}, ms`);
    for (const one of contenders) table.note(one, "p50", "p90", "max");
    report(`${what}, p90`, table.of(moat, "p90"), "at most", 2, " ms");
  }
}

async function noteLaterEvents(bench: Bench): Promise<void> {
  const contenders = [bench.direct, bench.moat, ...bench.others, bench.squid];
  for (const [gapMs, count] of [[2, 300], [5, 200], [50, 40]]) {
    const table = new Table();
    await eachRound(contenders, async (contender) => {
      const path = `/events/0/${gapMs}/${count}`;
      const found = await measure(bench, contender, "events", path);
      table.add(contender, "p50", found["later-p50"]);
      table.add(contender, "p99", found["later-p99"]);
      table.add(contender, "max", found["later-max"]);
    });
    note(`later events, ${gapMs} ms apart, ms`);
    for (const one of contenders) table.note(one, "p50", "p99", "max");
  }
}

const HELD = 500;

/** Each of a proxy that has served nothing else before. */
async function benchMemory(
  field: Field,
  file: string,
  isLong: boolean,
): Promise<void> {
  await benchHeld(field, file);
  const gigabytes = isLong ? 10 : 3;
  const bytes = await growthOf(field, file, [1, gigabytes], (moat, count) => {
    const flags = ["-count", `${count}`];
    return measure(field, moat, "download", GIGABYTE, { flags });
  });
  const afterBytes = `memory after ${gigabytes} GB, beyond that after one`;
  report(afterBytes, bytes, "at most", 16, " MB");
  const count = isLong ? 100_000 : 10_000;
  const conns = await growthOf(field, file, [2000, count], (moat, count) => {
    const flags = ["-connections", "8", "-count", `${count / 8}`];
    return measure(field, moat, "connects", "/", { flags });
  });
  const afterConns = `memory after ${count} connections, beyond 2,000`;
  report(afterConns, conns, "at most", 16, " MB");
}

async function benchHeld(field: Field, file: string): Promise<void> {
  await using moat = await startMoat(field, file, "held");
  const { program } = moat;
  const idle = await program.memory();
  const flags = ["-connections", "32", "-for", "1s"];
  await measure(field, moat, "requests", "/", { flags });
  const before = await program.memory();
  note(`memory, MB: idle ${idle.toFixed(0)}, after load ${before.toFixed(0)}`);
  await using _held = await hold(field, moat, HELD);
  const each = (await program.memory() - before) * 1024 / HELD;
  report("memory of an idle connection", [each], "at most", 110, " KB");
}

/** How much memory much of some work takes, beyond what a little of it does. */
async function growthOf(
  field: Field,
  file: string,
  [little, much]: readonly [number, number],
  work: (moat: Contender, count: number) => Promise<unknown>,
): Promise<number[]> {
  await using moat = await startMoat(field, file, `growth-${much}`);
  await work(moat, little);
  const before = await moat.program.memory();
  await work(moat, much - little);
  return [await moat.program.memory() - before];
}

/** Everybody in turn, several times. */
async function eachRound(
  contenders: readonly Contender[],
  work: (contender: Contender, round: number) => Promise<void>,
): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    for (const contender of contenders) await work(contender, round);
  }
}

function readArguments(args: readonly string[]) {
  const parts: string[] = [];
  const against: string[] = [];
  let seconds = 3;
  let isLong = false;
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === "--seconds") seconds = Number(rest.shift());
    else if (arg === "--against") against.push(resolve(rest.shift() ?? ""));
    else if (arg === "--long") isLong = true;
    else parts.push(arg);
  }
  return { against, seconds, isLong, ...(parts.length > 0 && { parts }) };
}

if (import.meta.main) {
  await runScript(async () => {
    const options = readArguments(Deno.args);
    const directory = await Deno.makeTempDir({ prefix: "moat-bench-" });
    try {
      const { path: moat } = await buildMoat();
      await benchIntercept({ ...options, moat, directory });
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
    return summarize();
  });
}
