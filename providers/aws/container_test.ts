import assert from "node:assert/strict";
import { parseKnownFiles } from "@smithy/shared-ini-file-loader";
import { awsSettings, awsSource } from "../../tests/support/aws_grant.ts";
import { run } from "../../tests/support/run.ts";
import { Workspace } from "../../tests/support/workspace.ts";
import { CONFLICTING_ENV, containerEnv, containerMounts } from "./container.ts";

const SETTINGS = awsSettings({
  externalId: "the-external-id",
  source: awsSource({
    profile: "the-profile",
    configFile: "/home/ana/.aws/config",
    credentialsFile: "/home/ana/.aws/credentials",
  }),
  stsEndpoint: "http://sts.internal",
});

const CONTAINER = {
  endpointUrl: "http://moat-proxy:19080",
  directory: "/moat",
  tokenFile: "/moat/token",
};

Deno.test("containerEnv() names config, helper's endpoint and token file", () => {
  assert.deepEqual(containerEnv(SETTINGS, CONTAINER), {
    AWS_CONFIG_FILE: "/moat/aws/config",
    AWS_SHARED_CREDENTIALS_FILE: "/moat/aws/no-credentials",
    AWS_SDK_LOAD_CONFIG: "1",
    AWS_REGION: "eu-central-1",
    AWS_DEFAULT_REGION: "eu-central-1",
    AWS_PAGER: "",
    MOAT_AWS_CREDENTIAL_URL: "http://moat-proxy:19080/aws/process-credentials",
    MOAT_AWS_CREDENTIAL_TOKEN_FILE: "/moat/token",
  });
});

Deno.test("CONFLICTING_ENV holds what containerEnv() sets, but for switches and regions", () => {
  const set = Object.keys(containerEnv(SETTINGS, CONTAINER));
  const missing = set.filter((name) => !CONFLICTING_ENV.includes(name));
  assert.deepEqual(missing, [
    "AWS_SDK_LOAD_CONFIG",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PAGER",
  ]);
});

for (
  const name of [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
  ]
) {
  Deno.test(`CONFLICTING_ENV holds ${name}`, () => {
    assert(CONFLICTING_ENV.includes(name));
  });
}

Deno.test("CONFLICTING_ENV names each variable once", () => {
  assert.equal(new Set(CONFLICTING_ENV).size, CONFLICTING_ENV.length);
});

Deno.test("containerMounts() gives a config, a program and an empty file", () => {
  const mounts = containerMounts(SETTINGS, CONTAINER);
  assert.deepEqual(mounts.map(({ path, mode }) => [path, mode]), [
    ["aws/config", 0o444],
    ["aws/credentials", 0o555],
    ["aws/no-credentials", 0o444],
  ]);
  assert.equal(mounts[2]?.content, "");
});

Deno.test("containerMounts() makes a config that any SDK reads", () => {
  const [config] = containerMounts(SETTINGS, CONTAINER);
  assert.equal(
    config?.content,
    "[default]\ncredential_process = /moat/aws/credentials\nregion = eu-central-1\n",
  );
});

Deno.test("containerMounts() makes a program for sh", () => {
  const [, helper] = containerMounts(SETTINGS, CONTAINER);
  assert.match(helper?.content ?? "", /^#!\/bin\/sh\n/);
});

Deno.test("environment and files tell the client nothing about the host", () => {
  const told = JSON.stringify([
    containerEnv(SETTINGS, CONTAINER),
    containerMounts(SETTINGS, CONTAINER),
  ]);
  for (const text of ["Deploy", "123456789012", "ana", "the-", "sts."]) {
    assert(!told.includes(text), text);
  }
});

/** What a shell and the SDK make of the config for files in a directory. */
async function started(directory: string): Promise<string> {
  await using workspace = await Workspace.open();
  const [config] = containerMounts(SETTINGS, { ...CONTAINER, directory });
  const path = await workspace.write("config", config?.content ?? "");
  const { default: profile = {} } = await parseKnownFiles({
    configFilepath: path,
    filepath: "/proc/nonexistent",
    ignoreCache: true,
  });
  // As SDKs do, but with a program that prints its words.
  const command = `printf '<%s>' ${profile["credential_process"]}`;
  return (await run(["sh", "-c", command])).stdout;
}

const DIRECTORIES = [
  "/moat",
  "/home/ana/.local/state/moat/runs/abcdefghij/files",
  "/with space",
  "/it's",
  '/say "hi"',
  "/$HOME/`id`/$(id)",
  "/back\\slash",
  "/a;b&c|d",
  "/a*?[x]",
  "/~",
  "/ü",
  "/a#b",
  "/a=b",
];

for (const directory of DIRECTORIES) {
  Deno.test(`containerMounts() leads SDKs to a helper in ${directory}`, async () => {
    assert.equal(await started(directory), `<${directory}/aws/credentials>`);
  });
}

const IMPOSSIBLE = ["/a\nb", "/a\r[default]", "/a\tb", "/a #b", "/a ;b"];

for (const directory of IMPOSSIBLE) {
  Deno.test(
    `containerMounts() refuses a directory that no config file can name, as ${
      JSON.stringify(directory)
    }`,
    () => {
      assert.throws(
        () => containerMounts(SETTINGS, { ...CONTAINER, directory }),
        { code: "bad-home" },
      );
    },
  );
}
