/** The command line of the built executable: what it prints, and where. */

import assert from "node:assert/strict";
import type { Command } from "$core/cli/command.ts";
import { CORE_COMMANDS } from "$core/cli/commands/mod.ts";
import type { Flag } from "$core/provider.ts";
import { createRegistry } from "$core/provider.ts";
import { PROVIDERS } from "$providers/mod.ts";
import { PROVIDER_COMMANDS } from "$providers/commands.ts";
import { PROXY_COMMANDS } from "$proxy/commands/mod.ts";
import { describeCommit } from "../scripts/build.ts";
import { ROOT } from "../scripts/process.ts";
import { testUnless } from "./support/conditional.ts";
import { fakePlatform } from "./support/fake_platform.ts";
import { assertTranscript } from "./support/golden.ts";
import { moatReason, runMoat } from "./support/moat.ts";
import { isThere } from "./support/run.ts";
import { assertRefused, type Refusal, Terminal } from "./support/terminal.ts";

const COMMANDS: readonly Command[] = [
  ...CORE_COMMANDS,
  ...PROXY_COMMANDS,
  ...PROVIDER_COMMANDS,
];

const test = (name: string, fn: (terminal: Terminal) => Promise<void>) =>
  testUnless(moatReason(), `moat: ${name}`, async () => {
    await using terminal = await Terminal.open();
    await fn(terminal);
  });

/** Transcripts of a fresh home; the files hold what is wanted. */
const TRANSCRIPTS: Readonly<Record<string, readonly string[]>> = {
  "help": ["moat", "moat help", "moat --help", "moat -h"],
  "version": ["moat --version", "moat -V", "moat version"],
  "unknown-command": ["moat grnt list", "moat lst", "moat help lst"],
  "unknown-flag": [
    "moat grant aws --rol $ROLE",
    "moat grant list --jsn",
    "moat grant aws --frobnicate",
    "moat grant aws -x",
  ],
  "unknown-provider": [
    "moat grant githb",
    "moat grant githb --role $ROLE",
    "moat whoami githb",
    "moat simulate githb",
  ],
  "operands": [
    "moat grant",
    "moat grant show",
    "moat revoke",
    "moat revoke aws aws:prod",
    "moat grant list aws",
    "moat grant aws $ROLE",
  ],
  "flag-values": [
    "moat grant aws --role",
    "moat grant aws --role ''",
    "moat grant aws --role --json",
    "moat grant aws --no-validate=yes",
    "moat grant aws --role $ROLE --role $ROLE",
  ],
  "json-errors": [
    "moat grant --json",
    "moat grant githb --json",
    "moat grant show aws --json",
    "moat revoke aws --json",
  ],
  "nothing-granted": [
    "moat grant list",
    "moat grant list --json",
    "moat grant providers",
    "moat grant providers --json",
    "moat grant show aws",
    "moat revoke aws",
    "moat audit",
    "moat audit --verify",
  ],
  "life-of-a-grant": [
    "moat grant aws --role $ROLE --no-validate",
    "moat grant aws --name prod --role $ROLE --region eu-central-1 --session-duration 1h --external-id ticket-7 --session-name ana --no-validate",
    "moat grant list",
    "moat grant list --json",
    "moat grant show aws:prod",
    "moat grant show aws:prod --json",
    "moat audit",
    "moat audit --json",
    "moat audit --verify",
    "moat audit --verify --json",
    "moat revoke aws",
    "moat revoke aws:prod --json",
    "moat revoke aws",
    "moat grant list",
  ],
  "granted-as-json": ["moat grant aws --role $ROLE --no-validate --json"],
};

for (const [name, lines] of Object.entries(TRANSCRIPTS)) {
  test(
    `${name} is as in testdata/cli/${name}.out`,
    (terminal) => assertTranscript(name, terminal, lines),
  );
}

/** A command's flags with those that providers declare for it. */
function flagsOf(command: Command): Flag[] {
  const { providerFlags } = command;
  const { all } = createRegistry(PROVIDERS.map((make) => make(fakePlatform())));
  const more = all.flatMap((provider) => {
    const { foreignBindings, bindingFlags = [] } = provider;
    switch (providerFlags) {
      case undefined:
        return [];
      case "serveFlags":
        return foreignBindings?.serveFlags ?? [];
      case "bindFlags":
        return [...bindingFlags, ...foreignBindings?.bindFlags ?? []];
      default:
        return provider[providerFlags] ?? [];
    }
  });
  return [...command.flags, ...more];
}

for (const command of COMMANDS) {
  const { name } = command;
  const file = `help-${name.replaceAll(" ", "-")}`;
  test(
    `${name} --help is as in testdata/cli/${file}.out`,
    (terminal) => assertTranscript(file, terminal, [`moat ${name} --help`]),
  );

  test(`${name} --help names all its flags`, async (terminal) => {
    const help = await terminal.do(`moat ${name} --help`);
    for (const { name, value = "", valueIfBare } of flagsOf(command)) {
      const shown = valueIfBare === undefined ? value : `[${value}]`;
      const words = `--${name} ${shown}`.trimEnd() + "  ";
      const lines = help.split("\n").filter((line) => line.startsWith(" "));
      assert(lines.some((line) => line.includes(words)), words);
    }
  });
}

test("help COMMAND, COMMAND -h and COMMAND --help say the same", async (terminal) => {
  const forms = ["help grant list", "grant list -h", "grant list --help"];
  const texts = await Promise.all(
    forms.map((form) => terminal.do(`moat ${form}`)),
  );
  assert.equal(new Set(texts).size, 1);
});

testUnless(
  moatReason() ?? (isThere(`${ROOT}/.git`) ? undefined : "no git checkout"),
  "moat --version names the commit that it was built from",
  async () => {
    const commit = (await describeCommit(ROOT)).replace("-dirty", "");
    const { stdout } = await runMoat(["--version"]);
    const [, found] = /^moat \d+\.\d+\.\d+ \(([0-9a-f]+)/.exec(stdout) ?? [];
    assert.equal(found, commit);
  },
);

test("data goes to stdout, all else to stderr", async (terminal) => {
  const line = "moat grant aws --role $ROLE --no-validate";
  assert.equal(
    await terminal.do(`${line} 2>&1 >data`),
    [
      "note: for long-lived SDK clients --session-duration 1h is better:",
      "botocore asks for new credentials on every call once less than 15m are left\n",
    ].join(" "),
  );
});

test("nothing is coloured when stderr is no terminal", async (terminal) => {
  const { stderr } = await terminal.type("moat grnt", { TERM: "xterm" });
  assert.ok(!stderr.includes("\x1b"));
});

/** More than a pipe holds. */
const MANY_EVENTS = 400;

test("audit | head -1 prints one line and does not fail", async (terminal) => {
  await terminal.do("moat grant aws --role $ROLE --no-validate");
  const log = terminal.workspace.path("moat", "audit.jsonl");
  const line = await Deno.readTextFile(log);
  await Deno.writeTextFile(log, line.repeat(MANY_EVENTS));
  const { stdout, stderr } = await terminal.type(
    '(moat audit --json; echo "exit $?" >&2) | head -1',
  );
  assert.equal(stderr, "exit 0\n");
  assert.deepEqual(JSON.parse(stdout), JSON.parse(line));
});

test("a reader that is gone before the first line is no failure", async (terminal) => {
  const { stderr } = await terminal.type(
    '(sleep 0.1; moat --help; echo "exit $?" >&2) | true',
  );
  assert.equal(stderr, "exit 0\n");
});

test("a full disk behind stdout is an error", async (terminal) => {
  assertRefused(await terminal.type("moat grant list --help >/dev/full"), {
    error: /^Cannot write to stdout: the disk is full$/,
    hint: /stdout/,
  });
});

test("a full disk behind stderr leaves the exit status as it is", async (terminal) => {
  assert.equal((await terminal.type("moat grnt 2>/dev/full")).code, 2);
});

/** Homes that cannot be used. */
const HOMES: Readonly<Record<string, Refusal & { readonly line: string }>> = {
  "a relative MOAT_HOME": {
    line: "MOAT_HOME=state moat grant list",
    error: /MOAT_HOME="state": wanted an absolute path/,
    hint: /export MOAT_HOME=/,
  },
  "a relative HOME": {
    line: "unset MOAT_HOME; HOME=ana moat grant list",
    error: /HOME="ana": wanted an absolute path/,
    hint: /export HOME=/,
  },
  "neither MOAT_HOME nor HOME": {
    line: "unset MOAT_HOME HOME; moat grant list",
    error: /neither MOAT_HOME nor HOME is set/,
    hint: /export MOAT_HOME=/,
  },
  "a MOAT_HOME that others may enter": {
    line: "mkdir -m 755 moat; moat grant aws --role $ROLE --no-validate",
    error: /moat": mode is 0755, must be 0700$/,
    hint: /^chmod 700 /,
  },
  "a MOAT_HOME that is a file": {
    line: "touch moat; moat grant aws --role $ROLE --no-validate",
    error: /^Cannot /,
    hint: /./,
  },
};

for (const [name, { line, ...refusal }] of Object.entries(HOMES)) {
  test(`${name} is refused`, async (terminal) => {
    assertRefused(await terminal.type(line), refusal);
  });
}

test("without MOAT_HOME state goes to the XDG directories", async (terminal) => {
  const line = "unset MOAT_HOME; moat grant aws --role $ROLE --no-validate";
  await terminal.do(line, { XDG_STATE_HOME: terminal.workspace.path("s") });
  const files = [".local/share/moat/grants/aws.grant", "s/moat/audit.jsonl"];
  assert.deepEqual(
    files.map((file) => isThere(terminal.workspace.path(file))),
    [
      true,
      true,
    ],
  );
});

test("--help works without a home", async (terminal) => {
  await terminal.do("unset MOAT_HOME HOME; moat --help && moat --version");
});

/** Grants twice, changes the log, and verifies. */
async function verifyAfter(terminal: Terminal, change: string) {
  await terminal.do("moat grant aws --role $ROLE --no-validate");
  await terminal.do("moat revoke aws");
  await terminal.do("moat grant aws --role $ROLE --no-validate");
  await terminal.do(change);
  return await terminal.type("moat audit --verify");
}

/** Changes of a log of three lines, and the first line at fault. */
const TAMPERINGS: Readonly<Record<string, [change: string, line: number]>> = {
  "an edited line": ["sed -i '2s/revoked/granted/' moat/audit.jsonl", 2],
  "an edited time": ["sed -i '1s/T/T0/' moat/audit.jsonl", 1],
  "a removed line": ["sed -i 2d moat/audit.jsonl", 2],
  "a repeated line": ["sed -i 2p moat/audit.jsonl", 3],
  "lines in another order": ["sed -i '1{h;d};2G' moat/audit.jsonl", 1],
  "a foreign line": ["echo '{}' >>moat/audit.jsonl", 4],
};

for (const [name, [change, line]] of Object.entries(TAMPERINGS)) {
  test(`audit --verify finds ${name}`, async (terminal) => {
    assertRefused(await verifyAfter(terminal, change), {
      error: new RegExp(`broken at line ${line}:`),
      hint: /keep a copy/,
    });
  });
}

test("audit --verify passes a log that nobody touched", async (terminal) => {
  const { stdout } = await verifyAfter(terminal, "true");
  assert.equal(stdout, "intact: 3 events\n");
});

test("audit --verify --json tells the line on stdout, too", async (terminal) => {
  await verifyAfter(terminal, "sed -i 2d moat/audit.jsonl");
  const { code, stdout } = await terminal.type("moat audit --verify --json");
  assert.deepEqual([code, JSON.parse(stdout).brokenAt], [1, 2]);
});
