/**
 * `moat metadata-proxy` in go-metadataproxy's place: the environment, the
 * container's command line and the iptables rules of its README, unchanged,
 * with both engines and an STS that is not ours.
 */

import assert from "node:assert/strict";
import { parseAnswer, Talk } from "../scripts/conformance/talk.ts";
import { clientArgv } from "../scripts/sdk_clients.ts";
import { testUnless } from "./support/conditional.ts";
import { bedReason, type Engine } from "./support/containers.ts";
import { assertGoldenAnswers } from "./support/golden_answers.ts";
import { ACCOUNT, ImdsBed, roleArn } from "./support/imds_bed.ts";
import type { ServeOptions, Serving } from "./support/imds_serve.ts";
import { moatReason } from "./support/moat.ts";
import { motoReason } from "./support/moto.ts";
import { run, SYSTEM_PATH } from "./support/run.ts";
import { sdkClientsReason } from "./support/sdk_clients.ts";

/** Where a step acts. */
interface Stage {
  readonly bed: ImdsBed;
  readonly moat: Serving;
}

type Steps = Readonly<Record<string, (stage: Stage) => Promise<void>>>;

/** All variables of the README's table, but for the push of measurements. */
function unchanged(bed: ImdsBed): Record<string, string> {
  return {
    DEFAULT_ROLE: "Other",
    DEFAULT_ACCOUNT_ID: ACCOUNT,
    LOG_LEVEL: "info",
    LOG_FORMAT: "json",
    // Spelt as in the README, which lacks a slash.
    DOCKER_URL: bed.socket.replace("unix:///", "unix://"),
    ROLE_CACHE_OFFSET: "15m",
    NEWRELIC_APP_NAME: "proxy",
    NEWRELIC_LICENSE: "0123456789",
    COPY_DOCKER_LABELS: "PROJECT_VERSION",
    COPY_DOCKER_ENV: "SOMETHING_ELSE",
    ENABLE_PROMETHEUS: "1",
  };
}

/** The engines' default bridges. */
const BRIDGES: Readonly<Record<Engine, string>> = {
  docker: "docker0",
  podman: "podman0",
};

/** The README's rule. */
async function addRule(
  { bed }: ImdsBed,
  networkInterface: string,
  destination: string,
): Promise<void> {
  const rule = [
    ...["--append", "PREROUTING", "--destination", "169.254.169.254"],
    ...["--protocol", "tcp", "--dport", "80"],
    ...["--in-interface", networkInterface, "--jump", "DNAT"],
    ...["--table", "nat", "--to-destination", destination, "--wait"],
  ];
  const { code, stderr } = await run([...bed.prefix, "iptables", ...rule]);
  assert.equal(code, 0, stderr);
}

/** Opens a bed whose containers are led to port 8000. */
async function openRouted(engine: Engine): Promise<ImdsBed> {
  const bed = await ImdsBed.open(engine);
  // What the README calls LOCAL_IPV4.
  await addRule(bed, BRIDGES[engine], "203.0.113.1:8000");
  return bed;
}

/** Fails unless a client in a container gets a role's session. */
async function assertRole(
  { bed }: Stage,
  env: Readonly<Record<string, string>>,
  role: string,
): Promise<void> {
  await using web = await bed.start({ env });
  const served = await web.client.credentials("v1");
  assert.equal(served.role, role);
  const arn = await bed.whoIs(served.credentials);
  assert.ok(
    arn.startsWith(`arn:aws:sts::${ACCOUNT}:assumed-role/${role}/`),
    arn,
  );
}

async function metricsOf({ bed, moat }: Stage): Promise<string> {
  const [, url] = /^metrics (\S+)$/m.exec(moat.stdout()) ?? [];
  return await bed.must([
    ...[...bed.bed.prefix, "curl", "-qsSf", `${url}/metrics`],
  ]);
}

const FORMS: Readonly<Record<string, [name: string, role: string]>> = {
  "by its name": ["App", "App"],
  "by name and account": [`App@${ACCOUNT}`, "App"],
  "by path, name and account": [`team/Deep@${ACCOUNT}`, "Deep"],
  "by its ARN": [roleArn("App"), "App"],
};

const AS_BEFORE: Steps = {
  ...Object.fromEntries(
    Object.entries(FORMS).map(([how, [name, role]]) => [
      `a role that is named ${how} is assumed, without any list`,
      (stage: Stage) => assertRole(stage, { IAM_ROLE: name }, role),
    ]),
  ),
  "a container that names no role gets the default role": (stage) =>
    assertRole(stage, {}, "Other"),
  "an external ID goes to STS": (stage) =>
    assertRole(
      stage,
      { IAM_ROLE: "Secured", IAM_EXTERNAL_ID: "right" },
      "Secured",
    ),
  "sessions live an hour": async ({ bed }) => {
    const forms = await bed.asked("AssumeRole");
    const lives = new Set(forms.map((form) => form["DurationSeconds"]));
    assert.deepEqual([...lives], ["3600"]);
  },
  "boto3 gets its container's role": async ({ bed }) => {
    const name = "boto3";
    const env = { IAM_ROLE: "App", AWS_REGION: "us-east-1" };
    await using talk = new Talk(name, {
      argv: [
        ...bed.runArgv({ name, env }, "--rm", "--interactive"),
        ...clientArgv("python", "boto3"),
      ],
      env: { PATH: SYSTEM_PATH },
      cwd: bed.bed.directory,
      timeoutMs: 20_000,
    });
    await talk.hear();
    const { line, accessKeyId } = parseAnswer(await talk.ask());
    const { credentials } = await bed.clientIn(name).credentials("v1");
    assert.equal(accessKeyId, credentials.AccessKeyId, line);
  },
  "a role that STS refuses is 404": async ({ bed }) => {
    await using web = await bed.start({
      env: { IAM_ROLE: "Secured", IAM_EXTERNAL_ID: "wrong" },
    });
    const { status, body } = await web.client.refusal("v1");
    assert.deepEqual([status, body], [404, "404 page not found\n"]);
  },
  "every path has its golden answer": async ({ bed }) => {
    await using web = await bed.start({ env: { IAM_ROLE: "App" } });
    await assertGoldenAnswers("compatible", web.client);
  },
  "Prometheus finds the counter with its labels": async (stage) => {
    await using web = await stage.bed.start({
      env: { IAM_ROLE: "App", SOMETHING_ELSE: "else" },
      labels: { PROJECT_VERSION: "v7" },
    });
    await web.client.credentials("v1");
    const line = (await metricsOf(stage)).split("\n").find((line) =>
      /^metadataproxy_http_request\{/.test(line) && line.includes("v7")
    );
    assert.match(line ?? "", /project_version="v7"/);
    assert.match(line ?? "", /something_else="else"/);
    assert.match(line ?? "", /service="go-metadataproxy"/);
    assert.match(line ?? "", /response_code="200"/);
  },
  "metrics are not open to containers": async ({ bed }) => {
    await using web = await bed.start();
    assert.equal((await web.client.get("/metrics")).status, 404);
    const { stdout } = await web.exec([
      ...["curl", "-qs", "--max-time", "3", "-o", "/dev/null"],
      ...["-w", "%{http_code}", "http://203.0.113.1:19081/metrics"],
    ]);
    assert.equal(stdout, "000");
  },
  "New Relic's variables are answered with what to use instead": (
    { moat },
  ) => {
    const line = moat.log().split("\n").find((line) =>
      /new ?relic/i.test(line)
    );
    assert.match(line ?? "", /statsd/i);
    assert.match(line ?? "", /prometheus/i);
    return Promise.resolve();
  },
  "each default that is laxer than moat's own is warned of once": (
    { moat },
  ) => {
    const wanted = [
      ...["any-role", "version-1", "failures-are-404", "hour-long-sessions"],
      "identity-by-address",
    ];
    const found = wanted.filter((event) => moat.logged(event).length === 1);
    assert.deepEqual(found, wanted);
    return Promise.resolve();
  },
  "no secret is in what moat printed": async ({ bed, moat }) => {
    const { stdout, stderr } = await moat.stop();
    bed.assertNoSecret(stdout, stderr);
  },
};

const STRICT: Steps = {
  "version 1 is refused": async ({ bed }) => {
    await using web = await bed.start({ env: { IAM_ROLE: "App" } });
    assert.equal((await web.client.refusal("v1")).status, 403);
  },
  "a role that no list allows is refused": async ({ bed }) => {
    await using web = await bed.start({ env: { IAM_ROLE: "App" } });
    assert.equal((await web.client.refusal("v2")).status, 403);
  },
};

/** What `--strict` has to allow roles with. */
const STRICT_WITH_LIST: Steps = {
  "a role of the list is assumed": async ({ bed }) => {
    await using web = await bed.start({ env: { IAM_ROLE: "App" } });
    assert.equal((await web.client.credentials("v2")).role, "App");
  },
};

async function runSteps(
  t: Deno.TestContext,
  bed: ImdsBed,
  steps: Steps,
  options: ServeOptions,
): Promise<void> {
  await using moat = await bed.startMetadataProxy(options);
  for (const [name, fn] of Object.entries(steps)) {
    await t.step(name, () => fn({ bed, moat }));
  }
}

for (const engine of ["podman", "docker"] satisfies Engine[]) {
  const reason = moatReason() ?? motoReason() ?? bedReason(engine);

  testUnless(
    reason ?? await sdkClientsReason(),
    `${engine}: an unchanged go-metadataproxy environment works after replacing only the executable's name`,
    async (t) => {
      await using bed = await openRouted(engine);
      const env = unchanged(bed);
      await runSteps(t, bed, AS_BEFORE, { env });
    },
  );

  testUnless(
    reason,
    `${engine}: --strict turns to moat's own ways`,
    async (t) => {
      await using bed = await openRouted(engine);
      const { DEFAULT_ROLE: _, ...env } = unchanged(bed);
      const flags = ["--strict"];
      await runSteps(t, bed, STRICT, { env, flags });
      await runSteps(t, bed, STRICT_WITH_LIST, {
        ...{ env, flags },
        config: '[metadata]\nroles = ["App"]\n',
      });
    },
  );
}

const DOCKER_REASON = moatReason() ?? motoReason() ?? bedReason("docker");

testUnless(
  DOCKER_REASON,
  "docker: without DEFAULT_ACCOUNT_ID a role is looked up by iam:GetRole",
  async () => {
    await using bed = await openRouted("docker");
    const { DEFAULT_ACCOUNT_ID: _, ...env } = unchanged(bed);
    await using moat = await bed.startMetadataProxy({ env });
    await assertRole({ bed, moat }, { IAM_ROLE: "App" }, "App");
    const [asked] = await bed.asked("GetRole");
    assert.equal(asked?.["RoleName"], "App");
  },
);

testUnless(
  DOCKER_REASON,
  "docker: the README's rules lead other bridges and 127.0.0.1 to it, too",
  async (t) => {
    await using bed = await ImdsBed.open("docker");
    await addRule(bed, "br-+", "203.0.113.1:8000");
    await addRule(bed, "docker0", "127.0.0.1:8000");
    const enable = "net.ipv4.conf.docker0.route_localnet=1";
    await bed.must([...bed.bed.prefix, "sysctl", "-qw", enable]);
    await bed.must([bed.bed.engine, "network", "create", "some-network"]);
    await using _moat = await bed.startMetadataProxy({ env: unchanged(bed) });
    for (const network of ["some-network", "bridge"]) {
      await t.step(network, async () => {
        await using web = await bed.start({
          env: { IAM_ROLE: "App" },
          options: ["--network", network],
        });
        assert.equal((await web.client.credentials("v1")).role, "App");
      });
    }
  },
);
