/**
 * Where secrets are after a whole life of a proxy and a run: the source's key
 * nowhere, the run's token in its own file only.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { assertNoCanary, CANARY } from "./support/canary.ts";
import { testUnless } from "./support/conditional.ts";
import { moatReason } from "./support/moat.ts";
import { MOCK_SESSION } from "./support/mock_sts.ts";
import { environmentOf, Scene } from "./support/scene.ts";

const reason = moatReason();

test("the source's key and the session are in no file of moat's home", async ({ scene }) => {
  const secrets = [CANARY, MOCK_SESSION.secretAccessKey];
  const found = await filesWith(scene.workspace.moatHome, secrets);
  assert.deepEqual(found, []);
});

test("the token is in its own file only", async ({ scene, token, childEnv }) => {
  const found = await filesWith(scene.workspace.moatHome, [token]);
  assert.deepEqual(found, [childEnv["MOAT_AWS_CREDENTIAL_TOKEN_FILE"]]);
});

test("no secret is in the environment of the command", ({ childEnv, secrets }) => {
  assertNone(JSON.stringify(childEnv), secrets);
});

test("no secret is in the process list", async ({ secrets }) => {
  assertNone(await commandLines(), secrets);
});

test("no secret is in the log of the proxy", async ({ stop, secrets }) => {
  const { proxyOutput } = await stop();
  assert.match(proxyOutput, /"credentials-refused"/);
  assertNone(proxyOutput, secrets);
});

test("no secret is in what moat run prints", async ({ stop, secrets }) => {
  const { runOutput } = await stop();
  assertNone(runOutput, secrets);
});

test("no secret is in the audit log", async ({ scene, secrets }) => {
  const { stdout } = await scene.moat("audit", "--json");
  assert.match(stdout, /"vended"/);
  assertNone(stdout, secrets);
});

test("no secret is in errors that clients get", ({ errors, secrets }) => {
  assert.equal(errors.length, 3);
  assertNone(errors.join("\n"), secrets);
});

test("nothing is left of the token when the run has ended", async ({ scene, stop, token }) => {
  await stop();
  assert.deepEqual(await filesWith(scene.workspace.moatHome, [token]), []);
});

/** A proxy that served and refused, and a run that is still alive. */
interface Life {
  readonly scene: Scene;
  readonly token: string;
  readonly childEnv: Readonly<Record<string, string>>;
  /** The source's key, the session's key, the token. */
  readonly secrets: readonly string[];
  /** What clients were told that got no credentials. */
  readonly errors: readonly string[];
  stop(): Promise<{ proxyOutput: string; runOutput: string }>;
}

function test(name: string, fn: (life: Life) => void | Promise<void>): void {
  testUnless(reason, `moat: ${name}`, async () => {
    await using scene = await Scene.open();
    await fn(await live(scene));
  });
}

async function live(scene: Scene): Promise<Life> {
  const proxy = await scene.startProxy({
    args: ["--listen", "127.0.0.1:0", "--log-level", "debug"],
  });
  const run = await scene.startRun();
  const helped = await run.askHelper();
  assert.equal(helped.code, 0, helped.stderr);
  await scene.grant("--name", "denied");
  scene.sts.mood = "denying";
  const denied = await proxy.openRun(["aws:denied"]);
  const errors = [
    (await denied.get("/ecs/credentials")).body,
    (await denied.get("/nothing")).body,
    (await denied.get(`/ecs/credentials?access_token=${run.token}`)).body,
  ];
  await denied.end();
  return {
    scene,
    token: run.token,
    childEnv: await environmentOf(run.childPid),
    secrets: [CANARY, MOCK_SESSION.secretAccessKey, run.token, denied.token],
    errors,
    async stop() {
      const ended = await run.stop();
      const { stdout, stderr } = await proxy.stop();
      return {
        proxyOutput: stdout + stderr,
        runOutput: ended.stdout + ended.stderr,
      };
    },
  };
}

function assertNone(text: string, secrets: readonly string[]): void {
  assertNoCanary(text);
  for (const [index, secret] of secrets.entries()) {
    assert.ok(!text.includes(secret), `secret ${index} is there`);
  }
}

/** The files below a directory whose content or name holds one of the texts. */
async function filesWith(
  directory: string,
  texts: readonly string[],
): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(directory)) {
    const path = join(directory, entry.name);
    if (entry.isDirectory) found.push(...await filesWith(path, texts));
    const bytes = entry.isFile ? await Deno.readFile(path) : new Uint8Array();
    const content = new TextDecoder("latin1").decode(bytes) + entry.name;
    if (texts.some((text) => content.includes(text))) found.push(path);
  }
  return found;
}

/** The arguments of every process. */
async function commandLines(): Promise<string> {
  let text = "";
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    text += await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
  }
  assert.match(text, /--log-level\0debug/);
  return text;
}
