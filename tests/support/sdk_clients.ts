/**
 * Real AWS clients that ask for credentials when they are told: the programs
 * of `tests/testdata/sdk_clients`, each under a `moat run` of its own.
 *
 * @module
 */

import {
  type Answer,
  parseAnswer,
  Talk,
} from "../../scripts/conformance/talk.ts";
import {
  clientArgv,
  hasSdkClients,
  INSTALLED_LANGUAGES,
} from "../../scripts/sdk_clients.ts";
import type { FastClock } from "./fast_clock.ts";
import { MOAT } from "./moat.ts";
import { motoReason } from "./moto.ts";
import { isThere, which } from "./run.ts";

export { startEchoS3 } from "../../scripts/conformance/servers.ts";

/** One of the clients. */
export interface SdkClientKind {
  /** For people. */
  readonly name: string;
  /** The helper that `moat run` mounts, or the container endpoint of the proxy. */
  readonly by: "credential_process" | "container credentials";
  /** Program and arguments. */
  readonly argv: readonly string[];
  /** Whether it can be given another clock than the machine's. Default: it can. */
  readonly keepsClock?: true;
}

const GO = (name: string) =>
  // Asks the kernel itself for the time.
  ({ argv: clientArgv("go", name), keepsClock: true }) as const;

const ON_JVM = (name: string) =>
  // Asks for the time so often that another clock makes it ten times slower.
  ({ argv: clientArgv("java", name), keepsClock: true }) as const;

const PYTHON = (name: string) => ({ argv: clientArgv("python", name) });
const JAVASCRIPT = (name: string) => ({ argv: clientArgv("node", name) });

/** That Debian's package of the SDK for Ruby is installed. */
const RUBY_SDK = "/var/lib/dpkg/info/ruby-aws-sdk-core.list";

/** All of them; `by` is a way that the client supports. */
export const SDK_CLIENT_KINDS: readonly SdkClientKind[] = [
  ...[
    { name: "boto3", ...PYTHON("boto3") },
    { name: "AWS CLI 1", argv: clientArgv("venv", "awscli") },
    { name: "AWS SDK for C++", ...PYTHON("pyarrow") },
    { name: "AWS SDK for Rust", ...PYTHON("deltalake") },
    { name: "AWS SDK for JavaScript 2", ...JAVASCRIPT("v2") },
    { name: "AWS SDK for Go 2", ...GO("v2") },
    { name: "AWS SDK for Java 2", ...ON_JVM("v2") },
    { name: "AWS SDK for Ruby", argv: clientArgv("ruby", "sdk") },
  ].map((kind) => ({ ...kind, by: "credential_process" } as const)),
  ...[
    { name: "aiobotocore", ...PYTHON("aiobotocore") },
    { name: "AWS Common Runtime", ...PYTHON("awscrt") },
    { name: "MinIO for Python", ...PYTHON("minio") },
    { name: "obstore", ...PYTHON("obstore") },
    { name: "OpenDAL", ...PYTHON("opendal") },
    { name: "AWS SDK for JavaScript 3", ...JAVASCRIPT("v3") },
    { name: "AWS SDK for Go 1", ...GO("v1") },
    { name: "MinIO for Go", ...GO("minio") },
    { name: "AWS SDK for Java 1", ...ON_JVM("v1") },
  ].map((kind) => ({ ...kind, by: "container credentials" } as const)),
];

/** Why the clients cannot run here; undefined if they can. */
export async function sdkClientsReason(): Promise<string | undefined> {
  for (const language of INSTALLED_LANGUAGES) {
    if (!await hasSdkClients(language)) return `no ${language} AWS clients`;
  }
  for (const program of ["node", "java", "ruby"]) {
    if (!which(program)) return `no ${program}`;
  }
  return isThere(RUBY_SDK) ? motoReason() : "no package ruby-aws-sdk-core";
}

/** What a client answered when it was told to ask for credentials. */
export interface Poll extends Answer {
  /** When it was told, by the clients' clock. */
  readonly startedAt: number;
  /** When it had answered. */
  readonly endedAt: number;
}

/** A client that waits to be told; `await using` ends it. */
export interface SdkClient extends AsyncDisposable {
  /** Which it is. */
  readonly kind: SdkClientKind;
  /** The name that moat gave to its run. */
  readonly run: string;
  /** Every answer so far. */
  readonly polls: readonly Poll[];
  /** Tells it to ask for credentials, and waits for its answer. */
  poll(): Promise<Poll>;
}

/** How {@link startSdkClient} starts one. */
export interface SdkClientOptions {
  /** All of its environment; `moat run` finds its proxy by it. */
  readonly env: Readonly<Record<string, string>>;
  /** What time it is for the client, unless it keeps the machine's. */
  readonly clock: FastClock;
  /** Where it runs. */
  readonly cwd: string;
}

/**
 * What `moat run` runs: tells the name of the run and, for container
 * credentials, puts the endpoint in the place of the config file.
 */
const INSIDE = `
files=$(dirname "$MOAT_AWS_CREDENTIAL_TOKEN_FILE")
basename "$(dirname "$files")"
if [ "$1" = "container credentials" ]; then
  unset AWS_CONFIG_FILE AWS_SDK_LOAD_CONFIG
  origin=\${MOAT_AWS_CREDENTIAL_URL%/aws/*}
  export AWS_CONTAINER_CREDENTIALS_FULL_URI="$origin/ecs/credentials"
  export AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="$files/token"
fi
shift
exec "$@"`;

/**
 * Starts a client under `moat run`, without a poll.
 *
 * @param kind Which.
 * @param options Where.
 * @returns The waiting client; the caller disposes of it.
 * @throws {Error} if it ends instead, with what it printed.
 */
export async function startSdkClient(
  kind: SdkClientKind,
  { env, clock, cwd }: SdkClientOptions,
): Promise<SdkClient> {
  const argv = kind.keepsClock ? kind.argv : clock.wrap(kind.argv);
  const inside = ["/bin/sh", "-euc", INSIDE, "inside", kind.by, ...argv];
  const talk = new Talk(kind.name, {
    argv: [MOAT, "run", "--grant", "aws", "--", ...inside],
    env,
    cwd,
  });
  const polls: Poll[] = [];
  const poll = async () => {
    const startedAt = clock.now();
    const answer = parseAnswer(await talk.ask());
    const found = { ...answer, startedAt, endedAt: clock.now() };
    polls.push(found);
    return found;
  };
  const end = () => talk.end();
  try {
    const run = await talk.hear();
    await talk.hear();
    return { kind, run, polls, poll, [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw error;
  }
}
