/**
 * The demo of the README, in each place where its workload can run.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { testUnless } from "./support/conditional.ts";
import {
  type Bed,
  bedReason,
  type Engine,
  openBed,
} from "./support/containers.ts";
import { eventually } from "./support/eventually.ts";
import { moatReason } from "./support/moat.ts";
import {
  isThere,
  run,
  type RunOptions,
  startServer,
  which,
} from "./support/run.ts";
import { Workspace } from "./support/workspace.ts";

const DEMO = fileURLToPath(new URL("../scripts/demo.ts", import.meta.url));
const ARGV = [Deno.execPath(), "run", "-A", "--no-check", DEMO];

function demo(
  engine: string,
  { prefix = [], env = {} }: {
    prefix?: readonly string[];
    env?: Record<string, string>;
  } = {},
) {
  const options: RunOptions = { env: { ...env, MOAT_DEMO_ENGINE: engine } };
  return run([...prefix, ...ARGV], options);
}

testUnless(
  moatReason(),
  "the demo runs as a plain child, and says so",
  async () => {
    const { code, stdout, stderr } = await demo("none");
    assert.equal(code, 0, stderr);
    assert.match(stdout, /in a plain child: a convenience, no isolation/);
    assert.match(stdout, /All 7 steps verified/);
  },
);

testUnless(
  moatReason(),
  "the demo runs as a plain child without an engine, and says so",
  async () => {
    const { stdout, stderr } = await demo("nosuchengine");
    assert.match(
      stdout,
      /plain child.*\n +nosuchengine: not installed\n/,
      stderr,
    );
  },
);

testUnless(
  moatReason(),
  "the demo prints plain text of at most 100 columns",
  async () => {
    const { stdout } = await demo("none");
    assert.deepEqual(
      stdout.split("\n").filter((line) =>
        line.length > 100 || line.includes("\x1b")
      ),
      [],
    );
  },
);

testUnless(
  moatReason(),
  "the demo does not read the user's own AWS configuration",
  async () => {
    await using workspace = await Workspace.open();
    const broken = workspace.path("broken");
    await Deno.writeTextFile(broken, "[not a configuration");
    const { code, stderr } = await demo(await fakeEngine(workspace), {
      env: {
        AWS_CONFIG_FILE: broken,
        AWS_SHARED_CREDENTIALS_FILE: broken,
        AWS_PROFILE: "nobody",
        AWS_ACCESS_KEY_ID: "AKIAWRONG",
      },
    });
    assert.equal(code, 0, stderr);
  },
);

for (const engine of ["podman", "docker"] satisfies Engine[]) {
  testUnless(
    moatReason() ?? bedReason(engine),
    `the demo runs in a container of ${engine}, and leaves no image`,
    async () => {
      await using bed = await openBed(engine);
      const before = await run([bed.engine, "images", "--quiet"]);
      const { code, stdout, stderr } = await demo(bed.engine, bed);
      assert.equal(code, 0, stderr);
      assert.match(stdout, new RegExp(`in a container of ${engine}`));
      assert.match(stdout, /assumed-role\/Demo\/moat-run-/);
      const after = await run([bed.engine, "images", "--quiet"]);
      assert.equal(after.stdout, before.stdout);
    },
  );
}

testUnless(
  moatReason() ?? bedReason("docker"),
  "the demo uses the daemon of DOCKER_HOST",
  async () => {
    await using bed = await openBed("docker");
    const env = { DOCKER_HOST: `unix://${bed.directory}/docker.sock` };
    const docker = which("docker") ?? "docker";
    const { stdout } = await demo(docker, { prefix: bed.prefix, env });
    assert.match(stdout, /in a container of docker/);
  },
);

testUnless(
  moatReason() ?? bedReason("podman"),
  "the demo uses the storage below HOME, as rootless podman does",
  async () => {
    await using bed = await openBed("podman");
    const podman = await podmanWithHome(bed);
    const env = { HOME: bed.directory, DENO_DIR: denoDirectory() };
    const { stdout } = await demo(podman, { prefix: bed.prefix, env });
    assert.match(stdout, /in a container of podman/);
  },
);

async function podmanWithHome(bed: Bed): Promise<string> {
  const folder = join(bed.directory, "with-home");
  await Deno.mkdir(folder);
  const storage = '--root "${HOME:?}/vfs" --runroot "$HOME/run-vfs"';
  const podman = `${bed.engine} --storage-driver vfs ${storage}`;
  return await script(folder, `exec ${podman} "$@"`);
}

function denoDirectory(): string {
  return Deno.env.get("DENO_DIR") ??
    join(Deno.env.get("HOME") ?? "/", ".cache/deno");
}

async function script(folder: string, ...lines: string[]): Promise<string> {
  const path = join(folder, "podman");
  const text = ["#!/bin/sh", ...lines, ""].join("\n");
  await Deno.writeTextFile(path, text, { mode: 0o755 });
  return path;
}

/**
 * An engine that starts moat, but then not the workload; its `log` has its
 * commands.
 *
 * @param workload What it does instead.
 */
function fakeEngine(
  workspace: Workspace,
  workload = "echo 'Error: no luck today' >&2; exit 125",
): Promise<string> {
  return script(
    workspace.directory,
    `echo "$1 $2 $3" >> ${workspace.path("log")}`,
    'case "$*" in',
    '  --version) echo "podman 1.2.3" ;;',
    '  "run "*" --version") ;;',
    `  "run "*) ${workload} ;;`,
    "esac",
  );
}

testUnless(
  moatReason(),
  "the demo falls back to a plain child when the engine fails late",
  async () => {
    await using workspace = await Workspace.open();
    const { stdout, stderr } = await demo(await fakeEngine(workspace));
    assert.match(
      stdout,
      /ok moat run +in a plain child: .*\n +podman 1\.2\.3: no luck today\n/,
      stderr,
    );
  },
);

testUnless(
  moatReason(),
  "demos at the same time have an image each, and remove their own",
  async () => {
    await using workspace = await Workspace.open();
    const engine = await fakeEngine(workspace);
    await Promise.all([demo(engine), demo(engine)]);
    const log = await Deno.readTextFile(workspace.path("log"));
    const imported = log.match(/(?<=^import .*)localhost\S+$/gm)?.sort() ?? [];
    const removed = log.match(/(?<=^rmi .*)localhost\S+$/gm)?.sort() ?? [];
    assert.equal(new Set(imported).size, 2, log);
    assert.deepEqual(removed, imported);
  },
);

const SIGNALS: { signal: Deno.Signal; code: number; after: string }[] = [
  { signal: "SIGINT", code: 130, after: "simulated STS" },
  { signal: "SIGTERM", code: 143, after: "moat proxy" },
];

for (const { signal, code, after } of SIGNALS) {
  testUnless(
    moatReason(),
    `the demo unwinds on ${signal} after "${after}"`,
    async () => {
      await using workspace = await Workspace.open();
      const temporary = workspace.path("t");
      await Deno.mkdir(temporary);
      const engine = await fakeEngine(workspace, "exec sleep 50");
      const server = await startServer(ARGV, {
        env: { MOAT_DEMO_ENGINE: engine, TMPDIR: temporary },
        ready: new RegExp(`^ ok ${after}.*\n`, "gm"),
      });
      const ended = await server.stop(signal);
      const left = [...Deno.readDirSync(temporary)].map(({ name }) => name);
      assert.deepEqual({ code: ended.code, left }, { code, left: [] });
    },
  );
}

testUnless(
  moatReason(),
  "the demo removes its image when it is ended during the workload",
  async () => {
    await using workspace = await Workspace.open();
    const begun = workspace.path("begun");
    const engine = await fakeEngine(workspace, `: > ${begun}; exec sleep 50`);
    const server = await startServer(ARGV, {
      env: { MOAT_DEMO_ENGINE: engine },
      ready: /^ ok moat proxy.*\n/gm,
    });
    await eventually("workload", () => isThere(begun));
    const { code } = await server.stop("SIGTERM");
    const log = await Deno.readTextFile(workspace.path("log"));
    assert.match(log, /\nrmi --force localhost\/moat-demo:\S+\n$/);
    assert.equal(code, 143);
  },
);
