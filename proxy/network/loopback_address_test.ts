import assert from "node:assert/strict";
import {
  type AddressState,
  type Claimant,
  claimCommands,
  findAddress,
  findAddress6,
  type HostAddress,
  releaseCommands,
} from "./loopback_address.ts";

const ADDRESS = "169.254.170.2";

const LOOPBACK: HostAddress[] = [
  { name: "lo", cidr: "127.0.0.1/8" },
  { name: "lo", cidr: "::1/128" },
  { name: "eth0", cidr: "192.168.1.7/24" },
];

const ADDRESSES: {
  name: string;
  more: HostAddress[];
  expected: AddressState;
}[] = [
  { name: "nothing of it", more: [], expected: { state: "absent" } },
  {
    name: "our address by its label",
    more: [{ name: "lo:moat", cidr: "169.254.170.2/32" }],
    expected: { state: "ours" },
  },
  {
    name: "that of network-rules by its label",
    more: [{ name: "lo:moat-rules", cidr: "169.254.170.2/32" }],
    expected: { state: "rules" },
  },
  {
    name: "one that both need by its label",
    more: [{ name: "lo:moat-both", cidr: "169.254.170.2/32" }],
    expected: { state: "shared" },
  },
  {
    name: "somebody else's on the loopback device",
    more: [{ name: "lo", cidr: "169.254.170.2/32" }],
    expected: { state: "loopback" },
  },
  {
    name: "somebody else's with a label of theirs",
    more: [{ name: "lo:0", cidr: "169.254.170.2/32" }],
    expected: { state: "loopback" },
  },
  {
    name: "the address on another interface",
    more: [{ name: "ecs0", cidr: "169.254.170.2/32" }],
    expected: { state: "taken", interface: "ecs0", cidr: "169.254.170.2/32" },
  },
  {
    name: "an interface whose name begins as the loopback's",
    more: [{ name: "lower0", cidr: "169.254.170.2/32" }],
    expected: { state: "taken", interface: "lower0", cidr: "169.254.170.2/32" },
  },
  {
    name: "a container network around it",
    more: [{ name: "br-1", cidr: "169.254.170.1/24" }],
    expected: { state: "taken", interface: "br-1", cidr: "169.254.170.1/24" },
  },
  {
    name: "a wider container network around it",
    more: [{ name: "br-1", cidr: "169.254.160.1/20" }],
    expected: { state: "taken", interface: "br-1", cidr: "169.254.160.1/20" },
  },
  {
    name: "a network beside it",
    more: [{ name: "br-1", cidr: "169.254.172.1/22" }],
    expected: { state: "absent" },
  },
  {
    name: "a desktop's link-local network",
    more: [{ name: "eth0", cidr: "169.254.9.9/16" }],
    expected: { state: "absent" },
  },
  {
    name: "a tunnel's own address beside it",
    more: [{ name: "tun0", cidr: "169.254.170.3/32" }],
    expected: { state: "absent" },
  },
  {
    name: "an address that only begins alike",
    more: [{ name: "lo", cidr: "169.254.170.23/32" }],
    expected: { state: "absent" },
  },
];
for (const { name, more, expected } of ADDRESSES) {
  Deno.test(`findAddress() finds ${name}`, () => {
    assert.deepEqual(findAddress([...LOOPBACK, ...more], ADDRESS), expected);
  });
}

const ADDRESSES_6: { name: string; text: string; expected: AddressState }[] = [
  { name: "nobody", text: "", expected: { state: "absent" } },
  {
    name: "ours by its metric",
    text: "1: lo    inet6 fd00:ec2::254/128 metric 1836015988 scope global",
    expected: { state: "rules" },
  },
  {
    name: "somebody else's on the loopback device",
    text: "1: lo    inet6 fd00:ec2::254/128 scope global",
    expected: { state: "loopback" },
  },
  {
    name: "somebody else's with a metric of theirs",
    text: "1: lo    inet6 fd00:ec2::254/128 metric 18360159880 scope global",
    expected: { state: "loopback" },
  },
  {
    name: "another interface's",
    text: "7: br0    inet6 fd00:ec2::254/64 scope global",
    expected: {
      state: "taken",
      interface: "br0",
      cidr: "fd00:ec2::254/64",
    },
  },
];
for (const { name, text, expected } of ADDRESSES_6) {
  Deno.test(`findAddress6() finds ${name}`, () => {
    assert.deepEqual(findAddress6(text), expected);
  });
}

const LABELLED: Record<string, AddressState["state"]> = {
  "": "absent",
  "lo:moat": "ours",
  "lo:moat-rules": "rules",
  "lo:moat-both": "shared",
  "lo": "loopback",
};

/** What `ip` would leave, as states. */
function after(
  from: AddressState["state"],
  commands: ReturnType<typeof claimCommands>,
): AddressState["state"] | undefined {
  return commands.reduce<AddressState["state"] | undefined>(
    (state, command) => {
      const label = LABELLED[command.at(-1) ?? ""];
      if (command[2] === "add") return state === "absent" ? label : undefined;
      return state === label ? "absent" : undefined;
    },
    from,
  );
}

const CLAIMS: {
  from: AddressState["state"];
  claimant: Claimant;
  claimed: AddressState["state"];
  released: AddressState["state"];
}[] = [
  { from: "absent", claimant: "ours", claimed: "ours", released: "absent" },
  { from: "absent", claimant: "rules", claimed: "rules", released: "absent" },
  { from: "ours", claimant: "ours", claimed: "ours", released: "absent" },
  { from: "ours", claimant: "rules", claimed: "shared", released: "ours" },
  { from: "rules", claimant: "ours", claimed: "shared", released: "rules" },
  { from: "rules", claimant: "rules", claimed: "rules", released: "absent" },
  { from: "shared", claimant: "ours", claimed: "shared", released: "rules" },
  { from: "shared", claimant: "rules", claimed: "shared", released: "ours" },
  {
    from: "loopback",
    claimant: "rules",
    claimed: "loopback",
    released: "loopback",
  },
];
for (const { from, claimant, claimed, released } of CLAIMS) {
  Deno.test(`claimCommands() makes ${claimed} of ${from} for ${claimant}`, () => {
    const commands = claimCommands(
      ADDRESS,
      { state: from } as AddressState,
      claimant,
    );
    assert.equal(after(from, commands), claimed);
  });
  Deno.test(`releaseCommands() makes ${released} of ${from} for ${claimant}`, () => {
    const commands = releaseCommands(
      ADDRESS,
      { state: from } as AddressState,
      claimant,
    );
    assert.equal(after(from, commands), released);
  });
}
