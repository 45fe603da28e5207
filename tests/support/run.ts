/**
 * Starts programs for tests: to their end, or until they are stopped.
 *
 * @module
 */

import { join } from "node:path";

/** Where system programs are, whatever the developer's own PATH. */
export const SYSTEM_PATH =
  "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * Finds a system program.
 *
 * @param program Its name.
 * @returns Its path, or undefined if it is not installed.
 */
export function which(program: string): string | undefined {
  return SYSTEM_PATH.split(":").map((folder) => join(folder, program))
    .find(isThere);
}

/**
 * Tells whether a path leads to something.
 *
 * @param path A file or directory.
 * @returns Whether it is there.
 */
export function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/** How {@link run} and {@link startServer} start a program. */
export interface RunOptions {
  /** Added to the environment, or all of it with {@link RunOptions.clearEnv}. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Start from an empty environment. Default: false. */
  readonly clearEnv?: boolean;
  /** Written to stdin, which is then closed. Default: nothing. */
  readonly stdin?: string | undefined;
  /** Default: the test's. */
  readonly cwd?: string | undefined;
  /** How long {@link run} may take, or {@link startServer} until it is ready. Default: 60 s. */
  readonly timeoutMs?: number | undefined;
}

/** How a program ended. */
export interface RunResult {
  /** Exit status; 128 and the signal's number if a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that runs until it is stopped; `await using` stops it. */
export interface Server extends AsyncDisposable {
  readonly pid: number;
  /** What the pattern found, one per ready line. */
  readonly ready: readonly RegExpMatchArray[];
  /** What was printed so far. */
  stdout(): string;
  /** What was printed so far. */
  stderr(): string;
  /** Waits until it ends by itself. */
  ended(): Promise<RunResult>;
  /** Sends a signal, by default SIGTERM, and waits; SIGKILL follows after 10 s. */
  stop(signal?: Deno.Signal): Promise<RunResult>;
}

/** How {@link startServer} knows that a server listens. */
export interface ReadyOptions extends RunOptions {
  /** Matches each ready line, with the flag `g`. */
  readonly ready: RegExp;
  /** Where ready lines appear. Default: stdout. */
  readonly on?: "stdout" | "stderr";
  /** How many ready lines to wait for. Default: 1. */
  readonly count?: number;
}

/** A started program whose output is collected. */
interface Collected {
  readonly child: Deno.ChildProcess;
  readonly out: { stdout: string; stderr: string };
  readonly ended: Promise<RunResult>;
  /** Called after each piece of output. */
  onOutput(): void;
}

function start(argv: readonly string[], options: RunOptions): Collected {
  const [program = "", ...args] = argv;
  const child = new Deno.Command(program, {
    args,
    env: options.env ?? {},
    clearEnv: options.clearEnv ?? false,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const out = { stdout: "", stderr: "" };
  const collect = async (name: "stdout" | "stderr") => {
    const decoder = new TextDecoderStream();
    for await (const text of child[name].pipeThrough(decoder)) {
      out[name] += text;
      collected.onOutput();
    }
  };
  const ended = Promise.all([
    child.status,
    collect("stdout"),
    collect("stderr"),
    feed(child.stdin, options.stdin ?? ""),
  ]).then(([{ code }]) => ({ code, ...out }));
  const collected: Collected = { child, out, ended, onOutput: () => {} };
  return collected;
}

/** Writes all of stdin; a program may end before it has read it. */
async function feed(
  stdin: WritableStream<Uint8Array>,
  text: string,
): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  await ReadableStream.from([bytes]).pipeTo(stdin).catch(() => {});
}

/** How long the pipes of a killed program may stay open, such as in its children. */
const GRACE_MS = 2000;

/** Kills the program and fails with what was printed when `promise` takes too long. */
async function within<T>(
  argv: readonly string[],
  { child, out, ended }: Collected,
  timeoutMs: number,
  promise: Promise<T>,
): Promise<T> {
  const late = Promise.withResolvers<never>();
  const fail = () => {
    const printed = `${out.stdout}\n${out.stderr}`;
    const what = `${argv.join(" ")}: not done within ${timeoutMs} ms`;
    late.reject(new Error(`${what}\n${printed}`));
  };
  let expired = false;
  const timers = [
    setTimeout(() => {
      expired = true;
      kill(child, "SIGKILL");
      ended.then(fail);
    }, timeoutMs),
    setTimeout(fail, timeoutMs + GRACE_MS),
  ];
  try {
    const result = await Promise.race([promise, late.promise]);
    return expired ? await late.promise : result;
  } finally {
    timers.forEach(clearTimeout);
  }
}

/**
 * Runs a program to its end.
 *
 * @param argv Program and arguments.
 * @param options Where and how.
 * @returns Exit status and output.
 * @throws {Error} on a time-out, with what was printed until then.
 */
export async function run(
  argv: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const started = start(argv, options);
  return await within(
    argv,
    started,
    options.timeoutMs ?? 60_000,
    started.ended,
  );
}

/**
 * Starts a server and waits until it says that it is ready.
 *
 * @param argv Program and arguments.
 * @param options Where, how, and what it says.
 * @returns The running server; the caller stops it.
 * @throws {Error} if it ends or takes too long instead, with what it printed.
 */
export async function startServer(
  argv: readonly string[],
  options: ReadyOptions,
): Promise<Server> {
  const started = start(argv, options);
  const { child, out, ended } = started;
  const { on = "stdout", count = 1, timeoutMs = 60_000 } = options;
  const matches = () => [...out[on].matchAll(options.ready)];
  const ready = Promise.withResolvers<RegExpMatchArray[]>();
  started.onOutput = () => {
    if (matches().length >= count) ready.resolve(matches());
  };
  const failed = ended.then((result): never => {
    throw new Error(
      `${argv.join(" ")}: ended before it was ready: ${JSON.stringify(result)}`,
    );
  });
  const first = Promise.race([ready.promise, failed]);
  const stop = async (signal: Deno.Signal = "SIGTERM") => {
    kill(child, signal);
    return await within(argv, started, 10_000, ended);
  };
  const found = await within(argv, started, timeoutMs, first);
  failed.catch(() => {});
  return {
    pid: child.pid,
    ready: found,
    stdout: () => out.stdout,
    stderr: () => out.stderr,
    ended: () => ended,
    stop,
    [Symbol.asyncDispose]: async () => void await stop(),
  };
}

/** A program that ended already needs no signal. */
function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}
