/**
 * The environment of go-metadataproxy: what happens to values that cannot be
 * used, and what moat does with those that can.
 */

import assert from "node:assert/strict";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { FakeEngine } from "./support/fake_engine.ts";
import { CLIENTS, ImdsWire, wireReason } from "./support/imds_wire.ts";
import { moatReason, runMoat, startMoat } from "./support/moat.ts";

type Env = Readonly<Record<string, string>>;

/** A free place, and no engine. */
const HERE: Env = {
  HOST: "127.0.0.1",
  PORT: "0",
  DOCKER_URL: "unix://nowhere/docker.sock",
};

for (
  const { name, env, says, code } of [
    { name: "a bad port", env: { PORT: "http" }, says: /PORT/, code: 2 },
    {
      name: "a bad level",
      env: { LOG_LEVEL: "x" },
      says: /LOG_LEVEL/,
      code: 2,
    },
    {
      name: "an engine on TCP",
      env: { DOCKER_URL: "tcp://127.0.0.1:2375" },
      says: /DOCKER_URL/,
      code: 2,
    },
    {
      name: "an offset that is no duration",
      env: { ROLE_CACHE_OFFSET: "soon" },
      says: /ROLE_CACHE_OFFSET/,
      code: 1,
    },
    {
      name: "an account that is none",
      env: { DEFAULT_ACCOUNT_ID: "prod" },
      says: /DEFAULT_ACCOUNT_ID/,
      code: 1,
    },
  ]
) {
  testUnless(
    moatReason(),
    `moat metadata-proxy ends before it listens with ${name}`,
    async () => {
      const result = await runMoat(["metadata-proxy"], {
        env: { ...HERE, ...env },
      });
      assert.deepEqual([result.code, result.stdout], [code, ""]);
      assert.match(result.stderr, says);
    },
  );
}

testUnless(
  moatReason(),
  "moat metadata-proxy says what to do if its port is taken",
  async () => {
    using other = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const env = { ...HERE, PORT: String(other.addr.port) };
    const { code, stderr } = await runMoat(["metadata-proxy"], { env });
    assert.equal(code, 1);
    assert.match(stderr, /another program does\nhint: set PORT to a free one/);
  },
);

testUnless(
  moatReason(),
  "moat metadata-proxy serves measurements where --metrics says, and ends with a signal",
  async () => {
    const argv = ["metadata-proxy", "--metrics", "127.0.0.1:0"];
    await using moat = await startMoat(argv, { env: HERE });
    // The line comes after that which startMoat() waits for.
    const [, metrics] = await eventually(
      "where they are",
      () => /^metrics (\S+)$/m.exec(moat.stdout()),
    );
    const refused = await fetch(`${moat.urls[0]}/metrics`);
    assert.equal(await refused.text(), "404 page not found\n");
    const text = await (await fetch(`${metrics}/metrics`)).text();
    assert.match(text, /^metadataproxy_http_request\{.*\} 1$/m);
    const { code, stderr } = await moat.stop();
    assert.equal(code, 0);
    assert.match(stderr, /stopped/);
  },
);

testUnless(
  moatReason() ?? wireReason(),
  "moat metadata-proxy serves containers without a home directory, and says once that there is no audit log",
  async () => {
    await using wire = await ImdsWire.open();
    await using engine = await FakeEngine.start();
    await using moat = await wire.startMetadataProxy(engine.url, {
      env: {
        HOME: "",
        MOAT_HOME: "",
        LOG_FORMAT: "json",
        DEFAULT_ACCOUNT_ID: "123456789012",
      },
    });
    const address = CLIENTS.first;
    engine.addContainer({ ip: address, env: { IAM_ROLE: "App" } });
    const client = wire.client(address, "http://10.88.0.1:8000");
    assert.equal((await client.credentials("v1")).role, "App");
    const { stderr } = await moat.stop();
    assert.equal(stderr.match(/audit-(off|failed)/g)?.join(), "audit-off");
  },
);
