/**
 * The main job, as in the README: grant a role, run a container, and its AWS
 * client has a session of that role without a long-lived key in sight. Real
 * engines, the real AWS CLI, and an STS that is not ours.
 */

import assert from "node:assert/strict";
import { testUnless } from "./support/conditional.ts";
import {
  type Bed,
  bedReason,
  type Engine,
  openBed,
} from "./support/containers.ts";
import { MOAT, moatEnv, moatReason, runMoat } from "./support/moat.ts";
import { AWS_CLI, type Moto, motoReason, startMoto } from "./support/moto.ts";
import { run, startServer } from "./support/run.ts";
import { Workspace } from "./support/workspace.ts";

/** An address of the bed's loopback that its containers reach, too. */
const STS_HOST = "169.254.170.2";

interface Scene extends AsyncDisposable {
  readonly bed: Bed;
  readonly moto: Moto;
  readonly workspace: Workspace;
  readonly env: Record<string, string>;
  /** Runs moat as a user of this host would. */
  moat(...args: string[]): ReturnType<typeof runMoat>;
}

/** A host with an engine and credentials, and a grant of the role. */
async function setUp(engine: Engine): Promise<Scene> {
  const stack = new AsyncDisposableStack();
  const bed = stack.use(await openBed(engine));
  const moto = stack.use(
    await startMoto({ prefix: bed.prefix, host: STS_HOST }),
  );
  const workspace = stack.use(await Workspace.open());
  const env = {
    AWS_ENDPOINT_URL_STS: moto.url,
    AWS_ACCESS_KEY_ID: moto.accessKeyId,
    AWS_SECRET_ACCESS_KEY: moto.secretAccessKey,
  };
  const moat = (...args: string[]) =>
    runMoat(args, { workspace, env, prefix: bed.prefix });
  const granted = await moat("grant", "aws", "--role", moto.roleArn);
  assert.equal(granted.code, 0, granted.stderr);
  return {
    bed,
    moto,
    workspace,
    env,
    moat,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function container({ bed, moto }: Scene, options: string[] = []): string[] {
  return [
    bed.engine,
    "run",
    "--rm",
    ...options,
    ...bed.mounts,
    "--env",
    `AWS_ENDPOINT_URL_STS=${moto.url}`,
    bed.image,
  ];
}

for (const engine of ["podman", "docker"] satisfies Engine[]) {
  const reason = moatReason() ?? motoReason() ?? bedReason(engine);
  const test = (name: string, fn: (scene: Scene) => Promise<void>) =>
    testUnless(reason, `${engine}: ${name}`, async () => {
      await using scene = await setUp(engine);
      await fn(scene);
    });

  test("the AWS CLI in a container has the granted role", async (scene) => {
    const { code, stdout, stderr } = await scene.moat(
      ...["run", "--grant", "aws", "--", ...container(scene)],
      ...[AWS_CLI, "sts", "get-caller-identity"],
    );
    assert.equal(code, 0, stderr);
    assert.match(
      JSON.parse(stdout).Arn,
      /^arn:aws:sts::\d{12}:assumed-role\/[\w-]+\/moat-run-[0-9a-z]{10}$/,
    );
  });

  test("a read-only container of an unknown uid has the role, too", async (scene) => {
    const options = ["--read-only", "--cap-drop", "all", "--user", "12345"];
    const { code, stdout, stderr } = await scene.moat(
      ...["run", "--grant", "aws", "--", ...container(scene, options)],
      ...[AWS_CLI, "sts", "get-caller-identity"],
    );
    assert.equal(code, 0, stderr);
    assert.match(stdout, /assumed-role/);
  });

  test("a container on a user network and one on the host's have the role", async (scene) => {
    const { bed } = scene;
    const made = await run([bed.engine, "network", "create", "moat-net"]);
    assert.equal(made.code, 0, made.stderr);
    for (const network of ["moat-net", "host"]) {
      const { code, stderr } = await scene.moat(
        ...["run", "--grant", "aws", "--"],
        ...container(scene, ["--network", network]),
        ...[AWS_CLI, "sts", "get-caller-identity"],
      );
      assert.equal(code, 0, `${network}: ${stderr}`);
    }
  });

  test("the container's exit status is passed through", async (scene) => {
    const { code } = await scene.moat(
      ...["run", "--grant", "aws", "--", ...container(scene)],
      ...["sh", "-c", "exit 42"],
    );
    assert.equal(code, 42);
  });

  test("no long-lived key and no token is where it should not be", async (scene) => {
    const { bed, workspace, moto, env } = scene;
    const argv = [
      ...[...bed.prefix, MOAT, "run", "--grant", "aws", "--"],
      ...container(scene, ["--name", "watched"]),
      ...[
        "sh",
        "-c",
        "env; cat /moat/aws/*; /moat/aws/credentials >/dev/null; echo ready; sleep 60",
      ],
    ];
    await using server = await startServer(argv, {
      env: moatEnv(workspace, { env, prefix: bed.prefix }),
      clearEnv: true,
      ready: /^ready$/gm,
    });
    const [name = ""] = await runNames(workspace);
    const bearer = await Deno.readTextFile(
      workspace.path("moat", "runs", name, "files", "token"),
    );
    const [, token = ""] = /^Bearer (moat\.run-\w{10}\.[\w-]{43})$/
      .exec(bearer) ?? [];
    assert.notEqual(token, "");
    const inspect = await run([bed.engine, "inspect", "watched"]);
    const audit = await scene.moat("audit", "--json");
    const places = {
      "the container's output": server.stdout() + server.stderr(),
      "inspect": inspect.stdout,
      "the audit log": audit.stdout,
      "the process list": await commandLines(),
    };
    const secrets = [moto.secretAccessKey, token];
    assert.match(inspect.stdout, /MOAT_AWS_CREDENTIAL_URL/);
    for (const [place, text] of Object.entries(places)) {
      for (const secret of secrets) {
        assert.ok(!text.includes(secret), `a secret is in ${place}`);
      }
    }
    await run([bed.engine, "rm", "--force", "watched"]);
    await server.ended();
    assert.deepEqual(await runNames(workspace), []);
  });
}

async function runNames(workspace: Workspace): Promise<string[]> {
  const entries = await Array.fromAsync(
    Deno.readDir(workspace.path("moat", "runs")),
  );
  return entries.map((entry) => entry.name);
}

/** Every program's arguments, without this test's own. */
async function commandLines(): Promise<string> {
  let text = "";
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name) || name === String(Deno.pid)) continue;
    text += await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
  }
  return text;
}
