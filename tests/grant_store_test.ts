/** What `moat grant` leaves on disk, and what it makes of a damaged disk. */

import assert from "node:assert/strict";
import { assertNoCanaryBelow, CANARY } from "./support/canary.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { session, startFaultySts } from "./support/faulty_sts.ts";
import { MOAT, moatEnv, moatReason } from "./support/moat.ts";
import { modeOf } from "./support/temp_home.ts";
import { assertRefused, ROLE, Terminal } from "./support/terminal.ts";
import { noTinyDisk, tinyDisk } from "./support/tiny_disk.ts";

const test = (name: string, fn: (terminal: Terminal) => Promise<void>) =>
  testUnless(moatReason(), `moat's store: ${name}`, async () => {
    await using terminal = await Terminal.open();
    await fn(terminal);
  });

const GRANT = "moat grant aws --no-validate --role $ROLE";

/** Grants `aws:a` and `aws:b`, then damages something. */
async function damage(terminal: Terminal, how: string) {
  await terminal.do(`${GRANT} --name a; ${GRANT} --name b`);
  await terminal.do(how);
}

test("holds no secret of source or session, and none is printed", async (terminal) => {
  await using sts = startFaultySts(session({ secretAccessKey: CANARY }));
  const env = {
    AWS_ENDPOINT_URL_STS: sts.url,
    AWS_ACCESS_KEY_ID: "AKIAMOCKSOURCE000000",
    AWS_SECRET_ACCESS_KEY: CANARY,
    AWS_SESSION_TOKEN: CANARY,
    MOAT_DEBUG: "1",
  };
  const lines = [
    "moat grant aws --role $ROLE",
    "moat grant aws --role $ROLE --json",
    "moat grant show aws --json",
    "moat audit --json",
    "moat revoke aws",
  ];
  for (const line of lines) {
    await terminal.do(line, env);
    await assertNoCanaryBelow(terminal.workspace.directory);
  }
});

test("is for its owner alone, whatever the umask", async (terminal) => {
  await terminal.do(`umask 000; ${GRANT}`);
  const modes: string[] = [];
  const look = async (path: string) => {
    for await (const { name, isDirectory } of Deno.readDir(path)) {
      const mode = (await modeOf(`${path}/${name}`)).toString(8);
      modes.push(`${isDirectory ? "directory" : "file"} ${mode}`);
      if (isDirectory) await look(`${path}/${name}`);
    }
  };
  await look(terminal.workspace.moatHome);
  assert.deepEqual([...new Set(modes)].sort(), ["directory 700", "file 600"]);
});

test("replaces a grant whole", async (terminal) => {
  await terminal.do(
    `${GRANT} --external-id ticket-7; ${GRANT} --region us-west-2`,
  );
  const { settings } = await terminal.json("moat grant show aws --json");
  assert.deepEqual(
    [settings.externalId, settings.region],
    [undefined, "us-west-2"],
  );
});

/** Damage to `aws:a`, and what is said about it. */
const DAMAGES: Readonly<Record<string, [how: string, error: RegExp]>> = {
  "cut short": ["truncate -s 50 $FILE", /its file is malformed/],
  "empty": [": >$FILE", /its file is malformed/],
  "binary": ["head -c 300 /dev/urandom >$FILE", /its file is malformed/],
  "with a flipped bit": [
    `sed -i 's/"ciphertext":"../"ciphertext":"AA/' $FILE`,
    /its file was changed/,
  ],
  "with another's content": [
    "cp moat/grants/aws:b.grant $FILE",
    /its file belongs to another name/,
  ],
  "with another's content under its name": [
    "sed s/aws:b/aws:a/ moat/grants/aws:b.grant >$FILE",
    /its file was changed/,
  ],
};

for (const [name, [how, error]] of Object.entries(DAMAGES)) {
  const line = `FILE=moat/grants/aws:a.grant; ${how}`;

  test(`a grant file ${name} is refused`, async (terminal) => {
    await damage(terminal, line);
    assertRefused(await terminal.type("moat grant show aws:a"), {
      error,
      hint: /^moat revoke aws:a, then moat grant aws --name a/,
    });
  });

  test(`a grant file ${name} hides no other`, async (terminal) => {
    await damage(terminal, line);
    const list = await terminal.json("moat grant list --json");
    assert.deepEqual(
      [list[0], list[1].name, list[1].settings.roles[0]],
      [{ name: "aws:a", error: "grant-damaged" }, "aws:b", ROLE],
    );
  });

  test(`a grant file ${name} can be revoked`, async (terminal) => {
    await damage(terminal, line);
    assert.match(await terminal.do("moat revoke aws:a"), /^revoked aws:a;/);
  });
}

test("list warns of a damaged grant on stderr", async (terminal) => {
  await damage(terminal, ": >moat/grants/aws:a.grant");
  const { code, stdout, stderr } = await terminal.type("moat grant list");
  assert.equal(code, 0);
  assert.equal(
    stdout,
    `  aws:a  unreadable: grant-damaged\n  aws:b  ${ROLE}\n`,
  );
  assert.match(stderr, /^warning: .*"aws:a".*; moat revoke aws:a/);
});

test("a damaged grant can be granted anew", async (terminal) => {
  await damage(terminal, ": >moat/grants/aws:a.grant");
  await terminal.do(`${GRANT} --name a && moat grant show aws:a`);
});

/** Damage to the key, and what is said about it. */
const KEY_DAMAGES: Readonly<
  Record<string, [how: string, error: RegExp, hint: RegExp]>
> = {
  "that others may read": [
    "chmod 644 moat/key",
    /moat\/key": mode is 0644, must be 0600/,
    /^chmod 600 .*moat\/key"; if others could read it/,
  ],
  "that is a directory": [
    "rm moat/key; mkdir -m 700 moat/key",
    /^Cannot read ".*moat\/key"/,
    /permissions/,
  ],
  "that is gone": [
    "rm moat/key",
    /wanted it in ".*moat\/key", found no file/,
    /back from a backup/,
  ],
  "of another moat": [
    "head -c 32 /dev/zero | base64 >moat/key",
    /wanted key [0-9a-f]{16}, found key [0-9a-f]{16}$/,
    /back from a backup/,
  ],
  "that is none": [
    "echo garbage >moat/key",
    /wanted 32 bytes of base64 .* found something else/,
    /back from a backup/,
  ],
  "whose record is gone": [
    "rm moat/key.json",
    /there are grants, but no record of their key/,
    /back from a backup/,
  ],
  "whose record is garbage": [
    "echo garbage >moat/key.json",
    /its record ".*key\.json" is malformed/,
    /back from a backup/,
  ],
};

for (const [name, [how, error, hint]] of Object.entries(KEY_DAMAGES)) {
  test(`a key ${name} is an error of its own`, async (terminal) => {
    await damage(terminal, how);
    assertRefused(await terminal.type("moat grant show aws:a"), {
      error,
      hint,
    });
  });

  test(`a key ${name} is never replaced`, async (terminal) => {
    await damage(terminal, how);
    assertRefused(await terminal.type(`${GRANT} --name c`), { error, hint });
    const files = [...Deno.readDirSync(terminal.workspace.path("moat/grants"))];
    assert.equal(files.length, 2);
  });

  test(`a key ${name} does not keep a grant from being revoked`, async (terminal) => {
    await damage(terminal, how);
    await terminal.do("moat revoke aws:a");
  });
}

test("MOAT_KEYRING=os without a keyring is an error", async (terminal) => {
  assertRefused(await terminal.type(`MOAT_KEYRING=os ${GRANT}`), {
    error: /MOAT_KEYRING=os, but no OS keyring/,
    hint: /MOAT_KEYRING=file/,
  });
});

test("a MOAT_KEYRING of another kind is a usage error", async (terminal) => {
  assertRefused(await terminal.type(`MOAT_KEYRING=vault ${GRANT}`), {
    exit: 2,
    error: /MOAT_KEYRING="vault": wanted file or os/,
    hint: /unset MOAT_KEYRING/,
  });
});

test("grants made at once are all there", async (terminal) => {
  const names = ["a", "b", "c", "d", "e", "f"];
  await Promise.all(
    names.map((name) => terminal.do(`${GRANT} --name ${name}`)),
  );
  const list = await terminal.json("moat grant list --json");
  assert.deepEqual(
    list.map(({ name, error }: Record<string, string>) => [name, error]),
    names.map((name) => [`aws:${name}`, undefined]),
  );
  assert.equal(await terminal.do("moat audit --verify"), "intact: 6 events\n");
});

test("a grant made twice at once is one of the two", async (terminal) => {
  const regions = ["us-west-1", "us-west-2"];
  await Promise.all(
    regions.map((region) => terminal.do(`${GRANT} --region ${region}`)),
  );
  const { settings } = await terminal.json("moat grant show aws --json");
  assert.ok(regions.includes(settings.region));
});

test("Ctrl-C while STS is waited for leaves the old grant", async (terminal) => {
  await using sts = startFaultySts({ manner: "hang" });
  await terminal.do(GRANT);
  const file = terminal.workspace.path("moat/grants/aws.grant");
  const before = await Deno.readFile(file);
  const child = new Deno.Command(MOAT, {
    args: ["grant", "aws", "--role", ROLE, "--region", "us-west-2"],
    env: moatEnv(terminal.workspace, {
      env: {
        AWS_ENDPOINT_URL_STS: sts.url,
        AWS_ACCESS_KEY_ID: "AKIA",
        AWS_SECRET_ACCESS_KEY: CANARY,
      },
    }),
    clearEnv: true,
    stdout: "null",
    stderr: "null",
  }).spawn();
  await eventually("the request", () => sts.requests.length > 0);
  child.kill("SIGINT");
  assert.equal((await child.status).code, 130);
  assert.deepEqual(await Deno.readFile(file), before);
});

/** What may sit at the control socket's place when no proxy does. */
const SOCKETS: Readonly<Record<string, string>> = {
  "a socket that a proxy left behind":
    `python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("moat/control.sock")'`,
  "a plain file": "touch moat/control.sock",
};

for (const [name, how] of Object.entries(SOCKETS)) {
  test(`${name} does not disturb a revoke`, async (terminal) => {
    await damage(terminal, how);
    const { stdout, stderr } = await terminal.type("moat revoke aws:a");
    assert.match(stdout, /^revoked aws:a/);
    assert.equal(stderr, "");
  });
}

test("a MOAT_HOME too long for a socket works without a proxy", async (terminal) => {
  const home = terminal.workspace.path("h".repeat(110));
  const { stderr } = await terminal.type(`${GRANT} --session-duration 1h`, {
    MOAT_HOME: home,
  });
  assert.equal(stderr, "");
});

test("a proxy that talks nonsense is a warning", async (terminal) => {
  await terminal.do(GRANT);
  using listener = Deno.listen({
    transport: "unix",
    path: terminal.workspace.path("moat/control.sock"),
  });
  const answered = (async () => {
    using conn = await listener.accept();
    await conn.write(new TextEncoder().encode("<html>\n"));
  })();
  const { code, stdout, stderr } = await terminal.type("moat revoke aws");
  await answered;
  assert.deepEqual([code, /^revoked aws;/.test(stdout)], [0, true]);
  assert.match(stderr, /^warning: a running proxy could not be told.*restart/);
});

const diskTest = (name: string, fn: (terminal: Terminal) => Promise<void>) =>
  testUnless(
    moatReason() ?? noTinyDisk,
    `on a full disk, ${name}`,
    async () => {
      await using disk = await tinyDisk();
      await using terminal = await Terminal.open({ MOAT_HOME: disk.directory });
      await terminal.do(GRANT);
      await disk.fill();
      await fn(terminal);
    },
  );

diskTest("moat grant fails and leaves the old grant", async (terminal) => {
  assertRefused(await terminal.type(`${GRANT} --region us-west-2`), {
    error: /^Cannot write ".*aws\.grant": the disk is full$/,
    hint: /^free some space/,
  });
  const { settings } = await terminal.json("moat grant show aws --json");
  assert.equal(settings.region, "us-east-1");
});

diskTest("moat revoke still removes the grant", async (terminal) => {
  await terminal.type("moat revoke aws");
  assertRefused(await terminal.type("moat grant show aws"), {
    error: /Cannot find grant "aws"/,
    hint: /moat grant aws/,
  });
});
