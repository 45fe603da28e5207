import assert from "node:assert/strict";
import { join } from "node:path";
import {
  baseRuntimeOf,
  checkBaseRuntime,
  DENO_VERSION,
  findDenort,
  type Pin,
} from "./denort.ts";
import { must, sha256 } from "./process.ts";

const TARGET = "test-target";

/** Nothing listens there: port 9 of loopback is "discard". */
const UNREACHABLE = "http://127.0.0.1:9";

const CONTENT = new TextEncoder().encode("denort, then data");

async function pinOf(bytes: Uint8Array<ArrayBuffer>): Promise<Pin> {
  const file = "package/bin/program";
  const hash = await sha256(bytes.slice(0, 6));
  return { npmPackage: "x@1.0.0", file, length: 6, sha256: hash };
}

/** Runs `body` with a cache directory and a `pack` that needs no registry. */
async function withCache(
  body: (
    options: {
      cache: string;
      pack: (name: string, directory: string) => Promise<string>;
    },
  ) => Promise<void>,
): Promise<void> {
  const cache = await Deno.makeTempDir();
  const pack = async (_name: string, directory: string) => {
    await Deno.mkdir(join(directory, "package/bin"), { recursive: true });
    await Deno.writeFile(join(directory, "package/bin/program"), CONTENT);
    await must(["tar", "-czf", "x.tgz", "package"], { cwd: directory });
    return "x.tgz";
  };
  try {
    await body({ cache, pack });
  } finally {
    await Deno.remove(cache, { recursive: true });
  }
}

Deno.test("findDenort() takes DENORT_BIN first", async () => {
  const override = Deno.execPath();
  const found = await findDenort({ release: false, override });
  assert.equal(found.path, override);
});

Deno.test("findDenort() refuses a DENORT_BIN that is not there", async () => {
  await assert.rejects(
    findDenort({ release: false, override: "/nowhere/denort" }),
    /there is no file/,
  );
});

Deno.test("findDenort() cuts the package's file at the pinned length", async () => {
  await withCache(async (where) => {
    const pins = { [TARGET]: await pinOf(CONTENT) };
    const download = UNREACHABLE;
    const found = await findDenort({
      ...where,
      release: false,
      target: TARGET,
      pins,
      download,
    });
    assert.equal(await Deno.readTextFile(found.path ?? ""), "denort");
  });
});

Deno.test("findDenort() uses its checked copy without asking anyone", async () => {
  await withCache(async ({ cache, pack }) => {
    const pins = { [TARGET]: await pinOf(CONTENT) };
    const options = { cache, release: false, target: TARGET, pins };
    await findDenort({ ...options, pack, download: UNREACHABLE });
    const again = await findDenort({
      ...options,
      pack: () => Promise.reject(new Error("asked")),
    });
    assert.equal(again.origin, "checked copy");
  });
});

Deno.test("findDenort() does not use a copy that was changed", async () => {
  await withCache(async ({ cache, pack }) => {
    const pins = { [TARGET]: await pinOf(CONTENT) };
    await Deno.writeTextFile(
      join(cache, `${DENO_VERSION}-${TARGET}`),
      "DENORT",
    );
    const options = { cache, pack, release: false, target: TARGET, pins };
    const found = await findDenort({ ...options, download: UNREACHABLE });
    assert.equal(found.origin, "npm x@1.0.0");
  });
});

Deno.test("findDenort() refuses a package with another hash", async () => {
  await withCache(async (where) => {
    const pins = { [TARGET]: await pinOf(new Uint8Array(6)) };
    const options = { ...where, release: false, target: TARGET, pins };
    await assert.rejects(
      findDenort({ ...options, download: UNREACHABLE }),
      /its SHA-256 is not the pinned one/,
    );
  });
});

Deno.test("findDenort() prefers Deno's own download to the package", async () => {
  await withCache(async (where) => {
    const pins = { [TARGET]: await pinOf(CONTENT) };
    const paths: string[] = [];
    const onListen = () => {};
    const server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen },
      (request) => {
        paths.push(`${request.method} ${new URL(request.url).pathname}`);
        return new Response();
      },
    );
    const download = `http://127.0.0.1:${server.addr.port}`;
    const options = { ...where, release: false, target: TARGET, pins };
    const found = await findDenort({ ...options, download });
    await server.shutdown();
    assert.deepEqual([found, paths], [{ origin: "Deno" }, [
      `HEAD /release/v${Deno.version.deno}/denort-${TARGET}.zip`,
    ]]);
  });
});

Deno.test("findDenort() refuses the package for a release", async () => {
  await withCache(async (where) => {
    const pins = { [TARGET]: await pinOf(CONTENT) };
    const options = { ...where, release: true, target: TARGET, pins };
    await assert.rejects(
      findDenort({ ...options, download: UNREACHABLE }),
      /Deno's own base runtime is out of reach/,
    );
  });
});

Deno.test("findDenort() refuses DENORT_BIN for a release", async () => {
  const override = Deno.execPath();
  await assert.rejects(
    findDenort({ release: true, override }),
    /Cannot make a release with DENORT_BIN/,
  );
});

Deno.test("findDenort() says what to do where nothing is to be had", async () => {
  await withCache(async (where) => {
    const options = { ...where, release: false, target: TARGET, pins: {} };
    await assert.rejects(
      findDenort({ ...options, download: UNREACHABLE }),
      (error: { hint?: string }) => /DENORT_BIN/.test(error.hint ?? ""),
    );
  });
});

/** A header of 64 bytes that says: 2 section headers of 64 bytes at 100. */
function tinyElf(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(300);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0x28, 100n, true);
  view.setUint16(0x3a, 64, true);
  view.setUint16(0x3c, 2, true);
  return bytes;
}

Deno.test("baseRuntimeOf() ends with the section header table", () => {
  assert.equal(baseRuntimeOf(tinyElf())?.length, 228);
});

Deno.test("baseRuntimeOf() knows no other format", () => {
  assert.equal(baseRuntimeOf(new Uint8Array(300)), undefined);
});

Deno.test("checkBaseRuntime() refuses a hash that is not pinned", async () => {
  await assert.rejects(
    checkBaseRuntime(tinyElf(), "x86_64-unknown-linux-gnu"),
    /wanted SHA-256 f12d.*, found [0-9a-f]{64}/,
  );
});
