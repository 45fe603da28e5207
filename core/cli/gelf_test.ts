import assert from "node:assert/strict";
import { CANARY } from "../../tests/support/canary.ts";
import { memoryStreams } from "../../tests/support/memory_streams.ts";
import type { LogFields } from "../log.ts";
import { Secret } from "../secret.ts";
import { gelfMessage } from "./gelf.ts";
import { createLog } from "./output.ts";

function message(fields: LogFields = {}, level = "info") {
  const line = { timestamp: 1_767_225_600_250, level, event: "ready", fields };
  return JSON.parse(gelfMessage("box", line));
}

Deno.test("gelfMessage() has the members of GELF 1.1", () => {
  assert.deepEqual(message({ url: "http://a", count: 2 }), {
    version: "1.1",
    host: "box",
    "short_message": "ready",
    timestamp: 1_767_225_600.25,
    level: 6,
    _url: "http://a",
    _count: 2,
  });
});

const LEVELS = { debug: 7, info: 6, warning: 4, error: 3 };

for (const [level, number] of Object.entries(LEVELS)) {
  Deno.test(`gelfMessage() numbers ${level} as syslog does`, () => {
    assert.equal(message({}, level).level, number);
  });
}

const FIELDS: {
  name: string;
  fields: LogFields;
  expect: Record<string, unknown>;
}[] = [
  { name: "an id", fields: { id: "x" }, expect: { _id_: "x" } },
  { name: "other letters", fields: { "a b": 1 }, expect: { _a_b: 1 } },
  { name: "a member's name", fields: { level: 9 }, expect: { _level: 9 } },
  { name: "a truth", fields: { ok: true }, expect: { _ok: "true" } },
  { name: "a list", fields: { a: [1, "b"] }, expect: { _a: '[1,"b"]' } },
  {
    name: "nothing",
    fields: { a: undefined, b: null },
    expect: { _b: "null" },
  },
  {
    name: "a secret",
    fields: { a: new Secret(CANARY) },
    expect: { _a: "[redacted]" },
  },
];

for (const { name, fields, expect } of FIELDS) {
  Deno.test(`gelfMessage() takes ${name} as a field`, () => {
    const made = Object.entries(message(fields))
      .filter(([key]) => key.startsWith("_"));
    assert.deepEqual(Object.fromEntries(made), expect);
  });
}

Deno.test("createLog() writes one GELF message a line, with this host's name", async () => {
  const streams = memoryStreams(true);
  const log = await createLog(streams, "gelf", "info");
  log.warn("one", { a: "{b}" });
  log.debug("two");
  const [line = "", ...others] = streams.err.trimEnd().split("\n");
  const { host, level, short_message: text, _a } = JSON.parse(line);
  assert.deepEqual(
    [host, level, text, _a, others],
    [Deno.hostname(), 4, "one", "{b}", []],
  );
});
