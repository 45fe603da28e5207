import assert from "node:assert/strict";
import * as fc from "fast-check";
import type { Binding } from "$core/binding.ts";
import { awsSettings, awsSource, ROLE } from "../../tests/support/aws_grant.ts";
import {
  type AssumeRoleHop,
  type FurtherRole,
  type Hop,
  planHops,
} from "./hops.ts";
import type { AwsSettings, BindingSettings } from "./settings.ts";

const OTHER = "arn:aws:iam::123456789012:role/Other";
const ANYWHERE = {
  trustAnchorArn: "arn:aws:rolesanywhere:eu-central-1:1:trust-anchor/t",
  profileArn: "arn:aws:rolesanywhere:eu-central-1:1:profile/p",
  certificates: ["/c"],
  privateKey: "/k",
  region: "eu-central-1",
};

function binding(
  settings?: BindingSettings,
  subject: Binding["subject"] = {},
): Binding {
  return {
    name: "run-a",
    grants: ["aws"],
    subject,
    ...(settings && { settings: { aws: { ...settings } } }),
  };
}

function plan(more: Partial<AwsSettings>, by = binding()): Hop[] {
  return planHops(awsSettings(more), by);
}

const roleHops = (hops: Hop[]) =>
  hops.filter((hop): hop is AssumeRoleHop => hop.kind === "assume-role");

const KINDS: { name: string; more: Partial<AwsSettings>; kinds: string[] }[] = [
  { name: "a role", more: {}, kinds: ["source", "assume-role"] },
  {
    name: "two roles",
    more: { roles: [ROLE, OTHER] },
    kinds: ["source", "assume-role", "assume-role"],
  },
  {
    name: "MFA",
    more: { mfa: { serial: "s" } },
    kinds: ["source", "mfa", "assume-role"],
  },
  {
    name: "a web identity",
    more: { webIdentityTokenFile: "/t", roles: [ROLE, OTHER] },
    kinds: ["web-identity", "assume-role"],
  },
  {
    name: "Roles Anywhere",
    more: { anywhere: ANYWHERE, roles: [ROLE, OTHER] },
    kinds: ["roles-anywhere", "assume-role"],
  },
  {
    name: "a source's own session",
    more: { direct: true, roles: [] },
    kinds: ["source"],
  },
];

for (const { name, more, kinds } of KINDS) {
  Deno.test(`planHops() of ${name} is ${kinds.join(", ")}`, () => {
    assert.deepEqual(plan(more).map(({ kind }) => kind), kinds);
  });
}

Deno.test("planHops() gives the options to the last role alone", () => {
  const [first, last] = roleHops(plan({
    roles: [ROLE, OTHER],
    externalId: "id",
    policy: "{}",
    policyArns: ["p"],
    durationSeconds: 900,
  }));
  const of = (hop: AssumeRoleHop | undefined) => [
    hop?.externalId,
    hop?.policy,
    hop?.policyArns,
    hop?.durationSeconds,
  ];
  assert.deepEqual([of(first), of(last)], [
    [undefined, undefined, [], 3600],
    ["id", "{}", ["p"], 900],
  ]);
});

Deno.test("planHops() gives transitive tags and the source identity at the first role", () => {
  const hops = roleHops(plan({
    roles: [ROLE, OTHER],
    tags: { b: "2", a: "1" },
    transitiveTags: ["b"],
    sourceIdentity: "me",
  }));
  assert.deepEqual(
    hops.map(({ tags, transitiveTags, sourceIdentity }) => [
      tags,
      transitiveTags,
      sourceIdentity,
    ]),
    [[[["b", "2"]], ["b"], "me"], [[["a", "1"]], [], undefined]],
  );
});

Deno.test("planHops() makes tags of the labels that the grant names, and of no other", () => {
  const by = binding(undefined, { labels: { team: "x", evil: "y" } });
  const [hop] = roleHops(plan({ labelTags: ["team", "none"] }, by));
  assert.deepEqual(hop?.tags, [["team", "x"]]);
});

Deno.test("planHops() overrides no tag of the grant by a label", () => {
  const by = binding(undefined, { labels: { team: "x" } });
  const more = { labelTags: ["team"], tags: { team: "grant" } };
  assert.deepEqual(roleHops(plan(more, by))[0]?.tags, [["team", "grant"]]);
});

Deno.test("planHops() lets a binding shorten and name its session, and give it a policy", () => {
  const settings = { durationSeconds: 900, sessionName: "n1", policy: "{}" };
  const [hop] = roleHops(plan({}, binding(settings)));
  assert.deepEqual(
    [hop?.durationSeconds, hop?.sessionName, hop?.policy],
    [900, "n1", "{}"],
  );
});

const WIDER: { name: string; more: Partial<AwsSettings>; by: object }[] = [
  { name: "a longer session", more: {}, by: { durationSeconds: 3601 } },
  {
    name: "a policy beside the grant's",
    more: { policy: "{}" },
    by: { policy: "{}" },
  },
  {
    name: "a duration above STS's own, which the grant leaves it to",
    more: { webIdentityTokenFile: "/t", durationSeconds: undefined },
    by: { durationSeconds: 3601 },
  },
  {
    name: "a policy that Roles Anywhere would not take",
    more: { anywhere: ANYWHERE },
    by: { policy: "{}" },
  },
  {
    name: "a policy beside the grant's managed ones",
    more: { policyArns: ["p"] },
    by: { policy: "{}" },
  },
  {
    name: "a policy on a source's own session",
    more: { direct: true, roles: [] },
    by: { policy: "{}" },
  },
];

for (const { name, more, by } of WIDER) {
  Deno.test(`planHops() refuses a binding with ${name}`, () => {
    assert.throws(() => plan(more, binding(by)), { code: "usage" });
  });
}

Deno.test("planHops() refuses a binding's settings that it does not know", () => {
  const by = { ...binding(), settings: { aws: { tags: { a: "b" } } } };
  assert.throws(() => plan({}, by), { code: "binding-damaged" });
});

/** One change of each setting. */
const CHANGES: Partial<AwsSettings>[] = [
  {},
  { roles: [OTHER] },
  { roles: [OTHER, ROLE] },
  { region: "us-east-1" },
  { durationSeconds: 901 },
  { durationSeconds: undefined },
  { externalId: "e" },
  { sessionName: "name" },
  { policy: "{}" },
  { policyArns: ["arn"] },
  { tags: { a: "b" } },
  { tags: { a: "c" } },
  { tags: { a: "b" }, transitiveTags: ["a"] },
  { labelTags: ["label"] },
  { sourceIdentity: "id" },
  { direct: true, roles: [] },
  { mfa: { serial: "s1" } },
  { mfa: { serial: "s2" } },
  { mfa: { serial: "s1", command: "c" } },
  { webIdentityTokenFile: "/t" },
  { webIdentityTokenFile: "/u" },
  ...Object.entries({ ...ANYWHERE, endpoint: "e", fips: true, dualStack: true })
    .map(([key, value]) => ({
      anywhere: {
        ...ANYWHERE,
        [key]: typeof value === "string"
          ? value + "x"
          : typeof value === "boolean"
          ? value
          : ["/x"],
      },
    })),
  { stsEndpoint: "http://127.0.0.1:1" },
  { caBundle: "/ca" },
  { source: awsSource({ order: ["profile"] }) },
  { source: awsSource({ profile: "p" }) },
  { source: awsSource({ configFile: "/c" }) },
  { source: awsSource({ credentialsFile: "/c" }) },
  { source: awsSource({ webIdentity: { tokenFile: "/t", role: ROLE } }) },
  { source: awsSource({ container: { url: "http://127.0.0.1/" } }) },
  { source: awsSource({ instanceEndpoint: "http://127.0.0.1/" }) },
  { source: awsSource({ instanceDisabled: false }) },
];

Deno.test("each option changed alone gives another key", () => {
  const by = binding(undefined, { labels: { label: "x" } });
  const keys = CHANGES.map((more) => JSON.stringify(plan(more, by)));
  const same = keys.map((key, i) => [i, keys.indexOf(key)])
    .filter(([i, first]) => i !== first)
    .map(([i]) => CHANGES[i ?? 0]);
  assert.deepEqual(same, []);
});

Deno.test("whatever the tags, they and no others are given once in all", () => {
  const tags = fc.dictionary(fc.string(), fc.string());
  fc.assert(fc.property(tags, fc.infiniteStream(fc.boolean()), (tags, coin) => {
    const transitiveTags = Object.keys(tags).filter(() => coin.next().value);
    const hops = roleHops(
      plan({ roles: [ROLE, OTHER, ROLE], tags, transitiveTags }),
    );
    const given = hops.flatMap((hop) => hop.tags.map(([key]) => key));
    assert.deepEqual(given.sort(), Object.keys(tags).sort());
  }));
});

const FURTHER: FurtherRole = { role: OTHER, sessionName: "web-0123456789ab" };

function planFurther(
  more: Partial<AwsSettings>,
  further: FurtherRole = FURTHER,
  by = binding(),
): Hop[] {
  return planHops(awsSettings(more), by, further);
}

for (const { name, more, kinds } of KINDS) {
  Deno.test(`planHops() assumes a further role after ${name}`, () => {
    const hops = planFurther(more);
    assert.deepEqual(hops.map(({ kind }) => kind), [...kinds, "assume-role"]);
  });
}

Deno.test("planHops() leaves to the grant's last role all but its life", () => {
  const more = {
    durationSeconds: 900,
    externalId: "id",
    policy: "{}",
    policyArns: ["p"],
    tags: { a: "1", b: "2" },
    labelTags: ["team"],
    transitiveTags: ["b"],
    sourceIdentity: "me",
  };
  const by = binding(undefined, { labels: { team: "x" } });
  const [alone] = roleHops(plan(more, by));
  const [first] = roleHops(planFurther(more, FURTHER, by));
  assert.deepEqual(first, { ...alone, durationSeconds: 3600 });
});

for (const more of [{ webIdentityTokenFile: "/t" }, { anywhere: ANYWHERE }]) {
  const [way = ""] = Object.keys(more);
  Deno.test(`planHops() makes a session of ${way} an hour long for a further role`, () => {
    const [first] = planFurther({ ...more, durationSeconds: 900 });
    assert.equal((first as AssumeRoleHop).durationSeconds, 3600);
  });
}

Deno.test("planHops() gives a further role what was asked for, and nothing of the grant's", () => {
  const further = {
    role: OTHER,
    externalId: "container",
    policy: '{"Statement":[]}',
    sessionName: "job",
    durationSeconds: 3600,
  };
  const hops = planFurther({
    externalId: "grant",
    policy: "{}",
    policyArns: ["p"],
    tags: { a: "1" },
    sourceIdentity: "me",
    sessionName: "granted",
  }, further);
  const { at: _, ...last } = roleHops(hops).at(-1) ?? {};
  assert.deepEqual(last, {
    kind: "assume-role",
    ...further,
    policyArns: [],
    tags: [],
    transitiveTags: [],
    sourceIdentity: undefined,
  });
});

Deno.test("planHops() leaves the life of a further role to STS", () => {
  const last = roleHops(planFurther({ durationSeconds: 900 })).at(-1);
  assert.equal(last?.durationSeconds, undefined);
});

Deno.test("planHops() names a further role's session as the grant does where it has no name", () => {
  const last = roleHops(planFurther({}, { role: OTHER })).at(-1);
  assert.equal(last?.sessionName, "moat-run-a");
});

Deno.test("planHops() fills in who asks for a further role", () => {
  const by = binding(undefined, { container: "web" });
  const further = { role: OTHER, sessionName: "{container}-0123456789ab" };
  const last = roleHops(planFurther({}, further, by)).at(-1);
  assert.equal(last?.sessionName, "web-0123456789ab");
});

Deno.test("planHops() tags a further role's session with the labels that the grant names, and with no other", () => {
  const by = binding(undefined, { labels: { team: "x", evil: "y" } });
  const more = { labelTags: ["team", "none"] };
  const last = roleHops(planFurther(more, FURTHER, by)).at(-1);
  assert.deepEqual(last?.tags, [["team", "x"]]);
});

Deno.test("planHops() gives a transitive tag to a further role by inheritance alone", () => {
  const by = binding(undefined, { labels: { team: "x", job: "y" } });
  const more = { labelTags: ["team", "job"], transitiveTags: ["team"] };
  const given = roleHops(planFurther(more, FURTHER, by))
    .map(({ tags, transitiveTags }) => [tags, transitiveTags]);
  assert.deepEqual(given, [
    [[["job", "y"], ["team", "x"]], ["team"]],
    [[["job", "y"]], []],
  ]);
});

Deno.test("planHops() overrides no tag of the grant for a further role", () => {
  const by = binding(undefined, { labels: { team: "x" } });
  const more = { labelTags: ["team"], tags: { team: "grant" } };
  const last = roleHops(planFurther(more, FURTHER, by)).at(-1);
  assert.deepEqual(last?.tags, []);
});

Deno.test("planHops() gives the source identity to a further role if it is the first", () => {
  const more = { direct: true, roles: [], sourceIdentity: "me" } as const;
  const [only] = roleHops(planFurther(more));
  assert.equal(only?.sourceIdentity, "me");
});

Deno.test("each option of a further role changed alone gives another key", () => {
  const changes: Partial<FurtherRole>[] = [
    {},
    { role: ROLE },
    { externalId: "id" },
    { policy: "{}" },
    { sessionName: "n1" },
    { durationSeconds: 3600 },
  ];
  const keys = changes.map((more) =>
    JSON.stringify(planFurther({}, { ...FURTHER, ...more }))
  );
  assert.equal(new Set(keys).size, changes.length);
});
