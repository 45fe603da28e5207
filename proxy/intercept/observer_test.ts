import assert from "node:assert/strict";
import type { MoatError } from "$core/errors.ts";
import {
  type FakePlatform,
  fakePlatform,
} from "../../tests/support/fake_platform.ts";
import { traceRecord as record } from "../../tests/support/trace_record.ts";
import type { TraceRecord } from "./trace_record.ts";
import { ProxyFailure } from "./failure.ts";
import { Observer } from "./observer.ts";

class Bed {
  readonly platform: FakePlatform = fakePlatform();
  readonly traced: TraceRecord[] = [];
  readonly notices: [string, MoatError][] = [];
  readonly observer: Observer;

  constructor() {
    this.observer = new Observer({
      platform: this.platform,
      trace: { record: (record) => void this.traced.push(record) },
      notify: (binding, notice) => void this.notices.push([binding, notice]),
    });
  }

  /** What was told of events and their numbers. */
  get events(): unknown[] {
    return this.platform.events.map(({ event, fields }) => [event, fields]);
  }

  /** What was measured under a name. */
  measured(name: string): unknown[] {
    return this.platform.measured.filter((one) => one.name === name)
      .map(({ value, labels }) => [value, labels]);
  }
}

function test(name: string, use: (bed: Bed) => void | Promise<void>): void {
  Deno.test(name, () => use(new Bed()));
}

const DENIED = record({
  decision: "deny",
  rule: "default",
  grants: [],
  status: 403,
});

const INJECTED = ["injected", {
  binding: "web",
  host: "api.test",
  grant: "api",
}];

test("record() passes a record on to the trace", ({ observer, traced }) => {
  const one = record();
  observer.record(one);
  assert.deepEqual(traced, [one]);
});

test("record() tells of the first injection", (bed) => {
  bed.observer.record(record());
  assert.deepEqual(bed.events, [INJECTED]);
});

test("record() tells of each grant, host and binding", (bed) => {
  bed.observer.record(record({ grants: ["api", "other"] }));
  bed.observer.record(record({ host: "b.test" }));
  bed.observer.record(record({ binding: "job" }));
  assert.equal(bed.events.length, 4);
});

test("record() counts repeats, and tells their number once a minute", async (bed) => {
  for (let i = 0; i < 5; i++) bed.observer.record(record());
  await bed.platform.clock.advance(59_999);
  const before = bed.events.length;
  await bed.platform.clock.advance(1);
  assert.deepEqual([before, bed.events], [1, [
    INJECTED,
    ["injected-again", {
      binding: "web",
      host: "api.test",
      grant: "api",
      count: 4,
    }],
  ]]);
});

test("record() tells of no repeats that there were not", async (bed) => {
  bed.observer.record(record());
  await bed.platform.clock.advance(60_000);
  assert.deepEqual(bed.events, [INJECTED]);
});

test("record() tells of an injection anew after a minute", async (bed) => {
  bed.observer.record(record());
  await bed.platform.clock.advance(60_000);
  bed.observer.record(record());
  assert.deepEqual(bed.events, [INJECTED, INJECTED]);
});

test("record() runs no timer while nothing was told", async (bed) => {
  bed.observer.record(record({ grants: [] }));
  await bed.platform.clock.advance(600_000);
  assert.deepEqual(bed.events, []);
});

test("record() tells of denials with their rule, without path", (bed) => {
  bed.observer.record(DENIED);
  assert.deepEqual(bed.events, [[
    "denied",
    { binding: "web", host: "api.test", rule: "default" },
  ]]);
});

test("record() tells two rules of one host apart", (bed) => {
  bed.observer.record(DENIED);
  bed.observer.record({ ...DENIED, rule: "rule 1: deny api.test" });
  assert.equal(bed.events.length, 2);
});

test("record() does not let a client fill the audit log with hosts that it makes up", async (bed) => {
  for (let i = 0; i < 5_000; i++) {
    bed.observer.record({ ...DENIED, host: `${i}.test` });
  }
  await bed.platform.clock.advance(60_000);
  const counted = bed.platform.events.reduce(
    (sum, { fields }) => sum + Number(fields["count"] ?? 1),
    0,
  );
  assert.deepEqual(
    [bed.events.length <= 1_100, counted],
    [true, 5_000],
    `${bed.events.length} events`,
  );
});

test("close() tells the numbers that are left", (bed) => {
  for (let i = 0; i < 3; i++) bed.observer.record(DENIED);
  bed.observer.close();
  assert.deepEqual(bed.events.at(-1), [
    "denied-again",
    { binding: "web", host: "api.test", rule: "default", count: 2 },
  ]);
});

test("close() stops the timer", async (bed) => {
  for (let i = 0; i < 3; i++) bed.observer.record(DENIED);
  bed.observer.close();
  await bed.platform.clock.advance(600_000);
  assert.equal(bed.events.length, 2);
});

// Metrics

for (
  const [one, result] of [
    [record(), "2xx"],
    [record({ status: 502 }), "5xx"],
    [DENIED, "4xx"],
  ] as const
) {
  test(`record() counts ${one.status} as ${result}`, (bed) => {
    bed.observer.record(one);
    assert.deepEqual(bed.measured("proxy_requests_total"), [
      [1, { kind: "https", decision: one.decision, result }],
    ]);
  });
}

test("record() counts a client that went", (bed) => {
  const { status: _, ...gone } = record();
  bed.observer.record(gone);
  assert.deepEqual(bed.measured("proxy_requests_total"), [
    [1, { kind: "https", decision: "allow", result: "none" }],
  ]);
});

test("record() measures seconds", (bed) => {
  bed.observer.record(record());
  assert.deepEqual(bed.measured("proxy_request_seconds"), [
    [0.25, { kind: "https" }],
  ]);
});

test("record() does not measure how long a tunnel was open", (bed) => {
  bed.observer.record(record({ kind: "tunnel" }));
  assert.deepEqual(bed.measured("proxy_request_seconds"), []);
});

test("record() counts injections by grant", (bed) => {
  bed.observer.record(record());
  bed.observer.record(record());
  assert.deepEqual(bed.measured("proxy_injections_total"), [
    [1, { grant: "api" }],
    [1, { grant: "api" }],
  ]);
});

test("record() counts denials", (bed) => {
  bed.observer.record(DENIED);
  assert.deepEqual(bed.measured("proxy_denials_total"), [
    [1, { kind: "https" }],
  ]);
});

test("record() has no label that a client chooses", (bed) => {
  for (const host of ["a.test", "b.test"]) {
    bed.observer.record({ ...DENIED, host, method: "X", path: "/y" });
  }
  const text = JSON.stringify(bed.platform.measured);
  assert.doesNotMatch(text, /test|"X"|\/y/);
});

// TLS

function failed(code: string): ProxyFailure {
  return new ProxyFailure(400, code, "tls_alert_received", "Because");
}

test("tlsFailed() logs binding, host and cause", ({ observer, platform }) => {
  observer.tlsFailed("web", "api.test", failed("client-rejected-certificate"));
  assert.deepEqual(platform.lines, [{
    event: "client-tls-failed",
    fields: {
      binding: "web",
      host: "api.test",
      code: "client-rejected-certificate",
    },
  }]);
});

test("tlsFailed() counts by cause", (bed) => {
  bed.observer.tlsFailed("web", "api.test", failed("not-tls"));
  assert.deepEqual(bed.measured("proxy_tls_failures_total"), [
    [1, { cause: "not-tls" }],
  ]);
});

test("tlsFailed() names the variables to whoever runs a client", (bed) => {
  bed.observer.tlsFailed(
    "web",
    "api.test",
    failed("client-rejected-certificate"),
  );
  const [[binding, notice] = []] = bed.notices;
  assert.equal(binding, "web");
  assert.match(
    `${notice?.message} ${notice?.hint}`,
    /api\.test .*SSL_CERT_FILE, NODE_EXTRA_CA_CERTS/,
  );
});

test("tlsFailed() says that a client speaks HTTP/2 only", (bed) => {
  bed.observer.tlsFailed("web", "api.test", failed("client-needs-h2"));
  assert.match(bed.notices[0]?.[1].message ?? "", /nothing but HTTP\/2/);
});

for (const code of ["not-tls", "sni-mismatch", "tls-failed", "internal"]) {
  test(`tlsFailed() bothers nobody with ${code}`, (bed) => {
    bed.observer.tlsFailed("web", "api.test", failed(code));
    assert.deepEqual(bed.notices, []);
  });
}

test("tlsFailed() tells a person once of each binding and host", (bed) => {
  const rejected = failed("client-rejected-certificate");
  for (let i = 0; i < 3; i++) bed.observer.tlsFailed("web", "a.test", rejected);
  bed.observer.tlsFailed("web", "b.test", rejected);
  bed.observer.tlsFailed("job", "a.test", rejected);
  assert.equal(bed.notices.length, 3);
});
