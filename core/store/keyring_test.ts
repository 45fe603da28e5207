import assert from "node:assert/strict";
import { join } from "node:path";
import { testUnless } from "../../tests/support/conditional.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import { type TempHome, tempHome } from "../../tests/support/temp_home.ts";
import { systemClock } from "../clock.ts";
import { findKeyring, macKeychain, secretService } from "./keyring.ts";

/** Writes a mock program and gives its path. */
async function mock(home: TempHome, name: string, body: string) {
  const path = join(home.directory, name);
  await Deno.writeTextFile(path, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  return path;
}

const host = (env: Record<string, string> = {}) => ({
  clock: systemClock,
  env,
});

/** A mock of secret-tool that keeps one secret, and what it was given. */
const MOCK_SECRET_TOOL = `
here=$(dirname "$0")
echo "$*" >> "$here/arguments"
case "$1" in
  store) cat > "$here/secret" ;;
  lookup) cat "$here/secret" ;;
esac`;

/** A mock of macOS's security, which reads commands from its input with -i. */
const MOCK_SECURITY = `
here=$(dirname "$0")
echo "$*" >> "$here/arguments"
case "$1" in
  -i) cat > "$here/commands" ;;
  find-generic-password) echo "bW9hdA==" ;;
esac`;

Deno.test("secretService() looks up what it stored", async () => {
  await using home = await tempHome();
  const program = await mock(home, "mock-secret-tool", MOCK_SECRET_TOOL);
  const keyring = secretService(program, host());
  await keyring.store("account", "bW9hdA==");
  assert.equal(await keyring.lookup("account"), "bW9hdA==");
});

Deno.test("secretService() shows the secret in no argument", async () => {
  await using home = await tempHome();
  const program = await mock(home, "mock-secret-tool", MOCK_SECRET_TOOL);
  const keyring = secretService(program, host());
  await keyring.store("account", "bW9hdA==");
  const seen = await Deno.readTextFile(join(home.directory, "arguments"));
  assert.equal(seen, "store --label=moat service moat account account\n");
});

Deno.test("macKeychain() sends its command through a pipe", async () => {
  await using home = await tempHome();
  const program = await mock(home, "mock-security", MOCK_SECURITY);
  await macKeychain(program, host()).store("account", "bW9hdA==");
  const commands = await Deno.readTextFile(join(home.directory, "commands"));
  assert.equal(
    commands,
    'add-generic-password -U -s moat -a "account" -w "bW9hdA=="\n',
  );
});

Deno.test("macKeychain() shows the secret in no argument", async () => {
  await using home = await tempHome();
  const program = await mock(home, "mock-security", MOCK_SECURITY);
  await macKeychain(program, host()).store("account", "bW9hdA==");
  const seen = await Deno.readTextFile(join(home.directory, "arguments"));
  assert.equal(seen, "-i\n");
});

Deno.test("macKeychain() takes the line feed off a password", async () => {
  await using home = await tempHome();
  const program = await mock(home, "mock-security", MOCK_SECURITY);
  const found = await macKeychain(program, host()).lookup("account");
  assert.equal(found, "bW9hdA==");
});

Deno.test("lookup() gives undefined when the program fails", async () => {
  await using home = await tempHome();
  const program = await mock(home, "mock-secret-tool", "echo text; exit 1");
  const found = await secretService(program, host()).lookup("account");
  assert.equal(found, undefined);
});

Deno.test("lookup() gives undefined when there is no program", async () => {
  const found = await secretService("/proc/nonexistent", host()).lookup(
    "account",
  );
  assert.equal(found, undefined);
});

Deno.test("lookup() gives undefined when the output does not end", async () => {
  await using home = await tempHome();
  const program = await mock(home, "mock-secret-tool", "exec yes");
  const found = await secretService(program, host()).lookup("account");
  assert.equal(found, undefined);
});

Deno.test("store() says when the program fails", async () => {
  await using home = await tempHome();
  const program = await mock(home, "mock-secret-tool", "exit 1");
  const stored = await secretService(program, host()).store("a", "secret");
  assert.equal(stored, false);
});

Deno.test("lookup() gives up after 3 s", async () => {
  await using home = await tempHome();
  const program = await mock(home, "mock-secret-tool", "exec sleep 3");
  const clock = new FakeClock();
  const lookup = secretService(program, { clock, env: {} }).lookup("a");
  await clock.advance(3_000);
  assert.equal(await lookup, undefined);
});

Deno.test("lookup() does not wait for what the killed program started", async () => {
  await using home = await tempHome();
  const program = await mock(home, "mock-secret-tool", "sleep 3 & wait");
  const clock = new FakeClock();
  const start = performance.now();
  const lookup = secretService(program, { clock, env: {} }).lookup("a");
  await new Promise((resolve) => setTimeout(resolve, 50));
  await clock.advance(3_000);
  await lookup;
  assert.ok(performance.now() - start < 2_500);
});

Deno.test("lookup() waits for less than 3 s", async () => {
  await using home = await tempHome();
  const program = await mock(home, "mock-secret-tool", "read _; echo found");
  const clock = new FakeClock();
  const lookup = secretService(program, { clock, env: {} }).lookup("a");
  await clock.advance(2_999);
  assert.match(await lookup ?? "", /found/);
});

Deno.test("lookup() hands on the way to the keyring and nothing else", async () => {
  await using home = await tempHome();
  const program = await mock(home, "mock-secret-tool", "exec /usr/bin/env");
  const env = {
    AWS_SECRET_ACCESS_KEY: "canary",
    DBUS_SESSION_BUS_ADDRESS: "unix:path=/bus",
    HOME: "/home/ana",
    LD_PRELOAD: "/evil.so",
    XDG_RUNTIME_DIR: "/run/user/1000",
  };
  const seen = await secretService(program, host(env)).lookup("a") ?? "";
  // The shell of the mock adds PWD.
  const names = seen.trim().split("\n").map((line) => line.split("=")[0])
    .filter((name) => name !== "PWD").sort();
  assert.deepEqual(names, [
    "DBUS_SESSION_BUS_ADDRESS",
    "HOME",
    "XDG_RUNTIME_DIR",
  ]);
});

Deno.test("findKeyring() finds secret-tool on PATH", async () => {
  await using home = await tempHome();
  await mock(home, "secret-tool", "echo found");
  const env = { PATH: `/nonexistent:${home.directory}` };
  const keyring = await findKeyring(host(env), "linux");
  assert.equal(await keyring?.lookup("a"), "found\n");
});

Deno.test("findKeyring() takes no program from a relative PATH entry", async () => {
  const env = { PATH: ".:" };
  assert.equal(await findKeyring(host(env), "linux"), undefined);
});

Deno.test("findKeyring() takes no file that cannot be run", async () => {
  await using home = await tempHome();
  await Deno.writeTextFile(join(home.directory, "secret-tool"), "");
  const env = { PATH: home.directory };
  assert.equal(await findKeyring(host(env), "linux"), undefined);
});

const PROGRAMS = ["dbus-run-session", "gnome-keyring-daemon", "secret-tool"];

function lacking(): string | undefined {
  const { success } = new Deno.Command("sh", {
    args: ["-c", PROGRAMS.map((name) => `command -v ${name}`).join(" && ")],
    stdout: "null",
  }).outputSync();
  return success ? undefined : `needs ${PROGRAMS.join(", ")}`;
}

/** Runs tests/support/keyring_child.ts beside a real keyring of its own. */
async function inSession(home: TempHome, start: string, action: string) {
  const script = new URL(
    "../../tests/support/keyring_child.ts",
    import.meta.url,
  );
  const run = `"${Deno.execPath()}" run -A --no-check "${script.pathname}"`;
  const output = await new Deno.Command("dbus-run-session", {
    args: ["--", "sh", "-c", `${start} >/dev/null; ${run} ${action}`],
    env: {
      HOME: home.directory,
      MOAT_HOME: join(home.directory, "moat"),
      XDG_DATA_HOME: join(home.directory, "data"),
      XDG_RUNTIME_DIR: join(home.directory, "run"),
      DENO_DIR: await denoDir(),
    },
    stderr: "null",
  }).output();
  return new TextDecoder().decode(output.stdout).trim();
}

/** HOME is changed for the keyring, and must not move the cache. */
async function denoDir(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json"],
  }).output();
  return JSON.parse(new TextDecoder().decode(stdout)).denoDir;
}

const UNLOCKED =
  "printf pw | gnome-keyring-daemon --unlock --components=secrets";
const LOCKED = "gnome-keyring-daemon --start --components=secrets";

testUnless(lacking(), "a real keyring keeps the key", async () => {
  await using home = await tempHome();
  await Deno.mkdir(join(home.directory, "run"), { mode: 0o700 });
  const put = await inSession(home, UNLOCKED, "put");
  assert.equal(put, "os without key file: put");
});

testUnless(
  lacking(),
  "a real keyring gives the key to a later session",
  async () => {
    await using home = await tempHome();
    await Deno.mkdir(join(home.directory, "run"), { mode: 0o700 });
    await inSession(home, UNLOCKED, "put");
    const get = await inSession(home, UNLOCKED, "get");
    assert.equal(get, "os without key file: got canary");
  },
);

testUnless(
  lacking(),
  "a real keyring that is locked later is an error",
  async () => {
    await using home = await tempHome();
    await Deno.mkdir(join(home.directory, "run"), { mode: 0o700 });
    await inSession(home, UNLOCKED, "put");
    const put = await inSession(home, LOCKED, "put");
    assert.equal(put, "os without key file: key-unavailable");
  },
);

testUnless(
  lacking(),
  "a real keyring that is locked at first use is passed over",
  async () => {
    await using home = await tempHome();
    await Deno.mkdir(join(home.directory, "run"), { mode: 0o700 });
    const put = await inSession(home, LOCKED, "put");
    assert.equal(put, "file with key file: put");
  },
);
