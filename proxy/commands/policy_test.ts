import assert from "node:assert/strict";
import { join } from "node:path";
import { mintToken } from "$core/binding.ts";
import { runProgram } from "$core/cli/app.ts";
import { CORE_COMMANDS } from "$core/cli/commands/mod.ts";
import { systemClock } from "$core/clock.ts";
import { openOwnBindings } from "$core/own_bindings.ts";
import { DEFAULT_POLICY, type Policy } from "$core/policy.ts";
import { headerProvider } from "../../tests/support/header_provider.ts";
import { memoryStreams } from "../../tests/support/memory_streams.ts";
import { type TempHome, tempHome } from "../../tests/support/temp_home.ts";
import { POLICY_COMMANDS } from "./policy_rows.ts";

const PROVIDER = headerProvider({ name: "github", host: "api.github.com" });

async function moat(home: TempHome, ...argv: string[]) {
  const streams = memoryStreams();
  const status = await runProgram({
    commands: [...CORE_COMMANDS, ...POLICY_COMMANDS],
    examples: [],
    version: "",
    env: { MOAT_HOME: home.directory, MOAT_KEYRING: "file" },
    setVariable() {},
    streams,
    loadProviders: () => Promise.resolve([() => PROVIDER]),
  }, argv);
  return { status, out: streams.out, err: streams.err };
}

const test = (home: TempHome, ...argv: string[]) =>
  moat(home, "policy", "test", ...argv);

const CONFIG = `
[[policy.rules]]
action = "allow"
host = "api.example.com"
methods = ["GET"]
path = "/v1/**"
[[policy.rules]]
action = "allow"
host = "cdn.example.com"
`;

async function homeWithConfig(): Promise<TempHome> {
  const home = await tempHome();
  const path = join(home.directory, "moat.toml");
  await Deno.writeTextFile(path, CONFIG, { mode: 0o600 });
  return home;
}

Deno.test("moat policy test tells what allows a request", async () => {
  await using home = await homeWithConfig();
  const url = "https://API.example.com./v1/./a%2fb?c";
  assert.deepEqual(await test(home, "GET", url), {
    status: 0,
    out: [
      "ALLOW\n",
      "  rule    rule 1: allow GET api.example.com /v1/**\n",
      "  host    api.example.com:443\n",
      "  path    /v1/a%2fb?c\n",
      "  access  read\n",
    ].join(""),
    err: "",
  });
});

Deno.test("moat policy test fails for what is denied", async () => {
  await using home = await homeWithConfig();
  assert.deepEqual(await test(home, "GET", "https://evil.example/x"), {
    status: 1,
    out: [
      "DENY\n",
      "  rule    default\n",
      "  host    evil.example:443\n",
      "  path    /x\n",
      "  access  refused at CONNECT\n",
    ].join(""),
    err: "",
  });
});

const VERDICTS: [
  name: string,
  method: string,
  url: string,
  verdict: Record<string, string>,
][] = [
  ["a tunnel", "DELETE", "https://cdn.example.com/x", {
    action: "allow",
    rule: "rule 2: allow cdn.example.com",
    access: "tunnel",
    host: "cdn.example.com:443",
    target: "/x",
  }],
  ["another method", "POST", "https://api.example.com/v1/x", {
    action: "deny",
    rule: "default",
    access: "read",
    host: "api.example.com:443",
    target: "/v1/x",
  }],
  ["a way out", "GET", "https://api.example.com/v1/..%2fadmin", {
    action: "deny",
    rule: "default",
    access: "read",
    host: "api.example.com:443",
    target: "/v1/..%2fadmin",
  }],
  ["a path that is tidied", "GET", "https://api.example.com/v1/../v2", {
    action: "deny",
    rule: "default",
    access: "read",
    host: "api.example.com:443",
    target: "/v2",
  }],
  ["a path that is refused", "GET", "https://api.example.com/v1/%00", {
    action: "deny",
    rule: "malformed path",
    access: "read",
    host: "api.example.com:443",
  }],
  ["no path", "GET", "https://cdn.example.com", {
    action: "allow",
    rule: "rule 2: allow cdn.example.com",
    access: "tunnel",
    host: "cdn.example.com:443",
    target: "/",
  }],
  ["a query alone", "GET", "https://cdn.example.com?a#b", {
    action: "allow",
    rule: "rule 2: allow cdn.example.com",
    access: "tunnel",
    host: "cdn.example.com:443",
    target: "/?a",
  }],
  ["plain http", "GET", "http://cdn.example.com/", {
    action: "allow",
    rule: "rule 2: allow cdn.example.com",
    access: "read",
    host: "cdn.example.com:80",
    target: "/",
  }],
  ["another port", "GET", "https://cdn.example.com:8443/", {
    action: "deny",
    rule: "default",
    access: "deny",
    host: "cdn.example.com:8443",
    target: "/",
  }],
];
for (const [name, method, url, verdict] of VERDICTS) {
  Deno.test(`moat policy test --json judges ${name}`, async () => {
    await using home = await homeWithConfig();
    const { status, out } = await test(home, method, url, "--json");
    assert.deepEqual([status, JSON.parse(out)], [
      verdict["action"] === "allow" ? 0 : 1,
      verdict,
    ]);
  });
}

Deno.test("moat policy test denies by default without a file", async () => {
  await using home = await tempHome();
  assert.equal((await test(home, "GET", "https://a.test/")).status, 1);
});

Deno.test("moat policy test --config reads another file", async () => {
  await using home = await homeWithConfig();
  const path = join(home.directory, "other.toml");
  await Deno.writeTextFile(path, '[policy]\ndefault = "allow"', {
    mode: 0o600,
  });
  const argv = ["GET", "https://evil.example/", "--config", path];
  assert.match(
    (await test(home, ...argv)).out,
    /^ALLOW\n {2}rule {4}default\n/,
  );
});

Deno.test("moat policy test passes a fault of the file on", async () => {
  await using home = await tempHome();
  const path = join(home.directory, "moat.toml");
  await Deno.writeTextFile(path, "[polcy]", { mode: 0o600 });
  const { status, err } = await test(home, "GET", "https://a.test/");
  assert.equal(status, 1);
  assert.match(
    err,
    /^error: .*at line 1, column 1: unknown key "polcy"\nhint: did you mean policy\?/,
  );
});

async function grantGithub(home: TempHome): Promise<void> {
  await moat(home, "grant", "github", "--token", "canary");
}

Deno.test("moat policy test --grant judges as if it were bound", async () => {
  await using home = await tempHome();
  await grantGithub(home);
  const argv = ["GET", "https://api.github.com/user", "--grant", "github"];
  const { out } = await test(home, ...argv, "--json");
  const { action, rule, access } = JSON.parse(out);
  assert.deepEqual([action, rule, access], ["allow", "grant github", "read"]);
});

Deno.test("moat policy test --grant shows no credential", async () => {
  await using home = await tempHome();
  await grantGithub(home);
  const argv = ["GET", "https://api.github.com/user", "-g", "github"];
  const { out, err } = await test(home, ...argv);
  assert.ok(!(out + err).includes("canary"));
});

Deno.test("moat policy test --grant fails for one that is not there", async () => {
  await using home = await tempHome();
  const argv = ["GET", "https://a.test/", "--grant", "github"];
  const { status, err } = await test(home, ...argv);
  assert.equal(status, 1);
  assert.match(err, /^error: Cannot find grant "github"\n/);
});

Deno.test("moat policy test --grant fails for one that cannot be decrypted", async () => {
  await using home = await tempHome();
  await grantGithub(home);
  await Deno.remove(home.paths.keyFile);
  const argv = ["GET", "https://a.test/", "--grant", "github"];
  const { status, err } = await test(home, ...argv);
  assert.equal(status, 1);
  assert.match(err, /^error: Cannot use the key of the grants/);
});

async function bind(home: TempHome, policy?: Policy): Promise<void> {
  await grantGithub(home);
  await openOwnBindings({ paths: home.paths, clock: systemClock }).put(
    {
      binding: { name: "web", grants: ["github"], ...(policy && { policy }) },
      createdAt: 0,
      url: "http://127.0.0.1:1",
      tokenFile: false,
    },
    mintToken("web"),
    {},
  );
}

async function testBound(home: TempHome, method: string, url: string) {
  const argv = [method, url, "--binding", "web", "--json"];
  const { action, rule } = JSON.parse((await test(home, ...argv)).out);
  return [action, rule];
}

Deno.test("moat policy test --binding counts its grants", async () => {
  await using home = await homeWithConfig();
  await bind(home);
  assert.deepEqual(
    await testBound(home, "GET", "https://api.github.com/user"),
    ["allow", "grant github"],
  );
});

Deno.test("moat policy test --binding does not count moat.toml", async () => {
  await using home = await homeWithConfig();
  await bind(home);
  assert.deepEqual(
    await testBound(home, "GET", "https://api.example.com/v1/x"),
    ["deny", "default"],
  );
});

Deno.test("moat policy test --binding counts its policy", async () => {
  await using home = await tempHome();
  const host = "api.github.com";
  const rules = [{ action: "deny" as const, host, methods: ["DELETE"] }];
  await bind(home, { ...DEFAULT_POLICY, rules });
  assert.deepEqual(
    await testBound(home, "DELETE", "https://api.github.com/user"),
    ["deny", "rule 1: deny DELETE api.github.com"],
  );
});

Deno.test("moat policy test --binding fails for one that is not there", async () => {
  await using home = await tempHome();
  const argv = ["GET", "https://a.test/", "--binding", "gone"];
  const { status, err } = await test(home, ...argv);
  assert.equal(status, 1);
  assert.match(err, /^error: .*"gone"/);
});

const WRONG: [name: string, argv: string[]][] = [
  ["no URL", ["GET"]],
  ["no scheme", ["GET", "api.example.com/v1"]],
  ["another scheme", ["GET", "ftp://api.example.com/"]],
  ["a scheme in upper case", ["GET", "HTTPS://api.example.com/"]],
  ["a user", ["GET", "https://user:canary@api.example.com/"]],
  ["a host of none", ["GET", "https:///x"]],
  ["a wildcard", ["GET", "https://*.example.com/"]],
  ["a port of none", ["GET", "https://api.example.com:0/"]],
  ["a method of none", ["G T", "https://api.example.com/"]],
  ["both a binding and a file", [
    ...["GET", "https://a.test/", "--binding", "web", "--config", "x"],
  ]],
];
for (const [name, argv] of WRONG) {
  Deno.test(`moat policy test refuses ${name}`, async () => {
    await using home = await tempHome();
    assert.equal((await test(home, ...argv)).status, 2);
  });
}

Deno.test("moat policy test does not repeat a URL with a password", async () => {
  await using home = await tempHome();
  const { err } = await test(home, "GET", "https://user:canary@a.test/");
  assert.ok(!err.includes("canary"));
});
