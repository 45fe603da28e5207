/**
 * `moat network setup`, `remove` and `show`: the address 169.254.170.2 of this
 * host. What is done and why is in `../link_local.ts`; this module asks the
 * system and runs commands.
 *
 * @module
 */

import type { Arguments, CommandContext } from "$core/cli/command.ts";
import { columns } from "$core/cli/help.ts";
import type { Output } from "$core/cli/output.ts";
import { MoatError } from "$core/errors.ts";
import { shellWord } from "$core/text.ts";
import {
  type AddressState,
  ASK_GUARD,
  checkSystem,
  type CommandLine,
  findAddress,
  findListener,
  type GuardState,
  hasCapability,
  LINK_LOCAL_ADDRESS,
  LINK_LOCAL_PORT,
  type NetworkFacts,
  nextStep,
  removeCommands,
  setupCommands,
} from "../link_local.ts";

/** None of the commands waits for anything. */
const TIMEOUT_MS = 10_000;

/** Where system programs are, though not always on the PATH of a user. */
const FOLDERS = ["/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/", ""];

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
  await printOrRun(output, "setup", commands, host, args);
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
    output.note(
      state === "absent"
        ? `${LINK_LOCAL_ADDRESS} is not on this host`
        : `${LINK_LOCAL_ADDRESS} on ${where} is not moat's: left alone`,
    );
  }
  await printOrRun(output, "remove", commands, host, args);
  return 0;
}

/**
 * Tells what is there. The JSON has `address` (`state`: absent, ours, loopback
 * or taken, then with `interface` and `cidr`), `guard` (present, absent,
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
  if (address.state === "ours" || address.state === "loopback") {
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

async function printOrRun(
  output: Output,
  verb: "setup" | "remove",
  commands: readonly CommandLine[],
  host: Host,
  { flags }: Arguments,
): Promise<void> {
  if (commands.length === 0) return output.note("nothing to do");
  if (!flags["apply"]) {
    output.text(commands.map((line) => asTyped(line) + "\n").join(""));
    output.note(
      `nothing was changed; next: moat network ${verb} ` +
        (host.isAdmin ? "--apply" : "| sudo sh"),
    );
    return;
  }
  if (!host.isAdmin) {
    throw new MoatError(
      "not-permitted",
      "Cannot change this host's network: wanted root or CAP_NET_ADMIN, " +
        `found user ${Deno.uid()}`,
      { hint: `moat network ${verb} | sudo sh` },
    );
  }
  for (const line of commands) await runCommand(output, line);
}

async function runCommand(output: Output, line: CommandLine): Promise<void> {
  const result = await execute(line);
  if (result?.success) return output.note(`ran: ${asTyped(line)}`);
  const lines = result ? new TextDecoder().decode(result.stderr).trim() : "";
  throw new MoatError(
    "network-failed",
    `Cannot change this host's network: ${line[0]} failed: ` +
      (result ? lines.split("\n")[0] || `exit ${result.code}` : "not found"),
    { hint: `run it yourself: ${asTyped(line)}` },
  );
}

function asTyped(line: CommandLine): string {
  return line.map(shellWord).join(" ");
}

async function inspectHost(): Promise<Host> {
  checkSystem(Deno.build.os);
  const status = await readProc(`${Deno.pid}/status`);
  const isAdmin = hasCapability(status, "netAdmin");
  return {
    address: findAddress(Deno.networkInterfaces()),
    guard: await inspectGuard(isAdmin),
    isAdmin,
  };
}

async function inspectGuard(isAdmin: boolean): Promise<GuardState> {
  const result = await execute(isAdmin ? ASK_GUARD : ["nft", "--version"]);
  if (!result) return "unavailable";
  if (!isAdmin) return "unknown";
  return result.success ? "present" : "absent";
}

async function mayListenLow(): Promise<boolean> {
  const [first, status] = await Promise.all([
    readProc("sys/net/ipv4/ip_unprivileged_port_start"),
    readProc(`${Deno.pid}/status`),
  ]);
  return LINK_LOCAL_PORT >= Number(first || 1024) ||
    hasCapability(status, "netBindService");
}

/** Below /proc the runtime itself reads only with all permissions. */
async function readProc(path: string): Promise<string> {
  const result = await execute(["cat", `/proc/${path}`]);
  return result?.success ? new TextDecoder().decode(result.stdout) : "";
}

/** Runs a program to its end; undefined if there is none that can be run. */
async function execute(
  [program, ...args]: CommandLine,
): Promise<Deno.CommandOutput | undefined> {
  for (const folder of FOLDERS) {
    try {
      return await new Deno.Command(folder + program, {
        args,
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      }).output();
    } catch (error) {
      const { NotFound, PermissionDenied } = Deno.errors;
      const isMissing = error instanceof NotFound ||
        error instanceof PermissionDenied;
      if (!isMissing) throw error;
    }
  }
  return undefined;
}
