/**
 * Runs the load client against a contender.
 *
 * @module
 */

import { join } from "node:path";
import { must } from "../process.ts";
import type { Contender, Field, Proxies } from "./contenders.ts";

/** How a load goes. */
export interface LoadOptions {
  /** Which of the contender's proxies is asked. Default: `intercept`. */
  readonly proxy?: keyof Proxies;
  /** Flags of the load client. */
  readonly flags?: readonly string[];
  /** The whole URLs that are asked for, instead of a path. */
  readonly urls?: readonly string[];
}

/** What the load client printed, and what it cost the contender. */
export interface Measured {
  /** Times are in ms. */
  readonly [figure: string]: number;
  /** Seconds of processor time that the contender used; 0 for the upstream. */
  readonly cpu: number;
}

/**
 * Runs one load.
 *
 * @param field The load client.
 * @param contender Who is measured.
 * @param command What the load client does.
 * @param path What is asked for.
 * @param options Flags.
 * @returns What it printed.
 * @throws {ScriptError} If a request fails.
 */
export async function measure(
  field: Field,
  contender: Contender,
  command: "requests" | "connects" | "download" | "events",
  path: string,
  options: LoadOptions = {},
): Promise<Measured> {
  const { program } = contender;
  const before = await program?.cpuSeconds() ?? 0;
  const text = await must(loadArgv(field, contender, command, path, options));
  const after = await program?.cpuSeconds() ?? 0;
  return { ...JSON.parse(text), cpu: after - before };
}

function loadArgv(
  { load, directory }: Field,
  { base, proxies, roots }: Contender,
  command: string,
  path: string,
  { proxy = "intercept", flags = [], urls = [base + path] }: LoadOptions,
): string[] {
  const through = proxies ? ["-proxy", proxies[proxy]] : [];
  // In a tunnel the client speaks to the upstream itself.
  const trusted = proxy === "tunnel" ? join(directory, "root.pem") : roots;
  return [load, "-roots", trusted, ...through, ...flags, command, ...urls];
}

/**
 * Opens connections, asks once on each, and leaves them open.
 *
 * @param field The load client.
 * @param contender Whom to.
 * @param count How many.
 * @returns Closes them.
 */
export async function hold(
  field: Field,
  contender: Contender,
  count: number,
): Promise<AsyncDisposable> {
  const flags = ["-connections", `${count}`];
  const argv = loadArgv(field, contender, "hold", "/", { flags });
  const [program = "", ...args] = argv;
  const child = new Deno.Command(program, {
    args,
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  return {
    async [Symbol.asyncDispose]() {
      await child.stdin.close();
      while (!(await reader.read()).done);
      await child.status;
    },
  };
}
