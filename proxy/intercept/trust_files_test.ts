import assert from "node:assert/strict";
import { join } from "node:path";
import { mintToken } from "$core/binding.ts";
import { systemClock } from "$core/clock.ts";
import { createRegistry } from "$core/provider.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { namesIn, tempHome } from "../../tests/support/temp_home.ts";
import { interceptEnv } from "./client_env.ts";
import { interceptFiles } from "./trust_files.ts";

const ENV = interceptEnv(
  createRegistry([]),
  { endpointUrl: "http://127.0.0.1:1", directory: "/moat" },
  mintToken("web"),
);

Deno.test("interceptFiles() gives a client that is not intercepted nothing, and makes no root", async () => {
  await using home = await tempHome();
  const platform = fakePlatform({ paths: home.paths });
  const { files } = await interceptFiles(platform, {});
  assert.deepEqual([files, await namesIn(home.directory)], [[], []]);
});

Deno.test("interceptFiles() gives every file that the environment names", async () => {
  await using home = await tempHome();
  const platform = fakePlatform({ paths: home.paths });
  const { files } = await interceptFiles(platform, ENV);
  const named = Object.values(ENV).join(" ").match(/\/moat\/[\w.-]+/g) ?? [];
  assert.deepEqual(
    files.map(({ path }) => `/moat/${path}`).sort(),
    [...new Set(named)].sort(),
  );
});

Deno.test("interceptFiles() hands out no key", async () => {
  await using home = await tempHome();
  const platform = fakePlatform({ paths: home.paths });
  const { files } = await interceptFiles(platform, ENV);
  const key = await Deno.readTextFile(join(home.paths.ca, "root.key"));
  const [, secret = ""] = key.split("\n");
  assert.match(secret, /^[A-Za-z0-9+/]{40,}/);
  for (const { path, content } of files) {
    const text = typeof content === "string"
      ? content
      : new TextDecoder("latin1").decode(content);
    assert(!text.includes(secret) && !text.includes("PRIVATE KEY"), path);
  }
});

Deno.test("interceptFiles() gives two clients the same root", async () => {
  await using home = await tempHome();
  // One of them waits for the other's lock.
  const platform = { paths: home.paths, clock: systemClock, env: {} };
  const [one, two] = await Promise.all([
    interceptFiles(platform, ENV),
    interceptFiles(platform, ENV),
  ]);
  assert.deepEqual(one, two);
});

Deno.test("interceptFiles() refuses a file without roots", async () => {
  await using home = await tempHome();
  const roots = join(home.directory, "roots.pem");
  await Deno.writeTextFile(roots, "none");
  const platform = fakePlatform({
    paths: home.paths,
    env: { SSL_CERT_FILE: roots },
  });
  await assert.rejects(interceptFiles(platform, ENV), { code: "no-roots" });
});
