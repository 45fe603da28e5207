/**
 * `moat proxy` as a process: listeners, control socket, log, start and stop.
 */

import assert from "node:assert/strict";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { moatReason, runMoat, startMoat } from "./support/moat.ts";
import { connectTo, receiveAnswer, send } from "./support/raw_http.ts";
import {
  addressOf,
  endProcess,
  get,
  getText,
  ROLE,
  Scene,
  type TestProxy,
} from "./support/scene.ts";
import { modeOf } from "./support/temp_home.ts";
import { Workspace } from "./support/workspace.ts";

const reason = moatReason();

/** A test with a home that has the grant `aws`. */
function test(name: string, fn: (scene: Scene) => Promise<void>): void {
  testUnless(reason, `moat proxy ${name}`, async () => {
    await using scene = await Scene.open();
    await fn(scene);
  });
}

/** The log so far, one object a line. */
function logOf(proxy: Pick<TestProxy, "stderr">): Record<string, unknown>[] {
  return proxy.stderr().split("\n").filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

function logged(proxy: TestProxy, event: string) {
  return eventually(
    event,
    () => logOf(proxy).find((line) => line["event"] === event),
  );
}

test("prints ready and control lines, and nothing more, on stdout", async (scene) => {
  const proxy = await scene.startProxy();
  const run = await scene.openRun(proxy.address);
  await run.get("/ecs/credentials");
  const { stdout } = await proxy.stop();
  const expected = `ready ${
    proxy.urls[0]
  }\ncontrol ${scene.paths.controlSocket}\n`;
  assert.equal(stdout, expected);
});

test("listens on every --listen", async (scene) => {
  const args = ["--listen", "127.0.0.1:0", "--listen", "[::1]:0"];
  const { urls } = await scene.startProxy({ args, listeners: 2 });
  for (const url of urls) {
    const { body } = await get(addressOf(url), "/healthz");
    assert.equal(body, "ok\n", url);
  }
});

test("listens on 127.0.0.1:19080 by default", async () => {
  const { stdout } = await runMoat(["proxy", "--help"]);
  assert.match(stdout, /--listen ADDR:PORT .*default: 127\.0\.0\.1:19080/);
});

test("takes an address that other machines reach, and warns by its name", async (scene) => {
  const proxy = await scene.startProxy({ args: ["--listen", "0.0.0.0:0"] });
  const warning = await logged(proxy, "not-loopback");
  assert.equal(warning["hostname"], "0.0.0.0");
});

test("says that a port is taken, and what to do", async (scene) => {
  const { urls: [url = ""] } = await scene.startProxy();
  await using other = await Workspace.open();
  const listen = url.replace("http://", "");
  const { code, stdout, stderr } = await runMoat(
    ["proxy", "--listen", listen],
    { workspace: other },
  );
  assert.equal(code, 1);
  assert.equal(stdout, "");
  assert.match(
    stderr,
    new RegExp(`^error: Cannot listen on ${url}: .*\nhint: .*--listen`),
  );
});

for (
  const text of [
    "19080",
    "127.0.0.1",
    "127.0.0.1:65536",
    "example.com:80",
    "127.0.0.1:-1",
  ]
) {
  testUnless(
    reason,
    `moat proxy refuses --listen ${text} with status 2`,
    async () => {
      const { code, stderr } = await runMoat(["proxy", "--listen", text]);
      assert.equal(code, 2);
      assert.match(stderr, /^error: Cannot listen on .*\nhint: /);
    },
  );
}

test("refuses to be the second one of a home", async (scene) => {
  const proxy = await scene.startProxy();
  const { code, stderr } = await scene.moat("proxy", "--listen", "127.0.0.1:0");
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^error: Cannot start a proxy: .*already running.*\nhint: /,
  );
  assert.equal((await get(proxy.address, "/healthz")).status, 200);
});

test("makes a control socket that only its owner can open", async (scene) => {
  await scene.startProxy();
  assert.equal(await modeOf(scene.paths.controlSocket), 0o600);
  assert.equal(await modeOf(scene.workspace.moatHome), 0o700);
});

test("takes over the socket that a killed one left behind", async (scene) => {
  const first = await scene.startProxy();
  await endProcess(first.pid, "SIGKILL");
  assert.ok(await Deno.stat(scene.paths.controlSocket));
  const second = await scene.startProxy();
  assert.equal((await scene.status())?.pid, second.pid);
});

test("refuses a home whose socket path is too long, with a hint", async () => {
  const { code, stderr } = await runMoat(["proxy", "--listen", "127.0.0.1:0"], {
    env: { MOAT_HOME: `/tmp/${"x".repeat(120)}` },
  });
  await Deno.remove(`/tmp/${"x".repeat(120)}`, { recursive: true });
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^error: Cannot bind the socket .* found \d+\nhint: set MOAT_HOME/,
  );
});

test("writes its log as one JSON object a line", async (scene) => {
  const proxy = await scene.startProxy();
  const run = await scene.openRun(proxy.address);
  await run.get("/ecs/credentials");
  await proxy.stop();
  for (const line of logOf(proxy)) {
    assert.equal(typeof line["event"], "string");
    assert.match(String(line["level"]), /^(debug|info|warn|error)$/);
    assert.match(String(line["time"]), /^\d{4}-\d\d-\d\dT.*Z$/);
  }
  const events = logOf(proxy).map((line) => line["event"]);
  assert.deepEqual(events.slice(0, 1), ["started"]);
  assert.ok(events.includes("run-opened"));
  assert.equal(events.at(-1), "stopped");
});

test("writes its log as text when asked", async (scene) => {
  const proxy = await scene.startProxy({
    args: ["--listen", "127.0.0.1:0", "--log-format", "text"],
  });
  await proxy.stop();
  assert.match(proxy.stderr(), /\[INF\] moat: started version=/);
});

test("leaves out what is below --log-level", async (scene) => {
  const proxy = await scene.startProxy({
    args: ["--listen", "127.0.0.1:0", "--log-level", "warn"],
  });
  await proxy.stop();
  assert.equal(proxy.stderr(), "");
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`lets an answer under way finish on ${signal}`, async (scene) => {
    const proxy = await scene.startProxy();
    const release = scene.sts.hold();
    const run = await scene.openRun(proxy.address);
    const answer = run.get("/aws/process-credentials");
    answer.catch(() => {});
    await eventually("the call", () => scene.sts.calls === 1);
    const stopped = proxy.stop(signal);
    await logged(proxy, "stopping");
    release();
    assert.equal((await answer).status, 200);
    assert.equal((await stopped).code, 0);
  });

  test(`ends at the second ${signal}, whatever is under way`, async (scene) => {
    const proxy = await scene.startProxy();
    scene.sts.mood = "hanging";
    const run = await scene.openRun(proxy.address);
    const answer = run.get("/aws/process-credentials").catch(() => undefined);
    await eventually("the call", () => scene.sts.calls === 1);
    // The call may be the run's own: until the request has come in, too.
    await new Promise((resolve) => setTimeout(resolve, 50));
    Deno.kill(proxy.pid, signal);
    await logged(proxy, "stopping");
    const started = Date.now();
    const { code } = await proxy.stop(signal);
    assert.equal(code, signal === "SIGTERM" ? 143 : 130);
    assert.ok(Date.now() - started < 2000);
    await answer;
  });
}

test("removes its socket when it stops", async (scene) => {
  const proxy = await scene.startProxy();
  await proxy.stop();
  await assert.rejects(
    Deno.lstat(scene.paths.controlSocket),
    Deno.errors.NotFound,
  );
});

test("stops although a client keeps an idle connection", async (scene) => {
  const proxy = await scene.startProxy();
  using conn = await connectTo(proxy.address);
  await send(conn, getText(proxy.address, "/healthz"));
  await receiveAnswer(conn);
  const started = Date.now();
  await proxy.stop();
  assert.ok(Date.now() - started < 2000);
});

test("gives up the right to start programs when no grant needs it", async (scene) => {
  const proxy = await scene.startProxy();
  const line = await logged(proxy, "gave-up-permission");
  assert.equal(line["name"], "run");
});

/** A profile whose credentials a program prints. */
async function writeProcessSource({ workspace }: Scene): Promise<void> {
  const printed = JSON.stringify({
    Version: 1,
    AccessKeyId: "AKIAMOCKPROCESS00000",
    SecretAccessKey: "process-secret",
  });
  const program = await workspace.write(
    "bin/tool",
    `#!/bin/sh\necho '${printed}'\n`,
    0o700,
  );
  await workspace.write(
    ".aws/config",
    `[profile tool]\ncredential_process = ${program}\n`,
  );
}

test("keeps the right to start programs for a source that is one, and says for which grant", async (scene) => {
  await writeProcessSource(scene);
  await scene.grant("--name", "tool", "--aws-profile", "tool");
  const proxy = await scene.startProxy();
  const line = await logged(proxy, "keeps-run-permission");
  assert.equal(line["grant"], "aws:tool");
  const run = await scene.openRun(proxy.address, ["aws:tool"]);
  assert.equal((await run.get("/ecs/credentials")).status, 200);
});

test("warns who grants a program as source to one that gave up the right", async (scene) => {
  const proxy = await scene.startProxy();
  await logged(proxy, "gave-up-permission");
  await writeProcessSource(scene);
  const { stderr } = await scene.moat(
    ...["grant", "aws", "--role", ROLE],
    ...["--name", "tool", "--aws-profile", "tool", "--no-validate"],
  );
  assert.match(stderr, /^warning: .*"aws:tool".*restart moat proxy$/m);
});

test("serves a good grant next to a damaged one", async (scene) => {
  await scene.grant("--name", "damaged");
  await Deno.writeTextFile(`${scene.paths.grants}/aws:damaged.grant`, "{}");
  const proxy = await scene.startProxy();
  const run = await scene.openRun(proxy.address);
  assert.equal((await run.get("/ecs/credentials")).status, 200);
  await assert.rejects(
    scene.openRun(proxy.address, ["aws:damaged"]),
    { code: "grant-damaged" },
  );
});

test("answers 403 at once on an open connection after moat revoke", async (scene) => {
  const proxy = await scene.startProxy();
  const run = await scene.openRun(proxy.address);
  using conn = await connectTo(proxy.address);
  const text = getText(proxy.address, "/ecs/credentials", {
    Authorization: `Bearer ${run.token}`,
  });
  await send(conn, text);
  assert.equal((await receiveAnswer(conn)).status, 200);
  assert.equal((await scene.moat("revoke", "aws")).code, 0);
  await send(conn, text);
  const { status, body } = await receiveAnswer(conn);
  assert.equal(status, 403, body);
});

test("serves a grant that was revoked and granted again to new runs only", async (scene) => {
  const proxy = await scene.startProxy();
  const old = await scene.openRun(proxy.address);
  await scene.moat("revoke", "aws");
  await scene.grant();
  const fresh = await scene.openRun(proxy.address);
  const statuses = await Promise.all(
    [old, fresh].map((run) => run.get("/ecs/credentials")),
  );
  assert.deepEqual(statuses.map(({ status }) => status), [403, 200]);
});

test("uses the new settings at once after moat grant", async (scene) => {
  const proxy = await scene.startProxy();
  const run = await scene.openRun(proxy.address);
  await run.get("/ecs/credentials");
  await scene.grant("--session-name", "renamed");
  await run.get("/ecs/credentials");
  assert.equal(scene.sts.sessionNames.at(-1), "renamed");
});

test("ends a run at once when its moat run says so", async (scene) => {
  const proxy = await scene.startProxy();
  const run = await scene.openRun(proxy.address);
  await run.end();
  assert.equal((await run.get("/ecs/credentials")).status, 401);
});

test("answers nonsense on its control socket with an error", async (scene) => {
  await scene.startProxy();
  const path = scene.paths.controlSocket;
  using conn = await Deno.connect({ transport: "unix", path });
  for (
    const line of ["{", '{"id":1}', '{"id":1,"method":"exit","params":{}}']
  ) {
    await conn.write(new TextEncoder().encode(line + "\n"));
    const buffer = new Uint8Array(4096);
    const count = await conn.read(buffer) ?? 0;
    const reply = new TextDecoder().decode(buffer.subarray(0, count));
    assert.equal(JSON.parse(reply).error.code, "usage", line);
  }
});

testUnless(reason, "moat proxy starts without any grant", async () => {
  await using proxy = await startMoat(["proxy", "--listen", "127.0.0.1:0"]);
  assert.equal(
    (await get(addressOf(proxy.urls[0] ?? ""), "/healthz")).status,
    200,
  );
});
