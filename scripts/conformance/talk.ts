/**
 * Talks with a program line by line: the clients of
 * `tests/testdata/sdk_clients`, and servers that say when they are ready.
 *
 * @module
 */

/** How a program is started. */
export interface TalkOptions {
  /** Program and arguments. */
  readonly argv: readonly string[];
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Where it runs. */
  readonly cwd: string;
  /** How long a line may take, whatever goes wrong in it. Default: 60 s. */
  readonly timeoutMs?: number;
  /** Whether it ends by itself when its stdin ends. Default: it does. */
  readonly heedsStdin?: boolean;
}

/** How long a program may take to end by itself, and then by a signal. */
const GRACE_MS = 5000;

/** A program that answers lines; `await using` ends it. */
export class Talk implements AsyncDisposable {
  readonly #name: string;
  readonly #options: TalkOptions;
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncGenerator<string>;
  readonly #stderr: Promise<string>;
  #ended: Promise<void> | undefined;

  /**
   * Starts a program.
   *
   * @param name For errors.
   * @param options What and how.
   */
  constructor(name: string, options: TalkOptions) {
    const { argv: [program = "", ...args], env, cwd } = options;
    const pipes = { stdin: "piped", stdout: "piped", stderr: "piped" } as const;
    this.#name = name;
    this.#options = options;
    this.#child = new Deno.Command(program, {
      ...{ args, env: { ...env }, clearEnv: true, cwd },
      ...pipes,
    }).spawn();
    this.#stdin = this.#child.stdin.getWriter();
    this.#lines = linesOf(this.#child.stdout);
    this.#stderr = new Response(this.#child.stderr).text();
  }

  /**
   * The next line.
   *
   * @throws {Error} if it ends or takes too long instead, with its stderr.
   */
  async hear(): Promise<string> {
    const { timeoutMs = 60_000 } = this.#options;
    const next = await within(timeoutMs, this.#lines.next());
    if (next === undefined) throw new Error(`${this.#name} said nothing`);
    if (!next.done) return next.value;
    throw new Error(`${this.#name} ended: ${await this.#stderr}`);
  }

  /** Says an empty line, and gives the next one. */
  async ask(): Promise<string> {
    // One that has ended tells more when it is heard.
    await this.#stdin.write(new TextEncoder().encode("\n")).catch(() => {});
    return await this.hear();
  }

  /** Waits for its end, and if need be brings it about. May be called twice. */
  end(): Promise<void> {
    return this.#ended ??= this.#end();
  }

  async #end(): Promise<void> {
    await this.#stdin.close().catch(() => {});
    let graceMs = this.#options.heedsStdin === false ? 0 : GRACE_MS;
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      if (await within(graceMs, this.#child.status)) break;
      this.#kill(signal);
      graceMs = GRACE_MS;
    }
    await this.#lines.return(undefined);
    await Promise.all([this.#child.status, this.#stderr]);
  }

  /** One that has ended meanwhile needs no signal. */
  #kill(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

/** What a client answered when it was told to ask for credentials. */
export interface Answer {
  /** Its line: `ok` and what holds the access key ID, or `error` and why. */
  readonly line: string;
  /** Undefined if it got no credentials. */
  readonly accessKeyId: string | undefined;
  /** In ms since the Unix epoch, if the client tells it. */
  readonly expiresAt: number | undefined;
}

/**
 * Reads a client's answer.
 *
 * @param line As it printed it.
 * @returns What it says.
 */
export function parseAnswer(line: string): Answer {
  const [word, key = "", end = "-"] = line.split(" ");
  const accessKeyId = word === "ok" ? /ASIA\w{16}/.exec(key)?.[0] : undefined;
  const expiresAt = end === "-" ? undefined : Date.parse(end);
  return { line, accessKeyId, expiresAt };
}

/** Gives undefined when it takes longer. */
async function within<T>(
  timeoutMs: number,
  promise: Promise<T>,
): Promise<T | undefined> {
  let timer: number | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), timeoutMs);
  });
  return await Promise.race([promise, late])
    .finally(() => clearTimeout(timer));
}

async function* linesOf(
  stream: ReadableStream<Uint8Array>,
): AsyncGenerator<string> {
  let text = "";
  for await (const piece of stream.pipeThrough(new TextDecoderStream())) {
    const whole = (text + piece).split("\n");
    text = whole.pop() ?? "";
    yield* whole;
  }
}
