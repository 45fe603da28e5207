/** MFA as a user meets it: codes by flag, by program and by `moat mfa`. */

import assert from "node:assert/strict";
import { eventually } from "./support/eventually.ts";
import {
  awsTest,
  CONTAINER,
  type SimulatedAws,
} from "./support/simulated_aws.ts";
import { which } from "./support/run.ts";
import { assertRefused, type Refusal } from "./support/terminal.ts";

const GRANT =
  "moat grant aws --role $ROLE --mfa-serial arn:aws:iam::123456789012:mfa/ana";
const CODE = "271828";
const WRONG = "314159";

/** How a wrong code is told of. */
const REJECTED: Refusal = {
  error:
    /^Cannot open an MFA session with arn:.*:mfa\/ana: STS answered Access/,
  hint: /next code, then grant again|^moat mfa aws CODE/,
};

/** How a missing code is told of. */
const NO_SESSION: Refusal = {
  error: /^Cannot use grant "aws": it needs an MFA code$/,
  hint: /^moat mfa aws CODE$/,
};

/** Its user needs a code for every role. */
function test(
  name: string,
  fn: (aws: SimulatedAws) => Promise<void>,
  reason?: string,
): void {
  const flags = `--require-mfa --mfa-code ${CODE}`;
  awsTest(`MFA: ${name}`, fn, { flags, reason });
}

const terminalTest = (
  name: string,
  fn: (aws: SimulatedAws) => Promise<void>,
) => test(name, fn, which("script") ? undefined : "not installed: script");

test("without a device the role is denied", async (aws) => {
  const { code } = await aws.failure("moat grant aws --role $ROLE");
  assert.equal(code, "access-denied");
});

test("one code is enough for a grant and its runs", async (aws) => {
  await aws.do(`${GRANT} --mfa-code ${CODE}`);
  await aws.startProxy();
  for (let i = 0; i < 2; i++) await (await aws.startRun()).credentials();
  // One of the role for the grant, and one for each run.
  assert.deepEqual(await aws.calls(), { GetSessionToken: 1, AssumeRole: 3 });
});

test("a wrong code is told of, and not shown", async (aws) => {
  const result = await aws.type(`${GRANT} --mfa-code ${WRONG}`);
  assertRefused(result, REJECTED);
  assert.ok(!result.stderr.includes(WRONG), result.stderr);
  assert.equal(await aws.do("moat grant list"), "");
});

test("a code that is none is usage", async (aws) => {
  const result = await aws.type(`${GRANT} --mfa-code 27182`);
  assertRefused(result, { exit: 2, error: /six digits/, hint: /moat mfa/ });
  assert.deepEqual(await aws.calls(), {});
});

test("moat mfa opens a grant, without a proxy", async (aws) => {
  await aws.do(`${GRANT} --no-validate`);
  assertRefused(await aws.type("moat credential-process aws"), NO_SESSION);
  const said = await aws.do(`moat mfa aws ${CODE}`);
  const [, end = ""] =
    /^opened an MFA session for aws, until (\S+)\n$/.exec(said) ?? [];
  const hours = (Date.parse(end) - Date.now()) / 3_600_000;
  assert.ok(hours > 11.9 && hours <= 12, said);
  await aws.do("moat credential-process aws");
  await aws.do("moat credential-process aws");
  assert.deepEqual(await aws.calls(), { GetSessionToken: 1, AssumeRole: 2 });
});

test("moat mfa makes a live run work at once", async (aws) => {
  await aws.do(`${GRANT} --no-validate`);
  await aws.startProxy();
  const run = await aws.startRun();
  const { status, body } = await run.ask(CONTAINER);
  assert.deepEqual([status, JSON.parse(body).code], [502, "mfa-required"]);
  await aws.do(`moat mfa aws ${CODE}`);
  assert.equal((await run.ask(CONTAINER)).status, 200);
  const [expiry] = (await aws.json("moat status --json")).expiries;
  assert.deepEqual([expiry.what, expiry.hint], [
    "mfa-session",
    "moat mfa aws CODE",
  ]);
});

test("a proxy that starts later has the MFA session of the grant", async (aws) => {
  await aws.do(`${GRANT} --mfa-code ${CODE}`);
  await aws.startProxy();
  const { expiries } = await eventually("status", async () => {
    const status = await aws.json("moat status --json");
    return status.expiries.length > 0 ? status : undefined;
  });
  assert.equal(expiries[0].what, "mfa-session");
});

for (const hasProxy of [false, true]) {
  const where = hasProxy ? "with a proxy" : "without a proxy";
  test(`moat mfa ${where} tells of a wrong code`, async (aws) => {
    await aws.do(`${GRANT} --no-validate`);
    if (hasProxy) await aws.startProxy();
    const result = await aws.type(`moat mfa aws ${WRONG}`);
    assertRefused(result, REJECTED);
    assert.ok(!result.stderr.includes(WRONG), result.stderr);
  });

  test(`moat mfa ${where} refuses a grant without a device`, async (aws) => {
    await aws.do("moat grant aws --role $ROLE --no-validate");
    if (hasProxy) await aws.startProxy();
    assertRefused(await aws.type(`moat mfa aws ${CODE}`), {
      exit: 2,
      error: /grant "aws" has no --mfa-serial/,
      hint: /--mfa-serial ARN/,
    });
  });
}

test("a program gives the code, once for all runs", async (aws) => {
  await aws.workspace.write("code", `#!/bin/sh\necho ${CODE}\n`, 0o755);
  await aws.do(`${GRANT} --mfa-command ./code --no-validate`);
  await aws.startProxy();
  for (let i = 0; i < 2; i++) await (await aws.startRun()).credentials();
  assert.deepEqual(await aws.calls(), { GetSessionToken: 1, AssumeRole: 2 });
});

const PROGRAMS: Readonly<Record<string, [script: string, fault: RegExp]>> = {
  "fails": ["echo Canary >&2; exit 3", /the --mfa-command failed/],
  "prints a word": ["echo Canary", /printed something else than six digits/],
};

for (const [name, [script, fault]] of Object.entries(PROGRAMS)) {
  test(`a program that ${name} is told of, without its words`, async (aws) => {
    await aws.workspace.write("code", `#!/bin/sh\n${script}\n`, 0o755);
    const { code, message = "" } = await aws.failure(
      `${GRANT} --mfa-command ./code`,
    );
    assert.equal(code, "mfa-required");
    assert.match(message, fault);
    assert.doesNotMatch(message, /Canary/);
  });
}

test("the session of a grant that is granted anew is gone", async (aws) => {
  await aws.do(`${GRANT} --mfa-code ${CODE}`);
  await aws.do(`${GRANT} --no-validate`);
  assertRefused(await aws.type("moat credential-process aws"), NO_SESSION);
});

/** How soon an MFA session ends, and who hears of it. */
const ENDS: readonly { seconds: number; isTold: boolean }[] = [
  { seconds: 1800, isTold: false },
  { seconds: 500, isTold: true },
];

for (const { seconds, isTold } of ENDS) {
  awsTest(
    `MFA: a session of ${seconds} s: log true, run ${isTold}`,
    async (aws) => {
      await aws.do(`${GRANT} --no-validate`);
      await aws.do(`moat mfa aws ${CODE}`);
      await aws.startProxy();
      const [entry] = await eventually("log", () => {
        const found = aws.logged("credential-expires-soon");
        return found.length > 0 ? found : undefined;
      });
      assert.deepEqual([entry?.["what"], entry?.["hint"]], [
        "mfa-session",
        "moat mfa aws CODE",
      ]);
      const { stderr } = await aws.type("moat run --grant aws -- sleep 0.1");
      assert.match(
        stderr,
        isTold
          ? /^warning: The mfa-session of grant "aws" ends at \S+; moat mfa aws CODE\n$/
          : /^$/,
      );
    },
    { flags: `--mfa-code ${CODE} --session-life ${seconds}` },
  );
}

awsTest("MFA: a session that has ended is told of", async (aws) => {
  await aws.do(`${GRANT} --no-validate`);
  await aws.do(`moat mfa aws ${CODE}`);
  await eventually("its end", async () => {
    const { stderr } = await aws.type("moat credential-process aws");
    return /: its MFA session has ended\nhint: moat mfa aws CODE\n/.test(
      stderr,
    );
  });
}, { flags: `--mfa-code ${CODE} --session-life 1` });

/** Types the code when it is asked for, on a terminal of its own. */
const AT_TERMINAL = (line: string) =>
  `(for i in $(seq 250); do grep -q 'MFA code' asked && break; sleep 0.02; done; echo ${CODE}) | script -qefc '${line}' asked >/dev/null; cat asked`;

terminalTest("moat grant aws asks for a code at the terminal", async (aws) => {
  const line = GRANT.replace("$ROLE", aws.terminal.exported["ROLE"] ?? "");
  await aws.workspace.write("asked", "");
  const shown = await aws.do(AT_TERMINAL(line));
  assert.match(shown, /MFA code of arn:aws:iam::123456789012:mfa\/ana: /);
  assert.match(shown, /granted aws/);
  assert.ok(!shown.includes(CODE), shown);
});

terminalTest("moat mfa asks for a code at the terminal", async (aws) => {
  await aws.do(`${GRANT} --no-validate`);
  await aws.workspace.write("asked", "");
  const shown = await aws.do(AT_TERMINAL("moat mfa aws"));
  assert.match(shown, /opened an MFA session for aws/);
  assert.ok(!shown.includes(CODE), shown);
});
