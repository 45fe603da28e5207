/**
 * The defects of go-metadataproxy and lyft/metadataproxy, none of which
 * `moat metadata-proxy` has: each has a step of its name.
 *
 * Requests come from the addresses of containers that a fake engine tells of;
 * beside moat stands the host's own metadata service, and behind it an STS that
 * can be made to fail.
 */

import assert from "node:assert/strict";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { FakeEngine } from "./support/fake_engine.ts";
import { type ImdsClient, ROLES } from "./support/imds_client.ts";
import type { Serving } from "./support/imds_serve.ts";
import {
  CLIENTS,
  HOST_SECRET,
  ImdsWire,
  type WireOptions,
  wireReason,
} from "./support/imds_wire.ts";
import { moatReason } from "./support/moat.ts";
import { run } from "./support/run.ts";

const ACCOUNT = "123456789012";

/** Where a container reaches it without any rule. */
const BASE = "http://10.88.0.1:8000";

/** Where a step acts. */
interface Stage {
  readonly wire: ImdsWire;
  readonly engine: FakeEngine;
  readonly moat: Serving;
  /** A client at the address of a container. */
  at(address: string): ImdsClient;
}

type Step = (stage: Stage) => Promise<void>;

/** Steps that share a running moat, and so the addresses. */
interface Group extends WireOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly flags?: readonly string[];
  readonly steps: Readonly<Record<string, Step>>;
}

/** Puts a container at one of the addresses, which it keeps. */
function placed(address: string) {
  const isSixth = address.includes(":");
  return { [isSixth ? "ip6" : "ip"]: address, keepsAddress: true };
}

/** Starts a container for a step, at one of the addresses. */
function container(
  { engine, at }: Stage,
  address: string,
  own: Readonly<Record<string, string>> = { IAM_ROLE: "App" },
): Disposable & { client: ImdsClient; id: string } {
  // The simulated roles want it.
  const env = { IAM_EXTERNAL_ID: "right", ...own };
  const { id } = engine.addContainer({ ...placed(address), env });
  return {
    ...{ id, client: at(address) },
    [Symbol.dispose]: () => engine.die(id),
  };
}

/** Fails if an answer has anything of a session or of the host. */
function assertNothing(texts: readonly string[]): void {
  for (const text of texts) {
    assert.ok(!text.includes(HOST_SECRET), "the host's own service answered");
    assert.doesNotMatch(text, /ASIA|SecretAccessKey/);
  }
}

/** Asks for paths, none of which may reach the host or give a session. */
function neverPasses(...paths: readonly string[]): Step {
  return async (stage) => {
    using web = container(stage, CLIENTS.first);
    const before = await stage.wire.askedHost();
    const answers = await web.client.ask(...paths.map((path) => ({ path })));
    assertNothing(answers.map(({ body }) => body));
    const statuses = new Set(answers.map(({ status }) => status));
    assert.deepEqual([...statuses], [404]);
    assert.deepEqual(await stage.wire.askedHost(), before);
  };
}

/** Sends request lines that are not a path. */
function neverForwards(method: string, ...targets: readonly string[]): Step {
  return async (stage) => {
    using web = container(stage, CLIENTS.first);
    const before = await stage.wire.askedHost();
    for (const target of targets) {
      const [answer] = await web.client.ask({ method, path: "/", target });
      assert(answer);
      assert.ok(answer.status >= 400, `${target}: ${answer.status}`);
      assertNothing([answer.body]);
    }
    assert.deepEqual(await stage.wire.askedHost(), before);
  };
}

const WHOLE: Step = async (stage) => {
  using web = container(stage, CLIENTS.first);
  const { credentials } = await web.client.credentials("v1");
  assert.match(credentials.AccessKeyId, /^ASIA/);
};

/** The lines of a counter. */
async function countersOf({ wire, moat }: Stage): Promise<string[]> {
  const [, url] = /^metrics (\S+)$/m.exec(moat.stdout()) ?? [];
  const argv = [...wire.prefix, "curl", "-qsSf", `${url}/metrics`];
  const { stdout, stderr } = await run(argv);
  assert.notEqual(stdout, "", stderr);
  return stdout.split("\n").filter((line) =>
    line.startsWith("metadataproxy_http_request{")
  );
}

const IN_GENERAL: Record<string, Step> = {
  "none: a container gets its role at all": WHOLE,
  "go-metadataproxy: an open proxy by absolute-form": neverForwards(
    "GET",
    "http://169.254.169.254/latest/user-data",
    "http://169.254.169.254/latest/meta-data/iam/info",
    "http://10.88.0.1:8000/latest/meta-data/iam/info",
  ),
  "go-metadataproxy: CONNECT": neverForwards("CONNECT", "169.254.169.254:80"),
  "go-metadataproxy: older version paths fall through to the host's service":
    neverPasses(
      `/2011-01-01${ROLES.slice("/latest".length)}App`,
      "/2011-01-01/meta-data/iam/info",
      "/1.0/meta-data/instance-id",
    ),
  "go-metadataproxy: extra segments fall through to the host's service":
    neverPasses(
      `${ROLES}App/extra`,
      `${ROLES}x/y`,
      "/latest/meta-data/iam/info/a/b",
      `/latest//meta-data/iam/security-credentials/App`,
      `${ROLES}..%2f..%2f..%2fuser-data`,
    ),
  "go-metadataproxy: user data passes through": neverPasses(
    "/latest/user-data",
    "/latest/user-data/",
  ),
  "go-metadataproxy: identity credentials pass through": neverPasses(
    "/latest/meta-data/identity-credentials/ec2/info",
    "/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance",
  ),
  "both: everything else passes through": neverPasses(
    "/latest/meta-data/",
    "/latest/meta-data/local-ipv4",
    "/latest/meta-data/public-keys/0/openssh-key",
    "/nothing",
  ),
  "go-metadataproxy: any method returns credentials": async (stage) => {
    using web = container(stage, CLIENTS.first);
    await web.client.credentials("v1");
    const methods = ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];
    const answers = await web.client.ask(
      ...methods.map((method) => ({ method, path: `${ROLES}App` })),
    );
    assertNothing(answers.map(({ body }) => body));
    assert.ok(answers.every(({ status }) => status >= 400));
  },
  "go-metadataproxy: the token PUT hands out the host's token": async (
    stage,
  ) => {
    using web = container(stage, CLIENTS.first);
    const before = await stage.wire.askedHost();
    assert.notEqual(await web.client.token(), HOST_SECRET);
    assert.deepEqual(await stage.wire.askedHost(), before);
  },
  "go-metadataproxy: the token's answer lacks its TTL": async (stage) => {
    using web = container(stage, CLIENTS.first);
    const field = "x-aws-ec2-metadata-token-ttl-seconds";
    const [answer] = await web.client.ask({
      method: "PUT",
      path: "/latest/api/token",
      headers: { [field]: "300" },
    });
    assert.equal(answer?.headers.get(field), "300");
  },
  "go-metadataproxy: credentials are given whatever the token": async (
    stage,
  ) => {
    using web = container(stage, CLIENTS.first);
    const { status, body } = await web.client.get(`${ROLES}App`, {
      "X-aws-ec2-metadata-token": "wrong",
    });
    assert.equal(status, 404);
    assertNothing([body]);
  },
  "lyft: the token PUT is 405, so that version 2 does not work": async (
    stage,
  ) => {
    using web = container(stage, CLIENTS.first);
    assert.equal((await web.client.credentials("v2")).role, "App");
  },
  "go-metadataproxy: no check of Host": async (stage) => {
    using web = container(stage, CLIENTS.first);
    for (const host of ["rebound.example", "10.88.0.1.example:8000"]) {
      const { status, body } = await web.client.get(`${ROLES}App`, { host });
      assert.ok(status >= 400);
      assertNothing([body]);
    }
  },
  "both: requests that browsers and proxies send are answered": async (
    stage,
  ) => {
    using web = container(stage, CLIENTS.first);
    for (const name of ["X-Forwarded-For", "Forwarded", "Origin"]) {
      const { status, body } = await web.client.get(`${ROLES}App`, {
        [name]: "http://page.example",
      });
      assert.ok(status >= 400, name);
      assertNothing([body]);
    }
  },
  "both: sessions are cached by the role's ARN alone": async (stage) => {
    const env = { IAM_ROLE: "Shared" };
    const other = { ...env, IAM_EXTERNAL_ID: "wrong" };
    using right = container(stage, CLIENTS.first, env);
    using wrong = container(stage, CLIENTS.second, other);
    await right.client.credentials("v1");
    await wrong.client.refusal("v1");
    await right.client.credentials("v1");
  },
  "kube2iam: one's failure is everybody's": async (stage) => {
    const env = { IAM_ROLE: "Common" };
    const other = { ...env, IAM_EXTERNAL_ID: "wrong" };
    using wrong = container(stage, CLIENTS.second, other);
    using right = container(stage, CLIENTS.first, env);
    await wrong.client.refusal("v1");
    await right.client.credentials("v1");
  },
  "lyft: the session's name is not in the key of the cache": async (stage) => {
    const before = (await stage.wire.asked("AssumeRole")).length;
    const named = (name: string) => ({ IAM_ROLE: "N", IAM_SESSION_NAME: name });
    using one = container(stage, CLIENTS.first, named("one"));
    using two = container(stage, CLIENTS.second, named("two"));
    const keys = [one, two].map(async ({ client }) =>
      (await client.credentials("v1")).credentials.AccessKeyId
    );
    assert.equal(new Set(await Promise.all(keys)).size, 2);
    const forms = (await stage.wire.asked("AssumeRole")).slice(before);
    const names = forms.map((form) => form["RoleSessionName"]);
    const given = names.map((name) => name?.replace(/-\w{12}$/, ""));
    assert.deepEqual(given.sort(), ["one", "two"]);
  },
  "lyft: a role's path is part of its name": async (stage) => {
    using web = container(stage, CLIENTS.first, {
      IAM_ROLE: `arn:aws:iam::${ACCOUNT}:role/team/sub/Deep`,
    });
    assert.equal((await web.client.credentials("v1")).role, "Deep");
  },
  "go-metadataproxy: other partitions than aws are not known": async (
    stage,
  ) => {
    const role = `arn:aws-cn:iam::${ACCOUNT}:role/App`;
    using web = container(stage, CLIENTS.first, { IAM_ROLE: role });
    await web.client.walk("v1");
    const last = (await stage.wire.asked("AssumeRole")).at(-1);
    assert.equal(last?.["RoleArn"], role);
  },
  "go-metadataproxy: DEFAULT_ACCOUNT_ID is not used": async (stage) => {
    using web = container(stage, CLIENTS.first, { IAM_ROLE: "Bare" });
    await web.client.credentials("v1");
    const last = (await stage.wire.asked("AssumeRole")).at(-1);
    assert.equal(last?.["RoleArn"], `arn:aws:iam::${ACCOUNT}:role/Bare`);
  },
  "go-metadataproxy: a role may be named with a slash before it": async (
    stage,
  ) => {
    using web = container(stage, CLIENTS.first, { IAM_ROLE: `/team/Bare` });
    await web.client.credentials("v1");
    const last = (await stage.wire.asked("AssumeRole")).at(-1);
    assert.equal(last?.["RoleArn"], `arn:aws:iam::${ACCOUNT}:role/team/Bare`);
  },
  "both: containers in the host's network get the host's role": async (
    stage,
  ) => {
    for (const address of ["10.88.0.1", "127.0.0.1"]) {
      const client = stage.wire.hostClient(`http://${address}:8000`);
      assertNothing([(await client.refusal("v1")).body]);
    }
  },
  "go-metadataproxy: a stopped container is matched": async (stage) => {
    const web = container(stage, CLIENTS.first);
    await web.client.credentials("v1");
    stage.engine.die(web.id);
    await web.client.refusal("v1");
  },
  "lyft: a reused address gives the role of the one before": async (stage) => {
    for (let round = 0; round < 4; round++) {
      const role = `Round${round}`;
      using web = container(stage, CLIENTS.first, { IAM_ROLE: role });
      assert.equal((await web.client.credentials("v1")).role, role);
    }
  },
  "go-metadataproxy: all containers are listed for each request": async (
    stage,
  ) => {
    using web = container(stage, CLIENTS.first);
    await web.client.credentials("v1");
    const before = stage.engine.asked.list;
    const requests = Array.from({ length: 40 }, () => ({
      path: `${ROLES}App`,
      // One connection each.
      headers: { connection: "close" },
    }));
    await web.client.ask(...requests);
    assert.equal(stage.engine.asked.list, before);
  },
  "go-metadataproxy: nobody is looked up for five seconds": async (stage) => {
    using web = container(stage, CLIENTS.first);
    await web.client.credentials("v1");
    const before = stage.engine.asked.list;
    const order: string[] = [];
    const nobody = stage.at(CLIENTS.third);
    const startedAt = performance.now();
    await Promise.all([
      nobody.refusal("v1").then(() => order.push("nobody")),
      web.client.get("/latest/meta-data/placement/region")
        .then(() => order.push("other path")),
    ]);
    assert.deepEqual(order, ["other path", "nobody"]);
    // Two requests, each held for a second.
    const tookMs = performance.now() - startedAt;
    assert.ok(tookMs < 5000, `${tookMs} ms`);
    // It polled with a growing pause.
    assert.ok(
      stage.engine.asked.list - before <= 2,
      `${stage.engine.asked.list} lists`,
    );
  },
  "kube2iam: a container that starts gets the default role, or none": async (
    stage,
  ) => {
    const begunAt = Date.now() - 100;
    const asking = stage.at(CLIENTS.third).credentials("v1");
    // It runs already, but the engine tells of it after its first words.
    await new Promise((resolve) => setTimeout(resolve, 90));
    const env = { IAM_ROLE: "Late", IAM_EXTERNAL_ID: "right" };
    const { id } = stage.engine.addContainer({
      ...{ ...placed(CLIENTS.third), env, begunAt },
    });
    using _end = { [Symbol.dispose]: () => stage.engine.die(id) };
    assert.equal((await asking).role, "Late");
  },
  "go-metadataproxy: 64 cold requests are 64 calls of STS": async (stage) => {
    using web = container(stage, CLIENTS.first, { IAM_ROLE: "Cold" });
    const url = `${BASE}${ROLES}Cold`;
    const { stdout, stderr } = await web.client.exec([
      ...["curl", "-qsS", "--interface", CLIENTS.first],
      ...["--parallel", "--parallel-immediate", "--parallel-max", "64"],
      ...["--write-out", "%{http_code}\n"],
      ...Array.from({ length: 64 }, () => ["--output", "/dev/null", url])
        .flat(),
    ]);
    assert.equal(stdout.match(/^200$/gm)?.length, 64, stderr);
    const calls = (await stage.wire.asked("AssumeRole"))
      .filter((form) => form["RoleArn"]?.endsWith("/Cold"));
    assert.equal(calls.length, 1);
  },
  "needroleshere: with STS down a valid session is not given": async (
    stage,
  ) => {
    using web = container(stage, CLIENTS.first, { IAM_ROLE: "Stable" });
    const before = await web.client.credentials("v1");
    await stage.wire.fault({ kind: "503" });
    try {
      assert.deepEqual(await web.client.credentials("v1"), before);
    } finally {
      await stage.wire.fault();
    }
  },
  "both: no answer in 200 s when STS hangs": async (stage) => {
    await stage.wire.fault({ kind: "hang" });
    try {
      using web = container(stage, CLIENTS.first, { IAM_ROLE: "Hung" });
      // The client itself waits no longer than 8 s.
      assert.equal((await web.client.refusal("v1")).status, 404);
    } finally {
      await stage.wire.fault();
    }
  },
  "go-metadataproxy: measurements have unbounded label values": async (
    stage,
  ) => {
    using web = container(stage, CLIENTS.first);
    const ask = (from: number) =>
      web.client.ask(
        ...Array.from({ length: 100 }, (_, index) => ({
          path: `/latest/meta-data/${from + index}`,
        })),
      );
    await ask(0);
    const before = (await countersOf(stage)).length;
    await ask(100);
    assert.equal((await countersOf(stage)).length, before);
    assert.ok(before > 0);
  },
  "go-metadataproxy: measurements are open to containers": async (stage) => {
    using web = container(stage, CLIENTS.first);
    assert.equal((await web.client.get("/metrics")).status, 404);
    const { stdout } = await web.client.exec([
      ...["curl", "-qs", "--max-time", "2", "--output", "/dev/null"],
      ...["--write-out", "%{http_code}", "http://10.88.0.1:19081/metrics"],
    ]);
    assert.equal(stdout, "000");
  },
};

/** Sessions end so soon that a cache of an hour shows. */
const endsInTime: Step = async (stage) => {
  using web = container(stage, CLIENTS.first);
  const keys = new Set<string>();
  await eventually("a third session", async () => {
    const [, answer] = await web.client.walk("v1");
    if (answer?.status !== 200) return false;
    const { AccessKeyId, Expiration } = JSON.parse(answer.body);
    keys.add(AccessKeyId);
    // It was valid a moment ago, when it was given; its time is in seconds.
    assert.ok(Date.parse(Expiration) > Date.now() - 2000, Expiration);
    return keys.size >= 3;
  }, 15_000);
};

/** Counts questions to name servers. */
const DNS = ["OUTPUT", "--protocol", "udp", "--dport", "53"];

const ENV = {
  DEFAULT_ACCOUNT_ID: ACCOUNT,
  DEFAULT_ROLE: "Default",
  ENABLE_PROMETHEUS: "1",
  LOG_FORMAT: "json",
};

const GROUPS: Record<string, Group> = {
  "none of these defects": {
    ...{ hasHostService: true, env: ENV, steps: IN_GENERAL },
    flags: ["--external-id", "right"],
  },
  "none of the defects of short sessions": {
    flags: ["--session-life", "3"],
    env: ENV,
    steps: {
      "go-metadataproxy: a session of seconds is given after its end":
        endsInTime,
    },
  },
  "none of the defects of a cache that gives nothing back": {
    flags: ["--session-life", "3"],
    env: { ...ENV, ROLE_CACHE_OFFSET: "2h" },
    steps: {
      "go-metadataproxy: an offset longer than the session keeps it for ever":
        endsInTime,
    },
  },
  "none of the defects of IPv6": {
    env: { ...ENV, HOST: "::" },
    steps: {
      "go-metadataproxy: an IPv6 client is cut at its first colon": async (
        stage,
      ) => {
        using _web = container(stage, CLIENTS.sixth);
        const client = stage.wire.client(
          CLIENTS.sixth,
          "http://[fd00:88::1]:8000",
        );
        assert.equal((await client.credentials("v1")).role, "App");
      },
    },
  },
  "none of the defects of names": {
    env: ENV,
    steps: {
      "lyft: reverse DNS decides who a client is": async (stage) => {
        const iptables = [...stage.wire.prefix, "iptables", "--wait"];
        await run([...iptables, "--append", ...DNS]);
        using web = container(stage, CLIENTS.first);
        await web.client.credentials("v1");
        await stage.at(CLIENTS.third).refusal("v1");
        const list = ["--list", "OUTPUT", "--numeric", "--verbose", "--exact"];
        const { stdout } = await run([...iptables, ...list]);
        assert.match(stdout, /^\s*0\s+0 .*dpt:53/m);
      },
    },
  },
};

const REASON = moatReason() ?? wireReason();

for (const [name, group] of Object.entries(GROUPS)) {
  testUnless(REASON, `metadata-proxy has ${name}`, async (t) => {
    await using wire = await ImdsWire.open(group);
    await using engine = await FakeEngine.start();
    const { env = {} } = group;
    await using moat = await wire.startMetadataProxy(engine.url, { env });
    const at = (address: string) => wire.client(address, BASE);
    const stage = { wire, engine, moat, at };
    for (const [step, fn] of Object.entries(group.steps)) {
      await t.step(step, () => fn(stage));
    }
  });
}

testUnless(
  REASON,
  "instance metadata has none of the defects of attribution: lyft: sessions of two containers have one name",
  async () => {
    await using wire = await ImdsWire.open();
    await using engine = await FakeEngine.start();
    const config =
      `[metadata]\ngrant = "aws"\nroles = ["App"]\ndefault_account = "${ACCOUNT}"\n`;
    await using _moat = await wire.startProxy(engine.url, { config });
    const env = { IAM_ROLE: "App" };
    for (const [name, address] of Object.entries(CLIENTS).slice(0, 2)) {
      engine.addContainer({ name, ip: address, env });
      await wire.client(address).credentials();
    }
    const names = (await wire.asked("AssumeRole"))
      .map((form) => form["RoleSessionName"]?.split("-")[0]);
    assert.deepEqual(names, ["first", "second"]);
  },
);
