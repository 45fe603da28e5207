import assert from "node:assert/strict";
import { fakePlatform } from "../../../tests/support/fake_platform.ts";
import { Workspace } from "../../../tests/support/workspace.ts";
import { createAwsProvider } from "../mod.ts";
import { readSettings } from "../settings.ts";

/** The grant that an environment makes. */
async function grantOf(env: Record<string, string>) {
  const files = {
    AWS_CONFIG_FILE: "/proc/nonexistent/config",
    AWS_SHARED_CREDENTIALS_FILE: "/proc/nonexistent/credentials",
  };
  const platform = fakePlatform({ env: { ...files, ...env } });
  const grant = await createAwsProvider(platform).environmentGrant!();
  return { grant, settings: readSettings(grant), lines: platform.lines };
}

Deno.test("environmentGrant() names no role, so that the source assumes the containers'", async () => {
  const { grant, settings } = await grantOf({});
  assert.deepEqual(
    [grant.provider, grant.name, settings.roles, settings.direct],
    ["aws", "aws", [], true],
  );
});

const REGIONS = [
  { name: "nothing", env: {}, region: "us-east-1" },
  {
    name: "AWS_REGION",
    env: { AWS_REGION: "cn-north-1", AWS_DEFAULT_REGION: "eu-west-1" },
    region: "cn-north-1",
  },
  {
    name: "AWS_DEFAULT_REGION",
    env: { AWS_DEFAULT_REGION: "eu-west-1" },
    region: "eu-west-1",
  },
];
for (
  const [env, told] of [[{}, 1], [{ AWS_REGION: "eu-west-1" }, 0]] as const
) {
  Deno.test(`environmentGrant() warns of ${told} regions that nobody named`, async () => {
    const { lines } = await grantOf(env);
    const events = lines.map(({ event }) => event);
    assert.deepEqual(events, told ? ["region-by-default"] : []);
  });
}

for (const { name, env, region } of REGIONS) {
  Deno.test(`environmentGrant() takes the region from ${name}`, async () => {
    assert.equal((await grantOf(env)).settings.region, region);
  });
}

Deno.test("environmentGrant() takes the region from the profile", async () => {
  await using workspace = await Workspace.open();
  const config =
    "[profile ops]\nregion = eu-north-1\naws_access_key_id = a\naws_secret_access_key = b\n";
  const AWS_CONFIG_FILE = await workspace.write("config", config);
  const env = { AWS_CONFIG_FILE, AWS_PROFILE: "ops" };
  assert.equal((await grantOf(env)).settings.region, "eu-north-1");
});

Deno.test("environmentGrant() records where the source and STS are", async () => {
  const { settings } = await grantOf({
    AWS_ENDPOINT_URL_STS: "http://127.0.0.1:1",
    AWS_EC2_METADATA_SERVICE_ENDPOINT: "http://127.0.0.1:2",
  });
  assert.deepEqual(
    [settings.stsEndpoint, settings.source.instanceEndpoint],
    ["http://127.0.0.1:1", "http://127.0.0.1:2"],
  );
});

Deno.test("environmentGrant() holds no key", async () => {
  const { grant } = await grantOf({
    AWS_ACCESS_KEY_ID: "AKIASOURCE",
    AWS_SECRET_ACCESS_KEY: "the-secret",
  });
  assert(!JSON.stringify(grant).includes("the-secret"));
});

Deno.test("environmentGrant() refuses a region that is none", async () => {
  await assert.rejects(grantOf({ AWS_REGION: "nowhere" }), { code: "usage" });
});

Deno.test("environmentGrant() refuses a profile that is not there", async () => {
  await assert.rejects(grantOf({ AWS_PROFILE: "nobody" }), /nobody/);
});
