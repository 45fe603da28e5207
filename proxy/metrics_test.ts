import assert from "node:assert/strict";
import type { MetricLabels } from "$core/metrics.ts";
import { systemClock } from "$core/clock.ts";
import { fakePlatform } from "../tests/support/fake_platform.ts";
import { serve } from "./http1/server.ts";
import {
  createMetrics,
  createMetricsService,
  type ReadableMetrics,
} from "./metrics.ts";

async function newMetrics() {
  const platform = fakePlatform();
  const metrics = await createMetrics(platform.log);
  return { metrics, platform };
}

/** Lines of the exposition that are no comment. */
async function read(metrics: ReadableMetrics): Promise<string[]> {
  const { body } = await metrics.read();
  return body.split("\n").filter((line) => line && !line.startsWith("#"));
}

Deno.test("count() adds one, or as much as it is told", async () => {
  const { metrics } = await newMetrics();
  metrics.count("calls_total", { code: "ok" });
  metrics.count("calls_total", { code: "ok" }, 2);
  metrics.count("calls_total", { code: "denied" });
  assert.deepEqual(await read(metrics), [
    'moat_calls_total{code="ok"} 3',
    'moat_calls_total{code="denied"} 1',
  ]);
});

Deno.test("count() takes a metric without labels", async () => {
  const { metrics } = await newMetrics();
  metrics.count("starts_total");
  assert.deepEqual(await read(metrics), ["moat_starts_total 1"]);
});

Deno.test("gauge() keeps the last value", async () => {
  const { metrics } = await newMetrics();
  metrics.gauge("end", 5, { grant: "a" });
  metrics.gauge("end", 1.5, { grant: "a" });
  assert.deepEqual(await read(metrics), ['moat_end{grant="a"} 1.5']);
});

Deno.test("gauge() removes what has no value", async () => {
  const { metrics } = await newMetrics();
  metrics.gauge("end", 5, { grant: "a", what: "b" });
  metrics.gauge("end", 6, { what: "c", grant: "a" });
  metrics.gauge("end", undefined, { what: "b", grant: "a" });
  assert.deepEqual(await read(metrics), ['moat_end{what="c",grant="a"} 6']);
});

Deno.test("gauge() removes a value that was never there", async () => {
  const { metrics, platform } = await newMetrics();
  metrics.gauge("end", undefined, { grant: "a" });
  assert.deepEqual([await read(metrics), platform.lines], [[], []]);
});

Deno.test("read() tells type and content type", async () => {
  const { metrics } = await newMetrics();
  metrics.count("calls_total");
  const { body, contentType } = await metrics.read();
  assert.match(body, /^# TYPE moat_calls_total counter$/m);
  assert.equal(contentType, "text/plain; version=0.0.4; charset=utf-8");
});

Deno.test("read() keeps each label value within its quotes", async () => {
  const { metrics } = await newMetrics();
  metrics.count("calls_total", { code: 'a"} 9\nmoat_forged 1 \\' });
  assert.deepEqual(await read(metrics), [
    'moat_calls_total{code="a\\"} 9\\nmoat_forged 1 \\\\"} 1',
  ]);
});

const MISFITS: { name: string; measure: (metrics: ReadableMetrics) => void }[] =
  [
    { name: "another label", measure: (m) => m.count("x", { b: "1" }) },
    {
      name: "one label more",
      measure: (m) => m.count("x", { a: "1", b: "1" }),
    },
    { name: "a label less", measure: (m) => m.count("x") },
    { name: "another type", measure: (m) => m.gauge("x", 1, { a: "1" }) },
    { name: "a negative count", measure: (m) => m.count("x", { a: "1" }, -1) },
    { name: "a bad name", measure: (m) => m.count("a b") },
  ];

for (const { name, measure } of MISFITS) {
  Deno.test(`createMetrics() drops and counts ${name}`, async () => {
    const { metrics, platform } = await newMetrics();
    metrics.count("x", { a: "1" });
    measure(metrics);
    const [kept, dropped] = await read(metrics);
    assert.equal(kept, 'moat_x{a="1"} 1');
    assert.match(
      dropped ?? "",
      /^moat_metrics_dropped_total\{metric=".*"\} 1$/,
    );
    assert.deepEqual(
      platform.lines.map(({ event }) => event),
      ["metric-dropped"],
    );
  });
}

Deno.test("createMetrics() keeps 500 label sets of a metric, and drops the rest", async () => {
  const { metrics, platform } = await newMetrics();
  const labels = (i: number): MetricLabels => ({ client: `c${i}` });
  for (let i = 0; i < 600; i++) metrics.count("calls_total", labels(i));
  metrics.count("calls_total", labels(499));
  const lines = await read(metrics);
  assert.deepEqual([lines.length, lines[499], lines[500]], [
    501,
    'moat_calls_total{client="c499"} 2',
    'moat_metrics_dropped_total{metric="calls_total"} 100',
  ]);
  assert.equal(platform.lines.length, 1);
});

Deno.test("createMetrics() has room again for what was removed", async () => {
  const { metrics } = await newMetrics();
  for (let i = 0; i < 1000; i++) {
    metrics.gauge("end", i, { grant: `g${i}` });
    metrics.gauge("end", undefined, { grant: `g${i}` });
  }
  metrics.gauge("end", 1, { grant: "last" });
  assert.deepEqual(await read(metrics), ['moat_end{grant="last"} 1']);
});

Deno.test("createMetrics() makes metrics that know nothing of each other", async () => {
  const [one, other] = [await newMetrics(), await newMetrics()];
  one.metrics.count("calls_total");
  assert.deepEqual(await read(other.metrics), []);
});

/** Serves metrics and asks them once. */
async function ask(path: string, init: RequestInit = {}) {
  const { metrics } = await newMetrics();
  metrics.count("calls_total");
  const server = serve(
    Deno.listen({ hostname: "127.0.0.1", port: 0 }),
    createMetricsService(() => metrics.read()),
    { clock: systemClock, onError() {} },
  );
  const { port } = server.address as Deno.NetAddr;
  const client = Deno.createHttpClient({ allowHost: true });
  try {
    const url = `http://127.0.0.1:${port}${path}`;
    const answer = await fetch(url, { ...init, client });
    return { status: answer.status, body: await answer.text() };
  } finally {
    client.close();
    await server.close();
  }
}

Deno.test("createMetricsService() answers GET /metrics", async () => {
  const { status, body } = await ask("/metrics");
  assert.equal(status, 200);
  assert.match(body, /^moat_calls_total 1$/m);
});

const REFUSED: {
  name: string;
  path?: string;
  init?: RequestInit;
  status: number;
}[] = [
  { name: "another path", path: "/", status: 404 },
  { name: "a query", path: "/metrics?x=1", status: 404 },
  { name: "a longer path", path: "/metrics/", status: 404 },
  { name: "the endpoints of clients", path: "/healthz", status: 404 },
  { name: "HEAD", init: { method: "HEAD" }, status: 405 },
  { name: "POST", init: { method: "POST", body: "x" }, status: 405 },
  {
    name: "another host",
    init: { headers: { host: "evil.example" } },
    status: 403,
  },
  {
    name: "a page of a browser",
    init: { headers: { "sec-fetch-site": "cross-site" } },
    status: 403,
  },
];

for (const { name, path = "/metrics", init = {}, status } of REFUSED) {
  Deno.test(`createMetricsService() refuses ${name}`, async () => {
    const answer = await ask(path, init);
    assert.equal(answer.status, status);
    assert(!answer.body.includes("moat_calls"));
  });
}
