import assert from "node:assert/strict";
import { runProgram } from "$core/cli/app.ts";
import type { ProxyStatus } from "$core/control.ts";
import { memoryStreams } from "../../tests/support/memory_streams.ts";
import { type TempHome, tempHome } from "../../tests/support/temp_home.ts";
import { serveControl } from "../control.ts";
import { PROXY_COMMANDS } from "./mod.ts";

const STATUS: ProxyStatus = {
  pid: 7,
  version: "1.2.3 abc",
  listeners: ["http://127.0.0.1:1", "http://[::1]:2"],
  runs: ["abcdefghij"],
  bindings: ["web"],
  expiries: [{
    grant: "alpha:x",
    what: "certificate",
    expiresAt: "2026-01-02T00:00:00.000Z",
    hint: "renew it",
  }],
};

async function status(home: TempHome, ...flags: string[]) {
  const streams = memoryStreams();
  const code = await runProgram({
    commands: PROXY_COMMANDS,
    examples: [],
    version: "",
    env: { MOAT_HOME: home.directory, MOAT_KEYRING: "file" },
    setVariable() {},
    streams,
    loadProviders: () => Promise.resolve([]),
  }, ["status", ...flags]);
  return { code, out: streams.out, err: streams.err };
}

/** Serves a proxy with a status. */
async function serveProxy(home: TempHome, told: ProxyStatus) {
  const server = await serveControl(
    home.paths.controlSocket,
    {
      runs: { disconnected() {} },
      status: () => told,
    } as unknown as Parameters<typeof serveControl>[1],
  );
  return { [Symbol.asyncDispose]: () => server.close() };
}

Deno.test("moat status shows what the proxy tells", async () => {
  await using home = await tempHome();
  await using _proxy = await serveProxy(home, STATUS);
  assert.deepEqual(await status(home), {
    code: 0,
    out: [
      "  version   1.2.3 abc\n",
      "  pid       7\n",
      "  listener  http://127.0.0.1:1\n",
      "  listener  http://[::1]:2\n",
      "  run       abcdefghij\n",
      "  binding   web\n",
      "  ends      2026-01-02T00:00:00.000Z  certificate of alpha:x; renew it\n",
    ].join(""),
    err: "",
  });
});

Deno.test("moat status --json prints what the proxy tells", async () => {
  await using home = await tempHome();
  await using _proxy = await serveProxy(home, STATUS);
  const { code, out, err } = await status(home, "--json");
  assert.deepEqual([code, JSON.parse(out), err], [0, STATUS, ""]);
});

Deno.test("moat status keeps each end on its line", async () => {
  await using home = await tempHome();
  const [end] = STATUS.expiries;
  assert(end);
  const expiries = [{ ...end, hint: "a\nforged\x1b[1m" }];
  await using _proxy = await serveProxy(home, { ...STATUS, expiries });
  assert.match((await status(home)).out, /; a\\nforged\\u001b\[1m\n$/);
});

Deno.test("moat status fails without a proxy, and says how to start one", async () => {
  await using home = await tempHome();
  const { code, out, err } = await status(home);
  assert.deepEqual([code, out], [1, ""]);
  assert.match(err, /^error: .*no proxy is running.*\nhint: moat proxy /);
});

Deno.test("moat status fails for a socket that was left over", async () => {
  await using home = await tempHome();
  const path = home.paths.controlSocket;
  Deno.listen({ transport: "unix", path }).close();
  assert.equal((await status(home)).code, 1);
});
