import assert from "node:assert/strict";
import { Secret } from "$core/secret.ts";
import { containerAnswer, processAnswer, type Session } from "./session.ts";

const SESSION: Session = {
  accessKeyId: "ASIAEXAMPLE",
  secretAccessKey: new Secret("secret/+="),
  sessionToken: new Secret('token/+=\u00e9"'),
  expiresAt: Date.UTC(2026, 0, 2, 3, 4, 5),
  assumedRoleArn: "arn:aws:sts::123456789012:assumed-role/Deploy/moat",
};

Deno.test("processAnswer() has exactly the keys of credential_process", () => {
  assert.deepEqual(JSON.parse(processAnswer(SESSION).body), {
    Version: 1,
    AccessKeyId: "ASIAEXAMPLE",
    SecretAccessKey: "secret/+=",
    SessionToken: 'token/+=é"',
    Expiration: "2026-01-02T03:04:05Z",
  });
});

Deno.test("containerAnswer() has exactly the keys of container credentials", () => {
  assert.deepEqual(JSON.parse(containerAnswer(SESSION).body), {
    AccessKeyId: "ASIAEXAMPLE",
    SecretAccessKey: "secret/+=",
    Token: 'token/+=é"',
    Expiration: "2026-01-02T03:04:05Z",
  });
});

const ANSWERS = { processAnswer, containerAnswer };

for (const [name, make] of Object.entries(ANSWERS)) {
  Deno.test(`${name}() is 200 in JSON`, () => {
    const { status, contentType } = make(SESSION);
    assert.deepEqual([status, contentType], [200, "application/json"]);
  });

  for (const ms of [0, 1, 499, 500, 999]) {
    Deno.test(`${name}() never lets a session last longer than it does, with ${ms} ms`, () => {
      const answer = make({ ...SESSION, expiresAt: SESSION.expiresAt + ms });
      const { Expiration } = JSON.parse(answer.body);
      assert.equal(Expiration, "2026-01-02T03:04:05Z");
    });
  }
}
