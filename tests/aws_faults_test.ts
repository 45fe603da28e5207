/**
 * What goes wrong at AWS, made by the simulator's own switches: the codes that
 * a person, a client, the log, the metrics and the audit log get, and sessions
 * that outlast it.
 */

import assert from "node:assert/strict";
import { eventually } from "./support/eventually.ts";
import { FastClock, fastClockReason } from "./support/fast_clock.ts";
import { awsTest, CONTAINER } from "./support/simulated_aws.ts";

const GRANT = "moat grant aws --role $ROLE";

/** Each switch, and the code of `moat grant aws` under it. */
const FAULTS: Readonly<Record<string, string>> = {
  "500": "sts-unavailable",
  "503": "sts-unavailable",
  "throttle": "sts-throttled",
  "garbage": "sts-garbage",
  "empty": "sts-garbage",
  "reset": "sts-unreachable",
  "expired": "sts-garbage",
};

for (const [kind, wanted] of Object.entries(FAULTS)) {
  awsTest(`--fault ${kind} of the simulator is ${wanted}`, async (aws) => {
    const { code } = await aws.failure(GRANT);
    assert.equal(code, wanted);
  }, { flags: `--fault ${kind}` });
}

awsTest(
  "--fault idp-error of the simulator is for web identity only",
  async (aws) => {
    await aws.do(GRANT);
    assert.deepEqual(await aws.calls(), { AssumeRole: 1 });
  },
  { flags: "--fault idp-error" },
);

awsTest("--fault with a count ends by itself", async (aws) => {
  await aws.do(GRANT);
  assert.deepEqual(await aws.calls(), { AssumeRole: 2 });
}, { flags: "--fault 503:1" });

awsTest("--fault, given twice, is one after another", async (aws) => {
  const first = await aws.failure(GRANT);
  const second = await aws.failure(GRANT);
  await aws.do(GRANT);
  assert.deepEqual([first["code"], second["code"]], [
    "sts-garbage",
    "sts-throttled",
  ]);
}, { flags: "--fault garbage:1 --fault throttle:2" });

awsTest("--delay makes answers late", async (aws) => {
  const startedAt = performance.now();
  await aws.do(GRANT);
  assert.ok(performance.now() - startedAt >= 500);
}, { flags: "--delay 500ms" });

awsTest("--session-life ends sessions early", async (aws) => {
  await aws.do(GRANT);
  const { Expiration } = await aws.json("moat credential-process aws");
  const life = (Date.parse(Expiration) - Date.now()) / 1000;
  assert.ok(life > 80 && life <= 120, `${life} s`);
}, { flags: "--session-life 120" });

awsTest(
  "faults are set and ended while the simulator runs, by curl",
  async (aws) => {
    const post =
      `curl -sS --noproxy '*' -H 'content-type: application/json' ${aws.url}/_simulator/faults -d`;
    const plan =
      '{"faults":[{"kind":"503","count":5,"action":"AssumeRole"}],"delayMs":0}';
    await aws.do(`${post} '${plan}'`);
    assert.equal((await aws.failure(GRANT))["code"], "sts-unavailable");
    assert.equal((await aws.json(`${post} '{}'`)).faults.length, 0);
    await aws.do(GRANT);
  },
);

awsTest("a fault that is none is usage", async (aws) => {
  const result = await aws.type("moat simulate aws --fault flood");
  assert.equal(result.code, 2, result.stderr);
  assert.match(
    result.stderr,
    /^error: .*"flood".*\nhint: .*500, 503, throttle/,
  );
});

awsTest("Roles' denial has one code wherever it is told", async (aws) => {
  const { code } = await aws.failure(GRANT);
  assert.equal(code, "access-denied");
  await aws.do(`${GRANT} --no-validate`);
  await aws.startProxy("--metrics 127.0.0.1:0");
  const run = await aws.startRun();
  const { status, body } = await run.ask(CONTAINER);
  assert.equal(status, 502);
  const codes = {
    client: JSON.parse(body).code,
    refresh: aws.logged("session-refresh-failed")[0]?.["code"],
    refused: aws.logged("credentials-refused")[0]?.["code"],
    metric: await aws.metric("credentials_refused_total"),
    audit: (await eventually(
      "audit",
      async () => (await aws.audited("refused"))[0],
    ))["code"],
  };
  assert.deepEqual(codes, {
    client: code,
    refresh: code,
    refused: code,
    metric: { [`code="${code}"`]: 1 },
    audit: code,
  });
  const refreshes = await aws.metric("session_refresh_total");
  assert.equal(refreshes[`outcome="failed",code="${code}"`], 1);
}, { flags: "--role arn:aws:iam::123456789012:role/Other" });

awsTest(
  "a client learns nothing about the host from a failure",
  async (aws) => {
    await aws.do(`${GRANT} --no-validate --external-id hidden-id`);
    await aws.startProxy();
    const { body } = await (await aws.startRun()).ask(CONTAINER);
    assert.deepEqual(JSON.parse(body), {
      code: "access-denied",
      message: "STS denied the role to this grant",
    });
  },
  { flags: "--external-id wanted-id" },
);

awsTest("metrics count sessions, calls and runs", async (aws) => {
  await aws.do(`${GRANT} --no-validate`);
  await aws.startProxy("--metrics 127.0.0.1:0");
  assert.deepEqual(await aws.metric("runs"), { "": 0 });
  const run = await aws.startRun();
  for (let i = 0; i < 3; i++) await run.credentials();
  assert.deepEqual(
    {
      runs: await aws.metric("runs"),
      vended: await aws.metric("credentials_vended_total"),
      refreshes: await aws.metric("session_refresh_total"),
      calls: await aws.metric("sts_calls_total"),
    },
    {
      runs: { "": 1 },
      vended: { "": 1 },
      // One of the source, one of the role.
      refreshes: { 'outcome="ok",code=""': 2 },
      calls: { 'action="AssumeRole"': 1 },
    },
  );
});

awsTest("metrics have no token, and no secret", async (aws) => {
  await aws.do(`${GRANT} --no-validate`);
  const proxy = await aws.startProxy("--metrics 127.0.0.1:0");
  const { SecretAccessKey, SessionToken } = await (await aws.startRun())
    .credentials();
  const [, url] = /^metrics (\S+)$/m.exec(proxy.stdout()) ?? [];
  const text = await (await fetch(`${url}/metrics`)).text();
  assert.match(text, /^moat_build_info\{.*\} 1$/m);
  for (const secret of [SecretAccessKey, SessionToken]) {
    assert.ok(!text.includes(secret));
    assert.ok(!proxy.stderr().includes(secret));
  }
});

awsTest("without --metrics there is no such listener", async (aws) => {
  const proxy = await aws.startProxy();
  assert.doesNotMatch(proxy.stdout(), /^metrics /m);
});

const SPEED = 100;
const clock = new FastClock(SPEED);

/** Faults, and how the log names them. */
const OUTAGES = {
  "503": "sts-unavailable",
  "garbage": "sts-garbage",
  "throttle": "sts-throttled",
};

/** Polls as a client until something has happened; no poll may fail. */
async function pollUntil(
  what: string,
  hasHappened: () => boolean | Promise<boolean>,
  poll: () => Promise<void>,
): Promise<void> {
  let fault: unknown;
  await eventually(what, async () => {
    await poll().catch((error) => fault = error);
    return fault !== undefined || await hasHappened();
  });
  if (fault !== undefined) throw fault;
}

/** How long a client waits for what is there, mostly: the machine may be busy. */
const AT_ONCE_MS = 100;

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? NaN;
}

awsTest(
  "a valid session is handed out at once whatever STS does to its refresh",
  async (aws) => {
    await aws.do(`${GRANT} --no-validate --session-duration 15m`);
    await aws.startProxy();
    const run = await aws.startRun();
    const session = await run.credentials();
    const waits: number[] = [];
    const assertServed = async () => {
      const startedAt = performance.now();
      const { status, body } = await run.ask(CONTAINER);
      waits.push(performance.now() - startedAt);
      assert.equal(status, 200, body);
      assert.equal(JSON.parse(body).AccessKeyId, session.AccessKeyId);
    };
    for (const [kind, code] of Object.entries(OUTAGES)) {
      await aws.fault({ kind });
      const hasFailed = () =>
        aws.logged("session-refresh-failed")
          .some((entry) => entry["code"] === code);
      await pollUntil(`refresh under ${kind}`, hasFailed, assertServed);
    }
    await aws.fault({ kind: "hang" });
    const { AssumeRole: before } = await aws.calls();
    const isAsked = async () => (await aws.calls())["AssumeRole"] !== before;
    await pollUntil("call that hangs", isAsked, assertServed);
    assert.ok(median(waits) < AT_ONCE_MS, `${median(waits)} ms`);
    await assertServed();
  },
  { prefix: clock.wrap([]), reason: fastClockReason() },
);
