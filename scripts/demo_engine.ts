/**
 * Where the demo's workload runs: in a container when an engine works here,
 * with an image made of nothing but directories; programs come by mount.
 *
 * @module
 */

import { join } from "node:path";
import { exists, run } from "./process.ts";

/** Overrides the search: a path of an engine, or `none`. */
const ENGINE_VARIABLE = "MOAT_DEMO_ENGINE";

const IMAGE = "localhost/moat-demo:1";

/** Read-only, so that the image needs no download. */
const MOUNTED = [
  "/usr",
  "/etc/ssl",
  "/etc/alternatives",
  "/etc/ld.so.cache",
];

const FOLDERS = ["usr", "etc/ssl", "etc/alternatives", "tmp", "proc", "sys"];

/** Links of a merged /usr, as on Debian and Fedora. */
const LINKS = ["bin", "sbin", "lib", "lib32", "lib64"];

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

/** An engine that runs containers here. */
export interface DemoEngine {
  /** For people, such as `podman 4.3.1`. */
  readonly label: string;
  /** The command line up to the container's own command. */
  command(options: readonly string[]): readonly string[];
  /** Removes the image. */
  close(): Promise<void>;
}

/**
 * Finds an engine that works.
 *
 * @param directory For the image's skeleton.
 * @returns The engine, or why there is none.
 */
export async function findEngine(
  directory: string,
): Promise<DemoEngine | string> {
  const wanted = Deno.env.get(ENGINE_VARIABLE);
  if (wanted === "none") return "none was wanted";
  const reasons: string[] = [];
  for (const program of wanted ? [wanted] : ["podman", "docker"]) {
    const found = await tryEngine(program, directory);
    if (typeof found !== "string") return found;
    reasons.push(found);
  }
  return reasons.join("; ");
}

async function tryEngine(
  program: string,
  directory: string,
): Promise<DemoEngine | string> {
  const name = program.split("/").at(-1) ?? program;
  const version = await run([program, "--version"], { timeoutMs: 10_000 });
  if (version.code !== 0) return `${name}: not installed`;
  const label = `${name} ${/\d[\d.]*/.exec(version.stdout)?.[0] ?? ""}`.trim();
  const archive = await makeImage(directory);
  const programs = await mounts();
  let reason = "";
  for (const [globals, options] of [[[], []], FALLBACKS[name] ?? [[], []]]) {
    const prefix = [program, ...globals];
    const made = await run([...prefix, "import", archive, IMAGE]);
    const command = (more: readonly string[]) => [
      ...[...prefix, "run", "--rm", "--network", "host", ...options],
      ...[...programs, ...more, IMAGE],
    ];
    const close = async () =>
      void await run([...prefix, "rmi", "--force", IMAGE]);
    const tried = made.code === 0
      ? await run([...command([]), "true"], { timeoutMs: 30_000 })
      : made;
    if (tried.code === 0) return { label, command, close };
    reason = tried.stderr.trim().split("\n").at(-1) ?? "";
    await close();
  }
  return `${label}: ${reason.slice(0, 100)}`;
}

async function mounts(): Promise<string[]> {
  const options: string[] = [];
  for (const path of MOUNTED) {
    if (await exists(path)) options.push("--volume", `${path}:${path}:ro`);
  }
  return options;
}

async function makeImage(directory: string): Promise<string> {
  const root = join(directory, "image");
  const archive = join(directory, "image.tar");
  if (await exists(archive)) return archive;
  for (const folder of FOLDERS) {
    await Deno.mkdir(join(root, folder), { recursive: true });
  }
  for (const name of LINKS) {
    const target = await Deno.readLink(`/${name}`).catch(() => undefined);
    if (target) await Deno.symlink(target, join(root, name));
  }
  await run(["tar", "-C", root, "-cf", archive, "."]);
  return archive;
}
