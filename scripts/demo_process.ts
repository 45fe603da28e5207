/**
 * The demo's children: each has only the environment that it is given, and
 * ends when somebody ends the demo.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- scripts talk to a developer's terminal

import { type RunResult, ScriptError } from "./process.ts";

/** Signals that end the demo, and the exit status of each. */
const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** A terminal, `deno task` and `timeout` may each send the same one. */
const SAME_SIGNAL_MS = 1000;

/** Why the demo was ended from outside: a signal. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  /** 128 and the signal's number. */
  readonly exitStatus: number;

  /** Makes the reason for one signal. */
  constructor(signal: keyof typeof SIGNALS) {
    super(`ended by ${signal}`);
    this.exitStatus = SIGNALS[signal];
  }
}

/**
 * Turns signals into an abort, so that the demo unwinds and clears up. A
 * second signal, after one second, ends the process at once.
 *
 * @returns Aborted with {@link Interrupted} as its reason.
 */
export function watchSignals(): AbortSignal {
  const controller = new AbortController();
  let since = 0;
  const end = (name: keyof typeof SIGNALS) => {
    if (!controller.signal.aborted) {
      since = performance.now();
      console.error(`\n${name}: clearing up`);
      controller.abort(new Interrupted(name));
    } else if (performance.now() - since > SAME_SIGNAL_MS) {
      Deno.exit(SIGNALS[name]);
    }
  };
  for (const name of Object.keys(SIGNALS) as (keyof typeof SIGNALS)[]) {
    Deno.addSignalListener(name, () => end(name));
  }
  return controller.signal;
}

/** How {@link runClean} starts a program. */
export interface CleanOptions {
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Ends it with SIGTERM. */
  readonly signal?: AbortSignal;
  /** Default: the demo's own. */
  readonly cwd?: string;
  /** Default: 60 s; then it is ended. */
  readonly timeoutMs?: number;
}

/**
 * Runs a program to its end and collects what it printed.
 *
 * @param argv Program and arguments.
 * @param options Where and how.
 * @returns The result; code 127 if the program cannot be started.
 * @throws {Interrupted} if the signal was aborted, once the program has ended.
 */
export async function runClean(
  argv: readonly string[],
  { env, signal, cwd, timeoutMs = 60_000 }: CleanOptions,
): Promise<RunResult> {
  const [program = "", ...args] = argv;
  signal?.throwIfAborted();
  const timeout = AbortSignal.timeout(timeoutMs);
  const command = new Deno.Command(program, {
    args,
    env,
    clearEnv: true,
    ...cwd === undefined ? {} : { cwd },
    stdin: "null",
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
  });
  const { code, stdout, stderr } = await output(command);
  signal?.throwIfAborted();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

async function output(
  command: Deno.Command,
): Promise<Pick<Deno.CommandOutput, "code" | "stdout" | "stderr">> {
  try {
    return await command.output();
  } catch (error) {
    const { NotFound, PermissionDenied } = Deno.errors;
    if (!(error instanceof NotFound || error instanceof PermissionDenied)) {
      throw error;
    }
    const stderr = new TextEncoder().encode(error.message);
    return { code: 127, stdout: new Uint8Array(), stderr };
  }
}

/** A long-running moat; disposing stops it. */
export interface Server extends AsyncDisposable {
  /** Where it listens. */
  readonly url: string;
  /** What it printed on stderr so far. */
  notes(): string;
  /** Stops it, once; says whether it ended with exit status 0. */
  stop(): Promise<boolean>;
}

/**
 * Starts a moat that prints `ready URL`, and waits for that.
 *
 * @param argv Program and arguments.
 * @param options Its environment, and what ends it.
 * @returns The running server.
 * @throws {ScriptError} if it ends instead.
 */
export async function startServer(
  argv: readonly string[],
  { env, signal }: { env: Record<string, string>; signal: AbortSignal },
): Promise<Server> {
  const [program = "", ...args] = argv;
  signal.throwIfAborted();
  const child = new Deno.Command(program, {
    args,
    env,
    clearEnv: true,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal,
  }).spawn();
  let notes = "";
  const reading = (async () => {
    const decoded = child.stderr.pipeThrough(new TextDecoderStream());
    for await (const text of decoded) notes += text;
  })();
  let stopped: Promise<boolean> | undefined;
  const stop = () => stopped ??= end(child, reading);
  const url = await readyUrl(child.stdout);
  if (url === "") {
    await stop();
    signal.throwIfAborted();
    throw new ScriptError(
      `The demo failed: "${argv.join(" ")}" did not become ready`,
      notes.trim(),
    );
  }
  return {
    url,
    notes: () => notes,
    stop,
    [Symbol.asyncDispose]: async () => void await stop(),
  };
}

async function end(
  child: Deno.ChildProcess,
  reading: Promise<void>,
): Promise<boolean> {
  try {
    child.kill("SIGTERM");
  } catch (error) {
    // It has ended already.
    if (!(error instanceof TypeError)) throw error;
  }
  const [status] = await Promise.all([child.status, reading]);
  return status.success;
}

async function readyUrl(
  stdout: ReadableStream<Uint8Array<ArrayBuffer>>,
): Promise<string> {
  let text = "";
  const reader = stdout.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return "";
    text += value;
    const url = /^ready (\S+)\n/m.exec(text)?.[1];
    if (url) {
      reader.cancel();
      return url;
    }
  }
}
