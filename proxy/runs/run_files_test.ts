import assert from "node:assert/strict";
import { join } from "node:path";
import { Secret } from "$core/secret.ts";
import {
  modeOf,
  namesIn,
  type TempHome,
  tempHome,
} from "../../tests/support/temp_home.ts";
import {
  createRunFiles,
  RUN_NAME,
  runDirectory,
  type RunFiles,
  sweepRuns,
} from "./run_files.ts";

const NAME = "abcdefghij";
const TOKEN = new Secret("moat.run-x.token");
const FILES = [
  { path: "a/config", mode: 0o444, content: "text\n" },
  { path: "a/helper", mode: 0o555, content: "#!/bin/sh\n" },
  { path: "b/c/d/deep", mode: 0o444, content: "" },
] as const;

/** Files of a run in a home; the block's end removes them. */
async function files(home: TempHome, name = NAME) {
  const files = await createRunFiles(home.paths, name);
  return { ...files, [Symbol.asyncDispose]: () => files.remove() };
}

async function written(run: RunFiles): Promise<void> {
  await run.write(FILES, TOKEN);
}

/** Runs with another umask. */
async function withUmask(mask: number, fn: () => Promise<void>): Promise<void> {
  const before = Deno.umask(mask);
  try {
    await fn();
  } finally {
    Deno.umask(before);
  }
}

for (
  const name of ["abc", "ABCDEFGHIJ", "../../../x", "abcdefghi/", `${NAME}k`]
) {
  Deno.test(`runDirectory() refuses ${JSON.stringify(name)}`, async () => {
    await using home = await tempHome();
    assert.throws(() => runDirectory(home.paths, name), TypeError);
  });
}

Deno.test("RUN_NAME takes no newline at the end", () => {
  assert(!RUN_NAME.test(`${NAME}\n`));
});

for (const mask of [0o000, 0o022, 0o027, 0o077]) {
  const name = mask.toString(8).padStart(3, "0");

  Deno.test(`createRunFiles() is private on the host with umask ${name}`, async () => {
    await using home = await tempHome();
    await withUmask(mask, async () => {
      await using run = await files(home);
      await written(run);
      const root = runDirectory(home.paths, NAME);
      assert.deepEqual(
        [await modeOf(home.paths.runs), await modeOf(root)],
        [0o700, 0o700],
      );
    });
  });

  Deno.test(`RunFiles.write() lets any client read with umask ${name}`, async () => {
    await using home = await tempHome();
    await withUmask(mask, async () => {
      await using run = await files(home);
      await written(run);
      const paths = ["", "a", "b", "b/c", "b/c/d", "a/config", "a/helper"];
      const modes = [...paths, "b/c/d/deep", "token"].map(async (path) =>
        (await modeOf(join(run.directory, path))).toString(8)
      );
      assert.deepEqual(await Promise.all(modes), [
        ...["755", "755", "755", "755", "755"],
        ...["444", "555", "444", "444"],
      ]);
    });
  });
}

Deno.test("RunFiles.write() writes each file whole", async () => {
  await using home = await tempHome();
  await using run = await files(home);
  await written(run);
  for (const { path, content } of FILES) {
    const text = await Deno.readTextFile(join(run.directory, path));
    assert.equal(text, content);
  }
});

Deno.test("RunFiles.write() writes the token without a newline", async () => {
  await using home = await tempHome();
  await using run = await files(home);
  await written(run);
  const text = await Deno.readTextFile(join(run.directory, "token"));
  assert.equal(text, "Bearer moat.run-x.token");
});

Deno.test("RunFiles.write() leaves a file that someone has opened as it was", async () => {
  await using home = await tempHome();
  await using run = await files(home);
  const file = { path: "x", mode: 0o444, content: "old" } as const;
  await run.write([file], TOKEN);
  using opened = await Deno.open(join(run.directory, "x"));
  await run.write([{ ...file, content: "new" }], TOKEN);
  const texts = [
    await new Response(opened.readable).text(),
    await Deno.readTextFile(join(run.directory, "x")),
  ];
  assert.deepEqual(texts, ["old", "new"]);
});

Deno.test("RunFiles.write() lets no provider take the token's place", async () => {
  await using home = await tempHome();
  await using run = await files(home);
  const file = { path: "token", mode: 0o444, content: "mine" } as const;
  await run.write([file], TOKEN);
  const text = await Deno.readTextFile(join(run.directory, "token"));
  assert.equal(text, `Bearer ${TOKEN.reveal()}`);
});

Deno.test("RunFiles.write() writes a program byte by byte", async () => {
  await using home = await tempHome();
  await using run = await files(home);
  const content = Uint8Array.of(0x7f, 0x45, 0, 0xff, 0x0a);
  await run.write([{ path: "relay", mode: 0o555, content }], TOKEN);
  const path = join(run.directory, "relay");
  assert.deepEqual(await Deno.readFile(path), content);
  assert.equal(await modeOf(path), 0o555);
});

for (const path of ["../x", "a/../../x", "/etc/x", "a/../../../x"]) {
  Deno.test(`RunFiles.write() writes nothing outside of its directory, as at ${path}`, async () => {
    await using home = await tempHome();
    await using run = await files(home);
    const file = { path, mode: 0o444, content: "" } as const;
    await assert.rejects(run.write([file], TOKEN), TypeError);
    assert(!(await namesIn(runDirectory(home.paths, NAME))).includes("x"));
  });
}

Deno.test("RunFiles.remove() leaves nothing behind", async () => {
  await using home = await tempHome();
  const run = await files(home);
  await written(run);
  await run.remove();
  assert.deepEqual(await namesIn(home.paths.runs), []);
});

Deno.test("RunFiles.remove() takes it when the proxy was faster", async () => {
  await using home = await tempHome();
  const run = await files(home);
  await Deno.remove(runDirectory(home.paths, NAME), { recursive: true });
  await run.remove();
});

Deno.test("createRunFiles() refuses a name that is taken", async () => {
  await using home = await tempHome();
  await using run = await files(home);
  await written(run);
  await assert.rejects(createRunFiles(home.paths, NAME));
  assert.equal((await Deno.stat(join(run.directory, "token"))).isFile, true);
});

Deno.test("createRunFiles() refuses a directory that others can enter", async () => {
  await using home = await tempHome();
  await Deno.mkdir(home.paths.runs);
  await Deno.chmod(home.paths.runs, 0o755);
  await assert.rejects(createRunFiles(home.paths, NAME), {
    code: "insecure-directory",
  });
});

Deno.test("sweepRuns() keeps a run whose process lives", async () => {
  await using home = await tempHome();
  await using run = await files(home);
  await written(run);
  await sweepRuns(home.paths);
  assert.deepEqual(await namesIn(home.paths.runs), [NAME]);
});

Deno.test("sweepRuns() keeps a run that has no files yet", async () => {
  await using home = await tempHome();
  await using _run = await files(home);
  await sweepRuns(home.paths);
  assert.deepEqual(await namesIn(home.paths.runs), [NAME]);
});

/** Leaves a run behind as a process that was killed does. */
async function orphan(home: TempHome, name: string): Promise<void> {
  const run = await createRunFiles(home.paths, name);
  await written(run);
  const root = runDirectory(home.paths, name);
  const kept = join(home.directory, name);
  await Deno.rename(root, kept);
  await run.remove();
  await Deno.rename(kept, root);
}

Deno.test("sweepRuns() removes a run whose process is gone", async () => {
  await using home = await tempHome();
  await orphan(home, NAME);
  await using _run = await files(home, "0123456789");
  await sweepRuns(home.paths);
  assert.deepEqual(await namesIn(home.paths.runs), ["0123456789"]);
});

Deno.test("sweepRuns() removes a run without a mark", async () => {
  await using home = await tempHome();
  await Deno.mkdir(join(home.paths.runs, NAME, "files"), { recursive: true });
  await sweepRuns(home.paths);
  assert.deepEqual(await namesIn(home.paths.runs), []);
});

Deno.test("sweepRuns() leaves alone what is no run", async () => {
  await using home = await tempHome();
  const names = [".hidden", "README", "abcdefghi", "subdirectory"];
  for (const name of names) {
    await Deno.mkdir(join(home.paths.runs, name), { recursive: true });
  }
  await Deno.writeTextFile(join(home.paths.runs, NAME), "a file");
  await sweepRuns(home.paths);
  assert.deepEqual(await namesIn(home.paths.runs), [...names, NAME].sort());
});

Deno.test("sweepRuns() follows no link", async () => {
  await using home = await tempHome();
  const target = join(home.directory, "target");
  await Deno.mkdir(target);
  await Deno.writeTextFile(join(target, "precious"), "");
  await Deno.mkdir(home.paths.runs);
  await Deno.symlink(target, join(home.paths.runs, NAME));
  await sweepRuns(home.paths);
  assert.deepEqual(await namesIn(target), ["precious"]);
});

Deno.test("sweepRuns() takes it when there were never any runs", async () => {
  await using home = await tempHome();
  await sweepRuns(home.paths);
});

Deno.test("sweepRuns() goes on after a run that it cannot look at", async () => {
  await using home = await tempHome();
  const odd = join(home.paths.runs, NAME, "owner.lock");
  await orphan(home, "0123456789");
  await Deno.mkdir(odd, { recursive: true });
  await sweepRuns(home.paths);
  assert.deepEqual(await namesIn(home.paths.runs), [NAME]);
});
