/**
 * What brings containers from the addresses of instance metadata and container
 * credentials to moat, and blocks the way round it: where to, and what else is
 * refused. Pure; `rules_nft.ts` and `rules_iptables.ts` write the rules,
 * `commands/network_rules.ts` asks the system.
 *
 * A container is whatever sends packets through a bridge or a veth device.
 * Every connection of its own to port 80 of a served address is translated to
 * where moat listens, even where that is the same address: a translation that
 * is there keeps out others that would follow, such as that of a container
 * which publishes port 80. The source address stays, by which moat tells
 * containers apart. Everything else that a container sends to the addresses is
 * refused before routes and translations are looked at, and nothing is ever
 * forwarded to them: not over a connection from before, not while moat does
 * not listen, not after somebody took the address from the loopback device.
 *
 * What this host itself sends passes none of these rules. So where it has a
 * real metadata service, only the loopback device's address is in its way.
 *
 * @module
 */

import { isIPv4, isIPv6 } from "node:net";
import { MoatError, usageError } from "$core/errors.ts";
import { isLoopback, isUnspecified } from "../addresses.ts";
import { LINK_LOCAL_ADDRESS } from "./link_local.ts";

/** Where clients ask for instance metadata. */
export const METADATA_ADDRESS = "169.254.169.254";

/** The same with IPv6. */
export const METADATA_ADDRESS_6 = "fd00:ec2::254";

/** The port at which clients ask. */
export const METADATA_PORT = 80;

/** What is kept from containers, but for what is led to moat. */
export const BLOCKED: readonly string[] = [
  METADATA_ADDRESS,
  LINK_LOCAL_ADDRESS,
  // The agent of Kubernetes pods.
  "169.254.170.23",
  METADATA_ADDRESS_6,
  "fd00:ec2::23",
];

/** Where moat listens. */
export interface Target {
  /** Undefined: the address of the interface by which a packet came. */
  readonly hostname?: string;
  /** 1 to 65535. */
  readonly port: number;
}

/** One address that is led to moat. */
export interface Lead {
  /** Where clients ask, at {@link METADATA_PORT}. */
  readonly from: string;
  /** Where moat listens. */
  readonly to: Target;
}

/** Tells the family of an address. */
export function isSix(address: string): boolean {
  return address.includes(":");
}

/**
 * Finds out what is led where.
 *
 * @param values Of `--to`; at most one per family. Default:
 * 169.254.169.254:80, which stands for the IPv6 address as well.
 * @param hasSix Whether the loopback device takes IPv6 addresses.
 * @returns 169.254.170.2 as well, always to itself. An address that is missing
 * is refused to containers.
 * @throws {MoatError} `usage` for an address that cannot be led to.
 */
export function leadsTo(
  values: readonly string[],
  hasSix: boolean,
): readonly Lead[] {
  const targets = (values.length > 0 ? values : [METADATA_ADDRESS + ":80"])
    .map(parseTarget);
  const leads = new Map<string, Target>();
  for (const [index, to] of targets.entries()) {
    for (const from of addressesFor(to)) {
      if (leads.has(from)) {
        throw usageError(
          `Cannot lead ${from} to ${JSON.stringify(values[index])}: ` +
            "another --to does",
          "give one address of IPv4 and one of IPv6, or :PORT alone",
        );
      }
      leads.set(from, to);
    }
  }
  const port = leads.get(METADATA_ADDRESS)?.port ?? METADATA_PORT;
  if (targets[0]?.hostname === METADATA_ADDRESS && targets.length === 1) {
    leads.set(METADATA_ADDRESS_6, { hostname: METADATA_ADDRESS_6, port });
  }
  if (!hasSix) leads.delete(METADATA_ADDRESS_6);
  const own = { hostname: LINK_LOCAL_ADDRESS, port: METADATA_PORT };
  leads.set(LINK_LOCAL_ADDRESS, own);
  return [...leads].map(([from, to]) => ({ from, to }));
}

function addressesFor({ hostname }: Target): readonly string[] {
  if (hostname === undefined) return [METADATA_ADDRESS, METADATA_ADDRESS_6];
  return [isSix(hostname) ? METADATA_ADDRESS_6 : METADATA_ADDRESS];
}

function parseTarget(text: string): Target {
  const match = /^(?:\[([0-9a-f:.]+)\]|([0-9.]*)):(\d{1,5})$/i.exec(text);
  const [, six = "", four = "", digits] = match ?? [];
  const port = Number(digits);
  if (!match || port === 0 || port > 65_535) {
    throw unusable(text, "wanted ADDR:PORT or :PORT");
  }
  if (six + four === "") return { port };
  if (isUnspecified(six + four)) {
    throw unusable(
      text,
      "it stands for all addresses",
      `for a program that listens on all of them, give --to :${port}`,
    );
  }
  if (six ? !isIPv6(six) : !isIPv4(four)) {
    throw unusable(text, "wanted ADDR:PORT or :PORT");
  }
  if (isLoopback(six || four)) {
    throw unusable(
      text,
      "packets of containers get there only with route_localnet, which opens " +
        "every service of the loopback device to them",
    );
  }
  const hostname = six
    ? new URL(`http://[${six}]`).hostname.slice(1, -1)
    : four;
  if (
    !/^(fe[89ab]|ff|::ffff:)/.test(hostname) &&
    !/^(22[4-9]|2[3-5]\d)\./.test(hostname)
  ) {
    return { hostname, port };
  }
  throw unusable(text, "wanted an address of one host that needs no interface");
}

function unusable(
  text: string,
  why: string,
  hint = `give --to ${LINK_LOCAL_ADDRESS}:8169, or :8000 for a program that ` +
    "listens on all addresses",
): MoatError {
  return usageError(
    `Cannot lead containers to ${JSON.stringify(text)}: ${why}`,
    hint,
  );
}

/**
 * Names the addresses that the loopback device must have.
 *
 * @param leads What is led where.
 * @returns Those among what is led, or led to, that are of no other device.
 */
export function loopbackAddresses(leads: readonly Lead[]): readonly string[] {
  const own = [METADATA_ADDRESS, METADATA_ADDRESS_6, LINK_LOCAL_ADDRESS];
  return own.filter((address) =>
    leads.some(({ to }) => to.hostname === address)
  );
}

/**
 * Refuses to lead containers to another machine: it would see this host's
 * address instead of theirs.
 *
 * @param leads What is led where.
 * @param addresses Those of this host, without prefixes.
 * @throws {MoatError} `address-unavailable` if one is not among them.
 */
export function checkLocal(
  leads: readonly Lead[],
  addresses: readonly string[],
): void {
  const known = [...addresses, ...loopbackAddresses(leads)];
  const strange = leads.find(({ to }) =>
    to.hostname !== undefined && !known.includes(to.hostname)
  );
  if (!strange) return;
  throw new MoatError(
    "address-unavailable",
    `Cannot lead containers to ${strange.to.hostname}: no interface of this ` +
      "host has that address",
    { hint: "ip address shows those there are" },
  );
}

/**
 * Names the listeners that other machines must not reach: those at addresses
 * which are not kept from them anyway.
 *
 * @param leads What is led where.
 * @returns Without doubles.
 */
export function exposedTargets(leads: readonly Lead[]): readonly Target[] {
  const targets = leads.map(({ to }) => to)
    .filter(({ hostname }) => !BLOCKED.includes(hostname ?? ""));
  return targets.filter((target, i) => targets.indexOf(target) === i);
}

/** Where the firmware says whose machine this is; for `cat`. */
export const MACHINE_FILES: readonly string[] = [
  "sys_vendor",
  "product_name",
  "bios_vendor",
  "bios_version",
  "chassis_asset_tag",
].map((name) => `/sys/class/dmi/id/${name}`);

/** Clouds whose machines ask 169.254.169.254 themselves, as firmware spells them. */
const CLOUDS =
  /amazon|Google Compute Engine|Microsoft Corporation\nVirtual Machine|OpenStack|DigitalOcean|Alibaba Cloud|Oracle ?Cloud|Tencent Cloud|Huawei ?Cloud|Hetzner|Vultr|Linode|Akamai|Scaleway|Exoscale|UpCloud|CloudStack/i;

/**
 * Refuses to take the metadata address from a host that needs the real one.
 *
 * @param machine The content of {@link MACHINE_FILES}.
 * @throws {MoatError} `cloud-host` for a cloud's machine.
 */
export function checkMachine(machine: string): void {
  const found = CLOUDS.exec(machine);
  if (!found) return;
  const line = machine.slice(machine.lastIndexOf("\n", found.index) + 1)
    .split("\n")[0];
  throw new MoatError(
    "cloud-host",
    `Cannot put ${METADATA_ADDRESS} on this host: wanted a host that does ` +
      `not need it itself, found a machine of ${JSON.stringify(line)}`,
    { hint: `moat network-rules --to ${LINK_LOCAL_ADDRESS}:8169` },
  );
}

/**
 * Names what to start.
 *
 * @param leads What is led where.
 * @returns A command line.
 */
export function nextCommand(leads: readonly Lead[]): string {
  const targets = leads.filter(({ from }) => from !== LINK_LOCAL_ADDRESS)
    .map(({ to }) => to);
  const open = targets.find(({ hostname }) => hostname === undefined);
  if (open) {
    return `moat proxy --imds 0.0.0.0:${open.port}, or PORT=${open.port} moat metadata-proxy --strict`;
  }
  const values = targets.map(({ hostname = "", port }) =>
    isSix(hostname) ? `'[${hostname}]:${port}'` : `${hostname}:${port}`
  );
  return ["moat proxy", ...values.map((value) => `--imds ${value}`)].join(" ");
}
