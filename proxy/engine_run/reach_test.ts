import assert from "node:assert/strict";
import { MoatError } from "$core/errors.ts";
import type { Mode } from "$core/provider.ts";
import type { Reach } from "$core/reach.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { parseEngineRun } from "./command_line.ts";
import {
  type AskEngine,
  chooseReach,
  type ContainerReach,
  reachOfHost,
} from "./reach.ts";

/** What an engine answers to `info` and to `network inspect NAME`. */
interface Engine {
  readonly info?: string;
  readonly networks?: Readonly<Record<string, unknown>>;
}

/** What docker on Linux answers; 172.17.0.1 is its usual bridge. */
const DOCKER: Engine = {
  info: 'Debian GNU/Linux 12 ["name=seccomp,profile=default"]\n',
  networks: {
    bridge: [{
      Name: "bridge",
      Driver: "bridge",
      IPAM: { Config: [{ Subnet: "172.17.0.0/16", Gateway: "172.17.0.1" }] },
    }],
    mine: [{
      Driver: "bridge",
      IPAM: {
        Config: [
          { Subnet: "fd01::/64", Gateway: "fd01::1" },
          { Subnet: "172.20.0.0/16", Gateway: "172.20.0.1" },
        ],
      },
    }],
    six: [{ IPAM: { Config: [{ Gateway: "fd01::1" }] } }],
    private: [{ IPAM: { Config: [{ Gateway: "172.21.0.1" }] } }],
    fresh: [{ Options: { "com.docker.network.bridge.name": "lo" } }],
    gone: [{ Options: { "com.docker.network.bridge.name": "no-such0" } }],
    bare: [{ Driver: "bridge", IPAM: { Config: [{ Subnet: "10.1.0.0/16" }] } }],
    vlan: [{ Driver: "macvlan", IPAM: { Config: [{ Gateway: "10.0.0.1" }] } }],
    inner: [{
      Driver: "bridge",
      Internal: true,
      IPAM: { Config: [{ Gateway: "172.22.0.1" }] },
    }],
  },
};

/** Docker whose networks are not this host's. */
const ROOTLESS_DOCKER: Engine = { ...DOCKER, info: 'Debian ["name=rootless"]' };

/** Docker in a virtual machine. */
const DESKTOP: Engine = { info: "Docker Desktop []\n" };

/** What podman as root answers. */
const PODMAN: Engine = {
  info: "false\n",
  networks: {
    podman: [{
      name: "podman",
      driver: "bridge",
      subnets: [{ subnet: "10.88.0.0/16", gateway: "10.88.0.1" }],
    }],
    mine: [{
      driver: "bridge",
      subnets: [{ gateway: "fd02::1" }, { gateway: "10.89.0.1" }],
    }],
    vlan: [{ driver: "macvlan", subnets: [{ gateway: "10.0.0.1" }] }],
    inner: [{
      driver: "bridge",
      internal: true,
      subnets: [{ gateway: "10.90.0.1" }],
    }],
  },
};

/** podman whose networks are not this host's. */
const ROOTLESS_PODMAN: Engine = { ...PODMAN, info: "true\n" };

function mode(reach: Mode["reach"]): Mode {
  return {
    name: "the-mode",
    summary: "x",
    access: "header",
    needsFiles: false,
    reach,
  };
}

/** Clients that accept us anywhere, on their loopback, or at one address. */
const ANY = mode("any");
const ON_LOOPBACK = mode("loopback");
const AT_ADDRESS = mode({ hostname: "169.254.170.2", port: 80 });

function answers({ info, networks = {} }: Engine): AskEngine {
  return ([verb = "", , name = ""]) => {
    if (verb === "info" && info !== undefined) return Promise.resolve(info);
    const network = Object.hasOwn(networks, name) ? networks[name] : undefined;
    if (verb === "network" && network !== undefined) {
      return Promise.resolve(
        typeof network === "string" ? network : JSON.stringify(network),
      );
    }
    return Promise.reject(new MoatError("engine-failed", "no such network"));
  };
}

async function choose(
  line: string,
  engine: Engine,
  mode: Mode | undefined = ANY,
): Promise<ContainerReach> {
  const run = parseEngineRun(line.split(" "));
  assert(run);
  return await chooseReach(run, mode, answers(engine));
}

/** The way, without why. */
async function reach(line: string, engine: Engine, mode?: Mode) {
  const { reach, options } = await choose(line, engine, mode);
  return { reach, options };
}

function gateway(address: string): { reach: Reach; options: string[] } {
  return {
    reach: { by: "gateway", address },
    options: ["--add-host", `moat-proxy:${address}`],
  };
}

const LOOPBACK = { reach: { by: "loopback" }, options: [] };
const RELAY = { reach: { by: "socket", path: "/", port: 19080 }, options: [] };
const NAME = {
  reach: { by: "name", name: "host.docker.internal" },
  options: [],
};
const ADDRESS = {
  reach: { by: "address", address: "169.254.170.2", port: 80 },
  options: [],
};
const linux = Deno.build.os === "linux" ? undefined : "podman runs in a VM";

const REACHED: { line: string; engine?: Engine; expect: unknown }[] = [
  { line: "docker run img", expect: gateway("172.17.0.1") },
  { line: "docker run --network bridge img", expect: gateway("172.17.0.1") },
  { line: "docker run --network default img", expect: gateway("172.17.0.1") },
  { line: "docker run --network mine img", expect: gateway("172.20.0.1") },
  {
    line: "docker run --network name=mine,alias=a img",
    expect: gateway("172.20.0.1"),
  },
  {
    line: "docker run --network alias=a,name=mine img",
    expect: gateway("172.20.0.1"),
  },
  { line: "docker run --network private img", expect: gateway("172.21.0.1") },
  { line: "docker run --network fresh img", expect: gateway("127.0.0.1") },
  { line: "docker run --network six img", expect: gateway("fd01::1") },
  { line: "docker run --network host img", expect: LOOPBACK },
  { line: "podman run --network host img", engine: {}, expect: LOOPBACK },
  { line: "podman run img", expect: gateway("10.88.0.1") },
  { line: "podman run --network bridge img", expect: gateway("10.88.0.1") },
  { line: "podman run --network default img", expect: gateway("10.88.0.1") },
  { line: "podman run --network private img", expect: gateway("10.88.0.1") },
  { line: "podman run --network podman img", expect: gateway("10.88.0.1") },
  {
    line: "podman run --network bridge:ip=10.88.0.7 img",
    expect: gateway("10.88.0.1"),
  },
  { line: "podman run --network mine img", expect: gateway("10.89.0.1") },
  {
    line: "podman run --network mine:alias=a img",
    expect: gateway("10.89.0.1"),
  },
];

for (const { line, engine, expect } of REACHED) {
  const isPodman = line.startsWith("podman");
  testUnless(
    isPodman ? linux : undefined,
    `chooseReach() finds the way from "${line}"`,
    async () => {
      const known = engine ?? (isPodman ? PODMAN : DOCKER);
      assert.deepEqual(await reach(line, known), expect);
    },
  );
}

/** docker with one network `n`. */
function docker(network: unknown): Engine {
  return { info: "Debian []", networks: { n: network } };
}

/** docker with one network `n` of these IPAM settings. */
function ipam(value: unknown): Engine {
  return docker([{ Driver: "bridge", IPAM: value }]);
}

const ON_N = "docker run --network n img";

/** Where a container can be, and the way from there for each kind of client. */
const PLACES: {
  name: string;
  line: string;
  engine: Engine;
  any: unknown;
  loopback: unknown;
  address: unknown;
}[] = [
  ...([
    ["docker", DOCKER, "172.17.0.1"],
    ["podman", PODMAN, "10.88.0.1"],
  ] as const).flatMap(([program, engine, address]) => [
    {
      name: `a bridge of ${program}`,
      line: `${program} run img`,
      engine,
      any: gateway(address),
      loopback: RELAY,
      address: ADDRESS,
    },
    {
      name: `the host's network of ${program}`,
      line: `${program} run --network host img`,
      engine,
      any: LOOPBACK,
      loopback: LOOPBACK,
      address: ADDRESS,
    },
    ...["none", "inner", "vlan"].map((network) => ({
      name: `the network "${network}" of ${program}`,
      line: `${program} run --network ${network} img`,
      engine,
      any: RELAY,
      loopback: RELAY,
      address: /^usage: .*cannot reach 169\.254\.170\.2 of this host/,
    })),
  ]),
  ...([
    ["docker run img", ROOTLESS_DOCKER],
    ["docker run --network host img", ROOTLESS_DOCKER],
    ["docker run --network mine img", ROOTLESS_DOCKER],
    ["podman run img", ROOTLESS_PODMAN],
    ["podman run --network mine img", ROOTLESS_PODMAN],
  ] as const).map(([line, engine]) => ({
    name: `"${line}", rootless`,
    line,
    engine,
    any: RELAY,
    loopback: RELAY,
    address: /^usage: .*cannot reach 169\.254\.170\.2 of this host/,
  })),
  {
    name: "Docker Desktop",
    line: "docker run --network mine img",
    engine: DESKTOP,
    any: NAME,
    loopback: /^usage: .*Docker Desktop forwards it/,
    address: /^usage: .*cannot reach 169\.254\.170\.2 of this host/,
  },
];

for (const { name, line, engine, any, loopback, address } of PLACES) {
  const cases: [string, Mode | undefined, unknown][] = [
    ["anywhere", ANY, any],
    ["in any way", undefined, any],
    ["on loopback", ON_LOOPBACK, loopback],
    ["at one address", AT_ADDRESS, address],
  ];
  for (const [asks, mode, expect] of cases) {
    testUnless(
      line.startsWith("podman") ? linux : undefined,
      `chooseReach() finds the way from ${name} of a client that asks ${asks}`,
      async () => {
        const found = await reach(line, engine, mode).catch((error) =>
          `${error.code}: ${error.message}`
        );
        if (expect instanceof RegExp) {
          return assert.match(String(found), expect);
        }
        assert.deepEqual(found, expect);
      },
    );
  }
}

/** Ways without a listener that the container could reach. */
const APART: { line: string; engine?: Engine; because: string }[] = [
  ...["docker", "podman"].flatMap((program) => [
    {
      line: `${program} run --network none img`,
      engine: {},
      because: 'it has no network ("none")',
    },
    {
      line: `${program} run --network container:a img`,
      engine: {},
      because: 'it shares the network of others ("container:a")',
    },
    {
      line: `${program} run --network ns:/proc/1/ns/net img`,
      engine: {},
      because: 'it shares the network of others ("ns:/proc/1/ns/net")',
    },
    {
      line: `${program} run --network vlan img`,
      because: 'the network "vlan" is of the kind macvlan',
    },
    {
      line: `${program} run --network inner img`,
      because: 'the network "inner" is internal',
    },
  ]),
  ...["slirp4netns", "slirp4netns:mtu=1", "pasta", "pasta:-t,1"].map((n) => ({
    line: `podman run --network ${n} img`,
    because: "rootless podman keeps this network apart from the host",
  })),
  {
    line: "docker run --network bare img",
    because: 'the network "bare" has no gateway',
  },
  {
    line: "docker run --network gone img",
    because: 'the network "gone" has no gateway',
  },
  ...[
    docker([]),
    docker({}),
    docker([null]),
    docker(["text"]),
    docker([7]),
    docker([{ subnets: "text" }]),
    docker([{ subnets: [null, 1] }]),
    ipam(null),
    ipam("text"),
    ipam({ Config: null }),
    ipam({ Config: "text" }),
    ipam({ Config: {} }),
    ipam({ Config: [null, 3, "10.0.0.1"] }),
    ipam({ Config: [{ Gateway: 7 }] }),
    ipam({ Config: [{ Gateway: "" }] }),
    ipam({ Config: [{ Gateway: "host.example" }] }),
    ipam({ Config: [{ Gateway: "10.0.0.1/16" }] }),
    ipam({ Config: [{ Gateway: "10.0.0.1 --privileged" }] }),
    ipam({ Config: [{ Gateway: "0.0.0.0" }] }),
    ipam({ Config: [{ Gateway: "::" }] }),
  ].map((engine) => ({
    line: ON_N,
    engine,
    because: 'the network "n" has no gateway',
  })),
];

for (const { line, engine, because } of APART) {
  const isPodman = line.startsWith("podman");
  const how = engine?.networks ? ` of ${JSON.stringify(engine.networks)}` : "";
  testUnless(
    isPodman ? linux : undefined,
    `chooseReach() takes a relay for "${line}"${how}`,
    async () => {
      const known = engine ?? (isPodman ? PODMAN : DOCKER);
      const { reach, reason } = await choose(line, known);
      assert.deepEqual([reach.by, reason], [
        "socket",
        `by a relay on its own loopback, because ${because}`,
      ]);
    },
  );
}

for (
  const line of [
    "docker run --network container:a img",
    "podman run --network ns:x img",
  ]
) {
  testUnless(
    line.startsWith("podman") ? linux : undefined,
    `chooseReach() takes a port of its own for the relay of "${line}"`,
    async () => {
      const ports = new Set<number>();
      for (let i = 0; i < 20; i++) {
        const { reach } = await choose(line, {});
        assert(reach.by === "socket");
        ports.add(reach.port);
      }
      const [lowest = 0, highest = 0] = [
        Math.min(...ports),
        Math.max(...ports),
      ];
      // Not where a relay of the shared network's owner is, nor where clients' ports begin.
      assert(lowest >= 20_000 && highest < 32_768, `${[...ports]}`);
      assert(ports.size > 10, `${ports.size} different ports`);
    },
  );
}

const REASONS: { line: string; mode: Mode; engine: Engine; reason: string }[] =
  [
    {
      line: "docker run img",
      mode: ANY,
      engine: DOCKER,
      reason:
        'by its gateway 172.17.0.1, because the network "bridge" is a bridge of this host',
    },
    {
      line: "docker run --network host img",
      mode: ANY,
      engine: DOCKER,
      reason: "by this host's loopback, because its network is this host's",
    },
    {
      line: "docker run img",
      mode: ON_LOOPBACK,
      engine: DOCKER,
      reason:
        "by a relay on its own loopback, because its SDK takes no other address than loopback",
    },
    {
      line: "docker run img",
      mode: AT_ADDRESS,
      engine: DOCKER,
      reason: "by 169.254.170.2 of this host, because its mode asks there",
    },
    {
      line: "docker run img",
      mode: ANY,
      engine: DESKTOP,
      reason:
        "by the name host.docker.internal, because Docker Desktop forwards it",
    },
  ];

for (const { line, mode, engine, reason } of REASONS) {
  Deno.test(`chooseReach() says that "${line}" reaches us ${reason}`, async () => {
    assert.equal((await choose(line, engine, mode)).reason, reason);
  });
}

const REFUSED: { line: string; engine?: Engine; expect: RegExp }[] = [
  { line: "docker run --network other img", expect: /^engine-failed: / },
  { line: "docker run img", engine: {}, expect: /^engine-failed: / },
  { line: ON_N, engine: docker("not JSON"), expect: /^engine-garbage: / },
  { line: ON_N, engine: docker(""), expect: /^engine-garbage: / },
];

for (const { line, engine, expect } of REFUSED) {
  const isPodman = line.startsWith("podman");
  const how = engine?.networks ? ` of ${JSON.stringify(engine.networks)}` : "";
  testUnless(
    isPodman ? linux : undefined,
    `chooseReach() finds no way from "${line}"${how}`,
    async () => {
      const known = engine ?? (isPodman ? PODMAN : DOCKER);
      const error = await reach(line, known).catch((error) => error);
      assert(error instanceof MoatError, String(error));
      assert.match(`${error.code}: ${error.message}`, expect);
    },
  );
}

Deno.test("reachOfHost() asks at the one address of a mode", () => {
  assert.deepEqual(reachOfHost(AT_ADDRESS), ADDRESS.reach);
});

for (const mode of [ANY, ON_LOOPBACK, undefined]) {
  Deno.test(`reachOfHost() is loopback for ${mode?.reach ?? "no mode"}`, () => {
    assert.deepEqual(reachOfHost(mode), { by: "loopback" });
  });
}
