import assert from "node:assert/strict";
import { mapAwsError } from "../errors.ts";
import type { Source, SourceKind } from "../settings.ts";
import { explainSource, sourceCredentials } from "../source.ts";
import { assertNoCanary, CANARY } from "../../../tests/support/canary.ts";
import { MOCK_KEY_IDS } from "../../../tests/support/mock_sources.ts";
import {
  keys,
  LOGIN_SESSION,
  printed,
  SourceBed,
  sourcePlatform,
  START_URL,
} from "../../../tests/support/source_bed.ts";

const ROLE = "arn:aws:iam::123456789012:role/X";
const MINUTE_MS = 60_000;

/** One source, and what it takes to set it up. */
interface Case {
  readonly name: string;
  /** Rusoto's name for it. */
  readonly rusoto?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly source?: (bed: SourceBed) => Partial<Source>;
  readonly config?: string;
  readonly mfaCommand?: string;
  /** Files and faults. */
  readonly prepare?: (bed: SourceBed) => unknown;
}

interface Working extends Case {
  readonly keyId: string;
  /** What the source says itself, or what is assumed, in ms from now. */
  readonly lifeMs: number;
  /** Whether it is a session. */
  readonly isSession: boolean;
}

const HOUR = { lifeMs: 60 * MINUTE_MS, isSession: true } as const;
const LONG_LIVED = { lifeMs: 10 * MINUTE_MS, isSession: false } as const;

const only = (kind: SourceKind, more: Partial<Source> = {}) => () => ({
  order: [kind],
  ...more,
});
const profile = (name: string) => () => ({ profile: name });
const container = (bed: SourceBed, tokenFile?: string): Partial<Source> => ({
  order: ["container"],
  container: {
    url: `${bed.mock.url}/container?of=me`,
    ...(tokenFile !== undefined && { tokenFile }),
  },
});
const instance = (bed: SourceBed): Partial<Source> => ({
  order: ["instance"],
  instanceEndpoint: bed.mock.url,
});
const token = async (bed: SourceBed, text = `jwt-${CANARY}`) =>
  await bed.workspace.write("token", text);
const webIdentity = (bed: SourceBed): Partial<Source> => ({
  order: ["web-identity"],
  webIdentity: { tokenFile: bed.workspace.path("token"), role: ROLE },
});

const ENVIRONMENT = {
  AWS_ACCESS_KEY_ID: "AKIAENVIRONMENT",
  AWS_SECRET_ACCESS_KEY: CANARY,
};
const TOKEN = { AWS_CONTAINER_AUTHORIZATION_TOKEN: `Bearer ${CANARY}` };

const SSO = `
[profile sso]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Admin
services = mock
[sso-session corp]
sso_region = us-east-1
sso_start_url = ${START_URL}
[profile legacy]
sso_start_url = ${START_URL}
sso_region = us-west-2
sso_account_id = 123456789012
sso_role_name = Admin
services = mock
`;
const LOGIN =
  `[profile login]\nlogin_session = ${LOGIN_SESSION}\nservices = mock\n`;
const ROLES = `
[profile role]
role_arn = ${ROLE}
source_profile = keys
external_id = outer
role_session_name = mine
duration_seconds = 1800
[profile twice]
role_arn = ${ROLE}2
source_profile = role
[profile mfa]
role_arn = ${ROLE}
source_profile = keys
mfa_serial = arn:aws:iam::123456789012:mfa/ana
[profile keys]
KEYS
[profile from-environment]
role_arn = ${ROLE}
credential_source = Environment
[profile from-container]
role_arn = ${ROLE}
credential_source = EcsContainer
[profile from-instance]
role_arn = ${ROLE}
credential_source = Ec2InstanceMetadata
[profile token]
role_arn = ${ROLE}
web_identity_token_file = HOME/token
`;

const WORKING: readonly Working[] = [
  {
    name: "environment",
    rusoto: "EnvironmentProvider",
    source: only("environment"),
    env: ENVIRONMENT,
    keyId: "AKIAENVIRONMENT",
    ...LONG_LIVED,
  },
  {
    name: "environment with a session",
    source: only("environment"),
    env: { ...ENVIRONMENT, AWS_SESSION_TOKEN: CANARY },
    keyId: "AKIAENVIRONMENT",
    isSession: true,
    lifeMs: 5 * MINUTE_MS,
  },
  {
    name: "environment with a session that says its end",
    source: only("environment"),
    env: {
      ...ENVIRONMENT,
      AWS_SESSION_TOKEN: CANARY,
      AWS_CREDENTIAL_EXPIRATION: new Date(Date.now() + 60 * MINUTE_MS)
        .toISOString(),
    },
    keyId: "AKIAENVIRONMENT",
    ...HOUR,
  },
  {
    name: "profile with keys in the config file",
    rusoto: "ProfileProvider",
    config: "[default]\nKEYS",
    keyId: "AKIAPROFILE",
    ...LONG_LIVED,
  },
  {
    name: "profile with keys in the credentials file",
    prepare: (bed) =>
      bed.workspace.write(".aws/credentials", `[default]\n${keys("AKIAFILE")}`),
    keyId: "AKIAFILE",
    ...LONG_LIVED,
  },
  {
    name: "profile with a session",
    config: `[default]\nKEYS\naws_session_token = ${CANARY}`,
    keyId: "AKIAPROFILE",
    isSession: true,
    lifeMs: 5 * MINUTE_MS,
  },
  {
    name: "profile with source_profile",
    config: ROLES,
    source: profile("role"),
    keyId: MOCK_KEY_IDS.sts,
    ...HOUR,
  },
  {
    name: "profile with two roles",
    config: ROLES,
    source: profile("twice"),
    keyId: MOCK_KEY_IDS.sts,
    ...HOUR,
  },
  {
    name: "profile with mfa_serial",
    config: ROLES,
    source: profile("mfa"),
    mfaCommand: "echo 123456",
    keyId: MOCK_KEY_IDS.sts,
    ...HOUR,
  },
  {
    name: "profile with credential_source = Environment",
    config: ROLES,
    source: profile("from-environment"),
    env: ENVIRONMENT,
    keyId: MOCK_KEY_IDS.sts,
    ...HOUR,
  },
  {
    name: "profile with credential_source = EcsContainer",
    config: ROLES,
    source: (bed) => ({
      ...container(bed),
      ...profile("from-container")(),
      order: ["profile"],
    }),
    env: TOKEN,
    keyId: MOCK_KEY_IDS.sts,
    ...HOUR,
  },
  {
    name: "profile with credential_source = Ec2InstanceMetadata",
    config: ROLES,
    source: (bed) => ({
      ...instance(bed),
      ...profile("from-instance")(),
      order: ["profile"],
    }),
    keyId: MOCK_KEY_IDS.sts,
    ...HOUR,
  },
  {
    name: "profile with a web identity token",
    config: ROLES,
    source: profile("token"),
    prepare: token,
    keyId: MOCK_KEY_IDS.sts,
    ...HOUR,
  },
  {
    name: "profile with credential_process",
    config: `[default]\ncredential_process = echo '${printed()}'`,
    keyId: "AKIAPROGRAM",
    ...LONG_LIVED,
  },
  {
    name: "profile with credential_process that gives a session",
    config: `[default]\ncredential_process = echo '${
      printed({
        SessionToken: CANARY,
        Expiration: new Date(Date.now() + 60 * MINUTE_MS).toISOString(),
      })
    }'`,
    keyId: "AKIAPROGRAM",
    ...HOUR,
  },
  {
    name: "profile with an sso-session",
    config: SSO,
    source: profile("sso"),
    prepare: (bed) => bed.ssoToken("corp"),
    keyId: MOCK_KEY_IDS.sso,
    ...HOUR,
  },
  {
    name: "profile with an sso-session whose token must be renewed",
    config: SSO.replaceAll("corp", "renewed"),
    source: profile("sso"),
    prepare: (bed) => bed.ssoToken("renewed", MINUTE_MS),
    keyId: MOCK_KEY_IDS.sso,
    ...HOUR,
  },
  {
    name: "profile with SSO without a session",
    config: SSO,
    source: profile("legacy"),
    prepare: (bed) => bed.ssoToken(START_URL),
    keyId: MOCK_KEY_IDS.sso,
    ...HOUR,
  },
  {
    name: "profile with a role on top of SSO",
    config: `${SSO}[profile top]\nrole_arn = ${ROLE}\nsource_profile = sso\n`,
    source: profile("top"),
    prepare: (bed) => bed.ssoToken("corp"),
    keyId: MOCK_KEY_IDS.sts,
    ...HOUR,
  },
  {
    name: "profile with login_session",
    config: LOGIN,
    source: profile("login"),
    prepare: (bed) => bed.loginToken(),
    keyId: "ASIALOGINLOGINLOGINL",
    ...HOUR,
  },
  {
    name: "profile with login_session that must be renewed",
    config: LOGIN,
    source: profile("login"),
    prepare: (bed) => bed.loginToken(MINUTE_MS),
    keyId: MOCK_KEY_IDS.signin,
    isSession: true,
    lifeMs: 15 * MINUTE_MS,
  },
  {
    name: "web-identity",
    source: webIdentity,
    prepare: token,
    keyId: MOCK_KEY_IDS.sts,
    ...HOUR,
  },
  {
    name: "container",
    rusoto: "ContainerProvider",
    source: (bed) => container(bed),
    env: TOKEN,
    keyId: MOCK_KEY_IDS.container,
    ...HOUR,
  },
  {
    name: "container with a token file",
    source: (bed) => container(bed, bed.workspace.path("token")),
    prepare: (bed) => token(bed, `Bearer ${CANARY}\n`),
    keyId: MOCK_KEY_IDS.container,
    ...HOUR,
  },
  {
    name: "container that fails once",
    source: (bed) => container(bed),
    prepare({ mock: { answers } }) {
      answers.container = () => {
        delete answers.container;
        return new Response(null, { status: 500 });
      };
    },
    keyId: MOCK_KEY_IDS.container,
    ...HOUR,
  },
  {
    name: "instance",
    rusoto: "InstanceMetadataProvider",
    source: instance,
    keyId: MOCK_KEY_IDS.instance,
    ...HOUR,
  },
  {
    name: "instance whose service has no version 2",
    source: instance,
    prepare({ mock: { answers } }) {
      answers.instanceToken = () => new Response(null, { status: 404 });
    },
    keyId: MOCK_KEY_IDS.instance,
    ...HOUR,
  },
  {
    name: "instance whose address the profile names",
    source: only("instance"),
    prepare: async (bed) =>
      await bed.config(
        `[default]\nec2_metadata_service_endpoint = ${bed.mock.url}`,
      ),
    keyId: MOCK_KEY_IDS.instance,
    ...HOUR,
  },
];

async function setUp(
  bed: SourceBed,
  { config, prepare, source, mfaCommand }: Case,
) {
  if (config !== undefined) await bed.config(config);
  await prepare?.(bed);
  return bed.hop(source?.(bed), mfaCommand);
}

for (const c of WORKING) {
  const title = c.rusoto ? `${c.name} (Rusoto's ${c.rusoto})` : c.name;
  Deno.test(`sourceCredentials() works: ${title}`, async () => {
    await using bed = await SourceBed.open();
    const hop = await setUp(bed, c);
    const now = Date.now();
    const { accessKeyId, secretAccessKey, sessionToken, expiresAt } =
      await sourceCredentials(hop, sourcePlatform(c.env));
    assert.equal(accessKeyId, c.keyId);
    assert.equal(secretAccessKey.reveal(), CANARY);
    assert.equal(sessionToken !== undefined, c.isSession);
    const lifeMs = expiresAt - now;
    assert.ok(Math.abs(lifeMs - c.lifeMs) < 30_000, `lasts ${lifeMs} ms`);
  });
}

/** Everything at its place, but nothing set up. */
const NOT_SET_UP: Readonly<
  Record<SourceKind, Case & { readonly why: RegExp }>
> = {
  "environment": {
    name: "no keys",
    source: only("environment"),
    why: /AWS_ACCESS_KEY_ID is not set here/,
  },
  "profile": {
    name: "no files",
    why: /profile "default" is in neither \S+\/config nor \S+\/credentials/,
  },
  "web-identity": {
    name: "no token",
    source: only("web-identity"),
    why: /AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN not set/,
  },
  "container": {
    name: "no address",
    source: only("container"),
    why: /_RELATIVE_URI or _FULL_URI not set/,
  },
  "instance": {
    name: "disabled",
    source: only("instance", { instanceDisabled: true }),
    why: /AWS_EC2_METADATA_DISABLED was set/,
  },
};

for (const [kind, c] of Object.entries(NOT_SET_UP)) {
  Deno.test(`sourceCredentials() passes over ${kind} that is not set up: ${c.name}`, async () => {
    await using bed = await SourceBed.open();
    const hop = await setUp(bed, c);
    const order = [...hop.source.order, "environment"] as const;
    const { accessKeyId } = kind === "environment"
      ? { accessKeyId: "AKIAENVIRONMENT" }
      : await sourceCredentials(
        { ...hop, source: { ...hop.source, order } },
        sourcePlatform(ENVIRONMENT),
      );
    assert.equal(accessKeyId, "AKIAENVIRONMENT");
  });

  Deno.test(`sourceCredentials() finds nothing where only ${kind} is asked and not set up`, async () => {
    await using bed = await SourceBed.open();
    const hop = await setUp(bed, c);
    await assert.rejects(sourceCredentials(hop, sourcePlatform()), {
      name: "CredentialsProviderError",
      message: "Could not load credentials from any providers",
    });
  });

  Deno.test(`explainSource() says why ${kind} is not set up`, async () => {
    await using bed = await SourceBed.open();
    const hop = await setUp(bed, c);
    const [[label, value] = []] = await explainSource(hop, sourcePlatform());
    assert.equal(label, kind);
    assert.match(value ?? "", /^passed over: /);
    assert.match(value ?? "", c.why);
  });
}

interface Failing extends Case {
  /** What `mapAwsError` makes of it. */
  readonly code: string;
  /** Whether the next kind is asked. Default: false. */
  readonly isPassedOver?: boolean;
}

const sts =
  (status: number, code: string) => ({ mock: { answers } }: SourceBed) => {
    answers.sts = () =>
      new Response(
        `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<Error><Type>Sender</Type><Code>${code}</Code><Message>no</Message></Error>
</ErrorResponse>`,
        { status, headers: { "content-type": "text/xml" } },
      );
  };
const answering =
  (route: "container" | "sso" | "oidc", status: number, body: string) =>
  ({ mock: { answers } }: SourceBed) => {
    answers[route] = () => new Response(body, { status });
  };

const FAILING: readonly Failing[] = [
  {
    name: "environment whose session has ended",
    source: only("environment"),
    env: {
      ...ENVIRONMENT,
      AWS_SESSION_TOKEN: CANARY,
      AWS_CREDENTIAL_EXPIRATION: "2020-01-01T00:00:00Z",
    },
    code: "source-expired",
  },
  {
    name: "environment with a key that is cut in two",
    source: only("environment"),
    env: { ...ENVIRONMENT, AWS_SECRET_ACCESS_KEY: `${CANARY}\n${CANARY}` },
    code: "no-source",
  },
  {
    name: "profile whose source_profile is not there",
    config: `[default]\nrole_arn = ${ROLE}\nsource_profile = gone`,
    code: "no-source",
    isPassedOver: true,
  },
  {
    name: "profile that is its own source_profile",
    config: `[default]\nrole_arn = ${ROLE}\nsource_profile = default`,
    code: "no-source",
    isPassedOver: true,
  },
  {
    name: "profile with an unknown credential_source",
    config: `[default]\nrole_arn = ${ROLE}\ncredential_source = Moon`,
    code: "no-source",
    isPassedOver: true,
  },
  {
    name: "profile whose program fails",
    config: `[default]\ncredential_process = echo ${CANARY} >&2; exit 1`,
    code: "no-source",
    isPassedOver: true,
  },
  {
    name: "profile whose program is not there",
    config: "[default]\ncredential_process = /nonexistent/program",
    code: "no-source",
    isPassedOver: true,
  },
  {
    name: "profile whose role STS denies",
    config: ROLES,
    source: profile("role"),
    prepare: sts(403, "AccessDenied"),
    code: "access-denied",
  },
  {
    name: "profile that needs an MFA code which nothing gives",
    config: ROLES,
    source: profile("mfa"),
    code: "mfa-required",
  },
  {
    name: "profile whose MFA program prints something else",
    config: ROLES,
    source: profile("mfa"),
    mfaCommand: `echo ${CANARY}`,
    code: "mfa-required",
  },
  {
    name: "profile whose credential_source has no keys",
    config: ROLES,
    source: profile("from-environment"),
    code: "no-source",
    isPassedOver: true,
  },
  {
    name: "profile whose container refuses",
    config: ROLES,
    source: (bed) => ({
      ...container(bed),
      ...profile("from-container")(),
      order: ["profile"],
    }),
    prepare: answering("container", 401, CANARY),
    code: "no-source",
    isPassedOver: true,
  },
  {
    name: "profile without an SSO login",
    config: SSO,
    source: profile("sso"),
    code: "source-expired",
  },
  {
    name: "profile whose SSO login has ended",
    config: SSO.replaceAll("corp", "ended"),
    source: profile("sso"),
    prepare: async (bed) => {
      await bed.ssoToken("ended", -MINUTE_MS);
      answering("oidc", 400, `{"error":"invalid_grant"}`)(bed);
    },
    code: "source-expired",
  },
  {
    name: "profile without an SSO login, and no session",
    config: SSO,
    source: profile("legacy"),
    code: "source-expired",
  },
  {
    name: "profile whose SSO portal refuses the role",
    config: SSO,
    source: profile("sso"),
    prepare: async (bed) => {
      await bed.ssoToken("corp");
      bed.mock.answers.sso = () =>
        Response.json({ message: `no sso-${CANARY}` }, {
          status: 403,
          headers: { "x-amzn-errortype": "ForbiddenException" },
        });
    },
    code: "source-rejected",
  },
  {
    name: "profile without an aws login",
    config: LOGIN,
    source: profile("login"),
    code: "source-expired",
  },
  {
    name: "profile whose web identity token is not there",
    config: ROLES,
    source: profile("token"),
    code: "token-unreadable",
  },
  {
    name: "web-identity without its file",
    source: webIdentity,
    code: "token-unreadable",
  },
  {
    name: "web-identity with a pipe for a file",
    source: webIdentity,
    prepare: async (bed) => {
      const path = bed.workspace.path("token");
      await new Deno.Command("mkfifo", { args: [path] }).output();
    },
    code: "token-unreadable",
  },
  {
    name: "web-identity that STS rejects",
    source: webIdentity,
    prepare: async (bed) => {
      await token(bed);
      sts(400, "InvalidIdentityToken")(bed);
    },
    code: "token-rejected",
  },
  {
    name: "web-identity whose token STS repeats",
    source: webIdentity,
    prepare: async (bed) => {
      await token(bed);
      sts(400, `jwt-${CANARY}`)(bed);
    },
    code: "sts-refused",
  },
  {
    name: "container that refuses",
    source: (bed) => container(bed),
    env: TOKEN,
    prepare: answering("container", 403, CANARY),
    code: "no-source",
  },
  {
    name: "container that answers a page",
    source: (bed) => container(bed),
    prepare: answering("container", 200, `<html>${CANARY}`),
    code: "source-unavailable",
  },
  {
    name: "container that answers without a token",
    source: (bed) => container(bed),
    prepare: answering("container", 200, printed()),
    code: "source-unavailable",
  },
  {
    name: "container that cannot answer",
    source: (bed) => container(bed),
    prepare: answering("container", 503, ""),
    code: "source-unavailable",
  },
  {
    name: "container that sends us elsewhere",
    source: (bed) => container(bed),
    prepare({ mock: { answers, url } }) {
      answers.container = () => Response.redirect(`${url}/elsewhere`);
    },
    code: "source-unavailable",
  },
  {
    name: "container that is not there",
    source: only("container", { container: { url: "http://127.0.0.1:1/x" } }),
    code: "source-unavailable",
  },
  {
    name: "container whose answer has no end",
    source: (bed) => container(bed),
    prepare: answering("container", 200, "x".repeat(100_000)),
    code: "source-unavailable",
  },
  {
    name: "container whose answer is of the past",
    source: (bed) => container(bed),
    prepare: answering(
      "container",
      200,
      JSON.stringify({
        AccessKeyId: "ASIA",
        SecretAccessKey: CANARY,
        Token: CANARY,
        Expiration: "2020-01-01T00:00:00Z",
      }),
    ),
    code: "source-expired",
  },
  {
    name: "container at plain http elsewhere",
    source: only("container", { container: { url: "http://192.0.2.1/x" } }),
    code: "no-source",
  },
  {
    name: "container without its token file",
    source: (bed) => container(bed, bed.workspace.path("token")),
    code: "token-unreadable",
  },
  {
    name: "container whose token has two lines",
    source: (bed) => container(bed, bed.workspace.path("token")),
    prepare: (bed) => token(bed, `${CANARY}\nX: y`),
    code: "no-source",
  },
  {
    name: "instance that is not there",
    source: only("instance", { instanceEndpoint: "http://127.0.0.1:1" }),
    code: "source-unavailable",
    isPassedOver: true,
  },
  {
    name: "instance without a role",
    source: instance,
    prepare({ mock: { answers } }) {
      answers.instanceRole = () => new Response(null, { status: 404 });
    },
    code: "no-source",
    isPassedOver: true,
  },
  {
    name: "instance that refuses a request for its token",
    source: instance,
    prepare({ mock: { answers } }) {
      answers.instanceToken = () => new Response(CANARY, { status: 400 });
    },
    code: "no-source",
    isPassedOver: true,
  },
];

for (const c of FAILING) {
  const { name, env, code, isPassedOver = false } = c;
  Deno.test(`sourceCredentials() fails with ${code}: ${name}`, async () => {
    await using bed = await SourceBed.open();
    const hop = await setUp(bed, c);
    const error = await sourceCredentials(hop, sourcePlatform(env))
      .then(() => assert.fail("it works"), (error) => error);
    const settings = { ...hop.at, roles: [ROLE], source: hop.source };
    const { code: found, message, hint } = mapAwsError(error, { settings });
    assert.equal(found, code);
    assertNoCanary(message, hint ?? "", String(error), error.stack);
  });

  Deno.test(`explainSource() ${isPassedOver ? "passes over" : "ends with"} ${name}`, async () => {
    await using bed = await SourceBed.open();
    const hop = await setUp(bed, c);
    const order: SourceKind[] = [...hop.source.order, "web-identity"];
    if (order[0] === "web-identity") order[1] = "container";
    const lines = await explainSource(
      { ...hop, source: { ...hop.source, order } },
      sourcePlatform(env),
    );
    const [first = "", second = ""] = lines.map(([, value]) => value);
    assertNoCanary(JSON.stringify(lines));
    assert.match(first, isPassedOver ? /^passed over: / : /^failed: /);
    assert.match(second, isPassedOver ? /^passed over: / : /^not tried$/);
  });
}
