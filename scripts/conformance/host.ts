/**
 * A host with moat on it: a simulated AWS, a grant, a proxy, and a binding for
 * each column of the matrix. Everything is the built executable.
 *
 * @module
 */

import { join } from "node:path";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "$providers/aws/simulator/flags.ts";
import { runClean } from "../demo_process.ts";
import { ScriptError } from "../process.ts";
import { bindFlags, type Column } from "./columns.ts";
import { Talk } from "./talk.ts";

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Where SDKs look for `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`. */
const CONTAINER_ADDRESS = "169.254.170.2";

const ROLE = "arn:aws:iam::123456789012:role/Deploy";

/** How {@link Host.open} starts. */
export interface HostOptions {
  /** The executable. */
  readonly moat: string;
  /** How long every session lives, in seconds. Default: an hour. */
  readonly sessionLife?: number | undefined;
}

/** A binding and its environment. */
export interface Bound {
  /** What its client is given. */
  readonly env: Readonly<Record<string, string>>;
  /** The access key ID that moat answers now, asked without an SDK. */
  accessKeyId(): Promise<string>;
}

/** A line of the audit log. */
interface AuditEvent {
  readonly event: string;
  readonly fields: Readonly<{ accessKeyId?: string; expiresAt?: string }>;
}

/** One host; `await using` stops everything and removes its files. */
export class Host implements AsyncDisposable {
  /** Home of moat and of the clients. */
  readonly directory: string;
  /** What all programs get: nothing of the developer's own. */
  readonly env: Readonly<Record<string, string>>;
  readonly #moat: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    moat: string,
    directory: string,
    stack: AsyncDisposableStack,
  ) {
    this.#moat = moat;
    this.#stack = stack;
    this.directory = directory;
    this.env = {
      PATH,
      HOME: directory,
      AWS_REGION: "us-east-1",
      AWS_EC2_METADATA_DISABLED: "true",
    };
  }

  /** Starts one; 169.254.170.2 must be an address of this network namespace. */
  static async open({ moat, sessionLife }: HostOptions): Promise<Host> {
    const directory = await Deno.makeTempDir({ prefix: "moat-conformance-" });
    const stack = new AsyncDisposableStack();
    stack.defer(() => Deno.remove(directory, { recursive: true }));
    const host = new Host(moat, directory, stack);
    try {
      await host.#start(sessionLife);
      return host;
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
  }

  async #start(sessionLife?: number): Promise<void> {
    const life = sessionLife ? ["--session-life", `${sessionLife}`] : [];
    const listen = ["--listen", "127.0.0.1:0"];
    const sts = await this.#serve(["simulate", "aws", ...listen, ...life]);
    const source = {
      AWS_ENDPOINT_URL_STS: sts,
      AWS_ACCESS_KEY_ID: SIMULATOR_ACCESS_KEY_ID,
      AWS_SECRET_ACCESS_KEY: SIMULATOR_SECRET_ACCESS_KEY,
    };
    await this.moat(["grant", "aws", "--role", ROLE, "--no-validate"], source);
    const relative = ["--listen", `${CONTAINER_ADDRESS}:80`];
    await this.#serve(["proxy", ...listen, ...relative], source);
  }

  /** Starts a moat that listens; gives its first URL. */
  async #serve(args: string[], env: Record<string, string> = {}) {
    const talk = new Talk(`moat ${args[0]}`, {
      argv: [this.#moat, ...args],
      env: this.#moatEnv(env),
      cwd: this.directory,
      heedsStdin: false,
    });
    this.#stack.use(talk);
    for (let line = 0; line < 10; line++) {
      const [, url] = /^ready (\S+)$/.exec(await talk.hear()) ?? [];
      if (url) return url;
    }
    throw new ScriptError(`Cannot start moat ${args[0]}: it is not ready`);
  }

  #moatEnv(env: Record<string, string>): Record<string, string> {
    const home = join(this.directory, "moat");
    return { ...this.env, MOAT_HOME: home, MOAT_KEYRING: "file", ...env };
  }

  /**
   * Runs moat to its end.
   *
   * @returns What it printed on stdout.
   */
  async moat(
    args: readonly string[],
    env: Record<string, string> = {},
  ): Promise<string> {
    const argv = [this.#moat, ...args];
    const options = { env: this.#moatEnv(env), cwd: this.directory };
    const result = await runClean(argv, { ...options, timeoutMs: 30_000 });
    if (result.code === 0) return result.stdout;
    throw new ScriptError(`Cannot run moat ${args.join(" ")}`, result.stderr);
  }

  /** Makes a binding for a column. */
  async bind(column: Column): Promise<Bound> {
    const { name } = column;
    const flags = bindFlags(column).split(" ");
    await this.moat(["bind", name, "--grant", "aws", ...flags]);
    const view = await this.moat(["env", name, "--format", "json"]);
    const { environment: env } = JSON.parse(view);
    return { env, accessKeyId: () => askOnce(env) };
  }

  /** When each session ends that was handed out so far, in ms since the Unix epoch, by access key ID. */
  async sessionEnds(): Promise<ReadonlyMap<string, number>> {
    const lines = (await this.moat(["audit", "--json"])).trim().split("\n");
    const ends = new Map<string, number>();
    for (
      const { fields } of lines.map((line): AuditEvent => JSON.parse(line))
    ) {
      if (!fields.accessKeyId || !fields.expiresAt) continue;
      ends.set(fields.accessKeyId, Date.parse(fields.expiresAt));
    }
    return ends;
  }

  /** Stops everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** Asks the endpoint of an environment. */
async function askOnce(
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const path = env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"];
  const url = env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] ??
    env["MOAT_AWS_CREDENTIAL_URL"] ?? `http://${CONTAINER_ADDRESS}${path}`;
  const file = env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] ??
    env["MOAT_AWS_CREDENTIAL_TOKEN_FILE"];
  const token = file ? await Deno.readTextFile(file) : undefined;
  const authorization = token ?? env["AWS_CONTAINER_AUTHORIZATION_TOKEN"];
  const headers = authorization ? { Authorization: authorization } : {};
  const answer = await fetch(url, { headers });
  const text = await answer.text();
  const key = /"AccessKeyId" *: *"(\w+)"/.exec(text)?.[1];
  if (answer.ok && key) return key;
  throw new ScriptError(`Cannot ask moat: ${answer.status} ${text.trim()}`);
}
