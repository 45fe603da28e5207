import assert from "node:assert/strict";
import fc from "fast-check";
import {
  checkLocal,
  checkMachine,
  exposedTargets,
  type Lead,
  leadsTo,
  loopbackAddresses,
  nextCommand,
} from "./rules.ts";
import { hasChain, interfacePatterns, setIptables } from "./rules_iptables.ts";

const [IMDS, IMDS_6, ECS] = [
  "169.254.169.254",
  "fd00:ec2::254",
  "169.254.170.2",
];

/** As `FROM>TO`. */
function spell(leads: readonly Lead[]): string[] {
  return leads.map(({ from, to }) =>
    `${from}>${to.hostname ?? "any"},${to.port}`
  );
}

const OWN = `${ECS}>${ECS},80`;

const LEADS: { name: string; to: string[]; expect: string[] }[] = [
  {
    name: "both families to themselves by default",
    to: [],
    expect: [`${IMDS}>${IMDS},80`, `${IMDS_6}>${IMDS_6},80`, OWN],
  },
  {
    name: "both families to another port of the address",
    to: [`${IMDS}:8169`],
    expect: [`${IMDS}>${IMDS},8169`, `${IMDS_6}>${IMDS_6},8169`, OWN],
  },
  {
    name: "IPv4 alone to an address of IPv4",
    to: [`${ECS}:8169`],
    expect: [`${IMDS}>${ECS},8169`, OWN],
  },
  {
    name: "IPv6 alone to an address of IPv6, in its shortest spelling",
    to: ["[FD79:0::1]:81"],
    expect: [`${IMDS_6}>fd79::1,81`, OWN],
  },
  {
    name: "each family to its own",
    to: ["10.0.0.1:81", "[fd79::1]:82"],
    expect: [`${IMDS}>10.0.0.1,81`, `${IMDS_6}>fd79::1,82`, OWN],
  },
  {
    name: "both to all addresses",
    to: [":8000"],
    expect: [`${IMDS}>any,8000`, `${IMDS_6}>any,8000`, OWN],
  },
];
for (const { name, to, expect } of LEADS) {
  Deno.test(`leadsTo() leads ${name}`, () => {
    assert.deepEqual(spell(leadsTo(to, true)), expect);
  });
}

Deno.test("leadsTo() leads IPv4 alone on a host without IPv6", () => {
  assert.deepEqual(spell(leadsTo([], false)), [`${IMDS}>${IMDS},80`, OWN]);
});

const UNUSABLE: { to: string[]; message: RegExp }[] = [
  { to: [""], message: /wanted ADDR:PORT or :PORT/ },
  { to: ["10.0.0.1"], message: /wanted ADDR:PORT/ },
  { to: ["10.0.0.256:80"], message: /wanted ADDR:PORT/ },
  { to: ["fd79::1:80"], message: /wanted ADDR:PORT/ },
  { to: ["[10.0.0.1]:80"], message: /wanted ADDR:PORT/ },
  { to: [":0"], message: /wanted ADDR:PORT/ },
  { to: [":65536"], message: /wanted ADDR:PORT/ },
  { to: ["host.example:80"], message: /wanted ADDR:PORT/ },
  { to: ["0.0.0.0:8000"], message: /stands for all addresses/ },
  { to: ["[::]:8000"], message: /stands for all addresses/ },
  { to: ["127.0.0.1:8000"], message: /route_localnet/ },
  { to: ["127.9.9.9:8000"], message: /route_localnet/ },
  { to: ["[::1]:8000"], message: /route_localnet/ },
  { to: ["[::ffff:127.0.0.1]:8000"], message: /route_localnet/ },
  { to: ["[fe80::1]:80"], message: /needs no interface/ },
  { to: ["[ff02::1]:80"], message: /needs no interface/ },
  { to: ["[::ffff:10.0.0.1]:80"], message: /needs no interface/ },
  { to: ["224.0.0.1:80"], message: /needs no interface/ },
  { to: ["255.255.255.255:80"], message: /needs no interface/ },
  { to: ["10.0.0.1:80", "10.0.0.2:80"], message: /another --to does/ },
  { to: [":8000", "10.0.0.2:80"], message: /another --to does/ },
];
for (const { to, message } of UNUSABLE) {
  Deno.test(`leadsTo() refuses ${JSON.stringify(to)}`, () => {
    assert.throws(() => leadsTo(to, true), { code: "usage", message });
  });
}

Deno.test("loopbackAddresses() names the metadata addresses by default", () => {
  const found = loopbackAddresses(leadsTo([], true));
  assert.deepEqual(found, [IMDS, IMDS_6, ECS]);
});

Deno.test("loopbackAddresses() leaves the metadata address out with another", () => {
  assert.deepEqual(loopbackAddresses(leadsTo([":8000"], true)), [ECS]);
});

Deno.test("checkLocal() takes an address of this host", () => {
  const leads = leadsTo(["10.0.0.1:80"], true);
  assert.doesNotThrow(() => checkLocal(leads, ["10.0.0.1"]));
});

Deno.test("checkLocal() refuses one of another machine", () => {
  const leads = leadsTo(["10.0.0.2:80"], true);
  assert.throws(() => checkLocal(leads, ["10.0.0.1"]), {
    code: "address-unavailable",
  });
});

Deno.test("exposedTargets() names a listener on all addresses once", () => {
  const found = exposedTargets(leadsTo([":8000"], true));
  assert.deepEqual(found, [{ port: 8000 }]);
});

Deno.test("exposedTargets() leaves out what is kept from others anyway", () => {
  assert.deepEqual(exposedTargets(leadsTo([`${ECS}:8169`], true)), []);
});

const CLOUDS: { machine: string; cloud: string }[] = [
  { machine: "Amazon EC2\nt3.micro\nAmazon EC2\n1.0\n", cloud: "Amazon EC2" },
  { machine: "Xen\nHVM domU\nXen\n4.11.amazon\n", cloud: "4.11.amazon" },
  {
    machine: "Google\nGoogle Compute Engine\nGoogle\n",
    cloud: "Google Compute Engine",
  },
  {
    machine: "Microsoft Corporation\nVirtual Machine\n",
    cloud: "Microsoft Corporation",
  },
  {
    machine: "OpenStack Foundation\nOpenStack Nova\n",
    cloud: "OpenStack Foundation",
  },
  { machine: "DigitalOcean\nDroplet\n", cloud: "DigitalOcean" },
  { machine: "Alibaba Cloud\nAlibaba Cloud ECS\n", cloud: "Alibaba Cloud" },
  {
    machine: "QEMU\nStandard PC\nSeaBIOS\n1\nOracleCloud.com\n",
    cloud: "OracleCloud.com",
  },
];
for (const { machine, cloud } of CLOUDS) {
  Deno.test(`checkMachine() refuses a machine of ${cloud}`, () => {
    assert.throws(() => checkMachine(machine), {
      code: "cloud-host",
      message: new RegExp(`found a machine of "${cloud}"$`),
      hint: /--to 169\.254\.170\.2:8169/,
    });
  });
}

for (
  const machine of [
    "",
    "LENOVO\n20XW\nLENOVO\n",
    "QEMU\nStandard PC (Q35 + ICH9, 2009)\nSeaBIOS\n",
    "innotek GmbH\nVirtualBox\ninnotek GmbH\n",
    "Google\nEve\ncoreboot\n",
    "Microsoft Corporation\nSurface Laptop 4\n",
  ]
) {
  Deno.test(`checkMachine() takes ${JSON.stringify(machine)}`, () => {
    assert.doesNotThrow(() => checkMachine(machine));
  });
}

const NEXT: { to: string[]; command: string }[] = [
  {
    to: [],
    command: `moat proxy --imds ${IMDS}:80 --imds '[${IMDS_6}]:80'`,
  },
  { to: [`${ECS}:8169`], command: `moat proxy --imds ${ECS}:8169` },
  {
    to: [":8000"],
    command:
      "moat proxy --imds 0.0.0.0:8000, or PORT=8000 moat metadata-proxy --strict",
  },
];
for (const { to, command } of NEXT) {
  Deno.test(`nextCommand() names ${command}`, () => {
    assert.equal(nextCommand(leadsTo(to, true)), command);
  });
}

const LINKS = `3: docker0: <UP> mtu 1500
4: br-d180d436e9c4: <UP> mtu 1500
5: virbr0: <UP> mtu 1500
6: calif00@if2: <UP> mtu 1500
7: veth12@if2: <UP> mtu 1500
`;

Deno.test("interfacePatterns() adds what no engine names so", () => {
  const added = interfacePatterns(LINKS).filter((name) => !name.endsWith("+"));
  assert.deepEqual(added, ["calif00", "virbr0"]);
});

Deno.test("interfacePatterns() gives no name that a shell could misread", () => {
  fc.assert(fc.property(fc.string(), (name) => {
    const found = interfacePatterns(`9: ${name}: <UP>\n`);
    return found.every((pattern) => /^[\w.-]+\+?$/.test(pattern));
  }));
});

Deno.test("hasChain() sees ours alone", () => {
  const saved = [":DOCKER - [0:0]", ":MOAT-METADATA - [0:0]"];
  assert.deepEqual(saved.map(hasChain), [false, true]);
});

Deno.test("setIptables() fills the chains before it jumps to them", () => {
  const commands = setIptables("iptables", leadsTo([], true), ["br-+"]);
  const found = commands.map((line) =>
    /-restore|--table \w+ -C/.exec(line[2] ?? "")?.[0]
  );
  assert.deepEqual(found, [
    "-restore",
    "--table raw -C",
    "--table mangle -C",
    "--table nat -C",
  ]);
});

for (const family of ["iptables", "ip6tables"] as const) {
  Deno.test(`setIptables() gives ${family} no address of the other family`, () => {
    const text = setIptables(family, leadsTo([], true), ["br-+"]).join(" ");
    const other = family === "iptables" ? /fd00:/ : /169\.254/;
    assert.doesNotMatch(text, other);
  });
}
