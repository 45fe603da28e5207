import assert from "node:assert/strict";
import { Secret } from "$core/secret.ts";
import {
  awsGrant,
  awsSettings,
  awsSource,
} from "../../../tests/support/aws_grant.ts";
import { CANARY } from "../../../tests/support/canary.ts";
import { eventually } from "../../../tests/support/eventually.ts";
import { fakePlatform } from "../../../tests/support/fake_platform.ts";
import { Workspace } from "../../../tests/support/workspace.ts";
import { SessionEngine } from "../engine.ts";
import { mapAwsError } from "../errors.ts";
import type { Credentials } from "../session.ts";
import { ClockSkew } from "../skew.ts";
import { getRole } from "./get_role.ts";

const ARN = "arn:aws:iam::123456789012:role/team/app";
const NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/";

const FOUND = `<GetRoleResponse xmlns="${NAMESPACE}"><GetRoleResult><Role>
<Path>/team/</Path><Arn>${ARN}</Arn><RoleName>app</RoleName><RoleId>AROA</RoleId>
<CreateDate>2026-01-01T00:00:00Z</CreateDate>
</Role></GetRoleResult></GetRoleResponse>`;

const CREDENTIALS: Credentials = {
  accessKeyId: "ASIAAAAAAAAAAAAAAAAA",
  secretAccessKey: new Secret(CANARY),
  sessionToken: new Secret(`${CANARY}-token`),
  expiresAt: Infinity,
};

/** What stands for IAM. */
interface Iam extends AsyncDisposable {
  readonly url: string;
  /** What it was asked. */
  readonly asked: { headers: Headers; form: URLSearchParams }[];
}

function startIam(answer: () => Response | Promise<Response>): Iam {
  const asked: { headers: Headers; form: URLSearchParams }[] = [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      const text = await request.text();
      asked.push({ headers: request.headers, form: new URLSearchParams(text) });
      return await answer();
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    asked,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

const xml = (body: string, status = 200) =>
  new Response(body, { status, headers: { "content-type": "text/xml" } });

const refusal = (code: string, message: string, status: number) =>
  xml(
    `<ErrorResponse xmlns="${NAMESPACE}"><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error></ErrorResponse>`,
    status,
  );

async function ask(env: Record<string, string>) {
  const { clock, metrics } = fakePlatform({ now: Date.now() });
  const { signal } = new AbortController();
  const context = { clock, metrics, skew: new ClockSkew(), signal };
  const at = { region: "eu-central-1" };
  try {
    return await getRole("app", CREDENTIALS, at, env, context);
  } catch (error) {
    throw mapAwsError(error, { settings: awsSettings(), service: "IAM" });
  }
}

Deno.test("getRole() gives the ARN that IAM says", async () => {
  await using iam = startIam(() => xml(FOUND));
  assert.equal(await ask({ AWS_ENDPOINT_URL_IAM: iam.url }), ARN);
});

Deno.test("getRole() asks for that role alone, with the version that IAM has", async () => {
  await using iam = startIam(() => xml(FOUND));
  await ask({ AWS_ENDPOINT_URL: iam.url });
  assert.deepEqual(Object.fromEntries(iam.asked[0]!.form), {
    Action: "GetRole",
    RoleName: "app",
    Version: "2010-05-08",
  });
});

Deno.test("getRole() signs with the session for IAM", async () => {
  await using iam = startIam(() => xml(FOUND));
  await ask({ AWS_ENDPOINT_URL: iam.url });
  const { headers } = iam.asked[0]!;
  assert.match(
    headers.get("authorization") ?? "",
    /^AWS4-HMAC-SHA256 Credential=ASIAAAAAAAAAAAAAAAAA\/\d{8}\/[\w-]+\/iam\/aws4_request, /,
  );
  assert.equal(headers.get("x-amz-security-token"), `${CANARY}-token`);
});

Deno.test("getRole() prefers the endpoint of IAM to that of all services", async () => {
  await using iam = startIam(() => xml(FOUND));
  const env = {
    AWS_ENDPOINT_URL_IAM: iam.url,
    AWS_ENDPOINT_URL: "http://127.0.0.1:1",
  };
  assert.equal(await ask(env), ARN);
});

for (const url of ["iam.amazonaws.com", "ftp://a/", "http://u:p@127.0.0.1/"]) {
  Deno.test(`getRole() refuses the endpoint ${url}`, async () => {
    await assert.rejects(ask({ AWS_ENDPOINT_URL_IAM: url }), {
      code: "bad-environment",
      message:
        "Cannot use AWS_ENDPOINT_URL_IAM: wanted an http or https URL without a user",
    });
  });
}

const FAILURES: {
  name: string;
  answer: () => Response;
  code: string;
}[] = [
  {
    name: "no such role",
    answer: () => refusal("NoSuchEntity", "The role cannot be found.", 404),
    code: "role-unknown",
  },
  {
    name: "a refusal",
    answer: () => refusal("AccessDenied", "not authorized: iam:GetRole", 403),
    code: "access-denied",
  },
  {
    name: "an expired session",
    answer: () => refusal("ExpiredToken", "The token is expired", 403),
    code: "source-expired",
  },
  {
    name: "a login page",
    answer: () => new Response("<html>log in"),
    code: "sts-garbage",
  },
  {
    name: "a redirect",
    answer: () => Response.redirect("http://127.0.0.1:1/"),
    code: "sts-garbage",
  },
  {
    name: "its own secrets",
    answer: () => refusal("Strange", `${CANARY} ${CANARY}-token`, 400),
    code: "sts-refused",
  },
];

for (const { name, answer, code } of FAILURES) {
  Deno.test(`getRole() tells ${name} by ${code}`, async () => {
    await using iam = startIam(answer);
    const env = { AWS_ENDPOINT_URL_IAM: iam.url };
    const error = await ask(env).then(() => assert.fail(), (error) => error);
    assert.equal(error.code, code, error.message);
    assert(!`${error.message} ${error.hint}`.includes(CANARY));
  });
}

Deno.test("getRole() says that it is IAM that cannot be reached", async () => {
  await assert.rejects(ask({ AWS_ENDPOINT_URL_IAM: "http://127.0.0.1:1" }), {
    code: "sts-unreachable",
    message: /: IAM cannot be reached$/,
  });
});

Deno.test("findRole() waits for IAM for 5 s", async () => {
  await using workspace = await Workspace.open();
  const silence = Promise.withResolvers<Response>();
  await using iam = startIam(() => silence.promise);
  await workspace.write(
    "credentials",
    "[default]\naws_access_key_id = AKIAAAAAAAAAAAAAAAAA\naws_secret_access_key = x\n",
  );
  const env = { AWS_ENDPOINT_URL_IAM: iam.url };
  const platform = fakePlatform({ now: Date.now(), env });
  const credentialsFile = workspace.path("credentials");
  const source = awsSource({ credentialsFile });
  const grant = awsGrant({ roles: [], direct: true, source });
  const found = new SessionEngine(platform).findRole(grant, "app");
  let isOver = false;
  found.catch(() => isOver = true);
  await eventually("the call", () => iam.asked.length > 0);
  await platform.clock.advance(4999);
  assert.equal(isOver, false);
  await platform.clock.advance(1);
  await assert.rejects(found, { code: "sts-timeout" });
  silence.resolve(xml(FOUND));
});
