import assert from "node:assert/strict";
import { MoatError } from "$core/errors.ts";
import { awsGrant } from "../../../tests/support/aws_grant.ts";
import { FakeClock, settle } from "../../../tests/support/fake_clock.ts";
import { RoleLookups } from "./container_role_lookup.ts";

const GRANT = awsGrant();
const HOUR_MS = 3_600_000;

/** Look-ups whose answers the test gives. */
class Bed {
  readonly clock = new FakeClock();
  readonly asked: string[] = [];
  answer: () => Promise<string> = () =>
    Promise.resolve(`arn:${this.asked.length}`);
  readonly lookups = new RoleLookups(this.clock, ({ name }, role) => {
    this.asked.push(`${name}/${role}`);
    return this.answer();
  });

  fail(code: string): void {
    this.answer = () => Promise.reject(new MoatError(code, "no"));
  }
}

Deno.test("RoleLookups.find() gives at once what it found before", async () => {
  const bed = new Bed();
  await bed.lookups.find(GRANT, "app");
  assert.equal(bed.lookups.find(GRANT, "app"), "arn:1");
});

Deno.test("RoleLookups.find() asks once for all that wait", async () => {
  const bed = new Bed();
  const all = [1, 2, 3].map(() => bed.lookups.find(GRANT, "app"));
  await Promise.all(all);
  assert.deepEqual(bed.asked, ["aws/app"]);
});

Deno.test("RoleLookups.find() asks for each grant and each name", async () => {
  const bed = new Bed();
  await bed.lookups.find(GRANT, "app");
  await bed.lookups.find(GRANT, "web");
  await bed.lookups.find(awsGrant({}, "aws:b"), "app");
  assert.deepEqual(bed.asked, ["aws/app", "aws/web", "aws:b/app"]);
});

Deno.test("RoleLookups.find() asks anew for a grant that was replaced", async () => {
  const bed = new Bed();
  await bed.lookups.find(GRANT, "app");
  await bed.lookups.find({ ...GRANT, createdAt: 1 }, "app");
  assert.equal(bed.asked.length, 2);
});

Deno.test("RoleLookups.find() asks again after an hour, behind the answer", async () => {
  const bed = new Bed();
  await bed.lookups.find(GRANT, "app");
  await bed.clock.advance(HOUR_MS - 1);
  bed.lookups.find(GRANT, "app");
  await bed.clock.advance(1);
  const first = bed.lookups.find(GRANT, "app");
  await settle();
  assert.deepEqual(
    [first, bed.lookups.find(GRANT, "app"), bed.asked.length],
    ["arn:1", "arn:2", 2],
  );
});

Deno.test("RoleLookups.find() asks again after the clock was set back", async () => {
  const bed = new Bed();
  await bed.lookups.find(GRANT, "app");
  await bed.clock.advance(-2 * HOUR_MS);
  bed.lookups.find(GRANT, "app");
  assert.equal(bed.asked.length, 2);
});

Deno.test("RoleLookups.find() keeps a failure for 5 s", async () => {
  const bed = new Bed();
  bed.fail("role-unknown");
  const find = async () => await bed.lookups.find(GRANT, "app");
  await assert.rejects(find, { code: "role-unknown" });
  await bed.clock.advance(4999);
  await assert.rejects(find, { code: "role-unknown" });
  const before = bed.asked.length;
  await bed.clock.advance(1);
  await assert.rejects(find, { code: "role-unknown" });
  assert.deepEqual([before, bed.asked.length], [1, 2]);
});

Deno.test("RoleLookups.find() gives what it knows while IAM fails", async () => {
  const bed = new Bed();
  await bed.lookups.find(GRANT, "app");
  bed.fail("sts-unreachable");
  await bed.clock.advance(HOUR_MS);
  bed.lookups.find(GRANT, "app");
  await settle();
  assert.equal(bed.lookups.find(GRANT, "app"), "arn:1");
});

Deno.test("RoleLookups.find() forgets a role that is gone", async () => {
  const bed = new Bed();
  await bed.lookups.find(GRANT, "app");
  bed.fail("role-unknown");
  await bed.clock.advance(HOUR_MS);
  bed.lookups.find(GRANT, "app");
  await settle();
  await assert.rejects(async () => await bed.lookups.find(GRANT, "app"), {
    code: "role-unknown",
  });
});

Deno.test("RoleLookups.find() keeps 1000 roles, and drops the one used longest ago", async () => {
  const bed = new Bed();
  await bed.lookups.find(GRANT, "first");
  await bed.lookups.find(GRANT, "second");
  for (let i = 0; i < 998; i++) await bed.lookups.find(GRANT, `role-${i}`);
  bed.lookups.find(GRANT, "first");
  await bed.lookups.find(GRANT, "one-more");
  const kept = typeof bed.lookups.find(GRANT, "first");
  const dropped = typeof bed.lookups.find(GRANT, "second");
  assert.deepEqual([kept, dropped], ["string", "object"]);
});
