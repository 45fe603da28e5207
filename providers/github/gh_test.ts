import assert from "node:assert/strict";
import { join } from "node:path";
import { noOpenssl } from "../../tests/support/anywhere_pki.ts";
import { CANARY } from "../../tests/support/canary.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { run, SYSTEM_PATH, which } from "../../tests/support/run.ts";
import { tempHome } from "../../tests/support/temp_home.ts";
import {
  canaryToken,
  environmentOf,
  grantWith,
  startVendor,
} from "../../tests/support/token_vendor.ts";
import { ghProgram } from "./gh.ts";
import { createGithubProvider } from "./mod.ts";

const noGh = which("gh") ? undefined : "not installed: gh";

/** Puts a script in the place of gh, and asks it. */
async function askGh(
  script: string,
  env: Record<string, string> = {},
): Promise<string | undefined> {
  await using home = await tempHome();
  await Deno.writeTextFile(
    join(home.directory, "gh"),
    `#!/bin/sh\n${script}\n`,
    { mode: 0o755 },
  );
  const platform = fakePlatform({
    env: { PATH: `${home.directory}:${SYSTEM_PATH}`, ...env },
  });
  return await ghProgram("gh.corp", platform).run();
}

Deno.test("ghProgram() asks for the token of the host", async () => {
  assert.equal(await askGh('echo "$@"'), "auth token --hostname gh.corp\n");
});

Deno.test("ghProgram() has nothing when gh fails, whatever it printed", async () => {
  assert.equal(await askGh("echo no oauth token; exit 1"), undefined);
});

Deno.test("ghProgram() has nothing without gh", async () => {
  const platform = fakePlatform({ env: { PATH: "/nonexistent" } });
  assert.equal(await ghProgram("github.com", platform).run(), undefined);
});

Deno.test("ghProgram() hides the environment's tokens, which are older than a grant (moat-go 381)", async () => {
  const printed = await askGh("env", {
    GH_TOKEN: "1",
    GITHUB_TOKEN: "2",
    GH_ENTERPRISE_TOKEN: "3",
    GITHUB_ENTERPRISE_TOKEN: "4",
    GH_CONFIG_DIR: "/kept",
  });
  assert.deepEqual(printed?.match(/^(GH|GITHUB)_.*/gm), [
    "GH_CONFIG_DIR=/kept",
  ]);
});

testUnless(noGh, "ghProgram() gets what the real gh has stored", async () => {
  await using home = await tempHome();
  await Deno.writeTextFile(
    join(home.directory, "hosts.yml"),
    `github.com:\n    oauth_token: gho_${CANARY}\n    user: ana\n`,
  );
  const { grant } = await grantWith(createGithubProvider, {
    env: { PATH: SYSTEM_PATH, GH_CONFIG_DIR: home.directory },
  });
  assert.deepEqual(
    [grant.credential?.reveal(), grant.settings["tokenSource"]],
    [`gho_${CANARY}`, "cli"],
  );
});

testUnless(
  noGh,
  "the real gh without a login leads to a question",
  async () => {
    await using home = await tempHome();
    const { grant } = await grantWith(createGithubProvider, {
      env: { PATH: SYSTEM_PATH, GH_CONFIG_DIR: home.directory },
      answer: canaryToken("ghp_"),
    });
    assert.equal(grant.settings["tokenSource"], "prompt");
  },
);

testUnless(
  noGh ?? noOpenssl,
  "the real gh takes the placeholder and sends it (moat-go 293)",
  async () => {
    await using vendor = await startVendor({
      body: '{"login":"ana"}',
      headers: { "content-type": "application/json" },
    });
    await using home = await tempHome();
    const { provider, grant } = await grantWith(createGithubProvider, {
      env: { GH_ENTERPRISE_TOKEN: canaryToken("ghp_") },
      vendor,
    });
    const env = environmentOf(provider, grant);
    const { stdout, stderr } = await run([
      "gh",
      "api",
      "user",
      "--jq",
      ".login",
    ], {
      clearEnv: true,
      env: {
        PATH: SYSTEM_PATH,
        HOME: home.directory,
        SSL_CERT_FILE: vendor.rootFile,
        ...env,
      },
    });
    assert.equal(stdout, "ana\n", stderr);
    assert.deepEqual(
      [vendor.seen[1]?.path, vendor.seen[1]?.headers.get("authorization")],
      ["/api/v3/user", `token ${env["GH_ENTERPRISE_TOKEN"]}`],
    );
  },
);
