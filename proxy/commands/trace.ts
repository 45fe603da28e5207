/**
 * `moat trace`: what clients asked of the forward proxy.
 *
 * @module
 */

import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { untilStopped } from "$core/cli/commands/signals.ts";
import { printable, word } from "$core/cli/output.ts";
import { sleep } from "$core/clock.ts";
import { missingOk } from "$core/files.ts";
import { olderTrace } from "../intercept/trace.ts";

/** How often a file is looked at that is followed. */
const POLL_MS = 100;

/** Prints the trace of one binding, or of all. */
export async function run(
  context: CommandContext,
  args: Arguments,
): Promise<number> {
  const { paths, clock } = context.platform;
  const [binding] = args.operands;
  const print = (line: string) => printLine(context, binding, line);
  using older = new Tail(olderTrace(paths.trace));
  using reader = new Tail(paths.trace);
  for (const line of await older.read()) print(line);
  for (const line of await reader.read()) print(line);
  if (!args.flags["follow"]) return 0;
  let isStopped = false;
  const stopped = untilStopped(new Promise<void>(() => {})).then(() => {
    isStopped = true;
  });
  while (!isStopped) {
    await sleep(clock, POLL_MS, stopped);
    for (const line of await reader.read()) print(line);
  }
  return 0;
}

function printLine(
  { output }: CommandContext,
  binding: string | undefined,
  line: string,
): void {
  const record = parse(line);
  if (!record || (binding !== undefined && record["binding"] !== binding)) {
    return;
  }
  if (output.isJson) return void output.text(line + "\n");
  const { time, binding: of, method, host, path, status, failure } = record;
  const { totalMs, sent, received, grants, decision, rule } = record;
  const shown = [
    ...[time, of, method, `${host}${path ?? ""}`, status ?? "-"].map(word),
    ...failure === undefined ? [] : [word(failure)],
    `${totalMs}ms`,
    `sent=${sent}`,
    `received=${received}`,
    ...injected(grants),
    `${decision}=${word(rule)}`,
  ];
  output.text(printable(shown.join(" ")) + "\n");
}

function injected(grants: unknown): string[] {
  return Array.isArray(grants) && grants.length > 0
    ? [`injected=${grants.join(",")}`]
    : [];
}

/** A line that a crash cut short is left out. */
function parse(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** The lines of a file, those that are added to it, and those of the file that takes its place. */
class Tail implements Disposable {
  readonly #path: string;
  #file: Deno.FsFile | undefined;
  #offset = 0;
  #decoder = new TextDecoder();
  #rest = "";

  constructor(path: string) {
    this.#path = path;
  }

  /** Those that are new. */
  async read(): Promise<string[]> {
    const lines = await this.#readOn();
    const next = await this.#openNext();
    if (!next) return lines;
    // The one before is whole: its writer has put it aside.
    lines.push(...await this.#readOn());
    this[Symbol.dispose]();
    this.#file = next;
    this.#offset = 0;
    this.#rest = "";
    this.#decoder = new TextDecoder();
    return [...lines, ...await this.#readOn()];
  }

  [Symbol.dispose](): void {
    this.#file?.close();
    this.#file = undefined;
  }

  /** The file that is there now, unless it is the one at hand. */
  async #openNext(): Promise<Deno.FsFile | undefined> {
    const file = await missingOk(Deno.open(this.#path));
    if (!file || !this.#file) return file;
    const [{ ino, size }, known] = await Promise.all([
      file.stat(),
      this.#file.stat(),
    ]);
    if (ino !== known.ino || size < this.#offset) return file;
    file.close();
    return undefined;
  }

  async #readOn(): Promise<string[]> {
    if (!this.#file) return [];
    const buffer = new Uint8Array(64 * 1024);
    for (;;) {
      const count = await this.#file.read(buffer);
      if (count === null) break;
      this.#offset += count;
      const bytes = buffer.subarray(0, count);
      this.#rest += this.#decoder.decode(bytes, { stream: true });
    }
    const lines = this.#rest.split("\n");
    this.#rest = lines.pop() ?? "";
    return lines;
  }
}
