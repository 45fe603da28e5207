/**
 * Where the container engines of this host answer.
 *
 * @module
 */

import { usageError } from "$core/errors.ts";

/**
 * Where Docker and podman listen unless told otherwise. Not an engine without
 * root: it has the same networks in a namespace of its own, so its containers'
 * addresses are others' on this host, and whoever runs it chooses them.
 */
const USUAL = ["/var/run/docker.sock", "/run/podman/podman.sock"];

/**
 * Finds the sockets of the engines: those of the configuration, else that of
 * `DOCKER_HOST`, else that of `DOCKER_URL`, else those of the usual places that
 * exist, and Docker's if none does, since an engine may be started later.
 *
 * @param configured URLs such as `unix:///run/podman/podman.sock`.
 * @param env The environment of this process.
 * @returns Absolute paths, each socket once.
 * @throws {MoatError} `usage` for another kind of URL, such as `tcp://`.
 */
export function engineSockets(
  configured: readonly string[] | undefined,
  env: Readonly<Record<string, string>>,
): string[] {
  if (configured) {
    return distinct(
      configured.map((url) =>
        socketPath(url, "engines in [metadata] of moat.toml")
      ),
    );
  }
  for (const name of ["DOCKER_HOST", "DOCKER_URL"]) {
    const url = env[name];
    if (url) return [socketPath(url, name)];
  }
  const found = USUAL.filter((path) => realPath(path) !== undefined);
  return distinct(found.length > 0 ? found : USUAL.slice(0, 1));
}

/** Takes also `unix://var/run/docker.sock`, as go-metadataproxy spells it. */
function socketPath(url: string, where: string): string {
  const path = /^unix:\/\/\/*([^/].*)$/.exec(url)?.[1];
  if (path !== undefined) return `/${path}`;
  const found = /^[a-z][a-z0-9+.-]*:\/\//i.exec(url)?.[0];
  throw usageError(
    `Cannot use ${where}: wanted a unix socket, found ${
      found ? `a ${found} URL` : "no URL"
    }`,
    "write it as unix:///var/run/docker.sock",
  );
}

/** Two paths to one socket would make each container a double. */
function distinct(paths: readonly string[]): string[] {
  const byTarget = new Map<string, string>();
  for (const path of paths) {
    const target = realPath(path) ?? path;
    if (!byTarget.has(target)) byTarget.set(target, path);
  }
  return [...byTarget.values()];
}

function realPath(path: string): string | undefined {
  try {
    return Deno.realPathSync(path);
  } catch {
    return undefined;
  }
}
