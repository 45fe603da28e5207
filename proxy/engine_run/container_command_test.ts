import assert from "node:assert/strict";
import { mintToken } from "$core/binding.ts";
import { containerCommand } from "./container_command.ts";
import { parseEngineRun } from "./command_line.ts";

const TOKEN = mintToken("a@b").reveal();
const IN_URL = `http://moat:${encodeURIComponent(TOKEN)}@moat-proxy:1`;

/** The command line of a container with an environment. */
async function commandWith(
  env: Record<string, string>,
  ...options: string[]
): Promise<string[]> {
  const container = parseEngineRun(["docker", "run", ...options, "image"]);
  assert(container);
  return await containerCommand(container, {
    env,
    environmentFile: "/home/x/env",
    directory: "/home/x/files",
    options: ["--add-host", "moat-proxy:10.0.0.1"],
  });
}

const START = [
  ...["docker", "run", "--volume", "/home/x/files:/moat:ro,z"],
  ...["--add-host", "moat-proxy:10.0.0.1"],
];

Deno.test("containerCommand() gives variables without the token on the command line", async () => {
  assert.deepEqual(await commandWith({ A: "1", B: "" }), [
    ...START,
    ...["--env", "A=1", "--env", "B=", "image"],
  ]);
});

const TOKENS = {
  "as it is": TOKEN,
  "in a URL": IN_URL,
  "in a query": `?t=${TOKEN}`,
};
for (const [name, value] of Object.entries(TOKENS)) {
  Deno.test(`containerCommand() gives a variable with the token ${name} by a file alone`, async () => {
    assert.deepEqual(await commandWith({ A: "1", SECRET: value }), [
      ...START,
      ...["--env-file", "/home/x/env", "--env", "A=1", "image"],
    ]);
  });
}

Deno.test("containerCommand() puts its user's own options behind ours", async () => {
  const words = await commandWith({ SECRET: TOKEN }, "--env-file", "mine");
  assert.deepEqual(words.slice(-5), [
    ...["--env-file", "/home/x/env"],
    ...["--env-file", "mine", "image"],
  ]);
});

Deno.test("containerCommand() refuses a directory with a colon", async () => {
  const container = parseEngineRun(["docker", "run", "image"]);
  assert(container);
  const gifts = {
    env: {},
    environmentFile: "",
    directory: "/a:b",
    options: [],
  };
  await assert.rejects(containerCommand(container, gifts), {
    code: "bad-home",
  });
});
