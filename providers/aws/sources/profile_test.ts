import assert from "node:assert/strict";
import fc from "fast-check";
import { fromIni } from "@aws-sdk/credential-providers";
import { Workspace } from "../../../tests/support/workspace.ts";
import { loadProfiles, planProfile } from "./profile.ts";

const ROLE = "arn:aws:iam::123456789012:role/X";
const KEYS = "aws_access_key_id = AKIA\naws_secret_access_key = x";
const PROCESS = "credential_process = /opt/tool";

/** [section, how it begins, how many roles follow] */
const PLANS: Readonly<
  Record<string, [text: string, base: string, roles: number]>
> = {
  "keys": [KEYS, "keys", 0],
  "half a pair of keys": ["aws_access_key_id = AKIA", "nothing", 0],
  "keys beside a program": [`${KEYS}\n${PROCESS}`, "keys", 0],
  "a program": [PROCESS, "process", 0],
  "a program beside SSO": [`${PROCESS}\nsso_session = corp`, "process", 0],
  "SSO": ["sso_session = corp", "sso", 0],
  "SSO without a session": ["sso_start_url = https://x", "sso", 0],
  "a login": ["login_session = arn", "login", 0],
  "a token": [
    `role_arn = ${ROLE}\nweb_identity_token_file = /t`,
    "web-identity",
    0,
  ],
  "a token without a role": ["web_identity_token_file = /t", "nothing", 0],
  "a role without a source": [`role_arn = ${ROLE}`, "nothing", 0],
  "a role from keys": [`role_arn = ${ROLE}\nsource_profile = keys`, "keys", 1],
  "a role from its own keys": [
    `role_arn = ${ROLE}\nsource_profile = it\n${KEYS}`,
    "keys",
    1,
  ],
  "a role from a role": [
    `role_arn = ${ROLE}\nsource_profile = role`,
    "keys",
    2,
  ],
  "a role from the environment": [
    `role_arn = ${ROLE}\ncredential_source = Environment`,
    "environment",
    1,
  ],
  "a role from the container": [
    `role_arn = ${ROLE}\ncredential_source = EcsContainer`,
    "container",
    1,
  ],
  "a role from the instance": [
    `role_arn = ${ROLE}\ncredential_source = Ec2InstanceMetadata`,
    "instance",
    1,
  ],
  "a role from elsewhere": [
    `role_arn = ${ROLE}\ncredential_source = constructor`,
    "nothing",
    1,
  ],
  "a role from a profile that names a source": [
    `role_arn = ${ROLE}\nsource_profile = sourced`,
    "environment",
    1,
  ],
  "a role with two sources, and keys": [
    `role_arn = ${ROLE}\nsource_profile = keys\ncredential_source = Environment\n${KEYS}`,
    "keys",
    0,
  ],
  "a role from nobody": [
    `role_arn = ${ROLE}\nsource_profile = nobody`,
    "nothing",
    1,
  ],
  "a role from itself": [
    `role_arn = ${ROLE}\nsource_profile = it`,
    "nothing",
    2,
  ],
};

const OTHERS = `
[profile keys]
${KEYS}
[profile role]
role_arn = ${ROLE}
source_profile = keys
[profile sourced]
credential_source = Environment
`;

for (const [name, [text, base, roles]] of Object.entries(PLANS)) {
  Deno.test(`planProfile() reads ${name}`, async () => {
    await using workspace = await Workspace.open();
    const configFile = await workspace.write(
      "config",
      `${OTHERS}\n[profile it]\n${text}\n`,
    );
    const credentialsFile = workspace.path("credentials");
    const profiles = await loadProfiles({
      order: [],
      configFile,
      credentialsFile,
    });
    const plan = planProfile(profiles, "it");
    assert.deepEqual([plan.base.kind, plan.roles.length], [base, roles]);
  });
}

const NAMES = ["a", "b", "c"] as const;
const section = fc.record({
  keys: fc.boolean(),
  // Mostly chains of roles: else nearly all would be nothing.
  role: fc.constantFrom(true, true, true, false),
  source: fc.option(fc.constantFrom(...NAMES, "gone"), { freq: 4 }),
  from: fc.constantFrom(undefined, undefined, undefined, "Environment", "Moon"),
});

/** What credentials were, and which roles were assumed with them. */
type Trail = readonly string[] | "nothing";

async function trailOfSdk(file: string): Promise<Trail> {
  try {
    const { accessKeyId } = await fromIni({
      profile: "a",
      filepath: "/proc/nonexistent",
      configFilepath: file,
      ignoreCache: true,
      roleAssumer: ({ accessKeyId }, { RoleArn }) =>
        Promise.resolve({
          accessKeyId: `${accessKeyId} ${RoleArn}`,
          secretAccessKey: "x",
        }),
    })();
    return accessKeyId.split(" ");
  } catch {
    return "nothing";
  }
}

async function ourTrail(configFile: string): Promise<Trail> {
  const credentialsFile = "/proc/nonexistent";
  const { base, roles } = planProfile(
    await loadProfiles({ order: [], configFile, credentialsFile }),
    "a",
  );
  if (base.kind === "nothing") return "nothing";
  const first = base.kind === "environment"
    ? "ENVIRONMENT"
    : base.section["aws_access_key_id"] ?? "";
  return [first, ...roles.map((section) => section["role_arn"] ?? "")];
}

Deno.test("planProfile() plans what the SDK does", async () => {
  await using workspace = await Workspace.open();
  Deno.env.set("AWS_ACCESS_KEY_ID", "ENVIRONMENT");
  Deno.env.set("AWS_SECRET_ACCESS_KEY", "x");
  const trails = new Set<string>();
  try {
    await fc.assert(
      fc.asyncProperty(fc.tuple(section, section, section), async (all) => {
        const text = all.map(({ keys, role, source, from }, i) =>
          [
            `[profile ${NAMES[i]}]`,
            "region = eu-west-1",
            keys && `aws_access_key_id = ${NAMES[i]}`,
            keys && "aws_secret_access_key = x",
            role && `role_arn = ${ROLE}/${NAMES[i]}`,
            source && `source_profile = ${source}`,
            from && `credential_source = ${from}`,
          ].filter(Boolean).join("\n")
        ).join("\n");
        const file = await workspace.write("config", text);
        const trail = await ourTrail(file);
        trails.add(trail === "nothing" ? trail : `${trail.length - 1} roles`);
        assert.deepEqual(trail, await trailOfSdk(file));
      }),
      { numRuns: 500 },
    );
  } finally {
    Deno.env.delete("AWS_ACCESS_KEY_ID");
    Deno.env.delete("AWS_SECRET_ACCESS_KEY");
  }
  // Else it would compare nothing with nothing.
  for (const wanted of ["nothing", "0 roles", "1 roles", "2 roles"]) {
    assert.ok(trails.has(wanted), wanted);
  }
});
