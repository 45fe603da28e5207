/**
 * `moat trace` and the metrics of the built `moat proxy`: what clients asked,
 * and never what they must not tell.
 */

import assert from "node:assert/strict";
import { noOpenssl } from "./support/anywhere_pki.ts";
import { assertNoCanary, assertNoCanaryBelow } from "./support/canary.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import {
  answer,
  ask,
  closeQuietly,
  type FaultBed,
  openFaultBed,
  proofOf,
  request,
} from "./support/fault_bed.ts";
import {
  type InterceptBedOptions,
  readAll,
  writeText,
} from "./support/intercept_bed.ts";
import { MOAT, moatEnv, moatReason, runMoat } from "./support/moat.ts";
import { connectTo } from "./support/raw_http.ts";
import { type RunResult, startServer } from "./support/run.ts";

const reason = moatReason() ?? noOpenssl;

function test(
  name: string,
  use: (bed: FaultBed) => Promise<void>,
  options: Partial<InterceptBedOptions> = {},
): void {
  testUnless(reason, name, async () => {
    await using bed = await openFaultBed(options);
    bed.upstream.script(async (conn) => {
      await bed.upstream.receive(conn);
      await writeText(conn, answer("well"));
    });
    await use(bed);
  });
}

/** Asks the upstream, and gives the status. */
async function get(bed: FaultBed, path: string): Promise<string> {
  const { authority } = bed.upstream;
  using conn = await bed.connectTls(authority);
  const { head } = await ask(conn, request(authority, `GET ${path}`));
  return head.slice(9, 12);
}

function trace(bed: FaultBed, ...args: string[]): Promise<RunResult> {
  return runMoat(["trace", ...args], { workspace: bed.workspace });
}

/** The lines of the trace, once there are as many. */
async function records(
  bed: FaultBed,
  count: number,
): Promise<Record<string, unknown>[]> {
  return await eventually(`${count} lines`, async () => {
    const { stdout } = await trace(bed, "--json");
    const lines = stdout.split("\n").slice(0, -1);
    if (lines.length < count) return undefined;
    return lines.map((line): Record<string, unknown> => JSON.parse(line));
  });
}

test("moat trace tells of each request, and of no secret", async (bed) => {
  await get(bed, "/one?key=secret-query");
  const [one] = await records(bed, 1);
  const { time, firstByteMs, totalMs, ...rest } = one ?? {};
  assert.deepEqual(rest, {
    binding: "client",
    kind: "https",
    method: "GET",
    host: bed.upstream.authority,
    path: "/one",
    status: 200,
    decision: "allow",
    rule: "grant testapi",
    grants: ["testapi"],
    sent: 0,
    received: 4,
  });
  assert.ok(Math.abs(Date.parse(String(time)) - Date.now()) < 60_000);
  assert.ok(Number(firstByteMs) <= Number(totalMs));
  const { stdout } = await trace(bed);
  assertNoCanary(stdout);
  assert.doesNotMatch(stdout, /secret-query/);
  await assertNoCanaryBelow(bed.workspace.moatHome);
});

test("moat trace prints a line for each request", async (bed) => {
  await get(bed, "/one");
  await records(bed, 1);
  const { stdout } = await trace(bed);
  const host = bed.upstream.authority;
  assert.match(
    stdout,
    new RegExp(
      `^\\S+Z client GET ${host}/one 200 [0-9.]+ms .*\\btestapi\\b.*\n$`,
    ),
  );
});

test("moat trace of a binding tells of no other", async (bed) => {
  await get(bed, "/one");
  await records(bed, 1);
  const [own, other] = [await trace(bed, "client"), await trace(bed, "other")];
  assert.deepEqual(
    [own.stdout.split("\n").length, other.stdout, other.code],
    [2, "", 0],
  );
});

test("moat trace tells what was denied and what failed", async (bed) => {
  const connect = async (authority: string) => {
    using conn = await connectTo(bed.address);
    const line = `CONNECT ${authority}`;
    await writeText(conn, request(authority, line, `${proofOf(bed)}\r\n`));
    await conn.closeWrite();
    await readAll(conn);
  };
  await connect("evil.test:443");
  bed.upstream.script(() => {});
  await get(bed, "/dies");
  const found = await records(bed, 2);
  assert.deepEqual(
    found.map(({ method, host, status, failure, rule }) => [
      method,
      host,
      status,
      failure,
      rule,
    ]),
    [
      ["CONNECT", "evil.test", 403, "policy-denied", "default"],
      [
        "GET",
        bed.upstream.authority,
        502,
        "upstream-broke-off",
        "grant testapi",
      ],
    ],
  );
});

test("the trace is for this user's eyes only", async (bed) => {
  await get(bed, "/one");
  await records(bed, 1);
  const { mode } = await Deno.stat(bed.workspace.path("moat/trace.jsonl"));
  assert.equal(mode! & 0o777, 0o600);
});

test("the trace is written whole when the proxy ends", async (bed) => {
  await get(bed, "/one");
  await bed.proxy.stop();
  assert.equal((await records(bed, 1)).length, 1);
});

/** Starts `moat trace --follow`, and waits until it has printed something. */
function follow(bed: FaultBed) {
  return startServer([MOAT, ..."trace client --follow --json".split(" ")], {
    env: moatEnv(bed.workspace),
    clearEnv: true,
    ready: /^\{.*\}\n/gm,
  });
}

test("moat trace --follow goes on with what comes, until it is stopped", async (bed) => {
  await get(bed, "/one");
  await records(bed, 1);
  await using following = await follow(bed);
  for (const path of ["/two", "/three"]) await get(bed, path);
  await eventually(
    "three lines",
    () => following.stdout().split("\n").length > 3,
  );
  const { code, stdout } = await following.stop("SIGINT");
  assert.deepEqual(
    [code, stdout.trim().split("\n").map((line) => JSON.parse(line).path)],
    [0, ["/one", "/two", "/three"]],
  );
});

test("moat trace --follow loses nothing when the file is put aside", async (bed) => {
  await get(bed, "/one");
  await records(bed, 1);
  await using following = await follow(bed);
  const path = bed.workspace.path("moat/trace.jsonl");
  const line = await Deno.readTextFile(path);
  const say = (what: string, options: Deno.WriteFileOptions) =>
    Deno.writeTextFile(path, line.replace("/one", what), options);
  await say("/two", { append: true });
  await Deno.rename(path, `${path}.1`);
  await say("/three", { createNew: true, mode: 0o600 });
  await eventually("the last", () => following.stdout().includes("/three"));
  const { stdout } = await following.stop();
  assert.deepEqual(
    stdout.trim().split("\n").map((line) => JSON.parse(line).path),
    ["/one", "/two", "/three"],
  );
});

test("moat trace prints no control characters of hosts and paths", async (bed) => {
  await get(bed, "/%1b%5b2J%0d%0a?x");
  await records(bed, 1);
  const path = bed.workspace.path("moat/trace.jsonl");
  const line = await Deno.readTextFile(path);
  const evil = "\x1b[2J\x07\r\n\x7f\x9b31m\u202e\u2028";
  const record = JSON.parse(line);
  await Deno.writeTextFile(
    path,
    JSON.stringify({ ...record, host: evil, path: evil, rule: evil }) + "\n",
    { append: true },
  );
  const { stdout } = await trace(bed);
  assert.deepEqual(
    [
      stdout.split("\n").length,
      // deno-lint-ignore no-control-regex -- that there are none
      /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]/.test(stdout),
    ],
    [3, false],
  );
  assert.match(stdout, /\/%1[bB]%5[bB]2J%0[dD]%0[aA]"? /);
});

test("moat trace leaves out a line that a crash cut short", async (bed) => {
  await get(bed, "/one");
  await records(bed, 1);
  const path = bed.workspace.path("moat/trace.jsonl");
  await Deno.writeTextFile(path, '{"time":"2026', { append: true });
  const { code, stdout } = await trace(bed, "--json");
  assert.deepEqual([code, stdout.split("\n").length], [0, 2]);
});

testUnless(reason, "moat trace without a trace prints nothing", async () => {
  const { code, stdout, stderr } = await runMoat(["trace"]);
  assert.deepEqual([code, stdout, stderr], [0, "", ""]);
});

// Metrics

/** A line of the metrics for each request, by what happened to it. */
const METRICS: readonly RegExp[] = [
  /^moat_proxy_requests_total\{kind="https",decision="allow",result="2xx"\} 2$/m,
  /^moat_proxy_requests_total\{kind="https",decision="allow",result="5xx"\} 1$/m,
  /^moat_proxy_requests_total\{kind="tunnel",decision="deny",result="4xx"\} 1$/m,
  /^moat_proxy_denials_total\{kind="tunnel"\} 1$/m,
  /^moat_proxy_injections_total\{grant="testapi"\} 3$/m,
  /^moat_proxy_tls_failures_total\{cause="client-rejected-certificate"\} 1$/m,
  /^moat_proxy_request_seconds_count\{kind="https"\} [34]$/m,
  /^moat_proxy_request_seconds_bucket\{le="0\.25",kind="https"\} [0-4]$/m,
];

test(
  "moat proxy --metrics counts requests, denials, injections and TLS failures",
  async (bed) => {
    await get(bed, "/one?secret-query");
    await get(bed, "/two");
    bed.upstream.script(() => {});
    await get(bed, "/dies");
    using denied = await connectTo(bed.address);
    const line = "CONNECT evil.test:443";
    await writeText(denied, request("evil.test", line, `${proofOf(bed)}\r\n`));
    await denied.closeWrite();
    await readAll(denied);
    const conn = await bed.connect(bed.upstream.authority);
    const tls = await Deno.startTls(conn, { hostname: "localhost" });
    await assert.rejects(tls.handshake());
    closeQuietly(tls);
    const [, url] = /^metrics (\S+)$/m.exec(bed.proxy.stdout()) ?? [];
    let text = "";
    await eventually("all is counted", async () => {
      text = await (await fetch(`${url}/metrics`)).text();
      return METRICS.every((metric) => metric.test(text));
    }).catch(() => {/* told below */});
    assert.deepEqual(
      METRICS.filter((metric) => !metric.test(text)),
      [],
      text.split("\n").filter((line) => /^moat_proxy/.test(line)).join("\n"),
    );
    assertNoCanary(text);
    assert.doesNotMatch(text, /secret-query|evil\.test|\/one|localhost/);
  },
  { proxyFlags: ["--metrics", "127.0.0.1:0"] },
);
