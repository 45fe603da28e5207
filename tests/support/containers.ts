/**
 * Container engines for tests: podman or dockerd inside a network namespace of
 * its own, where 169.254.170.2 and 169.254.169.254 are addresses of the
 * loopback device and nothing leads out. No image is downloaded: containers
 * see the host's programs.
 *
 * @module
 */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually } from "./eventually.ts";
import { VENV } from "./moto.ts";
import { isThere, SYSTEM_PATH, which } from "./run.ts";

/** A container engine that a bed can have. */
export type Engine = "podman" | "docker";

/** A running container engine; `await using` closes it. */
export interface Bed extends AsyncDisposable {
  /** Path of the command that a person would type as `podman` or `docker`. */
  readonly engine: string;
  /** The same without a wrapper: global options and environment to set. */
  readonly plain: {
    readonly argv: readonly string[];
    readonly env: Readonly<Record<string, string>>;
  };
  /** Puts a command into the bed's network namespace, such as `[...prefix, "curl", url]`. */
  readonly prefix: readonly string[];
  /** The image: a skeleton without programs; see {@link Bed.mounts}. */
  readonly image: string;
  /** Options of `run` that mount the host's programs read-only. */
  readonly mounts: readonly string[];
  /** A private directory that is removed with the bed. */
  readonly directory: string;
  /** Removes containers, daemon, mounts and namespace. May be called twice. */
  close(): Promise<void>;
}

/** What each engine needs on PATH. */
const PROGRAMS: Readonly<Record<Engine, readonly string[]>> = {
  podman: "podman runc conmon iptables ip nsenter sysctl tar".split(" "),
  docker: "dockerd docker containerd iptables ip nsenter sysctl tar".split(" "),
};

/** What makes the host's programs run in the skeleton image. */
const MOUNTED = [
  "/usr",
  "/etc/ssl",
  "/etc/alternatives",
  "/etc/ld.so.cache",
];

/**
 * Says why no bed can be made here.
 *
 * @param engine Which engine.
 * @returns The reason for `testUnless`; undefined if it can.
 */
export function bedReason(engine: Engine): string | undefined {
  if (Deno.build.os !== "linux") return `${engine} bed needs Linux`;
  if (Deno.uid() !== 0) return `${engine} bed needs root`;
  const missing = PROGRAMS[engine].filter((program) => !which(program));
  if (missing.length > 0) return `not installed: ${missing.join(", ")}`;
  return undefined;
}

/**
 * Opens a bed. Takes 0.5 s with podman, 1.5 s with docker.
 *
 * @param engine Which engine.
 * @returns The bed; the caller closes it.
 */
export async function openBed(engine: Engine): Promise<Bed> {
  const directory = await Deno.makeTempDir({ prefix: "moat-bed-" });
  const netns = directory.split("/").at(-1) ?? "";
  const close = await startKeeper(engine, directory, netns);
  const mounted = [...MOUNTED, VENV].filter(isThere);
  return {
    engine: join(directory, "bin", engine),
    plain: plainCommand(engine, directory),
    prefix: ["nsenter", `--net=/run/netns/${netns}`],
    image: "localhost/moat:1",
    mounts: mounted.flatMap((path) => ["--volume", `${path}:${path}:ro`]),
    directory,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/**
 * Serves podman's API, which has no daemon.
 *
 * @param bed A bed of podman.
 * @param path Of its socket.
 * @returns What ends it; may be asked to twice.
 */
export async function servePodman(
  { engine }: Pick<Bed, "engine">,
  path: string,
): Promise<AsyncDisposable> {
  const child = new Deno.Command(engine, {
    args: ["system", "service", "--time=0", `unix://${path}`],
    ...{ stdin: "null", stdout: "null", stderr: "null" },
  }).spawn();
  await eventually("podman's socket", () => isThere(path));
  const end = async () => {
    child.kill("SIGTERM");
    await child.status;
    // It would be taken for the next one's.
    await Deno.remove(path).catch(() => {});
  };
  let ended: Promise<void> | undefined;
  return {
    async [Symbol.asyncDispose]() {
      await (ended ??= end());
    },
  };
}

function plainCommand(engine: Engine, directory: string): Bed["plain"] {
  if (engine === "docker") {
    const socket = `unix://${directory}/docker.sock`;
    return { argv: [which("docker") ?? engine, "--host", socket], env: {} };
  }
  const options = ["--cgroup-manager", "cgroupfs", "--runtime", "runc"];
  const argv = [
    which("podman") ?? engine,
    ...options,
    "--tmpdir",
    `${directory}/tmp`,
  ];
  const env = {
    CONTAINERS_CONF: `${directory}/containers.conf`,
    CONTAINERS_STORAGE_CONF: `${directory}/storage.conf`,
    TMPDIR: directory,
  };
  return { argv, env };
}

/** Starts the keeper and waits until the bed is ready; returns what ends it. */
async function startKeeper(
  ...args: [engine: Engine, directory: string, netns: string]
): Promise<() => Promise<void>> {
  const keeper = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--allow-all",
      "--no-check",
      script("bed_keeper.ts"),
      ...args,
    ],
    env: { PATH: SYSTEM_PATH },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const errors = new Response(keeper.stderr).text();
  const reader = keeper.stdout.getReader();
  const { done } = await reader.read();
  let closed: Promise<void> | undefined;
  const close = () => closed ??= end();
  const end = async () => {
    await keeper.stdin.close().catch(() => {});
    await reader.cancel();
    const { success } = await keeper.status;
    if (!success) throw new Error(`Cannot keep a bed: ${await errors}`);
    await errors;
  };
  if (done) await close();
  return close;
}

function script(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}
