/**
 * `moat credential-process` of stored grants and live bindings, as an SDK of
 * the host calls it.
 */

import assert from "node:assert/strict";
import { eventually } from "./support/eventually.ts";
import { AWS_CLI, motoReason } from "./support/moto.ts";
import {
  assertProcessOutput,
  awsTable,
  awsTest,
  type SimulatedAws,
} from "./support/simulated_aws.ts";
import { assertRefused, type Refusal } from "./support/terminal.ts";

const GRANT = "moat grant aws --no-validate --role $ROLE";

/** Once without a proxy, once with one. */
function both(
  name: string,
  fn: (aws: SimulatedAws, hasProxy: boolean) => Promise<void>,
  options: Parameters<typeof awsTest>[2] = {},
): void {
  for (const hasProxy of [false, true]) {
    const where = hasProxy ? "with a proxy" : "without a proxy";
    awsTest(`moat credential-process ${where} ${name}`, async (aws) => {
      if (hasProxy) await aws.startProxy();
      await fn(aws, hasProxy);
    }, options);
  }
}

both("prints a session of the grant, and nothing else", async (aws) => {
  await aws.do(GRANT);
  const found = assertProcessOutput(
    await aws.type("moat credential-process aws"),
  );
  assert.match(await aws.whoIs(found), /:assumed-role\/Deploy\/moat-host$/);
});

both("obtains a session as often as it must", async (aws, hasProxy) => {
  await aws.do(GRANT);
  const first = await aws.json("moat credential-process aws");
  const second = await aws.json("moat credential-process aws");
  assert.equal(first.AccessKeyId === second.AccessKeyId, hasProxy);
  assert.deepEqual(await aws.calls(), { AssumeRole: hasProxy ? 1 : 2 });
});

const PROCESSES = 20;

awsTest(
  `${PROCESSES} of moat credential-process at once share one call by the proxy`,
  async (aws) => {
    await aws.do(GRANT);
    await aws.startProxy();
    const found = await Promise.all(
      Array.from(
        { length: PROCESSES },
        () => aws.json("moat credential-process aws"),
      ),
    );
    const ids = new Set(found.map(({ AccessKeyId }) => AccessKeyId));
    assert.equal(ids.size, 1);
    assert.deepEqual(await aws.calls(), { AssumeRole: 1 });
  },
  { flags: "--delay 300ms" },
);

awsTest("moat credential-process gives what a live run has", async (aws) => {
  await aws.do(GRANT);
  await aws.startProxy();
  const run = await aws.startRun();
  const inside = await run.credentials();
  const outside = await aws.json(
    `moat credential-process --binding run-${run.name}`,
  );
  assert.deepEqual(outside, inside);
  assert.deepEqual(await aws.calls(), { AssumeRole: 1 });
});

awsTest(
  "moat credential-process knows no binding that has ended",
  async (aws) => {
    await aws.do(GRANT);
    await aws.startProxy();
    const inside = "moat run --grant aws -- moat status --json";
    const { runs: [run] } = await aws.json(inside);
    assertRefused(
      await aws.type(`moat credential-process --binding run-${run}`),
      { error: /"run-\w{10}" with a grant of aws/, hint: /^moat bindings/ },
    );
  },
);

/** What is wrong with a command line or its surroundings. */
const REFUSED: Readonly<
  Record<string, Refusal & { readonly args: string; readonly env?: string }>
> = {
  "a binding without a proxy": {
    args: "--binding run-x",
    error: /"run-x": no proxy is running/,
    hint: /^moat proxy$/,
  },
  "a grant that is not there": {
    args: "aws:gone",
    error: /"aws:gone"/,
    hint: /moat grant/,
  },
  "moat as its own source": {
    args: "aws",
    env: "MOAT_SOURCE=1",
    error: /moat would be its own source/,
    hint: /credential_process/,
  },
  "moat as its own source, with flags": {
    args: "--certificate a --private-key b",
    env: "MOAT_SOURCE=1",
    error: /moat would be its own source/,
    hint: /credential_process/,
  },
  "nothing": {
    exit: 2,
    args: "",
    error: /found none/,
    hint: /NAME, --binding/,
  },
  "a grant and a binding": {
    exit: 2,
    args: "aws --binding run-x",
    error: /found two/,
    hint: /NAME, --binding/,
  },
  "a grant and a certificate": {
    exit: 2,
    args: "aws --certificate a",
    error: /found two/,
    hint: /NAME, --binding/,
  },
  "a binding and a certificate": {
    exit: 2,
    args: "--binding run-x --certificate a",
    error: /found two/,
    hint: /NAME, --binding/,
  },
  "a certificate alone": {
    exit: 2,
    args: "--certificate a",
    error: /--role-arn, --trust-anchor-arn, --profile-arn are missing/,
    hint: /ARNs of role, trust anchor and profile/,
  },
  "two grants": {
    exit: 2,
    args: "aws aws",
    error: /argument|operand/,
    hint: /credential-process/,
  },
  "an unknown flag": {
    exit: 2,
    args: "--certificates a",
    error: /--certificates/,
    hint: /./,
  },
};

awsTable(
  "moat credential-process refuses",
  REFUSED,
  async (aws, { args, env = "", ...refusal }) => {
    const line = `${env} moat credential-process ${args}`;
    assertRefused(await aws.type(line), refusal);
    assert.deepEqual(await aws.calls(), {});
  },
);

both(
  "fails in one sentence when STS denies",
  async (aws) => {
    await aws.do(GRANT);
    assertRefused(await aws.type("moat credential-process aws"), {
      error: /Deploy: STS answered AccessDenied: User: .* is not authorized/,
      hint: /trust policy/,
    });
  },
  { flags: "--role arn:aws:iam::123456789012:role/Other" },
);

awsTest("moat credential-process says that STS is away", async (aws) => {
  await aws.do(GRANT, { AWS_ENDPOINT_URL_STS: "http://127.0.0.1:1" });
  assertRefused(await aws.type("moat credential-process aws"), {
    error: /http:\/\/127\.0\.0\.1:1 cannot be reached$/,
    hint: /network/,
  });
});

awsTest(
  "moat credential-process uses a grant that is granted anew",
  async (aws) => {
    await aws.do(GRANT);
    await aws.startProxy();
    const { AccessKeyId } = await aws.json("moat credential-process aws");
    await aws.do("moat grant aws --no-validate --role ${ROLE}2");
    const found = await aws.json("moat credential-process aws");
    assert.notEqual(found.AccessKeyId, AccessKeyId);
    assert.match(await aws.whoIs(found), /assumed-role\/Deploy2\//);
  },
);

awsTest(
  "moat credential-process gives nothing of a revoked grant",
  async (aws) => {
    await aws.do(GRANT);
    await aws.startProxy();
    await aws.do("moat credential-process aws");
    await aws.do("moat revoke aws");
    const { code, stdout } = await aws.type("moat credential-process aws");
    assert.deepEqual([code, stdout], [1, ""]);
  },
);

awsTest("moat credential-process is audited as the host's", async (aws) => {
  await aws.do(GRANT);
  await aws.startProxy();
  const { AccessKeyId } = await aws.json("moat credential-process aws");
  const vended = await eventually(
    "event",
    async () => (await aws.audited("vended"))[0],
  );
  assert.deepEqual(
    [vended["binding"], vended["accessKeyId"]],
    ["host", AccessKeyId],
  );
});

const PROFILE = `[profile moat]
region = us-east-1
credential_process = moat credential-process aws
`;

both(
  "is a credential_process of the AWS CLI",
  async (aws) => {
    await aws.workspace.write(".aws/config", PROFILE);
    // botocore asks again while less than 15 minutes are left.
    await aws.do(`${GRANT} --session-duration 1h`);
    // The key of the environment is moat's own source, and not the CLI's.
    const line = `${AWS_CLI} sts get-caller-identity --profile moat`;
    const { Arn } = await aws.json(line);
    assert.match(Arn, /:assumed-role\/Deploy\/moat-host$/);
    assert.deepEqual(await aws.calls(), {
      AssumeRole: 1,
      GetCallerIdentity: 1,
    });
  },
  { reason: motoReason() },
);

awsTest(
  "moat credential-process does not feed a grant from itself",
  async (aws) => {
    await aws.workspace.write(".aws/config", PROFILE);
    assertRefused(
      await aws.type("moat grant aws --role $ROLE --aws-profile moat"),
      {
        error: /profile "moat": .* credential_process names is moat itself$/,
        hint: /credentials that moat did not hand out/,
      },
    );
    assert.deepEqual(await aws.calls(), {});
  },
);

awsTest(
  "moat credential-process fails in one sentence when the proxy dies meanwhile",
  async (aws) => {
    await aws.do(GRANT);
    const proxy = await aws.startProxy();
    const asked = aws.type("moat credential-process aws");
    await eventually("call", async () => (await aws.calls())["AssumeRole"]);
    await proxy.stop("SIGKILL");
    assertRefused(await asked, { error: /proxy/, hint: /./ });
  },
  { flags: "--fault hang" },
);
