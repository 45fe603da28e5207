/**
 * The process behind a container test bed: lays it out, says so on stdout,
 * and clears it away when its stdin ends. A test process that dies closes that
 * pipe as well, so nothing is left over.
 *
 * Run as `bed_keeper.ts ENGINE DIRECTORY`; see `containers.ts` for the use.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- stdout and stderr are its protocol

import { join } from "node:path";
import { which } from "./run.ts";

/** Addresses that AWS SDKs ask: container credentials and instance metadata. */
const AWS_ADDRESSES = [
  "169.254.170.2/32",
  "169.254.170.23/32",
  "169.254.169.254/32",
  "fd00:ec2::23/128",
  "fd00:ec2::254/128",
];

/** The image: links of a merged /usr and mount points; programs are mounted. */
const FOLDERS =
  "usr etc/ssl etc/alternatives tmp var/tmp proc sys dev run root opt home work";

/** Limits that need no privilege to set, and an engine without systemd. */
function containersConf(directory: string): string {
  return `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
network_config_dir = "${directory}/networks"
`;
}

function storageConf(directory: string): string {
  return `[storage]
driver = "overlay"
runroot = "${directory}/run"
graphroot = "${directory}/storage"
`;
}

/** Runs a program that must succeed; returns its stdout. */
async function must(...argv: string[]): Promise<string> {
  const [program = "", ...args] = argv;
  const options = { args, stdin: "null" } as const;
  const output = await new Deno.Command(program, options).output();
  const text = new TextDecoder();
  if (output.success) return text.decode(output.stdout);
  throw new Error(`${argv.join(" ")}: ${text.decode(output.stderr).trim()}`);
}

/** Runs a step of the clean-up: what is gone already is no failure. */
async function may(...argv: string[]): Promise<string> {
  try {
    return await must(...argv);
  } catch {
    return "";
  }
}

async function addNamespace(name: string): Promise<void> {
  const inside = ["nsenter", `--net=/run/netns/${name}`];
  await must("ip", "netns", "add", name);
  await must(...inside, "ip", "link", "set", "lo", "up");
  for (const address of AWS_ADDRESSES) {
    const add = [...inside, "ip", "address", "add", address, "dev", "lo"];
    // A kernel without IPv6 has only the first three.
    await (address.includes("::") ? may(...add) : must(...add));
  }
  await must(...inside, "sysctl", "-qw", "net.ipv4.ip_forward=1");
}

async function makeImage(directory: string): Promise<string> {
  const root = join(directory, "image");
  for (const folder of FOLDERS.split(" ")) {
    await Deno.mkdir(join(root, folder), { recursive: true });
  }
  for (const link of ["bin", "sbin", "lib", "lib32", "lib64", "libx32"]) {
    const target = await Deno.readLink(`/${link}`).catch(() => undefined);
    if (target) await Deno.symlink(target, join(root, link));
  }
  for (const folder of ["tmp", "var/tmp"]) {
    await Deno.chmod(join(root, folder), 0o1777);
  }
  const files = {
    passwd: "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    group: "root:x:0:\nnogroup:x:65534:\n",
    "nsswitch.conf": "passwd: files\nhosts: files dns\n",
  };
  for (const [name, content] of Object.entries(files)) {
    await Deno.writeTextFile(join(root, "etc", name), content);
  }
  const tarball = join(directory, "image.tar");
  await must("tar", "-C", root, "-cf", tarball, ".");
  return tarball;
}

/** Writes the command that a test calls `podman` or `docker`. */
async function writeWrapper(
  directory: string,
  engine: string,
  lines: string[],
): Promise<string> {
  const path = join(directory, "bin", engine);
  await Deno.mkdir(join(directory, "bin"));
  const script = ["#!/bin/sh", ...lines, ""].join("\n");
  await Deno.writeTextFile(path, script, { mode: 0o755 });
  return path;
}

async function startPodman(directory: string, netns: string): Promise<void> {
  await Deno.mkdir(join(directory, "networks"));
  const conf = join(directory, "containers.conf");
  const storage = join(directory, "storage.conf");
  await Deno.writeTextFile(conf, containersConf(directory));
  await Deno.writeTextFile(storage, storageConf(directory));
  const wrapper = await writeWrapper(directory, "podman", [
    `export CONTAINERS_CONF=${conf} CONTAINERS_STORAGE_CONF=${storage}`,
    `export TMPDIR=${directory}`,
    "unset DOCKER_CONFIG",
    `exec nsenter --net=/run/netns/${netns} ${which("podman")} \\`,
    `  --tmpdir ${directory}/tmp "$@"`,
  ]);
  await must(wrapper, "import", await makeImage(directory), "localhost/moat:1");
}

async function stopPodman(directory: string): Promise<void> {
  await may(join(directory, "bin/podman"), "rm", "--all", "--force", "-t", "0");
  await may("umount", join(directory, "storage/overlay"));
}

async function startDocker(
  directory: string,
  netns: string,
): Promise<Deno.ChildProcess> {
  const socket = `unix://${directory}/docker.sock`;
  const wrapper = await writeWrapper(directory, "docker", [
    `export DOCKER_HOST=${socket} DOCKER_CONFIG=${directory}`,
    `exec ${which("docker")} "$@"`,
  ]);
  const daemon = new Deno.Command("nsenter", {
    args: [
      `--net=/run/netns/${netns}`,
      "dockerd",
      `--data-root=${directory}/data`,
      `--exec-root=${directory}/exec`,
      `--pidfile=${directory}/dockerd.pid`,
      `--host=${socket}`,
      // Where a system's containerd runs, it is used: keep apart from others.
      `--containerd-namespace=${netns}`,
      `--containerd-plugins-namespace=${netns}-plugins`,
    ],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  for (let tries = 0; !await may(wrapper, "version"); tries++) {
    if (tries === 100) throw new Error("dockerd did not answer within 10 s");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await must(wrapper, "import", await makeImage(directory), "localhost/moat:1");
  return daemon;
}

async function stopDocker(
  directory: string,
  daemon: Deno.ChildProcess,
): Promise<void> {
  const wrapper = join(directory, "bin/docker");
  // dockerd waits ten seconds for each container that still runs.
  const containers = (await may(wrapper, "ps", "--all", "--quiet")).split("\n")
    .filter(Boolean);
  if (containers.length > 0) await may(wrapper, "rm", "--force", ...containers);
  daemon.kill("SIGTERM");
  const late = setTimeout(() => daemon.kill("SIGKILL"), 20_000);
  await daemon.status;
  clearTimeout(late);
}

/** Lays the bed out; returns what clears it away. */
async function open(
  engine: string,
  directory: string,
  netns: string,
): Promise<() => Promise<void>> {
  await addNamespace(netns);
  if (engine === "podman") {
    await startPodman(directory, netns);
    return () => stopPodman(directory);
  }
  const daemon = await startDocker(directory, netns);
  return () => stopDocker(directory, daemon);
}

/** Processes with the bed's name on their command line, but for this one. */
async function processesOf(netns: string): Promise<number[]> {
  const found: number[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === Deno.pid) continue;
    const path = `/proc/${name}/cmdline`;
    const command = await Deno.readTextFile(path).catch(() => "");
    if (command.includes(netns)) found.push(Number(name));
  }
  return found;
}

/** Lets helpers of the engine end, such as podman's own clean-up. */
async function awaitProcesses(netns: string): Promise<void> {
  for (let tries = 0; tries < 50; tries++) {
    if ((await processesOf(netns)).length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  for (const pid of await processesOf(netns)) Deno.kill(pid, "SIGKILL");
}

/** Unmounts what an engine left below its directory, the deepest first. */
async function clear(directory: string, netns: string): Promise<void> {
  await awaitProcesses(netns);
  const mounts = (await Deno.readTextFile("/proc/self/mounts")).split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((path) => path.startsWith(`${directory}/`));
  for (const path of mounts.reverse()) await may("umount", path);
  await may("ip", "netns", "delete", netns);
  await may("rm", "-rf", "--one-file-system", directory);
}

/** Waits for the end of stdin. A Ctrl-C goes to the whole group: outlive it. */
async function standby(): Promise<void> {
  Deno.addSignalListener("SIGINT", () => {});
  Deno.addSignalListener("SIGHUP", () => {});
  for await (const _chunk of Deno.stdin.readable);
}

if (import.meta.main) {
  const [engine = "", directory = "", netns = ""] = Deno.args;
  let stop = () => Promise.resolve();
  try {
    stop = await open(engine, directory, netns);
    console.log("ready");
    await standby();
  } finally {
    await stop();
    await clear(directory, netns);
  }
  Deno.exit();
}
