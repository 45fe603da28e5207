/** `moat ca rotate` while the built `moat proxy` serves clients. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { noOpenssl } from "./support/anywhere_pki.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import {
  ask,
  closeQuietly,
  descriptorsBack,
  type FaultBed,
  openFaultBed,
  request,
} from "./support/fault_bed.ts";
import { writeText } from "./support/intercept_bed.ts";
import { moatReason, runMoat } from "./support/moat.ts";

const reason = moatReason() ?? noOpenssl;

function test(name: string, use: (bed: FaultBed) => Promise<void>): void {
  testUnless(reason, name, async () => {
    await using bed = await openFaultBed();
    bed.upstream.script(async (conn) => {
      for (;;) {
        const before = bed.upstream.received.length;
        await bed.upstream.receive(conn);
        if (bed.upstream.received.length === before) return;
        await writeText(
          conn,
          "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell",
        );
      }
    });
    await use(bed);
  });
}

async function moat(bed: FaultBed, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runMoat(args, {
    workspace: bed.workspace,
  });
  assert.equal(code, 0, stderr);
  return stdout;
}

/** A connection to the upstream of a client that trusts one root. */
async function connect(bed: FaultBed, root: string): Promise<Deno.TlsConn> {
  const conn = await bed.connect(bed.upstream.authority);
  const tls = await Deno.startTls(conn, {
    hostname: "localhost",
    caCerts: [root],
    alpnProtocols: ["http/1.1"],
  });
  try {
    await tls.handshake();
    return tls;
  } catch (error) {
    closeQuietly(tls);
    throw error;
  }
}

/** Rotates, and waits until new connections are signed by the new root; gives that. */
async function rotate(bed: FaultBed): Promise<string> {
  await moat(bed, "ca", "rotate");
  const root = await moat(bed, "ca", "export");
  const conn = await eventually(
    "a leaf of the new root",
    () => connect(bed, root),
    1_000,
  );
  closeQuietly(conn);
  return root;
}

async function serves(bed: FaultBed, conn: Deno.TlsConn): Promise<string> {
  return (await ask(conn, request(bed.upstream.authority))).body;
}

test("moat ca rotate counts for new connections to a running proxy within a second", async (bed) => {
  closeQuietly(await connect(bed, bed.rootPem));
  using conn = await connect(bed, await rotate(bed));
  assert.equal(await serves(bed, conn), "well");
});

test("moat ca rotate leaves no leaf of the old root to new connections", async (bed) => {
  closeQuietly(await connect(bed, bed.rootPem));
  await rotate(bed);
  for (let i = 0; i < 3; i++) {
    await assert.rejects(
      connect(bed, bed.rootPem),
      /UnknownIssuer|BadSignature/,
    );
  }
});

test("moat ca rotate does not disturb connections that are open", async (bed) => {
  using conn = await connect(bed, bed.rootPem);
  const before = await serves(bed, conn);
  await rotate(bed);
  assert.deepEqual([before, await serves(bed, conn)], ["well", "well"]);
});

test("moat ca rotate closes the listeners of old leaves", async (bed) => {
  closeQuietly(await connect(bed, bed.rootPem));
  for (let i = 0; i < 3; i++) await rotate(bed);
  bed.upstream.hangUp();
  await descriptorsBack(bed);
});

test("moat ca rotate replaces the bundle of a binding that is made anew", async (bed) => {
  await moat(bed, "ca", "rotate");
  const { authority } = bed.upstream;
  await moat(
    bed,
    ..."bind client --grant testapi --allow-private".split(" "),
    authority,
  );
  const env = JSON.parse(
    await moat(bed, ..."env client --format json".split(" ")),
  );
  const path = (env.environment ?? env)["SSL_CERT_FILE"];
  const bundle = await Deno.readTextFile(path);
  const root = await moat(bed, "ca", "export");
  assert.deepEqual(
    [bundle.includes(root.trim()), bundle.includes(bed.rootPem.trim())],
    [true, false],
  );
});

test("the root's key is nowhere but in its own file", async (bed) => {
  closeQuietly(await connect(bed, bed.rootPem));
  const keys = [await keyOf(bed)];
  const printed = [await moat(bed, "ca", "rotate")];
  await rotate(bed);
  keys.push(await keyOf(bed));
  for (const what of ["show", "path", "export"]) {
    printed.push(await moat(bed, "ca", what));
  }
  for (const format of ["der", "bundle", "jks"]) {
    const file = bed.workspace.path(`out.${format}`);
    await moat(bed, "ca", "export", "--format", format, "--output", file);
  }
  printed.push(bed.proxy.stdout(), bed.proxy.stderr());
  const files = await contents(bed.workspace.directory);
  const own = bed.workspace.path("moat/ca/root.key");
  for (const [index, forms] of keys.entries()) {
    for (const form of forms) {
      const holders = [...files].filter(([, text]) => text.includes(form))
        .map(([path]) => path);
      assert.deepEqual(holders.filter((path) => path !== own), [], `${index}`);
      assert.ok(!printed.some((text) => text.includes(form)));
    }
  }
  assert.equal((await Deno.stat(own)).mode! & 0o777, 0o600);
});

test("moat ca rotate leaves the old key nowhere", async (bed) => {
  const [old] = await keyOf(bed);
  await moat(bed, "ca", "rotate");
  const files = await contents(bed.workspace.directory);
  assert.deepEqual(
    [...files].filter(([, text]) => text.includes(old ?? "")),
    [],
  );
});

/** Parts of the key as it is kept, and as it would be in other files. */
async function keyOf(bed: FaultBed): Promise<string[]> {
  const text = await Deno.readTextFile(bed.workspace.path("moat/ca/root.key"));
  const body = text.replace(/-----[^-]+-----|\s/g, "");
  const der = Buffer.from(body, "base64");
  // PKCS#8 of a P-256 key: the secret number follows its length (RFC 5915).
  const at = der.indexOf(Buffer.from([4, 32])) + 2;
  const secret = der.subarray(at, at + 32);
  assert.equal(secret.length, 32);
  return [
    text.split("\n")[1] ?? "",
    secret.toString("latin1"),
    secret.toString("hex"),
    secret.toString("base64").slice(0, 40),
  ];
}

/** All files below a directory, byte by byte. */
async function contents(directory: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const { name, isFile, isDirectory } of Deno.readDir(directory)) {
    const path = `${directory}/${name}`;
    if (isDirectory) (await contents(path)).forEach((v, k) => found.set(k, v));
    if (!isFile) continue;
    found.set(path, Buffer.from(await Deno.readFile(path)).toString("latin1"));
  }
  return found;
}
