/**
 * Sessions of the built `moat proxy` while STS, played by a mock, is well,
 * slow, unwilling or away.
 */

import assert from "node:assert/strict";
import { assertNoCanary } from "./support/canary.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { moatReason } from "./support/moat.ts";
import type { StsMood } from "./support/mock_sts.ts";
import { connectTo, parseAnswers, receive, send } from "./support/raw_http.ts";
import { run } from "./support/run.ts";
import { getText, Scene, type TestProxy } from "./support/scene.ts";

const reason = moatReason();

function test(
  name: string,
  fn: (scene: Scene, proxy: TestProxy) => Promise<void>,
): void {
  testUnless(reason, `moat proxy ${name}`, async () => {
    await using scene = await Scene.open();
    await fn(scene, await scene.startProxy());
  });
}

const PROCESS = "/aws/process-credentials";
const CONTAINER = "/ecs/credentials";

const REQUESTS = 5000;

/** What is left of the file descriptors is for the test runner itself. */
const SPARE_DESCRIPTORS = 200;

/** How many connections this process, and so the proxy, may open. */
async function connectionLimit(): Promise<number> {
  const { stdout } = await run(["sh", "-c", "ulimit -n"]);
  const limit = Number(stdout) || Infinity;
  // The proxy keeps a quarter of its own for other things.
  const served = Math.floor(limit * 3 / 4);
  return Math.min(REQUESTS, served, limit - SPARE_DESCRIPTORS);
}

const connections = await connectionLimit();
const each = Math.ceil(REQUESTS / connections);
const how = each === 1
  ? "each on its own connection"
  : `${each} pipelined on each of ${connections} connections, for want of file descriptors`;

test(
  `makes one call for ${REQUESTS} first requests at once, ${how}`,
  async (scene, proxy) => {
    const release = scene.sts.hold();
    const { token } = await proxy.openRun();
    const text = getText(proxy.address, PROCESS, {
      Authorization: `Bearer ${token}`,
    });
    const open: Deno.Conn[] = [];
    try {
      for (let batch = 0; batch < connections; batch += 250) {
        const size = Math.min(250, connections - batch);
        const more = await Promise.all(
          Array.from({ length: size }, () => connectTo(proxy.address)),
        );
        open.push(...more);
        await Promise.all(more.map((conn) => send(conn, text.repeat(each))));
      }
      release();
      const bodies = await Promise.all(open.map(async (conn) => {
        const done = (answers: string) =>
          answers.split("\r\n\r\n{").length > each && answers.endsWith("}");
        const answers = parseAnswers(await receive(conn, done));
        assert.ok(answers.every(({ status }) => status === 200));
        return answers.map(({ body }) => body);
      }));
      assert.equal(bodies.flat().length, connections * each);
      assert.equal(new Set(bodies.flat()).size, 1);
      assert.equal(scene.sts.calls, 1);
    } finally {
      open.forEach((conn) => conn.close());
    }
  },
);

const FAILURES: readonly { mood: StsMood; code: string }[] = [
  { mood: "denying", code: "access-denied" },
  { mood: "garbage", code: "sts-garbage" },
  { mood: "unavailable", code: "sts-unavailable" },
  { mood: "hanging", code: "sts-timeout" },
];

/** 900 ms, and what a busy machine adds. */
const CONTAINER_HOLD_MS = 900 + 600;

for (const { mood, code } of FAILURES) {
  test(
    `answers 502 ${code} within the hold while STS is ${mood}`,
    async (scene, proxy) => {
      scene.sts.mood = mood;
      const run = await proxy.openRun();
      const started = Date.now();
      const { status, headers, body } = await run.get(CONTAINER);
      const tookMs = Date.now() - started;
      assert.equal(status, 502);
      assert.equal(headers.get("content-type"), "application/json");
      assert.deepEqual(Object.keys(JSON.parse(body)), ["code", "message"]);
      assert.equal(JSON.parse(body).code, code);
      assert.ok(tookMs < CONTAINER_HOLD_MS, `it took ${tookMs} ms`);
      assertNoCanary(body);
      assert.doesNotMatch(
        body,
        /\/tmp|127\.0\.0\.1|\bat .*\.(ts|js)|AKIA|role\//,
      );
    },
  );

  test(
    `goes on serving the session it has while STS is ${mood}`,
    async (scene, proxy) => {
      const run = await proxy.openRun();
      const first = await run.get(CONTAINER);
      assert.equal(first.status, 200);
      scene.sts.mood = mood;
      for (let i = 0; i < 5; i++) {
        assert.deepEqual((await run.get(CONTAINER)).body, first.body);
      }
    },
  );
}

test(
  "answers 502 within 8 s to credential_process while STS is away",
  async (scene, proxy) => {
    await scene.sts[Symbol.asyncDispose]();
    const run = await proxy.openRun();
    const started = Date.now();
    const answer = await fetch(proxy.urls[0] + PROCESS, {
      headers: { Authorization: `Bearer ${run.token}` },
    });
    assert.equal((await answer.json()).code, "sts-unreachable");
    assert.equal(answer.status, 502);
    assert.ok(Date.now() - started < 9000);
  },
);

test("recovers when STS does, without a restart", async (scene, proxy) => {
  scene.sts.mood = "unavailable";
  const run = await proxy.openRun();
  assert.equal((await run.get(CONTAINER)).status, 502);
  scene.sts.mood = "well";
  await eventually(
    "credentials",
    async () => (await run.get(CONTAINER)).status === 200,
  );
});

test(
  "hands out a session of less than two minutes, for half of its life",
  async (scene, proxy) => {
    scene.sts.lifeSeconds = 59;
    const run = await proxy.openRun();
    assert.equal((await run.get(CONTAINER)).status, 200);
  },
);

test("hands out no session that has ended", async (scene, proxy) => {
  scene.sts.lifeSeconds = -1;
  const run = await proxy.openRun();
  const { status, body } = await run.get(CONTAINER);
  assert.equal(status, 502);
  assert.equal(JSON.parse(body).code, "sts-garbage");
});

test("asks STS once for many requests after a denial", async (scene, proxy) => {
  scene.sts.mood = "denying";
  const run = await proxy.openRun();
  for (let i = 0; i < 20; i++) {
    assert.equal((await run.get(CONTAINER)).status, 502);
  }
  assert.equal(scene.sts.calls, 1);
});
