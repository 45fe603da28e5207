import assert from "node:assert/strict";
import { join } from "node:path";
import { testUnless } from "../tests/support/conditional.ts";
import { tempHome } from "../tests/support/temp_home.ts";
import {
  loadConfig,
  parseConfig,
  type PolicyFlags,
  policyFor,
  withFlags,
} from "./config.ts";
import { NO_METADATA } from "./metadata.ts";
import { DEFAULT_POLICY, type Policy } from "./policy.ts";

const WHOLE = `
# Where builds may go.
[policy]
default = "deny"
allow_hosts = ["Registry.internal:4873"]
plain_http = ["registry.internal:4873"]

[[policy.rules]]
action = "deny"
host = "api.github.com"
path = "/repos/acme/secret/**"

[[policy.rules]]
action = "allow"
host = "*.Example.com"
methods = ["GET", "HEAD"]

[bindings.web.policy]
default = "allow"
`;

const COMMON: Policy = {
  default: "deny",
  rules: [
    {
      action: "deny",
      host: "api.github.com",
      path: "/repos/acme/secret/**",
    },
    { action: "allow", host: "*.example.com", methods: ["GET", "HEAD"] },
  ],
  allowHosts: ["registry.internal:4873"],
  plainHttp: ["registry.internal:4873"],
};

Deno.test("parseConfig() reads the policy", () => {
  assert.deepEqual(parseConfig(WHOLE, "f").policy, COMMON);
});

Deno.test("parseConfig() takes an empty file for the defaults", () => {
  assert.deepEqual(parseConfig("", "f").policy, DEFAULT_POLICY);
});

Deno.test("parseConfig() takes an empty policy for the default one", () => {
  assert.deepEqual(parseConfig("[policy]", "f").policy, DEFAULT_POLICY);
});

Deno.test("policyFor() gives a binding its own policy, and that whole", () => {
  const config = parseConfig(WHOLE, "f");
  const own = { ...DEFAULT_POLICY, default: "allow" };
  assert.deepEqual(policyFor(config, "web"), own);
});

for (const name of [undefined, "other", "constructor", "__proto__"]) {
  Deno.test(`policyFor() gives ${name} the common policy`, () => {
    assert.deepEqual(policyFor(parseConfig(WHOLE, "f"), name), COMMON);
  });
}

/** `^` is where the fault is told. */
const FAULTS: [name: string, text: string, message: RegExp][] = [
  ["an unknown table", "^[proxy]\n", /unknown key "proxy"/],
  ["an unknown key", "[policy]\n^defualt = 1", /unknown key "defualt"/],
  ["a camel-case key", "[policy]\n^allowHosts = []", /unknown key$/],
  ["another default", '[policy]\n^default = "ask"', /wanted "allow" or "deny"/],
  ["a policy of no table", "^policy = 1", /wanted a table, found a number/],
  ["rules of no list", "[policy]\n^rules = {}", /wanted a list, found a table/],
  [
    "an unknown key of a rule",
    '[[policy.rules]]\naction = "deny"\nhost = "a"\n^metods = ["GET"]',
    /unknown key "metods"/,
  ],
  [
    "an unknown key of the second rule",
    '[[policy.rules]]\naction = "deny"\nhost = "a"\n\n[[policy.rules]]\n  ^pth = "/"',
    /unknown key "pth"/,
  ],
  [
    "an unknown key of an inline rule",
    '[policy]\nrules = [\n  { action = "deny", host = "a", ^x = 1 },\n]',
    /unknown key "x"/,
  ],
  [
    "an unknown key of a dotted table",
    "policy.^x = 1",
    /unknown key "x"/,
  ],
  [
    "a rule without a host",
    '[[policy.rules]]\naction = "deny"\nhost = "a"\n^[[policy.rules]]\naction = "deny"',
    /the key "host" is missing/,
  ],
  [
    "another action",
    '[[policy.rules]]\nhost = "a"\n^action = "drop"',
    /wanted "allow" or "deny"/,
  ],
  [
    "a host of no rule",
    '[[policy.rules]]\naction = "deny"\n^host = "*.*"',
    /wanted HOST, \*\.SUFFIX or \*, and :PORT/,
  ],
  [
    "a URL for a host",
    '[[policy.rules]]\naction = "deny"\n^host = "https://a"',
    /wanted HOST/,
  ],
  [
    "a number for a host",
    '[[policy.rules]]\naction = "deny"\n^host = 1',
    /wanted a text, found a number/,
  ],
  [
    "a method in lower case",
    '[[policy.rules]]\naction = "deny"\nhost = "a"\nmethods = ["GET", ^"get"]',
    /wanted a method in upper case/,
  ],
  [
    "no methods",
    '[[policy.rules]]\naction = "deny"\nhost = "a"\n^methods = []',
    /wanted a method at least/,
  ],
  [
    "a path of no rule",
    '[[policy.rules]]\naction = "deny"\nhost = "a"\n^path = "v1"',
    /begins with "\/"/,
  ],
  [
    "a private host without a port",
    '[policy]\nallow_hosts = ["a:1", ^"a"]',
    /wanted HOST:PORT/,
  ],
  [
    "a plain host of a wildcard",
    '[policy]\nplain_http = [\n  ^"*.a:1",\n]',
    /wanted HOST:PORT/,
  ],
  [
    "a binding without a policy",
    "^[bindings.web]",
    /the key "policy" is missing/,
  ],
  [
    "an unknown key of a binding",
    '[bindings.web]\n^grants = ["aws"]',
    /unknown key "grants"/,
  ],
  [
    "an unknown key of a binding's policy",
    '[bindings."a.b".policy]\n^x = 1',
    /unknown key "x"/,
  ],
  [
    "a name of no binding",
    '^[bindings."a b".policy]',
    /wanted the name of a binding/,
  ],
  [
    "the name of a run",
    "^[bindings.run-x.policy]",
    /wanted the name of a binding/,
  ],
  ["bindings of no table", "^bindings = []", /wanted a table, found a list/],
  ["a member that is no value", "[policy]\ndefault = ^deny", /invalid value/],
  ["__proto__", "^__proto__ = 1", /unknown key/],
];
for (const [name, marked, message] of FAULTS) {
  Deno.test(`parseConfig() tells the place of ${name}`, () => {
    assertFault(marked, message);
  });
}

/** Fails unless a fault is told where `^` is. */
function assertFault(marked: string, message: RegExp): void {
  const before = marked.slice(0, marked.indexOf("^")).split("\n");
  const place = `line ${before.length}, column ${
    (before.at(-1) ?? "").length + 1
  }`;
  assert.throws(
    () => parseConfig(marked.replace("^", ""), "/f"),
    (error: Error & { code: string }) => {
      assert.equal(error.code, "bad-config");
      assert.match(error.message, message);
      assert.ok(error.message.startsWith(`Cannot use "/f" at ${place}: `));
      return true;
    },
  );
}

/** Every key of the table. */
const METADATA = `
[metadata]
grant = "aws:prod"
roles = ["app-*", "arn:aws:iam::123456789012:role/team/**"]
default_role = "app-web"
default_account = "123456789012"
v1 = true
passthrough = ["/latest/meta-data/hostname"]
engines = ["unix:///run/podman/podman.sock"]
`;

Deno.test("parseConfig() reads every key of metadata", () => {
  assert.deepEqual(parseConfig(METADATA, "f").metadata, {
    grant: "aws:prod",
    roles: ["app-*", "arn:aws:iam::123456789012:role/team/**"],
    defaultRole: "app-web",
    defaultAccount: "123456789012",
    v1: true,
    passthrough: ["/latest/meta-data/hostname"],
  });
});

Deno.test("parseConfig() reads the engines", () => {
  const { engines } = parseConfig(METADATA, "f");
  assert.deepEqual(engines, ["unix:///run/podman/podman.sock"]);
});

for (const text of ["", "[policy]", "[metadata]", "metadata = {}"]) {
  Deno.test(`parseConfig() serves nobody with ${JSON.stringify(text)}`, () => {
    const config = parseConfig(text, "f");
    assert.deepEqual(config.metadata, NO_METADATA);
    assert(!("engines" in config), "the engines are where they usually are");
  });
}

Deno.test("parseConfig() tells no engines from those of the usual places", () => {
  assert.deepEqual(parseConfig("[metadata]\nengines = []", "f").engines, []);
});

const GRANTS = ["aws", "aws:prod", "a.b@c-d_e:1", "-"];
for (const grant of GRANTS) {
  Deno.test(`parseConfig() takes the grant ${grant}`, () => {
    const text = `[metadata]\ngrant = "${grant}"`;
    assert.equal(parseConfig(text, "f").metadata.grant, grant);
  });
}

/** Keys by what they want, and what else there may be. */
const WANTED: Readonly<
  Record<string, { keys: readonly string[]; others: readonly string[] }>
> = {
  "a text": {
    keys: ["grant", "default_role", "default_account"],
    others: ["true", "123456789012", '["a"]', "{}"],
  },
  "a list": {
    keys: ["roles", "passthrough", "engines"],
    others: ['"a"', "false", "{}"],
  },
  "true or false": { keys: ["v1"], others: ['"true"', "1", "[]"] },
};

/** `^` is where the fault is told. */
const METADATA_FAULTS: readonly (readonly [text: string, message: RegExp])[] = [
  ["^metadata = 1", /wanted a table, found a number/],
  ["^[[metadata]]", /wanted a table, found a list/],
  ['[metadata]\n^role = "a"', /unknown key "role"/],
  ["[metadata]\nv1 = true\n  ^V1 = true", /unknown key/],
  ["[metadata]\n^defaultRole = 'a'", /unknown key/],
  ["[metadata]\n^default-role = 'a'", /unknown key/],
  ["[metadata]\n^__proto__ = 1", /unknown key/],
  ["metadata.^grants = 'a'", /unknown key "grants"/],
  ["metadata = { v1 = true, ^x = 1 }", /unknown key "x"/],
  ["[policy]\n^engines = []", /unknown key "engines"/],
  ["^[metadata.roles]", /wanted a list, found a table/],
  ...["", "a b", ":prod", "aws:", "aws:a:b", "../aws", "aws/prod", "*"]
    .map((name): [string, RegExp] => [
      `[metadata]\n^grant = "${name}"`,
      /wanted the name of a grant/,
    ]),
  ...["roles", "passthrough", "engines"].map((key): [string, RegExp] => [
    `[metadata]\n${key} = [\n  "a",\n  ^1,\n]`,
    /wanted a text, found a number/,
  ]),
  ...Object.entries(WANTED).flatMap(([wanted, { keys, others }]) =>
    keys.flatMap((key) =>
      others.map((value): [string, RegExp] => [
        `[metadata]\n# why\n^${key} = ${value}`,
        new RegExp(`wanted ${wanted}, found `),
      ])
    )
  ),
];
for (const [marked, message] of METADATA_FAULTS) {
  Deno.test(`parseConfig() tells the place of the fault in ${JSON.stringify(marked)}`, () => {
    assertFault(marked, message);
  });
}

/** A home with a `moat.toml`, and one elsewhere. */
async function homeWith(texts: { own?: string; other?: string }) {
  const home = await tempHome();
  const own = join(home.directory, "moat.toml");
  const other = join(home.directory, "other.toml");
  for (
    const [path, text] of [[own, texts.own], [other, texts.other]] as const
  ) {
    if (text !== undefined) {
      await Deno.writeTextFile(path, text, {
        mode: 0o600,
      });
    }
  }
  return {
    own,
    other,
    load: (path?: string, env: Record<string, string> = {}) =>
      loadConfig({ env, paths: home.paths }, path),
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

const ALLOW = '[policy]\ndefault = "allow"';
const DENY = '[policy]\ndefault = "deny"';

Deno.test("loadConfig() gives the defaults without a file", async () => {
  await using home = await homeWith({});
  assert.deepEqual(await home.load(), {
    policy: DEFAULT_POLICY,
    bindings: new Map(),
    metadata: NO_METADATA,
  });
});

Deno.test("loadConfig() reads the file of the configuration directory", async () => {
  await using home = await homeWith({ own: ALLOW });
  const { file, policy } = await home.load();
  assert.deepEqual([file, policy.default], [home.own, "allow"]);
});

Deno.test("loadConfig() prefers MOAT_CONFIG to it", async () => {
  await using home = await homeWith({ own: DENY, other: ALLOW });
  const { file } = await home.load(undefined, { MOAT_CONFIG: home.other });
  assert.equal(file, home.other);
});

Deno.test("loadConfig() prefers a flag to MOAT_CONFIG", async () => {
  await using home = await homeWith({ own: DENY, other: ALLOW });
  const { file } = await home.load(home.other, { MOAT_CONFIG: home.own });
  assert.equal(file, home.other);
});

Deno.test("loadConfig() ignores an empty MOAT_CONFIG", async () => {
  await using home = await homeWith({ own: ALLOW });
  assert.equal(
    (await home.load(undefined, { MOAT_CONFIG: "" })).file,
    home.own,
  );
});

Deno.test("loadConfig() refuses a relative MOAT_CONFIG", async () => {
  await using home = await homeWith({});
  await assert.rejects(home.load(undefined, { MOAT_CONFIG: "moat.toml" }), {
    code: "usage",
  });
});

Deno.test("loadConfig() refuses a missing file that a flag names", async () => {
  await using home = await homeWith({ own: ALLOW });
  await assert.rejects(home.load(home.other), { code: "config-not-found" });
});

Deno.test("loadConfig() refuses a missing file that MOAT_CONFIG names", async () => {
  await using home = await homeWith({ own: ALLOW });
  await assert.rejects(home.load(undefined, { MOAT_CONFIG: home.other }), {
    code: "config-not-found",
  });
});

for (const mode of [0o620, 0o602, 0o666, 0o777]) {
  Deno.test(`loadConfig() refuses a file of mode ${mode.toString(8)}`, async () => {
    await using home = await homeWith({ own: DENY });
    await Deno.chmod(home.own, mode);
    await assert.rejects(home.load(), {
      code: "insecure-file",
      message: `Cannot use "${home.own}": mode is 0${
        mode.toString(8)
      }, so that others can write there`,
    });
  });
}

for (const mode of [0o600, 0o644, 0o444, 0o755]) {
  Deno.test(`loadConfig() takes a file of mode ${mode.toString(8)}`, async () => {
    await using home = await homeWith({ own: ALLOW });
    await Deno.chmod(home.own, mode);
    assert.equal((await home.load()).policy.default, "allow");
  });
}

testUnless(
  Deno.uid() === 0 ? undefined : "only root can give a file away",
  "loadConfig() refuses a file of another user",
  async () => {
    await using home = await homeWith({ own: ALLOW });
    await Deno.chown(home.own, 12345, null);
    await assert.rejects(home.load(), {
      code: "insecure-file",
      message: /owner is uid 12345, must be 0 or 0$/,
    });
  },
);

Deno.test("loadConfig() follows a link, and judges what it leads to", async () => {
  await using home = await homeWith({ other: ALLOW });
  await Deno.chmod(home.other, 0o666);
  await Deno.symlink(home.other, home.own);
  await assert.rejects(home.load(), { code: "insecure-file" });
});

Deno.test("loadConfig() refuses a directory", async () => {
  await using home = await homeWith({});
  await Deno.mkdir(home.own);
  await assert.rejects(home.load(), { code: "insecure-file" });
});

Deno.test("loadConfig() does not wait for a pipe", async () => {
  await using home = await homeWith({});
  await new Deno.Command("mkfifo", { args: [home.own] }).output();
  await assert.rejects(home.load(), { code: "insecure-file" });
});

Deno.test("loadConfig() refuses what is not UTF-8", async () => {
  await using home = await homeWith({});
  await Deno.writeFile(home.own, new Uint8Array([0x23, 0xff]), { mode: 0o600 });
  await assert.rejects(home.load(), { code: "bad-config", message: /UTF-8/ });
});

Deno.test("loadConfig() refuses a huge file", async () => {
  await using home = await homeWith({ own: "#".repeat((1 << 20) + 1) });
  await assert.rejects(home.load(), {
    code: "bad-config",
    message: /at most 1048576 bytes, found 1048577$/,
  });
});

Deno.test("loadConfig() names the file in errors", async () => {
  await using home = await homeWith({ own: "x = 1" });
  await assert.rejects(home.load(), {
    message: `Cannot use "${home.own}" at line 1, column 1: unknown key "x"`,
  });
});

const NONE: PolicyFlags = {
  allow: [],
  deny: [],
  allowHosts: [],
  plainHttp: [],
};

Deno.test("withFlags() puts denials first, then permissions, then the policy", () => {
  const flags = { ...NONE, allow: ["A.test", "*.b.test:1"], deny: ["c.test"] };
  assert.deepEqual(withFlags(COMMON, flags).rules, [
    { action: "deny", host: "c.test" },
    { action: "allow", host: "a.test" },
    { action: "allow", host: "*.b.test:1" },
    ...COMMON.rules,
  ]);
});

Deno.test("withFlags() adds hosts to the policy's", () => {
  const flags = { ...NONE, allowHosts: ["127.1:80"], plainHttp: ["[::1]:80"] };
  const { allowHosts, plainHttp } = withFlags(COMMON, flags);
  assert.deepEqual([allowHosts, plainHttp], [
    ["registry.internal:4873", "127.0.0.1:80"],
    ["registry.internal:4873", "[::1]:80"],
  ]);
});

Deno.test("withFlags() changes nothing without flags", () => {
  assert.deepEqual(withFlags(COMMON, NONE), COMMON);
});

const BAD_FLAGS: [flags: Partial<PolicyFlags>, message: RegExp][] = [
  [{ allow: ["https://a.test"] }, /--allow "https:\/\/a\.test": wanted HOST,/],
  [{ allow: ["a.test/x"] }, /--allow/],
  [{ deny: ["*.*"] }, /--deny/],
  [{ allowHosts: ["a.test"] }, /--allow-private "a.test": wanted HOST:PORT$/],
  [{ allowHosts: ["*:80"] }, /--allow-private/],
  [{ plainHttp: ["a.test"] }, /--plain-http "a.test": wanted HOST:PORT$/],
];
for (const [flags, message] of BAD_FLAGS) {
  Deno.test(`withFlags() refuses ${JSON.stringify(flags)}`, () => {
    assert.throws(() => withFlags(COMMON, { ...NONE, ...flags }), {
      code: "usage",
      message,
    });
  });
}
