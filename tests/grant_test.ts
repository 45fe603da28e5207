/** `moat grant aws` as a user types it: flags, sources, and what is stored. */

import assert from "node:assert/strict";
import { CREDENTIAL_HELPER } from "$providers/aws/helper.ts";
import { CANARY } from "./support/canary.ts";
import { testUnless } from "./support/conditional.ts";
import { session, startFaultySts } from "./support/faulty_sts.ts";
import { moatReason } from "./support/moat.ts";
import { type Moto, motoReason, startMoto } from "./support/moto.ts";
import {
  assertRefused,
  type Refusal,
  ROLE,
  Terminal,
} from "./support/terminal.ts";

const test = (name: string, fn: (terminal: Terminal) => Promise<void>) =>
  testUnless(moatReason(), `moat grant aws: ${name}`, async () => {
    await using terminal = await Terminal.open();
    await fn(terminal);
  });

/** Grants without asking anybody, with more flags. */
const GRANT = "moat grant aws --no-validate --role";

const settingsOf = async (terminal: Terminal, name = "aws") =>
  (await terminal.json(`moat grant show ${name} --json`)).settings;

const DURATIONS: Readonly<Record<string, number>> = {
  "15m": 900,
  "1h30m": 5400,
  "900s": 900,
  "3600": 3600,
  "12h": 43_200,
};

for (const [text, seconds] of Object.entries(DURATIONS)) {
  test(`--session-duration ${text} is ${seconds} seconds`, async (terminal) => {
    await terminal.do(`${GRANT} $ROLE --session-duration ${text}`);
    assert.equal((await settingsOf(terminal)).durationSeconds, seconds);
  });
}

const NO_DURATIONS = ["14m", "899", "12h1s", "43201s", "1d", "1.5h", "soon"];

for (const text of NO_DURATIONS) {
  test(`--session-duration ${text} is refused, and the forms named`, async (terminal) => {
    assertRefused(
      await terminal.type(`${GRANT} $ROLE --session-duration ${text}`),
      { exit: 2, error: /15m, 1h30m, 900s or 3600/, hint: /15m to 12h/ },
    );
  });
}

/** Roles of every partition, with the region that moat takes by itself. */
const PARTITIONS: Readonly<Record<string, string>> = {
  "aws": "us-east-1",
  "aws-cn": "cn-north-1",
  "aws-us-gov": "us-gov-west-1",
  "aws-iso": "us-iso-east-1",
  "aws-iso-b": "us-isob-east-1",
  "aws-iso-e": "eu-isoe-west-1",
  "aws-iso-f": "us-isof-south-1",
  "aws-eusc": "eusc-de-east-1",
};

for (const [partition, region] of Object.entries(PARTITIONS)) {
  test(`a role of partition ${partition} is used in ${region}`, async (terminal) => {
    await terminal.do(`${GRANT} arn:${partition}:iam::123456789012:role/a/b/C`);
    assert.equal((await settingsOf(terminal)).region, region);
  });
}

const BAD_ROLES: Readonly<Record<string, [role: string, error: RegExp]>> = {
  "too few parts": ["arn:aws:iam::123456789012", /wanted 6 parts.*found "?5/],
  "too many parts": ["arn:aws:iam::123456789012:role/A:b", /found "?7/],
  "a name alone": ["Deploy", /wanted 6 parts/],
  "no arn": ["urn:aws:iam::123456789012:role/A", /wanted "arn"/],
  "an unknown partition": ["arn:aws-mars:iam::123456789012:role/A", /aws-eusc/],
  "another service": ["arn:aws:s3::123456789012:role/A", /service "iam"/],
  "a region": ["arn:aws:iam:us-east-1:123456789012:role/A", /no region/],
  "11 digits": ["arn:aws:iam::12345678901:role/A", /12 digits/],
  "a user": ["arn:aws:iam::123456789012:user/ana", /begins with "role\/"/],
  "a session": ["arn:aws:sts::123456789012:assumed-role/A/b", /"iam"/],
  "no name": ["arn:aws:iam::123456789012:role/", /role name/],
  "a name of 65": [`arn:aws:iam::123456789012:role/${"a".repeat(65)}`, /64/],
  "a space": ["'arn:aws:iam::123456789012:role/a b'", /role name/],
};

for (const [name, [role, error]] of Object.entries(BAD_ROLES)) {
  test(`a role with ${name} is refused`, async (terminal) => {
    assertRefused(await terminal.type(`${GRANT} ${role}`), {
      exit: 2,
      error,
      hint: /such as arn:aws:iam::123456789012:role\/Deploy/,
    });
  });
}

/** What else a user may get wrong; all of it is usage. */
const BAD_FLAGS: Readonly<
  Record<string, [flags: string, error: RegExp, hint: RegExp]>
> = {
  "no role": ["", /--role is missing/, /moat grant aws --role arn:/],
  "an upper-case name": ["--role $ROLE --name Prod", /"Prod"/, /lower-case/],
  "a path as name": ["--role $ROLE --name ../x", /"\.\.\/x"/, /lower-case/],
  "a name of 64": [
    `--role $ROLE --name ${"a".repeat(64)}`,
    /grant name/,
    /63 at most/,
  ],
  "a region that is none": [
    "--role $ROLE --region mars",
    /"mars" from --region/,
    /such as us-east-1/,
  ],
  "a region of another partition": [
    "--role $ROLE --region cn-north-1",
    /partition "aws", the region in "aws-cn"/,
    /--region us-east-1|such as us-east-1/,
  ],
  "a short external ID": [
    "--role $ROLE --external-id x",
    /--external-id: wanted 2 to 1224/,
    /trust policy/,
  ],
  "a session name with a space": [
    "--role $ROLE --session-name 'a b'",
    /"a b" as session name: wanted letters/,
    /leave --session-name out/,
  ],
  "a misspelt profile": [
    "--role $ROLE --aws-profile prd",
    /profile "prd" in \/.*\/\.aws\/config or \/.*\/\.aws\/credentials/,
    /aws configure list-profiles/,
  ],
};

for (const [name, [flags, error, hint]] of Object.entries(BAD_FLAGS)) {
  test(`${name} is refused`, async (terminal) => {
    assertRefused(
      await terminal.type(`moat grant aws --no-validate ${flags}`),
      { exit: 2, error, hint },
    );
  });
}

const CONFIG = `
[default]
region = eu-west-1
[profile prod]
region = eu-west-3
[profile china]
region = cn-north-1
`;

/** From the strongest to the weakest, each without those before it. */
const REGIONS: Readonly<Record<string, [line: string, region: string]>> = {
  "the flag": [
    "AWS_REGION=ca-west-1 moat grant aws --no-validate --role $ROLE --region us-west-2",
    "us-west-2",
  ],
  "AWS_REGION": [
    "AWS_REGION=ca-west-1 AWS_DEFAULT_REGION=sa-east-1 moat grant aws --no-validate --role $ROLE",
    "ca-west-1",
  ],
  "AWS_DEFAULT_REGION": [
    "AWS_DEFAULT_REGION=sa-east-1 moat grant aws --no-validate --role $ROLE",
    "sa-east-1",
  ],
  "the profile": [
    "moat grant aws --no-validate --role $ROLE --aws-profile prod",
    "eu-west-3",
  ],
  "the default profile": [
    "moat grant aws --no-validate --role $ROLE",
    "eu-west-1",
  ],
};

for (const [name, [line, region]] of Object.entries(REGIONS)) {
  test(`the region comes from ${name}`, async (terminal) => {
    await terminal.workspace.write(".aws/config", CONFIG);
    await terminal.do(line);
    assert.equal((await settingsOf(terminal)).region, region);
  });
}

/** Where a region of the wrong partition was found. */
const WRONG_REGIONS: Readonly<Record<string, [line: string, error: RegExp]>> = {
  "AWS_REGION": ["AWS_REGION=cn-north-1 moat grant aws", /from AWS_REGION:/],
  "a profile": ["AWS_PROFILE=china moat grant aws", /\.aws\/config:/],
};

for (const [name, [line, error]] of Object.entries(WRONG_REGIONS)) {
  test(`a wrong region from ${name} names its origin`, async (terminal) => {
    await terminal.workspace.write(".aws/config", CONFIG);
    assertRefused(await terminal.type(`${line} --no-validate --role $ROLE`), {
      exit: 2,
      error,
      hint: /--region REGION, such as us-east-1/,
    });
  });
}

test("an endpoint that is no URL is refused", async (terminal) => {
  assertRefused(
    await terminal.type(`AWS_ENDPOINT_URL_STS=localhost:1 ${GRANT} $ROLE`),
    {
      exit: 2,
      error: /AWS_ENDPOINT_URL_STS="localhost:1": wanted an http or https URL/,
      hint: /^remove it/,
    },
  );
});

test("--session-duration 1h brings no advice", async (terminal) => {
  const { stderr } = await terminal.type(
    `${GRANT} $ROLE --session-duration 1h`,
  );
  assert.equal(stderr, "");
});

test("--no-validate asks nobody", async (terminal) => {
  await using sts = startFaultySts(session());
  const stdout = await terminal.do(`${GRANT} $ROLE`, {
    AWS_ENDPOINT_URL_STS: sts.url,
  });
  assert.match(stdout, /^granted aws \(not validated\);/);
  assert.equal(sts.requests.length, 0);
});

const KEYS = {
  AWS_ACCESS_KEY_ID: "AKIAMOCKSOURCE000000",
  AWS_SECRET_ACCESS_KEY: CANARY,
};

test("STS is asked once, for what the flags say", async (terminal) => {
  await using sts = startFaultySts(session());
  await terminal.do(
    "moat grant aws --role $ROLE --session-duration 1h30m --external-id ticket-7 --session-name ana",
    { ...KEYS, AWS_ENDPOINT_URL_STS: sts.url },
  );
  const [request, ...others] = sts.requests.map((r) => Object.fromEntries(r));
  assert.deepEqual(others, []);
  assert.deepEqual(request, {
    Action: "AssumeRole",
    Version: "2011-06-15",
    RoleArn: ROLE,
    DurationSeconds: "5400",
    ExternalId: "ticket-7",
    RoleSessionName: "ana",
  });
});

test("STS is asked for 15 minutes by default", async (terminal) => {
  await using sts = startFaultySts(session());
  const env = { ...KEYS, AWS_ENDPOINT_URL_STS: sts.url };
  await terminal.do("moat grant aws --role $ROLE", env);
  assert.equal(sts.requests[0]?.get("DurationSeconds"), "900");
});

for (const variables of [["AWS_ENDPOINT_URL"], ["AWS_ENDPOINT_URL_STS"]]) {
  test(`${variables} is honoured and recorded`, async (terminal) => {
    await using sts = startFaultySts(session());
    const env = Object.fromEntries(variables.map((name) => [name, sts.url]));
    await terminal.do("moat grant aws --role $ROLE", { ...KEYS, ...env });
    const { stsEndpoint } = await settingsOf(terminal);
    assert.deepEqual([sts.requests.length, stsEndpoint], [1, sts.url]);
  });
}

test("AWS_ENDPOINT_URL_STS wins over AWS_ENDPOINT_URL", async (terminal) => {
  await using sts = startFaultySts(session());
  await terminal.do("moat grant aws --role $ROLE", {
    ...KEYS,
    AWS_ENDPOINT_URL: "http://127.0.0.1:1",
    AWS_ENDPOINT_URL_STS: sts.url,
  });
  assert.equal(sts.requests.length, 1);
});

/** Profiles that give no credentials, with the files of a careful user. */
const PROFILES = `
[profile broken]
credential_process = sh -c 'echo ${CANARY} >&2; exit 3'
[profile chatty]
credential_process = echo ${CANARY}
[profile absent]
credential_process = /nonexistent/program
[profile stale]
credential_process = echo '{"Version":1,"AccessKeyId":"AKIA","SecretAccessKey":"${CANARY}","Expiration":"2020-01-01T00:00:00Z"}'
[profile mfa]
role_arn = ${ROLE}
source_profile = broken
mfa_serial = arn:aws:iam::123456789012:mfa/ana
[profile orphan]
role_arn = ${ROLE}
source_profile = gone
[profile loop]
role_arn = ${ROLE}
source_profile = loop
[profile empty]
region = eu-west-1
[sso-session corp]
sso_region = us-east-1
sso_start_url = https://example.awsapps.com/start
[profile sso]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Admin
[profile moat]
credential_process = HOME/helper
[profile via-moat]
role_arn = ${ROLE}
source_profile = moat
`;

const BY_HAND = /run the profile's credential_process by hand/;

const BAD_PROFILES: Readonly<Record<string, Refusal>> = {
  "broken": { error: /tried profile "broken".*process failed/, hint: BY_HAND },
  "chatty": { error: /credential_process failed/, hint: BY_HAND },
  "absent": { error: /credential_process failed/, hint: BY_HAND },
  "stale": { error: /have expired/, hint: BY_HAND },
  "mfa": { error: /asks for an MFA code/, hint: /--mfa-command PROGRAM/ },
  "orphan": { error: /no usable source/, hint: /--profile orphan/ },
  "loop": { error: /leads back to itself/, hint: /source_profile/ },
  "empty": { error: /no usable source/, hint: /--profile empty/ },
  "sso": { error: /SSO login has ended/, hint: /^aws sso login --profile sso/ },
  "moat": { error: /source .* is moat itself/, hint: /moat did not hand out/ },
  "via-moat": { error: /is moat itself/, hint: /moat did not hand out/ },
};

for (const [profile, refusal] of Object.entries(BAD_PROFILES)) {
  test(`the profile "${profile}" is no source`, async (terminal) => {
    await using sts = startFaultySts(session());
    const { workspace } = terminal;
    await workspace.write("helper", CREDENTIAL_HELPER, 0o755);
    await workspace.write(
      ".aws/config",
      PROFILES.replace("HOME", workspace.directory),
    );
    assertRefused(
      await terminal.type(
        `moat grant aws --role $ROLE --aws-profile ${profile}`,
        { AWS_ENDPOINT_URL_STS: sts.url },
      ),
      refusal,
    );
  });
}

/** Environments without a source. */
const NO_SOURCES: Readonly<
  Record<string, Refusal & { readonly env: Record<string, string> }>
> = {
  "nothing": {
    env: {},
    error:
      /tried the environment, profile "default" in .*credentials and .*config, .*container endpoint, instance metadata/,
    hint:
      /^aws sso login, aws configure, or name a profile \(--aws-profile or AWS_PROFILE\)$/,
  },
  "half a key": {
    env: { AWS_ACCESS_KEY_ID: "AKIA" },
    error: /tried the environment/,
    hint: /aws configure/,
  },
  "a token of moat": {
    env: {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://127.0.0.1:1/ecs/credentials",
      AWS_CONTAINER_AUTHORIZATION_TOKEN: `moat.web.${"x".repeat(43)}`,
    },
    error: /moat handed them out/,
    hint: /outside of the bound container/,
  },
  "a misspelt AWS_PROFILE": {
    env: { AWS_PROFILE: "prd" },
    exit: 2,
    error: /profile "prd"/,
    hint: /list-profiles/,
  },
};

for (const [name, { env, ...refusal }] of Object.entries(NO_SOURCES)) {
  test(`${name} in the environment is no source`, async (terminal) => {
    await using sts = startFaultySts(session());
    assertRefused(
      await terminal.type("moat grant aws --role $ROLE", {
        AWS_ENDPOINT_URL_STS: sts.url,
        ...env,
      }),
      refusal,
    );
  });
}

test("a garbage config file does not hide a key in the environment", async (terminal) => {
  await using sts = startFaultySts(session());
  await terminal.workspace.write(".aws/config", "\x00]]][[[\n=\n[__proto__]\n");
  await terminal.do("moat grant aws --role $ROLE", {
    ...KEYS,
    AWS_ENDPOINT_URL_STS: sts.url,
  });
});

test("a garbage config file has no profile", async (terminal) => {
  await terminal.workspace.write(".aws/config", "\x00]]][[[\n=\n[__proto__]\n");
  assertRefused(await terminal.type(`${GRANT} $ROLE --aws-profile x`), {
    exit: 2,
    error: /profile "x"/,
    hint: /list-profiles/,
  });
});

test("a profile that assumes a role itself is recorded with its endpoint", async (terminal) => {
  await using sts = startFaultySts(session());
  const { workspace } = terminal;
  const base = "arn:aws:iam::123456789012:role/Base";
  await workspace.write(
    "elsewhere/config",
    `[profile chain]\nrole_arn = ${base}\nsource_profile = user\n`,
  );
  await workspace.write(
    "elsewhere/credentials",
    `[user]\naws_access_key_id = AKIA\naws_secret_access_key = ${CANARY}\n`,
  );
  await terminal.do("moat grant aws --role $ROLE --aws-profile chain", {
    AWS_CONFIG_FILE: "elsewhere/config",
    AWS_SHARED_CREDENTIALS_FILE: "elsewhere/credentials",
    AWS_ENDPOINT_URL_STS: sts.url,
  });
  // In another directory and environment: all that is needed is in the grant.
  await terminal.do(
    `mkdir other; cd other; moat run --grant aws -- sh -c '"\${AWS_CONFIG_FILE%/config}/credentials"' >/dev/null`,
  );
  assert.deepEqual(
    sts.requests.map((request) => request.get("RoleArn")),
    [base, ROLE, base, ROLE],
  );
});

test("AWS_PROFILE is recorded", async (terminal) => {
  await using sts = startFaultySts(session());
  await terminal.workspace.write(
    ".aws/credentials",
    `[prod]\naws_access_key_id = AKIA\naws_secret_access_key = ${CANARY}\n`,
  );
  await terminal.do("AWS_PROFILE=prod moat grant aws --role $ROLE", {
    AWS_ENDPOINT_URL_STS: sts.url,
  });
  const { source } = await settingsOf(terminal);
  assert.deepEqual([source.order, source.profile], [["profile"], "prod"]);
});

test("--aws-profile wins over AWS_PROFILE and a key in the environment", async (terminal) => {
  await using sts = startFaultySts(session());
  await terminal.workspace.write(
    ".aws/credentials",
    `[prod]\naws_access_key_id = AKIA\naws_secret_access_key = ${CANARY}\n`,
  );
  const stdout = await terminal.do(
    "moat grant aws --role $ROLE --aws-profile prod --json",
    { ...KEYS, AWS_PROFILE: "gone", AWS_ENDPOINT_URL_STS: sts.url },
  );
  assert.equal(JSON.parse(stdout).settings.source.profile, "prod");
});

test("inside of moat run it finds moat as its own source", async (terminal) => {
  await using sts = startFaultySts(session());
  const env = { ...KEYS, AWS_ENDPOINT_URL_STS: sts.url };
  await terminal.do("moat grant aws --role $ROLE", env);
  const inside = "moat grant aws --name again --role $ROLE";
  assertRefused(
    await terminal.type(`moat run --grant aws -- ${inside}`, env),
    { error: /is moat itself/, hint: /moat did not hand out/ },
  );
});

/** How a user may give moto's key, and the flags for it. */
type MotoSource = (
  terminal: Terminal,
  moto: Moto,
) => Promise<{ flags?: string; env?: Record<string, string> }>;

const keyOf = ({ accessKeyId, secretAccessKey }: Moto) =>
  `aws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`;

const MOTO_SOURCES: Readonly<Record<string, MotoSource>> = {
  "keys in the environment": (_, moto) =>
    Promise.resolve({
      env: {
        AWS_ACCESS_KEY_ID: moto.accessKeyId,
        AWS_SECRET_ACCESS_KEY: moto.secretAccessKey,
      },
    }),
  "the default profile": async ({ workspace }, moto) => {
    await workspace.write(".aws/credentials", `[default]\n${keyOf(moto)}`);
    return {};
  },
  "--aws-profile": async ({ workspace }, moto) => {
    await workspace.write(".aws/config", `[profile prod]\n${keyOf(moto)}`);
    return { flags: "--aws-profile prod" };
  },
  "AWS_PROFILE": async ({ workspace }, moto) => {
    await workspace.write(".aws/credentials", `[prod]\n${keyOf(moto)}`);
    return { env: { AWS_PROFILE: "prod" } };
  },
  "a file elsewhere": async ({ workspace }, moto) => {
    const file = await workspace.write("keys", `[default]\n${keyOf(moto)}`);
    return { env: { AWS_SHARED_CREDENTIALS_FILE: file } };
  },
  "a credential_process": async ({ workspace }, moto) => {
    const answer = JSON.stringify({
      Version: 1,
      AccessKeyId: moto.accessKeyId,
      SecretAccessKey: moto.secretAccessKey,
    });
    const script = `#!/bin/sh\ncat <<'END'\n${answer}\nEND\n`;
    const program = await workspace.write("login", script, 0o755);
    await workspace.write(
      ".aws/config",
      `[profile prod]\ncredential_process = ${program}\n`,
    );
    return { flags: "--aws-profile prod" };
  },
};

/** What moto refuses, and how it is told. */
const MOTO_REFUSALS: Readonly<
  Record<
    string,
    Refusal & {
      readonly flags?: string;
      readonly env?: Record<string, string>;
    }
  >
> = {
  "another role": {
    flags: "--role arn:aws:iam::123456789012:role/Other",
    error: /Other: STS answered AccessDenied: .*moat-source is not authorized/,
    hint: /trust policy.*--external-id.*sts:AssumeRole/,
  },
  "a wrong external ID": {
    flags: "--external-id wrong",
    error: /STS answered AccessDenied/,
    hint: /--external-id/,
  },
  "a wrong secret": {
    env: { AWS_SECRET_ACCESS_KEY: CANARY },
    error: /STS answered SignatureDoesNotMatch/,
    hint: /access key is active and complete/,
  },
  "an unknown key": {
    env: { AWS_ACCESS_KEY_ID: "AKIAUNKNOWN000000000" },
    error: /STS answered InvalidClientTokenId/,
    hint: /access key is active and complete/,
  },
  "a session token that moto never gave": {
    env: { AWS_SESSION_TOKEN: "stale" },
    error: /STS answered|have expired/,
    hint: /aws sso login/,
  },
};

testUnless(
  moatReason() ?? motoReason(),
  "moat grant aws, against moto",
  async (t) => {
    await using moto = await startMoto({ externalId: "ticket-7" });
    const exported = { AWS_ENDPOINT_URL_STS: moto.url };
    const line = `moat grant aws --role ${moto.roleArn} --external-id ticket-7`;

    for (const [name, prepare] of Object.entries(MOTO_SOURCES)) {
      await t.step(`has its credentials from ${name}`, async () => {
        await using terminal = await Terminal.open(exported);
        const { flags = "", env = {} } = await prepare(terminal, moto);
        const stdout = await terminal.do(`${line} ${flags}`, env);
        assert.match(stdout, /^granted aws; next: moat run --grant aws/);
      });
    }

    await t.step("whoami says whose key the environment holds", async () => {
      await using terminal = await Terminal.open(exported);
      const answer = await terminal.json("moat whoami aws --json", {
        AWS_ACCESS_KEY_ID: moto.accessKeyId,
        AWS_SECRET_ACCESS_KEY: moto.secretAccessKey,
      });
      assert.equal(answer.arn, moto.userArn);
    });

    for (const [name, refused] of Object.entries(MOTO_REFUSALS)) {
      await t.step(`tells what is wrong with ${name}`, async () => {
        await using terminal = await Terminal.open(exported);
        const { flags = "--external-id ticket-7", env, ...refusal } = refused;
        const role = flags.includes("--role") ? "" : `--role ${moto.roleArn}`;
        assertRefused(
          await terminal.type(`moat grant aws ${role} ${flags}`, {
            AWS_ACCESS_KEY_ID: moto.accessKeyId,
            AWS_SECRET_ACCESS_KEY: moto.secretAccessKey,
            ...env,
          }),
          refusal,
        );
      });
    }
  },
);
