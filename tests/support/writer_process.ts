/**
 * Starts tests/support/store_writer.ts.
 *
 * @module
 */

/** A process that prints lines. */
export class WriterProcess {
  readonly #child: Deno.ChildProcess;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";

  /** Starts it in a mode, with the mode's arguments. */
  constructor(...args: string[]) {
    const script = new URL("./store_writer.ts", import.meta.url);
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", script.href, ...args],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#reader = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
  }

  /** Waits until it has printed anything. */
  async started(): Promise<void> {
    this.#text += (await this.#reader.read()).value ?? "";
  }

  /** Ends what it waits for on its standard input. */
  async go(): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    await writer.write(new TextEncoder().encode("go\n"));
    writer.releaseLock();
  }

  /** Kills it as `kill -9` does; its whole lines. */
  kill(): Promise<string[]> {
    this.#child.kill("SIGKILL");
    return this.lines();
  }

  /** Waits for its end; its whole lines. */
  async lines(): Promise<string[]> {
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) break;
      this.#text += value;
    }
    await this.#child.stdin.close().catch(() => {});
    await this.#child.status;
    return this.#text.split("\n").slice(0, -1);
  }
}
