import assert from "node:assert/strict";
import { CREDENTIAL_HELPER } from "../helper.ts";
import { SOURCE_KINDS, type SourceKind } from "../settings.ts";
import {
  explainSource,
  refuseOwnSource,
  sourceCredentials,
} from "../source.ts";
import { assertNoCanary, CANARY } from "../../../tests/support/canary.ts";
import {
  SourceBed,
  sourcePlatform,
} from "../../../tests/support/source_bed.ts";

const OWN_TOKEN = `moat.web-1.${"aB3-_".repeat(9).slice(0, 43)}`;
const CONTAINER = { container: { url: "http://127.0.0.1:1/x" } };
const REFUSED = { code: "source-is-moat" };

const tokenIn = (AWS_CONTAINER_AUTHORIZATION_TOKEN: string) => ({
  AWS_CONTAINER_AUTHORIZATION_TOKEN,
});

const OWN = [
  OWN_TOKEN,
  `Bearer ${OWN_TOKEN}`,
  `bearer ${OWN_TOKEN}`,
  `Basic x ${OWN_TOKEN}\n`,
  OWN_TOKEN.toUpperCase(),
];
const OTHER = ["", "other", "moat.x", "Bearer other", "moat. rest"];

for (const token of OWN) {
  const shown = JSON.stringify(token.replace(/(moat\.)\S*/i, "$1…"));
  Deno.test(`refuseOwnSource() refuses the token ${shown}`, async () => {
    await using bed = await SourceBed.open();
    const source = bed.source({ order: ["container"], ...CONTAINER });
    await assert.rejects(refuseOwnSource(source, tokenIn(token)), REFUSED);
  });

  Deno.test(`refuseOwnSource() refuses a file with the token ${shown}`, async () => {
    await using bed = await SourceBed.open();
    const tokenFile = await bed.workspace.write("token", token);
    const container = { ...CONTAINER.container, tokenFile };
    const source = bed.source({ order: ["container"], container });
    await assert.rejects(refuseOwnSource(source, {}), REFUSED);
  });
}

for (const token of OTHER) {
  Deno.test(`refuseOwnSource() takes the token "${token}"`, async () => {
    await using bed = await SourceBed.open();
    const tokenFile = await bed.workspace.write("t", token);
    const container = { ...CONTAINER.container, tokenFile };
    const source = bed.source({ order: ["container"], container });
    await refuseOwnSource(source, tokenIn(token));
  });
}

Deno.test("refuseOwnSource() refuses an address with our token", async () => {
  await using bed = await SourceBed.open();
  const url = `http://127.0.0.1:1/x?access_token=${OWN_TOKEN}`;
  const source = bed.source({ order: ["container"], container: { url } });
  await assert.rejects(refuseOwnSource(source, {}), REFUSED);
});

/** What a bound client knows of us. */
const BOUND = {
  MOAT_AWS_CREDENTIAL_URL: "http://127.0.0.1:19080/aws/process-credentials",
};

for (const kind of ["container", "instance"] as const) {
  const source = {
    order: [kind],
    container: { url: "http://127.0.0.1:19080/ecs/credentials" },
    instanceEndpoint: "http://127.0.0.1:19080/",
  };

  Deno.test(`refuseOwnSource() refuses our listener as ${kind}`, async () => {
    await using bed = await SourceBed.open();
    const refused = refuseOwnSource(bed.source(source), BOUND);
    await assert.rejects(refused, REFUSED);
  });

  Deno.test(`refuseOwnSource() takes another listener as ${kind}`, async () => {
    await using bed = await SourceBed.open();
    const other = { MOAT_AWS_CREDENTIAL_URL: "http://127.0.0.1:19081/x" };
    await refuseOwnSource(bed.source(source), other);
  });
}

const KEYS = { AWS_ACCESS_KEY_ID: "AKIA", AWS_SECRET_ACCESS_KEY: "x" };

Deno.test("refuseOwnSource() takes keys, which go before the container", async () => {
  await using bed = await SourceBed.open();
  const source = bed.source({ order: SOURCE_KINDS, ...CONTAINER });
  await refuseOwnSource(source, { ...KEYS, ...tokenIn(OWN_TOKEN) });
});

Deno.test("refuseOwnSource() refuses a container that goes before keys", async () => {
  await using bed = await SourceBed.open();
  const order: SourceKind[] = ["container", "environment"];
  const source = bed.source({ order, ...CONTAINER });
  const refused = refuseOwnSource(source, { ...KEYS, ...tokenIn(OWN_TOKEN) });
  await assert.rejects(refused, REFUSED);
});

Deno.test("refuseOwnSource() takes a profile's keys, which go before the container", async () => {
  await using bed = await SourceBed.open();
  await bed.config("[default]\nKEYS");
  const source = bed.source({ order: SOURCE_KINDS, ...CONTAINER });
  await refuseOwnSource(source, tokenIn(OWN_TOKEN));
});

Deno.test("refuseOwnSource() refuses a container behind a program that may fail", async () => {
  await using bed = await SourceBed.open();
  await bed.config("[default]\ncredential_process = /opt/tool");
  const source = bed.source({ order: SOURCE_KINDS, ...CONTAINER });
  const refused = refuseOwnSource(source, tokenIn(OWN_TOKEN));
  await assert.rejects(refused, REFUSED);
});

Deno.test("refuseOwnSource() takes a container that is not in the order", async () => {
  await using bed = await SourceBed.open();
  await refuseOwnSource(bed.source(CONTAINER), tokenIn(OWN_TOKEN));
});

Deno.test("refuseOwnSource() leaves a missing token file to others", async () => {
  await using bed = await SourceBed.open();
  const tokenFile = "/proc/nonexistent/token";
  const container = { ...CONTAINER.container, tokenFile };
  await refuseOwnSource(bed.source({ order: ["container"], container }), {});
});

const PROFILES = `
[profile container]
role_arn = arn:aws:iam::123456789012:role/X
credential_source = EcsContainer

[profile through]
role_arn = arn:aws:iam::123456789012:role/X
source_profile = container

[profile keys]
KEYS
`;

for (const profile of ["container", "through"]) {
  Deno.test(`refuseOwnSource() refuses profile ${profile} whose container is moat`, async () => {
    await using bed = await SourceBed.open();
    await bed.config(PROFILES);
    const source = bed.source({ profile, ...CONTAINER });
    await assert.rejects(
      refuseOwnSource(source, tokenIn(OWN_TOKEN)),
      REFUSED,
    );
  });
}

Deno.test("refuseOwnSource() takes a profile that does not use the container", async () => {
  await using bed = await SourceBed.open();
  await bed.config(PROFILES);
  const source = bed.source({ profile: "keys", ...CONTAINER });
  await refuseOwnSource(source, tokenIn(OWN_TOKEN));
});

const OWN_COMMANDS = [
  "moat credential-process aws",
  "/usr/local/bin/moat credential-process aws",
  "'/opt/my tools/moat' credential-process aws",
  '"/opt/moat" "credential-process" aws',
  "moat --log-level debug credential-process --binding dev",
  "env A=b moat credential-process aws",
  "sh -c 'moat credential-process aws'",
  "true; moat credential-process aws",
  "HOME/helper",
  "'HOME/helper'",
  "sh HOME/helper",
];
const OTHER_COMMANDS = [
  "aws_signing_helper credential-process --certificate c",
  "/opt/moat/tool credential-process",
  "moat-tool credential-process",
  "/opt/tool moat; other credential-process",
  "moat version",
  "HOME/tool",
  "/proc/nonexistent/helper",
];

for (
  const [isOwn, commands] of [[true, OWN_COMMANDS], [
    false,
    OTHER_COMMANDS,
  ]] as const
) {
  for (const command of commands) {
    Deno.test(`refuseOwnSource() ${isOwn ? "refuses" : "takes"} the program ${command}`, async () => {
      await using bed = await SourceBed.open();
      await bed.workspace.write("helper", CREDENTIAL_HELPER, 0o755);
      await bed.workspace.write("tool", "#!/bin/sh\necho moat\n", 0o755);
      await bed.config(`[default]\ncredential_process = ${command}`);
      const checked = refuseOwnSource(bed.source(), {});
      await (isOwn ? assert.rejects(checked, REFUSED) : checked);
    });
  }
}

Deno.test("sourceCredentials() refuses a container that is moat, and does not ask it", async () => {
  await using bed = await SourceBed.open();
  const container = { url: `${bed.mock.url}/container` };
  const hop = bed.hop({ order: ["container"], container });
  const refused = sourceCredentials(hop, sourcePlatform(tokenIn(OWN_TOKEN)));
  await assert.rejects(refused, REFUSED);
  assert.equal(bed.mock.requests.length, 0);
});

Deno.test("explainSource() says that a source is moat", async () => {
  await using bed = await SourceBed.open();
  const token = `${OWN_TOKEN}${CANARY}`;
  const hop = bed.hop({ order: ["container", "instance"], ...CONTAINER });
  const lines = await explainSource(hop, sourcePlatform(tokenIn(token)));
  assertNoCanary(JSON.stringify(lines));
  assert.match(lines[0]?.[1] ?? "", /^failed: .*moat handed them out$/);
  assert.equal(lines[1]?.[1], "not tried");
});
