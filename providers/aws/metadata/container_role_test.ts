import assert from "node:assert/strict";
import * as fc from "fast-check";
import type { ContainerFacts } from "$core/container.ts";
import { MoatError } from "$core/errors.ts";
import type { MetadataSettings } from "$core/metadata.ts";
import { awsGrant, awsSettings } from "../../../tests/support/aws_grant.ts";
import { CANARY } from "../../../tests/support/canary.ts";
import { containerFacts } from "../../../tests/support/fake_containers.ts";
import { FakeClock } from "../../../tests/support/fake_clock.ts";
import { planHops } from "../hops.ts";
import { type ContainerRole, ContainerRoles } from "./container_role.ts";

const ACCOUNT = "123456789012";
const APP = `arn:aws:iam::${ACCOUNT}:role/app`;
const POLICY = '{"Version":"2012-10-17","Statement":[]}';
const GRANT = awsGrant({ roles: [], direct: true });

const container = (more: Partial<ContainerFacts> = {}) =>
  containerFacts({ id: "0123456789abcdef".repeat(4), ...more });

const naming = (IAM_ROLE: string, more: Record<string, string> = {}) =>
  container({ env: { IAM_ROLE, ...more } });

type Settings = Partial<
  Pick<MetadataSettings, "roles" | "defaultRole" | "defaultAccount">
>;

/** Roles of a bed whose IAM has one role per name. */
function rolesOf(
  settings: Settings = {},
  { isCompatible = false, arn = (name: string) => APP.replace("app", name) } =
    {},
): ContainerRoles {
  return new ContainerRoles({
    platform: { clock: new FakeClock() },
    engine: { findRole: (_grant, name) => Promise.resolve(arn(name)) },
    settings: { roles: "any", ...settings },
    isCompatible,
  });
}

async function errorOf(
  settings: Settings,
  facts: ContainerFacts,
  options = {},
): Promise<MoatError> {
  const roles = rolesOf(settings, options);
  try {
    await roles.find(facts, GRANT);
  } catch (error) {
    assert(error instanceof MoatError);
    return error;
  }
  throw new Error("found a role");
}

const FORMS: {
  name: string;
  settings?: Settings;
  text: string;
  role: string;
}[] = [
  { name: "an ARN", text: APP, role: APP },
  { name: "NAME@ACCOUNT", text: `app@${ACCOUNT}`, role: APP },
  {
    name: "PATH/NAME@ACCOUNT",
    text: `a/b/app@${ACCOUNT}`,
    role: `arn:aws:iam::${ACCOUNT}:role/a/b/app`,
  },
  {
    name: "a name in the default account",
    settings: { defaultAccount: "999999999999" },
    text: "app",
    role: "arn:aws:iam::999999999999:role/app",
  },
];

for (const { name, settings, text, role } of FORMS) {
  Deno.test(`ContainerRoles.find() finds ${name} at once`, () => {
    const found = rolesOf(settings).find(naming(text), GRANT);
    assert.equal((found as ContainerRole).role, role);
  });
}

Deno.test("ContainerRoles.find() asks IAM for a name without any account", async () => {
  const found = rolesOf({}, { arn: () => `${APP.replace("app", "x/app")}` })
    .find(naming("app"), GRANT);
  assert(found instanceof Promise);
  const { role, roleName } = await found;
  assert.deepEqual([role, roleName], [
    `arn:aws:iam::${ACCOUNT}:role/x/app`,
    "app",
  ]);
});

Deno.test("ContainerRoles.find() takes the partition of the grant's region", () => {
  const grant = awsGrant({ region: "cn-north-1" });
  const found = rolesOf().find(naming(`app@${ACCOUNT}`), grant);
  assert.equal(
    (found as ContainerRole).role,
    `arn:aws-cn:iam::${ACCOUNT}:role/app`,
  );
});

Deno.test("ContainerRoles.find() tells apart roles of one name by their path", async () => {
  const { code } = await errorOf({}, naming("team/app"));
  assert.equal(code, "role-unknown");
});

Deno.test("ContainerRoles.find() finds a role by its path in the grant's account", async () => {
  const arn = () => `arn:aws:iam::${ACCOUNT}:role/team/app`;
  const found = await rolesOf({}, { arn }).find(naming("team/app"), GRANT);
  assert.equal(found.role, arn());
});

Deno.test("ContainerRoles.find() believes no IAM that names no role", async () => {
  const { code } = await errorOf({}, naming("app"), { arn: () => "" });
  assert.equal(code, "sts-garbage");
});

Deno.test("ContainerRoles.find() takes no role of which label and variable differ", async () => {
  const facts = container({
    labels: { IAM_ROLE: APP },
    env: { IAM_ROLE: `other@${ACCOUNT}` },
  });
  assert.equal((await errorOf({}, facts)).code, "bad-role");
});

Deno.test("ContainerRoles.find() takes a role that label and variable name alike", () => {
  const said = { IAM_ROLE: APP };
  const facts = container({ labels: said, env: said });
  const { roleName } = rolesOf().find(facts, GRANT) as ContainerRole;
  assert.equal(roleName, "app");
});

Deno.test("ContainerRoles.find() finds no role where none is named", async () => {
  const { code } = await errorOf({}, container());
  assert.equal(code, "no-role");
});

Deno.test("ContainerRoles.find() takes the default role where none is named", () => {
  const roles = rolesOf({ roles: [], defaultRole: APP });
  assert.equal((roles.find(container(), GRANT) as ContainerRole).role, APP);
});

Deno.test("ContainerRoles.find() refuses a role that is set to nothing", async () => {
  const { code } = await errorOf({ defaultRole: APP }, naming(""));
  assert.equal(code, "bad-role");
});

Deno.test("ContainerRoles.find() takes nothing for unset in compatible mode", () => {
  const roles = rolesOf({ defaultRole: APP }, { isCompatible: true });
  const facts = naming("", { IAM_EXTERNAL_ID: "" });
  const { role, externalId } = roles.find(facts, GRANT) as ContainerRole;
  assert.deepEqual([role, externalId], [APP, undefined]);
});

Deno.test("ContainerRoles.find() takes no image's label for a variable that is set to nothing in compatible mode", () => {
  const roles = rolesOf({ defaultRole: APP }, { isCompatible: true });
  const labels = { IAM_ROLE: APP.replace("app", "admin") };
  const { role } = roles.find(
    { ...naming(""), labels },
    GRANT,
  ) as ContainerRole;
  assert.equal(role, APP);
});

const REFUSED: { name: string; settings?: Settings; facts: ContainerFacts }[] =
  [
    { name: "no list", facts: naming(APP) },
    {
      name: "another list",
      settings: { roles: [APP.replace("app", "other")] },
      facts: naming(APP),
    },
    {
      name: "a default role, which another container named",
      settings: { defaultRole: APP },
      facts: naming(APP),
    },
  ];

for (const { name, settings, facts } of REFUSED) {
  Deno.test(`ContainerRoles.find() refuses a role with ${name}`, async () => {
    const { code, hint } = await errorOf({ roles: [], ...settings }, facts);
    assert.deepEqual([code, hint], [
      "role-not-allowed",
      `add "${APP}" to roles in [metadata] of moat.toml, then start moat again`,
    ]);
  });
}

Deno.test("ContainerRoles.find() compares what IAM says, not what the container wrote", async () => {
  const roles = [`app@${ACCOUNT}`];
  const arn = () => `arn:aws:iam::${ACCOUNT}:role/admin/app`;
  const { code, message, hint } = await errorOf({ roles }, naming("app"), {
    arn,
  });
  assert.equal(code, "role-not-allowed");
  assert.match(hint ?? "", /role\/admin\/app"/);
  assert.doesNotMatch(message, /admin|1234/);
});

Deno.test("ContainerRoles.find() allows what the line of its hint allows", async () => {
  const text = `a"\\b/app@${ACCOUNT}`;
  const { hint = "" } = await errorOf({ roles: [] }, naming(text));
  const line = JSON.parse(/"(?:[^"\\]|\\.)*"/.exec(hint)?.[0] ?? "");
  const found = rolesOf({ roles: [line] }).find(naming(text), GRANT);
  assert.equal((found as ContainerRole).roleName, "app");
});

Deno.test("ContainerRoles.find() gives what the container says of its session", () => {
  const facts = naming(APP, {
    IAM_EXTERNAL_ID: "id-1",
    IAM_POLICY: ` ${POLICY} `,
    IAM_SESSION_NAME: "job 7",
  });
  assert.deepEqual(rolesOf().find(facts, GRANT), {
    role: APP,
    roleName: "app",
    externalId: "id-1",
    policy: POLICY,
    sessionName: "job-7-0123456789ab",
  });
});

Deno.test("ContainerRoles.find() names the session after the container", () => {
  assert.deepEqual(rolesOf().find(naming(APP), GRANT), {
    role: APP,
    roleName: "app",
    sessionName: "{container}-0123456789ab",
  });
});

Deno.test("ContainerRoles.find() takes a name that a container gives for no template", () => {
  const facts = naming(APP, { IAM_SESSION_NAME: "{user}" });
  const { sessionName } = rolesOf().find(facts, GRANT) as ContainerRole;
  assert.equal(sessionName, "-user--0123456789ab");
});

Deno.test("ContainerRoles.find() shows the container's id whatever name it gives", () => {
  const facts = naming(APP, { IAM_SESSION_NAME: "x".repeat(99) });
  const { sessionName = "" } = rolesOf().find(facts, GRANT) as ContainerRole;
  assert.match(sessionName, /^x+[\w-]+-0123456789ab$/);
  assert.equal(sessionName.length, 64);
});

Deno.test("ContainerRoles.find() names sessions as go-metadataproxy in compatible mode", () => {
  const roles = rolesOf({}, { isCompatible: true });
  assert.deepEqual(roles.find(naming(APP), GRANT), {
    role: APP,
    roleName: "app",
    sessionName: "go-metadataproxy",
    durationSeconds: 3600,
  });
});

const BAD_VALUES: { name: string; env: Record<string, string> }[] = [
  { name: "an external ID of one character", env: { IAM_EXTERNAL_ID: "x" } },
  { name: "an external ID with a space", env: { IAM_EXTERNAL_ID: "a b" } },
  {
    name: "an external ID without an end",
    env: { IAM_EXTERNAL_ID: "x".repeat(1225) },
  },
  { name: "an empty policy", env: { IAM_POLICY: "" } },
  { name: "a policy that is no JSON", env: { IAM_POLICY: `{${CANARY}` } },
  { name: "a policy without a statement", env: { IAM_POLICY: "{}" } },
  { name: "a list as policy", env: { IAM_POLICY: '["Statement"]' } },
  { name: "a file as policy", env: { IAM_POLICY: "/etc/hostname" } },
  {
    name: "a policy that is too long",
    env: { IAM_POLICY: `{"Statement":"${"x".repeat(2048)}"}` },
  },
  {
    name: "a policy that nobody would read",
    env: { IAM_POLICY: `{"Statement":[]}${" ".repeat(65_536)}` },
  },
];

for (const { name, env } of BAD_VALUES) {
  Deno.test(`ContainerRoles.find() refuses ${name}`, async () => {
    const error = await errorOf({}, naming(APP, env));
    assert.equal(error.code, "bad-role");
    const [variable = "", value = ""] = Object.entries(env)[0] ?? [];
    assert.match(error.message, new RegExp(`container's ${variable}: wanted`));
    assert(value.length < 3 || !error.message.includes(value));
  });
}

const BAD_DEFAULTS: { name: string; settings: Settings; message: RegExp }[] = [
  {
    name: "a pattern",
    settings: { roles: ["no role"] },
    message: /"no role" in roles/,
  },
  {
    name: "a default role",
    settings: { defaultRole: "my role" },
    message: /"my role" as the default role/,
  },
  {
    name: "an empty default role",
    settings: { defaultRole: "" },
    message: /"" as the default role/,
  },
  {
    name: "a default account",
    settings: { defaultAccount: "123" },
    message: /"123" as the default account/,
  },
];

for (const { name, settings, message } of BAD_DEFAULTS) {
  Deno.test(`ContainerRoles refuses ${name} that is none`, () => {
    assert.throws(() => rolesOf(settings), { code: "bad-config", message });
  });
}

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.constantFrom(APP, "app", `app@${ACCOUNT}`, POLICY, "id-1", CANARY),
);
const NAMES = [
  ...["IAM_ROLE", "IAM_EXTERNAL_ID", "IAM_POLICY", "IAM_SESSION_NAME"],
] as const;
const values = fc.dictionary(fc.constantFrom(...NAMES), text);

Deno.test("ContainerRoles.find() throws nothing but errors of moat, and names sessions as STS takes them", async () => {
  const roles = rolesOf({ defaultRole: APP });
  const facts = fc.record({ env: values, labels: values, name: text });
  await fc.assert(
    fc.asyncProperty(facts, async (facts) => {
      try {
        const { sessionName = "" } = await roles.find(container(facts), GRANT);
        assert.match(
          sessionName,
          /^(\{container\}-0123456789ab|[\w+=,.@-]{2,64})$/,
        );
      } catch (error) {
        assert(error instanceof MoatError, String(error));
        assert.match(error.code, /^(bad-role|no-role|sts-garbage)$/);
      }
    }),
    { numRuns: 1000 },
  );
});

Deno.test("whatever the inputs of two containers differ in, the keys of their sessions differ", () => {
  const settings = awsSettings({ roles: [], direct: true });
  const roles = rolesOf();
  const inputs = fc.record({
    IAM_ROLE: fc.constantFrom(APP, `b@${ACCOUNT}`, `app@999999999999`),
    IAM_EXTERNAL_ID: fc.constantFrom("id-1", "id-2"),
    IAM_POLICY: fc.constantFrom(POLICY, POLICY.replace("[]", "{}")),
    IAM_SESSION_NAME: fc.constantFrom("s1", "s2"),
  }, { requiredKeys: ["IAM_ROLE"] });
  const keyOf = (env: Record<string, string>) => {
    const role = roles.find(container({ env }), GRANT) as ContainerRole;
    return JSON.stringify(planHops(settings, { name: "n", grants: [] }, role));
  };
  fc.assert(
    fc.property(inputs, inputs, (a, b) => {
      const isSame = NAMES.every((name) => a[name] === b[name]);
      assert.equal(keyOf(a) === keyOf(b), isSame);
    }),
    { numRuns: 2000 },
  );
});
