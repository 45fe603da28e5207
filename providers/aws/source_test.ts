import assert from "node:assert/strict";
import fc from "fast-check";
import { MoatError } from "$core/errors.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { Workspace } from "../../tests/support/workspace.ts";
import type { Source } from "./settings.ts";
import {
  checkProfile,
  type Environment,
  readProfile,
  recordProfileEndpoint,
  recordSource,
  refuseOwnSource,
  sourceCredentials,
} from "./source.ts";

const HOME = { HOME: "/home/ana" };

/** What a home without any AWS variable gives. */
const DEFAULT: Source = {
  kind: "default",
  configFile: "/home/ana/.aws/config",
  credentialsFile: "/home/ana/.aws/credentials",
};

const RECORDED: {
  name: string;
  env: Environment;
  flag?: string;
  expect: Partial<Source>;
}[] = [
  { name: "nothing but a home", env: {}, expect: {} },
  {
    name: "AWS_PROFILE",
    env: { AWS_PROFILE: "dev" },
    expect: { kind: "profile", profile: "dev" },
  },
  { name: "an empty AWS_PROFILE", env: { AWS_PROFILE: "" }, expect: {} },
  {
    name: "--aws-profile",
    env: {},
    flag: "dev",
    expect: { kind: "profile", profile: "dev" },
  },
  {
    name: "--aws-profile above AWS_PROFILE",
    env: { AWS_PROFILE: "other" },
    flag: "dev",
    expect: { kind: "profile", profile: "dev" },
  },
  {
    name: "a profile named default",
    env: {},
    flag: "default",
    expect: { kind: "profile", profile: "default" },
  },
  {
    name: "absolute files",
    env: { AWS_CONFIG_FILE: "/c", AWS_SHARED_CREDENTIALS_FILE: "/k" },
    expect: { configFile: "/c", credentialsFile: "/k" },
  },
  {
    name: "relative files",
    env: { AWS_CONFIG_FILE: "c", AWS_SHARED_CREDENTIALS_FILE: "./d/../k" },
    expect: {
      configFile: `${Deno.cwd()}/c`,
      credentialsFile: `${Deno.cwd()}/k`,
    },
  },
  {
    name: "a relative home",
    env: { HOME: "here" },
    expect: {
      configFile: `${Deno.cwd()}/here/.aws/config`,
      credentialsFile: `${Deno.cwd()}/here/.aws/credentials`,
    },
  },
  {
    name: "no home",
    env: { HOME: "" },
    expect: {
      configFile: "/.aws/config",
      credentialsFile: "/.aws/credentials",
    },
  },
  {
    name: "a relative CA bundle",
    env: { AWS_CA_BUNDLE: "ca.pem" },
    expect: { caBundle: `${Deno.cwd()}/ca.pem` },
  },
  { name: "an empty CA bundle", env: { AWS_CA_BUNDLE: "" }, expect: {} },
  {
    name: "an endpoint of STS",
    env: { AWS_ENDPOINT_URL_STS: "http://127.0.0.1:1" },
    expect: { stsEndpoint: "http://127.0.0.1:1" },
  },
  {
    name: "an endpoint of everything",
    env: { AWS_ENDPOINT_URL: "https://aws.example/base" },
    expect: { stsEndpoint: "https://aws.example/base" },
  },
  {
    name: "an endpoint of STS above that of everything",
    env: { AWS_ENDPOINT_URL: "http://a", AWS_ENDPOINT_URL_STS: "http://b" },
    expect: { stsEndpoint: "http://b" },
  },
  {
    name: "an empty endpoint of STS, and one of everything",
    env: { AWS_ENDPOINT_URL: "http://a", AWS_ENDPOINT_URL_STS: "" },
    expect: { stsEndpoint: "http://a" },
  },
  {
    name: "endpoints that are to be ignored, bad ones too",
    env: {
      AWS_ENDPOINT_URL_STS: "nonsense",
      AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "true",
    },
    expect: {},
  },
  {
    name: "endpoints that are not to be ignored",
    env: {
      AWS_ENDPOINT_URL_STS: "http://a",
      AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "false",
    },
    expect: { stsEndpoint: "http://a" },
  },
];

for (const { name, env, flag, expect } of RECORDED) {
  Deno.test(`recordSource() records ${name}`, () => {
    const source = recordSource({ ...HOME, ...env }, flag);
    assert.deepEqual(source, { ...DEFAULT, ...expect });
  });
}

const BAD_ENDPOINTS = [
  "sts.amazonaws.com",
  "//sts.amazonaws.com",
  "ftp://sts",
  "file:///etc/passwd",
  "unix:/x",
  "http://",
  "http:///x",
  "http:sts",
  "http://a b",
  "http://a:99999",
  "http://[::1",
  "http://a\n.example",
  "http://a\t",
  " http://a",
  "javascript:alert(1)",
];

for (const variable of ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]) {
  for (const url of BAD_ENDPOINTS) {
    Deno.test(`recordSource() refuses ${variable}=${JSON.stringify(url)}`, () => {
      assert.throws(() => recordSource({ ...HOME, [variable]: url }), {
        code: "usage",
        message: new RegExp(`^Cannot use ${variable}=`),
      });
    });
  }
}

const USERINFO = [
  `https://user:${CANARY}@sts.example`,
  `https://${CANARY}@sts.example`,
  `user:${CANARY}@sts.example`,
];

for (const url of USERINFO) {
  const shown = url.replace(CANARY, "…");
  Deno.test(`recordSource() neither keeps nor prints the password of ${shown}`, () => {
    const env = { ...HOME, AWS_ENDPOINT_URL_STS: url };
    assert.throws(() => recordSource(env), (error) => {
      assert(error instanceof MoatError && error.code === "usage");
      assertNoCanary(`${error.message} ${error.hint}`);
      return true;
    });
  });
}

Deno.test("recordSource() gives absolute paths, or refuses", () => {
  const text = fc.string();
  fc.assert(fc.property(text, text, text, (home, config, bundle) => {
    const { configFile, credentialsFile, caBundle = "/" } = recordSource({
      HOME: home,
      AWS_CONFIG_FILE: config,
      AWS_CA_BUNDLE: bundle,
    });
    const paths = [configFile, credentialsFile, caBundle];
    assert(paths.every((path) => path.startsWith("/")), paths.join());
  }));
});

/** Shared files in a workspace. */
async function sourceIn(
  workspace: Workspace,
  files: { config?: string; credentials?: string },
  profile?: string,
): Promise<Source> {
  for (const [name, text] of Object.entries(files)) {
    await workspace.write(name, text);
  }
  return {
    kind: profile ? "profile" : "default",
    ...(profile && { profile }),
    configFile: workspace.path("config"),
    credentialsFile: workspace.path("credentials"),
  };
}

const CONFIG = `
[default]
region = eu-west-1

[profile keys]
region = eu-west-2

[profile program]
region = eu-west-3
credential_process = /opt/get-keys --for me

[profile chained]
region = us-east-1
role_arn = arn:aws:iam::123456789012:role/X
source_profile = middle

[profile middle]
role_arn = arn:aws:iam::123456789012:role/Y
source_profile = program

[profile to-keys]
role_arn = arn:aws:iam::123456789012:role/X
source_profile = keys

[profile self]
role_arn = arn:aws:iam::123456789012:role/X
source_profile = self

[profile ring-a]
source_profile = ring-b

[profile ring-b]
source_profile = ring-a

[profile dangling]
source_profile = nobody

[profile odd]
source_profile = constructor

[profile both]
source_profile = keys
credential_process = /opt/other
`;

const PROFILES: {
  profile: string | undefined;
  region?: string;
  process?: string;
}[] = [
  { profile: undefined, region: "eu-west-1" },
  { profile: "default", region: "eu-west-1" },
  { profile: "keys", region: "eu-west-2" },
  {
    profile: "program",
    region: "eu-west-3",
    process: "/opt/get-keys --for me",
  },
  {
    profile: "chained",
    region: "us-east-1",
    process: "/opt/get-keys --for me",
  },
  { profile: "middle", process: "/opt/get-keys --for me" },
  { profile: "to-keys" },
  { profile: "self" },
  { profile: "ring-a" },
  { profile: "dangling" },
  { profile: "odd" },
  { profile: "both", process: "/opt/other" },
  { profile: "nobody" },
  { profile: "constructor" },
  { profile: "__proto__" },
];

for (const { profile, region, process } of PROFILES) {
  Deno.test(`readProfile() reads region and program of profile ${profile}`, async () => {
    await using workspace = await Workspace.open();
    const source = await sourceIn(workspace, { config: CONFIG }, profile);
    const facts = await readProfile(source);
    assert.deepEqual([facts.region, facts.process], [region, process]);
  });
}

Deno.test("readProfile() finds a program in the credentials file", async () => {
  await using workspace = await Workspace.open();
  const credentials = "[default]\ncredential_process = /opt/x\n";
  const source = await sourceIn(workspace, { credentials });
  assert.equal((await readProfile(source)).process, "/opt/x");
});

Deno.test("readProfile() finds nothing in files that are not there", async () => {
  await using workspace = await Workspace.open();
  const source = await sourceIn(workspace, {});
  assert.deepEqual(await readProfile(source), {
    region: undefined,
    process: undefined,
    stsEndpoint: undefined,
    inherits: false,
  });
});

Deno.test("readProfile() sees what was edited meanwhile", async () => {
  await using workspace = await Workspace.open();
  const before = await sourceIn(workspace, {
    config: "[default]\nregion = a\n",
  });
  await readProfile(before);
  const after = await sourceIn(workspace, {
    config: "[default]\nregion = b\n",
  });
  assert.equal((await readProfile(after)).region, "b");
});

Deno.test("readProfile() takes garbage for an empty file", async () => {
  await using workspace = await Workspace.open();
  const source = await sourceIn(workspace, { config: "\0\xff[[[\n]=" });
  assert.equal((await readProfile(source)).region, undefined);
});

for (const profile of ["keys", "program", "default", undefined]) {
  Deno.test(`checkProfile() finds profile ${profile}`, async () => {
    await using workspace = await Workspace.open();
    await checkProfile(await sourceIn(workspace, { config: CONFIG }, profile));
  });
}

Deno.test("checkProfile() finds a profile in the credentials file", async () => {
  await using workspace = await Workspace.open();
  const credentials = "[dev]\naws_access_key_id = x\n";
  await checkProfile(await sourceIn(workspace, { credentials }, "dev"));
});

const MISSING = ["nobody", "KEYS", "profile keys", "constructor", "__proto__"];

for (const profile of MISSING) {
  Deno.test(`checkProfile() tells that profile ${profile} is in neither file`, async () => {
    await using workspace = await Workspace.open();
    const source = await sourceIn(workspace, { config: CONFIG }, profile);
    await assert.rejects(checkProfile(source), {
      code: "usage",
      message:
        `Cannot find profile "${profile}" in ${source.configFile} or ${source.credentialsFile}`,
    });
  });
}

Deno.test("checkProfile() asks for no profile of the default chain", async () => {
  await using workspace = await Workspace.open();
  await checkProfile(await sourceIn(workspace, {}));
});

const OWN_TOKEN = `moat_${"aB3-_".repeat(9).slice(0, 43)}`;
const OWN = [
  OWN_TOKEN,
  `Bearer ${OWN_TOKEN}`,
  `bearer ${OWN_TOKEN}`,
  `Basic x ${OWN_TOKEN}\n`,
  OWN_TOKEN.toUpperCase(),
];
const OTHER = ["", "other", "moat_x", "Bearer other", "moat_ rest"];

for (const token of OWN) {
  const shown = JSON.stringify(token.replace(/(moat_)\S*/i, "$1…"));
  Deno.test(`refuseOwnSource() refuses the token ${shown}`, async () => {
    const env = { AWS_CONTAINER_AUTHORIZATION_TOKEN: token };
    const refused = refuseOwnSource(DEFAULT, env);
    await assert.rejects(refused, { code: "source-is-moat" });
  });

  Deno.test(`refuseOwnSource() refuses a file with the token ${shown}`, async () => {
    await using workspace = await Workspace.open();
    const file = await workspace.write("token", token);
    const env = { AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file };
    const refused = refuseOwnSource(DEFAULT, env);
    await assert.rejects(refused, { code: "source-is-moat" });
  });
}

for (const token of OTHER) {
  Deno.test(`refuseOwnSource() takes the token "${token}"`, async () => {
    await using workspace = await Workspace.open();
    await refuseOwnSource(DEFAULT, {
      AWS_CONTAINER_AUTHORIZATION_TOKEN: token,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: await workspace.write("t", token),
    });
  });
}

Deno.test("refuseOwnSource() takes an environment without a token", async () => {
  await refuseOwnSource(DEFAULT, {});
});

Deno.test("refuseOwnSource() takes keys, which go before the container", async () => {
  await refuseOwnSource(DEFAULT, {
    AWS_ACCESS_KEY_ID: "AKIA",
    AWS_SECRET_ACCESS_KEY: "x",
    AWS_CONTAINER_AUTHORIZATION_TOKEN: OWN_TOKEN,
  });
});

Deno.test("refuseOwnSource() leaves a missing token file to the SDK", async () => {
  const env = { AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: "/nonexistent/token" };
  await refuseOwnSource(DEFAULT, env);
});

const INHERITING = `
[profile container]
role_arn = arn:aws:iam::123456789012:role/X
credential_source = EcsContainer

[profile through]
role_arn = arn:aws:iam::123456789012:role/X
source_profile = container

[profile keys]
aws_access_key_id = AKIA
`;

for (const profile of ["container", "through"]) {
  Deno.test(`refuseOwnSource() refuses profile ${profile} whose container is moat`, async () => {
    await using workspace = await Workspace.open();
    const source = await sourceIn(workspace, { config: INHERITING }, profile);
    const env = { AWS_CONTAINER_AUTHORIZATION_TOKEN: OWN_TOKEN };
    const refused = refuseOwnSource(source, env);
    await assert.rejects(refused, { code: "source-is-moat" });
  });
}

Deno.test("refuseOwnSource() takes a profile that does not use the container", async () => {
  await using workspace = await Workspace.open();
  const source = await sourceIn(workspace, { config: INHERITING }, "keys");
  const env = { AWS_CONTAINER_AUTHORIZATION_TOKEN: OWN_TOKEN };
  await refuseOwnSource(source, env);
});

Deno.test("sourceCredentials() refuses a profile whose container is moat", async () => {
  await using workspace = await Workspace.open();
  const source = await sourceIn(
    workspace,
    { config: INHERITING },
    "container",
  );
  const env = { AWS_CONTAINER_AUTHORIZATION_TOKEN: OWN_TOKEN };
  const refused = sourceCredentials(settingsOf(source), env);
  await assert.rejects(refused, { code: "source-is-moat" });
});

function settingsOf(source: Source) {
  return {
    role: "arn:aws:iam::123456789012:role/Deploy",
    region: "eu-central-1",
    durationSeconds: 900,
    source,
  };
}

const ENDPOINTS = `
[default]
endpoint_url = https://default.example

[profile plain]
endpoint_url = https://plain.example

[profile serviced]
services = mine
endpoint_url = https://plain.example

[services mine]
sts =
  endpoint_url = https://sts.example
s3 =
  endpoint_url = https://s3.example

[profile other-service]
services = no-sts

[services no-sts]
s3 =
  endpoint_url = https://s3.example

[profile ignoring]
endpoint_url = https://plain.example
ignore_configured_endpoint_urls = true

[profile none]
region = eu-west-1
`;

const PROFILE_ENDPOINTS: [profile: string | undefined, string | undefined][] = [
  [undefined, "https://default.example"],
  ["plain", "https://plain.example"],
  ["serviced", "https://sts.example"],
  ["other-service", undefined],
  ["ignoring", undefined],
  ["none", undefined],
];

for (const [profile, wanted] of PROFILE_ENDPOINTS) {
  Deno.test(`recordProfileEndpoint() records ${wanted} for profile ${profile}`, async () => {
    await using workspace = await Workspace.open();
    const source = await sourceIn(workspace, { config: ENDPOINTS }, profile);
    const recorded = await recordProfileEndpoint(source, {});
    assert.equal(recorded.stsEndpoint, wanted);
  });
}

Deno.test("recordProfileEndpoint() keeps what the environment named", async () => {
  await using workspace = await Workspace.open();
  const stsEndpoint = "https://env.example";
  const source = await sourceIn(workspace, { config: ENDPOINTS }, "plain");
  const recorded = await recordProfileEndpoint({ ...source, stsEndpoint }, {});
  assert.equal(recorded.stsEndpoint, stsEndpoint);
});

Deno.test("recordProfileEndpoint() ignores profiles when told to", async () => {
  await using workspace = await Workspace.open();
  const source = await sourceIn(workspace, { config: ENDPOINTS }, "plain");
  const env = { AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "true" };
  const recorded = await recordProfileEndpoint(source, env);
  assert.equal(recorded.stsEndpoint, undefined);
});

Deno.test("recordProfileEndpoint() refuses what is no URL", async () => {
  await using workspace = await Workspace.open();
  const config = "[default]\nendpoint_url = nonsense\n";
  const source = await sourceIn(workspace, { config });
  await assert.rejects(recordProfileEndpoint(source, {}), {
    code: "usage",
    message: /^Cannot use endpoint_url of profile "default"="nonsense"/,
  });
});

Deno.test("sourceCredentials() starts no second program while the first has not ended", async () => {
  await using workspace = await Workspace.open();
  const started = workspace.path("started");
  const go = workspace.path("go");
  const keys = JSON.stringify({
    Version: 1,
    AccessKeyId: "AKIASOURCE",
    SecretAccessKey: "x",
  });
  const program = await workspace.write(
    "program",
    `#!/bin/sh\necho started >>${started}\nread -r _ <${go}\necho '${keys}'\n`,
    0o700,
  );
  const { success } = await new Deno.Command("mkfifo", { args: [go] }).output();
  assert(success);
  const config = `[profile slow]\ncredential_process = ${program}\n`;
  const settings = settingsOf(await sourceIn(workspace, { config }, "slow"));
  const calls = [
    sourceCredentials(settings, {}),
    sourceCredentials(settings, {}),
  ];
  // Opens the FIFO in a process of its own: it waits for the program.
  await new Deno.Command("sh", { args: ["-c", `echo go >${go}`] }).output();
  await Promise.all(calls);
  assert.equal(await Deno.readTextFile(started), "started\n");
});

Deno.test("sourceCredentials() asks anew once the last call has ended", async () => {
  await using workspace = await Workspace.open();
  const keys = (id: string) =>
    `[default]\naws_access_key_id = ${id}\naws_secret_access_key = x\n`;
  const before = await sourceIn(workspace, { credentials: keys("AKIAOLD") });
  await sourceCredentials(settingsOf(before), {});
  const after = await sourceIn(workspace, { credentials: keys("AKIANEW") });
  const { accessKeyId } = await sourceCredentials(settingsOf(after), {});
  assert.equal(accessKeyId, "AKIANEW");
});
