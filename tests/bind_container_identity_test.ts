/**
 * Bindings of one container: with a token, that neither token nor container
 * alone is enough; without one, that the container is. On a host of its own
 * with two addresses behind a bridge, and an engine that says whose they are.
 *
 * A client that may ask is told that there is nothing at its path (404), so no
 * session is ever needed; one that may not learns no more than that (401, 407).
 */

import assert from "node:assert/strict";
import { Talk } from "../scripts/conformance/talk.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { type FakeContainer, FakeEngine } from "./support/fake_engine.ts";
import { ImdsClient, ROLES } from "./support/imds_client.ts";
import {
  moatReason,
  type MoatServer,
  runMoat,
  startMoat,
} from "./support/moat.ts";
import { Netns, networkReason, openContainer } from "./support/netns.ts";
import { type RunResult, SYSTEM_PATH, which } from "./support/run.ts";

const RELATIVE = "169.254.170.2";
const METADATA = "169.254.169.254";

/** Addresses of the two containers. */
const WEB = "10.79.0.2";
const DB = "10.79.0.3";

/** The role of the grant. */
const ROLE = "arn:aws:iam::123456789012:role/App";

const PROXY = [
  ...["proxy", "--listen", "127.0.0.1:19080", "--listen", `${RELATIVE}:80`],
  "--imds",
];

/** Asks on one connection, a line for each answer; `closed` once it is. */
const KEEP_ALIVE = `
import http.client, sys
_, address, token = sys.argv
client = http.client.HTTPConnection("${RELATIVE}", 80, 8, (address, 0))
client.connect()
client.auto_open = 0
print("ready", flush=True)
for _ in sys.stdin:
  try:
    client.request("GET", "/nothing", headers={"Authorization": "Bearer " + token})
    answer = client.getresponse()
    answer.read()
    print(answer.status, flush=True)
  except Exception:
    print("closed", flush=True)
`;

/** A host, its engine, a grant, a proxy, and two containers on a bridge. */
class Scene implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly host: Netns;
  readonly engine: FakeEngine;
  readonly #inside: Netns;
  readonly web: FakeContainer;
  #proxy: MoatServer | undefined;

  private constructor(
    host: Netns,
    inside: Netns,
    engine: FakeEngine,
    stack: AsyncDisposableStack,
  ) {
    this.host = host;
    this.#inside = inside;
    this.engine = engine;
    this.#stack = stack;
    this.web = engine.addContainer({
      ...{ name: "web", ip: WEB, labels: { app: "web" } },
    });
    engine.addContainer({ name: "db", ip: DB });
  }

  static async open(): Promise<Scene> {
    await using stack = new AsyncDisposableStack();
    const engine = stack.use(await FakeEngine.start());
    const host = stack.use(await Netns.open());
    const inside = stack.use(await openContainer(host));
    await host.sh(`
      ip address add ${RELATIVE}/32 dev lo
      ip address add ${METADATA}/32 dev lo`);
    await inside.sh(`ip address add ${DB}/24 dev eth0`);
    const scene = new Scene(host, inside, engine, stack.move());
    const grant = ["grant", "aws", "--role", ROLE, "--no-validate"];
    await scene.do(...grant);
    await scene.startProxy();
    return scene;
  }

  get #options() {
    const { host, engine } = this;
    return {
      workspace: host.workspace,
      prefix: host.prefix,
      env: {
        AWS_ACCESS_KEY_ID: "AKIAIOSFODNN7EXAMPLE",
        AWS_SECRET_ACCESS_KEY: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        AWS_REGION: "us-east-1",
        AWS_ENDPOINT_URL_STS: "http://127.0.0.1:9",
        DOCKER_HOST: engine.url,
      },
    };
  }

  /** Stops the proxy, and starts one anew. */
  async startProxy(args: readonly string[] = PROXY): Promise<void> {
    await this.#proxy?.stop();
    this.#proxy = await startMoat(args, { ...this.#options, listeners: 2 });
  }

  moat(...args: string[]): Promise<RunResult> {
    return runMoat(args, this.#options);
  }

  /** As {@link moat}, which must succeed; gives its stdout. */
  async do(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.moat(...args);
    assert.equal(code, 0, `moat ${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  /** Binds; gives the token. */
  async bind(name: string, ...flags: string[]): Promise<string> {
    await this.do(
      ...["bind", name, "--grant", "aws", "--mode", "ecs-relative", ...flags],
    );
    const { environment } = JSON.parse(
      await this.do("env", name, "--format", "json"),
    );
    const value: string = environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"];
    return value.replace("Bearer ", "");
  }

  /** The status of an answer to a client at an address. */
  async ask(address: string, ...flags: string[]): Promise<number> {
    const { stdout, stderr } = await this.#inside.run(
      ...["curl", "-qsS", "--max-time", "8", "--interface", address],
      ...["--output", "/dev/null", "--write-out", "%{http_code}", ...flags],
    );
    assert.match(stdout, /^\d{3}$/, stderr);
    return Number(stdout);
  }

  /** The status of an answer at a path that is not there. */
  status(address: string, token: string): Promise<number> {
    return this.ask(
      address,
      ...["--header", `Authorization: Bearer ${token}`],
      `http://${RELATIVE}/nothing`,
    );
  }

  /** A client that keeps its connection. */
  async connect(address: string, token: string): Promise<Talk> {
    const talk = this.#stack.use(
      new Talk("client", {
        argv: [
          ...[...this.#inside.prefix, which("python3") ?? "python3"],
          ...["-c", KEEP_ALIVE, address, token],
        ],
        ...{ env: { PATH: SYSTEM_PATH }, cwd: "/" },
      }),
    );
    assert.equal(await talk.hear(), "ready");
    return talk;
  }

  /** What a container is told of its role. */
  async role(address: string): Promise<string> {
    const client = new ImdsClient(
      (argv) => this.#inside.run(...argv),
      `http://${METADATA}`,
      ["--interface", address],
    );
    const [token] = await client.ask({
      ...{ method: "PUT", path: "/latest/api/token" },
      headers: { "X-aws-ec2-metadata-token-ttl-seconds": "60" },
    });
    if (token?.status !== 200) return String(token?.status);
    const { status, body } = await client.get(ROLES, {
      "X-aws-ec2-metadata-token": token.body,
    });
    return status === 200 ? body : String(status);
  }

  /** Lines of the proxy's log of one event. */
  logged(event: string): Record<string, unknown>[] {
    return (this.#proxy?.stderr() ?? "").split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line))
      .filter((line) => line.event === event);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#proxy?.stop();
    await this.#stack.disposeAsync();
  }
}

const reason = moatReason() ?? networkReason() ??
  (which("python3") ? undefined : "no python3");

function identityTest(name: string, fn: (scene: Scene) => Promise<void>) {
  testUnless(reason, `a binding of one container ${name}`, async () => {
    await using scene = await Scene.open();
    await fn(scene);
  });
}

const ONLY_WEB = ["--container", "web"];

identityTest("serves it with its token", async (scene) => {
  const token = await scene.bind("web", ...ONLY_WEB);
  assert.equal(await scene.status(WEB, token), 404);
});

identityTest("refuses it with another token", async (scene) => {
  const token = await scene.bind("web", ...ONLY_WEB);
  const wrong = token.slice(0, -4) + "AAAA";
  assert.equal(await scene.status(WEB, wrong), 401);
});

identityTest("refuses another container with its token", async (scene) => {
  const token = await scene.bind("web", ...ONLY_WEB);
  assert.equal(await scene.status(DB, token), 401);
  const [told] = scene.logged("container-mismatch");
  const { binding, container, address } = told ?? {};
  assert.deepEqual([binding, container, address], ["web", "db", DB]);
  assert(!JSON.stringify(scene.logged("container-mismatch")).includes(token));
});

identityTest("refuses a program of the host with its token", async (scene) => {
  const token = await scene.bind("web", ...ONLY_WEB);
  const { stdout } = await scene.host.run(
    ...["curl", "-qsS", "--output", "/dev/null", "--write-out", "%{http_code}"],
    ...["--header", `Authorization: Bearer ${token}`],
    `http://${RELATIVE}/nothing`,
  );
  assert.equal(stdout, "401");
});

identityTest("knows it by its label", async (scene) => {
  const token = await scene.bind("web", "--container", "label:app=web");
  assert.deepEqual(
    [await scene.status(WEB, token), await scene.status(DB, token)],
    [404, 401],
  );
});

identityTest("serves its next start", async (scene) => {
  const token = await scene.bind("web", ...ONLY_WEB);
  await scene.status(WEB, token);
  scene.engine.die(scene.web.id);
  scene.engine.start(scene.web.id);
  assert.equal(await scene.status(WEB, token), 404);
});

identityTest("refuses whoever got its address", async (scene) => {
  const token = await scene.bind("web", ...ONLY_WEB);
  await scene.status(WEB, token);
  scene.engine.die(scene.web.id, { isRemoved: true });
  scene.engine.addContainer({ name: "next", ip: WEB });
  assert.equal(await scene.status(WEB, token), 401);
});

identityTest("refuses a connection that outlives it", async (scene) => {
  const token = await scene.bind("web", ...ONLY_WEB);
  const client = await scene.connect(WEB, token);
  assert.deepEqual([await client.ask(), await client.ask()], ["404", "404"]);
  scene.engine.die(scene.web.id);
  await eventually("a refusal", async () => await client.ask() === "401");
});

identityTest("refuses a connection of the start before", async (scene) => {
  const token = await scene.bind("web", ...ONLY_WEB);
  const client = await scene.connect(WEB, token);
  await client.ask();
  scene.engine.die(scene.web.id);
  scene.engine.start(scene.web.id);
  await eventually("a refusal", async () => await client.ask() === "401");
  assert.equal(await scene.status(WEB, token), 404);
});

identityTest(
  "refuses once it is removed, also on an open connection",
  async (scene) => {
    const token = await scene.bind("web", ...ONLY_WEB);
    const client = await scene.connect(WEB, token);
    await client.ask();
    await scene.do("unbind", "web");
    assert.equal(await client.ask(), "401");
  },
);

identityTest("refuses while the engine is away", async (scene) => {
  const token = await scene.bind("web", ...ONLY_WEB);
  await scene.engine.stopEngine();
  assert.equal(await scene.status(WEB, token), 401);
  const [told] = scene.logged("container-mismatch");
  assert.equal(told?.["code"], "engine-unavailable");
});

identityTest("keeps its restriction when the proxy restarts", async (scene) => {
  const token = await scene.bind("web", ...ONLY_WEB);
  await scene.startProxy();
  assert.deepEqual(
    [await scene.status(WEB, token), await scene.status(DB, token)],
    [404, 401],
  );
});

identityTest("counts at the forward proxy, too", async (scene) => {
  const token = await scene.bind("web", ...ONLY_WEB);
  const asked = (address: string) =>
    scene.ask(
      address,
      ...["--proxy", `http://${RELATIVE}:80`, "--proxy-user", `x:${token}`],
      "http://denied.test/",
    );
  assert.deepEqual([await asked(WEB), await asked(DB)], [403, 407]);
});

const IMDS = ["--grant", "aws", "--mode", "imds"];

identityTest("without a token serves it alone", async (scene) => {
  const output = await scene.do("bind", "web", ...IMDS, ...ONLY_WEB);
  assert.equal(output.includes("moat.web."), false);
  assert.deepEqual([await scene.role(WEB), await scene.role(DB)], [
    "App",
    "404",
  ]);
});

identityTest("without a token is known after a restart", async (scene) => {
  await scene.do("bind", "web", ...IMDS, "--container", "label:app=web");
  await scene.startProxy();
  assert.deepEqual([await scene.role(WEB), await scene.role(DB)], [
    "App",
    "404",
  ]);
});

identityTest("without a token ends with its binding", async (scene) => {
  await scene.do("bind", "web", ...IMDS, ...ONLY_WEB);
  await scene.role(WEB);
  await scene.do("unbind", "web");
  assert.equal(await scene.role(WEB), "404");
});

identityTest(
  "without a token follows its binding to another one",
  async (scene) => {
    await scene.do("bind", "web", ...IMDS, ...ONLY_WEB);
    await scene.role(WEB);
    await scene.do("bind", "web", ...IMDS, "--container", "db");
    assert.deepEqual([await scene.role(WEB), await scene.role(DB)], [
      "404",
      "App",
    ]);
  },
);

identityTest("without a token ends with its grant", async (scene) => {
  await scene.do("bind", "web", ...IMDS, ...ONLY_WEB);
  await scene.role(WEB);
  await scene.do("revoke", "aws");
  assert.equal(await scene.role(WEB), "403");
});

identityTest("without a token keeps none anywhere", async (scene) => {
  await scene.do("bind", "web", ...IMDS, ...ONLY_WEB);
  const { stdout } = await scene.host.run(
    ...["grep", "-rEl", "moat\\.web\\.[A-Za-z0-9_-]{43}"],
    scene.host.workspace.moatHome,
  );
  assert.equal(stdout, "");
});

identityTest("is shown by moat bindings", async (scene) => {
  await scene.do("bind", "web", ...IMDS, ...ONLY_WEB);
  const [row] = JSON.parse(await scene.do("bindings", "--json"));
  assert.deepEqual(row.container, { name: "web" });
  assert.match(await scene.do("bindings"), / {2}container: web$/m);
});

identityTest(
  "is printed for docker with the container's name",
  async (scene) => {
    const text = await scene.do(
      ...["bind", "web", ...IMDS, ...ONLY_WEB, "--format", "docker"],
    );
    assert.match(text, /^--env-file \S+ --name web\n$/);
  },
);

/** Tells what it was asked to run, a word a line. */
const DOCKER = `#!/bin/sh
case "$1" in
  info) echo 'Linux []' ;;
  network) echo '[{"Driver":"bridge","IPAM":{"Config":[{"Gateway":"10.79.0.1"}]}}]' ;;
  run) printf '%s\\n' "$@" ;;
  *) exit 1 ;;
esac
`;

/** The words after `docker` of a command line without a token. */
async function dockerWords(
  scene: Scene,
  ...args: readonly string[]
): Promise<string[]> {
  const { workspace } = scene.host;
  const docker = await workspace.write("docker", DOCKER);
  await Deno.chmod(docker, 0o755);
  const stdout = await scene.do(...args, "--", docker, "run", "image", "go");
  assert.doesNotMatch(stdout, /moat\.[\w-]+\.[\w-]{43}|--volume|--env-file/);
  return stdout.trimEnd().split("\n");
}

const REGION = [
  ...["--env", "AWS_REGION=us-east-1"],
  ...["--env", "AWS_DEFAULT_REGION=us-east-1"],
  ...["--env", "AWS_EC2_METADATA_DISABLED=false"],
];

identityTest("is given to moat exec's container by its name", async (scene) => {
  await scene.do("bind", "web", ...IMDS, ...ONLY_WEB);
  assert.deepEqual(await dockerWords(scene, "exec", "web"), [
    ...["run", "--name", "web", ...REGION, "image", "go"],
  ]);
});

identityTest("is a run's by its label in mode imds", async (scene) => {
  const words = await dockerWords(scene, "run", ...IMDS);
  const label = words.find((word) => word.startsWith("moat.run=")) ?? "";
  assert.match(label, /^moat\.run=\w{10}$/);
  assert.deepEqual(words, ["run", "--label", label, ...REGION, "image", "go"]);
});

const REFUSED: Record<string, { args: string[]; says: RegExp; code?: number }> =
  {
    "without --container in mode imds": {
      args: ["bind", "web", ...IMDS],
      says: /hint: moat bind web --grant aws --mode imds --container NAME/,
    },
    "with a token file in mode imds": {
      args: ["bind", "web", ...IMDS, ...ONLY_WEB, "--token-file"],
      says: /Cannot use --token-file in mode imds/,
    },
    "with a policy in mode imds": {
      args: ["bind", "web", ...IMDS, ...ONLY_WEB, "--allow", "api.test"],
      says: /Cannot use --allow in mode imds/,
    },
    "of a container on loopback": {
      args: ["bind", "web", "--grant", "aws", ...ONLY_WEB],
      says: /add --engine docker or --engine podman/,
    },
    "of a container that is no name": {
      args: ["bind", "web", ...IMDS, "--container", "app=web"],
      says: /write --container web or --container label:app=web/,
    },
    "of a container for a service's format": {
      args: ["bind", "web", ...IMDS, ...ONLY_WEB, "--format", "systemd"],
      says: /its client is a container/,
    },
    "of a plain program's run in mode imds": {
      args: ["run", ...IMDS, "--", "true"],
      says: /use --mode ecs-full/,
      code: 125,
    },
    "of a run in the host's network in mode imds": {
      args: [
        ...["run", ...IMDS, "--", "podman", "run", "--network", "host", "x"],
      ],
      says: /nothing tells it from programs of this host/,
      code: 125,
    },
  };

testUnless(reason, "bindings of one container are refused", async (t) => {
  await using scene = await Scene.open();
  for (const [name, { args, says, code = 2 }] of Object.entries(REFUSED)) {
    await t.step(name, async () => {
      const result = await scene.moat(...args);
      assert.match(result.stderr, says);
      assert.equal(result.code, code);
      assert.equal(await scene.do("bindings", "--json"), "[]\n");
    });
  }
});

testUnless(reason, "mode imds needs a proxy that serves it", async (t) => {
  await using scene = await Scene.open();
  const without = PROXY.filter((word) => word !== "--imds");
  await scene.startProxy(without);
  for (
    const args of [
      ["bind", "web", ...IMDS, ...ONLY_WEB],
      ["run", ...IMDS, "--", "podman", "run", "--network", "none", "x"],
    ]
  ) {
    await t.step(`moat ${args[0]}`, async () => {
      const { stderr } = await scene.moat(...args);
      assert.match(
        stderr,
        /serves no instance metadata\nhint: stop it; moat network-rules --apply, then moat proxy --imds/,
      );
    });
  }
});
