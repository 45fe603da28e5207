/**
 * Where a grant's own credentials come from, as a user sets it up: the order
 * of sources, their explanation, and what changes while a proxy runs.
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "$providers/aws/simulator/flags.ts";
import { CANARY } from "./support/canary.ts";
import { eventually } from "./support/eventually.ts";
import { FastClock, fastClockReason } from "./support/fast_clock.ts";
import { MOCK_KEY_IDS, startMockSources } from "./support/mock_sources.ts";
import {
  awsTest,
  CONTAINER,
  type SimulatedAws,
  SIMULATOR_KEY,
} from "./support/simulated_aws.ts";
import { assertRefused } from "./support/terminal.ts";

const GRANT = "moat grant aws --role $ROLE";

/** A key that STS does not know. */
const STRANGER = {
  AWS_ACCESS_KEY_ID: "AKIASTRANGERSTRANGER",
  AWS_SECRET_ACCESS_KEY: CANARY,
};

/** Writes the default profile. */
async function writeKey(
  { workspace }: SimulatedAws,
  key: Readonly<Record<string, string>>,
): Promise<void> {
  const lines = Object.entries(key).map(([name, value]) =>
    `${name.toLowerCase()} = ${value}\n`
  );
  await workspace.write(".aws/credentials.new", `[default]\n${lines.join("")}`);
  await Deno.rename(
    workspace.path(".aws/credentials.new"),
    workspace.path(".aws/credentials"),
  );
}

/** The simulator's key is in the profile, a stranger's in the environment. */
const ORDERS: Readonly<Record<string, string | undefined>> = {
  "": "source-rejected",
  "--source environment --source profile": "source-rejected",
  "--source environment": "source-rejected",
  "--source profile --source environment": undefined,
  "--source profile": undefined,
  "--aws-profile default": undefined,
  "--source instance --source profile": undefined,
};

for (const [flags, wanted] of Object.entries(ORDERS)) {
  awsTest(
    `moat grant aws ${flags} uses ${
      wanted ? "the environment" : "the profile"
    }`,
    async (aws) => {
      await writeKey(aws, SIMULATOR_KEY);
      Object.assign(aws.terminal.exported, STRANGER);
      const { code, stderr } = await aws.type(`${GRANT} ${flags} --json`);
      const error = code === 0 ? undefined : JSON.parse(stderr).error.code;
      assert.equal(error, wanted);
    },
    { hasKey: false },
  );
}

const BAD_ORDERS: Readonly<Record<string, RegExp>> = {
  "--source profile --source profile": /--source profile twice/,
  "--source vault": /"vault": wanted one of environment, profile/,
  "--source environment --aws-profile default": /--aws-profile with --source/,
  "--source direct": /--source direct with --role/,
};

for (const [flags, error] of Object.entries(BAD_ORDERS)) {
  awsTest(`moat grant aws ${flags} is refused`, async (aws) => {
    await writeKey(aws, SIMULATOR_KEY);
    assertRefused(await aws.type(`${GRANT} ${flags}`), {
      exit: 2,
      error,
      hint: /./,
    });
  });
}

interface Explanation {
  readonly explainedBy: string;
  readonly lines: readonly { label: string; value: string }[];
}

/** What `--json` says, as text by label. */
async function explain(
  aws: SimulatedAws,
): Promise<{ by: string; lines: Record<string, string> }> {
  const { explainedBy, lines }: Explanation = await aws.json(
    "moat grant show aws --explain --json",
  );
  return {
    by: explainedBy,
    lines: Object.fromEntries(lines.map(({ label, value }) => [label, value])),
  };
}

awsTest("--explain without a proxy tries this environment", async (aws) => {
  await writeKey(aws, STRANGER);
  await aws.do(`${GRANT} --no-validate`);
  const { by, lines } = await explain(aws);
  assert.equal(by, "command");
  assert.deepEqual(lines, {
    "environment": "passed over: AWS_ACCESS_KEY_ID is not set here",
    "profile":
      `used: profile "default", access key ID ${STRANGER.AWS_ACCESS_KEY_ID}`,
    "web-identity": "not tried",
    "container": "not tried",
    "instance": "not tried",
  });
}, { hasKey: false });

awsTest("--explain with a proxy tries the proxy's environment", async (aws) => {
  await aws.do(`${GRANT} --no-validate`);
  await aws.startProxy();
  for (const name of Object.keys(SIMULATOR_KEY)) {
    delete aws.terminal.exported[name];
  }
  const { by, lines } = await explain(aws);
  assert.deepEqual([by, lines["environment"]], [
    "proxy",
    `used: access key ID ${SIMULATOR_ACCESS_KEY_ID}`,
  ]);
});

awsTest("--explain says why each source was passed over", async (aws) => {
  await aws.do(`${GRANT} --no-validate`);
  const text = await aws.do("moat grant show aws --explain");
  const home = aws.workspace.directory;
  assert.deepEqual(text.trim().split("\n").map((line) => line.trim()), [
    "environment   passed over: AWS_ACCESS_KEY_ID is not set here",
    `profile       passed over: profile "default" is in neither ${home}/.aws/config nor ${home}/.aws/credentials`,
    "web-identity  passed over: AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN not set when it was granted",
    "container     passed over: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI not set when it was granted",
    "instance      passed over: AWS_EC2_METADATA_DISABLED was set when it was granted",
    "explained by  this command, because no proxy is running",
  ]);
}, { hasKey: false });

awsTest("a key in a file is replaced while a run lives", async (aws) => {
  await writeKey(aws, STRANGER);
  await aws.do(`${GRANT} --no-validate`);
  await aws.startProxy();
  const run = await aws.startRun();
  const { status, body } = await run.ask(CONTAINER);
  assert.deepEqual([status, JSON.parse(body).code], [502, "source-rejected"]);
  await writeKey(aws, SIMULATOR_KEY);
  await eventually(
    "a session",
    async () => (await run.ask(CONTAINER)).status === 200,
  );
}, { hasKey: false });

const clock = new FastClock(60);

awsTest(
  "a key that is rotated makes a new session, and a bad one takes none away",
  async (aws) => {
    await writeKey(aws, SIMULATOR_KEY);
    await aws.do(`${GRANT} --session-duration 12h`);
    await aws.startProxy();
    const run = await aws.startRun();
    const first = await run.credentials();
    await writeKey(aws, STRANGER);
    await eventually("failed refresh", async () => {
      assert.deepEqual(await run.credentials(), first);
      const failed = aws.logged("session-refresh-failed");
      return failed.some((entry) =>
        entry["code"] === "source-rejected" && entry["stillServing"] === true
      );
    });
    await writeKey(aws, SIMULATOR_KEY);
    await eventually(
      "another session",
      async () => (await run.credentials()).AccessKeyId !== first.AccessKeyId,
    );
  },
  { hasKey: false, prefix: clock.wrap([]), reason: fastClockReason() },
);

const SSO = `[profile sso]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Admin
services = mock
[sso-session corp]
sso_region = us-east-1
sso_start_url = https://example.awsapps.com/start
[services mock]
sso =
  endpoint_url = PORTAL
sso_oidc =
  endpoint_url = PORTAL
`;

/** What `aws sso login` leaves. */
async function logIn({ workspace }: SimulatedAws): Promise<void> {
  const name = createHash("sha1").update("corp").digest("hex");
  await workspace.write(
    `.aws/sso/cache/${name}.json`,
    JSON.stringify({
      accessToken: `sso-${CANARY}`,
      expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
    }),
  );
}

awsTest(
  "a login by SSO counts while a run lives, and is handed out",
  async (aws) => {
    const secrets = {
      secretAccessKey: "sso-secret",
      sessionToken: "sso-token",
    };
    await using portal = startMockSources(secrets);
    await aws.workspace.write(
      ".aws/config",
      SSO.replaceAll("PORTAL", portal.url),
    );
    await aws.do(
      "moat grant aws --source direct --aws-profile sso --no-validate",
    );
    await aws.startProxy();
    const run = await aws.startRun();
    const { status, body } = await run.ask(CONTAINER);
    assert.deepEqual([status, JSON.parse(body).code], [502, "source-expired"]);
    await logIn(aws);
    await eventually(
      "a session",
      async () => (await run.ask(CONTAINER)).status === 200,
    );
    const { AccessKeyId, SecretAccessKey, SessionToken } = await run
      .credentials();
    assert.deepEqual([AccessKeyId, SecretAccessKey, SessionToken], [
      MOCK_KEY_IDS.sso,
      "sso-secret",
      "sso-token",
    ]);
    assert.deepEqual(await aws.calls(), {});
  },
  { hasKey: false },
);

awsTest(
  "--source direct hands out a session of the environment",
  async (aws) => {
    await aws.do("moat grant aws --name base --role $ROLE --no-validate");
    const session = await aws.json("moat credential-process aws:base");
    await aws.do("moat grant aws --source direct --source environment", {
      AWS_ACCESS_KEY_ID: session.AccessKeyId,
      AWS_SECRET_ACCESS_KEY: session.SecretAccessKey,
      AWS_SESSION_TOKEN: session.SessionToken,
    });
    const found = await aws.json("moat credential-process aws", {
      AWS_ACCESS_KEY_ID: session.AccessKeyId,
      AWS_SECRET_ACCESS_KEY: session.SecretAccessKey,
      AWS_SESSION_TOKEN: session.SessionToken,
    });
    assert.deepEqual(
      [found.AccessKeyId, found.SecretAccessKey, found.SessionToken],
      [session.AccessKeyId, session.SecretAccessKey, session.SessionToken],
    );
  },
);

awsTest("--source direct keeps long-lived keys to itself", async (aws) => {
  assertRefused(await aws.type("moat grant aws --source direct"), {
    error: /long-lived keys, which never leave this host$/,
    hint: /--role ARN/,
  });
  await aws.do("moat grant aws --source direct --no-validate");
  await aws.startProxy();
  const run = await aws.startRun();
  const { status, body } = await run.ask(CONTAINER);
  assert.deepEqual([status, JSON.parse(body).code], [
    502,
    "source-not-temporary",
  ]);
  assert.ok(!body.includes(SIMULATOR_SECRET_ACCESS_KEY));
});

/** Where a session may come from, and what says so when it is granted. */
const SESSIONS: Readonly<
  Record<string, (url: string) => Record<string, string>>
> = {
  instance: (url) => ({
    AWS_EC2_METADATA_SERVICE_ENDPOINT: url,
    AWS_EC2_METADATA_DISABLED: "false",
  }),
  container: (url) => ({
    AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/container`,
  }),
};

for (const [kind, variables] of Object.entries(SESSIONS)) {
  awsTest(
    `a session of --source ${kind} is handed out by a proxy that does not know it`,
    async (aws) => {
      const secrets = {
        secretAccessKey: "its-secret",
        sessionToken: "its-token",
      };
      await using mock = startMockSources(secrets);
      await aws.do(
        `moat grant aws --source direct --source ${kind}`,
        variables(mock.url),
      );
      await aws.startProxy();
      const { AccessKeyId, SessionToken } = await (await aws.startRun())
        .credentials();
      assert.deepEqual([AccessKeyId, SessionToken], [
        MOCK_KEY_IDS[kind as keyof typeof MOCK_KEY_IDS],
        "its-token",
      ]);
    },
    { hasKey: false },
  );
}

awsTest(
  "a proxy's own environment does not move a grant's source",
  async (aws) => {
    await writeKey(aws, SIMULATOR_KEY);
    await aws.do(`${GRANT} --source profile`);
    Object.assign(aws.terminal.exported, {
      ...STRANGER,
      AWS_PROFILE: "misleading",
      AWS_CONFIG_FILE: "/proc/nonexistent/config",
      AWS_SHARED_CREDENTIALS_FILE: "/proc/nonexistent/credentials",
      AWS_ENDPOINT_URL_STS: "http://127.0.0.1:1",
      AWS_REGION: "cn-north-1",
    });
    await aws.startProxy();
    await (await aws.startRun()).credentials();
    assert.deepEqual(await aws.calls(), { AssumeRole: 2 });
  },
  { hasKey: false },
);

awsTest("a run has its session before its command asks", async (aws) => {
  await aws.do(`${GRANT} --no-validate`);
  await aws.startProxy();
  await aws.startRun();
  await eventually("call", async () => (await aws.calls())["AssumeRole"] === 1);
});

awsTest(
  "moat run warns at once of a session that cannot be had",
  async (aws) => {
    await aws.do(`${GRANT} --no-validate`);
    const { code, stderr } = await aws.type(
      "moat run --grant aws -- sleep 0.1",
    );
    assert.match(
      stderr,
      /^warning: Cannot assume .*Deploy: STS answered AccessDenied: .*; .*trust policy.*\n$/,
    );
    assert.equal(code, 0);
  },
  { flags: "--role arn:aws:iam::123456789012:role/Other" },
);

/** Keys of the proxy and of `moat run`, and what the latter warns of. */
const ENVIRONMENTS: Readonly<
  Record<string, {
    readonly proxy: Record<string, string>;
    readonly own: Record<string, string>;
    readonly warning: RegExp;
  }>
> = {
  "the same key": {
    proxy: SIMULATOR_KEY,
    own: SIMULATOR_KEY,
    warning: /^$/,
  },
  "another key": {
    proxy: SIMULATOR_KEY,
    own: STRANGER,
    warning:
      /^warning: aws uses the credentials of the proxy's environment \(.*AKIAMOATSIMULATOR000\), not this one's \(.*AKIASTRANGERSTRANGER\); restart moat proxy in this environment\n$/,
  },
  "no key": {
    proxy: SIMULATOR_KEY,
    own: {},
    warning: /^$/,
  },
  "a key that the proxy has not": {
    proxy: {},
    own: STRANGER,
    warning:
      /^warning: aws does not use this environment's credentials \(.*AKIASTRANGERSTRANGER\), because the proxy was started without them; restart moat proxy in this environment\n$/,
  },
};

for (const [name, { proxy, own, warning }] of Object.entries(ENVIRONMENTS)) {
  awsTest(
    `moat run with ${name} in its environment: what it warns of`,
    async (aws) => {
      await writeKey(aws, SIMULATOR_KEY);
      await aws.do(`${GRANT} --no-validate`);
      Object.assign(aws.terminal.exported, proxy);
      await aws.startProxy();
      for (const key of Object.keys(proxy)) delete aws.terminal.exported[key];
      const { code, stderr } = await aws.type(
        "moat run --grant aws -- true",
        own,
      );
      assert.match(stderr, warning);
      assert.equal(code, 0);
    },
    { hasKey: false },
  );
}
