/**
 * A network of its own in which vendors' names lead to its loopback, so that
 * a test can be `github.com` on port 443 and nothing leads out.
 *
 * The names are in a hosts file that only programs behind one prefix see:
 * the proxy and the upstreams' own side, not the clients.
 *
 * @module
 */

import { isThere, type Server, startServer, which } from "./run.ts";
import { Workspace } from "./workspace.ts";

/** The network; `await using` ends it. */
export interface VendorNet extends AsyncDisposable {
  /** Puts a command into the network, without the names. */
  readonly prefix: readonly string[];
  /** The same, where the names are known. The command starts in `/`. */
  readonly withNames: readonly string[];
}

/** Why there can be none here; undefined if there can. */
export function vendorNetReason(): string | undefined {
  if (Deno.build.os !== "linux") return "a network of its own needs Linux";
  if (Deno.uid() !== 0) return "a network of its own needs root";
  const missing = ["ip", "mount", "nsenter", "unshare"].filter((program) =>
    !which(program)
  );
  if (missing.length > 0) return `not installed: ${missing.join(", ")}`;
  return isThere("/etc/hosts") ? undefined : "there is no /etc/hosts";
}

/** The names go with this process, and so does a network that it made. */
const KEEPER =
  'ip link set lo up; mount --bind "$1" /etc/hosts; echo ready; exec sleep 600';

/**
 * Opens a network.
 *
 * @param names Such as `github.com`; all lead to 127.0.0.1.
 * @param network Puts a command into a network that there is, such as the
 * prefix of a bed. Default: a new one, without a way out.
 * @returns The network; the caller ends it.
 */
export async function openVendorNet(
  names: readonly string[],
  network?: readonly string[],
): Promise<VendorNet> {
  await using files = await Workspace.open();
  const lines = ["localhost", ...names].map((name) => `127.0.0.1 ${name}\n`);
  const hosts = await files.write("hosts", lines.join(""), 0o644);
  const enter = network ?? ["unshare", "--net"];
  const keeper: Server = await startServer(
    [...enter, "unshare", "--mount", "sh", "-euc", KEEPER, "sh", hosts],
    { ready: /^ready$/gm },
  );
  const join = ["nsenter", `--target=${keeper.pid}`, "--net"];
  return {
    prefix: join,
    withNames: [...join, "--mount"],
    [Symbol.asyncDispose]: () => keeper[Symbol.asyncDispose](),
  };
}
