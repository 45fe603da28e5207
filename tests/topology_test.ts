/**
 * How containers reach moat, from end to end: every kind of network, mode and
 * way to give a container what it needs, with podman and dockerd. A container
 * that asks prints a session, which STS must know as one of the granted role.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { testUnless } from "./support/conditional.ts";
import { bedReason, type Engine, openBed } from "./support/containers.ts";
import { MOAT, moatReason } from "./support/moat.ts";
import { motoReason } from "./support/moto.ts";
import { openRootlessBed } from "./support/rootless_bed.ts";
import { run, type RunResult, which } from "./support/run.ts";
import { ASK, ASK_SDK, Host, LINK_LOCAL, WAIT } from "./support/topology.ts";

/** A container's network, and its client's mode. */
interface Client {
  /** Absent: the engine's own. */
  readonly network?: string;
  /** Absent: moat's own, `process`. */
  readonly mode?: string;
}

/** And what must come of it. */
interface Way extends Client {
  /** What moat says after "the container reaches moat". */
  readonly note: RegExp;
  /** It differs from others in nothing that matters to a lasting binding. */
  readonly runOnly?: true;
  /** The other engine has no such network. */
  readonly only?: Engine;
}

const GATEWAY =
  /^by its gateway (10|172)\.[\d.]+\.1, because the network "\w+" is a bridge of this host$/;

function relay(because: RegExp): RegExp {
  return new RegExp(
    `^by a relay on its own loopback, because ${because.source}$`,
  );
}

const HOST = /^by this host's loopback, because its network is this host's$/;
const NONE = relay(/it has no network \("none"\)/);
const INTERNAL = relay(/the network "narrow" is internal/);
const PEER = relay(/it shares the network of others \("container:peer"\)/);
const STRICT = relay(/its SDK takes no other address than loopback/);
const ROOTLESS = relay(
  /rootless podman keeps this network apart from the host/,
);
const ADDRESS =
  /^by 169\.254\.170\.2 of this host, because its mode asks there$/;

/** With a proxy on loopback alone. */
const WAYS: readonly Way[] = [
  { note: GATEWAY },
  { network: "wide", note: GATEWAY },
  { network: "wide,podman", note: GATEWAY, runOnly: true, only: "podman" },
  { network: "narrow", note: INTERNAL },
  { network: "host", note: HOST },
  { network: "none", note: NONE },
  { network: "container:peer", note: PEER },
  { mode: "ecs-full", note: STRICT },
  { network: "wide", mode: "ecs-full-query", note: STRICT, runOnly: true },
  { network: "narrow", mode: "ecs-full", note: INTERNAL, runOnly: true },
  { network: "host", mode: "ecs-full", note: HOST },
  { network: "host", mode: "ecs-full-query", note: HOST, runOnly: true },
  { network: "none", mode: "ecs-full", note: NONE },
  { network: "none", mode: "ecs-full-query", note: NONE },
  { network: "container:peer", mode: "ecs-full", note: PEER, runOnly: true },
];

/** With a proxy at 169.254.170.2, too. */
const RELATIVE_WAYS: readonly Way[] = [
  { mode: "ecs-relative", note: ADDRESS },
  { mode: "ecs-relative-query", note: ADDRESS },
  { network: "wide", mode: "ecs-relative", note: ADDRESS, runOnly: true },
  { network: "host", mode: "ecs-relative", note: ADDRESS, runOnly: true },
];

/** Its own networks need slirp4netns. */
const ROOTLESS_WAYS: readonly Way[] = [
  { network: "none", note: NONE },
  { network: "none", mode: "ecs-full", note: NONE },
  { network: "host", note: HOST },
  { network: "host", mode: "ecs-full", note: HOST },
];

function describe({ network = "the default bridge", mode }: Client): string {
  return `${mode ?? "process"} on ${network}`;
}

/** Flags of `moat run` and `moat bind`. */
function modeFlags({ mode }: Client): string[] {
  return mode === undefined ? [] : ["--mode", mode];
}

/** Options of the engine, and flags of `moat bind`. */
function networkFlags({ network }: Client): string[] {
  return network === undefined ? [] : ["--network", network];
}

/** What moat says about the way it chose. */
function noteIn(stderr: string): string {
  return /^note: the container reaches moat (.*)$/m.exec(stderr)?.[1] ?? stderr;
}

/** Sends bytes to a socket, and prints what comes back. */
const SEND = `use IO::Socket::UNIX;
my $s = IO::Socket::UNIX->new($ARGV[0]) or die "connect: $!";
$s->print($ARGV[1]); $s->flush; print while <$s>`;

const SOCKET = "/moat/endpoint.sock";

/** The steps of one engine, which share a host. */
class Topology {
  readonly #t: Deno.TestContext;
  readonly #host: Host;
  readonly #sdkModes = new Set<string>();
  #bindings = 0;

  constructor(t: Deno.TestContext, host: Host) {
    this.#t = t;
    this.#host = host;
  }

  /** A step. */
  async step(name: string, fn: (host: Host) => Promise<void>): Promise<void> {
    await this.#t.step(name, () => fn(this.#host));
  }

  /** `moat run`, with a real SDK where one is the first in its mode. */
  async run(way: Way, sdk = ASK_SDK): Promise<void> {
    const { mode = "process" } = way;
    const command = this.#sdkModes.has(mode) ? ASK : sdk;
    this.#sdkModes.add(mode);
    await this.step(`moat run: ${describe(way)}`, async (host) => {
      const result = await host.moat(
        ...["run", "--grant", "aws", ...modeFlags(way), "--"],
        ...host.container(networkFlags(way), command),
      );
      assert.match(await host.sessionOf(result), RUN_SESSION);
      assert.match(noteIn(result.stderr), way.note);
    });
  }

  /** `moat bind`, then both ways to start its container. */
  async bind(way: Way): Promise<void> {
    const name = `bound-${++this.#bindings}`;
    await this.step(`moat bind: ${describe(way)}`, async (host) => {
      const stderr = await bind(host, name, way);
      assert.match(noteIn(stderr), way.note);
    });
    await this.step(`moat exec: ${describe(way)}`, async (host) => {
      const line = host.container(networkFlags(way));
      const result = await host.moat("exec", name, "--", ...line);
      assert.equal(await host.sessionOf(result), sessionOf(name));
    });
    await this.step(`typed by hand: ${describe(way)}`, async (host) => {
      const result = await host.typeContainer(name, networkFlags(way));
      assert.equal(await host.sessionOf(result), sessionOf(name));
    });
  }
}

const RUN_SESSION = new RegExp(`^${sessionOf("run-")}[0-9a-z]{10}$`);

/** The session of a binding, as STS knows it. */
function sessionOf(binding: string): string {
  return `arn:aws:sts::123456789012:assumed-role/Deploy/moat-${binding}`;
}

/** Binds, which must succeed; gives what was said. */
async function bind(
  host: Host,
  name: string,
  way: Client,
  ...flags: string[]
): Promise<string> {
  const { code, stderr } = await host.moat(
    ...["bind", name, "--grant", "aws", "--engine", host.engine],
    ...[...networkFlags(way), ...modeFlags(way), ...flags],
  );
  assert.equal(code, 0, stderr);
  return stderr;
}

/** Starts the container of a binding, which waits. */
async function startBound(
  host: Host,
  name: string,
  options: readonly string[] = [],
): Promise<void> {
  const all = ["--name", name, ...options];
  await host.start("exec", name, "--", ...host.container(all, WAIT));
}

/** `moat run` that must be refused; gives what it said. */
async function refusal(
  host: Host,
  mode: string,
  line: readonly string[],
): Promise<string> {
  const { code, stdout, stderr } = await host.moat(
    ...["run", "--grant", "aws", "--mode", mode, "--", ...line],
  );
  assert.deepEqual([code, stdout], [125, ""], stderr);
  return stderr;
}

/** Every word of every command line on this machine. */
async function commandLines(): Promise<string> {
  let text = "";
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    text += await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
  }
  return text;
}

/** The token in a container's environment, or in its file. */
async function tokenIn(host: Host, container: string): Promise<string> {
  const look = ["sh", "-c", "env; cat /moat/token 2>&1"];
  const { stdout } = await host.inside(container, look);
  const [token] = /moat\.[\w.-]+\.[\w-]{43}/.exec(stdout) ?? [];
  assert.ok(token, "no token");
  return token;
}

/** Runs a command as a user that is neither root nor the owner. */
function asStranger(host: Host, ...argv: string[]): Promise<RunResult> {
  const ids = ["--reuid=64124", "--regid=64124", "--clear-groups"];
  return run([...host.bed.prefix, "setpriv", ...ids, "--", ...argv]);
}

/** A container with nothing in it but busybox: no shell at its place, no libraries. */
async function staticImage(topology: Topology): Promise<void> {
  const name = "an image of one static program has credentials";
  await topology.step(name, async (host) => {
    await host.importBusybox("localhost/static");
    const ask = '/busybox wget -q -O - "$AWS_CONTAINER_CREDENTIALS_FULL_URI"';
    const result = await host.moat(
      ...["run", "--grant", "aws", "--mode", "ecs-full-query", "--"],
      ...[host.bed.engine, "run", "--rm", "--network", "none"],
      ...["localhost/static", "/busybox", "sh", "-c", ask],
    );
    assert.match(await host.sessionOf(result), RUN_SESSION);
  });
}

/** What is not there is refused, before anything is started. */
async function refusals(topology: Topology): Promise<void> {
  for (const network of ["none", "narrow"]) {
    const name = `ecs-relative on ${network} is refused`;
    await topology.step(name, async (host) => {
      const line = host.container(["--network", network]);
      const said = await refusal(host, "ecs-relative", line);
      assert.match(said, /^error: .* so it cannot reach 169\.254\.170\.2 /);
      assert.match(said, /\nhint: use another mode: process and ecs-full /);
    });
  }
  const name = "a container with nothing to start is refused";
  await topology.step(name, async (host) => {
    await host.importBusybox("localhost/empty");
    const line = host.container(["--network=none"], [], "localhost/empty");
    const said = await refusal(host, "ecs-full", line);
    assert.match(said, /^error: Cannot start "localhost\/empty": neither /m);
    assert.match(said, /\nhint: \w+ run … localhost\/empty COMMAND\n$/);
  });
}

/** Without the address a clear refusal; then what its hint says. */
async function relative(topology: Topology): Promise<void> {
  let hint = "";
  const name = `ecs-relative needs a proxy at ${LINK_LOCAL}`;
  await topology.step(name, async (host) => {
    const said = await refusal(host, "ecs-relative", host.container([]));
    assert.match(said, /^error: .*: the proxy does not listen there\n/);
    hint = /^hint: sudo (.*)$/m.exec(said)?.[1] ?? said;
  });
  await topology.step("its hint brings the proxy there", async (host) => {
    const [, setup = "", flags = ""] =
      /^(.*), then start it with (.*)$/.exec(hint) ?? [];
    await host.sh(`ip address delete ${LINK_LOCAL}/32 dev lo`);
    await host.sh(setup);
    await host.stopProxy();
    await host.startProxy(...flags.split(" "));
  });
  for (const way of RELATIVE_WAYS) {
    await topology.run(way);
    if (!way.runOnly) await topology.bind(way);
  }
}

/** What a container finds in its environment. */
async function environmentFiles(topology: Topology): Promise<void> {
  for (const mode of ["process", "ecs-full", "ecs-full-query"]) {
    const name = `--env-file gives exactly the values of ${mode}`;
    await topology.step(name, async (host) => {
      const binding = `file-${mode}`;
      await bind(host, binding, { network: "none", mode });
      const view = JSON.parse(await host.do("env", binding, "--format=json"));
      const out = await host.sh(
        `moat env ${binding} --format env >variables
        ${host.engine} run --rm --network none --env-file variables "$@"`,
        ...[...host.bed.mounts, host.bed.image, "env"],
      );
      const lines = out.split("\n");
      const found = Object.keys(view.environment).map((variable) =>
        lines.filter((line) => line.startsWith(`${variable}=`))
      );
      assert.deepEqual(
        found,
        Object.entries(view.environment).map(([key, value]) => [
          `${key}=${value}`,
        ]),
      );
    });
  }
}

/** A container that outlives a proxy and a token. */
async function lasting(topology: Topology): Promise<void> {
  const names = ["by-gateway", "by-relay"];
  await topology.step("containers of bindings start", async (host) => {
    await bind(host, "by-gateway", {});
    const flags = ["--token-file"];
    const way = { network: "none", mode: "ecs-full" };
    await bind(host, "by-relay", way, ...flags);
    await startBound(host, "by-gateway");
    await startBound(host, "by-relay", ["--network", "none"]);
  });
  for (const name of names) {
    await topology.step(`a container ${name} asks`, async (host) => {
      const asked = await host.inside(name);
      assert.equal(await host.sessionOf(asked), sessionOf(name));
    });
  }
  await topology.step("nobody answers without a proxy", async (host) => {
    await host.stopProxy();
    for (const name of names) {
      assert.notEqual((await host.inside(name)).code, 0);
    }
    await host.startProxy();
  });
  for (const name of names) {
    await topology.step(
      `a container ${name} asks another proxy`,
      async (host) => {
        const asked = await host.inside(name);
        assert.equal(await host.sessionOf(asked), sessionOf(name));
      },
    );
  }
  for (const name of names) {
    await topology.step(
      `a container ${name} has the new token of a binding`,
      async (host) => {
        const before = await host.inside(name, ["cat", "/moat/token"]);
        const way = name === "by-relay"
          ? { network: "none", mode: "ecs-full" }
          : {};
        await bind(host, name, way, ...way.mode ? ["--token-file"] : []);
        const after = await host.inside(name, ["cat", "/moat/token"]);
        assert.notEqual(after.stdout, before.stdout);
        const asked = await host.inside(name);
        assert.equal(await host.sessionOf(asked), sessionOf(name));
      },
    );
  }
}

/** What a container can do with what is mounted, and who else can. */
async function security(topology: Topology): Promise<void> {
  await topology.step("containers with tokens start", async (host) => {
    await bind(host, "header", { network: "none", mode: "ecs-full" });
    const query = { network: "none", mode: "ecs-full-query" };
    await bind(host, "query", query);
    await startBound(host, "header", ["--network", "none"]);
    await startBound(host, "query", ["--network", "none"]);
    for (const mode of ["ecs-full", "ecs-full-query"]) {
      const options = ["--name", `run-${mode}`, "--network", "none"];
      const line = host.container(options, WAIT);
      await host.start("run", "--grant=aws", `--mode=${mode}`, "--", ...line);
    }
  });
  await topology.step("no token is on a command line", async (host) => {
    const lines = await commandLines();
    for (
      const name of ["header", "query", "run-ecs-full", "run-ecs-full-query"]
    ) {
      const token = await tokenIn(host, name);
      assert.ok(!lines.includes(token), `the token of ${name} is`);
    }
  });
  await topology.step(
    "the mounted socket takes no control line",
    async (host) => {
      const line = '{"id":1,"method":"status","params":{}}\n';
      const send = ["perl", "-e", SEND, SOCKET, line];
      const { stdout } = await host.inside("header", send);
      assert.match(stdout, /^HTTP\/1\.1 400 /);
    },
  );
  await topology.step(
    "the mounted socket serves its own binding",
    async (host) => {
      assert.equal(await statusAt(host, await tokenIn(host, "header")), 200);
    },
  );
  await topology.step(
    "the mounted socket serves no other binding",
    async (host) => {
      const token = await tokenIn(host, "run-ecs-full");
      assert.equal(await statusAt(host, token), 401);
    },
  );
  await topology.step("there is one socket in the container", async (host) => {
    const find = ["find", "/moat", "-type", "s"];
    const { stdout } = await host.inside("header", find);
    assert.equal(stdout, `${SOCKET}\n`);
  });
  await topology.step(
    "root in the container cannot write there",
    async (host) => {
      const remove = ["rm", SOCKET];
      const { code, stderr } = await host.inside("header", remove);
      assert.match(stderr, /Read-only file system/);
      assert.notEqual(code, 0);
    },
  );
  await topology.step(
    "other users of the host get at nothing",
    async (host) => {
      // What moat itself makes private must do, whatever is above it.
      const home = host.workspace.moatHome;
      await Deno.chmod(host.workspace.directory, 0o755);
      await Deno.chmod(home, 0o755);
      try {
        const [run] = Deno.readDirSync(`${home}/runs`);
        const private_ = ["bound/header", "env", `runs/${run?.name}`];
        for (const name of private_) {
          const { code } = await asStranger(host, "ls", `${home}/${name}/`);
          assert.notEqual(code, 0, name);
        }
        const { stdout } = await asStranger(host, "ls", home);
        assert.match(stdout, /^bound$/m);
      } finally {
        await Deno.chmod(home, 0o700);
      }
    },
  );
}

/** Asks at the socket of the container `header` with some token. */
async function statusAt(host: Host, token: string): Promise<number> {
  const { stdout } = await host.inside("header", [
    ...["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}"],
    ...["--unix-socket", SOCKET, "-H", `Authorization: Bearer ${token}`],
    "http://127.0.0.1/ecs/credentials",
  ]);
  return Number(stdout);
}

for (const engine of ["podman", "docker"] satisfies Engine[]) {
  const reason = moatReason() ?? motoReason() ?? bedReason(engine) ??
    missingReason();

  testUnless(reason, `containers of ${engine} reach moat`, async (t) => {
    await using bed = await openBed(engine);
    await using host = await Host.open(engine, bed);
    const topology = new Topology(t, host);
    await host.startProxy();
    await host.sh(`${engine} network create wide`);
    await host.sh(`${engine} network create --internal narrow`);
    await host.start(
      ...["run", "--grant", "aws", "--"],
      ...host.container(["--name", "peer", "--network", "none"], WAIT),
    );
    for (const way of WAYS) {
      if (way.only && way.only !== engine) continue;
      await topology.run(way);
      if (!way.runOnly) await topology.bind(way);
    }
    await topology.step("another container's relay still works", async () => {
      const asked = await host.inside("peer");
      assert.match(await host.sessionOf(asked), RUN_SESSION);
    });
    await staticImage(topology);
    await refusals(topology);
    await environmentFiles(topology);
    await lasting(topology);
    await security(topology);
    await relative(topology);
  });
}

testUnless(
  moatReason() ?? bedReason("podman") ?? missingReason(),
  "containers of rootless podman reach moat",
  async (t) => {
    await using bed = await openBed("podman");
    await using rootless = await openRootlessBed(bed);
    // The built one may be where only its owner can go.
    const program = join(rootless.directory, "moat");
    await Deno.copyFile(MOAT, program);
    await using host = await Host.open("podman", rootless, program);
    const topology = new Topology(t, host);
    await host.startProxy();
    for (const way of ROOTLESS_WAYS) await topology.run(way, ASK);
    await topology.step("its own networks are apart", async (host) => {
      assert.match(noteIn(await bind(host, "apart", {})), ROOTLESS);
      // Whatever its network is, it has a loopback.
      const result = await host.typeContainer("apart", ["--network=none"]);
      assert.equal(await host.sessionOf(result), sessionOf("apart"));
    });
  },
);

function missingReason(): string | undefined {
  const missing = ["busybox", "perl", "setpriv", "nft"].filter((program) =>
    !which(program)
  );
  return missing.length === 0
    ? undefined
    : `not installed: ${missing.join(", ")}`;
}
