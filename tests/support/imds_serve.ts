/**
 * A moat that serves instance metadata, in a network namespace of the test's.
 *
 * @module
 */

import assert from "node:assert/strict";
import { MOAT } from "./moat.ts";
import { run, type RunResult, type Server, startServer } from "./run.ts";
import { Workspace } from "./workspace.ts";

/** `moat proxy` at the real address. */
export const PROXY: readonly string[] = [
  ...["proxy", "--listen", "127.0.0.1:0", "--imds"],
];

/** In go-metadataproxy's place. */
export const DROP_IN: readonly string[] = ["metadata-proxy"];

/** How moat is started. */
export interface ServeOptions {
  /** `moat.toml` of `moat proxy`. */
  readonly config?: string;
  /** Flags of `moat proxy` besides `--imds`, or of `moat metadata-proxy`. */
  readonly flags?: readonly string[];
  /** Added to its environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Flags of `moat grant aws` for the grant `aws`. */
  readonly grant?: readonly string[];
}

/** A running moat; `await using` stops it. */
export interface Serving extends AsyncDisposable {
  /** What it printed on stdout so far. */
  stdout(): string;
  /** Its log so far. */
  log(): string;
  /** Lines of its log so far that are of one event. */
  logged(event: string): Record<string, unknown>[];
  /** Runs another moat of the same home. */
  moat(...args: string[]): Promise<RunResult>;
  /** As {@link moat}, which must succeed; gives its stdout. */
  do(...args: string[]): Promise<string>;
  /** Stops it; gives all that it said. */
  stop(): Promise<RunResult>;
}

/** Where moat is started. */
export interface Place {
  /** Puts a command into the network namespace. */
  readonly prefix: readonly string[];
  /** Its environment, by its home. */
  readonly env: (home: Workspace) => Readonly<Record<string, string>>;
}

/** What {@link serveMoat} starts. */
export interface Start extends ServeOptions {
  /** The command. */
  readonly args: readonly string[];
  /** In its home. Default: none. */
  readonly files?: Readonly<Record<string, string>>;
}

/**
 * Starts a moat with a home of its own.
 *
 * @param place Where.
 * @param start What.
 * @returns It, once it listens; the caller stops it.
 */
export async function serveMoat(place: Place, start: Start): Promise<Serving> {
  const stack = new AsyncDisposableStack();
  const home = stack.use(await Workspace.open());
  const env = { ...place.env(home), ...start.env };
  for (const [name, text] of Object.entries(start.files ?? {})) {
    const path = await home.write(name, text);
    if (name === "moat.toml") env["MOAT_CONFIG"] = path;
  }
  const common = { env, clearEnv: true, cwd: home.directory };
  const moat = (...words: string[]) =>
    run([...place.prefix, MOAT, ...words], common);
  const must = async (...words: string[]) => {
    const { code, stdout, stderr } = await moat(...words);
    assert.equal(code, 0, `moat ${words.join(" ")}: ${stderr}`);
    return stdout;
  };
  try {
    if (start.grant) {
      await must("grant", "aws", ...start.grant, "--no-validate");
    }
    const argv = [...place.prefix, MOAT, ...start.args, ...start.flags ?? []];
    // Of several lines the last one.
    const ready = start.args === PROXY ? /^control /gm : /^ready /gm;
    const server = stack.use(await startServer(argv, { ...common, ready }));
    return serving(server, stack, { moat, do: must });
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

/** A started moat. */
function serving(
  server: Server,
  stack: AsyncDisposableStack,
  commands: Pick<Serving, "moat" | "do">,
): Serving {
  const stop = async () => {
    const result = await server.stop();
    await stack.disposeAsync();
    return result;
  };
  return {
    ...commands,
    stdout: () => server.stdout(),
    log: () => server.stderr(),
    logged: (event) =>
      server.stderr().split("\n").filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line))
        .filter((line) => line.event === event),
    stop,
    [Symbol.asyncDispose]: async () => void await stop(),
  };
}
