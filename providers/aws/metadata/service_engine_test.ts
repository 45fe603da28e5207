import assert from "node:assert/strict";
import type { ContainerFacts } from "$core/container.ts";
import { NO_METADATA } from "$core/metadata.ts";
import { awsGrant, awsSource } from "../../../tests/support/aws_grant.ts";
import { CANARY } from "../../../tests/support/canary.ts";
import { fakePlatform } from "../../../tests/support/fake_platform.ts";
import { facts, FakeClient } from "../../../tests/support/metadata_bed.ts";
import { startMockSts } from "../../../tests/support/mock_sts.ts";
import { createAwsProvider } from "../mod.ts";

const ROLES = "/latest/meta-data/iam/security-credentials/";

/** The provider as the proxy has it, with a mock STS behind it. */
function openBed(settings = {}) {
  const platform = fakePlatform({
    now: Date.now(),
    env: { AWS_ACCESS_KEY_ID: "AKIASOURCE", AWS_SECRET_ACCESS_KEY: CANARY },
  });
  const service = createAwsProvider(platform).metadata!({
    settings: { ...NO_METADATA, v1: true, ...settings },
  });
  const sts = startMockSts();
  const source = awsSource({ order: ["environment"] });
  const grant = awsGrant({ stsEndpoint: sts.url, source });
  const get = async (more: Partial<ContainerFacts>, target: string) => {
    const client = new FakeClient({ container: facts(more), grant });
    const values = () => [];
    const answer = await service.prepare({
      ...{ method: "GET", target, hasBody: false, values, client },
    })();
    return answer;
  };
  return {
    sts,
    platform,
    get,
    [Symbol.asyncDispose]: () => sts[Symbol.asyncDispose](),
  };
}

const ALLOWED = { roles: ["App"], defaultAccount: "123456789012" };

Deno.test("a container has a session of the role that it names", async () => {
  await using bed = openBed(ALLOWED);
  const { status, body } = await bed.get({}, `${ROLES}App`);
  assert.deepEqual([status, JSON.parse(body).Code], [200, "Success"]);
});

Deno.test("a container's role is assumed with the grant's session", async () => {
  await using bed = openBed(ALLOWED);
  await bed.get({}, `${ROLES}App`);
  assert.equal(bed.sts.calls, 2);
});

Deno.test("a container that names a role that is not allowed has none", async () => {
  await using bed = openBed(ALLOWED);
  const { status } = await bed.get({ env: { IAM_ROLE: "Admin" } }, ROLES);
  assert.deepEqual([status, bed.sts.calls], [403, 0]);
});

Deno.test("the log says which line allows a role", async () => {
  await using bed = openBed(ALLOWED);
  await bed.get({ env: { IAM_ROLE: "Admin" } }, ROLES);
  assert.match(
    JSON.stringify(bed.platform.lines),
    /arn:aws:iam::123456789012:role\/Admin/,
  );
});

Deno.test("a container that names a role of which nothing can be read has none", async () => {
  await using bed = openBed(ALLOWED);
  assert.equal(
    (await bed.get({ env: { IAM_ROLE: "a b" } }, ROLES)).status,
    403,
  );
});

Deno.test("a container that names no role has none", async () => {
  await using bed = openBed(ALLOWED);
  assert.equal((await bed.get({ env: {} }, ROLES)).status, 404);
});

Deno.test("containers name nothing unless it is allowed", async () => {
  await using bed = openBed({ defaultAccount: "123456789012" });
  assert.equal((await bed.get({}, ROLES)).status, 403);
});

Deno.test("settings that cannot be used are refused at the start", () => {
  assert.throws(() => openBed({ defaultAccount: "12" }), {
    code: "bad-config",
  });
});

Deno.test("a path that may not pass through is refused at the start", () => {
  const passthrough = ["/latest/user-data"];
  assert.throws(() => openBed({ passthrough }), { code: "usage" });
});

Deno.test("an endpoint of IAM that is none is refused at the start, if it is needed", () => {
  const env = { AWS_ENDPOINT_URL_IAM: "foo" };
  const provider = createAwsProvider(fakePlatform({ env }));
  const settings = { ...NO_METADATA, defaultAccount: "123456789012" };
  assert.ok(provider.metadata!({ settings }));
  assert.throws(() => provider.metadata!({ settings: NO_METADATA }), {
    code: "bad-environment",
    message: /^Cannot use AWS_ENDPOINT_URL_IAM: wanted/,
  });
});
