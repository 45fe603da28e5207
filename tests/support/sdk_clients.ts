/**
 * Real AWS clients that ask for credentials when they are told: the programs
 * of `tests/testdata/sdk_clients`, each under a `moat run` of its own.
 *
 * @module
 */

import { join } from "node:path";
import {
  hasSdkClients,
  INSTALLED_LANGUAGES,
  SDK_CLIENTS,
  SDK_CLIENTS_SOURCE,
} from "../../scripts/sdk_clients.ts";
import type { FastClock } from "./fast_clock.ts";
import { MOAT } from "./moat.ts";
import { motoReason, PYTHON as MOTO_PYTHON } from "./moto.ts";
import { isThere, which } from "./run.ts";

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

const source = (name: string) => join(SDK_CLIENTS_SOURCE, name);
const installed = (name: string) => join(SDK_CLIENTS, name);
const NODE = which("node") ?? "node";
const JAVA = which("java") ?? "java";
const RUBY = which("ruby") ?? "ruby";

const CLIENTS_PY = source("python/clients.py");
const PYTHON = [installed("python/bin/python"), CLIENTS_PY];
const NODE_PATH = `NODE_PATH=${installed("node/node_modules")}`;
const JAVASCRIPT = ["env", NODE_PATH, NODE, source("node/clients.mjs")];

/** Asks the kernel itself. */
const GO = (name: string) =>
  ({ argv: [installed("go/clients"), name], keepsClock: true }) as const;

const CLASS_PATH = `${installed("java")}:${installed("java/*")}`;
const JVM = [JAVA, "-XX:TieredStopAtLevel=1", "-cp", CLASS_PATH, "Clients"];

/** Asks so often that another clock makes it ten times slower. */
const ON_JVM = (name: string) =>
  ({ argv: [...JVM, name], keepsClock: true }) as const;

/** That Debian's package of the SDK for Ruby is installed. */
const RUBY_SDK = "/var/lib/dpkg/info/ruby-aws-sdk-core.list";

/** All of them; `by` is a way that the client supports. */
export const SDK_CLIENT_KINDS: readonly SdkClientKind[] = [
  ...[
    { name: "boto3", argv: [...PYTHON, "boto3"] },
    { name: "AWS CLI 1", argv: [MOTO_PYTHON, CLIENTS_PY, "awscli"] },
    { name: "AWS SDK for C++", argv: [...PYTHON, "pyarrow"] },
    { name: "AWS SDK for Rust", argv: [...PYTHON, "deltalake"] },
    { name: "AWS SDK for JavaScript 2", argv: [...JAVASCRIPT, "v2"] },
    { name: "AWS SDK for Go 2", ...GO("v2") },
    { name: "AWS SDK for Java 2", ...ON_JVM("v2") },
    { name: "AWS SDK for Ruby", argv: [RUBY, source("ruby/client.rb")] },
  ].map((kind) => ({ ...kind, by: "credential_process" } as const)),
  ...[
    { name: "aiobotocore", argv: [...PYTHON, "aiobotocore"] },
    { name: "AWS Common Runtime", argv: [...PYTHON, "awscrt"] },
    { name: "MinIO for Python", argv: [...PYTHON, "minio"] },
    { name: "obstore", argv: [...PYTHON, "obstore"] },
    { name: "OpenDAL", argv: [...PYTHON, "opendal"] },
    { name: "AWS SDK for JavaScript 3", argv: [...JAVASCRIPT, "v3"] },
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
export interface Poll {
  /** When it was told, by the clients' clock. */
  readonly startedAt: number;
  /** When it had answered. */
  readonly endedAt: number;
  /** Its line: `ok` and what holds the access key ID, or `error` and why. */
  readonly line: string;
  /** Undefined if it got no credentials. */
  readonly accessKeyId: string | undefined;
  /** In ms since the Unix epoch, if the client tells it. */
  readonly expiresAt: number | undefined;
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
  umask 077
  export AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=$(mktemp -p "$HOME")
  printf 'Bearer %s' "$(cat "$files/token")" \
    >"$AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
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
    args: ["run", "--grant", "aws", "--", ...inside],
    env,
    clearEnv: true,
    cwd,
  });
  const polls: Poll[] = [];
  const poll = async () => {
    const startedAt = clock.now();
    const line = await talk.ask();
    const found = readPoll(line, startedAt, clock.now());
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

/** No client takes so long, whatever goes wrong in it. */
const TIMEOUT_MS = 60_000;

/** How long a client may take to end, and then moat to end it. */
const GRACE_MS = 5000;

/** Lines to and from a program in `moat run`. */
class Talk {
  readonly #name: string;
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncGenerator<string>;
  readonly #stderr: Promise<string>;
  #ended: Promise<void> | undefined;

  constructor(name: string, options: Deno.CommandOptions) {
    const piped = "piped";
    const pipes = { stdin: piped, stdout: piped, stderr: piped } as const;
    this.#name = name;
    this.#child = new Deno.Command(MOAT, { ...options, ...pipes }).spawn();
    this.#stdin = this.#child.stdin.getWriter();
    this.#lines = linesOf(this.#child.stdout);
    this.#stderr = new Response(this.#child.stderr).text();
  }

  /** The next line. */
  async hear(): Promise<string> {
    const next = await within(TIMEOUT_MS, this.#lines.next());
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
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      if (await within(GRACE_MS, this.#child.status)) break;
      this.#child.kill(signal);
    }
    await this.#lines.return(undefined);
    await Promise.all([this.#child.status, this.#stderr]);
  }
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

function readPoll(line: string, startedAt: number, endedAt: number): Poll {
  const [word, key = "", end = "-"] = line.split(" ");
  const accessKeyId = word === "ok" ? /ASIA\w{16}/.exec(key)?.[0] : undefined;
  const expiresAt = end === "-" ? undefined : Date.parse(end);
  return { startedAt, endedAt, line, accessKeyId, expiresAt };
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

/** An S3 whose every object holds the access key ID that asked for it. */
export interface EchoS3 extends AsyncDisposable {
  /** Where it listens, such as `127.0.0.1:40123`. */
  readonly authority: string;
}

/** Starts one, for clients that show their credentials in requests only. */
export function startEchoS3(): EchoS3 {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    ({ method, headers }) => {
      const signed = headers.get("authorization") ?? "";
      const key = /Credential=(\w+)\//.exec(signed)?.[1] ?? "";
      const range = `bytes 0-${key.length - 1}/${key.length}`;
      const isPart = headers.has("range");
      return new Response(method === "HEAD" ? null : key, {
        status: isPart ? 206 : 200,
        headers: {
          ...isPart ? { "Content-Range": range } : {},
          "Content-Length": String(key.length),
          "ETag": '"0"',
          "Last-Modified": new Date().toUTCString(),
        },
      });
    },
  );
  return {
    authority: `127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
