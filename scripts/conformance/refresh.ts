/**
 * Lets long-lived clients work with sessions of one minute: each is opened
 * once, refreshes by its own rules, and must never be without a live session.
 *
 * @module
 */

import { clientArgv } from "../sdk_clients.ts";
import type { Client } from "./clients.ts";
import { type Column, COLUMNS } from "./columns.ts";
import type { Bound } from "./host.ts";
import type { Stage } from "./matrix.ts";
import { startEchoS3 } from "./servers.ts";
import { type Answer, parseAnswer, Talk } from "./talk.ts";

/** How long a session lives, in seconds. */
export const SESSION_LIFE = 60;

const PAUSE_MS = 5000;

/** How long an answer may take; a client that spins has none. */
const TIMEOUT_MS = 20_000;

/** What came of one client. */
export interface Refreshed {
  /** {@link Client.name}. */
  readonly client: string;
  readonly column: string;
  readonly polls: number;
  /** How many different sessions it had. */
  readonly sessions: number;
  /** What it said when it had no live session; empty if that never was. */
  readonly failures: readonly string[];
}

/** A poll and when it was over, in ms since the Unix epoch. */
interface Poll extends Answer {
  readonly endedAt: number;
}

/** One client in one column. */
interface Job {
  readonly client: Client;
  readonly column: Column;
  readonly bound: Bound;
}

/**
 * Polls clients for a time: by `process`, and by the first container mode that
 * each supports.
 *
 * @param stage A host whose sessions live {@link SESSION_LIFE}.
 * @param clients Those that refresh by themselves.
 * @param minutes How long.
 * @returns What came of each.
 */
export async function refresh(
  { host, launch }: Stage,
  clients: readonly Client[],
  minutes: number,
): Promise<Refreshed[]> {
  await using s3 = startEchoS3("169.254.170.2");
  const env = { ...host.env, S3_AUTHORITY: s3.authority };
  const bindings = new Map<Column, Bound>();
  for (const column of COLUMNS) {
    const bound = await host.bind(column);
    // rusoto and AsyncAws never get over an error, such as of a host that is
    // too busy with the start of all clients to answer in time.
    await bound.accessKeyId();
    bindings.set(column, bound);
  }
  const until = Date.now() + minutes * 60_000;
  const jobs = clients.flatMap((client) =>
    columnsOf(client).flatMap((column): Job[] => {
      const bound = bindings.get(column);
      return bound ? [{ client, column, bound }] : [];
    })
  );
  const polled = await Promise.all(jobs.map(async ({ client, ...job }) => {
    const argv = [...clientArgv(client.language, client.program), "keep"];
    const started = launch(argv, { ...env, ...job.bound.env });
    const options = { cwd: host.directory, timeoutMs: TIMEOUT_MS };
    await using talk = new Talk(client.name, { ...started, ...options });
    return await pollUntil(until, talk);
  }));
  const ends = await host.sessionEnds();
  return jobs.map((job, i) => summarize(job, polled[i] ?? [], ends));
}

function columnsOf({ unsupported }: Client): Column[] {
  const usable = COLUMNS.filter(({ name }) => !unsupported[name]);
  const container = usable.find(({ mode }) => mode !== "process");
  return usable.filter((column) =>
    column.mode === "process" || column === container
  );
}

/** Ends at the first answer that does not come. */
async function pollUntil(until: number, talk: Talk): Promise<Poll[]> {
  const polls: Poll[] = [];
  const add = (line: string) =>
    polls.push({ ...parseAnswer(line), endedAt: Date.now() });
  try {
    await talk.hear();
    while (Date.now() < until) {
      add(await talk.ask());
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  } catch (error) {
    add(`error ${(error as Error).message}`);
  }
  return polls;
}

function summarize(
  { client, column }: Job,
  polls: readonly Poll[],
  ends: ReadonlyMap<string, number>,
): Refreshed {
  const failures = polls.flatMap(({ accessKeyId, line, endedAt }) => {
    if (!accessKeyId) return [line];
    const isLive = (ends.get(accessKeyId) ?? 0) > endedAt;
    return isLive ? [] : [`${accessKeyId} ended before ${endedAt}`];
  });
  const sessions = new Set(polls.map(({ accessKeyId }) => accessKeyId));
  sessions.delete(undefined);
  return {
    client: client.name,
    column: column.name,
    polls: polls.length,
    sessions: sessions.size,
    failures: [...new Set(failures)],
  };
}
