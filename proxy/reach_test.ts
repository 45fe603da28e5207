import assert from "node:assert/strict";
import { MoatError } from "$core/errors.ts";
import type { Reach } from "$core/control.ts";
import { testUnless } from "../tests/support/conditional.ts";
import { parseEngineRun } from "./engine.ts";
import { type AskEngine, chooseReach } from "./reach.ts";

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
  },
};

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
  },
};

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

async function reach(line: string, engine: Engine) {
  const run = parseEngineRun(line.split(" "));
  assert(run);
  return await chooseReach(run, answers(engine));
}

function gateway(address: string): { reach: Reach; options: string[] } {
  return {
    reach: { by: "gateway", address },
    options: ["--add-host", `moat-proxy:${address}`],
  };
}

const LOOPBACK = { reach: { by: "loopback" }, options: [] };
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

Deno.test("chooseReach() takes the name that Docker Desktop forwards", async () => {
  const engine = { info: "Docker Desktop []\n" };
  assert.deepEqual(await reach("docker run --network mine img", engine), {
    reach: { by: "name", name: "host.docker.internal" },
    options: [],
  });
});

/** docker with one network `n`. */
function docker(network: unknown): Engine {
  return { info: "Debian []", networks: { n: network } };
}

/** docker with one network `n` of these IPAM settings. */
function ipam(value: unknown): Engine {
  return docker([{ Driver: "bridge", IPAM: value }]);
}

const ON_N = "docker run --network n img";

const REFUSED: { line: string; engine?: Engine; expect: RegExp }[] = [
  ...["none", "container:a", "ns:/proc/1/ns/net"].flatMap((network) => [
    {
      line: `docker run --network ${network} img`,
      engine: {},
      expect: /^usage: .*has no way to the host/,
    },
    {
      line: `podman run --network ${network} img`,
      engine: {},
      expect: /^usage: .*has no way to the host/,
    },
  ]),
  {
    line: "docker run img",
    engine: { info: 'Debian ["name=rootless"]' },
    expect: /^usage: .*rootless Docker/,
  },
  {
    line: "docker run --network host img",
    engine: { info: 'Debian ["name=rootless"]' },
    expect: /^usage: .*rootless Docker/,
  },
  {
    line: "podman run img",
    engine: { info: "true\n" },
    expect: /^usage: .*apart from the host/,
  },
  {
    line: "podman run --network mine img",
    engine: { ...PODMAN, info: "true" },
    expect: /^usage: .*apart from the host/,
  },
  ...["slirp4netns", "slirp4netns:mtu=1", "pasta", "pasta:-t,1"].map((n) => ({
    line: `podman run --network ${n} img`,
    expect: /^usage: .*apart from the host/,
  })),
  {
    line: "podman run --network vlan img",
    expect: /^usage: .*"vlan" .*macvlan/,
  },
  {
    line: "docker run --network vlan img",
    expect: /^usage: .*"vlan" .*macvlan/,
  },
  {
    line: "docker run --network bare img",
    expect: /^usage: .*"bare" has no gateway/,
  },
  {
    line: "docker run --network gone img",
    expect: /^usage: .*"gone" has no gateway/,
  },
  { line: "docker run --network other img", expect: /^engine-failed: / },
  { line: "docker run img", engine: {}, expect: /^engine-failed: / },
  { line: ON_N, engine: docker("not JSON"), expect: /^engine-garbage: / },
  { line: ON_N, engine: docker(""), expect: /^engine-garbage: / },
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
    expect: /^usage: .*"n" has no gateway/,
  })),
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
