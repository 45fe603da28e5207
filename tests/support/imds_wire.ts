/**
 * Two network namespaces on one wire, without an engine: in one of them moat
 * serves metadata, in the other are the addresses of containers that a fake
 * engine tells of. Both end with the test process.
 *
 * @module
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "$providers/aws/simulator/flags.ts";
import { Talk } from "../../scripts/conformance/talk.ts";
import type { Heard } from "./imds_bed.ts";
import { ImdsClient } from "./imds_client.ts";
import {
  DROP_IN,
  PROXY,
  serveMoat,
  type ServeOptions,
  type Serving,
} from "./imds_serve.ts";
import { MOAT, moatEnv } from "./moat.ts";
import { Netns } from "./netns.ts";
import { run, startServer, SYSTEM_PATH } from "./run.ts";
import type { SimulatedFault } from "./simulated_aws.ts";
import type { Workspace } from "./workspace.ts";

export { networkReason as wireReason } from "./netns.ts";

/** Addresses of containers; the host is `.1` of their networks. */
export const CLIENTS = {
  first: "10.88.0.2",
  second: "10.88.0.3",
  third: "10.88.0.4",
  sixth: "fd00:88::2",
} as const;

/** What the host's own metadata service answers, whatever it is asked. */
export const HOST_SECRET = "of-the-host-alone";

/** What is on the host. */
export interface WireOptions {
  /** Flags of `moat simulate aws`. */
  readonly flags?: readonly string[];
  /** Whether the real address is that of the host's own service. */
  readonly hasHostService?: boolean;
}

/** The wire; `await using` cuts it. */
export class ImdsWire implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  #host!: Netns;
  #clients!: Netns;
  #child!: Talk;
  /** Of the simulator, in the host's namespace. */
  simulator = "";
  #sts = "";

  private constructor() {}

  /**
   * Lays one, with a simulated STS.
   *
   * @param options What is on the host.
   */
  static async open(options: WireOptions = {}): Promise<ImdsWire> {
    const wire = new ImdsWire();
    try {
      await wire.#open(options);
      return wire;
    } catch (error) {
      await wire.#stack.disposeAsync();
      throw error;
    }
  }

  async #open({ flags = [], hasHostService }: WireOptions): Promise<void> {
    this.#host = this.#stack.use(await Netns.open());
    this.#clients = this.#stack.use(await Netns.open());
    await this.#lay();
    const home = this.#host.workspace;
    const argv = [MOAT, "simulate", "aws", "--listen", "127.0.0.1:0", ...flags];
    const simulator = this.#stack.use(
      await startServer([...this.prefix, ...argv], {
        ...{ env: moatEnv(home), clearEnv: true, cwd: home.directory },
        ready: /^ready (\S+)$/gm,
      }),
    );
    this.simulator = simulator.ready[0]?.[1] ?? "";
    const child = fileURLToPath(new URL("imds_child.ts", import.meta.url));
    const deno = [Deno.execPath(), "run", "-A", "--no-check", child];
    this.#child = this.#stack.use(
      new Talk("imds_child", {
        argv: [
          ...[...this.prefix, ...deno, this.simulator, "127.0.0.1"],
          ...hasHostService ? [HOST_SECRET] : [],
        ],
        env: { PATH: SYSTEM_PATH },
        cwd: home.directory,
      }),
    );
    [this.#sts = ""] = (await this.#child.hear()).split(" ");
  }

  async #lay(): Promise<void> {
    const { first, second, third, sixth } = CLIENTS;
    await this.#host.sh(`
      ip link add wire type veth peer name eth0 netns ${this.#clients.pid}
      ip address add 10.88.0.1/16 dev wire
      ip address add fd00:88::1/64 dev wire nodad
      ip address add 169.254.169.254/32 dev lo
      ip address add fd00:ec2::254/128 dev lo
      ip address add 169.254.170.2/32 dev lo
      ip link set wire up`);
    await this.#clients.sh(`
      ip address add ${first}/16 dev eth0
      ip address add ${second}/16 dev eth0
      ip address add ${third}/16 dev eth0
      ip address add ${sixth}/64 dev eth0 nodad
      ip link set eth0 up
      ip route add default via 10.88.0.1
      ip -6 route add default via fd00:88::1`);
  }

  /** Puts a command into the host's namespace. */
  get prefix(): readonly string[] {
    return this.#host.prefix;
  }

  /**
   * Makes a client with the address of a container.
   *
   * @param address One of {@link CLIENTS}.
   * @param base Base URL. Default: the real address, of its family.
   */
  client(address: string, base?: string): ImdsClient {
    const usual = address.includes(":")
      ? "http://[fd00:ec2::254]"
      : "http://169.254.169.254";
    const exec = (argv: readonly string[]) => this.#clients.run(...argv);
    return new ImdsClient(exec, base ?? usual, ["--interface", address]);
  }

  /** A client on the host itself. */
  hostClient(base: string): ImdsClient {
    return new ImdsClient((argv) => this.#host.run(...argv), base);
  }

  /** Starts `moat proxy --imds` with the grant `aws`. */
  async startProxy(
    engine: string,
    options: ServeOptions & { readonly config: string },
  ): Promise<Serving> {
    const { grant = ["--source", "direct"] } = options;
    const files = { "moat.toml": options.config };
    return await serveMoat(this.#place(engine), {
      ...{ ...options, args: PROXY, files, grant },
    });
  }

  /** Starts `moat metadata-proxy`; it listens on port 8000. */
  async startMetadataProxy(
    engine: string,
    options: ServeOptions = {},
  ): Promise<Serving> {
    return await serveMoat(this.#place(engine), { ...options, args: DROP_IN });
  }

  #place(engine: string) {
    const env = (home: Workspace) => ({
      ...moatEnv(home),
      AWS_ACCESS_KEY_ID: SIMULATOR_ACCESS_KEY_ID,
      AWS_SECRET_ACCESS_KEY: SIMULATOR_SECRET_ACCESS_KEY,
      AWS_REGION: "us-east-1",
      AWS_ENDPOINT_URL_STS: this.#sts,
      AWS_ENDPOINT_URL_IAM: this.#sts,
      DOCKER_HOST: engine,
    });
    return { prefix: this.prefix, env };
  }

  /** What moat asked STS so far, oldest first. */
  async asked(action?: string): Promise<Record<string, string>[]> {
    const { forms }: Heard = JSON.parse(await this.#child.ask());
    return forms.filter((form) => !action || form["Action"] === action);
  }

  /** What the host's own metadata service was asked for. */
  async askedHost(): Promise<string[]> {
    const { paths }: Heard = JSON.parse(await this.#child.ask());
    return paths;
  }

  /** Puts faults of the simulator in place of those that are left. */
  async fault(...faults: SimulatedFault[]): Promise<void> {
    const { code, stderr } = await run([
      ...[...this.prefix, "curl", "-qsSf", "--output", "/dev/null"],
      ...["--header", "content-type: application/json"],
      ...["--data", JSON.stringify({ faults })],
      `${this.simulator}/_simulator/faults`,
    ]);
    assert.equal(code, 0, stderr);
  }

  /** Cuts it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
