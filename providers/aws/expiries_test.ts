import assert from "node:assert/strict";
import { Secret } from "$core/secret.ts";
import {
  makeCertificate,
  noOpenssl,
  PKI_NOW,
  pkiPath,
} from "../../tests/support/anywhere_pki.ts";
import { awsGrant } from "../../tests/support/aws_grant.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import { withSecrets } from "./credential.ts";
import { expiriesOf } from "./expiries.ts";

const HOUR_MS = 60 * 60_000;
const DAY_MS = 24 * HOUR_MS;

const LIVES = [
  { days: 1, warnAhead: [6 * HOUR_MS] },
  { days: 30, warnAhead: [30 * DAY_MS, 7 * DAY_MS, DAY_MS] },
];

for (const { days, warnAhead } of LIVES) {
  testUnless(
    noOpenssl,
    `a certificate of ${days} days is announced ${warnAhead.length} times`,
    async () => {
      const name = `lives-${days}`;
      await makeCertificate(name, { days });
      const anywhere = {
        trustAnchorArn: "t",
        profileArn: "p",
        certificates: [pkiPath(`${name}.crt`)],
        privateKey: pkiPath(`${name}.key`),
        region: "eu-central-1",
      };
      const clock = new FakeClock(PKI_NOW);
      const [expiry] = await expiriesOf(awsGrant({ anywhere }), clock);
      assert.deepEqual([expiry?.what, expiry?.warnAhead], [
        "certificate",
        warnAhead,
      ]);
    },
  );
}

const SESSION = {
  accessKeyId: "ASIA",
  secretAccessKey: new Secret("s"),
  sessionToken: new Secret("t"),
  expiresAt: 12 * HOUR_MS,
  assumedRoleArn: "",
};

for (const command of [undefined, "print-a-code"]) {
  const wanted = command ? [] : ["mfa-session"];
  Deno.test(`an MFA session ${command ? "with" : "without"} a program: ${wanted}`, async () => {
    const mfa = { serial: "s", ...(command && { command }) };
    const grant = withSecrets(awsGrant({ mfa }), { mfaSession: SESSION });
    const expiries = await expiriesOf(grant, new FakeClock(0));
    assert.deepEqual(expiries.map(({ what }) => what), wanted);
  });
}
