/**
 * Programs that benchmarks start, and what they cost.
 *
 * @module
 */

import { ScriptError } from "./process.ts";

/** A program that printed where it listens; ended at the end of its scope. */
export class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  /** What it printed behind `ready`; empty if it ended before. */
  readonly url: Promise<string>;

  /** Starts it, with no other environment than this. */
  constructor(argv: readonly string[], env: Record<string, string> = {}) {
    const [program = "", ...args] = argv;
    this.#child = new Deno.Command(program, {
      args,
      env,
      clearEnv: true,
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const found = Promise.withResolvers<string>();
    this.url = found.promise;
    this.#reading = this.#read((url) => found.resolve(url));
  }

  async #read(found: (url: string) => void): Promise<void> {
    const stream = this.#child.stdout.pipeThrough(new TextDecoderStream());
    let text = "";
    for await (const chunk of stream) {
      text += chunk;
      const url = /^ready (\S+)\n/m.exec(text)?.[1];
      if (url) found(url);
    }
    found("");
  }

  /** Resident memory in MB. */
  async memory(): Promise<number> {
    const status = await Deno.readTextFile(`/proc/${this.#child.pid}/status`);
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
  }

  /** Seconds of processor time that it has used, with all its threads. */
  async cpuSeconds(): Promise<number> {
    const stat = await Deno.readTextFile(`/proc/${this.#child.pid}/stat`);
    // Behind the name, which may hold anything: state is the third field.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [user, system] = [fields[11], fields[12]];
    return (Number(user) + Number(system)) / TICKS_PER_SECOND;
  }

  /** Kills it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await Promise.all([this.#child.status, this.#reading]);
  }
}

/** What the kernel tells programs, whatever its own is (proc(5)). */
const TICKS_PER_SECOND = 100;

/** A port of 127.0.0.1 that is free now. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/**
 * Waits until a port of 127.0.0.1 answers.
 *
 * @param name Who should listen there.
 * @param port The port.
 * @throws {ScriptError} If nobody does within ten seconds.
 */
export async function untilAnswers(name: string, port: number): Promise<void> {
  for (let i = 0; i < 500; i++) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  throw new ScriptError(`Cannot measure: ${name} does not start`);
}
