/**
 * What intercepted clients are given by `moat run`, `bind`, `exec` and `env`:
 * proxy variables, certificates and a policy. How the proxy then serves them
 * is told elsewhere.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { CANARY } from "./support/canary.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { moatReason } from "./support/moat.ts";
import { SYSTEM_PATH } from "./support/run.ts";
import { endProcess, environmentOf, Scene } from "./support/scene.ts";
import { modeOf, namesIn } from "./support/temp_home.ts";

const reason = moatReason();

function test(name: string, fn: (scene: Scene) => Promise<void>): void {
  testUnless(reason, name, async () => {
    await using scene = await Scene.open();
    await fn(scene);
  });
}

type Variables = Record<string, string>;

const PROXIES = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];
const FILES = ["ca-root.pem", "ca.jks", "ca.pem"];
const URL_OF_PROXY =
  /^http:\/\/moat:(moat\.[\w%-]+\.[\w-]{43})@(127\.0\.0\.1:\d+)$/;

/** Runs moat; wants success. */
async function ok(scene: Scene, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await scene.moat(...args);
  assert.equal(code, 0, stderr);
  return stdout;
}

function parse(text: string, separator: string): Variables {
  const pairs = text.split(separator).filter((pair) => pair.includes("="))
    .map((pair) => {
      const at = pair.indexOf("=");
      return [pair.slice(0, at), pair.slice(at + 1)];
    });
  return Object.fromEntries(pairs);
}

/** What a command of `moat run` finds. */
async function runEnv(scene: Scene, ...flags: string[]): Promise<Variables> {
  const args = ["run", "--grant", "aws", ...flags, "--", "env", "-0"];
  return parse(await ok(scene, ...args), "\0");
}

/** What a stored binding's environment file says. */
async function boundEnv(scene: Scene, name = "web"): Promise<Variables> {
  return parse(await readHome(scene, "env", name), "\n");
}

function readHome({ workspace }: Scene, ...path: string[]): Promise<string> {
  return Deno.readTextFile(join(workspace.moatHome, ...path));
}

async function configure({ workspace }: Scene, toml: string): Promise<void> {
  await workspace.write("moat/moat.toml", toml);
}

const secretOf = (url = "") => URL_OF_PROXY.exec(url)?.[1] ?? assert.fail(url);

// A run

test("moat run leaves a run without policy and injection as it was", async (scene) => {
  const env = await runEnv(scene);
  const stray = Object.keys(env).filter((name) =>
    /proxy|_CA_|CERT|JAVA|NODE/i.test(name)
  );
  const { moatHome } = scene.workspace;
  assert.deepEqual(
    [stray, (await namesIn(moatHome)).includes("ca")],
    [[], false],
  );
});

const GIVEN: Record<string, { flags?: string[]; toml?: string }> = {
  "--allow": { flags: ["--allow", "api.example.test"] },
  "--deny": { flags: ["--deny", "api.example.test"] },
  "--allow-private": { flags: ["--allow-private", "a.test:4873"] },
  "--plain-http": { flags: ["--plain-http", "a.test:4873"] },
  "[policy] in moat.toml": { toml: '[policy]\ndefault = "allow"\n' },
};
for (const [name, { flags = [], toml }] of Object.entries(GIVEN)) {
  test(`moat run intercepts a run with ${name}`, async (scene) => {
    if (toml !== undefined) await configure(scene, toml);
    const env = await runEnv(scene, ...flags);
    assert.match(env["HTTPS_PROXY"] ?? "", URL_OF_PROXY);
  });
}

test("moat run takes the policy of --config", async (scene) => {
  const file = await scene.workspace.write("mine.toml", "[policy]\n");
  const env = await runEnv(scene, "--config", file);
  assert.match(env["HTTPS_PROXY"] ?? "", URL_OF_PROXY);
});

test("moat run gives an intercepted run one proxy in all its variables", async (scene) => {
  const env = await runEnv(scene, "--allow", "a.test");
  const urls = new Set(PROXIES.map((name) => env[name]));
  assert.equal(urls.size, 1);
  assert.match([...urls].join(), URL_OF_PROXY);
  assert.equal(env["NO_PROXY"], env["no_proxy"]);
});

/** Prints the token file, and the proxy variable. */
const SHOW_TOKENS =
  'cat "$MOAT_AWS_CREDENTIAL_TOKEN_FILE"; echo; echo "$HTTPS_PROXY"';

test("moat run puts the token of the file into the proxy's URL", async (scene) => {
  const out = await ok(
    scene,
    ...["run", "--grant", "aws", "--allow", "a.test"],
    ...["--", "sh", "-c", SHOW_TOKENS],
  );
  const [file = "", url] = out.split("\n");
  assert.equal(file, `Bearer ${secretOf(url)}`);
});

/** Lists the files of the run, with their modes. */
const SHOW_FILES =
  'cd "$(dirname "$SSL_CERT_FILE")"; for f in *.pem *.jks; do stat -c "%n %a" "$f"; done; cat ca.pem ca-root.pem';

test("moat run gives certificates, and no key", async (scene) => {
  const out = await ok(
    scene,
    ...["run", "--grant", "aws", "--allow", "a.test"],
    ...["--", "sh", "-c", SHOW_FILES],
  );
  const modes = [...out.matchAll(/^(ca\S*) (\d+)$/gm)]
    .map(([, name, mode]) => `${name} ${mode}`);
  const root = await readHome(scene, "ca", "root.pem");
  assert.deepEqual(modes.sort(), FILES.map((name) => `${name} 444`));
  assert.equal(out.split(root).length, 3, "once in each file");
  assert(!out.includes("PRIVATE KEY"));
});

test("moat run leaves no file of an intercepted run", async (scene) => {
  await runEnv(scene, "--allow", "a.test");
  assert.deepEqual(await scene.runNames(), []);
});

const OTHERS = ["ALL_PROXY", "all_proxy", "Http_Proxy", "no_PROXY"];

test("moat run takes other proxies from an intercepted command", async (scene) => {
  await scene.startProxy();
  for (const name of OTHERS) scene.env[name] = "http://127.0.0.1:1";
  const env = await runEnv(scene, "--allow", "a.test");
  assert.deepEqual(OTHERS.filter((name) => name in env), []);
});

test("moat run leaves other proxies to a command that is not intercepted", async (scene) => {
  await scene.startProxy();
  scene.env["ALL_PROXY"] = "http://127.0.0.1:1";
  assert.equal((await runEnv(scene))["ALL_PROXY"], "http://127.0.0.1:1");
});

test("moat run puts its options of Java behind its user's", async (scene) => {
  scene.env["JAVA_TOOL_OPTIONS"] = "-Xmx1g";
  const env = await runEnv(scene, "--allow", "a.test");
  assert.match(
    env["JAVA_TOOL_OPTIONS"] ?? "",
    /^-Xmx1g .*-Dhttps\.proxyHost=127\.0\.0\.1 /,
  );
});

test("moat run gives an intercepted command its session, past the proxy", async (scene) => {
  const { code, stdout, stderr } = await scene.moat(
    ...["run", "--grant", "aws", "--allow", "a.test", "--", "sh", "-c"],
    '"$(dirname "$AWS_CONFIG_FILE")/credentials"',
  );
  assert.equal(code, 0, stderr);
  assert.equal(JSON.parse(stdout).Version, 1);
});

test("moat run shows the token of an intercepted run to no list of processes", async (scene) => {
  const out = await ok(
    scene,
    ...["run", "--grant", "aws", "--allow", "a.test", "--", "sh", "-c"],
    'echo "$HTTPS_PROXY"; cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " "',
  );
  const [url, ...lines] = out.split("\n");
  const secret = secretOf(url).split(".").at(-1) ?? "";
  assert.match(lines.join("\n"), /run --grant aws --allow a\.test/);
  assert(!lines.join("\n").includes(secret));
});

test("moat run keeps the token of an intercepted run when its proxy comes back", async (scene) => {
  await configure(scene, "[policy]\n");
  const first = await scene.startProxy();
  const run = await scene.startRun();
  const before = await environmentOf(run.childPid);
  await endProcess(first.pid, "SIGKILL");
  const listen = (first.urls[0] ?? "").replace("http://", "");
  await scene.startProxy({ args: ["--listen", listen] });
  await eventually("credentials", async () => {
    const { code } = await run.askHelper();
    return code === 0;
  });
  const file = before["MOAT_AWS_CREDENTIAL_TOKEN_FILE"] ?? "";
  assert.equal(
    await Deno.readTextFile(file),
    `Bearer ${secretOf(before["HTTPS_PROXY"])}`,
  );
});

const REFUSED: Record<string, { flags: string[]; error: RegExp }> = {
  "a host that is none": {
    flags: ["--allow", "a b"],
    error: /^error: Cannot use --allow "a b"/,
  },
  "a private host without a port": {
    flags: ["--allow-private", "a.test"],
    error: /^error: Cannot use --allow-private "a\.test": wanted HOST:PORT/,
  },
  "a configuration that is missing": {
    flags: ["--config", "/nonexistent"],
    error: /^error: Cannot find the configuration file "\/nonexistent"/,
  },
};
for (const [name, { flags, error }] of Object.entries(REFUSED)) {
  test(`moat run refuses ${name}, and starts nothing`, async (scene) => {
    const { code, stderr } = await scene.moat(
      ...["run", "--grant", "aws", ...flags, "--", "touch", "started"],
    );
    assert.deepEqual([code, await scene.runNames()], [125, []]);
    assert.match(stderr, error);
    await assert.rejects(Deno.stat(scene.workspace.path("started")));
  });
}

test("moat run wants a grant, whatever it allows", async (scene) => {
  const { code, stderr } = await scene.moat(
    ...["run", "--allow", "a.test", "--", "true"],
  );
  assert.equal(code, 125);
  assert.match(stderr, /--grant is missing/);
});

// A grant that is injected, and no mode

const SECRET = `ghp_${CANARY.replace(/\W/g, "").padEnd(36, "0").slice(0, 36)}`;

async function grantHeader(scene: Scene): Promise<void> {
  const file = await scene.workspace.write("pasted", SECRET);
  await ok(
    scene,
    ...["grant", "github", "--no-validate", "--token-file", file],
  );
}

test("moat run intercepts a run whose grant is injected, without a policy", async (scene) => {
  await grantHeader(scene);
  const out = await ok(scene, "run", "--grant", "github", "--", "env", "-0");
  const env = parse(out, "\0");
  assert.match(env["HTTPS_PROXY"] ?? "", URL_OF_PROXY);
  assert.equal(env["AWS_CONFIG_FILE"], undefined);
  assert(!out.includes(SECRET));
});

test("moat run gives one command a session and a placeholder", async (scene) => {
  await grantHeader(scene);
  const out = await ok(
    scene,
    ...["run", "--grant", "aws", "--grant", "github", "--", "sh", "-c"],
    'echo "$GH_TOKEN"; "$(dirname "$AWS_CONFIG_FILE")/credentials"',
  );
  const [placeholder = "", ...rest] = out.split("\n");
  assert.match(placeholder, /^ghp_\w{36}$/);
  assert.notEqual(placeholder, SECRET);
  assert.equal(JSON.parse(rest.join("\n")).Version, 1);
});

test("moat bind gives a service whose grant is injected its token once", async (scene) => {
  await grantHeader(scene);
  await ok(scene, "bind", "web", "--grant", "github");
  const files = await namesIn(scene.workspace.path("moat/bound/web/files"));
  assert.match((await boundEnv(scene))["HTTPS_PROXY"] ?? "", URL_OF_PROXY);
  assert(FILES.every((name) => files.includes(name)));
  assert(!files.includes("token"));
});

// A container

/** Records how it was called, its environment, and files of variables. */
const MOCK_ENGINE = `#!/bin/sh
# A mock of a container engine.
case " $* " in
  *' info '*) echo 'Debian ["name=apparmor"]' ;;
  *' network inspect '*) echo '[{"IPAM":{"Config":[{"Gateway":"127.0.0.3"}]}}]' ;;
  *' image inspect '*) echo '{"Entrypoint":["/bin/entry"],"Cmd":["sh"]}' ;;
  *)
    printf '%s\\n' "$@" >"$HOME/argv"
    env >"$HOME/environment"
    while [ $# -gt 0 ]; do
      case $1 in
        --env-file) stat -c %a "$2" >"$HOME/mode"; cat "$2" >"$HOME/variables" ;;
        --volume) ls "\${2%%:/moat:*}" >"$HOME/files" ;;
      esac
      shift
    done
    ;;
esac
`;

/** What the engine was told. */
async function recorded(scene: Scene) {
  const { workspace } = scene;
  const read = (name: string) => Deno.readTextFile(workspace.path(name));
  return {
    argv: (await read("argv")).trimEnd().split("\n"),
    environment: await read("environment"),
    /** From files that only the engine reads. */
    variables: parse(await read("variables"), "\n"),
    mode: (await read("mode")).trim(),
    files: (await read("files")).trimEnd().split("\n"),
  };
}

function engineTest(name: string, fn: (scene: Scene) => Promise<void>): void {
  test(name, async (scene) => {
    await scene.workspace.write("bin/docker", MOCK_ENGINE, 0o700);
    scene.env["PATH"] = `${scene.workspace.path("bin")}:${SYSTEM_PATH}`;
    await fn(scene);
  });
}

const RUN = ["run", "--grant", "aws", "--allow", "a.test", "--"];

engineTest(
  "moat run gives a container the token by a private file alone",
  async (scene) => {
    await ok(scene, ...RUN, "docker", "run", "image");
    const { argv, environment, variables, mode } = await recorded(scene);
    const secret = /\.([\w-]{43})@/.exec(variables["HTTPS_PROXY"] ?? "")?.[1];
    assert(secret !== undefined && !secret.startsWith("0000"));
    assert.deepEqual([Object.keys(variables), mode], [PROXIES, "600"]);
    assert(!argv.join("\n").includes(secret) && !environment.includes(secret));
  },
);

engineTest(
  "moat run keeps the engine's own traffic off the proxy",
  async (scene) => {
    await ok(scene, ...RUN, "docker", "run", "image");
    const { environment } = await recorded(scene);
    assert(!/proxy/i.test(environment), environment);
  },
);

engineTest(
  "moat run leads a container to its gateway, and keeps that off the proxy",
  async (scene) => {
    await ok(scene, ...RUN, "docker", "run", "image");
    const { argv, variables } = await recorded(scene);
    assert.match(variables["HTTPS_PROXY"] ?? "", /@moat-proxy:\d+$/);
    const list = argv.find((word) => word.startsWith("NO_PROXY="));
    assert.match(list ?? "", /^NO_PROXY=127\.0\.0\.1,localhost,.*,moat-proxy$/);
  },
);

engineTest(
  "moat run leads a container without a network to its relay",
  async (scene) => {
    await ok(scene, ...RUN, "docker", "run", "--network", "none", "image");
    const { argv, variables, files } = await recorded(scene);
    assert.match(variables["HTTPS_PROXY"] ?? "", /@127\.0\.0\.1:19080$/);
    assert(argv.join(" ").includes("--entrypoint /moat/relay image 19080"));
    assert(files.includes("endpoint.sock"));
  },
);

engineTest(
  "moat run leads a container to its relay for a grant without modes",
  async (scene) => {
    await grantHeader(scene);
    await ok(
      scene,
      ...["run", "--grant", "github", "--", "docker", "run"],
      ...["--network", "none", "image"],
    );
    const { variables, files } = await recorded(scene);
    assert.match(variables["HTTPS_PROXY"] ?? "", /@127\.0\.0\.1:19080$/);
    assert(files.includes("endpoint.sock") && files.includes("relay"));
  },
);

engineTest("moat run mounts certificates for a container", async (scene) => {
  await ok(scene, ...RUN, "docker", "run", "image");
  const { argv, files } = await recorded(scene);
  assert.deepEqual(files.filter((name) => name.startsWith("ca")), FILES);
  assert(argv.includes("SSL_CERT_FILE=/moat/ca.pem"));
});

engineTest(
  "moat run warns of a proxy that its user sets for the container",
  async (scene) => {
    const { stderr } = await scene.moat(
      ...[...RUN, "docker", "run", "--env", "https_proxy=http://x", "image"],
    );
    assert.match(stderr, /^warning: HTTPS_PROXY is set for the container/m);
  },
);

// A stored binding

const BIND = ["bind", "web", "--grant", "aws"];

test("moat bind gives an intercepted service proxy, files and token", async (scene) => {
  await ok(scene, ...BIND, "--mode", "ecs-full", "--allow", "a.test");
  const env = await boundEnv(scene);
  const files = scene.workspace.path("moat", "bound", "web", "files");
  assert.equal(
    env["AWS_CONTAINER_AUTHORIZATION_TOKEN"],
    `Bearer ${secretOf(env["HTTPS_PROXY"])}`,
  );
  assert.equal(env["SSL_CERT_FILE"], join(files, "ca.pem"));
  for (const name of FILES) {
    assert.equal(await modeOf(join(files, name)), 0o444, name);
  }
});

test("moat bind keeps the environment with the token private", async (scene) => {
  await ok(scene, ...BIND, "--allow", "a.test");
  assert.equal(await modeOf(scene.workspace.path("moat/env/web")), 0o600);
});

test("moat bind writes a token with an @ so that clients read it back", async (scene) => {
  await ok(scene, "bind", "web@1", "--grant", "aws", "--allow", "a.test");
  const { password } = new URL(
    (await boundEnv(scene, "web@1"))["HTTPS_PROXY"]!,
  );
  const file = await readHome(scene, "bound/web@1/files/token");
  assert.equal(file, `Bearer ${decodeURIComponent(password)}`);
});

test("moat bind keeps the policy", async (scene) => {
  await configure(
    scene,
    '[[bindings.web.policy.rules]]\naction = "deny"\nhost = "evil.test"\n',
  );
  await ok(scene, ...BIND, "--allow", "A.test", "--allow-private", "b.test:1");
  assert.deepEqual(
    JSON.parse(await readHome(scene, "bindings", "web.json")).policy,
    {
      default: "deny",
      rules: [
        { action: "allow", host: "a.test" },
        { action: "deny", host: "evil.test" },
      ],
      allowHosts: ["b.test:1"],
      plainHttp: [],
    },
  );
});

test("moat bindings tells of policies", async (scene) => {
  const flags = ["--allow", "a.test", "--deny", "b.test"];
  await ok(scene, ...BIND, ...flags, "--plain-http", "c.test:1");
  await ok(scene, "bind", "job", "--grant", "aws");
  const [job = "", web = ""] = (await ok(scene, "bindings")).split("\n");
  assert.match(web, /policy: deny, 2 rules, 1 plain-http host$/);
  assert(!job.includes("policy"));
});

test("moat bindings --json has whole policies", async (scene) => {
  await ok(scene, ...BIND, "--allow", "a.test");
  const [row] = JSON.parse(await ok(scene, "bindings", "--json"));
  assert.deepEqual(row.policy.rules, [{ action: "allow", host: "a.test" }]);
});

test("moat bindings refuses a binding whose policy it cannot read", async (scene) => {
  await ok(scene, ...BIND, "--allow", "a.test");
  const path = scene.workspace.path("moat/bindings/web.json");
  const text = await Deno.readTextFile(path);
  await Deno.writeTextFile(path, text.replace('"deny"', '"ask"'));
  assert.match(await ok(scene, "bindings"), /cannot be used: .*unknown shape/);
});

test("moat bind again without a policy takes proxy and files away", async (scene) => {
  const full = [...BIND, "--mode", "ecs-full"];
  await ok(scene, ...full, "--allow", "a.test");
  await ok(scene, ...full);
  const names = Object.keys(await boundEnv(scene));
  assert.deepEqual(names.filter((name) => PROXIES.includes(name)), []);
  await assert.rejects(readHome(scene, "bound/web/files/ca.pem"));
});

test("moat exec gives its command what the binding says, and nobody else's proxy", async (scene) => {
  await ok(scene, ...BIND, "--allow", "a.test");
  scene.env["ALL_PROXY"] = "http://127.0.0.1:1";
  const env = parse(await ok(scene, "exec", "web", "--", "env", "-0"), "\0");
  const wanted = await boundEnv(scene);
  assert.deepEqual(
    [env["HTTPS_PROXY"], env["SSL_CERT_FILE"], env["ALL_PROXY"]],
    [wanted["HTTPS_PROXY"], wanted["SSL_CERT_FILE"], undefined],
  );
});

engineTest(
  "moat exec gives a container the token by the environment file",
  async (scene) => {
    const flags = ["--engine", "docker", "--allow", "a.test"];
    await ok(scene, ...BIND, ...flags);
    await ok(scene, "exec", "web", "--", "docker", "run", "image");
    const { argv, environment, variables } = await recorded(scene);
    const wanted = await boundEnv(scene);
    const secret = /\.([\w-]{43})@/.exec(wanted["HTTPS_PROXY"] ?? "")?.[1] ??
      "";
    assert.equal(variables["HTTPS_PROXY"], wanted["HTTPS_PROXY"]);
    assert(secret && !argv.join("\n").includes(secret));
    assert(!environment.includes(secret) && !/proxy/i.test(environment));
  },
);

test("moat env --format systemd names a file instead of an intercepted service's token", async (scene) => {
  await ok(scene, ...BIND, "--allow", "a.test");
  assert.equal(
    await ok(scene, "env", "web", "--format", "systemd"),
    `[Service]\nEnvironmentFile=${scene.workspace.path("moat/env/web")}\n`,
  );
});

engineTest(
  "moat env --format docker shows no token of an intercepted container",
  async (scene) => {
    await ok(scene, ...BIND, "--engine", "docker", "--allow", "a.test");
    const out = await ok(scene, "env", "web", "--format", "docker");
    assert.match(out, /^--env-file \S+\/env\/web --volume /);
    assert(!out.includes("moat.web."));
  },
);

test("moat bind refuses a policy for a binding in needroleshere's form", async (scene) => {
  const { code, stderr } = await scene.moat(
    ...["bind", "web", "--certificate", "x", "--deny", "a.test"],
  );
  assert.equal(code, 2);
  assert.match(stderr, /^error: Cannot combine --deny with --certificate/);
});
