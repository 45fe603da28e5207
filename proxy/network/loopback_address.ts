/**
 * Addresses that moat puts on this host's loopback device: who has one now,
 * and which commands claim and release it for one of moat's commands. Pure.
 *
 * The label of an address tells which commands need it, so that there is no
 * file to go stale, that the removal of one leaves the other's address alone,
 * and that no address of somebody else is ever deleted. IPv6 addresses have no
 * label; theirs is the metric, which nothing else uses on this device.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";

/** An address of this host, as `Deno.networkInterfaces` tells it. */
export interface HostAddress {
  /** The interface, or the address's label, such as `lo:moat`. */
  readonly name: string;
  /** With the length of its network's prefix, such as `172.17.0.1/16`. */
  readonly cidr: string;
}

/** Who has an address on this host. */
export type AddressState =
  /** Nobody. */
  | { readonly state: "absent" }
  /** The loopback device, by `moat network setup` alone. */
  | { readonly state: "ours" }
  /** The loopback device, by `moat network-rules` alone. */
  | { readonly state: "rules" }
  /** The loopback device, and both commands need it. */
  | { readonly state: "shared" }
  /** The loopback device; somebody else did it. It serves as well. */
  | { readonly state: "loopback" }
  /** Another interface has it, or a network that it belongs to. */
  | {
    readonly state: "taken";
    readonly interface: string;
    readonly cidr: string;
  };

/** A command that needs an address, by the state that it makes alone. */
export type Claimant = "ours" | "rules";

/** A program and its arguments. */
export type CommandLine = readonly [program: string, ...args: string[]];

/** At most 15 bytes (IFNAMSIZ), and begun with the device's name. */
const LABELS = {
  ours: "lo:moat",
  rules: "lo:moat-rules",
  shared: "lo:moat-both",
} as const;

/** "moat" in ASCII. */
const METRIC = 0x6d6f6174;

/**
 * Finds out who has an IPv4 address.
 *
 * @param addresses All addresses of this host.
 * @param address Which one.
 * @returns The loopback device if it does, else whoever is in the way. The
 * whole of 169.254.0.0/16, which desktops have, is not in the way.
 */
export function findAddress(
  addresses: readonly HostAddress[],
  address: string,
): AddressState {
  const own = addresses.filter(({ cidr }) => cidr.startsWith(`${address}/`));
  for (const state of ["ours", "rules", "shared"] as const) {
    if (own.some(({ name }) => name === LABELS[state])) return { state };
  }
  if (own.some(({ name }) => /^lo(:|$)/.test(name))) {
    return { state: "loopback" };
  }
  const other = own[0] ??
    addresses.find(({ cidr }) => isInTheWay(cidr, address));
  return other
    ? { state: "taken", interface: other.name, cidr: other.cidr }
    : { state: "absent" };
}

/** A container network that may give the address to a container of its own. */
function isInTheWay(cidr: string, wanted: string): boolean {
  const [address = "", prefix = ""] = cidr.split("/");
  const length = Number(prefix);
  if (address.includes(":") || length <= 16) return false;
  const shift = 32 - length;
  return toNumber(address) >>> shift === toNumber(wanted) >>> shift;
}

function toNumber(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

/**
 * Asks who has an IPv6 address; {@link findAddress6} reads the answer.
 *
 * @param address Which one.
 * @returns A command that everybody may run.
 */
export function askAddress6(address: string): CommandLine {
  return ["ip", "-oneline", "-6", "address", "show", "to", `${address}/128`];
}

/**
 * Finds out who has an IPv6 address.
 *
 * @param text What {@link askAddress6} printed; empty if nobody has it.
 * @returns As of {@link findAddress}.
 */
export function findAddress6(text: string): AddressState {
  const lines = [...text.matchAll(/^\d+: (\S+) +inet6 (\S+)(.*)$/gm)];
  const [, name = "", cidr = "", rest = ""] =
    lines.find((line) => line[1] === "lo") ?? lines[0] ?? [];
  if (name === "") return { state: "absent" };
  if (name !== "lo") return { state: "taken", interface: name, cidr };
  const isOurs = rest.startsWith(` metric ${METRIC} `);
  return { state: isOurs ? "rules" : "loopback" };
}

/**
 * Refuses an address that belongs to something else.
 *
 * @param address Which one.
 * @param state Who has it now.
 * @param instead What to do without it, for the hint.
 * @throws {MoatError} `address-taken` if another interface or network has it.
 */
export function checkFree(
  address: string,
  state: AddressState,
  instead: string,
): void {
  if (state.state !== "taken") return;
  throw new MoatError(
    "address-taken",
    `Cannot set up ${address}: wanted it unused, found ` +
      `${state.cidr} on ${JSON.stringify(state.interface)}`,
    { hint: `remove that network or address first, or ${instead}` },
  );
}

/**
 * Says what puts an address on the loopback device for one command, or tells
 * that it needs it as well.
 *
 * @param address IPv4 or IPv6.
 * @param state Who has it now.
 * @param claimant Who needs it.
 * @returns Commands in order; none if nothing is to be done.
 */
export function claimCommands(
  address: string,
  { state }: AddressState,
  claimant: Claimant,
): readonly CommandLine[] {
  if (state === "absent") return [add(address, claimant)];
  if (state !== other(claimant)) return [];
  return [remove(address, state), add(address, "shared")];
}

/**
 * Says what undoes {@link claimCommands}, whatever the other command did
 * since.
 *
 * @param address IPv4 or IPv6.
 * @param state Who has it now.
 * @param claimant Who needs it no longer.
 * @returns Commands in order; none if nothing is to be done.
 */
export function releaseCommands(
  address: string,
  { state }: AddressState,
  claimant: Claimant,
): readonly CommandLine[] {
  if (state === claimant) return [remove(address, state)];
  if (state !== "shared") return [];
  return [remove(address, state), add(address, other(claimant))];
}

function other(claimant: Claimant): Claimant {
  return claimant === "ours" ? "rules" : "ours";
}

/**
 * Neither address is ever the source of packets that leave: one by its scope,
 * the other because it is deprecated.
 */
function add(address: string, state: keyof typeof LABELS): CommandLine {
  const four = ["scope", "host", "label", LABELS[state]];
  const six = ["preferred_lft", "0", "metric", `${METRIC}`];
  return [
    ...["ip", "address", "add", cidrOf(address), "dev", "lo"] as const,
    ...(address.includes(":") ? six : four),
  ];
}

function remove(address: string, state: keyof typeof LABELS): CommandLine {
  return [
    ...["ip", "address", "delete", cidrOf(address), "dev", "lo"] as const,
    ...(address.includes(":") ? [] : ["label", LABELS[state]]),
  ];
}

function cidrOf(address: string): string {
  return `${address}/${address.includes(":") ? 128 : 32}`;
}
