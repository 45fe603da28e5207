import assert from "node:assert/strict";
import type { Grant } from "$core/grant.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import { followGrant } from "./follow_grant.ts";

/** A grant in a store, and how often a change was told. */
class Followed {
  readonly clock = new FakeClock();
  grant: Grant | undefined = grantOf(1);
  told = 0;
  readonly stop = followGrant({
    clock: this.clock,
    read: () =>
      this.grant ? Promise.resolve(this.grant) : Promise.reject(new Error()),
    changed: () => void this.told++,
  });
}

function grantOf(createdAt: number): Grant {
  return { name: "aws", provider: "aws", createdAt, settings: {} };
}

Deno.test("followGrant() tells nothing while nothing changes", async () => {
  const followed = new Followed();
  await followed.clock.advance(10_000);
  assert.equal(followed.told, 0);
  followed.stop();
});

const CHANGES: Record<string, Grant | undefined> = {
  "that is revoked": undefined,
  "that is granted anew": grantOf(2),
};

for (const [name, next] of Object.entries(CHANGES)) {
  Deno.test(`followGrant() tells once of a grant ${name}`, async () => {
    const followed = new Followed();
    await followed.clock.advance(1000);
    followed.grant = next;
    await followed.clock.advance(5000);
    assert.equal(followed.told, 1);
    followed.stop();
  });
}

Deno.test("followGrant() tells nothing once it was ended", async () => {
  const followed = new Followed();
  await followed.clock.advance(1000);
  followed.stop();
  followed.grant = undefined;
  await followed.clock.advance(5000);
  assert.equal(followed.told, 0);
});
