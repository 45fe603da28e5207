/**
 * `moat run` and the plain command in it: environment, files, exit status and
 * signals.
 */

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { testUnless } from "./support/conditional.ts";
import { MOAT, moatEnv, moatReason, runMoat } from "./support/moat.ts";
import { MOCK_SESSION } from "./support/mock_sts.ts";
import { startServer, which } from "./support/run.ts";
import { environmentOf, Scene } from "./support/scene.ts";
import { modeOf } from "./support/temp_home.ts";

const reason = moatReason();

function test(name: string, fn: (scene: Scene) => Promise<void>): void {
  testUnless(reason, `moat run ${name}`, async () => {
    await using scene = await Scene.open();
    await fn(scene);
  });
}

function runIn(scene: Scene, ...command: string[]) {
  return scene.moat("run", "--grant", "aws", "--", ...command);
}

test("gives its command what its AWS client needs", async (scene) => {
  const { childPid } = await scene.startRun();
  const env = await environmentOf(childPid);
  const directory = dirname(dirname(env["AWS_CONFIG_FILE"] ?? ""));
  assert.match(
    env["MOAT_AWS_CREDENTIAL_URL"] ?? "",
    /^http:\/\/127\.0\.0\.1:\d+\/aws\/process-credentials$/,
  );
  const given = Object.entries(env)
    .filter(([name]) => /^(AWS|MOAT_AWS)_/.test(name) && !name.endsWith("URL"));
  assert.deepEqual(Object.fromEntries(given), {
    AWS_CONFIG_FILE: `${directory}/aws/config`,
    AWS_CREDENTIAL_PROFILES_FILE: `${directory}/aws/config`,
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_ENDPOINT_URL_STS: scene.sts.url,
    AWS_PAGER: "",
    AWS_REGION: "us-east-1",
    AWS_DEFAULT_REGION: "us-east-1",
    AWS_SDK_LOAD_CONFIG: "1",
    AWS_SHARED_CREDENTIALS_FILE: `${directory}/aws/no-credentials`,
    MOAT_AWS_CREDENTIAL_TOKEN_FILE: `${directory}/token`,
  });
});

const CONFLICTS = [
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
  "AWS_PROFILE",
  "AWS_DEFAULT_PROFILE",
  "AWS_DEFAULT_REGION",
  "AWS_ROLE_ARN",
  "AWS_WEB_IDENTITY_TOKEN_FILE",
  "AWS_CONTAINER_CREDENTIALS_FULL_URI",
  "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
  "AWS_BEARER_TOKEN_BEDROCK",
  "MOAT_SOURCE",
];

test("takes from its command what would override that", async (scene) => {
  await scene.startProxy();
  for (const name of CONFLICTS) scene.env[name] = "theirs";
  const { stdout } = await runIn(scene, "env", "-0");
  const pairs = stdout.split("\0");
  const theirs = CONFLICTS.filter((name) => pairs.includes(`${name}=theirs`));
  assert.deepEqual(theirs, []);
});

test("leaves the rest of the environment alone", async (scene) => {
  scene.env["MINE"] = "a b\n=c";
  const { stdout } = await runIn(scene, "sh", "-c", 'printf %s "$MINE"');
  assert.equal(stdout, "a b\n=c");
});

test("gives its command a session, by the helper", async (scene) => {
  const { stdout } = await runIn(
    scene,
    ...["sh", "-c", '"$(dirname "$AWS_CONFIG_FILE")/credentials"'],
  );
  const { Version, AccessKeyId } = JSON.parse(stdout);
  assert.deepEqual([Version, AccessKeyId], [1, MOCK_SESSION.accessKeyId]);
});

test("writes the token as a header's value, without a newline", async (scene) => {
  await scene.startRun();
  const [name = ""] = await scene.runNames();
  const path = join(scene.paths.runs, name, "files", "token");
  assert.match(
    await Deno.readTextFile(path),
    new RegExp(`^Bearer moat\\.run-${name}\\.[\\w-]{43}$`),
  );
});

test("prints nothing of its own", async (scene) => {
  const { stdout, stderr } = await runIn(scene, "echo", "hello");
  assert.deepEqual([stdout, stderr], ["hello\n", ""]);
});

test("passes stdin on", async (scene) => {
  const { stdout } = await runMoat(["run", "--grant", "aws", "--", "cat"], {
    workspace: scene.workspace,
    env: scene.env,
    stdin: "to the command\n",
  });
  assert.equal(stdout, "to the command\n");
});

for (const umask of ["000", "022", "077"]) {
  test(`sets all modes, whatever umask: ${umask}`, async (scene) => {
    const argv = ["sh", "-c", `umask ${umask}; exec "$@"`, "sh", MOAT];
    await using server = await startServer(
      [
        ...[...argv, "run", "--grant", "aws", "--", "sh", "-c"],
        'echo "ready $AWS_CONFIG_FILE"; exec sleep 60',
      ],
      {
        env: moatEnv(scene.workspace, { env: scene.env }),
        clearEnv: true,
        ready: /^ready (\S+)$/gm,
      },
    );
    const files = dirname(dirname(server.ready[0]?.[1] ?? ""));
    const modes: [string, number][] = [
      [scene.workspace.moatHome, 0o700],
      [scene.paths.runs, 0o700],
      [dirname(files), 0o700],
      [files, 0o755],
      [`${files}/aws`, 0o755],
      [`${files}/aws/config`, 0o444],
      [`${files}/aws/credentials`, 0o555],
      [`${files}/aws/no-credentials`, 0o444],
      [`${files}/token`, 0o444],
      [scene.paths.controlSocket, 0o600],
    ];
    for (const [path, mode] of modes) {
      assert.equal((await modeOf(path)).toString(8), mode.toString(8), path);
    }
  });
}

const STATUSES: { name: string; command: string[]; status: number }[] = [
  { name: "success", command: ["true"], status: 0 },
  { name: "a failure", command: ["sh", "-c", "exit 42"], status: 42 },
  { name: "125", command: ["sh", "-c", "exit 125"], status: 125 },
  { name: "SIGKILL", command: ["sh", "-c", "kill -KILL $$"], status: 137 },
  { name: "SIGTERM", command: ["sh", "-c", "kill -TERM $$"], status: 143 },
  { name: "SIGINT", command: ["sh", "-c", "kill -INT $$"], status: 130 },
  { name: "a missing program", command: ["no-such-program"], status: 127 },
  { name: "a missing path", command: ["/no/such/program"], status: 127 },
  { name: "a file that is no program", command: ["/etc/passwd"], status: 126 },
  { name: "a directory", command: ["/tmp"], status: 126 },
];

for (const { name, command, status } of STATUSES) {
  test(`exits with ${status} for ${name}`, async (scene) => {
    await scene.startProxy();
    const { code, stderr } = await runIn(scene, ...command);
    assert.equal(code, status, stderr);
    assert.deepEqual(await scene.runNames(), []);
  });
}

const FAILURES: { name: string; args: string[]; error: RegExp }[] = [
  {
    name: "no --grant",
    args: ["--", "touch", "started"],
    error: /^error: Cannot bind without a grant.*\nhint: moat run --grant/,
  },
  {
    name: "no command",
    args: ["--grant", "aws"],
    error: /^error: .*\nhint: /,
  },
  {
    name: "a grant that is not there",
    args: ["--grant", "aws:none", "--", "touch", "started"],
    error: /^error: .*"aws:none".*\nhint: moat grant aws --name none/,
  },
  {
    name: "a grant name that is none",
    args: ["--grant", "../aws", "--", "touch", "started"],
    error: /^error: Cannot use "\.\.\/aws" as a grant name\nhint: /,
  },
  {
    name: "two grants of one provider",
    args: ["--grant", "aws", "--grant", "aws:other", "--", "touch", "started"],
    error: /^error: Cannot bind aws and aws:other together.*\nhint: /,
  },
  {
    name: "one grant twice",
    args: ["--grant", "aws", "--grant", "aws", "--", "touch", "started"],
    error: /^error: .*twice\nhint: /,
  },
];

for (const { name, args, error } of FAILURES) {
  test(`exits with 125 for ${name}, and starts nothing`, async (scene) => {
    await scene.startProxy();
    await scene.grant("--name", "other");
    const { code, stdout, stderr } = await scene.moat("run", ...args);
    assert.equal(code, 125);
    assert.equal(stdout, "");
    assert.match(stderr, error);
    assert.deepEqual(await scene.runNames(), []);
    await assert.rejects(Deno.stat(scene.workspace.path("started")));
  });
}

const SIGNALS: readonly Deno.Signal[] = [
  "SIGTERM",
  "SIGHUP",
  "SIGINT",
  "SIGQUIT",
  "SIGUSR1",
  "SIGUSR2",
];

for (const signal of SIGNALS) {
  const short = signal.slice(3);
  test(`passes ${signal} on, and waits for its command`, async (scene) => {
    const started = await scene.startRun(
      `trap 'echo got; exit 7' ${short}; echo ready $$; while :; do sleep 0.05; done`,
    );
    const { code, stdout } = await started.stop(signal);
    assert.match(stdout, /^ready \d+\ngot\n$/);
    assert.equal(code, 7);
    assert.deepEqual(await scene.runNames(), []);
  });
}

/** Says how often it got SIGINT, 0.3 s after the first time. */
const COUNT_INTERRUPTS = `
sleep 20 & nap=$!
trap 'echo got; kill $nap 2>/dev/null' INT
echo ready $$
wait $nap
sleep 0.3 & wait $!
sleep 0.1 & wait $!
exit 7`;

for (const redirection of ["", "</dev/null", "</dev/null 2>/dev/null"]) {
  testUnless(
    reason ?? (which("script") ? undefined : "no script(1)"),
    `moat run on a terminal lets Ctrl-C reach its command once ${redirection}`,
    async () => {
      await using scene = await Scene.open();
      await scene.startProxy();
      const script = await scene.workspace.write("count", COUNT_INTERRUPTS);
      const line =
        `exec ${MOAT} run --grant aws -- sh ${script} ${redirection}`;
      const child = new Deno.Command("script", {
        args: ["-qec", line, "/dev/null"],
        env: moatEnv(scene.workspace, { env: scene.env }),
        clearEnv: true,
        stdin: "piped",
        stdout: "piped",
      }).spawn();
      const writer = child.stdin.getWriter();
      let text = "";
      const decoder = new TextDecoderStream();
      for await (const chunk of child.stdout.pipeThrough(decoder)) {
        const wasReady = text.includes("ready");
        text += chunk;
        if (wasReady || !text.includes("ready")) continue;
        await writer.write(new Uint8Array([3]));
      }
      await writer.close().catch(() => {});
      assert.equal((await child.status).code, 7, text);
      assert.equal(text.match(/got/g)?.length, 1, text);
    },
  );
}

test("tells why there is no session, while its command is still running", async (scene) => {
  delete scene.env["AWS_ACCESS_KEY_ID"];
  const { stderr } = await runIn(
    scene,
    ...["sh", "-c", '"$(dirname "$AWS_CONFIG_FILE")/credentials"'],
  );
  assert.match(stderr, /^warning: .*found no usable source credentials/m);
  assert.match(stderr, /^moat: .* answered 502: The host has no source/m);
});
