/**
 * `moat network-rules`: leads containers from the addresses of instance
 * metadata to moat. What is done and why is in `../network/rules.ts`; this
 * module asks the system and runs commands.
 *
 * @module
 */

import type { Arguments, CommandContext } from "$core/cli/command.ts";
import type { Output } from "$core/cli/output.ts";
import { usageError } from "$core/errors.ts";
import type { FlagValues } from "$core/provider.ts";
import { checkSystem, LINK_LOCAL_ADDRESS } from "../network/link_local.ts";
import {
  type AddressState,
  askAddress6,
  checkFree,
  claimCommands,
  type CommandLine,
  findAddress,
  findAddress6,
  releaseCommands,
} from "../network/loopback_address.ts";
import {
  checkLocal,
  checkMachine,
  isSix,
  type Lead,
  leadsTo,
  loopbackAddresses,
  MACHINE_FILES,
  METADATA_ADDRESS,
  METADATA_ADDRESS_6,
  nextCommand,
} from "../network/rules.ts";
import {
  ASK_INTERFACES,
  askIptables,
  type Family,
  hasChain,
  interfacePatterns,
  removeIptables,
  setIptables,
} from "../network/rules_iptables.ts";
import { ASK_NFT, REMOVE_NFT, setNft } from "../network/rules_nft.ts";
import {
  inspectRules,
  mayChangeNetwork,
  printOrRun,
  readProc,
  textOf,
} from "./change_network.ts";

/** What sets rules. */
type Backend = "nft" | "iptables";

const ADDRESSES = [METADATA_ADDRESS, METADATA_ADDRESS_6, LINK_LOCAL_ADDRESS];

const FAMILIES: readonly Family[] = ["iptables", "ip6tables"];

/** Prints, sets or removes rules and addresses. */
export async function run(
  { output }: CommandContext,
  { flags }: Arguments,
): Promise<number> {
  checkSystem(Deno.build.os, "the addresses of instance metadata");
  const isAdmin = await mayChangeNetwork();
  if (flags["remove"]) return await remove(output, flags, isAdmin);
  const values = (flags["to"] ?? []) as string[];
  const hasSix =
    (await readProc("sys/net/ipv6/conf/lo/disable_ipv6")).trim() === "0";
  const leads = leadsTo(values, hasSix);
  const own = Deno.networkInterfaces();
  checkLocal(leads, own.map(({ address }) => address));
  const claims = await claim(loopbackAddresses(leads));
  const backend = await chooseBackend(flags);
  const rules = backend === "nft"
    ? [setNft(leads), ...await removals(["iptables", "ip6tables"], isAdmin)]
    : [
      ...await iptablesRules(output, leads, hasSix),
      ...await removals(["nft"], isAdmin),
    ];
  const command = [
    "network-rules",
    ...values.map((to) => `--to ${to}`),
    ...("backend" in flags ? [`--backend ${backend}`] : []),
  ];
  await printOrRun(output, [...rules, ...claims], {
    command: command.join(" "),
    apply: flags["apply"] === true,
    isAdmin,
  });
  if (flags["apply"]) output.note(`next: ${nextCommand(leads)}`);
  return 0;
}

async function claim(
  addresses: readonly string[],
): Promise<readonly CommandLine[]> {
  const commands: CommandLine[] = [];
  for (const address of addresses) {
    const state = await stateOf(address);
    const instead = address === METADATA_ADDRESS
      ? `give --to ${LINK_LOCAL_ADDRESS}:8169`
      : "do without moat network-rules";
    checkFree(address, state, instead);
    if (address === METADATA_ADDRESS && state.state === "absent") {
      checkMachine(await textOf(["cat", ...MACHINE_FILES]));
    }
    commands.push(...claimCommands(address, state, "rules"));
  }
  return commands;
}

async function stateOf(address: string): Promise<AddressState> {
  return isSix(address)
    ? findAddress6(await textOf(askAddress6(address)))
    : findAddress(Deno.networkInterfaces(), address);
}

async function chooseBackend(flags: FlagValues): Promise<Backend> {
  const named = flags["backend"];
  if (named === "nft" || named === "iptables") return named;
  if (named !== undefined) {
    throw usageError(
      `Cannot use --backend ${JSON.stringify(named)}: wanted nft or iptables`,
      "leave it out: moat finds what this host has",
    );
  }
  const states = await Promise.all(
    ["nft", "iptables"].map((program) => inspectRules([program], false)),
  );
  const [nft, iptables] = states.map((state) => state !== "unavailable");
  return nft || !iptables ? "nft" : "iptables";
}

async function iptablesRules(
  output: Output,
  leads: readonly Lead[],
  hasSix: boolean,
): Promise<readonly CommandLine[]> {
  const links = await Promise.all(ASK_INTERFACES.map(textOf));
  const interfaces = interfacePatterns(links.join("\n"));
  const state = await inspectRules(["ip6tables"], false);
  if (hasSix && state === "unavailable") {
    output.warn(
      "containers with IPv6 may reach instance metadata round moat: " +
        "install ip6tables or nftables, then run moat network-rules again",
    );
  }
  const families = FAMILIES.filter((family) =>
    family === "iptables" || hasSix && state !== "unavailable"
  );
  return families.flatMap((family) => setIptables(family, leads, interfaces));
}

/** What removes rules that are there, as far as this user can see them. */
async function removals(
  programs: readonly (Family | "nft")[],
  isAdmin: boolean,
): Promise<readonly CommandLine[]> {
  if (!isAdmin) return [];
  const commands: CommandLine[] = [];
  for (const program of programs) {
    if (program === "nft") {
      const isThere = await inspectRules(ASK_NFT, true) === "present";
      if (isThere) commands.push(REMOVE_NFT);
    } else if (hasChain(await textOf(askIptables(program)))) {
      commands.push(...removeIptables(program));
    }
  }
  return commands;
}

async function remove(
  output: Output,
  flags: FlagValues,
  isAdmin: boolean,
): Promise<number> {
  const other = ["apply", "to", "backend"].find((flag) => flag in flags);
  if (other !== undefined) {
    throw usageError(
      `Cannot combine --remove with --${other}`,
      "moat network-rules --remove removes whatever moat has set",
    );
  }
  const commands: CommandLine[] = [];
  for (const address of ADDRESSES) {
    const state = await stateOf(address);
    commands.push(...releaseCommands(address, state, "rules"));
  }
  commands.push(...await removals(["nft", ...FAMILIES], isAdmin));
  const command = "network-rules --remove";
  const hint = `sudo moat ${command}`;
  if (!isAdmin) commands.push(REMOVE_NFT);
  await printOrRun(output, commands, { command, apply: true, isAdmin, hint });
  if (commands.length > 0) {
    output.warn(
      "containers now reach what this host's routes lead to at " +
        METADATA_ADDRESS,
    );
  }
  return 0;
}
