/**
 * Real SDKs in containers that know only the address of EC2's metadata
 * service: each gets the role that its own container names, from moat at the
 * real address, and an STS that is not ours says whose session it is.
 */

import assert from "node:assert/strict";
import { CLIENTS } from "../scripts/conformance/clients.ts";
import { parseAnswer } from "../scripts/conformance/talk.ts";
import { stepUnless, testUnless } from "./support/conditional.ts";
import { bedReason, type Engine } from "./support/containers.ts";
import { ACCOUNT, ALLOWED, ImdsBed } from "./support/imds_bed.ts";
import { askContained, type ContainedClient } from "./support/imds_sdks.ts";
import { moatReason } from "./support/moat.ts";
import { motoReason } from "./support/moto.ts";
import { isThere } from "./support/run.ts";
import { sdkClientsReason } from "./support/sdk_clients.ts";

const installed = (path: string, name: string) =>
  isThere(path) ? undefined : `no ${name}`;

const PHP = installed("/usr/share/php/AsyncAws/Core", "php-async-aws-core");

/** Those of the conformance page that need no build and no further package. */
const HERE = CLIENTS.filter(({ language }) =>
  language !== "rust" && language !== "debian"
);

/** Those that know version 1 alone. */
const V1_CLIENTS: readonly ContainedClient[] = HERE
  .filter(({ language }) => language === "php")
  .map((client) => ({ ...client, reason: PHP }));

const V2_CLIENTS: readonly ContainedClient[] = [
  ...HERE.filter(({ language }) => language !== "php"),
  {
    ...{ name: "s3cmd", language: "debian", program: "s3cmd" },
    reason: installed("/usr/bin/s3cmd", "s3cmd"),
  },
];

/** Who is asked with which `moat.toml`. */
const MATRIX = [
  [ALLOWED, V2_CLIENTS],
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
