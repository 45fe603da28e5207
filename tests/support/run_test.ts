import assert from "node:assert/strict";
import { run, startServer } from "./run.ts";

const deno = (script: string) => [Deno.execPath(), "eval", script];

Deno.test("run() collects output and exit status", async () => {
  const script = "read x; echo out $x; echo err >&2; exit 3";
  const result = await run(["sh", "-c", script], { stdin: "in\n" });
  assert.deepEqual(result, { code: 3, stdout: "out in\n", stderr: "err\n" });
});

Deno.test("run() takes a program that does not read its stdin", async () => {
  const { code } = await run(["true"], { stdin: "x".repeat(1_000_000) });
  assert.equal(code, 0);
});

Deno.test("run() starts from an empty environment when told to", async () => {
  const options = { clearEnv: true, env: { A: "1" } };
  const { stdout } = await run(["/usr/bin/env"], options);
  assert.equal(stdout, "A=1\n");
});

Deno.test("run() gives up with what was printed", async () => {
  await assert.rejects(
    run(["sh", "-c", "echo so far; exec sleep 30"], { timeoutMs: 90 }),
    /not done within 90 ms\nso far/,
  );
});

Deno.test("startServer() waits for all ready lines", async () => {
  const script = `console.log("ready a"); console.log("ready b");
    setInterval(() => {}, 1000);`;
  const options = { ready: /^ready (\w)\n/gm, count: 2 };
  await using server = await startServer(deno(script), options);
  assert.deepEqual(server.ready.map((match) => match[1]), ["a", "b"]);
});

Deno.test("startServer() tells what a server printed that ended early", async () => {
  await assert.rejects(
    startServer(["sh", "-c", "echo no port >&2; exit 1"], { ready: /ready/g }),
    /ended before it was ready.*no port/,
  );
});

Deno.test("stop() returns the end of the output", async () => {
  const script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do " +
    "sleep 0.01; done";
  const server = await startServer(["sh", "-c", script], { ready: /ready/g });
  assert.deepEqual(await server.stop(), {
    code: 0,
    stdout: "ready\nbye\n",
    stderr: "",
  });
});
