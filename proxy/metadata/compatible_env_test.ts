import assert from "node:assert/strict";
import { MoatError } from "$core/errors.ts";
import { type CompatibleEnv, readCompatibleEnv } from "./compatible_env.ts";

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
  [{ ENABLE_PROMETHEUS: "false" }, {}],
  [{ ENABLE_PROMETHEUS: "0" }, {}],
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
