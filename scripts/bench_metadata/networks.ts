/**
 * Networks apart from this host's: two namespaces with a cable between them,
 * and that of a real container engine.
 *
 * @module
 */

import { basename, join } from "node:path";
import { exists, must, ROOT, ScriptError } from "../process.ts";

/** Puts a program into a network. */
export type Inside = (argv: readonly string[]) => string[];

/** A proxy's host and a client; `await using` ends them. */
export interface Cable extends AsyncDisposable {
  /** Puts a program beside the proxy. */
  readonly host: Inside;
  /** Puts a program beside the client. */
  readonly client: Inside;
}

/** The addresses of a {@link Cable}: those that SDKs ask are the host's, too. */
export const CABLE = {
  client: "10.99.0.2",
  host: "10.99.0.1",
  credentials: "169.254.170.2",
  metadata: "169.254.169.254",
} as const;

/** Lays a cable between two new namespaces. */
export async function layCable(): Promise<Cable> {
  const stack = new AsyncDisposableStack();
  const host = stack.use(await openNamespace());
  const client = stack.use(await openNamespace());
  await must(host.inside([
    "sh",
    "-ec",
    `ip link add cable type veth peer name eth0 netns ${client.pid}
    ip address add ${CABLE.credentials}/32 dev lo
    ip address add ${CABLE.metadata}/32 dev lo
    ip address add ${CABLE.host}/24 dev cable
    ip link set cable up`,
  ]));
  await must(client.inside([
    "sh",
    "-ec",
    `ip address add ${CABLE.client}/24 dev eth0
    ip link set eth0 up
    ip route add default via ${CABLE.host}`,
  ]));
  return {
    host: host.inside,
    client: client.inside,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** A namespace that ends with its process, which ends with its stdin. */
async function openNamespace() {
  const script = "ip link set lo up && echo ready && exec cat";
  const child = new Deno.Command("unshare", {
    args: ["--net", "sh", "-c", script],
    ...{ stdin: "piped", stdout: "piped", stderr: "null" },
  }).spawn();
  const close = await untilSaid(child);
  if (!close) throw new ScriptError("Cannot make a network namespace");
  const inside: Inside = (argv) => [
    "nsenter",
    `--net=/proc/${child.pid}/ns/net`,
    ...argv,
  ];
  return { inside, pid: child.pid, [Symbol.asyncDispose]: close };
}

/** Waits until a program says anything; gives what ends it, or nothing if it did by itself. */
async function untilSaid(
  child: Deno.ChildProcess,
): Promise<(() => Promise<void>) | undefined> {
  const reader = child.stdout.getReader();
  const { done } = await reader.read();
  const close = async () => {
    await child.stdin.close().catch(() => {});
    await reader.cancel();
    await child.status;
  };
  if (!done) return close;
  return void await close();
}

/** A container engine that can be measured. */
export type EngineName = "docker" | "podman";

/** A running engine; `await using` removes it with all containers. */
export interface RealEngine extends AsyncDisposable {
  /** Puts a program into the network in which its networks are. */
  readonly inside: Inside;
  /** Where its API answers. */
  readonly socket: string;
  /** Its command for a container that is removed when it ends, but for the command inside. */
  run(...options: readonly string[]): string[];
}

const KEEPER = join(ROOT, "tests/support/bed_keeper.ts");

/** The host's programs, which containers see. */
const MOUNTED = [
  "/usr",
  "/etc/ssl",
  "/etc/alternatives",
  "/etc/ld.so.cache",
];

const PROGRAMS: Readonly<Record<EngineName, readonly string[]>> = {
  docker: ["/usr/sbin/dockerd", "/usr/bin/dockerd"],
  podman: ["/usr/bin/podman"],
};

/**
 * Starts an engine as the tests have it, where 169.254.169.254 is an address
 * of the loopback device.
 *
 * @param name Which.
 * @returns It, or undefined if it is not there.
 */
export async function startEngine(
  name: EngineName,
): Promise<RealEngine | undefined> {
  const there = await Promise.all(PROGRAMS[name].map(exists));
  if (!there.includes(true)) return undefined;
  const directory = await Deno.makeTempDir({ prefix: "moat-bed-" });
  const netns = basename(directory);
  const stack = new AsyncDisposableStack();
  const keeper = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", KEEPER, name, directory, netns],
    ...{ stdin: "piped", stdout: "piped", stderr: "null" },
  }).spawn();
  const close = await untilSaid(keeper);
  if (!close) return undefined;
  stack.defer(close);
  const program = join(directory, "bin", name);
  const socket = join(directory, `${name}.sock`);
  if (name === "podman") stack.use(await servePodman(program, socket));
  const mounts: string[] = [];
  for (const path of MOUNTED) {
    if (await exists(path)) mounts.push("--volume", `${path}:${path}:ro`);
  }
  const run = [program, "run", "--rm", ...mounts];
  return {
    inside: (argv) => ["nsenter", `--net=/run/netns/${netns}`, ...argv],
    socket,
    run: (...options) => [...run, ...options, "localhost/moat:1"],
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** podman has no daemon: the API is served by a process of its own. */
async function servePodman(
  program: string,
  socket: string,
): Promise<AsyncDisposable> {
  const child = new Deno.Command(program, {
    args: ["system", "service", "--time=0", `unix://${socket}`],
    ...{ stdin: "null", stdout: "null", stderr: "null" },
  }).spawn();
  for (let i = 0; i < 500 && !await exists(socket); i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return {
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await child.status;
    },
  };
}
