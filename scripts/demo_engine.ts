/**
 * Where the demo's workload runs: in a container when an engine works here,
 * with an image made of nothing but directories; programs come by mount.
 *
 * @module
 */

import { basename, join } from "node:path";
import { type CleanOptions, runClean } from "./demo_process.ts";
import { exists, type RunResult } from "./process.ts";

/** Overrides the search: a path of an engine, or `none`. */
const ENGINE_VARIABLE = "MOAT_DEMO_ENGINE";

/** What tells an engine where its storage, its daemon and its settings are. */
const ENGINE_ENVIRONMENT =
  /^(PATH|HOME|TMPDIR|DBUS_SESSION_BUS_ADDRESS|(XDG|DOCKER|CONTAINERS?|PODMAN|STORAGE)_.+)$/;

/** Read-only, so that the image needs no download; see {@link RUN_OPTIONS}. */
const MOUNTED = [
  "/usr",
  "/etc/ssl",
  "/etc/alternatives",
  "/etc/ld.so.cache",
];

const FOLDERS = ["usr", "etc/ssl", "etc/alternatives", "tmp", "proc", "sys"];

/** Links of a merged /usr, as on Debian and Fedora. */
const LINKS = ["bin", "sbin", "lib", "lib32", "lib64"];

/** Where a container sees moat. */
export const MOAT_IN_CONTAINER = "/opt/moat";

/** With SELinux, a container may not read mounts that have the host's label. */
const RUN_OPTIONS = [
  ...["--rm", "--network", "host", "--stop-timeout", "0"],
  ...["--security-opt", "label=disable"],
];

/**
 * Options that make an engine work where limits may not be raised, such as in
 * a virtual machine without systemd; tried after none at all.
 */
const FALLBACKS: Record<string, [globals: string[], options: string[]]> = {
  podman: [
    ["--runtime", "runc", "--cgroup-manager", "cgroupfs"],
    ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"],
  ],
  docker: [[], ["--ulimit", "nofile=1024:1024"]],
};

/** The longest line about an engine. */
const REASON_COLUMNS = 76;

/** The demo that looks for an engine. */
export interface EngineUser {
  /** A private directory with a unique name, which becomes the image's tag. */
  readonly directory: string;
  /** The executable that the containers need. */
  readonly moat: string;
  /** The user's whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Ends the search. */
  readonly signal: AbortSignal;
}

/** What came of the search. */
export interface EngineFound {
  readonly engine?: DemoEngine;
  /** One line for each engine that does not work. */
  readonly reasons: readonly string[];
}

/**
 * The variables that an engine needs of its user; all commands of the demo's
 * engine get these and no others.
 *
 * @param env The user's environment.
 * @returns A part of it.
 */
export function engineEnv(
  env: Readonly<Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => ENGINE_ENVIRONMENT.test(name)),
  );
}

/**
 * Says in one line why a program failed: by the last line that it printed, or
 * the end of it, where Go programs have the cause. Cut after a word.
 *
 * @param name The program.
 * @param printed Such as stderr.
 * @returns At most 76 characters.
 */
export function failureLine(name: string, printed: string): string {
  const lines = printed.trim().split("\n").map((line) => line.trim())
    .filter((line) => line && !/^(hint:|See |Run )/.test(line));
  const last = (lines.at(-1) ?? "no reason given").replace(/^error: /i, "");
  const columns = REASON_COLUMNS - `${name}: `.length;
  const causes = last.split(": ");
  while (causes.length > 1 && causes.join(": ").length > columns) {
    causes.shift();
  }
  return `${name}: ${cut(causes.join(": "), columns)}`;
}

function cut(line: string, columns: number): string {
  if (line.length <= columns) return line;
  const end = line.slice(0, columns - 1).lastIndexOf(" ");
  return `${line.slice(0, end > 0 ? end : columns - 2)} …`;
}

/** An engine that runs containers here; disposing leaves nothing of ours in it. */
export class DemoEngine implements AsyncDisposable {
  /** For people, such as `podman 4.3.1`. */
  readonly label: string;
  readonly #prefix: readonly string[];
  readonly #options: readonly string[];
  readonly #image: string;
  readonly #env: Readonly<Record<string, string>>;
  #closed: Promise<void> | undefined;

  /**
   * @param label For people.
   * @param prefix The engine and its global options.
   * @param options Those of `run`.
   * @param user Whose engine.
   */
  constructor(
    label: string,
    prefix: readonly string[],
    options: readonly string[],
    user: EngineUser,
  ) {
    this.label = label;
    this.#prefix = prefix;
    this.#options = options;
    this.#env = engineEnv(user.env);
    const tag = basename(user.directory).replace(/^moat-demo-/, "");
    this.#image = `localhost/moat-demo:${tag}`;
  }

  /** The command line up to the container's own command. */
  command(options: readonly string[]): readonly string[] {
    const all = [...RUN_OPTIONS, ...this.#options, ...options];
    return [...this.#prefix, "run", ...all, this.#image];
  }

  /** Imports the image and runs moat in it. */
  async tryOut(archive: string, signal: AbortSignal): Promise<RunResult> {
    const options = { env: this.#env, signal };
    const source = [...this.#prefix, "import", archive, this.#image];
    const made = await runClean(source, options);
    if (made.code !== 0) return made;
    const probe = [...this.command([]), MOAT_IN_CONTAINER, "--version"];
    return await runClean(probe, { ...options, timeoutMs: 30_000 });
  }

  /** The ids of all containers of the image, also of those that ended. */
  async containers(): Promise<string[]> {
    const filter = `ancestor=${this.#image}`;
    return words(await this.#ask("ps", "--all", "--quiet", "--filter", filter));
  }

  /** Whether the engine still has the image. */
  async hasImage(): Promise<boolean> {
    return words(await this.#ask("images", "--quiet", this.#image)).length > 0;
  }

  /** Removes containers and image, once. */
  async [Symbol.asyncDispose](): Promise<void> {
    await (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    const left = await this.containers();
    if (left.length > 0) await this.#ask("rm", "--force", ...left);
    await this.#ask("rmi", "--force", this.#image);
  }

  async #ask(...args: string[]): Promise<RunResult> {
    const options: CleanOptions = { env: this.#env, timeoutMs: 30_000 };
    return await runClean([...this.#prefix, ...args], options);
  }
}

function words({ code, stdout }: RunResult): string[] {
  return code === 0 ? stdout.split(/\s+/).filter(Boolean) : [];
}

/**
 * Finds an engine that works.
 *
 * @param user The demo.
 * @returns The engine, which the caller disposes, or why there is none.
 */
export async function findEngine(user: EngineUser): Promise<EngineFound> {
  const wanted = user.env[ENGINE_VARIABLE];
  if (wanted === "none") return { reasons: [`${ENGINE_VARIABLE} is "none"`] };
  const reasons: string[] = [];
  for (const program of wanted ? [wanted] : ["podman", "docker"]) {
    const found = await tryEngine(program, user);
    if (typeof found !== "string") return { engine: found, reasons };
    reasons.push(found);
  }
  return { reasons };
}

/** Returns the engine, or why it does not work. */
async function tryEngine(
  program: string,
  user: EngineUser,
): Promise<DemoEngine | string> {
  const { signal } = user;
  const name = basename(program);
  const options = { env: engineEnv(user.env), signal, timeoutMs: 10_000 };
  const version = await runClean([program, "--version"], options);
  if (version.code === 127) return `${name}: not installed`;
  const label = `${name} ${/\d[\d.]*/.exec(version.stdout)?.[0] ?? ""}`.trim();
  const archive = await makeImage(user);
  const mounted = await mounts(user.moat);
  let reason = "";
  const fallback = FALLBACKS[name];
  for (const [globals, more] of [[[], []], ...fallback ? [fallback] : []]) {
    const prefix = [program, ...globals];
    const engine = new DemoEngine(label, prefix, [...more, ...mounted], user);
    await using unused = new AsyncDisposableStack();
    unused.use(engine);
    const tried = await engine.tryOut(archive, signal);
    if (tried.code === 0) {
      unused.move();
      return engine;
    }
    reason = failureLine(label, tried.stderr);
  }
  return reason;
}

async function mounts(moat: string): Promise<string[]> {
  const options = ["--volume", `${moat}:${MOAT_IN_CONTAINER}:ro`];
  for (const path of MOUNTED) {
    if (await exists(path)) options.push("--volume", `${path}:${path}:ro`);
  }
  return options;
}

async function makeImage(user: EngineUser): Promise<string> {
  const root = join(user.directory, "image");
  const archive = join(user.directory, "image.tar");
  if (await exists(archive)) return archive;
  for (const folder of FOLDERS) {
    await Deno.mkdir(join(root, folder), { recursive: true });
  }
  for (const name of LINKS) {
    const target = await Deno.readLink(`/${name}`).catch(() => undefined);
    if (target) await Deno.symlink(target, join(root, name));
  }
  // Root exists in each user namespace, this user perhaps not.
  const tar = ["tar", "--owner=0", "--group=0", "-C", root, "-cf"];
  const env = engineEnv(user.env);
  const signal = user.signal;
  await runClean([...tar, archive, "."], { env, signal });
  return archive;
}
