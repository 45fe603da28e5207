import assert from "node:assert/strict";
import { parseKnownFiles } from "@smithy/shared-ini-file-loader";
import { awsSettings, awsSource } from "../../tests/support/aws_grant.ts";
import { run } from "../../tests/support/run.ts";
import { Workspace } from "../../tests/support/workspace.ts";
import type { Container, MountedFile } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import {
  CONFLICTING_ENV,
  containerEnv,
  containerMounts,
  MODES,
} from "./container.ts";

const SETTINGS = awsSettings({
  externalId: "the-external-id",
  source: awsSource({
    profile: "the-profile",
    configFile: "/home/ana/.aws/config",
    credentialsFile: "/home/ana/.aws/credentials",
  }),
  stsEndpoint: "http://sts.internal",
});

const CONTAINER: Container = {
  mode: "process",
  endpointUrl: "http://moat-proxy:19080",
  directory: "/moat",
  tokenFile: "/moat/token",
};

const SECRET = "s".repeat(43);
const TOKEN = new Secret(`moat.web@1.${SECRET}`);
const URI = "http://127.0.0.1:19080/ecs/credentials";
const QUERY = `?access_token=moat.web%401.${SECRET}`;

/** What each client that has files is told beside where to ask. */
const FILES_ENV = {
  AWS_CONFIG_FILE: "/moat/aws/config",
  AWS_CREDENTIAL_PROFILES_FILE: "/moat/aws/config",
  AWS_SHARED_CREDENTIALS_FILE: "/moat/aws/no-credentials",
  AWS_SDK_LOAD_CONFIG: "1",
  AWS_REGION: "eu-central-1",
  AWS_DEFAULT_REGION: "eu-central-1",
  AWS_PAGER: "",
};

/** Where a client asks, by mode and by where its token is. */
const ASKED: {
  mode: string;
  tokenFile?: string;
  env: Record<string, string>;
}[] = [
  {
    mode: "process",
    tokenFile: "/moat/token",
    env: {
      MOAT_AWS_CREDENTIAL_URL: "http://127.0.0.1:19080/aws/process-credentials",
      MOAT_AWS_CREDENTIAL_TOKEN_FILE: "/moat/token",
    },
  },
  {
    mode: "ecs-full",
    env: {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: URI,
      AWS_CONTAINER_AUTHORIZATION_TOKEN: `Bearer moat.web@1.${SECRET}`,
    },
  },
  {
    mode: "ecs-full",
    tokenFile: "/d/token",
    env: {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: URI,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: "/d/token",
    },
  },
  {
    mode: "ecs-full-query",
    env: { AWS_CONTAINER_CREDENTIALS_FULL_URI: URI + QUERY },
  },
  {
    mode: "ecs-relative",
    env: {
      AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/ecs/credentials",
      AWS_CONTAINER_AUTHORIZATION_TOKEN: `Bearer moat.web@1.${SECRET}`,
    },
  },
  {
    mode: "ecs-relative",
    tokenFile: "/d/token",
    env: {
      AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/ecs/credentials",
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: "/d/token",
    },
  },
  {
    mode: "ecs-relative-query",
    env: { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/ecs/credentials" + QUERY },
  },
  {
    mode: "imds",
    env: {
      AWS_REGION: "eu-central-1",
      AWS_DEFAULT_REGION: "eu-central-1",
      AWS_EC2_METADATA_DISABLED: "false",
    },
  },
];

for (const { mode, tokenFile, env } of ASKED) {
  const container: Container = {
    mode,
    endpointUrl: "http://127.0.0.1:19080",
    ...(tokenFile === undefined ? { token: TOKEN } : { tokenFile }),
  };
  const how = `${mode} with its token in ${tokenFile ?? "the environment"}`;

  Deno.test(`containerEnv() gives a service in mode ${how} exactly its variables`, () => {
    assert.deepEqual(containerEnv(SETTINGS, container), env);
  });

  Deno.test(`containerEnv() gives a client with files in mode ${how} exactly its variables`, () => {
    const withFiles = { ...container, directory: "/moat" };
    assert.deepEqual(containerEnv(SETTINGS, withFiles), {
      ...FILES_ENV,
      ...env,
    });
  });
}

Deno.test("MODES are those that each client can ask in, the default first", () => {
  assert.deepEqual(
    MODES.map(({ name, access, needsFiles, reach }) => [
      name,
      access,
      needsFiles,
      typeof reach === "string" ? reach : `${reach.hostname}:${reach.port}`,
    ]),
    [
      ["process", "header", true, "any"],
      ["ecs-full", "header", false, "loopback"],
      ["ecs-full-query", "query", false, "loopback"],
      ["ecs-relative", "header", false, "169.254.170.2:80"],
      ["ecs-relative-query", "query", false, "169.254.170.2:80"],
      ["imds", "container", false, "169.254.169.254:80"],
    ],
  );
});

for (const { name: mode, access } of MODES) {
  Deno.test(`containerEnv() in mode ${mode} shows the token where its clients send it from`, () => {
    const { tokenFile: _, ...container } = CONTAINER;
    const env = containerEnv(SETTINGS, { ...container, mode, token: TOKEN });
    const inUri = Object.entries(env).filter(([name, value]) =>
      name.endsWith("_URI") && value.includes(SECRET)
    );
    assert.equal(inUri.length, access === "query" ? 1 : 0);
  });
}

for (const { mode, tokenFile } of ASKED) {
  const where = tokenFile === undefined ? "the environment" : "a file";
  Deno.test(`CONFLICTING_ENV holds what mode ${mode} with its token in ${where} sets, but for switches and regions`, () => {
    const set = Object.keys(containerEnv(SETTINGS, {
      ...CONTAINER,
      mode,
      token: TOKEN,
      ...tokenFile !== undefined && { tokenFile },
    }));
    const missing = set.filter((name) => !CONFLICTING_ENV.includes(name));
    assert.deepEqual(missing, [
      "AWS_SDK_LOAD_CONFIG",
      "AWS_REGION",
      "AWS_DEFAULT_REGION",
      "AWS_PAGER",
      ...(mode === "imds" ? ["AWS_EC2_METADATA_DISABLED"] : []),
    ]);
  });
}

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

/** The text of one file. */
function fileOf(mounts: readonly MountedFile[], path: string): string {
  const { content } = mounts.find((file) => file.path === path) ??
    assert.fail(path);
  assert(typeof content === "string");
  return content;
}

Deno.test("containerMounts() gives a config, a program and an empty file", () => {
  const mounts = containerMounts(SETTINGS, CONTAINER);
  const found = mounts.map(({ path, mode }) => [path, mode]);
  assert.deepEqual(found.sort(), [
    ["aws/config", 0o444],
    ["aws/credentials", 0o555],
    ["aws/no-credentials", 0o444],
  ]);
  assert.equal(fileOf(mounts, "aws/no-credentials"), "");
});

for (const { name: mode } of MODES.filter(({ needsFiles }) => !needsFiles)) {
  Deno.test(`containerMounts() gives no program in mode ${mode}`, () => {
    const mounts = containerMounts(SETTINGS, { ...CONTAINER, mode });
    assert.deepEqual(mounts, [
      {
        path: "aws/config",
        mode: 0o444,
        content: "[default]\nregion = eu-central-1\n",
      },
      { path: "aws/no-credentials", mode: 0o444, content: "" },
    ]);
  });
}

Deno.test("containerMounts() makes a config that any SDK reads", () => {
  assert.equal(
    fileOf(containerMounts(SETTINGS, CONTAINER), "aws/config"),
    "[default]\ncredential_process = /moat/aws/credentials get\nregion = eu-central-1\n",
  );
});

Deno.test("containerMounts() makes a program for sh", () => {
  const helper = fileOf(
    containerMounts(SETTINGS, CONTAINER),
    "aws/credentials",
  );
  assert.match(helper, /^#!\/bin\/sh\n/);
});

Deno.test("environment and files tell the client nothing about the host", () => {
  const told = JSON.stringify(MODES.map(({ name: mode }) => [
    containerEnv(SETTINGS, { ...CONTAINER, mode }),
    containerMounts(SETTINGS, { ...CONTAINER, mode }),
  ]));
  for (const text of ["Deploy", "123456789012", "ana", "the-", "sts."]) {
    assert(!told.includes(text), text);
  }
});

/** What a shell and the SDK make of the config for files in a directory. */
async function started(directory: string): Promise<string> {
  await using workspace = await Workspace.open();
  const mounts = containerMounts(SETTINGS, { ...CONTAINER, directory });
  const path = await workspace.write("config", fileOf(mounts, "aws/config"));
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
    assert.equal(
      await started(directory),
      `<${directory}/aws/credentials><get>`,
    );
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
