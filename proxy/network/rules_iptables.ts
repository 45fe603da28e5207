/**
 * The rules of `rules.ts` for iptables and ip6tables, where there is
 * no nft: a chain of our own in three tables, filled in one step and jumped to
 * first. Pure.
 *
 * The tables are such that no container engine's rule comes before: they put
 * theirs into filter, and to the end of nat. What differs from nftables:
 * iptables knows interfaces by name alone, so a bridge counts if it is there
 * now or is named as engines name theirs, and else is kept out as any other
 * machine; and it refuses nothing before routing, so what is not led to moat
 * is dropped, and its sender waits.
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

/** The program of each family. */
export type Family = "iptables" | "ip6tables";

const CHAIN = "MOAT-METADATA";

/** Where the chain is jumped to. */
const HOOKS = {
  raw: "PREROUTING",
  mangle: "FORWARD",
  nat: "PREROUTING",
} as const;

/** As docker, podman and CNI name theirs. */
const NAMES = ["docker+", "br-+", "podman+", "cni+", "veth+"];

/** Lists the interfaces that count as containers' now; for each, a command. */
export const ASK_INTERFACES: readonly CommandLine[] = ["bridge", "veth"]
  .map((kind) => ["ip", "-oneline", "link", "show", "type", kind]);

/**
 * Finds the interfaces of containers.
 *
 * @param links What {@link ASK_INTERFACES} printed.
 * @returns Patterns for iptables: those that engines use, and by name what
 * they do not match. Names that a shell might misread are left out.
 */
export function interfacePatterns(links: string): readonly string[] {
  const names = [...links.matchAll(/^\d+: ([\w.-]+)(?:@\S+)?: /gm)]
    .map((line) => line[1] ?? "")
    .filter((name) => !NAMES.some((n) => name.startsWith(n.slice(0, -1))));
  return [...NAMES, ...[...new Set(names)].sort()];
}

/**
 * Asks for all rules of a family; {@link hasChain} reads the answer.
 *
 * @param family Which program.
 * @returns A command for root.
 */
export function askIptables(family: Family): CommandLine {
  return [`${family}-save`];
}

/**
 * Tells whether anything of ours is among rules.
 *
 * @param saved What {@link askIptables} printed.
 * @returns Also for half a setup.
 */
export function hasChain(saved: string): boolean {
  return saved.includes(CHAIN);
}

/**
 * Sets the rules of a family, or replaces them.
 *
 * @param family Which program.
 * @param leads What is led where, of both families.
 * @param interfaces As of {@link interfacePatterns}.
 * @returns Commands in order: the chains are filled before they are used.
 */
export function setIptables(
  family: Family,
  leads: readonly Lead[],
  interfaces: readonly string[],
): readonly CommandLine[] {
  const isOwn = (address: string) => isSix(address) === (family !== "iptables");
  const own = leads.filter(({ from }) => isOwn(from));
  const served = interfaces.flatMap((name) =>
    own.map(({ from, to }) => ({
      rule: `-i ${name} -d ${from} -p tcp --dport ${METADATA_PORT}`,
      to,
    }))
  );
  const drops = BLOCKED.filter(isOwn).map((address) => `-d ${address} -j DROP`);
  const exposed = exposedTargets(own);
  const chains: Record<keyof typeof HOOKS, string[]> = {
    raw: [
      "-i lo -j RETURN",
      ...served.map(({ rule }) => `${rule} -j RETURN`),
      ...drops,
      ...(exposed.length > 0
        ? interfaces.map((name) => `-i ${name} -j RETURN`)
        : []),
      ...exposed.map((target) => `${matchTarget(target)} -j DROP`),
    ],
    mangle: drops,
    nat: served.map(({ rule, to }) => `${rule} ${translate(to)}`),
  };
  const lines = Object.entries(chains).flatMap(([table, rules]) => [
    `*${table}`,
    `:${CHAIN} - [0:0]`,
    ...rules.map((rule) => `-A ${CHAIN} ${rule}`),
    "COMMIT",
  ]);
  const text = lines.map((line) => `"${line}"`).join(" ");
  return [
    sh(`printf "%s\\n" ${text} | ${family}-restore --wait --noflush`),
    ...perHook(
      family,
      (run, jump) => `${run} -C ${jump} 2>/dev/null || ${run} -I ${jump}`,
    ),
  ];
}

/**
 * Removes the rules of a family, in whatever state.
 *
 * @param family Which program.
 * @returns Commands in order.
 */
export function removeIptables(family: Family): readonly CommandLine[] {
  return perHook(
    family,
    (run, jump) =>
      `while ${run} -D ${jump} 2>/dev/null; do :; done; ` +
      `${run} -S ${CHAIN} >/dev/null 2>&1 || exit 0; ` +
      `${run} -F ${CHAIN} && ${run} -X ${CHAIN}`,
  );
}

/** What to do in each table, with the words that begin a command, and our jump. */
function perHook(
  family: Family,
  script: (run: string, jump: string) => string,
): CommandLine[] {
  return Object.entries(HOOKS).map(([table, hook]) =>
    sh(script(
      `${family} --wait --table ${table}`,
      `${hook} -m comment --comment moat-network-rules -j ${CHAIN}`,
    ))
  );
}

/** System programs are not always on the PATH of a user. */
function sh(script: string): CommandLine {
  return ["sh", "-c", `PATH=$PATH:/usr/sbin:/sbin; ${script}`];
}

function matchTarget({ hostname, port }: Target): string {
  const where = hostname === undefined
    ? "-m addrtype --dst-type LOCAL"
    : `-d ${hostname}`;
  return `${where} -p tcp --dport ${port}`;
}

function translate({ hostname, port }: Target): string {
  if (hostname === undefined) return `-j REDIRECT --to-ports ${port}`;
  const where = isSix(hostname) ? `[${hostname}]` : hostname;
  return `-j DNAT --to-destination ${where}:${port}`;
}
