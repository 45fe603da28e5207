import assert from "node:assert/strict";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import {
  makeCertificate,
  noOpenssl,
  pkiPath,
} from "../../tests/support/anywhere_pki.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { UpstreamRoots, type UpstreamRootsOptions } from "./upstream_roots.ts";

const BROKEN = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/** Roots in a directory of its own, with its log. */
async function withRoots(
  use: (bed: {
    directory: string;
    make: (options?: Partial<UpstreamRootsOptions>) => UpstreamRoots;
    platform: ReturnType<typeof fakePlatform>;
  }) => Promise<void> | void,
): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "moat-roots-" });
  const platform = fakePlatform();
  try {
    await use({
      directory,
      platform,
      make: (options) =>
        new UpstreamRoots({
          ...platform,
          systemBundles: [],
          ...options,
        }),
    });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** The PEM of a root, made once. */
async function rootPem(name: string): Promise<string> {
  return await Deno.readTextFile(
    await makeCertificate(name, { isAuthority: true }),
  );
}

const bodies = (pems: readonly string[]) =>
  pems.map((pem) => pem.replaceAll(/-----[^-]+-----|\s/g, ""));

testUnless(noOpenssl, "certificates are those of SSL_CERT_FILE", async () => {
  const pem = await rootPem("corporate");
  await withRoots(({ make }) => {
    const env = { SSL_CERT_FILE: pkiPath("corporate.crt") };
    assert.deepEqual(bodies(make({ env }).certificates), bodies([pem]));
  });
});

testUnless(
  noOpenssl,
  "certificates are those of the system's bundle, the first that there is",
  async () => {
    const pem = await rootPem("corporate");
    await rootPem("other");
    await withRoots(({ make, directory }) => {
      const systemBundles = [
        join(directory, "absent"),
        pkiPath("corporate.crt"),
        pkiPath("other.crt"),
      ];
      const roots = make({ systemBundles });
      assert.deepEqual(bodies(roots.certificates), bodies([pem]));
    });
  },
);

testUnless(
  noOpenssl,
  "SSL_CERT_FILE takes the place of the system's bundle",
  async () => {
    const pem = await rootPem("corporate");
    await rootPem("other");
    await withRoots(({ make }) => {
      const roots = make({
        env: { SSL_CERT_FILE: pkiPath("corporate.crt") },
        systemBundles: [pkiPath("other.crt")],
      });
      assert.deepEqual(bodies(roots.certificates), bodies([pem]));
    });
  },
);

testUnless(
  noOpenssl,
  "certificates are those of DENO_CERT, too, each once",
  async () => {
    const pems = [await rootPem("corporate"), await rootPem("other")];
    await withRoots(async ({ make, directory }) => {
      const path = join(directory, "both.pem");
      await Deno.writeTextFile(path, pems.join(""));
      const roots = make({
        env: { SSL_CERT_FILE: pkiPath("corporate.crt"), DENO_CERT: path },
      });
      assert.deepEqual(bodies(roots.certificates), bodies(pems));
    });
  },
);

testUnless(
  noOpenssl,
  "certificates are those of SSL_CERT_DIR that have a hash as their name",
  async () => {
    const pem = await rootPem("corporate");
    await rootPem("other");
    await withRoots(async ({ make, directory }) => {
      await Deno.symlink(
        pkiPath("corporate.crt"),
        join(directory, "0a1b2c3d.0"),
      );
      await Deno.copyFile(pkiPath("other.crt"), join(directory, "other.pem"));
      const roots = make({ env: { SSL_CERT_DIR: `/absent:${directory}` } });
      assert.deepEqual(bodies(roots.certificates), bodies([pem]));
    });
  },
);

testUnless(
  noOpenssl,
  "certificates leave out what the runtime trusts anyway",
  async () => {
    const pem = await rootPem("corporate");
    await withRoots(async ({ make, directory }) => {
      const path = join(directory, "bundle.pem");
      await Deno.writeTextFile(path, [...rootCertificates, pem].join("\n"));
      const roots = make({ systemBundles: [path] });
      assert.deepEqual(bodies(roots.certificates), bodies([pem]));
    });
  },
);

testUnless(noOpenssl, "certificates leave out a broken one", async () => {
  const pem = await rootPem("corporate");
  await withRoots(async ({ make, directory, platform }) => {
    const path = join(directory, "bundle.pem");
    await Deno.writeTextFile(path, BROKEN + pem);
    const roots = make({ systemBundles: [path] });
    assert.deepEqual(bodies(roots.certificates), bodies([pem]));
    assert.deepEqual(platform.lines, [
      { event: "upstream-roots-unusable", fields: { count: 1 } },
    ]);
  });
});

Deno.test("certificates are none without a file", async () => {
  await withRoots(({ make, platform }) => {
    assert.deepEqual([make().certificates, platform.lines], [[], []]);
  });
});

Deno.test("certificates say once that a named file cannot be read", async () => {
  await withRoots(async ({ make, directory, platform }) => {
    const path = join(directory, "absent.pem");
    const roots = make({ env: { SSL_CERT_FILE: path } });
    for (let i = 0; i < 3; i++) {
      assert.deepEqual(roots.certificates, []);
      await platform.clock.advance(1_000);
    }
    assert.deepEqual(platform.lines, [
      {
        event: "upstream-roots-unreadable",
        fields: { path, kind: "NotFound" },
      },
    ]);
  });
});

testUnless(
  noOpenssl,
  "certificates follow a file that changes, after a second",
  async () => {
    const pem = await rootPem("corporate");
    await withRoots(async ({ make, directory, platform }) => {
      const path = join(directory, "bundle.pem");
      const roots = make({ env: { SSL_CERT_FILE: path } });
      const before = roots.certificates;
      await Deno.writeTextFile(path, pem);
      await platform.clock.advance(999);
      const soon = roots.certificates;
      await platform.clock.advance(1);
      assert.deepEqual(
        [before, soon, bodies(roots.certificates)],
        [[], [], bodies([pem])],
      );
    });
  },
);
