/**
 * What reaches STS for the sessions of runs: narrowing, labels, chains and web
 * identity tokens, counted at the simulator or read on the way to it.
 */

import assert from "node:assert/strict";
import { eventually } from "./support/eventually.ts";
import {
  awsTest,
  CONTAINER,
  type SimulatedAws,
} from "./support/simulated_aws.ts";
import { assertRefused } from "./support/terminal.ts";

const GRANT = "moat grant aws --no-validate --role $ROLE";

/** Prints the session of the run. */
const HELPER = `sh -c '"\${AWS_CONFIG_FILE%/config}/credentials"'`;

const POLICY =
  '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}';

awsTest("moat run narrows the session of its grant", async (aws) => {
  const forms = aws.record();
  await aws.do(`${GRANT} --session-duration 2h --session-name granted`);
  await aws.do(
    `moat run --grant aws --session-duration 30m --session-name '{user}@{run}' --policy '${POLICY}' -- ${HELPER}`,
    { USER: "ana" },
  );
  assert.equal(forms.length, 1);
  const form = Object.fromEntries(forms[0] ?? []);
  assert.match(form["RoleSessionName"] ?? "", /^ana@[0-9a-z]{10}$/);
  assert.deepEqual([form["DurationSeconds"], form["Policy"]], ["1800", POLICY]);
});

awsTest("moat run leaves to its grant what it does not narrow", async (aws) => {
  const forms = aws.record();
  await aws.do(
    `${GRANT} --session-duration 2h --session-name granted --policy '${POLICY}'`,
  );
  await aws.do(`moat run --grant aws --session-duration 1h -- ${HELPER}`);
  const form = Object.fromEntries(forms[0] ?? []);
  assert.deepEqual(
    [form["RoleSessionName"], form["DurationSeconds"], form["Policy"]],
    ["granted", "3600", POLICY],
  );
});

/** Flags of a grant and of a run that do not go together. */
const WIDENINGS: readonly {
  name: string;
  grant: string;
  run: string;
  error: RegExp;
}[] = [
  {
    name: "a policy beside the grant's",
    grant: `--policy '${POLICY}'`,
    run: `--policy '${POLICY}'`,
    error: /two would allow what either allows/,
  },
  {
    name: "a policy beside the grant's policy ARN",
    grant: "--policy-arn arn:aws:iam::aws:policy/ReadOnlyAccess",
    run: `--policy '${POLICY}'`,
    error: /two would allow what either allows/,
  },
  {
    name: "a longer session",
    grant: "--session-duration 1h",
    run: "--session-duration 2h",
    error: /grant allows/,
  },
  {
    name: "a policy that is no JSON",
    grant: "",
    run: "--policy '{'",
    error: /policy/,
  },
  {
    name: "a session name with an unknown placeholder",
    grant: "",
    run: "--session-name '{host}'",
    error: /"\{host\}" as session name/,
  },
];

for (const { name, grant, run, error } of WIDENINGS) {
  awsTest(`moat run refuses ${name}`, async (aws) => {
    await aws.do(`${GRANT} ${grant}`);
    // In the place of the command's status, as docker does.
    assertRefused(
      await aws.type(`moat run --grant aws ${run} -- echo started`),
      { exit: 125, error, hint: /./ },
    );
    assert.deepEqual(await aws.calls(), {});
  });
}

/** Grants that come in the place of the one that a run narrows. */
const REGRANTS: Readonly<Record<string, string>> = {
  "a policy of its own": `--session-duration 1h --policy '${POLICY}'`,
  "shorter sessions": "--session-duration 15m",
};

for (const [name, flags] of Object.entries(REGRANTS)) {
  awsTest(
    `a run that narrows gets nothing of a new grant with ${name}`,
    async (aws) => {
      await aws.do(`${GRANT} --session-duration 1h`);
      await aws.startProxy();
      await aws.workspace.write("policy.json", POLICY);
      const run = await aws.startRun(
        "--grant aws --session-duration 30m --policy policy.json",
      );
      await run.credentials();
      await aws.do(`${GRANT} ${flags}`);
      const { status, body } = await run.ask();
      assert.deepEqual([status, JSON.parse(body).code], [403, "grant-gone"]);
      await aws.do(`${GRANT} --session-duration 1h`);
      await run.credentials();
    },
  );
}

/** Asks for credentials at once, as a program in the container would. */
const MOCK_ENGINE = `#!/bin/sh
# A mock of a container engine.
case " $* " in
  *' info '*) echo false; exit ;;
  *' network inspect '*) echo '[{"subnets":[{"gateway":"127.0.0.1"}]}]'; exit ;;
esac
for word; do
  case $word in
    *:/moat:*) token=$(cat "\${word%%:/moat:*}/token") ;;
    MOAT_AWS_CREDENTIAL_URL=*) url=\${word#*=} ;;
  esac
done
exec curl -sS --noproxy '*' --header "Authorization: $token" "$url"
`;

async function startContainer(
  aws: SimulatedAws,
  grantFlags: string,
  options: string,
): Promise<[string, string][]> {
  const forms = aws.record();
  await aws.workspace.write("bin/podman", MOCK_ENGINE, 0o700);
  await aws.do(`${GRANT} ${grantFlags}`);
  const stdout = await aws.do(
    `moat run --grant aws -- podman run --network host ${options} image`,
  );
  assert.match(JSON.parse(stdout).AccessKeyId, /^ASIA/);
  const form = forms.at(-1) ?? new URLSearchParams();
  return [...form].filter(([name]) => /^Tags|^Trans|^RoleS/.test(name));
}

awsTest(
  "a container's labels become the tags that its grant allows",
  async (aws) => {
    const sent = await startContainer(
      aws,
      "--label-tag team --label-tag absent --tag cost=12 --session-name 'c-{container}'",
      "--name build-7 --label team=red --label other=x -l cost=0",
    );
    assert.deepEqual(Object.fromEntries(sent), {
      "RoleSessionName": "c-build-7",
      "Tags.member.1.Key": "cost",
      "Tags.member.1.Value": "12",
      "Tags.member.2.Key": "team",
      "Tags.member.2.Value": "red",
    });
  },
);

awsTest("a container's labels are no tags by themselves", async (aws) => {
  const sent = await startContainer(
    aws,
    "--session-name plain",
    "--label team=red",
  );
  assert.deepEqual(sent, [["RoleSessionName", "plain"]]);
});

awsTest("a label that STS would not take is told of", async (aws) => {
  await aws.workspace.write("bin/podman", MOCK_ENGINE, 0o700);
  await aws.do(`${GRANT} --label-tag team`);
  const { code, stderr } = await aws.type(
    "moat run --grant aws -- podman run --network host --label 'team=a|b' image",
  );
  assert.equal(code, 125, stderr);
  assert.match(stderr, /^error: .*team.*\nhint: /);
  assert.deepEqual(await aws.calls(), {});
});

/** Far less compressible than words, as real tags seldom are. */
const noise = (length: number) =>
  Array.from(
    { length },
    (_, i) => "abcdefghijklmnopqrstuvwxyz0123456789"[(i * i * 7 + i) % 36],
  ).join("");

awsTest("tags that nearly fill STS's space are warned of", async (aws) => {
  const tags = `--tag a=${noise(210)} --tag b=${noise(210)}`;
  await aws.do(`${GRANT} ${tags}`);
  await aws.startProxy();
  await (await aws.startRun()).credentials();
  const [entry] = aws.logged("policy-nearly-full");
  const percent = Number(entry?.["percent"]);
  assert.ok(percent >= 90 && percent <= 100, `${percent} %`);
});

awsTest("tags that overfill STS's space are told of as such", async (aws) => {
  const tags = ["a", "b", "c"].map((key) => `--tag ${key}=${noise(250)}`);
  const { code } = await aws.failure(
    `moat grant aws --role $ROLE ${tags.join(" ")}`,
  );
  assert.equal(code, "policy-too-large");
});

const CHAIN = "moat grant aws --role $ROLE --role ${ROLE}2";

awsTest("a chain of roles ends in the last one", async (aws) => {
  await aws.do(CHAIN);
  const found = await aws.json("moat credential-process aws");
  assert.match(await aws.whoIs(found), /assumed-role\/Deploy2\/moat-host$/);
});

awsTest("runs of one session name share both calls of a chain", async (aws) => {
  await aws.do(`${CHAIN} --session-name shared --no-validate`);
  await aws.startProxy();
  const runs = [await aws.startRun(), await aws.startRun()];
  const found = await Promise.all(runs.map((run) => run.credentials()));
  assert.equal(found[0]?.AccessKeyId, found[1]?.AccessKeyId);
  assert.deepEqual(await aws.calls(), { AssumeRole: 2 });
});

awsTest(
  "the first role of a chain is not asked again for the second",
  async (aws) => {
    await aws.do(`${CHAIN} --no-validate`);
    await aws.startProxy();
    const run = await aws.startRun();
    assert.equal((await run.ask(CONTAINER)).status, 502);
    assert.deepEqual(await aws.calls(), { AssumeRole: 2 });
    await eventually("another call", async () => {
      await run.ask(CONTAINER);
      return (await aws.calls())["AssumeRole"] !== 2;
    });
    assert.deepEqual(await aws.calls(), { AssumeRole: 3 });
  },
  { flags: "--role arn:aws:iam::123456789012:role/Deploy" },
);

awsTest(
  "a chain of more than an hour is refused before any call",
  async (aws) => {
    assertRefused(await aws.type(`${CHAIN} --session-duration 2h`), {
      exit: 2,
      error: /from another role's session lasts 1h at most/,
      hint: /--session-duration 1h or less/,
    });
    assert.deepEqual(await aws.calls(), {});
  },
);

awsTest("roles of two partitions are no chain", async (aws) => {
  const line =
    "moat grant aws --role $ROLE --role arn:aws-cn:iam::123456789012:role/B";
  assertRefused(await aws.type(line), {
    exit: 2,
    error: /in the partitions "aws-cn" and "aws"/,
    hint: /one partition/,
  });
});

const part = (value: object) =>
  new TextEncoder().encode(JSON.stringify(value))
    .toBase64({ alphabet: "base64url", omitPadding: true });

/** The simulator reads it and does not verify its signature. */
function tokenOf(subject: string, lifeSeconds = 600): string {
  const exp = Math.floor(Date.now() / 1000) + lifeSeconds;
  const claims = { iss: "https://idp.test", sub: subject, aud: "sts", exp };
  return `${part({ alg: "RS256", typ: "JWT" })}.${part(claims)}.c2ln`;
}

const WEB = "moat grant aws --role $ROLE --web-identity-token-file token";

awsTest("a web identity token is read anew for each call", async (aws) => {
  const forms = aws.record();
  const tokens = [tokenOf("one"), tokenOf("two"), tokenOf("three")];
  const [first = "", second = "", third = ""] = tokens;
  await aws.workspace.write("token", first);
  await aws.do(WEB);
  await aws.startProxy();
  for (const token of [second, third]) {
    await aws.workspace.write("token", `${token}\n`);
    await (await aws.startRun()).credentials();
  }
  assert.deepEqual(
    Array.from(forms, (form) => form.get("WebIdentityToken")),
    tokens,
  );
  assert.deepEqual(await aws.calls(), { AssumeRoleWithWebIdentity: 3 });
}, { hasKey: false });

awsTest(
  "an expired web identity token is told of until it is renewed",
  async (aws) => {
    await aws.workspace.write("token", tokenOf("ana", -60));
    const { code, message = "" } = await aws.failure(WEB);
    assert.equal(code, "token-rejected");
    assert.match(message, /STS answered ExpiredToken/);
    await aws.workspace.write("token", tokenOf("ana"));
    await aws.do(WEB);
  },
  { hasKey: false },
);

awsTest(
  "a missing web identity token is told of before any call",
  async (aws) => {
    const { code } = await aws.failure(WEB);
    assert.equal(code, "token-unreadable");
    assert.deepEqual(await aws.calls(), {});
  },
  { hasKey: false },
);

awsTest(
  "an identity provider that is away for a moment is asked again",
  async (aws) => {
    await aws.workspace.write("token", tokenOf("ana"));
    await aws.do(WEB);
    assert.deepEqual(await aws.calls(), { AssumeRoleWithWebIdentity: 2 });
  },
  { hasKey: false, flags: "--fault idp-error:1" },
);

awsTest("a web identity opens a chain", async (aws) => {
  await aws.workspace.write("token", tokenOf("ana"));
  await aws.do(`${WEB} --role \${ROLE}2`);
  assert.deepEqual(await aws.calls(), {
    AssumeRoleWithWebIdentity: 1,
    AssumeRole: 1,
  });
}, { hasKey: false });

awsTest("--prefetch has the session before anyone asks", async (aws) => {
  await aws.do(`${GRANT} --session-name shared`);
  await aws.startProxy("--prefetch");
  await eventually(
    "call",
    async () => (await aws.calls())["AssumeRole"] === 1,
  );
  await aws.fault({ kind: "hang" });
  const run = await aws.startRun();
  await run.credentials();
  assert.deepEqual(await aws.calls(), { AssumeRole: 1 });
});

awsTest(
  "--prefetch prepares a grant that is granted meanwhile",
  async (aws) => {
    await aws.startProxy("--prefetch");
    await aws.do(`${GRANT} --session-name shared`);
    await eventually(
      "call",
      async () => (await aws.calls())["AssumeRole"] === 1,
    );
  },
);

awsTest("--prefetch survives a grant that fails", async (aws) => {
  await aws.do(`${GRANT} --session-name shared`);
  await aws.startProxy("--prefetch");
  const [entry] = await eventually("log", () => {
    const found = aws.logged("prefetch-failed");
    return found.length > 0 ? found : undefined;
  });
  assert.deepEqual([entry?.["grant"], entry?.["code"]], [
    "aws",
    "access-denied",
  ]);
}, { flags: "--role arn:aws:iam::123456789012:role/Other" });
