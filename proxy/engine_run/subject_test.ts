import assert from "node:assert/strict";
import { join } from "node:path";
import { testUnless } from "../../tests/support/conditional.ts";
import { run, which } from "../../tests/support/run.ts";
import { tempHome } from "../../tests/support/temp_home.ts";
import { parseEngineRun } from "./command_line.ts";
import { findSubject } from "./subject.ts";

const USERS: { env: Record<string, string>; user?: string }[] = [
  { env: { USER: "ana", LOGNAME: "bob" }, user: "ana" },
  { env: { LOGNAME: "bob" }, user: "bob" },
  { env: { USER: "", LOGNAME: "bob" }, user: "bob" },
  { env: {} },
];

for (const { env, user } of USERS) {
  Deno.test(`findSubject() names ${user ?? "nobody"} of ${JSON.stringify(env)}`, async () => {
    const subject = await findSubject("r", env, undefined);
    assert.deepEqual(subject, { run: "r", ...(user && { user }) });
  });
}

Deno.test("findSubject() takes a container's name and labels", async () => {
  const argv = ["docker", "run", "--name", "web", "-l", "a=b=c", "-l", "d"];
  const container = parseEngineRun([...argv, "img"]);
  assert.deepEqual(await findSubject("r", {}, container), {
    run: "r",
    container: "web",
    labels: { a: "b=c", d: "" },
  });
});

Deno.test("findSubject() takes no empty set of labels", async () => {
  const container = parseEngineRun(["docker", "run", "img"]);
  assert.deepEqual(await findSubject("r", {}, container), { run: "r" });
});

Deno.test("findSubject() lets options win over label files", async () => {
  await using home = await tempHome();
  const file = join(home.directory, "labels");
  await Deno.writeTextFile(file, "# no\n\n  a=file\nb=file x\r\nc\n");
  const container = parseEngineRun(
    ["podman", "run", "-l", "a=option", "--label-file", file, "img"],
  );
  const { labels } = await findSubject("r", {}, container);
  assert.deepEqual(labels, { a: "option", b: "file x", c: "" });
});

Deno.test("findSubject() leaves a label file that is not there to the engine", async () => {
  const container = parseEngineRun(
    ["docker", "run", "--label-file", "/proc/nonexistent/x", "img"],
  );
  assert.deepEqual(await findSubject("r", {}, container), { run: "r" });
});

testUnless(
  which("mkfifo") ? undefined : "no mkfifo",
  "findSubject() leaves a pipe of labels to the engine",
  async () => {
    await using home = await tempHome();
    const file = join(home.directory, "pipe");
    await run(["mkfifo", file]);
    const container = parseEngineRun(
      ["docker", "run", "--label-file", file, "img"],
    );
    assert.deepEqual(await findSubject("r", {}, container), { run: "r" });
  },
);

Deno.test("findSubject() takes a label with a name of objects", async () => {
  const container = parseEngineRun(
    ["docker", "run", "-l", "__proto__=x", "img"],
  );
  const { labels = {} } = await findSubject("r", {}, container);
  assert.deepEqual(Object.entries(labels), [["__proto__", "x"]]);
});
