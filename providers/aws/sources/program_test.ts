import assert from "node:assert/strict";
import { CREDENTIAL_HELPER } from "../helper.ts";
import { sourceCredentials } from "../source.ts";
import { assertNoCanary, CANARY } from "../../../tests/support/canary.ts";
import { testUnless } from "../../../tests/support/conditional.ts";
import { eventually } from "../../../tests/support/eventually.ts";
import { FakeClock } from "../../../tests/support/fake_clock.ts";
import {
  printed,
  SourceBed,
  sourcePlatform,
} from "../../../tests/support/source_bed.ts";
import { processCredentials } from "./program.ts";

async function ask(command: string, env: Record<string, string> = {}) {
  await using bed = await SourceBed.open();
  const { at, source, mfaCommand } = bed.hop();
  return await processCredentials(
    "tool",
    command,
    {
      ...{ at, source, mfaCommand },
      platform: sourcePlatform(env),
      signal: new AbortController().signal,
    } as Parameters<typeof processCredentials>[2],
  );
}

const FAULTS: Readonly<Record<string, [command: string, fault: RegExp]>> = {
  "nothing": ["true", /returned invalid JSON/],
  "no JSON": [`echo ${CANARY}`, /returned invalid JSON/],
  "null": ["echo null", /returned invalid JSON/],
  "a list": ["echo '[1]'", /another version than 1/],
  "another version": [
    `echo '${printed({ Version: 2 })}'`,
    /another version than 1/,
  ],
  "a version in quotes": [
    `echo '${printed({ Version: "1" })}'`,
    /another version than 1/,
  ],
  "no key": [
    `echo '${printed({ SecretAccessKey: undefined })}'`,
    /returned invalid credentials/,
  ],
  "a number for a key": [
    `echo '${printed({ AccessKeyId: 1 })}'`,
    /returned invalid credentials/,
  ],
  "what has expired": [
    `echo '${printed({ Expiration: "2020-01-01T00:00:00Z" })}'`,
    /returned expired credentials/,
  ],
  "credentials, and fails": [`echo '${printed()}'; exit 1`, /^Command failed$/],
  "its secret as its fault": [`echo ${CANARY} >&2; exit 1`, /^Command failed$/],
  "without an end": [`yes ${CANARY}`, /^Command failed$/],
  "an error without an end": [`yes ${CANARY} >&2`, /^Command failed$/],
};

for (const [name, [command, message]] of Object.entries(FAULTS)) {
  Deno.test(`processCredentials() refuses a program that prints ${name}`, async () => {
    const error = await ask(command).then(() => assert.fail(), (e) => e);
    assert.match(error.message, message);
    assertNoCanary(String(error), error.stack);
    assert.equal(error.tryNextLink, true);
  });
}

Deno.test("processCredentials() tells the program that moat asks", async () => {
  const { accessKeyId } = await ask(
    `test "$MOAT_SOURCE" = 1 && echo '${printed()}'`,
  );
  assert.equal(accessKeyId, "AKIAPROGRAM");
});

Deno.test("processCredentials() gives the program the environment, and nothing else", async () => {
  const { accessKeyId } = await ask(
    `test -z "$AWS_PROFILE" && test "$MINE" = yes && echo '${printed()}'`,
    { MINE: "yes" },
  );
  assert.equal(accessKeyId, "AKIAPROGRAM");
});

Deno.test("processCredentials() takes an end that is no date for none", async () => {
  const { expiration } = await ask(
    `echo '${printed({ SessionToken: "x", Expiration: "soon" })}'`,
  );
  assert.equal(expiration, undefined);
});

Deno.test("processCredentials() knows our own helper by its refusal", async () => {
  await using bed = await SourceBed.open();
  const helper = await bed.workspace.write("h", CREDENTIAL_HELPER, 0o755);
  await assert.rejects(ask(`cat /dev/null; ${helper}`), {
    message: "Command failed: moat would be its own source",
    tryNextLink: false,
  });
});

testUnless(
  Deno.stdin.isTerminal()
    ? "at a terminal, programs share our process group"
    : undefined,
  "sourceCredentials() kills a program, and all that it started, after 12 s",
  async () => {
    await using bed = await SourceBed.open();
    const pids = bed.workspace.path("pids");
    await bed.config(
      `[default]\ncredential_process = sleep 60 & echo $$ $! >${pids}; sleep 60`,
    );
    const clock = new FakeClock();
    const platform = { ...sourcePlatform(), clock };
    const call = sourceCredentials(bed.hop(), platform)
      .catch((error) => error.code);
    const started = await eventually(
      "two processes",
      async () => /^(\d+) (\d+)\n/.exec(await Deno.readTextFile(pids)),
    );
    await clock.advance(11_999);
    assert.equal(await isAlive(started[2]), true);
    await clock.advance(1);
    assert.equal(await call, "source-timeout");
    await eventually(
      "the end of both",
      async () => !await isAlive(started[1]) && !await isAlive(started[2]),
    );
  },
);

/** A process that was killed and not yet waited for does not live. */
async function isAlive(pid = ""): Promise<boolean> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`).catch(() => "");
  return stat !== "" && !/\) Z /.test(stat);
}
