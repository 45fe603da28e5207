import assert from "node:assert/strict";
import fc from "fast-check";
import { MoatError } from "$core/errors.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { eventually } from "../../tests/support/eventually.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import { MOCK_KEY_IDS } from "../../tests/support/mock_sources.ts";
import {
  printed,
  SourceBed,
  sourcePlatform,
} from "../../tests/support/source_bed.ts";
import { Workspace } from "../../tests/support/workspace.ts";
import { type Source, SOURCE_KINDS, type SourceKind } from "./settings.ts";
import { ClockSkew } from "./skew.ts";
import {
  checkProfile,
  type Environment,
  readProfile,
  recordAddress,
  recordSource,
  type SourceChoice,
  sourceCredentials,
  sourceProcess,
} from "./source.ts";
import { environmentIdentity } from "./sources/identity.ts";
import { stsClientAddress } from "./sdk_client.ts";

const HOME = { HOME: "/home/ana" };

/** What a home without any AWS variable gives. */
const DEFAULT: Source = {
  order: [...SOURCE_KINDS],
  configFile: "/home/ana/.aws/config",
  credentialsFile: "/home/ana/.aws/credentials",
};

const RECORDED: {
  name: string;
  env: Environment;
  choice?: SourceChoice;
  expect: Partial<Source>;
}[] = [
  { name: "nothing but a home", env: {}, expect: {} },
  {
    name: "AWS_PROFILE",
    env: { AWS_PROFILE: "dev" },
    expect: { order: ["profile"], profile: "dev" },
  },
  { name: "an empty AWS_PROFILE", env: { AWS_PROFILE: "" }, expect: {} },
  {
    name: "--aws-profile",
    env: {},
    choice: { profile: "dev" },
    expect: { order: ["profile"], profile: "dev" },
  },
  {
    name: "--aws-profile above AWS_PROFILE",
    env: { AWS_PROFILE: "other" },
    choice: { profile: "dev" },
    expect: { order: ["profile"], profile: "dev" },
  },
  {
    name: "a profile named default",
    env: {},
    choice: { profile: "default" },
    expect: { order: ["profile"], profile: "default" },
  },
  {
    name: "an order",
    env: {},
    choice: { order: ["instance", "environment"] },
    expect: { order: ["instance", "environment"] },
  },
  {
    name: "an order beside a profile",
    env: { AWS_PROFILE: "dev" },
    choice: { order: ["environment", "profile"] },
    expect: { order: ["environment", "profile"], profile: "dev" },
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
    name: "a web identity token",
    env: {
      AWS_WEB_IDENTITY_TOKEN_FILE: "token",
      AWS_ROLE_ARN: "arn:x",
      AWS_ROLE_SESSION_NAME: "me",
    },
    expect: {
      webIdentity: {
        tokenFile: `${Deno.cwd()}/token`,
        role: "arn:x",
        sessionName: "me",
      },
    },
  },
  {
    name: "a web identity token without a session name",
    env: { AWS_WEB_IDENTITY_TOKEN_FILE: "/t", AWS_ROLE_ARN: "arn:x" },
    expect: { webIdentity: { tokenFile: "/t", role: "arn:x" } },
  },
  {
    name: "no web identity without a role",
    env: { AWS_WEB_IDENTITY_TOKEN_FILE: "/t" },
    expect: {},
  },
  {
    name: "no web identity without a token",
    env: { AWS_ROLE_ARN: "arn:x" },
    expect: {},
  },
  {
    name: "a container's whole address",
    env: { AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://127.0.0.1:1/x" },
    expect: { container: { url: "http://127.0.0.1:1/x" } },
  },
  {
    name: "a container's relative address",
    env: { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/v2/credentials/1?a=b" },
    expect: {
      container: { url: "http://169.254.170.2/v2/credentials/1?a=b" },
    },
  },
  {
    name: "a container's relative address above the whole one",
    env: {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://127.0.0.1:1/x",
      AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/y",
    },
    expect: { container: { url: "http://169.254.170.2/y" } },
  },
  {
    name: "a container's token file",
    env: {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://127.0.0.1:1/x",
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: "t",
    },
    expect: {
      container: { url: "http://127.0.0.1:1/x", tokenFile: `${Deno.cwd()}/t` },
    },
  },
  {
    name: "no token of a container",
    env: {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://127.0.0.1:1/x",
      AWS_CONTAINER_AUTHORIZATION_TOKEN: CANARY,
    },
    expect: { container: { url: "http://127.0.0.1:1/x" } },
  },
  {
    name: "a token file without a container",
    env: { AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: "t" },
    expect: {},
  },
  {
    name: "no keys",
    env: { AWS_ACCESS_KEY_ID: "AKIA", AWS_SECRET_ACCESS_KEY: CANARY },
    expect: {},
  },
  {
    name: "an instance's address",
    env: { AWS_EC2_METADATA_SERVICE_ENDPOINT: "http://127.0.0.1:1" },
    expect: { instanceEndpoint: "http://127.0.0.1:1" },
  },
  {
    name: "an instance's address of IPv6",
    env: { AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: "IPv6" },
    expect: { instanceEndpoint: "http://[fd00:ec2::254]" },
  },
  {
    name: "an instance's address above its mode",
    env: {
      AWS_EC2_METADATA_SERVICE_ENDPOINT: "http://127.0.0.1:1",
      AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: "IPv6",
    },
    expect: { instanceEndpoint: "http://127.0.0.1:1" },
  },
  {
    name: "that instance metadata is disabled",
    env: { AWS_EC2_METADATA_DISABLED: "true" },
    expect: { instanceDisabled: true },
  },
  {
    name: "that instance metadata is not disabled",
    env: { AWS_EC2_METADATA_DISABLED: "false" },
    expect: {},
  },
];

for (const { name, env, choice, expect } of RECORDED) {
  Deno.test(`recordSource() records ${name}`, () => {
    const source = recordSource({ ...HOME, ...env }, choice);
    assert.deepEqual(source, { ...DEFAULT, ...expect });
  });
}

for (
  const path of ["v2/x", "@evil.example/", ".evil.example", "/a b", "/a\n"]
) {
  Deno.test(`recordSource() refuses the relative address ${JSON.stringify(path)}`, () => {
    const env = { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: path };
    assert.throws(() => recordSource(env), { code: "usage" });
  });
}

const ADDRESSES: {
  name: string;
  env: Environment;
  expect: Awaited<ReturnType<typeof recordAddress>>;
}[] = [
  { name: "nothing", env: {}, expect: {} },
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

/** Files that are not there. */
const NO_FILES: Source = {
  ...DEFAULT,
  configFile: "/proc/nonexistent/config",
  credentialsFile: "/proc/nonexistent/credentials",
};

for (const { name, env, expect } of ADDRESSES) {
  Deno.test(`recordAddress() records ${name}`, async () => {
    assert.deepEqual(await recordAddress(env, NO_FILES), expect);
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

/** Each variable that holds a URL. */
const URL_VARIABLES = [
  "AWS_ENDPOINT_URL_STS",
  "AWS_ENDPOINT_URL",
  "AWS_CONTAINER_CREDENTIALS_FULL_URI",
  "AWS_EC2_METADATA_SERVICE_ENDPOINT",
];

/** Records all that an environment says. */
async function record(env: Environment): Promise<unknown> {
  recordSource(env);
  return await recordAddress(env, NO_FILES);
}

for (const variable of URL_VARIABLES) {
  for (const url of BAD_ENDPOINTS) {
    Deno.test(`moat refuses to record ${variable}=${JSON.stringify(url)}`, async () => {
      await assert.rejects(record({ ...HOME, [variable]: url }), {
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

for (const variable of URL_VARIABLES) {
  for (const url of USERINFO) {
    const shown = url.replace(CANARY, "…");
    Deno.test(`moat neither keeps nor prints the password of ${variable}=${shown}`, async () => {
      const error = await record({ [variable]: url })
        .then(() => assert.fail(), (error) => error);
      assert(error instanceof MoatError && error.code === "usage");
      assertNoCanary(`${error.message} ${error.hint}`);
    });
  }
}

Deno.test("moat records absolute paths, or refuses", async () => {
  const text = fc.string();
  await fc.assert(
    fc.asyncProperty(text, text, text, async (home, file, token) => {
      const env = {
        HOME: home,
        AWS_CONFIG_FILE: file,
        AWS_CA_BUNDLE: file,
        AWS_ROLE_ARN: "arn",
        AWS_WEB_IDENTITY_TOKEN_FILE: token,
      };
      const source = recordSource(env);
      const { caBundle = "/" } = await recordAddress(env, NO_FILES);
      const { configFile, credentialsFile, webIdentity } = source;
      const { tokenFile = "/" } = webIdentity ?? {};
      const paths = [configFile, credentialsFile, caBundle, tokenFile];
      assert(paths.every((path) => path.startsWith("/")), paths.join());
    }),
  );
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
    order: ["profile"],
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
    instanceEndpoint: undefined,
    inherits: false,
  });
});

Deno.test("readProfile() refuses a file without an end", async () => {
  const source = { ...DEFAULT, credentialsFile: "/dev/zero" };
  await assert.rejects(readProfile(source), { code: "no-source" });
});

for (const name of ["constructor", " toString "]) {
  Deno.test(`readProfile() refuses a section [${name}]`, async () => {
    await using workspace = await Workspace.open();
    const credentials = `[default]\n[${name}]\nharmless = x\n`;
    await workspace.write("credentials", credentials);
    const credentialsFile = workspace.path("credentials");
    const source = { ...DEFAULT, credentialsFile };
    await assert.rejects(readProfile(source), { code: "no-source" });
  });
}

for (const path of ["/dev/null", "/dev"]) {
  Deno.test(`readProfile() takes ${path} for no file`, async () => {
    const source = { ...DEFAULT, configFile: path, credentialsFile: path };
    assert.equal((await readProfile(source)).region, undefined);
  });
}

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
  Deno.test(`recordAddress() records ${wanted} for profile ${profile}`, async () => {
    await using workspace = await Workspace.open();
    const source = await sourceIn(workspace, { config: ENDPOINTS }, profile);
    const { stsEndpoint } = await recordAddress({}, source);
    assert.equal(stsEndpoint, wanted);
  });
}

Deno.test("recordAddress() prefers what the environment names", async () => {
  await using workspace = await Workspace.open();
  const source = await sourceIn(workspace, { config: ENDPOINTS }, "plain");
  const env = { AWS_ENDPOINT_URL: "https://env.example" };
  const { stsEndpoint } = await recordAddress(env, source);
  assert.equal(stsEndpoint, "https://env.example");
});

Deno.test("recordAddress() ignores profiles when told to", async () => {
  await using workspace = await Workspace.open();
  const source = await sourceIn(workspace, { config: ENDPOINTS }, "plain");
  const env = { AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "true" };
  assert.deepEqual(await recordAddress(env, source), {});
});

Deno.test("recordAddress() refuses what is no URL", async () => {
  await using workspace = await Workspace.open();
  const config = "[default]\nendpoint_url = nonsense\n";
  const source = await sourceIn(workspace, { config });
  await assert.rejects(recordAddress({}, source), {
    code: "usage",
    message: /^Cannot use endpoint_url of profile "default"="nonsense"/,
  });
});

Deno.test("stsClientAddress() names the recorded endpoint, and no other", () => {
  const { endpoint: own, ...client } = stsClientAddress({});
  assert.deepEqual(
    [own, stsClientAddress({ stsEndpoint: "http://a" })],
    [undefined, { ...client, endpoint: "http://a" }],
  );
});

Deno.test("stsClientAddress() keeps variables of this process from changing how calls are signed", () => {
  assert.deepEqual(stsClientAddress({}), {
    ignoreConfiguredEndpointUrls: true,
    defaultsMode: "legacy",
    authSchemePreference: ["sigv4"],
  });
});

const KEYS = {
  AWS_ACCESS_KEY_ID: "AKIAENVIRONMENT",
  AWS_SECRET_ACCESS_KEY: CANARY,
};

/** [order, environment, the key that comes into play] */
const IDENTITIES: readonly [SourceKind[], Environment, string | undefined][] = [
  [["environment"], KEYS, "AKIAENVIRONMENT"],
  [[...SOURCE_KINDS], KEYS, "AKIAENVIRONMENT"],
  [["instance", "environment"], KEYS, "AKIAENVIRONMENT"],
  [["profile"], KEYS, undefined],
  [["environment"], {}, undefined],
  [["environment"], { AWS_ACCESS_KEY_ID: "AKIA" }, undefined],
];

for (const [order, env, wanted] of IDENTITIES) {
  const names = Object.keys(env).join(" and ") || "nothing";
  Deno.test(`environmentIdentity() of ${order} with ${names} is ${wanted}`, () => {
    assert.equal(environmentIdentity({ ...DEFAULT, order }, env), wanted);
  });
}

for (const order of [["profile"], ["environment"]] as SourceKind[][]) {
  const isAsked = order.includes("profile");
  Deno.test(`sourceProcess() names ${isAsked ? "the" : "no"} program where ${order} is asked`, async () => {
    await using workspace = await Workspace.open();
    const source = await sourceIn(workspace, { config: CONFIG }, "chained");
    const program = await sourceProcess({ ...source, order });
    assert.equal(program, isAsked ? "/opt/get-keys --for me" : undefined);
  });
}

/** All kinds at once, so that the order alone decides. */
async function everything(bed: SourceBed): Promise<Partial<Source>> {
  await bed.config("[default]\nKEYS");
  const tokenFile = await bed.workspace.write("token", "a.b.c");
  return {
    webIdentity: { tokenFile, role: "arn:aws:iam::123456789012:role/X" },
    container: { url: `${bed.mock.url}/container` },
    instanceEndpoint: bed.mock.url,
  };
}

const FIRST: Readonly<Record<SourceKind, string>> = {
  "environment": "AKIAENVIRONMENT",
  "profile": "AKIAPROFILE",
  "web-identity": MOCK_KEY_IDS.sts,
  "container": MOCK_KEY_IDS.container,
  "instance": MOCK_KEY_IDS.instance,
};

for (const [i, kind] of SOURCE_KINDS.entries()) {
  const orders = {
    "chosen alone": [kind],
    "first of all that are left": SOURCE_KINDS.slice(i),
    "first of all, backwards": SOURCE_KINDS.slice(0, i + 1).reverse(),
  };
  for (const [how, order] of Object.entries(orders)) {
    Deno.test(`sourceCredentials() uses ${kind}, ${how}`, async () => {
      await using bed = await SourceBed.open();
      const hop = bed.hop({ ...await everything(bed), order });
      const found = await sourceCredentials(hop, sourcePlatform(KEYS));
      assert.equal(found.accessKeyId, FIRST[kind]);
    });
  }
}

/** Rusoto's ChainProvider: the order of four of ours. */
const CHAIN: SourceKind[] = ["environment", "profile", "container", "instance"];

for (const [i, kind] of CHAIN.entries()) {
  Deno.test(`sourceCredentials() finds ${kind} where those before it are not set up (Rusoto's ChainProvider)`, async () => {
    await using bed = await SourceBed.open();
    const { container, ...all } = await everything(bed);
    if (i > 1) await Deno.remove(bed.workspace.path(".aws/config"));
    const hop = bed.hop({
      ...all,
      ...(i <= 2 && container && { container }),
      order: CHAIN,
    });
    const env = i === 0 ? KEYS : {};
    const { accessKeyId } = await sourceCredentials(hop, sourcePlatform(env));
    assert.equal(accessKeyId, FIRST[kind]);
  });
}

Deno.test("sourceCredentials() tells of the first kind that failed, not of the last", async () => {
  await using bed = await SourceBed.open();
  await bed.config("[default]\ncredential_process = exit 1");
  const hop = bed.hop({
    order: ["profile", "instance"],
    instanceEndpoint: "http://127.0.0.1:1",
  });
  await assert.rejects(sourceCredentials(hop, sourcePlatform()), {
    message: "Command failed",
  });
});

Deno.test("sourceCredentials() asks no instance beside a container that fails, as the SDK does", async () => {
  await using bed = await SourceBed.open();
  bed.mock.answers.container = () => new Response(null, { status: 403 });
  const hop = bed.hop({
    ...await everything(bed),
    order: ["container", "instance"],
  });
  await assert.rejects(sourceCredentials(hop, sourcePlatform()));
  assert.equal(bed.mock.requests.length, 1);
});

Deno.test("sourceCredentials() assumes the roles of profiles with all that they say", async () => {
  await using bed = await SourceBed.open();
  await bed.config(`[profile it]
role_arn = arn:aws:iam::123456789012:role/X
source_profile = keys
role_session_name = mine
external_id = outer
duration_seconds = 1800
mfa_serial = arn:aws:iam::123456789012:mfa/ana
[profile keys]
KEYS`);
  const hop = bed.hop({ profile: "it" }, "echo 123456");
  await sourceCredentials(hop, sourcePlatform());
  const [request] = bed.mock.requests;
  const { Action, Version: _, ...form } = Object.fromEntries(
    new URLSearchParams(request?.body),
  );
  assert.deepEqual([Action, form], ["AssumeRole", {
    RoleArn: "arn:aws:iam::123456789012:role/X",
    RoleSessionName: "mine",
    ExternalId: "outer",
    DurationSeconds: "1800",
    SerialNumber: "arn:aws:iam::123456789012:mfa/ana",
    TokenCode: "123456",
  }]);
  assert.match(
    request?.headers.get("authorization") ?? "",
    /Credential=AKIAPROFILE\/\d+\/eu-central-1\/sts\//,
  );
});

Deno.test("sourceCredentials() assumes one role after another, each with the session before", async () => {
  await using bed = await SourceBed.open();
  await bed.config(`[default]
role_arn = arn:aws:iam::123456789012:role/Last
source_profile = first
[profile first]
role_arn = arn:aws:iam::123456789012:role/First
source_profile = keys
[profile keys]
KEYS`);
  await sourceCredentials(bed.hop(), sourcePlatform());
  const calls = bed.mock.requests.map(({ body, headers }) => [
    new URLSearchParams(body).get("RoleArn")?.split("/")[1],
    /Credential=(\w+)/.exec(headers.get("authorization") ?? "")?.[1],
  ]);
  assert.deepEqual(calls, [
    ["First", "AKIAPROFILE"],
    ["Last", MOCK_KEY_IDS.sts],
  ]);
});

Deno.test("sourceCredentials() names the session of a token that names none itself", async () => {
  await using bed = await SourceBed.open();
  const hop = bed.hop({ ...await everything(bed), order: ["web-identity"] });
  await sourceCredentials(hop, sourcePlatform());
  const form = new URLSearchParams(bed.mock.requests[0]?.body);
  assert.deepEqual(
    [form.get("RoleSessionName"), form.get("WebIdentityToken")],
    ["moat-source", "a.b.c"],
  );
});

/** [what is set, what is sent] */
const CONTAINER_TOKENS: Readonly<
  Record<
    string,
    [variable: string | undefined, file: boolean, sent: string | null]
  >
> = {
  "none": [undefined, false, null],
  "the variable's": ["Bearer a", false, "Bearer a"],
  "the file's": [undefined, true, "Bearer b"],
  "the file's above the variable's": ["Bearer a", true, "Bearer b"],
};

for (
  const [name, [variable, isFile, sent]] of Object.entries(CONTAINER_TOKENS)
) {
  Deno.test(`sourceCredentials() sends a container the token: ${name}`, async () => {
    await using bed = await SourceBed.open();
    const file = await bed.workspace.write("token", "Bearer b\n");
    const url = `${bed.mock.url}/container?a=b`;
    const hop = bed.hop({
      order: ["container"],
      container: { url, ...(isFile && { tokenFile: file }) },
    });
    const env = variable === undefined
      ? {}
      : { AWS_CONTAINER_AUTHORIZATION_TOKEN: variable };
    await sourceCredentials(hop, sourcePlatform(env));
    const [request] = bed.mock.requests;
    assert.deepEqual(
      [request?.line, request?.headers.get("authorization")],
      ["GET /container?a=b", sent],
    );
  });
}

Deno.test("sourceCredentials() shows no proxy of HTTP_PROXY a container's token", async () => {
  await using bed = await SourceBed.open();
  await using proxy = await SourceBed.open();
  const url = `${bed.mock.url}/container`;
  const hop = bed.hop({ order: ["container"], container: { url } });
  const script = `
    const { sourceCredentials } = await import(Deno.args[0]);
    const { systemClock: clock } = await import(Deno.args[1]);
    const env = { AWS_CONTAINER_AUTHORIZATION_TOKEN: "secret" };
    await sourceCredentials(JSON.parse(Deno.args[2]), { clock, env });`;
  const modules = ["./source.ts", "../../core/clock.ts"];
  await new Deno.Command(Deno.execPath(), {
    args: [
      ...["eval", "--no-check", script],
      ...modules.map((module) => import.meta.resolve(module)),
      JSON.stringify(hop),
    ],
    cwd: new URL("../..", import.meta.url),
    env: { HTTP_PROXY: proxy.mock.url, http_proxy: proxy.mock.url },
    stderr: "inherit",
  }).output();
  const { mock: { requests } } = bed;
  assert.deepEqual([requests.length, proxy.mock.requests.length], [1, 0]);
});

Deno.test("sourceCredentials() speaks version 2 to instance metadata", async () => {
  await using bed = await SourceBed.open();
  const hop = bed.hop({ ...await everything(bed), order: ["instance"] });
  await sourceCredentials(hop, sourcePlatform());
  const path = "/latest/meta-data/iam/security-credentials/";
  assert.deepEqual(
    bed.mock.requests.map(({ line, headers }) => [
      line,
      headers.get("x-aws-ec2-metadata-token"),
    ]),
    [
      ["PUT /latest/api/token", null],
      [`GET ${path}`, "imds-token"],
      [`GET ${path}web`, "imds-token"],
    ],
  );
});

Deno.test("sourceCredentials() keeps the addresses of two instances apart", async () => {
  await using one = await SourceBed.open();
  await using two = await SourceBed.open();
  const beds = [one, two, one, two];
  await Promise.all(beds.map(async (bed, i) => {
    const region = `eu-test-${i}`;
    const hop = bed.hop({
      order: ["instance"],
      instanceEndpoint: bed.mock.url,
    });
    return await sourceCredentials(
      { ...hop, at: { ...hop.at, region } },
      sourcePlatform(),
    );
  }));
  assert.deepEqual(
    [one.mock.requests.length, two.mock.requests.length],
    [6, 6],
  );
});

for (const name of ["one that is set", "none"]) {
  Deno.test(`sourceCredentials() leaves the instance's variable as it was: ${name}`, async () => {
    await using bed = await SourceBed.open();
    const variable = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
    const before = name === "none" ? {} : { [variable]: "http://before" };
    const hop = bed.hop({
      order: ["instance"],
      instanceEndpoint: bed.mock.url,
    });
    await sourceCredentials(hop, sourcePlatform(before));
    assert.equal(Deno.env.get(variable), before[variable] ?? "");
  });
}

Deno.test("sourceCredentials() gives up a container that does not answer, twice", async () => {
  await using bed = await SourceBed.open();
  bed.mock.answers.container = () => null;
  const hop = bed.hop({ ...await everything(bed), order: ["container"] });
  const clock = new FakeClock();
  const call = sourceCredentials(hop, { ...sourcePlatform(), clock });
  const failed = assert.rejects(call, { message: "TimeoutError" });
  for (const attempt of [1, 2]) {
    await eventually(
      `attempt ${attempt}`,
      () => bed.mock.requests.length === attempt,
    );
    await clock.advance(2000);
    await clock.advance(100);
  }
  await failed;
});

const HOUR_MS = 3_600_000;

Deno.test("sourceCredentials() tells the end of a role's session by this host's clock", async () => {
  await using bed = await SourceBed.open();
  await bed.config(
    "[default]\nrole_arn = arn:aws:iam::123456789012:role/X\nsource_profile = keys\n[profile keys]\nKEYS",
  );
  // This host is an hour late.
  const clock = new FakeClock(Date.now() - HOUR_MS);
  const skew = new ClockSkew();
  const platform = { ...sourcePlatform(), clock };
  const { expiresAt } = await sourceCredentials(bed.hop(), platform, skew);
  assert.ok(Math.abs(expiresAt - clock.now() - HOUR_MS) < 60_000);
  assert.ok(Math.abs(skew.offset(bed.mock.url) - HOUR_MS) < 60_000);
});

Deno.test("sourceCredentials() joins a call that has not settled, and starts no second program", async () => {
  await using bed = await SourceBed.open();
  const started = bed.workspace.path("started");
  const go = bed.workspace.path("go");
  const program = await bed.workspace.write(
    "program",
    `#!/bin/sh\necho started >>${started}\nread -r _ <${go}\necho '${printed()}'\n`,
    0o700,
  );
  const { success } = await new Deno.Command("mkfifo", { args: [go] }).output();
  assert(success);
  await bed.config(`[default]\ncredential_process = ${program}`);
  const calls = [1, 2].map(() =>
    sourceCredentials(bed.hop(), sourcePlatform())
  );
  // Opens the FIFO in a process of its own: it waits for the program.
  await new Deno.Command("sh", { args: ["-c", `echo go >${go}`] }).output();
  await Promise.all(calls);
  assert.equal(await Deno.readTextFile(started), "started\n");
});

Deno.test("sourceCredentials() asks anew once a call has taken too long", async () => {
  await using bed = await SourceBed.open();
  const started = bed.workspace.path("started");
  await bed.config(
    `[default]\ncredential_process = echo >${started}; exec sleep 60`,
  );
  const clock = new FakeClock();
  const call = sourceCredentials(bed.hop(), { ...sourcePlatform(), clock });
  const late = assert.rejects(call, { code: "source-timeout" });
  await eventually("the program", () => Deno.stat(started));
  await clock.advance(12_000);
  await late;
  await bed.config("[default]\nKEYS");
  const { accessKeyId } = await sourceCredentials(bed.hop(), sourcePlatform());
  assert.equal(accessKeyId, "AKIAPROFILE");
});
