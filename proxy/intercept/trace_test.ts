import assert from "node:assert/strict";
import { dirname } from "node:path";
import fc from "fast-check";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import {
  fakePlatform,
  type Recorded,
} from "../../tests/support/fake_platform.ts";
import { traceRecord } from "../../tests/support/trace_record.ts";
import { Workspace } from "../../tests/support/workspace.ts";
import { formatRecord, olderTrace, TraceFile } from "./trace.ts";
import type { TraceRecord } from "./trace_record.ts";

class Bed implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly lines: Recorded[];
  readonly path: string;
  readonly trace: TraceFile;
  readonly #workspace: Workspace;

  private constructor(workspace: Workspace, maxFileBytes?: number) {
    const { lines, log } = fakePlatform();
    this.lines = lines;
    this.#workspace = workspace;
    this.path = workspace.path("state", "trace.jsonl");
    this.trace = new TraceFile({
      paths: { trace: this.path },
      clock: this.clock,
      log,
      ...(maxFileBytes !== undefined && { maxFileBytes }),
    });
  }

  static async open(maxFileBytes?: number): Promise<Bed> {
    return new Bed(await Workspace.open(), maxFileBytes);
  }

  /** What is in a file. */
  async read(path = this.path): Promise<Record<string, unknown>[]> {
    const text = await Deno.readTextFile(path).catch(() => "");
    return text.split("\n").slice(0, -1).map((line) => JSON.parse(line));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#workspace[Symbol.asyncDispose]();
  }
}

function test(
  name: string,
  use: (bed: Bed) => Promise<void>,
  maxFileBytes?: number,
): void {
  Deno.test(name, async () => {
    await using bed = await Bed.open(maxFileBytes);
    await use(bed);
  });
}

function record(more: Partial<TraceRecord> = {}): TraceRecord {
  return traceRecord({
    ...{ time: Date.UTC(2026, 0, 2, 3, 4, 5, 6), sent: 1, received: 2 },
    ...{ firstByteMs: 1.2345, totalMs: 2.55, ...more },
  });
}

Deno.test("formatRecord() writes a line of JSON", () => {
  assert.equal(
    formatRecord(record()),
    '{"time":"2026-01-02T03:04:05.006Z","binding":"web","kind":"https","method":"GET","host":"api.test","path":"/x","status":200,"decision":"allow","rule":"grant api","grants":["api"],"sent":1,"received":2,"firstByteMs":1.2,"totalMs":2.6}\n',
  );
});

Deno.test("formatRecord() leaves out what there was not", () => {
  const { path: _, status: __, firstByteMs: ___, ...rest } = record();
  assert.doesNotMatch(formatRecord(rest), /path|status|firstByteMs|undefined/);
});

Deno.test("formatRecord() writes one line whatever a client sent", () =>
  fc.assert(
    fc.property(
      fc.string({ unit: "binary" }),
      fc.string({ unit: "binary" }),
      (host, path) => {
        const line = formatRecord(record({ host, path }));
        const read = JSON.parse(line);
        return line.indexOf("\n") === line.length - 1 && read.host === host &&
          read.path === path;
      },
    ),
  ));

test("record() creates nothing before it has something to write", async (bed) => {
  await bed.trace.flush();
  await assert.rejects(Deno.stat(bed.path), Deno.errors.NotFound);
});

test("record() writes a moment later", async (bed) => {
  bed.trace.record(record());
  const before = await bed.read();
  await bed.clock.advance(100);
  await bed.trace.flush();
  assert.deepEqual([before.length, (await bed.read()).length], [0, 1]);
});

test("record() keeps the order", async (bed) => {
  for (let i = 0; i < 500; i++) {
    bed.trace.record(record({ sent: i }));
    if (i % 100 === 0) void bed.trace.flush();
  }
  await bed.trace.flush();
  assert.deepEqual(
    (await bed.read()).map(({ sent }) => sent),
    Array.from({ length: 500 }, (_, i) => i),
  );
});

test("a trace is for this user's eyes only", async (bed) => {
  bed.trace.record(record());
  await bed.trace.flush();
  const [file, directory] = await Promise.all([
    Deno.stat(bed.path),
    Deno.stat(dirname(bed.path)),
  ]);
  assert.deepEqual(
    [file.mode! & 0o777, directory.mode! & 0o777],
    [0o600, 0o700],
  );
});

test("a trace goes on where it was", async (bed) => {
  bed.trace.record(record({ sent: 1 }));
  await bed.trace.flush();
  const { log } = fakePlatform();
  const next = new TraceFile({
    paths: { trace: bed.path },
    clock: bed.clock,
    log,
  });
  next.record(record({ sent: 2 }));
  await next.flush();
  assert.deepEqual((await bed.read()).map(({ sent }) => sent), [1, 2]);
});

test(
  "a trace that is full is put aside, in place of the one before",
  async (bed) => {
    for (let i = 0; i < 9; i++) {
      bed.trace.record(record({ sent: i }));
      await bed.trace.flush();
    }
    assert.deepEqual(
      [
        (await bed.read(olderTrace(bed.path))).map(({ sent }) => sent),
        (await bed.read()).map(({ sent }) => sent),
      ],
      [[4, 5, 6, 7], [8]],
    );
  },
  800,
);

test("a trace that is put aside stays private", async (bed) => {
  for (let i = 0; i < 3; i++) {
    bed.trace.record(record());
    await bed.trace.flush();
  }
  const { mode } = await Deno.stat(olderTrace(bed.path));
  assert.equal(mode! & 0o777, 0o600);
}, 100);

test("lines that cannot be written are lost, which is told once", async (bed) => {
  await Deno.mkdir(bed.path, { recursive: true, mode: 0o700 });
  for (let i = 0; i < 3; i++) {
    bed.trace.record(record());
    await bed.trace.flush();
  }
  assert.deepEqual(bed.lines.map(({ event }) => event), ["trace-lost"]);
});

test("a trace is written again once it can be", async (bed) => {
  await Deno.mkdir(bed.path, { recursive: true, mode: 0o700 });
  bed.trace.record(record({ sent: 1 }));
  await bed.trace.flush();
  await Deno.remove(bed.path);
  bed.trace.record(record({ sent: 2 }));
  await bed.trace.flush();
  assert.deepEqual((await bed.read()).map(({ sent }) => sent), [2]);
});

test("lines that come too fast are lost, the newest first", async (bed) => {
  for (let i = 0; i < 20_010; i++) bed.trace.record(record({ sent: i }));
  await bed.trace.flush();
  const lines = await bed.read();
  assert.deepEqual(
    [lines.length, lines.at(-1)?.["sent"], bed.lines.length],
    [20_000, 19_999, 1],
  );
});

test("a disk that hangs does not make lines pile up", async (bed) => {
  // Nobody reads from it: whoever opens it waits.
  await Deno.mkdir(dirname(bed.path), { mode: 0o700 });
  const made = await new Deno.Command("mkfifo", { args: [bed.path] }).output();
  assert(made.success);
  for (let i = 0; i < 30; i++) {
    for (let j = 0; j < 1_000; j++) bed.trace.record(record());
    await bed.clock.advance(100);
  }
  const lost = bed.lines.length;
  // Somebody who reads lets the writer go on.
  const reader = new Deno.Command("/bin/sh", {
    args: ["-c", 'exec cat <>"$0" >/dev/null', bed.path],
  }).spawn();
  await bed.trace.flush();
  reader.kill();
  await reader.status;
  assert.equal(lost, 1);
});
