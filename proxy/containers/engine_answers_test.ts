import assert from "node:assert/strict";
import {
  readCutEvent,
  readEvent,
  readGateways,
  readInspected,
  readListed,
} from "./engine_answers.ts";

const A = "a".repeat(64);
const B = "b".repeat(64);

/** As dockerd 20.10 describes it. */
function docker(change: Record<string, unknown> = {}) {
  return {
    Id: A,
    Name: "/web",
    State: {
      Status: "running",
      Running: true,
      Paused: false,
      Restarting: false,
      StartedAt: "2026-01-01T00:00:00.123456789Z",
      FinishedAt: "0001-01-01T00:00:00Z",
    },
    HostConfig: { NetworkMode: "default" },
    NetworkSettings: { IPAddress: "172.17.0.2", Networks: bridge() },
    Config: { Image: "web:1", Env: null, Labels: {} },
    ...change,
  };
}

function bridge(change: Record<string, unknown> = {}) {
  return {
    bridge: {
      IPAMConfig: null,
      NetworkID: "net",
      EndpointID: "end",
      Gateway: "172.17.0.1",
      IPAddress: "172.17.0.2",
      GlobalIPv6Address: "",
      ...change,
    },
  };
}

function stateOf(change: Record<string, unknown>) {
  return docker({ State: { ...docker().State, ...change } });
}

function inspected(json: unknown, gateways = new Map()) {
  const state = readInspected(json)?.state(gateways);
  assert.ok(state);
  return state;
}

function addresses(json: unknown): string[] {
  return inspected(json).endpoints.map(({ address }) => address);
}

const ADDRESSES: { name: string; json: unknown; addresses: string[] }[] = [
  { name: "the default bridge", json: docker(), addresses: ["172.17.0.2"] },
  {
    name: "a network of the user, in .Networks only",
    json: docker({
      NetworkSettings: { IPAddress: "", Networks: bridge() },
    }),
    addresses: ["172.17.0.2"],
  },
  {
    name: "two networks",
    json: docker({
      NetworkSettings: {
        Networks: {
          ...bridge(),
          two: bridge({ IPAddress: "10.0.0.9" }).bridge,
        },
      },
    }),
    addresses: ["172.17.0.2", "10.0.0.9"],
  },
  {
    name: "IPv4 and IPv6",
    json: docker({
      NetworkSettings: {
        Networks: bridge({ GlobalIPv6Address: "fd00:0077::2" }),
      },
    }),
    addresses: ["172.17.0.2", "fd00:77::2"],
  },
  {
    name: "the host's network, as Docker says it",
    json: docker({
      NetworkSettings: {
        Networks: { host: { NetworkID: "h", EndpointID: "e", IPAddress: "" } },
      },
    }),
    addresses: [],
  },
  {
    name: "the host's network, as podman says it",
    json: docker({ NetworkSettings: { IPAddress: "", Networks: {} } }),
    addresses: [],
  },
  {
    name: "no networks at all",
    json: docker({ NetworkSettings: { Networks: null } }),
    addresses: [],
  },
  {
    name: "a paused container",
    json: stateOf({ Status: "paused", Paused: true }),
    addresses: ["172.17.0.2"],
  },
  {
    name: "a paused one of a podman that says it does not run",
    json: stateOf({ Status: "paused", Paused: true, Running: false }),
    addresses: ["172.17.0.2"],
  },
  {
    name: "a stopped one",
    json: stateOf({ Status: "exited", Running: false }),
    addresses: [],
  },
  {
    name: "one that waits for its restart",
    json: stateOf({ Status: "restarting", Restarting: true }),
    addresses: [],
  },
  {
    name: "a created one that podman gives the address of another",
    json: stateOf({ Status: "created", Running: false }),
    addresses: [],
  },
];

for (const { name, json, addresses: wanted } of ADDRESSES) {
  Deno.test(`readInspected() finds the addresses of ${name}`, () => {
    assert.deepEqual(addresses(json), wanted);
  });
}

const EXITED: Record<string, boolean> = {
  created: false,
  running: false,
  paused: false,
  restarting: false,
  stopping: false,
  exited: true,
  stopped: true,
  dead: true,
  removing: true,
};

for (const [status, hasExited] of Object.entries(EXITED)) {
  Deno.test(`readInspected() takes ${status} ${hasExited ? "" : "not "}for an end`, () => {
    assert.equal(inspected(stateOf({ Status: status })).hasExited, hasExited);
  });
}

Deno.test("one that podman was only asked to stop still runs", () => {
  const status = { Status: "stopping", Running: false };
  assert.equal(inspected(stateOf(status)).isRunning, true);
  assert.equal(listed({ State: "stopping" }).isRunning, true);
});

Deno.test("readInspected() knows whose network is shared", () => {
  const json = docker({ HostConfig: { NetworkMode: `container:${B}` } });
  assert.equal(inspected(json).joins, B);
});

Deno.test("readInspected() keeps what clients need", () => {
  const Config = {
    Image: "web:1",
    Env: ["A=1", "B=x=y", "A=2", "EMPTY=", "UNSET", "__proto__=p"],
    Labels: { role: "web" },
  };
  const facts = inspected(docker({ Config })).facts;
  assert.equal(facts?.name, "web");
  assert.equal(facts.image, "web:1");
  assert.equal(facts.startedAt, "2026-01-01T00:00:00.123456789Z");
  assert.deepEqual(facts.labels, { role: "web" });
  assert.deepEqual(Object.entries(facts.env), [
    ["A", "2"],
    ["B", "x=y"],
    ["EMPTY", ""],
    ["__proto__", "p"],
  ]);
});

const SWARM = docker({
  NetworkSettings: {
    Networks: bridge({ NetworkID: "ov", Gateway: "", IPAddress: "10.0.1.2" }),
  },
});

Deno.test("readInspected() finds the address towards the host of swarm's", () => {
  const gateways = readGateways({
    Containers: {
      [A]: { EndpointID: "g", IPv4Address: "172.19.0.3/16", IPv6Address: "" },
      "ingress-sbox": { IPv4Address: "172.19.0.2/16" },
    },
  });
  assert.deepEqual(
    readInspected(SWARM)?.state(gateways ?? new Map()).endpoints,
    [
      { address: "10.0.1.2", network: "ov", endpoint: "end" },
      { address: "172.19.0.3", network: "ov", endpoint: "g" },
    ],
  );
});

Deno.test("readInspected() needs the gateways only of swarm's", () => {
  assert.equal(readInspected(SWARM)?.needsGateways, true);
  assert.equal(readInspected(docker())?.needsGateways, false);
});

Deno.test("readInspected() knows the addresses of podman's ns:PATH, which are not its own", () => {
  const { joins, endpoints } = inspected(docker({
    HostConfig: { NetworkMode: "ns:/proc/7/ns/net" },
    NetworkSettings: {
      ...{ Networks: null, IPAddress: "10.88.0.4" },
      SecondaryIPAddresses: [{ Addr: "10.89.0.4", PrefixLen: 24 }],
      SecondaryIPv6Addresses: ["fd00:77::4/64"],
    },
  }));
  assert.equal(joins, "ns:/proc/7/ns/net");
  assert.deepEqual(endpoints.map(({ address }) => address), [
    ...["10.88.0.4", "10.89.0.4", "fd00:77::4"],
  ]);
  assert.equal(endpoints[0]?.network, "");
});

Deno.test("readInspected() needs neither labels nor variables", () => {
  const { facts } = inspected(docker({ Config: { Image: "a" } }));
  assert.deepEqual([facts?.labels, facts?.env], [{}, {}]);
});

for (const key of ["Image", "Env", "Labels"]) {
  Deno.test(`readInspected() gives no facts where Config.${key} was too long`, () => {
    const config = { ...docker().Config as object, [key]: false };
    const { isRunning, facts } = inspected(docker({ Config: config }));
    assert.deepEqual([isRunning, facts], [true, undefined]);
  });
}

const ROW = {
  Id: A,
  Names: ["/web"],
  State: "running",
  HostConfig: { NetworkMode: "default" },
  NetworkSettings: { Networks: bridge() },
};

function listed(change: Record<string, unknown>) {
  const state = readListed({ ...ROW, ...change })?.state(new Map());
  assert.ok(state);
  return state;
}

Deno.test("readListed() finds addresses, and no facts", () => {
  const { name, endpoints, facts } = listed({});
  assert.deepEqual([name, facts], ["web", undefined]);
  assert.deepEqual(endpoints, [
    { address: "172.17.0.2", network: "net", endpoint: "end" },
  ]);
});

Deno.test("readListed() takes podman's rows without HostConfig and networks", () => {
  const row = { HostConfig: null, NetworkSettings: { Networks: null } };
  const { isRunning, endpoints, joins } = listed(row);
  assert.deepEqual([isRunning, endpoints, joins], [true, [], undefined]);
});

Deno.test("readListed() does not know whose network is shared, of podman", () => {
  assert.equal(listed({ HostConfig: null }).isPartial, true);
  assert.equal(listed({}).isPartial, false);
});

Deno.test("readListed() knows what has ended", () => {
  const { isRunning, hasExited, endpoints } = listed({ State: "exited" });
  assert.deepEqual([isRunning, hasExited, endpoints], [false, true, []]);
});

const EVENTS: { name: string; json: unknown; event: unknown }[] = [
  {
    name: "Docker's of a container",
    json: {
      Type: "container",
      Action: "start",
      Actor: { ID: A, Attributes: { name: "web" } },
      timeNano: 1_795_370_294_938_651_600,
    },
    event: [A, "start", undefined, 1_795_370_294_939],
  },
  {
    name: "Docker's of a network",
    json: {
      Type: "network",
      Action: "connect",
      Actor: { ID: B, Attributes: { container: A, name: "bridge" } },
      timeNano: 1000,
    },
    event: [A, "connect", B, 1],
  },
  {
    name: "podman's of a network",
    json: {
      Type: "network",
      Action: "disconnect",
      id: A,
      Actor: { ID: A, Attributes: { name: "web" } },
      time: 2,
    },
    event: [A, "disconnect", undefined, 2000],
  },
];

for (const { name, json, event } of EVENTS) {
  Deno.test(`readEvent() reads ${name}`, () => {
    const found = readEvent(json);
    assert.ok(found && found !== "other");
    const { container, action, network, atMs } = found;
    assert.deepEqual([container, action, network, atMs], event);
  });
}

for (
  const json of [
    { Type: "image", Action: "pull", Actor: { ID: "alpine" } },
    { Type: "network", Action: "create", Actor: { ID: B } },
    { Type: "container", Action: "prune", Actor: { ID: "" } },
    {
      Type: "network",
      Action: "connect",
      Actor: { ID: B, Attributes: { container: "ingress-sbox" } },
    },
  ]
) {
  Deno.test(`readEvent() leaves ${json.Type} ${json.Action} out`, () => {
    assert.equal(readEvent(json), "other");
  });
}

const CUT = `{"status":"start","id":"${A}","from":"a\\"Attributes\\":",` +
  `"Type":"container","Action":"start",` +
  `"Actor":{"ID":"${A}","Attributes":{"x":"yyy`;

Deno.test("readCutEvent() reads the beginning, and no time", () => {
  assert.deepEqual(readCutEvent(CUT), {
    container: A,
    action: "start",
    network: undefined,
    atMs: Infinity,
  });
});

for (
  const text of [
    "",
    "x".repeat(99),
    CUT.slice(0, 40),
    CUT.replaceAll(A, "x"),
    CUT.replace(`"Type":"container"`, `"Type":"image"`),
  ]
) {
  Deno.test(`readCutEvent() refuses ${text.slice(0, 10)}, ${text.length} long`, () => {
    assert.equal(readCutEvent(text), undefined);
  });
}

const GARBAGE: Record<string, unknown> = {
  "nothing": undefined,
  "a text": "<html>",
  "a list of texts": ["a"],
  "an error": { message: "no" },
  "another id": docker({ Id: "../../images" }),
  "no state": docker({ State: {} }),
  "an environment that is none": docker({ Config: { Env: { A: "1" } } }),
};

for (const [name, json] of Object.entries(GARBAGE)) {
  Deno.test(`readInspected() refuses ${name}`, () => {
    assert.equal(readInspected(json), undefined);
  });
}

for (const json of [undefined, {}, [ROW], { ...ROW, Id: "x" }, "a"]) {
  Deno.test(`readListed() refuses ${JSON.stringify(json)?.slice(0, 20)}`, () => {
    assert.equal(readListed(json), undefined);
  });
}

const BAD_ID = { Action: "start", Actor: { ID: "../../images" } };

for (const json of [undefined, "a", {}, { Action: "start" }, BAD_ID]) {
  Deno.test(`readEvent() refuses ${JSON.stringify(json)}`, () => {
    assert.equal(readEvent(json), undefined);
  });
}
