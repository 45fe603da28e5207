import assert from "node:assert/strict";
import { FakeClock } from "../tests/support/fake_clock.ts";
import { modeOf, type TempHome, tempHome } from "../tests/support/temp_home.ts";
import {
  type AuditOptions,
  createAuditLog,
  readAudit,
  verifyAudit,
} from "./audit.ts";
import { systemClock } from "./clock.ts";
import type { MoatError } from "./errors.ts";
import { Secret } from "./secret.ts";

/** An audit log that must lose nothing. */
function logIn({ paths }: TempHome, options: Partial<AuditOptions> = {}) {
  return createAuditLog(paths, systemClock, {
    onFailure: (error) => {
      throw error;
    },
    ...options,
  });
}

/** Records events `tested` with n from 1. */
async function fill(home: TempHome, count: number) {
  const audit = logIn(home);
  for (let n = 1; n <= count; n++) await audit.record("tested", { n });
  return audit;
}

const verify = ({ paths }: TempHome) => verifyAudit(paths, systemClock);
const events = ({ paths }: TempHome) => Array.fromAsync(readAudit(paths));
const names = async (home: TempHome) =>
  (await events(home)).map(({ event }) => event);
const append = ({ paths }: TempHome, text: string) =>
  Deno.writeTextFile(paths.audit, text, { append: true });

async function editLines(
  { paths }: TempHome,
  edit: (lines: string[]) => string[],
) {
  const text = await Deno.readTextFile(paths.audit);
  const lines = edit(text.split("\n").slice(0, -1));
  await Deno.writeTextFile(paths.audit, lines.map((l) => l + "\n").join(""));
}

Deno.test("record() makes a 0600 file", async () => {
  await using home = await tempHome();
  await fill(home, 1);
  assert.equal(await modeOf(home.paths.audit), 0o600);
});

Deno.test("record() chains events from 64 zeros", async () => {
  await using home = await tempHome();
  await fill(home, 2);
  const [first, second] = await events(home);
  assert.deepEqual(
    [first?.seq, first?.previous, second?.seq, second?.previous],
    [1, "0".repeat(64), 2, first?.hash],
  );
});

Deno.test("record() writes the time in RFC 3339, UTC", async () => {
  await using home = await tempHome();
  const clock = new FakeClock(Date.UTC(2026, 1, 3, 4, 5, 6, 7));
  const audit = createAuditLog(home.paths, clock, { onFailure() {} });
  await audit.record("tested", {});
  assert.equal((await events(home))[0]?.time, "2026-02-03T04:05:06.007Z");
});

Deno.test("record() writes no secret", async () => {
  await using home = await tempHome();
  await logIn(home).record("tested", { token: new Secret("canary") });
  const text = await Deno.readTextFile(home.paths.audit);
  assert.ok(text.includes('{"token":"[redacted]"}'));
});

Deno.test("record() continues a log that another process began", async () => {
  await using home = await tempHome();
  await fill(home, 2);
  await fill(home, 2);
  assert.deepEqual(await verify(home), {
    ok: true,
    events: 4,
    tornTail: false,
  });
});

Deno.test("record() takes turns with another writer", async () => {
  await using home = await tempHome();
  const [one, other] = [logIn(home), logIn(home)];
  for (let n = 0; n < 5; n++) {
    await one.record("tested", { n });
    await other.record("tested", { n });
  }
  assert.deepEqual(await verify(home), {
    ok: true,
    events: 10,
    tornTail: false,
  });
});

Deno.test("record() continues after an event longer than it looks back", async () => {
  await using home = await tempHome();
  await logIn(home).record("tested", { filler: "x".repeat(200_000) });
  await fill(home, 1);
  assert.deepEqual(await verify(home), {
    ok: true,
    events: 2,
    tornTail: false,
  });
});

Deno.test("record() continues at the end of a log longer than it looks back", async () => {
  await using home = await tempHome();
  const audit = logIn(home);
  for (let n = 0; n < 600; n++) audit.recordSoon("tested", { n });
  await audit.flush();
  await fill(home, 1);
  assert.equal((await events(home)).at(-1)?.seq, 601);
});

Deno.test("record() rejects when it cannot write", async () => {
  await using home = await tempHome();
  await Deno.mkdir(home.paths.audit);
  await assert.rejects(logIn(home).record("tested", {}), {
    code: "cannot-write",
    message: `Cannot append to "${home.paths.audit}": EISDIR`,
  });
});

Deno.test("record() rejects a name that is not kebab-case", async () => {
  await using home = await tempHome();
  await assert.rejects(logIn(home).record("Tested", {}), TypeError);
});

Deno.test("recordSoon() appends in order, also with record()", async () => {
  await using home = await tempHome();
  const audit = logIn(home);
  audit.recordSoon("first", {});
  const second = audit.record("second", {});
  audit.recordSoon("third", {});
  await second;
  await audit.flush();
  assert.deepEqual(await names(home), ["first", "second", "third"]);
});

Deno.test("recordSoon() times an event when it happens", async () => {
  await using home = await tempHome();
  const clock = new FakeClock(0);
  const audit = createAuditLog(home.paths, clock, { onFailure() {} });
  audit.recordSoon("tested", {});
  await clock.advance(1_000);
  await audit.flush();
  assert.equal((await events(home))[0]?.time, "1970-01-01T00:00:00.000Z");
});

Deno.test("flush() returns at once when nothing waits", async () => {
  await using home = await tempHome();
  await logIn(home).flush();
});

Deno.test("recordSoon() reports an event that finds no room", async () => {
  await using home = await tempHome();
  const codes: string[] = [];
  const audit = logIn(home, {
    maxWaiting: 2,
    onFailure: (error) => codes.push(error.code),
  });
  for (let n = 0; n < 4; n++) audit.recordSoon("tested", { n });
  await audit.flush();
  // The first is being written while two wait.
  assert.deepEqual(codes, ["audit-queue-full"]);
});

Deno.test("recordSoon() records how many events found no room", async () => {
  await using home = await tempHome();
  const audit = logIn(home, { maxWaiting: 0, onFailure() {} });
  audit.recordSoon("tested", {});
  audit.recordSoon("tested", {});
  await audit.record("tested", {});
  const [lost] = await events(home);
  assert.deepEqual([lost?.event, lost?.fields], ["audit-events-lost", {
    count: 2,
  }]);
});

Deno.test("recordSoon() reports a disk that fails", async () => {
  await using home = await tempHome();
  await Deno.mkdir(home.paths.audit);
  const errors: MoatError[] = [];
  const audit = logIn(home, { onFailure: (error) => errors.push(error) });
  audit.recordSoon("tested", {});
  await audit.flush();
  assert.deepEqual(errors.map((error) => error.code), ["cannot-write"]);
});

Deno.test("recordSoon() counts in the log what a disk lost that works again", async () => {
  await using home = await tempHome();
  await Deno.mkdir(home.paths.audit);
  const audit = logIn(home, { onFailure() {} });
  for (let n = 0; n < 3; n++) audit.recordSoon("tested", { n });
  await audit.flush();
  await Deno.remove(home.paths.audit);
  await audit.record("tested", {});
  const [lost] = await events(home);
  assert.deepEqual(lost?.fields, { count: 3 });
});

Deno.test("recordSoon() counts lost events once", async () => {
  await using home = await tempHome();
  const audit = logIn(home, { maxWaiting: 0, onFailure() {} });
  audit.recordSoon("tested", {});
  await audit.record("tested", {});
  await audit.record("tested", {});
  assert.deepEqual(await names(home), [
    "audit-events-lost",
    "tested",
    "tested",
  ]);
});

for (
  const [name, event, fields] of [
    ["fields that are no JSON", "tested", { n: 1n }],
    ["a bad name", "Tested", {}],
  ] as const
) {
  Deno.test(`recordSoon() reports ${name} and does not throw`, async () => {
    await using home = await tempHome();
    const errors: MoatError[] = [];
    const audit = logIn(home, { onFailure: (error) => errors.push(error) });
    audit.recordSoon(event, fields);
    await audit.flush();
    assert.deepEqual(errors.map((error) => error.code), ["internal"]);
  });
}

Deno.test("readAudit() gives nothing when there is no log", async () => {
  await using home = await tempHome();
  assert.deepEqual(await events(home), []);
});

Deno.test("verifyAudit() accepts that there is no log", async () => {
  await using home = await tempHome();
  assert.deepEqual(await verify(home), {
    ok: true,
    events: 0,
    tornTail: false,
  });
});

Deno.test("verifyAudit() accepts a log that is as it was written", async () => {
  await using home = await tempHome();
  await fill(home, 3);
  assert.deepEqual(await verify(home), {
    ok: true,
    events: 3,
    tornTail: false,
  });
});

const TAMPERED: Record<string, (lines: string[]) => string[]> = {
  "a changed field": (lines) => lines.with(2, lines[2]!.replace("3}", "9}")),
  "a removed line": (lines) => lines.toSpliced(2, 1),
  "two lines in the opposite order": (lines) =>
    lines.with(2, lines[3]!).with(3, lines[2]!),
  "a repeated line": (lines) => lines.toSpliced(2, 0, lines[1]!),
  "an empty line": (lines) => lines.toSpliced(2, 0, ""),
  "a changed hash": (lines) =>
    lines.with(2, lines[2]!.replace(/"hash":"./, '"hash":"x')),
};
for (const [name, edit] of Object.entries(TAMPERED)) {
  Deno.test(`verifyAudit() finds ${name}`, async () => {
    await using home = await tempHome();
    await fill(home, 5);
    await editLines(home, edit);
    assert.deepEqual(await verify(home), {
      ok: false,
      events: 2,
      brokenAt: 3,
      tornTail: false,
    });
  });
}

Deno.test("verifyAudit() finds a line of another log in its place", async () => {
  await using home = await tempHome();
  await using other = await tempHome();
  await fill(home, 5);
  for (let n = 0; n < 5; n++) await logIn(other).record("other", { n });
  const theirs = (await Deno.readTextFile(other.paths.audit)).split("\n");
  await editLines(home, (lines) => lines.with(2, theirs[2]!));
  assert.equal((await verify(home)).brokenAt, 3);
});

Deno.test("verifyAudit() finds a removed beginning", async () => {
  await using home = await tempHome();
  await fill(home, 3);
  await editLines(home, (lines) => lines.slice(1));
  assert.equal((await verify(home)).brokenAt, 1);
});

Deno.test("verifyAudit() finds a last line that was changed", async () => {
  await using home = await tempHome();
  await fill(home, 3);
  await editLines(home, (lines) => lines.with(2, "{}"));
  assert.equal((await verify(home)).brokenAt, 3);
});

Deno.test("verifyAudit() still finds a changed last line after more events", async () => {
  await using home = await tempHome();
  await fill(home, 3);
  await editLines(home, (lines) => lines.with(2, "{}"));
  await fill(home, 1);
  assert.equal((await verify(home)).brokenAt, 3);
});

Deno.test("verifyAudit() finds that the log shrank while a process was writing", async () => {
  await using home = await tempHome();
  const audit = await fill(home, 5);
  await editLines(home, (lines) => lines.slice(0, 3));
  await audit.record("tested", {});
  assert.equal((await verify(home)).brokenAt, 4);
});

Deno.test("verifyAudit() finds that the log was replaced while a process was writing", async () => {
  await using home = await tempHome();
  const audit = await fill(home, 5);
  await Deno.rename(home.paths.audit, home.paths.audit + ".old");
  await audit.record("tested", {});
  assert.equal((await verify(home)).brokenAt, 1);
});

Deno.test("verifyAudit() tells a torn last line from a fault", async () => {
  await using home = await tempHome();
  await fill(home, 2);
  await append(home, '{"event":"gra');
  assert.deepEqual(await verify(home), { ok: true, events: 2, tornTail: true });
});

Deno.test("record() goes on after a torn line and says so", async () => {
  await using home = await tempHome();
  await fill(home, 2);
  await append(home, '{"event":"gra');
  await fill(home, 1);
  assert.deepEqual(await names(home), [
    "tested",
    "tested",
    "audit-torn",
    "tested",
  ]);
});

Deno.test("record() notes the length and digest of a torn line", async () => {
  await using home = await tempHome();
  await append(home, "abc");
  await fill(home, 1);
  // printf abc | sha256sum
  assert.deepEqual((await events(home))[0]?.fields, {
    bytes: 3,
    sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  });
});

Deno.test("record() notices a line that another process tore meanwhile", async () => {
  await using home = await tempHome();
  const audit = await fill(home, 2);
  await append(home, "abc");
  await audit.record("tested", {});
  assert.deepEqual(await verify(home), {
    ok: true,
    events: 4,
    tornTail: false,
  });
});

const TORN: Record<string, string> = {
  "a short line": "{",
  "zeros": "\0".repeat(4096),
  "a line longer than it looks back": "x".repeat(200_000),
  "several lines": "half\nanother\nlast",
};
for (const [name, tear] of Object.entries(TORN)) {
  Deno.test(`verifyAudit() accepts a recorded tear: ${name}`, async () => {
    await using home = await tempHome();
    await fill(home, 2);
    await append(home, tear);
    await fill(home, 1);
    assert.deepEqual(await verify(home), {
      ok: true,
      events: 4,
      tornTail: false,
    });
  });
}

Deno.test("verifyAudit() accepts a tear in the note of a tear", async () => {
  await using home = await tempHome();
  await fill(home, 2);
  await append(home, "half");
  await fill(home, 1);
  const text = await Deno.readTextFile(home.paths.audit);
  await Deno.truncate(home.paths.audit, text.indexOf('"audit-torn"') + 20);
  await fill(home, 1);
  assert.deepEqual(await verify(home), {
    ok: true,
    events: 4,
    tornTail: false,
  });
});

Deno.test("verifyAudit() finds a recorded tear that was changed", async () => {
  await using home = await tempHome();
  await fill(home, 2);
  await append(home, "half");
  await fill(home, 1);
  await editLines(home, (lines) => lines.with(2, "tail"));
  assert.equal((await verify(home)).brokenAt, 3);
});

Deno.test("verifyAudit() finds a recorded tear that was removed", async () => {
  await using home = await tempHome();
  await fill(home, 2);
  await append(home, "half");
  await fill(home, 1);
  await editLines(home, (lines) => lines.toSpliced(2, 1));
  assert.equal((await verify(home)).ok, false);
});

Deno.test("record() ends a last line that lacks only its line feed", async () => {
  await using home = await tempHome();
  await fill(home, 2);
  const { size } = await Deno.stat(home.paths.audit);
  await Deno.truncate(home.paths.audit, size - 1);
  await fill(home, 1);
  assert.deepEqual(await names(home), ["tested", "tested", "tested"]);
});

Deno.test("verifyAudit() finds any one byte changed", async () => {
  await using home = await tempHome();
  await fill(home, 2);
  const whole = await Deno.readFile(home.paths.audit);
  for (let at = 0; at < whole.length; at += 3) {
    const flipped = whole.slice();
    flipped[at]! ^= 1 << (at % 8);
    await Deno.writeFile(home.paths.audit, flipped);
    const { ok, tornTail } = await verify(home);
    assert.ok(!ok || tornTail, `byte ${at}`);
  }
});
