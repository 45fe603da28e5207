/**
 * Runs real AWS clients against the built moat, in every mode of a binding,
 * and writes the outcome to `docs/conformance.md`.
 *
 * - `--quick`: only the clients that CI runs
 * - `--client TEXT`: only those with the text in their names; may be repeated
 * - `--refresh`: instead of the matrix, long-lived clients with sessions of a
 *   minute, for `--minutes N`, by default 5
 * - `--json`: a line of JSON for each result
 *
 * Only a run of all clients changes the page. `MOAT_EXECUTABLE` names another
 * moat than `dist/moat`.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- scripts talk to a developer's terminal

import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Client, CLIENTS, PACKAGES } from "./conformance/clients.ts";
import { openContainers } from "./conformance/containers.ts";
import type { Task } from "./conformance/inside.ts";
import { type Cell, judge, VARIANTS } from "./conformance/matrix.ts";
import { inNamespace } from "./conformance/namespace.ts";
import type { Refreshed } from "./conformance/refresh.ts";
import { fill, matrixTable, refreshTable } from "./conformance/report.ts";
import { exists, must, ROOT, run, runScript, ScriptError } from "./process.ts";
import { installSdkClients, isInstalledLanguage } from "./sdk_clients.ts";

const PAGE = join(ROOT, "docs/conformance.md");
const INSIDE = join(ROOT, "scripts/conformance/inside.ts");

interface Options {
  readonly clients: readonly Client[];
  readonly isRefresh: boolean;
  /** How long the refresh part takes. */
  readonly minutes: number;
  readonly isJson: boolean;
}

function parse(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: "boolean", default: false },
      client: { type: "string", multiple: true, default: [""] },
      refresh: { type: "boolean", default: false },
      minutes: { type: "string", default: "5" },
      json: { type: "boolean", default: false },
    },
  });
  const { quick, client: texts, refresh: isRefresh } = values;
  const clients = CLIENTS.filter((client) =>
    (client.isQuick || !quick) && (client.refreshes || !isRefresh) &&
    texts.some((text) => client.name.includes(text))
  );
  const minutes = Number(values.minutes);
  if (clients.length > 0 && minutes > 0) {
    return { clients, isRefresh, minutes, isJson: values.json };
  }
  throw new ScriptError(`Cannot find a client: ${texts.join(", ")}`);
}

/** Where the built moat is; clients of the developer's choice are installed. */
async function prepare(clients: readonly Client[]): Promise<string> {
  const moat = Deno.env.get("MOAT_EXECUTABLE") ?? join(ROOT, "dist/moat");
  if (!await exists(moat)) {
    throw new ScriptError(`Cannot run ${moat}: not built`, "deno task build");
  }
  const languages = new Set(clients.map(({ language }) => language));
  await requirePackages([...languages].flatMap((name) => PACKAGES[name] ?? []));
  for (const language of languages) {
    if (isInstalledLanguage(language)) await installSdkClients(language);
  }
  if (languages.has("venv") && !await exists(join(ROOT, ".cache/venv/bin"))) {
    throw new ScriptError("Cannot find .cache/venv", "deno task test tests");
  }
  return moat;
}

async function requirePackages(lists: readonly string[]): Promise<void> {
  const wanted = lists.join(" ").split(" ").filter(Boolean);
  const query = ["dpkg-query", "-W", "-f=${Package} ${db:Status-Status}\\n"];
  const { stdout } = await run([...query, ...wanted]);
  const lines = stdout.split("\n");
  const missing = wanted.filter((name) => !lines.includes(`${name} installed`));
  if (missing.length === 0) return;
  throw new ScriptError(
    `Cannot run all clients: not installed: ${missing.join(" ")}`,
    `apt-get install --no-install-recommends ${missing.join(" ")}`,
  );
}

/** Starts the part in the namespace, and gives what it printed. */
async function runInside<Result>(
  wrap: (argv: readonly string[]) => string[],
  task: Task,
  onResult: (result: Result) => void,
): Promise<void> {
  const deno = [Deno.execPath(), "run", "-A", "--no-check", INSIDE];
  const [program = "", ...args] = wrap([...deno, JSON.stringify(task)]);
  const child = new Deno.Command(program, {
    args,
    cwd: ROOT,
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let text = "";
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (text + piece).split("\n");
    text = lines.pop() ?? "";
    lines.map((line) => JSON.parse(line)).forEach(onResult);
  }
  await child.stdin.close();
  const { code } = await child.status;
  if (code !== 0) throw new ScriptError("Cannot go on: see above");
}

/** Runs the matrix; gives the exit status. */
async function runMatrix({ clients, isJson }: Options, moat: string) {
  const names = clients.map(({ name }) => name);
  const task = { moat, clients: names, variants: VARIANTS };
  const cells: Cell[] = [];
  const contained: Cell[] = [];
  let failed = 0;
  const onCell = (cell: Cell, into: Cell[]) => {
    into.push(cell);
    const client = clients.find(({ name }) => name === cell.client);
    const verdict = client ? judge(cell, client) : "failed";
    if (verdict === "failed") failed++;
    if (isJson) console.log(JSON.stringify({ ...cell, verdict }));
    else console.log(describe(cell, verdict));
  };
  await runInside<Cell>(inNamespace, task, (cell) => onCell(cell, cells));
  const isWhole = clients.length === CLIENTS.length;
  if (isWhole) {
    await using engine = await openContainers();
    if (engine) {
      const { container, inNamespace } = engine;
      const inside: Task = { ...task, variants: ["plain"], container };
      await runInside<Cell>(
        inNamespace,
        inside,
        (cell) => onCell(cell, contained),
      );
    }
    await writePage("matrix", await matrixTable({ cells, contained }));
  }
  console.error(`${cells.length + contained.length} cells, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

function describe(cell: Cell, verdict: string): string {
  const { client, column, variant, proxied, tookMs, line } = cell;
  const what = [verdict, client, column, variant].join(" · ");
  const way = proxied > 0 ? `, ${proxied} through the proxy` : "";
  const why = /^(ok|unsupported)$/.test(verdict) ? "" : `: ${line}`;
  return `${what} (${tookMs} ms${way})${why}`;
}

/** Runs the refresh part; gives the exit status. */
async function runRefresh(
  { clients, minutes, isJson }: Options,
  moat: string,
) {
  const results: Refreshed[] = [];
  const task: Task = {
    moat,
    clients: clients.map(({ name }) => name),
    variants: [],
    refreshMinutes: minutes,
  };
  await runInside<Refreshed>(inNamespace, task, (result) => {
    results.push(result);
    const { client, column, polls, sessions, failures } = result;
    if (isJson) console.log(JSON.stringify(result));
    else {console.log(
        [client, column, polls, sessions, ...failures].join(" · "),
      );}
  });
  const isWhole = clients.length === CLIENTS.filter((c) => c.refreshes).length;
  if (isWhole) await writePage("refresh", refreshTable(results));
  return results.every(({ failures }) => failures.length === 0) ? 0 : 1;
}

async function writePage(name: string, text: string): Promise<void> {
  const page = await Deno.readTextFile(PAGE);
  await Deno.writeTextFile(PAGE, fill(page, name, text));
  await must([Deno.execPath(), "fmt", "--quiet", PAGE]);
}

await runScript(async () => {
  const options = parse(Deno.args);
  const moat = await prepare(options.clients);
  return await (options.isRefresh ? runRefresh : runMatrix)(options, moat);
});
