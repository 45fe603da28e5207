/**
 * The main job of the intercepting proxy, from end to end: a container whose
 * only way out is moat works with a private repository on github.com, a model
 * of api.anthropic.com, a private npm registry and its AWS role, all at once
 * and with no secret inside.
 */

import assert from "node:assert/strict";
import { SIMULATOR_SECRET_ACCESS_KEY } from "$providers/aws/simulator/flags.ts";
import { assertNoCanary } from "./support/canary.ts";
import { testUnless } from "./support/conditional.ts";
import {
  type Bed,
  bedReason,
  type Engine,
  openBed,
} from "./support/containers.ts";
import { GIT_ENV } from "./support/git_server.ts";
import { moatReason } from "./support/moat.ts";
import { AWS_CLI, motoReason } from "./support/moto.ts";
import { WORDS } from "./support/packages.ts";
import { run, SYSTEM_PATH, which } from "./support/run.ts";
import { MODEL_WORDS } from "./support/streams.ts";
import { VendorBed } from "./support/vendor_bed.ts";
import { assertInjectedOnce } from "./support/vendor_credentials.ts";
import { vendorNetReason } from "./support/vendor_net.ts";

const GRANTS = ["github", "anthropic", "npm", "aws"];

/** Each prints one line. */
const GIT = `
git clone -q https://github.com/acme/private.git work
echo changed >>work/README.md
git -C work commit -q -a -m 'By a container'
git -C work push -q origin HEAD:main
git clone -q git@github.com:acme/private.git again
tail -n 1 again/README.md
curl -sS https://api.github.com/user; echo`;

/** Asks for more words once it has those before. */
const MODEL = `
curl -sSN https://api.anthropic.com/v1/messages -H "x-api-key: $ANTHROPIC_API_KEY" \\
  -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' \\
  -d '{"model":"test","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hello"}]}' |
while read -r line; do
  case $line in *text_delta*)
    line=\${line##*\\"text\\":\\"}; printf %s "\${line%%\\"*}"
    curl -sS https://api.anthropic.com/next >/dev/null ;;
  esac
done; echo`;

const NPM = `
echo {} >package.json
npm install --no-fund --no-audit --no-update-notifier @acme/widget >npm.log 2>&1 || { cat npm.log; exit 1; }
node -p 'require("@acme/widget")'`;

const AWS = `'${AWS_CLI}' sts get-caller-identity --query Arn --output text`;

const JOB = `cd "$HOME"${GIT}${MODEL}${NPM}
${AWS}`;

const PRINTED = new RegExp(
  [
    "^changed",
    '{"login":"acme"}',
    MODEL_WORDS.join(""),
    WORDS,
    "arn:aws:sts::123456789012:assumed-role/Deploy/\\S+",
    "",
  ].join("\n"),
);

/** What a thief in the container would look at. */
const LOOT = `
echo ==loot==
cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline
ls -l /proc/[0-9]*/fd 2>/dev/null || true
tar -cf - --exclude=./usr --exclude=./proc --exclude=./sys --exclude=./dev \\
  --exclude=./etc/ssl --exclude='.${
  AWS_CLI.replace(/\/bin\/aws$/, "")
}' -C / .`;

/** Names of interfaces. */
const NETWORK = `
sed -n 's/^ *\\([^ ]*\\):.*/\\1/p' /proc/net/dev | tr '\\n' ' '; echo`;

/** Fails if a text has a secret of any grant in it. */
function assertNoSecret(...texts: readonly string[]): void {
  assertNoCanary(...texts);
  const found = texts.findIndex((text) =>
    text.includes(SIMULATOR_SECRET_ACCESS_KEY)
  );
  assert.equal(found, -1, `text ${found} holds the key of AWS`);
}

/** A vendor bed with all grants. */
async function openGranted(bed: Bed): Promise<VendorBed> {
  const vendors = await VendorBed.open({ network: bed.prefix, hasAws: true });
  await vendors.grant("github");
  await vendors.grant("anthropic");
  await vendors.grantNpm();
  return vendors;
}

/** `moat run` with all grants. */
async function moatRun(
  vendors: VendorBed,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const grants = GRANTS.flatMap((grant) => ["--grant", grant]);
  const { code, stdout, stderr } = await vendors.moat(
    ["run", ...grants, ...vendors.flags, "--", ...command],
    env,
  );
  assert.equal(code, 0, `${stdout.split("==loot==")[0]}\n${stderr}`);
  assertNoSecret(stdout, stderr);
  return stdout;
}

/** Runs the job in a container, which is kept; gives what it printed. */
async function runContainer(
  vendors: VendorBed,
  bed: Bed,
  name: string,
  options: readonly string[],
): Promise<string> {
  const env = Object.entries(GIT_ENV).flatMap(([name, value]) => [
    "--env",
    `${name}=${value}`,
  ]);
  return await moatRun(vendors, [
    ...[bed.engine, "run", "--name", name, ...options, ...env],
    ...[...bed.mounts, bed.image, "sh", "-euc", `${JOB}${NETWORK}${LOOT}`],
  ]);
}

/** What the engine knows of a container, and what is in it. */
async function looted(bed: Bed, name: string): Promise<string[]> {
  const commands = [["inspect", name], ["logs", name], ["export", name]];
  return await Promise.all(commands.map(async (words) => {
    const { code, stdout, stderr } = await run([bed.engine, ...words]);
    assert.equal(code, 0, stderr);
    return stdout + stderr;
  }));
}

/** Hosts that the job asks. */
const ASKED = [
  "api.anthropic.com",
  "api.github.com",
  "github.com",
  "npm.acme.test",
  "sts.us-east-1.amazonaws.com",
];

function assertAsked(vendors: VendorBed, since: number): void {
  const requests = vendors.requests(since);
  assertInjectedOnce(requests);
  const hosts = new Set(requests.map(({ host }) => host));
  assert.deepEqual([...hosts].sort(), ASKED);
}

function missing(): string | undefined {
  const programs = ["git", "npm", "node", "curl", "tar"];
  const found = programs.filter((program) => !which(program));
  return found.length > 0 ? `not installed: ${found.join(", ")}` : undefined;
}

const NETWORKS: Readonly<
  Record<string, { options: readonly string[]; interfaces: RegExp }>
> = {
  "no network but a relay": {
    options: ["--network", "none"],
    interfaces: /^lo $/,
  },
  "a bridge": { options: [], interfaces: /^lo eth0 $/ },
};

for (const engine of ["podman", "docker"] satisfies Engine[]) {
  const reason = moatReason() ?? motoReason() ?? vendorNetReason() ??
    bedReason(engine) ?? missing();

  testUnless(
    reason,
    `containers of ${engine} do their work with no secret inside`,
    async (t) => {
      await using bed = await openBed(engine);
      await using vendors = await openGranted(bed);
      let count = 0;
      for (const [name, network] of Object.entries(NETWORKS)) {
        const container = `job-${count++}`;
        const before = vendors.requests().length;
        await t.step(`with ${name}`, async () => {
          const { options } = network;
          const stdout = await runContainer(vendors, bed, container, options);
          const [printed = "", loot = ""] = stdout.split("==loot==\n");
          assert.match(printed, PRINTED);
          assert.match(printed.split("\n").at(-2) ?? "", network.interfaces);
          assert.ok(loot.includes("HTTPS_PROXY="), "no environment");
          assert.ok(loot.includes("/ca.pem"), "no files");
        });
        await t.step(`with ${name}, asks with credentials`, () => {
          assertAsked(vendors, before);
        });
        await t.step(`with ${name}, holds nothing afterwards`, async () => {
          assertNoSecret(...await looted(bed, container));
        });
      }
      if (engine !== "podman") return;
      await t.step("a command does the same work", async () => {
        const before = vendors.requests().length;
        const home = vendors.workspace.path("home");
        await Deno.mkdir(home);
        const stdout = await moatRun(
          vendors,
          ["sh", "-euc", `${JOB}\ncat /proc/self/environ >environment`],
          { ...GIT_ENV, HOME: home, PATH: SYSTEM_PATH },
        );
        assert.match(stdout, PRINTED);
        assertAsked(vendors, before);
      });
    },
  );
}
