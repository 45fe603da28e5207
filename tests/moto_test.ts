import assert from "node:assert/strict";
import { testUnless } from "./support/conditional.ts";
import { bedReason, openBed } from "./support/containers.ts";
import { AWS_CLI, type Moto, motoReason, startMoto } from "./support/moto.ts";
import { run, SYSTEM_PATH } from "./support/run.ts";

/** What a client needs to use a key against moto, and nothing of this machine. */
function clientEnv(moto: Moto, secret: string): Record<string, string> {
  return {
    PATH: SYSTEM_PATH,
    AWS_ACCESS_KEY_ID: moto.accessKeyId,
    AWS_SECRET_ACCESS_KEY: secret,
    AWS_DEFAULT_REGION: "us-east-1",
    AWS_ENDPOINT_URL: moto.url,
    AWS_EC2_METADATA_DISABLED: "true",
  };
}

async function assumeRole(
  moto: Moto,
  options: { secret?: string; args?: string[]; prefix?: readonly string[] } =
    {},
) {
  const { secret = moto.secretAccessKey, args = [], prefix = [] } = options;
  const what = ["sts", "assume-role", "--role-arn", moto.roleArn];
  return await run(
    [...prefix, AWS_CLI, ...what, "--role-session-name", "test", ...args],
    { env: clientEnv(moto, secret), clearEnv: true },
  );
}

testUnless(
  motoReason(),
  "moto gives a session to the planted user",
  async () => {
    await using moto = await startMoto();
    const { stdout, stderr } = await assumeRole(moto);
    assert.match(stdout, /"SessionToken": "/, stderr);
  },
);

testUnless(motoReason(), "moto checks signatures", async () => {
  await using moto = await startMoto();
  const { stderr } = await assumeRole(moto, { secret: "wrong" });
  assert.match(stderr, /SignatureDoesNotMatch/);
});

testUnless(motoReason(), "moto checks the external ID", async () => {
  await using moto = await startMoto({ externalId: "right" });
  const { stderr } = await assumeRole(moto, {
    args: ["--external-id", "wrong"],
  });
  assert.match(stderr, /AccessDenied/);
});

testUnless(
  motoReason() ?? bedReason("podman"),
  "moto runs inside a bed",
  async () => {
    await using bed = await openBed("podman");
    await using moto = await startMoto(bed);
    const { stdout, stderr } = await assumeRole(moto, bed);
    assert.match(stdout, /"SessionToken": "/, stderr);
  },
);
