/**
 * What may be set of instance metadata, and what goes wrong with it: paths that
 * pass through, version 1, grants, engines that cannot be asked, clients that
 * nobody knows, that flood, or that are many.
 *
 * Requests come from the addresses of containers that a fake engine tells of.
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { MAX_TOKENS } from "$providers/aws/metadata/tokens.ts";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "$providers/aws/simulator/flags.ts";
import { clientArgv, type ClientLanguage } from "../scripts/sdk_clients.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { FakeEngine } from "./support/fake_engine.ts";
import { HostServices } from "./support/host_services.ts";
import { type ImdsClient, ROLES } from "./support/imds_client.ts";
import { DROP_IN, serveMoat, type Serving } from "./support/imds_serve.ts";
import { CLIENTS, ImdsWire, wireReason } from "./support/imds_wire.ts";
import { moatEnv, moatReason, runMoat } from "./support/moat.ts";
import type { RawAnswer } from "./support/raw_http.ts";
import { isThere, SYSTEM_PATH, which } from "./support/run.ts";
import { sdkClientsReason } from "./support/sdk_clients.ts";
import { Workspace } from "./support/workspace.ts";

const ACCOUNT = "123456789012";

const CONFIG = `[metadata]
grant = "aws"
default_account = "${ACCOUNT}"
roles = ["App", "Other"]
`;

const REASON = moatReason() ?? wireReason();

const HARMLESS = "/latest/meta-data/ami-id";
const CANARY = "canary-of-the-client";

/** A status and the code of moat's own answers. */
function told({ status, body }: RawAnswer): string {
  const [, code = "no code"] = /"code":"([a-z0-9-]+)"/.exec(body) ?? [];
  return `${status} ${code}`;
}

/** Asks for a path as version 2 wants it. */
async function get(
  client: ImdsClient,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<RawAnswer> {
  const token = await client.token();
  return await client.get(path, {
    "X-aws-ec2-metadata-token": token,
    ...headers,
  });
}

/** A container at the first address, of the role `App`. */
const APP = { name: "app", ip: CLIENTS.first, env: { IAM_ROLE: "App" } };

/** Where the host's real service is, and what it must be asked for. */
interface Passing {
  readonly client: ImdsClient;
  readonly services: HostServices;
}

const PASSING: Readonly<Record<string, (at: Passing) => Promise<void>>> = {
  "a harmless path that was named passes": async ({ client }) => {
    const { status, body, headers } = await get(client, HARMLESS);
    assert.deepEqual([status, body], [200, "ami-0123456789abcdef0"]);
    assert.match(headers.get("content-type") ?? "", /^text\/plain/);
  },
  "one that moat.toml names passes as well": async ({ client }) => {
    const { body } = await get(client, "/latest/meta-data/hostname");
    assert.equal(body, "host.of.the.instance");
  },
  "one that was not named does not": async ({ client, services }) => {
    const before = await services.heard();
    for (
      const path of [
        `${HARMLESS}/`,
        "/2021-07-15/meta-data/ami-id",
        "/latest/meta-data/local-ipv4",
        "/latest/user-data",
        "/latest/meta-data/identity-credentials/ec2/info",
      ]
    ) assert.equal(told(await get(client, path)), "404 not-found", path);
    assert.deepEqual(await services.heard(), before);
  },
  "none passes without a session token": async ({ client, services }) => {
    const before = await services.heard();
    assert.equal(told(await client.get(HARMLESS)), "403 token-required");
    assert.deepEqual(await services.heard(), before);
  },
  "none passes in absolute form": async ({ client, services }) => {
    const before = await services.heard();
    const headers = { "X-aws-ec2-metadata-token": await client.token() };
    for (const host of ["169.254.169.254", "127.0.0.1"]) {
      const target = `http://${host}${HARMLESS}`;
      const [answer] = await client.ask({ path: "/", target, headers });
      assert(answer);
      assert.equal(told(answer), "400 bad-target");
    }
    assert.deepEqual(await services.heard(), before);
  },
  "none passes by another method": async ({ client, services }) => {
    const before = await services.heard();
    const headers = { "X-aws-ec2-metadata-token": await client.token() };
    for (const method of ["POST", "PUT", "DELETE"]) {
      const [answer] = await client.ask({ method, path: HARMLESS, headers });
      assert(answer);
      assert.equal(told(answer), "405 method-not-allowed");
    }
    assert.deepEqual(await services.heard(), before);
  },
  "a path that the real service lacks is 404": async ({ client }) => {
    const answer = await get(client, "/latest/meta-data/spot/instance-action");
    assert.equal(told(answer), "404 not-found");
  },
  "nothing of a client reaches the real service": async (
    { client, services },
  ) => {
    await get(client, HARMLESS, { "X-Canary": CANARY, "User-Agent": CANARY });
    const { requests } = await services.heard();
    const names = new Set(
      requests.flatMap(({ headers }) => headers.map(([name]) => name)),
    );
    const own = ["host", "connection", "content-length"];
    const left = [...names].filter((name) => !own.includes(name)).toSorted();
    assert.deepEqual(left, [
      "x-aws-ec2-metadata-token",
      "x-aws-ec2-metadata-token-ttl-seconds",
    ]);
    assert(!JSON.stringify(requests).includes(CANARY));
  },
  "its token is the host's own, and fetched once": async ({ services }) => {
    const { requests } = await services.heard();
    const puts = requests.filter(({ method }) => method === "PUT");
    assert.deepEqual(puts.map(({ path }) => path), ["/latest/api/token"]);
  },
  // The last one, because it stays away.
  "one that is down is 502": async ({ client, services }) => {
    await services[Symbol.asyncDispose]();
    const answer = await get(client, HARMLESS);
    assert.equal(told(answer), "502 metadata-unavailable");
  },
  "roles are served all the same": async ({ client }) => {
    assert.equal((await client.credentials()).role, "App");
  },
};

testUnless(REASON, "moat proxy passes harmless paths through", async (t) => {
  await using wire = await ImdsWire.open();
  await using engine = await FakeEngine.start();
  await using services = await HostServices.open(wire.prefix);
  engine.addContainer(APP);
  await using _moat = await wire.startProxy(engine.url, {
    config: `${CONFIG}passthrough = ["/latest/meta-data/hostname"]\n`,
    flags: [
      ...["--imds-passthrough", HARMLESS],
      ...["--imds-passthrough", "/latest/meta-data/spot/instance-action"],
    ],
    env: services.env,
  });
  const client = wire.client(CLIENTS.first);
  for (const [name, fn] of Object.entries(PASSING)) {
    await t.step(name, () => fn({ client, services }));
  }
});

testUnless(
  moatReason(),
  "moat proxy does not start where it would take itself for the real service",
  async () => {
    const { code, stdout, stderr } = await runMoat([
      ...["proxy", "--listen", "127.0.0.1:0", "--imds"],
      ...["--imds-passthrough", HARMLESS],
    ]);
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, /169.254.169.254:80 moat itself .*\nhint: .*--to/);
  },
);

/** Paths that never pass. */
const HARMFUL = [
  "/latest/user-data",
  "/latest/meta-data/iam/info",
  "/latest/meta-data/iam/security-credentials/",
  "/latest/meta-data/identity-credentials/ec2/info",
  "/latest/dynamic/instance-identity/document",
  "/latest/meta-data/public-keys/0/openssh-key",
  "/latest/meta-data/../user-data",
  "/latest/meta-data/",
  "/latest/api/token",
  "http://169.254.169.254/latest/meta-data/ami-id",
];
/** Nothing listens there before the paths are checked. */
const HERE = ["proxy", "--listen", "127.0.0.1:0", "--imds", "127.0.0.1:0"];

for (const path of HARMFUL) {
  testUnless(
    moatReason(),
    `moat proxy does not start with --imds-passthrough ${path}`,
    async () => {
      const { code, stdout, stderr } = await runMoat([
        ...HERE,
        ...["--imds-passthrough", path],
      ]);
      assert.deepEqual([code, stdout], [2, ""]);
      assert(stderr.includes(`Cannot pass "${path}" through`), stderr);
    },
  );
}

testUnless(
  moatReason(),
  "moat proxy does not start with user data in passthrough of moat.toml",
  async () => {
    await using workspace = await Workspace.open();
    const text = '[metadata]\npassthrough = ["/latest/user-data"]\n';
    const env = { MOAT_CONFIG: await workspace.write("moat.toml", text) };
    const { code, stderr } = await runMoat(HERE, { workspace, env });
    assert.equal(code, 2);
    assert.match(stderr, /Cannot pass "\/latest\/user-data" through/);
  },
);

testUnless(
  moatReason(),
  "moat proxy does not take --imds-passthrough without --imds",
  async () => {
    const { code, stderr } = await runMoat([
      ...["proxy", "--listen", "127.0.0.1:0"],
      ...["--imds-passthrough", HARMLESS],
    ]);
    assert.equal(code, 2);
    assert.match(stderr, /Cannot use --imds-passthrough: .*\nhint: .*--imds/);
  },
);

/** What is said at start of a `moat.toml` without a grant that can serve. */
const GRANTLESS = [
  {
    event: "metadata-without-grant",
    config: "[metadata]\n",
    tells: { level: "warn" },
    answer: "404 no-role",
  },
  {
    event: "metadata-grant-missing",
    config: '[metadata]\ngrant = "gone"\n',
    tells: { level: "warn", grant: "gone", code: "grant-not-found" },
    answer: "403 grant-gone",
  },
];

for (const { event, config, tells, answer } of GRANTLESS) {
  testUnless(REASON, `moat proxy says ${event} at start`, async () => {
    await using wire = await ImdsWire.open();
    await using engine = await FakeEngine.start();
    engine.addContainer(APP);
    await using moat = await wire.startProxy(engine.url, { config });
    const last = (await wire.client(CLIENTS.first).walk()).at(-1);
    assert(last);
    assert.equal(told(last), answer);
    await moat.stop();
    const lines = GRANTLESS.flatMap(({ event }) => moat.logged(event));
    assert.equal(lines.length, 1);
    assert.deepEqual({ ...lines[0], ...tells, event }, lines[0]);
    assert.match(String(lines[0]?.["hint"]), /grant/);
  });
}

/** A real client that starts anew, at the first address. */
async function askReal(
  wire: ImdsWire,
  language: ClientLanguage,
  program: string,
): Promise<string> {
  const argv = clientArgv(language, program);
  const { stdout, stderr } = await wire.client(CLIENTS.first).exec([
    ...["env", "-i", `PATH=${SYSTEM_PATH}`, "AWS_REGION=us-east-1"],
    ...["sh", "-c", 'echo | exec "$@"', "sh", ...argv],
  ]);
  const line = stdout.split("\n").find((line) => /^(ok|error) /.test(line));
  assert(line, stdout + stderr);
  return line;
}

/** Asks once by version 1. */
const byVersion1 = (client: ImdsClient) => client.get(ROLES);

const PHP = isThere("/usr/share/php/AsyncAws/Core")
  ? undefined
  : "no php-async-aws-core";

testUnless(
  REASON ?? PHP ?? await sdkClientsReason(),
  "moat bind --mode imds --imds-v1 answers version 1 for its container alone",
  async (t) => {
    await using wire = await ImdsWire.open();
    await using engine = await FakeEngine.start();
    engine.addContainer({ name: "old", ip: CLIENTS.first });
    engine.addContainer({ name: "new", ip: CLIENTS.second });
    await using moat = await wire.startProxy(engine.url, {
      config: CONFIG,
      grant: ["--role", `arn:aws:iam::${ACCOUNT}:role/App`],
    });
    const bind = (name: string, ...flags: string[]) =>
      moat.do(
        ...["bind", name, "--grant", "aws", "--mode", "imds"],
        ...["--container", name, ...flags],
      );
    await bind("old", "--imds-v1");
    await bind("new");
    const [old, other] = [CLIENTS.first, CLIENTS.second]
      .map((address) => wire.client(address));
    assert(old && other);

    await t.step("for that container", async () => {
      assert.equal((await old.credentials("v1")).role, "App");
    });
    await t.step("which has version 2 as well", async () => {
      assert.equal((await old.credentials("v2")).role, "App");
    });
    await t.step("not with a wrong token", async () => {
      const headers = { "X-aws-ec2-metadata-token": "wrong" };
      assert.equal(told(await old.get(ROLES, headers)), "401 unauthorized");
    });
    await t.step("not for another one", async () => {
      assert.equal(told(await byVersion1(other)), "403 token-required");
    });
    await t.step("which has version 2", async () => {
      assert.equal((await other.credentials("v2")).role, "App");
    });
    await t.step("AsyncAws, which knows version 1 alone", async () => {
      assert.match(await askReal(wire, "php", "async"), /^ok ASIA/);
    });
    await t.step("not once it was bound anew without", async () => {
      await moat.do("unbind", "old");
      await bind("old");
      assert.equal(told(await byVersion1(old)), "403 token-required");
    });
    await t.step("so that AsyncAws has no credentials", async () => {
      assert.match(await askReal(wire, "php", "async"), /^error .*credentials/);
    });
    for (
      const [language, program] of [
        ["python", "boto3"],
        ["venv", "awscli"],
      ] as const
    ) {
      await t.step(`but ${program} has`, async () => {
        assert.match(await askReal(wire, language, program), /^ok .*ASIA/);
      });
    }
  },
);

testUnless(
  REASON,
  "moat proxy tells of refused clients once a minute, with the reason",
  async (t) => {
    await using wire = await ImdsWire.open();
    await using engine = await FakeEngine.start();
    const { id } = engine.addContainer({ ...APP, ip: CLIENTS.second });
    engine.addContainer({ networkMode: `container:${id}` });
    await using moat = await wire.startProxy(engine.url, { config: CONFIG });
    const host = "169.254.169.254";
    const STRANGERS = [
      ["unknown-client", CLIENTS.third, wire.client(CLIENTS.third)],
      ["shared-address", CLIENTS.second, wire.client(CLIENTS.second)],
      ["host-client", host, wire.hostClient(`http://${host}`)],
    ] as const;
    for (const [code, , client] of STRANGERS) {
      await t.step(`${code} is answered 403 each time`, async () => {
        // Two connections.
        for (let i = 0; i < 2; i++) {
          assert.equal(told(await client.get(ROLES)), `403 ${code}`);
        }
      });
    }
    await moat.stop();
    const lines = moat.logged("metadata-refused");
    for (const [code, address] of STRANGERS) {
      await t.step(`${code} is told once`, () => {
        const [line, ...more] = lines.filter((line) => line["code"] === code);
        assert.equal(more.length, 0);
        assert.deepEqual(
          [line?.["level"], line?.["address"]],
          ["warn", address],
        );
        assert.match(String(line?.["reason"]), /\w+ \w+/);
      });
    }
    await t.step("nobody else is", () => assert.equal(lines.length, 3));
  },
);

/** Nobody's. */
const NOBODY = 65_534;

/** A directory that everybody may read, for a socket and `moat.toml`. */
async function openPlace(): Promise<Workspace> {
  const workspace = await Workspace.open();
  await Deno.chmod(workspace.directory, 0o755);
  return workspace;
}

/** Starts moat as a user who is not root. */
async function startUnprivileged(
  wire: ImdsWire,
  place: Workspace,
  engine: string,
): Promise<Serving> {
  const roles = CONFIG.replace('grant = "aws"\n', "");
  const config = await place.write("moat.toml", roles, 0o644);
  const user = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
  const env = (home: Workspace) => {
    Deno.chownSync(home.directory, NOBODY, NOBODY);
    return {
      ...moatEnv(home),
      AWS_ACCESS_KEY_ID: SIMULATOR_ACCESS_KEY_ID,
      AWS_SECRET_ACCESS_KEY: SIMULATOR_SECRET_ACCESS_KEY,
      AWS_REGION: "us-east-1",
      AWS_ENDPOINT_URL_STS: wire.simulator,
      MOAT_CONFIG: config,
      DOCKER_HOST: engine,
      LOG_FORMAT: "json",
    };
  };
  return await serveMoat(
    { prefix: [...wire.prefix, "setpriv", ...user], env },
    { args: DROP_IN, flags: ["--strict"] },
  );
}

/** What the log says of an engine that cannot be asked. */
async function engineLost(moat: Serving): Promise<Record<string, unknown>> {
  return await eventually("engine-lost", () => moat.logged("engine-lost")[0]);
}

/** Waits until a client is served. */
async function assertServed(client: ImdsClient): Promise<void> {
  await eventually("a session", async () => {
    const [answer] = await client.walk();
    return answer?.status === 200;
  });
  assert.equal((await client.credentials()).role, "App");
}

testUnless(
  REASON ?? (which("setpriv") ? undefined : "no setpriv"),
  "a socket that moat may not use is told, and used once it may be",
  async (t) => {
    await using wire = await ImdsWire.open();
    await using place = await openPlace();
    const socket = place.path("engine.sock");
    await using engine = await FakeEngine.start({ socket });
    await Deno.chmod(socket, 0o600);
    engine.addContainer(APP);
    await using moat = await startUnprivileged(wire, place, engine.url);
    const client = wire.client(CLIENTS.first, "http://10.88.0.1:8000");

    await t.step("a client is answered 503", async () => {
      assert.equal(told(await client.get(ROLES)), "503 engine-unavailable");
    });
    await t.step("the log says why and what to do", async () => {
      const { code, message, hint, level } = await engineLost(moat);
      assert.deepEqual([level, code], ["warn", "engine-denied"]);
      assert(String(message).includes(socket), String(message));
      assert.match(String(message), /permission denied/);
      assert.match(String(hint), /as a user who may use the engine/);
    });
    await t.step("a client is served once it may be used", async () => {
      await Deno.chmod(socket, 0o666);
      await assertServed(client);
    });
    await t.step("the log told each once", async () => {
      await moat.stop();
      const events = ["engine-lost", "engine-connected"];
      const counts = events.map((event) => moat.logged(event).length);
      assert.deepEqual(counts, [1, 1]);
    });
  },
);

testUnless(
  REASON,
  "a socket that is not there is told, and used once it is",
  async (t) => {
    await using wire = await ImdsWire.open();
    await using place = await openPlace();
    const socket = place.path("engine.sock");
    await using moat = await wire.startProxy(`unix://${socket}`, {
      config: CONFIG,
    });
    const client = wire.client(CLIENTS.first);
    await t.step("a client is answered 503", async () => {
      assert.equal(told(await client.get(ROLES)), "503 engine-unavailable");
    });
    await t.step("the log says so", async () => {
      const { code, message, level } = await engineLost(moat);
      assert.deepEqual([level, code], ["warn", "engine-unavailable"]);
      assert(String(message).includes(socket), String(message));
    });
    await t.step("a client is served once it is there", async () => {
      await using engine = await FakeEngine.start({ socket });
      engine.addContainer(APP);
      await assertServed(client);
    });
  },
);

/** Far more than a client may keep. */
const FLOOD = 10_000;

testUnless(
  REASON,
  `a client that fetches ${FLOOD} tokens over one connection`,
  async (t) => {
    await using wire = await ImdsWire.open();
    await using engine = await FakeEngine.start();
    engine.addContainer(APP);
    const env = { IAM_ROLE: "Other" };
    engine.addContainer({ name: "other", ip: CLIENTS.second, env });
    await using moat = await wire.startProxy(engine.url, { config: CONFIG });
    const [flooder, other] = [CLIENTS.first, CLIENTS.second]
      .map((address) => wire.client(address));
    assert(flooder && other);
    const others = await other.token();
    const child = new URL("support/flood_child.ts", import.meta.url);
    // Its address is the first one.
    const { stdout, stderr } = await flooder.exec([
      ...[Deno.execPath(), "run", "-A", "--no-check", fileURLToPath(child)],
      ...["169.254.169.254", String(FLOOD), String(MAX_TOKENS + 1)],
    ]);
    const statusOf = async (client: ImdsClient, token: string) => {
      const headers = { "X-aws-ec2-metadata-token": token };
      return (await client.get(ROLES, headers)).status;
    };

    await t.step("is answered each time", () => {
      assert.notEqual(stdout, "", stderr);
      assert.equal(JSON.parse(stdout).answered, FLOOD);
    });
    const tokens: string[] = JSON.parse(stdout).tokens;
    const [tooOld = "", ...kept] = tokens;
    await t.step(`may use the last ${MAX_TOKENS}`, async () => {
      const statuses = [kept[0], kept.at(-1)].map((token = "") =>
        statusOf(flooder, token)
      );
      assert.deepEqual(await Promise.all(statuses), [200, 200]);
    });
    await t.step("but none before", async () => {
      assert.equal(await statusOf(flooder, tooOld), 401);
    });
    await t.step("does not push out another's", async () => {
      assert.equal(await statusOf(other, others), 200);
    });
    await t.step("is told of once", async () => {
      await moat.stop();
      const names = moat.logged("many-tokens").map((line) => line["container"]);
      assert.deepEqual(names, [APP.name]);
    });
  },
);

/** As many as one host has, and more. */
const MANY = 10_000;

testUnless(
  REASON,
  `the first request is answered although there are ${MANY} containers`,
  async () => {
    await using wire = await ImdsWire.open();
    await using engine = await FakeEngine.start();
    for (let i = 1; i < MANY; i++) {
      engine.addContainer({ ip: `10.99.${i >> 8}.${i & 255}` });
    }
    engine.addContainer(APP);
    await using moat = await wire.startProxy(engine.url, { config: CONFIG });
    await eventually(
      "all containers",
      () =>
        moat.logged("engine-connected")
          .some(({ containers }) => containers === MANY),
    );
    const { list } = engine.asked;
    const client = wire.client(CLIENTS.first);
    assert.equal((await client.credentials()).role, "App");
    assert.equal(engine.asked.list, list);
  },
);
