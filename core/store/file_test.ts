import assert from "node:assert/strict";
import { basename, dirname, join } from "node:path";
import fc from "fast-check";
import {
  AWS,
  GITHUB,
  plain,
  storeContract,
} from "../../tests/support/store_contract.ts";
import {
  modeOf,
  namesIn,
  type TempHome,
  tempHome,
} from "../../tests/support/temp_home.ts";
import { systemClock } from "../clock.ts";
import { MoatError } from "../errors.ts";
import { type Grant, grantName, type JsonObject } from "../grant.ts";
import { Secret } from "../secret.ts";
import { createFileStore, grantFile } from "./file.ts";
import { createKeyProvider, type KeyProvider } from "./key.ts";
import type { Store } from "./store.ts";

storeContract("createFileStore()", async (use) => {
  await using home = await tempHome();
  await use(storeIn(home));
});

function keysIn({ paths }: TempHome): KeyProvider {
  const env = { MOAT_KEYRING: "file" };
  return createKeyProvider({ paths, clock: systemClock, env });
}

function storeIn(home: TempHome): Store {
  return createFileStore(home.paths, keysIn(home), systemClock);
}

/** Fails the test that asks for a key. */
const NO_KEYS: KeyProvider = {
  load: () => Promise.reject(new Error("asked for the key")),
  loadOrCreate: () => Promise.reject(new Error("asked for the key")),
};

const fileOf = (home: TempHome, name: string) =>
  grantFile(home.paths.grants, name);

async function editEnvelope(path: string, change: Record<string, unknown>) {
  const envelope = JSON.parse(await Deno.readTextFile(path));
  await Deno.writeTextFile(
    path,
    JSON.stringify({ ...envelope, ...change }) + "\n",
  );
}

Deno.test("put() makes a 0600 file in a 0700 directory", async () => {
  await using home = await tempHome();
  await storeIn(home).put(AWS);
  const modes = [
    await modeOf(fileOf(home, AWS.name)),
    await modeOf(home.paths.grants),
  ];
  assert.deepEqual(modes, [0o600, 0o700]);
});

Deno.test("put() leaves one file", async () => {
  await using home = await tempHome();
  await storeIn(home).put(AWS);
  assert.deepEqual(await namesIn(home.paths.grants), ["aws:prod.grant"]);
});

Deno.test("put() writes nothing of the grant but provider and name", async () => {
  await using home = await tempHome();
  await storeIn(home).put(AWS);
  const text = await Deno.readTextFile(fileOf(home, AWS.name));
  const keys = Object.keys(JSON.parse(text));
  assert.deepEqual(keys, [
    "version",
    "provider",
    "name",
    "keyId",
    "nonce",
    "ciphertext",
  ]);
});

Deno.test("put() uses a new nonce each time", async () => {
  await using home = await tempHome();
  const nonces = new Set<string>();
  for (let i = 0; i < 5; i++) {
    await storeIn(home).put(AWS);
    const text = await Deno.readTextFile(fileOf(home, AWS.name));
    nonces.add(JSON.parse(text).nonce);
  }
  assert.equal(nonces.size, 5);
});

Deno.test("put() refuses a grant whose name is another provider's", async () => {
  await using home = await tempHome();
  const put = storeIn(home).put({ ...AWS, name: "github:prod" });
  await assert.rejects(put, TypeError);
});

Deno.test("put() refuses a grant that could not be read back", async () => {
  await using home = await tempHome();
  const put = storeIn(home).put({ ...AWS, createdAt: NaN });
  await assert.rejects(put, TypeError);
});

Deno.test("put() removes the temporary files of killed writers", async () => {
  await using home = await tempHome();
  await storeIn(home).put(AWS);
  const stale = ".github.grant.0123456789abcdef.tmp";
  await Deno.writeTextFile(join(home.paths.grants, stale), "half");
  await storeIn(home).put(AWS);
  assert.deepEqual(await namesIn(home.paths.grants), ["aws:prod.grant"]);
});

for (const operation of ["put", "get"] as const) {
  Deno.test(`${operation}() refuses a directory that others can enter`, async () => {
    await using home = await tempHome();
    await storeIn(home).put(AWS);
    await Deno.chmod(home.paths.grants, 0o750);
    const done = operation === "put"
      ? storeIn(home).put(AWS)
      : storeIn(home).get(AWS.name);
    await assert.rejects(done, {
      code: "insecure-directory",
      hint: `chmod 700 "${home.paths.grants}"`,
    });
  });
}

const DAMAGES: Record<string, (path: string) => Promise<void>> = {
  "an empty file": (path) => Deno.writeTextFile(path, ""),
  "a file of zeros": (path) => Deno.writeFile(path, new Uint8Array(300)),
  "half a file": (path) => Deno.truncate(path, 120),
  "bytes after the end": (path) =>
    Deno.writeTextFile(path, "\n", { append: true }),
  "a JSON array": (path) => Deno.writeTextFile(path, "[]\n"),
  "another version": (path) => editEnvelope(path, { version: 2 }),
  "another provider": (path) => editEnvelope(path, { provider: "github" }),
  "an unknown member": (path) => editEnvelope(path, { extra: 1 }),
  "a short nonce": (path) => editEnvelope(path, { nonce: "AAAA" }),
  "another nonce": (path) => editEnvelope(path, { nonce: "A".repeat(16) }),
  "no ciphertext": (path) => editEnvelope(path, { ciphertext: "" }),
};
for (const [damage, inflict] of Object.entries(DAMAGES)) {
  Deno.test(`get() refuses ${damage}`, async () => {
    await using home = await tempHome();
    await storeIn(home).put(AWS);
    await inflict(fileOf(home, AWS.name));
    await assert.rejects(storeIn(home).get(AWS.name), {
      code: "grant-damaged",
      hint: "moat revoke aws:prod, then moat grant aws --name prod",
    });
  });
}

Deno.test("get() refuses the file of another name, without telling which", async () => {
  await using home = await tempHome();
  await storeIn(home).put(AWS);
  await Deno.rename(fileOf(home, AWS.name), fileOf(home, "aws:dev"));
  await assert.rejects(storeIn(home).get("aws:dev"), {
    code: "grant-damaged",
    message: 'Cannot read grant "aws:dev": its file belongs to another name',
  });
});

Deno.test("get() refuses a renamed file whose name was edited too", async () => {
  await using home = await tempHome();
  await storeIn(home).put(AWS);
  const path = fileOf(home, "aws:dev");
  await Deno.rename(fileOf(home, AWS.name), path);
  await editEnvelope(path, { name: "aws:dev" });
  await assert.rejects(storeIn(home).get("aws:dev"), {
    code: "grant-damaged",
    message: 'Cannot read grant "aws:dev": its file was changed',
  });
});

Deno.test("get() tells another key from damage", async () => {
  await using home = await tempHome();
  await using other = await tempHome();
  await storeIn(home).put(AWS);
  await storeIn(other).put(AWS);
  await Deno.copyFile(fileOf(other, AWS.name), fileOf(home, AWS.name));
  const ours = (await keysIn(home).load()).id;
  const theirs = (await keysIn(other).load()).id;
  await assert.rejects(storeIn(home).get(AWS.name), {
    code: "wrong-key",
    message:
      `Cannot decrypt grant "aws:prod": wanted key ${ours}, found key ${theirs}`,
  });
});

Deno.test("get() does not repeat a damaged key id", async () => {
  await using home = await tempHome();
  await storeIn(home).put(AWS);
  await editEnvelope(fileOf(home, AWS.name), { keyId: "canary" });
  await assert.rejects(
    storeIn(home).get(AWS.name),
    (error: Error) => !error.message.includes("canary"),
  );
});

Deno.test("get() needs no key to say that there is no grant", async () => {
  await using home = await tempHome();
  const store = createFileStore(home.paths, NO_KEYS, systemClock);
  await assert.rejects(store.get("aws"), { code: "grant-not-found" });
});

Deno.test("update() refuses to rename", async () => {
  await using home = await tempHome();
  await storeIn(home).put(AWS);
  const update = storeIn(home).update(AWS.name, () => GITHUB);
  await assert.rejects(update, TypeError);
});

Deno.test("delete() needs no key", async () => {
  await using home = await tempHome();
  await storeIn(home).put(AWS);
  const store = createFileStore(home.paths, NO_KEYS, systemClock);
  assert.equal(await store.delete(AWS.name), true);
});

Deno.test("delete() removes a damaged grant", async () => {
  await using home = await tempHome();
  await storeIn(home).put(AWS);
  await Deno.writeTextFile(fileOf(home, AWS.name), "junk");
  await storeIn(home).delete(AWS.name);
  assert.deepEqual(await namesIn(home.paths.grants), []);
});

Deno.test("list() needs no key when there is no grant", async () => {
  await using home = await tempHome();
  const store = createFileStore(home.paths, NO_KEYS, systemClock);
  assert.deepEqual(await store.list(), []);
});

Deno.test("list() shows a damaged grant beside the others", async () => {
  await using home = await tempHome();
  await storeIn(home).put(AWS);
  await storeIn(home).put(GITHUB);
  await Deno.writeTextFile(fileOf(home, AWS.name), "junk");
  const found = (await storeIn(home).list()).map(({ name, grant, error }) => [
    name,
    grant?.name,
    error?.code,
  ]);
  assert.deepEqual(found, [
    ["aws:prod", undefined, "grant-damaged"],
    ["github", "github", undefined],
  ]);
});

Deno.test("list() shows every grant when the key is gone", async () => {
  await using home = await tempHome();
  await storeIn(home).put(AWS);
  await storeIn(home).put(GITHUB);
  await Deno.remove(home.paths.keyFile);
  const codes = (await storeIn(home).list()).map(({ error }) => error?.code);
  assert.deepEqual(codes, ["key-unavailable", "key-unavailable"]);
});

Deno.test("list() ignores foreign and temporary files", async () => {
  await using home = await tempHome();
  await storeIn(home).put(AWS);
  const foreign = ["README", "UPPER.grant", ".grant", "a b.grant", "x.grant~"];
  for (const name of [...foreign, ".aws.grant.0123456789abcdef.tmp"]) {
    await Deno.writeTextFile(join(home.paths.grants, name), "");
  }
  await Deno.mkdir(join(home.paths.grants, "dir.grant"));
  const names = (await storeIn(home).list()).map((entry) => entry.name);
  assert.deepEqual(names, ["aws:prod"]);
});

const namePart = fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,62}$/);
const anyName = fc.tuple(namePart, fc.option(namePart, { nil: undefined }))
  .map(([provider, name]) => ({ provider, name: grantName(provider, name) }));

/** What JSON gives back as it was: no negative zero. */
const settings = fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 5 })
  .map((value): JsonObject => JSON.parse(JSON.stringify(value)));

const anyGrant: fc.Arbitrary<Grant> = fc.record({
  id: anyName,
  createdAt: fc.integer(),
  expiresAt: fc.option(fc.integer(), { nil: undefined }),
  settings,
  credential: fc.option(fc.string({ unit: "binary" }), { nil: undefined }),
}).map(({ id, createdAt, expiresAt, settings, credential }) => ({
  ...id,
  createdAt,
  settings,
  ...(expiresAt === undefined ? {} : { expiresAt }),
  ...(credential === undefined ? {} : { credential: new Secret(credential) }),
}));

Deno.test("get() gives back any grant that was put", async () => {
  await using home = await tempHome();
  const store = storeIn(home);
  await fc.assert(
    fc.asyncProperty(anyGrant, async (grant) => {
      await store.put(grant);
      assert.deepEqual(plain(await store.get(grant.name)), plain(grant));
    }),
    { numRuns: 100 },
  );
});

Deno.test("get() refuses a stored file with any one byte changed", async () => {
  await using home = await tempHome();
  const store = storeIn(home);
  await store.put(AWS);
  const path = fileOf(home, AWS.name);
  const whole = await Deno.readFile(path);
  for (let at = 0; at < whole.length; at++) {
    // 0x20 changes the case of a letter, which base64 would accept.
    for (const bit of [1 << (at % 8), 0x20]) {
      const flipped = whole.slice();
      flipped[at]! ^= bit;
      await Deno.writeFile(path, flipped);
      await assert.rejects(
        store.get(AWS.name),
        (error) =>
          error instanceof MoatError &&
          ["grant-damaged", "wrong-key"].includes(error.code),
        `byte ${at}`,
      );
    }
  }
});

Deno.test("grantFile() gives two names two files", () => {
  fc.assert(fc.property(anyName, anyName, (one, other) => {
    const same = grantFile("/g", one.name) === grantFile("/g", other.name);
    assert.equal(same, one.name === other.name);
  }));
});

Deno.test("grantFile() stays in the directory, whatever the name", () => {
  fc.assert(fc.property(fc.string(), (name) => {
    try {
      assert.equal(dirname(grantFile("/g", name)), "/g");
    } catch (error) {
      assert.equal(error instanceof MoatError && error.code, "usage");
    }
  }));
});

Deno.test("grantFile() gives no hidden file and none that is too long", () => {
  fc.assert(fc.property(anyName, ({ name }) => {
    const file = basename(grantFile("/g", name));
    assert.match(file, /^[^.].{0,200}$/);
  }));
});
