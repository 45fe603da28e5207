import assert from "node:assert/strict";
import { join } from "node:path";
import {
  modeOf,
  namesIn,
  type TempHome,
  tempHome,
} from "../../tests/support/temp_home.ts";
import { systemClock } from "../clock.ts";
import { createKeyProvider, keyId, type KeyOptions } from "./key.ts";
import type { Keyring } from "./keyring.ts";

/** A keyring in memory. */
class MemoryKeyring implements Keyring {
  readonly entries = new Map<string, string>();
  asked = 0;

  store(account: string, secret: string): Promise<boolean> {
    this.entries.set(account, secret);
    return Promise.resolve(true);
  }

  lookup(account: string): Promise<string | undefined> {
    this.asked++;
    return Promise.resolve(this.entries.get(account));
  }
}

/** Says that it stored, and forgets. */
class ForgetfulKeyring extends MemoryKeyring {
  override store(): Promise<boolean> {
    return Promise.resolve(true);
  }
}

/** As one that stays locked: stores nothing. */
class LockedKeyring extends MemoryKeyring {
  override store(): Promise<boolean> {
    return Promise.resolve(false);
  }
}

function provider(
  { paths }: TempHome,
  keyring?: Keyring,
  choice?: string,
) {
  const env: Record<string, string> = choice ? { MOAT_KEYRING: choice } : {};
  const options: KeyOptions = {
    paths,
    env,
    clock: systemClock,
    findKeyring: () => Promise.resolve(keyring),
  };
  return createKeyProvider(options);
}

async function recordOf({ paths }: TempHome) {
  return JSON.parse(await Deno.readTextFile(paths.keyRecord));
}

async function setRecord({ paths }: TempHome, record: unknown) {
  await Deno.writeTextFile(paths.keyRecord, JSON.stringify(record), {
    mode: 0o600,
  });
}

async function putForeignGrant({ paths }: TempHome) {
  await Deno.mkdir(paths.grants, { mode: 0o700 });
  await Deno.writeTextFile(join(paths.grants, "aws.grant"), "{}");
}

Deno.test("keyId() gives the digest that sha256sum gives of 32 zero bytes", () => {
  // printf 'moat key id\0' and 32 zero bytes | sha256sum
  assert.equal(keyId(new Uint8Array(32)), "96c596626bea06a9");
});

Deno.test("loadOrCreate() records a key in a file where there is no keyring", async () => {
  await using home = await tempHome();
  const { id } = await provider(home).loadOrCreate();
  assert.deepEqual(await recordOf(home), { version: 1, where: "file", id });
});

Deno.test("loadOrCreate() makes key and record 0600", async () => {
  await using home = await tempHome();
  await provider(home).loadOrCreate();
  const modes = [
    await modeOf(home.paths.keyFile),
    await modeOf(home.paths.keyRecord),
  ];
  assert.deepEqual(modes, [0o600, 0o600]);
});

Deno.test("loadOrCreate() writes 32 bytes of base64", async () => {
  await using home = await tempHome();
  const { id } = await provider(home).loadOrCreate();
  const text = await Deno.readTextFile(home.paths.keyFile);
  const key = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  assert.deepEqual([key.length, keyId(key)], [32, id]);
});

Deno.test("loadOrCreate() gives a key that cannot be exported", async () => {
  await using home = await tempHome();
  const { cryptoKey } = await provider(home).loadOrCreate();
  assert.equal(cryptoKey.extractable, false);
});

Deno.test("loadOrCreate() records a keyring that works", async () => {
  await using home = await tempHome();
  const { id } = await provider(home, new MemoryKeyring()).loadOrCreate();
  assert.deepEqual(await recordOf(home), { version: 1, where: "os", id });
});

Deno.test("loadOrCreate() makes no key file beside a keyring", async () => {
  await using home = await tempHome();
  await provider(home, new MemoryKeyring()).loadOrCreate();
  assert.deepEqual(await namesIn(home.directory), ["key.json", "locks"]);
});

Deno.test("loadOrCreate() names the keyring's account after the key's id", async () => {
  await using home = await tempHome();
  const keyring = new MemoryKeyring();
  const { id } = await provider(home, keyring).loadOrCreate();
  assert.deepEqual([...keyring.entries.keys()], [`grants-key-${id}`]);
});

for (
  const [name, keyring] of [
    ["is locked", new LockedKeyring()],
    ["does not give back what it stored", new ForgetfulKeyring()],
  ] as const
) {
  Deno.test(`loadOrCreate() records a file when the keyring ${name}`, async () => {
    await using home = await tempHome();
    await provider(home, keyring).loadOrCreate();
    assert.equal((await recordOf(home)).where, "file");
  });

  Deno.test(`loadOrCreate() creates nothing when MOAT_KEYRING=os and it ${name}`, async () => {
    await using home = await tempHome();
    const created = provider(home, keyring, "os").loadOrCreate();
    await assert.rejects(created, {
      code: "key-unavailable",
      hint: /MOAT_KEYRING=file/,
    });
    assert.deepEqual(await namesIn(home.directory), ["locks"]);
  });
}

Deno.test("loadOrCreate() leaves the keyring alone with MOAT_KEYRING=file", async () => {
  await using home = await tempHome();
  const keyring = new MemoryKeyring();
  await provider(home, keyring, "file").loadOrCreate();
  assert.deepEqual([keyring.entries.size, keyring.asked], [0, 0]);
});

Deno.test("loadOrCreate() refuses MOAT_KEYRING=os without a keyring", async () => {
  await using home = await tempHome();
  await assert.rejects(provider(home, undefined, "os").loadOrCreate(), {
    code: "key-unavailable",
  });
});

for (const operation of ["load", "loadOrCreate"] as const) {
  Deno.test(`${operation}() refuses another value of MOAT_KEYRING`, async () => {
    await using home = await tempHome();
    await assert.rejects(provider(home, undefined, "kwallet")[operation](), {
      code: "usage",
      message: 'Cannot use MOAT_KEYRING="kwallet": wanted file or os',
    });
  });

  Deno.test(`${operation}() makes no second key when the keyring is gone`, async () => {
    await using home = await tempHome();
    await provider(home, new MemoryKeyring()).loadOrCreate();
    const again = provider(home, undefined, "file")[operation]();
    await assert.rejects(again, { code: "key-unavailable" });
    assert.deepEqual(await namesIn(home.directory), ["key.json", "locks"]);
  });

  Deno.test(`${operation}() makes no second key when the keyring forgot it`, async () => {
    await using home = await tempHome();
    await provider(home, new MemoryKeyring()).loadOrCreate();
    const again = provider(home, new MemoryKeyring())[operation]();
    await assert.rejects(again, {
      code: "key-unavailable",
      hint: /^unlock the keyring/,
    });
  });

  Deno.test(`${operation}() makes no second key when the file is gone`, async () => {
    await using home = await tempHome();
    await provider(home).loadOrCreate();
    await Deno.remove(home.paths.keyFile);
    await assert.rejects(provider(home)[operation](), {
      code: "key-unavailable",
      message:
        `Cannot use the key of the grants: wanted it in "${home.paths.keyFile}", found no file`,
    });
    assert.deepEqual(await namesIn(home.directory), ["key.json", "locks"]);
  });

  Deno.test(`${operation}() makes no key when there are grants without a record`, async () => {
    await using home = await tempHome();
    await putForeignGrant(home);
    await assert.rejects(provider(home)[operation](), {
      code: "key-unavailable",
      message: /there are grants, but no record of their key/,
    });
  });

  Deno.test(`${operation}() refuses another key in the file`, async () => {
    await using home = await tempHome();
    const { id } = await provider(home).loadOrCreate();
    await Deno.writeTextFile(
      home.paths.keyFile,
      btoa("\0".repeat(32)),
    );
    await assert.rejects(provider(home)[operation](), {
      code: "wrong-key",
      message:
        `Cannot use the key of the grants: wanted key ${id}, found key 96c596626bea06a9`,
    });
  });

  Deno.test(`${operation}() refuses another key in the keyring`, async () => {
    await using home = await tempHome();
    const keyring = new MemoryKeyring();
    const { id } = await provider(home, keyring).loadOrCreate();
    keyring.entries.set(`grants-key-${id}`, btoa("\0".repeat(32)));
    await assert.rejects(provider(home, keyring)[operation](), {
      code: "wrong-key",
    });
  });
}

Deno.test("load() creates nothing", async () => {
  await using home = await tempHome();
  await assert.rejects(provider(home).load(), { code: "key-unavailable" });
  assert.deepEqual(await namesIn(home.directory), []);
});

Deno.test("load() reads the file that is recorded, whatever MOAT_KEYRING says", async () => {
  await using home = await tempHome();
  const { id } = await provider(home).loadOrCreate();
  const again = await provider(home, new MemoryKeyring(), "os").load();
  assert.equal(again.id, id);
});

Deno.test("load() refuses a key file that others can read", async () => {
  await using home = await tempHome();
  await provider(home).loadOrCreate();
  await Deno.chmod(home.paths.keyFile, 0o644);
  await assert.rejects(provider(home).load(), {
    code: "insecure-file",
    message: `Cannot use "${home.paths.keyFile}": mode is 0644, must be 0600`,
    hint: /^chmod 600 /,
  });
});

Deno.test("load() refuses a home that others can enter", async () => {
  await using home = await tempHome();
  await provider(home).loadOrCreate();
  await Deno.chmod(home.directory, 0o755);
  await assert.rejects(provider(home).load(), { code: "insecure-directory" });
});

const BAD_KEYS = ["", "canary", btoa("\0".repeat(31)), btoa("\0".repeat(33))];
for (const text of BAD_KEYS) {
  Deno.test(`load() refuses a key file of ${text.length} characters without repeating them`, async () => {
    await using home = await tempHome();
    await provider(home).loadOrCreate();
    await Deno.writeTextFile(home.paths.keyFile, text);
    await assert.rejects(provider(home).load(), {
      code: "key-unavailable",
      message:
        `Cannot use the key of the grants: wanted 32 bytes of base64 in "${home.paths.keyFile}", found something else`,
    });
  });
}

const BAD_RECORDS: Record<string, unknown> = {
  "of another version": { version: 2, where: "file", id: "0".repeat(16) },
  "of another place": { version: 1, where: "cloud", id: "0".repeat(16) },
  "with a bad id": { version: 1, where: "file", id: '"; rm' },
  "that is no object": [],
};
for (const [name, record] of Object.entries(BAD_RECORDS)) {
  Deno.test(`loadOrCreate() refuses a record ${name}`, async () => {
    await using home = await tempHome();
    await setRecord(home, record);
    await assert.rejects(provider(home).loadOrCreate(), {
      code: "key-unavailable",
      message: /is malformed$/,
    });
  });
}

Deno.test("loadOrCreate() keeps the key of a first use that was cut short", async () => {
  await using home = await tempHome();
  await provider(home).loadOrCreate();
  const { id } = await recordOf(home);
  await Deno.remove(home.paths.keyRecord);
  assert.equal((await provider(home).loadOrCreate()).id, id);
});

Deno.test("loadOrCreate() removes temporary files of a killed first use", async () => {
  await using home = await tempHome();
  for (
    const name of [
      ".key.0123456789abcdef.tmp",
      ".key.json.0123456789abcdef.tmp",
    ]
  ) {
    await Deno.writeTextFile(join(home.directory, name), "");
  }
  await provider(home).loadOrCreate();
  assert.deepEqual(await namesIn(home.directory), ["key", "key.json", "locks"]);
});

Deno.test("load() asks the keyring once", async () => {
  await using home = await tempHome();
  const keyring = new MemoryKeyring();
  await provider(home, keyring).loadOrCreate();
  keyring.asked = 0;
  const keys = provider(home, keyring);
  await keys.load();
  await keys.load();
  assert.equal(keyring.asked, 1);
});

Deno.test("load() follows the record when the home was made anew", async () => {
  await using home = await tempHome();
  const keys = provider(home);
  await keys.loadOrCreate();
  await Deno.remove(home.paths.keyRecord);
  await Deno.remove(home.paths.keyFile);
  const { id } = await provider(home).loadOrCreate();
  assert.equal((await keys.load()).id, id);
});

Deno.test("loadOrCreate() ends with one key when many call it first", async () => {
  await using home = await tempHome();
  const keys = await Promise.all(
    Array.from({ length: 8 }, () => provider(home).loadOrCreate()),
  );
  assert.equal(new Set(keys.map((key) => key.id)).size, 1);
});
