/**
 * A host with a container engine, a simulated AWS, a grant and perhaps a
 * proxy, all in a network namespace of its own; and clients for containers.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "$providers/aws/simulator/flags.ts";
import type { Bed, Engine } from "./containers.ts";
import { eventually } from "./eventually.ts";
import { MOAT, moatEnv } from "./moat.ts";
import { PYTHON } from "./moto.ts";
import {
  run,
  type RunResult,
  type Server,
  startServer,
  SYSTEM_PATH,
  which,
} from "./run.ts";
import { Workspace } from "./workspace.ts";

/** Where clients of the modes `ecs-relative` ask. */
export const LINK_LOCAL = "169.254.170.2";

/** The role of the grant. */
export const ROLE = "arn:aws:iam::123456789012:role/Deploy";

/**
 * Asks as the environment says, by `sh` and `curl` alone, and prints the
 * answer; fails if it is none.
 */
export const ASK: readonly string[] = [
  "sh",
  "-euc",
  `
uri=\${AWS_CONTAINER_CREDENTIALS_FULL_URI-}
if [ -n "\${AWS_CONTAINER_CREDENTIALS_RELATIVE_URI-}" ]; then
  uri=http://${LINK_LOCAL}$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI
elif [ -z "$uri" ]; then
  exec sh -c "$(sed -n 's/^credential_process = //p' "$AWS_CONFIG_FILE")"
fi
token=\${AWS_CONTAINER_AUTHORIZATION_TOKEN-}
file=\${AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE-}
[ -z "$file" ] || token=$(cat "$file")
exec curl -fsS --max-time 5 -H "Authorization: $token" "$uri"`,
];

/** Asks by a real SDK, which takes only the addresses that SDKs take. */
export const ASK_SDK: readonly string[] = [
  PYTHON,
  "-c",
  `
import json, botocore.session
found = botocore.session.Session().get_credentials().get_frozen_credentials()
print(json.dumps({
  "AccessKeyId": found.access_key,
  "SecretAccessKey": found.secret_key,
  "Token": found.token,
}))`,
];

/** Says that it is there, and waits for a signal. */
export const WAIT: readonly string[] = [
  "sh",
  "-c",
  "trap 'exit 0' TERM; echo ready; sleep 120 & wait",
];

/** The host; `await using` removes it, but for the bed. */
export class Host implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  #env: Readonly<Record<string, string>> = {};
  #proxy: Server | undefined;

  private constructor(
    readonly engine: Engine,
    readonly bed: Bed,
    readonly workspace: Workspace,
    /** The executable. */
    readonly program: string,
  ) {}

  /**
   * Opens a host with the grant `aws`.
   *
   * @param engine Which engine the bed has.
   * @param bed Where its engine, network and user are.
   * @param program Default: the built executable.
   */
  static async open(
    engine: Engine,
    bed: Bed,
    program: string = MOAT,
  ): Promise<Host> {
    const workspace = await Workspace.open();
    const { directory, moatHome } = workspace;
    const { uid, gid } = await Deno.stat(bed.engine);
    await Deno.chown(directory, uid, gid);
    const host = new Host(engine, bed, workspace, program);
    host.#stack.use(workspace);
    host.#stack.defer(() => host.stopProxy());
    const options = { env: { MOAT_HOME: moatHome }, prefix: bed.prefix };
    host.#env = moatEnv(workspace, options);
    const [, url = ""] = await host.#serve("simulate", "aws");
    host.#env = {
      ...host.#env,
      AWS_ENDPOINT_URL_STS: url,
      AWS_ACCESS_KEY_ID: SIMULATOR_ACCESS_KEY_ID,
      AWS_SECRET_ACCESS_KEY: SIMULATOR_SECRET_ACCESS_KEY,
      AWS_EC2_METADATA_DISABLED: "true",
      // So that a typed "docker" or "podman" is that of the bed.
      PATH: `${join(bed.engine, "..")}:${SYSTEM_PATH}`,
    };
    await host.do("grant", "aws", "--role", ROLE);
    return host;
  }

  /** Runs moat to its end. */
  moat(...args: string[]): Promise<RunResult> {
    return this.#run([this.program, ...args]);
  }

  /** Runs moat, which must succeed; gives its stdout. */
  async do(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.moat(...args);
    assert.equal(code, 0, `moat ${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  /** Types lines of sh, which may name `moat`, `docker` and `podman`. */
  type(script: string, ...args: string[]): Promise<RunResult> {
    const lines = `moat() { '${this.program}' "$@"; }\n${script}`;
    return this.#run(["sh", "-euc", lines, "sh", ...args]);
  }

  /** Types lines of sh, which must succeed; gives their stdout. */
  async sh(script: string, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.type(script, ...args);
    assert.equal(code, 0, `${script}: ${stderr}`);
    return stdout;
  }

  /** The engine's command line for a container. */
  container(
    options: readonly string[],
    command: readonly string[] = ASK,
    image: string = this.bed.image,
  ): string[] {
    const { bed } = this;
    return [
      ...[bed.engine, "run", "--rm", ...options],
      ...[...bed.mounts, image, ...command],
    ];
  }

  /**
   * Types a container's command line for a binding as `moat env` says.
   *
   * @param name The binding.
   * @param options Options of the engine.
   * @param command What the container runs.
   * @returns How it ended.
   */
  async typeContainer(
    name: string,
    options: readonly string[],
    command: readonly string[] = ASK,
  ): Promise<RunResult> {
    const { engine, bed: { mounts, image } } = this;
    const own = [...options, ...mounts].join(" ");
    return await this.type(
      `words=$(moat env ${name} --format docker 2>notes)
      relay=$(sed -n 's/^note: after the image write \\(.*\\)COMMAND….*$/\\1/p' notes)
      exec ${engine} run --rm $words ${own} ${image} $relay "$@"`,
      ...command,
    );
  }

  /**
   * Starts moat with a container that runs {@link WAIT}, or another program
   * that prints `ready`; the host's end stops it.
   */
  async start(...args: string[]): Promise<Server> {
    return await this.#start([this.program, ...args], /^ready$/gm);
  }

  /** Runs a command in a running container. */
  inside(
    container: string,
    command: readonly string[] = ASK,
  ): Promise<RunResult> {
    return this.#run([this.bed.engine, "exec", container, ...command]);
  }

  /** Starts `moat proxy`, as it listens by itself, or with these flags. */
  async startProxy(...flags: string[]): Promise<void> {
    const [proxy] = await this.#serve("proxy", ...flags);
    this.#proxy = proxy;
    await eventually("control line", () => /^control /m.test(proxy.stdout()));
  }

  /** Stops the proxy, if one runs. */
  async stopProxy(): Promise<void> {
    await this.#proxy?.stop();
    this.#proxy = undefined;
  }

  /** Imports an image that has busybox alone, with changes such as `CMD …`. */
  async importBusybox(image: string, ...changes: string[]): Promise<void> {
    const root = this.workspace.path("busybox");
    await Deno.mkdir(root, { recursive: true });
    await Deno.copyFile(which("busybox") ?? "", join(root, "busybox"));
    const options = changes.flatMap((change) => ["--change", change]);
    await this.sh(
      `root=$1; shift; tar -C "$root" -c . | ${this.engine} import "$@"`,
      ...[root, ...options, "-", image],
    );
  }

  /**
   * Asks STS whose session a client printed.
   *
   * @param result What it printed, as JSON.
   * @returns The session's ARN.
   */
  async sessionOf({ code, stdout, stderr }: RunResult): Promise<string> {
    assert.equal(code, 0, stderr);
    const found = JSON.parse(stdout);
    const key = `${found.AccessKeyId}:${found.SecretAccessKey}`;
    const token = found.SessionToken ?? found.Token;
    const asked = await this.#run([
      ...["curl", "-sS", "--aws-sigv4", "aws:amz:us-east-1:sts"],
      ...["--user", key, "--header", `X-Amz-Security-Token: ${token}`],
      ...["--data", "Action=GetCallerIdentity&Version=2011-06-15"],
      this.#env["AWS_ENDPOINT_URL_STS"] ?? "",
    ]);
    const [, arn = ""] = /<Arn>(.*)<\/Arn>/.exec(asked.stdout) ?? [];
    assert.notEqual(arn, "", asked.stdout + asked.stderr);
    return arn;
  }

  /** Stops everything that it started, and removes its files. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  #run(argv: readonly string[]): Promise<RunResult> {
    return run([...this.bed.prefix, ...argv], {
      env: this.#env,
      clearEnv: true,
      cwd: this.workspace.directory,
      timeoutMs: 30_000,
    });
  }

  async #start(argv: readonly string[], ready: RegExp): Promise<Server> {
    const server = await startServer([...this.bed.prefix, ...argv], {
      env: this.#env,
      clearEnv: true,
      cwd: this.workspace.directory,
      timeoutMs: 30_000,
      ready,
    });
    return this.#stack.use(server);
  }

  /** Starts one of moat's servers; gives its first URL, too. */
  async #serve(...args: string[]): Promise<[Server, string]> {
    const server = await this.#start(
      [this.program, ...args],
      /^ready (\S+)$/gm,
    );
    return [server, server.ready[0]?.[1] ?? ""];
  }
}
