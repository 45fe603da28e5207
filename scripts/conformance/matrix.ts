/**
 * Measures the cells of the matrix: each client in each column, alone, with an
 * HTTP proxy in its environment, and with one but without `NO_PROXY`.
 *
 * @module
 */

import { clientArgv } from "../sdk_clients.ts";
import type { Client } from "./clients.ts";
import { type Column, type ColumnName, COLUMNS } from "./columns.ts";
import type { Bound, Host } from "./host.ts";
import {
  type LocalServer,
  type RecordingProxy,
  startEchoS3,
  startRecordingProxy,
} from "./servers.ts";
import { parseAnswer, Talk } from "./talk.ts";

/** What moat tells people to set where a proxy is set. */
export const NO_PROXY =
  "169.254.170.2,169.254.170.23,169.254.169.254,127.0.0.1,localhost";

/** What is in the environment: no proxy, a proxy and `NO_PROXY`, a proxy alone. */
export type Variant = "plain" | "proxied" | "unlisted";

/** All of them. */
export const VARIANTS: readonly Variant[] = ["plain", "proxied", "unlisted"];

/** What came of one client in one column. */
export interface Cell {
  /** {@link Client.name}. */
  readonly client: string;
  readonly column: ColumnName;
  readonly variant: Variant;
  /** Whether it got the session that moat hands out there. */
  readonly isOk: boolean;
  /** How many of its credential requests went through the proxy. */
  readonly proxied: number;
  /** What it said. */
  readonly line: string;
  /** How long it took, in ms. */
  readonly tookMs: number;
}

/** How a client is started where it is to run. */
export type Launch = (
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
) => {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
};

/** What {@link measure} needs. */
export interface Stage {
  readonly host: Host;
  readonly launch: Launch;
}

/** One cell to be measured. */
interface Job {
  readonly client: Client;
  readonly column: Column;
  readonly variant: Variant;
}

/** What is measured. */
export interface Matrix {
  readonly clients: readonly Client[];
  columnsOf(client: Client): readonly Column[];
  readonly variants: readonly Variant[];
}

/** Clients are many programs that mostly start up: as many as there are cores. */
const AT_ONCE = Math.max(2, navigator.hardwareConcurrency);

/** No client may take longer for an answer, whatever is wrong. */
const TIMEOUT_MS = 30_000;

/**
 * Measures a matrix.
 *
 * @param stage Where.
 * @param matrix What.
 * @param onCell Told of each cell as it is done.
 */
export async function measure(
  { host, launch }: Stage,
  { clients, columnsOf, variants }: Matrix,
  onCell: (cell: Cell) => void,
): Promise<void> {
  await using s3 = startEchoS3("169.254.170.2");
  const bindings = new Map<ColumnName, Bound>();
  for (const column of COLUMNS) {
    bindings.set(column.name, await host.bind(column));
  }
  const jobs = clients.flatMap((client) =>
    columnsOf(client).flatMap((column) =>
      variants.map((variant): Job => ({ client, column, variant }))
    )
  );
  const work = async () => {
    for (let job = jobs.shift(); job; job = jobs.shift()) {
      const bound = bindings.get(job.column.name);
      if (bound) onCell(await measureCell({ host, launch, s3 }, job, bound));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

async function measureCell(
  { host, launch, s3 }: Stage & { s3: LocalServer },
  { client, column, variant }: Job,
  bound: Bound,
): Promise<Cell> {
  await using proxy = startRecordingProxy();
  const env = {
    ...host.env,
    S3_AUTHORITY: s3.authority,
    ...bound.env,
    ...proxyEnv(proxy, variant),
  };
  const wanted = await bound.accessKeyId();
  const startedAt = performance.now();
  const line = await askClient(client, host.directory, { launch, env });
  return {
    client: client.name,
    column: column.name,
    variant,
    isOk: parseAnswer(line).accessKeyId === wanted,
    proxied: proxy.urls.filter(isCredentialUrl).length,
    line,
    tookMs: Math.round(performance.now() - startedAt),
  };
}

/** Starts a client for one answer. */
async function askClient(
  { name, language, program }: Client,
  cwd: string,
  { launch, env }: { launch: Launch; env: Record<string, string> },
): Promise<string> {
  const started = launch(clientArgv(language, program), env);
  await using talk = new Talk(name, { ...started, cwd, timeoutMs: TIMEOUT_MS });
  try {
    await talk.hear();
    return await talk.ask();
  } catch (error) {
    return `error ${(error as Error).message}`;
  }
}

function proxyEnv(
  { authority }: RecordingProxy,
  variant: Variant,
): Record<string, string> {
  if (variant === "plain") return {};
  const url = `http://${authority}`;
  return {
    HTTP_PROXY: url,
    HTTPS_PROXY: url,
    http_proxy: url,
    https_proxy: url,
    ...variant === "proxied" ? { NO_PROXY, no_proxy: NO_PROXY } : {},
  };
}

/** Not the S3, nor anything else that a client looks for. */
function isCredentialUrl(url: string): boolean {
  return /\/(ecs|aws)\/[\w-]*credentials$/.test(url);
}

/** What a cell means. */
export type Verdict =
  /** As it should be. */
  | "ok"
  /** As the client's rule says. */
  | "unsupported"
  /** It works, although a rule says that it does not. */
  | "unexpected"
  /** None of them: moat or the rules are wrong. */
  | "failed";

/**
 * Judges a cell. Without `NO_PROXY` nothing is promised, so that such cells
 * are never a failure.
 *
 * @param cell The cell.
 * @param client Its client.
 * @returns What it means.
 */
export function judge(cell: Cell, client: Client): Verdict {
  const isExpected = client.unsupported[cell.column] === undefined;
  if (cell.variant === "unlisted") return cell.isOk ? "ok" : "unsupported";
  if (cell.proxied > 0) return "failed";
  if (cell.isOk) return isExpected ? "ok" : "unexpected";
  return isExpected ? "failed" : "unsupported";
}
