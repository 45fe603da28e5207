/**
 * A systemd of our own: the machine's, as process 1 of namespaces of its own
 * (processes, mounts, network, control groups), with no units but the given
 * ones. What it changes below /etc, /usr and /var is gone with it.
 *
 * @module
 */

import { dirname, join } from "node:path";
import { eventually } from "./eventually.ts";
import { isThere, run, type RunResult, which } from "./run.ts";

const SYSTEMD = "/lib/systemd/systemd";

/** What units depend on by default; the real ones would set up a machine. */
const TARGETS = [
  ...["bed", "basic", "local-fs", "multi-user", "network-online", "shutdown"],
  ...["sockets", "sysinit", "umount"],
];

/** Where a bed sees its own directory. */
export const BED = "/run/bed";

/** Kernel settings are the machine's own, so they can only be read. */
const INIT = `set -e
mount --make-rprivate /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /mnt
for d in etc usr var; do
  mkdir /mnt/$d /mnt/$d.work
  mount -t overlay -o lowerdir=/$d,upperdir=/mnt/$d,workdir=/mnt/$d.work overlay /$d
done
cp -r "$1/root/." /
touch /usr/bin/moat
mount --bind "$2" /usr/bin/moat
mkdir /mnt/bed
mount --bind "$1" /mnt/bed
mount -t tmpfs -o mode=755 tmpfs /run
mkdir ${BED}
mount --bind /mnt/bed ${BED}
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount --make-rshared /
ip link set lo up
exec env -i container=bed PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
  SYSTEMD_UNIT_PATH=${BED}/units SYSTEMD_GENERATOR_PATH=${BED}/none \\
  SYSTEMD_ENVIRONMENT_GENERATOR_PATH=${BED}/none \\
  ${SYSTEMD} --system --unit=bed.target --log-target=console --show-status=no
`;

const UNSHARE = [
  ...["unshare", "--mount", "--pid", "--fork", "--ipc", "--uts", "--net"],
  ...["--cgroup", "--kill-child"],
];

/** Why there can be no bed here; undefined if there can. */
export function bedReason(): string | undefined {
  if (Deno.uid() !== 0) return "needs root";
  if (!isThere(SYSTEMD)) return "no systemd";
  const missing = ["unshare", "nsenter", "setpriv", "ip", "curl"]
    .find((program) => which(program) === undefined);
  if (missing !== undefined) return `no ${missing}`;
  if (cgroupRoot() === undefined) return "no control groups of version 2";
  const [program = "", ...args] = UNSHARE;
  const { success } = new Deno.Command(program, {
    args: [...args, "true"],
    stdin: "null",
    stderr: "null",
  }).outputSync();
  return success ? undefined : "namespaces are not allowed";
}

function cgroupRoot(): string | undefined {
  return ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
    .find((path) => isThere(`${path}/cgroup.procs`));
}

/** What a bed begins with. */
export interface SystemdBedOptions {
  /** What /usr/bin/moat is. */
  readonly moat: string;
  /** A directory whose units are there. */
  readonly units: string;
  /** Further units and drop-ins, by their path below a unit directory. */
  readonly more?: Readonly<Record<string, string>>;
  /** Files below /, such as `etc/moat/bind/web.conf`. */
  readonly files?: Readonly<Record<string, string>>;
}

/** A running systemd; `await using` ends it with all that it started. */
export class SystemdBed implements AsyncDisposable {
  /** The bed's directory as the test sees it. */
  readonly directory: string;
  readonly #unshare: Deno.ChildProcess;
  readonly #cgroup: string;
  readonly #stderr: Promise<string>;
  #pid = 0;

  private constructor(directory: string, moat: string) {
    this.directory = directory;
    this.#cgroup = `${cgroupRoot()}/${directory.split("/").pop()}`;
    Deno.mkdirSync(this.#cgroup);
    const script =
      'echo $$ >"$1/cgroup.procs"; shift; exec setpriv --pdeathsig KILL -- "$@"';
    this.#unshare = new Deno.Command("/bin/sh", {
      args: [
        ...["-c", script, "sh", this.#cgroup, ...UNSHARE],
        ...["/bin/sh", "-c", INIT, "sh", directory, moat],
      ],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#stderr = new Response(this.#unshare.stderr).text();
  }

  /** Starts one. */
  static async open(options: SystemdBedOptions): Promise<SystemdBed> {
    const directory = await Deno.makeTempDir({ prefix: "moat-bed-" });
    // Services of other users write logs there.
    await Deno.chmod(directory, 0o755);
    await layOut(directory, options);
    const bed = new SystemdBed(directory, options.moat);
    try {
      await bed.#start();
    } catch (cause) {
      await bed[Symbol.asyncDispose]();
      throw new Error(await bed.#stderr, { cause });
    }
    return bed;
  }

  async #start(): Promise<void> {
    const children =
      `/proc/${this.#unshare.pid}/task/${this.#unshare.pid}/children`;
    await eventually("systemd", async () => {
      this.#pid = parseInt(await Deno.readTextFile(children));
      const { stdout } = await this.run("systemctl", "is-active", "bed.target");
      return stdout === "active\n";
    });
  }

  /** Runs a program in the bed. */
  run(...argv: string[]): Promise<RunResult> {
    return run([
      ...[
        "nsenter",
        "-t",
        String(this.#pid),
        "-m",
        "-p",
        "-i",
        "-u",
        "-n",
        "-C",
      ],
      ...argv,
    ], { env: { SYSTEMD_UNIT_PATH: `${BED}/units` } });
  }

  /** As {@link SystemdBed.run}; fails if the program does. */
  async must(...argv: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...argv);
    if (code === 0) return stdout;
    throw new Error(`${argv.join(" ")}: ${code}\n${stderr}\n${this.log()}`);
  }

  /** Asks a listener: `STATUS BODY`. */
  async get(url: string, ...flags: string[]): Promise<string> {
    const format = "\n%{http_code}";
    const text = await this.must(
      "curl",
      "-s",
      "-m",
      "10",
      "-w",
      format,
      ...flags,
      url,
    );
    const end = text.lastIndexOf("\n");
    return `${text.slice(end + 1)} ${text.slice(0, end)}`;
  }

  /** What the services printed so far. */
  log(): string {
    return Deno.readTextFileSync(join(this.directory, "log"));
  }

  /** Ends it, and removes its directory. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      // Process 1 ends by no other signal, and takes all others with it.
      if (this.#pid > 0) Deno.kill(this.#pid, "SIGKILL");
      this.#unshare.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#unshare.status;
    await this.#stderr;
    await eventually("the control group's end", () => {
      removeCgroup(this.#cgroup);
      return true;
    });
    await Deno.remove(this.directory, { recursive: true });
  }
}

async function layOut(
  directory: string,
  { units, more = {}, files = {} }: SystemdBedOptions,
): Promise<void> {
  await run(["cp", "-r", units, join(directory, "units")]);
  await Deno.mkdir(join(directory, "root"));
  const write = async (path: string, content: string) => {
    await Deno.mkdir(dirname(join(directory, path)), { recursive: true });
    await Deno.writeTextFile(join(directory, path), content);
  };
  for (const target of TARGETS) {
    await write(
      `units/${target}.target`,
      "[Unit]\nDescription=Of a bed\nDefaultDependencies=no\n",
    );
  }
  // There is no journal.
  await write(
    "units/service.d/log.conf",
    `[Service]\nStandardOutput=append:${BED}/log\nStandardError=append:${BED}/log\n`,
  );
  for (const [path, content] of Object.entries(more)) {
    await write(`units/${path}`, content);
  }
  for (const [path, content] of Object.entries(files)) {
    await write(`root/${path}`, content);
  }
  await write("log", "");
  await Deno.chmod(join(directory, "log"), 0o666);
}

function removeCgroup(path: string): void {
  if (!isThere(path)) return;
  for (const { name, isDirectory } of Deno.readDirSync(path)) {
    if (isDirectory) removeCgroup(join(path, name));
  }
  Deno.removeSync(path);
}
