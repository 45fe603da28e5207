/**
 * Network namespaces for tests: a host, a container on its bridge, and a
 * neighbour on its LAN.
 *
 * @module
 */

import assert from "node:assert/strict";
import { moatEnv, runMoat } from "./moat.ts";
import { run, type RunResult, type Server, startServer, which } from "./run.ts";
import { Workspace } from "./workspace.ts";

const PROGRAMS = "unshare nsenter ip nft curl setpriv mount".split(" ");

/** A process without the right to change the network. */
export const WITHOUT_RIGHTS: readonly string[] = [
  "setpriv",
  "--bounding-set=-net_admin",
  "--inh-caps=-net_admin",
];

/** Why no namespace can be made here; undefined if it can. */
export function networkReason(): string | undefined {
  if (Deno.build.os !== "linux") return "needs Linux";
  if (Deno.uid() !== 0) return "needs root";
  const missing = PROGRAMS.filter((program) => !which(program));
  return missing.length > 0
    ? `not installed: ${missing.join(", ")}`
    : undefined;
}

/** A network namespace that ends with its process, at the latest by itself. */
export class Netns implements AsyncDisposable {
  readonly #holder: Server;

  /**
   * Takes over what {@link Netns.open} made.
   *
   * @param holder The process that keeps the namespace.
   * @param workspace Home and state of moat in it.
   */
  constructor(holder: Server, readonly workspace: Workspace) {
    this.#holder = holder;
  }

  /** Opens one, in which the loopback device is up. */
  static async open<T>(
    this: new (holder: Server, workspace: Workspace) => T,
  ): Promise<T> {
    // Waiting for a duplicate address takes a second, and changes what is shown.
    const noWait = "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad";
    const script = `ip link set lo up && (${noWait}) 2>/dev/null
      echo ready && exec sleep 300`;
    const holder = await startServer(["unshare", "--net", "sh", "-c", script], {
      ready: /^ready\n/gm,
    });
    return new this(holder, await Workspace.open());
  }

  /** The process that keeps it. */
  get pid(): number {
    return this.#holder.pid;
  }

  /** Puts a command into it. */
  get prefix(): string[] {
    return ["nsenter", `--net=/proc/${this.pid}/ns/net`];
  }

  /** Runs a program in it. */
  run(...argv: string[]): Promise<RunResult> {
    return run([...this.prefix, ...argv], {
      env: moatEnv(this.workspace, { prefix: this.prefix }),
      clearEnv: true,
    });
  }

  /** Runs lines of sh in it, which must succeed. */
  async sh(script: string): Promise<string> {
    const { code, stdout, stderr } = await this.run("sh", "-ec", script);
    assert.equal(code, 0, stderr);
    return stdout;
  }

  /** Runs moat in it. */
  moat(...args: string[]): Promise<RunResult> {
    const { workspace, prefix } = this;
    return runMoat(args, { workspace, prefix });
  }

  /** All that moat could have changed. */
  state(): Promise<string> {
    return this.sh(
      "ip -oneline address; ip route show table all; nft --stateless list ruleset",
    );
  }

  /** Whether a client in it gets an answer. */
  async reaches(url: string): Promise<boolean> {
    const { stdout } = await this.run(
      ...["curl", "--silent", "--max-time", "1", "--write-out", "%{http_code}"],
      ...["--output", "/dev/null", url],
    );
    return stdout === "200";
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#holder.stop();
    await this.workspace[Symbol.asyncDispose]();
  }
}

/** Gives the host a bridge, with one container on it. */
export async function openContainer(host: Netns): Promise<Netns> {
  const container = await Netns.open();
  await host.sh(`
    ip link add br0 type bridge
    ip address add 10.79.0.1/24 dev br0
    ip link add port type veth peer name eth0 netns ${container.pid}
    ip link set port master br0 up
    ip link set br0 up`);
  await container.sh(`
    ip address add 10.79.0.2/24 dev eth0
    ip link set eth0 up
    ip route add default via 10.79.0.1`);
  return container;
}

/** Gives the host a LAN, with one neighbour who wants to come in. */
export async function openNeighbour(
  host: Netns,
  address: string,
): Promise<Netns> {
  const neighbour = await Netns.open();
  await host.sh(`
    ip link add cable type veth peer name eth0 netns ${neighbour.pid}
    ip link set cable up
    ip link add lan link cable type macvlan mode passthru
    ip address add 10.78.0.1/24 dev lan
    ip link set lan up`);
  await neighbour.sh(`
    ip address add 10.78.0.2/24 dev eth0
    ip link set eth0 up
    ip route add ${address} dev eth0`);
  return neighbour;
}
