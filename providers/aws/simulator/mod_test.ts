import assert from "node:assert/strict";
import {
  AssumeRoleCommand,
  GetCallerIdentityCommand,
  STSClient,
} from "@aws-sdk/client-sts";
import { FetchHttpHandler } from "@smithy/fetch-http-handler";
import { systemClock } from "$core/clock.ts";
import type { FlagValues } from "$core/provider.ts";
import { FakeClock } from "../../../tests/support/fake_clock.ts";
import { testUnless } from "../../../tests/support/conditional.ts";
import { AWS_CLI, motoReason, PYTHON } from "../../../tests/support/moto.ts";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "./flags.ts";
import { simulateAws } from "./mod.ts";

const ROLE = "arn:aws:iam::123456789012:role/Deploy";
const USER_ARN = "arn:aws:iam::123456789012:user/moat-simulator";
const SESSION_ARN = "arn:aws:sts::123456789012:assumed-role/Deploy/moat-test";

async function withSimulator(
  fn: (url: string) => Promise<void>,
  flags: FlagValues = {},
  clock = systemClock,
): Promise<void> {
  const simulator = await simulateAws({ flags, listen: [] }, clock);
  try {
    await fn(simulator.urls[0] ?? "");
  } finally {
    await simulator.close();
  }
}

interface SdkKey {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
}

const USER: SdkKey = {
  accessKeyId: SIMULATOR_ACCESS_KEY_ID,
  secretAccessKey: SIMULATOR_SECRET_ACCESS_KEY,
};

async function withClient<T>(
  endpoint: string,
  credentials: SdkKey,
  fn: (client: STSClient) => Promise<T>,
): Promise<T> {
  const client = new STSClient({
    endpoint,
    region: "eu-west-1",
    credentials,
    maxAttempts: 1,
    requestHandler: new FetchHttpHandler(),
  });
  try {
    return await fn(client);
  } finally {
    client.destroy();
  }
}

const whoami = (url: string, key: SdkKey) =>
  withClient(url, key, (c) => c.send(new GetCallerIdentityCommand({})));

async function assume(url: string, input = {}): Promise<SdkKey> {
  const command = new AssumeRoleCommand({
    RoleArn: ROLE,
    RoleSessionName: "moat-test",
    ...input,
  });
  const { Credentials } = await withClient(url, USER, (c) => c.send(command));
  return {
    accessKeyId: Credentials?.AccessKeyId ?? "",
    secretAccessKey: Credentials?.SecretAccessKey ?? "",
    sessionToken: Credentials?.SessionToken ?? "",
  };
}

Deno.test("simulateAws() serves the JavaScript SDK", () =>
  withSimulator(async (url) => {
    assert.equal((await whoami(url, USER)).Arn, USER_ARN);
  }));

Deno.test("simulateAws() gives the JavaScript SDK a session that works", () =>
  withSimulator(async (url) => {
    assert.equal((await whoami(url, await assume(url))).Arn, SESSION_ARN);
  }));

Deno.test("simulateAws() takes policies and tags of the JavaScript SDK", () =>
  withSimulator(async (url) => {
    const key = await assume(url, {
      Policy: JSON.stringify({ Statement: [{ Sid: "a+b c/ä=&" }] }),
      PolicyArns: [{ arn: "arn:aws:iam::aws:policy/ReadOnlyAccess" }],
      Tags: [{ Key: "team", Value: "a b" }],
      TransitiveTagKeys: ["team"],
    });
    assert.match(key.accessKeyId, /^ASIA/);
  }));

const REFUSED: [string, string, (key: SdkKey) => SdkKey][] = [
  [
    "a wrong secret",
    "SignatureDoesNotMatch",
    (key) => ({ ...key, secretAccessKey: "x" }),
  ],
  [
    "an unknown key",
    "InvalidClientTokenId",
    (key) => ({ ...key, accessKeyId: "AKIAX" }),
  ],
  [
    "a session without its token",
    "InvalidClientTokenId",
    ({ accessKeyId, secretAccessKey }) => ({ accessKeyId, secretAccessKey }),
  ],
];
for (const [what, name, change] of REFUSED) {
  Deno.test(`simulateAws() refuses the JavaScript SDK ${what}`, () =>
    withSimulator(async (url) => {
      const key = change(await assume(url));
      await assert.rejects(whoami(url, key), { name });
    }));
}

Deno.test("simulateAws() reads its flags", () =>
  withSimulator(async (url) => {
    await assert.rejects(assume(url), { name: "AccessDenied" });
    const other = { RoleArn: ROLE + "2", ExternalId: "ext-1" };
    await assert.rejects(assume(url, other), { name: "AccessDenied" });
    assert.match(
      (await assume(url, { ExternalId: "ext-1" })).accessKeyId,
      /^ASIA/,
    );
  }, { role: [ROLE], "external-id": "ext-1" }));

Deno.test("simulateAws() refuses a client whose clock is wrong", () =>
  withSimulator(
    async (url) => {
      await assert.rejects(whoami(url, USER), {
        name: "SignatureDoesNotMatch",
        message: /^Signature not yet current: /,
      });
    },
    {},
    new FakeClock(Date.UTC(2020, 0, 1)),
  ));

/** Runs a program that finds the simulator and the key in its environment. */
async function run(
  url: string,
  program: string,
  args: string[],
  key = USER,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args,
    env: {
      AWS_ENDPOINT_URL_STS: url,
      AWS_ACCESS_KEY_ID: key.accessKeyId,
      AWS_SECRET_ACCESS_KEY: key.secretAccessKey,
      AWS_SESSION_TOKEN: key.sessionToken ?? "",
      AWS_DEFAULT_REGION: "us-east-1",
      AWS_CONFIG_FILE: "/proc/nonexistent",
      AWS_SHARED_CREDENTIALS_FILE: "/proc/nonexistent",
      AWS_EC2_METADATA_DISABLED: "true",
      AWS_MAX_ATTEMPTS: "1",
      NO_PROXY: "127.0.0.1",
    },
    signal: AbortSignal.timeout(30_000),
  }).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: decode(stdout), stderr: decode(stderr) };
}

const noAws = motoReason();

testUnless(
  noAws,
  "simulateAws() serves the AWS CLI",
  () =>
    withSimulator(async (url) => {
      const { code, stdout } = await run(url, AWS_CLI, [
        "sts",
        "get-caller-identity",
      ]);
      assert.deepEqual([code, JSON.parse(stdout)], [0, {
        UserId: "AIDAMOATSIMULATOR0000",
        Account: "123456789012",
        Arn: USER_ARN,
      }]);
    }),
);

const ASSUME = [
  ...["sts", "assume-role", "--role-arn", ROLE],
  ...["--role-session-name", "moat-test", "--output", "json"],
];

testUnless(
  noAws,
  "simulateAws() gives the AWS CLI a session that works",
  () =>
    withSimulator(async (url) => {
      const assumed = await run(url, AWS_CLI, ASSUME);
      const { Credentials } = JSON.parse(assumed.stdout);
      const { stdout } = await run(
        url,
        AWS_CLI,
        ["sts", "get-caller-identity"],
        {
          accessKeyId: Credentials.AccessKeyId,
          secretAccessKey: Credentials.SecretAccessKey,
          sessionToken: Credentials.SessionToken,
        },
      );
      assert.equal(JSON.parse(stdout).Arn, SESSION_ARN);
    }),
);

testUnless(
  noAws,
  "simulateAws() gives the AWS CLI its error",
  () =>
    withSimulator(async (url) => {
      const { stderr } = await run(url, AWS_CLI, ASSUME);
      assert.match(
        stderr,
        new RegExp(
          `\\(AccessDenied\\) when calling the AssumeRole operation: User: ${USER_ARN} is not authorized to perform: sts:AssumeRole on resource: ${ROLE}`,
        ),
      );
    }, { "external-id": "ext-1" }),
);

const BOTO = `
import boto3, json
from botocore.exceptions import ClientError
sts = boto3.client("sts")
role = dict(RoleArn="${ROLE}", RoleSessionName="moat-test")
answer = sts.assume_role(**role, DurationSeconds=900, ExternalId="a:/@=,.+-")
c = answer["Credentials"]
names = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"]
keys = [c["AccessKeyId"], c["SecretAccessKey"], c["SessionToken"]]
session = boto3.client("sts", **dict(zip(names, keys)))
broken = boto3.client("sts", **dict(zip(names, [keys[0], "x", keys[2]])))
def code(call):
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"]
print(json.dumps([
    session.get_caller_identity()["Arn"],
    c["Expiration"].tzname(),
    code(broken.get_caller_identity),
    code(lambda: session.assume_role(**role, DurationSeconds=7200)),
]))
`;

testUnless(
  noAws,
  "simulateAws() serves boto3",
  () =>
    withSimulator(async (url) => {
      const { stdout, stderr } = await run(url, PYTHON, ["-c", BOTO]);
      assert.equal(stderr, "");
      assert.deepEqual(JSON.parse(stdout), [
        SESSION_ARN,
        "UTC",
        "SignatureDoesNotMatch",
        "ValidationError",
      ]);
    }),
);

const BOTO_SESSIONS = `
import base64, boto3, json, time
def part(value):
    text = base64.urlsafe_b64encode(json.dumps(value).encode())
    return text.decode().rstrip("=")
claims = dict(iss="https://issuer.example", sub="s", aud="a", exp=time.time() + 60)
token = ".".join([part(dict(alg="ES256")), part(claims), "c2ln"])
sts = boto3.client("sts")
role = dict(RoleArn="${ROLE}", RoleSessionName="moat-test")
web = sts.assume_role_with_web_identity(**role, WebIdentityToken=token)
c = sts.get_session_token(
    SerialNumber="GAHT12345678", TokenCode="123456", DurationSeconds=900
)["Credentials"]
session = boto3.client(
    "sts",
    aws_access_key_id=c["AccessKeyId"],
    aws_secret_access_key=c["SecretAccessKey"],
    aws_session_token=c["SessionToken"],
)
tagged = session.assume_role(
    **role,
    Tags=[dict(Key="team", Value="a b"), dict(Key="Größe", Value="ä")],
    TransitiveTagKeys=["team"],
    SourceIdentity="ana",
)
print(json.dumps([
    web["SubjectFromWebIdentityToken"],
    web["Provider"],
    session.get_caller_identity()["Arn"],
    tagged["SourceIdentity"],
    tagged["PackedPolicySize"] > 0,
]))
`;

testUnless(
  noAws,
  "simulateAws() gives boto3 sessions of tokens and codes",
  () =>
    withSimulator(async (url) => {
      const { stdout, stderr } = await run(url, PYTHON, ["-c", BOTO_SESSIONS]);
      assert.equal(stderr, "");
      assert.deepEqual(JSON.parse(stdout), [
        "s",
        "https://issuer.example",
        USER_ARN,
        "ana",
        true,
      ]);
    }, { "require-mfa": true }),
);

Deno.test("simulateAws() serves every address with the same sessions", async () => {
  const listen = ["127.0.0.1:0", "[::1]:0"];
  const simulator = await simulateAws({ flags: {}, listen }, systemClock);
  const [one = "", two = ""] = simulator.urls;
  const { Arn } = await whoami(two, await assume(one));
  await simulator.close();
  assert.match(
    simulator.urls.join(" "),
    /^http:\/\/127\.0\.0\.1:\d+ http:\/\/\[::1\]:\d+$/,
  );
  assert.equal(Arn, SESSION_ARN);
});

for (
  const [what, flags, note] of [
    ["STS's URL", {}, /^export AWS_ENDPOINT_URL_STS=URL$/m],
    ["the MFA code", { "mfa-code": "000111" }, /^MFA code .*: 000111$/m],
    ["that any CA is trusted", {}, /^Roles Anywhere: .*URL, no trust anchor/m],
    ["how to control it", {}, / URL\/_simulator\/calls, /],
  ] as [string, FlagValues, RegExp][]
) {
  Deno.test(`simulateAws() tells ${what}`, async () => {
    const simulator = await simulateAws({ flags, listen: [] }, systemClock);
    await simulator.close();
    const notes = simulator.notes.join("\n");
    assert.match(notes.replaceAll(simulator.urls[0] ?? "", "URL"), note);
  });
}

Deno.test("simulateAws() frees its ports although a client keeps its connection", async () => {
  const simulator = await simulateAws({ flags: {}, listen: [] }, systemClock);
  const { port } = new URL(simulator.urls[0] ?? "");
  const conn = await Deno.connect({
    hostname: "127.0.0.1",
    port: Number(port),
  });
  await conn.write(
    new TextEncoder().encode("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
  );
  await conn.read(new Uint8Array(4096));
  await simulator.close();
  conn.close();
  Deno.listen({ hostname: "127.0.0.1", port: Number(port) }).close();
});

Deno.test("simulateAws() leaves nothing running when an address is taken", async () => {
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const address = (l: Deno.TcpListener) => `127.0.0.1:${l.addr.port}`;
  free.close();
  await assert.rejects(
    simulateAws(
      { flags: {}, listen: [address(free), address(taken)] },
      systemClock,
    ),
    {
      code: "listen-failed",
      message: `Cannot listen on "${address(taken)}": the address is in use`,
    },
  );
  taken.close();
  Deno.listen({ hostname: "127.0.0.1", port: free.addr.port }).close();
});

for (
  const listen of [
    "",
    "127.0.0.1",
    ":80",
    "::1:80",
    "127.0.0.1:65536",
    "127.0.0.1:0/x",
  ]
) {
  Deno.test(`simulateAws() refuses the address ${JSON.stringify(listen)}`, async () => {
    await assert.rejects(
      simulateAws({ flags: {}, listen: [listen] }, systemClock),
      { code: "usage" },
    );
  });
}

const WRONG_FLAGS: FlagValues[] = [
  { role: ["Deploy"] },
  { "mfa-code": "12345" },
  { "mfa-code": "abcdef" },
  { "session-life": "0" },
  { "session-life": "1.5" },
  { "session-life": "129601" },
  { delay: "1h" },
  { fault: ["500", "501"] },
];
for (const flags of WRONG_FLAGS) {
  Deno.test(`simulateAws() refuses ${JSON.stringify(flags)}`, async () => {
    await assert.rejects(simulateAws({ flags, listen: [] }, systemClock), {
      code: "usage",
    });
  });
}

const WRONG_ANCHORS: [string, string | undefined, RegExp][] = [
  ["is not there", undefined, /found no such file$/],
  ["has no certificate", "text", /found none$/],
  [
    "has a broken certificate",
    "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----",
    /found something that cannot be read$/,
  ],
];
for (const [what, content, message] of WRONG_ANCHORS) {
  Deno.test(`simulateAws() refuses a trust anchor that ${what}`, async () => {
    const file = await Deno.makeTempFile();
    if (content === undefined) await Deno.remove(file);
    else await Deno.writeTextFile(file, content);
    const flags = { "trust-anchor": [file] };
    await assert.rejects(simulateAws({ flags, listen: [] }, systemClock), {
      code: "certificate-unreadable",
      message,
    });
    if (content !== undefined) await Deno.remove(file);
  });
}
