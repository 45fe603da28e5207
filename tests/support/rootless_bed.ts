/**
 * Rootless podman for tests: of a user without privileges and without
 * subordinate ids, in the network namespace of another bed. Networks that
 * need slirp4netns are not to be had; `none` and `host` are.
 *
 * @module
 */

import { join } from "node:path";
import type { Bed } from "./containers.ts";
import { run, which } from "./run.ts";

/** A user that no other program has. */
const UID = 64_123;

/** No limit to raise, no systemd, and a storage that needs no mount. */
const FILES: Readonly<Record<string, (directory: string) => string>> = {
  "containers.conf": () =>
    `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
`,
  "storage.conf": (directory) =>
    `[storage]
driver = "vfs"
runroot = "${directory}/run"
graphroot = "${directory}/storage"
[storage.options]
ignore_chown_errors = "true"
`,
};

/**
 * Gives another user a podman of its own.
 *
 * @param host A bed of podman.
 * @returns The bed; the caller closes it before the other one. Its `prefix`
 * makes a command that user's.
 */
export async function openRootlessBed(host: Bed): Promise<Bed> {
  const directory = join(host.directory, "user");
  const engine = join(directory, "bin/podman");
  await Deno.mkdir(join(directory, "bin"), { recursive: true });
  for (const [name, content] of Object.entries(FILES)) {
    await Deno.writeTextFile(join(directory, name), content(directory));
  }
  await Deno.writeTextFile(engine, wrapper(directory), { mode: 0o755 });
  await must("chown", "-R", `${UID}:${UID}`, directory);
  await Deno.chmod(host.directory, 0o711);
  const ids = [`--reuid=${UID}`, `--regid=${UID}`, "--clear-groups"];
  const prefix = [...host.prefix, "setpriv", ...ids, "--"];
  const tarball = join(host.directory, "image.tar");
  await must(...prefix, engine, "import", tarball, host.image);
  const close = async () => {
    await must(...prefix, engine, "rm", "--all", "--force", "--time", "0");
    // It keeps the user's namespaces between two commands.
    const pid = join(directory, "libpod/tmp/pause.pid");
    Deno.kill(Number(await Deno.readTextFile(pid)), "SIGKILL");
  };
  return {
    ...host,
    engine,
    prefix,
    plain: { argv: [engine], env: {} },
    // What is in a home is not for other users.
    mounts: host.mounts.filter((word) => !/^\/(home|root)\//.test(word)),
    directory,
    close,
    [Symbol.asyncDispose]: close,
  };
}

function wrapper(directory: string): string {
  return `#!/bin/sh
cd ${directory}
export HOME=${directory}
export CONTAINERS_CONF=${directory}/containers.conf
export CONTAINERS_STORAGE_CONF=${directory}/storage.conf
export XDG_RUNTIME_DIR=${directory} TMPDIR=${directory}
exec ${which("podman")} "$@"
`;
}

async function must(...argv: string[]): Promise<void> {
  const { code, stderr } = await run(argv);
  if (code !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
}
