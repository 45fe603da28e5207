/**
 * The README's own walk, on a host that has none of the metadata addresses and
 * a real metadata service behind it: rules first, then moat, then containers.
 */

import assert from "node:assert/strict";
import { testUnless } from "./support/conditional.ts";
import { bedReason, type Engine } from "./support/containers.ts";
import {
  ACCOUNT,
  ALLOWED,
  HOST_ADDRESS,
  ImdsBed,
  type ImdsContainer,
} from "./support/imds_bed.ts";
import { IMDS, ImdsClient } from "./support/imds_client.ts";
import { moatReason, runMoat } from "./support/moat.ts";
import { motoReason, PYTHON } from "./support/moto.ts";
import { Netns, networkReason } from "./support/netns.ts";
import { type RunResult, startServer } from "./support/run.ts";

const IMDS_6 = "http://[fd00:ec2::254]";

const LISTEN_6 = ["--imds", "[fd00:ec2::254]:80"];

/** The real service: the same answer to everybody, with IPv4 and IPv6. */
const CLOUD = `
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
  def answer(self):
    self.send_response(200)
    self.end_headers()
    self.wfile.write(b"cloud")
  do_GET = do_PUT = answer
  def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
  address_family = socket.AF_INET6
  def server_bind(self):
    self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    super().server_bind()
server = Server(("::", 80), Handler)
print("ready", flush=True)
server.serve_forever()
`;

/** The engines' words for a network with IPv6 of their own. */
const SIX: Readonly<Record<Engine, readonly string[]>> = {
  docker: ["--ipv6", "--subnet", "fd97::/64", "six"],
  podman: ["--ipv6", "six"],
};

/** Prints whose session the container got, as the first thing that it does. */
const FIRST_WORDS = `
token=$(curl -sSf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' ${IMDS}/latest/api/token)
curl -sSf -H "X-aws-ec2-metadata-token: $token" ${IMDS}/latest/meta-data/iam/security-credentials/`;

/** A host with an engine, and the cloud that it is in. */
class Host implements AsyncDisposable {
  private constructor(
    readonly bed: ImdsBed,
    private readonly stack: AsyncDisposableStack,
  ) {}

  static async open(engine: Engine): Promise<Host> {
    await using stack = new AsyncDisposableStack();
    const bed = stack.use(await ImdsBed.open(engine));
    const cloud = stack.use(await Netns.open());
    const host = new Host(bed, stack);
    await host.sh(`
      ip address flush dev lo scope global
      ip address add ${HOST_ADDRESS}/32 dev lo
      sysctl -qw net.ipv6.conf.all.forwarding=1
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
      ip address add 169.254.169.254 dev lo
      ip address add fd00:ec2::254 dev lo`);
    const serve = [...cloud.prefix, PYTHON, "-c", CLOUD];
    stack.use(await startServer(serve, { ready: /^ready\n/gm }));
    await bed.must([bed.bed.engine, "network", "create", ...SIX[engine]]);
    return new Host(bed, stack.move());
  }

  /** Runs lines of sh on it. */
  sh(script: string): Promise<string> {
    return this.bed.must([...this.bed.bed.prefix, "sh", "-ec", script]);
  }

  /** Runs moat on it. */
  moat(...args: string[]): Promise<RunResult> {
    return runMoat(args, { prefix: this.bed.bed.prefix });
  }

  /** Sets or removes rules. */
  async rules(...args: string[]): Promise<void> {
    const { code, stderr } = await this.moat("network-rules", ...args);
    assert.equal(code, 0, stderr);
  }

  /** All that moat could have changed, while no container runs. */
  state(): Promise<string> {
    return this.sh(`
      ip -oneline address show dev lo
      ip route show table local dev lo
      nft --stateless list ruleset`);
  }

  /** Starts a container on the network with IPv6. */
  startSix(role: string): Promise<ImdsContainer> {
    const options = ["--network", "six"];
    return this.bed.start({ env: { IAM_ROLE: role }, options });
  }

  /** What a container finds at both addresses. */
  async found(): Promise<string[]> {
    await using web = await this.startSix("App");
    const ask = async (base: string) => {
      const curl = ["curl", "-gqs", "--max-time", "3", `${base}/latest/`];
      const { code, stdout } = await web.exec(curl);
      // By curl's manual: cannot connect.
      return code === 7 ? "refused" : `${stdout} ${code}`;
    };
    return await Promise.all([ask(IMDS), ask(IMDS_6)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack.disposeAsync();
  }
}

/** Fails unless STS takes a session for this container's, in this role. */
async function assertRole(
  { bed }: Host,
  container: ImdsContainer,
  role: string,
  base: string,
): Promise<void> {
  const client = new ImdsClient(container.exec, base);
  const served = await client.credentials();
  const session = `${container.name}-${container.id.slice(0, 12)}`;
  assert.deepEqual(
    [served.role, await bed.whoIs(served.credentials)],
    [role, `arn:aws:sts::${ACCOUNT}:assumed-role/${role}/${session}`],
  );
}

async function walk(t: Deno.TestContext, host: Host): Promise<void> {
  await t.step(
    "without rules a container reaches the service of the host",
    async () => {
      assert.deepEqual(await host.found(), ["cloud 0", "cloud 0"]);
    },
  );
  const before = await host.state();
  await host.rules("--apply");
  await t.step("with rules, before moat listens, it is refused", async () => {
    assert.deepEqual(await host.found(), ["refused", "refused"]);
  });
  await t.step("with moat", (t) => walkWithMoat(t, host));
  await t.step("when moat has ended it is refused again", async () => {
    assert.deepEqual(await host.found(), ["refused", "refused"]);
  });
  await host.rules("--remove");
  await t.step("--remove restores all that was", async () => {
    assert.equal(await host.state(), before);
  });
  await t.step("and the way to the service of the host", async () => {
    assert.deepEqual(await host.found(), ["cloud 0", "cloud 0"]);
  });
}

async function walkWithMoat(t: Deno.TestContext, host: Host): Promise<void> {
  const { bed } = host;
  await using moat = await bed.startProxy({ flags: LISTEN_6 });
  await t.step("it says where it serves", () => {
    const served = [...moat.stdout().matchAll(/^imds (\S+)$/gm)];
    assert.deepEqual(served.map(([, url]) => url), [
      `${IMDS}:80`,
      `${IMDS_6}:80`,
    ]);
  });
  await t.step("a container gets its role as it starts", async () => {
    const command = ["sh", "-c", FIRST_WORDS];
    const container = { env: { IAM_ROLE: "App" } };
    const { stdout, stderr } = await bed.runOnce(container, command);
    assert.equal(stdout, "App", stderr);
  });
  await t.step("on the default network it gets its own session", async () => {
    await using web = await bed.start({ env: { IAM_ROLE: "App" } });
    await assertRole(host, web, "App", IMDS);
  });
  for (const base of [IMDS, IMDS_6]) {
    await t.step(
      `two containers get their own sessions by ${base}`,
      async () => {
        await using app = await host.startSix("App");
        await using other = await host.startSix("Other");
        await Promise.all([
          assertRole(host, app, "App", base),
          assertRole(host, other, "Other", base),
        ]);
      },
    );
  }
  await t.step("a token of another container is refused by IPv6", async () => {
    await using app = await host.startSix("App");
    await using other = await host.startSix("App");
    const token = await new ImdsClient(app.exec, IMDS_6).token();
    const { status } = await new ImdsClient(other.exec, IMDS_6).get(
      "/latest/meta-data/iam/security-credentials/App",
      { "X-aws-ec2-metadata-token": token },
    );
    assert.equal(status, 401);
  });
  await t.step("no secret is in what it printed", async () => {
    const { stdout, stderr } = await moat.stop();
    bed.assertNoSecret(stdout, stderr);
  });
}

/** Strict, with the list that this needs. */
function startStrict({ bed }: Host, env: Record<string, string> = {}) {
  return bed.startMetadataProxy({
    flags: ["--strict"],
    config: ALLOWED.replace(/^grant .*\n/m, ""),
    env: { DOCKER_URL: bed.socket, DEFAULT_ACCOUNT_ID: ACCOUNT, ...env },
  });
}

async function walkStrict(t: Deno.TestContext, host: Host): Promise<void> {
  await host.rules("--to", ":8000", "--apply");
  await t.step("before it listens a container is refused", async () => {
    assert.deepEqual(await host.found(), ["refused", "refused"]);
  });
  await t.step(
    "rules to 127.0.0.1 are refused, and those that are set stay",
    async () => {
      const before = await host.state();
      const to = ["network-rules", "--to", "127.0.0.1:8000", "--apply"];
      const { code, stderr } = await host.moat(...to);
      assert.deepEqual([code, await host.state()], [2, before]);
      assert.match(stderr, /^error: .*"127\.0\.0\.1:8000".*route_localnet/m);
    },
  );
  await t.step("with HOST=127.0.0.1 a container is refused", async () => {
    await using _moat = await startStrict(host, { HOST: "127.0.0.1" });
    assert.deepEqual(await host.found(), ["refused", "refused"]);
  });
  await using _moat = await startStrict(host);
  await t.step("a container gets its own session", async () => {
    await using web = await host.startSix("App");
    await assertRole(host, web, "App", IMDS);
  });
  await t.step("a role outside the list is refused", async () => {
    await using web = await host.startSix("Admin");
    assert.equal((await web.client.refusal()).status, 403);
  });
  await t.step("version 1 is refused", async () => {
    await using web = await host.startSix("App");
    assert.equal((await web.client.refusal("v1")).status, 403);
  });
  await t.step(
    "by IPv6, at which it does not listen, a container is refused",
    async () => {
      assert.equal((await host.found())[1], "refused");
    },
  );
}

for (const engine of ["podman", "docker"] satisfies Engine[]) {
  const reason = moatReason() ?? motoReason() ?? networkReason() ??
    bedReason(engine);

  testUnless(reason, `${engine}: rules, moat proxy, containers`, async (t) => {
    await using host = await Host.open(engine);
    await walk(t, host);
  });

  testUnless(
    reason,
    `${engine}: rules to :8000, moat metadata-proxy --strict, containers`,
    async (t) => {
      await using host = await Host.open(engine);
      await walkStrict(t, host);
    },
  );
}

/** A metadata address that cannot be listened on. */
interface Unusable {
  readonly name: string;
  readonly args?: readonly string[];
  /** Before moat. */
  readonly script?: string;
  /** Where another program listens meanwhile. */
  readonly taken?: string;
  readonly error: string;
  readonly hint: RegExp;
}

const ADD = "ip address add 169.254.169.254/32 dev lo";

const UNUSABLE: readonly Unusable[] = [
  {
    name: "the address is not this host's",
    error:
      `Cannot listen on ${IMDS}:80: no interface of this host has that address`,
    hint: /moat network-rules --apply/,
  },
  {
    name: "the IPv6 address is not this host's",
    script: ADD,
    args: LISTEN_6,
    error:
      `Cannot listen on ${IMDS_6}:80: no interface of this host has that address`,
    hint: /moat network-rules --apply/,
  },
  {
    name: "another program has the address and port",
    script: ADD,
    taken: "169.254.169.254",
    error: `Cannot listen on ${IMDS}:80: another program does`,
    hint: /--imds /,
  },
  {
    name: "another program has the port of all addresses",
    script: ADD,
    taken: "0.0.0.0",
    error: `Cannot listen on ${IMDS}:80: another program does`,
    hint: /--imds /,
  },
];

for (const { name, args, script, taken, error, hint } of UNUSABLE) {
  testUnless(
    moatReason() ?? networkReason(),
    `moat proxy --imds ends when ${name}`,
    async () => {
      await using host = await Netns.open();
      if (script) await host.sh(script);
      await using stack = new AsyncDisposableStack();
      if (taken) {
        const serve = ["python3", "-u", "-m", "http.server", "80"];
        const argv = [...host.prefix, ...serve, "--bind", taken];
        stack.use(await startServer(argv, { ready: /^Serving /gm }));
      }
      const proxy = ["proxy", "--listen", "127.0.0.1:0", "--imds"];
      const { code, stdout, stderr } = await runMoat(
        [...proxy, ...args ?? []],
        {
          prefix: host.prefix,
          // Of no engine.
          env: { DOCKER_HOST: `unix://${host.workspace.path("none.sock")}` },
        },
      );
      assert.deepEqual([code, stdout], [1, ""]);
      const [last, before] = stderr.trimEnd().split("\n").reverse();
      assert.equal(before, `error: ${error}`);
      assert.match(last ?? "", /^hint: /);
      assert.match(last ?? "", hint);
    },
  );
}
