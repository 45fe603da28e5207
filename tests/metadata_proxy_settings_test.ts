/**
 * `moat metadata-proxy` as a process, with collectors that listen beside it:
 * what arrives there of one request that is served and one that fails; and what
 * `--strict` takes of `moat.toml`.
 */

import assert from "node:assert/strict";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { FakeEngine } from "./support/fake_engine.ts";
import { type HeardByServices, HostServices } from "./support/host_services.ts";
import { ROLES } from "./support/imds_client.ts";
import { CLIENTS, ImdsWire, wireReason } from "./support/imds_wire.ts";
import { moatReason, runMoat } from "./support/moat.ts";
import { Workspace } from "./support/workspace.ts";

const ACCOUNT = "123456789012";
const CANARY = "canary-of-the-container";
const REASON = moatReason() ?? wireReason();

/** The container of all tests; what is not copied is nobody's business. */
const APP = {
  name: "app",
  ip: CLIENTS.first,
  env: { IAM_ROLE: "App", Stage: "prod:1", SECRET: CANARY },
  labels: { "com.example.version": "v 7", team: CANARY },
};

/** What a collector without labels gets: of one that is served, and one that fails. */
const FLAT = [
  "metadataproxy.http_request.iam-security-crentials-for-role./meta-data/iam/security-credentials/{requested_role}.latest.v_7.prod_1.App.200.go-metadataproxy:1.000000|c",
  "metadataproxy.http_request.iam-security-crentials-for-role./meta-data/iam/security-credentials/{requested_role}.2018-09-24.v_7.prod_1.App.404.role_names_do_not_match.go-metadataproxy:1.000000|c",
];

const COPIED =
  "container-com.example.version:v 7,container-stage:prod:1,role_name:App";

const TAGGED = [
  `metadataproxy.http_request:1|c|#handler_name:iam-security-crentials-for-role,request_path:/meta-data/iam/security-credentials/{requested_role},api_version:latest,${COPIED},response_code:200,service:go-metadataproxy`,
  `metadataproxy.http_request:1|c|#handler_name:iam-security-crentials-for-role,request_path:/meta-data/iam/security-credentials/{requested_role},api_version:2018-09-24,${COPIED},response_code:404,error_description:role_names_do_not_match,service:go-metadataproxy`,
];

/** Where HOST and PORT put it. */
const BASE = "http://10.88.0.1:8042";

/** Waits until a collector has as many lines as are wanted. */
async function linesOf(
  services: HostServices,
  name: Exclude<keyof HeardByServices, "requests">,
  count: number,
): Promise<string[]> {
  return await eventually(`${count} lines for ${name}`, async () => {
    const lines = (await services.heard())[name];
    return lines.length >= count ? lines : undefined;
  });
}

testUnless(
  REASON,
  "moat metadata-proxy tells all collectors of a served and a failed request",
  async (t) => {
    await using wire = await ImdsWire.open();
    await using engine = await FakeEngine.start();
    await using services = await HostServices.open(wire.prefix);
    engine.addContainer(APP);
    await using moat = await wire.startMetadataProxy(engine.url, {
      env: {
        ...services.env,
        HOST: "10.88.0.1",
        PORT: "8042",
        LOG_FORMAT: "json",
        LABEL_SEPARATOR: "-",
        COPY_DOCKER_LABELS: "com.example.version,absent",
        COPY_DOCKER_ENV: "Stage",
        DEFAULT_ACCOUNT_ID: ACCOUNT,
      },
    });
    const client = wire.client(CLIENTS.first, BASE);

    await t.step(
      "it listens where HOST and PORT say, and not for metrics",
      () => assert.equal(moat.stdout(), `ready ${BASE}\n`),
    );
    await t.step("one request is served, and one fails", async () => {
      assert.equal((await client.get(`${ROLES}App`)).status, 200);
      const path = `${ROLES.replace("latest", "2018-09-24")}Other`;
      const { status, body } = await client.get(path);
      assert.deepEqual([status, body], [404, "404 page not found\n"]);
    });
    await t.step("statsd gets it in datagrams", async () => {
      assert.deepEqual(await linesOf(services, "statsd", FLAT.length), FLAT);
    });
    await t.step("statsite gets it on a connection", async () => {
      assert.deepEqual(await linesOf(services, "statsite", FLAT.length), FLAT);
    });
    await t.step("Datadog gets it with tags", async () => {
      const { length } = TAGGED;
      assert.deepEqual(await linesOf(services, "datadog", length), TAGGED);
    });
    await t.step("what waits is sent when it stops", async () => {
      await client.get(`${ROLES}App`);
      await moat.stop();
      const lines = await linesOf(services, "statsite", FLAT.length + 1);
      assert.deepEqual(lines, [...FLAT, FLAT[0]]);
    });
    await t.step("nothing else of the container is told", async () => {
      const { requests, ...lines } = await services.heard();
      assert(!JSON.stringify(lines).includes(CANARY));
      assert.deepEqual(requests, []);
    });
  },
);

testUnless(
  REASON,
  "moat metadata-proxy serves although no collector is there, and says so",
  async () => {
    await using wire = await ImdsWire.open();
    await using engine = await FakeEngine.start();
    const services = await HostServices.open(wire.prefix);
    await services[Symbol.asyncDispose]();
    engine.addContainer(APP);
    await using moat = await wire.startMetadataProxy(engine.url, {
      env: {
        ...services.env,
        LOG_FORMAT: "json",
        DEFAULT_ACCOUNT_ID: ACCOUNT,
      },
    });
    const client = wire.client(CLIENTS.first, "http://10.88.0.1:8000");
    assert.equal((await client.credentials("v1")).role, "App");
    const { code, stderr } = await moat.stop();
    assert.equal(code, 0);
    assert.match(stderr, /statsite/);
  },
);

const HARMLESS = "/latest/meta-data/ami-id";

testUnless(
  REASON,
  "moat metadata-proxy --strict heeds grant, engines and passthrough of moat.toml",
  async (t) => {
    await using wire = await ImdsWire.open();
    await using engine = await FakeEngine.start();
    await using services = await HostServices.open(wire.prefix);
    await using place = await Workspace.open();
    engine.addContainer(APP);
    const config = await place.write(
      "moat.toml",
      `[metadata]
grant = "aws"
roles = ["App"]
default_account = "${ACCOUNT}"
passthrough = ["${HARMLESS}"]
engines = ["${engine.url}"]
`,
    );
    const nowhere = `unix://${place.path("none.sock")}`;
    await using moat = await wire.startMetadataProxy(nowhere, {
      flags: ["--strict"],
      // Its session assumes the roles of containers.
      grant: ["--role", `arn:aws:iam::${ACCOUNT}:role/Grant`],
      env: { ...services.env, MOAT_CONFIG: config, LOG_FORMAT: "json" },
    });
    const client = wire.client(CLIENTS.first, "http://10.88.0.1:8000");

    await t.step("its engine tells of the container", async () => {
      assert.equal((await client.credentials()).role, "App");
    });
    await t.step("its grant assumes the role", async () => {
      const forms = await wire.asked("AssumeRole");
      const arns = forms.map(({ RoleArn }) => RoleArn);
      assert.deepEqual(arns, [
        `arn:aws:iam::${ACCOUNT}:role/Grant`,
        `arn:aws:iam::${ACCOUNT}:role/App`,
      ]);
    });
    await t.step("its path passes", async () => {
      const token = await client.token();
      const { status, body } = await client.get(HARMLESS, {
        "X-aws-ec2-metadata-token": token,
      });
      assert.deepEqual([status, body], [200, "ami-0123456789abcdef0"]);
    });
    await t.step("collectors are told how long that took", async () => {
      const lines = await eventually("gauges", async () => {
        const { statsite } = await services.heard();
        const gauges = statsite.filter((line) => line.endsWith("|g"));
        return gauges.length >= 3 ? gauges : undefined;
      });
      assert.deepEqual(lines.map((line) => line.replace(/:[\d.]+\|/, ":N|")), [
        "metadataproxy.aws_response_time.passthrough./{rest}.latest.App.200.go-metadataproxy:N|g",
        "metadataproxy.aws_request_time.passthrough./{rest}.latest.App.200.go-metadataproxy:N|g",
        "metadataproxy.aws_connection_time.passthrough./{rest}.latest.App.200.go-metadataproxy:N|g",
      ]);
    });
    await t.step("no list is empty, so that none is warned of", async () => {
      await moat.stop();
      assert.deepEqual(moat.logged("no-roles"), []);
    });
  },
);

/** What keeps it from starting with `--strict`. */
const UNUSABLE = [
  { config: 'grant = "gone"', says: /Cannot find grant "gone"/, code: 1 },
  {
    config: 'engines = ["tcp://127.0.0.1:2375"]',
    says:
      /Cannot use engines in \[metadata\] of moat.toml: wanted a unix socket/,
    code: 2,
  },
  {
    config: 'passthrough = ["/latest/user-data"]',
    says: /Cannot pass "\/latest\/user-data" through/,
    code: 2,
  },
  { config: "engine = []", says: /line 2, column 1: unknown key/, code: 1 },
];

for (const { config, says, code } of UNUSABLE) {
  for (const flags of [["--strict"], []]) {
    const isStrict = flags.length > 0;
    testUnless(
      REASON,
      isStrict
        ? `moat metadata-proxy --strict does not start with ${config}`
        : `moat metadata-proxy without --strict does not read ${config}`,
      async () => {
        await using workspace = await Workspace.open();
        const text = `[metadata]\n${config}\n`;
        // Taken, so that one that has read everything ends.
        using other = Deno.listen({ hostname: "127.0.0.1", port: 0 });
        const result = await runMoat(["metadata-proxy", ...flags], {
          workspace,
          env: {
            MOAT_CONFIG: await workspace.write("moat.toml", text),
            HOST: "127.0.0.1",
            PORT: String(other.addr.port),
            DOCKER_URL: "unix://nowhere/docker.sock",
          },
        });
        assert.equal(result.stdout, "");
        if (isStrict) assert.equal(result.code, code);
        assert.match(result.stderr, isStrict ? says : /set PORT to a free one/);
      },
    );
  }
}

testUnless(
  moatReason(),
  "moat metadata-proxy does not start where it would take itself for the real service",
  async () => {
    await using workspace = await Workspace.open();
    const text = `[metadata]\npassthrough = ["${HARMLESS}"]\n`;
    const { code, stdout, stderr } = await runMoat(
      ["metadata-proxy", "--strict"],
      {
        workspace,
        env: {
          MOAT_CONFIG: await workspace.write("moat.toml", text),
          ...{ HOST: "::1", PORT: "1" },
          AWS_EC2_METADATA_SERVICE_ENDPOINT: "http://[::1]:1",
          DOCKER_URL: "unix://nowhere/docker.sock",
        },
      },
    );
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, /at \[::1\]:1 moat itself is to listen/);
  },
);
