/**
 * Listening sockets that a service manager opened for us (socket activation).
 *
 * The runtime cannot accept on an inherited descriptor. So for each one a
 * `systemd-socket-proxyd` accepts on it and hands every connection to a unix
 * socket of ours, which nobody else reaches. (Rejected: a foreign function
 * interface for accept4(2), a permission that would void all others.) What gets
 * lost on the way is the client's address.
 *
 * This module opens no socket on a network: what nobody asked for stays closed.
 *
 * @module
 * @see {@link https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html | sd_listen_fds(3)}
 */

import { isAbsolute, join } from "node:path";
import { MoatError } from "$core/errors.ts";
import { missingOk, storageError } from "$core/files.ts";

/** How a service manager tells of the sockets; not for programs that we start. */
export const LISTEN_VARIABLES: readonly string[] = [
  "LISTEN_FDS",
  "LISTEN_PID",
  "LISTEN_FDNAMES",
];

/** The first inherited descriptor (`SD_LISTEN_FDS_START`). */
const FIRST = 3;

/** POSIX shells need not take descriptors of two digits in a redirection. */
const LAST = 9;

/** Where systemd puts programs that are not for a person's PATH. */
const PROXYD = ["/lib/systemd", "/usr/lib/systemd"]
  .map((folder) => `${folder}/systemd-socket-proxyd`);

/**
 * Starts a program that the kernel ends when this process ends, and nobody
 * else: signals to our process or control group are ours to act on.
 *
 * setpriv(1) fails where capset(2) is forbidden. There a service manager is in
 * charge, which ends all processes of its service itself.
 */
const TIED = `if setpriv --pdeathsig KILL true 2>/dev/null
then
  trap '' HUP INT TERM
  exec setpriv --pdeathsig KILL -- "$@"
fi
exec "$@"`;

/** What openInherited() works with. */
export interface InheritedOptions {
  /** The environment as the service manager set it. */
  readonly env: Readonly<Record<string, string>>;
  /** Told once for each socket on which nobody accepts any more, though it was not closed. */
  readonly onLost: (error: MoatError) => void;
}

/** One inherited socket. */
export interface Inherited {
  /** What it is bound to; IPv6 without brackets. */
  readonly address: { readonly hostname: string; readonly port: number };
  /**
   * Gives its connections, as if they had arrived here: `addr` of the listener
   * and `localAddr` of a connection are those of the socket. A connection's
   * `remoteAddr` has no address.
   */
  readonly listener: Deno.Listener;
  /** Cuts its connections, ends its helper and removes its files. */
  close(): Promise<void>;
}

/**
 * Accepts on the sockets that this process inherited.
 *
 * **Security:** our end of each is a socket of mode 0600 in a directory of mode
 * 0700; the helper gets an empty environment, and ends when we do, however we end.
 *
 * @param options Environment and report.
 * @returns One for each socket, in order; none without `LISTEN_FDS`.
 * @throws {MoatError} `bad-inheritance` if what we inherited is not what
 * `LISTEN_FDS` and `LISTEN_PID` say, or not listening TCP sockets;
 * `no-socket-helper` if `systemd-socket-proxyd` is missing.
 */
export async function openInherited(
  options: InheritedOptions,
): Promise<readonly Inherited[]> {
  const descriptors = inheritedDescriptors(options.env, Deno.pid);
  if (descriptors.length === 0) return [];
  const sockets = await describeSockets(descriptors);
  const proxyd = await findProxyd();
  const directory = await makeDirectory(options.env);
  const opened: Inherited[] = [];
  try {
    for (const socket of sockets) {
      opened.push(
        openOne(socket, { ...options, proxyd, descriptors, directory }),
      );
    }
  } catch (error) {
    await Promise.all(opened.map((one) => one.close()));
    await missingOk(Deno.remove(directory, { recursive: true }));
    throw error;
  }
  return opened;
}

/**
 * Finds which descriptors are inherited sockets.
 *
 * Sockets that were meant for another process are an error here, where
 * sd_listen_fds(3) has none: a proxy that went on without them would listen
 * where nobody asked for it.
 *
 * @param env The environment as the service manager set it.
 * @param pid Our process id.
 * @returns Descriptors, from 3 on; none without `LISTEN_FDS`.
 * @throws {MoatError} `bad-inheritance`
 */
export function inheritedDescriptors(
  env: Readonly<Record<string, string>>,
  pid: number,
): number[] {
  const { LISTEN_FDS: count, LISTEN_PID: owner, LISTEN_FDNAMES: names } = env;
  if (count === undefined) return [];
  const max = LAST - FIRST + 1;
  if (!/^[1-9]\d{0,8}$/.test(count)) {
    throw badInheritance(
      `wanted a number in LISTEN_FDS, found ${quoted(count)}`,
    );
  }
  if (owner !== String(pid)) {
    throw badInheritance(
      `wanted our process ${pid} in LISTEN_PID, found ${
        owner === undefined ? "nothing" : quoted(owner)
      }`,
      "in a shell script, start moat with exec; or unset LISTEN_FDS",
    );
  }
  if (Number(count) > max) {
    throw badInheritance(
      `wanted at most ${max} sockets, found ${count}`,
      "start a second moat for the others",
    );
  }
  const named = names?.split(":").length ?? Number(count);
  if (named !== Number(count)) {
    throw badInheritance(
      `wanted a name for each of ${count} sockets in LISTEN_FDNAMES, found ${named}`,
    );
  }
  return Array.from({ length: Number(count) }, (_, i) => FIRST + i);
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 40));
}

function badInheritance(finding: string, hint?: string): MoatError {
  return new MoatError(
    "bad-inheritance",
    `Cannot use the inherited sockets: ${finding}`,
    {
      hint: hint ??
        "let a systemd socket unit with ListenStream=ADDR:PORT start moat",
    },
  );
}

/** A descriptor, and what its socket is bound to. */
interface Socket {
  readonly descriptor: number;
  readonly address: Inherited["address"];
}

async function describeSockets(
  descriptors: readonly number[],
): Promise<Socket[]> {
  const inodes = descriptors.map(inodeOf);
  const table = await readSocketTables(inodes);
  return descriptors.map((descriptor, i) => {
    const found = findSocket(table, inodes[i] ?? "");
    if (typeof found !== "string") return { descriptor, address: found };
    throw badInheritance(
      `wanted a listening TCP socket as descriptor ${descriptor}, found ${found}`,
    );
  });
}

function inodeOf(descriptor: number): string {
  let target: string;
  try {
    target = Deno.readLinkSync(`/proc/self/fd/${descriptor}`);
  } catch {
    throw badInheritance(`descriptor ${descriptor} is not open`);
  }
  const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
  if (inode) return inode;
  throw badInheritance(`descriptor ${descriptor} is not a socket`);
}

/**
 * The lines about some sockets, each after the name of its table. The runtime
 * lets only a program with all permissions read these files, but another
 * program may; and it need not copy those of a hundred thousand connections.
 */
async function readSocketTables(inodes: readonly string[]): Promise<string> {
  const { stdout } = await new Deno.Command("/bin/sh", {
    args: [
      "-c",
      'cd /proc/self/net && exec grep -Hsw "$@" tcp tcp6 udp udp6 unix',
      "sh",
      ...inodes.flatMap((inode) => ["-e", inode]),
    ],
    clearEnv: true,
    env: { PATH: "/usr/bin:/bin" },
    stdin: "null",
    stderr: "null",
  }).output();
  return new TextDecoder().decode(stdout);
}

/** What a socket is that does not listen on TCP, by its table. */
const KINDS: Readonly<Record<string, string>> = {
  tcp: "a TCP socket that does not listen",
  tcp6: "a TCP socket that does not listen",
  udp: "a UDP socket",
  udp6: "a UDP socket",
  unix: "a unix socket",
};

/** The state `TCP_LISTEN` in `/proc/net/tcp`. */
const LISTENING = "0A";

/**
 * Finds a listening TCP socket in the kernel's tables.
 *
 * @param tables Lines of `/proc/net/tcp` and the like, each after its table's
 * name and a colon.
 * @param inode The socket's inode, in decimal.
 * @returns Its address, or what it is instead.
 * @see {@link https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html | proc_net_tcp}
 */
export function findSocket(
  tables: string,
  inode: string,
): Inherited["address"] | string {
  for (const line of tables.split("\n")) {
    const [, table = "", rest = ""] = /^(\w+):(.*)$/.exec(line) ?? [];
    const fields = rest.trim().split(/\s+/);
    if (fields[table === "unix" ? 6 : 9] !== inode) continue;
    const [, local = "", , state] = fields;
    if (!table.startsWith("tcp") || state !== LISTENING) {
      return KINDS[table] ?? "a socket of another kind";
    }
    const [host = "", port = ""] = local.split(":");
    return { hostname: decodeAddress(host), port: parseInt(port, 16) };
  }
  return "a socket of another kind, or of another network namespace";
}

/** Words of 32 bits, the least significant byte first, as Deno's machines keep them. */
function decodeAddress(hex: string): string {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) =>
    (word.match(/../g) ?? []).map((byte) => parseInt(byte, 16)).reverse()
  );
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from(
    { length: 8 },
    (_, i) => ((bytes[2 * i] ?? 0) << 8 | (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  // The short spelling, as a listener of our own would tell it.
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

async function findProxyd(): Promise<string> {
  for (const path of PROXYD) {
    if ((await missingOk(Deno.stat(path)))?.isFile) return path;
  }
  throw new MoatError(
    "no-socket-helper",
    `Cannot accept on inherited sockets: found no ${PROXYD.join(" and no ")}`,
    { hint: "install it with systemd, or use moat proxy --listen" },
  );
}

/**
 * In the service's own runtime directory, which its manager clears away, or
 * else among temporary files.
 */
async function makeDirectory(env: InheritedOptions["env"]): Promise<string> {
  const own = env["RUNTIME_DIRECTORY"]?.split(":")[0] ?? "";
  if (isAbsolute(own)) {
    try {
      return await Deno.makeTempDir({ dir: own, prefix: ".moat-" });
    } catch {
      // Not writable for us, such as one that another unit made.
    }
  }
  try {
    return await Deno.makeTempDir({ prefix: "moat-" });
  } catch (error) {
    throw storageError("make a directory in", "TMPDIR", error);
  }
}

interface OpenOptions extends InheritedOptions {
  readonly proxyd: string;
  readonly descriptors: readonly number[];
  readonly directory: string;
}

function openOne(
  { descriptor, address }: Socket,
  options: OpenOptions,
): Inherited {
  const path = join(options.directory, `${descriptor}.sock`);
  const inner = listenPrivately(path);
  const helper = startHelper(descriptor, path, options);
  const listener = new InheritedListener(inner, address);
  let isClosing = false;
  void helper.status.then(({ code }) => {
    if (isClosing) return;
    const { hostname, port } = address;
    options.onLost(
      new MoatError(
        "inheritance-lost",
        `Cannot accept at ${hostname} port ${port} any more: systemd-socket-proxyd ended with status ${code}`,
        { hint: "restart moat" },
      ),
    );
  });
  return {
    address,
    listener,
    async close() {
      isClosing = true;
      listener.close();
      tryKill(helper);
      await helper.status;
      await missingOk(Deno.remove(path));
      // The last one finds the directory empty.
      await Deno.remove(options.directory).catch(() => {});
    },
  };
}

function listenPrivately(path: string): Deno.UnixListener {
  try {
    const listener = Deno.listen({ transport: "unix", path });
    Deno.chmodSync(path, 0o600);
    return listener;
  } catch (error) {
    throw storageError("bind", path, error);
  }
}

/** It keeps nothing that it would have to save. */
function tryKill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has just ended.
  }
}

/** Gives the helper one socket, as a service manager would, and nothing else of ours. */
function startHelper(
  descriptor: number,
  path: string,
  { proxyd, descriptors }: OpenOptions,
): Deno.ChildProcess {
  const script = [
    // Had we ended before setpriv asked for that, it would never happen.
    '[ "$PPID" = "$1" ] || exit 1',
    `exec ${redirections(descriptor, descriptors)}`,
    // A connection takes two sockets and two pipes, which is six descriptors.
    'ulimit -Sn 65536 2>/dev/null || ulimit -Sn "$(ulimit -Hn)"',
    "max=$(($(ulimit -Sn) / 7))",
    "export LISTEN_FDS=1 LISTEN_PID=$$",
    'exec "$2" --connections-max="$max" "$3"',
  ].join("\n");
  return new Deno.Command("/bin/sh", {
    args: [
      ...["-c", TIED, "sh"],
      ...["/bin/sh", "-c", script, "sh", String(Deno.pid), proxyd, path],
    ],
    clearEnv: true,
    // Warnings are left out: clients could fill our log with them.
    env: { PATH: "/usr/bin:/bin", SYSTEMD_LOG_LEVEL: "err" },
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  }).spawn();
}

/** Moves one descriptor to the first place, and closes the others. */
function redirections(
  descriptor: number,
  descriptors: readonly number[],
): string {
  const moved = descriptor === FIRST ? [] : [`${FIRST}<&${descriptor}`];
  const closed = descriptors.filter((other) => other !== FIRST)
    .map((other) => `${other}<&-`);
  return [...moved, ...closed].join(" ");
}

/** A unix listener that tells the address of the socket before it. */
class InheritedListener implements Deno.Listener {
  readonly addr: Deno.NetAddr;
  readonly #inner: Deno.UnixListener;
  #isClosed = false;

  constructor(inner: Deno.UnixListener, address: Inherited["address"]) {
    this.addr = { transport: "tcp", ...address };
    this.#inner = inner;
  }

  async accept(): Promise<Deno.Conn> {
    const conn = await this.#inner.accept();
    return Object.defineProperty(conn, "localAddr", { value: this.addr });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#inner.close();
  }

  ref(): void {
    this.#inner.ref();
  }

  unref(): void {
    this.#inner.unref();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<Deno.Conn> {
    while (!this.#isClosed) yield await this.accept();
  }
}
