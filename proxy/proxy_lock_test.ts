import assert from "node:assert/strict";
import { modeOf, tempHome } from "../tests/support/temp_home.ts";
import { holdProxyLock } from "./proxy_lock.ts";

Deno.test("holdProxyLock() lets one proxy hold it", async () => {
  await using home = await tempHome();
  using _first = await holdProxyLock(home.paths);
  await assert.rejects(holdProxyLock(home.paths), { code: "proxy-running" });
});

Deno.test("holdProxyLock() lets the next proxy hold it", async () => {
  await using home = await tempHome();
  (await holdProxyLock(home.paths))[Symbol.dispose]();
  using _second = await holdProxyLock(home.paths);
});

Deno.test("holdProxyLock() keeps homes apart", async () => {
  await using home = await tempHome();
  await using other = await tempHome();
  using _first = await holdProxyLock(home.paths);
  using _second = await holdProxyLock(other.paths);
});

Deno.test("holdProxyLock() makes private files", async () => {
  await using home = await tempHome();
  using _lock = await holdProxyLock(home.paths);
  const { locks } = home.paths;
  assert.deepEqual(
    [await modeOf(locks), await modeOf(`${locks}/proxy.lock`)],
    [0o700, 0o600],
  );
});
