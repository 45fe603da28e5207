import assert from "node:assert/strict";
import {
  checkSystem,
  findListener,
  type GuardState,
  hasCapability,
  type NetworkFacts,
  nextStep,
  removeCommands,
  setupCommands,
} from "./link_local.ts";
import type { AddressState } from "./loopback_address.ts";

const PROGRAMS: {
  address: AddressState["state"];
  guard: GuardState;
  setup: string[];
  remove: string[];
}[] = [
  { address: "absent", guard: "absent", setup: ["nft", "ip"], remove: [] },
  { address: "absent", guard: "present", setup: ["ip"], remove: ["nft"] },
  {
    address: "absent",
    guard: "unknown",
    setup: ["nft", "ip"],
    remove: ["nft"],
  },
  { address: "absent", guard: "unavailable", setup: ["ip"], remove: [] },
  { address: "ours", guard: "absent", setup: ["nft"], remove: ["ip"] },
  { address: "ours", guard: "present", setup: [], remove: ["ip", "nft"] },
  {
    address: "rules",
    guard: "absent",
    setup: ["nft", "ip", "ip"],
    remove: [],
  },
  {
    address: "shared",
    guard: "present",
    setup: [],
    remove: ["ip", "ip", "nft"],
  },
  { address: "loopback", guard: "absent", setup: ["nft"], remove: [] },
  { address: "loopback", guard: "present", setup: [], remove: ["nft"] },
];
for (const { address: state, guard, setup, remove } of PROGRAMS) {
  const where = `address ${state} and guard ${guard}`;
  const address = { state } as AddressState;
  Deno.test(`setupCommands() does what is missing with ${where}`, () => {
    const programs = setupCommands(address, guard).map(([program]) => program);
    assert.deepEqual(programs, setup);
  });
  Deno.test(`removeCommands() undoes only what is ours with ${where}`, () => {
    const programs = removeCommands(address, guard).map(([program]) => program);
    assert.deepEqual(programs, remove);
  });
}

const TAKEN: AddressState = {
  state: "taken",
  interface: "br-1",
  cidr: "169.254.170.1/24",
};

Deno.test("setupCommands() refuses an address of somebody else, naming it", () => {
  assert.throws(() => setupCommands(TAKEN, "absent"), {
    code: "address-taken",
    message: /found 169\.254\.170\.1\/24 on "br-1"/,
  });
});

Deno.test("removeCommands() leaves an address of somebody else alone", () => {
  assert.deepEqual(removeCommands(TAKEN, "absent"), []);
});

Deno.test("removeCommands() names our label, so that no other address goes", () => {
  const [command = []] = removeCommands({ state: "ours" }, "absent");
  assert.deepEqual(command.slice(-2), ["label", "lo:moat"]);
});

/** A table of the kernel, as `/proc/net/tcp` shows it. */
function table(...rows: [local: string, state: string][]): string {
  const head = "  sl  local_address rem_address   st tx_queue rx_queue";
  const lines = rows.map(([local, state], i) =>
    `${String(i).padStart(4)}: ${local} 00000000:0000 ${state} 00000000:0 ...`
  );
  return [head, ...lines, ""].join("\n");
}

const LISTENERS: {
  name: string;
  tcp?: string;
  tcp6?: string;
  expected: string | undefined;
}[] = [
  { name: "none", expected: undefined },
  {
    name: "one on the address",
    tcp: table(["02AAFEA9:0050", "0A"]),
    expected: "169.254.170.2:80",
  },
  {
    name: "one on all IPv4 addresses",
    tcp: table(["00000000:0050", "0A"]),
    expected: "0.0.0.0:80",
  },
  {
    name: "one on all IPv6 addresses",
    tcp6: table([`${"0".repeat(32)}:0050`, "0A"]),
    expected: "[::]:80",
  },
  {
    name: "one on the address in IPv6 spelling",
    tcp6: table(["0000000000000000FFFF000002AAFEA9:0050", "0A"]),
    expected: "169.254.170.2:80",
  },
  {
    name: "the nearest of two",
    tcp: table(["00000000:0050", "0A"], ["02AAFEA9:0050", "0A"]),
    expected: "169.254.170.2:80",
  },
  {
    name: "none in a connection",
    tcp: table(["02AAFEA9:0050", "01"]),
    expected: undefined,
  },
  {
    name: "none on another port",
    tcp: table(["02AAFEA9:1F90", "0A"]),
    expected: undefined,
  },
  {
    name: "none on another address",
    tcp: table(["0100007F:0050", "0A"]),
    expected: undefined,
  },
];
for (const { name, tcp = table(), tcp6 = "", expected } of LISTENERS) {
  Deno.test(`findListener() finds ${name}`, () => {
    assert.equal(findListener(tcp, tcp6), expected);
  });
}

const STATUS = (mask: string) => `Name:\tmoat\nCapEff:\t${mask}\nSeccomp:\t0\n`;

Deno.test("hasCapability() sees root's", () => {
  assert.equal(hasCapability(STATUS("000001fffeffffff"), "netAdmin"), true);
});

Deno.test("hasCapability() sees a single one, and no other", () => {
  const status = STATUS("0000000000000400");
  const found = (["netBindService", "netAdmin"] as const)
    .map((capability) => hasCapability(status, capability));
  assert.deepEqual(found, [true, false]);
});

Deno.test("hasCapability() takes silence for no", () => {
  assert.equal(hasCapability("", "netAdmin"), false);
});

const GOOD: NetworkFacts = {
  address: { state: "ours" },
  guard: "present",
  listener: undefined,
  lowPorts: true,
};
const STEPS: { name: string; facts: Partial<NetworkFacts>; step: RegExp }[] = [
  {
    name: "the setup",
    facts: { address: { state: "absent" } },
    step: /^moat network setup/,
  },
  {
    name: "the setup again without guard",
    facts: { guard: "absent" },
    step: /^moat network setup/,
  },
  {
    name: "another mode when it is taken",
    facts: { address: TAKEN, listener: "0.0.0.0:80" },
    step: /--mode process/,
  },
  {
    name: "the right to port 80",
    facts: { lowPorts: false },
    step: /ip_unprivileged_port_start=80/,
  },
  {
    name: "the proxy",
    facts: {},
    step: /^moat proxy .*--listen 169\.254\.170\.2:80$/,
  },
  {
    name: "a binding",
    facts: { listener: "169.254.170.2:80", lowPorts: false },
    step: /^moat bind .*--mode ecs-relative/,
  },
];
for (const { name, facts, step } of STEPS) {
  Deno.test(`nextStep() names ${name}`, () => {
    assert.match(nextStep({ ...GOOD, ...facts }), step);
  });
}

Deno.test("checkSystem() refuses systems whose containers live in a virtual machine", () => {
  assert.throws(() => checkSystem("darwin"), {
    code: "not-supported",
    message: /wanted Linux, found darwin/,
    hint: /--mode process/,
  });
});

Deno.test("checkSystem() takes Linux", () => {
  assert.doesNotThrow(() => checkSystem("linux"));
});
