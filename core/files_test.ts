import assert from "node:assert/strict";
import { join } from "node:path";
import { FakeClock } from "../tests/support/fake_clock.ts";
import { testUnless } from "../tests/support/conditional.ts";
import { modeOf, namesIn, tempHome } from "../tests/support/temp_home.ts";
import { systemClock } from "./clock.ts";
import {
  cannotRead,
  checkPrivateDir,
  ensurePrivateDir,
  fileNames,
  readFileIfAny,
  readPrivateFile,
  removeStaleTemps,
  storageError,
  withLock,
  writeFileAtomic,
} from "./files.ts";

const NOT_ROOT = Deno.uid() === 0 ? undefined : "needs root to change owners";

/** The name of a temporary file that a killed writer of `target` leaves. */
const stale = (target: string) => `.${target}.0123456789abcdef.tmp`;

Deno.test("ensurePrivateDir() makes all missing parents 0700", async () => {
  await using home = await tempHome();
  await ensurePrivateDir(join(home.directory, "a/b"));
  const modes = [
    await modeOf(join(home.directory, "a")),
    await modeOf(join(home.directory, "a/b")),
  ];
  assert.deepEqual(modes, [0o700, 0o700]);
});

Deno.test("ensurePrivateDir() leaves an open parent alone", async () => {
  await using home = await tempHome();
  await Deno.chmod(home.directory, 0o755);
  await ensurePrivateDir(join(home.directory, "a"));
  assert.equal(await modeOf(home.directory), 0o755);
});

for (const mode of [0o755, 0o710, 0o701, 0o770, 0o777]) {
  const text = mode.toString(8).padStart(4, "0");
  Deno.test(`ensurePrivateDir() refuses mode ${text}`, async () => {
    await using home = await tempHome();
    await Deno.chmod(home.directory, mode);
    await assert.rejects(ensurePrivateDir(home.directory), {
      code: "insecure-directory",
      message:
        `Cannot use directory "${home.directory}": mode is ${text}, must be 0700`,
      hint: `chmod 700 "${home.directory}"`,
    });
  });
}

testUnless(NOT_ROOT, "ensurePrivateDir() refuses another owner", async () => {
  await using home = await tempHome();
  await Deno.chown(home.directory, 65534, 65534);
  await assert.rejects(ensurePrivateDir(home.directory), {
    code: "insecure-directory",
    message: /owner is uid 65534, must be 0/,
  });
});

Deno.test("ensurePrivateDir() refuses a file in its place", async () => {
  await using home = await tempHome();
  const path = join(home.directory, "file");
  await Deno.writeTextFile(path, "");
  await assert.rejects(ensurePrivateDir(path), { code: "cannot-write" });
});

testUnless(
  NOT_ROOT,
  "checkPrivateDir() refuses another user's link to a directory of ours",
  async () => {
    await using home = await tempHome();
    const link = join(home.directory, "link");
    await Deno.mkdir(join(home.directory, "ours"), { mode: 0o700 });
    await Deno.symlink(join(home.directory, "ours"), link);
    await new Deno.Command("chown", { args: ["-h", "65534", link] }).output();
    await assert.rejects(checkPrivateDir(link), { code: "insecure-directory" });
  },
);

Deno.test("checkPrivateDir() accepts our own link to a directory of ours", async () => {
  await using home = await tempHome();
  await Deno.mkdir(join(home.directory, "ours"), { mode: 0o700 });
  await Deno.symlink("ours", join(home.directory, "link"));
  await checkPrivateDir(join(home.directory, "link"));
});

Deno.test("checkPrivateDir() accepts a missing directory", async () => {
  await using home = await tempHome();
  await checkPrivateDir(join(home.directory, "missing"));
});

Deno.test("writeFileAtomic() writes text as UTF-8", async () => {
  await using home = await tempHome();
  const path = join(home.directory, "f");
  await writeFileAtomic(path, "grün");
  assert.equal(await Deno.readTextFile(path), "grün");
});

Deno.test("writeFileAtomic() writes a large file whole", async () => {
  await using home = await tempHome();
  const path = join(home.directory, "f");
  const bytes = new Uint8Array(3_000_000).map((_, i) => i % 251);
  await writeFileAtomic(path, bytes);
  assert.ok((await Deno.readFile(path)).every((byte, i) => byte === i % 251));
});

Deno.test("writeFileAtomic() makes a 0600 file by default", async () => {
  await using home = await tempHome();
  const path = join(home.directory, "f");
  await writeFileAtomic(path, "x");
  assert.equal(await modeOf(path), 0o600);
});

Deno.test("writeFileAtomic() tightens an older file's mode", async () => {
  await using home = await tempHome();
  const path = join(home.directory, "f");
  await Deno.writeTextFile(path, "old", { mode: 0o644 });
  await writeFileAtomic(path, "new");
  assert.equal(await modeOf(path), 0o600);
});

Deno.test("writeFileAtomic() takes another mode", async () => {
  await using home = await tempHome();
  const path = join(home.directory, "f");
  await writeFileAtomic(path, "x", { mode: 0o400 });
  assert.equal(await modeOf(path), 0o400);
});

Deno.test("writeFileAtomic() leaves no temporary file", async () => {
  await using home = await tempHome();
  await writeFileAtomic(join(home.directory, "f"), "x");
  assert.deepEqual(await namesIn(home.directory), ["f"]);
});

Deno.test("writeFileAtomic() leaves no temporary file when it fails", async () => {
  await using home = await tempHome();
  // A directory in the file's place makes the rename fail.
  await Deno.mkdir(join(home.directory, "f"));
  await writeFileAtomic(join(home.directory, "f"), "x").catch(() => {});
  assert.deepEqual(await namesIn(home.directory), ["f"]);
});

Deno.test("writeFileAtomic() names the file that it cannot write", async () => {
  await using home = await tempHome();
  const path = join(home.directory, "missing", "f");
  await assert.rejects(writeFileAtomic(path, "x"), {
    code: "cannot-write",
    message: `Cannot write "${path}": ENOENT`,
  });
});

Deno.test("removeStaleTemps() removes what belongs to the caller, and only that", async () => {
  await using home = await tempHome();
  const kept = [stale("other"), ".f.tmp", "f", "f.0123456789abcdef.tmp"];
  for (const name of [stale("f"), ...kept]) {
    await Deno.writeTextFile(join(home.directory, name), "");
  }
  await removeStaleTemps(home.directory, (name) => name === "f");
  assert.deepEqual(await namesIn(home.directory), kept.sort());
});

Deno.test("removeStaleTemps() accepts a missing directory", async () => {
  await using home = await tempHome();
  await removeStaleTemps(join(home.directory, "missing"), () => true);
});

Deno.test("fileNames() leaves directories out", async () => {
  await using home = await tempHome();
  await Deno.mkdir(join(home.directory, "d"));
  await Deno.writeTextFile(join(home.directory, "f"), "");
  assert.deepEqual(await fileNames(home.directory), ["f"]);
});

Deno.test("readPrivateFile() reads a 0600 file", async () => {
  await using home = await tempHome();
  const path = join(home.directory, "f");
  await writeFileAtomic(path, Uint8Array.of(0, 255));
  assert.deepEqual(await readPrivateFile(path), Uint8Array.of(0, 255));
});

Deno.test("readPrivateFile() gives undefined for a missing file", async () => {
  await using home = await tempHome();
  assert.equal(await readPrivateFile(join(home.directory, "f")), undefined);
});

for (const mode of [0o644, 0o640, 0o604, 0o620, 0o610]) {
  const text = mode.toString(8).padStart(4, "0");
  Deno.test(`readPrivateFile() refuses mode ${text}`, async () => {
    await using home = await tempHome();
    const path = join(home.directory, "f");
    await writeFileAtomic(path, "secret", { mode });
    await Deno.chmod(path, mode);
    await assert.rejects(readPrivateFile(path), {
      code: "insecure-file",
      message: `Cannot use "${path}": mode is ${text}, must be 0600`,
      hint:
        `chmod 600 "${path}"; if others could read it, grant anew what it protects`,
    });
  });
}

testUnless(NOT_ROOT, "readPrivateFile() refuses another owner", async () => {
  await using home = await tempHome();
  const path = join(home.directory, "f");
  await writeFileAtomic(path, "secret");
  await Deno.chown(path, 65534, 65534);
  await assert.rejects(readPrivateFile(path), { code: "insecure-file" });
});

Deno.test("cannotRead() says that permission is denied", () => {
  const error = cannotRead("/d/f", new Deno.errors.PermissionDenied("text"));
  assert.equal(error.message, 'Cannot read "/d/f": permission denied');
});

Deno.test("readFileIfAny() names what it cannot read", async () => {
  await using home = await tempHome();
  await assert.rejects(readFileIfAny(home.directory), {
    code: "cannot-read",
    message: `Cannot read "${home.directory}": EISDIR`,
  });
});

const FAULTS = [
  { number: "ENOSPC", code: "disk-full", hint: /^free some space/ },
  { number: "EDQUOT", code: "disk-full", hint: /^free some space/ },
  { number: "EROFS", code: "cannot-write", hint: /^check who may write/ },
  { number: "EIO", code: "cannot-write", hint: /^check who may write/ },
];
for (const { number, code, hint } of FAULTS) {
  Deno.test(`storageError() makes ${number} ${code}`, () => {
    const cause = Object.assign(new Error("text of the system"), {
      code: number,
    });
    const error = storageError("write", "/d/f", cause);
    assert.equal(error.code, code);
    assert.match(error.hint ?? "", hint);
  });
}

Deno.test("withLock() returns what the function returns", async () => {
  await using home = await tempHome();
  const lock = join(home.paths.locks, "l");
  assert.equal(await withLock(lock, systemClock, () => 7), 7);
});

Deno.test("withLock() makes a 0600 lock file", async () => {
  await using home = await tempHome();
  const lock = join(home.paths.locks, "l");
  await withLock(lock, systemClock, () => {});
  assert.equal(await modeOf(lock), 0o600);
});

Deno.test("withLock() lets one caller in at a time", async () => {
  await using home = await tempHome();
  const lock = join(home.paths.locks, "l");
  let inside = 0;
  let most = 0;
  const visit = async () => {
    most = Math.max(most, ++inside);
    await new Promise((resolve) => setTimeout(resolve, 1));
    inside--;
  };
  await Promise.all(
    Array.from({ length: 4 }, () => withLock(lock, systemClock, visit)),
  );
  assert.equal(most, 1);
});

Deno.test("withLock() frees the lock when the function throws", async () => {
  await using home = await tempHome();
  const lock = join(home.paths.locks, "l");
  const fails = withLock(lock, systemClock, () => {
    throw new RangeError("mine");
  });
  await assert.rejects(fails, RangeError);
  assert.equal(await withLock(lock, new FakeClock(), () => 1), 1);
});

Deno.test("withLock() gives up after 10 s", async () => {
  await using home = await tempHome();
  const lock = join(home.paths.locks, "l");
  const clock = new FakeClock();
  const start = clock.now();
  await withLock(lock, systemClock, async () => {
    const waiting = assert.rejects(withLock(lock, clock, () => {}), {
      code: "locked",
    });
    let over = false;
    waiting.finally(() => over = true);
    while (!over) {
      await clock.advance(25);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await waiting;
  });
  assert.ok(clock.now() - start >= 10_000);
});

Deno.test("withLock() runs as soon as the lock is free", async () => {
  await using home = await tempHome();
  const lock = join(home.paths.locks, "l");
  const { promise, resolve } = Promise.withResolvers<void>();
  const first = withLock(lock, systemClock, () => promise);
  await new Promise((go) => setTimeout(go, 5));
  const second = withLock(lock, systemClock, () => "second");
  resolve();
  await first;
  assert.equal(await second, "second");
});

Deno.test("withLock() keeps the process alive while it waits", async () => {
  await using home = await tempHome();
  const lock = join(home.paths.locks, "l");
  const script = new URL("../tests/support/store_writer.ts", import.meta.url);
  const output = await withLock(lock, systemClock, async () => {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", script.href, "wait", lock],
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
    assert.equal((await reader.read()).value, "waiting\n");
    await new Promise((resolve) => setTimeout(resolve, 60));
    return { child, reader };
  });
  assert.equal((await output.reader.read()).value, "got it\n");
  await output.reader.cancel();
  assert.ok((await output.child.status).success);
});
