/**
 * The environment of go-metadataproxy: what each variable does, what is said
 * of those that do nothing, and what happens to values that cannot be used.
 */

import assert from "node:assert/strict";
import { MoatError } from "$core/errors.ts";
import { NO_METADATA } from "$core/metadata.ts";
import { DEFAULT_POLICY } from "$core/policy.ts";
import { compatibleSettings, warnAtStart } from "$proxy/metadata/compatible.ts";
import {
  type CompatibleEnv,
  readCompatibleEnv,
} from "$proxy/metadata/compatible_env.ts";
import { testUnless } from "./support/conditional.ts";
import { fakePlatform } from "./support/fake_platform.ts";
import { CLIENTS, ImdsWire, wireReason } from "./support/imds_wire.ts";
import { moatReason, runMoat, startMoat } from "./support/moat.ts";
import { WireEngine } from "./support/wire_engine.ts";

type Env = Readonly<Record<string, string>>;

/** What an empty environment says. */
const USUAL: CompatibleEnv = {
  address: { hostname: "0.0.0.0", port: 8000 },
  logLevel: "info",
  logFormat: "text",
  hasPrometheus: false,
  telemetry: { copy: { labels: [], env: [], separator: "_" } },
};

const at = (hostname: string, port: number): Partial<CompatibleEnv> => ({
  address: { hostname, port },
});

const copying = (
  copy: Partial<CompatibleEnv["telemetry"]["copy"]>,
): Partial<CompatibleEnv> => ({
  telemetry: { copy: { ...USUAL.telemetry.copy, ...copy } },
});

const collecting = (
  more: Partial<CompatibleEnv["telemetry"]>,
): Partial<CompatibleEnv> => ({ telemetry: { ...USUAL.telemetry, ...more } });

const GOOD: [env: Env, expect: Partial<CompatibleEnv>][] = [
  [{}, {}],
  [{ HOST: "127.0.0.1" }, at("127.0.0.1", 8000)],
  [{ HOST: "localhost" }, at("127.0.0.1", 8000)],
  [{ HOST: "::" }, at("::", 8000)],
  [{ HOST: "[::1]", PORT: "80" }, at("::1", 80)],
  [{ HOST: "", PORT: "" }, {}],
  [{ PORT: "0" }, at("0.0.0.0", 0)],
  [{ PORT: "65535" }, at("0.0.0.0", 65_535)],
  [{ DEFAULT_ROLE: "App" }, { defaultRole: "App" }],
  [{ DEFAULT_ROLE: "" }, {}],
  [{ DEFAULT_ACCOUNT_ID: "123456789012" }, { defaultAccount: "123456789012" }],
  [{ LOG_LEVEL: "debug" }, { logLevel: "debug" }],
  [{ LOG_LEVEL: "trace" }, { logLevel: "debug" }],
  [{ LOG_LEVEL: "info" }, {}],
  [{ LOG_LEVEL: "warning" }, { logLevel: "warn" }],
  [{ LOG_LEVEL: "WARN" }, { logLevel: "warn" }],
  [{ LOG_LEVEL: "error" }, { logLevel: "error" }],
  [{ LOG_LEVEL: "fatal" }, { logLevel: "error" }],
  [{ LOG_LEVEL: "panic" }, { logLevel: "error" }],
  [{ LOG_FORMAT: "text" }, {}],
  [{ LOG_FORMAT: "json" }, { logFormat: "json" }],
  [{ LOG_FORMAT: "gelf" }, { logFormat: "gelf" }],
  [{ ENABLE_PROMETHEUS: "1" }, { hasPrometheus: true }],
  // As the original: any text.
  [{ ENABLE_PROMETHEUS: "false" }, { hasPrometheus: true }],
  [{ ENABLE_PROMETHEUS: "" }, {}],
  [
    { COPY_DOCKER_LABELS: "PROJECT_VERSION,SOMETHING_ELSE" },
    copying({ labels: ["PROJECT_VERSION", "SOMETHING_ELSE"] }),
  ],
  [{ COPY_DOCKER_ENV: "B, a,,B" }, copying({ env: ["B", "a"] })],
  [{ COPY_DOCKER_ENV: " , " }, {}],
  [{ LABEL_SEPARATOR: "." }, copying({ separator: "." })],
  [
    { STATSD_ADDR: "stats.example:8125" },
    collecting({ statsd: { hostname: "stats.example", port: 8125 } }),
  ],
  [
    { STATSITE_ADDR: ":8125" },
    collecting({ statsite: { hostname: "127.0.0.1", port: 8125 } }),
  ],
  [
    { DATADOG_ADDR: "[::1]:8125" },
    collecting({ datadog: { hostname: "::1", port: 8125 } }),
  ],
  // What has no meaning here does no harm.
  [{ NEWRELIC_APP_NAME: "a", NEWRELIC_LICENSE: "b" }, {}],
  [{ DATADOG_SERVICE_NAME: "a", COPY_REQUEST_HEADERS: "b" }, {}],
];

for (const [env, expect] of GOOD) {
  Deno.test(`readCompatibleEnv() reads ${JSON.stringify(env)}`, () => {
    assert.deepEqual(readCompatibleEnv(env), { ...USUAL, ...expect });
  });
}

const BAD: Readonly<Record<string, readonly string[]>> = {
  HOST: ["example.org", "0.0.0.0:80", "10.0.0.256", "[::1", "http://[::1]"],
  PORT: ["http", "-1", "65536", "80.0", " 80", "0x50", "1e3"],
  LOG_LEVEL: ["verbose", "1", "constructor"],
  LOG_FORMAT: ["xml", "toString"],
  STATSD_ADDR: ["8125", "stats", "stats:", "stats:0", "stats:65536", "a b:1"],
  STATSITE_ADDR: ["::1:8125", "[10.0.0.1]:80", "tcp://stats:8125"],
  DATADOG_ADDR: ["unix:///var/run/datadog/dsd.socket", "stats:81 25"],
};

for (const [name, values] of Object.entries(BAD)) {
  for (const value of values) {
    Deno.test(`readCompatibleEnv() refuses ${name}=${value}`, () => {
      assert.throws(
        () => readCompatibleEnv({ [name]: value }),
        (error) =>
          error instanceof MoatError && error.code === "usage" &&
          error.message.startsWith(`Cannot use ${name}: wanted `),
      );
    });
  }
}

Deno.test("readCompatibleEnv() shows the begin of a long value alone", () => {
  assert.throws(
    () => readCompatibleEnv({ PORT: "9".repeat(10_000) }),
    (error) => error instanceof MoatError && error.message.length < 200,
  );
});

Deno.test("compatibleSettings() allow any role and version 1", () => {
  assert.deepEqual(compatibleSettings(USUAL), {
    ...NO_METADATA,
    roles: "any",
    v1: true,
  });
});

Deno.test("compatibleSettings() are those of moat.toml with --strict, but for the environment's defaults", () => {
  const metadata = {
    ...NO_METADATA,
    grant: "prod",
    roles: ["App"],
    defaultRole: "Lower",
    defaultAccount: "123456789012",
  };
  const config = { policy: DEFAULT_POLICY, bindings: new Map(), metadata };
  const env = { ...USUAL, defaultRole: "Higher" };
  assert.deepEqual(compatibleSettings(env, config), {
    ...metadata,
    defaultRole: "Higher",
  });
});

/** The warnings of a start, by event, or `variable-ignored VARIABLE`. */
function warned(env: Env, isStrict = false): Record<string, string> {
  const { log, lines } = fakePlatform();
  const strict = isStrict ? { ...NO_METADATA, roles: ["App"] } : undefined;
  warnAtStart(log, { env, strict });
  return Object.fromEntries(
    lines.map(({ event, fields: { variable, reason } }) => [
      variable === undefined ? event : `${event} ${variable}`,
      String(reason),
    ]),
  );
}

Deno.test("warnAtStart() names each default of go-metadataproxy", () => {
  assert.deepEqual(Object.keys(warned({})), [
    "any-role",
    "version-1",
    "failures-are-404",
    "hour-long-sessions",
    "identity-by-address",
  ]);
});

Deno.test("warnAtStart() names identity by address alone with --strict", () => {
  assert.deepEqual(Object.keys(warned({}, true)), ["identity-by-address"]);
});

Deno.test("warnAtStart() says with --strict that nothing is allowed", () => {
  const { log, lines } = fakePlatform();
  warnAtStart(log, { env: {}, strict: NO_METADATA });
  assert.equal(lines.at(-1)?.event, "no-roles");
});

const IGNORED: [variable: string, says: RegExp, isStrict?: boolean][] = [
  ["NEWRELIC_APP_NAME", /Prometheus.*statsd/],
  ["NEWRELIC_LICENSE", /Prometheus.*statsd/],
  ["DATADOG_SERVICE_NAME", /DATADOG_ADDR/],
  ["COPY_REQUEST_HEADERS", /a client would choose/],
  ["ROLE_CACHE_OFFSET", /--strict/, true],
];

for (const [variable, says, isStrict] of IGNORED) {
  Deno.test(`warnAtStart() says that ${variable} does nothing, but not its value`, () => {
    const reasons = warned({ [variable]: "Value" }, isStrict);
    const reason = reasons[`variable-ignored ${variable}`] ?? "";
    assert.match(reason, says);
    assert(!reason.includes("Value"));
  });
}

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
    const [, metrics = ""] = /^metrics (\S+)$/m.exec(moat.stdout()) ?? [];
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
    await using engine = await WireEngine.open();
    await using moat = await wire.startMetadataProxy(engine.url, {
      env: {
        HOME: "",
        MOAT_HOME: "",
        LOG_FORMAT: "json",
        DEFAULT_ACCOUNT_ID: "123456789012",
      },
    });
    const address = CLIENTS.first;
    engine.start({ name: "web", address, env: { IAM_ROLE: "App" } });
    const client = wire.client(address, "http://10.88.0.1:8000");
    assert.equal((await client.credentials("v1")).role, "App");
    const { stderr } = await moat.stop();
    assert.equal(stderr.match(/audit-(off|failed)/g)?.join(), "audit-off");
  },
);
