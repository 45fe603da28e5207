import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { readAudit } from "$core/audit.ts";
import { runProgram } from "$core/cli/app.ts";
import { systemClock } from "$core/clock.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import { memoryStreams } from "../../tests/support/memory_streams.ts";
import {
  modeOf,
  namesIn,
  type TempHome,
  tempHome,
} from "../../tests/support/temp_home.ts";
import { RootStore } from "../intercept/root.ts";
import { bundle, javaTrustStore } from "../intercept/trust.ts";
import { CA_COMMANDS } from "./ca_rows.ts";

/** Runs `moat ca`, with the host's roots in the home's file `system.pem`. */
async function ca(home: TempHome, ...args: string[]) {
  const streams = memoryStreams();
  const code = await runProgram({
    commands: CA_COMMANDS,
    examples: [],
    version: "",
    env: {
      MOAT_HOME: home.directory,
      MOAT_KEYRING: "file",
      SSL_CERT_FILE: join(home.directory, "system.pem"),
    },
    setVariable() {},
    streams,
    loadProviders: () => Promise.resolve([]),
  }, ["ca", ...args]);
  return { code, out: streams.out, err: streams.err };
}

function rootOf(home: TempHome) {
  return new RootStore(home.paths, systemClock).loadOrCreate();
}

/** Makes another home's root the only one that the host trusts. */
async function makeSystemRoots(home: TempHome): Promise<string> {
  await using other = await tempHome();
  const { certificate } = await rootOf(other);
  await Deno.writeTextFile(join(home.directory, "system.pem"), certificate);
  return certificate;
}

Deno.test("moat ca show tells of the root", async () => {
  await using home = await tempHome();
  const root = await rootOf(home);
  const at = (ms: number) => new Date(ms).toISOString().replace(".000Z", "Z");
  assert.deepEqual(await ca(home, "show"), {
    code: 0,
    out: [
      `  subject      ${root.subject}\n`,
      `  SHA-256      ${root.fingerprint}\n`,
      `  valid from   ${at(root.notBefore)}\n`,
      `  valid until  ${at(root.expiresAt)}\n`,
      `  path         ${join(home.paths.ca, "root.pem")}\n`,
    ].join(""),
    err: "",
  });
});

Deno.test("moat ca show --json has the same fields", async () => {
  await using home = await tempHome();
  const { out } = await ca(home, "show", "--json");
  const { subject, fingerprint, notBefore, expiresAt } = await rootOf(home);
  const { notBefore: from, expiresAt: to, ...others } = JSON.parse(out);
  assert.deepEqual([others, Date.parse(from), Date.parse(to)], [
    { subject, fingerprint, path: join(home.paths.ca, "root.pem") },
    notBefore,
    expiresAt,
  ]);
});

Deno.test("moat ca show warns of a root that ends soon", async () => {
  await using home = await tempHome();
  const past = new FakeClock(Date.now() - 3640 * 24 * 60 * 60_000);
  await new RootStore(home.paths, past).loadOrCreate();
  const { err } = await ca(home, "show");
  assert.match(err, /^warning: moat's root certificate ends .*moat ca rotate/);
});

Deno.test("moat ca path prints where the root is, which is there", async () => {
  await using home = await tempHome();
  const { out } = await ca(home, "path");
  const text = await Deno.readTextFile(out.trimEnd());
  assert.equal(text, (await rootOf(home)).certificate);
});

Deno.test("moat ca export prints the root", async () => {
  await using home = await tempHome();
  const { certificate } = await rootOf(home);
  assert.deepEqual(
    await ca(home, "export"),
    { code: 0, out: certificate, err: "" },
  );
});

Deno.test("moat ca export --format bundle prints the host's roots and ours", async () => {
  await using home = await tempHome();
  const system = await makeSystemRoots(home);
  const { certificate } = await rootOf(home);
  const { out } = await ca(home, "export", "--format", "bundle");
  assert.equal(out, system + certificate);
});

/** Exports to a file. */
async function exported(home: TempHome, format: string): Promise<Buffer> {
  const file = join(home.directory, "exported");
  const { code, err } = await ca(
    home,
    ...["export", "--format", format, "--output", file],
  );
  assert.equal(code, 0, err);
  return Buffer.from(await Deno.readFile(file));
}

Deno.test("moat ca export --format der writes the root", async () => {
  await using home = await tempHome();
  const der = await exported(home, "der");
  const { certificate } = await rootOf(home);
  assert.deepEqual(der, Buffer.from(new X509Certificate(certificate).raw));
});

Deno.test("moat ca export --format jks writes the host's roots and ours", async () => {
  await using home = await tempHome();
  const system = await makeSystemRoots(home);
  const jks = await exported(home, "jks");
  const all = bundle(
    { certificates: [system] },
    (await rootOf(home)).certificate,
  );
  assert.deepEqual(jks, Buffer.from(javaTrustStore(all)));
});

Deno.test("moat ca export --format jks tells the password", async () => {
  await using home = await tempHome();
  await makeSystemRoots(home);
  const file = join(home.directory, "ca.jks");
  const { out, err } = await ca(
    home,
    ...["export", "--format", "jks", "--output", file],
  );
  assert.deepEqual([out, err], [
    "",
    `wrote ${file}; its password is changeit\n`,
  ]);
});

Deno.test("moat ca export writes what anybody may read", async () => {
  await using home = await tempHome();
  await exported(home, "pem");
  const umask = Deno.umask();
  assert.equal(
    await modeOf(join(home.directory, "exported")),
    0o644 & ~umask,
  );
});

Deno.test("moat ca export writes through a link", async () => {
  await using home = await tempHome();
  const target = join(home.directory, "target");
  await Deno.symlink(target, join(home.directory, "exported"));
  await exported(home, "pem");
  assert.match(await Deno.readTextFile(target), /^-----BEGIN CERTIFICATE/);
});

const WRONG: [name: string, args: string[], message: RegExp][] = [
  ["an unknown format", ["--format", "p12"], /Cannot use "p12" as format/],
  ["der on stdout", ["--format", "der"], /Cannot print der: it is binary/],
  ["jks on stdout", ["--format", "jks"], /Cannot print jks: it is binary/],
];
for (const [name, args, message] of WRONG) {
  Deno.test(`moat ca export refuses ${name}`, async () => {
    await using home = await tempHome();
    const { code, out, err } = await ca(home, "export", ...args);
    assert.deepEqual([code, out], [2, ""]);
    assert.match(err, message);
  });
}

Deno.test("moat ca export makes no root for a wrong command line", async () => {
  await using home = await tempHome();
  await ca(home, "export", "--format", "p12");
  assert.deepEqual(await namesIn(home.directory), []);
});

Deno.test("moat ca export tells that a file cannot be written", async () => {
  await using home = await tempHome();
  const file = "/proc/nonexistent/ca.pem";
  const { code, err } = await ca(home, "export", "--output", file);
  assert.equal(code, 1);
  assert.match(err, /^error: Cannot write "\/proc\/nonexistent\/ca\.pem"/);
});

Deno.test("moat ca rotate makes a new root and tells both fingerprints", async () => {
  await using home = await tempHome();
  const before = (await rootOf(home)).fingerprint;
  const { out } = await ca(home, "rotate", "--json");
  const after = (await rootOf(home)).fingerprint;
  const path = join(home.paths.ca, "root.pem");
  assert.deepEqual(
    [JSON.parse(out), before === after],
    [{ before, after, path }, false],
  );
});

Deno.test("moat ca rotate tells what breaks", async () => {
  await using home = await tempHome();
  const { code, err } = await ca(home, "rotate");
  assert.equal(code, 0);
  assert.match(err, /^clients that run trust the old root until .* anew/);
});

Deno.test("moat ca rotate is in the audit log", async () => {
  await using home = await tempHome();
  const before = (await rootOf(home)).fingerprint;
  await ca(home, "rotate");
  const events = await Array.fromAsync(readAudit(home.paths));
  const after = (await rootOf(home)).fingerprint;
  assert.deepEqual(
    events.map(({ event, fields }) => [event, fields]),
    [["ca-rotated", { before, after }]],
  );
});

Deno.test("moat ca rotate cures a root that cannot be used", async () => {
  await using home = await tempHome();
  await rootOf(home);
  await Deno.remove(join(home.paths.ca, "root.key"));
  const broken = await ca(home, "show");
  await ca(home, "rotate");
  const cured = await ca(home, "show");
  assert.deepEqual([broken.code, cured.code], [1, 0]);
});

for (const { name, examples } of CA_COMMANDS) {
  Deno.test(`moat ${name} never shows the key`, async () => {
    await using home = await tempHome();
    await makeSystemRoots(home);
    const { out, err } = await ca(home, ...name.split(" ").slice(1));
    const key = await Deno.readTextFile(join(home.paths.ca, "root.key"));
    const lines = key.split("\n").filter((line) => /^[^-]/.test(line));
    const shown = lines.filter((line) => (out + err).includes(line));
    assert.deepEqual([lines.length, shown], [3, []]);
  });

  Deno.test(`moat ${name} has an example that parses`, async () => {
    await using home = await tempHome();
    const [, words] = examples[0]?.match(/moat ca ([a-z -]+)/) ?? [];
    const { code } = await ca(home, ...(words ?? "").trim().split(" "));
    assert.equal(code, 0);
  });
}
