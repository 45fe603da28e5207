/**
 * A network of its own for the matrix: a namespace with nothing but loopback,
 * on which the addresses of container credentials are. It ends with the
 * program in it, so that nothing is left over.
 *
 * @module
 */

/** 169.254.170.2 is that of ECS, the other that of EKS. */
const ADDRESSES = ["169.254.170.2", "169.254.170.23"];

/** Runs in the namespace, and becomes the program. */
const SET_UP = [
  "ip link set lo up",
  ...ADDRESSES.map((address) => `ip address add ${address}/32 dev lo`),
  'exec "$@"',
].join(" && ");

/**
 * Puts a program into a new namespace, which needs root or leave to make user
 * namespaces. Processes that the program started end with it.
 *
 * @param argv Program and arguments.
 * @returns What to start instead.
 */
export function inNamespace(argv: readonly string[]): string[] {
  const user = Deno.uid() === 0 ? [] : ["--map-root-user"];
  const flags = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
  return ["unshare", ...user, ...flags, "sh", "-c", SET_UP, "sh", ...argv];
}
