import assert from "node:assert/strict";
import fc from "fast-check";
import { CANARY } from "../../tests/support/canary.ts";
import { memoryStreams } from "../../tests/support/memory_streams.ts";
import { MoatError, toMoatError } from "../errors.ts";
import type { Log, LogFields } from "../log.ts";
import { Secret } from "../secret.ts";
import {
  createLog,
  fileStreams,
  LOG_LEVELS,
  Output,
  stackOf,
} from "./output.ts";

const ERROR = new MoatError("bad-thing", "Cannot do it", { hint: "moat fix" });

/** What stderr shows after a call. */
function printed(
  call: (output: Output) => void,
  { color = false, isJson = false } = {},
): string {
  const streams = memoryStreams(color);
  call(new Output(streams, isJson));
  assert.equal(streams.out, "");
  return streams.err;
}

Deno.test("Output.error() prints message and hint on stderr", () => {
  const text = printed((output) => output.error(ERROR));
  assert.equal(text, "error: Cannot do it\nhint: moat fix\n");
});

Deno.test("Output.error() prints no hint that is not there", () => {
  const text = printed((output) => output.error(new MoatError("a", "B")));
  assert.equal(text, "error: B\n");
});

Deno.test("Output.error() prints one JSON object with --json", () => {
  const text = printed((output) => output.error(ERROR), { isJson: true });
  assert.deepEqual(JSON.parse(text), {
    error: { code: "bad-thing", message: "Cannot do it", hint: "moat fix" },
  });
});

Deno.test("Output.error() leaves an absent hint out of its JSON", () => {
  const error = new MoatError("a", "B");
  const text = printed((output) => output.error(error), { isJson: true });
  assert.equal(text, '{"error":{"code":"a","message":"B"}}\n');
});

Deno.test("Output.error() colours its labels when stderr wants colours", () => {
  const text = printed((output) => output.error(ERROR), { color: true });
  assert.equal(
    text,
    "\x1b[31merror:\x1b[0m Cannot do it\n\x1b[36mhint:\x1b[0m moat fix\n",
  );
});

Deno.test("Output.error() colours no JSON", () => {
  const options = { color: true, isJson: true };
  const text = printed((output) => output.error(ERROR), options);
  assert(!text.includes("\x1b"));
});

Deno.test("Output.warn() prints one line on stderr", () => {
  const text = printed((output) => output.warn("take care"));
  assert.equal(text, "warning: take care\n");
});

Deno.test("Output.warn() colours its label when stderr wants colours", () => {
  const text = printed((output) => output.warn("a"), { color: true });
  assert.equal(text, "\x1b[33mwarning:\x1b[0m a\n");
});

const UNSAFE = "a\nerror: forged\r\x1b[2J\x07\x9b1m\u2028b\u202ec";
const SAFE = "a\\nerror: forged\\r\\u001b[2J\\u0007\\u009b1m\\u2028b\\u202ec";

Deno.test("Output.error() lets no text forge a line or move the cursor", () => {
  const error = new MoatError("a", UNSAFE, { hint: UNSAFE });
  const text = printed((output) => output.error(error));
  assert.equal(text, `error: ${SAFE}\nhint: ${SAFE}\n`);
});

Deno.test("Output.warn() lets no text forge a line or move the cursor", () => {
  const text = printed((output) => output.warn(UNSAFE));
  assert.equal(text, `warning: ${SAFE}\n`);
});

Deno.test("Output.error() prints letters of all scripts as they are", () => {
  const text = printed((output) => output.error(new MoatError("a", "é 漢 🦀")));
  assert.equal(text, "error: é 漢 🦀\n");
});

Deno.test("Output.data() prints the text without --json", () => {
  const streams = memoryStreams();
  new Output(streams, false).data({ a: 1 }, "a is 1\n");
  assert.deepEqual([streams.out, streams.err], ["a is 1\n", ""]);
});

Deno.test("Output.data() prints the value with --json", () => {
  const streams = memoryStreams();
  new Output(streams, true).data({ a: [1] }, "a is 1\n");
  assert.deepEqual(JSON.parse(streams.out), { a: [1] });
});

Deno.test("Output.data() redacts a secret", () => {
  const streams = memoryStreams();
  new Output(streams, true).data({ a: new Secret(CANARY) }, "");
  assert.deepEqual(JSON.parse(streams.out), { a: "[redacted]" });
});

Deno.test("stackOf() shows where it happened, without the message", () => {
  const stack = stackOf(toMoatError(new TypeError(`no ${CANARY}`)));
  assert.match(stack, /^ +at .*output_test\.ts/);
  assert(!stack.includes(CANARY));
});

Deno.test("stackOf() shows no line of a message that looks like a stack", () => {
  const error = new TypeError(`no\n    at ${CANARY} (file:///x.ts:1:1)`);
  assert(!stackOf(toMoatError(error)).includes(CANARY));
});

/** The lines that some calls write. */
async function logged(
  write: (log: Log) => void,
  { format = "json" as "json" | "text", color = false, level = "debug" } = {},
): Promise<string[]> {
  const streams = memoryStreams(color);
  const wanted = LOG_LEVELS.find((l) => l === level) ?? "debug";
  write(await createLog(streams, format, wanted));
  assert.equal(streams.out, "");
  if (streams.err === "") return [];
  assert.match(streams.err, /\n$/);
  return streams.err.slice(0, -1).split("\n");
}

Deno.test("createLog() writes one JSON object a line", async () => {
  const [line = "", ...others] = await logged((log) =>
    log.info("grant-changed", { grant: "a:b", count: 2 })
  );
  const { time, ...rest } = JSON.parse(line);
  assert.deepEqual([rest, others], [{
    level: "info",
    event: "grant-changed",
    grant: "a:b",
    count: 2,
  }, []]);
  assert.match(time, /^\d{4}-\d\d-\d\dT[\d:.]{12}Z$/);
});

Deno.test("createLog() keeps fields that are named like its own members from them", async () => {
  const fields = { message: "m", level: "x", event: "y", time: "z" };
  const [line = ""] = await logged((log) => log.error("real", fields));
  const { level, event, message, time } = JSON.parse(line);
  assert.deepEqual([level, event, message], ["error", "real", "m"]);
  assert.notEqual(time, "z");
});

for (const level of LOG_LEVELS) {
  Deno.test(`createLog() writes nothing below ${level}`, async () => {
    const lines = await logged((log) => {
      for (const each of LOG_LEVELS) log[each](`event-${each}`);
    }, { level });
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).level),
      LOG_LEVELS.slice(LOG_LEVELS.indexOf(level)),
    );
  });
}

Deno.test("createLog() writes text with event and fields", async () => {
  const [line = ""] = await logged(
    (log) => log.warn("run-opened", { run: "k3", grants: ["a", "b"], n: 0 }),
    { format: "text" },
  );
  assert.match(
    line,
    / \[WRN\] moat: run-opened run=k3 grants=\["a","b"\] n=0$/,
  );
});

const VALUES: { value: unknown; expect: string }[] = [
  { value: "plain:word/1.2", expect: "plain:word/1.2" },
  { value: "two words", expect: '"two words"' },
  { value: "", expect: '""' },
  { value: 'a"b', expect: '"a\\"b"' },
  { value: "a=b", expect: '"a=b"' },
  { value: "{a} {{b}}", expect: '"{a} {{b}}"' },
  { value: { a: { b: "{c}" } }, expect: '{"a":{"b":"{c}"}}' },
  { value: "a\nb", expect: '"a\\nb"' },
  { value: "\x1b[31m", expect: '"\\u001b[31m"' },
  { value: "\x9b31m\x7f", expect: '"\\u009b31m\\u007f"' },
  { value: "a\u2028b", expect: '"a\\u2028b"' },
  { value: new Secret(CANARY), expect: '"[redacted]"' },
  { value: [new Secret(CANARY)], expect: '["[redacted]"]' },
  { value: undefined, expect: "undefined" },
  { value: null, expect: "null" },
  { value: true, expect: "true" },
];

for (const { value, expect } of VALUES) {
  Deno.test(`createLog() writes ${expect} as text`, async () => {
    const lines = await logged((log) => log.info("event", { value }), {
      format: "text",
    });
    assert.deepEqual(lines.map((line) => line.replace(/^.*moat: /, "")), [
      `event value=${expect}`,
    ]);
  });
}

Deno.test("createLog() keeps a hostile field name within its line", async () => {
  const lines = await logged((log) => log.info("event", { "a\nb {c}": 1 }), {
    format: "text",
  });
  assert.deepEqual(lines.map((line) => line.replace(/^.*moat: /, "")), [
    'event "a\\nb {c}"=1',
  ]);
});

Deno.test("createLog() takes braces in an event as they are", async () => {
  const write = (log: Log) => log.info("event-{a}", { a: "q" });
  const [json = ""] = await logged(write);
  assert.equal(JSON.parse(json).event, "event-{a}");
});

Deno.test("createLog() redacts a secret in JSON", async () => {
  const fields = { a: new Secret(CANARY), b: { c: new Secret(CANARY) } };
  const [line = ""] = await logged((log) => log.info("event", fields));
  const { a, b } = JSON.parse(line);
  assert.deepEqual([a, b], ["[redacted]", { c: "[redacted]" }]);
});

Deno.test("createLog() colours text when stderr wants colours", async () => {
  const write = (log: Log) => log.error("event");
  const [line = ""] = await logged(write, { format: "text", color: true });
  assert(line.includes("\x1b["));
});

Deno.test("createLog() colours no text that goes elsewhere", async () => {
  const [line = ""] = await logged((log) => log.error("event"), {
    format: "text",
  });
  assert(!line.includes("\x1b["));
});

Deno.test("createLog() colours no JSON", async () => {
  const [line = ""] = await logged((log) => log.error("event"), {
    color: true,
  });
  assert(!line.includes("\x1b["));
});

for (const format of ["json", "text", "gelf"] as const) {
  Deno.test(`createLog() writes exactly one printable line of ${format}, whatever the fields`, async () => {
    const streams = memoryStreams();
    const log = await createLog(streams, format, "debug");
    const text = fc.string({ unit: "binary" });
    let before = 0;
    fc.assert(
      fc.property(
        fc.dictionary(text, fc.oneof(text, fc.jsonValue())),
        (fields) => {
          log.info("event", fields as LogFields);
          const line = streams.err.slice(before);
          before = streams.err.length;
          // deno-lint-ignore no-control-regex
          assert.match(line, /^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+\n$/);
        },
      ),
    );
  });
}

Deno.test("fileStreams() goes on when the disk is full", () => {
  const full = {
    writeSync: (): number => {
      throw new Error("ENOSPC");
    },
  };
  assert.doesNotThrow(() => fileStreams(full).stderr("a line\n"));
});

Deno.test("fileStreams() writes whole lines to a file that takes little at once", () => {
  let written = "";
  const slow = {
    writeSync(bytes: Uint8Array) {
      written += new TextDecoder().decode(bytes.subarray(0, 2));
      return Math.min(bytes.length, 2);
    },
  };
  fileStreams(slow).stderr("a line\n");
  assert.equal(written, "a line\n");
});
