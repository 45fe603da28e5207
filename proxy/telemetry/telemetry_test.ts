/**
 * Go-metadataproxy's telemetry, to real receivers: exact lines for statsd,
 * statsite and Datadog, a real scrape for Prometheus; and no secret.
 */

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { systemClock } from "$core/clock.ts";
import { Answer } from "$core/provider.ts";
import { assertNoCanary } from "../../tests/support/canary.ts";
import { eventually } from "../../tests/support/eventually.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import {
  COPY,
  facts,
  PASSED,
  REFUSED,
  SERVED,
} from "../../tests/support/metadata_events.ts";
import { serve } from "../http1/server.ts";
import { createMetrics, createMetricsService } from "../metrics.ts";
import {
  openTelemetry,
  type Telemetry,
  type TelemetrySettings,
} from "./telemetry.ts";

/** The gauges' prefix. */
const SERVICE = "aws";

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
