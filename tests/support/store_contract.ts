/**
 * What every store must do.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Grant } from "$core/grant.ts";
import { Secret } from "$core/secret.ts";
import type { Store } from "$core/store/store.ts";

/** A grant with every field. */
export const AWS: Grant = {
  provider: "aws",
  name: "aws:prod",
  createdAt: 1_700_000_000_000,
  expiresAt: 1_700_000_900_000,
  settings: { role: "arn:aws:iam::123456789012:role/Reader", tags: ["a", 1] },
  credential: new Secret("canary-5e1f"),
};

/** A grant with the required fields only. */
export const GITHUB: Grant = {
  provider: "github",
  name: "github",
  createdAt: 1,
  settings: {},
};

/** A grant with its secret in the open, for comparisons. */
export function plain(grant: Grant): Record<string, unknown> {
  return { ...grant, credential: grant.credential?.reveal() };
}

/**
 * Registers the tests.
 *
 * @param maker How the store is made, for the tests' names.
 * @param withStore Calls back with an empty store, and disposes of it after.
 */
export function storeContract(
  maker: string,
  withStore: (
    use: (store: Store) => Promise<void>,
  ) => Promise<void>,
): void {
  const test = (name: string, fn: (store: Store) => Promise<void>) =>
    Deno.test(`${maker} ${name}`, () => withStore(fn));

  for (const grant of [AWS, GITHUB]) {
    test(`gets back ${grant.name} as it was put`, async (store) => {
      await store.put(grant);
      assert.deepEqual(plain(await store.get(grant.name)), plain(grant));
    });
  }

  test("puts a grant in place of an older one", async (store) => {
    await store.put(AWS);
    await store.put({ ...AWS, createdAt: 2 });
    assert.equal((await store.get(AWS.name)).createdAt, 2);
  });

  test("names the command that makes a missing grant", async (store) => {
    await assert.rejects(store.get("aws:prod"), {
      code: "grant-not-found",
      message: 'Cannot find grant "aws:prod"',
      hint: "moat grant aws --name prod; moat grant list shows those there are",
    });
  });

  for (const name of ["../key", "", "a/b", "AWS", "aws:", "a:b:c", ".grant"]) {
    for (const operation of ["get", "delete"] as const) {
      test(`refuses to ${operation} "${name}"`, async (store) => {
        await assert.rejects(store[operation](name), { code: "usage" });
      });
    }
    test(`refuses to put "${name}"`, async (store) => {
      await assert.rejects(store.put({ ...AWS, name }), { code: "usage" });
    });
  }

  test("lists grants by name", async (store) => {
    await store.put(GITHUB);
    await store.put(AWS);
    const names = (await store.list()).map((entry) => entry.name);
    assert.deepEqual(names, ["aws:prod", "github"]);
  });

  test("lists nothing when it is empty", async (store) => {
    assert.deepEqual(await store.list(), []);
  });

  test("lists the grants themselves", async (store) => {
    await store.put(AWS);
    const [entry] = await store.list();
    assert.deepEqual(plain(entry?.grant ?? GITHUB), plain(AWS));
  });

  test("tells whether there was a grant to delete", async (store) => {
    await store.put(AWS);
    const answers = [
      await store.delete(AWS.name),
      await store.delete(AWS.name),
    ];
    assert.deepEqual(answers, [true, false]);
  });

  test("does not get a deleted grant", async (store) => {
    await store.put(AWS);
    await store.delete(AWS.name);
    await assert.rejects(store.get(AWS.name), { code: "grant-not-found" });
  });

  test("updates a grant", async (store) => {
    await store.put(AWS);
    await store.update(AWS.name, (grant) => ({ ...grant, createdAt: 3 }));
    assert.equal((await store.get(AWS.name)).createdAt, 3);
  });

  test("returns the updated grant", async (store) => {
    await store.put(AWS);
    const updated = await store.update(
      AWS.name,
      (grant) => ({ ...grant, createdAt: 3 }),
    );
    assert.equal(updated.createdAt, 3);
  });

  test("leaves a grant that is not to be changed", async (store) => {
    await store.put(AWS);
    const kept = await store.update(AWS.name, () => undefined);
    assert.deepEqual(plain(kept), plain(AWS));
  });

  test("does not revive a revoked grant by an update", async (store) => {
    await assert.rejects(store.update(AWS.name, () => AWS), {
      code: "grant-not-found",
    });
  });

  test("loses no update of several at once", async (store) => {
    await store.put({ ...AWS, createdAt: 0 });
    await Promise.all(
      Array.from({ length: 5 }, () =>
        store.update(AWS.name, (grant) => ({
          ...grant,
          createdAt: grant.createdAt + 1,
        }))),
    );
    assert.equal((await store.get(AWS.name)).createdAt, 5);
  });
}
