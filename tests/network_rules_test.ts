/**
 * `moat network-rules` in network namespaces of the test's own: a host with a
 * real metadata service upstream, a container on its bridge, a neighbour on
 * its LAN; and with both engines.
 */

import assert from "node:assert/strict";
import { testUnless } from "./support/conditional.ts";
import { bedReason, type Engine, openBed } from "./support/containers.ts";
import { MOAT, moatReason, runMoat } from "./support/moat.ts";
import { PYTHON } from "./support/moto.ts";
import {
  Netns,
  networkReason,
  openContainer,
  openNeighbour,
  WITHOUT_RIGHTS,
} from "./support/netns.ts";
import { isThere, run, type RunResult, type Server } from "./support/run.ts";
import { startServer, which } from "./support/run.ts";

const IMDS = "169.254.169.254";

const IMDS_6 = "fd00:ec2::254";

const ECS = "169.254.170.2";

/** Answers over TCP and UDP with its name and who asks: `NAME ADDR,PORT…`. */
const LISTENER = `
import selectors, socket, sys, threading
def serve(connection, answer):
  connection.settimeout(5)
  try:
    connection.sendall(answer)
    while connection.recv(1): connection.sendall(answer)
  except OSError: pass
  connection.close()
chosen = selectors.DefaultSelector()
name, *addresses = sys.argv[1:]
for text in addresses:
  kind, host, port = text.split(",")
  six = socket.AF_INET6 if ":" in host else socket.AF_INET
  server = socket.socket(six, getattr(socket, "SOCK_" + kind))
  server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  server.bind((host, int(port)))
  if kind == "STREAM": server.listen()
  chosen.register(server, selectors.EVENT_READ)
print("ready", flush=True)
while True:
  for key, _ in chosen.select():
    server = key.fileobj
    if server.type == socket.SOCK_DGRAM:
      _, peer = server.recvfrom(100)
      server.sendto((name + " " + peer[0]).encode(), peer)
    elif server.type == socket.SOCK_STREAM:
      connection, peer = server.accept()
      answer = (name + " " + peer[0]).encode()
      threading.Thread(target=serve, args=(connection, answer), daemon=True).start()
`;

/** Asks all targets at once and prints each answer, one a line. */
const PROBE = `
import concurrent.futures, socket, sys
def ask(text):
  kind, host, port = text.split(",")
  six = socket.AF_INET6 if ":" in host else socket.AF_INET
  client = socket.socket(six, getattr(socket, "SOCK_" + kind))
  client.settimeout(0.7)
  try:
    client.connect((host, int(port)))
    if kind == "DGRAM": client.send(b"?")
    return client.recv(100).decode()
  except socket.timeout: return "silence"
  except OSError as error: return "refused"
with concurrent.futures.ThreadPoolExecutor(16) as pool:
  print("\\n".join(pool.map(ask, sys.argv[1:])))
`;

/** Asks over one connection until it ends, for 5 s at most. */
const ASK_ON = `
import socket, time
client = socket.create_connection(("${IMDS}", 80))
client.settimeout(0.7)
try:
  for _ in range(100):
    print(client.recv(100).decode(), flush=True)
    time.sleep(0.05)
    client.send(b"?")
except OSError: print("ended")
`;

const tcp = (host: string, port = 80) => `STREAM,${host},${port}`;

const udp = (host: string, port = 80) => `DGRAM,${host},${port}`;

/** Whatever must not be reached round moat. */
const WAYS_ROUND = [
  tcp(IMDS, 8080),
  udp(IMDS),
  tcp(IMDS_6, 8080),
  udp(IMDS_6),
  tcp("169.254.170.23"),
  tcp("fd00:ec2::23"),
];

const SERVED = [tcp(IMDS), tcp(IMDS_6), tcp(ECS)];

function listen(
  { prefix }: { readonly prefix: readonly string[] },
  name: string,
  ...addresses: string[]
): Promise<Server> {
  return startServer(
    [...prefix, PYTHON, "-c", LISTENER, name, ...addresses],
    { ready: /^ready\n/gm },
  );
}

async function probe(from: Netns, ...targets: string[]): Promise<string[]> {
  const { stdout } = await from.run(PYTHON, "-c", PROBE, ...targets);
  return stdout.trimEnd().split("\n");
}

async function must(host: Netns, ...args: string[]): Promise<RunResult> {
  const result = await host.moat("network-rules", ...args);
  assert.equal(result.code, 0, result.stderr);
  return result;
}

/** A host on which containers reach its cloud's metadata service. */
class Scene implements AsyncDisposable {
  private constructor(
    readonly host: Netns,
    readonly container: Netns,
    readonly cloud: Netns,
    private readonly stack: AsyncDisposableStack,
  ) {}

  static async open(): Promise<Scene> {
    await using stack = new AsyncDisposableStack();
    const host = stack.use(await Netns.open());
    const container = stack.use(await openContainer(host));
    const cloud = stack.use(await Netns.open());
    await connect(host, container, cloud);
    stack.use(await listen(cloud, "cloud", ...WAYS_ROUND, ...SERVED));
    return new Scene(host, container, cloud, stack.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack.disposeAsync();
  }
}

/** Leads from the container through the host to the cloud, by IPv4 and IPv6. */
async function connect(
  host: Netns,
  container: Netns,
  cloud: Netns,
): Promise<void> {
  await host.sh(`
    echo 1 > /proc/sys/net/ipv4/ip_forward
    echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
    ip address add fd79::1/64 dev br0 nodad
    ip link add uplink type veth peer name eth0 netns ${cloud.pid}
    ip link set uplink up
    ip address add 100.64.0.1/30 dev uplink
    ip address add fd64::1/64 dev uplink nodad
    ip route add default via 100.64.0.2
    ip -6 route add default via fd64::2`);
  await cloud.sh(`
    ip link set eth0 up
    ip address add 100.64.0.2/30 dev eth0
    ip address add fd64::2/64 dev eth0 nodad
    ip route add default via 100.64.0.1
    ip -6 route add default via fd64::1
    for address in ${IMDS} ${ECS} 169.254.170.23 ${IMDS_6} fd00:ec2::23; do
      ip address add $address dev lo
    done`);
  await container.sh(`
    ip address add fd79::2/64 dev eth0 nodad
    ip -6 route add default via fd79::1`);
}

const REASON = moatReason() ?? networkReason() ??
  (isThere(PYTHON) ? undefined : "Python is not installed");

/** A test with a {@link Scene}. */
function test(name: string, fn: (scene: Scene) => Promise<void>): void {
  testUnless(REASON, `moat network-rules ${name}`, async () => {
    await using scene = await Scene.open();
    await fn(scene);
  });
}

/** All rules of iptables: it lists chains in the order in which they came. */
async function rulesOfIptables(host: Netns): Promise<string[]> {
  const saved = await host.sh("iptables-save; ip6tables-save");
  return saved.split("\n").filter((line) => /^(-A|:\S+ -)/.test(line)).sort();
}

/** What sets the rules. */
const BACKENDS = [[], ["--backend", "iptables"]] as const;

// What there is to keep out.

test("is needed: containers reach the service of the host", async ({ container }) => {
  const found = await probe(container, ...SERVED, ...WAYS_ROUND);
  const [four, six] = ["cloud 10.79.0.2", "cloud fd79::2"];
  assert.deepEqual(found, [four, six, four, four, four, six, six, four, six]);
});

for (const backend of BACKENDS) {
  const by = backend.length > 0 ? "by iptables" : "by nft";
  const blocked = backend.length > 0 ? "silence" : "refused";

  // The address on this host.

  test(`${by} leads a container to a listener at the addresses`, async ({ host, container }) => {
    await must(host, "--apply", ...backend);
    await using _listener = await listen(host, "moat", ...SERVED);
    assert.deepEqual(await probe(container, ...SERVED), [
      "moat 10.79.0.2",
      "moat fd79::2",
      "moat 10.79.0.2",
    ]);
  });

  test(`${by} refuses a container while nobody listens`, async ({ host, container }) => {
    await must(host, "--apply", ...backend);
    const found = await probe(container, ...SERVED);
    assert.deepEqual(found, ["refused", "refused", "refused"]);
  });

  test(`${by} blocks every way round`, async ({ host, container }) => {
    await must(host, "--apply", ...backend);
    const found = await probe(container, ...WAYS_ROUND);
    assert.deepEqual(found, WAYS_ROUND.map(() => blocked));
  });

  test(`${by} leaks nothing when somebody takes the addresses away`, async ({ host, container }) => {
    await must(host, "--apply", ...backend);
    await host.sh(`
      ip address delete ${IMDS}/32 dev lo
      ip address delete ${IMDS_6}/128 dev lo`);
    const found = await probe(container, tcp(IMDS), tcp(IMDS_6));
    assert.deepEqual(found, [blocked, blocked]);
  });

  // Another address.

  test(`${by} leads a container to another address, with its own`, async ({ host, container }) => {
    await must(host, "--to", `${ECS}:8169`, "--apply", ...backend);
    await using _listener = await listen(host, "moat", tcp(ECS, 8169));
    assert.deepEqual(await probe(container, tcp(IMDS)), ["moat 10.79.0.2"]);
  });

  test(`${by} leads nowhere else while it leads to another address`, async ({ host, container }) => {
    await must(host, "--to", `${ECS}:8169`, "--apply", ...backend);
    const found = await probe(container, ...SERVED, ...WAYS_ROUND);
    assert.deepEqual(found, [
      "refused",
      blocked,
      "refused",
      ...WAYS_ROUND.map(() => blocked),
    ]);
  });

  test(`${by} leaves the host's own metadata alone with another address`, async ({ host }) => {
    await must(host, "--to", `${ECS}:8169`, "--apply", ...backend);
    const found = await probe(host, tcp(IMDS), tcp(IMDS_6), udp(IMDS));
    assert.deepEqual(found, [
      "cloud 100.64.0.1",
      "cloud fd64::1",
      "cloud 100.64.0.1",
    ]);
  });

  test(`${by} leads to a program that listens on all addresses`, async ({ host, container }) => {
    await must(host, "--to", ":8000", "--apply", ...backend);
    await using _four = await listen(host, "moat", tcp("0.0.0.0", 8000));
    const found = await probe(container, tcp(IMDS), tcp(IMDS_6));
    assert.deepEqual(found, ["moat 10.79.0.2", "refused"]);
  });

  test(`${by} leads to such a program by IPv6`, async ({ host, container }) => {
    await must(host, "--to", ":8000", "--apply", ...backend);
    await using _six = await listen(host, "moat", tcp("::", 8000));
    const found = await probe(container, tcp(IMDS_6));
    assert.deepEqual(found, ["moat fd79::2"]);
  });

  test(`${by} leads to an address of each family`, async ({ host, container }) => {
    const to = ["--to", "10.79.0.1:81", "--to", "[fd79::1]:82"];
    await must(host, ...to, "--apply", ...backend);
    await using _listener = await listen(
      host,
      "moat",
      tcp("10.79.0.1", 81),
      tcp("fd79::1", 82),
    );
    const found = await probe(container, tcp(IMDS), tcp(IMDS_6));
    assert.deepEqual(found, ["moat 10.79.0.2", "moat fd79::2"]);
  });

  test(`${by} ends a connection that was there before`, async ({ host, container }) => {
    // So that the system follows the connection from its begin.
    const follow = "iptables -A FORWARD -m conntrack --ctstate NEW -j ACCEPT";
    await host.sh(follow);
    const client = [...container.prefix, PYTHON, "-c", ASK_ON];
    await using asking = await startServer(client, { ready: /^cloud .*\n/gm });
    await must(host, "--to", `${ECS}:8169`, "--apply", ...backend);
    const { stdout } = await asking.ended();
    assert.match(stdout, /\nended\n$/);
  });

  // Other machines.

  test(`${by} keeps a neighbour out`, async ({ host }) => {
    await using neighbour = await openNeighbour(host, ECS);
    await neighbour.sh("ip route add default via 10.78.0.1");
    await must(host, "--apply", ...backend);
    await using _listener = await listen(host, "moat", tcp(IMDS), tcp(ECS));
    const found = await probe(neighbour, tcp(IMDS), tcp(ECS));
    assert.deepEqual(found, ["silence", "silence"]);
  });

  test(`${by} keeps a neighbour from a listener on all addresses`, async ({ host, container }) => {
    await using neighbour = await openNeighbour(host, ECS);
    await must(host, "--to", ":8000", "--apply", ...backend);
    await using _listener = await listen(
      host,
      "moat",
      tcp("0.0.0.0", 8000),
      tcp("0.0.0.0", 8001),
    );
    const targets = [tcp("10.78.0.1", 8000), tcp("10.78.0.1", 8001)];
    const found = [
      ...await probe(neighbour, ...targets),
      ...await probe(container, tcp(IMDS)),
    ];
    assert.deepEqual(found, ["silence", "moat 10.78.0.2", "moat 10.79.0.2"]);
  });

  // Set and undone.

  test(`${by} is the same after a second time`, async ({ host }) => {
    await must(host, "--apply", ...backend);
    const before = await host.state();
    await must(host, "--apply", ...backend);
    assert.equal(await host.state(), before);
  });

  test(`${by} replaces what was set with another --to`, async ({ host }) => {
    await must(host, "--to", ":8000", "--apply", ...backend);
    const before = await host.sh("nft --stateless list ruleset");
    await must(host, "--to", ":9000", "--apply", ...backend);
    await must(host, "--to", ":8000", "--apply", ...backend);
    assert.equal(await host.sh("nft --stateless list ruleset"), before);
  });

  test(`${by} prints commands that sh runs, for who has no rights`, async ({ host }) => {
    const line = [MOAT, "network-rules", ...backend].join(" ");
    await host.sh(`${WITHOUT_RIGHTS.join(" ")} ${line} | sh`);
    const read = async () => [
      await host.sh("ip address; nft list table inet moat_metadata || :"),
      ...await rulesOfIptables(host),
    ];
    const printed = await read();
    await must(host, "--remove");
    await must(host, "--apply", ...backend);
    assert.deepEqual(printed, await read());
  });

  test(`${by} leads a container of a bridge that came later`, async ({ host }) => {
    await must(host, "--apply", ...backend);
    await using container = await Netns.open();
    await host.sh(`
      ip link add br-d180d436e9c4 type bridge
      ip address add 10.80.0.1/24 dev br-d180d436e9c4
      ip link add later type veth peer name eth0 netns ${container.pid}
      ip link set later master br-d180d436e9c4 up
      ip link set br-d180d436e9c4 up`);
    await container.sh(`
      ip address add 10.80.0.2/24 dev eth0
      ip link set eth0 up
      ip route add default via 10.80.0.1`);
    await using _listener = await listen(host, "moat", tcp(IMDS));
    assert.deepEqual(await probe(container, tcp(IMDS)), ["moat 10.80.0.2"]);
  });

  test(`${by} comes before what an engine does for a published port 80`, async ({ host, container }) => {
    await host.sh(`
      iptables -t nat -N DOCKER
      iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
      iptables -t nat -A DOCKER -p tcp --dport 80 -j DNAT --to 10.79.0.1:90
      iptables -I FORWARD -i br0 -j ACCEPT`);
    await must(host, "--apply", ...backend);
    await using _listener = await listen(host, "moat", tcp(IMDS));
    await using _other = await listen(host, "other", tcp("10.79.0.1", 90));
    const found = await probe(container, tcp(IMDS), udp(IMDS));
    assert.deepEqual(found, ["moat 10.79.0.2", blocked]);
  });
}

/** Starts a docker daemon on a host, which writes rules of its own. */
function startDocker({ prefix, workspace }: Netns): Promise<Server> {
  const path = (name: string) => workspace.path(name);
  return startServer([
    ...[...prefix, "dockerd", `--data-root=${path("data")}`],
    ...[`--exec-root=${path("exec")}`, `--pidfile=${path("pid")}`],
    `--host=unix://${path("docker.sock")}`,
    `--containerd-namespace=${workspace.directory.split("/").at(-1)}`,
  ], { ready: /API listen on/g, on: "stderr" });
}

for (const backend of BACKENDS) {
  const by = backend.length > 0 ? "by iptables" : "by nft";
  const blocked = backend.length > 0 ? "silence" : "refused";
  testUnless(
    REASON ?? bedReason("docker"),
    `moat network-rules ${by} outlives a restart of dockerd`,
    async () => {
      await using scene = await Scene.open();
      const { host, container } = scene;
      await must(host, "--apply", ...backend);
      await (await startDocker(host)).stop();
      await using _again = await startDocker(host);
      await host.sh(`
        iptables -P FORWARD ACCEPT
        iptables -t nat -A DOCKER -p tcp --dport 80 -j DNAT --to 10.79.0.1:90`);
      await using _listener = await listen(host, "moat", tcp(IMDS));
      await using _other = await listen(host, "other", tcp("10.79.0.1", 90));
      const found = await probe(container, tcp(IMDS), tcp(ECS), ...WAYS_ROUND);
      const others = WAYS_ROUND.map(() => blocked);
      assert.deepEqual(found, ["moat 10.79.0.2", "refused", ...others]);
    },
  );
}

for (const to of [[], ["--to", ":8000"]]) {
  const way = to.join(" ") || "the address";
  test(`--remove restores everything after ${way}`, async ({ host }) => {
    await host.sh("nft add table ip other");
    const before = await host.state();
    await must(host, ...to, "--apply");
    await must(host, "--remove");
    assert.equal(await host.state(), before);
  });
}

test("--remove restores every rule of iptables", async ({ host }) => {
  await host.sh(`
    for program in iptables ip6tables; do
      for table in raw mangle nat; do $program -t $table -N OTHER; done
    done`);
  const before = await rulesOfIptables(host);
  await must(host, "--backend", "iptables", "--apply");
  await must(host, "--remove");
  assert.deepEqual(await rulesOfIptables(host), before);
});

const HALVES: { name: string; script: string }[] = [
  { name: "the rules were flushed", script: "nft flush ruleset" },
  { name: "an address is gone", script: `ip address del ${IMDS}/32 dev lo` },
  {
    name: "the table is empty",
    script:
      "nft delete table inet moat_metadata; nft add table inet moat_metadata",
  },
];
for (const { name, script } of HALVES) {
  test(`--remove clears away what is left when ${name}`, async ({ host }) => {
    const before = await host.state();
    await must(host, "--apply");
    await host.sh(script);
    await must(host, "--remove");
    assert.equal(await host.state(), before);
  });
}

test("--remove clears away half of what iptables had", async ({ host }) => {
  await must(host, "--backend", "iptables", "--apply");
  await host.sh(`
    iptables -t raw -F PREROUTING
    ip6tables -t nat -F`);
  await must(host, "--remove");
  const left = await host.sh("nft list ruleset; ip address");
  assert.doesNotMatch(left, /moat/i);
});

test("has no rules of two programs at once", async ({ host }) => {
  await must(host, "--apply");
  const before = await host.sh("nft list table inet moat_metadata");
  await must(host, "--backend", "iptables", "--apply");
  await must(host, "--apply");
  const rules = await host.sh("iptables-save; ip6tables-save");
  assert.doesNotMatch(rules, /MOAT/);
  assert.equal(await host.sh("nft list table inet moat_metadata"), before);
});

test("--remove has nothing to do where nothing was set", async ({ host }) => {
  const before = await host.state();
  const { stderr } = await must(host, "--remove");
  assert.match(stderr, /nothing to do/);
  assert.equal(await host.state(), before);
});

test("changes nothing by itself", async ({ host }) => {
  const before = await host.state();
  const { stdout, stderr } = await must(host);
  assert.match(stdout, /^nft '[^'\n]+'\n(ip address add .*\n){3}$/);
  assert.match(stderr, /next: moat network-rules --apply$/m);
  assert.equal(await host.state(), before);
});

test("uses iptables where nft is not installed", async ({ host, container }) => {
  const without = 'mount --bind /dev/null "$1" && shift && exec "$@"';
  const { code, stderr } = await host.run(
    ...["unshare", "--mount", "sh", "-c", without, "sh", which("nft") ?? ""],
    ...[MOAT, "network-rules", "--apply"],
  );
  assert.equal(code, 0, stderr);
  assert.deepEqual(await probe(container, tcp(IMDS)), ["refused"]);
});

// Together with `moat network`.

const ORDERS = [
  ["network setup", "network-rules", "network remove"],
  ["network-rules", "network setup", "network remove"],
];
for (const order of ORDERS) {
  test(`outlives ${order.join(", ")}`, async ({ host }) => {
    await must(host, "--to", `${ECS}:8169`, "--apply");
    const before = await host.state();
    await must(host, "--remove");
    for (const command of order) {
      const to = command === "network-rules" ? ["--to", `${ECS}:8169`] : [];
      const words = [...command.split(" "), ...to, "--apply"];
      const { code, stderr } = await host.moat(...words);
      assert.equal(code, 0, stderr);
    }
    assert.equal(await host.state(), before);
  });

  test(`--remove leaves moat network alone after ${order[0]}`, async ({ host }) => {
    await host.moat("network", "setup", "--apply");
    const before = await host.state();
    await host.moat("network", "remove", "--apply");
    for (const command of order.slice(0, 2)) {
      await host.moat(...command.split(" "), "--apply");
    }
    await must(host, "--remove");
    assert.equal(await host.state(), before);
  });
}

// What is refused.

const REFUSED: { name: string; args: string[]; error: RegExp; hint: RegExp }[] =
  [
    {
      name: "the loopback device",
      args: ["--to", "127.0.0.1:8000"],
      error: /only with route_localnet/,
      hint: /--to 169\.254\.170\.2:8169/,
    },
    {
      name: "an address for all, with the right way",
      args: ["--to", "0.0.0.0:8000"],
      error: /stands for all addresses/,
      hint: /give --to :8000$/m,
    },
    {
      name: "an address of another machine",
      args: ["--to", "10.79.0.2:8000"],
      error: /no interface of this host has that address/,
      hint: /ip address/,
    },
    {
      name: "both --apply and --remove",
      args: ["--apply", "--remove"],
      error: /Cannot combine --remove with --apply/,
      hint: /^/,
    },
  ];
for (const { name, args, error, hint } of REFUSED) {
  test(`refuses ${name}`, async ({ host }) => {
    const before = await host.state();
    const { code, stderr } = await host.moat("network-rules", ...args);
    assert.notEqual(code, 0);
    assert.match(stderr, error);
    assert.match(stderr, hint);
    assert.equal(await host.state(), before);
  });
}

for (const verb of ["--apply", "--remove"]) {
  test(`${verb} says what it needs`, async ({ host }) => {
    const { code, stderr } = await host.run(
      ...WITHOUT_RIGHTS,
      ...[MOAT, "network-rules", verb],
    );
    assert.equal(code, 1);
    assert.match(stderr, /^error: .*wanted root or CAP_NET_ADMIN/m);
    assert.match(stderr, /^hint: (moat network-rules \| sudo sh|sudo moat)/m);
  });
}

/** Runs moat on a host whose firmware says this. */
function onMachine(
  host: Netns,
  vendor: string,
  ...args: string[]
): Promise<RunResult> {
  const script = `mount -t tmpfs none /sys/class && mkdir -p /sys/class/dmi/id
    echo "$1" > /sys/class/dmi/id/sys_vendor; shift; exec "$@"`;
  return host.run(
    ...["unshare", "--mount", "sh", "-ec", script, "sh", vendor],
    ...[MOAT, "network-rules", ...args],
  );
}

test("refuses to take the address from a cloud's machine", async ({ host }) => {
  const { code, stderr } = await onMachine(host, "Amazon EC2", "--apply");
  assert.equal(code, 1);
  assert.match(stderr, /^error: .*found a machine of "Amazon EC2"$/m);
  assert.match(
    stderr,
    /^hint: moat network-rules --to 169\.254\.170\.2:8169$/m,
  );
});

test("leads to another address on a cloud's machine", async ({ host }) => {
  const to = ["--to", `${ECS}:8169`];
  const { code, stderr } = await onMachine(host, "Amazon EC2", ...to);
  assert.equal(code, 0, stderr);
});

// With engines.

for (const name of ["podman", "docker"] as const satisfies Engine[]) {
  const reason = REASON ?? bedReason(name);
  /** Asks from a container, on a network of this name. */
  const ask = (
    { engine, mounts, image }: Awaited<ReturnType<typeof openBed>>,
    network: string[],
    ...targets: string[]
  ) =>
    run([
      ...[engine, "run", "--rm", ...network, ...mounts, image],
      ...[PYTHON, "-c", PROBE, ...targets],
    ]);

  for (const backend of BACKENDS) {
    const by = backend.length > 0 ? "by iptables" : "by nft";
    testUnless(
      reason,
      `moat network-rules ${by} leads containers of ${name}, and of networks made later`,
      async () => {
        await using bed = await openBed(name);
        const { prefix, engine } = bed;
        // The bed has the addresses by itself: without them, as a host.
        const flush = "ip address flush dev lo scope global";
        await run([...prefix, ...flush.split(" ")]);
        const args = ["network-rules", "--apply", ...backend];
        const { code, stderr } = await runMoat(args, { prefix });
        assert.equal(code, 0, stderr);
        await using _listener = await listen({ prefix }, "moat", tcp(IMDS));
        await run([engine, "network", "create", "later"]);
        const found = [
          (await ask(bed, [], tcp(IMDS))).stdout,
          (await ask(bed, ["--network", "later"], tcp(IMDS), tcp(IMDS, 8080)))
            .stdout,
        ];
        assert.match(
          found.join(""),
          /^moat [\d.]+\nmoat [\d.]+\n(refused|silence)\n$/,
        );
      },
    );
  }

  testUnless(
    reason,
    `moat network-rules leads containers of ${name} to another address, with their own`,
    async () => {
      await using bed = await openBed(name);
      const { prefix } = bed;
      const args = ["network-rules", "--to", `${ECS}:8169`, "--apply"];
      await runMoat(args, { prefix });
      await using _listener = await listen({ prefix }, "moat", tcp(ECS, 8169));
      const { stdout } = await ask(bed, [], tcp(IMDS));
      assert.match(
        stdout,
        name === "docker" ? /^moat 172\.17\./ : /^moat 10\.88\./,
      );
    },
  );
}
