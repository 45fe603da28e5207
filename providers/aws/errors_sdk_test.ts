/**
 * What the SDK really throws, provoked with bad files and with servers on
 * loopback, and what it is mapped to. `errors_test.ts` has the same messages
 * written down; here it shows when a new SDK changes them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash, generateKeyPairSync } from "node:crypto";
import { dirname, join } from "node:path";
import {
  fromHttp,
  fromIni,
  fromInstanceMetadata,
} from "@aws-sdk/credential-providers";
import {
  AssumeRoleCommand,
  getDefaultRoleAssumer,
  getDefaultRoleAssumerWithWebIdentity,
  STSClient,
} from "@aws-sdk/client-sts";
import { FetchHttpHandler } from "@smithy/fetch-http-handler";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { type FailureCode, mapAwsError } from "./errors.ts";
import type { Service } from "./failures.ts";
import type { AwsSettings } from "./settings.ts";

const NOBODY = "http://127.0.0.1:1";
const ROLE = "arn:aws:iam::123456789012:role/Deploy";
const LONG_AGO = "2020-01-01T00:00:00Z";
const FAR_OFF = "2099-01-01T00:00:00Z";

const SILENT = {
  trace() {},
  debug() {},
  info() {},
  warn() {},
  error() {},
};

const SETTINGS: AwsSettings = {
  roles: [ROLE],
  region: "eu-central-1",
  source: {
    order: ["profile"],
    profile: "p",
    configFile: "/config",
    credentialsFile: "/credentials",
  },
};

/** An answer of a mock. */
interface Reply {
  readonly status?: number;
  /** Header `x-amzn-errortype`. */
  readonly type?: string;
  readonly body?: string;
}

/** Runs with a server on loopback that answers everything alike. */
async function withServer<T>(
  reply: Reply | ((request: Request) => Reply),
  use: (url: string) => Promise<T>,
): Promise<T> {
  const options = { hostname: "127.0.0.1", port: 0, onListen() {} };
  const server = Deno.serve(options, async (request) => {
    await request.body?.cancel();
    const { status = 200, type, body } = typeof reply === "function"
      ? reply(request)
      : reply;
    return new Response(body ?? "", {
      status,
      headers: {
        connection: "close",
        ...(type && { "x-amzn-errortype": type }),
      },
    });
  });
  try {
    return await use(`http://127.0.0.1:${server.addr.port}`);
  } finally {
    await server.shutdown();
  }
}

/** Runs with these variables, and no other of AWS's. */
async function withEnv<T>(
  variables: Record<string, string>,
  use: () => Promise<T>,
): Promise<T> {
  const before = Deno.env.toObject();
  const names = Object.keys(before).filter((name) => name.startsWith("AWS_"));
  names.forEach((name) => Deno.env.delete(name));
  Object.entries(variables).forEach(([name, value]) =>
    Deno.env.set(name, value)
  );
  try {
    return await use();
  } finally {
    Object.keys(variables).forEach((name) => Deno.env.delete(name));
    Object.entries(before).forEach(([name, value]) =>
      Deno.env.set(name, value)
    );
  }
}

/** Writes files below a new directory, which goes when they were used. */
async function withFiles<T>(
  files: Record<string, string>,
  use: (home: string) => Promise<T>,
): Promise<T> {
  const home = await Deno.makeTempDir();
  try {
    for (const [path, content] of Object.entries(files)) {
      await Deno.mkdir(dirname(join(home, path)), { recursive: true });
      await Deno.writeTextFile(join(home, path), content);
    }
    return await use(home);
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}

/** What the SDK throws; fails if it throws nothing. */
async function thrownBy(use: () => Promise<unknown>): Promise<unknown> {
  try {
    await use();
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: "nothing was thrown" });
}

/** Asks a profile for credentials; `sso` is the portal, OIDC and sign-in. */
function askProfile(
  config: string,
  { files = {}, sso = NOBODY }: {
    files?: Record<string, string>;
    sso?: string;
  } = {},
): Promise<unknown> {
  return withFiles(
    { ...files, "config": config, "credentials": "" },
    (home) =>
      withEnv({
        HOME: home,
        AWS_CONFIG_FILE: join(home, "config"),
        AWS_SHARED_CREDENTIALS_FILE: join(home, "credentials"),
        AWS_ENDPOINT_URL_SSO: sso,
        AWS_ENDPOINT_URL_SSO_OIDC: sso,
        AWS_ENDPOINT_URL_SIGNIN: sso,
      }, () => {
        const client = {
          region: "us-east-1",
          requestHandler: new FetchHttpHandler({ keepAlive: false }),
          logger: SILENT,
          maxAttempts: 1,
        };
        const stsClient = { ...client, endpoint: NOBODY };
        const init = {
          profile: "p",
          ignoreCache: true,
          logger: SILENT,
          roleAssumer: getDefaultRoleAssumer(stsClient),
          roleAssumerWithWebIdentity: getDefaultRoleAssumerWithWebIdentity(
            stsClient,
          ),
          clientConfig: client,
        } as Parameters<typeof fromIni>[0];
        return thrownBy(fromIni(init));
      }),
  );
}

/** Asks a container endpoint. */
function askContainer(url: string, more = {}): Promise<unknown> {
  return withEnv({}, async () => {
    const error = await thrownBy(async () =>
      await fromHttp({
        ...{ awsContainerCredentialsFullUri: url, logger: SILENT },
        ...{ timeout: 10, maxRetries: 0, ...more },
      })()
    );
    // The SDK leaves a timer behind, for that long.
    await new Promise((resolve) => setTimeout(resolve, 40));
    return error;
  });
}

/** Asks instance metadata. */
function askInstance(endpoint: string, more = {}): Promise<unknown> {
  const env = { AWS_EC2_METADATA_SERVICE_ENDPOINT: endpoint };
  return withEnv(env, () =>
    thrownBy(async () =>
      await fromInstanceMetadata({
        ...{ timeout: 50, maxRetries: 0, logger: SILENT, ...more },
      })()
    ));
}

/** Asks STS for a role. */
async function askSts(endpoint: string): Promise<unknown> {
  const client = new STSClient({
    ...{ region: "us-east-1", endpoint, maxAttempts: 1, logger: SILENT },
    credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: CANARY },
    requestHandler: new FetchHttpHandler({ keepAlive: false }),
  });
  const command = new AssumeRoleCommand({
    RoleArn: ROLE,
    RoleSessionName: "moat",
  });
  try {
    return await thrownBy(() => client.send(command));
  } finally {
    client.destroy();
  }
}

/** Provokes an error, and says what a person is to be told. */
interface Case {
  readonly what: string;
  readonly provoke: () => Promise<unknown>;
  readonly service?: Service;
  readonly code: FailureCode;
  /** Matches message and hint. */
  readonly shows: RegExp;
  /** Whether the SDK forgets to close its connection, as `fromHttp` does. */
  readonly leaks?: true;
}

const ASSUME = `[profile p]\nrole_arn=${ROLE}\n`;
const KEYS =
  `[profile q]\naws_access_key_id=AKIDEXAMPLE\naws_secret_access_key=${CANARY}\n`;

const PROFILES: readonly Case[] = ([
  ["", "no-source", /aws sso login --profile p/],
  ["[profile p]\nregion=x\n", "no-source", /aws configure --profile p/],
  [ASSUME, "no-source", /profile "p"/],
  [`${ASSUME}source_profile=q\n`, "no-source", /profile "p"/],
  [
    `${ASSUME}source_profile=q\n[profile q]\nrole_arn=${ROLE}\nsource_profile=p\n`,
    "no-source",
    /leads back to itself/,
  ],
  [
    `${ASSUME}credential_source=Moon${CANARY}\n`,
    "no-source",
    /credential_source is unknown/,
  ],
  [
    `${ASSUME}credential_source=Environment\n`,
    "no-source",
    /no keys in its environment/,
  ],
  [
    `${ASSUME}credential_source=EcsContainer\n`,
    "no-source",
    /no container endpoint is set/,
  ],
  [
    `${ASSUME}source_profile=q\nmfa_serial=arn:aws:iam::123456789012:mfa/a\n${KEYS}`,
    "mfa-required",
    /--mfa-command PROGRAM/,
  ],
  [
    `${ASSUME}source_profile=q\n${KEYS}`,
    "sts-unreachable",
    /STS in eu-central-1 cannot be reached/,
  ],
  [
    `${ASSUME}web_identity_token_file=/nonexistent/${CANARY}\n`,
    "token-unreadable",
    /what writes the token/,
  ],
  [`${ASSUME}web_identity_token_file=/\n`, "token-unreadable", /token file/],
  [
    `[profile p]\ncredential_process=/nonexistent/x ${CANARY}\n`,
    "no-source",
    /credential_process failed/,
  ],
  [
    `[profile p]\ncredential_process=echo ${CANARY}; false\n`,
    "no-source",
    /credential_process failed/,
  ],
  [
    `[profile p]\ncredential_process=echo ${CANARY}\n`,
    "no-source",
    /credential_process failed/,
  ],
  [
    "[profile p]\ncredential_process=echo {}\n",
    "no-source",
    /credential_process failed/,
  ],
  [
    "[profile p]\ncredential_process=echo null\n",
    "no-source",
    /credential_process failed/,
  ],
  [
    `[profile p]\ncredential_process=echo '{"Version":1,"AccessKeyId":"a"}'\n`,
    "no-source",
    /credential_process failed/,
  ],
  [
    `[profile p]\ncredential_process=head -c 2000000 /dev/zero\n`,
    "no-source",
    /credential_process failed/,
  ],
  [
    `[profile p]\ncredential_process=echo '{"Version":1,"AccessKeyId":"a","SecretAccessKey":"${CANARY}","Expiration":"${LONG_AGO}"}'\n`,
    "source-expired",
    /so its credential_process says/,
  ],
  [
    "[profile p]\ncredential_process=echo moat would be its own source >&2; false\n",
    "source-is-moat",
    /is moat itself/,
  ],
  [
    "[profile p]\ncredential_process=echo Token has expired and refresh failed >&2; false\n",
    "source-expired",
    /aws sso login --profile p/,
  ],
] as const).map(([config, code, shows]) => ({
  what: `the profile ${
    JSON.stringify(config.replaceAll(CANARY, "…").replace("[profile p]\n", ""))
  }`,
  provoke: () => askProfile(config),
  ...{ code, shows },
}));

const SSO = `[profile p]
sso_session=s
sso_account_id=123456789012
sso_role_name=R
[sso-session s]
sso_start_url=https://x.awsapps.com/start
sso_region=us-east-1
`;
const LEGACY = `[profile p]
sso_account_id=123456789012
sso_role_name=R
sso_start_url=https://x.awsapps.com/start
sso_region=us-east-1
`;

/** The file in which `aws sso login` keeps a token. */
function ssoToken(id: string, token: unknown): Record<string, string> {
  const name = createHash("sha1").update(id).digest("hex");
  const content = typeof token === "string" ? token : JSON.stringify(token);
  return { [`.aws/sso/cache/${name}.json`]: content };
}

const START = "https://x.awsapps.com/start";
const LOGIN_AGAIN = /SSO login has ended.* aws sso login --profile p$/;
const INCOMPLETE =
  /SSO settings are incomplete.* aws configure sso --profile p/;

const LOGINS: readonly Case[] = ([
  ["no login", SSO, {}, "source-expired", LOGIN_AGAIN],
  [
    "a login without an access token",
    SSO,
    ssoToken("s", { expiresAt: LONG_AGO }),
    "source-expired",
    LOGIN_AGAIN,
  ],
  [
    "a login that ended",
    SSO,
    ssoToken("s", { accessToken: CANARY, expiresAt: LONG_AGO }),
    "source-expired",
    LOGIN_AGAIN,
  ],
  ["no legacy login", LEGACY, {}, "source-expired", LOGIN_AGAIN],
  [
    "a legacy login that ended",
    LEGACY,
    ssoToken(START, { accessToken: CANARY, expiresAt: LONG_AGO }),
    "source-expired",
    LOGIN_AGAIN,
  ],
  [
    "a legacy login that is no JSON",
    LEGACY,
    ssoToken(START, `{${CANARY}`),
    "source-expired",
    LOGIN_AGAIN,
  ],
  [
    "an SSO profile without a role",
    SSO.replace("sso_role_name=R\n", ""),
    {},
    "no-source",
    INCOMPLETE,
  ],
  [
    "a session without a region",
    SSO.replace("sso_region=us-east-1\n", ""),
    {},
    "no-source",
    INCOMPLETE,
  ],
  [
    "a session that is nowhere",
    SSO.replace("[sso-session s]", "[sso-session t]"),
    {},
    "no-source",
    /names a section that is not there/,
  ],
] as const).map(([what, config, files, code, shows]) => ({
  what,
  provoke: () => askProfile(config, { files }),
  ...{ code, shows },
}));

const REFUSED = /SSO portal refuses.* sso_account_id and sso_role_name/;
const NO_CREDENTIALS = /SSO portal answered something that is no credentials/;

const PORTAL: readonly Case[] = ([
  [
    { status: 401, type: "UnauthorizedException" },
    "source-expired",
    LOGIN_AGAIN,
  ],
  [{ status: 403, type: "ForbiddenException" }, "source-rejected", REFUSED],
  [
    { status: 404, type: "ResourceNotFoundException" },
    "source-rejected",
    REFUSED,
  ],
  [
    { status: 400, type: "InvalidRequestException" },
    "source-rejected",
    REFUSED,
  ],
  [
    { status: 429, type: "TooManyRequestsException" },
    "source-unavailable",
    /SSO portal asks to slow down/,
  ],
  [
    { status: 500, type: "InternalServerException" },
    "source-unavailable",
    /SSO portal cannot answer right now/,
  ],
  [{ status: 503 }, "source-unavailable", /SSO portal cannot answer right now/],
  [
    { status: 503, body: `<html>${CANARY}` },
    "source-unavailable",
    NO_CREDENTIALS,
  ],
  [
    { status: 200, body: `<html>${CANARY}` },
    "source-unavailable",
    NO_CREDENTIALS,
  ],
  [{ status: 200, body: "{}" }, "source-unavailable", NO_CREDENTIALS],
] as const).map(([reply, code, shows]) => {
  const { status, body = `{"message":"${CANARY}"}` } = {
    body: undefined,
    ...reply,
  };
  return {
    what: `an SSO portal that answers ${status} ${
      body.replaceAll(CANARY, "…")
    }`,
    provoke: () =>
      withServer({ ...reply, body }, (sso) =>
        askProfile(SSO, {
          sso,
          files: ssoToken("s", { accessToken: CANARY, expiresAt: FAR_OFF }),
        })),
    ...{ code, shows },
  };
});

const RENEWALS: readonly Case[] = [
  {
    what: "an SSO portal where nobody listens",
    provoke: () =>
      askProfile(SSO, {
        files: ssoToken("s", { accessToken: CANARY, expiresAt: FAR_OFF }),
      }),
    code: "source-unavailable",
    shows: /cannot be reached/,
  },
  {
    what: "an SSO login that is refused a renewal",
    provoke: () => {
      const body = `{"error":"invalid_grant","error_description":"${CANARY}"}`;
      const reply = { status: 400, type: "InvalidGrantException", body };
      return withServer(reply, (sso) =>
        askProfile(SSO, {
          sso,
          files: ssoToken("s", {
            ...{ accessToken: CANARY, expiresAt: LONG_AGO },
            ...{ clientId: "c", clientSecret: CANARY, refreshToken: CANARY },
          }),
        }));
    },
    code: "source-expired",
    shows: LOGIN_AGAIN,
  },
];

const CONSOLE_SESSION = "arn:aws:iam::123456789012:user/ana";
const CONSOLE = `[profile p]\nlogin_session=${CONSOLE_SESSION}\n`;

/** The file in which `aws login` keeps a token. */
function consoleToken(content: string): Record<string, string> {
  const name = createHash("sha256").update(CONSOLE_SESSION).digest("hex");
  return { [`.aws/login/cache/${name}.json`]: content };
}

/** A token that must be renewed. */
function staleConsoleToken(): Record<string, string> {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return consoleToken(JSON.stringify({
    accessToken: {
      accessKeyId: "AKIDEXAMPLE",
      secretAccessKey: CANARY,
      sessionToken: CANARY,
      accountId: "123456789012",
      expiresAt: LONG_AGO,
    },
    clientId: "c",
    refreshToken: CANARY,
    dpopKey: privateKey.export({ type: "sec1", format: "pem" }),
  }));
}

const AWS_LOGIN = /console login has ended.* aws login --profile p$/;

const CONSOLE_LOGINS: readonly Case[] = [
  ...([
    ["no console login", {}],
    ["a console login that is no JSON", consoleToken(`{${CANARY}`)],
    ["a console login without anything", consoleToken("{}")],
  ] as const).map(([what, files]): Case => ({
    what,
    provoke: () => askProfile(CONSOLE, { files }),
    code: "source-expired",
    shows: AWS_LOGIN,
  })),
  {
    what: "a sign-in service where nobody listens",
    provoke: () => askProfile(CONSOLE, { files: staleConsoleToken() }),
    code: "source-unavailable",
    shows: /sign-in service cannot be reached/,
  },
  ...([
    ["TOKEN_EXPIRED", "source-expired", AWS_LOGIN],
    ["USER_CREDENTIALS_CHANGED", "source-expired", AWS_LOGIN],
    [CANARY, "source-expired", AWS_LOGIN],
    ["INSUFFICIENT_PERMISSIONS", "source-rejected", /CreateOAuth2Token/],
  ] as const).map(([error, code, shows]): Case => ({
    what: `a sign-in service that answers ${error.replace(CANARY, "…")}`,
    provoke: () => {
      const body = JSON.stringify({ error, message: CANARY });
      const reply = { status: 400, type: "AccessDeniedException", body };
      return withServer(
        reply,
        (sso) => askProfile(CONSOLE, { sso, files: staleConsoleToken() }),
      );
    },
    ...{ code, shows },
  })),
  {
    what: "a sign-in service that is down",
    provoke: () =>
      withServer(
        { status: 500, type: "InternalServerException", body: "{}" },
        (sso) => askProfile(CONSOLE, { sso, files: staleConsoleToken() }),
      ),
    code: "source-unavailable",
    shows: /sign-in service cannot be reached/,
  },
];

const CONTAINER: readonly Case[] = [
  {
    what: "a container endpoint where nobody listens",
    provoke: () => askContainer(`${NOBODY}/x`),
    code: "source-unavailable",
    shows: /cannot be reached/,
  },
  {
    what: "a container endpoint at a foreign host",
    provoke: () => askContainer("http://example.com/x"),
    code: "no-source",
    shows: /not one that SDKs accept/,
  },
  {
    what: "a container endpoint that is no URL",
    provoke: () => askContainer(CANARY),
    code: "no-source",
    shows: /an address is no URL/,
  },
  {
    what: "a container token that cannot be read",
    provoke: () =>
      askContainer(NOBODY, {
        awsContainerAuthorizationTokenFile: `/nonexistent/${CANARY}`,
      }),
    code: "token-unreadable",
    shows: /what writes the token/,
  },
  {
    what: "a container token that ends in a line break",
    provoke: () =>
      askContainer(NOBODY, { awsContainerAuthorizationToken: `${CANARY}\r\n` }),
    code: "no-source",
    shows: /without a line break/,
  },
  ...([
    [{ status: 400, body: `{"Message":"${CANARY}"}` }, "no-source"],
    [{ status: 401 }, "no-source"],
    [{ status: 404, body: CANARY }, "no-source"],
    [{ status: 302 }, "no-source"],
    [{ status: 429 }, "source-unavailable"],
    [{ status: 502 }, "source-unavailable"],
    [{ status: 200, body: "{}" }, "source-unavailable"],
    [{ status: 200, body: `<html>${CANARY}` }, "source-unavailable"],
    [{ status: 200, body: "null" }, "source-unavailable"],
    [
      {
        status: 200,
        body:
          `{"AccessKeyId":"a","SecretAccessKey":"${CANARY}","Token":"c","Expiration":"never"}`,
      },
      "source-unavailable",
    ],
  ] as const).map(([reply, code]): Case => ({
    what: `a container endpoint that answers ${
      JSON.stringify(reply).replaceAll(CANARY, "…")
    }`,
    provoke: () => withServer(reply, askContainer),
    code,
    shows: /container endpoint/,
    leaks: true,
  })),
];

/** Instance metadata with a token and one role. */
function instance(credentials: Reply) {
  return ({ method, url }: Request): Reply => {
    if (method === "PUT") return { body: "token" };
    return url.endsWith("/security-credentials/")
      ? { body: "role" }
      : credentials;
  };
}

const INSTANCE: readonly Case[] = [
  {
    what: "instance metadata where nobody listens",
    provoke: () => askInstance(NOBODY),
    code: "no-source",
    shows: /instance metadata cannot be reached/,
  },
  ...[400, 401, 403, 404].map((status): Case => ({
    what: `instance metadata that answers ${status}`,
    provoke: () => withServer({ status }, askInstance),
    code: "no-source",
    shows: /instance metadata has no role, or refused/,
  })),
  {
    what: "instance metadata that is down",
    provoke: () => withServer({ status: 503 }, askInstance),
    code: "source-unavailable",
    shows: /instance metadata cannot answer/,
  },
  {
    what: "instance metadata of version 1, which is turned off",
    provoke: () =>
      withServer(
        { status: 404 },
        (url) => askInstance(url, { ec2MetadataV1Disabled: true }),
      ),
    code: "no-source",
    shows: /hop limit/,
  },
  {
    what: "an instance without a role",
    provoke: () =>
      withServer(
        ({ method }) => method === "PUT" ? { body: "token" } : { status: 404 },
        askInstance,
      ),
    code: "no-source",
    shows: /has no role/,
  },
  {
    what: "an instance that may not assume its role",
    provoke: () => {
      const body =
        `{"Code":"AssumeRoleUnauthorizedAccess","Message":"${CANARY}"}`;
      return withServer(instance({ body }), askInstance);
    },
    code: "no-source",
    shows: /must name ec2\.amazonaws\.com/,
  },
  {
    what: "instance metadata that is a login page",
    provoke: () =>
      withServer(instance({ body: `<html>${CANARY}` }), askInstance),
    code: "source-unavailable",
    shows: /login page/,
  },
];

/** An error as STS writes it. */
function stsError(status: number, code: string, message: string): Reply {
  const xmlns = "https://sts.amazonaws.com/doc/2011-06-15/";
  return {
    status,
    body:
      `<ErrorResponse xmlns="${xmlns}"><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error><RequestId>r</RequestId></ErrorResponse>`,
  };
}

const STS: readonly Case[] = ([
  [
    stsError(
      403,
      "AccessDenied",
      "MultiFactorAuthentication failed with invalid MFA one time pass code. ",
    ),
    "mfa-rejected",
    /invalid MFA one time pass code/,
  ],
  [
    stsError(400, "PackedPolicyTooLarge", "Packed policy consumes 112%"),
    "policy-too-large",
    /consumes 112%/,
  ],
  [
    stsError(
      400,
      "MalformedPolicyDocument",
      "This policy contains invalid Json",
    ),
    "policy-malformed",
    /invalid Json/,
  ],
  [
    stsError(403, "RegionDisabledException", "STS is not activated"),
    "region-disabled",
    /not activated/,
  ],
  [
    stsError(400, "IDPCommunicationError", "Error communicating"),
    "idp-unavailable",
    /Error communicating/,
  ],
  [
    stsError(403, "IDPRejectedClaim", "graph.facebook.com responded with 400"),
    "token-rejected",
    /IDPRejectedClaim/,
  ],
  [
    stsError(400, "InvalidIdentityToken", "No OpenIDConnect provider found"),
    "token-rejected",
    /No OpenIDConnect provider/,
  ],
  [
    stsError(
      400,
      "ExpiredTokenException",
      "Token expired: current date/time 2",
    ),
    "token-rejected",
    /write a new one/,
  ],
  [
    stsError(403, "ExpiredToken", "The security token is expired"),
    "source-expired",
    /aws sso login --profile p/,
  ],
  [
    stsError(503, "SlowDown", "Rate exceeded"),
    "sts-throttled",
    /wait a moment/,
  ],
  [
    stsError(400, "ValidationError", "Value <b>x</b> <a/>"),
    "sts-refused",
    /STS's message/,
  ],
  [stsError(500, "InternalFailure", "x"), "sts-unavailable", /answered 500/],
  [{ status: 403, body: "<html></html>" }, "sts-garbage", /answered 403/],
  [{ status: 404, body: `<html>${CANARY}` }, "sts-garbage", /answered 404/],
  [{ status: 400, body: `{"x":"${CANARY}"}` }, "sts-garbage", /not STS's XML/],
  [{ status: 429, body: CANARY }, "sts-throttled", /answered 429/],
  [{ status: 502, body: `<html>${CANARY}` }, "sts-unavailable", /answered 502/],
] as const).map(([reply, code, shows]) => ({
  what: `an STS that answers ${reply.status} ${
    (/<Code>\w+/.exec(reply.body ?? "")?.[0] ?? "").slice(6)
  }`,
  provoke: () => withServer(reply, askSts),
  service: "STS",
  ...{ code, shows },
}));

const UNREACHABLE: Case = {
  what: "an STS where nobody listens",
  provoke: () => askSts(NOBODY),
  service: "STS",
  code: "sts-unreachable",
  shows: /cannot be reached/,
};

const CASES: readonly Case[] = [
  ...PROFILES,
  ...LOGINS,
  ...PORTAL,
  ...RENEWALS,
  ...CONSOLE_LOGINS,
  ...CONTAINER,
  ...INSTANCE,
  ...STS,
  UNREACHABLE,
];

for (const { what, provoke, service, code, shows, leaks } of CASES) {
  Deno.test({
    name: `mapAwsError() knows what the SDK throws for ${what}: ${code}`,
    sanitizeResources: !leaks,
    async fn() {
      const context = { settings: SETTINGS, ...(service && { service }) };
      const mapped = mapAwsError(await provoke(), context);
      const text = `${mapped.message} ${mapped.hint}`;
      assert.equal(mapped.code, code, text);
      assert.match(text, shows);
      assertNoCanary(text);
    },
  });
}
