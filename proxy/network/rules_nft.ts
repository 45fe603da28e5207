/**
 * The rules of `rules.ts` for nftables: one table of our own, so that
 * its removal touches no one else's rule, and no one else's `accept` overrides
 * what it drops. It is replaced in one step. Needs Linux 5.9, the first that
 * can refuse a packet before it is routed. Pure.
 *
 * @module
 */

import type { CommandLine } from "./loopback_address.ts";
import {
  BLOCKED,
  exposedTargets,
  isSix,
  type Lead,
  METADATA_PORT,
  type Target,
} from "./rules.ts";

const TABLE = "inet moat_metadata";

const CONTAINERS = '{ "bridge", "veth" }';

/** Asks whether the rules are there: exit status 0 if they are. */
export const ASK_NFT: CommandLine = ["nft", `list table ${TABLE}`];

/** Removes the rules, in whatever state. */
export const REMOVE_NFT: CommandLine = [
  "nft",
  `add table ${TABLE}; delete table ${TABLE}`,
];

/**
 * Sets the rules, or replaces them.
 *
 * @param leads What is led where.
 * @returns One command.
 */
export function setNft(leads: readonly Lead[]): CommandLine {
  const served = leads.map(({ from }) =>
    `${match(from)} tcp dport ${METADATA_PORT}`
  );
  const chains = {
    refuse: [
      "meta l4proto tcp reject with tcp reset",
      "reject with icmpx type admin-prohibited",
    ],
    container: [
      ...served.map((rule) => `${rule} accept`),
      ...BLOCKED.map((address) => `${match(address)} goto refuse`),
    ],
    guard: [
      "type filter hook prerouting priority raw",
      'iif "lo" accept',
      `meta iifkind ${CONTAINERS} goto container`,
      ...BLOCKED.map((address) => `${match(address)} drop`),
      ...exposedTargets(leads).map((target) => `${matchTarget(target)} drop`),
    ],
    // Before those of container engines, which are at dstnat.
    lead: [
      "type nat hook prerouting priority dstnat - 10",
      `meta iifkind != ${CONTAINERS} accept`,
      ...leads.map(({ to }, i) => `${served[i]} ${translate(to)}`),
    ],
    forward: [
      "type filter hook forward priority mangle",
      ...BLOCKED.map((address) => `${match(address)} goto refuse`),
    ],
  };
  const text = Object.entries(chains).map(([name, rules]) =>
    `chain ${name} { ${rules.map((rule) => `${rule}; `).join("")}}; `
  );
  return ["nft", `${REMOVE_NFT[1]}; table ${TABLE} { ${text.join("")}}`];
}

function match(address: string): string {
  return `${isSix(address) ? "ip6" : "ip"} daddr ${address}`;
}

function matchTarget({ hostname, port }: Target): string {
  const where = hostname === undefined
    ? "fib daddr type local"
    : match(hostname);
  return `${where} tcp dport ${port}`;
}

function translate({ hostname, port }: Target): string {
  if (hostname === undefined) return `redirect to :${port}`;
  return isSix(hostname)
    ? `dnat ip6 to [${hostname}]:${port}`
    : `dnat ip to ${hostname}:${port}`;
}
