/**
 * The address 169.254.170.2 on this host's loopback device: what is there, and
 * which commands put it there and take it away. Pure; `commands/network.ts`
 * asks the system.
 *
 * SDKs take credentials by plain http from this address without any setting
 * but a path, so it serves containers of every bridge, each with its own
 * source address. What that needs, and what was measured between network
 * namespaces (Linux 6.18, podman's and docker's kinds of bridge):
 *
 * - `/32`, so that no other address becomes reachable; scope host, so that the
 *   system never takes it as the source of packets that leave. A container's
 *   packets arrive by its gateway; `rp_filter=1` changes nothing. A container
 *   of an `--internal` network has no route to it, and uses a relay instead.
 * - Linux gives an address to the whole host, not to a device: a neighbour on
 *   a LAN reached the listener, both over its own ARP and with this host as
 *   its router. `arp_ignore=3` stops only the first, and for all interfaces.
 *   One nftables chain stops both and leaves containers alone, so setup adds
 *   it: only loopback, bridges and veth devices may bring packets for the
 *   address. It is a table of our own, because then its removal cannot touch
 *   anyone else's rule, and no one else's `accept` overrides its `drop`. A
 *   bridge with a LAN behind it, such as for virtual machines, is not told
 *   apart: what remains is the token, without which nothing is served.
 * - The label tells our address from one that somebody else had put there, and
 *   whether `moat network-rules` needs it too (`loopback_address.ts`).
 *
 * Both last until the next boot, as everything that `ip` and `nft` do.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";
import {
  type AddressState,
  checkFree,
  claimCommands,
  type CommandLine,
  releaseCommands,
} from "./loopback_address.ts";

/** Where SDKs look for container credentials. */
export const LINK_LOCAL_ADDRESS = "169.254.170.2";

/** The port that a relative URI means. */
export const LINK_LOCAL_PORT = 80;

const TABLE = "ip moat_network";

/**
 * Whether other machines are kept out: `unknown` without the right to ask,
 * `unavailable` without the program `nft`.
 */
export type GuardState = "present" | "absent" | "unknown" | "unavailable";

/**
 * Refuses systems whose containers live in a virtual machine.
 *
 * @param os As `Deno.build.os` says.
 * @param subject What is to be managed. Default: 169.254.170.2.
 * @throws {MoatError} `not-supported` unless it is Linux.
 */
export function checkSystem(
  os: typeof Deno.build.os,
  subject: string = LINK_LOCAL_ADDRESS,
): void {
  if (os === "linux") return;
  throw new MoatError(
    "not-supported",
    `Cannot manage ${subject} here: wanted Linux, found ${os}`,
    { hint: "use --mode process, which needs no address of this host" },
  );
}

/**
 * Says what is to be done so that the address is there and guarded.
 *
 * @param address Who has it now.
 * @param guard Whether others are kept out.
 * @returns Commands in order, the guard first; none if all is there.
 * @throws {MoatError} `address-taken` if it belongs to something else.
 */
export function setupCommands(
  address: AddressState,
  guard: GuardState,
): readonly CommandLine[] {
  checkFree(
    LINK_LOCAL_ADDRESS,
    address,
    "use --mode process, which needs no address",
  );
  // Adding it anew replaces it in one step: right as well where it is unknown.
  const isMissing = guard === "absent" || guard === "unknown";
  return [
    ...(isMissing ? [addGuard()] : []),
    ...claimCommands(LINK_LOCAL_ADDRESS, address, "ours"),
  ];
}

function addGuard(): CommandLine {
  return [
    "nft",
    `add table ${TABLE}; delete table ${TABLE}; ` +
    `table ${TABLE} { chain guard { ` +
    "type filter hook prerouting priority raw; " +
    `ip daddr != ${LINK_LOCAL_ADDRESS} accept; ` +
    'iif "lo" accept; meta iifkind { "bridge", "veth" } accept; drop; }; }',
  ];
}

/**
 * Says what undoes the setup, and nothing else: the label keeps an address of
 * somebody else, whatever happened since it was looked at.
 *
 * @param address Who has it now.
 * @param guard Whether others are kept out.
 * @returns Commands in order, the address first; none if nothing is ours.
 */
export function removeCommands(
  address: AddressState,
  guard: GuardState,
): readonly CommandLine[] {
  const isThere = guard === "present" || guard === "unknown";
  return [
    ...releaseCommands(LINK_LOCAL_ADDRESS, address, "ours"),
    ...(isThere
      ? [["nft", `add table ${TABLE}; delete table ${TABLE}`] as const]
      : []),
  ];
}

/** Asks whether the guard is there: exit status 0 if it is. */
export const ASK_GUARD: CommandLine = ["nft", `list table ${TABLE}`];

/**
 * Finds the listener that gets connections to 169.254.170.2:80, without a
 * connection.
 *
 * @param tcp The content of `/proc/net/tcp`.
 * @param tcp6 The content of `/proc/net/tcp6`; empty without IPv6.
 * @returns `169.254.170.2:80`, or `0.0.0.0:80` or `[::]:80` for a program that
 * listens on all addresses; undefined if nobody listens.
 */
export function findListener(tcp: string, tcp6: string): string | undefined {
  const port = LINK_LOCAL_PORT.toString(16).toUpperCase().padStart(4, "0");
  const hex = `${tcp}\n${tcp6}`.matchAll(
    /^ *\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) \S+ 0A /gm,
  );
  const local = [...hex].filter((m) => m[2] === port).map((m) => m[1]);
  const spellings: readonly (readonly [string, string])[] = [
    [KERNEL_HEX, LINK_LOCAL_ADDRESS],
    [`0000000000000000FFFF0000${KERNEL_HEX}`, LINK_LOCAL_ADDRESS],
    ["0".repeat(8), "0.0.0.0"],
    ["0".repeat(32), "[::]"],
  ];
  const found = spellings.find(([spelling]) => local.includes(spelling));
  return found && `${found[1]}:${LINK_LOCAL_PORT}`;
}

/** As `/proc/net/tcp` spells the address on a little-endian machine: all that Deno has. */
const KERNEL_HEX = LINK_LOCAL_ADDRESS.split(".").reverse()
  .map((part) => Number(part).toString(16).toUpperCase().padStart(2, "0"))
  .join("");

/** A right that root has, and that others can be given. */
export type Capability = "netBindService" | "netAdmin";

/** By their number in `linux/capability.h`. */
const CAPABILITIES: Readonly<Record<Capability, number>> = {
  netBindService: 10,
  netAdmin: 12,
};

/**
 * Tells whether a process has a capability.
 *
 * @param status The content of its `/proc/PID/status`.
 * @param capability Which one.
 * @returns False as well if the text does not say.
 * @see {@link https://man7.org/linux/man-pages/man7/capabilities.7.html | capabilities(7)}
 */
export function hasCapability(
  status: string,
  capability: Capability,
): boolean {
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0";
  return (BigInt(`0x${mask}`) >> BigInt(CAPABILITIES[capability]) & 1n) === 1n;
}

/** What `moat network show` tells. */
export interface NetworkFacts {
  /** Who has the address. */
  readonly address: AddressState;
  /** Whether other machines are kept out. */
  readonly guard: GuardState;
  /** As of {@link findListener}. */
  readonly listener: string | undefined;
  /** Whether this user may listen on port 80. */
  readonly lowPorts: boolean;
}

/**
 * Names the next step towards a container that gets credentials at the address.
 *
 * @param facts What is there.
 * @returns A command line.
 */
export function nextStep(
  { address, guard, listener, lowPorts }: NetworkFacts,
): string {
  if (address.state === "taken") {
    return "moat bind NAME --grant GRANT --mode process";
  }
  if (address.state === "absent" || guard === "absent") {
    return "moat network setup | sudo sh";
  }
  if (listener) return "moat bind NAME --grant GRANT --mode ecs-relative";
  return lowPorts
    ? `moat proxy --listen 127.0.0.1:19080 --listen ${LINK_LOCAL_ADDRESS}:${LINK_LOCAL_PORT}`
    : `sudo sysctl net.ipv4.ip_unprivileged_port_start=${LINK_LOCAL_PORT}`;
}
