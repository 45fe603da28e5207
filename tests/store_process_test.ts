import assert from "node:assert/strict";
import { createAuditLog, readAudit, verifyAudit } from "$core/audit.ts";
import { systemClock } from "$core/clock.ts";
import { MoatError } from "$core/errors.ts";
import { findPaths } from "$core/paths.ts";
import { createFileStore } from "$core/store/file.ts";
import { createKeyProvider } from "$core/store/key.ts";
import { testUnless } from "./support/conditional.ts";
import { AWS, plain } from "./support/store_contract.ts";
import { numberedGrant } from "./support/store_writer.ts";
import { namesIn, tempHome } from "./support/temp_home.ts";
import { noTinyDisk, tinyDisk } from "./support/tiny_disk.ts";
import { WriterProcess } from "./support/writer_process.ts";

function open(directory: string) {
  const env = { MOAT_HOME: directory, MOAT_KEYRING: "file" };
  const paths = findPaths(env);
  const keys = createKeyProvider({ paths, env, clock: systemClock });
  return { paths, store: createFileStore(paths, keys, systemClock) };
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** The number in the last line that starts with a word. */
function lastNumber(lines: string[], word: string): number | undefined {
  const line = lines.findLast((line) => line.startsWith(word));
  return line === undefined ? undefined : Number(line.split(" ")[1]);
}

Deno.test("a store whose writer is killed holds the old grant or the new, whole", async () => {
  await using home = await tempHome();
  const { paths, store } = open(home.directory);
  await store.put(numberedGrant(0));
  let stored = 0;
  for (let kills = 0; kills < 60; kills++) {
    const writer = new WriterProcess("loop", home.directory, `${stored + 1}`);
    await writer.started();
    await pause(Math.random() * 12);
    const lines = await writer.kill();
    const old = lastNumber(lines, "did") ?? stored;
    const next = lastNumber(lines, "put") ?? stored + 1;
    const grant = await store.get("aws:loop");
    stored = grant.createdAt;
    assert.ok([old, next].includes(stored), `${old}, ${next}, ${stored}`);
    assert.deepEqual(plain(grant), plain(numberedGrant(stored)));
  }
  await store.put(numberedGrant(stored));
  assert.deepEqual(await namesIn(paths.grants), ["aws:loop.grant"]);
});

Deno.test("a store loses no update of several processes", async () => {
  await using home = await tempHome();
  const { store } = open(home.directory);
  await store.put(numberedGrant(0));
  const writers = Array.from(
    { length: 4 },
    () => new WriterProcess("count", home.directory, "25"),
  );
  await Promise.all(writers.map((writer) => writer.lines()));
  const grant = await store.get("aws:loop");
  assert.deepEqual(plain(grant), plain(numberedGrant(100)));
});

Deno.test("several processes that use the key first end with one", async () => {
  await using home = await tempHome();
  const processes = Array.from(
    { length: 6 },
    () => new WriterProcess("key", home.directory),
  );
  await Promise.all(processes.map((process) => process.started()));
  await Promise.all(processes.map((process) => process.go()));
  const ids = await Promise.all(
    processes.map(async (process) => (await process.lines())[1]),
  );
  const { id } = JSON.parse(
    await Deno.readTextFile(open(home.directory).paths.keyRecord),
  );
  assert.deepEqual(ids, Array(6).fill(id));
});

testUnless(
  noTinyDisk,
  "a store on a full disk keeps the old grant",
  async () => {
    await using disk = await tinyDisk();
    const { store } = open(disk.directory);
    await store.put(AWS);
    await disk.fill();
    await store.put({ ...AWS, createdAt: 2 }).catch(() => {});
    assert.deepEqual(plain(await store.get(AWS.name)), plain(AWS));
  },
);

testUnless(noTinyDisk, "a store on a full disk says so", async () => {
  await using disk = await tinyDisk();
  const { paths, store } = open(disk.directory);
  await store.put(AWS);
  await disk.fill();
  await assert.rejects(store.put(AWS), {
    code: "disk-full",
    message: `Cannot write "${paths.grants}/aws:prod.grant": the disk is full`,
    hint: `free some space in "${paths.grants}", then run it again`,
  });
});

testUnless(
  noTinyDisk,
  "a store on a full disk leaves no temporary file",
  async () => {
    await using disk = await tinyDisk();
    const { paths, store } = open(disk.directory);
    await store.put(AWS);
    await disk.fill();
    await store.put(AWS).catch(() => {});
    assert.deepEqual(await namesIn(paths.grants), ["aws:prod.grant"]);
  },
);

testUnless(noTinyDisk, "a store on a full disk can revoke", async () => {
  await using disk = await tinyDisk();
  const { store } = open(disk.directory);
  await store.put(AWS);
  await disk.fill();
  assert.equal(await store.delete(AWS.name), true);
});

testUnless(
  noTinyDisk,
  "an audit log on a full disk reports and later counts what it lost",
  async () => {
    await using disk = await tinyDisk();
    const { paths } = open(disk.directory);
    const failures: MoatError[] = [];
    const audit = createAuditLog(paths, systemClock, {
      onFailure: (error) => failures.push(error),
    });
    await audit.record("tested", { n: 1 });
    await disk.fill();
    const filler = "x".repeat(8_000);
    for (let n = 0; n < 3; n++) audit.recordSoon("lost", { filler });
    await audit.flush();
    await disk.free();
    await audit.record("tested", { n: 2 });
    const seen = (await Array.fromAsync(readAudit(paths)))
      .map(({ event, fields }) => [event, fields]);
    assert.deepEqual(seen, [
      ["tested", { n: 1 }],
      ["audit-events-lost", { count: 3 }],
      ["tested", { n: 2 }],
    ]);
    assert.ok(failures.every((error) => error.code === "disk-full"));
    assert.equal((await verifyAudit(paths, systemClock)).ok, true);
  },
);

Deno.test("an audit log of several processes is one chain with every event", async () => {
  await using home = await tempHome();
  const { paths } = open(home.directory);
  const names = ["a", "b", "c", "d"];
  const writers = names.map((name) =>
    new WriterProcess("audit", home.directory, "25", name)
  );
  await Promise.all(writers.map((writer) => writer.lines()));
  assert.deepEqual(await verifyAudit(paths, systemClock), {
    ok: true,
    events: 100,
    tornTail: false,
  });
});

Deno.test("an audit log whose writers are killed goes on as one chain", async () => {
  await using home = await tempHome();
  const { paths } = open(home.directory);
  for (let kills = 0; kills < 20; kills++) {
    const writer = new WriterProcess("audits", home.directory);
    await writer.started();
    await pause(Math.random() * 12);
    await writer.kill();
    const audit = createAuditLog(paths, systemClock, { onFailure() {} });
    await audit.record("tested", {});
    const report = await verifyAudit(paths, systemClock);
    assert.deepEqual(report, { ...report, ok: true, tornTail: false });
  }
});
