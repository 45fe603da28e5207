import assert from "node:assert/strict";
import { MoatError } from "$core/errors.ts";
import type { FlagValues } from "$core/provider.ts";
import { fakePlatform } from "../../../tests/support/fake_platform.ts";
import { Workspace } from "../../../tests/support/workspace.ts";
import type { SessionEngine } from "../engine.ts";
import { BINDING_FLAGS } from "../options/binding.ts";
import { readSettings } from "../settings.ts";
import { createForeignBindings } from "./mod.ts";

const ANY = "rolesanywhere:eu-central-1:123456789012";
const FLAGS: FlagValues = {
  certificate: ["a.pem"],
  "private-key": "k.pem",
  "trust-anchor-arn": `arn:aws:${ANY}:trust-anchor/ab`,
  "profile-arn": `arn:aws:${ANY}:profile/cd`,
  "role-arn": "arn:aws:iam::123456789012:role/x",
};

/** Bindings whose engine remembers what it obtained, or fails. */
function open(
  options: { env?: Record<string, string>; error?: MoatError } = {},
) {
  const { env = {}, error } = options;
  const platform = fakePlatform({ env });
  const obtained: Parameters<SessionEngine["obtain"]>[] = [];
  const bindings = createForeignBindings({
    obtain(...args) {
      obtained.push(args);
      return error
        ? Promise.reject(error)
        : Promise.resolve(undefined as never);
    },
  }, platform);
  return { bindings, obtained, platform };
}

/** The members of the file that these flags make. */
async function fileOf(flags: FlagValues) {
  const { bindings } = open();
  const stored = await bindings.readBinding("web", flags, true);
  const tokenDigest = "A".repeat(64);
  return JSON.parse(bindings.format({}).encode({ ...stored, tokenDigest }));
}

Deno.test("createForeignBindings() declares no flag that a binding has already", () => {
  const { bindFlags } = open().bindings;
  const taken = [
    ...BINDING_FLAGS.map(({ name }) => name),
    ...["grant", "mode", "url", "format", "token-file", "json", "help"],
  ];
  const names = bindFlags.map(({ name }) => name);
  assert.deepEqual(names.filter((name) => taken.includes(name)), []);
  assert.deepEqual(names, [...new Set(names)]);
});

for (const name of Object.keys(FLAGS)) {
  Deno.test(`asks() is true for --${name}`, () => {
    assert.equal(open().bindings.asks({ [name]: FLAGS[name] }), true);
  });
}

Deno.test("asks() is false for the flags of a stored grant", () => {
  const flags = { grant: ["aws"], "session-name": "x", region: "eu-west-1" };
  assert.equal(open().bindings.asks(flags), false);
});

Deno.test("readBinding() makes a binding with a grant of its own", async () => {
  const { bindings, platform } = open();
  const { ownGrants = [], ...rest } = await bindings.readBinding(
    "web",
    FLAGS,
    true,
  );
  assert.deepEqual(rest, {
    binding: { name: "web", grants: ["aws:needroleshere"], mode: "ecs-full" },
    createdAt: platform.clock.now(),
    url: "",
    tokenFile: false,
  });
  assert.deepEqual(ownGrants.map(({ name }) => name), ["aws:needroleshere"]);
});

Deno.test("readBinding() gives what its own file gives", async () => {
  const { bindings } = open();
  const stored = await bindings.readBinding("web", FLAGS, true);
  const written = { ...stored, tokenDigest: "A".repeat(64) };
  const format = bindings.format({});
  const [read] = format.decode("web", JSON.parse(format.encode(written))) ?? [];
  assert.deepEqual(read, { ...written, createdAt: 0 });
});

Deno.test("readBinding() tries the grant once", async () => {
  const { bindings, obtained } = open();
  const { binding, ownGrants } = await bindings.readBinding("web", FLAGS, true);
  assert.deepEqual(obtained, [[ownGrants?.[0], binding]]);
});

Deno.test("readBinding() tries nothing with --no-validate", async () => {
  const { bindings, obtained } = open();
  await bindings.readBinding("web", FLAGS, false);
  assert.deepEqual(obtained, []);
});

Deno.test("readBinding() fails as the grant does", async () => {
  const error = new MoatError("key-unreadable", "Cannot read");
  const { bindings } = open({ error });
  await assert.rejects(bindings.readBinding("web", FLAGS, true), error);
});

/** What flags change in the file. */
const WRITTEN = [
  {
    flags: { certificate: ["a.pem", "../b.pem"] },
    wanted: { "certificate_files": ["a.pem", "../b.pem"] },
  },
  {
    flags: { intermediates: ["ca.pem"] },
    wanted: { "certificate_files": ["a.pem", "ca.pem"] },
  },
  {
    flags: { "passphrase-file": "pass" },
    wanted: { "passphrase_file": "pass" },
  },
  {
    flags: { certificate: ["id.p12"], "private-key": undefined },
    wanted: { "certificate_files": ["id.p12"], "private_key_file": "id.p12" },
  },
  {
    flags: { mode: "ecs-relative-query" },
    wanted: { mode: { kind: "EcsRelativeQuery" } },
  },
];
for (const { flags, wanted } of WRITTEN) {
  Deno.test(`readBinding() keeps ${JSON.stringify(flags)}`, async () => {
    const plain = await fileOf(FLAGS);
    assert.deepEqual(await fileOf({ ...FLAGS, ...flags }), {
      ...plain,
      ...wanted,
    });
  });
}

const REQUESTED = [
  { flags: { "session-duration": "3600" }, wanted: { durationSeconds: 3600 } },
  { flags: { "session-duration": "1h" }, wanted: { durationSeconds: 3600 } },
  { flags: { "session-name": "ci" }, wanted: { sessionName: "ci" } },
  { flags: { region: "eu-central-1" }, wanted: {} },
  {
    flags: { region: "eu-west-1", endpoint: "http://127.0.0.1:1" },
    wanted: {},
  },
];
for (const { flags, wanted } of REQUESTED) {
  Deno.test(`readBinding() requests ${JSON.stringify(flags)}`, async () => {
    const { request } = await fileOf(FLAGS);
    const found = await fileOf({ ...FLAGS, ...flags });
    assert.deepEqual(found.request, { ...request, ...wanted });
  });
}

Deno.test("readBinding() tries it in the --region at the --endpoint", async () => {
  const { bindings, obtained } = open();
  const at = { region: "eu-west-1", endpoint: "http://127.0.0.1:1" };
  await bindings.readBinding("web", { ...FLAGS, ...at }, true);
  const [grant] = obtained[0] ?? [];
  assert(grant);
  const { region, endpoint } = readSettings(grant).anywhere ?? {};
  assert.deepEqual({ region, endpoint }, at);
});

Deno.test("readBinding() passes over a --region that is not used", async () => {
  const { bindings } = open();
  const flags = { ...FLAGS, region: "us-east-1" };
  const { ownGrants: [grant] = [] } = await bindings.readBinding(
    "web",
    flags,
    false,
  );
  assert(grant);
  assert.equal(readSettings(grant).region, "eu-central-1");
});

const REFUSED: readonly { flags: FlagValues; says: RegExp }[] = [
  { flags: { certificate: undefined }, says: /--certificate is missing/ },
  { flags: { "private-key": undefined }, says: /--private-key is missing/ },
  { flags: { "role-arn": undefined }, says: /--role-arn is missing/ },
  { flags: { "profile-arn": undefined }, says: /--profile-arn is missing/ },
  { flags: { "trust-anchor-arn": "arn" }, says: /as --trust-anchor-arn/ },
  { flags: { "role-arn": "admin" }, says: /as a role/ },
  { flags: { mode: "process" }, says: /"process" as a mode/ },
  { flags: { mode: "ecs" }, says: /"ecs" as a mode/ },
  { flags: { region: "eu-west-1" }, says: /--region eu-west-1/ },
  { flags: { "session-duration": "10" }, says: /session duration/ },
  { flags: { "session-name": "{run}" }, says: /--session-name/ },
  { flags: { grant: ["aws"] }, says: /combine --grant/ },
  { flags: { policy: "{}" }, says: /combine --policy/ },
  {
    flags: { "token-file": true, mode: "ecs-full-query" },
    says: /--token-file in mode ecs-full-query/,
  },
  { flags: { certificate: ["pkcs11:x"] }, says: /no PKCS#11/ },
  { flags: { endpoint: "ftp://x" }, says: /--endpoint/ },
];
for (const { flags, says } of REFUSED) {
  Deno.test(`readBinding() refuses with ${says.source}`, async () => {
    const { bindings, obtained } = open();
    await assert.rejects(
      bindings.readBinding("web", { ...FLAGS, ...flags }, true),
      (error) => {
        assert.ok(error instanceof MoatError && error.code === "usage");
        assert.match(error.message, says);
        return true;
      },
    );
    assert.deepEqual(obtained, []);
  });
}

Deno.test("readBinding() wants a file for the passphrase of an encrypted key", async () => {
  await using workspace = await Workspace.open();
  const key = await workspace.write(
    "k.pem",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
  );
  await assert.rejects(
    open().bindings.readBinding("web", { ...FLAGS, "private-key": key }, false),
    { code: "usage", hint: /--passphrase-file FILE/ },
  );
});

const REGIONS: readonly {
  name: string;
  flags: FlagValues;
  env: Record<string, string>;
  wanted: string | undefined;
}[] = [
  {
    name: "--region first",
    flags: { region: "eu-west-1" },
    env: { AWS_REGION: "eu-west-2" },
    wanted: "eu-west-1",
  },
  {
    name: "AWS_REGION next",
    flags: {},
    env: { AWS_REGION: "eu-west-2", AWS_DEFAULT_REGION: "eu-west-3" },
    wanted: "eu-west-2",
  },
  {
    name: "AWS_DEFAULT_REGION last",
    flags: {},
    env: { AWS_DEFAULT_REGION: "eu-west-3" },
    wanted: "eu-west-3",
  },
  { name: "none by itself", flags: {}, env: {}, wanted: undefined },
];
for (const { name, flags, env, wanted } of REGIONS) {
  Deno.test(`format() takes the region from ${name}`, () => {
    const [stored] = open({ env }).bindings.format(flags).decode("web", {
      name: "web",
      "secret_hash": "A".repeat(64),
      "certificate_files": ["a.pem"],
      "private_key_file": "k.pem",
      request: {
        roleArn: "arn:aws:iam::123456789012:role/x",
        profileArn: "arn:aws:rolesanywhere::123456789012:profile/cd",
        trustAnchorArn: "arn:aws:rolesanywhere::123456789012:trust-anchor/ab",
      },
      mode: { kind: "EcsFull" },
    }) ?? [];
    const [grant] = stored?.ownGrants ?? [];
    assert.equal(grant && readSettings(grant).region, wanted);
  });
}

for (
  const flags of [{ region: "europe" }, { endpoint: "x" }, {
    endpoint: "http://user@host",
  }]
) {
  Deno.test(`format() refuses ${JSON.stringify(flags)}`, () => {
    assert.throws(() => open().bindings.format(flags), { code: "usage" });
  });
}
