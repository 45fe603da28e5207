import assert from "node:assert/strict";
import { SOURCE_KINDS, type SourceKind } from "../settings.ts";
import { explainSource, sourceCredentials } from "../source.ts";
import { assertNoCanary, CANARY } from "../../../tests/support/canary.ts";
import { eventually } from "../../../tests/support/eventually.ts";
import { FakeClock } from "../../../tests/support/fake_clock.ts";
import {
  SourceBed,
  sourcePlatform,
} from "../../../tests/support/source_bed.ts";

const ENVIRONMENT = {
  AWS_ACCESS_KEY_ID: "AKIAENVIRONMENT",
  AWS_SECRET_ACCESS_KEY: CANARY,
};

/** Explains a source and takes out what differs from run to run. */
async function explained(
  bed: SourceBed,
  hop: Parameters<typeof explainSource>[0],
  env = {},
): Promise<string[]> {
  const lines = await explainSource(hop, sourcePlatform(env));
  assertNoCanary(JSON.stringify(lines));
  return lines.map((line) =>
    line.join(": ")
      .replaceAll(bed.workspace.directory, "~")
      .replaceAll(bed.mock.url, "MOCK")
      .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "TIME")
  );
}

Deno.test("explainSource() tells of the environment's keys", async () => {
  await using bed = await SourceBed.open();
  const hop = bed.hop({ order: SOURCE_KINDS });
  assert.deepEqual(await explained(bed, hop, ENVIRONMENT), [
    "environment: used: access key ID AKIAENVIRONMENT",
    "profile: not tried",
    "web-identity: not tried",
    "container: not tried",
    "instance: not tried",
  ]);
});

Deno.test("explainSource() tells of every kind on the way to the last", async () => {
  await using bed = await SourceBed.open();
  const instanceEndpoint = bed.mock.url;
  const hop = bed.hop({ order: SOURCE_KINDS, instanceEndpoint });
  assert.deepEqual(await explained(bed, hop), [
    "environment: passed over: AWS_ACCESS_KEY_ID is not set here",
    'profile: passed over: profile "default" is in neither ~/.aws/config nor ~/.aws/credentials',
    "web-identity: passed over: AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN not set when it was granted",
    "container: passed over: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI not set when it was granted",
    "instance: used: access key ID ASIAINSTANCEINSTANCE, until TIME",
  ]);
});

Deno.test("explainSource() tells of a program that fails, and goes on", async () => {
  await using bed = await SourceBed.open();
  await bed.config(
    `[default]\ncredential_process = echo ${CANARY} >&2; exit 1`,
  );
  const hop = bed.hop({
    order: ["profile", "container"],
    container: { url: `${bed.mock.url}/container?token=${CANARY}` },
  });
  assert.deepEqual(await explained(bed, hop), [
    'profile: passed over: found no usable source credentials (tried profile "default" in ~/.aws/credentials and ~/.aws/config; its credential_process failed)',
    "container: used: access key ID ASIACONTAINERCONTAIN, until TIME",
  ]);
});

Deno.test("explainSource() tells of a login that ended, and goes no further", async () => {
  await using bed = await SourceBed.open();
  await bed.config(
    "[profile sso]\nsso_start_url = https://x\nsso_region = us-east-1\nsso_account_id = 1\nsso_role_name = A",
  );
  const order: SourceKind[] = ["environment", "profile", "instance"];
  const hop = bed.hop({ order, profile: "sso" });
  const env = { AWS_ACCESS_KEY_ID: "AKIAALONE" };
  assert.deepEqual(await explained(bed, hop, env), [
    "environment: passed over: AWS_SECRET_ACCESS_KEY is not set here",
    "profile: failed: the source's SSO login has ended",
    "instance: not tried",
  ]);
});

Deno.test("explainSource() tells of a profile that gives nothing", async () => {
  await using bed = await SourceBed.open();
  await bed.config("[profile empty]\nregion = eu-west-1");
  assert.deepEqual(await explained(bed, bed.hop({ profile: "empty" })), [
    'profile: passed over: profile "empty" has nothing that gives credentials',
  ]);
});

Deno.test("explainSource() names a profile that is used", async () => {
  await using bed = await SourceBed.open();
  await bed.config("[profile mine]\nKEYS");
  assert.deepEqual(await explained(bed, bed.hop({ profile: "mine" })), [
    'profile: used: profile "mine", access key ID AKIAPROFILE',
  ]);
});

Deno.test("explainSource() shows no control characters of a program", async () => {
  await using bed = await SourceBed.open();
  const program = await bed.workspace.write(
    "program",
    `#!/bin/sh\ncat <<'END'\n${
      JSON.stringify({
        Version: 1,
        AccessKeyId: "AKIA\x1b[2J",
        SecretAccessKey: CANARY,
      })
    }\nEND\n`,
    0o700,
  );
  await bed.config(`[default]\ncredential_process = ${program}`);
  const [line = ""] = await explained(bed, bed.hop());
  assert.match(
    line,
    /^profile: failed: they are not complete, or not printable/,
  );
});

Deno.test("explainSource() waits no longer than 1 s for instance metadata", async () => {
  await using bed = await SourceBed.open();
  bed.mock.answers.instanceToken = () => null;
  bed.mock.answers.instanceRole = () => null;
  const hop = bed.hop({ order: ["instance"], instanceEndpoint: bed.mock.url });
  const start = performance.now();
  const lines = await explained(bed, hop);
  assert.ok(performance.now() - start < 1000);
  assert.deepEqual(lines, [
    "instance: passed over: instance metadata cannot be reached",
  ]);
});

Deno.test("explainSource() waits no longer than 12 s for a program", async () => {
  await using bed = await SourceBed.open();
  const started = bed.workspace.path("started");
  await bed.config(
    `[default]\ncredential_process = echo >${started}; exec sleep 60`,
  );
  const clock = new FakeClock();
  const lines = explainSource(bed.hop(), { ...sourcePlatform(), clock });
  await eventually("the program", () => Deno.stat(started));
  await clock.advance(12_000);
  assert.deepEqual(await lines, [["profile", "failed: it took too long"]]);
  await eventually("its end", () => sourceIsIdle(bed));
});

/** A call of the same source is not joined to one that hangs. */
async function sourceIsIdle(bed: SourceBed): Promise<boolean> {
  await bed.config("[default]\nKEYS");
  const { accessKeyId } = await sourceCredentials(bed.hop(), sourcePlatform());
  return accessKeyId === "AKIAPROFILE";
}
