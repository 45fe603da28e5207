import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash, X509Certificate } from "node:crypto";
import { join } from "node:path";
import { testUnless } from "../../tests/support/conditional.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import { run, which } from "../../tests/support/run.ts";
import { tempHome } from "../../tests/support/temp_home.ts";
import { RootStore } from "./root.ts";
import {
  bundle,
  javaTrustStore,
  systemRoots,
  trustEnv,
  trustFiles,
} from "./trust.ts";

const noKeytool = which("keytool") ? undefined : "not installed: keytool";

/** A certificate of its own, PEM, and the home that it is from. */
async function madeRoot() {
  const home = await tempHome();
  const store = new RootStore(home.paths, new FakeClock());
  const { certificate } = await store.loadOrCreate();
  const key = await Deno.readTextFile(join(home.paths.ca, "root.key"));
  await home[Symbol.asyncDispose]();
  return { certificate, key };
}

const [ONE, TWO, OURS] = await Promise.all([
  madeRoot(),
  madeRoot(),
  madeRoot(),
]);

/** A directory with files. */
async function filesWith(contents: Readonly<Record<string, string>>) {
  const home = await tempHome();
  for (const [name, content] of Object.entries(contents)) {
    await Deno.writeTextFile(join(home.directory, name), content);
  }
  return {
    at: (name: string) => join(home.directory, name),
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

// The host's roots

Deno.test("systemRoots() reads the file that SSL_CERT_FILE names", async () => {
  await using files = await filesWith({
    named: ONE.certificate,
    usual: TWO.certificate,
  });
  const env = { SSL_CERT_FILE: files.at("named") };
  assert.deepEqual(await systemRoots(env, [files.at("usual")]), {
    certificates: [ONE.certificate],
    path: files.at("named"),
    note: undefined,
  });
});

Deno.test("systemRoots() reads the first file that has certificates", async () => {
  await using files = await filesWith({
    empty: "",
    first: ONE.certificate,
    second: TWO.certificate,
  });
  const places = ["missing", "empty", "first", "second"].map(files.at);
  assert.equal((await systemRoots({}, places)).path, files.at("first"));
});

Deno.test("systemRoots() takes an empty SSL_CERT_FILE for none", async () => {
  await using files = await filesWith({ usual: ONE.certificate });
  const env = { SSL_CERT_FILE: "" };
  const { path } = await systemRoots(env, [files.at("usual")]);
  assert.equal(path, files.at("usual"));
});

Deno.test("systemRoots() notes that there are none", async () => {
  const { certificates, path, note } = await systemRoots({}, ["/nonexistent"]);
  assert.deepEqual([certificates, path], [[], undefined]);
  assert.match(note ?? "", /no file of system roots/);
});

for (const name of ["missing", "empty"]) {
  Deno.test(`systemRoots() refuses an SSL_CERT_FILE that is ${name}`, async () => {
    await using files = await filesWith({ empty: "CANARY" });
    await assert.rejects(systemRoots({ SSL_CERT_FILE: files.at(name) }), {
      code: "no-roots",
      message: /^Cannot use SSL_CERT_FILE=".*": wanted .*, found none$/,
    });
  });
}

const CONTENTS: [name: string, content: string, wanted: string[]][] = [
  [
    "leaves out keys and comments",
    `# CANARY\n${ONE.key}${ONE.certificate}\nmore\n${TWO.certificate}`,
    [ONE.certificate, TWO.certificate],
  ],
  ["gives each once", ONE.certificate.repeat(3), [ONE.certificate]],
  [
    "reads CRLF",
    ONE.certificate.replaceAll("\n", "\r\n"),
    [ONE.certificate],
  ],
  [
    "reads certificates without line breaks within",
    ONE.certificate.replace(
      /(?<=CERTIFICATE-----\n)[^-]+/,
      (lines) => lines.replaceAll("\n", "") + "\n",
    ),
    [ONE.certificate],
  ],
  [
    "leaves out what is no certificate",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" +
    ONE.certificate,
    [ONE.certificate],
  ],
  [
    "leaves out one that is cut short",
    ONE.certificate.slice(0, 200) + "\n" + TWO.certificate,
    [TWO.certificate],
  ],
];
for (const [name, content, wanted] of CONTENTS) {
  Deno.test(`systemRoots() ${name}`, async () => {
    await using files = await filesWith({ roots: content });
    const { certificates } = await systemRoots({}, [files.at("roots")]);
    assert.deepEqual(certificates, wanted);
  });
}

Deno.test("bundle() puts ours last", () => {
  const system = { certificates: [ONE.certificate, TWO.certificate] };
  assert.deepEqual(
    bundle(system, OURS.certificate),
    [ONE.certificate, TWO.certificate, OURS.certificate],
  );
});

Deno.test("bundle() has ours once, also within a client of moat", () => {
  const system = { certificates: [OURS.certificate, ONE.certificate] };
  assert.deepEqual(
    bundle(system, OURS.certificate),
    [ONE.certificate, OURS.certificate],
  );
});

// Java

Deno.test("javaTrustStore() is the same for the same certificates", () => {
  const [one, two] = [1, 2].map(() => javaTrustStore([ONE.certificate]));
  assert.deepEqual(one, two);
});

Deno.test("javaTrustStore() ends in the digest of password and content", () => {
  const store = Buffer.from(javaTrustStore([ONE.certificate]));
  const digest = createHash("sha1")
    .update("\0c\0h\0a\0n\0g\0e\0i\0t").update("Mighty Aphrodite")
    .update(store.subarray(0, -20)).digest();
  assert.deepEqual(store.subarray(-20), digest);
});

/** Lists a trust store by Java's own tool. */
async function keytool(store: Uint8Array, password: string) {
  await using files = await filesWith({});
  await Deno.writeFile(files.at("ca.jks"), store);
  return await run([
    ...["keytool", "-list", "-v", "-keystore", files.at("ca.jks")],
    ...["-storepass", password],
  ], { env: { LC_ALL: "C" } });
}

testUnless(noKeytool, "javaTrustStore() is what keytool lists", async () => {
  const all = [ONE.certificate, TWO.certificate];
  const { stdout, code } = await keytool(javaTrustStore(all), "changeit");
  const entries = [
    ...stdout.matchAll(
      /Alias name: (.*)\n[^]*?Entry type: (.*)\n[^]*?SHA256: (.*)\n/g,
    ),
  ].map(([, alias, type, hash]) => [alias, type, hash]);
  assert.deepEqual([code, entries], [
    0,
    all.map((certificate, index) => [
      `moat-${index + 1}`,
      "trustedCertEntry",
      new X509Certificate(certificate).fingerprint256,
    ]),
  ]);
});

testUnless(noKeytool, "javaTrustStore() makes keytool say JKS", async () => {
  const { stdout } = await keytool(javaTrustStore([]), "changeit");
  assert.match(stdout, /^Keystore type: JKS\n/m);
});

testUnless(
  noKeytool,
  "javaTrustStore() is not opened with another password",
  async () => {
    const store = javaTrustStore([ONE.certificate]);
    assert.equal((await keytool(store, "another")).code, 1);
  },
);

testUnless(
  noKeytool,
  "javaTrustStore() takes all roots of this host",
  async () => {
    const { certificates } = await systemRoots({});
    const { stdout } = await keytool(javaTrustStore(certificates), "changeit");
    assert.equal(
      stdout.split("trustedCertEntry").length - 1,
      certificates.length,
    );
  },
);

// Files and variables

Deno.test("trustFiles() makes a bundle, ours alone and a Java trust store", () => {
  const system = { certificates: [ONE.certificate] };
  const files = trustFiles(system, OURS.certificate);
  assert.deepEqual(files, [
    {
      path: "ca.pem",
      mode: 0o444,
      content: ONE.certificate + OURS.certificate,
    },
    { path: "ca-root.pem", mode: 0o444, content: OURS.certificate },
    {
      path: "ca.jks",
      mode: 0o444,
      content: javaTrustStore([ONE.certificate, OURS.certificate]),
    },
  ]);
});

Deno.test("trustFiles() has no key, even if one is among the host's roots", async () => {
  await using files = await filesWith({ roots: ONE.key + ONE.certificate });
  const system = await systemRoots({}, [files.at("roots")]);
  const all = Buffer.concat(
    trustFiles(system, OURS.certificate).map(({ content }) =>
      Buffer.from(content as string)
    ),
  );
  const keys = [ONE.key, OURS.key].map((key) => {
    const [, base64 = ""] = key.match(/-\n([^-]+)-/) ?? [];
    return Buffer.from(base64, "base64");
  });
  const found = keys.filter((key) =>
    // Without what any two keys have in common.
    all.includes(key.subarray(36, 68)) || all.includes("PRIVATE")
  );
  assert.deepEqual([keys.length, found], [2, []]);
});

Deno.test("trustEnv() names the files", () => {
  assert.deepEqual(trustEnv("/moat", ["ACME_CA_BUNDLE"]), {
    SSL_CERT_FILE: "/moat/ca.pem",
    REQUESTS_CA_BUNDLE: "/moat/ca.pem",
    CURL_CA_BUNDLE: "/moat/ca.pem",
    GIT_SSL_CAINFO: "/moat/ca.pem",
    CARGO_HTTP_CAINFO: "/moat/ca.pem",
    PIP_CERT: "/moat/ca.pem",
    ACME_CA_BUNDLE: "/moat/ca.pem",
    NODE_EXTRA_CA_CERTS: "/moat/ca-root.pem",
    DENO_CERT: "/moat/ca-root.pem",
    NODE_USE_ENV_PROXY: "1",
    JAVA_TOOL_OPTIONS: "-Djavax.net.ssl.trustStore=/moat/ca.jks " +
      "-Djavax.net.ssl.trustStorePassword=changeit",
  });
});

const QUOTED: [directory: string, wanted: string][] = [
  ["/a b", '"/a b/ca.jks"'],
  ["/a'b", `"/a'b/ca.jks"`],
  ['/a"b', `'/a"b/ca.jks'`],
];
for (const [directory, wanted] of QUOTED) {
  Deno.test(`trustEnv() quotes ${directory} for Java`, () => {
    const { JAVA_TOOL_OPTIONS } = trustEnv(directory);
    assert.equal(
      JAVA_TOOL_OPTIONS?.split(" -D")[0],
      `-Djavax.net.ssl.trustStore=${wanted}`,
    );
  });
}
