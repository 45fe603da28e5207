/**
 * Real SDKs in containers that know only the address of EC2's metadata
 * service: each gets the role that its own container names, from moat at the
 * real address, and an STS that is not ours says whose session it is.
 */

import assert from "node:assert/strict";
import { parseAnswer } from "../scripts/conformance/talk.ts";
import { stepUnless, testUnless } from "./support/conditional.ts";
import { bedReason, type Engine } from "./support/containers.ts";
import { ACCOUNT, ALLOWED, ImdsBed } from "./support/imds_bed.ts";
import {
  askContained,
  BOTO3,
  type ContainedClient,
} from "./support/imds_sdks.ts";
import { moatReason } from "./support/moat.ts";
import { motoReason } from "./support/moto.ts";
import { isThere } from "./support/run.ts";
import { sdkClientsReason } from "./support/sdk_clients.ts";

const installed = (path: string, name: string) =>
  isThere(path) ? undefined : `no ${name}`;

const PHP = installed("/usr/share/php/AsyncAws/Core", "php-async-aws-core");

/** Those that need nothing but an instance's metadata. */
const CLIENTS: readonly ContainedClient[] = [
  BOTO3,
  { name: "AWS CLI", language: "venv", program: "awscli" },
  { name: "SDK for C++ (pyarrow)", language: "python", program: "pyarrow" },
  {
    name: "SDK for Rust (deltalake)",
    language: "python",
    program: "deltalake",
  },
  { name: "Common Runtime", language: "python", program: "awscrt" },
  { name: "SDK for JavaScript 3", language: "node", program: "v3" },
  { name: "SDK for JavaScript 2", language: "node", program: "v2" },
  { name: "SDK for Go 2", language: "go", program: "v2" },
  { name: "SDK for Go 1", language: "go", program: "v1" },
  { name: "MinIO for Go", language: "go", program: "minio" },
  { name: "SDK for Java 2", language: "java", program: "v2" },
  { name: "SDK for Java 1", language: "java", program: "v1" },
  { name: "SDK for Ruby", language: "ruby", program: "sdk" },
  {
    ...{ name: "s3cmd", language: "debian", program: "s3cmd" },
    reason: installed("/usr/bin/s3cmd", "s3cmd"),
  },
];

/** Those that know version 1 alone. */
const V1_CLIENTS: readonly ContainedClient[] = [
  { name: "AsyncAws for PHP", language: "php", program: "async", reason: PHP },
];

/** Who is asked with which `moat.toml`. */
const MATRIX = [
  [ALLOWED, CLIENTS],
  [`${ALLOWED}v1 = true\n`, V1_CLIENTS],
] as const;

/** Fails unless a client gets the session of its container's role. */
async function assertClient(
  bed: ImdsBed,
  client: ContainedClient,
): Promise<void> {
  const env = { IAM_ROLE: "App" };
  await askContained(bed, client, env, async (name, line) => {
    const { accessKeyId } = parseAnswer(line);
    assert(accessKeyId, line);
    const { credentials } = await bed.clientIn(name).credentials();
    assert.equal(accessKeyId, credentials.AccessKeyId);
    const arn = await bed.whoIs(credentials);
    assert.ok(
      arn.startsWith(`arn:aws:sts::${ACCOUNT}:assumed-role/App/${name}-`),
      arn,
    );
  });
}

for (const engine of ["podman", "docker"] satisfies Engine[]) {
  const reason = moatReason() ?? motoReason() ?? bedReason(engine);

  testUnless(
    reason ?? await sdkClientsReason(),
    `${engine}: SDKs that know only EC2's address get their container's role`,
    async (t) => {
      await using bed = await ImdsBed.open(engine);
      for (const [config, clients] of MATRIX) {
        await using _moat = await bed.startProxy({ config });
        for (const client of clients) {
          const { name, reason } = client;
          await stepUnless(t, reason, name, () => assertClient(bed, client));
        }
      }
    },
  );
}
