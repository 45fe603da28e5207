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
import { olderTrace } from "../trace.ts";

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
  for await (const line of linesOf(olderTrace(paths.trace))) print(line);
  const reader = new Tail(paths.trace);
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
  const { time, method, host, path, status, failure, ...rest } = record;
  const shown = [
    time,
    rest["binding"],
    method,
    `${host}${path ?? ""}`,
    status ?? "-",
    failure,
    `${rest["totalMs"]}ms`,
    `sent=${rest["sent"]}`,
    `received=${rest["received"]}`,
    grantsOf(rest["grants"]),
    `${rest["decision"]}: ${rest["rule"]}`,
  ].filter((part) => part !== undefined);
  output.text(printable(shown.map(word).join(" ")) + "\n");
}

function grantsOf(grants: unknown): string | undefined {
  return Array.isArray(grants) && grants.length > 0
    ? `injected=${grants.join(",")}`
    : undefined;
}

/** A line that a crash cut short is left out. */
function parse(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

async function* linesOf(path: string): AsyncGenerator<string> {
  yield* await new Tail(path).read();
}

/** The lines of a file, and those that are added to it. */
class Tail {
  readonly #path: string;
  #inode: number | null = null;
  #offset = 0;
  #rest = "";

  constructor(path: string) {
    this.#path = path;
  }

  /** Those that are new; a file that took the place of the one before is read whole. */
  async read(): Promise<string[]> {
    const file = await missingOk(Deno.open(this.#path));
    if (!file) return [];
    using _file = file;
    const { ino, size } = await file.stat();
    if (ino !== this.#inode || size < this.#offset) this.#offset = 0;
    this.#inode = ino;
    await file.seek(this.#offset, Deno.SeekMode.Start);
    const bytes = new Uint8Array(
      await new Response(file.readable).arrayBuffer(),
    );
    this.#offset += bytes.length;
    const lines = (this.#rest + new TextDecoder().decode(bytes)).split("\n");
    this.#rest = lines.pop() ?? "";
    return lines;
  }
}
