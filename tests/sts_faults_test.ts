/** `moat grant aws` against an STS that refuses, lies, hangs or dies. */

import assert from "node:assert/strict";
import { CANARY } from "./support/canary.ts";
import { testUnless } from "./support/conditional.ts";
import {
  assumeRoleAnswer,
  type Behaviour,
  session,
  startFaultySts,
  stsError,
  type TlsIdentity,
} from "./support/faulty_sts.ts";
import { moatReason } from "./support/moat.ts";
import { run, which } from "./support/run.ts";
import {
  assertRefused,
  type Refusal,
  ROLE,
  Terminal,
} from "./support/terminal.ts";
import type { Workspace } from "./support/workspace.ts";

const KEYS = {
  AWS_ACCESS_KEY_ID: "AKIAMOCKSOURCE000000",
  AWS_SECRET_ACCESS_KEY: CANARY,
};

/** What a user is to be told. */
interface Wanted {
  /** Of the JSON error. */
  readonly code: string;
  readonly message: RegExp;
  readonly hint: RegExp;
  /** How often STS is asked. Default: once. */
  readonly requests?: number;
}

/** Grants with a longer session in place of an old grant, and is refused. */
async function refusedGrant(
  terminal: Terminal,
  env: Record<string, string>,
  line = "moat grant aws --role $ROLE --session-duration 2h",
) {
  await terminal.do("moat grant aws --role $ROLE --no-validate");
  const file = terminal.workspace.path("moat/grants/aws.grant");
  const before = await Deno.readFile(file);
  const { code, stdout, stderr } = await terminal.type(`${line} --json`, env);
  assert.deepEqual([code, stdout], [1, ""], stderr);
  assert.deepEqual(await Deno.readFile(file), before, "the old grant changed");
  return JSON.parse(stderr).error;
}

function assertTold(
  { code, message, hint }: Record<string, string>,
  wanted: Wanted,
): void {
  assert.equal(code, wanted.code, message);
  assert.match(message ?? "", wanted.message);
  assert.match(hint ?? "", wanted.hint);
}

const FAULTS: Readonly<Record<string, Wanted & { readonly how: Behaviour }>> = {
  "a denial": {
    how: stsError(
      403,
      "AccessDenied",
      `User: arn:aws:iam::123456789012:user/ana is not authorized to perform: sts:AssumeRole on resource: ${ROLE}`,
    ),
    code: "access-denied",
    message: /Deploy: STS answered AccessDenied: User: .*user\/ana is not auth/,
    hint: /role exists.*trust policy.*--external-id.*sts:AssumeRole/,
  },
  "an expired source": {
    how: stsError(
      403,
      "ExpiredToken",
      "The security token included in the request is expired",
    ),
    code: "source-expired",
    message: /the source credentials have expired/,
    hint: /aws sso login/,
  },
  "an unknown access key": {
    how: stsError(
      403,
      "InvalidClientTokenId",
      "The security token included in the request is invalid.",
    ),
    code: "source-rejected",
    message: /STS answered InvalidClientTokenId/,
    hint: /access key is active and complete; aws sso login/,
  },
  "a wrong secret": {
    how: stsError(
      403,
      "SignatureDoesNotMatch",
      "The request signature we calculated does not match the signature you provided.",
    ),
    code: "source-rejected",
    message: /STS answered SignatureDoesNotMatch/,
    hint: /access key is active and complete/,
  },
  "a clock that is behind": {
    how: stsError(
      403,
      "SignatureDoesNotMatch",
      "Signature expired: 20260301T100000Z is now earlier than 20260301T101500Z (20260301T103000Z - 15 min.)",
    ),
    code: "clock-skew",
    message: /is now earlier than 20260301T101500Z/,
    hint: /set this machine's clock/,
  },
  "a clock that is ahead": {
    how: stsError(
      403,
      "SignatureDoesNotMatch",
      "Signature not yet current: 20260301T110000Z is still later than 20260301T101500Z (20260301T100000Z + 15 min.)",
    ),
    code: "clock-skew",
    message: /is still later than/,
    hint: /set this machine's clock/,
  },
  "a region where STS is off": {
    how: stsError(
      403,
      "RegionDisabledException",
      "STS is not activated in this region for account:123456789012.",
    ),
    code: "region-disabled",
    message: /STS is not activated in this region/,
    hint: /--region us-east-1/,
  },
  "a region that the endpoint does not serve": {
    how: stsError(
      403,
      "SignatureDoesNotMatch",
      "Credential should be scoped to a valid region.",
    ),
    code: "sts-refused",
    message: /scoped to a valid region/,
    hint: /--region that the endpoint serves/,
  },
  "a session longer than the role allows": {
    how: stsError(
      400,
      "ValidationError",
      "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    ),
    code: "duration-too-long",
    message: /exceeds the MaxSessionDuration/,
    hint: /shorter --session-duration/,
  },
  "a session longer than a chained role allows": {
    how: stsError(
      400,
      "ValidationError",
      "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
    ),
    code: "duration-too-long",
    message: /1 hour session limit/,
    hint: /shorter --session-duration/,
  },
  "throttling": {
    how: stsError(400, "Throttling", "Rate exceeded"),
    code: "sts-throttled",
    message: /Rate exceeded/,
    hint: /wait a moment/,
    requests: 2,
  },
  "an error of no known code": {
    how: stsError(400, "Odd", `\x1b[31m${"very ".repeat(99)}\nodd`),
    code: "sts-refused",
    // deno-lint-ignore no-control-regex -- none may reach the terminal
    message: /^[^\x00-\x1f]{200,420}…$/,
    hint: /STS's message/,
  },
  "500": {
    how: stsError(500, "InternalFailure", "x"),
    code: "sts-unavailable",
    message: /^Cannot assume .* http:.* answered 500$/,
    hint: /try again/,
    requests: 2,
  },
  "503 without XML": {
    how: { status: 503, body: "<html>Service Unavailable</html>" },
    code: "sts-unavailable",
    message: /answered 503/,
    hint: /try again/,
    requests: 2,
  },
  "a login page": {
    how: {
      contentType: "text/html",
      body: "<!DOCTYPE html><html><body>Log in<br>here</body></html>",
    },
    code: "sts-garbage",
    message: /answered 200 with something that is not STS's XML/,
    hint: /AWS_ENDPOINT_URL_STS.*login page/,
  },
  "JSON": {
    how: { contentType: "application/json", body: '{"Credentials":{}}' },
    code: "sts-garbage",
    message: /not STS's XML/,
    hint: /AWS_ENDPOINT_URL_STS/,
  },
  "an empty answer": {
    how: {},
    code: "sts-garbage",
    message: /without a complete, unexpired session/,
    hint: /AWS_ENDPOINT_URL_STS/,
  },
  "no credentials": {
    how: assumeRoleAnswer(""),
    code: "sts-garbage",
    message: /without a complete, unexpired session/,
    hint: /AWS_ENDPOINT_URL_STS/,
  },
  "half the credentials": {
    how: assumeRoleAnswer(
      "<Credentials><AccessKeyId>ASIA</AccessKeyId></Credentials>",
    ),
    code: "sts-garbage",
    message: /without a complete, unexpired session/,
    hint: /AWS_ENDPOINT_URL_STS/,
  },
  "a session that has expired": {
    how: session({ expiration: "2020-01-01T00:00:00Z" }),
    code: "sts-garbage",
    message: /without a complete, unexpired session/,
    hint: /the clock/,
  },
  "a session that ends on no date": {
    how: session({ expiration: "tomorrow" }),
    code: "sts-garbage",
    message: /not STS's XML/,
    hint: /AWS_ENDPOINT_URL_STS/,
  },
  "a page that is not there": {
    how: { status: 404, body: "<html>Not Found" },
    code: "sts-garbage",
    message: /answered 404 with something/,
    hint: /AWS_ENDPOINT_URL_STS/,
  },
  "a redirect to nowhere": {
    how: { status: 302 },
    code: "sts-garbage",
    message: /answered 302, a redirect, which moat does not follow/,
    hint: /login page/,
  },
  "a connection closed without an answer": {
    how: { manner: "close" },
    code: "sts-unreachable",
    message: /http:.* cannot be reached/,
    hint: /check the network/,
    requests: 2,
  },
  "a connection closed in the middle": {
    how: { ...session(), manner: "cut" },
    code: "sts-unreachable",
    message: /broke off in the middle/,
    hint: /try again/,
  },
};

for (const [name, { how, ...wanted }] of Object.entries(FAULTS)) {
  testUnless(moatReason(), `moat grant aws tells of ${name}`, async () => {
    await using sts = startFaultySts(how);
    await using terminal = await Terminal.open(KEYS);
    const env = { AWS_ENDPOINT_URL_STS: sts.url };
    assertTold(await refusedGrant(terminal, env), wanted);
    assert.equal(sts.requests.length, wanted.requests ?? 1);
  });
}

testUnless(
  moatReason(),
  "moat grant aws tells of a port where nobody listens",
  async () => {
    await using terminal = await Terminal.open(KEYS);
    const env = { AWS_ENDPOINT_URL_STS: "http://127.0.0.1:1" };
    assertTold(await refusedGrant(terminal, env), {
      code: "sts-unreachable",
      message: /http:\/\/127\.0\.0\.1:1 cannot be reached/,
      hint: /network, HTTPS_PROXY, AWS_CA_BUNDLE, and AWS_ENDPOINT_URL_STS/,
    });
  },
);

testUnless(
  moatReason(),
  "moat grant aws gets over one bad answer",
  async () => {
    await using sts = startFaultySts((before) =>
      before === 0 ? { status: 500 } : session()
    );
    await using terminal = await Terminal.open(KEYS);
    await terminal.do("moat grant aws --role $ROLE", {
      AWS_ENDPOINT_URL_STS: sts.url,
    });
    assert.equal(sts.requests.length, 2);
  },
);

/** What `moat whoami aws` is told, without any region set. */
const WHOAMI: Readonly<Record<string, Refusal & { readonly how: Behaviour }>> =
  {
    "an unknown access key": {
      how: stsError(403, "InvalidClientTokenId", "The token is invalid."),
      error: /^Cannot tell whose credentials these are: STS answered Invalid/,
      hint: /aws sso login/,
    },
    "a login page": {
      how: { contentType: "text/html", body: "<html>Log in<br></html>" },
      error: /something that is not STS's XML/,
      hint: /login page/,
    },
    "a connection closed in the middle": {
      how: { body: "<GetCallerIdentityResponse>", manner: "cut" },
      error: /broke off in the middle/,
      hint: /try again/,
    },
  };

for (const [name, { how, ...refusal }] of Object.entries(WHOAMI)) {
  testUnless(moatReason(), `moat whoami aws tells of ${name}`, async () => {
    await using sts = startFaultySts(how);
    await using terminal = await Terminal.open(KEYS);
    const env = { AWS_ENDPOINT_URL_STS: sts.url };
    assertRefused(await terminal.type("moat whoami aws", env), refusal);
  });
}

/** Two attempts of 5 s, or 12 s of all, and time to start. */
const BOUND_MS = 14_000;

/** Its program outlives moat by a little. */
const SLOW_PROFILE = "[profile slow]\ncredential_process = sleep 14\n";

/** Everything that can hang; tried at once, because each takes its bound. */
const HANGS: readonly (Wanted & {
  readonly how: Behaviour;
  readonly line?: string;
})[] = [
  {
    how: { manner: "hang" },
    code: "sts-timeout",
    message: /Deploy: http:.* did not answer in time/,
    hint: /HTTPS_PROXY and the region/,
  },
  {
    how: { ...session(), manner: "stall" },
    code: "sts-timeout",
    message: /did not answer in time/,
    hint: /HTTPS_PROXY/,
  },
  {
    how: session(),
    line: "moat grant aws --role $ROLE --aws-profile slow",
    code: "source-timeout",
    message: /source credentials did not come in time \(tried profile "slow"/,
    hint: /credential_process, run it by hand/,
  },
];

testUnless(
  moatReason(),
  `moat grant aws waits no longer than ${BOUND_MS} ms for anything`,
  async () => {
    await Promise.all(HANGS.map(async ({ how, line, ...wanted }) => {
      await using sts = startFaultySts(how);
      await using terminal = await Terminal.open(KEYS);
      await terminal.workspace.write(".aws/config", SLOW_PROFILE);
      const start = performance.now();
      const env = { AWS_ENDPOINT_URL_STS: sts.url };
      assertTold(await refusedGrant(terminal, env, line), wanted);
      assert.ok(performance.now() - start < BOUND_MS, wanted.code);
    }));
  },
);

/** A CA of its own, and a certificate of it for 127.0.0.1. */
async function makeTls(workspace: Workspace): Promise<TlsIdentity> {
  await workspace.write("san", "subjectAltName=IP:127.0.0.1\n");
  const key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
  const commands = [
    `req -x509 ${key} -days 2 -subj /CN=ca -keyout ca.key -out ca.pem`,
    `req -new ${key} -subj /CN=sts -keyout sts.key -out sts.csr`,
    "x509 -req -in sts.csr -CA ca.pem -CAkey ca.key -days 2 -extfile san -out sts.pem",
  ];
  for (const command of commands) {
    const argv = ["openssl", ...command.split(" ")];
    const { code, stderr } = await run(argv, { cwd: workspace.directory });
    assert.equal(code, 0, stderr);
  }
  return {
    cert: await Deno.readTextFile(workspace.path("sts.pem")),
    key: await Deno.readTextFile(workspace.path("sts.key")),
  };
}

const tlsTest = (
  name: string,
  fn: (terminal: Terminal, url: string) => Promise<void>,
) =>
  testUnless(
    moatReason() ?? (which("openssl") ? undefined : "not installed: openssl"),
    `moat grant aws, STS behind a private CA: ${name}`,
    async () => {
      await using terminal = await Terminal.open(KEYS);
      const tls = await makeTls(terminal.workspace);
      await using sts = startFaultySts(session(), tls);
      await fn(terminal, sts.url);
    },
  );

tlsTest(
  "AWS_CA_BUNDLE makes it trusted, and is recorded",
  async (terminal, url) => {
    await terminal.do("AWS_CA_BUNDLE=ca.pem moat grant aws --role $ROLE", {
      AWS_ENDPOINT_URL_STS: url,
    });
    const { settings } = await terminal.json("moat grant show aws --json");
    assert.equal(settings.caBundle, terminal.workspace.path("ca.pem"));
  },
);

const BAD_BUNDLES: Readonly<
  Record<string, Wanted & { readonly bundle: string }>
> = {
  "without AWS_CA_BUNDLE it is not trusted": {
    bundle: "",
    code: "sts-unreachable",
    message: /the TLS certificate of https:.* is not one that this host trusts/,
    hint: /AWS_CA_BUNDLE/,
  },
  "a bundle that is missing": {
    bundle: "AWS_CA_BUNDLE=gone.pem",
    code: "ca-bundle-unreadable",
    message: /Cannot read AWS_CA_BUNDLE ".*\/gone\.pem"/,
    hint: /PEM/,
  },
  "a bundle without a certificate": {
    bundle: "AWS_CA_BUNDLE=ca.key",
    code: "ca-bundle-unreadable",
    message: /wanted certificates in PEM, found none/,
    hint: /PEM/,
  },
};

for (const [name, { bundle, ...wanted }] of Object.entries(BAD_BUNDLES)) {
  tlsTest(name, async (terminal, url) => {
    const line = `${bundle} moat grant aws --role $ROLE`;
    const env = { AWS_ENDPOINT_URL_STS: url };
    assertTold(await refusedGrant(terminal, env, line), wanted);
  });
}
