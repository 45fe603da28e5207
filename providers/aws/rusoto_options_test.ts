/** The Rusoto rows of docs/aws-options.md: from the flags to the credentials. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { FlagValues } from "$core/provider.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { Workspace } from "../../tests/support/workspace.ts";
import { type Hop, planHops } from "./hops.ts";
import { readGrantFlags } from "./options/grant.ts";
import type { Credentials } from "./session.ts";
import { type Environment, sourceCredentials } from "./source.ts";

const ROLE = "arn:aws:iam::123456789012:role/Deploy";
const SECRET = "s".repeat(40);

/** No test may ask the real metadata service. */
const ENV = { HOME: "/proc/nonexistent", AWS_EC2_METADATA_DISABLED: "true" };
const KEYS = { AWS_ACCESS_KEY_ID: "AKIAENV", AWS_SECRET_ACCESS_KEY: SECRET };

async function hopsOf(
  flags: FlagValues,
  env: Environment,
): Promise<readonly Hop[]> {
  const { settings } = await readGrantFlags(
    { name: "aws", flags: { role: [ROLE], ...flags }, validate: false },
    { ...ENV, ...env },
  );
  const binding = { name: "run-a", grants: ["aws"] };
  return planHops(settings, binding);
}

/** What the source gives that flags and environment name. */
async function credentialsOf(
  flags: FlagValues,
  env: Environment,
): Promise<Credentials> {
  const [source] = await hopsOf(flags, env);
  assert.equal(source?.kind, "source");
  const set = new Set<string>();
  try {
    return await sourceCredentials(source, {
      ...fakePlatform({ env: { ...ENV, ...env } }),
      setVariable(name, value) {
        set.add(name);
        Deno.env.set(name, value);
      },
    });
  } finally {
    set.forEach((name) => Deno.env.delete(name));
  }
}

/** A local server that answers some paths, and all else with 404. */
async function serve(
  answers: Readonly<Record<string, string>>,
): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer((request, response) => {
    const answer = answers[request.url ?? ""];
    // The SDK would keep the connection, beyond the test.
    response.writeHead(answer ? 200 : 404, { connection: "close" });
    response.end(answer);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, "close");
    },
  };
}

function remote(accessKeyId: string): string {
  return JSON.stringify({
    Code: "Success",
    AccessKeyId: accessKeyId,
    SecretAccessKey: SECRET,
    Token: "t",
    Expiration: "2100-01-01T00:00:00Z",
  });
}

Deno.test("option: rusoto EnvironmentProvider", async () => {
  const { accessKeyId } = await credentialsOf(
    { source: ["environment"] },
    KEYS,
  );
  assert.equal(accessKeyId, "AKIAENV");
});

Deno.test("option: rusoto ProfileProvider", async () => {
  await using workspace = await Workspace.open();
  const file = await workspace.write(
    "credentials",
    `[dev]\naws_access_key_id = AKIADEV\naws_secret_access_key = ${SECRET}\n`,
  );
  const { accessKeyId } = await credentialsOf({ "aws-profile": "dev" }, {
    ...KEYS,
    AWS_SHARED_CREDENTIALS_FILE: file,
  });
  assert.equal(accessKeyId, "AKIADEV");
});

Deno.test("option: rusoto ContainerProvider", async () => {
  await using server = await serve({ "/creds": remote("ASIACONTAINER") });
  const { accessKeyId } = await credentialsOf({ source: ["container"] }, {
    ...KEYS,
    AWS_CONTAINER_CREDENTIALS_FULL_URI: `${server.url}/creds`,
  });
  assert.equal(accessKeyId, "ASIACONTAINER");
});

Deno.test("option: rusoto InstanceMetadataProvider", async () => {
  const list = "/latest/meta-data/iam/security-credentials/";
  await using server = await serve({
    "/latest/api/token": "token",
    [list]: "Instance",
    [`${list}Instance`]: remote("ASIAINSTANCE"),
  });
  const { accessKeyId } = await credentialsOf({ source: ["instance"] }, {
    ...KEYS,
    AWS_EC2_METADATA_DISABLED: "false",
    AWS_EC2_METADATA_SERVICE_ENDPOINT: server.url,
  });
  assert.equal(accessKeyId, "ASIAINSTANCE");
});

Deno.test("option: rusoto ChainProvider", async () => {
  await using server = await serve({ "/creds": remote("ASIACONTAINER") });
  const url = `${server.url}/creds`;
  const env = { AWS_CONTAINER_CREDENTIALS_FULL_URI: url };
  const found = [
    await credentialsOf({}, { ...env, ...KEYS }),
    await credentialsOf({}, env),
    await credentialsOf({ source: ["container", "environment"] }, {
      ...env,
      ...KEYS,
    }),
  ];
  assert.deepEqual(
    found.map(({ accessKeyId }) => accessKeyId),
    ["AKIAENV", "ASIACONTAINER", "ASIACONTAINER"],
  );
});

Deno.test("option: rusoto credential refreshing", async () => {
  const { expiresAt } = await credentialsOf({ source: ["environment"] }, KEYS);
  assert.equal(expiresAt - fakePlatform().clock.now(), 10 * 60_000);
});

Deno.test("option: rusoto ProvideAwsCredentials", async () => {
  await using workspace = await Workspace.open();
  const answer = JSON.stringify({
    Version: 1,
    AccessKeyId: "AKIAPROGRAM",
    SecretAccessKey: SECRET,
  });
  const program = await workspace.write(
    "program",
    `#!/bin/sh\necho '${answer}'\n`,
    0o755,
  );
  const file = await workspace.write(
    "config",
    `[profile dev]\ncredential_process = ${program}\n`,
  );
  const { accessKeyId } = await credentialsOf({ "aws-profile": "dev" }, {
    AWS_CONFIG_FILE: file,
    PATH: Deno.env.get("PATH") ?? "",
  });
  assert.equal(accessKeyId, "AKIAPROGRAM");
});

Deno.test("option: rusoto StsAssumeRoleSessionCredentialsProvider", async () => {
  const policy = '{"Statement":[]}';
  const hops = await hopsOf({
    "session-name": "default",
    "external-id": "id",
    "session-duration": "1h",
    "mfa-serial": "GAHT12345",
    policy,
  }, {});
  assert.deepEqual(
    [
      hops.map(({ kind }) => kind),
      { ...hops[2], sessionName: "default", externalId: "id", policy },
    ],
    [["source", "mfa", "assume-role"], hops[2]],
  );
});
