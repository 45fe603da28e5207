import assert from "node:assert/strict";
import { resolve } from "node:path";
import * as fc from "fast-check";
import { parseArguments } from "$core/cli/parse.ts";
import type { Command } from "$core/cli/command.ts";
import { MoatError } from "$core/errors.ts";
import type { FlagValues } from "$core/provider.ts";
import { assertNoCanary, CANARY } from "../../../tests/support/canary.ts";
import { Workspace } from "../../../tests/support/workspace.ts";
import { readCredentialProcessFlags } from "./credential_process.ts";
import { CREDENTIAL_PROCESS_FLAGS } from "./credential_process_flags.ts";
import type { GrantInput } from "./grant.ts";
import { readSettings, writeSettings } from "../settings.ts";

const ROLE = "arn:aws:iam::123456789012:role/path/Deploy";
const ANCHOR =
  "arn:aws:rolesanywhere:eu-central-1:123456789012:trust-anchor/0a1b";
const PROFILE = "arn:aws:rolesanywhere:eu-central-1:123456789012:profile/2c3d";

/** What the READMEs of both tools show. */
const LINE: Readonly<Record<string, string>> = {
  "--certificate": "/c.pem",
  "--private-key": "/k.pem",
  "--trust-anchor-arn": ANCHOR,
  "--profile-arn": PROFILE,
  "--role-arn": ROLE,
};

const COMMAND = { name: "credential-process", usage: "" } as Command;

/** Reads a command line as `moat credential-process` does. */
async function run(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<GrantInput> {
  const { flags, operands } = parseArguments(
    COMMAND,
    CREDENTIAL_PROCESS_FLAGS,
    argv,
  );
  assert.deepEqual(operands, []);
  return await readCredentialProcessFlags(flags, {
    HOME: "/proc/nonexistent",
    ...env,
  });
}

/** The command line with some flags changed; null leaves one out. */
function line(
  change: Readonly<Record<string, string | null>> = {},
): string[] {
  return Object.entries({ ...LINE, ...change }).flatMap(([flag, value]) =>
    value === null ? [] : [flag, value]
  );
}

async function failure(argv: readonly string[]): Promise<MoatError> {
  const error = await run(argv).then(() => undefined, (e) => e);
  assert.ok(error instanceof MoatError, "it was accepted");
  assert.equal(error.code, "usage");
  return error;
}

/** Of `aws_signing_helper credential-process --help`, version 1.8. */
const HELPER = [
  ...["role-arn", "profile-arn", "trust-anchor-arn", "session-duration"],
  ...["region", "endpoint", "no-verify-ssl", "with-proxy", "debug"],
  ...["certificate", "private-key", "intermediates", "cert-selector"],
  ...["system-store-name", "use-latest-expiring-certificate", "pkcs11-lib"],
  ...["reuse-pin", "tpm-key-password", "no-tpm-key-password"],
  ...["role-session-name", "pkcs8-password"],
];

Deno.test("CREDENTIAL_PROCESS_FLAGS has every flag of aws_signing_helper", () => {
  const names = CREDENTIAL_PROCESS_FLAGS.map(({ name }) => name);
  assert.deepEqual(HELPER.filter((name) => !names.includes(name)), []);
});

Deno.test("CREDENTIAL_PROCESS_FLAGS has no name twice", () => {
  const names = CREDENTIAL_PROCESS_FLAGS.map(({ name }) => name);
  assert.deepEqual(names, [...new Set(names)]);
});

Deno.test("CREDENTIAL_PROCESS_FLAGS holds data alone", () => {
  const copy = structuredClone(CREDENTIAL_PROCESS_FLAGS);
  assert.deepEqual(copy, CREDENTIAL_PROCESS_FLAGS);
});

Deno.test("readCredentialProcessFlags() reads what both tools document", async () => {
  assert.deepEqual(await run(line()), {
    settings: {
      roles: [ROLE],
      region: "eu-central-1",
      durationSeconds: 3600,
      anywhere: {
        trustAnchorArn: ANCHOR,
        profileArn: PROFILE,
        certificates: ["/c.pem"],
        privateKey: "/k.pem",
        region: "eu-central-1",
      },
      source: (await run(line())).settings.source,
    },
  });
});

Deno.test("readCredentialProcessFlags() takes --flag=value", async () => {
  const argv = Object.entries(LINE).map(([flag, value]) => `${flag}=${value}`);
  assert.deepEqual(await run(argv), await run(line()));
});

Deno.test("readCredentialProcessFlags() trusts AWS_CA_BUNDLE", async () => {
  const { settings } = await run(line(), { AWS_CA_BUNDLE: "ca.pem" });
  assert.equal(settings.caBundle, resolve("ca.pem"));
});

Deno.test("readCredentialProcessFlags() needs no valid STS endpoint", async () => {
  const { settings } = await run(line(), { AWS_ENDPOINT_URL_STS: "nonsense" });
  assert.equal(settings.stsEndpoint, undefined);
});

Deno.test("readCredentialProcessFlags() names all flags that are missing", async () => {
  assert.match(
    (await failure(["--debug"])).message,
    /: --role-arn, --trust-anchor-arn, --profile-arn, --certificate are missing/,
  );
});

for (const seconds of ["900", "43200"]) {
  Deno.test(`readCredentialProcessFlags() takes --session-duration ${seconds}`, async () => {
    const { settings } = await run(line({ "--session-duration": seconds }));
    assert.equal(settings.durationSeconds, Number(seconds));
  });
}
for (const seconds of ["899", "43201", "0xe10", "x"]) {
  Deno.test(`readCredentialProcessFlags() refuses --session-duration ${seconds}`, async () => {
    const { message } = await failure(line({ "--session-duration": seconds }));
    assert.match(message, /session duration/);
  });
}

for (const name of ["a", "a".repeat(65), "{binding}", "a b"]) {
  Deno.test(`readCredentialProcessFlags() refuses --role-session-name ${name}`, async () => {
    const { message } = await failure(line({ "--role-session-name": name }));
    assert.match(message, /2 to 64/);
  });
}

Deno.test("readCredentialProcessFlags() wants no key beside PKCS#12", async () => {
  const argv = line({ "--certificate": "/id.p12", "--private-key": null });
  const { settings, passphrase } = await run(argv);
  assert.deepEqual(
    [settings.anywhere?.privateKey, passphrase],
    [undefined, undefined],
  );
});

Deno.test("readCredentialProcessFlags() refuses an encrypted key without passphrase", async () => {
  await using workspace = await Workspace.open();
  const key = await workspace.write(
    "k.pem",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
  );
  const { hint } = await failure(line({ "--private-key": key }));
  assert.match(String(hint), /--passphrase-file/);
});

Deno.test("readCredentialProcessFlags() refuses two passphrases", async () => {
  const flags = { "--pkcs8-password": CANARY, "--passphrase-file": "/p" };
  const { message, hint } = await failure(line(flags));
  assertNoCanary(message, String(hint));
});

Deno.test("readCredentialProcessFlags() puts no passphrase into the settings", async () => {
  const { settings } = await run(line({ "--pkcs8-password": CANARY }));
  assertNoCanary(JSON.stringify(settings));
});

Deno.test("readCredentialProcessFlags() gives settings or a usage error, whatever the flags", async () => {
  const value = (name: string) =>
    fc.oneof(
      fc.constant(LINE[`--${name}`] ?? "3600"),
      fc.string({ unit: "binary" }),
    );
  const flags = fc.record(
    Object.fromEntries(CREDENTIAL_PROCESS_FLAGS.map((flag) => [
      flag.name,
      flag.value === undefined
        ? fc.constant(true)
        : flag.repeatable
        ? fc.array(value(flag.name), { minLength: 1, maxLength: 3 })
        : value(flag.name),
    ])),
    { requiredKeys: [] },
  ) as fc.Arbitrary<FlagValues>;
  const refused = ["no-verify-ssl", "cert-selector", "system-store-name"]
    .concat(
      ["use-latest-expiring-certificate", "pkcs11-lib", "reuse-pin"],
      ["tpm-key-password", "no-tpm-key-password"],
    );
  await fc.assert(
    fc.asyncProperty(flags, fc.boolean(), async (flags, clean) => {
      const kept = Object.fromEntries(
        Object.entries(flags).filter(([name]) =>
          !clean || !refused.includes(name)
        ),
      );
      try {
        const { settings } = await readCredentialProcessFlags(kept, {});
        const stored = writeSettings(settings);
        assert.deepEqual(
          readSettings({
            provider: "aws",
            name: "aws",
            createdAt: 0,
            settings: stored,
          }),
          settings,
        );
      } catch (error) {
        assert.ok(error instanceof MoatError, String(error));
        assert.equal(error.code, "usage");
      }
    }),
    { numRuns: 300 },
  );
});

// Rows of docs/aws-options.md.

type Settings = GrantInput["settings"];

const ROWS: {
  name: string;
  argv: string[];
  found: (settings: Settings) => unknown;
  wanted: unknown;
}[] = [
  {
    name: "option: aws_signing_helper --role-arn",
    argv: line(),
    found: ({ roles }) => roles,
    wanted: [ROLE],
  },
  {
    name: "option: aws_signing_helper --profile-arn",
    argv: line(),
    found: ({ anywhere }) => anywhere?.profileArn,
    wanted: PROFILE,
  },
  {
    name: "option: aws_signing_helper --trust-anchor-arn",
    argv: line(),
    found: ({ anywhere }) => anywhere?.trustAnchorArn,
    wanted: ANCHOR,
  },
  {
    name: "option: aws_signing_helper --session-duration",
    argv: line(),
    found: ({ durationSeconds }) => durationSeconds,
    wanted: 3600,
  },
  {
    name: "option: aws_signing_helper --region",
    argv: line(),
    found: ({ anywhere }) => anywhere?.region,
    wanted: "eu-central-1",
  },
  {
    name: "option: aws_signing_helper --endpoint",
    argv: line({
      "--endpoint": "https://127.0.0.1:8443",
      "--region": "us-east-2",
    }),
    found: ({ anywhere }) => [anywhere?.endpoint, anywhere?.region],
    wanted: ["https://127.0.0.1:8443", "us-east-2"],
  },
  {
    name: "option: aws_signing_helper --certificate",
    argv: line({ "--private-key": null }),
    found: ({ anywhere }) => [anywhere?.certificates, anywhere?.privateKey],
    wanted: [["/c.pem"], "/c.pem"],
  },
  {
    name: "option: aws_signing_helper --private-key",
    argv: line({ "--private-key": "k.pem" }),
    found: ({ anywhere }) => anywhere?.privateKey,
    wanted: resolve("k.pem"),
  },
  {
    name: "option: aws_signing_helper --intermediates",
    argv: line({ "--intermediates": "i.pem" }),
    found: ({ anywhere }) => anywhere?.intermediates,
    wanted: [resolve("i.pem")],
  },
  {
    name: "option: aws_signing_helper --role-session-name",
    argv: line({ "--role-session-name": "ana@example.com" }),
    found: ({ sessionName }) => sessionName,
    wanted: "ana@example.com",
  },
  {
    name: "option: aws_signing_helper --with-proxy",
    argv: [...line(), "--with-proxy"],
    found: ({ roles }) => roles,
    wanted: [ROLE],
  },
  {
    name: "option: aws_signing_helper --debug",
    argv: [...line(), "--debug"],
    found: ({ roles }) => roles,
    wanted: [ROLE],
  },
  {
    name: "option: needroleshere credential-process --certificate",
    argv: line({ "--certificate": "fullchain.pem" }),
    found: ({ anywhere }) => anywhere?.certificates,
    wanted: [resolve("fullchain.pem")],
  },
  {
    name: "option: needroleshere credential-process --private-key",
    argv: line(),
    found: ({ anywhere }) => anywhere?.privateKey,
    wanted: "/k.pem",
  },
  {
    name: "option: needroleshere credential-process --profile-arn",
    argv: line(),
    found: ({ anywhere }) => anywhere?.profileArn,
    wanted: PROFILE,
  },
  {
    name: "option: needroleshere credential-process --trust-anchor-arn",
    argv: line(),
    found: ({ anywhere }) => anywhere?.trustAnchorArn,
    wanted: ANCHOR,
  },
  {
    name: "option: needroleshere credential-process --role-arn",
    argv: line(),
    found: ({ roles }) => roles,
    wanted: [ROLE],
  },
  {
    name: "option: needroleshere credential-process --region",
    argv: line({ "--region": "eu-central-1" }),
    found: ({ anywhere }) => anywhere?.region,
    wanted: "eu-central-1",
  },
  {
    name: "option: needroleshere credential-process --session-duration",
    argv: line({ "--session-duration": "900" }),
    found: ({ durationSeconds }) => durationSeconds,
    wanted: 900,
  },
  {
    name: "option: needroleshere credential-process --intermediates",
    argv: [...line(), "--intermediates", "/a", "--intermediates", "/b"],
    found: ({ anywhere }) => anywhere?.intermediates,
    wanted: ["/a", "/b"],
  },
];
for (const { name, argv, found, wanted } of ROWS) {
  Deno.test(name, async () => {
    assert.deepEqual(found((await run(argv)).settings), wanted);
  });
}

Deno.test("option: aws_signing_helper --pkcs8-password", async () => {
  const { passphrase } = await run(line({ "--pkcs8-password": "open" }));
  assert.equal(passphrase?.reveal(), "open");
});

const REFUSED: { name: string; flag: string[]; says: RegExp }[] = [
  {
    name: "option: aws_signing_helper --no-verify-ssl",
    flag: ["--no-verify-ssl"],
    says: /AWS_CA_BUNDLE/,
  },
  {
    name: "option: aws_signing_helper --cert-selector",
    flag: ["--cert-selector", "Key=x509Subject,Value=CN=a"],
    says: /export certificate and key to files/,
  },
  {
    name: "option: aws_signing_helper --system-store-name",
    flag: ["--system-store-name", "MY"],
    says: /export certificate and key to files/,
  },
  {
    name: "option: aws_signing_helper --use-latest-expiring-certificate",
    flag: ["--use-latest-expiring-certificate"],
    says: /export certificate and key to files/,
  },
  {
    name: "option: aws_signing_helper --pkcs11-lib",
    flag: ["--pkcs11-lib", "/lib.so"],
    says: /keep aws_signing_helper .* --aws-profile PROFILE/,
  },
  {
    name: "option: aws_signing_helper --reuse-pin",
    flag: ["--reuse-pin"],
    says: /keep aws_signing_helper .* --aws-profile PROFILE/,
  },
  {
    name: "option: aws_signing_helper --tpm-key-password",
    flag: ["--tpm-key-password", CANARY],
    says: /keep aws_signing_helper .* --aws-profile PROFILE/,
  },
  {
    name: "option: aws_signing_helper --no-tpm-key-password",
    flag: ["--no-tpm-key-password"],
    says: /keep aws_signing_helper .* --aws-profile PROFILE/,
  },
];
for (const { name, flag, says } of REFUSED) {
  Deno.test(name, async () => {
    const { message, hint = "" } = await failure([...line(), ...flag]);
    assertNoCanary(message);
    assert.match(hint, says);
  });
}

for (
  const [flag, value] of [
    ["--certificate", "pkcs11:object=cert"],
    ["--private-key", "pkcs11:object=key;pin-value=1234"],
    ["--private-key", "handle:0x81000001"],
  ] as const
) {
  Deno.test(`readCredentialProcessFlags() refuses ${flag} ${value}`, async () => {
    const { message } = await failure(line({ [flag]: value }));
    assert.match(message, /moat reads no .*, only files/);
  });
}

Deno.test("readCredentialProcessFlags() does not show the PIN of a PKCS#11 URI", async () => {
  const key = `pkcs11:object=key;pin-value=${CANARY}`;
  const { message, hint } = await failure(line({ "--private-key": key }));
  assertNoCanary(message, String(hint));
});
