/**
 * `moat network setup`, `remove` and `show`: the address 169.254.170.2 of this
 * host. What is done and why is in `../network/link_local.ts`; this module asks the
 * system and runs commands.
 *
 * @module
 */

import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { columns } from "$core/cli/help.ts";
import type { Output } from "$core/cli/output.ts";
import {
  ASK_GUARD,
  checkSystem,
  findListener,
  type GuardState,
  hasCapability,
  LINK_LOCAL_ADDRESS,
  LINK_LOCAL_PORT,
  type NetworkFacts,
  nextStep,
  removeCommands,
  setupCommands,
} from "../network/link_local.ts";
import { type AddressState, findAddress } from "../network/loopback_address.ts";
import {
  inspectRules,
  mayChangeNetwork,
  printOrRun,
  readProc,
} from "./change_network.ts";

/** What setup and remove depend on. */
interface Host {
  readonly address: AddressState;
  readonly guard: GuardState;
  /** Whether this process may change addresses. */
  readonly isAdmin: boolean;
}

/** Prints or runs the commands that give this host the address. */
export async function setup(
  { output }: CommandContext,
  args: Arguments,
): Promise<number> {
  const host = await inspectHost();
  const commands = setupCommands(host.address, host.guard);
  noteWhatIsThere(output, host);
  await printOrRun(output, commands, {
    command: "network setup",
    apply: args.flags["apply"] === true,
    isAdmin: host.isAdmin,
  });
  if (args.flags["apply"] || commands.length === 0) {
    output.note("next: moat network show");
  }
  return 0;
}

/** Prints or runs the commands that undo the setup. */
export async function remove(
  { output }: CommandContext,
  args: Arguments,
): Promise<number> {
  const host = await inspectHost();
  const commands = removeCommands(host.address, host.guard);
  if (host.address.state === "ours") {
    output.warn(
      `containers that go on asking ${LINK_LOCAL_ADDRESS} then send their ` +
        "token to this host's router: unbind them first",
    );
  } else {
    const { state } = host.address;
    const where = state === "taken" ? host.address.interface : "lo";
    const why = state === "rules" || state === "shared"
      ? "is of moat network-rules, too"
      : "is not moat's";
    output.note(
      state === "absent"
        ? `${LINK_LOCAL_ADDRESS} is not on this host`
        : `${LINK_LOCAL_ADDRESS} on ${where} ${why}: left alone`,
    );
  }
  await printOrRun(output, commands, {
    command: "network remove",
    apply: args.flags["apply"] === true,
    isAdmin: host.isAdmin,
  });
  return 0;
}

/**
 * Tells what is there. The JSON has `address` (`state`: absent, ours, rules,
 * shared, loopback or taken, then with `interface` and `cidr`), `guard` (present, absent,
 * unknown or unavailable), `listener` (an address and port, or null),
 * `lowPorts` and `next` (a command line).
 */
export async function show({ output }: CommandContext): Promise<number> {
  const { address, guard } = await inspectHost();
  const [tcp, tcp6] = await Promise.all([
    readProc("net/tcp"),
    readProc("net/tcp6"),
  ]);
  const facts = {
    address,
    guard,
    listener: findListener(tcp, tcp6),
    lowPorts: await mayListenLow(),
  };
  const next = nextStep(facts);
  output.data(
    { ...facts, listener: facts.listener ?? null, next },
    columns([...factRows(facts), ["next", next]]),
  );
  return 0;
}

function factRows(
  { address, guard, listener, lowPorts }: NetworkFacts,
): [string, string][] {
  const places: Record<AddressState["state"], string> = {
    absent: "not on this host",
    ours: "on lo, by moat network setup",
    rules: "on lo, by moat network-rules",
    shared: "on lo, by moat network setup and moat network-rules",
    loopback: "on lo, not by moat",
    taken: address.state === "taken"
      ? `taken: ${address.interface} has ${address.cidr}`
      : "",
  };
  const guards: Record<GuardState, string> = {
    present: "other machines are kept out",
    absent: "not there: other machines could reach the address",
    unknown: "unknown: only root can tell",
    unavailable: "not there: nft is not installed",
  };
  const isOther = listener && !listener.startsWith(LINK_LOCAL_ADDRESS);
  return [
    [LINK_LOCAL_ADDRESS, places[address.state]],
    ["guard", guards[guard]],
    [
      "listener",
      (listener ?? "none") + (isOther ? ", moat or another program" : ""),
    ],
    [
      `port ${LINK_LOCAL_PORT}`,
      lowPorts ? "you may listen there" : "you may not listen there",
    ],
  ];
}

function noteWhatIsThere(output: Output, { address, guard }: Host): void {
  if (address.state !== "absent" && address.state !== "taken") {
    output.note(`${LINK_LOCAL_ADDRESS} is on lo already`);
  }
  if (guard === "present") output.note("other machines are kept out already");
  if (guard === "unavailable") {
    output.warn(
      `other machines on this host's networks can reach ${LINK_LOCAL_ADDRESS}: ` +
        "install nftables, then run moat network setup again",
    );
  }
}

async function inspectHost(): Promise<Host> {
  checkSystem(Deno.build.os);
  const isAdmin = await mayChangeNetwork();
  return {
    address: findAddress(Deno.networkInterfaces(), LINK_LOCAL_ADDRESS),
    guard: await inspectRules(ASK_GUARD, isAdmin),
    isAdmin,
  };
}

async function mayListenLow(): Promise<boolean> {
  const [first, status] = await Promise.all([
    readProc("sys/net/ipv4/ip_unprivileged_port_start"),
    readProc(`${Deno.pid}/status`),
  ]);
  return LINK_LOCAL_PORT >= Number(first || 1024) ||
    hasCapability(status, "netBindService");
}
