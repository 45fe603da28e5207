/**
 * The life of a run: the proxy that `moat run` starts, what ends it, and what
 * is left when somebody is killed.
 */

import assert from "node:assert/strict";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { MOAT, moatReason } from "./support/moat.ts";
import {
  addressOf,
  endProcess,
  get,
  Scene,
  type StartedRun,
  WAIT,
} from "./support/scene.ts";
import { isRunning } from "./support/processes.ts";

const reason = moatReason();

function test(name: string, fn: (scene: Scene) => Promise<void>): void {
  testUnless(reason, `moat run ${name}`, async () => {
    await using scene = await Scene.open();
    await fn(scene);
  });
}

/** The grace of a run, and what a busy machine adds. */
const GRACE_MS = 5000 + 2000;

/** The proxy that is running now. */
async function proxyPid(scene: Scene): Promise<number> {
  const status = await scene.status();
  assert(status, "wanted a running proxy, found none");
  return status.pid;
}

function gone(pid: number): Promise<boolean> {
  return eventually(`end of process ${pid}`, () => !isRunning(pid));
}

async function works(run: StartedRun): Promise<boolean> {
  const { code } = await run.askHelper();
  return code === 0;
}

test("starts a proxy that ends with it", async (scene) => {
  const run = await scene.startRun();
  const pid = await proxyPid(scene);
  await run.stop();
  await gone(pid);
  assert.deepEqual(await scene.runNames(), []);
});

test("uses the proxy that is running, and leaves it running", async (scene) => {
  const proxy = await scene.startProxy();
  const run = await scene.startRun();
  assert.equal(await proxyPid(scene), proxy.pid);
  await run.stop();
  const status = await scene.status();
  assert.equal(status?.pid, proxy.pid);
  assert.deepEqual(status?.runs, []);
});

test("ends its token as soon as its command ends", async (scene) => {
  const proxy = await scene.startProxy();
  const run = await scene.startRun();
  const headers = { Authorization: `Bearer ${run.token}` };
  const ask = () => get(proxy.address, "/ecs/credentials", headers);
  assert.equal((await ask()).status, 200);
  await run.stop();
  assert.equal((await ask()).status, 401);
});

test("shares the proxy with others that start at once", async (scene) => {
  const runs = await Promise.all([1, 2, 3].map(() => scene.startRun()));
  const status = await scene.status();
  assert.equal(status?.runs.length, 3);
  await Promise.all(runs.map((run) => run.stop()));
  await gone(status?.pid ?? 0);
});

test("keeps the proxy when it outlives the one that started it", async (scene) => {
  const first = await scene.startRun();
  const second = await scene.startRun();
  const pid = await proxyPid(scene);
  await first.stop();
  assert.ok(await works(second));
  assert.equal(await proxyPid(scene), pid);
  await second.stop();
  await gone(pid);
});

test("works although the last proxy is just about to end", async (scene) => {
  for (let i = 0; i < 5; i++) {
    const results = await Promise.all([0, 1].map(() =>
      scene.moat(
        ...["run", "--grant", "aws", "--", "sh", "-c"],
        '"$(dirname "$AWS_CONFIG_FILE")/credentials"',
      )
    ));
    for (const { code, stderr } of results) assert.equal(code, 0, stderr);
  }
  await eventually("end", async () => !await scene.status());
  assert.deepEqual(await scene.runNames(), []);
});

test("leaves no live token and no file when it is killed", async (scene) => {
  const proxy = await scene.startProxy();
  const run = await scene.startRun();
  const headers = { Authorization: `Bearer ${run.token}` };
  const ask = () => get(proxy.address, "/ecs/credentials", headers);
  Deno.kill(run.pid, "SIGKILL");
  await eventually("401", async () => (await ask()).status === 401, GRACE_MS);
  await eventually(
    "no files",
    async () => (await scene.runNames()).length === 0,
  );
});

test("leaves no proxy of its own when it is killed", async (scene) => {
  const run = await scene.startRun();
  const pid = await proxyPid(scene);
  Deno.kill(run.pid, "SIGKILL");
  await gone(pid);
  assert.deepEqual(await scene.runNames(), []);
});

test("goes on with a new token on the same port when the proxy was killed and started again", async (scene) => {
  const first = await scene.startProxy();
  const run = await scene.startRun();
  assert.ok(await works(run));
  await endProcess(first.pid, "SIGKILL");
  assert.ok(!await works(run));
  const listen = (first.urls[0] ?? "").replace("http://", "");
  const again = await scene.startProxy({ args: ["--listen", listen] });
  await eventually("credentials again", () => works(run));
  // Whoever listened there meanwhile may have the old one.
  const headers = { Authorization: `Bearer ${run.token}` };
  const { status } = await get(again.address, "/ecs/credentials", headers);
  assert.equal(status, 401);
  await run.stop();
  assert.deepEqual(await scene.runNames(), []);
});

for (const signal of ["SIGKILL", "SIGTERM"] as const) {
  test(`starts its proxy again after ${signal}, on the same port`, async (scene) => {
    const run = await scene.startRun();
    const pid = await proxyPid(scene);
    await endProcess(pid, signal);
    await eventually("credentials again", () => works(run));
    const again = await proxyPid(scene);
    assert.notEqual(again, pid);
    await run.stop();
    await gone(again);
    assert.deepEqual(await scene.runNames(), []);
  });
}

test("starts its proxy again although its program was replaced", async (scene) => {
  const program = scene.workspace.path("program");
  await Deno.copyFile(MOAT, program);
  const run = await scene.startRun(WAIT, [
    ...["sh", "-c", `shift; exec ${program} "$@"`, "sh"],
  ]);
  await Deno.remove(program);
  await Deno.copyFile(MOAT, program);
  await endProcess(await proxyPid(scene), "SIGKILL");
  await eventually("credentials again", () => works(run));
});

test("leaves no proxy behind when it could not start", async (scene) => {
  const { code } = await scene.moat("run", "--grant", "aws:none", "--", "true");
  assert.equal(code, 125);
  await eventually("end", async () => !await scene.status(), 2000);
});

test("brings one proxy back for two runs after SIGKILL", async (scene) => {
  const runs = await Promise.all([1, 2].map(() => scene.startRun()));
  await endProcess(await proxyPid(scene), "SIGKILL");
  for (const run of runs) await eventually("credentials", () => works(run));
  assert.equal((await scene.status())?.runs.length, 2);
});

test("leaves files that the next proxy removes when both are killed", async (scene) => {
  const proxy = await scene.startProxy();
  const run = await scene.startRun();
  Deno.kill(run.pid, "SIGKILL");
  await endProcess(proxy.pid, "SIGKILL");
  assert.equal((await scene.runNames()).length, 1);
  const next = await scene.startProxy();
  assert.deepEqual(await scene.runNames(), []);
  const headers = { Authorization: `Bearer ${run.token}` };
  const { status } = await get(next.address, "/ecs/credentials", headers);
  assert.equal(status, 401);
});

test("loses its credentials at once when its grant is revoked", async (scene) => {
  const run = await scene.startRun();
  assert.ok(await works(run));
  await scene.moat("revoke", "aws");
  const { code, stderr } = await run.askHelper();
  assert.equal(code, 1);
  assert.match(stderr, /^moat: 127\.0\.0\.1:\d+ answered 403/);
});

test("listens for its proxy on loopback only", async (scene) => {
  await scene.startRun();
  const listeners = (await scene.status())?.listeners ?? [];
  assert.equal(listeners.length, 1);
  assert.equal(addressOf(listeners[0] ?? "").hostname, "127.0.0.1");
});
