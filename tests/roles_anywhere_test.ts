/**
 * Roles Anywhere by command line: grants, and the command lines of
 * aws_signing_helper and needroleshere, with keys and certificates of openssl.
 */

import assert from "node:assert/strict";
import {
  joinFiles,
  KEY_KINDS,
  makeCertificate,
  noOpenssl,
  openssl,
  pkiPath,
} from "./support/anywhere_pki.ts";
import { CANARY } from "./support/canary.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { FastClock, fastClockReason } from "./support/fast_clock.ts";
import { moatReason } from "./support/moat.ts";
import {
  assertProcessOutput,
  type AwsTestOptions,
  CONTAINER,
  SimulatedAws,
  type SimulatedAwsOptions,
} from "./support/simulated_aws.ts";
import { assertRefused, type Refusal } from "./support/terminal.ts";

const DAY_MS = 86_400_000;
const ANY = "rolesanywhere:eu-central-1:123456789012";

/** A CA below another one: what most companies have. */
async function makeAuthorities(): Promise<void> {
  await makeCertificate("root", { isAuthority: true });
  await makeCertificate("issuing", { isAuthority: true, issuer: "root" });
}

/** A leaf of the lower CA, good for signing. */
async function makeLeaf(
  name: string,
  wish: Parameters<typeof makeCertificate>[1] = {},
): Promise<void> {
  await makeAuthorities();
  const usage = "digitalSignature";
  await makeCertificate(name, { issuer: "issuing", usage, ...wish });
}

/** A host that has no key, and the names that all command lines use. */
async function openHost(options: SimulatedAwsOptions): Promise<SimulatedAws> {
  await makeAuthorities();
  const aws = await SimulatedAws.open({ hasKey: false, ...options });
  Object.assign(aws.terminal.exported, {
    ANCHOR: `arn:aws:${ANY}:trust-anchor/a1b2`,
    PROFILE: `arn:aws:${ANY}:profile/c3d4`,
    SIMULATOR: aws.url,
    PKI: pkiPath(""),
  });
  return aws;
}

function test(
  name: string,
  fn: (aws: SimulatedAws) => Promise<void>,
  { reason, ...options }: AwsTestOptions = {},
): void {
  testUnless(moatReason() ?? noOpenssl ?? reason, name, async () => {
    await using aws = await openHost(options);
    await fn(aws);
  });
}

/** Its steps share a host, because starting one takes longer than they do. */
function table<Row>(
  name: string,
  rows: Readonly<Record<string, Row>>,
  fn: (aws: SimulatedAws, row: Row) => Promise<void>,
): void {
  testUnless(moatReason() ?? noOpenssl, name, async (t) => {
    await using aws = await openHost({});
    for (const [step, row] of Object.entries(rows)) {
      await t.step(step, () => fn(aws, row));
    }
  });
}

/** Flags that every command line has; the rest is in the rows. */
const ARNS =
  "--trust-anchor-arn $ANCHOR --profile-arn $PROFILE --endpoint $SIMULATOR";

const PROCESS = `moat credential-process ${ARNS} --role-arn $ROLE`;
const GRANT = `moat grant aws ${ARNS} --role $ROLE`;

/** Command lines of the other tools, with the simulator as their endpoint. */
const TOOLS: Readonly<Record<string, string>> = {
  "aws_signing_helper": `aws_signing_helper credential-process \
--certificate $PKI/leaf.crt --intermediates $PKI/issuing.crt \
--private-key $PKI/leaf.key --profile-arn $PROFILE \
--trust-anchor-arn $ANCHOR --role-arn $ROLE --endpoint $SIMULATOR`,
  "aws_signing_helper with all that it takes": `aws_signing_helper \
credential-process --endpoint=$SIMULATOR --region=eu-central-1 \
--session-duration=900 --role-session-name=mine --with-proxy --debug \
--certificate=$PKI/leaf.crt --intermediates=$PKI/issuing.crt \
--private-key=$PKI/leaf.key --profile-arn=$PROFILE \
--trust-anchor-arn=$ANCHOR --role-arn=$ROLE`,
  "needroleshere": `needroleshere credential-process \
--private-key $PKI/leaf.key --certificate $PKI/chain.pem \
--role-arn $ROLE --profile-arn $PROFILE --trust-anchor-arn $ANCHOR \
--region eu-central-1 --session-duration 3600 --endpoint $SIMULATOR`,
};

for (const [name, line] of Object.entries(TOOLS)) {
  test(`a command line of ${name} works with moat's name in it`, async (aws) => {
    await makeLeaf("leaf");
    await joinFiles("chain.pem", "leaf.crt", "issuing.crt");
    const ours = line.replace(/^\w+/, "moat");
    const found = assertProcessOutput(await aws.type(ours));
    const session = line.includes("=mine") ? /\/Deploy\/mine$/ : /\/Deploy\//;
    assert.match(await aws.whoIs(found), session);
    const life = Date.parse(found.Expiration) - Date.now();
    const seconds = line.includes("=900") ? 900 : 3600;
    assert.ok(Math.abs(life / 1000 - seconds) < 60, `${life} ms`);
  });
}

for (const kind of KEY_KINDS) {
  test(`a grant with a ${kind} key gives sessions`, async (aws) => {
    const name = `leaf-${kind}`;
    await makeLeaf(name, { kind, serial: "0x7f01" });
    await aws.do(
      `${GRANT} --certificate $PKI/${name}.crt --private-key $PKI/${name}.key --intermediates $PKI/issuing.crt`,
    );
    const found = await aws.json("moat credential-process aws");
    // The service names the session after the certificate's serial number.
    assert.match(await aws.whoIs(found), /assumed-role\/Deploy\/0*7f01$/i);
  });
}

/** How openssl writes the key of `leaf`, or of `rsa`. */
const FORMS: Readonly<
  Record<string, { key: string; args: string; flags?: string }>
> = {
  "SEC1": { key: "leaf", args: "ec -in leaf.key -out form.pem" },
  "PKCS#1": { key: "rsa", args: "rsa -in rsa.key -traditional -out form.pem" },
  "PKCS#8 in DER": {
    key: "leaf",
    args: "pkcs8 -topk8 -nocrypt -in leaf.key -outform DER -out form.pem",
  },
  "PKCS#8 that is encrypted": {
    key: "leaf",
    args: `pkcs8 -topk8 -in leaf.key -passout pass:${CANARY} -out form.pem`,
    flags: "--passphrase-file passphrase",
  },
  "PKCS#8 that is encrypted with scrypt": {
    key: "rsa",
    args:
      `pkcs8 -topk8 -scrypt -in rsa.key -passout pass:${CANARY} -out form.pem`,
    flags: "--passphrase-file passphrase",
  },
};

for (const [name, { key, args, flags = "" }] of Object.entries(FORMS)) {
  test(`moat credential-process reads a key in ${name}`, async (aws) => {
    await makeLeaf(key, key === "rsa" ? { kind: "RSA-2048" } : {});
    await openssl(...args.split(" "));
    await aws.workspace.write("passphrase", CANARY + "\n");
    assertProcessOutput(
      await aws.type(
        `${PROCESS} --certificate $PKI/${key}.crt --intermediates $PKI/issuing.crt --private-key $PKI/form.pem ${flags}`,
      ),
    );
  }, { flags: `--trust-anchor ${pkiPath("root.crt")}` });
}

const CHAINS: Readonly<Record<string, readonly string[]>> = {
  "from the leaf up": ["leaf.crt", "issuing.crt", "root.crt"],
  "from the root down": ["root.crt", "issuing.crt", "leaf.crt"],
  "in no order": ["issuing.crt", "leaf.crt", "root.crt"],
  "with a stranger": ["other.crt", "issuing.crt", "leaf.crt"],
};

for (const [name, parts] of Object.entries(CHAINS)) {
  test(`one file has certificates ${name}`, async (aws) => {
    await makeLeaf("leaf");
    await makeLeaf("other");
    await joinFiles("parts.pem", ...parts);
    await aws.do(
      `${GRANT} --certificate $PKI/parts.pem --private-key $PKI/leaf.key`,
    );
    assert.deepEqual(await aws.calls(), { CreateSession: 1 });
  });
}

test("PKCS#12 holds certificate, chain and key", async (aws) => {
  await makeLeaf("leaf");
  await openssl(
    ...["pkcs12", "-export", "-in", "leaf.crt", "-inkey", "leaf.key"],
    ...["-certfile", "issuing.crt", "-passout", `pass:${CANARY}`],
    ...["-out", "leaf.p12"],
  );
  await aws.workspace.write("passphrase", CANARY);
  await aws.do(
    `${GRANT} --certificate $PKI/leaf.p12 --passphrase-file passphrase`,
  );
  assert.deepEqual(await aws.calls(), { CreateSession: 1 });
});

/** What is wrong on this host; no call is made to find it out. */
const LOCAL_FAULTS: Readonly<
  Record<string, {
    readonly code: string;
    readonly message: RegExp;
    readonly hint: RegExp;
    readonly prepare: () => Promise<unknown>;
    readonly flags: string;
  }>
> = {
  "an expired certificate": {
    code: "certificate-expired",
    message: /CN=old/,
    hint: /renew|new certificate/,
    prepare: () =>
      makeLeaf("old", {
        valid: [Date.now() - 9 * DAY_MS, Date.now() - DAY_MS],
      }),
    flags:
      "--certificate $PKI/old.crt --private-key $PKI/old.key --intermediates $PKI/issuing.crt",
  },
  "a certificate of tomorrow": {
    code: "certificate-not-yet-valid",
    message: /CN=new/,
    hint: /clock/,
    prepare: () =>
      makeLeaf("new", {
        valid: [Date.now() + DAY_MS, Date.now() + 9 * DAY_MS],
      }),
    flags:
      "--certificate $PKI/new.crt --private-key $PKI/new.key --intermediates $PKI/issuing.crt",
  },
  "a key of another certificate": {
    code: "key-mismatch",
    message: /other\.key": none of the 2 certificates/,
    hint: /openssl pkey -pubout/,
    prepare: async () => {
      await makeLeaf("leaf");
      await makeLeaf("other");
    },
    flags:
      "--certificate $PKI/leaf.crt --private-key $PKI/other.key --intermediates $PKI/issuing.crt",
  },
  "an expired CA": {
    code: "certificate-expired",
    message: /CN=old-ca/,
    hint: /renew|new certificate/,
    prepare: async () => {
      await makeAuthorities();
      const valid = [Date.now() - 9 * DAY_MS, Date.now() - DAY_MS] as const;
      await makeCertificate("old-ca", {
        isAuthority: true,
        issuer: "root",
        valid,
      });
      await makeLeaf("of-old", { issuer: "old-ca" });
    },
    flags:
      "--certificate $PKI/of-old.crt --private-key $PKI/of-old.key --intermediates $PKI/old-ca.crt",
  },
  "a missing intermediate": {
    code: "chain-incomplete",
    message: /CN=far": wanted the certificate of its issuer/,
    hint: /--intermediates/,
    prepare: async () => {
      await makeAuthorities();
      await makeCertificate("deep", { isAuthority: true, issuer: "issuing" });
      await makeLeaf("far", { issuer: "deep" });
      // The root is there, what leads to it is not.
      await joinFiles("gap.pem", "far.crt", "root.crt");
    },
    flags: "--certificate $PKI/gap.pem --private-key $PKI/far.key",
  },
  "a certificate that is not there": {
    code: "certificate-unreadable",
    message: /gone\.crt/,
    hint: /./,
    prepare: () => makeLeaf("leaf"),
    flags:
      "--certificate $PKI/gone.crt --private-key $PKI/leaf.key --intermediates $PKI/issuing.crt",
  },
  "a key that is not there": {
    code: "key-unreadable",
    message: /gone\.key/,
    hint: /./,
    prepare: () => makeLeaf("leaf"),
    flags:
      "--certificate $PKI/leaf.crt --private-key $PKI/gone.key --intermediates $PKI/issuing.crt",
  },
  "a wrong passphrase": {
    code: "key-encrypted",
    message: /locked\.pem/,
    hint: /passphrase/,
    prepare: async () => {
      await makeLeaf("leaf");
      await openssl(
        ...["pkcs8", "-topk8", "-in", "leaf.key", "-out", "locked.pem"],
        ...["-passout", `pass:${CANARY}`],
      );
    },
    flags:
      "--certificate $PKI/leaf.crt --private-key $PKI/locked.pem --passphrase-file wrong --intermediates $PKI/issuing.crt",
  },
  "a key in the old encrypted form": {
    code: "key-encrypted",
    message: /legacy\.pem/,
    hint: /openssl pkcs8 -topk8/,
    prepare: async () => {
      await makeLeaf("leaf");
      await openssl(
        ...["ec", "-in", "leaf.key", "-aes128", "-out", "legacy.pem"],
        ...["-passout", `pass:${CANARY}`],
      );
    },
    flags:
      "--certificate $PKI/leaf.crt --private-key $PKI/legacy.pem --intermediates $PKI/issuing.crt",
  },
};

table(
  "moat grant aws tells before any call of",
  LOCAL_FAULTS,
  async (aws, fault) => {
    await fault.prepare();
    await aws.workspace.write("wrong", "not the passphrase");
    const found = await aws.failure(`${GRANT} ${fault.flags}`);
    assert.equal(found["code"], fault.code, found["message"]);
    assert.match(found["message"] ?? "", fault.message);
    assert.match(found["hint"] ?? "", fault.hint);
    assert.deepEqual(await aws.calls(), {});
  },
);

/** Usage, which no file and no service has to be asked about. */
const USAGE: Readonly<Record<string, Refusal & { readonly line: string }>> = {
  "an encrypted key without its passphrase": {
    line: `${PROCESS} --certificate $PKI/leaf.crt --private-key locked.pem`,
    error: /locked\.pem": it is encrypted/,
    hint: /--passphrase-file FILE/,
  },
  "a region that is not the anchor's": {
    line:
      `moat credential-process --trust-anchor-arn $ANCHOR --profile-arn $PROFILE --role-arn $ROLE --certificate a --private-key b --region us-east-1`,
    error: /trust anchor is in the region "eu-central-1"/,
    hint: /leave --region out/,
  },
  "a duration of a minute": {
    line: `${PROCESS} --certificate a --private-key b --session-duration 60`,
    error: /60/,
    hint: /15m to 12h/,
  },
  "a PKCS#11 key": {
    line: `${PROCESS} --certificate a --private-key pkcs11:token=x`,
    error: /no PKCS#11 tokens/,
    hint: /aws_signing_helper/,
  },
  "--no-verify-ssl": {
    line: `${PROCESS} --certificate a --private-key b --no-verify-ssl`,
    error: /always checks/,
    hint: /AWS_CA_BUNDLE/,
  },
};

table(
  "moat credential-process with a certificate refuses",
  USAGE,
  async (aws, { line, ...refusal }) => {
    await makeLeaf("leaf");
    await aws.workspace.write(
      "locked.pem",
      "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    assertRefused(await aws.type(line), { exit: 2, ...refusal });
    assert.deepEqual(await aws.calls(), {});
  },
);

test(
  "a CA that the service does not trust is told of as such",
  async (aws) => {
    await makeLeaf("leaf");
    await makeCertificate("foreign-root", { isAuthority: true });
    await makeLeaf("foreign", { issuer: "foreign-root" });
    const { code } = await aws.failure(
      `${GRANT} --certificate $PKI/foreign.crt --private-key $PKI/foreign.key`,
    );
    assert.equal(code, "anywhere-rejected");
    assert.deepEqual(await aws.calls(), { CreateSession: 1 });
  },
  { flags: `--trust-anchor ${pkiPath("root.crt")}` },
);

test("one-shot calls with flags share the proxy's session", async (aws) => {
  await makeLeaf("leaf");
  await openssl(
    ...["pkcs8", "-topk8", "-in", "leaf.key", "-out", "shared.pem"],
    ...["-passout", `pass:${CANARY}`],
  );
  await aws.workspace.write("passphrase", CANARY);
  await aws.startProxy();
  const line =
    `${PROCESS} --certificate $PKI/leaf.crt --intermediates $PKI/issuing.crt --private-key $PKI/shared.pem`;
  const found = await Promise.all(
    Array.from({ length: 8 }, async () => {
      const { AccessKeyId } = await aws.json(
        `${line} --passphrase-file passphrase`,
      );
      return AccessKeyId;
    }),
  );
  assert.equal(new Set(found).size, 1);
  assert.deepEqual(await aws.calls(), { CreateSession: 1 });
});

/** Puts a certificate and its key where a grant has them. */
async function install(aws: SimulatedAws, name: string): Promise<void> {
  for (const kind of ["key", "crt"]) {
    const file = `identity.${kind}`;
    const text = await Deno.readTextFile(pkiPath(`${name}.${kind}`));
    await aws.workspace.write(`${file}.new`, text);
    await Deno.rename(
      aws.workspace.path(`${file}.new`),
      aws.workspace.path(file),
    );
  }
}

const INSTALLED =
  "--certificate identity.crt --private-key identity.key --intermediates $PKI/issuing.crt";

test("moat run has a session of the certificate", async (aws) => {
  await makeLeaf("leaf");
  await install(aws, "leaf");
  await aws.do(`${GRANT} ${INSTALLED}`);
  await aws.do("mkdir elsewhere");
  const found = await aws.json(
    `cd elsewhere; moat run --grant aws -- sh -c '"\${AWS_CONFIG_FILE%/config}/credentials"'`,
  );
  assert.match(await aws.whoIs(found), /assumed-role\/Deploy\//);
});

test("a renewed certificate makes a run work, without a restart", async (aws) => {
  await makeLeaf("stale", {
    valid: [Date.now() - 9 * DAY_MS, Date.now() - DAY_MS],
  });
  await makeLeaf("leaf");
  await install(aws, "stale");
  await aws.do(`${GRANT} ${INSTALLED} --no-validate`);
  await aws.startProxy();
  const run = await aws.startRun();
  const { status, body } = await run.ask(CONTAINER);
  assert.deepEqual([status, JSON.parse(body).code], [
    502,
    "certificate-expired",
  ]);
  assert.deepEqual(await aws.calls(), {});
  await install(aws, "leaf");
  await eventually(
    "a session",
    async () => (await run.ask(CONTAINER)).status === 200,
  );
});

const clock = new FastClock(60);

test(
  "a renewed certificate counts while the old one's session is valid",
  async (aws) => {
    await makeLeaf("first", { serial: "0xa1" });
    await makeLeaf("second", { serial: "0xb2" });
    await install(aws, "first");
    await aws.do(`${GRANT} ${INSTALLED} --session-duration 12h`);
    await aws.startProxy();
    const run = await aws.startRun();
    const first = await run.credentials();
    assert.match(await aws.whoIs(first), /\/0*a1$/i);
    await install(aws, "second");
    const second = await eventually("another session", async () => {
      const found = await run.credentials();
      return found.AccessKeyId === first.AccessKeyId ? undefined : found;
    });
    assert.match(await aws.whoIs(second), /\/0*b2$/i);
  },
  {
    reason: fastClockReason(),
    prefix: clock.wrap([]),
  },
);

/** An expiry, and who must hear of it. */
const EXPIRIES: readonly {
  days: number;
  isLogged: boolean;
  isTold: boolean;
}[] = [
  { days: 40, isLogged: false, isTold: false },
  { days: 20, isLogged: true, isTold: false },
  { days: 0.5, isLogged: true, isTold: true },
];

for (const { days, isLogged, isTold } of EXPIRIES) {
  test(`a certificate of ${days} days: log ${isLogged}, run ${isTold}`, async (aws) => {
    const end = Math.floor((Date.now() + days * DAY_MS) / 1000) * 1000;
    const name = `ends-${days}`;
    // What ends first counts, so that no CA may end before it.
    await makeCertificate("lasting", { isAuthority: true, days: 99 });
    await makeLeaf(name, {
      issuer: "lasting",
      valid: [Date.now() - 3 * DAY_MS, end],
    });
    await install(aws, name);
    await aws.do(
      `${GRANT} --certificate identity.crt --private-key identity.key`,
    );
    await aws.startProxy("--metrics 127.0.0.1:0");
    const expiresAt = new Date(end).toISOString();
    const { expiries } = await eventually("status", async () => {
      const status = await aws.json("moat status --json");
      return status.expiries.length > 0 && status;
    });
    assert.deepEqual(expiries, [{
      grant: "aws",
      what: "certificate",
      expiresAt,
      hint: `renew ${aws.workspace.path("identity.crt")}; no restart is needed`,
    }]);
    assert.match(
      await aws.do("moat status"),
      new RegExp(`^ *ends +${expiresAt}  certificate of aws; renew `, "m"),
    );
    assert.deepEqual(await aws.metric("credential_expiry_timestamp_seconds"), {
      'grant="aws",what="certificate"': end / 1000,
    });
    const warned = aws.logged("credential-expires-soon");
    assert.deepEqual(
      warned.map((entry) => [entry["level"], entry["expiresAt"]]),
      isLogged ? [["warn", expiresAt]] : [],
    );
    const { stderr } = await aws.type("moat run --grant aws -- sleep 0.1");
    assert.equal(
      stderr,
      isTold
        ? `warning: The certificate of grant "aws" ends at ${expiresAt}; renew ${
          aws.workspace.path("identity.crt")
        }; no restart is needed\n`
        : "",
    );
  });
}

test("moat grant show --explain tells of the certificate", async (aws) => {
  await makeLeaf("leaf");
  await install(aws, "leaf");
  await aws.do(`${GRANT} ${INSTALLED} --no-validate`);
  const text = await aws.do("moat grant show aws --explain");
  for (
    const line of [
      /^ *certificate +CN=leaf$/m,
      /^ *serial +\d+$/m,
      /^ *expires +20\d\d-.*Z$/m,
      /^ *chain +1 certificates?$/m,
    ]
  ) assert.match(text, line);
  assert.deepEqual(await aws.calls(), {});
});

/** What the service does wrong, and the code for it. */
const SERVICE_FAULTS: Readonly<
  Record<string, { readonly kind: string; readonly wanted: string }>
> = {
  "500": { kind: "500", wanted: "sts-unavailable" },
  "503": { kind: "503", wanted: "sts-unavailable" },
  "throttling": { kind: "throttle", wanted: "sts-throttled" },
  "no JSON": { kind: "garbage", wanted: "sts-garbage" },
  "nothing": { kind: "empty", wanted: "sts-garbage" },
  "no answer": { kind: "reset", wanted: "sts-unreachable" },
  "a session that has ended": { kind: "expired", wanted: "sts-garbage" },
};

table(
  "moat grant aws tells of a Roles Anywhere that answers",
  SERVICE_FAULTS,
  async (aws, { kind, wanted }) => {
    await makeLeaf("leaf");
    await install(aws, "leaf");
    await aws.fault({ kind, action: "CreateSession" });
    const { code, message = "" } = await aws.failure(`${GRANT} ${INSTALLED}`);
    assert.equal(code, wanted, message);
    assert.match(message, /Roles Anywhere|http:\/\/127/);
  },
);
