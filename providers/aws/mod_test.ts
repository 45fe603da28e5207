import assert from "node:assert/strict";
import type { Binding } from "$core/binding.ts";
import type { Grant } from "$core/grant.ts";
import {
  Answer,
  createRegistry,
  type EndpointHandler,
} from "$core/provider.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { type MockSts, startMockSts } from "../../tests/support/mock_sts.ts";
import { Workspace } from "../../tests/support/workspace.ts";
import { createAwsProvider } from "./mod.ts";
import { awsGrant, awsSource } from "../../tests/support/aws_grant.ts";
import type { AwsSettings } from "./settings.ts";

const PROCESS = "/aws/process-credentials";
const CONTAINER = "/ecs/credentials";

function binding(name: string): Binding {
  return { name, grants: ["aws"] };
}

/** A provider with a mock STS behind it. */
class Bed implements AsyncDisposable {
  readonly sts: MockSts = startMockSts();
  readonly platform = fakePlatform({
    now: Date.now(),
    env: {
      AWS_ACCESS_KEY_ID: "AKIASOURCE",
      AWS_SECRET_ACCESS_KEY: CANARY,
    },
  });
  readonly provider = createAwsProvider(this.platform);

  grant(name = "aws", more: Partial<AwsSettings> = {}): Grant {
    // No files, so that no look at them outlives a test.
    const source = awsSource({ order: ["environment"] });
    return awsGrant({ stsEndpoint: this.sts.url, source, ...more }, name);
  }

  /** The endpoints of a grant for a binding; each gives its answer. */
  bind(name: string, grant = this.grant()): Map<string, EndpointHandler> {
    const routes = new Map<string, EndpointHandler>();
    this.provider.registerEndpoints({
      binding: binding(name),
      get: (path, handler) => void routes.set(path, handler),
    }, grant);
    return routes;
  }

  /** Asks an endpoint of a binding. */
  async get(
    name: string,
    grant = this.grant(),
    path = PROCESS,
  ): Promise<Answer> {
    return await ask(this.bind(name, grant), path, name);
  }

  /** Audit events, without their times. */
  get vends(): unknown[] {
    return this.platform.events.map(({ event, fields }) =>
      [
        event,
        fields["binding"],
        fields["count"],
      ].filter((value) => value !== undefined).join(" ")
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sts[Symbol.asyncDispose]();
  }
}

async function ask(
  routes: Map<string, EndpointHandler>,
  path = PROCESS,
  name = "run-a",
): Promise<Answer> {
  const handler = routes.get(path);
  assert(handler, `nothing at ${path}`);
  return await handler({ binding: binding(name) });
}

Deno.test("createAwsProvider() makes a provider that a registry takes", () => {
  const { provider } = { provider: createAwsProvider(fakePlatform()) };
  assert.equal(createRegistry([provider]).get("aws"), provider);
});

Deno.test("registerEndpoints() serves two formats at two paths", async () => {
  await using bed = new Bed();
  assert.deepEqual([...bed.bind("run-a").keys()], [PROCESS, CONTAINER]);
});

const FORMATS = [
  {
    path: PROCESS,
    keys: [
      "Version",
      "AccessKeyId",
      "SecretAccessKey",
      "SessionToken",
      "Expiration",
    ],
  },
  {
    path: CONTAINER,
    keys: ["AccessKeyId", "SecretAccessKey", "Token", "Expiration"],
  },
];

for (const { path, keys } of FORMATS) {
  Deno.test(`${path} answers with a session`, async () => {
    await using bed = new Bed();
    const { status, body } = await bed.get("run-a", bed.grant(), path);
    assert.deepEqual([status, Object.keys(JSON.parse(body))], [200, keys]);
    assertNoCanary(body);
  });

  Deno.test(`${path} gives the same answer while the session is the same`, async () => {
    await using bed = new Bed();
    const routes = bed.bind("run-a");
    const first = await ask(routes, path);
    assert.equal(routes.get(path)?.({ binding: binding("run-a") }), first);
  });

  Deno.test(`${path} answers 502 in the shape that SDKs read`, async () => {
    await using bed = new Bed();
    bed.sts.mood = "denying";
    const answer = await bed.get("run-a", bed.grant(), path);
    assert.deepEqual([answer.status, answer.contentType, answer.body], [
      502,
      "application/json",
      '{"code":"access-denied","message":"STS denied the role to this grant"}',
    ]);
  });
}

Deno.test("a refusal is logged with who met it and why", async () => {
  await using bed = new Bed();
  bed.sts.mood = "denying";
  await bed.get("run-a");
  const line = bed.platform.lines.find((l) =>
    l.event === "credentials-refused"
  );
  const { message, hint, ...fields } = line?.fields ?? {};
  assert.match(String(message), /^Cannot assume /);
  assert.match(String(hint), /trust policy/);
  assert.deepEqual(fields, {
    grant: "aws",
    binding: "run-a",
    code: "access-denied",
  });
});

Deno.test("a refusal is no vend", async () => {
  await using bed = new Bed();
  bed.sts.mood = "denying";
  await bed.get("run-a");
  assert.deepEqual(bed.vends, ["refused run-a"]);
});

Deno.test("refusals of one code are audited once a minute", async () => {
  await using bed = new Bed();
  bed.sts.mood = "denying";
  const routes = bed.bind("run-a");
  await ask(routes);
  await ask(routes);
  await bed.platform.clock.advance(60_000);
  await ask(routes);
  assert.deepEqual(bed.vends, ["refused run-a", "refused run-a"]);
});

Deno.test("a client that keeps asking does not fill the log with refusals", async () => {
  await using bed = new Bed();
  bed.sts.mood = "denying";
  const routes = bed.bind("run-a");
  const { lines, measured, clock } = bed.platform;
  await ask(routes);
  await ask(routes);
  await clock.advance(60_000);
  await ask(routes);
  const logged = lines.filter((l) => l.event === "credentials-refused");
  const counted = measured.filter((m) =>
    m.name === "credentials_refused_total"
  );
  assert.deepEqual([logged.length, counted.length], [2, 3]);
});

Deno.test("clients that ask at once share one call", async () => {
  await using bed = new Bed();
  const routes = bed.bind("run-a");
  await Promise.all([ask(routes), ask(routes), ask(routes, CONTAINER)]);
  assert.equal(bed.sts.calls, 1);
});

Deno.test("each binding has a session of its own name", async () => {
  await using bed = new Bed();
  await bed.get("run-a");
  await bed.get("run-b");
  assert.deepEqual(bed.sts.sessionNames, ["moat-run-a", "moat-run-b"]);
});

Deno.test("a session name of the grant is used as it is", async () => {
  await using bed = new Bed();
  await bed.get("run-a", bed.grant("aws", { sessionName: "build@x" }));
  assert.deepEqual(bed.sts.sessionNames, ["build@x"]);
});

Deno.test("prefetch() makes the first answer wait for nothing", async () => {
  await using bed = new Bed();
  const grant = bed.grant();
  await bed.provider.prefetch?.(grant, binding("run-a"));
  const routes = bed.bind("run-a", grant);
  const answer = routes.get(PROCESS)?.({ binding: binding("run-a") });
  assert(answer instanceof Answer);
});

Deno.test("prefetch() fails with the code of the failure", async () => {
  await using bed = new Bed();
  bed.sts.mood = "denying";
  const prefetched = bed.provider.prefetch?.(bed.grant(), binding("run-a"));
  await assert.rejects(async () => await prefetched, { code: "access-denied" });
});

Deno.test("the first vend of a session is audited with who got what", async () => {
  await using bed = new Bed();
  const { body } = await bed.get("run-a", bed.grant("aws:x"));
  const { AccessKeyId, Expiration } = JSON.parse(body);
  const [event, ...others] = bed.platform.events;
  const { expiresAt, assumedRole, ...fields } = event?.fields ?? {};
  assert.deepEqual([event?.event, fields, others], ["vended", {
    grant: "aws:x",
    binding: "run-a",
    accessKeyId: AccessKeyId,
  }, []]);
  assert.match(String(assumedRole), /^arn:aws:sts::\d{12}:assumed-role\//);
  assert.equal(String(expiresAt).slice(0, 19), Expiration.slice(0, 19));
});

Deno.test("no audit event holds a secret", async () => {
  await using bed = new Bed();
  const { body } = await bed.get("run-a");
  const { SecretAccessKey, SessionToken } = JSON.parse(body);
  const text = JSON.stringify(bed.platform.events);
  assert(!text.includes(SecretAccessKey) && !text.includes(SessionToken));
  assertNoCanary(text);
});

Deno.test("repeats are counted once a minute", async () => {
  await using bed = new Bed();
  const routes = bed.bind("run-a");
  for (let n = 0; n < 4; n++) await ask(routes);
  await bed.platform.clock.advance(59_999);
  assert.deepEqual(bed.vends, ["vended run-a"]);
  await bed.platform.clock.advance(1);
  assert.deepEqual(bed.vends, ["vended run-a", "vended-again run-a 3"]);
});

Deno.test("repeats of the next minute are counted by themselves", async () => {
  await using bed = new Bed();
  const routes = bed.bind("run-a");
  for (let n = 0; n < 3; n++) await ask(routes);
  await bed.platform.clock.advance(60_000);
  await ask(routes, CONTAINER);
  await bed.platform.clock.advance(60_000);
  assert.deepEqual(bed.vends, [
    "vended run-a",
    "vended-again run-a 2",
    "vended-again run-a 1",
  ]);
});

Deno.test("a minute without repeats is no event", async () => {
  await using bed = new Bed();
  await ask(bed.bind("run-a"));
  await bed.platform.clock.advance(600_000);
  assert.deepEqual(bed.vends, ["vended run-a"]);
});

Deno.test("repeats are counted for the session that was vended", async () => {
  await using bed = new Bed();
  const routes = bed.bind("run-a");
  await ask(routes);
  await ask(routes);
  bed.provider.forget?.("aws");
  for (let n = 0; n < 3; n++) await ask(routes);
  const keys = bed.platform.events.filter(({ event }) => event === "vended")
    .map(({ fields }) => fields["expiresAt"]);
  await bed.platform.clock.advance(60_000);
  const counts = bed.platform.events.filter(({ event }) =>
    event === "vended-again"
  ).map(({ fields }) => [fields["expiresAt"], fields["count"]]);
  assert.deepEqual(counts, [[keys[0], 1], [keys[1], 2]]);
});

Deno.test("cleanup() counts the repeats that are left, once", async () => {
  await using bed = new Bed();
  const routes = bed.bind("run-a");
  for (let n = 0; n < 3; n++) await ask(routes);
  await bed.provider.cleanup(binding("run-a"));
  await bed.platform.clock.advance(60_000);
  assert.deepEqual(bed.vends, ["vended run-a", "vended-again run-a 2"]);
});

Deno.test("each binding's vends are audited by themselves", async () => {
  await using bed = new Bed();
  const grant = bed.grant("aws", { sessionName: "shared" });
  await bed.get("run-a", grant);
  await bed.get("run-b", grant);
  assert.deepEqual(bed.vends, ["vended run-a", "vended run-b"]);
});

/** Bindings and grants whose sessions must not be taken for one another. */
const HELD: { binding: string; grant: string; sessionName?: string }[] = [
  { binding: "run-a", grant: "aws" },
  { binding: "run-b", grant: "aws" },
  { binding: "run-ab", grant: "aws" },
  { binding: "run-a", grant: "aws:x" },
  { binding: "run-a", grant: "aws:xy" },
  { binding: "run-c", grant: "aws:own", sessionName: "moat-run-a" },
  { binding: "run-c", grant: "aws:b", sessionName: "moat-run-b" },
];

/** Which sessions are fetched anew after a call. */
async function dropped(call: (bed: Bed) => unknown): Promise<string[]> {
  await using bed = new Bed();
  const askAll = async () => {
    const fetched: string[] = [];
    for (const { binding, grant, sessionName } of HELD) {
      const before = bed.sts.calls;
      const more = sessionName === undefined ? {} : { sessionName };
      await bed.get(binding, bed.grant(grant, more));
      if (bed.sts.calls > before) fetched.push(`${binding} ${grant}`);
    }
    return fetched;
  };
  assert.equal((await askAll()).length, HELD.length);
  await call(bed);
  return await askAll();
}

const DROPS: { name: string; call: (bed: Bed) => unknown; expect: string[] }[] =
  [
    {
      name: "cleanup() of run-a",
      call: ({ provider }) => provider.cleanup(binding("run-a")),
      expect: ["run-a aws", "run-a aws:x", "run-a aws:xy"],
    },
    {
      name: "cleanup() of run-b",
      call: ({ provider }) => provider.cleanup(binding("run-b")),
      expect: ["run-b aws"],
    },
    {
      name: "cleanup() of run-c, whose sessions others may share,",
      call: ({ provider }) => provider.cleanup(binding("run-c")),
      expect: [],
    },
    {
      name: "cleanup() of an unknown binding",
      call: ({ provider }) => provider.cleanup(binding("run-")),
      expect: [],
    },
    {
      name: "cleanup() of a binding named like a part of a key",
      call: ({ provider }) => provider.cleanup(binding('run-a","x')),
      expect: [],
    },
    {
      name: "forget() of aws",
      call: ({ provider }) => provider.forget?.("aws"),
      expect: ["run-a aws", "run-b aws", "run-ab aws"],
    },
    {
      name: "forget() of aws:x",
      call: ({ provider }) => provider.forget?.("aws:x"),
      expect: ["run-a aws:x"],
    },
    {
      name: "forget() of an unknown grant",
      call: ({ provider }) => provider.forget?.("aw"),
      expect: [],
    },
  ];

for (const { name, call, expect } of DROPS) {
  Deno.test(`${name} drops exactly what belongs to it`, async () => {
    assert.deepEqual(await dropped(call), expect);
  });
}

Deno.test("a session name that looks like a key is only a name", async () => {
  await using bed = new Bed();
  const externalId = ',"moat-run-a",';
  const grant = bed.grant("aws", { externalId, sessionName: "own" });
  await bed.get("run-b", grant);
  bed.provider.cleanup(binding("run-a"));
  await bed.get("run-b", grant);
  assert.equal(bed.sts.calls, 1);
});

Deno.test("every setting makes a session of its own", async () => {
  await using bed = new Bed();
  const changes: Partial<AwsSettings>[] = [
    {},
    { durationSeconds: 7200 },
    { region: "eu-west-1" },
    { externalId: "id" },
    { roles: ["arn:aws:iam::123456789012:role/Other"] },
  ];
  for (const more of changes) await bed.get("run-a", bed.grant("aws", more));
  assert.equal(bed.sts.calls, changes.length);
});

Deno.test("registerEndpoints() refuses settings of another shape", async () => {
  await using bed = new Bed();
  const grant = { ...bed.grant(), settings: { role: "x" } };
  assert.throws(() => bed.bind("run-a", grant), { code: "grant-damaged" });
});

Deno.test("describe() shows role, region, duration and source", async () => {
  await using bed = new Bed();
  const { sts: { url }, provider } = bed;
  assert.deepEqual(provider.describe?.(bed.grant()), [
    ["role", "arn:aws:iam::123456789012:role/Deploy"],
    ["source", "environment"],
    ["region", "eu-central-1"],
    ["session-duration", "1h"],
    ["sts-endpoint", url],
  ]);
});

for (const [seconds, lines] of [[900, 1], [3599, 1], [3600, 0]] as const) {
  Deno.test(`advise() has ${lines} sentence for a session of ${seconds} s`, async () => {
    await using bed = new Bed();
    const grant = bed.grant("aws", { durationSeconds: seconds });
    assert.equal((await bed.provider.advise?.(grant))?.length, lines);
  });
}

Deno.test("sourceProcess() finds no program where there are no files", async () => {
  await using bed = new Bed();
  assert.equal(await bed.provider.sourceProcess?.(bed.grant()), undefined);
});

Deno.test("configureProxy() injects nothing, because requests are signed, and allows the APIs", async () => {
  await using bed = new Bed();
  const hosts: string[] = [];
  bed.provider.configureProxy({
    inject: () => assert.fail(),
    substitute: () => assert.fail(),
    allow: (host) => void hosts.push(host),
  }, bed.grant());
  assert.deepEqual(hosts, ["*.amazonaws.com", "*.api.aws"]);
});

Deno.test("advise() tells of a private key that others may read", async () => {
  await using bed = new Bed();
  await using workspace = await Workspace.open();
  const anywhere = {
    trustAnchorArn: "t",
    profileArn: "p",
    certificates: [],
    privateKey: await workspace.write("key.pem", "", 0o640),
    region: "eu-central-1",
  };
  const advice = await bed.provider.advise?.(bed.grant("aws", { anywhere }));
  assert.match(advice?.join() ?? "", /^others may read .*key\.pem: chmod 600 /);
});
