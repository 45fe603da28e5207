import assert from "node:assert/strict";
import type { Binding } from "$core/binding.ts";
import { Secret } from "$core/secret.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import type { Session } from "./session.ts";
import { VendRecorders } from "./vend.ts";

const GRANT = { provider: "aws", name: "aws", createdAt: 0, settings: {} };

const SESSION: Session = {
  accessKeyId: "ASIA",
  secretAccessKey: new Secret("secret"),
  sessionToken: new Secret("token"),
  expiresAt: 0,
  assumedRoleArn: "arn:aws:sts::123456789012:assumed-role/App/x",
};

function binding(container: string): Binding {
  return { name: "web", grants: ["aws"], subject: { container } };
}

Deno.test("endContainer() writes what is left to count, and keeps nothing of it", () => {
  const platform = fakePlatform();
  const vends = new VendRecorders(platform);
  const [one, two] = ["one", "two"].map((name) =>
    vends.recorder(GRANT, binding(name))
  );
  for (let i = 0; i < 3; i++) one?.vended(SESSION);
  vends.endContainer(GRANT, binding("one"));
  const [, again] = platform.events;
  assert.deepEqual(
    [again?.event, again?.fields["count"], platform.events.length],
    ["vended-again", 2, 2],
  );
  assert.notEqual(vends.recorder(GRANT, binding("one")), one);
  assert.equal(vends.recorder(GRANT, binding("two")), two);
});
