/**
 * A host whose containers know only the address of EC2's metadata service: an
 * engine with its API socket, an independent STS and IAM that check
 * everything, and moat at the real address, all in a network namespace of
 * their own.
 *
 * @module
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Talk } from "../../scripts/conformance/talk.ts";
import { ROOT } from "../../scripts/process.ts";
import { type Bed, type Engine, openBed, servePodman } from "./containers.ts";
import { ImdsClient, type ImdsCredentials } from "./imds_client.ts";
import {
  DROP_IN,
  PROXY,
  serveMoat,
  type ServeOptions,
  type Serving,
} from "./imds_serve.ts";
import { moatEnv } from "./moat.ts";
import { type Moto, type MotoRole, startMoto } from "./moto.ts";
import { isThere, run, type RunResult, SYSTEM_PATH } from "./run.ts";
import type { Workspace } from "./workspace.ts";

/** The account of everything in moto. */
export const ACCOUNT = "123456789012";

/** Roles of moto's account; `Secured` wants the external ID `right`. */
const ROLES: readonly MotoRole[] = [
  { name: "App" },
  { name: "Other" },
  { name: "Deep", path: "/team/" },
  { name: "Secured", externalId: "right" },
];

/** The ARN of a role. */
export const roleArn = (name: string): string =>
  `arn:aws:iam::${ACCOUNT}:role/${name}`;

/** An address of the host that nothing of AWS has, and containers reach. */
export const HOST_ADDRESS = "203.0.113.1";

/** What containers may name unless a test says otherwise. */
export const ALLOWED = `[metadata]
grant = "aws"
default_account = "${ACCOUNT}"
roles = ["App", "Other", "Secured", "team/Deep"]
`;

/** Waits for a signal, and heeds it at once. */
const WAIT = ["sh", "-c", "trap 'exit 0' TERM; sleep 300 & wait"];

/** Programs of this project's tests, for containers. */
const MOUNTED = [ROOT.replace(/\/$/, ""), "/etc/java-17-openjdk", "/etc/php"];

/** How a container is started. */
export interface ContainerOptions {
  /** Its name. Default: the engine's choice. */
  readonly name?: string;
  /** Environment, such as `IAM_ROLE`. */
  readonly env?: Readonly<Record<string, string>>;
  /** Labels, such as `IAM_ROLE`. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Further options of the engine. */
  readonly options?: readonly string[];
}

/** A running container; `await using` removes it. */
export interface ImdsContainer extends AsyncDisposable {
  /** 64 hexadecimal digits. */
  readonly id: string;
  /** Without a slash. */
  readonly name: string;
  /** Its address on the engine's default network; empty without one. */
  readonly address: string;
  /** Asks from inside. */
  readonly client: ImdsClient;
  /** Runs a command inside. */
  exec(argv: readonly string[]): Promise<RunResult>;
  /** Removes it at once, without a chance to say goodbye. */
  remove(): Promise<void>;
}

/** What imds_child.ts tells. */
export interface Heard {
  /** What STS and IAM were asked. */
  readonly forms: Record<string, string>[];
  /** What the host's own metadata service was asked for. */
  readonly paths: string[];
}

/** One host; `await using` removes it. */
export class ImdsBed implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  #child!: Talk;
  /** Of the recorder before moto. */
  #sts = "";
  readonly #secrets: string[] = [];
  /** Where clients find an S3 that echoes the access key ID. */
  s3Authority = "";
  /** The STS and IAM. */
  moto!: Moto;

  private constructor(
    readonly engine: Engine,
    readonly bed: Bed,
    stack: AsyncDisposableStack,
  ) {
    this.#stack = stack;
  }

  /**
   * Opens one, without a moat. Takes about 5 s.
   *
   * @param engine Which engine.
   * @param bed Closed with it. Default: a new one.
   */
  static async open(
    engine: Engine,
    bed: Promise<Bed> = openBed(engine),
  ): Promise<ImdsBed> {
    const stack = new AsyncDisposableStack();
    const opened = new ImdsBed(engine, stack.use(await bed), stack);
    try {
      await opened.#open();
      return opened;
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
  }

  async #open(): Promise<void> {
    const { prefix } = this.bed;
    const add = ["ip", "address", "add", `${HOST_ADDRESS}/32`, "dev", "lo"];
    await this.must([...prefix, ...add]);
    if (this.engine === "podman") this.#stack.use(await this.servePodman());
    const options = { prefix, host: HOST_ADDRESS, roles: ROLES };
    this.moto = this.#stack.use(await startMoto(options));
    const child = fileURLToPath(new URL("imds_child.ts", import.meta.url));
    const deno = [Deno.execPath(), "run", "-A", "--no-check", child];
    this.#child = this.#stack.use(
      new Talk("imds_child", {
        argv: [...prefix, ...deno, this.moto.url, HOST_ADDRESS],
        env: { PATH: SYSTEM_PATH },
        cwd: this.bed.directory,
      }),
    );
    [this.#sts = "", this.s3Authority = ""] = (await this.#child.hear()).split(
      " ",
    );
  }

  /** The Docker API's socket, as a URL. */
  get socket(): string {
    return `unix://${this.bed.directory}/${this.engine}.sock`;
  }

  /** Serves podman's API, by default at the bed's own socket. */
  servePodman(socket: string = this.socket): Promise<AsyncDisposable> {
    return servePodman(this.bed, socket.replace("unix://", ""));
  }

  /** What moat gets: a key that moto knows, and where everything is. */
  #env(workspace: Workspace): Record<string, string> {
    const { accessKeyId, secretAccessKey } = this.moto;
    return {
      ...moatEnv(workspace),
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_REGION: "us-east-1",
      AWS_ENDPOINT_URL_STS: this.#sts,
      AWS_ENDPOINT_URL_IAM: this.#sts,
      DOCKER_HOST: this.socket,
    };
  }

  /** Starts `moat proxy --imds` with the grant `aws`. */
  async startProxy(options: ServeOptions = {}): Promise<Serving> {
    const { config = ALLOWED, grant = ["--source", "direct"] } = options;
    const file = { "moat.toml": config };
    return await serveMoat(
      { prefix: this.bed.prefix, env: (home) => this.#env(home) },
      { ...options, args: PROXY, files: file, grant },
    );
  }

  /** Starts `moat metadata-proxy`. */
  async startMetadataProxy(options: ServeOptions = {}): Promise<Serving> {
    const env = (home: Workspace) => {
      // It would go before DOCKER_URL.
      const { DOCKER_HOST: _, ...env } = this.#env(home);
      return env;
    };
    return await serveMoat(
      { prefix: this.bed.prefix, env },
      {
        ...{ ...options, args: DROP_IN },
        files: options.config ? { "moat.toml": options.config } : {},
      },
    );
  }

  /** The engine's words for a new container, up to its command. */
  runArgv(
    { name, env = {}, labels = {}, options = [] }: ContainerOptions,
    ...mode: readonly string[]
  ): string[] {
    const pairs = (flag: string, record: Readonly<Record<string, string>>) =>
      Object.entries(record).flatMap(([key, value]) => [
        flag,
        `${key}=${value}`,
      ]);
    const mounts = MOUNTED.filter(isThere)
      .flatMap((path) => ["--volume", `${path}:${path}:ro`]);
    return [
      ...[this.bed.engine, "run", ...mode],
      ...name === undefined ? [] : ["--name", name],
      ...[...pairs("--env", env), ...pairs("--label", labels)],
      ...[...options, ...this.bed.mounts, ...mounts, this.bed.image],
    ];
  }

  /** Starts a container that waits. */
  async start(options: ContainerOptions = {}): Promise<ImdsContainer> {
    const argv = this.runArgv(options, "--detach", "--rm");
    const id = (await this.must([...argv, ...WAIT])).trim();
    const client = this.clientIn(id);
    const { exec } = client;
    const [name = "", address = ""] = (await this.must([
      ...[this.bed.engine, "inspect", "--format"],
      ...["{{.Name}} {{.NetworkSettings.IPAddress}}", id],
    ])).trim().split(" ");
    const zero = this.engine === "podman" ? ["--time", "0"] : [];
    const remove = async () =>
      void await run([this.bed.engine, "rm", "--force", ...zero, id]);
    return {
      ...{ id, name: name.replace(/^\//, ""), address, exec, remove },
      client,
      [Symbol.asyncDispose]: remove,
    };
  }

  /** Runs a container to its end. */
  async runOnce(
    options: ContainerOptions,
    command: readonly string[],
  ): Promise<RunResult> {
    return await run([...this.runArgv(options, "--rm"), ...command], {
      timeoutMs: 30_000,
    });
  }

  /** What moat asked STS and IAM so far, oldest first. */
  async asked(action?: string): Promise<Record<string, string>[]> {
    const { forms }: Heard = JSON.parse(await this.#child.ask());
    return forms.filter((form) => !action || form["Action"] === action);
  }

  /** A client in a running container, by its name or id. */
  clientIn(container: string): ImdsClient {
    return new ImdsClient((argv) =>
      run([this.bed.engine, "exec", container, ...argv])
    );
  }

  /** Whose session STS takes some credentials for: its ARN. */
  async whoIs(found: ImdsCredentials): Promise<string> {
    this.#secrets.push(found.SecretAccessKey, found.Token);
    const { stdout, stderr } = await run([
      ...[...this.bed.prefix, "curl", "-qsS"],
      ...["--aws-sigv4", "aws:amz:us-east-1:sts"],
      ...["--user", `${found.AccessKeyId}:${found.SecretAccessKey}`],
      ...["--header", `X-Amz-Security-Token: ${found.Token}`],
      ...["--data", "Action=GetCallerIdentity&Version=2011-06-15"],
      `${this.moto.url}/`,
    ]);
    const [, arn = ""] = /<Arn>(.*)<\/Arn>/.exec(stdout) ?? [];
    assert.notEqual(arn, "", stdout + stderr);
    return arn;
  }

  /** Fails if a text holds moto's key, or a session that was looked at. */
  assertNoSecret(...texts: readonly string[]): void {
    for (const secret of [this.moto.secretAccessKey, ...this.#secrets]) {
      const found = texts.findIndex((text) => text.includes(secret));
      assert.equal(found, -1, `text ${found} holds a secret`);
    }
  }

  /** Runs a program that must succeed; gives its stdout. */
  async must(argv: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await run(argv);
    assert.equal(code, 0, `${argv.join(" ")}: ${stderr}`);
    return stdout;
  }

  /** Stops everything that it started. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
