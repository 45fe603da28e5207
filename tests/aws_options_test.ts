/**
 * Options of `moat grant aws` against an STS that is not ours: what moat asks
 * for reaches it, signed, and gives a session that works.
 */

import assert from "node:assert/strict";
import { testUnless } from "./support/conditional.ts";
import { moatReason, runMoat } from "./support/moat.ts";
import { type Moto, motoReason, startMoto } from "./support/moto.ts";
import { type Recorder, startRecorder } from "./support/recorder.ts";
import { Workspace } from "./support/workspace.ts";

const REASON = moatReason() ?? motoReason();
const POLICY =
  '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}';

/** moto behind a recorder, and a home with the key of moto's user. */
class Bed implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  moto!: Moto;
  recorder!: Recorder;
  workspace!: Workspace;

  static async open(options: { externalId?: string } = {}): Promise<Bed> {
    const bed = new Bed();
    const stack = bed.#stack;
    bed.moto = stack.use(await startMoto(options));
    bed.recorder = stack.use(startRecorder(bed.moto.url));
    bed.workspace = stack.use(await Workspace.open());
    return bed;
  }

  get env(): Record<string, string> {
    return {
      AWS_ENDPOINT_URL_STS: this.recorder.url,
      AWS_ACCESS_KEY_ID: this.moto.accessKeyId,
      AWS_SECRET_ACCESS_KEY: this.moto.secretAccessKey,
      AWS_REGION: "eu-central-1",
    };
  }

  async moat(...args: string[]) {
    const { workspace, env } = this;
    return await runMoat(args, { workspace, env });
  }

  /** Grants, and gives the parameters of the last call. */
  async grant(...args: string[]): Promise<URLSearchParams> {
    const { code, stderr } = await this.moat("grant", "aws", ...args);
    assert.equal(code, 0, stderr);
    return this.recorder.forms.at(-1) ?? new URLSearchParams();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

const part = (value: object) => btoa(JSON.stringify(value)).replaceAll("=", "");

/** moto reads it and does not check it. */
const TOKEN = `${part({ alg: "RS256", typ: "JWT" })}.${
  part({ iss: "https://idp.test", sub: "ana", aud: "sts", exp: 4102444800 })
}.c2lnbmF0dXJl`;

/** Each option, and what STS must see of it. */
const OPTIONS: {
  name: string;
  args: string[];
  sent: Record<string, string>;
}[] = [
  {
    name: "Duration's default",
    args: [],
    sent: { DurationSeconds: "900", RoleSessionName: "moat-grant" },
  },
  {
    name: "RoleSessionName",
    args: ["--session-name", "deploy@ci"],
    sent: { RoleSessionName: "deploy@ci" },
  },
  {
    name: "Duration",
    args: ["--session-duration", "2h"],
    sent: { DurationSeconds: "7200" },
  },
  {
    name: "Policy",
    args: ["--policy", POLICY],
    sent: { Policy: POLICY },
  },
  {
    name: "PolicyARNs",
    args: [
      ..."--policy-arn arn:aws:iam::aws:policy/ReadOnlyAccess".split(" "),
      ..."--policy-arn arn:aws:iam::123456789012:policy/own".split(" "),
    ],
    sent: {
      "PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/ReadOnlyAccess",
      "PolicyArns.member.2.arn": "arn:aws:iam::123456789012:policy/own",
    },
  },
  {
    name: "Tags and TransitiveTagKeys",
    args: "--tag team=red --tag cost=12 --transitive-tag team".split(" "),
    sent: {
      "Tags.member.1.Key": "cost",
      "Tags.member.1.Value": "12",
      "Tags.member.2.Key": "team",
      "Tags.member.2.Value": "red",
      "TransitiveTagKeys.member.1": "team",
    },
  },
  {
    name: "SourceIdentity",
    args: ["--source-identity", "ana@example.com"],
    sent: { SourceIdentity: "ana@example.com" },
  },
  {
    name: "ExternalID",
    args: ["--external-id", "the/id"],
    sent: { ExternalId: "the/id" },
  },
];

for (const { name, args, sent } of OPTIONS) {
  testUnless(REASON, `moto is asked for ${name}`, async () => {
    await using bed = await Bed.open();
    const form = await bed.grant("--role", bed.moto.roleArn, ...args);
    const seen = Object.fromEntries(
      Object.keys(sent).map((key) => [key, form.get(key)]),
    );
    assert.deepEqual(seen, sent);
  });
}

testUnless(
  REASON,
  "moto refuses a wrong external ID, and moat says so",
  async () => {
    await using bed = await Bed.open({ externalId: "right" });
    const role = ["--role", bed.moto.roleArn];
    const { code, stderr } = await bed.moat(
      ..."grant aws --external-id wrong".split(" "),
      ...role,
    );
    assert.deepEqual([code, /STS answered AccessDenied/.test(stderr)], [
      1,
      true,
    ]);
  },
);

testUnless(REASON, "a policy comes from a file", async () => {
  await using bed = await Bed.open();
  const file = await bed.workspace.write("policy.json", `\n ${POLICY}\n`);
  const form = await bed.grant("--role", bed.moto.roleArn, "--policy", file);
  assert.equal(form.get("Policy"), POLICY);
});

testUnless(REASON, "roles are assumed one from the other", async () => {
  await using bed = await Bed.open();
  const { roleArn } = bed.moto;
  // moto's role may not assume itself: its refusal names who asked.
  const args = ["--role", roleArn, "--role", roleArn];
  const { stderr } = await bed.moat("grant", "aws", ...args);
  assert.equal(bed.recorder.forms.length, 2);
  assert.match(stderr, /assumed-role\/moat-role\/moat-grant is not authorized/);
});

testUnless(REASON, "a web identity token opens a role", async () => {
  await using bed = await Bed.open();
  // moto would have this unsigned action signed.
  const reset = `${bed.moto.url}/moto-api/reset-auth`;
  await (await fetch(reset, { method: "POST", body: "1000" })).body?.cancel();
  const token = await bed.workspace.write("token", TOKEN + "\n");
  const form = await bed.grant(
    ...["--role", bed.moto.roleArn],
    ...["--web-identity-token-file", token],
  );
  assert.deepEqual(
    ["Action", "WebIdentityToken", "DurationSeconds"].map((k) => form.get(k)),
    ["AssumeRoleWithWebIdentity", TOKEN, null],
  );
});

testUnless(REASON, "an MFA code opens a session at moto", async () => {
  await using bed = await Bed.open();
  const { code } = await bed.moat(
    ...["grant", "aws", "--role", bed.moto.roleArn],
    ..."--mfa-serial arn:aws:iam::123456789012:mfa/ana".split(" "),
    ..."--mfa-code 123456".split(" "),
  );
  const [form] = bed.recorder.forms;
  assert.deepEqual(
    [form?.get("Action"), form?.get("SerialNumber"), form?.get("TokenCode")],
    ["GetSessionToken", "arn:aws:iam::123456789012:mfa/ana", "123456"],
  );
  // moto does not know its own MFA sessions; see the engine's tests.
  assert.equal(code, 1);
});

testUnless(
  REASON,
  "credential-process of a grant works with moto's S3",
  async () => {
    await using bed = await Bed.open();
    await bed.grant("--role", bed.moto.roleArn);
    const { stdout, stderr } = await bed.moat("credential-process", "aws");
    assert.deepEqual(Object.keys(JSON.parse(stdout)), [
      "Version",
      "AccessKeyId",
      "SecretAccessKey",
      "SessionToken",
      "Expiration",
    ], stderr);
  },
);
