import assert from "node:assert/strict";
import { resolve } from "node:path";
import * as fc from "fast-check";
import type { Grant } from "$core/grant.ts";
import { MoatError } from "$core/errors.ts";
import type { FlagValues, GrantRequest } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { assertNoCanary, CANARY } from "../../../tests/support/canary.ts";
import { Workspace } from "../../../tests/support/workspace.ts";
import { type AssumeRoleHop, type Hop, planHops } from "../hops.ts";
import { GRANT_FLAGS, type GrantInput, readGrantFlags } from "./grant.ts";
import { type AwsSettings, readSettings, writeSettings } from "../settings.ts";

const ROLE = "arn:aws:iam::123456789012:role/Deploy";
const OTHER = "arn:aws:iam::210987654321:role/Other";
const CHINA = "arn:aws-cn:iam::123456789012:role/Deploy";
const MFA = "arn:aws:iam::123456789012:mfa/ana";
const ANCHOR =
  "arn:aws:rolesanywhere:eu-central-1:123456789012:trust-anchor/0a1b";
const PROFILE = "arn:aws:rolesanywhere:eu-central-1:123456789012:profile/2c3d";
const POLICY = '{"Version":"2012-10-17","Statement":[]}';
const READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess";

/** Nothing of this machine: no profile, no key, no metadata service. */
const ENV = { HOME: "/proc/nonexistent", AWS_EC2_METADATA_DISABLED: "true" };

const ANYWHERE: FlagValues = {
  role: [ROLE],
  "trust-anchor-arn": ANCHOR,
  "profile-arn": PROFILE,
  certificate: ["/c.pem"],
  "private-key": "/k.pem",
};
const WEB: FlagValues = { role: [ROLE], "web-identity-token-file": "/t" };

interface Options {
  readonly env?: Readonly<Record<string, string>>;
  readonly validate?: boolean;
  readonly ask?: GrantRequest["ask"] | undefined;
}

/** What the flags say, beside `--role` unless they name it. */
async function read(
  flags: FlagValues,
  { env = {}, validate = false, ask }: Options = {},
): Promise<GrantInput> {
  return await readGrantFlags(
    { name: "aws", flags, validate, ...(ask && { ask }) },
    { ...ENV, ...env },
  );
}

async function settingsOf(
  flags: FlagValues,
  options?: Options,
): Promise<AwsSettings> {
  return (await read({ role: [ROLE], ...flags }, options)).settings;
}

/** The calls that the flags lead to. */
async function hopsOf(
  flags: FlagValues,
  options?: Options,
): Promise<readonly Hop[]> {
  return planHops(await settingsOf(flags, options), {
    name: "run-a",
    grants: ["aws"],
  });
}

async function lastHop(flags: FlagValues): Promise<AssumeRoleHop> {
  const hop = (await hopsOf(flags)).at(-1);
  assert.equal(hop?.kind, "assume-role");
  return hop;
}

async function failure(
  flags: FlagValues,
  options?: Options,
): Promise<MoatError> {
  const error = await read(flags, options).then(() => undefined, (e) => e);
  assert.ok(error instanceof MoatError, "it was accepted");
  assert.equal(error.code, "usage");
  return error;
}

/** One sample of each flag, and what it must go with to be accepted. */
const SAMPLES: Readonly<Record<string, FlagValues>> = {
  role: { role: [OTHER] },
  region: { region: "eu-west-3" },
  "session-duration": { "session-duration": "1h" },
  "external-id": { "external-id": "id" },
  "session-name": { "session-name": "moat-{run}" },
  policy: { policy: POLICY },
  "policy-arn": { "policy-arn": [READ_ONLY] },
  tag: { tag: ["team=a"] },
  "label-tag": { "label-tag": ["team"] },
  "transitive-tag": { "label-tag": ["team"], "transitive-tag": ["team"] },
  "source-identity": { "source-identity": "ana" },
  "mfa-serial": { "mfa-serial": MFA, "mfa-code": "123456" },
  "mfa-code": { "mfa-serial": MFA, "mfa-code": "123456" },
  "mfa-command": { "mfa-serial": MFA, "mfa-command": "ykman code" },
  source: { source: ["environment"] },
  "aws-profile": { "aws-profile": "dev" },
  "web-identity-token-file": WEB,
  "trust-anchor-arn": ANYWHERE,
  "profile-arn": ANYWHERE,
  certificate: ANYWHERE,
  "private-key": ANYWHERE,
  intermediates: { ...ANYWHERE, intermediates: ["/i.pem"] },
  "passphrase-file": { ...ANYWHERE, "passphrase-file": "/p" },
  endpoint: { ...ANYWHERE, endpoint: "http://127.0.0.1:1" },
  fips: { ...ANYWHERE, fips: true },
  "dual-stack": { ...ANYWHERE, "dual-stack": true },
};

Deno.test("GRANT_FLAGS has no name twice", () => {
  const names = GRANT_FLAGS.map(({ name }) => name);
  assert.deepEqual(names, [...new Set(names)]);
});

Deno.test("GRANT_FLAGS holds data alone", () => {
  assert.deepEqual(structuredClone(GRANT_FLAGS), GRANT_FLAGS);
});

for (const { name, value, repeatable } of GRANT_FLAGS) {
  Deno.test(`readGrantFlags() drops no --${name}`, async () => {
    await using workspace = await Workspace.open();
    const config = await workspace.write(
      "config",
      "[profile dev]\noutput = json\n",
    );
    const env = { AWS_CONFIG_FILE: config };
    const flags: FlagValues = { role: [ROLE], ...SAMPLES[name] };
    const given = flags[name];
    const kind = !value ? "boolean" : repeatable ? "object" : "string";
    assert.equal(typeof given, kind, "the sample has another form");
    const { [name]: _, ...without } = flags;
    const outcome = async (flags: FlagValues) => {
      try {
        return await read(flags, { env, validate: true });
      } catch (error) {
        return String(error);
      }
    };
    const accepted = await read(flags, { env, validate: true });
    assert.notDeepEqual(await outcome(without), accepted);
  });
}

const SET: { name: string; flags: FlagValues; wanted: Partial<AwsSettings> }[] =
  [
    { name: "one role", flags: {}, wanted: { roles: [ROLE] } },
    {
      name: "plain seconds",
      flags: { "session-duration": "900" },
      wanted: { durationSeconds: 900 },
    },
    {
      name: "12 hours",
      flags: { "session-duration": "12h" },
      wanted: { durationSeconds: 43_200 },
    },
    {
      name: "one hour with two roles",
      flags: { role: [ROLE, OTHER], "session-duration": "1h" },
      wanted: { durationSeconds: 3600 },
    },
    {
      name: "an external ID of 2 characters",
      flags: { "external-id": "ab" },
      wanted: { externalId: "ab" },
    },
    {
      name: "an external ID of 1224 characters",
      flags: { "external-id": "_+=,.@:/-".repeat(136) },
      wanted: { externalId: "_+=,.@:/-".repeat(136) },
    },
    {
      name: "a source identity of 2 characters",
      flags: { "source-identity": "ab" },
      wanted: { sourceIdentity: "ab" },
    },
    {
      name: "a source identity of 64 characters",
      flags: { "source-identity": "a".repeat(64) },
      wanted: { sourceIdentity: "a".repeat(64) },
    },
    {
      name: "an MFA serial number of 9 characters",
      flags: { "mfa-serial": "GAHT12345" },
      wanted: { mfa: { serial: "GAHT12345" } },
    },
    {
      name: "an MFA serial number of 256 characters",
      flags: { "mfa-serial": "a".repeat(256) },
      wanted: { mfa: { serial: "a".repeat(256) } },
    },
    {
      name: "a program by name",
      flags: { "mfa-serial": MFA, "mfa-command": "ykman oath code aws" },
      wanted: { mfa: { serial: MFA, command: "ykman oath code aws" } },
    },
    {
      name: "a program below the working directory",
      flags: { "mfa-serial": MFA, "mfa-command": "./code ./x" },
      wanted: { mfa: { serial: MFA, command: `${resolve("code")} ./x` } },
    },
    {
      name: "10 policy ARNs",
      flags: { "policy-arn": Array(10).fill(READ_ONLY) },
      wanted: { policyArns: Array(10).fill(READ_ONLY) },
    },
    {
      name: "a policy ARN with a path",
      flags: { "policy-arn": ["arn:aws:iam::123456789012:policy/a/b/C"] },
      wanted: { policyArns: ["arn:aws:iam::123456789012:policy/a/b/C"] },
    },
    {
      name: "a policy ARN of the last role's account",
      flags: {
        role: [ROLE, OTHER],
        "policy-arn": ["arn:aws:iam::210987654321:policy/P"],
      },
      wanted: { policyArns: ["arn:aws:iam::210987654321:policy/P"] },
    },
    {
      name: "a tag whose value has an equals sign",
      flags: { tag: ["a=b=c"] },
      wanted: { tags: { a: "b=c" } },
    },
    {
      name: "a tag with an empty value",
      flags: { tag: ["a="] },
      wanted: { tags: { a: "" } },
    },
    {
      name: "a tag of 128 and 256 characters",
      flags: { tag: [`${"k".repeat(128)}=${"v".repeat(256)}`] },
      wanted: { tags: { ["k".repeat(128)]: "v".repeat(256) } },
    },
    {
      name: "letters of any script in a tag",
      flags: { tag: ["Größe 1=zwölf_.:/+-@"] },
      wanted: { tags: { "Größe 1": "zwölf_.:/+-@" } },
    },
    {
      name: "50 tags",
      flags: { tag: Array.from({ length: 50 }, (_, i) => `t${i}=v`) },
      wanted: {
        tags: Object.fromEntries(
          Array.from({ length: 50 }, (_, i) => [`t${i}`, "v"]),
        ),
      },
    },
    {
      name: "a transitive label",
      flags: {
        tag: ["a=1"],
        "label-tag": ["b"],
        "transitive-tag": ["a", "b"],
      },
      wanted: { labelTags: ["b"], transitiveTags: ["a", "b"] },
    },
    {
      name: "tags with a second role after a token",
      flags: { ...WEB, role: [ROLE, OTHER], tag: ["a=1"] },
      wanted: { tags: { a: "1" }, durationSeconds: 900 },
    },
    {
      name: "an external ID with a second role after a certificate",
      flags: { ...ANYWHERE, role: [ROLE, OTHER], "external-id": "id" },
      wanted: { externalId: "id" },
    },
    {
      name: "a token's path",
      flags: { ...WEB, "web-identity-token-file": "token" },
      wanted: { webIdentityTokenFile: resolve("token") },
    },
    {
      name: "a session name of moat's placeholders",
      flags: { "session-name": "{user}-{container}" },
      wanted: { sessionName: "{user}-{container}" },
    },
  ];
for (const { name, flags, wanted } of SET) {
  Deno.test(`readGrantFlags() takes ${name}`, async () => {
    const settings = await settingsOf(flags);
    assert.deepEqual({ ...settings, ...wanted }, settings);
  });
}

const REFUSED: { name: string; flags: FlagValues; says: RegExp }[] = [
  { name: "no role", flags: {}, says: /--role is missing/ },
  {
    name: "a user's ARN",
    flags: { role: ["arn:aws:iam::123456789012:user/x"] },
    says: /as a role/,
  },
  {
    name: "roles of two partitions",
    flags: { role: [ROLE, CHINA] },
    says: /partitions "aws-cn" and "aws"/,
  },
  {
    name: "a duration below 15 minutes",
    flags: { "session-duration": "899" },
    says: /15 minutes to 12 hours/,
  },
  {
    name: "a duration above 12 hours",
    flags: { "session-duration": "43201" },
    says: /15 minutes to 12 hours/,
  },
  {
    name: "more than an hour with two roles",
    flags: { role: [ROLE, OTHER], "session-duration": "3601" },
    says: /1h0?m?1s: a role that is assumed from another .* 1h at most/,
  },
  {
    name: "more than an hour after a certificate",
    flags: { ...ANYWHERE, role: [ROLE, OTHER], "session-duration": "2h" },
    says: /1h at most/,
  },
  {
    name: "a region of another partition",
    flags: { region: "cn-north-1" },
    says: /partition/,
  },
  {
    name: "an external ID of 1 character",
    flags: { "external-id": "a" },
    says: /2 to 1224/,
  },
  {
    name: "an external ID of 1225 characters",
    flags: { "external-id": "a".repeat(1225) },
    says: /2 to 1224/,
  },
  {
    name: "a space in an external ID",
    flags: { "external-id": "a b" },
    says: /2 to 1224/,
  },
  {
    name: "a session name with another placeholder",
    flags: { "session-name": "{token}" },
    says: /session name/,
  },
  {
    name: "a source identity of 1 character",
    flags: { "source-identity": "a" },
    says: /2 to 64/,
  },
  {
    name: "a source identity of 65 characters",
    flags: { "source-identity": "a".repeat(65) },
    says: /2 to 64/,
  },
  {
    name: "a source identity that begins with aws:",
    flags: { "source-identity": "aws:ana" },
    says: /2 to 64/,
  },
  {
    name: "11 policy ARNs",
    flags: { "policy-arn": Array(11).fill(READ_ONLY) },
    says: /takes 10, found 11/,
  },
  {
    name: "a role as policy ARN",
    flags: { "policy-arn": [ROLE] },
    says: /ARN of a policy/,
  },
  {
    name: "a policy of another partition",
    flags: { "policy-arn": ["arn:aws-cn:iam::aws:policy/ReadOnlyAccess"] },
    says: /partition "aws"/,
  },
  {
    name: "a policy of another account",
    flags: { "policy-arn": ["arn:aws:iam::210987654321:policy/P"] },
    says: /the role's account 123456789012/,
  },
  { name: "a tag without =", flags: { tag: ["a"] }, says: /KEY=VALUE/ },
  { name: "a tag without key", flags: { tag: ["=v"] }, says: /1 to 128/ },
  {
    name: "a tag key of 129 characters",
    flags: { tag: [`${"k".repeat(129)}=v`] },
    says: /1 to 128/,
  },
  {
    name: "a tag value of 257 characters",
    flags: { tag: [`k=${"v".repeat(257)}`] },
    says: /at most 256/,
  },
  {
    name: "a comma in a tag value",
    flags: { tag: ["k=a,b"] },
    says: /at most 256/,
  },
  {
    name: "a tag key with the prefix aws:",
    flags: { tag: ["aws:x=1"] },
    says: /"aws:"/,
  },
  {
    name: "a tag key with the prefix Aws:",
    flags: { tag: ["Aws:x=1"] },
    says: /"aws:"/,
  },
  {
    name: "a label with the prefix AWS:",
    flags: { "label-tag": ["AWS:x"] },
    says: /--label-tag "AWS:x".*"aws:"/,
  },
  {
    name: "a tag key that no object keeps",
    flags: { tag: ["__proto__=1"] },
    says: /another key/,
  },
  {
    name: "51 tags",
    flags: { tag: Array.from({ length: 51 }, (_, i) => `t${i}=v`) },
    says: /takes 50, found 51/,
  },
  {
    name: "51 tags and labels together",
    flags: {
      tag: Array.from({ length: 50 }, (_, i) => `t${i}=v`),
      "label-tag": ["l"],
    },
    says: /takes 50, found 51/,
  },
  {
    name: "a tag twice",
    flags: { tag: ["a=1", "a=2"] },
    says: /"a" and "a" together/,
  },
  {
    name: "a tag twice in other letters",
    flags: { tag: ["team=1", "Team=2"] },
    says: /"team" and "Team" together/,
  },
  {
    name: "a tag and a label of the same key",
    flags: { tag: ["team=1"], "label-tag": ["TEAM"] },
    says: /"team" and "TEAM" together/,
  },
  {
    name: "a transitive tag that is no tag",
    flags: { tag: ["a=1"], "transitive-tag": ["A"] },
    says: /key of a --tag or a --label-tag/,
  },
  {
    name: "a transitive tag twice",
    flags: { tag: ["a=1"], "transitive-tag": ["a", "a"] },
    says: /each key once/,
  },
  {
    name: "an MFA serial number of 8 characters",
    flags: { "mfa-serial": "GAHT1234" },
    says: /9 to 256/,
  },
  {
    name: "an MFA serial number of 257 characters",
    flags: { "mfa-serial": "a".repeat(257) },
    says: /9 to 256/,
  },
  {
    name: "an MFA code without a device",
    flags: { "mfa-code": "123456" },
    says: /--mfa-code without --mfa-serial/,
  },
  {
    name: "an MFA program without a device",
    flags: { "mfa-command": "x" },
    says: /--mfa-command without --mfa-serial/,
  },
  {
    name: "an MFA code and an MFA program",
    flags: { "mfa-serial": MFA, "mfa-code": "123456", "mfa-command": "x" },
    says: /combine --mfa-code with --mfa-command/,
  },
  {
    name: "an MFA code that is not used",
    flags: { "mfa-serial": MFA, "mfa-code": "123456" },
    says: /combine --mfa-code with --no-validate/,
  },
  {
    name: "an unknown source",
    flags: { source: ["env"] },
    says: /wanted one of environment, profile, .*direct/,
  },
  {
    name: "a source twice",
    flags: { source: ["profile", "profile"] },
    says: /twice/,
  },
  {
    name: "a profile beside another source",
    flags: { source: ["environment"], "aws-profile": "dev" },
    says: /--aws-profile with --source environment/,
  },
  {
    name: "a profile that is not there",
    flags: { "aws-profile": "dev" },
    says: /profile "dev"/,
  },
  {
    name: "a role beside the source's own session",
    flags: { source: ["direct"] },
    says: /--source direct with --role/,
  },
  {
    name: "a token beside a certificate",
    flags: { ...ANYWHERE, ...WEB },
    says: /--web-identity-token-file with --trust-anchor-arn/,
  },
  {
    name: "a second anchor of another region",
    flags: {
      ...ANYWHERE,
      "profile-arn": PROFILE.replace("eu-central-1", "eu-west-1"),
    },
    says: /regions "eu-central-1" and "eu-west-1"/,
  },
  {
    name: "a role of another partition than the trust anchor's",
    flags: { ...ANYWHERE, role: [CHINA] },
    says: /--trust-anchor-arn: wanted the partition of the role, "aws-cn"/,
  },
  {
    name: "a region that is not the trust anchor's",
    flags: { ...ANYWHERE, region: "eu-west-1" },
    says: /the trust anchor is in the region "eu-central-1"/,
  },
  {
    name: "a profile in the place of the trust anchor",
    flags: { ...ANYWHERE, "trust-anchor-arn": PROFILE },
    says: /as --trust-anchor-arn/,
  },
  {
    name: "a trust anchor in the place of the profile",
    flags: { ...ANYWHERE, "profile-arn": ANCHOR },
    says: /as --profile-arn/,
  },
  {
    name: "an endpoint that is no URL",
    flags: { ...ANYWHERE, endpoint: "rolesanywhere.amazonaws.com" },
    says: /--endpoint: wanted an http or https URL/,
  },
  {
    name: "an endpoint with a password",
    flags: { ...ANYWHERE, endpoint: "https://a:b@example.com" },
    says: /without a user/,
  },
  {
    name: "an endpoint beside --fips",
    flags: { ...ANYWHERE, endpoint: "https://example.com", fips: true },
    says: /--endpoint with --fips/,
  },
  {
    name: "a PKCS#11 key",
    flags: { ...ANYWHERE, "private-key": "pkcs11:object=key" },
    says: /no PKCS#11 tokens/,
  },
  {
    name: "a TPM key",
    flags: { ...ANYWHERE, "private-key": "handle:0x81000001" },
    says: /no TPM keys/,
  },
  {
    name: "a key beside PKCS#12",
    flags: { ...ANYWHERE, certificate: ["/id.p12"] },
    says: /PKCS#12 file "\/id.p12"/,
  },
];
for (const { name, flags, says } of REFUSED) {
  Deno.test(`readGrantFlags() refuses ${name}`, async () => {
    const base = name === "no role" ? {} : { role: [ROLE] };
    const error = await failure({ ...base, ...flags });
    assert.match(error.message, says);
  });
  Deno.test(`readGrantFlags() says what to do about ${name}`, async () => {
    const base = name === "no role" ? {} : { role: [ROLE] };
    assert.ok((await failure({ ...base, ...flags })).hint);
  });
}

/** Each flag beside each way to the first credentials: does a call take it? */
const FIT: { way: string; flags: FlagValues; takes: string[] }[] = [
  {
    way: "a token",
    flags: WEB,
    takes: ["session-duration", "session-name", "policy", "policy-arn"],
  },
  {
    way: "a certificate",
    flags: ANYWHERE,
    takes: ["session-duration", "session-name"],
  },
  {
    way: "a token and a second role",
    flags: { ...WEB, role: [ROLE, OTHER] },
    takes: [
      "session-duration",
      "session-name",
      "policy",
      "policy-arn",
      "external-id",
      "tag",
      "label-tag",
    ],
  },
  {
    way: "a certificate and a second role",
    flags: { ...ANYWHERE, role: [ROLE, OTHER] },
    takes: [
      "session-duration",
      "session-name",
      "policy",
      "policy-arn",
      "external-id",
      "tag",
      "label-tag",
    ],
  },
  {
    way: "the source's own session",
    flags: { role: [], source: ["direct"] },
    takes: ["mfa-serial", "mfa-command", "label-tag"],
  },
];
const OWN = [...wayNames(), "role", "region", "source", "aws-profile"];

function wayNames(): string[] {
  return GRANT_FLAGS.filter(({ summary }) => summary.startsWith("Roles Any"))
    .map(({ name }) => name).concat("web-identity-token-file");
}

for (const { way, flags, takes } of FIT) {
  for (const { name } of GRANT_FLAGS) {
    if (OWN.includes(name)) continue;
    const isTaken = takes.includes(name);
    Deno.test(`readGrantFlags() ${isTaken ? "takes" : "refuses"} --${name} beside ${way}`, async () => {
      const { "mfa-code": _, ...sample } = SAMPLES[name] ?? {};
      const wanted = name === "mfa-code" ? SAMPLES[name] : sample;
      const both = { ...flags, ...wanted };
      if (isTaken) return void await read(both);
      assert.match((await failure(both)).message, /does not take it|combine/);
    });
  }
}

Deno.test("readGrantFlags() names every Roles Anywhere flag that is missing", async () => {
  assert.match(
    (await failure({ fips: true })).message,
    /--role, --trust-anchor-arn, --profile-arn, --certificate, --private-key are missing/,
  );
});

Deno.test("readGrantFlags() names the one Roles Anywhere flag that is missing", async () => {
  const { "private-key": _, ...flags } = ANYWHERE;
  assert.match((await failure(flags)).message, /: --private-key is missing/);
});

Deno.test("readGrantFlags() wants no key beside PKCS#12", async () => {
  const { "private-key": _, ...flags } = ANYWHERE;
  const { settings } = await read(
    { ...flags, certificate: ["/id.PFX"] },
    { ask: () => Promise.resolve(new Secret("")) },
  );
  assert.equal(settings.anywhere?.privateKey, undefined);
});

Deno.test("readGrantFlags() records what Roles Anywhere needs", async () => {
  const { anywhere } = await settingsOf({
    ...ANYWHERE,
    certificate: ["c.pem", "/d.pem"],
    intermediates: ["i.pem"],
    "passphrase-file": "p",
    "dual-stack": true,
    fips: true,
  });
  assert.deepEqual(anywhere, {
    trustAnchorArn: ANCHOR,
    profileArn: PROFILE,
    certificates: [resolve("c.pem"), "/d.pem"],
    intermediates: [resolve("i.pem")],
    privateKey: "/k.pem",
    passphraseFile: resolve("p"),
    region: "eu-central-1",
    fips: true,
    dualStack: true,
  });
});

Deno.test("readGrantFlags() takes any region beside an endpoint", async () => {
  const endpoint = "http://127.0.0.1:1";
  const flags = { ...ANYWHERE, endpoint, region: "eu-west-1" };
  assert.equal((await settingsOf(flags)).anywhere?.region, "eu-west-1");
});

const REGIONS: {
  name: string;
  flags: FlagValues;
  env: Readonly<Record<string, string>>;
  region: string;
}[] = [
  { name: "the partition's", flags: {}, env: {}, region: "us-east-1" },
  {
    name: "AWS_REGION",
    flags: {},
    env: { AWS_REGION: "eu-west-1", AWS_DEFAULT_REGION: "eu-west-2" },
    region: "eu-west-1",
  },
  {
    name: "AWS_DEFAULT_REGION",
    flags: {},
    env: { AWS_DEFAULT_REGION: "eu-west-2" },
    region: "eu-west-2",
  },
  {
    name: "the flag",
    flags: { region: "eu-west-3" },
    env: { AWS_REGION: "eu-west-1" },
    region: "eu-west-3",
  },
  {
    name: "the trust anchor's",
    flags: ANYWHERE,
    env: {},
    region: "eu-central-1",
  },
  {
    name: "AWS_REGION before the trust anchor's",
    flags: ANYWHERE,
    env: { AWS_REGION: "eu-west-1" },
    region: "eu-west-1",
  },
  {
    name: "any partition's without a role",
    flags: { role: [], source: ["direct"] },
    env: { AWS_REGION: "cn-north-1" },
    region: "cn-north-1",
  },
];
for (const { name, flags, env, region } of REGIONS) {
  Deno.test(`readGrantFlags() takes the region: ${name}`, async () => {
    assert.equal((await settingsOf(flags, { env })).region, region);
  });
}

Deno.test("readGrantFlags() takes the region of the profile", async () => {
  await using workspace = await Workspace.open();
  const config = await workspace.write(
    "config",
    "[profile dev]\nregion = eu-north-1\n",
  );
  const { region } = await settingsOf({ "aws-profile": "dev" }, {
    env: { AWS_CONFIG_FILE: config },
  });
  assert.equal(region, "eu-north-1");
});

Deno.test("readGrantFlags() looks at no source that is not used", async () => {
  const env = { AWS_PROFILE: "gone" };
  assert.deepEqual((await settingsOf(WEB, { env })).roles, [ROLE]);
});

Deno.test("readGrantFlags() keeps the order of sources", async () => {
  const flags = { source: ["instance", "environment"] };
  assert.deepEqual((await settingsOf(flags)).source.order, [
    "instance",
    "environment",
  ]);
});

Deno.test("readGrantFlags() hands a chosen source's session out", async () => {
  const { settings } = await read({ source: ["direct", "profile"] });
  assert.deepEqual(
    [settings.direct, settings.roles, settings.source.order],
    [true, [], ["profile"]],
  );
});

// Session policies.

Deno.test("readGrantFlags() takes white space out of a policy", async () => {
  const policy = '{ "Statement" : [ { "Sid": "a \\" b" } ] }\n';
  assert.equal(
    (await settingsOf({ policy })).policy,
    '{"Statement":[{"Sid":"a \\" b"}]}',
  );
});

Deno.test("readGrantFlags() changes no number of a policy", async () => {
  const policy = '{"Statement":12345678901234567890,"a":1.0}';
  assert.equal((await settingsOf({ policy })).policy, policy);
});

Deno.test("readGrantFlags() escapes what STS does not take in a policy", async () => {
  const { policy = "" } = await settingsOf({ policy: '{"Statement":"é–😀"}' });
  assert.equal(policy, '{"Statement":"é\\u2013\\ud83d\\ude00"}');
});

const pad = (length: number) => `{"Statement":"${"x".repeat(length - 16)}"}`;

Deno.test("readGrantFlags() takes a policy of 2048 characters", async () => {
  const policy = pad(2048);
  assert.equal((await settingsOf({ policy })).policy?.length, 2048);
});

Deno.test("readGrantFlags() refuses a policy of 2049 characters", async () => {
  const { message } = await failure({ role: [ROLE], policy: pad(2049) });
  assert.match(message, /at most 2048 .* found 2049/);
});

Deno.test("readGrantFlags() reads a policy from a file", async () => {
  await using workspace = await Workspace.open();
  const spaces = " ".repeat(5000);
  const file = await workspace.write("p.json", `\ufeff${spaces}${POLICY}\n`);
  assert.equal((await settingsOf({ policy: file })).policy, POLICY);
});

const BAD_POLICIES: { name: string; content: string; says: RegExp }[] = [
  { name: "no JSON", content: `{"${CANARY}`, says: /JSON object/ },
  { name: "a list", content: `["${CANARY}"]`, says: /JSON object/ },
  { name: "null", content: "null", says: /JSON object/ },
  { name: "a text", content: `"Statement"`, says: /JSON object/ },
  {
    name: "another kind of object",
    content: `{"private_key":"${CANARY}"}`,
    says: /"Statement"/,
  },
  {
    name: "64 KiB of space",
    content: `{"Statement":"${CANARY}"}` + " ".repeat(65_536),
    says: /at most 65536 bytes/,
  },
];
for (const { name, content, says } of BAD_POLICIES) {
  Deno.test(`readGrantFlags() refuses a policy file with ${name}`, async () => {
    await using workspace = await Workspace.open();
    const policy = await workspace.write("p.json", content);
    const { message } = await failure({ role: [ROLE], policy });
    assert.match(message, says);
  });
  Deno.test(`readGrantFlags() does not show a policy file with ${name}`, async () => {
    await using workspace = await Workspace.open();
    const policy = await workspace.write("p.json", content);
    const { message, hint } = await failure({ role: [ROLE], policy });
    assertNoCanary(message, String(hint));
  });
}

Deno.test("readGrantFlags() refuses a policy file that is not text", async () => {
  await using workspace = await Workspace.open();
  const policy = workspace.path("p");
  await Deno.writeFile(policy, new Uint8Array([0xff, 0xfe]));
  assert.match((await failure({ role: [ROLE], policy })).message, /UTF-8/);
});

Deno.test("readGrantFlags() refuses a policy file that is not there", async () => {
  const { message } = await failure({
    role: [ROLE],
    policy: "/proc/nonexistent/p",
  });
  assert.match(message, /found no file "\/proc\/nonexistent\/p"/);
});

Deno.test("readGrantFlags() refuses a directory as policy", async () => {
  await using workspace = await Workspace.open();
  const policy = workspace.directory;
  assert.match(
    (await failure({ role: [ROLE], policy })).message,
    /can be read/,
  );
});

// Questions at the terminal.

const answer = (text: string, asked: string[] = []) => (question: string) => {
  asked.push(question);
  return Promise.resolve(new Secret(text));
};

Deno.test("readGrantFlags() asks for an MFA code that is wanted at once", async () => {
  const flags = { role: [ROLE], "mfa-serial": MFA };
  const { mfaCode } = await read(flags, {
    validate: true,
    ask: answer("123 456"),
  });
  assert.equal(mfaCode, "123456");
});

Deno.test("readGrantFlags() does not show a wrong MFA code", async () => {
  const flags = { role: [ROLE], "mfa-serial": MFA };
  const error = await failure(flags, { validate: true, ask: answer(CANARY) });
  assertNoCanary(error.message, String(error.hint));
});

for (
  const [name, flags, options] of [
    ["is given", { "mfa-code": "123456" }, { validate: true }],
    ["comes from a program", { "mfa-command": "x" }, { validate: true }],
    ["is not wanted", {}, { validate: false }],
  ] as [string, FlagValues, Options][]
) {
  Deno.test(`readGrantFlags() asks for no MFA code that ${name}`, async () => {
    const asked: string[] = [];
    await read({ role: [ROLE], "mfa-serial": MFA, ...flags }, {
      ...options,
      ask: answer("1", asked),
    });
    assert.deepEqual(asked, []);
  });
}

Deno.test("readGrantFlags() says how to give an MFA code without a terminal", async () => {
  const flags = { role: [ROLE], "mfa-serial": MFA };
  const { hint } = await failure(flags, { validate: true });
  assert.match(String(hint), /--mfa-code CODE or --mfa-command PROGRAM/);
});

const ENCRYPTED = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n";

/** What is asked for with this key file, and the passphrase that comes of it. */
async function passphraseOf(
  name: string,
  content: string,
  more: FlagValues = {},
): Promise<{ asked: string[]; passphrase: string | undefined }> {
  await using workspace = await Workspace.open();
  const key = await workspace.write(name, content);
  const asked: string[] = [];
  const { passphrase } = await read(
    { ...ANYWHERE, "private-key": key, ...more },
    { ask: answer("open sesame", asked) },
  );
  return { asked, passphrase: passphrase?.reveal() };
}

Deno.test("readGrantFlags() asks for the passphrase of an encrypted key", async () => {
  const { passphrase } = await passphraseOf("k.pem", ENCRYPTED);
  assert.equal(passphrase, "open sesame");
});

Deno.test("readGrantFlags() asks for the passphrase of PKCS#12", async () => {
  const { asked } = await passphraseOf("k.p12", "");
  assert.match(String(asked), /Passphrase of .*k\.p12 \(empty for none\)/);
});

Deno.test("readGrantFlags() asks nothing for a plain key", async () => {
  const { asked } = await passphraseOf("k.pem", "-----BEGIN PRIVATE KEY-----");
  assert.deepEqual(asked, []);
});

Deno.test("readGrantFlags() asks nothing beside --passphrase-file", async () => {
  const more = { "passphrase-file": "/p" };
  assert.deepEqual((await passphraseOf("k.pem", ENCRYPTED, more)).asked, []);
});

Deno.test("readGrantFlags() puts no passphrase into the settings", async () => {
  await using workspace = await Workspace.open();
  const key = await workspace.write("k.pem", ENCRYPTED);
  const { settings } = await read({ ...ANYWHERE, "private-key": key }, {
    ask: answer(CANARY),
  });
  assertNoCanary(JSON.stringify(settings));
});

Deno.test("readGrantFlags() refuses an encrypted key without a terminal", async () => {
  await using workspace = await Workspace.open();
  const key = await workspace.write("k.pem", ENCRYPTED);
  const { hint } = await failure({ ...ANYWHERE, "private-key": key });
  assert.match(String(hint), /--passphrase-file FILE/);
});

// Rows of docs/aws-options.md: from the flag to the call that takes it.

const ROWS: {
  name: string;
  flags: FlagValues;
  wanted: Readonly<Record<string, unknown>>;
}[] = [
  {
    name: "option: stscreds.DefaultDuration",
    flags: {},
    wanted: { kind: "assume-role", durationSeconds: 900 },
  },
  {
    name: "option: stscreds.IdentityTokenFile",
    flags: { "web-identity-token-file": "/t" },
    wanted: { kind: "web-identity", tokenFile: "/t" },
  },
  {
    name: "option: AssumeRoleOptions.RoleARN",
    flags: { role: [ROLE, OTHER] },
    wanted: { kind: "assume-role", role: OTHER },
  },
  {
    name: "option: AssumeRoleOptions.RoleSessionName",
    flags: { "session-name": "x-{binding}" },
    wanted: { kind: "assume-role", sessionName: "x-run-a" },
  },
  {
    name: "option: AssumeRoleOptions.Duration",
    flags: { "session-duration": "12h" },
    wanted: { kind: "assume-role", durationSeconds: 43_200 },
  },
  {
    name: "option: AssumeRoleOptions.ExternalID",
    flags: { "external-id": "id" },
    wanted: { kind: "assume-role", externalId: "id" },
  },
  {
    name: "option: AssumeRoleOptions.Policy",
    flags: { policy: POLICY },
    wanted: { kind: "assume-role", policy: POLICY },
  },
  {
    name: "option: AssumeRoleOptions.PolicyARNs",
    flags: { "policy-arn": [READ_ONLY] },
    wanted: { kind: "assume-role", policyArns: [READ_ONLY] },
  },
  {
    name: "option: AssumeRoleOptions.SourceIdentity",
    flags: { "source-identity": "ana" },
    wanted: { kind: "assume-role", sourceIdentity: "ana" },
  },
  {
    name: "option: AssumeRoleOptions.Tags",
    flags: { tag: ["b=2", "a=1"] },
    wanted: { kind: "assume-role", tags: [["a", "1"], ["b", "2"]] },
  },
  {
    name: "option: AssumeRoleOptions.TransitiveTagKeys",
    flags: { tag: ["a=1"], "transitive-tag": ["a"] },
    wanted: { kind: "assume-role", transitiveTags: ["a"] },
  },
  {
    name: "option: WebIdentityRoleOptions.TokenRetriever",
    flags: { "web-identity-token-file": "token" },
    wanted: { kind: "web-identity", tokenFile: resolve("token") },
  },
  {
    name: "option: WebIdentityRoleOptions.RoleARN",
    flags: { ...WEB, role: [OTHER] },
    wanted: { kind: "web-identity", role: OTHER },
  },
  {
    name: "option: WebIdentityRoleOptions.RoleSessionName",
    flags: { ...WEB, "session-name": "x-{binding}" },
    wanted: { kind: "web-identity", sessionName: "x-run-a" },
  },
  {
    name: "option: WebIdentityRoleOptions.Duration",
    flags: WEB,
    wanted: { kind: "web-identity", durationSeconds: undefined },
  },
  {
    name: "option: WebIdentityRoleOptions.Policy",
    flags: { ...WEB, policy: POLICY },
    wanted: { kind: "web-identity", policy: POLICY },
  },
  {
    name: "option: WebIdentityRoleOptions.PolicyARNs",
    flags: { ...WEB, "policy-arn": [READ_ONLY] },
    wanted: { kind: "web-identity", policyArns: [READ_ONLY] },
  },
  {
    name: "option: AssumeRoleOptions.SerialNumber",
    flags: { "mfa-serial": MFA },
    wanted: { kind: "mfa", mfa: { serial: MFA } },
  },
  {
    name: "option: AssumeRoleOptions.TokenProvider",
    flags: { "mfa-serial": MFA, "mfa-command": "/bin/code" },
    wanted: { kind: "mfa", mfa: { serial: MFA, command: "/bin/code" } },
  },
];
for (const { name, flags, wanted } of ROWS) {
  Deno.test(name, async () => {
    const hop = (await hopsOf(flags)).findLast(({ kind }) =>
      kind === wanted["kind"]
    );
    assert.deepEqual({ ...hop, ...wanted }, hop);
  });
}

Deno.test("option: stscreds.StdinTokenProvider", async () => {
  const flags = { role: [ROLE], "mfa-serial": MFA };
  const asked: string[] = [];
  await read(flags, { validate: true, ask: answer("123456", asked) });
  assert.deepEqual(asked, [`MFA code of ${MFA}: `]);
});

const ADDRESS = {
  AWS_ENDPOINT_URL_STS: "http://127.0.0.1:1",
  AWS_CA_BUNDLE: "/ca.pem",
};
for (
  const [name, flags] of [
    ["option: AssumeRoleOptions.Client", {}],
    ["option: WebIdentityRoleOptions.Client", WEB],
  ] as [string, FlagValues][]
) {
  Deno.test(name, async () => {
    const given = { ...flags, region: "eu-west-1" };
    const hop = (await hopsOf(given, { env: ADDRESS })).at(-1);
    assert.deepEqual(hop?.at, {
      region: "eu-west-1",
      stsEndpoint: "http://127.0.0.1:1",
      caBundle: "/ca.pem",
    });
  });
}

Deno.test("readGrantFlags() gives transitive tags to the first role", async () => {
  const flags = { role: [ROLE, OTHER], tag: ["a=1"], "transitive-tag": ["a"] };
  const [, first] = await hopsOf(flags) as AssumeRoleHop[];
  assert.deepEqual([first?.tags, first?.transitiveTags], [[["a", "1"]], ["a"]]);
});

Deno.test("readGrantFlags() gives other tags to the last role", async () => {
  const flags = { role: [ROLE, OTHER], tag: ["a=1"] };
  assert.deepEqual((await lastHop(flags)).tags, [["a", "1"]]);
});

// Properties.

const valueOf = (name: string): fc.Arbitrary<string> => {
  const [sample] = [SAMPLES[name]?.[name]].flat();
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant(String(sample)) },
    { weight: 1, arbitrary: fc.string({ unit: "binary" }) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        "direct",
        "profile",
        ROLE,
        CHINA,
        "__proto__=1",
        "constructor=x",
        "pkcs11:a",
        "{}",
        "/dev/null",
        "12h",
        ".",
      ),
    },
  );
};

const anyFlags: fc.Arbitrary<FlagValues> = fc.record(
  Object.fromEntries(GRANT_FLAGS.map((flag) => [
    flag.name,
    flag.value === undefined
      ? fc.constant(true)
      : flag.repeatable
      ? fc.array(valueOf(flag.name), { minLength: 1, maxLength: 4 })
      : valueOf(flag.name),
  ])),
  { requiredKeys: [] },
) as fc.Arbitrary<FlagValues>;

/** Few flags, so that many sets of them are accepted. */
const someFlags = fc.tuple(
  fc.constantFrom<FlagValues>({ role: [ROLE] }, WEB, ANYWHERE, {
    source: ["direct"],
  }, {}),
  fc.subarray(Object.keys(SAMPLES), { maxLength: 3 }),
  anyFlags,
).map(([base, names, values]): FlagValues => ({
  ...base,
  ...Object.fromEntries(
    names.flatMap((name) => values[name] ? [[name, values[name]]] : []),
  ),
}));

Deno.test("readGrantFlags() gives settings or a usage error, whatever the flags", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(anyFlags, someFlags),
      fc.boolean(),
      fc.option(fc.string(), { nil: undefined }),
      async (flags, validate, typed) => {
        try {
          const ask = typed === undefined ? undefined : answer(typed);
          await read(flags, { validate, ask });
        } catch (error) {
          assert.ok(error instanceof MoatError, String(error));
          assert.equal(error.code, "usage");
        }
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("readGrantFlags() gives settings that the store keeps, whatever the flags", async () => {
  let kept = 0;
  await fc.assert(
    fc.asyncProperty(someFlags, async (flags) => {
      const input = await read(flags).catch(() => undefined);
      if (!input) return;
      kept++;
      const settings = writeSettings(input.settings);
      const grant: Grant = {
        provider: "aws",
        name: "aws",
        createdAt: 0,
        settings,
      };
      assert.deepEqual(readSettings(grant), input.settings);
    }),
    { numRuns: 500 },
  );
  assert.ok(kept > 50, `only ${kept} were accepted`);
});
