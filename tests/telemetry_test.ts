/**
 * go-metadataproxy's telemetry, to real receivers: exact lines for statsd,
 * statsite and Datadog, a real scrape for Prometheus; few values of labels
 * whatever happens, and no secret.
 */

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import fc from "fast-check";
import type { ContainerFacts } from "$core/container.ts";
import { systemClock } from "$core/clock.ts";
import type { MetadataEvent } from "$core/metadata.ts";
import { Answer } from "$core/provider.ts";
import { serve } from "$proxy/http1/server.ts";
import { createMetrics, createMetricsService } from "$proxy/metrics.ts";
import { DatagramCollector, pack } from "$proxy/telemetry/datagrams.ts";
import {
  LabelBounds,
  MAX_SETS,
  MAX_VALUES,
  requestLabels,
} from "$proxy/telemetry/labels.ts";
import { datadogLine, statsdLine } from "$proxy/telemetry/lines.ts";
import { type Collector, LineSender } from "$proxy/telemetry/line_sender.ts";
import { StreamCollector } from "$proxy/telemetry/stream.ts";
import {
  openTelemetry,
  type Telemetry,
  type TelemetrySettings,
} from "$proxy/telemetry/telemetry.ts";
import { assertNoCanary, CANARY } from "./support/canary.ts";
import { eventually } from "./support/eventually.ts";
import { FakeClock, settle } from "./support/fake_clock.ts";
import { fakePlatform } from "./support/fake_platform.ts";

/** The gauges' prefix. */
const SERVICE = "aws";

const COPY = { labels: ["PROJECT_VERSION"], env: ["STAGE"], separator: "_" };

function facts(more: Partial<ContainerFacts> = {}): ContainerFacts {
  return {
    id: "0".repeat(64),
    name: "web",
    image: "web:1",
    env: { STAGE: "Prod", DB_PASSWORD: CANARY, IAM_EXTERNAL_ID: CANARY },
    labels: { PROJECT_VERSION: "1.2", note: CANARY },
    startedAt: "2026-01-01T00:00:00Z",
    ...more,
  };
}

const SERVED: MetadataEvent = {
  resource: "credentials",
  version: "latest",
  status: 200,
  role: "App",
  container: facts(),
};

const REFUSED: MetadataEvent = {
  resource: "role-name",
  version: "2018-09-24",
  status: 404,
  error: "could_not_find_container",
};

const PASSED: MetadataEvent = {
  resource: "other",
  version: "latest",
  status: 200,
  container: facts({ labels: {}, env: {} }),
  passthroughMs: { connect: 2, total: 5.5 },
};

/** What statsd and statsite are sent of the three. */
const FLAT = [
  "metadataproxy.http_request.iam-security-crentials-for-role./meta-data/iam/security-credentials/{requested_role}.latest.1.2.Prod.App.200.go-metadataproxy:1.000000|c",
  "metadataproxy.http_request.iam-security-credentials-name./meta-data/iam/security-credentials/.2018-09-24.404.could_not_find_container.go-metadataproxy:1.000000|c",
  "metadataproxy.http_request.passthrough./{rest}.latest.200.go-metadataproxy:1.000000|c",
  "metadataproxy.aws_response_time.passthrough./{rest}.latest.200.go-metadataproxy:5500000.000000|g",
  "metadataproxy.aws_request_time.passthrough./{rest}.latest.200.go-metadataproxy:3500000.000000|g",
  "metadataproxy.aws_connection_time.passthrough./{rest}.latest.200.go-metadataproxy:2000000.000000|g",
];

const PASSED_TAGS =
  "#handler_name:passthrough,request_path:/{rest},api_version:latest,response_code:200,service:go-metadataproxy";

const TAGGED = [
  "metadataproxy.http_request:1|c|#handler_name:iam-security-crentials-for-role,request_path:/meta-data/iam/security-credentials/{requested_role},api_version:latest,container_project_version:1.2,container_stage:Prod,role_name:App,response_code:200,service:go-metadataproxy",
  "metadataproxy.http_request:1|c|#handler_name:iam-security-credentials-name,request_path:/meta-data/iam/security-credentials/,api_version:2018-09-24,response_code:404,error_description:could_not_find_container,service:go-metadataproxy",
  `metadataproxy.http_request:1|c|${PASSED_TAGS}`,
  `metadataproxy.aws_response_time:5500000|g|${PASSED_TAGS}`,
  `metadataproxy.aws_request_time:3500000|g|${PASSED_TAGS}`,
  `metadataproxy.aws_connection_time:2000000|g|${PASSED_TAGS}`,
];

async function open(
  more: Partial<TelemetrySettings>,
  isReadable = false,
  platform: ReturnType<typeof fakePlatform> = fakePlatform(),
): Promise<{
  telemetry: Telemetry;
  platform: ReturnType<typeof fakePlatform>;
}> {
  const settings = { copy: COPY, ...more };
  const telemetry = await openTelemetry({
    ...{ platform, settings, isReadable, service: SERVICE },
  });
  return { telemetry, platform };
}

/** Takes datagrams on loopback. */
async function receiver(family: "udp4" | "udp6" = "udp4"): Promise<
  AsyncDisposable & { port: number; datagrams: string[] }
> {
  const socket = createSocket(family);
  const datagrams: string[] = [];
  socket.on("message", (bytes) => void datagrams.push(String(bytes)));
  socket.bind(0, family === "udp4" ? "127.0.0.1" : "::1");
  await once(socket, "listening");
  return {
    port: socket.address().port,
    datagrams,
    async [Symbol.asyncDispose]() {
      const closed = once(socket, "close");
      socket.close();
      await closed;
    },
  };
}

/** Takes lines on loopback; each connection can be ended. */
function lineServer(): AsyncDisposable & {
  port: number;
  text: () => string;
  hangUp: () => void;
} {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connections = new Set<Deno.Conn>();
  let text = "";
  const take = async (connection: Deno.Conn) => {
    const decoder = new TextDecoder();
    try {
      for await (const bytes of connection.readable) {
        text += decoder.decode(bytes, { stream: true });
      }
    } catch {
      // Hung up.
    }
    connections.delete(connection);
  };
  const taken = (async () => {
    for await (const connection of listener) {
      connections.add(connection);
      take(connection);
    }
  })();
  const hangUp = () => {
    for (const connection of connections) connection.close();
    connections.clear();
  };
  return {
    port: listener.addr.port,
    text: () => text,
    hangUp,
    async [Symbol.asyncDispose]() {
      listener.close();
      await taken.catch(() => {});
      await eventually("all connections to end", () => connections.size === 0);
    },
  };
}

for (const hostname of ["127.0.0.1", "::1", "localhost"]) {
  Deno.test(`statsd at ${hostname} gets a line for each measurement`, async () => {
    await using udp = await receiver(hostname === "::1" ? "udp6" : "udp4");
    const statsd = { hostname, port: udp.port };
    const { telemetry, platform } = await open({ statsd });
    for (const event of [SERVED, REFUSED, PASSED]) telemetry.observe(event);
    await platform.clock.advance(100);
    await eventually("a datagram", () => udp.datagrams.length > 0);
    assert.deepEqual(udp.datagrams, [FLAT.map((line) => line + "\n").join("")]);
    await telemetry.close();
  });
}

Deno.test("Datadog's agent gets a line with tags for each measurement", async () => {
  await using udp = await receiver();
  const datadog = { hostname: "127.0.0.1", port: udp.port };
  const { telemetry, platform } = await open({ datadog });
  for (const event of [SERVED, REFUSED, PASSED]) telemetry.observe(event);
  await platform.clock.advance(100);
  const lines = () => udp.datagrams.join("").trimEnd().split("\n");
  await eventually("all lines", () => lines().length === TAGGED.length);
  assert.deepEqual(lines(), TAGGED);
  await telemetry.close();
});

Deno.test("statsite gets the lines of statsd on one connection", async () => {
  await using server = lineServer();
  const statsite = { hostname: "127.0.0.1", port: server.port };
  const { telemetry, platform } = await open({ statsite });
  const wanted = FLAT.map((line) => line + "\n").join("");
  for (const event of [SERVED, REFUSED]) telemetry.observe(event);
  await platform.clock.advance(100);
  await eventually("the first lines", () => server.text().length > 0);
  telemetry.observe(PASSED);
  await platform.clock.advance(100);
  await eventually("all lines", () => server.text().length >= wanted.length);
  assert.equal(server.text(), wanted);
  await telemetry.close();
});

Deno.test("statsite is connected to anew when it hung up", async () => {
  await using server = lineServer();
  const statsite = { hostname: "127.0.0.1", port: server.port };
  const { telemetry, platform } = await open({ statsite });
  telemetry.observe(REFUSED);
  await platform.clock.advance(100);
  await eventually("the first line", () => server.text() !== "");
  server.hangUp();
  await eventually("the line after", async () => {
    telemetry.observe(PASSED);
    // Past the pause after a failure.
    await platform.clock.advance(6000);
    return server.text().includes("passthrough");
  });
  await telemetry.close();
});

Deno.test("close() sends what waits", async () => {
  await using udp = await receiver();
  const statsd = { hostname: "127.0.0.1", port: udp.port };
  const { telemetry } = await open({ statsd });
  telemetry.observe(REFUSED);
  await telemetry.close();
  await eventually("a datagram", () => udp.datagrams.length > 0);
  assert.deepEqual(udp.datagrams, [`${FLAT[1]}\n`]);
});

Deno.test("pack() makes datagrams of at most 1400 bytes, in order, of all lines", () => {
  const line = fc.string({ unit: "grapheme", maxLength: 300 })
    .map((text) => text.replaceAll("\n", "") + "\n");
  fc.assert(
    fc.property(fc.array(line, { maxLength: 40 }), (lines) => {
      const datagrams = pack(lines);
      assert.equal(datagrams.join(""), lines.join(""));
      for (const datagram of datagrams) {
        const { length } = new TextEncoder().encode(datagram);
        assert(length <= 1400 || lines.includes(datagram));
        assert.match(datagram, /\n$/);
      }
    }),
  );
});

/** A collector that fails as long as it is told to. */
class FakeCollector implements Collector {
  isDown = false;
  isClosed = false;
  /** Settles deliveries, if there is one. */
  gate: Promise<void> | undefined;
  readonly lines: string[] = [];
  deliveries = 0;

  async deliver(lines: readonly string[]): Promise<void> {
    this.deliveries++;
    await this.gate;
    if (this.isDown) throw new Deno.errors.ConnectionRefused();
    this.lines.push(...lines);
  }

  close(): void {
    this.isClosed = true;
  }
}

function sender() {
  const platform = fakePlatform();
  const collector = new FakeCollector();
  const sender = new LineSender({ platform, name: "statsd", collector });
  return { platform, collector, sender };
}

Deno.test("LineSender sends together what comes within 100 ms", async () => {
  const { platform, collector, sender: it } = sender();
  it.send("a");
  await platform.clock.advance(60);
  it.send("b");
  await platform.clock.advance(39);
  assert.deepEqual(collector.lines, []);
  await platform.clock.advance(1);
  assert.deepEqual([collector.lines, collector.deliveries], [
    ["a\n", "b\n"],
    1,
  ]);
});

Deno.test("LineSender says once that a collector cannot be reached, and again after it could", async () => {
  const { platform, collector, sender: it } = sender();
  const rounds = async (count: number) => {
    for (let round = 0; round < count; round++) {
      it.send("a");
      await platform.clock.advance(6000);
    }
    return platform.lines.filter(({ event }) => event === "telemetry-failed")
      .length;
  };
  collector.isDown = true;
  const first = await rounds(5);
  collector.isDown = false;
  await rounds(1);
  collector.isDown = true;
  assert.deepEqual([first, await rounds(5)], [1, 2]);
});

Deno.test("LineSender leaves a collector alone for a while that cannot be reached", async () => {
  const { platform, collector, sender: it } = sender();
  collector.isDown = true;
  for (let ms = 0; ms < 10_000; ms += 100) {
    it.send("a");
    await platform.clock.advance(100);
  }
  assert.equal(collector.deliveries, 2);
});

Deno.test("LineSender drops and counts lines that are too many", async () => {
  const { platform, collector, sender: it } = sender();
  const gate = Promise.withResolvers<void>();
  collector.gate = gate.promise;
  for (let line = 0; line < 5000; line++) it.send(String(line));
  await platform.clock.advance(100);
  gate.resolve();
  await settle();
  const dropped = platform.measured.reduce(
    (sum, { name, value = 0 }) =>
      sum + (name === "telemetry_dropped_total" ? value : 0),
    0,
  );
  assert.deepEqual([collector.lines.length, dropped], [4096, 904]);
});

Deno.test("LineSender.close() waits no longer than 500 ms for a collector that hangs", async () => {
  const { platform, collector, sender: it } = sender();
  collector.gate = new Promise(() => {});
  it.send("a");
  const closed = it.close();
  await platform.clock.advance(499);
  assert.equal(collector.isClosed, false);
  await platform.clock.advance(1);
  await closed;
  assert.equal(collector.isClosed, true);
});

Deno.test("LineSender sends nothing after close()", async () => {
  const { platform, collector, sender: it } = sender();
  await it.close();
  it.send("late");
  await platform.clock.advance(10_000);
  assert.deepEqual(collector.lines, []);
});

Deno.test("DatagramCollector fails for a name that there is not", async () => {
  const to = { hostname: "nowhere.invalid", port: 8125 };
  const collector = new DatagramCollector(new FakeClock(), to);
  await assert.rejects(collector.deliver(["a\n"]));
  collector.close();
});

Deno.test("StreamCollector fails where nobody listens", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  const collector = new StreamCollector({ hostname: "127.0.0.1", port });
  await assert.rejects(collector.deliver(["a\n"]));
  collector.close();
});

/** A line of the text format: name, labels, value. */
interface Sample {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

const SAMPLE =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\n"])*",?)*)\})? (\S+)$/;
const PAIR = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"/g;

/** Reads the text format 0.0.4, and fails for what Prometheus refuses. */
function parseText(text: string): Map<string, { type: string; all: Sample[] }> {
  assert.match(text, /\n$/);
  const families = new Map<string, { type: string; all: Sample[] }>();
  let current = "";
  const seen = new Set<string>();
  for (const line of text.split("\n").filter((line) => line !== "")) {
    const [, type, ofType] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    if (type !== undefined) {
      assert(!families.has(type), `a second family ${type}`);
      families.set(type, { type: ofType ?? "", all: [] });
      current = type;
    }
    if (line.startsWith("#")) continue;
    const [, name = "", inside = "", value = ""] = SAMPLE.exec(line) ?? [];
    assert.notEqual(name, "", `no sample: ${line}`);
    assert.equal(name, current, "samples of one family stand together");
    const pairs = [...inside.matchAll(PAIR)].map(([, key = "", value = ""]) =>
      [key, value] as const
    );
    assert.equal(new Set(pairs.map(([key]) => key)).size, pairs.length);
    const key = JSON.stringify([name, pairs.toSorted()]);
    assert(!seen.has(key), `a second sample ${key}`);
    seen.add(key);
    const labels = new Map(pairs);
    families.get(name)?.all.push({ name, labels, value: Number(value) });
  }
  return families;
}

/** What Prometheus would get. */
async function scrape(telemetry: Telemetry) {
  const platform = { ...fakePlatform(), clock: systemClock };
  const kept = await createMetrics(platform.log);
  kept.gauge("build_info", 1, { version: "1" });
  const service = createMetricsService(async () => {
    const { status, body, contentType } = await kept.read();
    return new Answer(status, body + await telemetry.read(), contentType);
  });
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const server = serve(listener, service, {
    clock: systemClock,
    onError: (error) => {
      throw error;
    },
  });
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
  const text = await answer.text();
  await server.close();
  return { text, families: parseText(text), headers: answer.headers };
}

Deno.test("Prometheus reads the counter under its name, with all labels", async () => {
  const { telemetry } = await open({}, true);
  for (const event of [SERVED, SERVED, REFUSED]) telemetry.observe(event);
  const { families } = await scrape(telemetry);
  const { type, all } = families.get("metadataproxy_http_request") ??
    { type: "", all: [] };
  const [first, second] = all;
  assert.deepEqual([type, all.length, first?.value], ["counter", 2, 2]);
  assert.deepEqual(Object.fromEntries(first?.labels ?? []), {
    "handler_name": "iam-security-crentials-for-role",
    "request_path": "/meta-data/iam/security-credentials/{requested_role}",
    "api_version": "latest",
    "container_project_version": "1.2",
    "container_stage": "Prod",
    "role_name": "App",
    "response_code": "200",
    "error_description": "",
    "service": "go-metadataproxy",
  });
  assert.equal(
    second?.labels.get("error_description"),
    "could_not_find_container",
  );
});

Deno.test("Prometheus reads the gauges of what was passed on", async () => {
  const { telemetry } = await open({}, true);
  telemetry.observe(PASSED);
  const { families } = await scrape(telemetry);
  const gauges = ["response", "request", "connection"].map((name) => {
    const { type, all } =
      families.get(`metadataproxy_${SERVICE}_${name}_time`) ??
        { type: "", all: [] };
    return [type, all[0]?.value];
  });
  assert.deepEqual(gauges, [
    ["gauge", 5_500_000],
    ["gauge", 3_500_000],
    ["gauge", 2_000_000],
  ]);
});

Deno.test("Prometheus reads moat's own measurements beside them", async () => {
  const { telemetry } = await open({}, true);
  telemetry.observe(REFUSED);
  const { families, headers } = await scrape(telemetry);
  assert(families.has("moat_build_info"));
  assert.match(
    headers.get("content-type") ?? "",
    /^text\/plain; version=0\.0\.4/,
  );
});

Deno.test("Prometheus reads labels whose names it would not allow", async () => {
  const copy = { labels: ["com.Example/x"], env: ["9-9"], separator: "." };
  const { telemetry } = await open({ copy }, true);
  const labels = { "com.Example/x": 'a"\\\nb' };
  telemetry.observe({ ...SERVED, container: facts({ labels, env: {} }) });
  const { families } = await scrape(telemetry);
  const [sample] = families.get("metadataproxy_http_request")?.all ?? [];
  assert.equal(sample?.labels.get("container_com_example_x"), 'a\\"\\\\\\nb');
  assert.equal(sample?.labels.get("container_9_9"), "");
});

const LABEL_CASES: {
  name: string;
  event: Partial<MetadataEvent>;
  expect: Record<string, string>;
}[] = [
  {
    name: "a token request",
    event: { resource: "token" },
    expect: { "handler_name": "passthrough", "request_path": "/api/token" },
  },
  {
    name: "the info",
    event: { resource: "info" },
    expect: {
      "handler_name": "iam-info-handler",
      "request_path": "/meta-data/iam/info",
    },
  },
  {
    name: "an error only with a failure",
    event: { status: 200, error: "role_names_do_not_match" },
    expect: { "response_code": "200", "error_description": "" },
  },
  {
    name: "a role whose session was refused",
    event: { status: 502, error: "could_not_assume_role", role: "App" },
    expect: {
      "role_name": "App",
      "response_code": "502",
      "error_description": "could_not_assume_role",
    },
  },
  {
    name: "100 whole characters of a value",
    event: { role: "🐳".repeat(150) },
    expect: { "role_name": "🐳".repeat(100) },
  },
  {
    name: "a variable before a label of the same name",
    event: { container: facts({ labels: { A: "label" }, env: { a: "env" } }) },
    expect: { "container_a": "env" },
  },
  {
    name: "no member that every object has",
    event: { container: facts({ labels: {}, env: {} }) },
    expect: { "container_constructor": "" },
  },
];

for (const { name, event, expect } of LABEL_CASES) {
  Deno.test(`requestLabels() has ${name}`, () => {
    const copy = { labels: ["A", "constructor"], env: ["a"], separator: "_" };
    const labels = new Map(requestLabels({ ...REFUSED, ...event }, copy));
    const found = Object.keys(expect).map((
      key,
    ) => [key, labels.get(key) ?? ""]);
    assert.deepEqual(Object.fromEntries(found), expect);
  });
}

/** Events that clients and containers could cause. */
const EVENTS = fc.record({
  resource: fc.constantFrom(
    "token" as const,
    "info" as const,
    "role-name" as const,
    "credentials" as const,
    "other" as const,
  ),
  version: fc.string(),
  status: fc.integer({ min: 200, max: 599 }),
  error: fc.string(),
  role: fc.string({ unit: "binary", maxLength: 300 }),
  container: fc.record({ STAGE: fc.string({ unit: "binary" }) })
    .map((env) => facts({ env, labels: { PROJECT_VERSION: env.STAGE } })),
});

Deno.test("LabelBounds keeps the values of each label, and the sets of them, few", () => {
  const bounds = new LabelBounds();
  const values = new Map<string, Set<string>>();
  const sets = new Set<string>();
  for (let index = 0; index < 20_000; index++) {
    const container = facts({
      env: { STAGE: `s${index % 300}` },
      labels: { PROJECT_VERSION: `v${index % 299}` },
    });
    const event = { ...SERVED, role: `r${index % 297}`, container };
    const labels = bounds.bound(requestLabels(event, COPY));
    sets.add(JSON.stringify(labels));
    for (const [name, value] of labels) {
      values.set(name, (values.get(name) ?? new Set()).add(value));
    }
  }
  const most = Math.max(...[...values.values()].map(({ size }) => size));
  assert.equal(most, MAX_VALUES + 1);
  // That with `other` in place of everything free is one of them.
  assert.equal(sets.size, MAX_SETS);
});

Deno.test("LabelBounds keeps what is known beforehand, however many sets there are", () => {
  const bounds = new LabelBounds();
  for (let index = 0; index < 3 * MAX_SETS; index++) {
    const env = { STAGE: `s${index % 150}` };
    const container = facts({ env, labels: {} });
    const event = { ...SERVED, role: `r${index % 149}`, container };
    bounds.bound(requestLabels(event, COPY));
  }
  const labels = new Map(bounds.bound(requestLabels({
    ...SERVED,
    role: "late",
    container: facts({ env: { STAGE: "late" }, labels: {} }),
  }, COPY)));
  assert.deepEqual(
    ["role_name", "container_stage", "response_code", "api_version"].map(
      (name) => labels.get(name),
    ),
    ["other", "other", "200", "latest"],
  );
});

Deno.test("LabelBounds keeps few sets, whatever the events", () => {
  fc.assert(
    fc.property(fc.array(EVENTS, { maxLength: 400 }), (events) => {
      const bounds = new LabelBounds();
      const values = new Map<string, Set<string>>();
      for (const event of events) {
        for (const [name, value] of bounds.bound(requestLabels(event, COPY))) {
          values.set(name, (values.get(name) ?? new Set()).add(value));
        }
      }
      for (const { size } of values.values()) assert(size <= MAX_VALUES + 1);
    }),
    { numRuns: 30 },
  );
});

Deno.test("statsdLine() is one line of one measurement, whatever the labels", () => {
  fc.assert(
    fc.property(EVENTS, (event) => {
      const labels = requestLabels(event, COPY);
      const line = statsdLine({ name: "a.b", value: 1, type: "c", labels });
      assert.match(line, /^a\.b\.[^\s:|\p{Cc}]+:1\.000000\|c$/u);
    }),
  );
});

Deno.test("datadogLine() has exactly the tags that there are, whatever their values", () => {
  fc.assert(
    fc.property(EVENTS, (event) => {
      const labels = requestLabels(event, COPY);
      const line = datadogLine({ name: "a.b", value: 1, type: "c", labels });
      const [, tags = ""] = /^a\.b:1\|c\|#([^|\p{Cc}]*)$/u.exec(line) ?? [];
      const names = tags.split(",").map((tag) => tag.split(":")[0]);
      assert.deepEqual(names, labels.map(([name]) => name));
    }),
  );
});

Deno.test("no sink gets what was not to be copied", async () => {
  await using udp = await receiver();
  await using server = lineServer();
  const { port } = udp;
  const { telemetry, platform } = await open({
    statsd: { hostname: "127.0.0.1", port },
    datadog: { hostname: "127.0.0.1", port },
    statsite: { hostname: "127.0.0.1", port: server.port },
  }, true);
  for (const event of [SERVED, REFUSED, PASSED]) telemetry.observe(event);
  await platform.clock.advance(100);
  await eventually(
    "all sinks",
    () => udp.datagrams.length >= 2 && server.text() !== "",
  );
  const { text } = await scrape(telemetry);
  const log = JSON.stringify([platform.lines, platform.measured]);
  assertNoCanary(text, server.text(), log, ...udp.datagrams);
  await telemetry.close();
});

Deno.test("observe() does nothing where nothing is to be sent", async () => {
  const { telemetry, platform } = await open({});
  telemetry.observe(SERVED);
  await platform.clock.advance(1000);
  assert.deepEqual([await telemetry.read(), platform.lines], ["", []]);
  await telemetry.close();
});
