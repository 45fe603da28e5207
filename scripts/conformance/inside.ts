/**
 * The part of the matrix that runs in a network namespace: measures what it
 * is told to, and prints each result as a line of JSON.
 *
 * Ends when its stdin does, and so with the script that started it.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- stdout is its protocol

import { runScript } from "../process.ts";
import { type Client, CLIENTS } from "./clients.ts";
import { COLUMNS } from "./columns.ts";
import { Host } from "./host.ts";
import { type Launch, measure, type Variant } from "./matrix.ts";
import { refresh, SESSION_LIFE } from "./refresh.ts";

/** What it is told. */
export interface Task {
  /** The executable. */
  readonly moat: string;
  /** Names of clients. */
  readonly clients: readonly string[];
  /** Of the matrix. */
  readonly variants: readonly Variant[];
  /** Instead of the matrix: how long clients are polled. */
  readonly refreshMinutes?: number;
  /** Instead of the host's own: clients run in containers, one column each. */
  readonly container?: Container | undefined;
}

/** How a container is started. */
export interface Container {
  /** The engine, `run` and its options. */
  readonly run: readonly string[];
  readonly image: string;
}

/** A container gets variables by name, so that none is on a command line. */
function launchIn({ run, image }: Container): Launch {
  return (argv, env) => ({
    argv: [
      ...run,
      ...Object.keys(env).flatMap((name) => ["--env", name]),
      image,
      ...argv,
    ],
    env,
  });
}

/** What a client can use at 169.254.170.2 without a mounted file. */
function containedColumn({ unsupported }: Client) {
  return COLUMNS.filter(({ name, mode, tokenFile }) =>
    mode.startsWith("ecs-relative") && !tokenFile && !unsupported[name]
  ).slice(0, 1);
}

async function work(task: Task): Promise<void> {
  const { moat, container, refreshMinutes: minutes, variants } = task;
  const sessionLife = minutes === undefined ? undefined : SESSION_LIFE;
  await using host = await Host.open({ moat, sessionLife });
  const launch: Launch = container
    ? launchIn(container)
    : (argv, env) => ({ argv, env });
  const clients = CLIENTS.filter(({ name }) => task.clients.includes(name));
  const print = (result: unknown) => console.log(JSON.stringify(result));
  if (minutes !== undefined) {
    (await refresh({ host, launch }, clients, minutes)).forEach(print);
    return;
  }
  const columnsOf = container ? containedColumn : () => COLUMNS;
  await measure({ host, launch }, { clients, columnsOf, variants }, print);
}

async function endWithParent(): Promise<never> {
  for await (const _chunk of Deno.stdin.readable);
  Deno.exit(1);
}

if (import.meta.main) {
  endWithParent();
  await runScript(async () => {
    await work(JSON.parse(Deno.args[0] ?? "{}"));
    return 0;
  });
}
