/**
 * `moat network` in network namespaces of the test's own: a host, a container
 * on its bridge, and a neighbour on its LAN.
 */

import assert from "node:assert/strict";
import { testUnless } from "./support/conditional.ts";
import { bedReason, type Engine, openBed } from "./support/containers.ts";
import { MOAT, moatReason, runMoat, startMoat } from "./support/moat.ts";
import {
  Netns,
  networkReason,
  openContainer,
  openNeighbour,
  WITHOUT_RIGHTS,
} from "./support/netns.ts";
import { run, type RunResult, SYSTEM_PATH, which } from "./support/run.ts";
import { Workspace } from "./support/workspace.ts";

const ADDRESS = "169.254.170.2";

const HEALTH = `http://${ADDRESS}/healthz`;

/** A network namespace with what the tests ask of it. */
class Host extends Netns {
  /** Runs `moat network` in it. */
  network(...args: string[]): Promise<RunResult> {
    return this.moat("network", ...args);
  }

  /** Runs `moat network`, which must succeed. */
  async must(...args: string[]): Promise<RunResult> {
    const result = await this.network(...args);
    assert.equal(result.code, 0, result.stderr);
    return result;
  }

  async show(): Promise<Record<string, unknown>> {
    return JSON.parse((await this.must("show", "--json")).stdout);
  }
}

/** A test with an empty network namespace. */
function test(name: string, fn: (host: Host) => Promise<void>): void {
  testUnless(
    moatReason() ?? networkReason(),
    `moat network ${name}`,
    async () => {
      await using host = await Host.open();
      await fn(host);
    },
  );
}

function startProxy({ workspace, prefix }: Netns) {
  const listen = ["--listen", `${ADDRESS}:80`];
  return startMoat(["proxy", ...listen], { workspace, prefix });
}

// What is printed.

test("setup prints plain commands and changes nothing", async (host) => {
  const before = await host.state();
  const { stdout, stderr } = await host.must("setup");
  const [guard = "", address, ...more] = stdout.split("\n");
  assert.match(guard, /^nft '[^']+'$/);
  assert.equal(
    address,
    "ip address add 169.254.170.2/32 dev lo scope host label lo:moat",
  );
  assert.deepEqual(more, [""]);
  assert.match(stderr, /nothing was changed; next: moat network setup --apply/);
  assert.equal(await host.state(), before);
});

test("setup prints commands that sh runs", async (host) => {
  await host.sh(`${MOAT} network setup | sh`);
  const { address, guard } = await host.show();
  assert.deepEqual({ address, guard }, {
    address: { state: "ours" },
    guard: "present",
  });
});

test("setup prints commands that may run twice, to who cannot see the guard", async (host) => {
  const setup = [...WITHOUT_RIGHTS, MOAT, "network", "setup"].join(" ");
  await host.sh(`${setup} | sh`);
  await host.sh(`${setup} | sh`);
  const rules = await host.sh("nft list ruleset | grep -c drop");
  assert.equal(rules, "1\n");
});

// Setup and remove.

test("setup --apply adds the address to the loopback device alone", async (host) => {
  const { stdout, stderr } = await host.must("setup", "--apply");
  assert.equal(stdout, "");
  assert.match(stderr, /^ran: ip address add 169\.254\.170\.2\/32 /m);
  const lines = await host.sh(`ip -oneline address show to ${ADDRESS}`);
  assert.match(lines, /^1: lo +inet 169\.254\.170\.2\/32 scope host lo:moat/);
});

test("setup does nothing a second time, and says so", async (host) => {
  await host.must("setup", "--apply");
  const before = await host.state();
  for (const args of [["setup"], ["setup", "--apply"]]) {
    const { stdout, stderr } = await host.must(...args);
    assert.equal(stdout, "");
    assert.match(stderr, /is on lo already[^]*nothing to do/);
  }
  assert.equal(await host.state(), before);
});

test("setup brings back what somebody flushed", async (host) => {
  await host.must("setup", "--apply");
  const before = await host.state();
  await host.sh("nft flush ruleset");
  await host.must("setup", "--apply");
  assert.equal(await host.state(), before);
});

test("remove --apply undoes the setup and leaves other rules alone", async (host) => {
  await host.sh("nft add table ip other");
  const before = await host.state();
  await host.must("setup", "--apply");
  const { stdout, stderr } = await host.must("remove", "--apply");
  assert.equal(await host.state(), before);
  assert.equal(stdout, "");
  assert.match(stderr, /^warning: .*unbind them first$/m);
});

test("remove prints commands that sh runs", async (host) => {
  const before = await host.state();
  await host.must("setup", "--apply");
  await host.sh(`${MOAT} network remove | sh`);
  assert.equal(await host.state(), before);
});

test("remove has nothing to do where nothing was set up", async (host) => {
  const before = await host.state();
  const { stdout, stderr } = await host.must("remove", "--apply");
  assert.equal(stdout, "");
  assert.match(stderr, /nothing to do/);
  assert.equal(await host.state(), before);
});

// What somebody else had put there.

test("setup uses an address that is on the loopback device, and remove keeps it", async (host) => {
  await host.sh(`ip address add ${ADDRESS}/32 dev lo`);
  const before = await host.state();
  const { stderr } = await host.must("setup", "--apply");
  assert.doesNotMatch(stderr, /ip address add/);
  const kept = await host.must("remove", "--apply");
  assert.match(kept.stderr, /169\.254\.170\.2 on lo is not moat's: left alone/);
  assert.equal(await host.state(), before);
});

for (
  const { name, cidr } of [
    { name: "an address on another interface", cidr: `${ADDRESS}/32` },
    {
      name: "a container network around the address",
      cidr: "169.254.170.1/24",
    },
  ]
) {
  test(`setup refuses ${name}, and remove leaves it alone`, async (host) => {
    await host.sh(`
      ip link add br9 type bridge
      ip address add ${cidr} dev br9
      ip link set br9 up`);
    const before = await host.state();
    const { code, stdout, stderr } = await host.network("setup", "--apply");
    assert.equal(code, 1);
    assert.equal(stdout, "");
    assert.match(stderr, /^error: Cannot set up .*on "br9"\nhint: /);
    await host.must("remove", "--apply");
    assert.equal(await host.state(), before);
  });
}

// Rights and programs that are missing.

for (const verb of ["setup", "remove"]) {
  test(`${verb} --apply says what it needs`, async (host) => {
    if (verb === "remove") await host.must("setup", "--apply");
    const before = await host.state();
    const { code, stderr } = await host.run(
      ...WITHOUT_RIGHTS,
      ...[MOAT, "network", verb, "--apply"],
    );
    assert.equal(code, 1);
    assert.match(stderr, /^error: .*wanted root or CAP_NET_ADMIN/m);
    assert.match(
      stderr,
      new RegExp(`^hint: moat network ${verb} \\| sudo sh$`, "m"),
    );
    assert.equal(await host.state(), before);
  });
}

test("setup does without nft, and warns", async (host) => {
  const without = 'mount --bind /dev/null "$1" && shift && exec "$@"';
  const { code, stderr } = await host.run(
    ...["unshare", "--mount", "sh", "-c", without, "sh", which("nft") ?? ""],
    ...[MOAT, "network", "setup", "--apply"],
  );
  assert.equal(code, 0, stderr);
  assert.match(stderr, /^warning: .*install nftables/m);
  assert.deepEqual((await host.show())["address"], { state: "ours" });
});

// Who reaches a proxy there.

test("setup makes a proxy reachable for the host itself and for containers", async (host) => {
  await using container = await openContainer(host);
  await host.must("setup", "--apply");
  await using _proxy = await startProxy(host);
  const reached = [await host.reaches(HEALTH), await container.reaches(HEALTH)];
  assert.deepEqual(reached, [true, true]);
});

test("setup lets a container in whose network checks return paths", async (host) => {
  await using container = await openContainer(host);
  await host.sh("echo 1 | tee /proc/sys/net/ipv4/conf/*/rp_filter");
  await host.must("setup", "--apply");
  await using _proxy = await startProxy(host);
  assert.equal(await container.reaches(HEALTH), true);
});

for (const name of ["podman", "docker"] as const satisfies Engine[]) {
  testUnless(
    moatReason() ?? networkReason() ?? bedReason(name),
    `moat network setup makes a proxy reachable from a container of ${name}`,
    async () => {
      await using workspace = await Workspace.open();
      await using bed = await openBed(name);
      const { prefix, engine, mounts, image } = bed;
      // The bed has the address by itself.
      await run([
        ...prefix,
        ..."ip address flush dev lo to".split(" "),
        ADDRESS,
      ]);
      await runMoat(["network", "setup", "--apply"], { workspace, prefix });
      await using _proxy = await startMoat(
        ["proxy", "--listen", `${ADDRESS}:80`],
        { workspace, prefix },
      );
      const { stdout, stderr } = await run([
        ...[engine, "run", "--rm", ...mounts, image],
        ...["curl", "-sS", "--max-time", "5", `http://${ADDRESS}/healthz`],
      ]);
      assert.equal(stdout, "ok\n", stderr);
    },
  );
}

test("setup keeps a neighbour out who would come in without the guard", async (host) => {
  await using neighbour = await openNeighbour(host, ADDRESS);
  await host.must("setup", "--apply");
  await using _proxy = await startProxy(host);
  const guarded = await neighbour.reaches(HEALTH);
  await host.sh("nft flush ruleset");
  assert.deepEqual([guarded, await neighbour.reaches(HEALTH)], [false, true]);
});

test("setup keeps a neighbour out who uses the host as its router", async (host) => {
  await using neighbour = await openNeighbour(host, ADDRESS);
  await neighbour.sh(`ip route replace ${ADDRESS} via 10.78.0.1`);
  await host.must("setup", "--apply");
  await using _proxy = await startProxy(host);
  const guarded = await neighbour.reaches(HEALTH);
  await host.sh("nft flush ruleset");
  assert.deepEqual([guarded, await neighbour.reaches(HEALTH)], [false, true]);
});

// Show.

test("show names the setup as the next step at first", async (host) => {
  assert.deepEqual(await host.show(), {
    address: { state: "absent" },
    guard: "absent",
    listener: null,
    lowPorts: true,
    next: "moat network setup | sudo sh",
  });
});

test("show names the proxy as the next step after the setup", async (host) => {
  await host.must("setup", "--apply");
  assert.deepEqual(await host.show(), {
    address: { state: "ours" },
    guard: "present",
    listener: null,
    lowPorts: true,
    next: `moat proxy --listen 127.0.0.1:19080 --listen ${ADDRESS}:80`,
  });
});

test("show sees the proxy that listens there", async (host) => {
  await host.must("setup", "--apply");
  await using _proxy = await startProxy(host);
  const { listener } = await host.show();
  assert.equal(listener, `${ADDRESS}:80`);
});

test("show tells who else has the address", async (host) => {
  await host.sh(`
    ip link add br9 type bridge
    ip address add 169.254.170.1/24 dev br9`);
  const { stdout } = await host.must("show");
  assert.match(stdout, /169\.254\.170\.2 +taken: br9 has 169\.254\.170\.1\/24/);
});

for (
  const { name, first, lowPorts } of [
    { name: "may not listen on port 80", first: 1024, lowPorts: false },
    {
      name: "may listen on port 80 by the system's setting",
      first: 80,
      lowPorts: true,
    },
  ]
) {
  test(`show tells that a user ${name}`, async (host) => {
    await host.sh(
      `echo ${first} > /proc/sys/net/ipv4/ip_unprivileged_port_start`,
    );
    const { stdout } = await host.run(
      ...["setpriv", "--bounding-set=-net_bind_service"],
      ...[MOAT, "network", "show", "--json"],
    );
    assert.equal(JSON.parse(stdout).lowPorts, lowPorts);
  });
}

test("show needs no home and no rights", async (host) => {
  const { code, stdout, stderr } = await run(
    [...host.prefix, ...WITHOUT_RIGHTS, MOAT, "network", "show"],
    { clearEnv: true, env: { PATH: SYSTEM_PATH } },
  );
  assert.equal(code, 0, stderr);
  assert.match(stdout, /guard +unknown: only root can tell/);
});
