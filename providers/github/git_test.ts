import assert from "node:assert/strict";
import { noOpenssl } from "../../tests/support/anywhere_pki.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { run, SYSTEM_PATH, which } from "../../tests/support/run.ts";
import { startVendor } from "../../tests/support/token_vendor.ts";
import { gitVariables } from "./git.ts";

const noGit = which("git") ? undefined : "not installed: git";

const URLS = ["git@localhost:o/r.git", "ssh://git@localhost/o/r.git"];

for (const url of URLS) {
  testUnless(
    noGit ?? noOpenssl,
    `gitVariables() lead ${url} to https`,
    async () => {
      await using vendor = await startVendor({ status: 404 });
      await run(["git", "ls-remote", url], {
        clearEnv: true,
        env: {
          PATH: SYSTEM_PATH,
          HOME: "/nonexistent",
          GIT_SSL_CAINFO: vendor.rootFile,
          ...gitVariables([vendor.host]),
        },
      });
      assert.deepEqual(vendor.seen.map(({ path }) => path), [
        "/o/r.git/info/refs?service=git-upload-pack",
      ]);
    },
  );
}

testUnless(
  noGit,
  "gitVariables() leave the user's own settings alone",
  async () => {
    const { stdout } = await run(["git", "config", "user.name"], {
      clearEnv: true,
      env: {
        PATH: SYSTEM_PATH,
        HOME: "/nonexistent",
        GIT_CONFIG_GLOBAL: await userConfig(),
        ...gitVariables(["github.com"]),
      },
    });
    assert.equal(stdout, "Ana\n");
  },
);

async function userConfig(): Promise<string> {
  const path = await Deno.makeTempFile({ prefix: "moat-git-" });
  addEventListener("unload", () => Deno.removeSync(path));
  await Deno.writeTextFile(path, "[user]\n\tname = Ana\n");
  return path;
}

testUnless(
  noGit,
  "gitVariables() show the proxy the password at once (moat-go 376)",
  async () => {
    using proxy = startDeaf();
    await run(["git", "ls-remote", "https://github.com/o/r.git"], {
      clearEnv: true,
      env: {
        PATH: SYSTEM_PATH,
        HOME: "/nonexistent",
        HTTPS_PROXY: `http://moat:secret@${proxy.address}`,
        ...gitVariables(["github.com"]),
      },
    });
    assert.match(
      await proxy.head,
      new RegExp(`^Proxy-Authorization: Basic ${btoa("moat:secret")}\\r$`, "m"),
    );
  },
);

/** Takes one request and hangs up. */
function startDeaf() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const head = (async () => {
    using conn = await listener.accept();
    const bytes = new Uint8Array(4096);
    return new TextDecoder().decode(
      bytes.subarray(0, await conn.read(bytes) ?? 0),
    );
  })();
  return {
    address: `127.0.0.1:${listener.addr.port}`,
    head,
    [Symbol.dispose]: () => listener.close(),
  };
}
